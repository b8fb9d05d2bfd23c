//! One login, from the first question to the outcome.

mod enrolling;
mod report;

use crate::answer::Answer;
use crate::config::Config;
use crate::contact::Recipient;
use crate::doors::{Account, Caller, Conversation, Echo, NoAnswer, Offers, Store, Subject, System};
use crate::event::{Change, Event, Severity};
use crate::flow::deliver::Courier;
use crate::flow::enroll::Enrolled;
use crate::flow::first_pass::{FirstPass, Unasked};
use crate::flow::plan::{Next, Plan, Reason, plan, unenrolled};
use crate::judge::{Accepted, Entitled, Verdict};
use crate::message;
use crate::otp::Digits;
use crate::policy::{Decision, Unenrolled};
use crate::throttle::{Codes, Standing};
use crate::trust::Trusted;

/// Who wants to log in, where and how.
pub struct Request<'a> {
    /// PAM_USER; `None` where it is not UTF-8, which no account's name is.
    pub user: Option<&'a str>,
    /// By which service, from where, and with what.
    pub caller: Caller,
    /// What the stack's line says.
    pub options: Options,
}

/// The arguments of the module's line in a stack that change what happens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Whoever is not enrolled is let through on this line, whatever the policy says.
    pub nullok: bool,
    /// The prompt, where it is not [`message::PROMPT`] or [`message::BOTH_PROMPT`].
    pub prompt: Option<String>,
    /// Show what is typed.
    pub echo: bool,
    /// What becomes of the password that was typed before our turn.
    pub first_pass: FirstPass,
    /// The prompt asks for the password and the code together, and the password is handed on to the modules after us.
    pub forward_pass: bool,
    /// The service hides messages or chokes on them: what has to be seen goes into the prompt.
    pub no_info: bool,
    /// Log each prompt too.
    pub debug: bool,
}

/// How a login ends.
#[must_use]
#[derive(Debug)]
pub enum Outcome {
    /// A code was accepted.
    Accepted(Accepted),
    /// A device was enrolled, and a code of it typed.
    Enrolled(Enrolled),
    /// The person has logged in at this place before.
    Trusted(Trusted),
    /// No.
    Denied,
    /// A second factor is not asked of this person.
    Ignored,
}

/// Lets one person try to log in.
pub fn authenticate<S: Store>(
    request: &Request<'_>,
    config: &Config,
    person: &mut dyn Conversation,
    store: &S,
    system: &dyn System,
) -> Outcome {
    let mut unasked;
    let person = match request.options.first_pass {
        FirstPass::Only => {
            unasked = Unasked(person);
            &mut unasked
        }
        FirstPass::Ignored | FirstPass::Tried => person,
    };
    let mut login = Login {
        request,
        config,
        person,
        store,
        system,
        user: None,
    };
    let outcome = login.run().unwrap_or_else(|fault| login.fail(&fault));
    if let Outcome::Denied = outcome {
        login.level();
    }
    outcome
}

struct Login<'a, S> {
    request: &'a Request<'a>,
    config: &'a Config,
    person: &'a mut dyn Conversation,
    store: &'a S,
    system: &'a dyn System,
    /// The account, as soon as it is known to be one.
    user: Option<String>,
}

