//! The backup codes and the backup key of an account.

use totp_core::backup_code::{BackupSet, UsedCodes};
use totp_core::doors::Account;
use totp_core::record::{Enrollment, State};

use super::{FileStore, StateFile, enrollment, open_state, state_name};
use crate::error::StoreError;
use crate::lock::Locked;

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
        let (secrets, states) = (self.secrets()?, self.states()?);
        let name = state_name(&account.name)?;
        let file = self.lock(&states, &name, open_state(&states, &name, true)?)?;
        let mut enrolled = enrollment(&secrets, account)?.ok_or(StoreError::Ended)?;
        let (record, mut state) = file.read()?;
        keep_sets_of(&mut state, &enrolled);
        if let Some(BackupSet { id, .. }) = set {
            state.sets.push(UsedCodes { id: *id, used: 0 });
            file.save(&record, &state)?;
        }
        let place = match which {
            Backup::Codes => &mut enrolled.backup_codes,
            Backup::Key => &mut enrolled.backup_key,
        };
        *place = set.cloned();
        secrets.replace(&name, enrolled.to_toml().as_bytes())?;
        // It is done. What the old one left is removed by the next change at the latest.
        let _ = tidy(&file, &enrolled);
        let _ = secrets.tidy();
        Ok(())
    }
}

fn tidy(file: &StateFile<Locked>, enrolled: &Enrollment) -> Result<(), StoreError> {
    let (record, mut state) = file.read()?;
    keep_sets_of(&mut state, enrolled);
    file.save(&record, &state)
}

fn keep_sets_of(state: &mut State, enrolled: &Enrollment) {
    let sets = [&enrolled.backup_codes, &enrolled.backup_key];
    let ids = sets.map(|set| set.as_ref().map(|set| set.id));
    state.sets.retain(|known| ids.contains(&Some(known.id)));
}
