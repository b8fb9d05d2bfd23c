//! The records of people, as files.
//!
//! One secret file and one state a person. A login reads both and saves the state; only enrollment
//! writes a secret file. What changes an enrollment works under the lock of the state too, in an order
//! by which a kill at any point leaves the old or the new: new ids into the state, then the secret file,
//! then dead ids out of the state.

mod backup_codes;
mod devices;
mod enrolling;
mod invites;
mod login;
mod repairing;
mod sending;
mod unlocking;

use std::cell::Cell;
use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;

use totp_core::config::Config;
use totp_core::doors::{Account, Store, System};
use totp_core::event::{Event, Severity};
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::throttle::{Refusal, Source};

pub use self::backup_codes::Backup;
pub use self::devices::{Proof, Removal};
pub use self::enrolling::{Import, NewDevice, check_new, check_new_contact};
pub use self::repairing::Found;
pub use self::sending::check_gateway;
use crate::decoy;
use crate::error::{Damage, StoreError};
use crate::file::{CheckedFile, FileError, Identity, Others};
use crate::folder::Folder;
use crate::lock::{self, LockError, Waiting};
use crate::slot::{self, Record};
use crate::stack;

/// What stands for a service where totpctl asks for a code.
pub const OURS: &str = "totpctl";

/// Largest secret file, in bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The records in the folders of a configuration. The folders are opened anew for each call: between two
/// of them a person types, and somebody may put others in their place. What is around one that still is the same was looked
/// at before.
pub struct FileStore<'a> {
    config: &'a Config,
    system: &'a dyn System,
    seen: Seen,
}

/// What a login has found by now: the folders that are in order, and where its stranger is counted.
#[derive(Default)]
struct Seen {
    secrets: Cell<Option<Identity>>,
    states: Cell<Option<Identity>>,
    shared: Cell<Option<SharedSeat>>,
}

/// The file of a stranger, and what the stranger's answers are counted by there.
struct SharedSeat {
    name: String,
    source: Source,
    seat: (String, Source),
}

/// Refuses a folder of secrets that is not the one in which somebody enrolled, such as one below what isn't mounted.
///
/// # Errors
/// [`FileError`], of either folder too.
pub fn check_is_kept(config: &Config) -> Result<(), FileError> {
    let secrets = Folder::open(&config.secret_dir)?;
    decoy::check_is_kept(&secrets, || Folder::open(&config.state_dir))
}

impl<'a> FileStore<'a> {
    /// The store that `config` describes. Opens nothing yet.
    #[must_use]
    pub fn new(config: &'a Config, system: &'a dyn System) -> Self {
        Self {
            config,
            system,
            seen: Seen::default(),
        }
    }

