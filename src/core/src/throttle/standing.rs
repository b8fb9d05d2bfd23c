//! Where somebody stands who wants to answer.

use crate::throttle::Rule;
use crate::time::Time;

/// Whether an answer would be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It would.
    Open {
        /// Wrong answers left before a lock; `None` where there is no limit.
        left: Option<u8>,
        /// What is judged.
        codes: Codes,
    },
    /// It would not: neither judged nor charged.
    Refused(Refusal),
}

/// How many codes let somebody in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Codes {
    /// One.
    One,
    /// Two in a row, one at a prompt: too many wrong answers were given for one to be believed.
    Two,
}

/// Why no answer is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// When the lock runs out.
    pub until: Time,
    /// What locked.
    pub limit: Limit,
}

/// A limit that locks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// `address_deny`: by address, of all users.
    Address,
    /// `deny`: by user and address.
    Place,
}

impl Standing {
    /// No limit holds.
    pub const UNLIMITED: Self = Self::Open {
        left: None,
        codes: Codes::One,
    };

    /// What holds where both `self` and `other` do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused(one), Self::Refused(two)) => {
                Self::Refused(if one.until < two.until { two } else { one })
            }
            (refused @ Self::Refused(_), _) | (_, refused @ Self::Refused(_)) => refused,
            (
                Self::Open { left, codes },
                Self::Open {
                    left: other,
                    codes: asked,
                },
            ) => Self::Open {
                left: left.into_iter().chain(other).min(),
                codes: codes.max(asked),
            },
        }
    }

    /// Whether nothing is counted by `rule`.
    #[must_use]
    pub fn is_unused(&self, rule: &Rule) -> bool {
        match self {
            Self::Open { left, .. } => left.is_none_or(|left| left >= rule.most),
            Self::Refused(_) => false,
        }
    }

    /// Whether an answer would be judged, and one right code be enough.
    #[must_use]
    pub fn takes_one_code(&self) -> bool {
        matches!(
            self,
            Self::Open {
                codes: Codes::One,
                ..
            }
        )
    }

    /// Why no answer is judged, where none is.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            Self::Open { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::Limits;
    use crate::time::Span;

    fn refused(until: i64, limit: Limit) -> Standing {
        let until = Time::from_unix(until);
        Standing::Refused(Refusal { until, limit })
    }

    fn open(left: Option<u8>, codes: Codes) -> Standing {
        Standing::Open { left, codes }
    }

    #[test]
    fn of_two_standings_the_stricter_holds() {
        let (place, address) = (refused(1, Limit::Place), refused(2, Limit::Address));
        let free = open(Some(3), Codes::One);
        for (one, other, both) in [
            (place, address, address),
            (address, place, address),
            (place, refused(1, Limit::Address), place),
            (place, free, place),
            (free, place, place),
            (free, open(Some(2), Codes::Two), open(Some(2), Codes::Two)),
            (open(Some(1), Codes::Two), free, open(Some(1), Codes::Two)),
            (free, Standing::UNLIMITED, free),
        ] {
            assert_eq!(one.and(other), both, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_a_standing_says_can_be_asked_for() {
        let rule = Rule {
            most: 3,
            interval: Span::from_minutes(15),
            lock_time: Limits::default().lock_time,
        };
        for (standing, is_unused, takes_one, is_refused) in [
            (open(Some(3), Codes::One), true, true, false),
            (open(None, Codes::Two), true, false, false),
            (open(Some(2), Codes::One), false, true, false),
            (refused(1, Limit::Place), false, false, true),
        ] {
            assert_eq!(standing.is_unused(&rule), is_unused, "{standing:?}");
            assert_eq!(standing.takes_one_code(), takes_one, "{standing:?}");
            assert_eq!(standing.refusal().is_some(), is_refused, "{standing:?}");
        }
    }
}
