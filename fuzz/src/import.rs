//! What other second factors keep: read whole or refused, and the same once it is written.

use std::collections::HashSet;
use std::fmt::Display;

use base64ct::{Base64, Encoding};
use totp_core::config::Window;
use totp_core::key_uri::KeyUri;
use totp_core::otp::Step;
use totp_core::time::Time;
use totp_import::pskc::{Exported, write};
use totp_import::{Fault, Format, Import, Key, Lock, Moment, Problem, Token, read};

const NOW: Time = Time::from_unix(1_795_339_800);

/// A file of google-authenticator.
pub fn google(bytes: &[u8]) {
    drop(checked(Format::Google, bytes, None));
}

/// The users file of pam_oath and of mod_authn_otp.
pub fn oath(bytes: &[u8]) {
    drop(checked(Format::Oath, bytes, None));
}

/// Key URIs, one a line.
pub fn otpauth(bytes: &[u8]) {
    let read = checked(Format::Otpauth, bytes, None);
    read.iter().for_each(used_until_now);
}

/// What a QR code of Google Authenticator's export holds, without its base64: a fuzzer that changes that breaks it.
pub fn migration(bytes: &[u8]) {
    let uri = format!(
        "otpauth-migration://offline?data={}",
        Base64::encode_string(bytes)
    );
    let read = checked(Format::Otpauth, uri.as_bytes(), None);
    read.iter().for_each(used_until_now);
}

/// A container of keys, opened by the keys of RFC 6030's examples.
pub fn pskc(bytes: &[u8]) {
    let mut read = checked(Format::Pskc, bytes, None);
    if let Err(problems) = &read {
        let key = problems.iter().find_map(|problem| key_to(&problem.fault));
        let key = key.filter(|key| matches!(key, Key::PreShared(_)) || is_soon_derived(bytes));
        if let Some(key) = key {
            read = checked(Format::Pskc, bytes, Some(&key));
        }
    }
    read.iter().for_each(used_until_now);
}

fn key_to(fault: &Fault) -> Option<Key> {
    match fault {
        Fault::Locked(Lock::PassPhrase) => Some(Key::PassPhrase(b"qwerty".to_vec().into())),
        Fault::Locked(Lock::PreShared) => {
            totp_import::from_hex("12345678901234567890123456789012").map(Key::PreShared)
        }
        _ => None,
    }
}

/// A million iterations are read too, but they take the time of ten thousand files.
fn is_soon_derived(bytes: &[u8]) -> bool {
    let digits = |window: &[u8]| window.iter().all(u8::is_ascii_digit);
    let text = String::from_utf8_lossy(bytes);
    let behind = text.split("IterationCount>").nth(1).unwrap_or_default();
    !behind.as_bytes().windows(5).take(8).any(digits)
}

/// What is read of a file, which holds what any format promises.
fn checked(format: Format, bytes: &[u8], key: Option<&Key>) -> Result<Import, Vec<Problem>> {
    let moment = moment();
    let read = read(format, bytes, key, &moment);
    match &read {
        Ok(import) => {
            import.notes.iter().for_each(is_one_line);
            let users: HashSet<_> = import.people.iter().map(|person| &person.user).collect();
            assert_eq!(users.len(), import.people.len(), "somebody is there twice");
            let tokens = import.people.iter().flat_map(|person| &person.tokens);
            let tokens: Vec<&Token> = tokens.collect();
            assert!(!tokens.is_empty());
            written_as_container(&tokens);
            tokens.into_iter().for_each(written_as_uri);
        }
        Err(problems) => {
            // A thousand, and that there are more.
            assert!((1..=1001).contains(&problems.len()));
            problems.iter().for_each(is_one_line);
        }
    }
    read
}

fn moment() -> Moment {
    Moment {
        now: NOW,
        utc_offsets: vec![3600, 7200],
        window: Window::default(),
    }
}

/// Their types leave room for words of ours alone, but for the id of a key.
fn is_one_line(said: &impl Display) {
    assert!(!said.to_string().contains(char::is_control));
}

/// Where a file doesn't say which codes were used, none works again.
fn used_until_now(import: &Import) {
    for token in import.people.iter().flat_map(|person| &person.tokens) {
        let now = token.otp.period().map(|period| period.step_at(NOW));
        let ahead = i32::from(token.drift) + i32::from(Window::default().get());
        assert!(token.used >= now.map(|now| now.moved(ahead)));
    }
}

fn written_as_container(tokens: &[&Token]) {
    let exported: Vec<_> = tokens.iter().copied().map(exported).collect();
    let written = write("alice", &exported);
    let again = read_again(Format::Pskc, &written);
    assert_eq!(again.len(), tokens.len());
    for (token, again) in tokens.iter().zip(&again) {
        same(token, again);
        let drift = token.otp.period().map_or(0, |_| token.drift);
        assert_eq!(again.drift, drift);
        assert!(again.used >= token.used, "a code works again");
    }
}

fn exported(token: &Token) -> Exported<'_> {
    Exported {
        id: "00ff".to_owned(),
        name: "phone",
        secret: &token.secret,
        otp: token.otp,
        next: next(token),
        drift: token.drift,
    }
}

fn written_as_uri(token: &Token) {
    let uri = KeyUri {
        secret: token.secret.clone(),
        otp: token.otp,
        counter: next(token),
    };
    let again = read_again(
        Format::Otpauth,
        &uri.write("Bank of Examples", "alice@host (phone)"),
    );
    assert_eq!(again.len(), 1);
    same(token, &again[0]);
}

fn next(token: &Token) -> Step {
    token.used.map_or(Step(0), |used| used.moved(1))
}

fn read_again(format: Format, written: &str) -> Vec<Token> {
    let read = read(format, written.as_bytes(), None, &moment());
    let Ok(import) = read else {
        panic!("what was written does not read");
    };
    let people = import.people.into_iter();
    people.flat_map(|person| person.tokens).collect()
}

fn same(token: &Token, again: &Token) {
    assert!(again.secret.is(&token.secret));
    assert_eq!(again.otp, token.otp);
    if token.otp.period().is_none() {
        assert_eq!(again.used, token.used);
    }
}
