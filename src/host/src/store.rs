//! The records of people, as files.
//!
//! One secret file and one state a person. A login reads both and saves the state; only enrollment
//! writes a secret file. What changes an enrollment works under the lock of the state too, in an order
//! by which a kill at any point leaves the old or the new: new ids into the state, then the secret file,
//! then dead ids out of the state.

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::config::Config;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::{Account, Store, Subject, System};
use totp_core::event::{Event, Severity};
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::otp::Step;
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::state::{DeviceState, StateError};
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::throttle::Standing;

use crate::decoy;
use crate::file::{CheckedFile, FileError, Folder, Others, Sync};
use crate::lock::{LockError, Locked};
use crate::process::CriticalSection;
use crate::slot::{self, Record, SlotError};

/// Largest secret file, in bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The records in the folders of a configuration.
pub struct FileStore<'a> {
    config: &'a Config,
    system: &'a dyn System,
    secrets: OnceCell<Folder>,
    states: OnceCell<Folder>,
}

impl<'a> FileStore<'a> {
    /// The store that `config` describes. Opens nothing yet.
    #[must_use]
    pub fn new(config: &'a Config, system: &'a dyn System) -> Self {
        Self {
            config,
            system,
            secrets: OnceCell::new(),
            states: OnceCell::new(),
        }
    }

