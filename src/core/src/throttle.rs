//! The limit on wrong answers: who may try, who must wait, and how long.

use crate::address::Address;
use crate::bounded::bounded;
use crate::time::{Span, Time};

bounded! {
    /// Wrong answers of one user from one address that lead to a lock; 0 turns the limit off.
    Deny(u8), 0 to 32, default 3
}

/// The limits of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many wrong answers lock.
    pub deny: Deny,
    /// The sliding window that they must all lie in.
    pub interval: Span,
    /// How long a lock lasts after the last of them.
    pub lock_time: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deny: Deny::default(),
            interval: Span::from_minutes(15),
            lock_time: Span::from_minutes(10),
        }
    }
}

/// Whether an answer would be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It would.
    Open {
        /// Wrong answers left before a lock; `None` where there is no limit.
        left: Option<u8>,
    },
    /// It would not: neither judged nor charged.
    Refused {
        /// When the lock runs out.
        until: Time,
    },
}

/// The wrong answers of one user from one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Where from.
    pub address: Address,
    /// When, oldest first; at most [`Place::MAX_WRONG`].
    pub wrong: Vec<Time>,
}

impl Place {
    /// Times kept of one place: the highest `deny`.
    pub const MAX_WRONG: usize = 32;

    fn standing(&self, limits: &Limits, now: Time) -> Standing {
        if let Some(until) = self.lock_end(limits).filter(|until| now < *until) {
            return Standing::Refused { until };
        }
        let counted = u8::try_from(self.counted(limits, now).len()).unwrap_or(u8::MAX);
        let deny = limits.deny.get();
        Standing::Open {
            left: (deny != 0).then(|| deny.saturating_sub(counted)),
        }
    }

    fn is_counting(&self, limits: &Limits, now: Time) -> bool {
        self.is_locked(limits, now) || !self.counted(limits, now).is_empty()
    }

    fn is_locked(&self, limits: &Limits, now: Time) -> bool {
        self.lock_end(limits).is_some_and(|until| now < until)
    }

    /// Keeps as many of the last answers as lead to a lock.
    fn keep_last(&mut self, limits: &Limits) {
        let excess = self
            .wrong
            .len()
            .saturating_sub(usize::from(limits.deny.get()));
        self.wrong.drain(..excess);
    }

    /// Drops what no longer counts; `false` where nothing is left.
    fn forget_old(&mut self, limits: &Limits, now: Time) -> bool {
        self.keep_last(limits);
        if !self.is_locked(limits, now) {
            self.wrong = self.counted(limits, now).to_vec();
        }
        !self.wrong.is_empty()
    }

    /// The end of the lock that the last `deny` wrong answers led to, where they lie in one window.
    fn lock_end(&self, limits: &Limits) -> Option<Time> {
        let deny = usize::from(limits.deny.get());
        let first = self.wrong.iter().rev().nth(deny.checked_sub(1)?)?;
        let last = self.wrong.last()?;
        (last.since(*first) < limits.interval).then(|| last.after(limits.lock_time))
    }

    /// The wrong answers that still count: those of the window, and none that led to a lock that has run out.
    fn counted(&self, limits: &Limits, now: Time) -> &[Time] {
        if self.lock_end(limits).is_some_and(|until| until <= now) {
            return &[];
        }
        let old = self
            .wrong
            .partition_point(|time| now.since(*time) >= limits.interval);
        self.wrong.get(old..).unwrap_or(&[])
    }
}

/// The places that wrong answers of one user came from.
///
/// A full table forgets no place that still counts: further remote addresses share one place, further
/// local ones another, and while such a crowd counts, all have it that have no place of their own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// One entry an address.
    pub places: Vec<Place>,
}

impl Tally {
    /// Places told apart at most, the two crowds among them.
    pub const MAX_PLACES: usize = 96;
    /// Bytes that all places take at most.
    pub const MAX_BYTES: usize = 3000;
    /// Places kept for consoles and local callers, whatever strangers do.
    const LOCAL_PLACES: usize = 8;

