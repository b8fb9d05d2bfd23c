//! Codes that were sent and wait to be typed: what a login's state keeps of them.
//!
//! A code belongs to one user, one service and one address. It is worth one login there, dies with its time, with the
//! next one that is sent there and with the third wrong answer from there, and is kept as a hash under a salt of its
//! own. So many are sent in an hour: strangers, be they many, use up a count of their own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::contact::Channel;
use crate::device::DeviceId;
use crate::doors::Entropy;
use crate::otp::{Code, Digits};
use crate::time::{Span, Time};

/// Where a code is good: a hash of one service and one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Binding(pub u64);

impl Binding {
    /// The one of a login.
    #[must_use]
    pub fn of(service: &str, address: &crate::address::Address) -> Self {
        let mut hash = Sha256::new();
        for part in [service, &address.to_string()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.first_chunk().copied().map_or(0, u64::from_le_bytes))
    }
}

/// A code that was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// The contact that it was sent to.
    pub contact: DeviceId,
    /// Where it is good.
    pub binding: Binding,
    /// The key of the hash.
    pub salt: [u8; 8],
    /// HMAC-SHA-256 of the code, its first half.
    pub hash: [u8; 16],
    /// When it was sent.
    pub sent: Time,
    /// How long it is good.
    pub lasts: Span,
    /// Wrong answers from there since: at most [`Challenge::MOST_WRONG`].
    pub wrong: u8,
    /// Whether it was asked for at a familiar place.
    pub is_familiar: bool,
}

impl Challenge {
    /// The wrong answer that it dies of.
    pub const MOST_WRONG: u8 = 3;

    fn is(&self, code: &Code) -> bool {
        hash(&self.salt, code).is_some_and(|hash| hash.ct_eq(&self.hash).into())
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.sent <= now && now < self.until() && self.wrong < Self::MOST_WRONG
    }

    /// When its time is over.
    #[must_use]
    pub fn until(&self) -> Time {
        self.sent.after(self.lasts)
    }

    /// When its place is free: once it is dead, but not before another one can be sent to the same login.
    fn leaves(&self, resend_after: Span) -> Time {
        let next = self.sent.after(resend_after);
        match self.wrong < Self::MOST_WRONG {
            true => next.max(self.until()),
            false => next,
        }
    }
}

/// One code that was sent in the last hour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sending {
    /// By which way.
    pub channel: Channel,
    /// Whether it was asked for at a familiar place.
    pub is_familiar: bool,
    /// When.
    pub at: Time,
}

/// The limits on what is sent by one way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// How long a code is good.
    pub lifetime: Span,
    /// How long after one the next can be sent to the same login.
    pub resend_after: Span,
    /// In an hour, to one user: so many for familiar places, and so many for all others.
    pub per_hour: u8,
}

/// Why none is sent now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsent {
    /// One was, a moment ago.
    JustSent {
        /// From then on another can be.
        next: Time,
    },
    /// So many were that there are no more before then.
    TooMany {
        /// From then on there are.
        next: Time,
    },
}

/// What is kept of codes that are sent to somebody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Challenges {
    /// The contacts; codes to any other are refused.
    pub contacts: Vec<DeviceId>,
    /// The codes that wait, and dead ones whose time is not over.
    pub pending: Vec<Challenge>,
    /// What was sent in the last hour.
    pub sendings: Vec<Sending>,
}

impl Challenges {
    /// Contacts kept at most: one of each kind, and as many again while a change is under way.
    pub const MAX_CONTACTS: usize = 4;
    /// Codes that wait at most. Strangers may keep these places taken for as long as a code is good: whoever else comes
    /// from a new place waits that long, but a familiar place takes one of theirs.
    pub const MAX_PENDING: usize = 4;
    /// Sendings kept at most: the highest `per_hour`, of each way, for familiar places and others.
    pub const MAX_SENDINGS: usize = 4 * 8;
    const HOUR: Span = Span::from_minutes(60);

    /// The last code that was sent to a login, dead or not.
    #[must_use]
    pub fn of(&self, binding: Binding) -> Option<&Challenge> {
        self.pending
            .iter()
            .find(|challenge| challenge.binding == binding)
    }

    /// Makes a code for a login; one that it was sent before is dead. To be saved before it is sent.
    ///
    /// # Errors
    /// A sentence where there is no entropy.
    pub fn begin(
        &mut self,
        (contact, channel): (DeviceId, Channel),
        (binding, is_familiar): (Binding, bool),
        (digits, pace): (Digits, Pace),
        now: Time,
        entropy: &(impl Entropy + ?Sized),
    ) -> Result<Result<Code, Unsent>, String> {
        self.forget_old(pace.resend_after, now);
        if let Some(next) = self.next_at(binding, channel, is_familiar, pace, now) {
            return Ok(Err(next));
        }
        let code = Code::random(digits, entropy)?;
        let salt = entropy.random(8)?;
        let salt = salt.first_chunk().copied().ok_or("no entropy")?;
        let hash = hash(&salt, &code).ok_or("no hash")?;
        self.pending
            .retain(|challenge| challenge.binding != binding);
        if self.pending.len() >= Self::MAX_PENDING {
            // There is one, or `next_at` would have said no.
            let oldest = self.pending.iter().position(|one| !one.is_familiar);
            oldest.map(|oldest| self.pending.remove(oldest));
        }
        self.pending.push(Challenge {
            contact,
            binding,
            salt,
            hash,
            sent: now,
            lasts: pace.lifetime,
            wrong: 0,
            is_familiar,
        });
        self.sendings.push(Sending {
            channel,
            is_familiar,
            at: now,
        });
        Ok(Ok(code))
    }