    /// The records of an account; `None` where it is not enrolled, or nobody ever was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self, account: &Account) -> Result<Option<(Enrollment, State)>, StoreError> {
        let enrollment = match self.enrollment(account) {
            Err(StoreError::File(error)) if error.is_missing() => None,
            enrollment => enrollment?,
        };
        let Some(enrollment) = enrollment else {
            return Ok(None);
        };
        let state = self
            .open_state(&state_name(&account.name)?, false)?
            .read()?
            .1;
        Ok(Some((enrollment, state.without_future(self.system.now()))))
    }

    /// The names of the accounts that have a secret file; none where nobody ever enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn enrolled_names(&self) -> Result<Vec<String>, StoreError> {
        match Folder::open(&self.config.secret_dir) {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            folder => Ok(folder?
                .names()?
                .iter()
                .filter_map(|name| account_of(name))
                .collect()),
        }
    }

    /// Adds a device to an account, enrolled or not. `used` is a step that is used up from the start.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub fn add_device(
        &self,
        account: &Account,
        device: &Device,
        used: Option<Step>,
    ) -> Result<(), StoreError> {
        let secrets = Folder::open_or_make(&self.config.secret_dir)?;
        let states = Folder::open_or_make(&self.config.state_dir)?.refuse_network()?;
        decoy::make_all(&states, self.system.now())?;
        let name = state_name(&account.name)?;
        if self.enrollment(account)?.is_none() {
            let nobody = State::new(self.system.now()).encode();
            states.create(&name, &slot::new_file(&nobody)?, Sync::Now)?;
        }
        let file = self.lock(&name, self.open_state(&name, true)?)?;
        let mut enrollment = self.enrollment(account)?.unwrap_or(Enrollment {
            uid: account.uid,
            devices: Vec::new(),
        });
        if enrollment.device(&device.name).is_some() {
            return Err(StoreError::DeviceExists(device.name.clone()));
        }
        if enrollment.devices.len() >= Enrollment::MAX_DEVICES {
            return Err(StoreError::TooManyDevices);
        }
        let (record, mut state) = file.read()?;
        state
            .devices
            .retain(|known| enrollment.devices.iter().any(|d| d.id == known.id));
        state.devices.push(DeviceState::new(device.id, used));
        enrollment.devices.push(device.clone());
        file.save(&record, &state)?;
        secrets.replace(&name, enrollment.to_toml().as_bytes())?;
        secrets.tidy()?;
        states.tidy()?;
        Ok(())
    }

    /// Removes all that is kept under an account's name; `false` where nothing was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reset(&self, account: &str) -> Result<bool, StoreError> {
        let name = state_name(account)?;
        let secrets = match Folder::open(&self.config.secret_dir) {
            Err(error) if error.is_missing() => return Ok(false),
            folder => folder?,
        };
        let states = Folder::open(&self.config.state_dir)?;
        // The lock keeps logins out. A state that can't be opened lets no login in either.
        let _lock = match self.open_state(&name, true) {
            Err(_) => None,
            Ok(file) => Some(self.lock(&name, file)?),
        };
        let secret = removed(secrets.remove(&name))?;
        let state = removed(states.remove(&name))?;
        Ok(secret || state)
    }

    /// Forgets the wrong answers of an account; `false` where it is not enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock(&self, account: &Account) -> Result<bool, StoreError> {
        if self.enrollment(account)?.is_none() {
            return Ok(false);
        }
        let name = state_name(&account.name)?;
        let file = self.open_state(&name, true)?;
        let transaction = self.begin(Subject::Enrolled(account), &name, file)?;
        let mut state = transaction.state.clone();
        state.tally.places.clear();
        transaction.commit(&state)?;
        Ok(true)
    }

    /// Locks and reads what is kept of `subject`, whose state was opened as `file`.
    fn begin(
        &self,
        subject: Subject<'_>,
        name: &str,
        file: StateFile<CheckedFile>,
    ) -> Result<Transaction, StoreError> {
        let file = self.lock(name, file)?;
        let section = CriticalSection::begin(slot::FILE_BYTES as u64)
            .map_err(|errno| StoreError::Caller(errno.desc()))?;
        let enrollment = match subject {
            Subject::Enrolled(account) => self.enrollment(account)?.ok_or(StoreError::Ended)?,
            Subject::Stranger(_) => decoy::enrollment()?,
        };
        let (record, state) = file.read()?;
        Ok(Transaction {
            file,
            enrollment,
            record,
            state,
            _section: section,
        })
    }

    fn enrollment(&self, account: &Account) -> Result<Option<Enrollment>, StoreError> {
        let folder = self.secrets()?;
        let name = state_name(&account.name)?;
        let bytes = match folder.read(&name, Others::None, MAX_SECRET_BYTES) {
            Err(error) if error.is_missing() => return Ok(None),
            result => result?,
        };
        let error = |reason| StoreError::Secret(folder.path_of(&name), reason);
        let text = std::str::from_utf8(&bytes).map_err(|_| error(EnrollmentError::Checksum))?;
        let enrollment = Enrollment::parse(text).map_err(error)?;
        if enrollment.uid != account.uid {
            return Err(StoreError::Uid {
                name: account.name.clone(),
                enrolled: enrollment.uid,
                found: account.uid,
            });
        }
        Ok(Some(enrollment))
    }

    /// The name of the subject's state, and the address that the subject's answers are counted by in it.
    fn seat(
        &self,
        subject: Subject<'_>,
        address: &Address,
    ) -> Result<(String, Address), StoreError> {
        match subject {
            Subject::Enrolled(account) => Ok((state_name(&account.name)?, address.clone())),
            Subject::Stranger(name) => {
                let states = self.states()?;
                let (name, address) = decoy::seat_of(states, name, address)?;
                if states
                    .open_file(&name, Others::None, false)
                    .is_err_and(|e| e.is_missing())
                {
                    decoy::make(states, &name, self.system.now())?;
                }
                Ok((name, address))
            }
        }
    }

    fn open_state(&self, name: &str, writable: bool) -> Result<StateFile<CheckedFile>, StoreError> {
        let states = self.states()?;
        let file = states
            .open_file(name, Others::None, writable)
            .map_err(missing_state)?;
        Ok(StateFile {
            file,
            path: states.path_of(name),
        })
    }

    fn lock(
        &self,
        name: &str,
        StateFile { file, path }: StateFile<CheckedFile>,
    ) -> Result<StateFile<Locked>, StoreError> {
        let file = Locked::lock(self.states()?, name, file).map_err(|error| match error {
            LockError::File(error) => missing_state(error),
            error => StoreError::Lock(path.clone(), error),
        })?;
        if let Some(pid) = file.killed {
            let event = Event::new(Severity::Error, "killed");
            self.system.log(&event.because(format_args!(
                "process {pid} held the lock on {} for over 5 seconds without moving",
                path.display()
            )));
        }
        Ok(StateFile { file, path })
    }

    fn secrets(&self) -> Result<&Folder, FileError> {
        opened(&self.secrets, || Folder::open(&self.config.secret_dir))
    }

    fn states(&self) -> Result<&Folder, FileError> {
        opened(&self.states, || {
            Folder::open(&self.config.state_dir)?.refuse_network()
        })
    }

    fn standing_of(&self, state: &State, address: &Address) -> Standing {
        state
            .tally
            .standing(address, &self.config.limits, self.system.now())
    }
}

