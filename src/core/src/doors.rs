//! The three doors to the outside world: a person, data and a machine.

use std::fmt;

use zeroize::Zeroizing;

use crate::address::Address;
use crate::answer::Answer;
use crate::backup_code::BackupSet;
use crate::challenge::Binding;
use crate::contact::{Channel, Recipient};
use crate::delivery::Message;
use crate::device::Device;
use crate::event::Event;
use crate::judge::{Entitled, Verdict};
use crate::otp::Step;
use crate::ssh_key::Fingerprint;
use crate::throttle::{Refusal, Standing};
use crate::time::Time;
use crate::trust::{Place, Trusted};

/// A person at a login or a terminal.
pub trait Conversation {
    /// Shows `prompt` and waits for an answer. Nothing is locked meanwhile.
    ///
    /// # Errors
    /// [`NoAnswer`], with the reason.
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer>;

    /// The same where the password and the code are typed together.
    ///
    /// # Errors
    /// [`NoAnswer`].
    fn ask_for_both(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        self.ask(prompt, echo).map(Answer::with_password)
    }

    /// What was typed before our turn: a password, and perhaps a code right after it.
    fn typed_before(&mut self) -> Option<Answer> {
        None
    }

    /// Leaves a password to whoever checks it after us.
    ///
    /// # Errors
    /// A sentence for the log.
    fn hand_on(&mut self, password: &[u8]) -> Result<(), String> {
        let _ = password;
        Err("passwords are handed on at logins only".to_owned())
    }

    /// Shows a sentence, where the service lets it through.
    fn tell(&mut self, sentence: &str);

    /// Shows lines that the person has asked for.
    fn show(&mut self, lines: &str) {
        self.tell(lines);
    }

    /// Whether the person has the account's password: the one that was typed before our turn, or else one that is
    /// asked for now. That one is checked only if `charge` says so, which has charged it like any answer.
    fn check_password(
        &mut self,
        account: &Account,
        charge: &mut dyn FnMut() -> bool,
    ) -> PasswordCheck {
        let _ = (account, charge);
        PasswordCheck::Impossible {
            reason: "passwords are checked at logins only".to_owned(),
            was_asked: false,
        }
    }
}

/// What is known of somebody's password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PasswordCheck {
    /// It is the right one.
    Right,
    /// It is not.
    Wrong,
    /// None was typed.
    NoAnswer,
    /// Whether it is right can't be told.
    Impossible {
        /// For the log.
        reason: String,
        /// Whether that may hang on it all the same.
        was_asked: bool,
    },
}

/// Whether what is typed shows on the screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Echo {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoAnswer {
    /// An interrupt, a closed line, a client that can't be asked.
    Gone,
    /// The password came once more, as from clients that have an answer to one prompt and no other.
    PasswordAgain,
}

/// What is kept of people, as a login needs it. No method hands out a secret, so that a service of
/// root's own can stand behind it for callers that are not root.
pub trait Store {
    /// Why data can't be had: the fact, then the next step. Never a secret.
    type Error: fmt::Display;

    /// Whether an account is enrolled.
    ///
    /// # Errors
    /// Whenever that can't be told for certain.
    fn is_enrolled(&self, account: &Account) -> Result<bool, Self::Error>;

    /// Whether an account has an invitation that is still good.
    ///
    /// # Errors
    /// Where it can't be read or is damaged.
    fn is_invited(&self, account: &Account) -> Result<bool, Self::Error>;

    /// Whether an answer of `caller` would be judged now, and where codes can be sent.
    ///
    /// # Errors
    /// Where what is kept of the subject can't be read or is damaged.
    fn standing(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
    ) -> Result<(Standing, Offers), Self::Error>;

    /// Sends an enrolled account a code for the login of `caller`. It is durable before it is sent, and nothing is locked
    /// meanwhile.
    ///
    /// # Errors
    /// Where what is kept of the account can't be read or written, or is damaged; nothing was sent then.
    fn send(
        &self,
        account: &Account,
        caller: &Caller,
        channel: Channel,
    ) -> Result<Sent, Self::Error>;

    /// Tells an account's owner, and whoever else the site wants to know, of a change; `owner` is where the owner is
    /// told if no record says so any more. What can't be told is logged.
    fn notify(&self, account: &Account, change: &Event, owner: Option<&Recipient>);

    /// Judges an answer. When this returns, the outcome is durable.
    ///
    /// # Errors
    /// Where the answer was not judged, or its outcome could not be made durable.
    fn submit(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
        answer: &Answer,
    ) -> Result<Verdict, Self::Error>;

    /// Takes back the charge of an answer that was no guess after all.
    ///
    /// # Errors
    /// Where that can't be made durable.
    fn take_back(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
        charged_at: Time,
    ) -> Result<(), Self::Error>;

