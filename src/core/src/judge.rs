//! The decision: what an answer is worth, and what is remembered of it.
//!
//! [`judge`] is the body of a transaction. Its caller reads the enrollment and the state after the
//! person has answered, under the user's lock; saves the state that comes back; and tells nobody the
//! verdict before that save is durable. What holds by this function alone:
//!
//! * a step is accepted once: the floor of a device never falls, and no step at or below it is accepted. Of an event
//!   token the floor is its counter, kept nowhere else;
//! * no guess is free: every answer that is judged is charged first, and only an accepted one clears;
//! * an answer is refused, unjudged and free of charge, while its address is locked;
//! * a code that was sent is accepted once, for the login that it was sent for;
//! * an answer is one guess at each code that there is, also where a password goes before it;
//! * two codes in a row are accepted where one is too far from the device's time or counter, or no longer enough. The first
//!   leaves a mark and counts as a wrong answer until the second has come; each mark is good for one try.

use std::ops::RangeInclusive;

use crate::answer::{Answer, Typed};
use crate::backup_code::{
    BackupCode, BackupKey, BackupSet, ScratchCode, SetId, Symbols, UsedCodes,
};
use crate::challenge::Binding;
use crate::config::Verify;
use crate::contact::{Channel, Recipient};
use crate::device::{Device, DeviceName};
use crate::otp::{Code, Digits, MovingFactor, Period, Step};
use crate::reach::Reach;
use crate::record::state::{DeviceState, Lean, Side};
use crate::record::{Enrollment, Invite, State};
use crate::ssh_key::Fingerprint;
use crate::throttle::{Codes, Limits, Mark, Refusal, Source, Standing};
use crate::time::{Span, Time};
use crate::trust;

/// An answer to a prompt, with where and when it was given.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// What was typed.
    pub answer: &'a Answer,
    /// Where it came from.
    pub source: &'a Source,
    /// The service and the address that a code may have been sent for.
    pub binding: Binding,
    /// The keys that the login has shown: a device that is bound to another one does not count.
    pub ssh_keys: &'a [Fingerprint],
    /// The place that is to be trusted once the login has succeeded, where the policy has that.
    pub place: Option<trust::Place>,
    /// What is judged at least: limits that are not this user's may ask for two codes.
    pub codes: Codes,
    /// When it is judged.
    pub now: Time,
}

/// What an answer is worth.
#[must_use]
#[derive(Debug)]
pub enum Verdict {
    /// The person has the second factor.
    Accepted(Accepted),
    /// The person has the backup key: all devices and codes go, and the key with them.
    BackupKey {
        /// The proof.
        accepted: Accepted,
        /// Who is told of it, since no record says so any more.
        owner: Option<Recipient>,
    },
    /// Somebody who is not enrolled may enroll.
    Invited(Entitled),
    /// Nothing was typed: not judged, not charged.
    Empty,
    /// The address is locked: not judged, not charged.
    Refused(Refusal),
    /// Judged and charged.
    Wrong(Wrong),
}

/// The proof that a code was accepted. Only [`judge`] makes one.
#[derive(Debug)]
pub struct Accepted {
    devices: Vec<DeviceName>,
    first_at: Option<Time>,
    backup_left: Option<u8>,
    sent_by: Option<Channel>,
    digits: Option<Digits>,
}

impl Accepted {
    const fn of_no_device() -> Self {
        Self {
            devices: Vec::new(),
            first_at: None,
            backup_left: None,
            sent_by: None,
            digits: None,
        }
    }

    /// The length of the code, where it was one of digits; of the longest, where it was several at once.
    #[must_use]
    pub fn digits(&self) -> Option<Digits> {
        self.digits
    }

    /// The devices and contacts whose code it was: one, or by a rare chance several.
    #[must_use]
    pub fn devices(&self) -> &[DeviceName] {
        &self.devices
    }

    /// How many backup codes are left, where it was one.
    #[must_use]
    pub fn backup_left(&self) -> Option<u8> {
        self.backup_left
    }

    /// How the code was sent, where it was one that was.
    #[must_use]
    pub fn sent_by(&self) -> Option<Channel> {
        self.sent_by
    }

    /// When the first code was given, where it was the second of two in a row.
    #[must_use]
    pub fn first_at(&self) -> Option<Time> {
        self.first_at
    }
}

/// The proof that somebody may enroll at a login.
#[derive(Debug)]
pub struct Entitled {
    invite: Option<SetId>,
    since: Time,
}

