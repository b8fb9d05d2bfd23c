//! A person with phones, tokens and addresses, a server whose clock jumps, and whoever else tries to get in. Everything
//! that happens happens to `judge` and to the rules alike.

mod book;
mod judged;
mod typing;

use std::collections::{BTreeMap, HashMap, HashSet};

use totp_core::address::Address;
use totp_core::backup_code::{BackupCode, BackupKey, BackupSet, ScratchCode, SetId, UsedCodes};
use totp_core::challenge::{Binding, Pace};
use totp_core::config::{MaxDrift, ResyncRange, Verify, Window};
use totp_core::contact::{Channel, Contact, Recipient};
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::otp::{Code, Digits};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::repair;
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::{AddressDeny, Daily, Deny, Limits, Pool, Source, UserLimit};
use totp_core::time::{Span, Time};

pub use self::book::Book;
use crate::dice::Dice;
use crate::rules::{self, Login, Person};
use crate::words::{Kind, Origin, Rules};

/// Where everything begins.
const NOON: i64 = 1_800_000_015;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// As many as a state holds one by one, whatever the limits: where more share a place is what
/// `limits.rs` tests.
const PLACES: [&str; 8] = [
    "192.0.2.1",
    "198.51.100.7",
    "2001:db8::1",
    "uid:1000",
    "tty:tty1",
    "local",
    "unreadable",
    "10.0.0.1",
];
const EXEMPT: usize = 7;
const SERVICES: [&str; 2] = ["sshd", "sudo"];

/// The devices of most people.
const MOST_DEVICES: usize = 4;
/// Between the ids of two devices, which are random elsewhere and have little in common.
const APART: u64 = 0x9E37_79B9_7F4A_7C15;

/// How often each outcome was seen.
pub type Outcomes = BTreeMap<&'static str, usize>;

pub struct World<'b> {
    seed: u64,
    dice: Dice,
    book: &'b mut Book,
    limits: Limits,
    verify: Verify,
    pace: Pace,
    enrollment: Enrollment,
    state: State,
    rules: Person,
    /// What a backup has of both.
    backup: Option<(State, Person)>,
    places: Vec<(Source, Origin)>,
    /// The numbers of the secrets of devices, and what their owner's clocks are ahead of the true time, in seconds.
    keys: HashMap<u64, usize>,
    ahead: HashMap<u64, i64>,
    /// The count of each token's last code.
    pressed: HashMap<usize, i64>,
    /// The true time, and what the server's clock is ahead of it.
    time: i64,
    jump: i64,
    last_key: usize,
    last_id: u64,
    backup_codes: Vec<String>,
    backup_key: BackupKey,
    /// What was sent.
    letters: Vec<Letter>,
    /// What was typed, for whoever looked on.
    overheard: Vec<String>,
    /// Where the owner is: a service and a place.
    home: Login,
    next: Option<Next>,
    /// Keys and steps that were accepted.
    accepted: HashSet<(usize, i64)>,
    history: Vec<String>,
}

/// A code that was sent, and the login that it was sent for.
#[derive(Clone)]
struct Letter {
    channel: Channel,
    code: String,
    login: Login,
}

/// What the owner is about to do.
#[derive(Clone, Copy)]
enum Next {
    /// To type the code of a device at a step, as the second of two.
    Code(u64, i64),
    /// To type what was just sent.
    Letter,
    /// To have a second one sent.
    AnotherLetter,
}

fn span(seconds: i64) -> Span {
    Span::from_seconds(u32::try_from(seconds).unwrap())
}

fn ssh_key() -> Fingerprint {
    Fingerprint::parse(&format!("SHA256:{}", "A".repeat(43))).unwrap()
}

