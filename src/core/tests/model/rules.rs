//! The rules of verification and of limits as they are written for people, one after the other and without any
//! economy: wrong answers are a list of all that were given, and each rule goes through it. Shares no code with
//! what it is compared to, and none of its ideas of how to store anything.

use std::collections::BTreeSet;

/// What an administrator sets; spans in seconds, 0 turns a limit off.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub window: i64,
    pub max_drift: i64,
    pub resync_range: i64,
    pub deny: usize,
    pub interval: i64,
    pub lock_time: i64,
    pub daily: usize,
    pub user_limit: usize,
    pub familiar_for: i64,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Its number.
    pub place: usize,
    pub is_console: bool,
    /// Whether it can become familiar: one place, and not several that can't be told apart.
    pub is_one: bool,
    pub is_exempt: bool,
}

/// What was typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Typed {
    Nothing,
    Digits,
    /// A backup code of the set in force, by its number; `None` for one of no set.
    Backup(Option<usize>),
    /// A backup key, and whether it is the right one.
    Key(bool),
    Rubbish,
}

/// What comes of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Accepted {
        /// The ids of the devices whose code it was.
        devices: Vec<u64>,
        /// When the first of two codes was given, where this was the second.
        first_at: Option<i64>,
        backup_left: Option<usize>,
    },
    BackupKey,
    Nothing,
    Refused {
        until: i64,
    },
    Wrong {
        why: Why,
        needs_two: bool,
        then: Standing,
        /// A device that no code can be accepted of for more than an hour, told once.
        out_of_reach: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    Bound,
    First,
    Malformed,
    Mismatch,
    NoDevice,
    Replayed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Open {
        left: Option<usize>,
        needs_two: bool,
    },
    Refused {
        until: i64,
    },
}

/// A device as the verifier knows it.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: u64,
    /// Devices with the same number make the same codes.
    pub key: usize,
    pub period: i64,
    /// Whether it counts beside an ssh key only.
    pub is_bound: bool,
    pub floor: Option<i64>,
    pub drift: i64,
    /// A run of accepted codes on one side: the side, and when the first of them was accepted.
    run: Option<(i64, i64)>,
    is_told: bool,
}

impl Device {
    pub fn new(id: u64, key: usize, period: i64) -> Self {
        Self {
            id,
            key,
            period,
            is_bound: false,
            floor: None,
            drift: 0,
            run: None,
            is_told: false,
        }
    }

    /// Times before 1970 are in the first step.
    pub fn step_at(&self, now: i64) -> i64 {
        now.max(0) / self.period
    }

    /// The device's own time.
    fn own_step(&self, now: i64) -> i64 {
        (self.step_at(now) + self.drift).max(0)
    }

    fn is_used(&self, step: i64) -> bool {
        self.floor.is_some_and(|floor| step <= floor)
    }

    fn burn(&mut self, step: i64) {
        self.floor = Some(step);
        self.is_told = false;
    }

    /// Accepted codes that lay on one side, over more than an hour, move the drift by a step.
    fn learn(&mut self, step: i64, now: i64, rules: &Rules) {
        let side = (step - self.own_step(now)).signum();
        let run = self.run.filter(|(known, _)| *known == side);
        let (_, since) = run.unwrap_or((side, now));
        self.run = (side != 0).then_some((side, since));
        if side != 0 && now - since > 3600 {
            let drift = self.drift + side;
            if drift.abs() <= rules.max_drift.max(self.drift.abs()) {
                self.drift = drift;
            }
            self.run = None;
        }
    }
}

/// A wrong answer.
#[derive(Clone, Debug)]
struct Wrong {
    id: u64,
    at: i64,
    place: usize,
    /// Whether it still counts for `deny`: not after a right code from there, nor after the lock that it led to.
    denies: bool,
    /// Whether it is counted with those of all unfamiliar places.
    is_strange: bool,
}

/// The first of two codes, waiting for the second.
#[derive(Clone, Debug)]
struct Mark {
    place: usize,
    device: u64,
    step: i64,
    at: i64,
    lasts: i64,
    /// The wrong answer that it counts as until then.
    wrong: u64,
    is_strange: bool,
}

/// A person, and all that the verifier remembers of them.
#[derive(Clone, Debug)]
pub struct Person {
    pub rules: Rules,
    pub devices: Vec<Device>,
    /// Which backup codes are used up.
    pub used_codes: Vec<bool>,
    wrong: Vec<Wrong>,
    /// Wrong answers from unfamiliar places since a right one from such a place.
    total: usize,
    /// Places and when a code was last accepted from there, for as long as they are familiar.
    familiar: Vec<(usize, i64)>,
    marks: Vec<Mark>,
    /// Marks that unfamiliar places left without a second code.
    pub strange_marks: usize,
    next: u64,
}