    /// Whether an answer from `address` would be judged now.
    #[must_use]
    pub fn standing(&self, address: &Address, limits: &Limits, now: Time) -> Standing {
        let deny = limits.deny.get();
        let nothing_wrong = Standing::Open {
            left: (deny != 0).then_some(deny),
        };
        let counting = |address: &Address| {
            let place = self
                .position(address)
                .and_then(|index| self.places.get(index));
            place.filter(|place| place.is_counting(limits, now))
        };
        let place = counting(address).or_else(|| counting(&address.crowd()));
        place.map_or(nothing_wrong, |place| place.standing(limits, now))
    }

    /// Counts a wrong answer from `address`.
    pub fn charge(&mut self, address: &Address, limits: &Limits, now: Time) {
        if limits.deny.get() == 0 {
            return;
        }
        self.places
            .retain_mut(|place| place.forget_old(limits, now));
        self.fold_to(Self::capacity(limits), limits);
        let own = self
            .position(address)
            .or_else(|| self.position(&address.crowd()));
        let index = own.unwrap_or_else(|| self.new_place(address, limits));
        if let Some(place) = self.places.get_mut(index) {
            place.wrong.push(now);
            place.keep_last(limits);
        }
    }

    /// Forgets the wrong answers from `address`.
    pub fn clear(&mut self, address: &Address) {
        self.places.retain(|place| place.address != *address);
    }

    fn position(&self, address: &Address) -> Option<usize> {
        self.places
            .iter()
            .position(|place| place.address == *address)
    }

    fn new_place(&mut self, address: &Address, limits: &Limits) -> usize {
        let reserved = if address.is_local() {
            0
        } else {
            Self::LOCAL_PLACES
        };
        let room = Self::capacity(limits).saturating_sub(reserved);
        let address = match (self.places.len() < room, address) {
            (true, _) => address.clone(),
            // Nothing can be guessed of strangers, and a crowd would tell that they are some.
            (false, Address::Masked(_)) => {
                self.forget_oldest();
                address.clone()
            }
            (false, _) => address.crowd(),
        };
        self.places.push(Place {
            address,
            wrong: Vec::new(),
        });
        self.places.len().saturating_sub(1)
    }

    fn forget_oldest(&mut self) {
        let last_answers = self.places.iter().enumerate();
        let oldest = last_answers.min_by_key(|(_, place)| place.wrong.last().copied());
        if let Some((index, _)) = oldest {
            self.places.remove(index);
        }
    }

    /// Puts the places that are too many, since `deny` was raised, into their crowds.
    fn fold_to(&mut self, capacity: usize, limits: &Limits) {
        while self.places.len() > capacity.saturating_add(2) {
            let Some(place) = self.places.pop() else {
                return;
            };
            let crowd = place.address.crowd();
            let index = self.position(&crowd).unwrap_or_else(|| {
                self.places.insert(
                    0,
                    Place {
                        address: crowd,
                        wrong: Vec::new(),
                    },
                );
                0
            });
            if let Some(crowd) = self.places.get_mut(index) {
                for time in place.wrong {
                    let at = crowd.wrong.partition_point(|known| *known <= time);
                    crowd.wrong.insert(at, time);
                }
                crowd.keep_last(limits);
            }
        }
    }

