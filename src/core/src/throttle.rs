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

/// The places that wrong answers of one user came from, at most [`Tally::MAX_PLACES`].
///
/// A full table forgets no place that still counts: further addresses share one place, the crowd's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// One entry an address.
    pub places: Vec<Place>,
}

impl Tally {
    /// How many places are told apart.
    pub const MAX_PLACES: usize = 20;

    /// Whether an answer from `address` would be judged now.
    #[must_use]
    pub fn standing(&self, address: &Address, limits: &Limits, now: Time) -> Standing {
        let nothing_wrong = Standing::Open {
            left: (limits.deny.get() != 0).then(|| limits.deny.get()),
        };
        let place = self.find(address).and_then(|index| self.places.get(index));
        place.map_or(nothing_wrong, |place| place.standing(limits, now))
    }

    /// Counts a wrong answer from `address`.
    pub fn charge(&mut self, address: &Address, limits: &Limits, now: Time) {
        if limits.deny.get() == 0 {
            return;
        }
        for place in &mut self.places {
            place.wrong = if place.lock_end(limits).is_some_and(|until| now < until) {
                std::mem::take(&mut place.wrong)
            } else {
                place.counted(limits, now).to_vec()
            };
        }
        self.places.retain(|place| !place.wrong.is_empty());
        let index = self.find(address).unwrap_or_else(|| {
            let address = match self.places.len() {
                ..LAST_PLACE => address.clone(),
                _ => Address::Crowd,
            };
            self.places.push(Place {
                address,
                wrong: Vec::new(),
            });
            self.places.len().saturating_sub(1)
        });
        if let Some(place) = self.places.get_mut(index) {
            if place.wrong.len() >= Place::MAX_WRONG {
                place.wrong.remove(0);
            }
            place.wrong.push(now);
        }
    }

    /// Forgets the wrong answers from `address`.
    pub fn clear(&mut self, address: &Address) {
        self.places.retain(|place| place.address != *address);
    }

    /// The entry of `address`, or of the crowd where there is no room for one of its own.
    fn find(&self, address: &Address) -> Option<usize> {
        let position = |address: &Address| {
            self.places
                .iter()
                .position(|place| place.address == *address)
        };
        position(address).or_else(|| {
            (self.places.len() >= LAST_PLACE)
                .then(|| position(&Address::Crowd))
                .flatten()
        })
    }
}

/// The last place of a table is the crowd's.
const LAST_PLACE: usize = Tally::MAX_PLACES.saturating_sub(1);

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

    #[test]
    fn a_full_table_frees_no_lock_and_gives_no_free_guess() {
        let mut tally = charged(&[0, 0, 0]);
        let mut judged_of_the_crowd = 0;
        for last in 2..=100 {
            for _ in 0..3 {
                if matches!(
                    tally.standing(&address(last), &LIMITS, minute(1)),
                    Standing::Open { .. }
                ) {
                    tally.charge(&address(last), &LIMITS, minute(1));
                    judged_of_the_crowd += u32::from(last >= 20);
                }
            }
        }
        assert_eq!(tally.places.len(), Tally::MAX_PLACES);
        assert_eq!(judged_of_the_crowd, 3);
        let standing = tally.standing(&address(1), &LIMITS, minute(1));
        assert_eq!(standing, Standing::Refused { until: minute(10) });
        tally.charge(&address(200), &LIMITS, minute(11));
        assert_eq!(
            tally.places.len(),
            1,
            "places that no longer count make room"
        );
    }
}