/// Marks that unfamiliar places get until root unlocks.
const MOST_STRANGE_MARKS: usize = 1000;
/// Marks that wait at the same time: of more the first is forgotten.
const MOST_MARKS: usize = 4;
const DAY: i64 = 86_400;

impl Person {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            devices: Vec::new(),
            used_codes: Vec::new(),
            wrong: Vec::new(),
            total: 0,
            familiar: Vec::new(),
            marks: Vec::new(),
            strange_marks: 0,
            next: 0,
        }
    }

    /// Judges an answer. `makes` says whether what was typed is the code of a device at a step; `asks_two`, that limits
    /// which are not this person's ask for two codes.
    pub fn answer(
        &mut self,
        (typed, origin): (Typed, &Origin),
        has_ssh_key: bool,
        asks_two: bool,
        now: i64,
        makes: &mut dyn FnMut(u64, i64) -> bool,
    ) -> Outcome {
        self.clock_went_back(now);
        self.share_floors();
        let needs_two = match self.standing(origin, now) {
            Standing::Refused { until } => return Outcome::Refused { until },
            Standing::Open { needs_two, .. } => needs_two || asks_two,
        };
        match typed {
            Typed::Nothing => Outcome::Nothing,
            Typed::Digits => self.digits(origin, has_ssh_key, needs_two, now, makes),
            Typed::Rubbish => self.wrong(Why::Malformed, None, origin, needs_two, now),
            Typed::Key(true) => Outcome::BackupKey,
            Typed::Key(false) => self.wrong_backup(Why::Mismatch, origin, needs_two, now),
            Typed::Backup(None) => self.wrong_backup(Why::Mismatch, origin, needs_two, now),
            Typed::Backup(Some(code)) if self.used_codes[code] => {
                self.wrong_backup(Why::Replayed, origin, needs_two, now)
            }
            Typed::Backup(Some(code)) => {
                self.used_codes[code] = true;
                self.accepted_from(origin, now);
                (self.total, self.strange_marks) = (0, 0);
                Outcome::Accepted {
                    devices: Vec::new(),
                    first_at: None,
                    backup_left: Some(self.used_codes.iter().filter(|used| !**used).count()),
                }
            }
        }
    }

    /// Root unlocks.
    pub fn unlock(&mut self) {
        self.wrong.clear();
        self.marks.clear();
        (self.total, self.strange_marks) = (0, 0);
    }

    /// Whether the place is familiar by now.
    pub fn is_familiar(&self, origin: &Origin, now: i64) -> bool {
        let is_recent = |(place, at): &(usize, i64)| {
            *place == origin.place && now - at < self.rules.familiar_for
        };
        origin.is_console || self.familiar.iter().any(is_recent)
    }

    fn digits(
        &mut self,
        origin: &Origin,
        has_ssh_key: bool,
        needs_two: bool,
        now: i64,
        makes: &mut dyn FnMut(u64, i64) -> bool,
    ) -> Outcome {
        let rules = self.rules;
        let mark = self.mark_of(origin.place, now).cloned();
        let bound: Vec<usize> = match has_ssh_key {
            true => Vec::new(),
            false => self
                .devices
                .iter()
                .filter(|d| d.is_bound)
                .map(|d| d.key)
                .collect(),
        };
        let (mut accepted, mut first, mut why) = (Vec::new(), None, None);
        let mut first_at = None;
        for device in &mut self.devices {
            let id = device.id;
            let mut highest = |centre: i64, reach: i64| {
                let steps = (centre - reach).max(0)..=centre + reach;
                steps.rev().find(|step| makes(id, *step))
            };
            let own = device.own_step(now);
            let system = device.step_at(now);
            let in_window = highest(own, rules.window);
            if bound.contains(&device.key) {
                // Not judged, and not used up.
                why = in_window.map(|_| Why::Bound).or(why);
                continue;
            }
            let mark = mark.as_ref().filter(|mark| mark.device == id);
            let second = mark.filter(|mark| {
                let step = mark.step + 1;
                !device.is_used(step) && highest(step, 0).is_some()
            });
            if let Some(mark) = second {
                // A code can be typed late, but not early.
                let step = mark.step + 1;
                let then = device.step_at(mark.at);
                let shown = (mark.step - then).max(step - system);
                if (shown - device.drift).abs() > rules.window {
                    device.drift = shown;
                }
                device.run = None;
                device.burn(step);
                first_at = Some(mark.at);
                accepted.push(id);
                continue;
            }
            let in_reach = rules.resync_range.max(device.drift.abs() + rules.window);
            match (in_window, highest(system, in_reach)) {
                (Some(step), _) if device.is_used(step) => why = Some(Why::Replayed),
                (Some(step), _) if !needs_two => {
                    device.learn(step, now, &rules);
                    device.burn(step);
                    accepted.push(id);
                }
                (_, Some(step)) if device.is_used(step) => why = Some(Why::Replayed),
                (_, Some(step)) => first = Some((id, step, 2 * device.period)),
                (_, None) => {}
            }
        }
        if accepted.is_empty() {
            let why = match (first, why) {
                (Some(_), _) => Why::First,
                (None, Some(why)) => why,
                (None, None) if self.devices.is_empty() => Why::NoDevice,
                (None, None) => Why::Mismatch,
            };
            return self.wrong(why, first, origin, needs_two, now);
        }
        if let Some(mark) = mark.filter(|_| first_at.is_some()) {
            self.wrong.retain(|wrong| wrong.id != mark.wrong);
            if mark.is_strange {
                // A backup code may have cleared the count meanwhile.
                self.strange_marks = self.strange_marks.saturating_sub(1);
            }
        }
        self.accepted_from(origin, now);
        self.share_floors();
        Outcome::Accepted {
            devices: accepted,
            first_at,
            backup_left: None,
        }
    }

    /// Charges what was no right code; the first of two leaves a mark in place of any that was there.
    fn wrong(
        &mut self,
        why: Why,
        first: Option<(u64, i64, i64)>,
        origin: &Origin,
        needs_two: bool,
        now: i64,
    ) -> Outcome {
        let wrong = self.charge(origin, now);
        self.marks.retain(|mark| mark.place != origin.place);
        let is_strange = !self.is_familiar(origin, now);
        if let Some((device, step, lasts)) = first {
            if !is_strange || self.strange_marks < MOST_STRANGE_MARKS {
                self.strange_marks += usize::from(is_strange);
                self.marks.push(Mark {
                    place: origin.place,
                    device,
                    step,
                    at: now,
                    lasts,
                    wrong,
                    is_strange,
                });
                if self.marks.len() > MOST_MARKS {
                    self.marks.remove(0);
                }
            }
        }
        Outcome::Wrong {
            why,
            needs_two,
            then: self.standing(origin, now),
            out_of_reach: self.newly_out_of_reach(now),
        }
    }

    fn wrong_backup(&mut self, why: Why, origin: &Origin, needs_two: bool, now: i64) -> Outcome {
        self.charge(origin, now);
        self.marks.retain(|mark| mark.place != origin.place);
        Outcome::Wrong {
            why,
            needs_two,
            then: self.standing(origin, now),
            out_of_reach: None,
        }
    }

    fn charge(&mut self, origin: &Origin, now: i64) -> u64 {
        self.next += 1;
        self.forget(now);
        if !origin.is_exempt {
            let is_strange = !self.is_familiar(origin, now);
            self.total += usize::from(is_strange);
            self.wrong.push(Wrong {
                id: self.next,
                at: now,
                place: origin.place,
                denies: true,
                is_strange,
            });
        }
        self.next
    }

    fn accepted_from(&mut self, origin: &Origin, now: i64) {
        self.forget(now);
        if !self.is_familiar(origin, now) {
            self.total = 0;
        }
        self.marks.retain(|mark| mark.place != origin.place);
        for wrong in self
            .wrong
            .iter_mut()
            .filter(|wrong| wrong.place == origin.place)
        {
            wrong.denies = false;
        }
        if origin.is_one && !origin.is_console && self.rules.familiar_for != 0 {
            self.familiar.retain(|(place, _)| *place != origin.place);
            self.familiar.push((origin.place, now));
        }
    }

    fn standing(&self, origin: &Origin, now: i64) -> Standing {
        if origin.is_exempt {
            return Standing::Open {
                left: None,
                needs_two: false,
            };
        }
        let deny = self.rules.deny;
        let mut last = self.last_denying(origin.place);
        let mark = self.mark_of(origin.place, now);
        if let Some(mark) = mark.filter(|_| self.lock_end(&last).is_some_and(|end| now < end)) {
            // The first of two codes counts, but doesn't keep the second out.
            last.retain(|wrong| wrong.id != mark.wrong);
        }
        let counting = match self.lock_end(&last) {
            Some(until) if now < until => return Standing::Refused { until },
            Some(_) => 0,
            None => last
                .iter()
                .filter(|wrong| now - wrong.at < self.rules.interval)
                .count(),
        };
        Standing::Open {
            left: (deny != 0).then(|| deny - counting),
            needs_two: self.needs_two(origin, now),
        }
    }

    /// The last wrong answers of a place, as many as `deny` goes by.
    fn last_denying(&self, place: usize) -> Vec<&Wrong> {
        let of_place = |wrong: &&Wrong| wrong.place == place && wrong.denies;
        let all: Vec<&Wrong> = self.wrong.iter().filter(of_place).collect();
        all[all.len().saturating_sub(self.rules.deny)..].to_vec()
    }

    /// When the lock runs out that the last `deny` wrong answers led to, where they did.
    fn lock_end(&self, last: &[&Wrong]) -> Option<i64> {
        let deny = self.rules.deny;
        let led =
            deny != 0 && last.len() == deny && last[deny - 1].at - last[0].at < self.rules.interval;
        led.then(|| last[deny - 1].at + self.rules.lock_time)
    }

    fn needs_two(&self, origin: &Origin, now: i64) -> bool {
        let Rules {
            daily, user_limit, ..
        } = self.rules;
        let is_familiar = self.is_familiar(origin, now);
        let counts = |wrong: &&Wrong| match is_familiar {
            true => !wrong.is_strange && wrong.place == origin.place,
            false => wrong.is_strange || self.is_no_longer_familiar(wrong.place, now),
        };
        let today = self.wrong.iter().filter(|wrong| now - wrong.at < DAY);
        let most = (daily / self.devices.len().max(1)).max(1);
        let is_spent = daily != 0 && today.filter(counts).count() >= most;
        is_spent || (user_limit != 0 && self.total >= user_limit && !is_familiar)
    }

    fn is_no_longer_familiar(&self, place: usize, now: i64) -> bool {
        let mut familiar = self.familiar.iter();
        familiar.any(|(known, at)| *known == place && now - at >= self.rules.familiar_for)
    }

    fn mark_of(&self, place: usize, now: i64) -> Option<&Mark> {
        let mut marks = self.marks.iter();
        marks.find(|mark| mark.place == place && now - mark.at < mark.lasts)
    }

    /// What has stopped counting by the time an answer is judged does so for ever.
    fn forget(&mut self, now: i64) {
        let places: BTreeSet<usize> = self.wrong.iter().map(|wrong| wrong.place).collect();
        for place in places {
            let last = self.last_denying(place);
            let is_locked = self.lock_end(&last).is_some_and(|end| now < end);
            let is_over = self.lock_end(&last).is_some_and(|end| now >= end);
            for wrong in self.wrong.iter_mut().filter(|wrong| wrong.place == place) {
                let is_old = now - wrong.at >= self.rules.interval;
                wrong.denies &= is_locked || !(is_over || is_old);
            }
        }
        let ended: Vec<usize> = self
            .familiar
            .iter()
            .map(|(place, _)| *place)
            .filter(|place| self.is_no_longer_familiar(*place, now))
            .collect();
        self.end_familiarity(&ended);
        self.wrong
            .retain(|wrong| wrong.denies || now - wrong.at < DAY);
        self.marks.retain(|mark| now - mark.at < mark.lasts);
    }

    /// Wrong answers and marks of a place that is familiar no longer count with those of all such places.
    fn end_familiarity(&mut self, ended: &[usize]) {
        self.familiar.retain(|(place, _)| !ended.contains(place));
        for wrong in self
            .wrong
            .iter_mut()
            .filter(|wrong| ended.contains(&wrong.place))
        {
            wrong.is_strange = true;
        }
        let marks = self
            .marks
            .iter_mut()
            .filter(|mark| ended.contains(&mark.place));
        for mark in marks.filter(|mark| !mark.is_strange) {
            mark.is_strange = true;
            self.strange_marks += 1;
        }
    }

    /// A time in the future becomes now. Familiarity and marks of the future have expired.
    fn clock_went_back(&mut self, now: i64) {
        let future = self.familiar.iter().filter(|(_, at)| *at > now);
        let ended: Vec<usize> = future.map(|(place, _)| *place).collect();
        self.end_familiarity(&ended);
        self.wrong
            .iter_mut()
            .for_each(|wrong| wrong.at = wrong.at.min(now));
        self.marks.retain(|mark| mark.at <= now);
        for (_, since) in self
            .devices
            .iter_mut()
            .filter_map(|device| device.run.as_mut())
        {
            *since = (*since).min(now);
        }
    }

    /// What one of two devices used that make the same codes is used of both.
    pub fn share_floors(&mut self) {
        let floors: Vec<_> = self.devices.iter().map(|d| (d.key, d.floor)).collect();
        for device in &mut self.devices {
            let twins = floors.iter().filter(|(key, _)| *key == device.key);
            device.floor = twins.filter_map(|(_, floor)| *floor).max();
        }
    }

    fn newly_out_of_reach(&mut self, now: i64) -> Option<u64> {
        let window = self.rules.window;
        let untold = self.devices.iter_mut().filter(|device| !device.is_told);
        let mut out = untold.filter(|device| {
            let reach = device.own_step(now) + window;
            let first_free = device.floor.map_or(0, |floor| floor + 1);
            (first_free - reach) * device.period > 3600
        });
        let device = out.next()?;
        device.is_told = true;
        Some(device.id)
    }
}
