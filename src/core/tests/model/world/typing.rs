//! What people type, the owner and others.

use super::{Letter, Next, PLACES, SERVICES, World};
use crate::words::Typed;

/// An answer, and where it is given: the numbers of a service and a place.
pub struct Answer {
    pub typed: Typed,
    pub text: String,
    pub at: (usize, usize),
}

impl World<'_> {
    pub fn somebody_types(&mut self) -> Answer {
        let at = self.somewhere();
        match self.next.take().filter(|_| !self.dice.one_in(4)) {
            Some(Next::Code(id, step)) => {
                self.pressed.insert(self.keys[&id], step);
                return Answer::digits(self.shown(id, step), self.home);
            }
            Some(Next::Letter) => return self.reads_letter(at),
            _ => {}
        }
        match self.dice.below(100) {
            0..40 => match self.any_device() {
                Some(id) => self.looks_at(id, at),
                None => self.reads_letter(at),
            },
            40..50 => match self.any_device() {
                Some(id) => {
                    let step = self.step_nearby(id);
                    Answer::digits(self.shown(id, step), at)
                }
                None => self.reads_letter(at),
            },
            50..62 => self.reads_letter(at),
            62..72 if !self.overheard.is_empty() => {
                let last = &self.overheard[self.overheard.len().saturating_sub(8)..];
                let text = last[self.dice.below(last.len())].clone();
                Answer::digits(text, at)
            }
            62..80 => Answer::digits(format!("{:06}", self.dice.below(1_000_000)), at),
            80..84 => Answer {
                typed: Typed::Nothing,
                text: self.dice.pick(&["", " ", "--", "\t- "]).to_owned(),
                at,
            },
            84..88 => {
                let texts = [
                    "password",
                    "12345",
                    "123456789",
                    "１２３４５６",
                    "12345a",
                    "\0\0\0\0\0\0",
                ];
                let text = self.dice.pick(&texts).to_owned();
                let typed = Typed::Rubbish;
                Answer { typed, text, at }
            }
            88..94 => {
                let text = self.backup_codes[self.dice.below(self.backup_codes.len())].clone();
                let typed = match text.len() {
                    8 => Typed::Digits,
                    _ => Typed::BackupCode,
                };
                Answer { typed, text, at }
            }
            94..97 => Answer {
                typed: Typed::BackupCode,
                text: "AAAA-BBBB-CCCC-DDDD".to_owned(),
                at,
            },
            97 | 98 => Answer {
                typed: Typed::BackupKey,
                text: self.backup_key.shown().to_string(),
                at,
            },
            _ => Answer {
                typed: Typed::BackupKey,
                text: "AAAA-BBBB-CCCC-DDDD".repeat(2),
                at,
            },
        }
    }

    /// Half of those who try are the owner.
    pub fn somewhere(&mut self) -> (usize, usize) {
        match self.dice.one_in(2) {
            true => self.home,
            false => (
                self.dice.below(SERVICES.len()),
                self.dice.below(PLACES.len()),
            ),
        }
    }

    /// Whoever holds a device types what it shows, and the next code after that where it was a first.
    fn looks_at(&mut self, id: u64, at: (usize, usize)) -> Answer {
        let step = self.step_shown(id);
        self.next = Some(Next::Code(id, step + 1));
        Answer::digits(self.shown(id, step), at)
    }

    /// The step that a phone shows by its own clock, or a token after its button was pressed, at times so often that
    /// the code lies at the end of some reach.
    pub fn step_shown(&mut self, id: u64) -> i64 {
        let key = self.keys[&id];
        if let Some(step) = self.step_at(id, self.time + self.ahead[&id]) {
            return step;
        }
        let mut known = self.rules.devices.iter();
        let is_uncertain = known.any(|known| known.id == id && known.is_uncertain);
        let reach = match self.dice.below(100) {
            0..33 if is_uncertain => 10_000,
            0..82 => 0,
            82..90 => self.dice.between(1, 8),
            90..95 => 10,
            95..99 => 100,
            _ => 10_000,
        };
        let far = self.counts_to(id) + reach + self.dice.between(-2, 1);
        let next = self.pressed.get(&key).map_or(0, |pressed| pressed + 1);
        let step = if reach == 0 { next } else { next.max(far) };
        self.pressed.insert(key, step);
        step
    }

    /// One not too far from what the server expects.
    pub fn step_nearby(&mut self, id: u64) -> i64 {
        let (centre, behind, ahead) = match self.step_at(id, self.now()) {
            Some(step) => (step, 25, 25),
            None => (self.counts_to(id), 12, 104),
        };
        (centre + self.dice.between(-behind, ahead)).max(0)
    }

    /// Somebody types a code that was sent, mostly the last one, and mostly where it is good.
    fn reads_letter(&mut self, at: (usize, usize)) -> Answer {
        let back = self.dice.pick(&[1, 1, 1, 2, 3]);
        let letter = self.letters.len().checked_sub(back);
        let text = format!("{:06}", self.dice.below(1_000_000));
        match letter.map(|index| self.letters[index].clone()) {
            Some(Letter { code, login, .. }) => {
                let at = if self.dice.one_in(4) { at } else { login };
                Answer::digits(code, at)
            }
            None => Answer::digits(text, at),
        }
    }

    pub fn any_device(&mut self) -> Option<u64> {
        let devices = &self.enrollment.devices;
        let index = (!devices.is_empty()).then(|| self.dice.below(devices.len()))?;
        Some(devices[index].id.0)
    }
}

impl Answer {
    fn digits(text: String, at: (usize, usize)) -> Self {
        let typed = Typed::Digits;
        Self { typed, text, at }
    }
}
