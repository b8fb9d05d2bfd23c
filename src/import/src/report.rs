//! What is said of a file: where, what became of a thing, what is wrong. Never a part of what may be a secret.

use std::fmt;

use totp_core::key_uri::KeyUriError;
use totp_core::reach::Reach;
use totp_core::secret::{Secret, SecretError};
use totp_core::time::Time;

use crate::{Import, Person};

/// Where in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// An entry of an export that fills one line.
    Entry {
        /// The first is 1.
        line: usize,
        /// The first is 1.
        entry: usize,
    },
    /// The file as a whole.
    File,
    /// A key of a container, by its id.
    Key(String),
    /// A line; the first is 1.
    Line(usize),
    /// A place in a line; the first of each is 1.
    Position {
        /// The line.
        line: usize,
        /// The character in it.
        column: usize,
    },
}

impl Place {
    /// The place that follows so many bytes.
    pub(crate) fn after(bytes: &[u8]) -> Self {
        let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let in_line = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or(bytes);
        let column = String::from_utf8_lossy(in_line).chars().count();
        Self::Position {
            line: newlines.saturating_add(1),
            column: column.saturating_add(1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { line, entry } => write!(f, "line {line}, entry {entry}"),
            Self::File => f.write_str("the file"),
            Self::Key(id) => {
                // A stranger's text, bound for a terminal.
                let plain = id
                    .chars()
                    .take(64)
                    .map(|c| if c.is_control() { '?' } else { c });
                write!(f, "key {}", plain.collect::<String>())
            }
            Self::Line(line) => write!(f, "line {line}"),
            Self::Position { line, column } => write!(f, "line {line}, column {column}"),
        }
    }
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is carried over, but not as it was.
    Changed,
    /// It is left behind.
    Dropped,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Dropped => "not carried over",
        })
    }
}

/// A thing that is not carried over as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Where it stands.
    pub at: Place,
    /// What it is.
    pub remark: Remark,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.at, self.remark.fate(), self.remark)
    }
}

/// What there is to say of a thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remark {
    /// A file without digits.
    AssumedDigits,
    /// A file without a counter.
    AssumedCounter,
    /// A file without a period.
    AssumedPeriod,
    /// A scratch code that the other program did not reach.
    DeadScratchCode,
    /// Logins without a code for some time after one.
    Grace,
    /// Not as many codes of an event token were tried as here.
    LookAhead {
        /// So many.
        codes: u16,
    },
    /// A file of a home's name, in no account's home.
    NoHome,
    /// The last code is not what the counter makes.
    OtherLastCode,
    /// A PIN, or the rule that there is one.
    Pin,
    /// A limit of logins.
    RateLimit,
    /// Codes that were shown to set the clock, and did not.
    Resync,
    /// Codes could be used more than once.
    Reuse,
    /// Fewer bits than recommended.
    ShortSecret {
        /// So many.
        bits: usize,
    },
    /// A signature of the whole.
    Signature,
    /// Part of an element that has no meaning here.
    Unknown(&'static str),
    /// A line that is of no known form.
    UnknownLine,
    /// Nothing says which codes were used.
    UsedUntilNow,
    /// More steps were accepted on each side of the time than here.
    Window {
        /// So many.
        steps: u16,
        /// So many are here.
        here: u16,
    },
    /// The key ends some day.
    Expiry(Time),
    /// The key is good for so many logins.
    Transactions,
}