    /// Whether an enrolled account has logged in at this place before, and is not asked again.
    ///
    /// # Errors
    /// Where what is kept of the account can't be read or is damaged.
    fn trusted(&self, account: &Account, place: Place) -> Result<Option<Trusted>, Self::Error>;

    /// Notes that a login succeeded at this place, where a code was accepted before.
    ///
    /// # Errors
    /// Where it could not be made durable: then the person is asked again.
    fn confirm_trust(&self, account: &Account, place: Place) -> Result<(), Self::Error>;

    /// Gives an account that is not enrolled its first device, and what goes with it.
    ///
    /// # Errors
    /// Where it can't be made durable; nothing has changed then.
    fn enroll(
        &self,
        account: &Account,
        first: &FirstDevice<'_>,
        entitled: &Entitled,
    ) -> Result<Enrolling, Self::Error>;
}

/// What somebody is enrolled with.
pub struct FirstDevice<'a> {
    /// The device.
    pub device: &'a Device,
    /// The step of the code that confirmed it, which is used up from the start.
    pub used: Step,
    /// The backup codes that go with it.
    pub backup_codes: &'a BackupSet,
    /// Who enrolls: their address is familiar from then on.
    pub caller: &'a Caller,
}

/// How an enrollment ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enrolling {
    /// The device is active.
    Done,
    /// The account is enrolled already, by somebody who was faster.
    TooLate,
    /// The invite was used or taken back meanwhile, or has run out.
    NotInvited,
}

/// Whoever knocks: what is known of them beside the name that they give.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The PAM service that they want in by.
    pub service: String,
    /// Whether sshd asks, under whatever name.
    pub is_sshd: bool,
    /// Where from.
    pub address: Address,
    /// The ssh keys that they have shown in this login.
    pub ssh_keys: Vec<Fingerprint>,
    /// The place that can be trusted after this login, where the policy has that.
    pub place: Option<Place>,
}

impl Caller {
    /// Whether that is sshd. Its service is named after its program, or as the administrator says (`PAMServiceName`);
    /// PAM_TTY is `ssh` in any case.
    #[must_use]
    pub fn is_sshd(service: &str, tty: Option<&str>) -> bool {
        service == "sshd" || tty == Some("ssh")
    }

    /// Where a code is good that is sent for this login.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding::of(&self.service, &self.address)
    }
}

/// Where codes can be sent to somebody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offers {
    /// Whether no device makes codes: there is nothing else to wait for.
    pub is_only_way: bool,
    /// One of each kind at most.
    pub contacts: Vec<Offer>,
}

/// Where a code can be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// By mail or text message.
    pub channel: Channel,
    /// The masked address.
    pub to: String,
    /// Until when a code is good that this login was sent before.
    pub waits_until: Option<Time>,
}

/// What came of sending a code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sent {
    /// It was handed over, and is good until then.
    To(Recipient, Time),
    /// One was sent a moment ago, and the next can be then.
    Waiting(Time),
    /// So many were sent that the next can be then.
    TooMany(Time),
    /// No answer would be judged.
    Refused(Refusal),
    /// It could not be sent, and why: for the log.
    Failed(String),
}

/// Whose answers are counted.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An enrolled account.
    Enrolled(&'a Account),
    /// A name that is no account, or an account that is not enrolled: nothing it answers is accepted.
    Stranger(&'a str),
    /// An account that is not enrolled and may, with an invite. Asked, counted and refused like a stranger.
    Invitee(&'a Account),
}

/// An account of the machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its canonical name: `pw_name` of the entry that was found.
    pub name: String,
    /// Its user id.
    pub uid: u32,
}

/// The machine: its clock, accounts, entropy and log.
pub trait System: Entropy {
    /// The time.
    fn now(&self) -> Time;

    /// The host's name up to its first dot, where it has one.
    fn host_name(&self) -> Option<String>;

    /// The account of that name; `None` where there is certainly none.
    ///
    /// # Errors
    /// Where the account database can't be asked.
    fn account(&self, name: &str) -> Result<Option<Account>, String>;

    /// Whether an account is in a group; in one that does not exist nobody is.
    ///
    /// # Errors
    /// Where the group database can't be asked.
    fn is_member(&self, account: &Account, group: &str) -> Result<bool, String>;

    /// Whether an account's password is kept on this machine, and not in a directory.
    ///
    /// # Errors
    /// Where that can't be told for certain.
    fn is_local(&self, account: &Account) -> Result<bool, String>;

    /// Hands a message to a command of the site's, which has taken it when this returns. Takes 10 seconds at most.
    ///
    /// # Errors
    /// A sentence for the log, without anything of the message.
    fn deliver(&self, message: &Message) -> Result<(), String>;

    /// Writes one line to the log.
    fn log(&self, event: &Event);
}

/// The system's entropy, for new secrets and ids.
pub trait Entropy {
    /// Random bytes.
    ///
    /// # Errors
    /// Where the system has none.
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String>;
}
