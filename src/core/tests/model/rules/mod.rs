//! The rules of verification and of limits as they are written for people, one after the other and without any
//! economy: wrong answers are a list of all that were given, codes that were sent are kept as they are. Shares no code
//! with what it is compared to, and none of its ideas of how to store anything.

mod device;
mod limits;
mod sent;

pub use device::Device;
pub use sent::Login;

use crate::words::{Attempt, Origin, Outcome, Resync, Rules, Standing, Typed, Unsent, Why};
use device::Fit;
use limits::{Count, First, Mark};
use sent::Sent;

/// Whether an answer is the code of a device at a step.
pub type Makes<'a> = &'a mut dyn FnMut(u64, i64) -> bool;

/// A person, and all that the verifier remembers of them.
#[derive(Clone, Debug)]
pub struct Person {
    pub rules: Rules,
    pub devices: Vec<Device>,
    pub sent: Sent,
    pub count: Count,
    /// Devices and steps whose code was the first of two: it is none again.
    firsts: Vec<(u64, i64)>,
    /// Backup codes, scratch codes of 8 digits among them, and whether each is used up.
    backup: Vec<(String, bool)>,
    backup_key: Option<String>,
}

/// What a code turned out to be.
#[derive(Default)]
struct Found {
    /// The devices and contacts that it lets in by.
    of: Vec<u64>,
    /// The first of two, where it was the second.
    second_of: Option<Mark>,
    /// Where it is a first itself.
    first: Option<First>,
    /// The devices and steps that it is the first of two of, and was not before.
    firsts: Vec<(u64, i64)>,
    /// The first that waits, where it is that one.
    waiting: Option<First>,
    /// Why it is nothing.
    why: Option<Why>,
}

/// Firsts remembered: of more the oldest is forgotten.
const MOST_FIRSTS: usize = 32;
/// How long the first of two codes that are sent waits for the second, which has to arrive first.
const PATIENCE_OF_A_SENT_CODE: i64 = 240;