impl<S: Store> Login<'_, S> {
    fn run(&mut self) -> Result<Outcome, String> {
        let name = self.request.user.unwrap_or_default();
        let account = self.system.account(name)?;
        self.user = account.as_ref().map(|account| account.name.clone());

        let Plan { decision, next } = plan(
            self.request,
            account.as_ref(),
            self.config,
            self.store,
            self.system,
        )?;
        let subject = match (next, &account) {
            (Next::Pass(Reason::NotEnrolled), Some(account)) if self.may_enroll(account) => {
                return self.enroll_or_pass(account, &decision);
            }
            (Next::Pass(reason), _) => {
                self.tell_of_date(reason, &decision);
                return Ok(self.pass(reason));
            }
            (Next::Ask, Some(account)) => {
                if let Some(trusted) = self.trusted(account)? {
                    let event = Event {
                        until: Some(trusted.until()),
                        ..self.event(Severity::Notice, "trusted")
                    };
                    self.log(event.because("logged in here before"));
                    return Ok(Outcome::Trusted(trusted));
                }
                Subject::Enrolled(account)
            }
            (Next::Enroll { by_password }, Some(account)) => {
                if by_password && self.has_password(account)? {
                    return self.enroll(account, &Entitled::by_login(self.system.now()));
                }
                Subject::Invitee(account)
            }
            (_, Some(account)) => Subject::Stranger(&account.name),
            (_, None) => Subject::Stranger(name),
        };
        self.ask_for_code(subject, &decision)
    }

    fn trusted(&self, account: &Account) -> Result<Option<Trusted>, String> {
        match self.request.caller.place {
            None => Ok(None),
            Some(place) => self.store.trusted(account, place).map_err(fault),
        }
    }

    /// Prompts until there is a verdict.
    fn ask_for_code(
        &mut self,
        subject: Subject<'_>,
        decision: &Decision<'_>,
    ) -> Result<Outcome, String> {
        let (mut tries, mut most) = (0, self.tries());
        let mut turn = self.first_turn();
        while turn == Turn::Before || tries < most {
            if turn == Turn::Prompt {
                tries = tries.saturating_add(1);
            }
            match self.attempt(subject, turn)? {
                Attempted::Accepted(accepted) => {
                    return Ok(match subject {
                        Subject::Enrolled(_) => Outcome::Accepted(accepted),
                        Subject::Invitee(_) | Subject::Stranger(_) => Outcome::Denied,
                    });
                }
                Attempted::BackupKey(accepted, owner) => {
                    return self.go_on_unenrolled(subject, (accepted, owner), decision);
                }
                Attempted::Invited(entitled) => {
                    return match subject {
                        Subject::Invitee(account) => self.enroll(account, &entitled),
                        Subject::Enrolled(_) | Subject::Stranger(_) => Ok(Outcome::Denied),
                    };
                }
                // Two codes need two prompts.
                Attempted::Wrong(Codes::Two) if !self.is_repeated() => most = most.max(2),
                Attempted::Nothing | Attempted::Wrong(_) => {}
                Attempted::Over => break,
            }
            turn = Turn::Prompt;
        }
        Ok(Outcome::Denied)
    }

    /// A second factor is not asked of this person.
    fn pass(&self, reason: Reason) -> Outcome {
        let event = self.event(Severity::Notice, "ignored");
        self.log(event.because(reason.words()));
        Outcome::Ignored
    }

    /// When it will be.
    fn tell_of_date(&mut self, reason: Reason, decision: &Decision<'_>) {
        if let (Reason::NotEnrolled, Some(from)) = (reason, decision.announced) {
            self.tell_even_if_hidden(&message::announced(from, self.system.now()));
        }
    }

    /// How many prompts.
    fn tries(&self) -> u8 {
        match self.request.options.first_pass {
            FirstPass::Only => 0,
            _ if self.is_repeated() => 1,
            _ => self.config.verify.tries.get(),
        }
    }

    /// sshd runs the whole stack again for each try, so one prompt a call is right there. Where nothing is asked,
    /// somebody else has to.
    fn is_repeated(&self) -> bool {
        self.request.caller.is_sshd || self.request.options.first_pass == FirstPass::Only
    }

    fn first_turn(&self) -> Turn {
        match self.request.options.first_pass {
            FirstPass::Ignored => Turn::Prompt,
            FirstPass::Only | FirstPass::Tried => Turn::Before,
        }
    }

    /// One answer and what comes of it.
    fn attempt(&mut self, subject: Subject<'_>, turn: Turn) -> Result<Attempted, String> {
        let caller = &self.request.caller;
        let (standing, offers) = self.store.standing(subject, caller).map_err(fault)?;
        let open = match standing {
            Standing::Open { left, codes } => (left, codes),
            Standing::Refused(refusal) => {
                self.report_refused(subject, refusal);
                return Ok(Attempted::Over);
            }
        };
        let answer = match self.hear(subject, turn, &offers, open) {
            Heard::Answer(answer) => answer,
            Heard::Nothing => return Ok(Attempted::Nothing),
            Heard::Over => return Ok(Attempted::Over),
        };
        if answer.is_behind_password() && offers.is_only_way && !answer.has_code() {
            // The code is on its way: there was none to be typed.
            self.hand_on(&answer, None)?;
            let event = self.event(Severity::Notice, "aborted");
            self.log(
                event.because("no code yet: it is typed at the next try, right after the password"),
            );
            return Ok(Attempted::Over);
        }
        let verdict = self.store.submit(subject, caller, &answer);
        let digits = match &verdict {
            Ok(Verdict::Accepted(accepted)) => accepted.digits(),
            _ => None,
        };
        self.hand_on(&answer, digits)?;
        Ok(self.report(subject, verdict.map_err(fault)?))
    }

    /// The answer, from where the turn has it.
    fn hear(
        &mut self,
        subject: Subject<'_>,
        turn: Turn,
        offers: &Offers,
        (left, codes): (Option<u8>, Codes),
    ) -> Heard {
        let is_optional = self.request.options.first_pass == FirstPass::Tried;
        let answer = match turn {
            Turn::Before => {
                let answer = self.typed_before(subject, offers);
                if is_optional && !answer.as_ref().is_ok_and(Answer::has_code) {
                    return Heard::Nothing;
                }
                answer
            }
            Turn::Prompt => {
                self.log(Event {
                    left,
                    ..self.event(Severity::Debug, "asked")
                });
                self.ask(subject, offers, left, codes)
            }
        };
        match answer {
            Ok(answer) => Heard::Answer(answer),
            // sshd puts rubbish of the same length in the place of all that people type whom it does not let in, so of
            // them that can't be told: it counts for everybody.
            Err(NoAnswer::PasswordAgain) if self.request.caller.is_sshd => {
                Heard::Answer(Answer::wrong())
            }
            Err(_) => {
                self.report_unanswered(subject, turn);
                Heard::Over
            }
        }
    }

    /// What was typed before our turn.
    fn typed_before(&mut self, subject: Subject<'_>, offers: &Offers) -> Result<Answer, NoAnswer> {
        if let FirstPass::Only = self.request.options.first_pass {
            // No prompt is there to carry what it says.
            let _ = self.announce(subject, offers);
        }
        self.person.typed_before().ok_or(NoAnswer::Gone)
    }

    /// Where nothing but a code that is sent will do, it is sent before the password is typed with it.
    fn announce(&self, subject: Subject<'_>, offers: &Offers) -> Option<String> {
        let Subject::Enrolled(account) = subject else {
            return None;
        };
        let login = (account, &self.request.caller);
        Courier::new(login, offers, self.store, self.system).announce()
    }

    /// Leaves the modules after us the password alone, whatever the code behind it was worth: they have as much to do,
    /// and ask no more.
    fn hand_on(&mut self, answer: &Answer, digits: Option<Digits>) -> Result<(), String> {
        match answer.password(digits) {
            Some(password) if self.request.options.forward_pass => self.person.hand_on(password),
            _ => Ok(()),
        }
    }

    fn ask(
        &mut self,
        subject: Subject<'_>,
        offers: &Offers,
        left: Option<u8>,
        codes: Codes,
    ) -> Result<Answer, NoAnswer> {
        let options = &self.request.options;
        let usual = match options.forward_pass {
            true => message::BOTH_PROMPT,
            false => message::PROMPT,
        };
        let mut prompt = options.prompt.as_deref().unwrap_or(usual).to_owned();
        let echo = if options.echo { Echo::On } else { Echo::Off };
        let deny = self.config.limits.deny.get();
        if let Some(left) = left.filter(|left| options.no_info && *left < deny) {
            prompt = message::prompt_after(&message::attempts_left(left), &prompt);
        }
        if codes == Codes::Two {
            let sentence = match offers.is_only_way {
                true => message::TWO_SENT_CODES,
                false => message::TWO_CODES,
            };
            prompt = message::prompt_after(sentence, &prompt);
        }
        if options.forward_pass {
            if let Some(notice) = self.announce(subject, offers) {
                prompt = message::prompt_after(&notice, &prompt);
            }
            return self.person.ask_for_both(&prompt, echo);
        }
        match subject {
            Subject::Enrolled(account) if !offers.contacts.is_empty() => {
                let login = (account, &self.request.caller);
                let mut courier = Courier::new(login, offers, self.store, self.system);
                courier.ask(&prompt, echo, self.person)
            }
            _ => self.person.ask(&prompt, echo),
        }
    }

    /// Somebody has typed the backup key, and is not enrolled any more. `owner` is where the owner is told of it.
    fn go_on_unenrolled(
        &mut self,
        subject: Subject<'_>,
        (accepted, owner): (Accepted, Option<Recipient>),
        decision: &Decision<'_>,
    ) -> Result<Outcome, String> {
        let Subject::Enrolled(account) = subject else {
            return Ok(Outcome::Denied);
        };
        let goes_on = unenrolled(decision, self.request, self.config);
        let event = self.event(Severity::Warning, Change::BackupKeyUsed.name());
        let event = match goes_on {
            Unenrolled::Skip => {
                event.because("all devices and codes are removed; the rest of the stack decides")
            }
            Unenrolled::Enroll => {
                event.because("all devices and codes are removed: a new device is needed")
            }
            Unenrolled::Deny => event.because(format_args!(
                "all devices and codes are removed, and the policy lets nobody in without: run totpctl enroll {}",
                account.name
            )),
        };
        self.log_and_notify(account, event, owner.as_ref());
        match goes_on {
            Unenrolled::Skip => {
                self.tell_even_if_hidden(message::BACKUP_KEY_USED);
                Ok(Outcome::Accepted(accepted))
            }
            Unenrolled::Enroll => self.enroll(account, &Entitled::by_login(self.system.now())),
            Unenrolled::Deny => {
                self.tell_even_if_hidden(message::BACKUP_KEY_USED_UP);
                Ok(Outcome::Denied)
            }
        }
    }

    /// The account database takes longer to say that it does not know a name. Whoever is denied has waited for both
    /// answers.
    fn level(&self) {
        const NOBODY: &str = "no-such-one";
        let other = if self.user.is_some() {
            NOBODY
        } else {
            "nobody"
        };
        let _ = self.system.account(other);
    }

    /// Ends a login that a fault of ours makes impossible.
    fn fail(&mut self, fault: &str) -> Outcome {
        self.log(self.event(Severity::Error, "failed").because(fault));
        self.tell(message::OUT_OF_ORDER);
        Outcome::Denied
    }
}

/// Where an answer is to come from.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Turn {
    /// It was typed before our turn.
    Before,
    /// It is asked for.
    Prompt,
}

/// What is there to be judged.
enum Heard {
    Answer(Answer),
    /// No code was typed before our turn, and a prompt follows.
    Nothing,
    /// No answer. None will follow.
    Over,
}

/// What came of one answer.
enum Attempted {
    Accepted(Accepted),
    BackupKey(Accepted, Option<Recipient>),
    Invited(Entitled),
    /// No code was typed before our turn, and a prompt follows.
    Nothing,
    /// Another prompt may follow. So many codes were needed.
    Wrong(Codes),
    /// None may.
    Over,
}

fn fault(error: impl ToString) -> String {
    error.to_string()
}
