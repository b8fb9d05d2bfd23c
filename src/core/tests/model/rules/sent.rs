//! Codes that are sent: which are good, and when another one is sent.

use crate::words::{Rules, Unsent};

/// What the verifier knows of them.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The contacts, by id. A code to any other is good for nothing.
    pub contacts: Vec<u64>,
    waiting: Vec<Waiting>,
    sendings: Vec<Sending>,
}

/// Who a code is sent for: one service and one place.
pub type Login = (usize, usize);

/// A code that waits to be typed.
#[derive(Clone, Debug)]
struct Waiting {
    contact: u64,
    login: Login,
    code: String,
    at: i64,
    wrong: usize,
    is_stranger: bool,
}

/// A code that was sent: by mail or by text message, and when.
#[derive(Clone, Debug)]
struct Sending {
    way: usize,
    at: i64,
    is_stranger: bool,
}

/// Wrong answers that a code dies of.
const MOST_WRONG: usize = 3;
/// Codes that wait at the same time.
const MOST_WAITING: usize = 4;
const HOUR: i64 = 3600;

impl Sent {
    /// The contact whose code it is; that is the end of the code.
    pub fn take(&mut self, code: &str, login: Login, now: i64, rules: &Rules) -> Option<u64> {
        let index = self.waiting.iter().position(|waiting| {
            waiting.code == code
                && waiting.is_good(login, now, rules)
                && self.contacts.contains(&waiting.contact)
        })?;
        Some(self.waiting.remove(index).contact)
    }

    /// A wrong answer of a login counts against its code.
    pub fn miss(&mut self, login: Login) {
        for waiting in &mut self.waiting {
            waiting.wrong += usize::from(waiting.login == login);
        }
    }

    pub fn has_good(&self, login: Login, now: i64, rules: &Rules) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.is_good(login, now, rules))
    }

    /// Sends a code; the last one of that login is dead then.
    pub fn send(
        &mut self,
        (contact, way): (u64, usize),
        (login, is_stranger): (Login, bool),
        code: &str,
        now: i64,
        rules: &Rules,
    ) -> Result<(), Unsent> {
        self.waiting.retain(|waiting| now < waiting.leaves(rules));
        self.sendings.retain(|sending| now - sending.at < HOUR);

        let last = self.waiting.iter().find(|waiting| waiting.login == login);
        if let Some(last) = last.filter(|last| now < last.at + rules.resend_after) {
            let next = last.at + rules.resend_after;
            return Err(Unsent::JustSent { next });
        }
        let alike = |sending: &&Sending| sending.way == way && sending.is_stranger == is_stranger;
        let hour: Vec<_> = self.sendings.iter().filter(alike).collect();
        if hour.len() >= rules.per_hour {
            let next = hour[hour.len() - rules.per_hour].at + HOUR;
            return Err(Unsent::TooMany { next });
        }
        if last.is_none() && self.waiting.len() >= MOST_WAITING {
            // A familiar place takes the room of the stranger who came first.
            let stranger = self.waiting.iter().position(|waiting| waiting.is_stranger);
            let Some(stranger) = stranger.filter(|_| !is_stranger) else {
                let ends = self.waiting.iter().map(|waiting| waiting.leaves(rules));
                let next = ends.min().unwrap();
                return Err(Unsent::TooMany { next });
            };
            self.waiting.remove(stranger);
        }
        self.waiting.retain(|waiting| waiting.login != login);
        self.waiting.push(Waiting {
            contact,
            login,
            code: code.to_owned(),
            at: now,
            wrong: 0,
            is_stranger,
        });
        let at = now;
        self.sendings.push(Sending {
            way,
            at,
            is_stranger,
        });
        Ok(())
    }

    /// A contact is gone, and its codes with it.
    pub fn remove(&mut self, contact: u64) {
        self.contacts.retain(|known| *known != contact);
        self.waiting.retain(|waiting| waiting.contact != contact);
    }

    /// After a repair these are the contacts, and no code is good.
    pub fn repair(&mut self, contacts: Vec<u64>) {
        self.contacts = contacts;
        self.waiting.clear();
    }

    pub fn unlock(&mut self) {
        self.sendings.clear();
    }

    /// Codes from the future are dead; what was sent counts from now.
    pub fn clock_went_back(&mut self, now: i64) {
        self.waiting.retain(|waiting| waiting.at <= now);
        for sending in &mut self.sendings {
            sending.at = sending.at.min(now);
        }
    }
}

impl Waiting {
    fn is_good(&self, login: Login, now: i64, rules: &Rules) -> bool {
        self.login == login && now < self.at + rules.lifetime && self.wrong < MOST_WRONG
    }

    /// When it no longer takes up room: with its death, but not before another one may be sent.
    fn leaves(&self, rules: &Rules) -> i64 {
        let another = self.at + rules.resend_after;
        match self.wrong < MOST_WRONG {
            true => another.max(self.at + rules.lifetime),
            false => another,
        }
    }
}
