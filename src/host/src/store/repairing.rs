//! The state of an account, put right.

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::challenge::Binding;
use totp_core::device::DeviceName;
use totp_core::doors::Account;
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::otp::MovingFactor;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::throttle::{Codes, Source};
use totp_core::time::Time;

use super::{FileStore, LockedRecords, OURS, enrollment, open_state, state_name};
use crate::decoy;
use crate::error::{Damage, StoreError};
use crate::slot;

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

/// How a resync ended.
#[derive(Debug)]
pub enum Resync {
    /// The device is in step, and this is what is known of it now.
    Done(DeviceState),
    /// They are no two codes in a row of the device near this time or its counter, or were used before. Not even root is
    /// told which of them is wrong: the first could be guessed by that, uncounted and unused.
    Wrong,
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
        let (name, now) = (state_name(&account.name)?, self.system.now());
        let new_file = |state: &State| {
            let file = slot::new_file(&state.encode());
            file.map_err(|error| StoreError::slot(states.path_of(&name), error))
        };
        let opened = open_state(&states, &name, true);
        let is_missing = matches!(opened, Err(StoreError::NoState(_)));
        let opened = match is_missing {
            true => {
                // One that knows nothing lets nobody in. It is there to be locked.
                states.create(&name, &new_file(&State::new(now))?)?;
                open_state(&states, &name, true)?
            }
            false => opened?,
        };
        let file = self.lock(&states, &name, opened)?;
        let Some(enrolled) = enrollment(&secrets, account)? else {
            return Ok(None);
        };
        let found = match file.read() {
            Ok((record, state)) => {
                let devices = enrolled.devices.iter();
                let unknown = devices.filter(|device| state.device(device.id).is_none());
                let unknown = unknown.map(|device| device.name.clone()).collect();
                let state = self.with_floors(&enrolled, state.without_future(now), now);
                file.save(&record, &state)?;
                match is_missing {
                    true => Found::Missing,
                    false => Found::Whole(unknown),
                }
            }
            Err(StoreError::State(_, damage)) if damage.is_of_content(force) => {
                let state = self.with_floors(&enrolled, State::new(now), now);
                // Under the lock of the old one: who waits for that opens this one.
                states.replace(&name, &new_file(&state)?)?;
                Found::Damaged(damage)
            }
            Err(error) => return Err(error),
        };
        let _ = decoy::make_all(&secrets, &states, now);
        Ok(Some(found))
    }

    /// A state in which the devices of an enrollment, and no others, have used up every code that may have been
    /// accepted by now.
    fn with_floors(&self, enrolled: &Enrollment, mut state: State, now: Time) -> State {
        let window = i32::from(self.config.verify.window.get());
        let devices = enrolled.devices.iter().map(|device| {
            let known = state.device(device.id).cloned();
            let mut known = known.unwrap_or_else(|| DeviceState::of(device, None));
            match device.otp.factor {
                // A state from a backup is whole, too, and its counter is an old one.
                MovingFactor::Counter => known.awaits_resync = true,
                MovingFactor::Time(period) => {
                    let latest = period.step_at(now).moved(window);
                    known.floor = known.floor.max(Some(latest));
                }
            }
            known
        });
        state.devices = devices.collect();
        // Which of them were used is not to be known any more.
        state.sets.clear();
        state.trusts.clear();
        let contacts = enrolled.contacts.iter().map(|contact| contact.id);
        state.challenges.contacts = contacts.collect();
        state.challenges.pending.clear();
        state
    }

    /// Sets a device's drift or counter right by two codes in a row, each with the time at which it was given. Nothing is counted: root
    /// asks. `None` where the account is not enrolled.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub fn resync(
        &self,
        account: &Account,
        device: &DeviceName,
        codes: [(&Answer, Time); 2],
    ) -> Result<Option<Resync>, StoreError> {
        let LockedRecords { file, enrolled, .. } = match self.lock_enrolled(account) {
            Err(StoreError::Ended) => return Ok(None),
            locked => locked?,
        };
        let (record, mut state) = file.read()?;
        state.share_floors(&enrolled);
        let tally = state.tally.clone();
        // Of this device alone: others may have its secret. Nobody has come by ssh.
        let mut alone = enrolled.clone().unbound();
        alone.devices.retain(|one| one.name == *device);
        alone.contacts.clear();
        let source = Source {
            is_exempt: true,
            ..Address::Local.into()
        };
        state.tally.unmark(&source.address);
        // However far the counter of an event token has got.
        let mut known = state.devices.iter_mut();
        if let Some(known) = known.find(|known| alone.devices.iter().any(|one| one.id == known.id))
        {
            known.awaits_resync = true;
        }
        let mut is_first = true;
        for (answer, now) in codes {
            let attempt = Attempt {
                answer,
                source: &source,
                binding: Binding::of(OURS, &Address::Local),
                ssh_keys: &[],
                place: None,
                codes: Codes::Two,
                now,
            };
            let (verify, limits) = (&self.config.verify, &self.config.limits);
            let (verdict, decided) = judge(&alone, state, &attempt, verify, limits);
            state = decided;
            let has_mark = state.tally.mark_of(&source.address, now).is_some();
            match verdict {
                Verdict::Accepted(accepted) if accepted.devices().contains(device) => {
                    // Limits and counts are those of logins, and stay.
                    let mut state = State { tally, ..state };
                    state.share_floors(&enrolled);
                    file.save(&record, &state)?;
                    let known = enrolled.device(device).map(|device| device.id);
                    let known = known.and_then(|id| state.device(id)).cloned();
                    return Ok(known.map(Resync::Done));
                }
                _ if is_first && has_mark => is_first = false,
                _ => break,
            }
        }
        Ok(Some(Resync::Wrong))
    }
}