impl Person {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            devices: Vec::new(),
            sent: Sent::default(),
            count: Count::default(),
            firsts: Vec::new(),
            backup: Vec::new(),
            backup_key: None,
        }
    }

    /// Judges an answer.
    pub fn answer(&mut self, attempt: &Attempt<'_>, makes: Makes<'_>) -> Outcome {
        let Attempt { origin, now, .. } = *attempt;
        self.clock_went_back(now);
        self.share();
        let needs_two = match self.standing(origin, now) {
            Standing::Refused { until } => return Outcome::Refused { until },
            Standing::Open { needs_two, .. } => needs_two || attempt.asks_two,
        };
        let outcome = match attempt.typed {
            Typed::Nothing => return Outcome::Nothing,
            Typed::BackupKey if self.backup_key.as_deref() == Some(attempt.text) => {
                return Outcome::BackupKey;
            }
            Typed::Digits => self.digits(attempt, needs_two, makes),
            Typed::BackupCode => self.backup_code(attempt, needs_two),
            Typed::BackupKey => self.wrong(Why::Mismatch, None, attempt, needs_two),
            Typed::Rubbish => self.wrong(Why::Malformed, None, attempt, needs_two),
        };
        if let Outcome::Wrong { .. } = outcome {
            self.sent.miss((attempt.service, origin.place));
        }
        outcome
    }

    /// Sends a code for a login at that place, unless there is a reason not to.
    pub fn send(
        &mut self,
        to: (u64, usize),
        (service, origin): (usize, &Origin),
        code: &str,
        now: i64,
    ) -> Result<(), Unsent> {
        self.clock_went_back(now);
        if let Standing::Refused { until } = self.standing(origin, now) {
            return Err(Unsent::Refused { until });
        }
        let is_stranger = !self.count.is_familiar(origin, now, &self.rules);
        let login = (service, origin.place);
        self.sent
            .send(to, (login, is_stranger), code, now, &self.rules)
    }

    pub fn standing(&self, origin: &Origin, now: i64) -> Standing {
        let devices = self.devices.iter().map(Device::worth);
        let worth = devices.sum::<usize>() + self.sent.contacts.len();
        self.count.standing(origin, worth, now, &self.rules)
    }

    /// New backup codes; the old ones are void.
    pub fn give_backup(&mut self, codes: impl Iterator<Item = String>, key: String) {
        self.backup = codes.map(|code| (code, false)).collect();
        self.backup_key = Some(key);
    }

    /// A device more. Where nobody knows the count of one that makes the same codes, another word for it isn't believed.
    pub fn admit(&mut self, mut device: Device) {
        let mut twins = self.devices.iter().filter(|twin| twin.key == device.key);
        device.is_uncertain = twins.any(|twin| twin.is_uncertain);
        self.devices.push(device);
    }

    /// Root unlocks.
    pub fn unlock(&mut self) {
        self.count.unlock();
        self.sent.unlock();
    }

    /// Root repairs, of a state that is lost with nothing to go by: these are the devices and contacts, all that may
    /// have been used is, and backup codes are void.
    pub fn repair(&mut self, is_lost: bool, devices: Vec<Device>, contacts: Vec<u64>, now: i64) {
        if is_lost {
            *self = Self::new(self.rules);
        }
        self.clock_went_back(now);
        let known = std::mem::take(&mut self.devices);
        self.devices = devices;
        for device in &mut self.devices {
            if let Some(known) = known.iter().find(|known| known.id == device.id) {
                *device = Device {
                    is_bound: device.is_bound,
                    ..known.clone()
                };
            }
            device.repair(now, &self.rules);
        }
        self.sent.repair(contacts);
        self.backup.clear();
        self.backup_key = None;
    }

    /// Root sets a device right by two codes in a row, from anywhere in the widest reach. No limit holds, nothing else
    /// is touched. `makes` is asked for the first or the second.
    pub fn resync(
        &mut self,
        id: u64,
        times: [i64; 2],
        makes: &mut dyn FnMut(usize, i64) -> bool,
    ) -> Resync {
        let Some(known) = self.devices.iter().position(|device| device.id == id) else {
            return Resync::OutOfStep;
        };
        let before = self.clone();
        self.share();
        let rules = self.rules;
        let device = &mut self.devices[known];
        let [first_at, now] = times;
        device.is_uncertain = true;
        let first = device.fit(None, true, first_at, &rules, &mut |step| makes(0, step));
        let mut second = |first| {
            let second = device.fit(Some(first), true, now, &rules, &mut |step| makes(1, step));
            let is_in_time = (0..device.patience()).contains(&(now - first_at));
            matches!(second, Fit::Second(_)) && is_in_time
        };
        let outcome = match first {
            Fit::First(first) if second(first) => {
                device.accept_second(first + 1, first_at, now, &rules);
                Resync::Done
            }
            _ => Resync::OutOfStep,
        };
        match outcome {
            Resync::Done => {
                self.clock_went_back(now);
                self.share();
            }
            _ => *self = before,
        }
        outcome
    }

    /// What one of two devices used that make the same codes is used of both, and who knows the count of one knows both.
    pub fn share(&mut self) {
        let all = self.devices.clone();
        for device in &mut self.devices {
            let twins = || all.iter().filter(|twin| twin.key == device.key);
            let floor = twins().filter_map(|twin| twin.floor).max();
            let is_uncertain = twins().all(|twin| twin.is_uncertain);
            (device.floor, device.is_uncertain) = (floor, is_uncertain);
        }
    }

    fn digits(&mut self, attempt: &Attempt<'_>, needs_two: bool, makes: Makes<'_>) -> Outcome {
        let Attempt { origin, now, .. } = *attempt;
        let mark = self.count.mark_of(origin.place, now).cloned();
        let mut found = self.held_against_devices(attempt, needs_two, mark.as_ref(), makes);

        let login = (attempt.service, origin.place);
        let sent = self.sent.take(attempt.text, login, now, &self.rules);
        let mark = mark.filter(|mark| Some(mark.first.of) == sent);
        let is_sent = sent.is_some() && (!needs_two || mark.is_some());
        match sent {
            Some(contact) if is_sent => {
                found.of.push(contact);
                found.second_of = found.second_of.or(mark);
            }
            Some(of) => {
                let (step, patience) = (0, PATIENCE_OF_A_SENT_CODE);
                found.first = Some(First { of, step, patience });
            }
            None => {}
        }
        // Eight digits are too few to stand for two codes.
        let scratch = (!needs_two).then(|| self.use_backup(attempt.text));
        if let Some(Err(Why::Replayed)) = scratch {
            found.why = Some(Why::Replayed);
        }
        let backup_left = scratch.and_then(Result::ok);

        let Found {
            of,
            second_of,
            mut first,
            mut firsts,
            waiting,
            why,
        } = found;
        if waiting.is_some() {
            (first, firsts) = (waiting, Vec::new());
        }
        if of.is_empty() && backup_left.is_none() {
            let nobody = self.devices.is_empty() && self.sent.contacts.is_empty();
            let why = match (first, why) {
                (Some(_), _) => Why::First,
                (None, Some(why)) => why,
                (None, None) if nobody => Why::NoDevice,
                (None, None) => Why::Mismatch,
            };
            return self.first_or_wrong((why, first, firsts), attempt, needs_two);
        }
        if let Some(mark) = &second_of {
            self.count.take_back(mark);
        }
        self.count.accept(origin, now, &self.rules);
        self.share();
        Outcome::Accepted {
            of,
            first_at: second_of.map(|mark| mark.at),
            backup_left,
            is_sent,
        }
    }

    /// What a code is worth at the devices, which use it up; `mark` is the first of two that waits there.
    fn held_against_devices(
        &mut self,
        attempt: &Attempt<'_>,
        needs_two: bool,
        mark: Option<&Mark>,
        makes: Makes<'_>,
    ) -> Found {
        let (rules, now) = (self.rules, attempt.now);
        let bound = self.devices.iter().filter(|device| device.is_bound);
        let bound = bound.filter(|_| !attempt.has_ssh_key);
        let bound: Vec<usize> = bound.map(|device| device.key).collect();
        let mut found = Found::default();
        for device in &mut self.devices {
            let id = device.id;
            let mut makes = |step| makes(id, step);
            if bound.contains(&device.key) {
                // Not judged, and not used up.
                let fits = device.near(now, &rules).any(makes);
                found.why = fits.then_some(Why::Bound).or(found.why);
                continue;
            }
            let mark = mark.filter(|mark| mark.first.of == id);
            let step = mark.map(|mark| mark.first.step);
            match device.fit(step, needs_two, now, &rules, &mut makes) {
                Fit::Nothing => {}
                Fit::Used => found.why = Some(Why::Replayed),
                Fit::Fresh(step) => {
                    device.accept(step, now, &rules);
                    found.of.push(id);
                }
                Fit::First(step) => {
                    let (of, patience) = (id, device.patience());
                    let first = First { of, step, patience };
                    if mark.is_some_and(|mark| mark.first.step == step) {
                        found.waiting = Some(first);
                    } else if self.firsts.contains(&(id, step)) {
                        found.why = Some(Why::Replayed);
                    } else {
                        found.first = Some(first);
                        found.firsts.push((id, step));
                    }
                }
                Fit::Second(step) => {
                    let first_at = mark.map_or(now, |mark| mark.at);
                    device.accept_second(step, first_at, now, &rules);
                    found.second_of = mark.cloned();
                    found.of.push(id);
                }
            }
        }
        found
    }

    /// Charges what is not enough; a first that waits from now on is none again.
    fn first_or_wrong(
        &mut self,
        (why, first, firsts): (Why, Option<First>, Vec<(u64, i64)>),
        attempt: &Attempt<'_>,
        needs_two: bool,
    ) -> Outcome {
        let mut outcome = self.wrong(why, first, attempt, needs_two);
        let waits = self.count.mark_of(attempt.origin.place, attempt.now);
        if let (Some(_), Outcome::Wrong { why, .. }) = (first, &mut outcome) {
            match waits {
                Some(_) => self.firsts.extend(firsts),
                None => *why = Why::Unmarked,
            }
            let excess = self.firsts.len().saturating_sub(MOST_FIRSTS);
            self.firsts.drain(..excess);
        }
        outcome
    }

    /// One is enough where two codes are needed.
    fn backup_code(&mut self, attempt: &Attempt<'_>, needs_two: bool) -> Outcome {
        match self.use_backup(attempt.text) {
            Ok(left) => {
                self.count.accept(attempt.origin, attempt.now, &self.rules);
                self.count.forget_total();
                Outcome::Accepted {
                    of: Vec::new(),
                    first_at: None,
                    backup_left: Some(left),
                    is_sent: false,
                }
            }
            Err(why) => self.wrong(why, None, attempt, needs_two),
        }
    }

    /// Uses a backup code up, and tells how many are left.
    fn use_backup(&mut self, text: &str) -> Result<usize, Why> {
        let mut codes = self.backup.iter_mut();
        match codes.find(|(code, _)| code == text) {
            Some((_, true)) => Err(Why::Replayed),
            Some((_, used)) => {
                *used = true;
                Ok(self.backup.iter().filter(|(_, used)| !used).count())
            }
            None => Err(Why::Mismatch),
        }
    }

    fn wrong(
        &mut self,
        why: Why,
        first: Option<First>,
        attempt: &Attempt<'_>,
        needs_two: bool,
    ) -> Outcome {
        let Attempt { origin, now, .. } = *attempt;
        let rules = &self.rules;
        self.count.charge(first, origin, now, rules);
        let is_code = matches!(attempt.typed, Typed::Digits | Typed::Rubbish);
        let mut devices = self.devices.iter_mut().filter(|_| is_code);
        let out = devices.find_map(|device| {
            device
                .is_newly_out_of_reach(now, rules)
                .then_some(device.id)
        });
        Outcome::Wrong {
            why,
            needs_two,
            then: self.standing(origin, now),
            out_of_reach: out,
        }
    }

    fn clock_went_back(&mut self, now: i64) {
        self.count.clock_went_back(now);
        self.sent.clock_went_back(now);
        for device in &mut self.devices {
            device.clock_went_back(now);
        }
    }
}