impl<'b> World<'b> {
    pub fn new(seed: u64, book: &'b mut Book) -> Self {
        let mut dice = Dice(seed);
        let rules = Rules {
            window: dice.pick(&[0, 1, 1, 1, 3]),
            max_drift: dice.pick(&[0, 1, 3, 10]),
            resync_range: dice.pick(&[0, 3, 5, 10, 20]),
            deny: dice.pick(&[0, 1, 2, 3, 3, 3, 5, 32]),
            interval: dice.pick(&[1, 60, 15 * 60, 15 * 60, DAY]),
            lock_time: dice.pick(&[1, 60, 10 * 60, 10 * 60, DAY]),
            daily: dice.pick(&[0, 1, 3, 8, 8, 8, 32]),
            user_limit: dice.pick(&[0, 2, 10, 100, 100]),
            familiar_for: dice.pick(&[0, 60, HOUR, 30 * DAY, 30 * DAY]),
            lifetime: dice.pick(&[10, 60, 60, 900]),
            resend_after: dice.pick(&[10, 30, 30, 90]),
            per_hour: dice.pick(&[1, 2, 5, 5, 8]),
        };
        let number = |number: usize| i64::try_from(number).unwrap();
        let limits = Limits {
            deny: Deny::new(number(rules.deny)).unwrap(),
            interval: span(rules.interval),
            lock_time: span(rules.lock_time),
            // Kept by address, outside of what is judged here.
            address_deny: AddressDeny::default(),
            daily: Daily::new(number(rules.daily)).unwrap(),
            user_limit: UserLimit::new(number(rules.user_limit)).unwrap(),
            familiar_for: span(rules.familiar_for),
        };
        let verify = Verify {
            window: Window::new(rules.window).unwrap(),
            max_drift: MaxDrift::new(rules.max_drift).unwrap(),
            resync_range: ResyncRange::new(rules.resync_range).unwrap(),
            ..Verify::default()
        };
        let pace = Pace {
            lifetime: span(rules.lifetime),
            resend_after: span(rules.resend_after),
            per_hour: u8::try_from(rules.per_hour).unwrap(),
        };
        let places = PLACES.iter().enumerate().map(|(place, name)| {
            let source = Source {
                is_exempt: place == EXEMPT,
                ..Address::named(name).unwrap().into()
            };
            let origin = Origin {
                place,
                is_console: name.starts_with("tty:"),
                is_one: !["local", "unreadable"].contains(name),
                is_exempt: place == EXEMPT,
            };
            (source, origin)
        });
        book.turn_over();
        let mut world = Self {
            seed,
            book,
            limits,
            verify,
            pace,
            enrollment: Enrollment::new(1000),
            state: State::new(Time::from_unix(NOON)),
            rules: Person::new(rules),
            backup: None,
            places: places.collect(),
            keys: HashMap::new(),
            ahead: HashMap::new(),
            pressed: HashMap::new(),
            time: NOON,
            jump: 0,
            last_key: dice.below(5),
            last_id: 0,
            backup_codes: Vec::new(),
            backup_key: BackupKey::new(&[0x5a; BackupKey::RANDOM_BYTES]).unwrap(),
            letters: Vec::new(),
            overheard: Vec::new(),
            home: (0, 0),
            next: None,
            accepted: HashSet::new(),
            history: vec![format!("{rules:?}")],
            dice,
        };
        match world.dice.one_in(6) {
            true => world.add_contact(),
            false => world.enroll(),
        }
        world.give_backup_codes();
        if world.dice.one_in(8) {
            // Somebody has been at it for long.
            world.rules.count.strange_marks = 998;
            world.state.tally.pools.push(Pool {
                address: Address::Elsewhere,
                daily: Vec::new(),
                total: 0,
                marks: 998,
            });
        }
        world
    }

    /// Something happens; what it came to is counted in `outcomes`.
    pub fn step(&mut self, outcomes: &mut Outcomes) {
        match self.dice.below(100) {
            0..22 => self.wait(),
            22..25 => self.set_clock(),
            25..28 => self.set_phone(),
            28..30 => self.home = self.somewhere(),
            30..33 => self.change_devices(),
            33 | 34 => self.root_helps(outcomes),
            35..39 => {
                let channel = self.dice.pick(&Channel::ALL);
                for _ in 0..self.dice.pick(&[1, 1, 6]) {
                    let login = self.somewhere();
                    self.send(channel, login, outcomes);
                }
            }
            _ => {
                if let Some(Next::AnotherLetter) = self.next {
                    let Letter { channel, login, .. } = self.letters[self.letters.len() - 1];
                    self.time += self.rules.rules.resend_after;
                    self.send(channel, login, outcomes);
                }
                let answer = self.somebody_types();
                self.answer(&answer, outcomes);
            }
        }
    }

    fn now(&self) -> i64 {
        self.time + self.jump
    }

    fn note(&mut self, what: String) {
        let now = self.now();
        self.history.push(format!("{now}: {what}"));
    }

    fn wait(&mut self) {
        let longest = self
            .dice
            .pick(&[5, 30, 60, 60, 300, 900, HOUR, 2 * HOUR, DAY, 40 * DAY]);
        self.time += self.dice.between(0, longest);
    }

    /// Mostly a clock that was wrong is set right.
    fn set_clock(&mut self) {
        let jumps = [
            0,
            0,
            0,
            -10,
            10,
            -90,
            300,
            -HOUR,
            HOUR,
            -DAY,
            DAY,
            -20 * YEAR,
            20 * YEAR,
            -90 * YEAR,
        ];
        self.jump = self.dice.pick(&jumps);
        self.note("the clock was set".to_owned());
    }

