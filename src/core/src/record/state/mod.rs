//! The state: what the logins of a person leave behind. A small binary record, rewritten at each attempt.

mod bytes;
#[cfg(test)]
mod tests;

pub use self::bytes::StateError;
use crate::backup_code::{SetId, UsedCodes};
use crate::challenge::Challenges;
use crate::device::{Device, DeviceId};
use crate::otp::{MovingFactor, Period, Step};
use crate::reach::Reach;
use crate::record::Enrollment;
use crate::throttle::{Codes, Firsts, Limits, Source, Standing, Tally};
use crate::time::Time;
use crate::trust::Trusts;

/// What is remembered of a person's logins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// When this was saved; no time in it is later.
    pub saved: Time,
    /// One entry a device; a device without one is refused.
    pub devices: Vec<DeviceState>,
    /// Wrong answers, by address.
    pub tally: Tally,
    /// Codes that were the first of two.
    pub firsts: Firsts,
    /// One entry a set of backup codes, and one for a backup key; a set without one is refused.
    pub sets: Vec<UsedCodes>,
    /// Where the person is not asked again.
    pub trusts: Trusts,
    /// Codes that were sent.
    pub challenges: Challenges,
}

/// What is remembered of one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceState {
    /// The device.
    pub id: DeviceId,
    /// The highest accepted step, or the counter of an event token. It and all below it are used up, for ever.
    pub floor: Option<Step>,
    /// How many steps the device's clock is ahead of ours; nothing to an event token.
    pub drift: i16,
    /// The side that the accepted codes since a point in time lay on.
    pub lean: Option<Lean>,
    /// When a code was last accepted.
    pub last_used: Option<Time>,
    /// Whether the log already says that the floor lies beyond the reach of the clock.
    pub floor_reported: bool,
    /// Whether nothing but two codes in a row is accepted: where the device's counter is, is not known.
    pub awaits_resync: bool,
    /// Whether it is an event token, of which more codes would be accepted than of a phone.
    pub is_token: bool,
}

/// An unbroken run of accepted codes that all lay on one side of the device's own time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lean {
    /// Which side.
    pub side: Side,
    /// The first of them.
    pub since: Time,
}

/// A side of the device's own time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The device's clock is further ahead than its drift says.
    Ahead,
    /// It is further behind.
    Behind,
}

impl DeviceState {
    /// What is known of a phone that no code was accepted of, or only that of `floor`.
    #[must_use]
    pub fn new(id: DeviceId, floor: Option<Step>) -> Self {
        Self {
            id,
            floor,
            drift: 0,
            lean: None,
            last_used: None,
            floor_reported: false,
            awaits_resync: false,
            is_token: false,
        }
    }

    /// The same, of a device of any kind.
    #[must_use]
    pub fn of(device: &Device, floor: Option<Step>) -> Self {
        Self {
            is_token: device.otp.factor == MovingFactor::Counter,
            ..Self::new(device.id, floor)
        }
    }

    /// The first step that is not used up.
    #[must_use]
    pub fn next(&self) -> Step {
        self.floor.map_or(Step(0), |floor| floor.moved(1))
    }

    /// The step that the device's own clock should be at.
    #[must_use]
    pub fn step_at(&self, period: Period, now: Time) -> Step {
        period.step_at(now).moved(i32::from(self.drift))
    }

    /// Whether `step` is used up.
    #[must_use]
    pub fn is_used(&self, step: Step) -> bool {
        self.floor.is_some_and(|floor| step <= floor)
    }

    /// Uses a step up, and all before it.
    pub fn burn(&mut self, step: Step, now: Time) {
        self.floor = Some(step);
        self.last_used = Some(now);
        self.floor_reported = false;
        self.awaits_resync = false;
    }
}

impl State {
    /// The longest record.
    pub const MAX_BYTES: usize = 4040;
    /// Sets kept at most: that of the codes and that of the key, and as many again while a change is under way.
    pub const MAX_SETS: usize = 4;
    /// Devices kept at most: those of an enrollment, and as many again while a change is under way.
    pub const MAX_DEVICES: usize = 2 * Enrollment::MAX_DEVICES;