impl Store for FileStore<'_> {
    type Error = StoreError;

    fn is_enrolled(&self, account: &Account) -> Result<bool, StoreError> {
        // Opened and checked, but not read: a secret is in memory for as long as it takes to judge.
        match self
            .secrets()?
            .open_file(&state_name(&account.name)?, Others::None, false)
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn standing(&self, subject: Subject<'_>, address: &Address) -> Result<Standing, StoreError> {
        let (name, address) = self.seat(subject, address)?;
        let state = self.open_state(&name, false)?.read()?.1;
        let clamped = state.clone().without_future(self.system.now());
        if clamped.remembers_the_same(&state) {
            return Ok(self.standing_of(&state, &address));
        }
        let transaction = self.begin(subject, &name, self.open_state(&name, true)?)?;
        let state = transaction.state.clone().without_future(self.system.now());
        transaction.commit(&state)?;
        Ok(self.standing_of(&state, &address))
    }

    fn submit(
        &self,
        subject: Subject<'_>,
        address: &Address,
        answer: &Answer,
    ) -> Result<Verdict, StoreError> {
        let (name, address) = self.seat(subject, address)?;
        let file = self.open_state(&name, true)?;
        // Who is refused all the same does not stand in the others' way.
        if let Standing::Refused { until } = self.standing_of(&file.read()?.1, &address) {
            return Ok(Verdict::Refused { until });
        }
        let transaction = self.begin(subject, &name, file)?;
        let attempt = Attempt {
            answer,
            address: &address,
            now: self.system.now(),
        };
        let Config { verify, limits, .. } = self.config;
        let Transaction {
            enrollment, state, ..
        } = &transaction;
        let (verdict, state) = judge(enrollment, state.clone(), &attempt, verify, limits);
        transaction.commit(&state)?;
        Ok(verdict)
    }
}

/// What is kept of somebody, locked. Dropping it unlocks, and leaves all as it was where nothing was
/// committed.
struct Transaction {
    file: StateFile<Locked>,
    enrollment: Enrollment,
    record: Record,
    state: State,
    _section: CriticalSection,
}

impl Transaction {
    /// Makes a new state durable.
    fn commit(&self, state: &State) -> Result<(), StoreError> {
        if state.remembers_the_same(&self.state) {
            return Ok(());
        }
        self.file.save(&self.record, state)
    }
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

impl StateFile<Locked> {
    fn save(&self, current: &Record, state: &State) -> Result<(), StoreError> {
        slot::save(&self.file, current, &state.encode())
            .map_err(|error| StoreError::State(self.path.clone(), Damage::Slot(error)))
    }
}

/// A folder, opened when it is first needed.
fn opened(
    folder: &OnceCell<Folder>,
    open: impl FnOnce() -> Result<Folder, FileError>,
) -> Result<&Folder, FileError> {
    if let Some(folder) = folder.get() {
        return Ok(folder);
    }
    let opened = open()?;
    Ok(folder.get_or_init(|| opened))
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

/// Whether a file was there to be removed.
fn removed(result: Result<(), FileError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Why records can't be read or changed: the fact, then the next step.
#[derive(Debug)]
pub enum StoreError {
    /// The limits of the process leave no room for a save.
    Caller(&'static str),
    /// There is a device of that name.
    DeviceExists(DeviceName),
    /// The enrollment ended while its person was asked for a code.
    Ended,
    /// The system has no entropy.
    Entropy(String),
    /// A file or folder can't be used.
    File(FileError),
    /// The state can't be locked.
    Lock(PathBuf, LockError),
    /// The account's name makes no file name.
    Name,
    /// There is a secret and no state: what was used before is not known.
    NoState(PathBuf),
    /// The secret file can't be understood.
    Secret(PathBuf, EnrollmentError),
    /// The state can't be read, understood or saved.
    State(PathBuf, Damage),
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

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "run totpctl reset USER --force and enroll again";
        match self {
            Self::Caller(reason) => write!(
                f,
                "the state can't be saved under the limits of this process, so nothing was judged: {reason}"
            ),
            Self::DeviceExists(name) => write!(
                f,
                "there is a device named {name} already: give the new one another name with --device"
            ),
            Self::Ended => f.write_str("the enrollment ended while a code was asked for"),
            Self::Entropy(reason) => f.write_str(reason),
            Self::File(error) => error.fmt(f),
            Self::Lock(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Name => f.write_str("the account's name is too long for a file name"),
            Self::NoState(path) => write!(
                f,
                "{} is missing, so used codes are not known: {AGAIN}",
                path.display()
            ),
            Self::Secret(path, reason) => write!(f, "{}: {reason}: {AGAIN}", path.display()),
            Self::State(path, damage) => match damage {
                Damage::Slot(error @ SlotError::Io { .. }) => {
                    write!(f, "{}: {error}", path.display())
                }
                Damage::Slot(error) => write!(f, "{}: {error}: {AGAIN}", path.display()),
                Damage::Record(error) => write!(f, "{}: {error}: {AGAIN}", path.display()),
            },
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
                 another one: {AGAIN}"
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

impl From<SlotError> for StoreError {
    fn from(error: SlotError) -> Self {
        Self::State(PathBuf::new(), Damage::Slot(error))
    }
}
