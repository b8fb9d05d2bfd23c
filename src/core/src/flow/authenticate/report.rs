//! What a login logs, and what it tells the person.

use super::{Attempted, Login, Turn};
use crate::contact::Recipient;
use crate::doors::{Account, Echo, Store, Subject};
use crate::event::{Event, Severity};
use crate::judge::{Accepted, Verdict, Wrong, WrongReason};
use crate::message;
use crate::policy::Unenrolled;
use crate::throttle::{Codes, Limit, Refusal, Standing};

impl<S: Store> Login<'_, S> {
    /// Logs and tells what came of an answer.
    pub(super) fn report(&mut self, subject: Subject<'_>, verdict: Verdict) -> Attempted {
        match verdict {
            Verdict::Accepted(accepted) => {
                self.report_accepted(&accepted);
                Attempted::Accepted(accepted)
            }
            Verdict::BackupKey { accepted, owner } => Attempted::BackupKey(accepted, owner),
            Verdict::Invited(entitled) => Attempted::Invited(entitled),
            Verdict::Empty => {
                let event = self.event(Severity::Notice, "aborted");
                self.log(event.because("empty answer"));
                Attempted::Over
            }
            Verdict::Refused(refusal) => {
                self.report_refused(subject, refusal);
                Attempted::Over
            }
            Verdict::Wrong(wrong) => {
                self.report_wrong(subject, &wrong);
                match wrong.standing {
                    Standing::Open { .. } => Attempted::Wrong(wrong.codes),
                    Standing::Refused(_) => Attempted::Over,
                }
            }
        }
    }

    fn report_accepted(&mut self, accepted: &Accepted) {
        if let Some(left) = accepted.backup_left() {
            let severity = if left <= 3 {
                Severity::Warning
            } else {
                Severity::Notice
            };
            let event = Event {
                device: Some("backup-code".to_owned()),
                ..self.event(severity, "accepted")
            };
            self.log(event.because(format_args!("{left} backup codes left")));
            return self.tell_even_if_hidden(&message::backup_codes_left(left));
        }
        let names: Vec<&str> = accepted
            .devices()
            .iter()
            .map(|name| name.as_str())
            .collect();
        let mut event = Event {
            device: Some(names.join(",")),
            ..self.event(Severity::Notice, "accepted")
        };
        if accepted.first_at().is_some() {
            event = event.because("two codes in a row");
        }
        self.log(event);
    }

    pub(super) fn report_refused(
        &mut self,
        subject: Subject<'_>,
        Refusal { until, limit }: Refusal,
    ) {
        let event = self.event(Severity::Warning, "refused");
        self.log(
            Event {
                until: Some(until),
                ..event
            }
            .because(match (limit, subject) {
                (Limit::Address, _) => "limit of this address reached",
                (Limit::Place, Subject::Enrolled(_)) => "limit reached",
                (Limit::Place, Subject::Stranger(_) | Subject::Invitee(_)) => {
                    "limit reached, not enrolled"
                }
            }),
        );
        let sentence = message::refused(until.since(self.system.now()));
        self.tell_even_if_hidden(&sentence);
    }

    pub(super) fn report_wrong(&mut self, subject: Subject<'_>, wrong: &Wrong) {
        let left = match wrong.standing {
            Standing::Open { left, .. } => left,
            Standing::Refused(_) => Some(0),
        };
        let event = Event {
            left,
            ..self.event(Severity::Warning, "wrong")
        };
        self.log(event.because(reason(subject, wrong.reason, &self.user)));
        if let Some(Refusal { until, limit }) = wrong.standing.refusal() {
            let event = Event {
                until: Some(until),
                ..self.event(Severity::Warning, "locked")
            };
            self.log(event.because(match limit {
                Limit::Address => "address_deny: too many wrong answers from this address",
                Limit::Place => "deny: too many wrong answers for this user from this address",
            }));
        }
        if let (Some((device, until)), Subject::Enrolled(account)) = (&wrong.out_of_reach, subject)
        {
            let event = Event {
                device: Some(device.to_string()),
                until: Some(*until),
                ..self.event(Severity::Warning, "clock")
            };
            self.log(event.because(format_args!(
                "all codes until then are used up: set the clock if it is behind; if it is right, a backup code \
                 gets in, and totpctl reset {} --force ends it",
                account.name
            )));
        }
        let sentence = message::wrong(wrong.codes, wrong.standing, self.system.now());
        match wrong.standing {
            Standing::Open { .. } => {
                self.tell(&sentence);
                self.tell_who_enrolls();
            }
            Standing::Refused(_) => self.tell_even_if_hidden(&sentence),
        }
        self.report_long_limit(subject, wrong);
    }

    /// Where one code is no longer believed, its owner should know why.
    fn report_long_limit(&mut self, subject: Subject<'_>, wrong: &Wrong) {
        let is_reached = wrong.codes == Codes::One && wrong.needed == Codes::Two;
        if let (Subject::Enrolled(account), true) = (subject, is_reached) {
            let event = self.event(Severity::Warning, "limited").because(
                "daily or user_limit: too many wrong answers for one code to be believed; two in a row are",
            );
            self.log_and_notify(account, event, None);
        }
    }

    /// The log first: mail takes its time, and whoever is at the prompt may end the process meanwhile.
    pub(super) fn log_and_notify(
        &self,
        account: &Account,
        event: Event,
        owner: Option<&Recipient>,
    ) {
        self.log(event.clone());
        self.store.notify(account, &event, owner);
    }

    /// Nothing was typed, or nothing could be.
    pub(super) fn report_unanswered(&mut self, subject: Subject<'_>, turn: Turn) {
        let event = self.event(Severity::Notice, "aborted");
        self.log(match (turn, subject) {
            (Turn::Before, _) => event
                .because("use_first_pass, and no module before this one has asked for a password"),
            (Turn::Prompt, Subject::Invitee(_)) => event.because(NOT_INVITED),
            (Turn::Prompt, Subject::Enrolled(_) | Subject::Stranger(_)) => event,
        });
        self.tell_who_enrolls();
    }

    /// Where people enroll at the login. Everybody is told: else it would tell who is enrolled.
    fn tell_who_enrolls(&mut self) {
        let policy = &self.config.policy;
        let by_password =
            policy.enrolls_by_password(&self.request.caller.address, self.system.now());
        if policy.unenrolled == Unenrolled::Enroll {
            self.tell(match by_password {
                true => message::PASSWORD_NEEDED,
                false => message::INVITATION_NEEDED,
            });
        }
    }

    /// Logged is before this: whoever is to be told may have gone away, and the process with them.
    ///
    /// No further prompt could carry this, so where messages are hidden it is one itself. No code is asked
    /// for: whatever is typed there is dropped.
    pub(super) fn tell_even_if_hidden(&mut self, sentence: &str) {
        if self.request.options.no_info {
            let _ = self.person.ask(&message::acknowledged(sentence), Echo::On);
        } else {
            self.tell(sentence);
        }
    }

    pub(super) fn tell(&mut self, sentence: &str) {
        if !self.request.options.no_info {
            self.person.tell(sentence);
        }
    }

    pub(super) fn event(&self, severity: Severity, name: &'static str) -> Event {
        Event {
            user: self.user.clone(),
            service: Some(self.request.caller.service.clone()),
            address: Some(self.request.caller.address.clone()),
            ..Event::new(severity, name)
        }
    }

    pub(super) fn log(&self, event: Event) {
        if event.severity != Severity::Debug || self.request.options.debug {
            self.system.log(&event);
        }
    }
}

