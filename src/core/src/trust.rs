//! Trust: somebody who has just logged in is not asked again at the same place, for as long as the policy says.
//!
//! A place is one service and one address; on this machine, where an address says little, one session of a terminal
//! as well. An accepted code only proposes it: the password may have been wrong. It counts from when the login as a
//! whole has succeeded.

use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::time::{Span, Time};

/// A place that can be trusted: a hash of what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place(pub u64);

impl Place {
    /// The place of a login; `None` where it can't be told from others. `session` says which session of which terminal
    /// it is, since when and on which boot, where there is one.
    #[must_use]
    pub fn of(service: &str, address: &Address, session: Option<&str>) -> Option<Self> {
        let session = match (address.is_one_place(), address.is_local()) {
            (false, _) => return None,
            (true, false) => "",
            (true, true) => session?,
        };
        let mut hash = Sha256::new();
        for part in [service, &address.to_string(), session] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        digest
            .first_chunk()
            .copied()
            .map(u64::from_le_bytes)
            .map(Self)
    }
}

/// A place, and since when it is trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trust {
    /// Where.
    pub place: Place,
    /// When the code was accepted.
    pub since: Time,
    /// Whether the login as a whole succeeded.
    pub is_confirmed: bool,
}

/// The proof that a place is trusted. Only [`Trusts::of`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Trusted {
    until: Time,
}

impl Trusted {
    /// The end of it.
    #[must_use]
    pub fn until(&self) -> Time {
        self.until
    }
}

/// The places that somebody is trusted at, the latest last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trusts(Vec<Trust>);

impl Trusts {
    /// Of more places the first is forgotten.
    pub const MAX: usize = 8;
    /// A login that takes longer than this from its code to its end is not trusted.
    const LONGEST_LOGIN: Span = Span::from_minutes(10);

    /// Those of a record.
    #[must_use]
    pub fn new(trusts: Vec<Trust>) -> Self {
        Self(trusts)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Trust] {
        &self.0
    }

    /// Whether a place is trusted now, and that is allowed for so long.
    #[must_use]
    pub fn of(&self, place: Place, allowed: Span, now: Time) -> Option<Trusted> {
        let known = self.0.iter().find(|trust| trust.place == place)?;
        let until = known.since.after(allowed);
        let is_valid = known.is_confirmed && known.since <= now && now < until;
        is_valid.then_some(Trusted { until })
    }

    /// A code was accepted there.
    pub fn propose(&mut self, place: Place, now: Time) {
        self.0.retain(|trust| trust.place != place);
        if self.0.len() >= Self::MAX {
            self.0.remove(0);
        }
        self.0.push(Trust {
            place,
            since: now,
            is_confirmed: false,
        });
    }

    /// A login succeeded there; `false` where no code was accepted there just before.
    pub fn confirm(&mut self, place: Place, now: Time) -> bool {
        let is_recent = |trust: &&mut Trust| {
            trust.place == place
                && !trust.is_confirmed
                && trust.since <= now
                && now <= trust.since.after(Self::LONGEST_LOGIN)
        };
        let proposed = self.0.iter_mut().find(is_recent);
        proposed.map(|trust| trust.is_confirmed = true).is_some()
    }

    /// Nobody is trusted anywhere any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets those of a clock that was ahead.
    pub fn forget_future(&mut self, now: Time) {
        self.0.retain(|trust| trust.since <= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Span = Span::from_minutes(60);
    const NOON: Time = Time::from_unix(1_800_000_000);

    fn minutes(minutes: u32) -> Time {
        NOON.after(Span::from_minutes(minutes))
    }

    #[test]
    fn a_place_counts_from_the_login_and_for_as_long_as_is_allowed() {
        let (place, other) = (Place(1), Place(2));
        let mut trusts = Trusts::default();
        trusts.propose(place, NOON);
        assert!(trusts.of(place, HOUR, NOON).is_none(), "only proposed");
        assert!(!trusts.confirm(other, NOON) && trusts.confirm(place, minutes(1)));
        for (now, is_trusted) in [(0, true), (59, true), (60, false), (600, false)] {
            let trusted = trusts.of(place, HOUR, minutes(now)).is_some();
            assert_eq!(trusted, is_trusted, "{now}");
        }
        let before = NOON.before(Span::from_seconds(1));
        assert!(trusts.of(place, HOUR, before).is_none(), "in the future");
        assert!(trusts.of(place, Span::ZERO, NOON).is_none(), "turned off");
        assert!(trusts.of(other, HOUR, NOON).is_none());
        // A further code that did not lead to a login ends it.
        trusts.propose(place, minutes(2));
        assert!(trusts.of(place, HOUR, minutes(2)).is_none());
        assert!(!trusts.confirm(place, minutes(13)), "too late");
    }

    #[test]
    fn cleared_there_is_no_place_left() {
        let mut trusts = Trusts::default();
        for place in [Place(1), Place(2)] {
            trusts.propose(place, NOON);
            trusts.confirm(place, NOON);
        }
        trusts.clear();
        assert_eq!(trusts, Trusts::default());
    }

    #[test]
    fn the_first_of_too_many_is_forgotten() {
        let mut trusts = Trusts::default();
        for place in 0..=8 {
            trusts.propose(Place(place), NOON);
            trusts.confirm(Place(place), NOON);
        }
        assert_eq!(trusts.all().len(), Trusts::MAX);
        assert!(trusts.of(Place(0), HOUR, NOON).is_none());
        assert!(trusts.of(Place(1), HOUR, NOON).is_some());
    }

    #[test]
    fn places_are_told_apart() {
        let remote = Address::named("192.0.2.7").unwrap();
        let uid = Address::named("uid:1000").unwrap();
        let of = |service, address: &Address, session| Place::of(service, address, session);
        let known = of("sshd", &remote, None);
        assert!(known.is_some() && known == of("sshd", &remote, Some("a terminal")));
        for other in [
            of("login", &remote, None),
            of("sshd", &Address::named("192.0.2.8").unwrap(), None),
            of("sudo", &uid, Some("a")),
            of("sudo", &uid, Some("b")),
            of("su", &uid, Some("a")),
        ] {
            assert!(other.is_some() && other != known);
        }
        assert_ne!(of("sudo", &uid, Some("a")), of("sudo", &uid, Some("b")));
        for nowhere in ["local", "unreadable"] {
            let nowhere = Address::named(nowhere).unwrap();
            assert_eq!(of("sshd", &nowhere, Some("a")), None);
        }
        assert_eq!(of("sudo", &uid, None), None);
    }
}
