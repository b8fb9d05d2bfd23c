//! The decision: what an answer is worth, and what is remembered of it.
//!
//! [`judge`] is the body of a transaction. Its caller reads the enrollment and the state after the
//! person has answered, under the user's lock; saves the state that comes back; and tells nobody the
//! verdict before that save is durable. What holds by this function alone:
//!
//! * a step is accepted once: the floor of a device never falls, and no step at or below it is accepted. Of an event
//!   token the floor is its counter, kept nowhere else;
//! * no guess is free: every answer that is judged and not right is charged, and only an accepted one clears;
//! * an answer is refused, unjudged and free of charge, while its address is locked;
//! * a code that was sent is accepted once, for the login that it was sent for;
//! * an answer is one guess at each code that there is, also where a password goes before it;
//! * two codes in a row are accepted where one is too far from the device's time or counter, or no longer enough. The first
//!   leaves a mark and counts as a wrong answer until the second has come; each mark is good for one try.

mod code;
mod device;
mod proof;

pub use self::proof::{Accepted, Entitled};
use crate::answer::{Answer, Typed};
use crate::backup_code::{BackupCode, BackupKey, BackupSet, Symbols, UsedCodes};
use crate::challenge::Binding;
use crate::config::Verify;
use crate::contact::{Channel, Recipient};
use crate::device::DeviceName;
use crate::record::{Enrollment, Invite, State};
use crate::ssh_key::Fingerprint;
use crate::throttle::{Codes, Limits, Refusal, Source, Standing};
use crate::time::Time;
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

/// An answer that was not accepted.
#[derive(Debug)]
pub struct Wrong {
    /// When it was charged.
    pub at: Time,
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
    /// A code of a step that is used up, or that was the first of two before.
    Replayed,
    /// A right code, but the first of two that are needed, and strangers have given all the firsts that are taken.
    Unmarked,
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
    let mut state = state.as_of(attempt.now);
    state.share_floors(enrollment);
    let codes = match state.standing(attempt.source, limits, attempt.now) {
        Standing::Refused(refusal) => return (Verdict::Refused(refusal), state),
        Standing::Open { codes, .. } => codes.max(attempt.codes),
    };
    let case = Case {
        enrollment,
        attempt,
        verify,
        limits,
        codes,
    };
    let verdict = case.verdict(attempt.answer.typed(), &mut state);
    if let Verdict::Wrong(_) = verdict {
        state.challenges.miss(attempt.binding);
    }
    (verdict, state)
}

/// What an answer is judged by, beside the state.
struct Case<'a> {
    enrollment: &'a Enrollment,
    attempt: &'a Attempt<'a>,
    verify: &'a Verify,
    limits: &'a Limits,
    /// How many codes are needed.
    codes: Codes,
}

impl Case<'_> {
    fn verdict(&self, typed: Typed, state: &mut State) -> Verdict {
        match typed {
            Typed::Empty => Verdict::Empty,
            Typed::Code(code) => self.judge_code(&code, state),
            Typed::Backup(code) if self.enrollment.invite.is_some() => {
                self.judge_invite(&code, state)
            }
            Typed::Backup(code) => self.judge_backup_code(&code, state),
            Typed::Key(key) => self.judge_backup_key(&key, state),
            Typed::Other => self.judge_no_code(state),
        }
    }

    /// Judges a backup code. One is enough where two codes in a row are needed of a device. It ends what `user_limit` counts; what
    /// is spent of a day stays spent.
    fn judge_backup_code(&self, code: &BackupCode, state: &mut State) -> Verdict {
        let (source, now) = (self.attempt.source, self.attempt.now);
        match self.use_up(code, state) {
            Ok(left) => {
                state.tally.accept(source, self.limits, now);
                state.tally.forget_total(source);
                self.propose_place(state);
                Verdict::Accepted(Accepted::by_backup_code(left))
            }
            Err(reason) => self.charged(reason, state),
        }
    }

    /// Judges a backup key. It ends the enrollment, so nothing has to be remembered of it.
    fn judge_backup_key(&self, key: &BackupKey, state: &mut State) -> Verdict {
        if find_in(self.enrollment.backup_key.as_ref(), key, state).is_none() {
            return self.charged(WrongReason::Mismatch, state);
        }
        let owner = self.enrollment.contact(Channel::Mail);
        Verdict::BackupKey {
            accepted: Accepted::by_backup_key(),
            owner: owner.map(|contact| contact.recipient.clone()),
        }
    }

    /// Judges an invite. It is used up by the enrollment that it leads to, so nothing has to be remembered of it.
    fn judge_invite(&self, code: &BackupCode, state: &mut State) -> Verdict {
        let now = self.attempt.now;
        let fits = |invite: &&Invite| invite.set.position(code).is_some();
        let invite = self.enrollment.invite.as_ref().filter(fits);
        match invite.filter(|invite| now < invite.expires) {
            Some(invite) => Verdict::Invited(Entitled::by_invite(invite.set.id, now)),
            None => self.charged(WrongReason::Mismatch, state),
        }
    }

    /// Uses a backup code up, and tells how many are left.
    ///
    /// # Errors
    /// Why it is none.
    fn use_up<const N: usize>(
        &self,
        code: &Symbols<N>,
        state: &mut State,
    ) -> Result<u8, WrongReason> {
        match find_in(self.enrollment.backup_codes.as_ref(), code, state) {
            Some((set, position, used)) if !used.is_used(position) => {
                used.burn(position);
                Ok(used.left_of(set.hashes.len()))
            }
            Some(_) => Err(WrongReason::Replayed),
            None => Err(WrongReason::Mismatch),
        }
    }

    /// The place of the login is to be trusted once it has succeeded, where the policy has that.
    fn propose_place(&self, state: &mut State) {
        if let Some(place) = self.attempt.place {
            state.trusts.propose(place, self.attempt.now);
        }
    }

    /// Charges what is not, or not any more, a code of a set.
    fn charged(&self, reason: WrongReason, state: &mut State) -> Verdict {
        let source = self.attempt.source;
        state.tally.charge(source, self.limits, self.attempt.now);
        state.tally.unmark(&source.address);
        Verdict::Wrong(self.wrong(reason, state))
    }

    /// A wrong answer that was charged.
    fn wrong(&self, reason: WrongReason, state: &State) -> Wrong {
        let (source, now) = (self.attempt.source, self.attempt.now);
        Wrong {
            at: now,
            reason,
            codes: self.codes,
            needed: state.codes_needed(source, self.limits, now),
            standing: state.standing(source, self.limits, now),
            out_of_reach: None,
        }
    }
}

/// The place of a code in its set, and what is remembered of the set; `None` too where the state does not know it.
/// Without a set it is compared with one of no codes, at the same cost.
fn find_in<'e, 's, const N: usize>(
    set: Option<&'e BackupSet>,
    code: &Symbols<N>,
    state: &'s mut State,
) -> Option<(&'e BackupSet, u8, &'s mut UsedCodes)> {
    const NO_CODES: &BackupSet = &BackupSet::EMPTY;
    let set = set.unwrap_or(NO_CODES);
    let position = set.position(code)?;
    let used = state.sets.iter_mut().find(|used| used.id == set.id)?;
    Some((set, position, used))
}