impl Remark {
    /// What becomes of it.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::AssumedCounter
            | Self::AssumedDigits
            | Self::AssumedPeriod
            | Self::OtherLastCode
            | Self::RateLimit
            | Self::Reuse
            | Self::ShortSecret { .. }
            | Self::UsedUntilNow
            | Self::Window { .. } => Fate::Changed,
            Self::DeadScratchCode
            | Self::Expiry(_)
            | Self::Grace
            | Self::LookAhead { .. }
            | Self::NoHome
            | Self::Pin
            | Self::Resync
            | Self::Signature
            | Self::Transactions
            | Self::Unknown(_)
            | Self::UnknownLine => Fate::Dropped,
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AssumedCounter => f.write_str("no counter is given: the next one is 0"),
            Self::AssumedDigits => f.write_str("no number of digits is given: they are 6"),
            Self::AssumedPeriod => f.write_str("no period is given: it is 30 seconds"),
            Self::DeadScratchCode => {
                f.write_str("a scratch code behind a line at which its program stops reading")
            }
            Self::Expiry(time) => write!(f, "the key expires {time}: end it by hand"),
            Self::Grace => f.write_str("logins without a code after one from the same address"),
            Self::LookAhead { codes } => {
                write!(
                    f,
                    "a look-ahead of {codes} codes: it is {}",
                    Reach::LOOK_AHEAD
                )
            }
            Self::NoHome => f.write_str("its folder is not the home of the account that owns it"),
            Self::OtherLastCode => {
                f.write_str("the last code is not that of the counter: the count behind it is next")
            }
            Self::Pin => f.write_str("a PIN: leave it to the password of the account"),
            Self::RateLimit => f.write_str("the limits of pam_totp.conf hold instead"),
            Self::Resync => f.write_str("codes shown to set the clock"),
            Self::Reuse => f.write_str("codes could be used again: each is good for one login now"),
            Self::ShortSecret { bits } => write!(
                f,
                "the secret has {bits} bits, fewer than {}: renew it (totpctl rotate)",
                Secret::RECOMMENDED_BYTES.saturating_mul(8)
            ),
            Self::Signature => f.write_str("the signature is not checked"),
            Self::Transactions => f.write_str("the number of logins that the key is good for"),
            Self::Unknown(what) => write!(f, "{what}"),
            Self::UnknownLine => f.write_str("a line of no known form"),
            Self::UsedUntilNow => {
                f.write_str("which codes were used is not known: those until now count as used")
            }
            Self::Window { steps, here } => write!(
                f,
                "a window of {steps} steps on each side: it is {here}, as pam_totp.conf has it"
            ),
        }
    }
}

/// A thing for which a file is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where it stands.
    pub at: Place,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.fault)
    }
}

impl std::error::Error for Problem {}