    /// The records of an account; `None` where it is not enrolled, or nobody ever was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self, account: &Account) -> Result<Option<(Enrollment, State)>, StoreError> {
        let secrets = match self.secrets() {
            Err(error) if error.is_missing() => return Ok(None),
            secrets => secrets?,
        };
        let Some(enrollment) = enrollment(&secrets, account)? else {
            return Ok(None);
        };
        let opened = open_state(&self.states()?, &state_name(&account.name)?, false);
        let state = match opened.map_err(|error| self.unless_ended(account, error)) {
            Err(StoreError::Ended) => return Ok(None),
            opened => opened?.read()?.1,
        };
        Ok(Some((enrollment, state.as_of(self.system.now()))))
    }

    /// The names of the accounts that have a secret file; none where nobody ever enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn enrolled_names(&self) -> Result<Vec<String>, StoreError> {
        match self.secrets() {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            secrets => Ok(secrets?
                .names()?
                .iter()
                .filter_map(|name| account_of(name))
                .collect()),
        }
    }

    /// Locks the records of an account.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where it is not enrolled.
    fn lock_enrolled(&self, account: &Account) -> Result<LockedRecords, StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let opened = open_state(&states, &name, true);
        let locked = opened.and_then(|file| self.lock(&states, &name, file));
        let file = locked.map_err(|error| self.unless_ended(account, error))?;
        let enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        Ok(LockedRecords {
            secrets,
            file,
            enrolled,
        })
    }

    /// Locks a state; `None` where it is such that no login can use it, and none does.
    fn lock_if_usable(
        &self,
        states: &Folder,
        name: &str,
    ) -> Result<Option<StateFile<lock::Locked>>, StoreError> {
        match open_state(states, name, true).and_then(|file| self.lock(states, name, file)) {
            Err(StoreError::NoState(_)) => Ok(None),
            Err(StoreError::File(error)) if error.is_of_the_file() => Ok(None),
            locked => locked.map(Some),
        }
    }

    /// A missing state is no fault where its person was reset meanwhile.
    fn unless_ended(&self, account: &Account, error: StoreError) -> StoreError {
        match error {
            StoreError::NoState(_) if matches!(self.is_enrolled(account), Ok(false)) => {
                StoreError::Ended
            }
            error => error,
        }
    }

    /// Whether both folders are there, or neither, as where nobody ever enrolled.
    ///
    /// # Errors
    /// The one that is missing, which denies everybody.
    pub fn check_folders(&self) -> Result<(), StoreError> {
        match (self.secrets(), self.states()) {
            (Err(secrets), Err(_)) if secrets.is_missing() => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
            (Ok(_), Ok(_)) => Ok(()),
        }
    }

    /// Both folders, made where there is none yet. Where the other one holds records, one was lost: a new one in its place
    /// would have those pass for nobody's.
    fn folders_or_new(&self) -> Result<(Folder, Folder), StoreError> {
        match (self.secrets(), self.states()) {
            (Ok(other), Err(lost)) | (Err(lost), Ok(other))
                if lost.is_missing()
                    && other.names()?.iter().any(|name| account_of(name).is_some()) =>
            {
                Err(lost.into())
            }
            _ => {
                let secrets = Folder::open_or_make(&self.config.secret_dir)?;
                let states = Folder::open_or_make(&self.config.state_dir)?;
                states.refuse_network()?;
                Ok((secrets, states))
            }
        }
    }

    fn secrets(&self) -> Result<Folder, FileError> {
        Folder::open_again(&self.config.secret_dir, &self.seen.secrets, |_| Ok(()))
    }

    fn states(&self) -> Result<Folder, FileError> {
        Folder::open_again(
            &self.config.state_dir,
            &self.seen.states,
            Folder::refuse_network,
        )
    }

    fn lock(
        &self,
        states: &Folder,
        name: &str,
        file: StateFile<CheckedFile>,
    ) -> Result<StateFile<lock::Locked>, StoreError> {
        self.lock_unless(states, name, file, &|_| None)
            .map_err(|error| self.lock_error(states, name, error))
    }

    /// Ends the wait for the lock by a refusal, where the newest record says one.
    fn lock_unless(
        &self,
        states: &Folder,
        name: &str,
        StateFile { file, path }: StateFile<CheckedFile>,
        refusal: &dyn Fn(&Record) -> Option<Refusal>,
    ) -> Result<StateFile<lock::Locked>, LockError> {
        let killed = |pid| {
            let event = Event::new(Severity::Error, "killed");
            self.system.log(&event.because(format_args!(
                "killed process {pid}, which held the lock on {} for 5 seconds without moving; no count \
                 and no code was lost",
                path.display()
            )));
        };
        let waiting = Waiting {
            refusal,
            killed: &killed,
        };
        let file = lock::Locked::lock(states, name, file, &waiting)?;
        Ok(StateFile { file, path })
    }

    fn lock_error(&self, states: &Folder, name: &str, error: LockError) -> StoreError {
        match error {
            LockError::File(error) => missing_state(error),
            error => StoreError::Lock(states.path_of(name), error),
        }
    }
}

/// An account that is enrolled, as a change finds it: nobody else changes it, and no login is judged meanwhile.
struct LockedRecords {
    secrets: Folder,
    file: StateFile<lock::Locked>,
    enrolled: Enrollment,
}

/// A state on disk, open to read or locked to save.
struct StateFile<F> {
    file: F,
    path: PathBuf,
}

