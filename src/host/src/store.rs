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
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::otp::Step;
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::throttle::{Codes, Limit, Source, Standing};
use totp_core::time::Time;

use crate::addresses::{Addresses, Charge, Reservation, table_error};
use crate::decoy;
use crate::error::{Damage, StoreError};
use crate::file::{CheckedFile, FileError, Others};
use crate::folder::Folder;
use crate::lock::{LockError, Locked, Waiting};
use crate::process::CriticalSection;
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
        let _ = decoy::make_all(&secrets, &states, self.system.now());
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
        self.change_tally(&account.name, |state| {
            state.tally.forgive();
            true
        })?;
        Ok(true)
    }

    /// Forgets the wrong answers that were given from an address, whoever's they were; `false` where there were
    /// none. `user` hears of each user whose state can't be changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock_address(
        &self,
        address: &Address,
        user: &mut dyn FnMut(&str, StoreError),
    ) -> Result<bool, StoreError> {
        let mut had_any = match self.table()? {
            None => false,
            Some((folder, table)) => table
                .forgive(address, &self.config.limits, self.system.now())
                .map_err(|errno| table_error(&folder, errno))?,
        };
        for name in self.enrolled_names()? {
            let changed = self.change_tally(&name, |state| state.tally.forgive_place(address));
            match changed {
                Ok(changed) => had_any |= changed,
                Err(error) => user(&name, error),
            }
        }
        Ok(had_any)
    }

    /// Forgets all wrong answers. `user` hears of each user whose state can't be changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock_all(&self, user: &mut dyn FnMut(&str, StoreError)) -> Result<(), StoreError> {
        if let Some((folder, _)) = self.table()? {
            Addresses::clear(&folder)?;
        }
        let names = self.enrolled_names()?;
        if !names.is_empty() {
            decoy::forgive(&self.states()?, self.system.now())?;
        }
        for name in names {
            let changed = self.change_tally(&name, |state| {
                state.tally.forgive();
                true
            });
            if let Err(error) = changed {
                user(&name, error);
            }
        }
        Ok(())
    }

    /// The addresses that `address_deny` counts wrong answers of, with where they stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn addresses(&self) -> Result<Vec<(String, Standing)>, StoreError> {
        let Some((folder, table)) = self.table()? else {
            return Ok(Vec::new());
        };
        let counted = table.counted(&self.config.limits, self.system.now());
        Ok(counted.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Where an address stands with `address_deny`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn address_standing(&self, address: &Address) -> Result<Standing, StoreError> {
        let (limits, now) = (&self.config.limits, self.system.now());
        if limits.address_deny.get() == 0 || self.config.exempts(address) {
            return Ok(Standing::UNLIMITED);
        }
        let Some((folder, table)) = self.table()? else {
            return Ok(limits.by_address().standing(&[], Limit::Address, now));
        };
        let standing = table.standing(address, limits, now);
        Ok(standing.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Changes the counts of a user under the lock; saves nothing where `change` says that it changed nothing.
    fn change_tally(
        &self,
        account: &str,
        change: impl FnOnce(&mut State) -> bool,
    ) -> Result<bool, StoreError> {
        let name = state_name(account)?;
        let states = self.states()?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let (record, mut state) = file.read()?;
        let changed = change(&mut state);
        if changed {
            file.save(&record, &state)?;
        }
        Ok(changed)
    }

    /// The address table and its folder, where there is one.
    fn table(&self) -> Result<Option<(Folder, Addresses)>, StoreError> {
        let folder = match Folder::open(&self.config.run_dir) {
            Err(error) if error.is_missing() => return Ok(None),
            folder => folder?,
        };
        let table = Addresses::open(&folder)?;
        Ok(table.map(|table| (folder, table)))
    }

    fn secrets(&self) -> Result<Folder, FileError> {
        Folder::open(&self.config.secret_dir)
    }

    fn states(&self) -> Result<Folder, FileError> {
        Folder::open(&self.config.state_dir)?.refuse_network()
    }

    /// Opens the subject's state, and tells what its answers are counted by there; `None` for strangers where
    /// nobody ever enrolled.
    fn seat(
        &self,
        states: &Folder,
        subject: Subject<'_>,
        address: &Address,
        writable: bool,
    ) -> Result<Option<Seat>, StoreError> {
        let (name, source) = match subject {
            Subject::Enrolled(account) => (state_name(&account.name)?, self.config.source(address)),
            Subject::Stranger(name) => {
                match decoy::seat_of(states, name, &self.config.source(address))? {
                    None => return Ok(None),
                    Some(seat) => seat,
                }
            }
        };
        match (open_state(states, &name, writable), subject) {
            (Err(StoreError::NoState(_)), Subject::Stranger(_)) => Ok(None),
            (file, _) => {
                let file = file.map_err(|error| self.unless_ended(subject, error))?;
                Ok(Some(Seat { name, source, file }))
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

    /// Where somebody stands by the state, and by the limit of the address where that one counts. Where it can't
    /// be told, as `charge_address_if_possible` has it.
    fn standing_of(&self, state: &State, source: &Source, address: &Address) -> Standing {
        let (limits, now) = (&self.config.limits, self.system.now());
        let standing = state.standing(source, limits, now);
        if state.tally.is_familiar(source, limits, now) {
            return standing;
        }
        standing.and(self.address_standing(address).unwrap_or(Standing::Open {
            left: None,
            codes: Codes::Two,
        }))
    }

    /// Charges an answer to its address, where that is not familiar.
    ///
    /// Where that can't be done, say because the folder can't be made, nobody is let in who has guessed one code;
    /// and nobody is kept out who has two.
    fn charge_address_if_possible(&self, address: &Address, now: Time) -> Charge {
        self.charge_address(address, now).unwrap_or_else(|error| {
            let event = Event {
                address: Some(address.clone()),
                ..Event::new(Severity::Error, "uncounted")
            };
            self.system.log(&event.because(format_args!(
                "wrong answers can't be counted by address, so two codes in a row are asked for: {error}"
            )));
            Charge::Shared
        })
    }

    fn charge_address(&self, address: &Address, now: Time) -> Result<Charge, StoreError> {
        let folder = Folder::open_or_make(&self.config.run_dir)?;
        let table = Addresses::open_or_make(&folder)?;
        let charge = table.reserve(address, &self.config.limits, now);
        Ok(charge.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Judges an answer in the state that the caller has locked.
    fn judge(
        &self,
        enrollment: &Enrollment,
        state: State,
        source: &Source,
        address: &Address,
        answer: &Answer,
    ) -> (Verdict, State, Option<Reservation>) {
        let (limits, now) = (&self.config.limits, self.system.now());
        let is_counted = limits.address_deny.get() != 0
            && !source.is_exempt
            && !state.tally.is_familiar(source, limits, now);
        let (codes, reservation) = match is_counted {
            false => (Codes::One, None),
            true => match self.charge_address_if_possible(address, now) {
                Charge::Refused(refusal) => return (Verdict::Refused(refusal), state, None),
                Charge::Reserved(reservation) => (Codes::One, Some(reservation)),
                Charge::Shared => (Codes::Two, None),
            },
        };
        let attempt = Attempt {
            answer,
            source,
            codes,
            now,
        };
        let (verdict, state) = judge(enrollment, state, &attempt, &self.config.verify, limits);
        (verdict, state, reservation)
    }

    /// Ends the charge of an address by what the answer was worth, which nobody has heard of yet.
    fn settle(
        &self,
        mut verdict: Verdict,
        reservation: Option<Reservation>,
        address: &Address,
    ) -> Verdict {
        let Some(reservation) = reservation else {
            return verdict;
        };
        match &mut verdict {
            Verdict::Wrong(wrong) => {
                reservation.settle();
                if let Ok(standing) = self.address_standing(address) {
                    wrong.standing = wrong.standing.and(standing);
                }
            }
            Verdict::Accepted(accepted) => {
                reservation.release();
                if let (Some(at), Ok(Some((_, table)))) = (accepted.first_at(), self.table()) {
                    // What stays counts for a quarter of an hour, and too much.
                    let _ = table.take_back(address, at);
                }
            }
            Verdict::Empty | Verdict::Refused(_) => reservation.release(),
        }
        verdict
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
        let Some(Seat { name, source, file }) = self.seat(&states, subject, address, false)? else {
            let nobody = State::new(self.system.now());
            return Ok(self.standing_of(&nobody, &self.config.source(address), address));
        };
        let state = file.read()?.1;
        let clamped = state.clone().without_future(self.system.now());
        if clamped.remembers_the_same(&state) {
            return Ok(self.standing_of(&state, &source, address));
        }
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let (record, state) = file.read()?;
        let state = state.without_future(self.system.now());
        file.save(&record, &state)?;
        Ok(self.standing_of(&state, &source, address))
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
        let Some(Seat { name, source, file }) = self.seat(&states, subject, address, true)? else {
            // Nobody ever enrolled: nothing is counted but the address.
            let _section = CriticalSection::begin(Addresses::BYTES as u64)
                .map_err(|errno| StoreError::Lock(states.path_of(""), LockError::Caller(errno)))?;
            let (nobody, state) = (decoy::enrollment(), State::new(self.system.now()));
            let source = self.config.source(address);
            let (verdict, _, reservation) = self.judge(&nobody, state, &source, address, answer);
            return Ok(self.settle(verdict, reservation, address));
        };
        // Nor does who is refused all the same, by then or while waiting.
        let limits = &self.config.limits;
        let refusal = |state: &State| state.standing(&source, limits, self.system.now()).refusal();
        let newest = file.read()?.1;
        if let Some(refusal) = self.standing_of(&newest, &source, address).refusal() {
            return Ok(Verdict::Refused(refusal));
        }
        let refused = std::cell::Cell::new(None);
        let is_wanted = |record: &Record| {
            let state = State::decode(&record.body).ok();
            refused.set(state.as_ref().and_then(refusal));
            refused.get().is_none()
        };
        let file = match (
            self.lock_while(&states, &name, file, &is_wanted),
            refused.get(),
        ) {
            (Err(LockError::Unwanted), Some(refusal)) => return Ok(Verdict::Refused(refusal)),
            (file, _) => file.map_err(|error| {
                self.unless_ended(subject, self.lock_error(&states, &name, error))
            })?,
        };

        let secrets = self.secrets()?;
        let enrollment = match subject {
            Subject::Enrolled(account) => {
                enrollment(&secrets, account)?.ok_or(StoreError::Ended)?
            }
            Subject::Stranger(_) => decoy::enrollment_like_any(&secrets),
        };
        let (record, state) = file.read()?;
        let (verdict, decided, reservation) =
            self.judge(&enrollment, state.clone(), &source, address, answer);
        if !decided.remembers_the_same(&state) {
            file.save(&record, &decided)?;
        }
        Ok(self.settle(verdict, reservation, address))
    }
}

/// A subject's state, opened, and where the subject's answers are counted in it.
struct Seat {
    name: String,
    source: Source,
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
    let Some(enrollment) = read_enrollment(secrets, &name)? else {
        return Ok(None);
    };
    if enrollment.uid != account.uid {
        return Err(StoreError::Uid {
            name: account.name.clone(),
            enrolled: enrollment.uid,
            found: account.uid,
        });
    }
    Ok(Some(enrollment))
}

/// The secret file of that name.
pub(crate) fn read_enrollment(
    secrets: &Folder,
    name: &str,
) -> Result<Option<Enrollment>, StoreError> {
    let bytes = match secrets.read(name, Others::None, MAX_SECRET_BYTES) {
        Err(error) if error.is_missing() => return Ok(None),
        bytes => bytes?,
    };
    let error = |reason| StoreError::Secret(secrets.path_of(name), reason);
    let text = std::str::from_utf8(&bytes).map_err(|_| error(EnrollmentError::Checksum))?;
    Enrollment::parse(text).map(Some).map_err(error)
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
