//! The devices of an account, renamed, bound to ssh keys, rotated, removed and disabled.

use totp_core::address::Address;
use totp_core::answer::{Answer, Typed};
use totp_core::challenge::Binding;
use totp_core::contact::Channel;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::Account;
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::{Codes, Source, Standing};

use super::{FileStore, LockedRecords, OURS, StateFile, remove_records, write_enrollment};
use crate::error::StoreError;
use crate::system::SystemEntropy;

/// What entitles somebody to take a device away.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A code of any device of the account or a backup code, or one that was sent to it.
    Code(&'a Answer),
    /// A code that was sent by mail, and not to another place.
    Mailed(&'a Answer),
    /// Both.
    Both {
        /// As in [`Proof::Code`], but not one that was sent by mail.
        code: &'a Answer,
        /// As in [`Proof::Mailed`].
        mailed: &'a Answer,
    },
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
    /// Gives a device or contact another name. Nothing else changes: its codes, its drift and what was used stay.
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
        // What is not named in a pattern is dropped at once, the lock too.
        let LockedRecords {
            secrets,
            mut enrolled,
            file: _locked,
        } = self.lock_enrolled(account)?;
        if enrolled.has(from) && enrolled.has(to) {
            return Err(StoreError::DeviceExists(to.clone()));
        }
        if !enrolled.rename(from, to) {
            return Err(StoreError::NoDevice(from.clone()));
        }
        write_enrollment(&secrets, account, &enrolled)
    }

    /// Binds a device to an ssh key, or to none: from when this returns it counts only for logins that have shown that
    /// key. With all of its secret it gets a new id, so that a secret file of before does not revive any of them as it was.
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
        let locked = self.lock_enrolled(account)?;
        let known = locked.enrolled.device(device);
        let bound = known.ok_or_else(|| StoreError::NoDevice(device.clone()))?;
        let mut changed = locked.enrolled.clone();
        for one in &mut changed.devices {
            if one.makes_codes_of(bound) {
                one.id = DeviceId::random(&SystemEntropy).map_err(StoreError::Entropy)?;
            }
            if one.name == *device {
                one.ssh_key = ssh_key;
            }
        }
        let mut devices = changed.devices.iter();
        let is_left = !changed.contacts.is_empty() || devices.any(|one| changed.serves(one, &[]));
        if ssh_key.is_some() && !is_left && !force {
            return Err(StoreError::OnlyUnbound(device.clone()));
        }
        self.replace_devices(account, &locked, &changed, |known, id| DeviceState {
            id,
            ..known.clone()
        })
    }

    /// Gives a device the key of `new`: the old one's codes are dead when this returns, those of the new one are good
    /// from then on, as `known` has it: its drift, and what is used up from the start. Its name, which is returned, and its
    /// ssh key stay.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled, [`StoreError::Replaced`] where the old one is not
    /// there any more, be it that one of its name is; nothing has changed then.
    pub fn rotate_device(
        &self,
        account: &Account,
        old: DeviceId,
        new: &Device,
        known: &DeviceState,
    ) -> Result<DeviceName, StoreError> {
        let locked = self.lock_enrolled(account)?;
        let mut devices = locked.enrolled.devices.iter();
        let replaced = devices.find(|device| device.id == old);
        let replaced = replaced.ok_or_else(|| StoreError::Replaced(new.name.clone()))?;
        let name = replaced.name.clone();
        let rotated = Device {
            name: name.clone(),
            ssh_key: replaced.ssh_key,
            ..new.clone()
        };
        let changed = locked.enrolled.with(old, rotated);
        self.replace_devices(account, &locked, &changed, |_, _| known.clone())?;
        Ok(name)
    }

    /// Puts an enrollment in the place of the one before, in which devices have become others, each in its place.
    fn replace_devices(
        &self,
        account: &Account,
        locked: &LockedRecords,
        changed: &Enrollment,
        state_of: impl Fn(&DeviceState, DeviceId) -> DeviceState,
    ) -> Result<(), StoreError> {
        let LockedRecords {
            secrets,
            file,
            enrolled,
        } = locked;
        let (record, mut state) = file.read()?;
        state.forget_others(enrolled);
        let pairs = enrolled.devices.iter().zip(&changed.devices);
        for (old, new) in pairs.filter(|(old, new)| old.id != new.id) {
            // What the state does not know is refused, and stays so.
            if let Some(known) = state.device(old.id).map(|known| state_of(known, new.id)) {
                state.admit(enrolled, new, known);
            }
        }
        state.share_floors(&Enrollment {
            devices: [&enrolled.devices[..], &changed.devices[..]].concat(),
            ..Enrollment::new(account.uid)
        });
        state.trusts.clear();
        file.save(&record, &state)?;
        write_enrollment(secrets, account, changed)?;
        forget(file, changed);
        Ok(())
    }

    /// Takes all devices away. When this returns, the account is not enrolled; `false` where the proof was none.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled, [`StoreError::Guessed`] where too many proofs were none;
    /// nothing has changed then.
    pub fn disable(&self, account: &Account, proof: Proof<'_>) -> Result<bool, StoreError> {
        let locked = self.lock_enrolled(account)?;
        if !self.is_proven(&locked, proof)? {
            return Ok(false);
        }
        remove_records(&locked.secrets, &self.states()?, account)?;
        Ok(true)
    }

    /// Takes a device or contact away. When this returns, none of its codes is accepted any more, by no login that is at its
    /// prompt either. `as_last` says that the proof is for an end of the enrollment, which takes another one than the end
    /// of a device may.
    ///
    /// # Errors
    /// As for [`FileStore::rename_device`] and [`FileStore::disable`]; [`StoreError::BecameLast`] where the others were
    /// removed since it was said that this is not the last one.
    pub fn remove_device(
        &self,
        account: &Account,
        device: &DeviceName,
        proof: Proof<'_>,
        as_last: bool,
    ) -> Result<Removal, StoreError> {
        let locked = self.lock_enrolled(account)?;
        if !locked.enrolled.has(device) {
            return Err(StoreError::NoDevice(device.clone()));
        }
        let left = locked.enrolled.without(device);
        if left.is_empty() && !as_last && !matches!(proof, Proof::Force) {
            return Err(StoreError::BecameLast(device.clone()));
        }
        if !self.is_proven(&locked, proof)? {
            return Ok(Removal::WrongCode);
        }
        if left.is_empty() {
            remove_records(&locked.secrets, &self.states()?, account)?;
            return Ok(Removal::RemovedLast);
        }
        leave(account, &locked, &left)?;
        Ok(Removal::Removed)
    }

    /// Whether the proof is one. Each code in it is used up by that.
    fn is_proven(&self, locked: &LockedRecords, proof: Proof<'_>) -> Result<bool, StoreError> {
        let all = || locked.enrolled.clone();
        let unsent = || Enrollment {
            contacts: Vec::new(),
            ..all()
        };
        let by_mail = || Enrollment {
            contacts: all().contact(Channel::Mail).cloned().into_iter().collect(),
            ..Enrollment::new(locked.enrolled.uid)
        };
        match proof {
            Proof::Force => Ok(true),
            Proof::Code(code) => self.is_code_of(all(), locked, code),
            Proof::Mailed(mailed) => self.is_code_of(by_mail(), locked, mailed),
            Proof::Both { code, mailed } => Ok(self.is_code_of(unsent(), locked, code)?
                && self.is_code_of(by_mail(), locked, mailed)?),
        }
    }

    /// Judges a code by what counts of an enrollment: a code of anything else is as wrong as any, and not used up. A right
    /// one is.
    ///
    /// A wrong one is a guess like any other, and counts as one at a login that names no address: whoever may run us
    /// for one user alone would have no other limit. A right one is no login, so it forgets no count and makes no place
    /// familiar.
    fn is_code_of(
        &self,
        counting: Enrollment,
        locked: &LockedRecords,
        answer: &Answer,
    ) -> Result<bool, StoreError> {
        let (now, source) = (self.system.now(), Source::from(Address::Local));
        let (verify, limits) = (&self.config.verify, &self.config.limits);
        let (record, state) = locked.file.read()?;
        let state = state.as_of(now);
        let is_judged = match state.standing(&source, limits, now) {
            Standing::Open { codes, .. } => {
                codes == Codes::One || matches!(answer.typed(), Typed::Backup(_))
            }
            Standing::Refused(_) => false,
        };
        if !is_judged {
            return Err(StoreError::Guessed);
        }
        let attempt = Attempt {
            answer,
            source: &source,
            binding: Binding::of(OURS, &Address::Local),
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now,
        };
        // Nobody has come by ssh: to have the device is enough.
        let counting = counting.unbound();
        let (verdict, decided) = judge(&counting, state.clone(), &attempt, verify, limits);
        let (is_right, decided) = match verdict {
            Verdict::Accepted(_) => {
                let tally = state.tally;
                (true, State { tally, ..decided })
            }
            // Three wrong ones kill a code that was sent.
            Verdict::Wrong(_) => {
                let (tally, challenges) = (decided.tally, decided.challenges);
                let decided = State {
                    tally,
                    challenges,
                    ..state
                };
                (false, decided)
            }
            Verdict::BackupKey { .. }
            | Verdict::Empty
            | Verdict::Invited(_)
            | Verdict::Refused(_) => return Ok(false),
        };
        locked.file.save(&record, &decided)?;
        Ok(is_right)
    }
}

/// Leaves an account less than it has.
pub(super) fn leave(
    account: &Account,
    locked: &LockedRecords,
    left: &Enrollment,
) -> Result<(), StoreError> {
    let LockedRecords {
        secrets,
        file,
        enrolled,
    } = locked;
    // What the others used stays used for those of the same secret.
    let (record, mut state) = file.read()?;
    state.share_floors(enrolled);
    state.trusts.clear();
    file.save(&record, &state)?;
    write_enrollment(secrets, account, left)?;
    forget(file, left);
    Ok(())
}

/// Removes from the state what dead devices and sets left. Where that fails the next change does it: the ids are such
/// as no secret has.
pub(super) fn forget(file: &StateFile<crate::lock::Locked>, enrolled: &Enrollment) {
    if let Ok((record, mut state)) = file.read() {
        state.forget_others(enrolled);
        let _ = file.save(&record, &state);
    }
}
