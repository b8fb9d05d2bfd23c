//! A code held against one device: what it is there, and what the device's state learns of it.

use std::ops::RangeInclusive;

use crate::config::Verify;
use crate::device::{Device, DeviceName};
use crate::otp::{Code, MovingFactor, Period, Step};
use crate::reach::Reach;
use crate::record::Enrollment;
use crate::record::state::{DeviceState, Lean, Side};
use crate::throttle::{Codes, Mark};
use crate::time::{Span, Time};

/// The enrolled devices that a state knows, with what it knows of them.
pub(super) fn known_devices<'a, 's>(
    enrollment: &'a Enrollment,
    memories: &'s mut [DeviceState],
) -> impl Iterator<Item = (&'a Device, &'s mut DeviceState)> {
    memories.iter_mut().filter_map(|memory| {
        let device = enrollment
            .devices
            .iter()
            .find(|device| device.id == memory.id)?;
        Some((device, memory))
    })
}

/// How a code fits a device.
pub(super) enum Fit {
    /// It does, but the device is bound to an ssh key that the login has not shown.
    Bound,
    /// Accepted.
    Fresh(Step),
    /// Good as the first of two.
    First(Step),
    /// It does not.
    Nothing,
    /// It did, once.
    Used,
}

/// Holds a code against one device, and burns the step where it is accepted.
pub(super) fn try_device(
    device: &Device,
    memory: &mut DeviceState,
    code: &Code,
    mark: Option<&Mark>,
    codes: Codes,
    now: Time,
    verify: &Verify,
) -> Fit {
    let Device { otp, secret, .. } = device;
    let verify = &device.verify(verify);
    let matching = |steps: &RangeInclusive<Step>| otp.matching_step(secret, code, steps);
    let Reach { near, far } = Reach::of(otp, memory, now, verify);

    let second = mark.and_then(|mark| matching(&mark.step.moved(1).around(0)));
    if let (Some(mark), Some(step)) = (mark, second.filter(|step| !memory.is_used(*step))) {
        if let MovingFactor::Time(period) = otp.factor {
            show_drift(memory, period, mark, step, now, verify);
        }
        memory.burn(step, now);
        return Fit::Fresh(step);
    }
    match matching(&near) {
        Some(step) if memory.is_used(step) => return Fit::Used,
        Some(step) if codes == Codes::One && !memory.awaits_resync => {
            if let MovingFactor::Time(period) = otp.factor {
                learn_drift(memory, period, step, now, verify);
            }
            memory.burn(step, now);
            return Fit::Fresh(step);
        }
        _ => {}
    }
    match matching(&far) {
        None => Fit::Nothing,
        Some(step) if memory.is_used(step) => Fit::Used,
        Some(step) => Fit::First(step),
    }
}

/// Whether a code is that of a device that doesn't count: for the log, and at the same cost.
pub(super) fn try_bound_device(
    device: &Device,
    memory: &DeviceState,
    code: &Code,
    now: Time,
    verify: &Verify,
) -> Fit {
    let Device { otp, secret, .. } = device;
    let verify = &device.verify(verify);
    let Reach { near, .. } = Reach::of(otp, memory, now, verify);
    match otp.matching_step(secret, code, &near) {
        Some(_) => Fit::Bound,
        None => Fit::Nothing,
    }
}

/// Sets the drift to what two codes in a row have shown, where that is more than the window takes in.
fn show_drift(
    memory: &mut DeviceState,
    period: Period,
    mark: &Mark,
    step: Step,
    now: Time,
    verify: &Verify,
) {
    // Whoever types late shows a clock that is behind, never one that is ahead.
    let first = mark.step.offset_from(period.step_at(mark.at));
    let shown = first.max(step.offset_from(period.step_at(now)));
    if shown.abs_diff(i64::from(memory.drift)) > u64::from(verify.window.get()) {
        memory.drift = i16::try_from(shown).unwrap_or(memory.drift);
    }
    memory.lean = None;
}

/// Moves the drift by one step towards the side that accepted codes have lain on, without a break, for
/// more than an hour.
fn learn_drift(memory: &mut DeviceState, period: Period, step: Step, now: Time, verify: &Verify) {
    const LONG_ENOUGH: Span = Span::from_minutes(60);
    let (side, towards) = match step.offset_from(memory.step_at(period, now)) {
        0 => {
            memory.lean = None;
            return;
        }
        1.. => (Side::Ahead, 1),
        _ => (Side::Behind, -1),
    };
    let since = match memory.lean {
        Some(lean) if lean.side == side => lean.since,
        _ => now,
    };
    memory.lean = Some(Lean { side, since });
    if now.since(since) > LONG_ENOUGH {
        let drift = memory.drift.saturating_add(towards);
        // A limit that was lowered does not keep a device from coming back.
        let limit = u16::from(verify.max_drift.get()).max(memory.drift.unsigned_abs());
        if drift.unsigned_abs() <= limit {
            memory.drift = drift;
        }
        memory.lean = None;
    }
}

/// The device and the end of the wait, where no code of it can be accepted for over an hour and nobody was
/// told.
pub(super) fn newly_out_of_reach(
    device: &Device,
    memory: &mut DeviceState,
    now: Time,
    verify: &Verify,
) -> Option<(DeviceName, Time)> {
    const TOLERABLE: Span = Span::from_minutes(60);
    let period = device.otp.period()?;
    let floor = memory.floor.filter(|_| !memory.floor_reported)?;
    let reach = memory
        .step_at(period, now)
        .moved(i32::from(device.verify(verify).window.get()));
    let steps = floor.offset_from(reach).saturating_add(1);
    let seconds = steps.saturating_mul(i64::from(period.get()));
    memory.floor_reported = seconds > i64::from(TOLERABLE.seconds());
    let until = Time::from_unix(now.unix().saturating_add(seconds));
    memory.floor_reported.then(|| (device.name.clone(), until))
}
