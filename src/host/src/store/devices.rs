//! The devices of an account, renamed and removed.

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::device::DeviceName;
use totp_core::doors::Account;
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::record::State;
use totp_core::throttle::{Codes, Source};

use super::{FileStore, enrollment, open_state, state_name};
use crate::error::StoreError;

/// What entitles somebody to take a device away.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A code of any device of the account, which is used up by it.
    Code(&'a Answer),
    /// Root's word.
    Force,
}

/// What became of a device that was to be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It is gone, and the account has others.
    Removed,
    /// It is gone, and with it all that was kept of the account.
    RemovedLast,
    /// The code is none of the account's at this time, or was used before.
    WrongCode,
}

impl FileStore<'_> {
    /// Gives a device another name. Nothing else changes: its codes, its drift and what was used stay.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled, [`StoreError::NoDevice`] and
    /// [`StoreError::DeviceExists`] for names that are not there or are; nothing has changed then.
    pub fn rename_device(
        &self,
        account: &Account,
        from: &DeviceName,
        to: &DeviceName,
    ) -> Result<(), StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let _lock = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        if enrolled.device(from).is_some() && enrolled.device(to).is_some() {
            return Err(StoreError::DeviceExists(to.clone()));
        }
        let mut devices = enrolled.devices.iter_mut();
        let device = devices.find(|device| device.name == *from);
        let device = device.ok_or_else(|| StoreError::NoDevice(from.clone()))?;
        device.name = to.clone();
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        let _ = secrets.tidy();
        Ok(())
    }

    /// Takes a device away. When this returns, none of its codes is accepted any more, by no login that is at its
    /// prompt either.
    ///
    /// # Errors
    /// As for [`FileStore::rename_device`].
    pub fn remove_device(
        &self,
        account: &Account,
        device: &DeviceName,
        proof: Proof<'_>,
    ) -> Result<Removal, StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        let no_device = || StoreError::NoDevice(device.clone());
        let id = enrolled.device(device).ok_or_else(no_device)?.id;
        if let Proof::Code(answer) = proof {
            let (record, state) = file.read()?;
            let attempt = Attempt {
                answer,
                source: &Source {
                    is_exempt: true,
                    ..Address::Local.into()
                },
                codes: Codes::One,
                now: self.system.now(),
            };
            let (verify, limits) = (&self.config.verify, &self.config.limits);
            match judge(&enrolled, state, &attempt, verify, limits) {
                (Verdict::Accepted(_), decided) => file.save(&record, &decided)?,
                _ => return Ok(Removal::WrongCode),
            }
        }
        enrolled.devices.retain(|device| device.id != id);
        if enrolled.devices.is_empty() {
            secrets.remove(&name)?;
            states.remove(&name)?;
            return Ok(Removal::RemovedLast);
        }
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        // It is gone. What its id leaves behind is removed by the next change at the latest.
        if let Ok((
            record,
            State {
                saved,
                mut devices,
                tally,
            },
        )) = file.read()
        {
            devices.retain(|device| device.id != id);
            let _ = file.save(
                &record,
                &State {
                    saved,
                    devices,
                    tally,
                },
            );
        }
        let _ = secrets.tidy();
        Ok(Removal::Removed)
    }
}
