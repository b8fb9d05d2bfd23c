//! What is made of the files in tests/import, a folder for each format.
//!
//! A case begins with sentences (`#`). `now` is the time of the import and `zone` how many hours local time is ahead of UTC, in
//! winter and in summer; `window` is that of the configuration; `key` (hexadecimal) or `phrase` opens what is encrypted. Then come what is read (`>`), noted (`~`)
//! and refused (`!`), and below a line of dashes the file itself, in which `\r` and `\xFF` stand for bytes. `UPDATE_CASES=1
//! cargo test` writes what is made of it into the case, for a look at the difference.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use totp_core::config::Window;
use totp_core::otp::MovingFactor;
use totp_core::time::{Span, Time};
use totp_import::{Format, Import, Key, Moment, Person, Problem, Token, read};

const FORMATS: [Format; 4] = [Format::Google, Format::Oath, Format::Otpauth, Format::Pskc];

fn folder(format: Format) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/import");
    root.join(format.to_string())
}

#[test]
fn each_file_is_read_as_its_case_says() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut wrong = String::new();
    for format in FORMATS {
        let entries = fs::read_dir(folder(format)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 10, "cases of {format}");
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            let case = Case::parse(&text).unwrap_or_else(|line| panic!("{path:?}: {line}"));
            if case.is_too_slow() {
                continue;
            }
            let made = case.run(format);
            if update {
                fs::write(&path, made.to_string()).unwrap();
            } else if made.outcome != case.outcome {
                let (made, case) = (made.outcome.join("\n"), case.outcome.join("\n"));
                let _ = writeln!(
                    wrong,
                    "{}: expected\n{case}\nbut it is\n{made}",
                    path.display()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A file cut anywhere is read or refused, and so is one with any byte changed.
#[test]
fn damage_is_read_or_refused() {
    if std::env::var_os("UPDATE_CASES").is_some() {
        return;
    }
    for format in FORMATS {
        for entry in fs::read_dir(folder(format)).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let case = Case::parse(&text).unwrap();
            if case.is_too_slow() {
                continue;
            }
            let bytes = case.bytes();
            // A pass phrase takes its time, and so does all under Miri.
            let tries = match case.setting("phrase") {
                _ if cfg!(miri) => 2,
                Some(_) => 10,
                None => 100,
            };
            for at in (0..bytes.len()).step_by(bytes.len().div_ceil(tries).max(1)) {
                let _ = case.read(format, &bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 0x15;
                let _ = case.read(format, &changed);
            }
        }
    }
}

struct Case {
    about: Vec<String>,
    settings: Vec<(String, String)>,
    outcome: Vec<String>,
    file: String,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let (head, file) = text.split_once("\n---\n").ok_or("no line of dashes")?;
        let mut case = Self {
            about: Vec::new(),
            settings: Vec::new(),
            outcome: Vec::new(),
            file: file.to_owned(),
        };
        for line in head.lines().filter(|line| !line.is_empty()) {
            match line.split_once(' ').ok_or(line)? {
                ("#", rest) => case.about.push(rest.to_owned()),
                (">" | "~" | "!", _) => case.outcome.push(line.to_owned()),
                (name @ ("now" | "zone" | "window" | "key" | "phrase"), value) => {
                    case.settings.push((name.to_owned(), value.to_owned()));
                }
                _ => return Err(line.to_owned()),
            }
        }
        Ok(case)
    }

    /// Under Miri a pass phrase takes hours.
    fn is_too_slow(&self) -> bool {
        cfg!(miri) && self.setting("phrase").is_some()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|(known, _)| known == name);
        setting.map(|(_, value)| value.as_str())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = self.file.as_str();
        while let Some((before, escape)) = rest.split_once('\\') {
            bytes.extend(before.bytes());
            let (byte, length) = match escape.split_at(1).0 {
                "r" => (b'\r', 1),
                "x" => (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3),
                _ => panic!("unknown escape"),
            };
            bytes.push(byte);
            rest = &escape[length..];
        }
        bytes.extend(rest.bytes());
        bytes
    }

    fn read(&self, format: Format, bytes: &[u8]) -> Result<Import, Vec<Problem>> {
        let now = self.setting("now").unwrap_or("2026-11-22T09:30:00Z");
        let (date, clock) = now.split_once('T').unwrap();
        let mut parts = clock.trim_end_matches('Z').split(':');
        let mut part = || parts.next().unwrap().parse::<u32>().unwrap();
        let seconds = part() * 3600 + part() * 60 + part();
        let zone = self.setting("zone").unwrap_or("0");
        let window = self.setting("window").unwrap_or("1");
        let hours = zone.split_whitespace().map(|hours| hours.parse::<i32>());
        let moment = Moment {
            now: Time::of_date(date)
                .unwrap()
                .after(Span::from_seconds(seconds)),
            utc_offsets: hours.map(|hours| hours.unwrap() * 3600).collect(),
            window: Window::new(window.parse().unwrap()).unwrap(),
        };
        let key = match (self.setting("key"), self.setting("phrase")) {
            (Some(hex), _) => {
                let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
                let key = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap());
                Some(Key::PreShared(key.collect::<Vec<_>>().into()))
            }
            (_, Some(phrase)) => Some(Key::PassPhrase(phrase.as_bytes().to_vec().into())),
            _ => None,
        };
        read(format, bytes, key.as_ref(), &moment)
    }

    fn run(&self, format: Format) -> Self {
        let outcome = match self.read(format, &self.bytes()) {
            Ok(import) => {
                let people = import.people.iter().flat_map(describe);
                let notes = import.notes.iter().map(|note| format!("~ {note}"));
                people.chain(notes).collect()
            }
            Err(problems) => {
                let problems = problems.iter().map(|problem| format!("! {problem}"));
                problems.collect::<Vec<_>>()
            }
        };
        for line in outcome.iter().filter(|line| !line.starts_with('>')) {
            self.check_secrecy(line);
        }
        Self {
            about: self.about.clone(),
            settings: self.settings.clone(),
            outcome,
            file: self.file.clone(),
        }
    }

    /// What is said of a file repeats nothing of it that may be secret: its words are ours, but for ids of keys.
    fn check_secrecy(&self, line: &str) {
        let told = line.split_once(": ").map_or(line, |(_, told)| told);
        let words = self.file.split(|c: char| !c.is_ascii_alphanumeric());
        let secret = |word: &&str| {
            word.len() >= 8
                && word.bytes().any(|byte| byte.is_ascii_digit())
                && told.contains(*word)
        };
        assert_eq!(words.into_iter().find(secret), None, "{line}");
    }
}

