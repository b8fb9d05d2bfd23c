//! Wrong answers: a list of all that were given, and each limit goes through it.

use std::collections::BTreeSet;

use crate::words::{Origin, Rules, Standing};

/// All that the verifier remembers of a person's wrong answers, and of right ones for the sake of the wrong.
#[derive(Clone, Debug, Default)]
pub struct Count {
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
pub struct Mark {
    pub first: First,
    pub at: i64,
    place: usize,
    /// The wrong answer that it counts as until then.
    wrong: u64,
    is_strange: bool,
}

/// A right code where two are needed: whose, which step, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct First {
    pub of: u64,
    pub step: i64,
    pub patience: i64,
}

/// Marks that unfamiliar places get until root unlocks.
const MOST_STRANGE_MARKS: usize = 1000;
/// Marks that wait at the same time: of more the first is forgotten.
const MOST_MARKS: usize = 4;
const DAY: i64 = 86_400;

impl Count {
    /// Where answers from there stand; `worth` is what the person's devices are worth to whoever guesses.
    pub fn standing(&self, origin: &Origin, worth: usize, now: i64, rules: &Rules) -> Standing {
        if origin.is_exempt {
            return Standing::Open {
                left: None,
                needs_two: false,
            };
        }
        let mut last = self.last_denying(origin.place, rules);
        let mark = self.mark_of(origin.place, now);
        if let Some(mark) = mark.filter(|_| lock_end(&last, rules).is_some_and(|end| now < end)) {
            // The first of two codes counts, but doesn't keep the second out. Of two answers in one second either is meant.
            let first = last.iter().position(|wrong| wrong.at == mark.at);
            first.map(|first| last.remove(first));
        }
        let counting = match lock_end(&last, rules) {
            Some(until) if now < until => return Standing::Refused { until },
            Some(_) => 0,
            None => last
                .iter()
                .filter(|wrong| now - wrong.at < rules.interval)
                .count(),
        };
        Standing::Open {
            left: (rules.deny != 0).then(|| rules.deny - counting),
            needs_two: self.needs_two(origin, worth, now, rules),
        }
    }

    /// Whether the place is familiar by now.
    pub fn is_familiar(&self, origin: &Origin, now: i64, rules: &Rules) -> bool {
        let is_recent =
            |(place, at): &(usize, i64)| *place == origin.place && now - at < rules.familiar_for;
        origin.is_console || self.familiar.iter().any(is_recent)
    }

    /// The first of two codes that waits at a place.
    pub fn mark_of(&self, place: usize, now: i64) -> Option<&Mark> {
        let mut marks = self.marks.iter();
        marks.find(|mark| mark.place == place && mark.waits(now))
    }

    /// Charges a wrong answer. The first of two leaves a mark, unless it has left one that waits, and ends any other of that
    /// place as each wrong one does.
    pub fn charge(&mut self, first: Option<First>, origin: &Origin, now: i64, rules: &Rules) {
        self.next += 1;
        self.forget(now, rules);
        let is_strange = !self.is_familiar(origin, now, rules);
        if !origin.is_exempt {
            self.total += usize::from(is_strange);
            self.wrong.push(Wrong {
                id: self.next,
                at: now,
                place: origin.place,
                denies: true,
                is_strange,
            });
        }
        let waits = |mark: &Mark| {
            let same = first
                .is_some_and(|first| (first.of, first.step) == (mark.first.of, mark.first.step));
            same && mark.place == origin.place && mark.waits(now)
        };
        if self.marks.iter().any(waits) {
            return;
        }
        self.marks.retain(|mark| mark.place != origin.place);
        let first = first.filter(|_| !is_strange || self.strange_marks < MOST_STRANGE_MARKS);
        if let Some(first) = first {
            self.strange_marks += usize::from(is_strange);
            self.marks.push(Mark {
                first,
                at: now,
                place: origin.place,
                wrong: self.next,
                is_strange,
            });
            if self.marks.len() > MOST_MARKS {
                self.marks.remove(0);
            }
        }
    }

    /// The second of two codes came: the first was no wrong answer after all.
    pub fn take_back(&mut self, mark: &Mark) {
        self.wrong.retain(|wrong| wrong.id != mark.wrong);
        if mark.is_strange {
            // A backup code may have cleared the count meanwhile.
            self.strange_marks = self.strange_marks.saturating_sub(1);
        }
    }

