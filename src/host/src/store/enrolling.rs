//! The changes of an enrollment.

use totp_core::backup_code::{BackupSet, Count, UsedCodes};
use totp_core::contact::Contact;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::{Account, Enrolling, FirstDevice};
use totp_core::judge::Entitled;
use totp_core::otp::Step;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, Invite, State};
use totp_core::throttle::Source;

use super::devices::leave;
use super::{
    FileStore, StateFile, enrollment, invites, new_state_file, open_state, remove_records, removed,
    state_name, write_enrollment,
};
use crate::decoy;
use crate::error::StoreError;
use crate::folder::Folder;
use crate::lock;

/// What an account brings from another module, all of it or nothing.
pub struct Import {
    /// Under new ids, and names that the account does not have.
    pub devices: Vec<NewDevice>,
    /// What is kept of its codes ([`BackupSet::keep`]), of 8 digits or of our own kind.
    pub backup_codes: Option<BackupSet>,
    /// Whether an account that is enrolled keeps what it has and gets this too; else it is refused.
    pub joins: bool,
}

/// A device, and what is known of its past.
pub struct NewDevice {
    /// The device.
    pub device: Device,
    /// The highest step that is used up; of an event token the counter before the next one ([`Step::before`]).
    pub used: Option<Step>,
    /// How many steps its clock is ahead of ours; 0 for an event token.
    pub drift: i16,
}

impl NewDevice {
    fn known(&self) -> DeviceState {
        DeviceState {
            drift: self.drift,
            ..DeviceState::of(&self.device, self.used)
        }
    }
}

/// What an enrollment gets. `source` is where a code was accepted from, where it was at a login.
#[derive(Default)]
struct Addition<'a> {
    devices: &'a [NewDevice],
    contact: Option<&'a Contact>,
    backup_codes: Option<&'a BackupSet>,
    source: Option<Source>,
}

impl Addition<'_> {
    /// An enrollment with all of it.
    fn joined(&self, enrolled: &Enrollment) -> Result<Enrollment, StoreError> {
        let mut enrollment = enrolled.clone();
        for NewDevice { device, .. } in self.devices {
            check_new(&enrollment, device)?;
            enrollment.devices.push(device.clone());
        }
        if let Some(contact) = self.contact {
            check_new_contact(&enrollment, contact)?;
            enrollment.contacts.push(contact.clone());
        }
        if let Some(set) = self.backup_codes {
            if set.hashes.len() > usize::from(Count::MAX) {
                return Err(StoreError::TooManyBackupCodes);
            }
            enrollment.backup_codes = Some(set.clone());
        }
        Ok(enrollment)
    }
}

