//! One function a parser, and one for `judge`: what must hold whatever bytes come in. Each is a target of the fuzzer,
//! and is held against its corpus by the tests.

use std::collections::HashSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use totp_core::address::{Address, Origin};
use totp_core::answer::{Answer, Typed};
use totp_core::backup_code::{BackupCode, BackupSet, SetId, UsedCodes};
use totp_core::challenge::Binding;
use totp_core::config::Config;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::judge::{Attempt, Verdict, judge as decide};
use totp_core::key_uri::KeyUri;
use totp_core::network::Network;
use totp_core::otp::Otp;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::secret::Secret;
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::Codes;
use totp_core::time::Time;

/// What is done to any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 11] = [
    ("address", address),
    ("answer", answer),
    ("base32", base32),
    ("config", config),
    ("file_name", file_name_of_account),
    ("judge", judge),
    ("key_uri", key_uri),
    ("network", network),
    ("secret_file", secret_file),
    ("ssh_auth_info", ssh_auth_info),
    ("state", state),
];

/// PAM_RHOST and SSH_CONNECTION, a line each: what is shown of an address leads to it again.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (rhost, connection) = text.split_once('\n').unwrap_or((text, ""));
    let origin = Origin {
        rhost: Some(rhost),
        ssh_connection: Some(connection),
        tty: Some(connection),
        ruser_uid: None,
        real_uid: 0,
    };
    let address = Address::of(&origin);
    assert_eq!(Address::named(&address.to_string()), Some(address));
}

/// What was typed: a code is the digits that were typed, and an answer longer than libpam's is never read.
pub fn answer(bytes: &[u8]) {
    let symbols: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !b" \t-".contains(byte))
        .collect();
    let shown = |text: &str| text.replace('-', "").into_bytes();
    match Answer::new(bytes.to_vec().into()).typed() {
        Typed::Empty => assert!(symbols.is_empty()),
        Typed::Code(code) => {
            let lengths: Vec<_> = code.each().collect();
            assert_eq!(lengths.len(), 1, "typed alone it has one length");
            assert_eq!(lengths[0].1.to_digits().as_bytes(), symbols);
            assert!((6..=8).contains(&symbols.len()) && symbols.iter().all(u8::is_ascii_digit));
        }
        Typed::Backup(code) => assert_eq!(shown(&code.shown()), symbols.to_ascii_uppercase()),
        Typed::Key(key) => assert_eq!(shown(&key.shown()), symbols.to_ascii_uppercase()),
        Typed::Other => return,
    }
    assert!(bytes.len() <= Answer::MAX_BYTES);
}

/// A secret in base32: what is taken is what its bytes are written as.
pub fn base32(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Secret::from_base32(text) {
        Ok(secret) => {
            let typed = text.replace(|c: char| c.is_ascii_whitespace() || c == '-', "");
            let typed = typed.trim_end_matches('=').to_ascii_uppercase();
            assert_eq!(secret.to_base32().as_str(), typed);
            let again = Secret::from_base32(&secret.grouped());
            assert!(again.is_ok_and(|again| again.is(&secret)));
        }
        Err(error) => quotes_nothing(text, &error.to_string()),
    }
}

/// A configuration: what is refused is refused with a line of the text.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(text) {
        Ok(config) => assert_ne!(config.secret_dir, config.state_dir),
        Err(mistake) => assert!(!mistake.to_string().is_empty()),
    }
}

/// The file name of an account, and the account of a file name.
pub fn file_name_of_account(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(name) = file_name(text) {
        assert!(!name.starts_with('.') && name.len() <= 255);
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-%".contains(&byte))
        );
        assert_eq!(account_of(&name).as_deref(), Some(text));
    }
    if let Some(account) = account_of(text) {
        assert_eq!(file_name(&account).as_deref(), Some(text));
    }
}

/// A key URI: what is read reads the same once it is written.
pub fn key_uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match KeyUri::parse(text) {
        Ok(uri) => {
            let written = uri.write("Bank of Examples", "alice@host (phone)");
            let Ok(again) = KeyUri::parse(&written) else {
                panic!("what was written does not read");
            };
            assert!(
                again.secret.is(&uri.secret)
                    && again.otp == uri.otp
                    && again.counter == uri.counter
            );
        }
        Err(error) => quotes_nothing(text, &error.to_string()),
    }
}

/// A network: what is shown of it is it.
pub fn network(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_string()), Some(network));
    }
}

