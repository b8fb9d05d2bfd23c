//! Where the codes of a device are looked for.

use std::ops::RangeInclusive;

use crate::config::Verify;
use crate::otp::{MovingFactor, Otp, Step};
use crate::record::state::DeviceState;
use crate::time::Time;

/// The steps whose codes are worth something now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reach {
    /// One code of these is enough. Those that are used up are among them, to tell a replay from a guess.
    pub near: RangeInclusive<Step>,
    /// A code of these is good as the first of two in a row.
    pub far: RangeInclusive<Step>,
}

impl Reach {
    /// Counters after the last accepted one that are enough singly: the look-ahead window s of RFC 4226 section 7.2.
    pub const LOOK_AHEAD: u16 = 10;
    /// Counters after the last accepted one that resynchronise (RFC 4226 section 7.4).
    pub const RESYNC: u16 = 100;
    /// The same where the counter is not known, or root asks.
    pub const WIDE_RESYNC: u16 = 10_000;

    /// That of a device of which so much is known.
    #[must_use]
    pub fn of(otp: &Otp, known: &DeviceState, now: Time, verify: &Verify) -> Self {
        match otp.factor {
            MovingFactor::Counter => {
                let next = known.next();
                let after = |count: u16| next.moved(i32::from(count).saturating_sub(1));
                let used = next.moved(i32::from(Self::LOOK_AHEAD).saturating_neg());
                let resync = match known.awaits_resync {
                    true => Self::WIDE_RESYNC,
                    false => Self::RESYNC,
                };
                Self {
                    near: used..=after(Self::LOOK_AHEAD),
                    far: next..=after(resync),
                }
            }
            MovingFactor::Time(period) => {
                let window = u16::from(verify.window.get());
                // A phone that has drifted within its own window is in reach as well.
                let drifted = known.drift.unsigned_abs().saturating_add(window);
                let range = u16::from(verify.resync_range.get()).max(drifted);
                Self {
                    near: known.step_at(period, now).around(window),
                    far: period.step_at(now).around(range),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceId;

    #[test]
    fn a_counter_is_looked_for_ahead_of_the_last_one() {
        let otp = Otp {
            factor: MovingFactor::Counter,
            ..Otp::default()
        };
        let reach = |floor, awaits_resync| {
            let known = DeviceState {
                awaits_resync,
                ..DeviceState::new(DeviceId(1), floor)
            };
            Reach::of(&otp, &known, Time::from_unix(0), &Verify::default())
        };
        let steps = |from, to| Step(from)..=Step(to);
        for (floor, awaits_resync, near, far) in [
            (None, false, steps(0, 9), steps(0, 99)),
            (Some(Step(0)), false, steps(0, 10), steps(1, 100)),
            (Some(Step(500)), false, steps(491, 510), steps(501, 600)),
            (None, true, steps(0, 9), steps(0, 9_999)),
            (Some(Step(500)), true, steps(491, 510), steps(501, 10_500)),
        ] {
            assert_eq!(reach(floor, awaits_resync), Reach { near, far });
        }
        let last = reach(Some(Step(u64::MAX)), false);
        assert_eq!(last.far, steps(u64::MAX, u64::MAX), "and that one is used");
    }
}
