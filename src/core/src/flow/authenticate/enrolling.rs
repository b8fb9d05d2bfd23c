//! The ways of a login to a first device: by an invitation, or by the password.

use super::{Login, Outcome, fault};
use crate::answer::Answer;
use crate::doors::{Account, Echo, Enrolling, PasswordCheck, Store, Subject};
use crate::event::{Change, Event, Severity};
use crate::flow::enroll::{Ending, enroll};
use crate::flow::first_pass::FirstPass;
use crate::flow::plan::Reason;
use crate::judge::{Entitled, Verdict, Wrong, WrongReason};
use crate::message;
use crate::policy::{Decision, Unenrolled};
use crate::throttle::Codes;

impl<S: Store> Login<'_, S> {
    /// Whether somebody who need not is invited to enroll here, and can be asked for the invitation. One that can't be
    /// read keeps nobody out.
    pub(super) fn may_enroll(&self, account: &Account) -> bool {
        let options = &self.request.options;
        let may_be_asked = !options.forward_pass && options.first_pass == FirstPass::Ignored;
        if self.config.policy.unenrolled != Unenrolled::Enroll || !may_be_asked {
            return false;
        }
        let is_invited = || -> Result<bool, S::Error> {
            if !self.store.is_invited(account)? {
                return Ok(false);
            }
            let subject = Subject::Invitee(account);
            let (standing, _) = self.store.standing(subject, &self.request.caller)?;
            Ok(standing.takes_one_code())
        };
        is_invited().unwrap_or_else(|error| {
            let event = self.event(Severity::Error, "no-enrollment");
            self.log(event.because(error));
            false
        })
    }

    /// Asks once for an invitation that the person may keep for later. A wrong one denies: it may be somebody else who
    /// tries.
    pub(super) fn enroll_or_pass(
        &mut self,
        account: &Account,
        decision: &Decision<'_>,
    ) -> Result<Outcome, String> {
        let reason = Reason::NotEnrolled;
        self.tell_of_date(reason, decision);
        let subject = Subject::Invitee(account);
        let Ok(answer) = self.person.ask(message::INVITED_PROMPT, Echo::Off) else {
            return Ok(self.pass(reason));
        };
        let caller = &self.request.caller;
        match self.store.submit(subject, caller, &answer).map_err(fault)? {
            Verdict::Invited(entitled) => return self.enroll(account, &entitled),
            Verdict::Empty => return Ok(self.pass(reason)),
            Verdict::Wrong(wrong) => self.report_wrong(subject, &wrong),
            Verdict::Refused(refusal) => self.report_refused(subject, refusal),
            Verdict::Accepted(_) | Verdict::BackupKey { .. } => {}
        }
        Ok(Outcome::Denied)
    }

    /// Whether the person has the password, which entitles to enroll here. One that is typed for us is charged before it
    /// is looked at, and is no use where a single code would not be.
    pub(super) fn has_password(&mut self, account: &Account) -> Result<bool, String> {
        let subject = Subject::Invitee(account);
        let (store, caller) = (self.store, &self.request.caller);
        let (standing, _) = store.standing(subject, caller).map_err(fault)?;
        if !standing.takes_one_code() {
            return Ok(false);
        }
        let mut charged = None;
        let mut charge = || {
            charged = Some(store.submit(subject, caller, &Answer::wrong()));
            matches!(&charged, Some(Ok(Verdict::Wrong(wrong))) if wrong.codes == Codes::One)
        };
        let check = self.person.check_password(account, &mut charge);
        let charged = match charged.transpose().map_err(fault)? {
            Some(Verdict::Wrong(wrong)) => Some(wrong),
            _ => None,
        };
        self.settle_password(subject, check, charged)
    }

    /// Ends the charge of a password by what is known of it, and tells whether it entitles. No guess is free: what is
    /// taken back was right, or nothing has looked at it.
    fn settle_password(
        &mut self,
        subject: Subject<'_>,
        check: PasswordCheck,
        charged: Option<Wrong>,
    ) -> Result<bool, String> {
        let is_no_guess = matches!(
            check,
            PasswordCheck::Right
                | PasswordCheck::Impossible {
                    was_asked: false,
                    ..
                }
        );
        if let (true, Some(wrong)) = (is_no_guess, &charged) {
            let taken_back = (self.store).take_back(subject, &self.request.caller, wrong.at);
            taken_back.map_err(fault)?;
        }
        match check {
            PasswordCheck::Right => return Ok(true),
            PasswordCheck::Impossible { reason, .. } => {
                let event = self.event(Severity::Error, "no-enrollment");
                self.log(event.because(reason));
            }
            PasswordCheck::NoAnswer | PasswordCheck::Wrong => {}
        }
        if let (false, Some(mut wrong)) = (is_no_guess, charged) {
            wrong.reason = WrongReason::Password;
            self.report_wrong(subject, &wrong);
        }
        Ok(false)
    }

    /// Gives somebody a device who is entitled to one.
    pub(super) fn enroll(
        &mut self,
        account: &Account,
        entitled: &Entitled,
    ) -> Result<Outcome, String> {
        let ending = enroll(
            account,
            (&self.request.caller, entitled),
            self.config,
            self.person,
            self.store,
            self.system,
        )?;
        let lost = |sentence, reason| (sentence, "no-enrollment", reason);
        let (sentence, event, reason) = match ending {
            Ending::Enrolled(enrolled) => {
                let change = Event {
                    device: Some(enrolled.device().to_string()),
                    ..self.event(Severity::Notice, Change::Enrolled.name())
                };
                self.log_and_notify(account, change, None);
                let Err(_) = enrolled.show_backup_codes(self.person) else {
                    return Ok(Outcome::Enrolled(enrolled));
                };
                let event = self.event(Severity::Notice, "aborted");
                self.log(event.because("went away before the backup codes were seen"));
                return Ok(Outcome::Denied);
            }
            Ending::Aborted => lost(message::NOT_ENROLLED, "went away before a right code"),
            Ending::Unasked => lost(
                message::CANNOT_ENROLL,
                "no code was typed; whose client can't be asked has to log in once by ssh in a terminal",
            ),
            Ending::Wrong => lost(message::NOT_ENROLLED, "three wrong codes of the new device"),
            Ending::Lost(Enrolling::NotInvited) => lost(
                message::INVITE_GONE,
                "the invite is used, taken back or has run out",
            ),
            Ending::Lost(_) => lost(
                message::ENROLLED_MEANWHILE,
                "somebody else has enrolled the account meanwhile",
            ),
        };
        self.log(self.event(Severity::Warning, event).because(reason));
        self.tell_even_if_hidden(sentence);
        Ok(Outcome::Denied)
    }
}