impl Entitled {
    /// By something that this login has shown: the account's password, or its backup key.
    pub(crate) fn by_login(since: Time) -> Self {
        Self {
            invite: None,
            since,
        }
    }

    /// Whether it has come to its end: nobody holds a conversation open until the policy has changed.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        const LASTS: Span = Span::from_minutes(15);
        now < self.since || now > self.since.after(LASTS)
    }

    /// The invite that it is by, where it is by one. It is used up when the device becomes active.
    #[must_use]
    pub fn invite(&self) -> Option<SetId> {
        self.invite
    }
}

/// An answer that was not accepted.
#[derive(Debug)]
pub struct Wrong {
    /// Why, for the log alone: a person is told the same in each case.
    pub reason: WrongReason,
    /// How many codes would have been needed.
    pub codes: Codes,
    /// How many are needed from now on.
    pub needed: Codes,
    /// Where the address stands now.
    pub standing: Standing,
    /// A device whose codes are all used up for over an hour, and until when: the clock went back. Told
    /// once.
    pub out_of_reach: Option<(DeviceName, Time)>,
}

/// Why an answer was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrongReason {
    /// A right code, but the first of two that are needed.
    First,
    /// No code.
    Malformed,
    /// A code of a device that is bound to an ssh key which the login has not shown.
    Bound,
    /// A code, but of no device at this time.
    Mismatch,
    /// The state knows none of the devices enrolled.
    NoDevice,
    /// No code but a password, and not the right one.
    Password,
    /// A code of a step that is used up.
    Replayed,
}

/// Judges one answer.
#[must_use = "an unsaved state makes a guess free and a code reusable"]
pub fn judge(
    enrollment: &Enrollment,
    state: State,
    attempt: &Attempt<'_>,
    verify: &Verify,
    limits: &Limits,
) -> (Verdict, State) {
    let (verdict, mut state) = judge_answer(enrollment, state, attempt, verify, limits);
    if let Verdict::Wrong(_) = verdict {
        state.challenges.miss(attempt.binding);
    }
    (verdict, state)
}