    fn set_phone(&mut self) {
        let reach = self.dice.pick(&[30, 60, 120, 600, 3000]);
        let ahead = self.dice.between(-reach, reach);
        if let Some(id) = self.any_device() {
            self.ahead.insert(id, ahead);
            self.note(format!("phone {id} is {ahead} s ahead"));
        }
    }

    fn change_devices(&mut self) {
        match self.dice.below(10) {
            0..3 if self.enrollment.devices.len() < MOST_DEVICES => self.enroll(),
            3..5 if self.enrollment.devices.len() > 1 => self.remove_device(),
            5 => self.bind_or_unbind(),
            6 => self.give_backup_codes(),
            7 | 8 if self.enrollment.contacts.len() < Channel::ALL.len() => self.add_contact(),
            9 => self.remove_contact(),
            _ => {}
        }
        // Whoever changes something writes the secret file, and the next login reads it.
        let file = self.enrollment.to_toml();
        let read = Enrollment::parse(&file).expect("a secret file");
        self.expect(&*read.to_toml(), &*file, "what a login reads");
        self.enrollment = read;
    }

    /// A new device, now and then of a secret that another one has, or one that the state doesn't know.
    fn enroll(&mut self) {
        let twin = self.enrollment.devices.first().map(|twin| twin.id.0);
        let twin = twin.filter(|_| self.dice.one_in(4));
        let key = twin.map_or(self.last_key + 1, |twin| self.keys[&twin]);
        self.last_key = self.last_key.max(key);
        self.last_id = self.last_id.wrapping_add(APART);
        let id = self.last_id;
        let device = Device {
            id: DeviceId(id),
            name: DeviceName::parse(&format!("device{id}")).unwrap(),
            otp: totp_core::otp::Otp {
                digits: Digits::new(self.dice.pick(&[6, 6, 6, 7, 8])).unwrap(),
                ..book::otp(key)
            },
            secret: book::secret(key),
            enrolled: Time::from_unix(NOON),
            ssh_key: None,
            window: Window::new(self.dice.between(0, 2)).filter(|_| self.dice.one_in(8)),
        };
        self.keys.insert(id, key);
        self.ahead.insert(id, 0);
        let is_known = !self.dice.one_in(12);
        if is_known {
            let known = DeviceState::of(&device, None);
            self.state.admit(&self.enrollment, &device, known);
            self.rules.admit(self.as_rules(&device));
        }
        self.enrollment.devices.push(device);
        self.note(format!("device {id} with key {key}, known: {is_known}"));
    }

    /// The same device to the rules.
    fn as_rules(&self, device: &Device) -> rules::Device {
        let kind = match device.otp.period() {
            Some(period) => Kind::Phone {
                period: i64::from(period.get()),
            },
            None => Kind::Token,
        };
        rules::Device {
            window: device.window.map(|window| i64::from(window.get())),
            is_bound: device.ssh_key.is_some(),
            ..rules::Device::new(device.id.0, self.keys[&device.id.0], kind)
        }
    }

    /// What it used stays used for its twins.
    fn remove_device(&mut self) {
        self.state.share_floors(&self.enrollment);
        self.rules.share();
        let index = self.dice.below(self.enrollment.devices.len());
        let id = self.enrollment.devices.remove(index).id;
        self.state.devices.retain(|known| known.id != id);
        self.rules.devices.retain(|known| known.id != id.0);
        self.note(format!("device {} is gone", id.0));
    }

    fn bind_or_unbind(&mut self) {
        let Some(id) = self.any_device() else { return };
        let known = self.rules.devices.iter_mut().find(|known| known.id == id);
        // One that the state doesn't know binds its twins all the same; the rules don't know it.
        let Some(known) = known else { return };
        known.is_bound = !known.is_bound;
        let mut devices = self.enrollment.devices.iter_mut();
        let device = devices.find(|device| device.id.0 == id).unwrap();
        device.ssh_key = known.is_bound.then(ssh_key);
        self.note(format!("device {id} is bound or not"));
    }

    /// Where codes are sent to, now and then unknown to the state.
    fn add_contact(&mut self) {
        let has = |channel| self.enrollment.contact(channel).is_some();
        let Some(channel) = Channel::ALL.into_iter().find(|channel| !has(*channel)) else {
            return;
        };
        let address = match channel {
            Channel::Mail => "alice@example.org",
            Channel::Text => "+491711234567",
        };
        self.last_id = self.last_id.wrapping_add(APART);
        let id = self.last_id;
        self.enrollment.contacts.push(Contact {
            id: DeviceId(id),
            name: DeviceName::parse(&format!("contact{id}")).unwrap(),
            recipient: Recipient::new(channel, address).unwrap(),
            enrolled: Time::from_unix(NOON),
        });
        let is_known = !self.dice.one_in(12);
        if is_known {
            self.state.challenges.contacts.push(DeviceId(id));
            self.rules.sent.contacts.push(id);
        }
        self.note(format!("contact {id} {channel:?}, known: {is_known}"));
    }

