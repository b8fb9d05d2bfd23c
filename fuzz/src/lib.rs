//! One function a parser, and one for `judge`: what must hold whatever bytes come in. Each is a target of the fuzzer,
//! and is held against its corpus by the tests.

mod import;
mod judge;
mod sent;
mod slot;
mod stack;
mod table;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use totp_core::address::{Address, Origin};
use totp_core::answer::{Answer, Typed};
use totp_core::config::Config;
use totp_core::document::Reason;
use totp_core::event::{Event, Severity};
use totp_core::flow::Arguments;
use totp_core::key_uri::{KeyUri, label_of};
use totp_core::network::Network;
use totp_core::otp::Digits;
use totp_core::record::enrollment::EnrollmentError;
use totp_core::record::{Enrollment, State, account_of, file_name};
use totp_core::secret::Secret;
use totp_core::ssh_key::Fingerprint;

pub use import::{google, migration, oath, otpauth, pskc};
pub use judge::judge;
pub use sent::{recipient, template};
pub use slot::slot;
pub use stack::stack;
pub use table::{addresses, meter};

/// What is done to any bytes.
pub type Target = fn(&[u8]);

/// Those that need nothing of the system, by the names of their corpora.
pub const PURE: [(&str, Target); 21] = [
    ("address", address),
    ("answer", answer),
    ("arguments", arguments),
    ("base32", base32),
    ("config", config),
    ("event", event),
    ("file_name", file_name_of_account),
    ("google", google),
    ("judge", judge),
    ("key_uri", key_uri),
    ("migration", migration),
    ("network", network),
    ("oath", oath),
    ("otpauth", otpauth),
    ("pskc", pskc),
    ("recipient", recipient),
    ("secret_file", secret_file),
    ("ssh_auth_info", ssh_auth_info),
    ("stack", stack),
    ("state", state),
    ("template", template),
];

/// Those of files, which they make.
pub const OF_FILES: [(&str, Target); 3] =
    [("addresses", addresses), ("meter", meter), ("slot", slot)];

/// PAM_RHOST and SSH_CONNECTION, a line each: what is shown of an address leads to it again.
pub fn address(bytes: &[u8]) {
    let text = text_of(bytes);
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

/// What was typed: a code is the digits that were typed, and an answer longer than libpam's is never read. Behind a
/// password a code is what stands last, and the password all that stands before it.
pub fn answer(bytes: &[u8]) {
    typed_alone(bytes);
    let answer = Answer::new(bytes.to_vec().into()).with_password();
    let Some(password) = answer.password(None) else {
        return assert!(bytes.len() > Answer::MAX_BYTES);
    };
    let last = &bytes[password.len()..];
    assert_eq!([password, last].concat(), bytes);
    match answer.typed() {
        Typed::Code(code) => {
            for (digits, code) in code.each() {
                assert!(bytes.ends_with(code.to_digits().as_bytes()));
                let split = bytes.len() - usize::from(digits.get());
                assert_eq!(answer.password(Some(digits)), Some(&bytes[..split]));
            }
            assert_eq!(last.len(), usize::from(Digits::default().get()));
        }
        Typed::Backup(code) => assert!(last.eq_ignore_ascii_case(code.shown().as_bytes())),
        Typed::Key(key) => assert!(last.eq_ignore_ascii_case(key.shown().as_bytes())),
        Typed::Empty | Typed::Other => assert!(last.is_empty()),
    }
}

fn typed_alone(bytes: &[u8]) {
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

/// The arguments of the module's line, a line each: said twice they mean the same.
pub fn arguments(bytes: &[u8]) {
    let lines = || text_of(bytes).lines();
    let read = Arguments::parse(lines());
    assert_eq!(Arguments::parse(lines().chain(lines())), read);
    let prompt = read.ok().and_then(|read| read.options.prompt);
    assert!(!prompt.is_some_and(|prompt| prompt.is_empty() || prompt.contains(char::is_control)));
}

/// A secret in base32: what is taken is what its bytes are written as.
pub fn base32(bytes: &[u8]) {
    let text = text_of(bytes);
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
    let text = text_of(bytes);
    // By the parser of all of TOML: a tab is nothing that is read plainly.
    let again = || Config::parse(&format!("{text}\n#\t"));
    match Config::parse(text) {
        Ok(config) => {
            assert_ne!(config.secret_dir, config.state_dir);
            assert_eq!(again(), Ok(config));
        }
        Err(mistake) => {
            assert!(!mistake.to_string().is_empty());
            if !matches!(mistake.reason, Reason::Syntax(_)) {
                assert_eq!(again(), Err(mistake));
            }
        }
    }
}

/// Whatever stands in its fields, which a NUL ends each, an event is one line of printable ASCII with the same keys.
pub fn event(bytes: &[u8]) {
    const KEYS: [&str; 9] = [
        "event", "user", "service", "address", "device", "reason", "left", "until", "actor",
    ];
    let mut fields = text_of(bytes).split('\0').map(str::to_owned);
    let line = Event {
        user: fields.next(),
        service: fields.next(),
        device: fields.next(),
        reason: fields.next(),
        actor: Some(fields.next().unwrap_or_default()),
        ..Event::new(Severity::Notice, "wrong")
    }
    .to_string();
    assert!(
        line.bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic()),
        "{line}"
    );
    let mut rest = line.as_str();
    for key in KEYS {
        let value = rest.trim_start().strip_prefix(key);
        let value = value.and_then(|value| value.strip_prefix('='));
        let value = value.unwrap_or_else(|| panic!("no {key} in {line}"));
        let length = length_of_value(value);
        assert!(length <= 256 + "\"...\"".len(), "{line}");
        rest = &value[length..];
    }
    assert_eq!(rest, "");
}

/// A value goes to the next blank or, quoted, to the next quote that nothing escapes.
fn length_of_value(text: &str) -> usize {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.find(' ').unwrap_or(text.len());
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The file name of an account, and the account of a file name.
pub fn file_name_of_account(bytes: &[u8]) {
    let text = text_of(bytes);
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
    let text = text_of(bytes);
    let _ = label_of(text);
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
    let text = text_of(bytes);
    if let Some(network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_string()), Some(network));
    }
}

/// A secret file, with its checksum or as it is: what is read is the same once it is written.
pub fn secret_file(bytes: &[u8]) {
    let text = text_of(bytes);
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
            // A name may look like a secret.
            Err(EnrollmentError::DuplicateDevice(_)) => {}
            Err(error) => quotes_nothing(text, &error.to_string()),
        }
    }
}

/// SSH_AUTH_INFO_0: a fingerprint has one spelling.
pub fn ssh_auth_info(bytes: &[u8]) {
    let text = text_of(bytes);
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

/// What is no text is read as none.
fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
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
