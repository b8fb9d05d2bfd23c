//! What goes wrong, and what to do then.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use totp_core::contact::{Channel, Contact};
use totp_core::device::DeviceName;
use totp_core::doors::Account;
use totp_host::config::LoadError;
use totp_host::error::StoreError;

use crate::output;

/// An error as an administrator reads it: the fact, then the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Refused,
    Usage,
    Unreachable,
}

impl Kind {
    const fn exit(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Failure {
    /// Asked for what can't or must not be done.
    pub(crate) fn refused(message: impl Display) -> Self {
        Self {
            kind: Kind::Refused,
            message: message.to_string(),
        }
    }

    /// Asked for in a way that makes no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self {
            kind: Kind::Usage,
            message: message.to_string(),
        }
    }

    /// Something that is needed can't be reached, read or written.
    pub(crate) fn unreachable(message: impl Display) -> Self {
        Self {
            kind: Kind::Unreachable,
            message: message.to_string(),
        }
    }

    /// What was asked has an answer, which the report of the command has given, and it is no.
    pub(crate) fn answered_no() -> Self {
        Self::refused("")
    }

    /// Something can't be read, and the report of the command has said what.
    pub(crate) fn reported() -> Self {
        Self::unreachable("")
    }

    /// The same, with more to know.
    pub(crate) fn with(self, remarks: &[String]) -> Self {
        let message = [&[self.message], remarks].concat().join("; ");
        Self { message, ..self }
    }

    /// The same, once something was done.
    pub(crate) fn after(self, done: impl Display) -> Self {
        Self {
            message: format!("{}; {done}", self.message),
            ..self
        }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if self.message.is_empty() {
            return ExitCode::from(self.kind.exit());
        }
        let error = json!({ "error": { "kind": self.kind.name(), "message": self.message } });
        let is_shown = json && output::try_print(format_args!("{error:#}")).is_ok();
        if !is_shown {
            let _ = writeln!(io::stderr(), "totpctl: {}", self.message);
        }
        match json && !is_shown {
            true => ExitCode::from(Kind::Unreachable.exit()),
            false => ExitCode::from(self.kind.exit()),
        }
    }
}

/// What is said of a device that is not there.
pub(crate) fn no_device(account: &Account, device: &DeviceName) -> Failure {
    let user = &account.name;
    Failure::refused(format_args!(
        "{user} has no device named {device}: totpctl device list {user} shows which there are"
    ))
}

/// What is said of a contact where a device was meant.
pub(crate) fn no_key(account: &Account, contact: &Contact) -> Failure {
    let what = match contact.recipient.channel() {
        Channel::Mail => "mailbox",
        Channel::Text => "telephone",
    };
    Failure::refused(format_args!(
        "{} of {} is a {what} that codes are sent to, and has no key: name a device that has one, or leave --device out",
        contact.name, account.name
    ))
}

/// What is said of an account without a device.
pub(crate) fn not_enrolled(user: &str) -> Failure {
    Failure::refused(format_args!(
        "{user} is not enrolled: totpctl enroll {user}"
    ))
}

/// Reports a command line that clap did not understand, or prints the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        return Failure::usage(error.to_string().trim_end()).report(true);
    }
    match error.print() {
        _ if error.use_stderr() => ExitCode::from(Kind::Usage.exit()),
        Ok(()) => ExitCode::SUCCESS,
        Err(lost) => output::lost(lost).report(false),
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::unreachable(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BecameLast(_)
            | StoreError::ContactExists(_)
            | StoreError::DeviceExists(_)
            | StoreError::Enrolled
            | StoreError::Guessed
            | StoreError::HasBackupCodes
            | StoreError::NothingToImport
            | StoreError::NotInvited
            | StoreError::Name
            | StoreError::NoDevice(_)
            | StoreError::Ended
            | StoreError::OnlyUnbound(_)
            | StoreError::Replaced(_)
            | StoreError::TooManyBackupCodes
            | StoreError::TooManyDevices => Self::refused(error),
            StoreError::File(ref file) if file.is_denied() => {
                Self::unreachable(format_args!("{error}: run totpctl as root"))
            }
            StoreError::Entropy(_)
            | StoreError::File(_)
            | StoreError::Lock(..)
            | StoreError::NoState(_)
            | StoreError::Secret(..)
            | StoreError::State(..)
            | StoreError::Uid { .. } => Self::unreachable(error),
        }
    }
}
