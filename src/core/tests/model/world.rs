//! A person with phones, a server whose clock jumps, and whoever else tries to get in. Everything that happens happens
//! to `judge` and to the rules alike.

use std::collections::{BTreeMap, HashMap, HashSet};

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::backup_code::{BackupCode, BackupKey, BackupSet, SetId, UsedCodes};
use totp_core::challenge::Binding;
use totp_core::config::{MaxDrift, ResyncRange, Verify, Window};
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::judge::{Attempt, Verdict, WrongReason, judge};
use totp_core::otp::{Algorithm, Digits, MovingFactor, Otp, Period, Step};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::secret::Secret;
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::{
    AddressDeny, Codes, Daily, Deny, Limits, Pool, Source, Standing, Tally, UserLimit,
};
use totp_core::time::{Span, Time};

use crate::dice::Dice;
use crate::rules::{self, Origin, Outcome, Person, Rules, Typed, Why};

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

/// The devices of most people.
const MOST_DEVICES: usize = 4;

pub struct World {
    seed: u64,
    dice: Dice,
    limits: Limits,
    verify: Verify,
    enrollment: Enrollment,
    state: State,
    rules: Person,
    places: Vec<(Source, Origin)>,
    /// What the owner's phones are ahead of the true time, in seconds.
    ahead: HashMap<u64, i64>,
    /// The true time, and what the server's clock is ahead of it.
    time: i64,
    jump: i64,
    keys: usize,
    ids: u64,
    backup_codes: Vec<BackupCode>,
    backup_key: BackupKey,
    /// Codes of the present devices, by id and step.
    codes: HashMap<(u64, i64), String>,
    /// What was typed, for whoever looked on.
    overheard: Vec<String>,
    /// Where the owner is, and the code to come where the last one was a first.
    home: usize,
    next_code: Option<(u64, i64)>,
    /// Keys and steps that were accepted.
    accepted: HashSet<(usize, i64)>,
    history: Vec<String>,
}

fn span(seconds: i64) -> Span {
    Span::from_seconds(u32::try_from(seconds).unwrap())
}

fn ssh_key() -> Fingerprint {
    Fingerprint::parse(&format!("SHA256:{}", "A".repeat(43))).unwrap()
}

/// Twins have a number in common; algorithm and period go with it.
fn otp(key: usize) -> Otp {
    Otp {
        algorithm: [
            Algorithm::Sha1,
            Algorithm::Sha256,
            Algorithm::Sha1,
            Algorithm::Sha512,
        ][key % 4],
        digits: Digits::default(),
        factor: MovingFactor::Time(Period::new([30, 30, 60, 15][key % 4]).unwrap()),
    }
}

fn period(otp: &Otp) -> i64 {
    i64::from(otp.period().unwrap().get())
}

impl World {
    pub fn new(seed: u64) -> Self {
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
        let mut world = Self {
            seed,
            limits,
            verify,
            enrollment: Enrollment::new(1000),
            state: State::new(Time::from_unix(NOON)),
            rules: Person::new(rules),
            places: places.collect(),
            ahead: HashMap::new(),
            time: NOON,
            jump: 0,
            keys: 0,
            ids: 0,
            backup_codes: Vec::new(),
            backup_key: BackupKey::new(&[0x5a; BackupKey::RANDOM_BYTES]).unwrap(),
            codes: HashMap::new(),
            overheard: Vec::new(),
            home: 0,
            next_code: None,
            accepted: HashSet::new(),
            history: vec![format!("{rules:?}")],
            dice,
        };
        world.enroll();
        world.make_backup_codes();
        if world.dice.one_in(8) {
            // Somebody has been at it for long.
            world.rules.strange_marks = 998;
            world.state.tally.pools.push(Pool {
                address: Address::Elsewhere,
                daily: Vec::new(),
                total: 0,
                marks: 998,
            });
        }
        world
    }