fn judge_answer(
    enrollment: &Enrollment,
    state: State,
    attempt: &Attempt<'_>,
    verify: &Verify,
    limits: &Limits,
) -> (Verdict, State) {
    let Attempt {
        answer,
        source,
        now,
        ..
    } = *attempt;
    let mut state = state.as_of(now);
    state.share_floors(enrollment);

    let codes = match state.standing(source, limits, now) {
        Standing::Refused(refusal) => return (Verdict::Refused(refusal), state),
        Standing::Open { codes, .. } => codes.max(attempt.codes),
    };
    let code = match answer.typed() {
        Typed::Empty => return (Verdict::Empty, state),
        Typed::Code(code) => Some(code),
        Typed::Backup(code) if enrollment.invite.is_some() => {
            return judge_invite(enrollment, state, &code, codes, attempt, limits);
        }
        Typed::Backup(code) => {
            return judge_backup(enrollment, state, &code, codes, attempt, limits);
        }
        Typed::Key(key) => return judge_key(enrollment, state, &key, codes, attempt, limits),
        Typed::Other => None,
    };
    let uncharged = state.tally.clone();
    state.tally.charge(source, limits, now);

    let mark = uncharged.mark_of(&source.address, now);
    let (mut accepted, mut first) = (Vec::new(), None);
    let mut reason = match code {
        None => WrongReason::Malformed,
        Some(_) if state.challenges.contacts.is_empty() => WrongReason::NoDevice,
        Some(_) => WrongReason::Mismatch,
    };
    for (device, memory) in known_devices(enrollment, &mut state) {
        let Some(code) = &code else { break };
        let code = code.of(device.otp.digits);
        let mark = mark.filter(|mark| mark.device == device.id);
        let fit = match enrollment.serves(device, attempt.ssh_keys) {
            true => try_device(device, memory, &code, mark, codes, now, verify),
            false => try_bound_device(device, memory, &code, now, verify),
        };
        match fit {
            Fit::Bound => reason = WrongReason::Bound,
            Fit::Fresh(step) => accepted.push((device, step)),
            Fit::First(step) => {
                // A code of an event token has no end of its own: it waits as long as any.
                let period = device.otp.period().map_or(Period::MAX, Period::get);
                let lasts = period.saturating_mul(2);
                first = Some((device.id, step, lasts));
            }
            Fit::Used => reason = WrongReason::Replayed,
            Fit::None if reason == WrongReason::NoDevice => reason = WrongReason::Mismatch,
            Fit::None => {}
        }
    }

    let sent = code.as_ref().and_then(|code| {
        let mut each = code.each();
        let (id, digits) = each.find_map(|(digits, code)| {
            Some((state.challenges.take(attempt.binding, &code, now)?, digits))
        })?;
        let contact = enrollment.contacts.iter().find(|contact| contact.id == id);
        Some((contact?, digits))
    });
    let mut delivered = None;
    if let Some((contact, _)) = sent {
        let is_second = mark.is_some_and(|mark| mark.device == contact.id);
        if codes == Codes::One || is_second {
            delivered = Some(contact);
        } else {
            // Another one is sent for the second.
            first = Some((contact.id, Step(0), MARK_OF_A_SENT_CODE));
        }
    }

    // Eight digits are too few to stand for two codes.
    let scratch = code.as_ref().filter(|_| codes == Codes::One);
    let scratch = scratch.and_then(|code| {
        let mut each = code.each();
        each.find_map(|(digits, code)| Some((ScratchCode::of(&code)?, digits)))
    });
    let used_up = scratch
        .as_ref()
        .map(|(code, _)| use_up(enrollment, &mut state, code));
    let backup_left = match used_up {
        Some(Ok(left)) => Some(left),
        Some(Err(WrongReason::Replayed)) => {
            reason = WrongReason::Replayed;
            None
        }
        _ => None,
    };

    if accepted.is_empty() && delivered.is_none() && backup_left.is_none() {
        match first {
            None => state.tally.unmark(&source.address),
            Some((device, step, lasts)) => {
                reason = WrongReason::First;
                let mark = Mark {
                    address: source.address.clone(),
                    device,
                    step,
                    at: now,
                    lasts,
                };
                state.tally.mark(mark, source, limits, now);
            }
        }
        let standing = state.standing(source, limits, now);
        let out_of_reach = known_devices(enrollment, &mut state)
            .find_map(|(device, memory)| newly_out_of_reach(device, memory, now, verify));
        let wrong = Wrong {
            reason,
            codes,
            needed: state.codes_needed(source, limits, now),
            standing,
            out_of_reach,
        };
        (Verdict::Wrong(wrong), state)
    } else {
        let second = mark.filter(|mark| {
            let is_second = |(device, step): &(&Device, Step)| {
                device.id == mark.device && *step == mark.step.moved(1)
            };
            accepted.iter().any(is_second)
                || delivered.is_some_and(|contact| contact.id == mark.device)
        });
        let first_at = second.map(|mark| mark.at);
        state.tally = uncharged;
        if let Some(at) = first_at {
            state.tally.take_back(source, at);
        }
        state.tally.accept(source, limits, now);
        state.share_floors(enrollment);
        // Of a device that is bound a place without its key would be a way round.
        let is_bound = accepted
            .iter()
            .any(|(device, _)| !enrollment.serves(device, &[]));
        if let Some(place) = attempt.place.filter(|_| !is_bound) {
            state.trusts.propose(place, now);
        }
        let lengths = accepted.iter().map(|(device, _)| device.otp.digits);
        let lengths = lengths
            .chain(delivered.and(sent).map(|(_, digits)| digits))
            .chain(backup_left.and(scratch).map(|(_, digits)| digits));
        let digits = lengths.max_by_key(|digits| digits.get());
        let devices = accepted.iter().map(|(device, _)| &device.name);
        let devices = devices.chain(delivered.map(|contact| &contact.name));
        let accepted = Accepted {
            devices: devices.cloned().collect(),
            first_at,
            backup_left,
            sent_by: delivered.map(|contact| contact.recipient.channel()),
            digits,
        };
        (Verdict::Accepted(accepted), state)
    }
}

/// Judges a backup code. One is enough where two codes in a row are needed of a device, and ends that for the user.
fn judge_backup(
    enrollment: &Enrollment,
    mut state: State,
    code: &BackupCode,
    codes: Codes,
    attempt: &Attempt<'_>,
    limits: &Limits,
) -> (Verdict, State) {
    let Attempt { source, now, .. } = *attempt;
    match use_up(enrollment, &mut state, code) {
        Ok(left) => {
            state.tally.accept(source, limits, now);
            state.tally.forget_total(source);
            if let Some(place) = attempt.place {
                state.trusts.propose(place, now);
            }
            let accepted = Accepted {
                backup_left: Some(left),
                ..Accepted::of_no_device()
            };
            (Verdict::Accepted(accepted), state)
        }
        Err(reason) => (charged(reason, codes, &mut state, attempt, limits), state),
    }
}

