//! Invites: what entitles people to enroll who are not enrolled.
//!
//! One lies in a file of its own beside the secret files, with a name that is no account's.

use totp_core::doors::Account;
use totp_core::record::{Enrollment, Invite, account_of};

use super::{FileStore, checked_uid, enrollment, read_enrollment, removed, state_name};
use crate::decoy;
use crate::error::StoreError;
use crate::folder::Folder;

const PREFIX: &str = ".invite-";

impl FileStore<'_> {
    /// Puts an invite in the place of the one before, which entitles nobody any more when this returns.
    ///
    /// # Errors
    /// [`StoreError::Enrolled`] where the account has a device, or gets one meanwhile: nobody needs an invite then.
    pub fn invite(&self, account: &Account, invite: Invite) -> Result<(), StoreError> {
        let (secrets, states) = self.folders_or_new()?;
        if enrollment(&secrets, account)?.is_some() {
            return Err(StoreError::Enrolled);
        }
        // What is typed in its place is counted there.
        decoy::make_all(&secrets, &states, self.system.now())?;
        let record = Enrollment {
            invite: Some(invite),
            ..Enrollment::new(account.uid)
        };
        secrets.replace(&name_of(account)?, record.to_toml().as_bytes())?;
        let _ = secrets.tidy();
        self.outwait_enrollment(&states, &account.name)?;
        match enrollment(&secrets, account)? {
            None => Ok(()),
            Some(_) => {
                remove(&secrets, &account.name)?;
                Err(StoreError::Enrolled)
            }
        }
    }

    /// Returns when nobody is on the way to a device whose invite was looked at before. An invite is looked at under the
    /// lock of the account's state.
    fn outwait_enrollment(&self, states: &Folder, account: &str) -> Result<(), StoreError> {
        self.lock_if_usable(states, &state_name(account)?).map(drop)
    }

    /// The invite of an account, run out or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn invite_of(&self, account: &Account) -> Result<Option<Invite>, StoreError> {
        match self.secrets() {
            Err(error) if error.is_missing() => Ok(None),
            secrets => read(&secrets?, account),
        }
    }

    /// The names of the accounts that have an invite, run out or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn invited_names(&self) -> Result<Vec<String>, StoreError> {
        match self.secrets() {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            secrets => {
                let files = secrets?.names_after(PREFIX)?;
                Ok(files.iter().filter_map(|name| account_of(name)).collect())
            }
        }
    }

    /// The names of the accounts that have a state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state_names(&self) -> Result<Vec<String>, StoreError> {
        match self.states() {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            states => {
                let files = states?.names()?;
                Ok(files.iter().filter_map(|name| account_of(name)).collect())
            }
        }
    }

    /// Takes an invite back, which entitles nobody any more when this returns; `false` where there was none.
    ///
    /// # Errors
    /// [`StoreError`], of somebody who got a device by it meanwhile [`StoreError::Enrolled`].
    pub fn take_invite_back(&self, account: &Account) -> Result<bool, StoreError> {
        let secrets = match self.secrets() {
            Err(error) if error.is_missing() => return Ok(false),
            secrets => secrets?,
        };
        if !remove(&secrets, &account.name)? {
            return Ok(false);
        }
        self.outwait_enrollment(&self.states()?, &account.name)?;
        match enrollment(&secrets, account)? {
            None => Ok(true),
            Some(_) => Err(StoreError::Enrolled),
        }
    }
}

/// The invite of an account.
pub(super) fn read(secrets: &Folder, account: &Account) -> Result<Option<Invite>, StoreError> {
    let Ok(name) = name_of(account) else {
        return Ok(None);
    };
    let record = read_enrollment(secrets, &name)?;
    let record = record.map(|record| checked_uid(account, record));
    Ok(record.transpose()?.and_then(|record| record.invite))
}

/// Removes what there is of one: with an enrollment begins or ends what it was for.
pub(super) fn remove(secrets: &Folder, account: &str) -> Result<bool, StoreError> {
    match invite_file(account) {
        Ok(name) => removed(secrets.remove(&name)),
        Err(_) => Ok(false),
    }
}

fn name_of(account: &Account) -> Result<String, StoreError> {
    invite_file(&account.name)
}

/// The name of its file. One that would be too long is that of no file.
fn invite_file(account: &str) -> Result<String, StoreError> {
    let name = format!("{PREFIX}{}", state_name(account)?);
    match name.len() {
        ..=255 => Ok(name),
        _ => Err(StoreError::Name),
    }
}