    /// Why none can be sent now, where none can.
    fn next_at(
        &self,
        binding: Binding,
        channel: Channel,
        is_familiar: bool,
        pace: Pace,
        now: Time,
    ) -> Option<Unsent> {
        let of_login = self.of(binding);
        if let Some(challenge) = of_login {
            let next = challenge.sent.after(pace.resend_after);
            if now < next {
                return Some(Unsent::JustSent { next });
            }
        }
        let mut counted = self
            .sendings
            .iter()
            .filter(|sending| sending.channel == channel && sending.is_familiar == is_familiar)
            .rev();
        // The one that has to be an hour old before there is room.
        let last = usize::from(pace.per_hour).checked_sub(1);
        if let Some(sending) = last.and_then(|last| counted.nth(last)) {
            let next = sending.at.after(Self::HOUR);
            return Some(Unsent::TooMany { next });
        }
        let has_room = self.pending.len() < Self::MAX_PENDING
            || is_familiar && self.pending.iter().any(|one| !one.is_familiar);
        if of_login.is_none() && !has_room {
            let places = self.pending.iter();
            let next = places
                .map(|challenge| challenge.leaves(pace.resend_after))
                .min();
            return next.map(|next| Unsent::TooMany { next });
        }
        None
    }

    /// The contact whose code this is, which is used up. All are compared, in constant time.
    pub fn take(&mut self, binding: Binding, code: &Code, now: Time) -> Option<DeviceId> {
        let mut found = None;
        for (index, challenge) in self.pending.iter().enumerate() {
            let fits = challenge.is(code);
            let counts = challenge.binding == binding
                && challenge.is_live(now)
                && self.contacts.contains(&challenge.contact);
            if fits && counts {
                found = Some(index);
            }
        }
        found.map(|index| self.pending.remove(index).contact)
    }

    /// Counts a wrong answer of a login against the code that it was sent.
    pub fn miss(&mut self, binding: Binding) {
        let mut pending = self.pending.iter_mut();
        if let Some(challenge) = pending.find(|challenge| challenge.binding == binding) {
            challenge.wrong = challenge.wrong.saturating_add(1).min(Challenge::MOST_WRONG);
        }
    }

    /// Drops what no longer counts.
    fn forget_old(&mut self, resend_after: Span, now: Time) {
        self.pending
            .retain(|challenge| now < challenge.leaves(resend_after));
        self.sendings
            .retain(|sending| now.since(sending.at) < Self::HOUR);
    }

    /// Forgets contacts but these, and their codes.
    pub fn forget_others(&mut self, contacts: impl Fn(DeviceId) -> bool) {
        self.contacts.retain(|id| contacts(*id));
        self.pending.retain(|challenge| contacts(challenge.contact));
    }

    /// The clock went back: codes from the future are dead, and what was sent counts from now.
    pub fn forget_future(&mut self, now: Time) {
        self.pending.retain(|challenge| challenge.sent <= now);
        for sending in &mut self.sendings {
            sending.at = sending.at.min(now);
        }
    }
}

