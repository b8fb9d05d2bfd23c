//! Digits: a code of each device, one that was sent, and a scratch code, all at once.

use super::device::{Fit, known_devices, newly_out_of_reach, try_bound_device, try_device};
use super::{Accepted, Case, Verdict, WrongReason};
use crate::answer::TypedCode;
use crate::backup_code::ScratchCode;
use crate::contact::Contact;
use crate::device::{Device, DeviceId};
use crate::otp::{Digits, Period, Step};
use crate::record::State;
use crate::throttle::{Codes, Firsts, Mark};
use crate::time::Time;

/// How long the first of two codes that are sent waits for the second, in seconds: each of them has to arrive.
const MARK_OF_A_SENT_CODE: u8 = 240;

/// The same of a device's code. One of an event token has no end of its own: it waits as long as any.
fn mark_lasts(device: &Device) -> u8 {
    let period = device.otp.period().map_or(Period::MAX, Period::get);
    period.saturating_mul(2)
}

/// What digits turn out to be.
struct Found<'e> {
    /// The devices whose code it is, each at a step that is used up now.
    devices: Vec<(&'e Device, Step)>,
    /// To whom it was sent, and its length.
    sent: Option<(&'e Contact, Digits)>,
    /// How many backup codes are left, where it was one, and its length.
    scratch: Option<(u8, Digits)>,
    /// What is left by the first of two codes in a row, where it is one.
    first: Option<Mark>,
    /// Whether it is the first that waits already, and no longer for having come again.
    waits: bool,
    /// All that have been the first of two, this one too where it is one.
    firsts: Firsts,
    /// Why it is none, where it is nothing of all that.
    reason: WrongReason,
}

impl<'a> Case<'a> {
    /// Judges digits.
    pub(super) fn judge_code(&self, code: &TypedCode, state: &mut State) -> Verdict {
        let (source, now) = (self.attempt.source, self.attempt.now);
        let uncharged = state.tally.clone();
        state.tally.charge(source, self.limits, now);

        let mark = uncharged.mark_of(&source.address, now);
        let mut found = Found::nothing(match state.challenges.contacts.is_empty() {
            true => WrongReason::NoDevice,
            false => WrongReason::Mismatch,
        });
        // What a later one says of a first code or a reason takes the place of what was said before.
        self.hold_against_devices(code, mark, state, &mut found);
        self.hold_against_sent(code, mark, state, &mut found);
        self.hold_against_scratch_codes(code, state, &mut found);
        if found.is_right() {
            let first = mark.filter(|mark| found.is_second_of(mark));
            let first_at = first.map(|mark| mark.at);
            state.tally = uncharged;
            self.accepted(&found, first_at, state)
        } else {
            self.not_accepted(found, state)
        }
    }

    /// Charges a text in which there is no code. To the log it tells as much of the devices as a wrong code.
    pub(super) fn judge_no_code(&self, state: &mut State) -> Verdict {
        let (source, now) = (self.attempt.source, self.attempt.now);
        state.tally.charge(source, self.limits, now);
        self.not_accepted(Found::nothing(WrongReason::Malformed), state)
    }

    /// What the first of two codes leaves.
    fn mark(&self, device: DeviceId, step: Step, lasts: u8) -> Mark {
        Mark {
            address: self.attempt.source.address.clone(),
            device,
            step,
            at: self.attempt.now,
            lasts,
        }
    }

    fn hold_against_devices(
        &self,
        code: &TypedCode,
        mark: Option<&Mark>,
        state: &mut State,
        found: &mut Found<'a>,
    ) {
        let (now, verify) = (self.attempt.now, self.verify);
        let State {
            devices, firsts, ..
        } = state;
        found.firsts = *firsts;
        for (device, memory) in known_devices(self.enrollment, devices) {
            let code = code.of(device.otp.digits);
            let mark = mark.filter(|mark| mark.device == device.id);
            let fit = match self.enrollment.serves(device, self.attempt.ssh_keys) {
                true => try_device(device, memory, &code, mark, self.codes, now, verify),
                false => try_bound_device(device, memory, &code, now, verify),
            };
            match fit {
                Fit::Fresh(step) => found.devices.push((device, step)),
                Fit::First(step) => match mark.filter(|mark| mark.step == step) {
                    Some(_) => found.waits = true,
                    None if firsts.has(device.id, step) => found.reason = WrongReason::Replayed,
                    None => {
                        found.first = Some(self.mark(device.id, step, mark_lasts(device)));
                        found.firsts.add(device.id, step);
                    }
                },
                Fit::Bound => found.reason = WrongReason::Bound,
                Fit::Used => found.reason = WrongReason::Replayed,
                Fit::Nothing if found.reason == WrongReason::NoDevice => {
                    found.reason = WrongReason::Mismatch;
                }
                Fit::Nothing => {}
            }
        }
    }

    /// One that fits is used up, be it enough or only the first of two.
    fn hold_against_sent(
        &self,
        code: &TypedCode,
        mark: Option<&Mark>,
        state: &mut State,
        found: &mut Found<'a>,
    ) {
        let (binding, now) = (self.attempt.binding, self.attempt.now);
        let taken = code.each().find_map(|(digits, code)| {
            let id = state.challenges.take(binding, &code, now)?;
            Some((id, digits))
        });
        let Some((id, digits)) = taken else { return };
        let mut contacts = self.enrollment.contacts.iter();
        let Some(contact) = contacts.find(|contact| contact.id == id) else {
            return;
        };
        if self.codes == Codes::One || mark.is_some_and(|mark| mark.device == id) {
            found.sent = Some((contact, digits));
        } else {
            // Another one is sent for the second.
            found.first = Some(self.mark(id, Step(0), MARK_OF_A_SENT_CODE));
        }
    }

    /// Eight digits are too few to stand for two codes.
    fn hold_against_scratch_codes(
        &self,
        code: &TypedCode,
        state: &mut State,
        found: &mut Found<'a>,
    ) {
        if self.codes != Codes::One {
            return;
        }
        let scratch = code
            .each()
            .find_map(|(digits, code)| Some((ScratchCode::of(&code)?, digits)));
        let Some((code, digits)) = scratch else {
            return;
        };
        match self.use_up(&code, state) {
            Ok(left) => found.scratch = Some((left, digits)),
            Err(WrongReason::Replayed) => found.reason = WrongReason::Replayed,
            Err(_) => {}
        }
    }

    fn accepted(&self, found: &Found<'a>, first_at: Option<Time>, state: &mut State) -> Verdict {
        let (source, now) = (self.attempt.source, self.attempt.now);
        if let Some(at) = first_at {
            state.tally.take_back(source, at);
        }
        state.tally.accept(source, self.limits, now);
        state.share_floors(self.enrollment);
        // Of a device that is bound a place without its key would be a way round.
        let mut devices = found.devices.iter();
        if devices.all(|(device, _)| self.enrollment.serves(device, &[])) {
            self.propose_place(state);
        }
        let devices = found.devices.iter().map(|(device, _)| &device.name);
        let contact = found.sent.map(|(contact, _)| contact);
        Verdict::Accepted(Accepted {
            devices: devices
                .chain(contact.map(|contact| &contact.name))
                .cloned()
                .collect(),
            first_at,
            backup_left: found.scratch.map(|(left, _)| left),
            sent_by: contact.map(|contact| contact.recipient.channel()),
            digits: found.digits(),
        })
    }

    fn not_accepted(&self, found: Found<'a>, state: &mut State) -> Verdict {
        let (source, now) = (self.attempt.source, self.attempt.now);
        let reason = match found.first {
            _ if found.waits => WrongReason::First,
            Some(mark) => match state.tally.mark(mark, source, self.limits, now) {
                true => {
                    state.firsts = found.firsts;
                    WrongReason::First
                }
                false => WrongReason::Unmarked,
            },
            None => {
                state.tally.unmark(&source.address);
                found.reason
            }
        };
        let mut wrong = self.wrong(reason, state);
        wrong.out_of_reach = known_devices(self.enrollment, &mut state.devices)
            .find_map(|(device, memory)| newly_out_of_reach(device, memory, now, self.verify));
        Verdict::Wrong(wrong)
    }
}

impl Found<'_> {
    const fn nothing(reason: WrongReason) -> Self {
        Self {
            devices: Vec::new(),
            sent: None,
            scratch: None,
            first: None,
            waits: false,
            firsts: Firsts::NONE,
            reason,
        }
    }

    fn is_right(&self) -> bool {
        !self.devices.is_empty() || self.sent.is_some() || self.scratch.is_some()
    }

    /// Whether the code that left the mark was the first of two, and this one is the second.
    fn is_second_of(&self, mark: &Mark) -> bool {
        let follows = |(device, step): &(&Device, Step)| {
            device.id == mark.device && *step == mark.step.moved(1)
        };
        self.devices.iter().any(follows)
            || self
                .sent
                .is_some_and(|(contact, _)| contact.id == mark.device)
    }

    /// The length of the longest code that it was.
    fn digits(&self) -> Option<Digits> {
        let devices = self.devices.iter().map(|(device, _)| device.otp.digits);
        let sent = self.sent.map(|(_, digits)| digits);
        let scratch = self.scratch.map(|(_, digits)| digits);
        let lengths = devices.chain(sent).chain(scratch);
        lengths.max_by_key(|digits| digits.get())
    }
}
