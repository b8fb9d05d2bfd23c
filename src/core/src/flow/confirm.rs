//! The code that confirms a new device: whoever enrolls proves that the app has the key.

use crate::answer::{Answer, Typed};
use crate::config::Verify;
use crate::device::Device;
use crate::doors::{Conversation, Echo, System};
use crate::message;
use crate::otp::Step;
use crate::time::Time;

/// How a confirmation ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confirmation {
    /// The person went away.
    Aborted,
    /// The right code was typed. Its step is used up from the start.
    Confirmed(Step),
    /// [`TRIES`] wrong codes were typed.
    Wrong,
}

/// How many codes may be tried.
pub const TRIES: u8 = 3;

/// Asks for a code of a device that nobody can log in with yet, whose clock is known to be `drift` steps ahead.
pub fn confirm(
    device: &Device,
    drift: i16,
    verify: &Verify,
    person: &mut dyn Conversation,
    system: &dyn System,
) -> Confirmation {
    for left in (0..TRIES).rev() {
        let Ok(answer) = person.ask(message::CONFIRM_PROMPT, Echo::On) else {
            return Confirmation::Aborted;
        };
        if let Some(step) = confirming_step(device, drift, &answer, verify, system.now()) {
            return Confirmation::Confirmed(step);
        }
        person.tell(&message::not_confirmed(left));
    }
    Confirmation::Wrong
}

/// The step of a code that confirms a device, where it is one.
pub(crate) fn confirming_step(
    device: &Device,
    drift: i16,
    answer: &Answer,
    verify: &Verify,
    now: Time,
) -> Option<Step> {
    let Typed::Code(code) = answer.typed() else {
        return None;
    };
    let Device { totp, secret, .. } = device;
    let centre = totp.period.step_at(now).moved(i32::from(drift));
    totp.matching_step(secret, &code, centre, u16::from(verify.window.get()))
}
