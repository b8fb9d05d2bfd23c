//! The records of people, as files.
//!
//! One secret file and one state a person. A login reads both and saves the state; only enrollment
//! writes a secret file. What changes an enrollment works under the lock of the state too, in an order
//! by which a kill at any point leaves the old or the new: new ids into the state, then the secret file,
//! then dead ids out of the state.

use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;

use totp_core::address::Address;
use totp_core::answer::{Answer, Typed};
use totp_core::config::Config;
use totp_core::device::Device;
use totp_core::doors::{Account, Store, Subject, System};
use totp_core::event::{Event, Severity};
use totp_core::judge::{Attempt, Verdict, Wrong, WrongReason, judge};
use totp_core::otp::Step;
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::throttle::Standing;

use crate::decoy;
use crate::error::{Damage, StoreError};
use crate::file::{CheckedFile, FileError, Others};
use crate::folder::Folder;
use crate::lock::{LockError, Locked, Waiting};
use crate::slot::{self, Record};

/// Largest secret file, in bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The records in the folders of a configuration. The folders are opened anew for each call: between two
/// of them a person types, and somebody may put others in their place.
pub struct FileStore<'a> {
    config: &'a Config,
    system: &'a dyn System,
}

impl<'a> FileStore<'a> {
    /// The store that `config` describes. Opens nothing yet.
    #[must_use]
    pub fn new(config: &'a Config, system: &'a dyn System) -> Self {
        Self { config, system }
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
        let state = open_state(&self.states()?, &state_name(&account.name)?, false)?
            .read()?
            .1;
        Ok(Some((enrollment, state.without_future(self.system.now()))))
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
        let name = state_name(&account.name)?;
        if enrollment(&secrets, account)?.is_none() {
            let nobody = slot::new_file(&State::new(self.system.now()).encode());
            let nobody = nobody.map_err(|e| StoreError::slot(states.path_of(&name), e))?;
            states.create(&name, &nobody)?;
        }
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrollment = enrollment(&secrets, account)?.unwrap_or(Enrollment {
            uid: account.uid,
            devices: Vec::new(),
        });
        check_new(&enrollment, device)?;
        let (record, mut state) = file.read()?;
        state
            .devices
            .retain(|known| enrollment.devices.iter().any(|d| d.id == known.id));
        // What was used with the same secret by another name stays used.
        let twins = enrollment
            .devices
            .iter()
            .filter(|twin| twin.makes_codes_of(device));
        let floors = twins.filter_map(|twin| state.device(twin.id)?.floor);
        let used = floors.chain(used).max();
        state.devices.push(DeviceState::new(device.id, used));
        enrollment.devices.push(device.clone());
        file.save(&record, &state)?;
        secrets.replace(&name, enrollment.to_toml().as_bytes())?;
        // The device is active. What can't be done now is done by the next call.
        let _ = decoy::make_all(&states, self.system.now());
        let _ = secrets.tidy();
        let _ = states.tidy();
        Ok(())
    }

