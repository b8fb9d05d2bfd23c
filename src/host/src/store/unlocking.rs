//! The counts of wrong answers, as root sees and forgets them.

use totp_core::address::Address;
use totp_core::doors::Account;
use totp_core::record::State;
use totp_core::throttle::{Limit, Standing};

use super::{FileStore, LockedRecords, open_state, state_name};
use crate::addresses::{Addresses, table_error};
use crate::decoy;
use crate::error::StoreError;
use crate::folder::Folder;

impl FileStore<'_> {
    /// Forgets the wrong answers of an account; `false` where it is not enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock(&self, account: &Account) -> Result<bool, StoreError> {
        if self.records(account)?.is_none() {
            return Ok(false);
        }
        self.change_tally(&account.name, |state| {
            state.forgive();
            true
        })?;
        Ok(true)
    }

    /// Has an account asked again wherever it was not, and tells how many places that were; `None` where it is not
    /// enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn clear_trust(&self, account: &Account) -> Result<Option<usize>, StoreError> {
        let LockedRecords { file, .. } = match self.lock_enrolled(account) {
            Err(StoreError::Ended) => return Ok(None),
            locked => locked?,
        };
        let (record, mut state) = file.read()?;
        let places = state.trusts.all().len();
        state.trusts.clear();
        file.save(&record, &state)?;
        Ok(Some(places))
    }

    /// Forgets the wrong answers that were given from an address, whoever's they were, but not what was spent of a day;
    /// `false` where there were none. `user` hears of each user whose state can't be changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock_address(
        &self,
        address: &Address,
        user: &mut dyn FnMut(&str, StoreError),
    ) -> Result<bool, StoreError> {
        let mut had_any = match self.table()? {
            None => false,
            Some((folder, table)) => table
                .forgive(address, &self.config.limits, self.system.now())
                .map_err(|errno| table_error(&folder, errno))?,
        };
        let names = self.enrolled_names()?;
        if !names.is_empty() {
            had_any |= self.unlock_address_of_strangers(address)?;
        }
        for name in names {
            let changed = self.change_tally(&name, |state| state.tally.forgive_place(address));
            match changed {
                Ok(changed) => had_any |= changed,
                Err(error) => user(&name, error),
            }
        }
        Ok(had_any)
    }

    /// The same of those who are not enrolled. Were more forgotten, whoever has been wrong elsewhere could tell who they are.
    fn unlock_address_of_strangers(&self, address: &Address) -> Result<bool, StoreError> {
        let states = self.states()?;
        let Some(is_there) = decoy::places_at(&states, address)? else {
            return Ok(false);
        };
        decoy::make_states(&states, self.system.now())?;
        let mut had_any = false;
        for name in decoy::files() {
            let forgive = |state: &mut State| state.tally.forgive_places(&is_there);
            had_any |= self.change_counts(&states, &name, forgive)?;
        }
        Ok(had_any)
    }

    /// Forgets all wrong answers. `user` hears of each user whose state can't be changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn unlock_all(&self, user: &mut dyn FnMut(&str, StoreError)) -> Result<(), StoreError> {
        if let Some((folder, _)) = self.table()? {
            Addresses::clear(&folder)?;
        }
        let names = self.enrolled_names()?;
        if !names.is_empty() {
            decoy::forgive(&self.states()?, self.system.now())?;
        }
        for name in names {
            let changed = self.change_tally(&name, |state| {
                state.forgive();
                true
            });
            if let Err(error) = changed {
                user(&name, error);
            }
        }
        Ok(())
    }

    /// The addresses that `address_deny` counts wrong answers of, with where they stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn addresses(&self) -> Result<Vec<(String, Standing)>, StoreError> {
        let Some((folder, table)) = self.table()? else {
            return Ok(Vec::new());
        };
        let counted = table.counted(&self.config.limits, &|| self.system.now());
        Ok(counted.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Where an address stands with `address_deny`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn address_standing(&self, address: &Address) -> Result<Standing, StoreError> {
        let limits = &self.config.limits;
        if limits.address_deny.get() == 0 || self.config.exempts(address) {
            return Ok(Standing::UNLIMITED);
        }
        let Some((folder, table)) = self.table()? else {
            let now = self.system.now();
            return Ok(limits.by_address().standing(&[], Limit::Address, now));
        };
        let standing = table.standing(address, limits, &|| self.system.now());
        Ok(standing.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Changes the counts of a user under the lock; saves nothing where `change` says that it changed nothing.
    fn change_tally(
        &self,
        account: &str,
        change: impl FnOnce(&mut State) -> bool,
    ) -> Result<bool, StoreError> {
        self.change_counts(&self.states()?, &state_name(account)?, change)
    }

    /// The same in any state.
    fn change_counts(
        &self,
        states: &Folder,
        name: &str,
        change: impl FnOnce(&mut State) -> bool,
    ) -> Result<bool, StoreError> {
        let file = self.lock(states, name, open_state(states, name, true)?)?;
        let (record, mut state) = file.read()?;
        let changed = change(&mut state);
        if changed {
            file.save(&record, &state)?;
        }
        Ok(changed)
    }

    /// The address table and its folder, where there is one.
    pub(super) fn table(&self) -> Result<Option<(Folder, Addresses)>, StoreError> {
        let folder = match Folder::open(&self.config.run_dir) {
            Err(error) if error.is_missing() => return Ok(None),
            folder => folder?,
        };
        let table = Addresses::open(&folder)?;
        Ok(table.map(|table| (folder, table)))
    }
}