    /// The state of somebody who never logged in.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            saved: now,
            devices: Vec::new(),
            tally: Tally::default(),
            firsts: Firsts::default(),
            sets: Vec::new(),
            trusts: Trusts::default(),
            challenges: Challenges::default(),
        }
    }

    /// What is known of a device.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<&DeviceState> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// Remembers a device that joins those of an enrollment. Where the counter of one that makes the same codes is not
    /// known, another word for it is not believed: that may be an old one.
    pub fn admit(&mut self, enrolled: &Enrollment, device: &Device, known: DeviceState) {
        let twins = enrolled.devices.iter();
        let twins = twins.filter(|one| one.makes_codes_of(device));
        let mut twins = twins.filter_map(|twin| self.device(twin.id));
        let awaits_resync = known.awaits_resync || twins.any(|twin| twin.awaits_resync);
        self.devices.push(DeviceState {
            awaits_resync,
            ..known
        });
    }

    /// Forgets devices, sets and contacts that an enrollment does not have.
    pub fn forget_others(&mut self, enrolled: &Enrollment) {
        let sets = [&enrolled.backup_codes, &enrolled.backup_key];
        let ids = sets.map(|set| set.as_ref().map(|set| set.id));
        self.sets.retain(|known| ids.contains(&Some(known.id)));
        self.devices
            .retain(|known| enrolled.devices.iter().any(|device| device.id == known.id));
        self.challenges
            .forget_others(|id| enrolled.contacts.iter().any(|contact| contact.id == id));
    }

    /// What was used of one device is used of all that make the same codes.
    pub fn share_floors(&mut self, enrolled: &Enrollment) {
        let device_of = |id| enrolled.devices.iter().find(|device| device.id == id);
        let shared = self.devices.iter().map(|known| {
            let device = device_of(known.id)?;
            let twins = enrolled.devices.iter();
            // Most have no twin: of the device itself no secret is compared.
            let twins = twins.filter(|one| one.id == device.id || one.makes_codes_of(device));
            let twins = twins.filter_map(|twin| self.device(twin.id));
            Some(twins.fold((None, true), |(floor, awaits), twin| {
                (twin.floor.max(floor), awaits && twin.awaits_resync)
            }))
        });
        let shared: Vec<_> = shared.collect();
        for (known, shared) in self.devices.iter_mut().zip(shared) {
            if let Some(shared) = shared {
                (known.floor, known.awaits_resync) = shared;
            }
        }
    }

    /// What was used of a set.
    #[must_use]
    pub fn set(&self, id: SetId) -> Option<&UsedCodes> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// Whether an answer from `source` would be judged now.
    #[must_use]
    pub fn standing(&self, source: &Source, limits: &Limits, now: Time) -> Standing {
        self.tally
            .standing(source, limits, self.worth_in_phones(), now)
    }

    /// How many codes let `source` in.
    #[must_use]
    pub fn codes_needed(&self, source: &Source, limits: &Limits, now: Time) -> Codes {
        self.tally
            .codes(source, limits, self.worth_in_phones(), now)
    }

    /// How many phones the devices are worth to whoever guesses, and the contacts with them: so many codes of them would be accepted.
    #[must_use]
    pub fn worth_in_phones(&self) -> usize {
        /// A window of 1 on each side.
        const CODES_OF_A_PHONE: usize = 3;
        let of_a_token = usize::from(Reach::LOOK_AHEAD).div_ceil(CODES_OF_A_PHONE);
        let devices = self.devices.iter();
        devices
            .map(|known| if known.is_token { of_a_token } else { 1 })
            .sum::<usize>()
            .saturating_add(self.challenges.contacts.len())
    }

    /// Forgets all wrong answers, and how many codes were sent in the last hour.
    pub fn forgive(&mut self) {
        self.tally.forgive();
        self.challenges.sendings.clear();
    }

    /// Whether nothing but the time of saving differs.
    #[must_use]
    pub fn remembers_the_same(&self, other: &Self) -> bool {
        self.devices == other.devices
            && self.tally == other.tally
            && self.firsts == other.firsts
            && self.sets == other.sets
            && self.trusts == other.trusts
            && self.challenges == other.challenges
    }

    /// This state as it is at `now`, to be changed and saved as of then: a time that lies after it, because the clock went back,
    /// is `now`.
    #[must_use]
    pub fn as_of(mut self, now: Time) -> Self {
        let clamp = |time: &mut Time| *time = (*time).min(now);
        for device in &mut self.devices {
            device.last_used.iter_mut().for_each(clamp);
            device
                .lean
                .iter_mut()
                .for_each(|lean| clamp(&mut lean.since));
        }
        self.tally.clamp(now);
        self.trusts.forget_future(now);
        self.challenges.forget_future(now);
        self.saved = now;
        self
    }
}
