//! Which codes of a device are worth something, and what is learned from them.

use std::ops::RangeInclusive;

use crate::words::{Kind, Rules};

/// A device as the verifier knows it.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: u64,
    /// Devices with the same number make the same codes.
    pub key: usize,
    pub kind: Kind,
    /// A window of its own counts where it is narrower.
    pub window: Option<i64>,
    /// Whether it counts beside an ssh key only.
    pub is_bound: bool,
    /// The highest step or count that was accepted.
    pub floor: Option<i64>,
    /// Steps that a phone is ahead.
    pub drift: i64,
    /// Whether nobody knows how far the count of a token has got.
    pub is_uncertain: bool,
    /// A run of accepted codes on one side: the side, and when the first of them was accepted.
    pub run: Option<(i64, i64)>,
    pub is_told: bool,
}

/// What a code is worth at one device.
pub enum Fit {
    Nothing,
    Used,
    /// Enough.
    Fresh(i64),
    /// The first of two.
    First(i64),
    /// The second of two.
    Second(i64),
}

/// Codes of a token that are enough by themselves.
const LOOK_AHEAD: i64 = 10;
/// Those that are enough two in a row.
const RESYNC: i64 = 100;
/// The same where nobody knows the count, and for root.
const WIDE_RESYNC: i64 = 10_000;
const HOUR: i64 = 3600;

impl Device {
    pub fn new(id: u64, key: usize, kind: Kind) -> Self {
        Self {
            id,
            key,
            kind,
            window: None,
            is_bound: false,
            floor: None,
            drift: 0,
            is_uncertain: false,
            run: None,
            is_told: false,
        }
    }

    /// What it is worth to whoever guesses: three codes of a phone are accepted, ten of a token.
    pub fn worth(&self) -> usize {
        match self.kind {
            Kind::Phone { .. } => 1,
            Kind::Token => 4,
        }
    }

    /// How long the first of two codes waits for the second: two periods, and of a token as long as of the slowest phone.
    pub fn patience(&self) -> i64 {
        match self.kind {
            Kind::Phone { period } => 2 * period,
            Kind::Token => 240,
        }
    }

    pub fn is_used(&self, step: i64) -> bool {
        self.floor.is_some_and(|floor| step <= floor)
    }

    /// Where one code is enough. Used ones are looked for as well, to say why they are refused.
    pub fn near(&self, now: i64, rules: &Rules) -> RangeInclusive<i64> {
        match self.kind {
            Kind::Phone { period } => {
                around(self.own_step(period, now), self.window_of(rules.window))
            }
            Kind::Token => (self.next() - LOOK_AHEAD).max(0)..=self.next() + LOOK_AHEAD - 1,
        }
    }

    /// Where two in a row are.
    fn far(&self, now: i64, rules: &Rules) -> RangeInclusive<i64> {
        match self.kind {
            Kind::Phone { period } => {
                let own = self.drift.abs() + self.window_of(rules.window);
                around(step_at(period, now), rules.resync_range.max(own))
            }
            Kind::Token if self.is_uncertain => self.next()..=self.next() + WIDE_RESYNC - 1,
            Kind::Token => self.next()..=self.next() + RESYNC - 1,
        }
    }

    /// Holds a code against the device; `first` is the step of the first of two that waits for this one.
    pub fn fit(
        &self,
        first: Option<i64>,
        needs_two: bool,
        now: i64,
        rules: &Rules,
        makes: &mut dyn FnMut(i64) -> bool,
    ) -> Fit {
        let mut highest = |mut steps: RangeInclusive<i64>| steps.rfind(|step| makes(*step));
        let second = first.map(|first| first + 1);
        if let Some(step) = second.filter(|step| !self.is_used(*step)) {
            if highest(step..=step).is_some() {
                return Fit::Second(step);
            }
        }
        let is_enough = !needs_two && !self.is_uncertain;
        match highest(self.near(now, rules)) {
            Some(step) if self.is_used(step) => return Fit::Used,
            Some(step) if is_enough => return Fit::Fresh(step),
            _ => {}
        }
        match highest(self.far(now, rules)) {
            Some(step) if self.is_used(step) => Fit::Used,
            Some(step) => Fit::First(step),
            None => Fit::Nothing,
        }
    }

    /// A code was enough: those that lie on one side, over more than an hour, move the drift by a step.
    pub fn accept(&mut self, step: i64, now: i64, rules: &Rules) {
        if let Kind::Phone { period } = self.kind {
            let side = (step - self.own_step(period, now)).signum();
            let run = self.run.filter(|(known, _)| *known == side);
            let (_, since) = run.unwrap_or((side, now));
            self.run = (side != 0).then_some((side, since));
            if side != 0 && now - since > HOUR {
                let drift = self.drift + side;
                if drift.abs() <= rules.max_drift.max(self.drift.abs()) {
                    self.drift = drift;
                }
                self.run = None;
            }
        }
        self.burn(step);
    }

    /// Two in a row were: they set the drift to what they show, where that is more than the window bears.
    pub fn accept_second(&mut self, step: i64, first_at: i64, now: i64, rules: &Rules) {
        if let Kind::Phone { period } = self.kind {
            // A code can be typed late, but not early.
            let shown = (step - 1 - step_at(period, first_at)).max(step - step_at(period, now));
            if (shown - self.drift).abs() > self.window_of(rules.window) {
                self.drift = shown;
            }
            self.run = None;
        }
        self.burn(step);
    }

    /// Whatever may have been used by now is, by a clock that is ahead too; of a token nobody knows.
    pub fn repair(&mut self, now: i64, rules: &Rules) {
        match self.kind {
            Kind::Phone { period } => {
                let ahead = self.drift.max(0);
                let latest = step_at(period, now) + ahead + rules.window;
                self.floor = self.floor.max(Some(latest));
            }
            Kind::Token => self.is_uncertain = true,
        }
    }

    pub fn clock_went_back(&mut self, now: i64) {
        if let Some((_, since)) = &mut self.run {
            *since = (*since).min(now);
        }
    }

    /// Whether no code of a phone can be accepted for more than an hour; told once.
    pub fn is_newly_out_of_reach(&mut self, now: i64, rules: &Rules) -> bool {
        let Kind::Phone { period } = self.kind else {
            return false;
        };
        let reach = self.own_step(period, now) + self.window_of(rules.window);
        let is_new = !self.is_told && (self.next() - reach) * period > HOUR;
        self.is_told |= is_new;
        is_new
    }

    fn burn(&mut self, step: i64) {
        self.floor = Some(step);
        (self.is_told, self.is_uncertain) = (false, false);
    }

    fn next(&self) -> i64 {
        self.floor.map_or(0, |floor| floor + 1)
    }

    /// The step by the device's own time.
    fn own_step(&self, period: i64, now: i64) -> i64 {
        (step_at(period, now) + self.drift).max(0)
    }

    fn window_of(&self, usual: i64) -> i64 {
        self.window.map_or(usual, |own| own.min(usual))
    }
}

/// Times before 1970 are in the first step.
fn step_at(period: i64, now: i64) -> i64 {
    now.max(0) / period
}

fn around(centre: i64, reach: i64) -> RangeInclusive<i64> {
    (centre - reach).max(0)..=centre + reach
}