/// A secret file, with its checksum or as it is: what is read is the same once it is written.
pub fn secret_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut whole = text.to_owned();
    if !whole.ends_with('\n') {
        whole.push('\n');
    }
    let mut checksum = String::new();
    for byte in Sha256::digest(&whole) {
        let _ = write!(checksum, "{byte:02x}");
    }
    let _ = writeln!(whole, "# sha256: {checksum}");
    for text in [text, &whole] {
        match Enrollment::parse(text) {
            Ok(enrollment) => {
                let written = enrollment.to_toml();
                let Ok(again) = Enrollment::parse(&written) else {
                    panic!("what was written does not read");
                };
                assert_eq!(again.to_toml(), written);
                assert_eq!(again.devices.len(), enrollment.devices.len());
            }
            Err(error) => quotes_nothing(text, &error.to_string()),
        }
    }
}

/// SSH_AUTH_INFO_0: a fingerprint has one spelling.
pub fn ssh_auth_info(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let keys = Fingerprint::of_login(text);
    assert!(keys.len() <= text.lines().count());
    for key in keys {
        assert_eq!(Fingerprint::parse(&key.to_string()), Some(key));
    }
    if let Some(key) = Fingerprint::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

/// A state: what is read is the same once it is written.
pub fn state(bytes: &[u8]) {
    match State::decode(bytes) {
        Ok(state) => assert_eq!(State::decode(&state.encode()), Ok(state)),
        Err(error) => assert!(error.offset <= bytes.len()),
    }
}

/// Logins of a person with two phones under one of a few configurations, four bytes each: when, from where and what. A
/// step is accepted once, a backup code is, floors never fall, and no guess is free.
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
    let set = BackupSet::of(SetId(1), [7; 16], &codes);
    let mut now = 1_800_000_015;
    let mut state = State::new(Time::from_unix(now));
    state.sets.push(UsedCodes {
        id: set.id,
        used: 0,
    });
    let mut enrollment = Enrollment::new(1000);
    enrollment.backup_codes = Some(set);
    for id in [1, 2] {
        state.devices.push(DeviceState::new(DeviceId(id), None));
        enrollment.devices.push(device(id));
    }

    let mut accepted = HashSet::new();
    for login in logins.chunks_exact(4).take(64) {
        let [unit, wait, place, what] = *login else {
            continue;
        };
        now += i64::from(wait) * [1, 1, 1, 60, 60, 3600, 86_400, -60][usize::from(unit % 8)];
        let device = &enrollment.devices[usize::from(what & 1)];
        let ahead = i32::from(what >> 3) - 16;
        let text = match what >> 1 & 3 {
            0 | 1 => {
                let period = device.otp.period().unwrap();
                let step = period.step_at(Time::from_unix(now)).moved(ahead);
                device
                    .otp
                    .code(&device.secret, step)
                    .to_digits()
                    .to_string()
            }
            2 => codes[usize::from(what >> 3) % codes.len()]
                .shown()
                .to_string(),
            _ => format!("{:06}", u32::from(what) * 3907),
        };
        let answer = Answer::new(text.clone().into_bytes().into());
        let attempt = Attempt {
            answer: &answer,
            source: &config.source(&Address::V4([192, 0, 2, place % 4].into())),
            binding: Binding(0),
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now: Time::from_unix(now),
        };
        let before = state.clone().without_future(attempt.now);
        let (verdict, after) = decide(&enrollment, state, &attempt, &config.verify, &config.limits);
        let floor = |state: &State, id| state.device(id).and_then(|known| known.floor);
        for device in &enrollment.devices {
            assert!(
                floor(&after, device.id) >= floor(&before, device.id),
                "a floor fell"
            );
        }
        match verdict {
            Verdict::Accepted(of) if of.backup_left().is_some() => {
                assert!(accepted.insert(text), "a backup code was accepted twice");
            }
            Verdict::Accepted(of) => {
                let devices = enrollment.devices.iter();
                for device in devices.filter(|device| of.devices().contains(&device.name)) {
                    let step = format!("{} {:?}", device.name, floor(&after, device.id));
                    assert!(accepted.insert(step), "a step was accepted twice");
                }
            }
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

fn device(id: u64) -> Device {
    let [byte, ..] = id.to_le_bytes();
    let secret = Secret::from_bytes(vec![byte; Secret::NEW_BYTES].into());
    Device {
        id: DeviceId(id),
        name: DeviceName::parse(&format!("phone{id}")).expect("a name"),
        otp: Otp::default(),
        window: None,
        secret: secret.unwrap_or_else(|error| panic!("{error}")),
        enrolled: Time::from_unix(0),
        ssh_key: None,
    }
}

/// What is said of a secret text holds nothing of it: no eight symbols in a row.
fn quotes_nothing(text: &str, message: &str) {
    let windows = text.as_bytes().windows(8);
    let is_secret = |part: &&[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    for part in windows.filter(is_secret) {
        let quoted = message.as_bytes().windows(8).any(|said| said == part);
        assert!(!quoted, "{message}");
    }
}
