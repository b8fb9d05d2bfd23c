//! The backup codes and the backup key of an account.

use totp_core::backup_code::{BackupSet, UsedCodes};
use totp_core::doors::Account;

use super::devices::forget;
use super::{FileStore, LockedRecords, write_enrollment};
use crate::error::StoreError;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backup {
    /// The codes.
    Codes,
    /// The key.
    Key,
}

impl FileStore<'_> {
    /// Puts a set in the place of the one before, which is void when this returns; without one, that is all.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled; nothing has changed then.
    pub fn replace_backup(
        &self,
        account: &Account,
        which: Backup,
        set: Option<&BackupSet>,
    ) -> Result<(), StoreError> {
        let LockedRecords {
            secrets,
            file,
            mut enrolled,
        } = self.lock_enrolled(account)?;
        let (record, mut state) = file.read()?;
        state.forget_others(&enrolled);
        if let Some(BackupSet { id, .. }) = set {
            state.sets.push(UsedCodes { id: *id, used: 0 });
            file.save(&record, &state)?;
        }
        let place = match which {
            Backup::Codes => &mut enrolled.backup_codes,
            Backup::Key => &mut enrolled.backup_key,
        };
        *place = set.cloned();
        write_enrollment(&secrets, account, &enrolled)?;
        forget(&file, &enrolled);
        Ok(())
    }
}
