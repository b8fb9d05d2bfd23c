//! The three doors to the outside world: a person, data and a machine.

use std::fmt;

use zeroize::Zeroizing;

use crate::address::Address;
use crate::answer::Answer;
use crate::event::Event;
use crate::judge::Verdict;
use crate::ssh_key::Fingerprint;
use crate::throttle::Standing;
use crate::time::Time;

/// A person at a login or a terminal.
pub trait Conversation {
    /// Shows `prompt` and waits for an answer. Nothing is locked meanwhile.
    ///
    /// # Errors
    /// [`NoAnswer`] where the person went away or can't be asked.
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer>;

    /// Shows a sentence, where the service lets it through.
    fn tell(&mut self, sentence: &str);
}

/// Whether what is typed shows on the screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Echo {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// A question that was not answered: an interrupt, a closed line, a client that can't be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoAnswer;

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

    /// Whether an answer of `caller` would be judged now.
    ///
    /// # Errors
    /// Where what is kept of the subject can't be read or is damaged.
    fn standing(&self, subject: Subject<'_>, caller: &Caller) -> Result<Standing, Self::Error>;

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
}

/// Whoever knocks: what is known of them beside the name that they give.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where from.
    pub address: Address,
    /// The ssh keys that they have shown in this login.
    pub ssh_keys: Vec<Fingerprint>,
}

/// Whose answers are counted.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An enrolled account.
    Enrolled(&'a Account),
    /// A name that is no account, or an account that is not enrolled: nothing it answers is accepted.
    Stranger(&'a str),
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
pub trait System {
    /// The time.
    fn now(&self) -> Time;

    /// The account of that name; `None` where there is certainly none.
    ///
    /// # Errors
    /// Where the account database can't be asked.
    fn account(&self, name: &str) -> Result<Option<Account>, String>;

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
