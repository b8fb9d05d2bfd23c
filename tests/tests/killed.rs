//! Commands that are killed before any of their system calls: the old is left or the new, and nobody is locked out.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{self, ACCOUNT, NO_LIMITS, Scratch};

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
const ENROLL: &[&str] = &[
    "enroll",
    ACCOUNT,
    "--device",
    "tablet",
    "--secret-file",
    "-",
    "--no-confirm",
];

/// Somebody with a phone, and perhaps a tablet, whose records a command changes.
struct Case {
    scratch: Scratch,
    phone: Phone,
    tablet: Phone,
}

impl Case {
    fn new(has_tablet: bool) -> Self {
        let case = Self {
            scratch: Scratch::new(NO_LIMITS),
            phone: Phone::new(Phone::SECRET),
            tablet: Phone::new(OTHER),
        };
        case.scratch.enroll(ACCOUNT, &case.phone);
        if has_tablet {
            case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
        }
        case
    }

    /// Whether a fresh code gets in. `moment` is one that no code of this case was used at before.
    fn lets_in(&self, device: &Phone, moment: i64) -> bool {
        let time = EPOCH + 120 * moment;
        clock::set(time);
        let code = self
            .scratch
            .login(ACCOUNT, device.code_at(time).as_str())
            .code;
        clock::unset();
        code == Code::SUCCESS
    }

    fn is_enrolled(&self) -> bool {
        self.scratch.status(ACCOUNT)["users"][0]["enrolled"] == true
    }

    fn run(&self, words: &[&str]) -> Option<i32> {
        let input = format!("{OTHER}\n");
        self.scratch.totpctl(words, &input).status.code()
    }

    /// Runs a command under strace with `options`.
    fn traced(&self, words: &[&str], options: &[&str]) -> ExitStatus {
        let mut strace = Command::new("strace")
            .args(options)
            .arg(product::totpctl())
            .arg("--config")
            .arg(self.scratch.config())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace starts");
        let mut input = strace.stdin.take().expect("a pipe");
        // Whoever is killed reads nothing.
        let _ = writeln!(input, "{OTHER}");
        drop(input);
        strace.wait().expect("it ends")
    }
}

/// The system calls of a command, from the first that has to do with records to the last: each by its name, and as
/// the how manieth of that name.
fn calls(has_tablet: bool, words: &[&str]) -> Vec<(String, usize)> {
    let case = Case::new(has_tablet);
    let trace = case.scratch.path("trace");
    let output = trace.to_str().expect("a plain path");
    let status = case.traced(words, &["-qq", "-o", output]);
    assert!(status.success(), "{words:?}: {status}");
    let trace = fs::read_to_string(&trace).expect("a trace");
    let (mut counts, mut calls) = (HashMap::new(), Vec::new());
    let mut is_of_records = false;
    for line in trace.lines() {
        let Some((name, rest)) = line.split_once('(') else {
            continue;
        };
        let count: &mut usize = counts.entry(name.to_owned()).or_default();
        *count += 1;
        is_of_records |= rest.contains("/secrets\"");
        // No signal comes in time for the last one.
        if is_of_records && name != "exit_group" {
            calls.push((name.to_owned(), *count));
        }
    }
    calls
}

/// Kills a command before each of its system calls, has `check` look at what is left, and then runs it to its end.
fn kill_everywhere(has_tablet: bool, words: &[&str], check: impl Fn(&Case, &str)) {
    let calls = calls(has_tablet, words);
    let mut killed = 0;
    for (name, count) in &calls {
        let case = Case::new(has_tablet);
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let status = case.traced(words, &["-qq", "-o", "/dev/null", "-e", &inject]);
        killed += usize::from(status.signal() == Some(9));
        check(&case, &format!("{words:?} killed at {name} {count}"));
    }
    // Where a call was interrupted the numbers of those behind it differ.
    assert!(
        killed * 10 > calls.len() * 9,
        "{words:?}: {killed} of {}",
        calls.len()
    );
}

#[test]
fn an_enrollment() {
    kill_everywhere(false, ENROLL, |case, at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let is_there = case.lets_in(&case.tablet, 1);
        let again = case.run(ENROLL);
        assert_eq!(again, Some(if is_there { 1 } else { 0 }), "{at}");
        assert!(
            case.lets_in(&case.phone, 2) && case.lets_in(&case.tablet, 3),
            "{at}"
        );
    });
}

#[test]
fn a_removal() {
    let remove = ["device", "remove", ACCOUNT, "tablet", "--force"];
    kill_everywhere(true, &remove, |case, at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let is_there = case.lets_in(&case.tablet, 1);
        let again = case.run(&remove);
        assert_eq!(again, Some(if is_there { 0 } else { 1 }), "{at}");
        assert!(
            case.lets_in(&case.phone, 2) && !case.lets_in(&case.tablet, 3),
            "{at}"
        );
    });
}

#[test]
fn new_backup_codes() {
    let words = ["backup-codes", ACCOUNT, "--regenerate"];
    kill_everywhere(false, &words, |case, at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        assert_eq!(case.run(&words[..2]), Some(0), "{at}");
        assert_eq!(case.run(&words), Some(0), "{at}");
        let codes = case.scratch.status(ACCOUNT)["users"][0]["backup_codes"].clone();
        assert_eq!(codes, 10, "{at}");
    });
}

#[test]
fn disabling_and_resetting() {
    for words in [
        ["disable", ACCOUNT, "--force"],
        ["reset", ACCOUNT, "--force"],
    ] {
        kill_everywhere(true, &words, |case, at| {
            let is_enrolled = case.is_enrolled();
            assert_eq!(case.lets_in(&case.phone, 0), is_enrolled, "{at}");
            case.run(&words);
            assert!(
                !case.is_enrolled() && !case.lets_in(&case.tablet, 1),
                "{at}"
            );
            assert_eq!(case.run(ENROLL), Some(0), "{at}");
            assert!(case.lets_in(&case.tablet, 2), "{at}");
        });
    }
}

#[test]
fn a_repair_and_an_unlock() {
    for words in [["repair", ACCOUNT], ["unlock", ACCOUNT]] {
        kill_everywhere(true, &words, |case, at| {
            assert!(
                case.lets_in(&case.phone, 0) && case.lets_in(&case.tablet, 1),
                "{at}"
            );
            assert_eq!(case.run(&words), Some(0), "{at}");
            assert!(case.lets_in(&case.phone, 2), "{at}");
        });
    }
}
