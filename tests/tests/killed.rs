//! Commands that are killed before any of their system calls: the old is left or the new, and nobody is locked out.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use end_to_end::clock::{self, EPOCH};
use end_to_end::gateway::{Gateway, code_in};
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch, answering};
use end_to_end::ssh_key::SshKey;
use end_to_end::token::Token;

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
/// What a rotation puts in the place of the phone's.
const NEW: &str = "NZSXO43FMNZGK5DONZSXO43FMNZGK5DO";
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
    key: OnceCell<String>,
    gateway: OnceCell<Gateway>,
}

impl Case {
    fn new(has_tablet: bool) -> Self {
        let case = Self {
            scratch: Scratch::new(&format!("{NO_LIMITS}[policy]\nunenrolled = \"skip\"\n")),
            phone: Phone::new(Phone::SECRET),
            tablet: Phone::new(OTHER),
            key: OnceCell::new(),
            gateway: OnceCell::new(),
        };
        case.scratch.enroll(ACCOUNT, &case.phone);
        if has_tablet {
            case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
        }
        case
    }

    /// The backup key, made when it is first asked for.
    fn key(&self) -> &str {
        self.key
            .get_or_init(|| self.scratch.new_backup_key(ACCOUNT))
    }

    /// What text messages are handed to, from when it is first asked for.
    fn gateway(&self) -> &Gateway {
        self.gateway.get_or_init(|| {
            let gateway = Gateway::new();
            self.scratch
                .configure(&format!("{NO_LIMITS}{}", gateway.settings()));
            gateway
        })
    }

    fn has_text(&self) -> bool {
        let status = self.status();
        let mut devices = status["devices"].as_array().expect("a list").iter();
        devices.any(|device| device["type"] == "text")
    }

    /// Whether one of the codes that have been sent by then gets in: the one of now, or one that is still on its way.
    fn lets_in_by_text(&self, moment: i64) -> bool {
        clock::set(EPOCH + 120 * moment);
        let mut letters = vec!["t"].into_iter();
        let mut login = self.scratch.start(ACCOUNT, |message: &Message| {
            match letters.next().filter(|_| message.style.is_prompt()) {
                Some(letter) => letter.into(),
                None => Reply::Null,
            }
        });
        login.authenticate(0);
        let handed = self.gateway().handed();
        let mut codes = handed.iter().map(|handed| code_in(&handed.input));
        codes.any(|code| self.takes(&code, moment, ""))
    }

    /// Whether a fresh code gets in. `moment` is one that no code of this case was used at before.
    fn lets_in(&self, device: &Phone, moment: i64) -> bool {
        self.lets_in_beside(device, moment, "")
    }

    /// The same where sshd has been shown a key.
    fn lets_in_beside(&self, device: &Phone, moment: i64, proof: &str) -> bool {
        self.takes(&device.code_at(EPOCH + 120 * moment), moment, proof)
    }

    fn takes(&self, answer: &str, moment: i64, proof: &str) -> bool {
        clock::set(EPOCH + 120 * moment);
        let mut login = self.scratch.start(ACCOUNT, answering(answer));
        login.put_env("SSH_AUTH_INFO_0", proof);
        let code = login.authenticate(0);
        clock::unset();
        code == Code::SUCCESS
    }

    fn status(&self) -> serde_json::Value {
        self.scratch.status(ACCOUNT)["users"][0].clone()
    }

    fn is_enrolled(&self) -> bool {
        self.status()["enrolled"] == true
    }

    fn run(&self, words: &[&str]) -> Option<i32> {
        self.feed(words, &format!("{OTHER}\n"))
    }

    fn feed(&self, words: &[&str], input: &str) -> Option<i32> {
        self.scratch.totpctl(words, input).status.code()
    }

    fn totpctl(&self, words: &[&str], input: &str) -> Job {
        let (command, input) = (self.scratch.command(words), input.to_owned());
        Job {
            command,
            input,
            status: 0,
        }
    }

    /// A login at the moment 0.
    fn login(&self, answer: &str) -> Job {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contender"));
        command.arg(self.scratch.path("pam.d")).args([
            "once",
            ACCOUNT,
            HOME,
            &EPOCH.to_string(),
            answer,
        ]);
        let input = String::new();
        Job {
            command,
            input,
            status: 0,
        }
    }
}

/// What is run and killed.
struct Job {
    command: Command,
    input: String,
    /// How it exits where nobody kills it.
    status: i32,
}

impl Job {
    /// Runs it under strace with `options`.
    fn traced(&self, options: &[&str]) -> ExitStatus {
        let mut strace = Command::new("strace")
            .args(options)
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace starts");
        let mut input = strace.stdin.take().expect("a pipe");
        // Whoever is killed reads nothing.
        let _ = input.write_all(self.input.as_bytes());
        drop(input);
        strace.wait().expect("it ends")
    }
}

