//! The backup codes of an account.

use totp_core::backup_code::{BackupCodes, UsedCodes};
use totp_core::doors::Account;

use super::{FileStore, enrollment, open_state, state_name};
use crate::error::StoreError;

impl FileStore<'_> {
    /// Puts a set of backup codes in the place of the one before, whose codes are void when this returns.
    ///
    /// # Errors
    /// [`StoreError::Ended`] where the account is not enrolled; nothing has changed then.
    pub fn replace_backup_codes(
        &self,
        account: &Account,
        set: &BackupCodes,
    ) -> Result<(), StoreError> {
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        let (record, mut state) = file.read()?;
        let old = enrolled.backup_codes.replace(set.clone()).map(|set| set.id);
        state.backup_codes.retain(|known| Some(known.id) == old);
        let (id, used) = (set.id, 0);
        state.backup_codes.push(UsedCodes { id, used });
        file.save(&record, &state)?;
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        // They are good. What the old ones left is removed by the next change at the latest.
        if let Ok((record, mut state)) = file.read() {
            state.backup_codes.retain(|known| known.id == id);
            let _ = file.save(&record, &state);
        }
        let _ = secrets.tidy();
        Ok(())
    }
}
