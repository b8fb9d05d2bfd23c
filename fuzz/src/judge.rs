//! `judge`, over whole stories.

use std::cell::Cell;
use std::collections::HashSet;

use sha2::{Digest, Sha256};
use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::backup_code::{BackupCode, BackupSet, SetId, UsedCodes};
use totp_core::challenge::Binding;
use totp_core::config::Config;
use totp_core::contact::{Channel, Contact, Recipient};
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::Entropy;
use totp_core::judge::{Attempt, Verdict, Wrong, WrongReason, judge as decide};
use totp_core::otp::{Digits, MovingFactor, Otp, Step};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::secret::Secret;
use totp_core::throttle::Codes;
use totp_core::time::Time;
use zeroize::Zeroizing;

/// Logins of a person with two phones, an event token, backup codes and a mailbox, under one of a few configurations,
/// four bytes each: when and how, from where and what. A step is accepted once, a backup code and a code that was sent
/// are, floors never fall, and no guess is free.
pub fn judge(bytes: &[u8]) {
    const SETTINGS: [&str; 4] = [
        "",
        "[limits]\ndeny = 1\ndaily = 1\nuser_limit = 4\nfamiliar_for = '1h'",
        "[limits]\ndeny = 32\ninterval = '1d'\nlock_time = '1s'\ndaily = 32\n[verify]\nwindow = 3",
        "[verify]\nwindow = 0\nmax_drift = 0\nresync_range = 0\n[limits]\ndeny = 0\ndaily = 0\nuser_limit = 0",
    ];
    let Some((first, logins)) = bytes.split_first() else {
        return;
    };
    let settings = SETTINGS[usize::from(*first) % SETTINGS.len()];
    let config = Config::parse(settings).unwrap_or_else(|mistake| panic!("{mistake}"));
    let codes = (1..=3).filter_map(|byte| BackupCode::new(&[byte; BackupCode::RANDOM_BYTES]));
    let codes: Vec<BackupCode> = codes.collect();
    let mut now = 1_800_000_015;
    let (enrollment, mut state) = enrolled(&codes, Time::from_unix(now));
    let entropy = Counting(Cell::new(0));

    let mut sent = Vec::new();
    let mut accepted = HashSet::new();
    for login in logins.chunks_exact(4).take(64) {
        let [how, wait, place, what] = *login else {
            continue;
        };
        now += i64::from(wait) * [1, 1, 1, 60, 60, 3600, 86_400, -60][usize::from(how % 8)];
        let time = Time::from_unix(now);
        let binding = Binding(u64::from(place & 1));
        let which = usize::from(what >> 3);
        let code_of = |device: &Device, state: &State| {
            let step = match device.otp.period() {
                Some(period) => period.step_at(time),
                None => state.device(device.id).map_or(Step(0), DeviceState::next),
            };
            let step = step.moved(i32::from(what >> 3) - 16);
            let code = device.otp.code(&device.secret, step);
            code.to_digits().to_string()
        };
        let text = match (how >> 3 & 3, what >> 1 & 3) {
            (0, 0 | 1) => code_of(&enrollment.devices[usize::from(what & 1)], &state),
            (0, 2) => codes[which % codes.len()].shown().to_string(),
            (0, _) => format!("{:06}", u32::from(what) * 3907),
            (1, _) => code_of(&enrollment.devices[2], &state),
            (2, kind) => {
                state = state.as_of(time);
                state.saved = time;
                let login = (binding, kind & 1 == 1);
                let pace = (Digits::default(), config.mail.pace());
                let begun =
                    state
                        .challenges
                        .begin((MAILBOX, Channel::Mail), login, pace, time, &entropy);
                let code = begun.unwrap_or_else(|error| panic!("{error}"));
                sent.extend(code.map(|code| (code.to_digits().to_string(), time)));
                continue;
            }
            _ if sent.is_empty() => continue,
            _ => sent[which % sent.len()].0.clone(),
        };
        let answer = Answer::new(text.clone().into_bytes().into());
        let attempt = Attempt {
            answer: &answer,
            source: &config.source(&Address::V4([192, 0, 2, place % 4].into())),
            binding,
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now: time,
        };
        let before = state.clone().as_of(attempt.now);
        let (verdict, after) = decide(&enrollment, state, &attempt, &config.verify, &config.limits);
        let floor = |state: &State, id| state.device(id).and_then(|known| known.floor);
        for device in &enrollment.devices {
            assert!(
                floor(&after, device.id) >= floor(&before, device.id),
                "a floor fell"
            );
        }
        match verdict {
            Verdict::Accepted(of) if of.backup_left().is_some() || of.sent_by().is_some() => {
                let was_sent = sent.iter().find(|(code, _)| *code == text);
                let is_live = |at: Time| (at..at.after(config.mail.lifetime)).contains(&time);
                assert!(
                    was_sent.is_none_or(|(_, at)| is_live(*at)),
                    "a code outlived its time"
                );
                assert!(accepted.insert(text), "a code was accepted twice");
            }
            Verdict::Accepted(of) => {
                let devices = enrollment.devices.iter();
                for device in devices.filter(|device| of.devices().contains(&device.name)) {
                    let step = format!("{} {:?}", device.name, floor(&after, device.id));
                    assert!(accepted.insert(step), "a step was accepted twice");
                }
            }
            // A right first code is no guess: typed again and again in one second, it may change no count any more.
            Verdict::Wrong(Wrong {
                reason: WrongReason::First,
                ..
            }) => {}
            Verdict::Wrong(_) => assert!(
                *first % 4 == 3 || after.tally != before.tally,
                "a guess was free"
            ),
            Verdict::Refused(refusal) => {
                assert!(refusal.until > attempt.now && after.remembers_the_same(&before));
            }
            Verdict::BackupKey { .. } | Verdict::Empty | Verdict::Invited(_) => {
                panic!("nothing of that kind was typed")
            }
        }
        let record = after.encode();
        assert!(record.len() <= State::MAX_BYTES, "{} bytes", record.len());
        assert_eq!(State::decode(&record).as_ref(), Ok(&after));
        state = after;
    }
}

