//! The code that confirms a new device: whoever enrolls proves that the app has the key.

use crate::answer::{Answer, Typed};
use crate::config::Verify;
use crate::device::Device;
use crate::doors::{Conversation, Echo, System};
use crate::message;
use crate::otp::Step;
use crate::reach::Reach;
use crate::record::state::DeviceState;
use crate::time::Time;

/// How a confirmation ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Confirmation {
    /// The person went away.
    Aborted,
    /// The right code was typed: so much is known of the device. Its step is used up from the start.
    Confirmed(DeviceState),
    /// [`TRIES`] wrong codes were typed.
    Wrong,
}

/// How many codes may be tried.
pub const TRIES: u8 = 3;

/// So many empty lines come from no person.
const MOST_EMPTY: u8 = 10;

/// Asks for a code of a device that nobody can log in with yet. What may be `known` of it is its drift, or its counter:
/// the first counts that the code fits.
pub fn confirm(
    device: &Device,
    known: &[DeviceState],
    verify: &Verify,
    person: &mut dyn Conversation,
    system: &dyn System,
) -> Confirmation {
    let mut empty: u8 = 0;
    for left in (0..TRIES).rev() {
        let answer = loop {
            match person.ask(message::CONFIRM_PROMPT, Echo::On) {
                // Enter alone is no code, and costs no try.
                Ok(answer) if matches!(answer.typed(), Typed::Empty) => {}
                Ok(answer) => break answer,
                Err(_) => return Confirmation::Aborted,
            }
            empty = empty.saturating_add(1);
            if empty == MOST_EMPTY {
                return Confirmation::Aborted;
            }
        };
        let now = system.now();
        let mut confirmed = known.iter().filter_map(|known| {
            let used = confirming_step(device, known, &answer, verify, now)?;
            let floor = Some(used);
            Some(DeviceState {
                floor,
                ..known.clone()
            })
        });
        if let Some(known) = confirmed.next() {
            return Confirmation::Confirmed(known);
        }
        person.tell(&message::not_confirmed(left));
    }
    Confirmation::Wrong
}

/// The step of a code that confirms a device, where it is one.
pub(crate) fn confirming_step(
    device: &Device,
    known: &DeviceState,
    answer: &Answer,
    verify: &Verify,
    now: Time,
) -> Option<Step> {
    let Typed::Code(code) = answer.typed() else {
        return None;
    };
    let Reach { near, .. } = Reach::of(&device.otp, known, now, verify);
    let step = device
        .otp
        .matching_step(&device.secret, &code.of(device.otp.digits), &near);
    step.filter(|step| !known.is_used(*step))
}
