//! What `judge` says, and what the rules say.

use std::cell::Cell;
use std::collections::HashSet;

use totp_core::address::Address;
use totp_core::challenge::Unsent;
use totp_core::contact::Channel;
use totp_core::device::DeviceName;
use totp_core::doors::Entropy;
use totp_core::judge::{Attempt, Verdict, WrongReason, judge};
use totp_core::record::State;
use totp_core::repair::{self, OutOfStep};
use totp_core::throttle::{Codes, Standing, Tally};
use totp_core::time::Time;
use zeroize::Zeroizing;

use super::typing::Answer;
use super::{Letter, Next, Outcomes, PLACES, SERVICES, World, ssh_key};
use crate::dice::Dice;
use crate::rules::{self, Login};
use crate::words::{self, Kind, Outcome, Resync, Typed, Why};

impl World<'_> {
    /// Has both judge an answer, and compares.
    pub fn answer(&mut self, answer: &Answer, outcomes: &mut Outcomes) {
        let Answer { typed, text, at } = answer;
        let now = self.now();
        let (has_ssh_key, asks_two) = (self.dice.one_in(4), self.dice.one_in(16));
        let (service, place) = *at;
        self.note(format!(
            "{typed:?} {text:?} to {} from {}, ssh key {has_ssh_key}, two asked for {asks_two}",
            SERVICES[service], PLACES[place]
        ));
        if *typed == Typed::Digits {
            self.overheard.push(text.clone());
        }
        let judged = self.judge(answer, has_ssh_key, asks_two, now);

        let (source, origin) = self.places[place].clone();
        let attempt = words::Attempt {
            typed: *typed,
            text,
            origin: &origin,
            service,
            has_ssh_key,
            asks_two,
            now,
        };
        let mut rules = self.rules.clone();
        let before = rules.clone();
        let expected = rules.answer(&attempt, &mut |id, step| self.shown(id, step) == *text);
        self.rules = rules;

        self.expect(&judged, &expected, "the outcome");
        self.expect_the_same_memory();
        let is_familiar = self
            .state
            .tally
            .is_familiar(&source, &self.limits, Time::from_unix(now));
        let familiar = self
            .rules
            .count
            .is_familiar(&origin, now, &self.rules.rules);
        self.expect(&is_familiar, &familiar, "familiarity");
        let waits = self.state.challenges.of(self.binding(*at));
        let waits = waits.is_some_and(|waits| waits.is_live(Time::from_unix(now)));
        let waiting = self.rules.sent.has_good(*at, now, &self.rules.rules);
        self.expect(&waits, &waiting, "a code that waits");

        if let Outcome::Accepted { of, .. } = &expected {
            let of_answer = |device: &&rules::Device| of.contains(&device.id);
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
        if let Outcome::Wrong {
            why: Why::First, ..
        } = expected
        {
            let letter = self.letters.last().filter(|letter| letter.code == *text);
            if letter.is_some() {
                self.next = Some(Next::AnotherLetter);
            }
        }
        for name in names(&expected, &before, *typed) {
            *outcomes.entry(name).or_default() += 1;
        }
    }

    /// Has both send a code, or not.
    pub fn send(&mut self, channel: Channel, login: Login, outcomes: &mut Outcomes) {
        let Some(contact) = self.enrollment.contact(channel) else {
            return;
        };
        let (contact, now) = (contact.id, self.now());
        let (source, origin) = self.places[login.1].clone();
        let at = Time::from_unix(now);

        let mut state = self.state.clone().as_of(at);
        let sent = match state.standing(&source, &self.limits, at) {
            Standing::Refused(refusal) => Err(words::Unsent::Refused {
                until: refusal.until.unix(),
            }),
            Standing::Open { .. } => {
                let is_familiar = state.tally.is_familiar(&source, &self.limits, at);
                let begun = state.challenges.begin(
                    (contact, channel),
                    (self.binding(login), is_familiar),
                    (totp_core::otp::Digits::default(), self.pace),
                    at,
                    &Chance(Cell::new(self.dice.roll())),
                );
                begun.expect("entropy").map_err(|unsent| match unsent {
                    Unsent::JustSent { next } => words::Unsent::JustSent { next: next.unix() },
                    Unsent::TooMany { next } => words::Unsent::TooMany { next: next.unix() },
                })
            }
        };
        let code = sent.map(|code| code.to_digits().to_string());
        let text = code.as_deref().unwrap_or_default();
        let mut rules = self.rules.clone();
        let expected = rules.send((contact.0, channel as usize), (login.0, &origin), text, now);
        self.note(format!("{channel:?} for {login:?}: {code:?}"));
        self.expect(
            &code.as_ref().map(drop).map_err(|why| *why),
            &expected,
            "sent",
        );
        let name = match code {
            Ok(code) => {
                let binding = self.binding(login);
                let mut before = self.state.challenges.pending.iter();
                let gave_way = before.any(|one| {
                    let is_gone = !state.challenges.pending.contains(one);
                    is_gone && one.binding != binding && one.is_live(at)
                });
                state.saved = at;
                (self.state, self.rules) = (state, rules);
                self.restart();
                self.letters.push(Letter {
                    channel,
                    code,
                    login,
                });
                self.next = Some(Next::Letter);
                match gave_way {
                    true => "sent in a stranger's place",
                    false => "sent",
                }
            }
            // Nothing is saved then.
            Err(words::Unsent::Refused { .. }) => "not sent to a locked place",
            Err(words::Unsent::JustSent { .. }) => "not sent again yet",
            Err(words::Unsent::TooMany { .. }) => "not sent, too many",
        };
        *outcomes.entry(name).or_default() += 1;
    }

    /// Root asks both for a resync.
    pub fn resync(&mut self, outcomes: &mut Outcomes) {
        let Some(id) = self.any_device() else { return };
        let step = match self.dice.one_in(2) {
            true => self.step_shown(id),
            false => self.step_nearby(id),
        };
        let first_at = self.now();
        self.time += self.dice.pick(&[0, 1, 29, 30, 61, 239, 240]);
        let times = [first_at, self.now()];
        let follows = self.dice.pick(&[1, 1, 1, 1, 0, 2]);
        let texts = [step, step + follows].map(|step| self.shown(id, step));
        self.note(format!("resync of {id} by {texts:?} at {times:?}"));

        let answers = texts.clone().map(|text| typed(&text));
        let codes = [0, 1].map(|index| (&answers[index], Time::from_unix(times[index])));
        let name = DeviceName::parse(&format!("device{id}")).unwrap();
        let before = self.state.clone();
        let found = match repair::resync(
            &self.enrollment,
            before,
            &name,
            codes,
            &self.verify,
            codes[1].1,
        ) {
            Ok(state) => {
                self.state = state;
                self.restart();
                Resync::Done
            }
            Err(OutOfStep) => Resync::OutOfStep,
        };
        let mut rules = self.rules.clone();
        let mut makes = |which: usize, step| self.shown(id, step) == texts[which];
        let expected = rules.resync(id, times, &mut makes);
        self.rules = rules;
        self.expect(&found, &expected, "a resync");
        self.expect_the_same_memory();
        let name = match expected {
            Resync::Done => "resync",
            Resync::OutOfStep => "resync by codes that are not two in a row",
        };
        *outcomes.entry(name).or_default() += 1;
    }

    /// What `judge` says, and a restart after it.
    fn judge(&mut self, answer: &Answer, has_ssh_key: bool, asks_two: bool, now: i64) -> Outcome {
        let attempt = Attempt {
            answer: &typed(&answer.text),
            source: &self.places[answer.at.1].0,
            binding: self.binding(answer.at),
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
        self.state = state;
        self.restart();
        self.outcome(&verdict)
    }

    /// What was saved is what the next login reads.
    pub fn restart(&mut self) {
        let record = self.state.encode();
        let fits = record.len() <= State::MAX_BYTES;
        self.expect(&fits, &true, "a record that fits");
        let read = State::decode(&record);
        self.expect(&read, &Ok(self.state.clone()), "what a restart reads");
        let is_crowd = |address: &Address| *address == address.crowd();
        let Tally { places, .. } = &self.state.tally;
        let crowds = places
            .iter()
            .filter(|place| is_crowd(&place.address))
            .count();
        self.expect(&crowds, &0, "places counted one by one");
    }

    /// What both remember of devices, and of guesses at two codes.
    pub fn expect_the_same_memory(&self) {
        let found = self.state.devices.iter().map(|known| {
            let floor = known.floor.map(|step| i64::try_from(step.0).unwrap());
            let drift = i64::from(known.drift);
            (known.id.0, floor, drift, known.awaits_resync)
        });
        let expected = self.rules.devices.iter().map(|known| {
            let rules::Device { floor, drift, .. } = known;
            (known.id, *floor, *drift, known.is_uncertain)
        });
        let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
        self.expect(&found, &expected, "what is known of devices");
        let pool = self.state.tally.pool(&Address::Elsewhere);
        let marks = pool.map_or(0, |pool| usize::from(pool.marks));
        let expected = self.rules.count.strange_marks;
        self.expect(&marks, &expected, "marks of unfamiliar places");
    }

    fn outcome(&self, verdict: &Verdict) -> Outcome {
        match verdict {
            Verdict::Accepted(accepted) => Outcome::Accepted {
                of: accepted.devices().iter().map(id_of).collect(),
                first_at: accepted.first_at().map(Time::unix),
                backup_left: accepted.backup_left().map(usize::from),
                is_sent: accepted.sent_by().is_some(),
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
                    WrongReason::Unmarked => Why::Unmarked,
                    WrongReason::Password => panic!("no password is judged here"),
                },
                needs_two: wrong.codes == Codes::Two,
                then: match wrong.standing {
                    Standing::Open { left, codes } => words::Standing::Open {
                        left: left.map(usize::from),
                        needs_two: codes == Codes::Two,
                    },
                    Standing::Refused(refusal) => words::Standing::Refused {
                        until: refusal.until.unix(),
                    },
                },
                out_of_reach: wrong.out_of_reach.as_ref().map(|(name, _)| id_of(name)),
            },
        }
    }

    pub fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(
        &self,
        found: &T,
        expected: &T,
        what: &str,
    ) {
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

/// Entropy that can be repeated.
struct Chance(Cell<u64>);

impl Entropy for Chance {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut dice = Dice(self.0.get());
        let bytes: Vec<u8> = (0..length).map(|_| dice.roll().to_le_bytes()[0]).collect();
        self.0.set(dice.0);
        Ok(bytes.into())
    }
}

fn typed(text: &str) -> totp_core::answer::Answer {
    totp_core::answer::Answer::new(text.as_bytes().to_vec().into())
}

fn id_of(name: &DeviceName) -> u64 {
    let number = name.as_str().trim_start_matches(char::is_alphabetic);
    number.parse().unwrap()
}

/// What an outcome is counted under.
fn names(outcome: &Outcome, before: &rules::Person, typed: Typed) -> Vec<&'static str> {
    let is_of = |of: &[u64], is: fn(&rules::Device) -> bool| {
        let mut devices = before.devices.iter();
        devices.any(|device| of.contains(&device.id) && is(device))
    };
    match outcome {
        Outcome::Accepted {
            of,
            first_at,
            backup_left,
            is_sent,
        } => {
            let is_second = first_at.is_some();
            let is_of_token = is_of(of, |device| device.kind == Kind::Token);
            let is_of_uncertain = is_of(of, |device| device.is_uncertain);
            [
                (
                    backup_left.is_some() && typed == Typed::BackupCode,
                    "backup code",
                ),
                (
                    backup_left.is_some() && typed == Typed::Digits,
                    "scratch code",
                ),
                (*is_sent && !is_second, "code that was sent"),
                (*is_sent && is_second, "second code that was sent"),
                (is_of_token && !is_second, "code of a token"),
                (
                    is_of_token && is_second && !is_of_uncertain,
                    "second of a token",
                ),
                (is_of_uncertain, "second of an unknown count"),
                (
                    !is_of_token && !is_second && !of.is_empty() && !is_sent,
                    "code of a phone",
                ),
                (!is_of_token && is_second && !is_sent, "second of a phone"),
            ]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect()
        }
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
                Why::Unmarked => "no first any more",
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