/// For the log: whoever is not enrolled and may.
const NOT_INVITED: &str = "not enrolled, and no invitation typed: totpctl invite makes one, for a login by ssh in a terminal";

fn reason(subject: Subject<'_>, reason: WrongReason, account: &Option<String>) -> &'static str {
    match (subject, reason) {
        (Subject::Stranger(_), _) if account.is_none() => "unknown user",
        (Subject::Stranger(_), _) => "not enrolled",
        (_, WrongReason::Password) => "wrong password, where it would have entitled to enroll",
        (Subject::Invitee(_), _) => NOT_INVITED,
        (Subject::Enrolled(_), WrongReason::Bound) => {
            "a code of a device that is bound to an ssh key which this login has not shown"
        }
        (Subject::Enrolled(_), WrongReason::First) => "first of two codes",
        (Subject::Enrolled(_), WrongReason::Malformed) => "malformed",
        (Subject::Enrolled(_), WrongReason::Mismatch) => "mismatch",
        (Subject::Enrolled(_), WrongReason::NoDevice) => {
            "the state knows no device of this account: run totpctl repair"
        }
        (Subject::Enrolled(_), WrongReason::Replayed) => "replayed",
        (Subject::Enrolled(_), WrongReason::Unmarked) => {
            "first of two codes, of which new places have had all: run totpctl unlock"
        }
    }
}