fn hash(salt: &[u8], code: &Code) -> Option<[u8; 16]> {
    // HMAC takes keys of any length, so there always is one.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(salt).ok()?;
    mac.update(code.as_bytes());
    let hash: [u8; 32] = mac.finalize().into_bytes().into();
    hash.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use zeroize::Zeroizing;

    use super::*;
    use crate::address::Address;

    const PACE: Pace = Pace {
        lifetime: Span::from_seconds(60),
        resend_after: Span::from_seconds(30),
        per_hour: 5,
    };
    const MAIL: (DeviceId, Channel) = (DeviceId(1), Channel::Mail);

    struct Counting(Cell<u8>);

    impl Entropy for Counting {
        fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
            self.0.set(self.0.get().wrapping_add(41));
            Ok(vec![self.0.get(); length].into())
        }
    }

    struct Sender {
        challenges: Challenges,
        entropy: Counting,
    }

    impl Sender {
        fn new() -> Self {
            Self {
                challenges: Challenges {
                    contacts: vec![DeviceId(1), DeviceId(2)],
                    ..Challenges::default()
                },
                entropy: Counting(Cell::new(0)),
            }
        }

        fn send(&mut self, service: &str, is_familiar: bool, at: i64) -> Result<Code, Unsent> {
            let digits = Digits::default();
            let place = (login(service), is_familiar);
            let begun = self
                .challenges
                .begin(MAIL, place, (digits, PACE), time(at), &self.entropy);
            begun.unwrap()
        }

        fn takes(&mut self, service: &str, code: &Code, at: i64) -> bool {
            self.challenges.take(login(service), code, time(at)) == Some(DeviceId(1))
        }
    }

    fn login(service: &str) -> Binding {
        Binding::of(service, &Address::Local)
    }

    fn time(second: i64) -> Time {
        Time::from_unix(1_800_000_000 + second)
    }

    #[test]
    fn a_code_is_good_once_where_it_was_sent_while_it_lasts() {
        for (service, at, good) in [
            ("sshd", 0, true),
            ("sshd", 59, true),
            ("sshd", 60, false),
            ("sshd", -1, false),
            ("sudo", 0, false),
        ] {
            let mut sender = Sender::new();
            let code = sender.send("sshd", true, 0).unwrap();
            assert_eq!(sender.takes(service, &code, at), good, "{service} {at}");
            assert!(!sender.takes(service, &code, at));
        }
    }

    #[test]
    fn the_next_one_kills_it_and_so_do_three_wrong_answers() {
        let mut sender = Sender::new();
        let first = sender.send("sshd", true, 0).unwrap();
        let next = Unsent::JustSent { next: time(30) };
        assert_eq!(sender.send("sshd", true, 29).err(), Some(next));
        let second = sender.send("sshd", true, 30).unwrap();
        assert!(!sender.takes("sshd", &first, 30));
        for _ in 0..2 {
            sender.challenges.miss(login("sshd"));
        }
        sender.challenges.miss(login("sudo"));
        assert!(sender.clone_takes("sshd", &second, 31));
        sender.challenges.miss(login("sshd"));
        assert!(!sender.takes("sshd", &second, 31));
        let next = Unsent::JustSent { next: time(60) };
        assert_eq!(sender.send("sshd", true, 59).err(), Some(next));
    }

    #[test]
    fn a_contact_that_the_state_does_not_know_has_no_codes() {
        let mut sender = Sender::new();
        let code = sender.send("sshd", true, 0).unwrap();
        sender.challenges.contacts.clear();
        assert!(!sender.takes("sshd", &code, 0));
    }

    #[test]
    fn strangers_have_an_hour_of_their_own() {
        let mut sender = Sender::new();
        for minute in 0..5 {
            assert!(sender.send("sshd", false, minute * 60).is_ok());
        }
        let next = Unsent::TooMany { next: time(3600) };
        assert_eq!(sender.send("sshd", false, 300).err(), Some(next));
        assert_eq!(sender.send("sshd", false, 3599).err(), Some(next));
        assert!(sender.send("sudo", true, 3599).is_ok());
        assert!(sender.send("sshd", false, 3600).is_ok());
        assert!(sender.send("sshd", false, 3630).is_err());
    }

    #[test]
    fn as_many_wait_as_there_is_room_for() {
        let mut sender = Sender::new();
        for service in ["a", "b", "c", "d"] {
            assert!(sender.send(service, false, 0).is_ok());
        }
        let next = Unsent::TooMany { next: time(60) };
        assert_eq!(sender.send("e", false, 29).err(), Some(next));
        for _ in 0..3 {
            sender.challenges.miss(login("a"));
        }
        let next = Unsent::TooMany { next: time(30) };
        assert_eq!(sender.send("e", false, 29).err(), Some(next), "a dead one");
        assert!(sender.send("e", false, 30).is_ok());
    }

    #[test]
    fn strangers_take_no_place_from_a_familiar_one() {
        let mut sender = Sender::new();
        let first = sender.send("a", false, 0).unwrap();
        let of_strangers = ["b", "c", "d"].map(|service| sender.send(service, false, 1).unwrap());
        let owners = sender.send("e", true, 2).unwrap();
        assert_eq!(
            sender.challenges.pending.len(),
            Challenges::MAX_PENDING,
            "as many as the record holds"
        );
        assert!(!sender.takes("a", &first, 2), "the oldest gave way");
        assert!(sender.takes("b", &of_strangers[0], 2));
        assert!(sender.takes("e", &owners, 2));
        for service in ["f", "g", "h", "i"] {
            assert!(sender.send(service, true, 3).is_ok(), "{service}");
        }
        let next = Unsent::TooMany { next: time(63) };
        let other = Challenges {
            sendings: Vec::new(),
            ..sender.challenges.clone()
        };
        sender.challenges = other;
        assert_eq!(sender.send("j", true, 3).err(), Some(next));
    }

    #[test]
    fn a_clock_that_goes_back_kills_codes_and_frees_no_sending() {
        let mut sender = Sender::new();
        let code = sender.send("sshd", true, 10).unwrap();
        sender.challenges.forget_future(time(0));
        assert!(!sender.takes("sshd", &code, 10));
        assert_eq!(sender.challenges.sendings[0].at, time(0));
    }

    impl Sender {
        fn clone_takes(&self, service: &str, code: &Code, at: i64) -> bool {
            let mut challenges = self.challenges.clone();
            challenges.take(login(service), code, time(at)).is_some()
        }
    }
}