/// What is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// An algorithm of keys or codes that there is none of here.
    Algorithm(&'static str),
    /// A document type or an entity.
    Dtd,
    /// The key is no longer good.
    Expired(Time),
    /// A thing of another form than it has to have.
    Form {
        /// Its name.
        name: &'static str,
        /// What is expected.
        expected: &'static str,
    },
    /// More rounds of a key derivation than anybody needs.
    Iterations {
        /// The most.
        max: u32,
    },
    /// No Key URI.
    KeyUri(KeyUriError),
    /// Encrypted, and nobody gave this.
    Locked(Lock),
    /// A thing that has to be there is not.
    Missing(&'static str),
    /// More problems than are listed.
    More,
    /// Codes of neither a counter nor the time.
    NoKind,
    /// Nothing but comments.
    NoToken,
    /// Not UTF-8.
    NotText,
    /// A part of an export that is not there.
    PartMissing {
        /// The first is 1.
        part: u64,
        /// So many there are.
        of: u64,
    },
    /// A rule under which the key must not be used here.
    Policy(&'static str),
    /// No secret.
    Secret(SecretError),
    /// More bytes than are read.
    TooLong {
        /// The most.
        max: usize,
    },
    /// More elements than are read.
    TooManyElements,
    /// More lines than are read.
    TooManyLines {
        /// The most.
        max: usize,
    },
    /// Encrypted without a code that shows changes.
    Unauthenticated,
    /// The key is wrong, or the file was changed.
    WrongMac,
    /// No XML.
    Xml,
}

/// What opens a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lock {
    /// [`crate::Key::PassPhrase`].
    PassPhrase,
    /// [`crate::Key::PreShared`].
    PreShared,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(expected) => write!(f, "unknown algorithm: expected {expected}"),
            Self::Dtd => f.write_str("document types and entities are refused"),
            Self::Expired(time) => write!(f, "the key expired {time}: leave it out"),
            Self::Form { name, expected } => write!(f, "{name}: expected {expected}"),
            Self::Iterations { max } => {
                write!(f, "the key is derived in more than {max} iterations")
            }
            Self::KeyUri(error) => error.fmt(f),
            Self::Locked(Lock::PassPhrase) => f.write_str("encrypted: a pass phrase is needed"),
            Self::Locked(Lock::PreShared) => f.write_str("encrypted: the pre-shared key is needed"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::More => f.write_str("more problems follow: mend these first"),
            Self::NoKind => {
                f.write_str("neither TOTP_AUTH nor HOTP_COUNTER: nothing says how codes are made")
            }
            Self::NoToken => f.write_str("no token is in it"),
            Self::NotText => f.write_str("not UTF-8: is it a file of this format?"),
            Self::PartMissing { part, of } => {
                write!(f, "part {part} of {of} is missing: bring all in one file")
            }
            Self::Policy(rule) => f.write_str(rule),
            Self::Secret(error) => error.fmt(f),
            Self::TooLong { max } => write!(f, "longer than {} KiB", max >> 10),
            Self::TooManyElements => f.write_str("too many elements: split the file"),
            Self::TooManyLines { max } => write!(f, "more than {max} lines: split the file"),
            Self::Unauthenticated => {
                f.write_str("encrypted without a MAC: nothing would show a change")
            }
            Self::WrongMac => {
                f.write_str("the MAC is wrong: another key or pass phrase, or a changed file")
            }
            Self::Xml => f.write_str("not well-formed XML"),
        }
    }
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Findings {
    notes: Vec<Note>,
    problems: Vec<Problem>,
}

impl Findings {
    /// Nobody reads more, and rubbish has as many as bytes.
    const MAX_PROBLEMS: usize = 1000;

    pub(crate) fn note(&mut self, at: &Place, remark: Remark) {
        let at = at.clone();
        self.notes.push(Note { at, remark });
    }

    pub(crate) fn problem(&mut self, at: Place, fault: Fault) {
        if self.are_full() {
            return;
        }
        self.problems.push(Problem { at, fault });
        if self.are_full() {
            let (at, fault) = (Place::File, Fault::More);
            self.problems.push(Problem { at, fault });
        }
    }

    /// What was read; `None` with a problem more where it could not be.
    pub(crate) fn take<T>(&mut self, at: &Place, read: Result<T, Fault>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(fault) => {
                self.problem(at.clone(), fault);
                None
            }
        }
    }

    /// A secret's bytes, with a note where they are few.
    pub(crate) fn secret(
        &mut self,
        at: &Place,
        read: Result<Secret, SecretError>,
    ) -> Option<Secret> {
        let secret = self.take(at, read.map_err(Fault::Secret))?;
        self.weigh(at, &secret);
        Some(secret)
    }

    pub(crate) fn weigh(&mut self, at: &Place, secret: &Secret) {
        let bytes = secret.expose().len();
        if bytes < Secret::RECOMMENDED_BYTES {
            let bits = bytes.saturating_mul(8);
            self.note(at, Remark::ShortSecret { bits });
        }
    }

    /// Whether reading on is of use.
    pub(crate) fn are_full(&self) -> bool {
        self.problems.len() >= Self::MAX_PROBLEMS
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// All or nothing.
    pub(crate) fn conclude(self, people: Vec<Person>) -> Result<Import, Vec<Problem>> {
        let Self { notes, problems } = self;
        match problems.is_empty() {
            true => Ok(Import { people, notes }),
            false => Err(problems),
        }
    }
}
