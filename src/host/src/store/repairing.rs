//! The state of an account, put right.

use totp_core::answer::Answer;
use totp_core::device::DeviceName;
use totp_core::doors::Account;
use totp_core::record::State;
use totp_core::record::state::DeviceState;
use totp_core::repair::{self, OutOfStep};
use totp_core::time::Time;

use super::{FileStore, LockedRecords, enrollment, new_state_file, open_state, state_name};
use crate::decoy;
use crate::error::{Damage, StoreError};

/// What a repair found.
#[derive(Debug)]
pub enum Found {
    /// A state that can't be used, and why.
    Damaged(Damage),
    /// None at all.
    Missing,
    /// A whole one, which did not know these devices. They count again: a state from a backup is older than they are, or
    /// they were removed and came back with a secret file.
    Whole(Vec<DeviceName>),
}

impl FileStore<'_> {
    /// Gives an enrolled account a state that works: every code up to now is used up, and event tokens wait for a
    /// resync. What a whole state remembers beside that is kept. `None` where the account is not enrolled. One of a newer version is replaced
    /// only by `force`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub fn repair(&self, account: &Account, force: bool) -> Result<Option<Found>, StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        if enrollment(&secrets, account)?.is_none() {
            return Ok(None);
        }
        let name = state_name(&account.name)?;
        let new_file = |state: &State| new_state_file(&states, &name, state);
        let opened = open_state(&states, &name, true);
        let is_missing = matches!(opened, Err(StoreError::NoState(_)));
        let opened = match is_missing {
            true => {
                // One that knows nothing lets nobody in. It is there to be locked.
                states.create(&name, &new_file(&State::new(self.system.now()))?)?;
                open_state(&states, &name, true)?
            }
            false => opened?,
        };
        let file = self.lock(&states, &name, opened)?;
        let Some(enrolled) = enrollment(&secrets, account)? else {
            return Ok(None);
        };
        // Others saved while the lock was waited for.
        let (verify, now) = (&self.config.verify, self.system.now());
        let found = match file.read() {
            Ok((record, state)) => {
                let devices = enrolled.devices.iter();
                let unknown = devices.filter(|device| state.device(device.id).is_none());
                let unknown = unknown.map(|device| device.name.clone()).collect();
                let state = repair::repair(&enrolled, state, verify, now);
                file.save(&record, &state)?;
                match is_missing {
                    true => Found::Missing,
                    false => Found::Whole(unknown),
                }
            }
            Err(StoreError::State(_, damage)) if damage.is_of_content(force) => {
                let state = repair::repair(&enrolled, State::new(now), verify, now);
                // Under the lock of the old one: who waits for that opens this one.
                states.replace(&name, &new_file(&state)?)?;
                Found::Damaged(damage)
            }
            Err(error) => return Err(error),
        };
        let _ = decoy::make_all(&secrets, &states, now);
        Ok(Some(found))
    }

    /// Sets a device's drift or counter right by two codes in a row, each with the time at which it was given, and tells what
    /// is known of it then.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then, nor where the device is out of step.
    pub fn resync(
        &self,
        account: &Account,
        device: &DeviceName,
        codes: [(&Answer, Time); 2],
    ) -> Result<Result<DeviceState, OutOfStep>, StoreError> {
        let LockedRecords { file, enrolled, .. } = self.lock_enrolled(account)?;
        let (record, state) = file.read()?;
        // Others may have saved since the codes were typed.
        let (verify, now) = (&self.config.verify, self.system.now());
        let state = match repair::resync(&enrolled, state, device, codes, verify, now) {
            Ok(state) => state,
            Err(failure) => return Ok(Err(failure)),
        };
        file.save(&record, &state)?;
        let known = enrolled.device(device).map(|device| device.id);
        let known = known.and_then(|id| state.device(id)).cloned();
        Ok(known.ok_or(OutOfStep))
    }
}