fn describe(person: &Person) -> Vec<String> {
    let user = person.user.as_deref().unwrap_or("somebody");
    let mut lines = vec![format!("> {user}: {}", scratch_codes(person))];
    lines.extend(
        person
            .tokens
            .iter()
            .map(|token| format!(">   {}", Shown(token))),
    );
    lines
}

fn scratch_codes(person: &Person) -> String {
    let codes: Vec<_> = person
        .scratch_codes
        .iter()
        .map(|code| code.shown().replace('-', ""))
        .collect();
    match codes.len() {
        0 => "no scratch codes".to_owned(),
        _ => format!("scratch codes {}", codes.join(" ")),
    }
}

struct Shown<'t>(&'t Token);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token {
            at,
            label,
            secret,
            otp,
            used,
            drift,
            window,
        } = self.0;
        write!(f, "{at}: {}, {} digits, ", otp.algorithm, otp.digits)?;
        match otp.factor {
            MovingFactor::Counter => {
                assert_eq!(*drift, 0);
                write!(f, "next count {}", used.map_or(0, |step| step.0 + 1))?;
            }
            MovingFactor::Time(period) => {
                let used = used.map_or("nothing".to_owned(), |step| format!("step {}", step.0));
                write!(f, "{period} s, drift {drift:+}, used up to {used}")?;
            }
        }
        if let Some(window) = window {
            write!(f, ", window {window}")?;
        }
        if let Some(label) = label {
            write!(f, ", called {label}")?;
        }
        write!(f, ", secret {}", secret.to_base32().as_str())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.about {
            writeln!(f, "# {line}")?;
        }
        for (name, value) in &self.settings {
            writeln!(f, "{name} {value}")?;
        }
        for line in &self.outcome {
            writeln!(f, "{line}")?;
        }
        write!(f, "---\n{}", self.file)
    }
}