/// Uses a backup code up, and tells how many are left.
///
/// # Errors
/// Why it is none.
fn use_up<const N: usize>(
    enrollment: &Enrollment,
    state: &mut State,
    code: &Symbols<N>,
) -> Result<u8, WrongReason> {
    match find_in(enrollment.backup_codes.as_ref(), state, code) {
        Some((set, position, used)) if !used.is_used(position) => {
            used.burn(position);
            Ok(used.left_of(set.hashes.len()))
        }
        Some(_) => Err(WrongReason::Replayed),
        None => Err(WrongReason::Mismatch),
    }
}

/// Judges a backup key. It ends the enrollment, so nothing has to be remembered of it.
fn judge_key(
    enrollment: &Enrollment,
    mut state: State,
    key: &BackupKey,
    codes: Codes,
    attempt: &Attempt<'_>,
    limits: &Limits,
) -> (Verdict, State) {
    if find_in(enrollment.backup_key.as_ref(), &mut state, key).is_some() {
        let verdict = Verdict::BackupKey {
            accepted: Accepted::of_no_device(),
            owner: enrollment
                .contact(Channel::Mail)
                .map(|contact| contact.recipient.clone()),
        };
        return (verdict, state);
    }
    let reason = WrongReason::Mismatch;
    (charged(reason, codes, &mut state, attempt, limits), state)
}

/// Judges an invite. It is used up by the enrollment that it leads to, so nothing has to be remembered of it.
fn judge_invite(
    enrollment: &Enrollment,
    mut state: State,
    code: &BackupCode,
    codes: Codes,
    attempt: &Attempt<'_>,
    limits: &Limits,
) -> (Verdict, State) {
    let fits = |invite: &&Invite| invite.set.position(code).is_some();
    let invite = enrollment.invite.as_ref().filter(fits);
    if let Some(Invite { set, .. }) = invite.filter(|invite| attempt.now < invite.expires) {
        let invite = Some(set.id);
        let since = attempt.now;
        return (Verdict::Invited(Entitled { invite, since }), state);
    }
    let reason = WrongReason::Mismatch;
    (charged(reason, codes, &mut state, attempt, limits), state)
}

/// The place of a code in its set, and what is remembered of the set; `None` too where the state does not know it.
/// Without a set it is compared with one of no codes, at the same cost.
fn find_in<'e, 's, const N: usize>(
    set: Option<&'e BackupSet>,
    state: &'s mut State,
    code: &Symbols<N>,
) -> Option<(&'e BackupSet, u8, &'s mut UsedCodes)> {
    const NO_CODES: &BackupSet = &BackupSet::EMPTY;
    let set = set.unwrap_or(NO_CODES);
    let position = set.position(code)?;
    let used = state.sets.iter_mut().find(|used| used.id == set.id)?;
    Some((set, position, used))
}

/// Charges what is no code of any set.
fn charged(
    reason: WrongReason,
    codes: Codes,
    state: &mut State,
    attempt: &Attempt<'_>,
    limits: &Limits,
) -> Verdict {
    let Attempt { source, now, .. } = *attempt;
    state.tally.charge(source, limits, now);
    state.tally.unmark(&source.address);
    Verdict::Wrong(Wrong {
        reason,
        codes,
        needed: state.codes_needed(source, limits, now),
        standing: state.standing(source, limits, now),
        out_of_reach: None,
    })
}

/// The enrolled devices that the state knows, with what it knows of them.
fn known_devices<'a, 's>(
    enrollment: &'a Enrollment,
    state: &'s mut State,
) -> impl Iterator<Item = (&'a Device, &'s mut DeviceState)> {
    state.devices.iter_mut().filter_map(|memory| {
        let device = enrollment
            .devices
            .iter()
            .find(|device| device.id == memory.id)?;
        Some((device, memory))
    })
}

/// How long the first of two codes that are sent waits for the second, in seconds: each of them has to arrive.
const MARK_OF_A_SENT_CODE: u8 = 240;

/// How a code fits a device.
enum Fit {
    /// It does, but the device is bound to an ssh key that the login has not shown.
    Bound,
    /// Accepted.
    Fresh(Step),
    /// Good as the first of two.
    First(Step),
    None,
    Used,
}

/// Holds a code against one device, and burns the step where it is accepted.
fn try_device(
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
        None => Fit::None,
        Some(step) if memory.is_used(step) => Fit::Used,
        Some(step) => Fit::First(step),
    }
}

/// Whether a code is that of a device that doesn't count: for the log, and at the same cost.
fn try_bound_device(
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
        None => Fit::None,
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
fn newly_out_of_reach(
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