impl FileStore<'_> {
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
        let (drift, device) = (0, device.clone());
        let devices = vec![NewDevice {
            device,
            used,
            drift,
        }];
        let addition = Addition {
            devices: &devices,
            ..Addition::default()
        };
        self.add(account, &addition, self.folders_or_new()?, |_, _| Ok(()))
    }

    /// Gives an account, enrolled or not, a contact that has been confirmed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub fn add_contact(&self, account: &Account, contact: &Contact) -> Result<(), StoreError> {
        let addition = Addition {
            contact: Some(contact),
            ..Addition::default()
        };
        self.add(account, &addition, self.folders_or_new()?, |_, _| Ok(()))
    }

    /// Gives an account all that it brings from elsewhere, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError`], of an account that is enrolled and was not to be joined [`StoreError::Enrolled`], of one that has
    /// backup codes and brings some [`StoreError::HasBackupCodes`]; nothing has changed then.
    pub fn import(&self, account: &Account, import: &Import) -> Result<(), StoreError> {
        let Import {
            devices,
            backup_codes,
            joins,
        } = import;
        let addition = Addition {
            devices,
            backup_codes: backup_codes.as_ref(),
            ..Addition::default()
        };
        self.add(
            account,
            &addition,
            self.folders_or_new()?,
            |_, enrollment| {
                if devices.is_empty() && enrollment.is_empty() {
                    return Err(StoreError::NothingToImport);
                }
                if !joins && !enrollment.is_empty() {
                    return Err(StoreError::Enrolled);
                }
                match (backup_codes, &enrollment.backup_codes) {
                    (Some(_), Some(_)) => Err(StoreError::HasBackupCodes),
                    _ => Ok(()),
                }
            },
        )
    }

    /// Takes away again what [`FileStore::import`] has given, and tells whether anything was there; what is not there any
    /// more is none of it.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub fn take_back(&self, account: &Account, import: &Import) -> Result<bool, StoreError> {
        let locked = match self.lock_enrolled(account) {
            Err(StoreError::Ended) => return Ok(false),
            locked => locked?,
        };
        let mut left = locked.enrolled.clone();
        let is_of_it = |id| import.devices.iter().any(|added| added.device.id == id);
        left.devices.retain(|device| !is_of_it(device.id));
        let of_it = import.backup_codes.as_ref().map(|set| set.id);
        left.backup_codes = left.backup_codes.filter(|set| of_it != Some(set.id));
        let count = |all: &Enrollment| (all.devices.len(), all.backup_codes.is_some());
        if count(&left) == count(&locked.enrolled) {
            return Ok(false);
        }
        match left.is_empty() {
            true => remove_records(&locked.secrets, &self.states()?, account)?,
            false => leave(account, &locked, &left)?,
        }
        Ok(true)
    }

    /// Gives an account that is not enrolled its first device.
    pub(super) fn add_first(
        &self,
        account: &Account,
        first: &FirstDevice<'_>,
        entitled: &Entitled,
    ) -> Result<Enrolling, StoreError> {
        let FirstDevice {
            device,
            used,
            backup_codes,
            caller,
        } = first;
        let source = self.config.source(&caller.address);
        let check = |secrets: &Folder, enrollment: &Enrollment| {
            if !enrollment.is_empty() {
                return Err(StoreError::Enrolled);
            }
            if entitled.is_over(self.system.now()) {
                return Err(StoreError::NotInvited);
            }
            let Some(invite) = entitled.invite() else {
                return Ok(());
            };
            let known = invites::read(secrets, account)?;
            let is_valid =
                |known: &Invite| known.set.id == invite && self.system.now() < known.expires;
            if known.as_ref().is_some_and(is_valid) {
                return Ok(());
            }
            Err(StoreError::NotInvited)
        };
        let devices = [NewDevice {
            device: (*device).clone(),
            used: Some(*used),
            drift: 0,
        }];
        let addition = Addition {
            devices: &devices,
            backup_codes: Some(backup_codes),
            source: Some(source),
            ..Addition::default()
        };
        // Where one of them is missing a login is denied before this.
        let folders = (self.secrets()?, self.states()?);
        match self.add(account, &addition, folders, check) {
            Ok(()) => Ok(Enrolling::Done),
            Err(StoreError::Enrolled) => Ok(Enrolling::TooLate),
            Err(StoreError::NotInvited) => Ok(Enrolling::NotInvited),
            Err(error) => Err(error),
        }
    }

    fn add(
        &self,
        account: &Account,
        addition: &Addition<'_>,
        (secrets, states): (Folder, Folder),
        check: impl Fn(&Folder, &Enrollment) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let check = |secrets: &Folder, enrollment: &Enrollment| {
            check(secrets, enrollment)?;
            addition.joined(enrollment).map(|_| ())
        };
        let file = self.made_and_locked(account, (&secrets, &states), &check)?;
        let enrolled = enrollment(&secrets, account)?;
        let enrolled = enrolled.unwrap_or_else(|| Enrollment::new(account.uid));
        check(&secrets, &enrolled)?;
        let enrollment = addition.joined(&enrolled)?;
        let now = self.system.now();
        let (record, state) = file.read()?;
        // Where the clock went back, a login will bring what lies in the future back to its now; no enrollment has to.
        let saved = state.saved.max(now);
        let mut state = state.as_of(saved);
        state.forget_others(&enrolled);
        for new in addition.devices {
            state.admit(&enrolled, &new.device, new.known());
        }
        let contact = addition.contact.map(|contact| contact.id);
        state.challenges.contacts.extend(contact);
        if let Some(BackupSet { id, .. }) = addition.backup_codes {
            state.sets.push(UsedCodes { id: *id, used: 0 });
        }
        if let Some(source) = &addition.source {
            state.tally.accept(source, &self.config.limits, now);
        }
        state.share_floors(&enrollment);
        state.trusts.clear();
        file.save(&record, &state)?;
        write_enrollment(&secrets, account, &enrollment)?;
        // The devices are active. What can't be done now is done by the next call.
        let _ = invites::remove(&secrets, &account.name);
        // Many files: nobody has to wait for them.
        drop(file);
        let _ = decoy::make_all(&secrets, &states, now);
        let _ = states.tidy();
        Ok(())
    }

    /// The state of an account, which is made where the account is not enrolled.
    fn made_and_locked(
        &self,
        account: &Account,
        (secrets, states): (&Folder, &Folder),
        check: &dyn Fn(&Folder, &Enrollment) -> Result<(), StoreError>,
    ) -> Result<StateFile<lock::Locked>, StoreError> {
        /// Somebody may end the enrollment between our looking and our locking.
        const TRIES: u8 = 5;
        let name = state_name(&account.name)?;
        let nobody = || new_state_file(states, &name, &State::new(self.system.now()));
        let mut tries = TRIES;
        loop {
            if enrollment(secrets, account)?.is_none() {
                check(secrets, &Enrollment::new(account.uid))?;
                states.create(&name, &nobody()?)?;
            }
            let opened = open_state(states, &name, true);
            let locked = opened.and_then(|file| self.lock(states, &name, file));
            tries = tries.saturating_sub(1);
            let locked = match locked.map_err(|error| self.unless_ended(account, error)) {
                Err(StoreError::Ended) if tries > 0 => continue,
                locked => locked?,
            };
            // One that was left behind is nobody's, and must not keep anybody from enrolling.
            match locked.read() {
                Err(StoreError::State(_, damage))
                    if tries > 0
                        && damage.is_of_content(true)
                        && enrollment(secrets, account)?.is_none() =>
                {
                    states.replace(&name, &nobody()?)?;
                }
                _ => return Ok(locked),
            }
        }
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
        // It keeps logins out.
        let _lock = self.lock_if_usable(&states, &name)?;
        let invite = invites::remove(&secrets, account)?;
        let secret = removed(secrets.remove(&name))?;
        let state = removed(states.remove(&name))?;
        Ok(invite || secret || state)
    }
}

/// Whether a contact may join what an account has.
///
/// # Errors
/// [`StoreError`] with the reason, where it may not.
pub fn check_new_contact(enrollment: &Enrollment, contact: &Contact) -> Result<(), StoreError> {
    let channel = contact.recipient.channel();
    if enrollment.contact(channel).is_some() {
        return Err(StoreError::ContactExists(channel));
    }
    check_new_name(enrollment, &contact.name)
}

fn check_new_name(enrollment: &Enrollment, name: &DeviceName) -> Result<(), StoreError> {
    match enrollment.names().any(|known| known == name) {
        true => Err(StoreError::DeviceExists(name.clone())),
        false => Ok(()),
    }
}

/// Whether a device may join those of an account.
///
/// # Errors
/// [`StoreError`] with the reason, where it may not.
pub fn check_new(enrollment: &Enrollment, device: &Device) -> Result<(), StoreError> {
    check_new_name(enrollment, &device.name)?;
    if enrollment.devices.len() >= Enrollment::MAX_DEVICES {
        return Err(StoreError::TooManyDevices);
    }
    Ok(())
}
