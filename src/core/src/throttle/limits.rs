//! How much is borne.

use crate::bounded::bounded;
use crate::throttle::Rule;
use crate::time::Span;

bounded! {
    /// Wrong answers of one user from one address that lead to a lock; 0 turns the limit off.
    Deny(u8), 0 to 32, default 3
}

bounded! {
    /// Wrong answers from one unfamiliar address, of all users, that lead to a lock; 0 turns the limit off.
    AddressDeny(u8), 0 to 28, default 20
}

bounded! {
    /// Wrong answers of one user in 24 hours after which single codes are not judged; 0 turns the limit off.
    Daily(u8), 0 to 32, default 8
}

bounded! {
    /// Wrong answers of one user from unfamiliar addresses after which single codes are not judged; 0 turns
    /// the limit off.
    UserLimit(u32), 0 to 1_000_000, default 100
}

/// The limits of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Wrong answers of one user from one address.
    pub deny: Deny,
    /// The sliding window that they must all lie in.
    pub interval: Span,
    /// How long a lock lasts after the last of them.
    pub lock_time: Span,
    /// Wrong answers from one unfamiliar address, with the same window and the same lock.
    pub address_deny: AddressDeny,
    /// Wrong answers of one user in 24 hours.
    pub daily: Daily,
    /// Wrong answers of one user from unfamiliar addresses.
    pub user_limit: UserLimit,
    /// How long an address stays familiar after an accepted code.
    pub familiar_for: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deny: Deny::default(),
            interval: Span::from_minutes(15),
            lock_time: Span::from_minutes(10),
            address_deny: AddressDeny::default(),
            daily: Daily::default(),
            user_limit: UserLimit::default(),
            familiar_for: Span::from_minutes(30 * 24 * 60),
        }
    }
}

impl Limits {
    /// The stretch that `daily` counts in.
    pub const DAY: Span = Span::from_minutes(24 * 60);

    /// The limit by user and address.
    #[must_use]
    pub fn by_place(&self) -> Rule {
        self.rule(self.deny.get())
    }

    /// The limit by address.
    #[must_use]
    pub fn by_address(&self) -> Rule {
        self.rule(self.address_deny.get())
    }

    /// Wrong answers that a user whose devices are worth so many phones has in a day. Each is one more that a guess may
    /// hit.
    #[must_use]
    pub fn daily_for(&self, devices: usize) -> usize {
        let share = usize::from(self.daily.get()).checked_div(devices);
        share.unwrap_or(usize::from(self.daily.get())).max(1)
    }

    const fn rule(&self, most: u8) -> Rule {
        Rule {
            most,
            interval: self.interval,
            lock_time: self.lock_time,
        }
    }
}