    /// How many places fit beside the crowds', each with as many wrong answers as lead to a lock.
    fn capacity(limits: &Limits) -> usize {
        let place = usize::from(limits.deny.get())
            .saturating_mul(4)
            .saturating_add(19);
        let fitting = Self::MAX_BYTES.checked_div(place).unwrap_or(0);
        fitting.min(Self::MAX_PLACES).saturating_sub(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LIMITS: Limits = Limits {
        deny: Deny(3),
        interval: Span::from_minutes(15),
        lock_time: Span::from_minutes(10),
    };

    fn address(last: u8) -> Address {
        Address::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    fn minute(minute: i64) -> Time {
        Time::from_unix(1_800_000_000 + minute * 60)
    }

    fn open(left: u8) -> Standing {
        Standing::Open { left: Some(left) }
    }

    fn charged(minutes: &[i64]) -> Tally {
        let mut tally = Tally::default();
        for at in minutes {
            tally.charge(&address(1), &LIMITS, minute(*at));
        }
        tally
    }

    #[test]
    fn the_third_wrong_answer_locks_for_ten_minutes_from_itself() {
        let tally = charged(&[0, 1, 5]);
        let until = minute(15);
        for (at, expected) in [
            (5, Standing::Refused { until }),
            (14, Standing::Refused { until }),
            (15, open(3)),
            (16, open(3)),
        ] {
            assert_eq!(tally.standing(&address(1), &LIMITS, minute(at)), expected);
        }
    }

    #[test]
    fn answers_are_counted_down_and_slide_out_of_the_window() {
        let tally = charged(&[0, 10]);
        for (at, left) in [(10, 1), (14, 1), (15, 2), (24, 2), (25, 3)] {
            assert_eq!(
                tally.standing(&address(1), &LIMITS, minute(at)),
                open(left),
                "{at}"
            );
        }
    }

    #[test]
    fn wrong_answers_further_apart_than_the_window_never_lock() {
        let tally = charged(&[0, 8, 16, 24, 32]);
        assert_eq!(tally.standing(&address(1), &LIMITS, minute(32)), open(1));
    }

    #[test]
    fn answers_that_led_to_a_lock_stop_counting_when_it_runs_out() {
        let mut tally = charged(&[0, 0, 0]);
        tally.charge(&address(1), &LIMITS, minute(10));
        assert_eq!(tally.standing(&address(1), &LIMITS, minute(10)), open(2));
        assert_eq!(tally.places[0].wrong.len(), 1);
    }

    #[test]
    fn a_lock_longer_than_the_window_holds() {
        let limits = Limits {
            lock_time: Span::from_minutes(60),
            ..LIMITS
        };
        let mut tally = charged(&[0, 0, 0]);
        tally.charge(&address(2), &limits, minute(59));
        let standing = tally.standing(&address(1), &limits, minute(59));
        assert_eq!(standing, Standing::Refused { until: minute(60) });
        assert_eq!(tally.standing(&address(1), &limits, minute(60)), open(3));
    }

    #[test]
    fn other_addresses_are_not_touched() {
        let mut tally = charged(&[0, 0, 0]);
        assert_eq!(tally.standing(&address(2), &LIMITS, minute(0)), open(3));
        tally.clear(&address(2));
        assert!(matches!(
            tally.standing(&address(1), &LIMITS, minute(0)),
            Standing::Refused { .. }
        ));
        tally.clear(&address(1));
        assert_eq!(tally.standing(&address(1), &LIMITS, minute(0)), open(3));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limits = Limits {
            deny: Deny(0),
            ..LIMITS
        };
        let mut tally = Tally::default();
        tally.charge(&address(1), &limits, minute(0));
        assert_eq!(tally, Tally::default());
        let standing = tally.standing(&address(1), &limits, minute(0));
        assert_eq!(standing, Standing::Open { left: None });
    }

    /// Answers from one address after the other, `each` times, and how many of them were judged.
    fn judged(tally: &mut Tally, addresses: std::ops::Range<u8>, each: u8, at: i64) -> usize {
        let answers = addresses.flat_map(|last| (0..each).map(move |_| address(last)));
        let mut judged = 0;
        for from in answers {
            if let Standing::Open { .. } = tally.standing(&from, &LIMITS, minute(at)) {
                tally.charge(&from, &LIMITS, minute(at));
                judged += 1;
            }
        }
        judged
    }

    fn is_refused(tally: &Tally, address: &Address, at: i64) -> bool {
        matches!(
            tally.standing(address, &LIMITS, minute(at)),
            Standing::Refused { .. }
        )
    }

    #[test]
    fn a_full_table_frees_no_lock_and_gives_no_free_guess() {
        let mut tally = charged(&[0, 0, 0]);
        let own_places = Tally::capacity(&LIMITS) - Tally::LOCAL_PLACES - 1;
        let judged = judged(&mut tally, 2..250, 3, 1);
        assert_eq!(
            judged,
            own_places * 3 + 3,
            "the crowd has three answers together"
        );
        assert!(is_refused(&tally, &address(1), 9));
        assert_eq!(tally.places.len(), own_places + 2);
    }

    #[test]
    fn strangers_that_fill_the_table_lock_no_console_and_no_local_caller_out() {
        let mut tally = Tally::default();
        judged(&mut tally, 0..250, 3, 0);
        assert!(is_refused(&tally, &address(251), 0));
        let console = crate::address::TtyName::console("tty1").unwrap();
        for local in [Address::Tty(console), Address::Uid(1000), Address::Local] {
            for left in [2, 1] {
                tally.charge(&local, &LIMITS, minute(0));
                assert_eq!(tally.standing(&local, &LIMITS, minute(0)), open(left));
            }
        }
    }

    #[test]
    fn while_the_crowd_counts_nobody_gets_a_second_helping() {
        let mut tally = Tally::default();
        // These run out first and make room.
        judged(&mut tally, 0..200, 1, 0);
        assert_eq!(
            judged(&mut tally, 200..250, 3, 10),
            3,
            "the crowd's lock has just run out"
        );
        assert_eq!(
            judged(&mut tally, 200..250, 3, 16),
            0,
            "there is room, and the crowd is locked"
        );
        assert_eq!(judged(&mut tally, 200..201, 9, 20), 3);
    }

    #[test]
    fn many_local_callers_share_a_place_of_their_own_and_get_no_free_guess() {
        let mut tally = Tally::default();
        judged(&mut tally, 0..250, 3, 0);
        let mut locals = 0;
        for uid in 1000..1100 {
            for _ in 0..3 {
                if let Standing::Open { .. } =
                    tally.standing(&Address::Uid(uid), &LIMITS, minute(0))
                {
                    tally.charge(&Address::Uid(uid), &LIMITS, minute(0));
                    locals += 1;
                }
            }
        }
        assert!(locals <= 3 * (Tally::LOCAL_PLACES + 1), "{locals}");
        assert!(tally.places.len() <= Tally::MAX_PLACES);
    }

    #[test]
    fn a_stranger_is_never_refused_for_what_was_answered_for_others() {
        let mut tally = Tally::default();
        for stranger in 0..1000 {
            let address = Address::Masked(stranger);
            assert_eq!(tally.standing(&address, &LIMITS, minute(0)), open(3));
            tally.charge(&address, &LIMITS, minute(0));
        }
        assert!(tally.places.len() <= Tally::MAX_PLACES);
    }

    #[test]
    fn a_table_fits_whatever_deny_was_when_it_was_filled() {
        for (before, after) in [(3, 32), (32, 3), (1, 32), (32, 1)] {
            let limits = |deny| Limits {
                deny: Deny(deny),
                ..LIMITS
            };
            let mut tally = Tally::default();
            for last in 0..250 {
                for _ in 0..before {
                    tally.charge(&address(last), &limits(before), minute(0));
                }
            }
            tally.charge(&address(0), &limits(after), minute(1));
            let bytes = |place: &Place| 19 + 4 * place.wrong.len();
            let total: usize = tally.places.iter().map(bytes).sum();
            assert!(total <= Tally::MAX_BYTES, "{before} to {after}: {total}");
        }
    }

    #[test]
    fn the_fullest_table_fits() {
        for deny in 1..=32 {
            let limits = Limits {
                deny: Deny(deny),
                ..LIMITS
            };
            let place = 19 + 4 * usize::from(deny);
            assert!(
                (Tally::capacity(&limits) + 1) * place <= Tally::MAX_BYTES,
                "{deny}"
            );
            assert!(Tally::capacity(&limits) > 2 * Tally::LOCAL_PLACES, "{deny}");
        }
    }
}