    /// A right answer: the place is familiar, and what it did wrong no longer denies.
    pub fn accept(&mut self, origin: &Origin, now: i64, rules: &Rules) {
        self.forget(now, rules);
        if !self.is_familiar(origin, now, rules) {
            self.total = 0;
        }
        self.marks.retain(|mark| mark.place != origin.place);
        let of_place = |wrong: &&mut Wrong| wrong.place == origin.place;
        for wrong in self.wrong.iter_mut().filter(of_place) {
            wrong.denies = false;
        }
        if origin.is_one && !origin.is_console && rules.familiar_for != 0 {
            self.familiar.retain(|(place, _)| *place != origin.place);
            self.familiar.push((origin.place, now));
        }
    }

    /// A backup code ends that two codes are needed of strangers.
    pub fn forget_total(&mut self) {
        (self.total, self.strange_marks) = (0, 0);
    }

    /// Root unlocks.
    pub fn unlock(&mut self) {
        self.wrong.clear();
        self.marks.clear();
        self.forget_total();
    }

    /// A time in the future becomes now. Familiarity and marks of the future have expired.
    pub fn clock_went_back(&mut self, now: i64) {
        let future = self.familiar.iter().filter(|(_, at)| *at > now);
        let ended: Vec<usize> = future.map(|(place, _)| *place).collect();
        self.end_familiarity(&ended);
        for wrong in &mut self.wrong {
            wrong.at = wrong.at.min(now);
        }
        self.marks.retain(|mark| mark.at <= now);
    }

    fn needs_two(&self, origin: &Origin, worth: usize, now: i64, rules: &Rules) -> bool {
        let is_familiar = self.is_familiar(origin, now, rules);
        let counts = |wrong: &&Wrong| match is_familiar {
            true => !wrong.is_strange && wrong.place == origin.place,
            false => wrong.is_strange || self.is_no_longer_familiar(wrong.place, now, rules),
        };
        let today = self.wrong.iter().filter(|wrong| now - wrong.at < DAY);
        let most = (rules.daily / worth.max(1)).max(1);
        let is_spent = rules.daily != 0 && today.filter(counts).count() >= most;
        let is_over = rules.user_limit != 0 && self.total >= rules.user_limit;
        is_spent || is_over && !is_familiar
    }

    /// The last wrong answers of a place, as many as `deny` goes by.
    fn last_denying(&self, place: usize, rules: &Rules) -> Vec<&Wrong> {
        let of_place = |wrong: &&Wrong| wrong.place == place && wrong.denies;
        let all: Vec<&Wrong> = self.wrong.iter().filter(of_place).collect();
        all[all.len().saturating_sub(rules.deny)..].to_vec()
    }

    fn is_no_longer_familiar(&self, place: usize, now: i64, rules: &Rules) -> bool {
        let mut familiar = self.familiar.iter();
        familiar.any(|(known, at)| *known == place && now - at >= rules.familiar_for)
    }

    /// What has stopped counting by the time an answer is judged does so for ever.
    fn forget(&mut self, now: i64, rules: &Rules) {
        let places: BTreeSet<usize> = self.wrong.iter().map(|wrong| wrong.place).collect();
        for place in places {
            let end = lock_end(&self.last_denying(place, rules), rules);
            let of_place = |wrong: &&mut Wrong| wrong.place == place;
            for wrong in self.wrong.iter_mut().filter(of_place) {
                wrong.denies &= match end {
                    Some(end) => now < end,
                    None => now - wrong.at < rules.interval,
                };
            }
        }
        let familiar = self.familiar.iter().map(|(place, _)| *place);
        let ended = familiar.filter(|place| self.is_no_longer_familiar(*place, now, rules));
        self.end_familiarity(&ended.collect::<Vec<_>>());
        self.wrong
            .retain(|wrong| wrong.denies || now - wrong.at < DAY);
        self.marks.retain(|mark| mark.waits(now));
    }

    /// Wrong answers and marks of a place that is familiar no longer count with those of all such places.
    fn end_familiarity(&mut self, ended: &[usize]) {
        self.familiar.retain(|(place, _)| !ended.contains(place));
        for wrong in &mut self.wrong {
            wrong.is_strange |= ended.contains(&wrong.place);
        }
        for mark in &mut self.marks {
            let is_ended = !mark.is_strange && ended.contains(&mark.place);
            mark.is_strange |= is_ended;
            self.strange_marks += usize::from(is_ended);
        }
    }
}

impl Mark {
    fn waits(&self, now: i64) -> bool {
        now - self.at < self.first.patience
    }
}

/// When the lock runs out that the last `deny` wrong answers led to, where they did.
fn lock_end(last: &[&Wrong], rules: &Rules) -> Option<i64> {
    let deny = rules.deny;
    let led = deny != 0 && last.len() == deny && last[deny - 1].at - last[0].at < rules.interval;
    led.then(|| last[deny - 1].at + rules.lock_time)
}
