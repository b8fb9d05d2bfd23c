//! One answer of a login: where its person stands, what it is worth, and the saving of that.

use std::time::{Duration, Instant};

use totp_core::address::Address;
use totp_core::answer::{Answer, Typed};
use totp_core::contact::{Channel, Recipient};
use totp_core::doors::{Account, Caller, Enrolling, FirstDevice, Offers, Sent, Store, Subject};
use totp_core::event::{Event, Severity};
use totp_core::judge::{Attempt, Entitled, Verdict, judge};
use totp_core::record::{Enrollment, Invite, State};
use totp_core::throttle::{Codes, Source, Standing};
use totp_core::time::Time;
use totp_core::trust::{Place, Trusted};

use super::{
    FileStore, SharedSeat, StateFile, enrollment, invites, open_state, remove_records, state_name,
};
use crate::addresses::{Addresses, Charge, PATIENCE, Reservation, table_error};
use crate::decoy;
use crate::error::StoreError;
use crate::file::{CheckedFile, FileError, Others};
use crate::folder::Folder;
use crate::lock::LockError;
use crate::slot::Record;
use crate::stack;

impl FileStore<'_> {
    /// Opens the subject's state, and tells what its answers are counted by there; `None` for strangers where
    /// nobody ever enrolled.
    fn seat(
        &self,
        states: &Folder,
        subject: Subject<'_>,
        address: &Address,
        writable: bool,
    ) -> Result<Option<Seat>, StoreError> {
        let source = self.config.source(address);
        let shared = |name| self.shared_seat(states, name, &source);
        let seat = match subject {
            Subject::Enrolled(account) => Some((state_name(&account.name)?, source)),
            Subject::Stranger(name) => shared(name)?,
            Subject::Invitee(account) => match shared(&account.name)? {
                // Whoever may get a device by what they type is counted, though nobody has enrolled yet.
                None if writable => {
                    decoy::make_all(&self.secrets()?, states, self.system.now())?;
                    shared(&account.name)?
                }
                seat => seat,
            },
        };
        let Some((name, source)) = seat else {
            return Ok(None);
        };
        match (open_state(states, &name, writable), subject) {
            (Err(StoreError::NoState(_)), Subject::Stranger(_)) => Ok(None),
            (Err(error), Subject::Enrolled(account)) => Err(self.unless_ended(account, error)),
            (file, _) => Ok(Some(Seat {
                name,
                source,
                file: file?,
            })),
        }
    }

    /// The seat of a stranger. It is looked for once a login: that alone is what a stranger's login has to do more than that
    /// of an enrolled person, and it would tell them apart the second time too.
    fn shared_seat(
        &self,
        states: &Folder,
        name: &str,
        source: &Source,
    ) -> Result<Option<(String, Source)>, FileError> {
        let kept = self.seen.shared.take();
        let kept = kept.filter(|kept| kept.name == name && kept.source == *source);
        let seat = match kept {
            Some(kept) => Some(kept.seat),
            None => decoy::seat_of(states, name, source)?,
        };
        self.seen.shared.set(seat.clone().map(|seat| SharedSeat {
            name: name.to_owned(),
            source: source.clone(),
            seat,
        }));
        Ok(seat)
    }

    /// A state, in which times of the future are now. That is saved: looked at again and again, they would stay now until the
    /// clock has come to them.
    fn without_future(
        &self,
        states: &Folder,
        name: &str,
        state: State,
    ) -> Result<State, StoreError> {
        let clamped = state.clone().as_of(self.system.now());
        if clamped.remembers_the_same(&state) {
            return Ok(state);
        }
        self.change_state(
            states,
            name,
            open_state(states, name, true)?,
            &mut |_, _| true,
        )
    }

    /// Changes a state under its lock, as of now: others may have saved while that was waited for. It is saved where `change` says
    /// so.
    fn change_state(
        &self,
        states: &Folder,
        name: &str,
        file: StateFile<CheckedFile>,
        change: &mut dyn FnMut(&mut State, Time) -> bool,
    ) -> Result<State, StoreError> {
        let file = self.lock(states, name, file)?;
        let (record, state) = file.read()?;
        let now = self.system.now();
        let mut state = state.as_of(now);
        if change(&mut state, now) {
            file.save(&record, &state)?;
        }
        Ok(state)
    }

    /// Where somebody stands by the state, and by the limit of the address where that one counts. Where it can't
    /// be told, as `charge_address_if_possible` has it.
    pub(super) fn standing_of(
        &self,
        state: &State,
        source: &Source,
        address: &Address,
    ) -> Standing {
        let (limits, now) = (&self.config.limits, self.system.now());
        let standing = state.standing(source, limits, now);
        if state.tally.is_familiar(source, limits, now) {
            return standing;
        }
        standing.and(self.address_standing(address).unwrap_or(Standing::Open {
            left: None,
            codes: Codes::Two,
        }))
    }

    /// Charges an answer to its address, where that is not familiar.
    ///
    /// Where that can't be done, say because the folder can't be made, nobody is let in who has guessed one code;
    /// and nobody is kept out who has two.
    fn charge_address_if_possible(&self, address: &Address, is_patient: bool) -> Charge {
        let charge = self.charge_address(address, is_patient);
        charge.unwrap_or_else(|error| {
            let event = Event {
                address: Some(address.clone()),
                ..Event::new(Severity::Error, "uncounted")
            };
            self.system.log(&event.because(format_args!(
                "wrong answers can't be counted by address, so two codes in a row are asked for: {error}"
            )));
            Charge::Shared
        })
    }

    fn charge_address(&self, address: &Address, is_patient: bool) -> Result<Charge, StoreError> {
        let folder = Folder::open_or_make(&self.config.run_dir)?;
        let table = Addresses::open_or_make(&folder)?;
        let now = || self.system.now();
        let charge = table.reserve(address, &self.config.limits, &now, is_patient);
        Ok(charge.map_err(|errno| table_error(&folder, errno))?)
    }

    /// Whether the answers of a place are counted by address as well.
    fn is_counted_by_address(&self, state: &State, source: &Source) -> bool {
        let limits = &self.config.limits;
        limits.address_deny.get() != 0
            && !source.is_exempt
            && !state.tally.is_familiar(source, limits, self.system.now())
    }

    /// Judges an answer in the state that the caller has locked; `None` where others from the same address are on
    /// their way to their verdicts, and without them there would be room.
    fn judge(
        &self,
        enrollment: &Enrollment,
        state: State,
        source: &Source,
        (caller, answer): (&Caller, &Answer),
        is_patient: bool,
    ) -> Option<(Verdict, State, Option<Reservation>)> {
        let limits = &self.config.limits;
        let (codes, reservation) = match self.is_counted_by_address(&state, source) {
            false => (Codes::One, None),
            true => match self.charge_address_if_possible(&caller.address, is_patient) {
                Charge::Busy => return None,
                Charge::Refused(refusal) => return Some((Verdict::Refused(refusal), state, None)),
                Charge::Reserved(reservation) => (Codes::One, Some(reservation)),
                Charge::Shared => (Codes::Two, None),
            },
        };
        // Where it is to be taken back, the charge is found by its time.
        let charged_at = reservation.as_ref().map(Reservation::at);
        let now = charged_at.unwrap_or_else(|| self.system.now());
        let attempt = Attempt {
            answer,
            source,
            binding: caller.binding(),
            ssh_keys: &caller.ssh_keys,
            place: caller.place,
            codes,
            now,
        };
        let (verdict, state) =
            stack::wiped_after(|| judge(enrollment, state, &attempt, &self.config.verify, limits));
        Some((verdict, state, reservation))
    }

    /// One try; `None` as `judge` has it.
    fn submit_once(
        &self,
        subject: Subject<'_>,
        (caller, answer): (&Caller, &Answer),
        is_patient: bool,
    ) -> Result<Option<Verdict>, StoreError> {
        let (states, address) = (self.states()?, &caller.address);
        let Some(Seat { name, source, file }) = self.seat(&states, subject, address, true)? else {
            // Nobody ever enrolled: nothing is counted but the address.
            let (nobody, state) = (decoy::enrollment(), State::new(self.system.now()));
            let source = self.config.source(address);
            let judged = self.judge(&nobody, state, &source, (caller, answer), is_patient);
            return Ok(judged.map(|(verdict, _, charge)| self.settle(verdict, charge, address)));
        };
        // The table of addresses is asked where the state refuses already, to tell which of the two lasts longer; elsewhere the
        // charge tells.
        let refusal = |state: &State| {
            let standing = state.standing(&source, &self.config.limits, self.system.now());
            let refusal = standing.refusal()?;
            let with_address = self.standing_of(state, &source, address);
            Some(with_address.refusal().unwrap_or(refusal))
        };
        let refusal_in = |record: &Record| {
            let state = State::decode(&record.body).ok()?;
            refusal(&state.as_of(self.system.now()))
        };
        let file = match self.lock_unless(&states, &name, file, &refusal_in) {
            Ok(file) => file,
            Err(LockError::Refused(refusal)) => return Ok(Some(Verdict::Refused(refusal))),
            Err(error) => {
                let error = self.lock_error(&states, &name, error);
                return Err(match subject {
                    Subject::Enrolled(account) => self.unless_ended(account, error),
                    Subject::Stranger(_) | Subject::Invitee(_) => error,
                });
            }
        };
        let (record, before) = file.read()?;
        let state = before.clone().as_of(self.system.now());
        if let Some(refusal) = refusal(&state) {
            return Ok(Some(Verdict::Refused(refusal)));
        }

        let secrets = self.secrets()?;
        let enrollment = self.held_against(subject, &secrets)?;
        let judged = self.judge(&enrollment, state, &source, (caller, answer), is_patient);
        let Some((verdict, decided, charge)) = judged else {
            return Ok(None);
        };
        if let Verdict::BackupKey { .. } = verdict {
            if let Subject::Enrolled(account) = subject {
                remove_records(&secrets, &states, account)?;
            }
        } else if !decided.remembers_the_same(&before) {
            file.save(&record, &decided)?;
        }
        Ok(Some(self.settle(verdict, charge, address)))
    }

    /// What a subject's answers are held against.
    fn held_against(
        &self,
        subject: Subject<'_>,
        secrets: &Folder,
    ) -> Result<Enrollment, StoreError> {
        match subject {
            Subject::Enrolled(account) => enrollment(secrets, account)?.ok_or(StoreError::Ended),
            Subject::Stranger(_) => Ok(decoy::enrollment_like_any(secrets)),
            Subject::Invitee(account) => Ok(Enrollment {
                invite: self.invite_or_none(secrets, account),
                ..decoy::enrollment_like_any(secrets)
            }),
        }
    }

    /// The invite of an account. One that can't be used is logged, and its owner is asked and denied like anybody.
    fn invite_or_none(&self, secrets: &Folder, account: &Account) -> Option<Invite> {
        invites::read(secrets, account).unwrap_or_else(|error| {
            let event = Event {
                user: Some(account.name.clone()),
                ..Event::new(Severity::Error, "no-enrollment")
            };
            self.system.log(&event.because(error));
            None
        })
    }

    /// Takes back what an address was charged at that time.
    fn uncharge_address(&self, address: &Address, at: Time) -> Result<(), StoreError> {
        if let Some((folder, table)) = self.table()? {
            let taken_back = table.take_back(address, at);
            taken_back.map_err(|errno| table_error(&folder, errno))?;
        }
        Ok(())
    }

    /// Ends the charge of an address by what the answer was worth, which nobody has heard of yet.
    fn settle(
        &self,
        mut verdict: Verdict,
        reservation: Option<Reservation>,
        address: &Address,
    ) -> Verdict {
        let Some(reservation) = reservation else {
            return verdict;
        };
        match &mut verdict {
            Verdict::Wrong(wrong) => {
                reservation.settle();
                if let Ok(standing) = self.address_standing(address) {
                    wrong.standing = wrong.standing.and(standing);
                }
            }
            Verdict::Accepted(accepted) => {
                reservation.release();
                if let Some(at) = accepted.first_at() {
                    // What stays counts for a quarter of an hour, and too much.
                    let _ = self.uncharge_address(address, at);
                }
            }
            Verdict::BackupKey { .. }
            | Verdict::Empty
            | Verdict::Invited(_)
            | Verdict::Refused(_) => reservation.release(),
        }
        verdict
    }
}