    /// Removes all that is kept under an account's name; `false` where nothing was.
    ///
    /// # Errors
    /// [`StoreError`]; what it names was not removed.
    pub fn reset(&self, account: &str) -> Result<bool, StoreError> {
        let name = state_name(account)?;
        let secrets = match self.secrets() {
            Err(error) if error.is_missing() => return Ok(false),
            secrets => secrets?,
        };
        let states = self.states()?;
        // The lock keeps logins out. Where the state is such that no login can use it, there are none.
        let lock =
            open_state(&states, &name, true).and_then(|file| self.lock(&states, &name, file));
        let _lock = match lock {
            Err(StoreError::NoState(_)) => None,
            Err(StoreError::File(error)) if error.is_of_the_file() => None,
            lock => Some(lock?),
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
        if self.records(account)?.is_none() {
            return Ok(false);
        }
        let name = state_name(&account.name)?;
        let states = self.states()?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let (record, mut state) = file.read()?;
        state.tally.places.clear();
        file.save(&record, &state)?;
        Ok(true)
    }

    fn secrets(&self) -> Result<Folder, FileError> {
        Folder::open(&self.config.secret_dir)
    }

    fn states(&self) -> Result<Folder, FileError> {
        Folder::open(&self.config.state_dir)?.refuse_network()
    }

    /// Opens the subject's state, and tells the address that its answers are counted by there; `None`
    /// for strangers where nobody ever enrolled.
    fn seat(
        &self,
        states: &Folder,
        subject: Subject<'_>,
        address: &Address,
        writable: bool,
    ) -> Result<Option<Seat>, StoreError> {
        let (name, address) = match subject {
            Subject::Enrolled(account) => (state_name(&account.name)?, address.clone()),
            Subject::Stranger(name) => match decoy::seat_of(states, name, address)? {
                None => return Ok(None),
                Some(seat) => seat,
            },
        };
        match (open_state(states, &name, writable), subject) {
            (Err(StoreError::NoState(_)), Subject::Stranger(_)) => Ok(None),
            (file, _) => {
                let file = file.map_err(|error| self.unless_ended(subject, error))?;
                Ok(Some(Seat {
                    name,
                    address,
                    file,
                }))
            }
        }
    }

    fn lock(
        &self,
        states: &Folder,
        name: &str,
        file: StateFile<CheckedFile>,
    ) -> Result<StateFile<Locked>, StoreError> {
        self.lock_while(states, name, file, &|_| true)
            .map_err(|error| self.lock_error(states, name, error))
    }

    fn lock_while(
        &self,
        states: &Folder,
        name: &str,
        StateFile { file, path }: StateFile<CheckedFile>,
        is_wanted: &dyn Fn(&Record) -> bool,
    ) -> Result<StateFile<Locked>, LockError> {
        let killed = |pid| {
            let event = Event::new(Severity::Error, "killed");
            self.system.log(&event.because(format_args!(
                "killed process {pid}, which held the lock on {} for 5 seconds without moving; no count \
                 and no code was lost",
                path.display()
            )));
        };
        let waiting = Waiting {
            is_wanted,
            killed: &killed,
        };
        let file = Locked::lock(states, name, file, &waiting)?;
        Ok(StateFile { file, path })
    }

    fn lock_error(&self, states: &Folder, name: &str, error: LockError) -> StoreError {
        match error {
            LockError::File(error) => missing_state(error),
            error => StoreError::Lock(states.path_of(name), error),
        }
    }

    /// A missing state is no fault where its person was reset while we asked.
    fn unless_ended(&self, subject: Subject<'_>, error: StoreError) -> StoreError {
        match (&error, subject) {
            (StoreError::NoState(_), Subject::Enrolled(account))
                if matches!(self.is_enrolled(account), Ok(false)) =>
            {
                StoreError::Ended
            }
            _ => error,
        }
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
        let states = self.states()?;
        let Some(Seat {
            name,
            address,
            file,
        }) = self.seat(&states, subject, address, false)?
        else {
            return Ok(self.standing_of(&State::new(self.system.now()), address));
        };
        let state = file.read()?.1;
        let clamped = state.clone().without_future(self.system.now());
        if clamped.remembers_the_same(&state) {
            return Ok(self.standing_of(&state, &address));
        }
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let (record, state) = file.read()?;
        let state = state.without_future(self.system.now());
        file.save(&record, &state)?;
        Ok(self.standing_of(&state, &address))
    }

    fn submit(
        &self,
        subject: Subject<'_>,
        address: &Address,
        answer: &Answer,
    ) -> Result<Verdict, StoreError> {
        // What is not charged does not get the lock.
        if let Typed::Empty = answer.typed() {
            return Ok(Verdict::Empty);
        }
        let states = self.states()?;
        let Some(Seat {
            name,
            address,
            file,
        }) = self.seat(&states, subject, address, true)?
        else {
            return Ok(Verdict::Wrong(Wrong {
                reason: WrongReason::NoDevice,
                standing: self.standing_of(&State::new(self.system.now()), address),
                out_of_reach: None,
            }));
        };
        // Nor does who is refused all the same, by then or while waiting.
        let refused_until = |state: &State| match self.standing_of(state, &address) {
            Standing::Refused { until } => Some(until),
            Standing::Open { .. } => None,
        };
        if let Some(until) = refused_until(&file.read()?.1) {
            return Ok(Verdict::Refused { until });
        }
        let refused = std::cell::Cell::new(None);
        let is_wanted = |record: &Record| {
            refused.set(
                State::decode(&record.body)
                    .ok()
                    .as_ref()
                    .and_then(refused_until),
            );
            refused.get().is_none()
        };
        let file = match (
            self.lock_while(&states, &name, file, &is_wanted),
            refused.get(),
        ) {
            (Err(LockError::Unwanted), Some(until)) => return Ok(Verdict::Refused { until }),
            (file, _) => file.map_err(|error| {
                self.unless_ended(subject, self.lock_error(&states, &name, error))
            })?,
        };

        let enrollment = match subject {
            Subject::Enrolled(account) => {
                enrollment(&self.secrets()?, account)?.ok_or(StoreError::Ended)?
            }
            Subject::Stranger(_) => Enrollment {
                uid: 0,
                devices: vec![Device::decoy()],
            },
        };
        let (record, state) = file.read()?;
        let Config { verify, limits, .. } = self.config;
        let attempt = Attempt {
            answer,
            address: &address,
            now: self.system.now(),
        };
        let (verdict, decided) = judge(&enrollment, state.clone(), &attempt, verify, limits);
        if !decided.remembers_the_same(&state) {
            file.save(&record, &decided)?;
        }
        Ok(verdict)
    }
}

/// A subject's state, opened, and where the subject's answers are counted in it.
struct Seat {
    name: String,
    address: Address,
    file: StateFile<CheckedFile>,
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

fn enrollment(secrets: &Folder, account: &Account) -> Result<Option<Enrollment>, StoreError> {
    let name = state_name(&account.name)?;
    let bytes = match secrets.read(&name, Others::None, MAX_SECRET_BYTES) {
        Err(error) if error.is_missing() => return Ok(None),
        bytes => bytes?,
    };
    let error = |reason| StoreError::Secret(secrets.path_of(&name), reason);
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

/// Whether a device may join those of an account.
///
/// # Errors
/// [`StoreError`] with the reason, where it may not.
pub fn check_new(enrollment: &Enrollment, device: &Device) -> Result<(), StoreError> {
    if enrollment.device(&device.name).is_some() {
        return Err(StoreError::DeviceExists(device.name.clone()));
    }
    if enrollment.devices.len() >= Enrollment::MAX_DEVICES {
        return Err(StoreError::TooManyDevices);
    }
    Ok(())
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
