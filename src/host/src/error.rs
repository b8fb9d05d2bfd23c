//! Why records can't be read or changed: the fact, then the next step. No part of a secret is in it.

use std::fmt;
use std::path::{Path, PathBuf};

use totp_core::backup_code::Count;
use totp_core::contact::Channel;
use totp_core::device::DeviceName;
use totp_core::record::Enrollment;
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::state::StateError;

use crate::file::FileError;
use crate::lock::LockError;
use crate::slot::SlotError;

/// Why records can't be read or changed.
#[derive(Debug)]
pub enum StoreError {
    /// The device was not the last one when its removal began, and is now.
    BecameLast(DeviceName),
    /// There is a contact of that kind.
    ContactExists(Channel),
    /// There is a device of that name.
    DeviceExists(DeviceName),
    /// The enrollment ended while its person was asked for a code.
    Ended,
    /// The system has no entropy.
    Entropy(String),
    /// A file or folder can't be used.
    File(FileError),
    /// So many proofs were none that no further one is judged.
    Guessed,
    /// The state can't be locked.
    Lock(PathBuf, LockError),
    /// The account's name makes no file name.
    Name,
    /// There is no device of that name.
    NoDevice(DeviceName),
    /// There is a secret and no state: what was used before is not known.
    NoState(PathBuf),
    /// The account has a device.
    Enrolled,
    /// The account has backup codes, which others would void.
    HasBackupCodes,
    /// An account without a device is not enrolled.
    NothingToImport,
    /// The invite that somebody has come with is worth nothing.
    NotInvited,
    /// The device is not the one any more that it was.
    Replaced(DeviceName),
    /// No other device serves logins without an ssh key.
    OnlyUnbound(DeviceName),
    /// The secret file can't be understood.
    Secret(PathBuf, EnrollmentError),
    /// The state can't be read, understood or saved.
    State(PathBuf, Damage),
    /// More codes than a set has.
    TooManyBackupCodes,
    /// A new state would not fit.
    TooManyDevices,
    /// The account was made anew since it was enrolled.
    Uid {
        /// Whose.
        name: String,
        /// The user id that was enrolled.
        enrolled: u32,
        /// The user id that the account has now.
        found: u32,
    },
}

/// What is wrong with a state.
#[derive(Debug)]
pub enum Damage {
    /// The file around it.
    Slot(SlotError),
    /// The record in it.
    Record(StateError),
}

impl Damage {
    /// Whether the content of the file is no state, so that nothing is lost with it; of a newer version it is one, which
    /// is lost where that is meant by `force`.
    #[must_use]
    pub fn is_of_content(&self, force: bool) -> bool {
        match self {
            Self::Slot(SlotError::Io { .. }) => false,
            Self::Slot(SlotError::Version { .. }) => force,
            Self::Slot(_) | Self::Record(_) => true,
        }
    }

    /// Whether it is none: a later version has written the state.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Slot(SlotError::Version { .. }))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameLast(name) => write!(
                f,
                "{name} is the last device since somebody has removed the others meanwhile, and this has changed \
                 nothing: begin again"
            ),
            Self::ContactExists(channel) => write!(
                f,
                "codes are sent {} to another address already: remove that one first (totpctl device remove)",
                channel.words()
            ),
            Self::DeviceExists(name) => write!(
                f,
                "there is a device named {name} already: choose another name (--device of enroll)"
            ),
            Self::Ended => f.write_str(
                "the account is not enrolled any more, since somebody has ended that meanwhile: totpctl enroll begins anew",
            ),
            Self::Enrolled => {
                f.write_str("the account is enrolled already: add a device with totpctl enroll")
            }
            Self::HasBackupCodes => f.write_str(
                "the account has backup codes already, and others would void them: import none",
            ),
            Self::NothingToImport => {
                f.write_str("there is no device to import: without one nobody is enrolled")
            }
            Self::NotInvited => f.write_str("there is no such invite: totpctl invite makes one"),
            Self::Entropy(reason) => f.write_str(reason),
            Self::File(error) => error.fmt(f),
            Self::Guessed => f.write_str(
                "too many wrong codes have been typed for this account, so none is judged here for a while: \
                 totpctl unlock USER forgets them, and --force asks for none",
            ),
            Self::Lock(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Name => f.write_str("the account's name is too long for a file name"),
            Self::NoDevice(name) => write!(
                f,
                "there is no device named {name}: totpctl device list shows which there are"
            ),
            Self::NoState(path) => write!(
                f,
                "{} is missing, so used codes are not known: {}",
                path.display(),
                Repair(path)
            ),
            Self::Replaced(name) => write!(
                f,
                "device {name} was changed or removed meanwhile, and this has changed nothing: look at totpctl device list"
            ),
            Self::OnlyUnbound(name) => write!(
                f,
                "no other device serves where there is no ssh key, so its owner would have no code for sudo, su and the \
                 console: enroll another one, or say --force if {name} is to serve ssh logins only"
            ),
            Self::Secret(path, reason) => {
                write!(f, "{}: {reason}: {}", path.display(), EnrollAgain(path))
            }
            Self::State(path, damage @ Damage::Slot(SlotError::Io { .. })) => {
                write!(f, "{}: {damage}", path.display())
            }
            Self::State(path, damage @ Damage::Slot(SlotError::Version { .. })) => {
                let path = path.display();
                write!(
                    f,
                    "{path}: {damage}: install the newer one again, or give it up by totpctl repair {} --force",
                    account(Path::new(&path.to_string()))
                )
            }
            Self::State(path, damage) => {
                write!(f, "{}: {damage}: {}", path.display(), Repair(path))
            }
            Self::TooManyBackupCodes => write!(
                f,
                "more than the {} backup codes that are kept of one account: import fewer",
                Count::MAX
            ),
            Self::TooManyDevices => write!(
                f,
                "there are {} devices already, and no more are kept of one account",
                Enrollment::MAX_DEVICES
            ),
            Self::Uid {
                name,
                enrolled,
                found,
            } => write!(
                f,
                "{name} was enrolled as user id {enrolled} and has {found} now, so the account is \
                 another one: {}",
                EnrollAgain(Path::new(name))
            ),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl StoreError {
    pub(crate) fn slot(path: PathBuf, error: SlotError) -> Self {
        Self::State(path, Damage::Slot(error))
    }
}

/// What to do where an account's secret is past mending. Its file has the account's name.
struct EnrollAgain<'a>(&'a Path);

impl fmt::Display for EnrollAgain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run totpctl reset {} --force and enroll again",
            account(self.0)
        )
    }
}

/// What to do where an account's state is past mending.
struct Repair<'a>(&'a Path);

impl fmt::Display for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run totpctl repair {}", account(self.0))
    }
}

fn account(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or("USER")
}