impl Store for FileStore<'_> {
    type Error = StoreError;

    fn is_enrolled(&self, account: &Account) -> Result<bool, StoreError> {
        // Checked, but neither opened nor read: a secret is in memory for as long as it takes to judge.
        let (secrets, name) = (self.secrets()?, state_name(&account.name)?);
        match secrets.check_file(&name, Others::None) {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() => {
                decoy::check_is_kept(&secrets, || self.states())?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn is_invited(&self, account: &Account) -> Result<bool, StoreError> {
        let invite = self.invite_of(account)?;
        Ok(invite.is_some_and(|invite| self.system.now() < invite.expires))
    }

    fn standing(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
    ) -> Result<(Standing, Offers), StoreError> {
        let (states, address) = (self.states()?, &caller.address);
        let Some(Seat { name, source, file }) = self.seat(&states, subject, address, false)? else {
            let nobody = State::new(self.system.now());
            let standing = self.standing_of(&nobody, &self.config.source(address), address);
            return Ok((standing, Offers::default()));
        };
        let state = self.without_future(&states, &name, file.read()?.1)?;
        let standing = self.standing_of(&state, &source, address);
        Ok((standing, self.offers(subject, caller, &state)?))
    }

    fn send(
        &self,
        account: &Account,
        caller: &Caller,
        channel: Channel,
    ) -> Result<Sent, StoreError> {
        self.send_code(account, caller, channel)
    }

    fn notify(&self, account: &Account, change: &Event, owner: Option<&Recipient>) {
        self.tell_owner(account, change, owner);
    }

    fn submit(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
        answer: &Answer,
    ) -> Result<Verdict, StoreError> {
        const PAUSE: Duration = Duration::from_millis(1);
        // It is not charged, and needs no lock.
        if let Typed::Empty = answer.typed() {
            return Ok(Verdict::Empty);
        }
        let since = Instant::now();
        loop {
            let is_patient = since.elapsed() < PATIENCE;
            match self.submit_once(subject, (caller, answer), is_patient)? {
                Some(verdict) => return Ok(verdict),
                // Nothing is locked meanwhile.
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    fn take_back(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
        charged_at: Time,
    ) -> Result<(), StoreError> {
        let (states, address) = (self.states()?, &caller.address);
        let Some(Seat { name, source, file }) = self.seat(&states, subject, address, true)? else {
            return Ok(());
        };
        let state = self.change_state(&states, &name, file, &mut |state, _| {
            state.tally.uncharge(&source, charged_at);
            true
        })?;
        match self.is_counted_by_address(&state, &source) {
            true => self.uncharge_address(address, charged_at),
            false => Ok(()),
        }
    }

    fn trusted(&self, account: &Account, place: Place) -> Result<Option<Trusted>, StoreError> {
        // Whose secret file can't be read, or is another one's, is not trusted either.
        enrollment(&self.secrets()?, account)?.ok_or(StoreError::Ended)?;
        let opened = open_state(&self.states()?, &state_name(&account.name)?, false);
        let file = opened.map_err(|error| self.unless_ended(account, error))?;
        let state = file.read()?.1;
        let (allowed, now) = (self.config.policy.trust, self.system.now());
        // By a clock that went back a place that had run out would be trusted again.
        let place = Some(place).filter(|_| state.saved <= now);
        Ok(place.and_then(|place| state.trusts.of(place, allowed, now)))
    }

    fn confirm_trust(&self, account: &Account, place: Place) -> Result<(), StoreError> {
        let (states, name) = (self.states()?, state_name(&account.name)?);
        let opened = open_state(&states, &name, true);
        let opened = match opened.map_err(|error| self.unless_ended(account, error)) {
            Err(StoreError::Ended) => return Ok(()),
            opened => opened?,
        };
        // Most logins were trusted already, or have nothing to confirm.
        if !opened.read()?.1.trusts.confirm(place, self.system.now()) {
            return Ok(());
        }
        let mut confirm = |state: &mut State, now| state.trusts.confirm(place, now);
        self.change_state(&states, &name, opened, &mut confirm)?;
        Ok(())
    }

    fn enroll(
        &self,
        account: &Account,
        first: &FirstDevice<'_>,
        entitled: &Entitled,
    ) -> Result<Enrolling, StoreError> {
        self.add_first(account, first, entitled)
    }
}

/// A subject's state, opened, and where the subject's answers are counted in it.
struct Seat {
    name: String,
    source: Source,
    file: StateFile<CheckedFile>,
}