    /// Something happens; what an answer came to is counted in `outcomes`.
    pub fn step(&mut self, outcomes: &mut BTreeMap<&'static str, usize>) {
        match self.dice.below(100) {
            0..25 => self.wait(),
            25..28 => self.set_clock(),
            28..31 => self.set_phone(),
            31..33 => self.home = self.dice.below(PLACES.len()),
            33..35 => self.change_devices(),
            35 => self.unlock(),
            _ => {
                let (typed, text) = self.somebody_types();
                let is_owner = self.dice.one_in(2);
                let place = match is_owner {
                    true => self.home,
                    false => self.dice.below(PLACES.len()),
                };
                self.answer(typed, &text, place, outcomes);
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
        let ids: Vec<u64> = self.ahead.keys().copied().collect();
        let id = ids
            .iter()
            .copied()
            .min()
            .map(|first| first + self.dice.below(ids.len()) as u64);
        let reach = self.dice.pick(&[30, 60, 120, 600, 3000]);
        let ahead = self.dice.between(-reach, reach);
        if let Some(known) = id.and_then(|id| self.ahead.get_mut(&id)) {
            *known = ahead;
            self.note(format!("phone {id:?} is {ahead} s ahead"));
        }
    }

    fn unlock(&mut self) {
        self.state.tally.forgive();
        self.rules.unlock();
        self.note("unlock".to_owned());
    }

    fn change_devices(&mut self) {
        match self.dice.below(8) {
            0..3 if self.enrollment.devices.len() < MOST_DEVICES => self.enroll(),
            3..5 if self.enrollment.devices.len() > 1 => self.remove_device(),
            5 => self.bind_or_unbind(),
            6 => self.make_backup_codes(),
            _ => {}
        }
    }

    /// A new device, now and then of a secret that another one has, or one that the state doesn't know.
    fn enroll(&mut self) {
        let twin = self
            .dice
            .one_in(4)
            .then(|| self.rules.devices.first().map(|twin| twin.key));
        let key = twin.flatten().unwrap_or_else(|| {
            self.keys += 1;
            self.keys
        });
        self.ids += 1;
        let id = self.ids;
        self.enrollment.devices.push(Device {
            id: DeviceId(id),
            name: DeviceName::parse(&format!("phone{id}")).unwrap(),
            otp: otp(key),
            secret: Secret::from_bytes(vec![u8::try_from(key % 256).unwrap(); 20].into()).unwrap(),
            enrolled: Time::from_unix(NOON),
            ssh_key: None,
            window: None,
        });
        self.ahead.insert(id, 0);
        let is_known = !self.dice.one_in(12);
        if is_known {
            self.state
                .devices
                .push(DeviceState::new(DeviceId(id), None));
            let period = period(&otp(key));
            self.rules.devices.push(rules::Device::new(id, key, period));
        }
        self.note(format!("device {id} with key {key}, known: {is_known}"));
    }

    /// What it used stays used for its twins.
    fn remove_device(&mut self) {
        self.state.share_floors(&self.enrollment);
        self.rules.share_floors();
        let index = self.dice.below(self.enrollment.devices.len());
        let id = self.enrollment.devices.remove(index).id;
        self.state.devices.retain(|known| known.id != id);
        self.rules.devices.retain(|known| known.id != id.0);
        self.ahead.remove(&id.0);
        self.note(format!("device {} is gone", id.0));
    }

    fn bind_or_unbind(&mut self) {
        let index = self.dice.below(self.enrollment.devices.len());
        let device = &mut self.enrollment.devices[index];
        let known = self
            .rules
            .devices
            .iter_mut()
            .find(|known| known.id == device.id.0);
        // One that the state doesn't know binds its twins all the same; the rules don't know it.
        let Some(known) = known else { return };
        known.is_bound = !known.is_bound;
        device.ssh_key = known.is_bound.then(ssh_key);
        self.note(format!("device at {index} is bound or not"));
    }

    fn make_backup_codes(&mut self) {
        self.ids += 1;
        let count = self.dice.between(1, 16);
        let code = |number: i64| {
            let byte = u8::try_from(number).unwrap();
            BackupCode::new(
                &[byte ^ u8::try_from(self.ids % 256).unwrap(); BackupCode::RANDOM_BYTES],
            )
        };
        self.backup_codes = (1..=count).filter_map(code).collect();
        let set = BackupSet::of(SetId(self.ids), [7; 16], &self.backup_codes);
        let key = BackupSet::of(SetId(0), [8; 16], std::slice::from_ref(&self.backup_key));
        let used = |id| UsedCodes { id, used: 0 };
        self.state.sets = vec![used(set.id), used(key.id)];
        self.enrollment.backup_codes = Some(set);
        self.enrollment.backup_key = Some(key);
        self.rules.used_codes = vec![false; self.backup_codes.len()];
    }

    /// An answer, and what it can be judged as.
    fn somebody_types(&mut self) -> (Typed, String) {
        if let Some((id, step)) = self.next_code.take() {
            if !self.dice.one_in(4) {
                return (Typed::Digits, self.code(id, step));
            }
        }
        match self.dice.below(100) {
            0..45 => {
                let Some(id) = self.any_device() else {
                    return (Typed::Nothing, String::new());
                };
                let step = self.step_of(id, self.time + self.ahead[&id]);
                self.next_code = Some((id, step + 1));
                (Typed::Digits, self.code(id, step))
            }
            45..55 => {
                let Some(id) = self.any_device() else {
                    return (Typed::Nothing, String::new());
                };
                let step = self.step_of(id, self.now()) + self.dice.between(-25, 25);
                (Typed::Digits, self.code(id, step.max(0)))
            }
            55..67 if !self.overheard.is_empty() => {
                let last = &self.overheard[self.overheard.len().saturating_sub(8)..];
                let text = last[self.dice.below(last.len())].clone();
                (Typed::Digits, text)
            }
            55..80 => (Typed::Digits, format!("{:06}", self.dice.below(1_000_000))),
            80..85 => (
                Typed::Nothing,
                self.dice.pick(&["", " ", "--", "\t- "]).to_owned(),
            ),
            85..90 => {
                let texts = [
                    "password",
                    "12345",
                    "123456789",
                    "１２３４５６",
                    "12345a",
                    "\0\0\0\0\0\0",
                ];
                (Typed::Rubbish, self.dice.pick(&texts).to_owned())
            }
            90..95 => {
                let code = self.dice.below(self.backup_codes.len());
                (
                    Typed::Backup(Some(code)),
                    self.backup_codes[code].shown().to_string(),
                )
            }
            95..98 => (Typed::Backup(None), "AAAA-BBBB-CCCC-DDDD".to_owned()),
            98 => (Typed::Key(true), self.backup_key.shown().to_string()),
            _ => (Typed::Key(false), "AAAA-BBBB-CCCC-DDDD".repeat(2)),
        }
    }

    fn any_device(&mut self) -> Option<u64> {
        let devices = &self.enrollment.devices;
        let index = (!devices.is_empty()).then(|| self.dice.below(devices.len()))?;
        Some(devices[index].id.0)
    }

    fn device(&self, id: u64) -> Option<&Device> {
        self.enrollment
            .devices
            .iter()
            .find(|device| device.id.0 == id)
    }

    fn step_of(&self, id: u64, time: i64) -> i64 {
        let device = self.device(id).unwrap();
        time.max(0) / period(&device.otp)
    }

    /// The code of a device at a step; empty where the device is gone.
    fn code(&mut self, id: u64, step: i64) -> String {
        if let Some(code) = self.codes.get(&(id, step)) {
            return code.clone();
        }
        let Some(device) = self.device(id) else {
            return "000000".to_owned();
        };
        let step_of_time = Step(u64::try_from(step).unwrap());
        let code = device
            .otp
            .code(&device.secret, step_of_time)
            .to_digits()
            .to_string();
        self.codes.insert((id, step), code.clone());
        code
    }

    /// Has both judge an answer, and compares.
    fn answer(
        &mut self,
        typed: Typed,
        text: &str,
        place: usize,
        outcomes: &mut BTreeMap<&'static str, usize>,
    ) {
        let now = self.now();
        let (has_ssh_key, asks_two) = (self.dice.one_in(4), self.dice.one_in(16));
        self.note(format!(
            "{typed:?} {text:?} from {}, ssh key {has_ssh_key}, two asked for {asks_two}",
            PLACES[place]
        ));
        if typed == Typed::Digits {
            self.overheard.push(text.to_owned());
        }
        let (source, origin) = self.places[place].clone();
        let judged = self.judge(text, &source, has_ssh_key, asks_two, now);

        let mut rules = self.rules.clone();
        let mut makes = |id, step| self.code(id, step) == text;
        let expected = rules.answer((typed, &origin), has_ssh_key, asks_two, now, &mut makes);
        self.rules = rules;

        self.expect(&judged, &expected, "the outcome");
        let known = |known: &DeviceState| {
            (
                known.id.0,
                known.floor.map(|step| step.0),
                i64::from(known.drift),
            )
        };
        let found: Vec<_> = self.state.devices.iter().map(known).collect();
        let known = |known: &rules::Device| {
            let floor = known.floor.map(|step| u64::try_from(step).unwrap());
            (known.id, floor, known.drift)
        };
        let expected_devices: Vec<_> = self.rules.devices.iter().map(known).collect();
        self.expect(&found, &expected_devices, "floors and drifts");
        let is_familiar = self
            .state
            .tally
            .is_familiar(&source, &self.limits, Time::from_unix(now));
        self.expect(
            &is_familiar,
            &self.rules.is_familiar(&origin, now),
            "familiarity",
        );

        let pool = self.state.tally.pool(&Address::Elsewhere);
        let marks = pool.map_or(0, |pool| usize::from(pool.marks));
        self.expect(
            &marks,
            &self.rules.strange_marks,
            "marks of unfamiliar places",
        );

        if let Outcome::Accepted { devices, .. } = &expected {
            let of_answer = |device: &&rules::Device| devices.contains(&device.id);
            let burnt = self.rules.devices.iter().filter(of_answer);
            // Twins have used the same one.
            let burnt: HashSet<_> = burnt
                .map(|device| (device.key, device.floor.unwrap()))
                .collect();
            for one in burnt {
                let is_new = self.accepted.insert(one);
                self.expect(&is_new, &true, "accepted once");
            }
        }
        for outcome in names(&expected) {
            *outcomes.entry(outcome).or_default() += 1;
        }
    }

    /// What `judge` says, and a restart after it.
    fn judge(
        &mut self,
        text: &str,
        source: &Source,
        has_ssh_key: bool,
        asks_two: bool,
        now: i64,
    ) -> Outcome {
        let answer = Answer::new(text.as_bytes().to_vec().into());
        let attempt = Attempt {
            answer: &answer,
            source,
            binding: Binding(0),
            ssh_keys: if has_ssh_key { &[ssh_key()] } else { &[] },
            place: None,
            codes: if asks_two { Codes::Two } else { Codes::One },
            now: Time::from_unix(now),
        };
        let before = self.state.clone();
        let (verdict, state) = judge(
            &self.enrollment,
            before,
            &attempt,
            &self.verify,
            &self.limits,
        );
        let record = state.encode();
        self.expect(
            &(record.len() <= State::MAX_BYTES),
            &true,
            "a record that fits",
        );
        self.expect(
            &State::decode(&record),
            &Ok(state.clone()),
            "what a restart reads",
        );
        let is_crowd = |address: &Address| *address == address.crowd();
        let Tally { places, .. } = &state.tally;
        let crowds = places
            .iter()
            .filter(|place| is_crowd(&place.address))
            .count();
        self.expect(&crowds, &0, "places counted one by one");
        self.state = state;
        self.outcome(&verdict)
    }

    fn outcome(&self, verdict: &Verdict) -> Outcome {
        let id_of = |name: &DeviceName| {
            name.as_str()
                .strip_prefix("phone")
                .unwrap()
                .parse()
                .unwrap()
        };
        match verdict {
            Verdict::Accepted(accepted) => Outcome::Accepted {
                devices: accepted.devices().iter().map(id_of).collect(),
                first_at: accepted.first_at().map(Time::unix),
                backup_left: accepted.backup_left().map(usize::from),
            },
            Verdict::BackupKey { .. } => Outcome::BackupKey,
            Verdict::Invited(_) => panic!("nobody was invited"),
            Verdict::Empty => Outcome::Nothing,
            Verdict::Refused(refusal) => Outcome::Refused {
                until: refusal.until.unix(),
            },
            Verdict::Wrong(wrong) => Outcome::Wrong {
                why: match wrong.reason {
                    WrongReason::Bound => Why::Bound,
                    WrongReason::First => Why::First,
                    WrongReason::Malformed => Why::Malformed,
                    WrongReason::Mismatch => Why::Mismatch,
                    WrongReason::NoDevice => Why::NoDevice,
                    WrongReason::Replayed => Why::Replayed,
                    WrongReason::Password => panic!("no password is judged here"),
                },
                needs_two: wrong.codes == Codes::Two,
                then: match wrong.standing {
                    Standing::Open { left, codes } => rules::Standing::Open {
                        left: left.map(usize::from),
                        needs_two: codes == Codes::Two,
                    },
                    Standing::Refused(refusal) => rules::Standing::Refused {
                        until: refusal.until.unix(),
                    },
                },
                out_of_reach: wrong.out_of_reach.as_ref().map(|(name, _)| id_of(name)),
            },
        }
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&self, found: &T, expected: &T, what: &str) {
        if found != expected {
            let last = self.history.len().saturating_sub(60);
            panic!(
                "seed {}: {what}\n found    {found:?}\n expected {expected:?}\n{}\n{}\n{:#?}\n{:#?}",
                self.seed,
                self.history[0],
                self.history[last..].join("\n"),
                self.state,
                self.rules,
            );
        }
    }
}

/// What an outcome is counted under.
fn names(outcome: &Outcome) -> Vec<&'static str> {
    match outcome {
        Outcome::Accepted {
            backup_left: Some(_),
            ..
        } => vec!["backup code"],
        Outcome::Accepted {
            first_at: Some(_), ..
        } => vec!["second"],
        Outcome::Accepted { .. } => vec!["accepted"],
        Outcome::BackupKey => vec!["backup key"],
        Outcome::Nothing => vec!["nothing"],
        Outcome::Refused { .. } => vec!["refused"],
        Outcome::Wrong {
            why,
            needs_two,
            out_of_reach,
            ..
        } => {
            let why = match why {
                Why::Bound => "bound",
                Why::First => "first",
                Why::Malformed => "malformed",
                Why::Mismatch => "mismatch",
                Why::NoDevice => "of no device",
                Why::Replayed => "replayed",
            };
            let further = [
                (*needs_two, "two asked for"),
                (out_of_reach.is_some(), "out of reach"),
            ];
            let further = further
                .into_iter()
                .filter_map(|(is, name)| is.then_some(name));
            std::iter::once(why).chain(further).collect()
        }
    }
}
