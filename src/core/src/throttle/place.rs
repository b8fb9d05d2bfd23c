//! The places of a user: each by itself, and the unfamiliar ones together.

use crate::address::Address;
use crate::throttle::{Limits, Mark};
use crate::time::Time;

/// One place of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Where from.
    pub address: Address,
    /// Wrong answers that `deny` goes by, oldest first.
    pub wrong: Vec<Time>,
    /// Wrong answers that `daily` goes by while the place is familiar, oldest first.
    pub daily: Vec<Time>,
    /// When a code was last accepted from here; kept while that makes the place familiar.
    pub accepted: Option<Time>,
}

impl Place {
    /// Times kept of one kind at most: the highest `daily`, and marks.
    pub const MAX_TIMES: usize = 32 + Mark::MAX;
    /// Bytes of its record at most, beside those of the wrong answers: three counts and a time.
    pub const MAX_BYTES: usize = Address::MAX_BYTES + 3 + 4;

    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            wrong: Vec::new(),
            daily: Vec::new(),
            accepted: None,
        }
    }

    pub(super) fn is_familiar(&self, limits: &Limits, now: Time) -> bool {
        let since = self.accepted.filter(|accepted| *accepted <= now);
        since.is_some_and(|accepted| now.since(accepted) < limits.familiar_for)
    }

    /// Whether it was familiar until its time was over.
    pub(super) fn has_expired(&self, limits: &Limits, now: Time) -> bool {
        self.accepted.is_some() && !self.is_familiar(limits, now)
    }

    /// Whether any wrong answer is counted.
    pub(super) fn counts_any(&self) -> bool {
        !self.wrong.is_empty() || !self.daily.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.counts_any() && self.accepted.is_none()
    }

    /// Whether it is one that nobody has come from, by itself.
    pub(super) fn is_strange(&self) -> bool {
        use Address::{ConsoleCrowd, Crowd, LocalCrowd, Tty};
        let is_other = matches!(self.address, Tty(_) | Crowd | LocalCrowd | ConsoleCrowd);
        self.accepted.is_none() && !is_other
    }

    pub(super) fn forgive(&mut self) {
        self.wrong.clear();
        self.daily.clear();
    }

    pub(super) fn last(&self) -> Option<Time> {
        self.wrong.last().max(self.daily.last()).copied()
    }
}

/// The unfamiliar places of a user, together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// What they are counted under: one user's by [`Address::Elsewhere`].
    pub address: Address,
    /// Wrong answers that `daily` goes by, oldest first.
    pub daily: Vec<Time>,
    /// Wrong answers since a login from such a place was last accepted.
    pub total: u32,
    /// Marks left that no second code followed, until root forgets them.
    pub marks: u16,
}

impl Pool {
    /// Bytes of its record at most, beside those of the wrong answers: a count, and the two numbers.
    pub const MAX_BYTES: usize = Address::MAX_BYTES + 1 + 4 + 2;

    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            daily: Vec::new(),
            total: 0,
            marks: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.daily.is_empty() && self.total == 0 && self.marks == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::Daily;

    fn place(wrong: &[i64], daily: &[i64]) -> Place {
        let times = |times: &[i64]| times.iter().copied().map(Time::from_unix).collect();
        Place {
            wrong: times(wrong),
            daily: times(daily),
            ..Place::new(Address::Local)
        }
    }

    #[test]
    fn a_place_keeps_as_many_times_as_the_highest_limit_and_marks_need() {
        let highest = (0..=u8::MAX).filter(|most| Daily::new(i64::from(*most)).is_some());
        let highest = usize::from(highest.max().unwrap());
        assert_eq!(Place::MAX_TIMES, highest + Mark::MAX);
    }

    #[test]
    fn a_place_is_empty_that_nothing_is_known_of() {
        assert!(place(&[], &[]).is_empty());
        let familiar = Place {
            accepted: Some(Time::from_unix(1)),
            ..place(&[], &[])
        };
        for known in [place(&[1], &[]), place(&[], &[1]), familiar] {
            assert!(!known.is_empty(), "{known:?}");
        }
    }

    #[test]
    fn a_pool_is_empty_that_nothing_is_known_of() {
        let empty = Pool::new(Address::Elsewhere);
        assert!(empty.is_empty());
        let change: [fn(&mut Pool); 3] = [
            |pool| pool.daily.push(Time::from_unix(1)),
            |pool| pool.total = 1,
            |pool| pool.marks = 1,
        ];
        for change in change {
            let mut known = empty.clone();
            change(&mut known);
            assert!(!known.is_empty(), "{known:?}");
        }
    }

    #[test]
    fn the_last_wrong_answer_is_the_latest_of_both_kinds() {
        for (wrong, daily, last) in [
            (&[][..], &[][..], None),
            (&[1, 3], &[], Some(3)),
            (&[], &[1, 3], Some(3)),
            (&[1, 5], &[2, 4], Some(5)),
            (&[1, 4], &[2, 5], Some(5)),
        ] {
            assert_eq!(place(wrong, daily).last(), last.map(Time::from_unix));
        }
    }
}
