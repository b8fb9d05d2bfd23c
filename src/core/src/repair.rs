//! What root sets right: a state after a loss, and a device whose clock or counter is off.

use crate::address::Address;
use crate::answer::Answer;
use crate::challenge::Binding;
use crate::config::Verify;
use crate::device::{Device, DeviceName};
use crate::judge::{Attempt, Verdict, judge};
use crate::otp::MovingFactor;
use crate::record::state::DeviceState;
use crate::record::{Enrollment, State};
use crate::throttle::{Codes, Firsts, Limits, Source, Tally};
use crate::time::Time;

/// A state in which the devices of an enrollment, and no others, have used up every code that may have been accepted by
/// now, and event tokens wait for two codes in a row. Backup codes are void; what is known beside that is kept.
#[must_use]
pub fn repair(enrolled: &Enrollment, state: State, verify: &Verify, now: Time) -> State {
    let mut state = state.as_of(now);
    let window = i32::from(verify.window.get());
    let devices = enrolled.devices.iter().map(|device| {
        let known = state.device(device.id).cloned();
        let mut known = known.unwrap_or_else(|| DeviceState::of(device, None));
        match device.otp.factor {
            // A state from a backup is whole, too, and its counter is an old one.
            MovingFactor::Counter => known.awaits_resync = true,
            MovingFactor::Time(period) => {
                // A phone that is ahead has shown more; one that is behind may have been set right since.
                let latest = period.step_at(now).max(known.step_at(period, now));
                known.floor = known.floor.max(Some(latest.moved(window)));
            }
        }
        known
    });
    state.devices = devices.collect();
    // Which of them were used is not to be known any more.
    state.sets.clear();
    state.trusts.clear();
    let contacts = enrolled.contacts.iter().map(|contact| contact.id);
    state.challenges.contacts = contacts.collect();
    state.challenges.pending.clear();
    state
}

/// They are no two codes in a row of the device near this time or its counter, or were used before. Not even root is
/// told which of them is wrong: the first could be guessed by that, uncounted and unused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfStep;

/// Sets a device's drift or counter right by two codes in a row, each with the time at which it was given. Nothing is
/// counted and no limit holds: root asks. The state that comes back is that of `now`: others may have saved since.
///
/// # Errors
/// [`OutOfStep`]; nothing is to be saved then.
pub fn resync(
    enrolled: &Enrollment,
    mut state: State,
    device: &DeviceName,
    codes: [(&Answer, Time); 2],
    verify: &Verify,
    now: Time,
) -> Result<State, OutOfStep> {
    state.share_floors(enrolled);
    // This device alone: others may have its secret, and no backup code stands for one of its codes. Nobody has come
    // by ssh.
    let device = Device {
        ssh_key: None,
        ..enrolled.device(device).cloned().ok_or(OutOfStep)?
    };
    let id = device.id;
    let alone = Enrollment {
        devices: vec![device],
        ..Enrollment::new(enrolled.uid)
    };
    let mut trial = State {
        tally: Tally::default(),
        // Whoever has it set right has tried to log in before.
        firsts: Firsts::default(),
        ..state.clone()
    };
    // However far the counter of an event token has got.
    let mut known = trial.devices.iter_mut();
    if let Some(known) = known.find(|known| known.id == id) {
        known.awaits_resync = true;
    }
    let source = Source::from(Address::Local);
    for (answer, at) in codes {
        let attempt = Attempt {
            answer,
            source: &source,
            binding: Binding::of("", &source.address),
            ssh_keys: &[],
            place: None,
            codes: Codes::Two,
            now: at,
        };
        // Without any wrong answer before, the first of two codes keeps the second out by no limit.
        let (verdict, decided) = judge(&alone, trial, &attempt, verify, &Limits::default());
        if let Verdict::Accepted(_) = verdict {
            // What is known of limits, counts, other codes and other devices is of logins, and stays.
            let mut known = state.devices.iter_mut();
            let known = known.find(|known| known.id == id).ok_or(OutOfStep)?;
            *known = decided.device(id).ok_or(OutOfStep)?.clone();
            state.share_floors(enrolled);
            return Ok(state.as_of(now));
        }
        trial = decided;
    }
    Err(OutOfStep)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::device::DeviceId;
    use crate::otp::{Otp, Period, Step};
    use crate::secret::Secret;

    /// The beginning of a step.
    const NOON: i64 = 1_800_000_000;

    /// Somebody whose phone is known to be `drift` steps ahead.
    fn person(drift: i16) -> (Enrollment, State) {
        let device = Device {
            id: DeviceId(1),
            name: DeviceName::default(),
            otp: Otp::default(),
            secret: Secret::from_bytes(vec![1; Secret::NEW_BYTES].into()).unwrap(),
            enrolled: at(0),
            ssh_key: None,
            window: None,
        };
        let mut state = State::new(at(0));
        state.devices.push(DeviceState {
            drift,
            ..DeviceState::of(&device, None)
        });
        let enrolled = Enrollment {
            devices: vec![device],
            ..Enrollment::new(1000)
        };
        (enrolled, state)
    }

    /// So many steps after noon.
    fn at(steps: i32) -> Time {
        let period = i64::from(Period::default().get());
        Time::from_unix(NOON.saturating_add(i64::from(steps).saturating_mul(period)))
    }

    fn step(steps: i32) -> Step {
        Period::default().step_at(at(0)).moved(steps)
    }

    /// Types the code of a step.
    fn login(enrolled: &Enrollment, state: &mut State, code: i32, now: Time) -> Verdict {
        let device = enrolled.devices.first().unwrap();
        let code = device.otp.code(&device.secret, step(code)).to_digits();
        let source = Source::from(Address::Local);
        let attempt = Attempt {
            answer: &Answer::new(Zeroizing::new(code.as_bytes().to_vec())),
            source: &source,
            binding: Binding::of("sshd", &source.address),
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now,
        };
        let (verify, limits) = (Verify::default(), Limits::default());
        let (verdict, decided) = judge(enrolled, state.clone(), &attempt, &verify, &limits);
        *state = decided;
        verdict
    }

    #[test]
    fn codes_of_a_phone_that_is_ahead_are_used_up_though_its_state_is_from_a_backup() {
        let (enrolled, backup) = person(10);
        let mut state = backup.clone();
        for overheard in [10, 11] {
            let verdict = login(&enrolled, &mut state, overheard, at(0));
            assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
        }
        let repaired = repair(&enrolled, backup, &Verify::default(), at(4));
        for later in 4..14 {
            let mut state = repaired.clone();
            for overheard in [10, 11] {
                let verdict = login(&enrolled, &mut state, overheard, at(later));
                assert!(matches!(verdict, Verdict::Wrong(_)), "{later}: {verdict:?}");
            }
        }
        let verdict = login(&enrolled, &mut repaired.clone(), 16, at(6));
        assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    }

    #[test]
    fn all_codes_until_now_are_used_up_by_the_clock_that_is_further_ahead() {
        for (drift, latest) in [(0, 1), (-10, 1), (1, 2), (10, 11)] {
            let (enrolled, state) = person(drift);
            let state = repair(&enrolled, state, &Verify::default(), at(0));
            let known = state.device(DeviceId(1)).unwrap();
            assert_eq!(known.floor, Some(step(latest)), "{drift}");
        }
        let (enrolled, mut state) = person(10);
        state.devices.first_mut().unwrap().floor = Some(step(30));
        let state = repair(&enrolled, state, &Verify::default(), at(0));
        let known = state.device(DeviceId(1)).unwrap();
        assert_eq!(known.floor, Some(step(30)), "no floor falls");
    }
}
