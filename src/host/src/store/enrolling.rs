//! The changes of an enrollment.

use totp_core::device::Device;
use totp_core::doors::Account;
use totp_core::otp::Step;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};

use super::{FileStore, enrollment, open_state, state_name};
use crate::decoy;
use crate::error::StoreError;
use crate::file::FileError;
use crate::folder::Folder;
use crate::slot;

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
        let secrets = Folder::open_or_make(&self.config.secret_dir)?;
        let states = Folder::open_or_make(&self.config.state_dir)?.refuse_network()?;
        let name = state_name(&account.name)?;
        if enrollment(&secrets, account)?.is_none() {
            let nobody = slot::new_file(&State::new(self.system.now()).encode());
            let nobody = nobody.map_err(|e| StoreError::slot(states.path_of(&name), e))?;
            states.create(&name, &nobody)?;
        }
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let enrolled = enrollment(&secrets, account)?;
        let mut enrollment = enrolled.unwrap_or_else(|| Enrollment::new(account.uid));
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

/// Whether a file was there to be removed.
fn removed(result: Result<(), FileError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
