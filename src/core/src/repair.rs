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
                let latest = period.step_at(now).moved(window);
                known.floor = known.floor.max(Some(latest));
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