impl<F: Deref<Target = File>> StateFile<F> {
    fn read(&self) -> Result<(Record, State), StoreError> {
        let error = |reason| StoreError::State(self.path.clone(), reason);
        let record = slot::read(&self.file).map_err(|e| error(Damage::Slot(e)))?;
        let state = State::decode(&record.body).map_err(|e| error(Damage::Record(e)))?;
        Ok((record, state))
    }
}

impl StateFile<lock::Locked> {
    fn save(&self, current: &Record, state: &State) -> Result<(), StoreError> {
        slot::save(self.file.file(), current, &state.encode())
            .map_err(|error| StoreError::State(self.path.clone(), Damage::Slot(error)))
    }
}

/// Writes a secret file that can be read again.
fn write_enrollment(
    secrets: &Folder,
    account: &Account,
    enrolled: &Enrollment,
) -> Result<(), StoreError> {
    let name = state_name(&account.name)?;
    let refused = |error| StoreError::Secret(secrets.path_of(&name), error);
    enrolled.check().map_err(refused)?;
    secrets.replace(&name, enrolled.to_toml().as_bytes())?;
    let _ = secrets.tidy();
    Ok(())
}

/// Takes the records of an account away, which is not enrolled when this returns.
fn remove_records(secrets: &Folder, states: &Folder, account: &Account) -> Result<(), StoreError> {
    let name = state_name(&account.name)?;
    // One that was left behind by an enrollment which was killed.
    invites::remove(secrets, &account.name)?;
    secrets.remove(&name)?;
    // A state without a secret is nobody's; the next enrollment takes it over, and nothing that is in it.
    let _ = states.remove(&name);
    Ok(())
}

/// Whether a file was there to be removed.
fn removed(result: Result<(), FileError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn enrollment(secrets: &Folder, account: &Account) -> Result<Option<Enrollment>, StoreError> {
    let name = state_name(&account.name)?;
    let enrollment = read_enrollment(secrets, &name)?;
    enrollment
        .map(|enrollment| checked_uid(account, enrollment))
        .transpose()
}

/// An enrollment that is of this account, and not of another one that had its name.
fn checked_uid(account: &Account, enrollment: Enrollment) -> Result<Enrollment, StoreError> {
    if enrollment.uid == account.uid {
        return Ok(enrollment);
    }
    Err(StoreError::Uid {
        name: account.name.clone(),
        enrolled: enrollment.uid,
        found: account.uid,
    })
}

/// The secret file of that name.
pub(crate) fn read_enrollment(
    secrets: &Folder,
    name: &str,
) -> Result<Option<Enrollment>, StoreError> {
    stack::wiped_after(|| parse_enrollment(secrets, name))
}

fn parse_enrollment(secrets: &Folder, name: &str) -> Result<Option<Enrollment>, StoreError> {
    let bytes = match secrets.read(name, Others::None, MAX_SECRET_BYTES) {
        Err(error) if error.is_missing() => return Ok(None),
        bytes => bytes?,
    };
    let error = |reason| StoreError::Secret(secrets.path_of(name), reason);
    let text = std::str::from_utf8(&bytes).map_err(|_| error(EnrollmentError::Checksum))?;
    Enrollment::parse(text).map(Some).map_err(error)
}

fn open_state(
    states: &Folder,
    name: &str,
    writable: bool,
) -> Result<StateFile<CheckedFile>, StoreError> {
    let file = states
        .open_file(name, Others::None, writable)
        .map_err(missing_state)?;
    Ok(StateFile {
        file,
        path: states.path_of(name),
    })
}

/// What a new file of a state holds.
fn new_state_file(states: &Folder, name: &str, state: &State) -> Result<Vec<u8>, StoreError> {
    let file = slot::new_file(&state.encode());
    file.map_err(|error| StoreError::slot(states.path_of(name), error))
}

fn state_name(account: &str) -> Result<String, StoreError> {
    file_name(account).ok_or(StoreError::Name)
}

fn missing_state(error: FileError) -> StoreError {
    if error.is_missing() {
        StoreError::NoState(error.path)
    } else {
        error.into()
    }
}