    fn remove_contact(&mut self) {
        let contacts = &mut self.enrollment.contacts;
        if contacts.is_empty() {
            return;
        }
        let id = contacts.remove(self.dice.below(contacts.len())).id;
        self.state.challenges.forget_others(|other| other != id);
        self.rules.sent.remove(id.0);
        self.note(format!("contact {} is gone", id.0));
    }

    /// A new set, now and then of eight digits as others make them.
    fn give_backup_codes(&mut self) {
        self.last_id = self.last_id.wrapping_add(APART);
        let id = SetId(self.last_id);
        let count = self.dice.between(1, 16);
        let set = match self.dice.one_in(4) {
            true => {
                let digits = |_| format!("{:08}", self.dice.below(100_000_000));
                self.backup_codes = (0..count).map(digits).collect();
                let code = |text: &String| ScratchCode::of(&Code::from_digits(text.as_bytes())?);
                let codes: Vec<_> = self.backup_codes.iter().filter_map(code).collect();
                BackupSet::of(id, [7; 16], &codes)
            }
            false => {
                let code = |number: i64| {
                    let byte = u8::try_from(number).unwrap() ^ id.0.to_le_bytes()[0];
                    BackupCode::new(&[byte; BackupCode::RANDOM_BYTES])
                };
                let codes: Vec<_> = (1..=count).filter_map(code).collect();
                self.backup_codes = codes.iter().map(|code| code.shown().to_string()).collect();
                BackupSet::of(id, [7; 16], &codes)
            }
        };
        let key = BackupSet::of(SetId(0), [8; 16], std::slice::from_ref(&self.backup_key));
        let used = |id| UsedCodes { id, used: 0 };
        self.state.sets = vec![used(set.id), used(key.id)];
        self.enrollment.backup_codes = Some(set);
        self.enrollment.backup_key = Some(key);
        let key = self.backup_key.shown().to_string();
        self.rules
            .give_backup(self.backup_codes.iter().cloned(), key);
    }

    fn root_helps(&mut self, outcomes: &mut Outcomes) {
        match self.dice.below(12) {
            0..4 => {
                self.state.forgive();
                self.rules.unlock();
                self.note("unlock".to_owned());
            }
            4..6 => self.backup = Some((self.state.clone(), self.rules.clone())),
            6..8 => self.repair(outcomes),
            _ => self.resync(outcomes),
        }
    }

    /// A state is repaired that is whole, lost, or an old one out of a backup.
    fn repair(&mut self, outcomes: &mut Outcomes) {
        let now = self.now();
        let kind = self.dice.pick(&["whole", "lost", "old"]);
        match (kind, &self.backup) {
            ("lost", _) => self.state = State::new(Time::from_unix(now)),
            ("old", Some((state, rules))) => {
                (self.state, self.rules) = (state.clone(), rules.clone());
            }
            _ => {}
        }
        if kind != "whole" {
            // What was used since, or ever, is not known any more.
            self.accepted.clear();
        }
        let state = self.state.clone();
        let at = Time::from_unix(now);
        self.state = repair::repair(&self.enrollment, state, &self.verify, at);
        let devices = self.enrollment.devices.iter();
        let devices = devices.map(|device| self.as_rules(device)).collect();
        let contacts = self.enrollment.contacts.iter().map(|contact| contact.id.0);
        let contacts = contacts.collect();
        self.rules.repair(kind == "lost", devices, contacts, now);
        self.restart();
        self.note(format!("repair of a state that is {kind}"));
        self.expect_the_same_memory();
        *outcomes.entry("repair").or_default() += 1;
    }

    /// The step that a phone is at; `None` of a token.
    fn step_at(&self, id: u64, time: i64) -> Option<i64> {
        let period = book::otp(self.keys[&id]).period()?;
        Some(time.max(0) / i64::from(period.get()))
    }

    /// The count that the server expects of a token.
    fn counts_to(&self, id: u64) -> i64 {
        let known = self.rules.devices.iter().find(|known| known.id == id);
        known
            .and_then(|known| known.floor)
            .map_or(0, |floor| floor + 1)
    }

    /// The code of a device at a step; another one where the device is gone.
    fn shown(&mut self, id: u64, step: i64) -> String {
        let device = self.enrollment.devices.iter().find(|one| one.id.0 == id);
        let key = self.keys[&id];
        device
            .map_or("000000", |device| self.book.code(device, key, step))
            .to_owned()
    }

    fn binding(&self, (service, place): Login) -> Binding {
        Binding::of(SERVICES[service], &self.places[place].0.address)
    }
}
