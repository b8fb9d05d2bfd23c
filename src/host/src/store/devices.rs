//! The devices of an account, renamed, rotated and removed.

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::Account;
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::otp::Step;
use totp_core::record::Enrollment;
use totp_core::record::state::DeviceState;
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::{Codes, Source};

use super::{FileStore, StateFile, end, enrollment, open_state, state_name};
use crate::error::StoreError;
use crate::lock::Locked;

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
        self.edit(account, |enrolled| {
            if enrolled.device(from).is_some() && enrolled.device(to).is_some() {
                return Err(StoreError::DeviceExists(to.clone()));
            }
            let mut devices = enrolled.devices.iter_mut();
            let device = devices.find(|device| device.name == *from);
            device
                .ok_or_else(|| StoreError::NoDevice(from.clone()))?
                .name = to.clone();
            Ok(())
        })
    }

    /// Binds a device to an ssh key, or to none: from when this returns it counts only for logins that have shown that
    /// key.
    ///
    /// # Errors
    /// As for [`FileStore::rename_device`]; [`StoreError::OnlyUnbound`] where no other device would serve without a
    /// key, unless that is meant by `force`.
    pub fn bind_device(
        &self,
        account: &Account,
        device: &DeviceName,
        ssh_key: Option<Fingerprint>,
        force: bool,
    ) -> Result<(), StoreError> {
        self.edit(account, |enrolled| {
            let no_device = || StoreError::NoDevice(device.clone());
            let mut devices = enrolled.devices.iter_mut();
            let bound = devices.find(|known| known.name == *device);
            bound.ok_or_else(no_device)?.ssh_key = ssh_key;
            let serves_anywhere = |device: &Device| device.ssh_key.is_none();
            if !force && ssh_key.is_some() && !enrolled.devices.iter().any(serves_anywhere) {
                return Err(StoreError::OnlyUnbound(device.clone()));
            }
            Ok(())
        })
    }

    /// Changes what no state goes with.
    fn edit(
        &self,
        account: &Account,
        change: impl FnOnce(&mut Enrollment) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let _lock = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        change(&mut enrolled)?;
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        let _ = secrets.tidy();
        Ok(())
    }

    /// Puts a device in the place of one by the same name: the old one's codes are dead when this returns, those of the
    /// new one are good from then on. `used` is a step that is used up from the start.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled, [`StoreError::NoDevice`] where the old one is not
    /// there any more, be it that one of its name is; nothing has changed then.
    pub fn rotate_device(
        &self,
        account: &Account,
        old: DeviceId,
        new: &Device,
        used: Option<Step>,
    ) -> Result<(), StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        let mut devices = enrolled.devices.iter_mut();
        let device = devices.find(|device| device.id == old);
        let device = device.ok_or_else(|| StoreError::NoDevice(new.name.clone()))?;
        *device = new.clone();
        let (record, mut state) = file.read()?;
        state
            .devices
            .retain(|known| known.id == old || enrolled.devices.iter().any(|d| d.id == known.id));
        state.devices.push(DeviceState::new(new.id, used));
        file.save(&record, &state)?;
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        self.forget_device(&file, old);
        let _ = secrets.tidy();
        Ok(())
    }

    /// Takes all devices away. When this returns, the account is not enrolled; `false` where the proof was none.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled; nothing has changed then.
    pub fn disable(&self, account: &Account, proof: Proof<'_>) -> Result<bool, StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        if !self.is_proven(&file, enrolled, proof)? {
            return Ok(false);
        }
        end(&secrets, &states, &name)?;
        Ok(true)
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
        if !self.is_proven(&file, enrolled.clone(), proof)? {
            return Ok(Removal::WrongCode);
        }
        enrolled.devices.retain(|device| device.id != id);
        if enrolled.devices.is_empty() {
            end(&secrets, &states, &name)?;
            return Ok(Removal::RemovedLast);
        }
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        self.forget_device(&file, id);
        let _ = secrets.tidy();
        Ok(Removal::Removed)
    }

    /// Whether the proof is one. A code is used up by it.
    fn is_proven(
        &self,
        file: &StateFile<Locked>,
        enrolled: Enrollment,
        proof: Proof<'_>,
    ) -> Result<bool, StoreError> {
        let Proof::Code(answer) = proof else {
            return Ok(true);
        };
        let (record, state) = file.read()?;
        let attempt = Attempt {
            answer,
            source: &Source {
                is_exempt: true,
                ..Address::Local.into()
            },
            ssh_keys: &[],
            codes: Codes::One,
            now: self.system.now(),
        };
        let (verify, limits) = (&self.config.verify, &self.config.limits);
        match judge(&enrolled.unbound(), state, &attempt, verify, limits) {
            (Verdict::Accepted(_), decided) => file.save(&record, &decided).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Removes from the state what a dead device left. Where that fails the next change does it: the id is one that
    /// no secret has.
    fn forget_device(&self, file: &StateFile<Locked>, id: DeviceId) {
        if let Ok((record, mut state)) = file.read() {
            state.devices.retain(|device| device.id != id);
            let _ = file.save(&record, &state);
        }
    }
}