const MAILBOX: DeviceId = DeviceId(4);

fn enrolled(codes: &[BackupCode], now: Time) -> (Enrollment, State) {
    let mut enrollment = Enrollment::new(1000);
    let mut state = State::new(now);
    for (id, factor) in [
        (1, Otp::default().factor),
        (2, Otp::default().factor),
        (3, MovingFactor::Counter),
    ] {
        let device = device(id, factor);
        state.devices.push(DeviceState::of(&device, None));
        enrollment.devices.push(device);
    }
    let set = BackupSet::of(SetId(1), [7; 16], codes);
    state.sets.push(UsedCodes {
        id: set.id,
        used: 0,
    });
    enrollment.backup_codes = Some(set);
    state.challenges.contacts.push(MAILBOX);
    enrollment.contacts.push(Contact {
        id: MAILBOX,
        name: DeviceName::parse("mail").expect("a name"),
        recipient: Recipient::new(Channel::Mail, "alice@example.org").expect("a recipient"),
        enrolled: now,
    });
    (enrollment, state)
}

fn device(id: u64, factor: MovingFactor) -> Device {
    let [byte, ..] = id.to_le_bytes();
    let secret = Secret::from_bytes(vec![byte; Secret::NEW_BYTES].into());
    Device {
        id: DeviceId(id),
        name: DeviceName::parse(&format!("phone{id}")).expect("a name"),
        otp: Otp {
            factor,
            ..Otp::default()
        },
        window: None,
        secret: secret.unwrap_or_else(|error| panic!("{error}")),
        enrolled: Time::from_unix(0),
        ssh_key: None,
    }
}

/// Bytes that differ each time, and are the same for the same story.
struct Counting(Cell<u64>);

impl Entropy for Counting {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        self.0.set(self.0.get() + 1);
        let digest = Sha256::digest(self.0.get().to_le_bytes());
        Ok(digest
            .into_iter()
            .cycle()
            .take(length)
            .collect::<Vec<u8>>()
            .into())
    }
}
