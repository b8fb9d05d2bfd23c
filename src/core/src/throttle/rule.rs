//! So many wrong answers within a sliding window lead to a lock.

use crate::throttle::{Codes, Limit, Refusal, Standing};
use crate::time::{Span, Time};

/// A limit with a sliding window. All functions take the times of wrong answers, oldest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// How many lock; 0 is no limit.
    pub most: u8,
    /// The window that they must all lie in.
    pub interval: Span,
    /// How long the lock lasts after the last of them.
    pub lock_time: Span,
}

impl Rule {
    /// Whether a further answer would be judged.
    #[must_use]
    pub fn standing(&self, wrong: &[Time], limit: Limit, now: Time) -> Standing {
        if let Some(until) = self.lock_end(wrong).filter(|until| now < *until) {
            return Standing::Refused(Refusal { until, limit });
        }
        let counted = u8::try_from(self.counted(wrong, now).len()).unwrap_or(u8::MAX);
        Standing::Open {
            left: (self.most != 0).then(|| self.most.saturating_sub(counted)),
            codes: Codes::One,
        }
    }

    /// Whether the last wrong answers led to a lock that has run out: none of them counts any more.
    #[must_use]
    pub fn is_over(&self, wrong: &[Time], now: Time) -> bool {
        self.lock_end(wrong).is_some_and(|until| until <= now)
    }

    /// Keeps what a later standing can depend on.
    pub fn forget(&self, wrong: &mut Vec<Time>, now: Time) {
        keep_last(wrong, usize::from(self.most));
        if self.lock_end(wrong).is_none_or(|until| until <= now) {
            *wrong = self.counted(wrong, now).to_vec();
        }
    }

    /// The end of the lock that the last `most` wrong answers led to, where they lie in one window.
    fn lock_end(&self, wrong: &[Time]) -> Option<Time> {
        let most = usize::from(self.most);
        let first = wrong.iter().rev().nth(most.checked_sub(1)?)?;
        let last = wrong.last()?;
        (last.since(*first) < self.interval).then(|| last.after(self.lock_time))
    }

    /// The wrong answers that still count: those of the window, and none that led to a lock that has run out.
    fn counted<'t>(&self, wrong: &'t [Time], now: Time) -> &'t [Time] {
        if self.is_over(wrong, now) {
            return &[];
        }
        younger(wrong, self.interval, now)
    }
}

/// The times that lie less than `span` before `now`.
pub(super) fn younger(times: &[Time], span: Span, now: Time) -> &[Time] {
    let old = times.partition_point(|time| now.since(*time) >= span);
    times.get(old..).unwrap_or(&[])
}

/// Drops all but the last `most` times.
pub(super) fn keep_last(times: &mut Vec<Time>, most: usize) {
    let excess = times.len().saturating_sub(most);
    times.drain(..excess);
}

/// Puts times among others, oldest first. They are few: a library's sort would be three kilobytes of the module.
pub fn merge(times: &mut Vec<Time>, others: impl IntoIterator<Item = Time>) {
    for time in others {
        let at = times.partition_point(|other| *other <= time);
        times.insert(at, time);
    }
}

/// Removes one of the times that are `time`; `false` where none is.
pub(super) fn remove_one(times: &mut Vec<Time>, time: Time) -> bool {
    let index = times.iter().position(|known| *known == time);
    index.map(|index| times.remove(index)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        most: 3,
        interval: Span::from_minutes(15),
        lock_time: Span::from_minutes(10),
    };

    fn minute(minute: i64) -> Time {
        Time::from_unix(1_800_000_000 + minute * 60)
    }

    #[test]
    fn merged_times_are_in_order() {
        let mut times = [1, 3, 5].map(minute).to_vec();
        merge(&mut times, [4, 0, 3, 9].map(minute));
        assert_eq!(times, [0, 1, 3, 3, 4, 5, 9].map(minute));
    }

    fn standing(rule: &Rule, wrong: &[i64], at: i64) -> Standing {
        let wrong: Vec<Time> = wrong.iter().copied().map(minute).collect();
        rule.standing(&wrong, Limit::Place, minute(at))
    }

    fn open(left: u8) -> Standing {
        Standing::Open {
            left: Some(left),
            codes: Codes::One,
        }
    }

    fn refused(until: i64) -> Standing {
        Standing::Refused(Refusal {
            until: minute(until),
            limit: Limit::Place,
        })
    }

    #[test]
    fn the_third_wrong_answer_locks_for_ten_minutes_from_itself() {
        for (at, expected) in [
            (5, refused(15)),
            (14, refused(15)),
            (15, open(3)),
            (16, open(3)),
        ] {
            assert_eq!(standing(&RULE, &[0, 1, 5], at), expected, "{at}");
        }
    }

    #[test]
    fn answers_are_counted_down_and_slide_out_of_the_window() {
        for (at, left) in [(10, 1), (14, 1), (15, 2), (24, 2), (25, 3)] {
            assert_eq!(standing(&RULE, &[0, 10], at), open(left), "{at}");
        }
    }

    #[test]
    fn wrong_answers_further_apart_than_the_window_never_lock() {
        assert_eq!(standing(&RULE, &[0, 8, 16, 24, 32], 32), open(1));
        assert_eq!(standing(&RULE, &[0, 8, 15], 15), open(1));
    }

    #[test]
    fn answers_that_led_to_a_lock_stop_counting_when_it_runs_out() {
        let mut wrong = vec![minute(0); 3];
        RULE.forget(&mut wrong, minute(9));
        assert_eq!(wrong.len(), 3);
        RULE.forget(&mut wrong, minute(10));
        assert!(wrong.is_empty());
    }

    #[test]
    fn a_lock_longer_than_the_window_holds() {
        let rule = Rule {
            lock_time: Span::from_minutes(60),
            ..RULE
        };
        let mut wrong = vec![minute(0); 3];
        rule.forget(&mut wrong, minute(59));
        assert_eq!(wrong.len(), 3);
        assert_eq!(standing(&rule, &[0, 0, 0], 59), refused(60));
        assert_eq!(standing(&rule, &[0, 0, 0], 60), open(3));
    }

    #[test]
    fn zero_is_no_limit() {
        let rule = Rule { most: 0, ..RULE };
        let unlimited = Standing::Open {
            left: None,
            codes: Codes::One,
        };
        assert_eq!(standing(&rule, &[0, 0, 0], 0), unlimited);
    }
}