/// The system calls of a job, from the first that has to do with records to the last: each by its name, and as the how
/// manieth of that name.
fn calls(has_tablet: bool, job: impl Fn(&Case) -> Job) -> Vec<(String, usize)> {
    let case = Case::new(has_tablet);
    let trace = case.scratch.path("trace");
    let output = trace.to_str().expect("a plain path");
    let job = job(&case);
    let status = job.traced(&["-qq", "-o", output]);
    assert_eq!(status.code(), Some(job.status), "{:?}", job.command);
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

/// Kills a job before each of its system calls, and has `check` look at what is left and bring it to an end.
fn kill_everywhere(has_tablet: bool, job: impl Fn(&Case) -> Job, check: impl Fn(&Case, &str)) {
    let calls = calls(has_tablet, &job);
    let mut killed = 0;
    for (name, count) in &calls {
        let case = Case::new(has_tablet);
        let inject = format!("inject={name}:signal=KILL:when={count}");
        let job = job(&case);
        let status = job.traced(&["-qq", "-o", "/dev/null", "-e", &inject]);
        killed += usize::from(status.signal() == Some(9));
        check(
            &case,
            &format!("{:?} killed at {name} {count}", job.command),
        );
    }
    // Where a call was interrupted the numbers of those behind it differ.
    assert!(killed * 10 > calls.len() * 9, "{killed} of {}", calls.len());
}

/// The same of a command that takes the tablet's secret, or no input.
fn kill_totpctl_everywhere(has_tablet: bool, words: &[&str], check: impl Fn(&Case, &str)) {
    let job = |case: &Case| case.totpctl(words, &format!("{OTHER}\n"));
    kill_everywhere(has_tablet, job, check);
}

#[test]
fn an_enrollment() {
    kill_totpctl_everywhere(false, ENROLL, |case, at| {
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
    kill_totpctl_everywhere(true, &remove, |case, at| {
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
    for has_old in [false, true] {
        let job = |case: &Case| {
            if has_old {
                case.scratch.new_backup_codes(ACCOUNT);
            }
            case.totpctl(&words, "")
        };
        kill_everywhere(false, job, |case, at| {
            let count = case.status()["backup_codes"].clone();
            let is_whole = count == 10 || !has_old && count.is_null();
            assert!(is_whole, "{at}: the old or the new, not {count}");
            assert!(case.lets_in(&case.phone, 0), "{at}");
            let codes = case.scratch.new_backup_codes(ACCOUNT);
            assert!(case.takes(&codes[0], 1, ""), "{at}");
            assert_eq!(case.status()["backup_codes"], 9, "{at}");
        });
    }
}

#[test]
fn disabling_and_resetting() {
    for words in [
        ["disable", ACCOUNT, "--force"],
        ["reset", ACCOUNT, "--force"],
    ] {
        kill_totpctl_everywhere(true, &words, |case, at| {
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
        kill_totpctl_everywhere(true, &words, |case, at| {
            assert!(
                case.lets_in(&case.phone, 0) && case.lets_in(&case.tablet, 1),
                "{at}"
            );
            assert_eq!(case.run(&words), Some(0), "{at}");
            assert!(case.lets_in(&case.phone, 2), "{at}");
        });
    }
}

#[test]
fn a_rotation() {
    const ROTATE: [&str; 4] = ["rotate", ACCOUNT, "--secret-file", "-"];
    let new = Phone::new(NEW);
    // The code of now, whatever that is when it is judged.
    let input = || {
        let codes = new.codes(clock::system(), 1).join("\n");
        format!("{NEW}\n{codes}\n")
    };
    let job = |case: &Case| case.totpctl(&ROTATE, &input());
    kill_everywhere(true, job, |case, at| {
        let (has_old, has_new) = (case.lets_in(&case.phone, 0), case.lets_in(&new, 1));
        assert!(has_old != has_new, "{at}: old {has_old}, new {has_new}");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
        let again = case.feed(&ROTATE, &input());
        assert_eq!(again, Some(if has_new { 1 } else { 0 }), "{at}");
        assert!(
            !case.lets_in(&case.phone, 3) && case.lets_in(&new, 4) && case.lets_in(&case.tablet, 5),
            "{at}"
        );
    });
}

#[test]
fn a_bond_to_an_ssh_key() {
    let scratch = Scratch::new("");
    let key = SshKey::new(&scratch.path("key"));
    let bind = [
        "device",
        "bind",
        ACCOUNT,
        "phone",
        "--ssh-key",
        &key.fingerprint,
    ];
    kill_totpctl_everywhere(true, &bind, |case, at| {
        let is_bound = case.status()["devices"][0]["ssh_key"] == *key.fingerprint;
        assert_eq!(case.lets_in(&case.phone, 0), !is_bound, "{at}");
        assert!(case.lets_in_beside(&case.phone, 1, &key.proof), "{at}");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
        assert_eq!(case.run(&bind), Some(0), "{at}");
        assert!(
            !case.lets_in(&case.phone, 3) && case.lets_in_beside(&case.phone, 4, &key.proof),
            "{at}"
        );
    });
}

#[test]
fn another_name() {
    let rename = ["device", "rename", ACCOUNT, "phone", "pixel"];
    kill_totpctl_everywhere(true, &rename, |case, at| {
        let name = case.status()["devices"][0]["name"].clone();
        assert!(name == "phone" || name == "pixel", "{at}: {name}");
        assert!(
            case.lets_in(&case.phone, 0) && case.lets_in(&case.tablet, 1),
            "{at}"
        );
        let again = case.run(&rename);
        assert_eq!(again, Some(if name == "pixel" { 1 } else { 0 }), "{at}");
        assert!(case.lets_in(&case.phone, 2), "{at}");
    });
}

#[test]
fn a_new_backup_key() {
    let words = ["backup-key", ACCOUNT, "--regenerate"];
    let job = |case: &Case| {
        case.key();
        case.totpctl(&words, "")
    };
    kill_everywhere(false, job, |case, at| {
        assert_eq!(
            case.status()["backup_key"],
            true,
            "{at}: the old or the new"
        );
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let newest = case.scratch.new_backup_key(ACCOUNT);
        assert!(!case.takes(case.key(), 1, "") && case.is_enrolled(), "{at}");
        assert!(case.takes(&newest, 1, "") && !case.is_enrolled(), "{at}");
    });
}

#[test]
fn a_login_by_the_backup_key() {
    kill_everywhere(
        true,
        |case| case.login(case.key()),
        |case, at| {
            let is_enrolled = case.is_enrolled();
            assert_eq!(case.lets_in(&case.phone, 0), is_enrolled, "{at}");
            assert_eq!(case.lets_in(&case.tablet, 1), is_enrolled, "{at}");
            assert_eq!(case.takes(case.key(), 2, ""), is_enrolled, "{at}");
            assert!(!case.is_enrolled(), "{at}");
            assert_eq!(case.run(ENROLL), Some(0), "{at}");
            assert!(
                !case.takes(case.key(), 3, "") && !case.lets_in(&case.phone, 4),
                "{at}"
            );
            assert!(case.lets_in(&case.tablet, 5), "{at}");
        },
    );
}

#[test]
fn a_login_by_an_event_token() {
    let token = Token::new(NEW);
    let job = |case: &Case| {
        case.scratch.enroll_uri(ACCOUNT, "token", &token.uri(0));
        case.login(&token.code(3))
    };
    kill_everywhere(false, job, |case, at| {
        // Used by the login that was killed, or good once more: nobody has heard of it.
        case.takes(&token.code(3), 1, "");
        assert_eq!(case.status()["devices"][1]["next_counter"], 4, "{at}");
        for used in 0..=3 {
            assert!(!case.takes(&token.code(used), 2, ""), "{at}: {used}");
        }
        assert!(case.takes(&token.code(4), 3, ""), "{at}");
        assert!(case.lets_in(&case.phone, 4), "{at}");
    });
}

const TEXT: [&str; 5] = ["enroll", ACCOUNT, "--text", "+41791234567", "--no-confirm"];

#[test]
fn a_telephone_that_is_added_or_removed() {
    let remove = ["device", "remove", ACCOUNT, "text", "--force"];
    for (words, is_addition) in [(&TEXT[..], true), (&remove[..], false)] {
        let job = |case: &Case| {
            case.gateway();
            if !is_addition {
                assert_eq!(case.run(&TEXT), Some(0));
            }
            case.totpctl(words, "")
        };
        kill_everywhere(false, job, |case, at| {
            assert!(case.lets_in(&case.phone, 0), "{at}");
            let is_there = case.has_text();
            assert_eq!(case.lets_in_by_text(1), is_there, "{at}");
            let again = case.run(words);
            let is_refused = is_there == is_addition;
            assert_eq!(again, Some(if is_refused { 1 } else { 0 }), "{at}");
            assert_eq!(case.has_text(), is_addition, "{at}");
            assert!(case.lets_in(&case.phone, 3), "{at}");
        });
    }
}

#[test]
fn a_login_by_a_code_that_was_sent() {
    let job = |case: &Case| {
        case.gateway();
        assert_eq!(case.run(&TEXT), Some(0));
        clock::set(EPOCH);
        let mut answers = vec!["t".into(), Reply::Null].into_iter();
        let mut login = case
            .scratch
            .start(ACCOUNT, |_: &Message| answers.next().unwrap_or(Reply::Null));
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
        clock::unset();
        case.login(&case.gateway().code())
    };
    kill_everywhere(false, job, |case, at| {
        let code = case.gateway().code();
        // Used by the login that was killed, or good once more: nobody has heard of it.
        case.takes(&code, 0, "");
        assert!(!case.takes(&code, 0, ""), "{at}: twice");
        assert!(case.lets_in(&case.phone, 1), "{at}");
        assert!(case.lets_in_by_text(2), "{at}");
    });
}

#[test]
fn a_login_that_is_sent_a_code() {
    let job = |case: &Case| {
        case.gateway();
        assert_eq!(case.run(&TEXT), Some(0));
        let remove = ["device", "remove", ACCOUNT, "phone", "--force"];
        assert_eq!(case.run(&remove), Some(0));
        Job {
            status: Code::AUTH_ERR.0,
            ..case.login("000000")
        }
    };
    kill_everywhere(false, job, |case, at| {
        assert!(case.lets_in_by_text(1), "{at}");
    });
}
