//! The code that confirms a new device: whoever enrolls proves that the app has the key.

use crate::answer::Typed;
use crate::config::Verify;
use crate::device::Device;
use crate::doors::{Conversation, Echo, System};
use crate::message;
use crate::otp::Step;

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

/// Asks for a code of a device that nobody can log in with yet.
pub fn confirm(
    device: &Device,
    verify: &Verify,
    person: &mut dyn Conversation,
    system: &dyn System,
) -> Confirmation {
    for left in (0..TRIES).rev() {
        let Ok(answer) = person.ask(message::CONFIRM_PROMPT, Echo::On) else {
            return Confirmation::Aborted;
        };
        if let Typed::Code(code) = answer.typed() {
            let now = device.totp.period.step_at(system.now());
            let window = u16::from(verify.window.get());
            if let Some(step) = device
                .totp
                .matching_step(&device.secret, &code, now, window)
            {
                return Confirmation::Confirmed(step);
            }
        }
        person.tell(&message::not_confirmed(left));
    }
    Confirmation::Wrong
}
