//! `totpctl repair` and `totpctl resync`: what gets people back in whose records or clocks are off.

use std::fs;
use std::process::Command;

use end_to_end::clock::{self, system as now};
use end_to_end::held::Paused;
use end_to_end::libpam::Code;
use end_to_end::machine::{Machine, output};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch, attempts_left};
use end_to_end::secret;
use serde_json::Value;

struct Case {
    scratch: Scratch,
    phone: Phone,
}

impl Case {
    fn new(settings: &str) -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new(settings);
        scratch.enroll(ACCOUNT, &phone);
        Self { scratch, phone }
    }

    /// Whether the code of `time` gets in then.
    fn gets_in(&self, time: i64) -> bool {
        self.gets_in_with_clock_ahead(time, 0)
    }

    /// Whether the code of a phone whose clock is ahead gets in.
    fn gets_in_with_clock_ahead(&self, time: i64, ahead: i64) -> bool {
        clock::set(time);
        let code = self.phone.code_at(time + ahead);
        let code = self.scratch.login(ACCOUNT, code.as_str()).code;
        clock::unset();
        code == Code::SUCCESS
    }

    #[track_caller]
    fn totpctl(&self, arguments: &[&str], input: &str, status: i32) -> Value {
        let output = self.scratch.totpctl(arguments, input);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("one document")
    }
}

#[test]
fn a_lost_or_damaged_state_is_repaired_and_no_code_of_before_works_again() {
    type Event = fn(&Scratch);
    let events: [(&str, Event); 3] = [
        ("missing", |scratch| {
            fs::remove_file(scratch.state(ACCOUNT)).expect("a state");
        }),
        ("damaged", |scratch| {
            fs::write(scratch.state(ACCOUNT), [0; 8192]).expect("a state");
        }),
        ("whole", |_| ()),
    ];
    for (found, event) in events {
        let case = Case::new(NO_LIMITS);
        let start = now();
        assert!(case.gets_in(start), "{found}");
        event(&case.scratch);
        let document = case.totpctl(&["repair", ACCOUNT, "--json"], "", 0);
        assert_eq!(document["found"], found, "{document}");
        for before in [-30, 0, 30] {
            assert!(!case.gets_in(start + before), "{found}: {before}");
        }
        assert!(case.gets_in(start + 120), "{found}");
    }
}

#[test]
fn a_whole_state_keeps_its_counts() {
    let case = Case::new("");
    let wrong = case.phone.wrong_code_at(now());
    for left in [2, 1] {
        let told = case.scratch.login(ACCOUNT, wrong.as_str());
        assert_eq!(told.told(), [attempts_left(left)]);
    }
    case.totpctl(&["repair", ACCOUNT, "--json"], "", 0);
    let status = case.scratch.status(ACCOUNT);
    assert_eq!(status["users"][0]["addresses"][0]["address"], HOME);
    assert_eq!(status["users"][0]["addresses"][0]["attempts_left"], 1);
}

#[test]
fn everybody_is_repaired_and_who_cannot_be_is_named() {
    let case = Case::new(NO_LIMITS);
    case.scratch.enroll("bin", &case.phone);
    case.scratch.enroll("sys", &case.phone);
    fs::write(case.scratch.secret("bin"), "no secret").expect("a secret file");
    fs::remove_file(case.scratch.state("sys")).expect("a state");
    let document = case.totpctl(&["repair", "--all", "--json"], "", 3);
    assert_eq!(document["failed"], 1);
    let found: Vec<_> = document["users"]
        .as_array()
        .expect("users")
        .iter()
        .collect();
    assert_eq!(found[0]["user"], "bin");
    assert!(found[0]["error"].is_string(), "{document}");
    assert_eq!(
        (&found[1]["found"], &found[2]["found"]),
        (&"whole".into(), &"missing".into())
    );
    assert!(case.gets_in(now() + 120));
}

#[test]
fn a_phone_that_is_minutes_off_is_set_right_by_two_codes() {
    let case = Case::new(NO_LIMITS);
    let ahead = 6 * 60;
    let start = now();
    assert!(!case.gets_in_with_clock_ahead(start, ahead));
    let codes = case.phone.codes(start + ahead, 1).join("\n") + "\n";
    let document = case.totpctl(&["resync", ACCOUNT, "--json"], &codes, 0);
    let drift = document["drift"].as_i64().expect("a number");
    // The second code came with the first: its phone is a period further.
    assert!((12..=13).contains(&drift), "{document}");
    assert!(!case.gets_in_with_clock_ahead(start, ahead), "used up");
    assert!(case.gets_in_with_clock_ahead(start + 90, ahead));
}

#[test]
fn used_wrong_and_scattered_codes_set_nothing_right() {
    let case = Case::new(NO_LIMITS);
    let start = now();
    let codes = case.phone.codes(start + 300, 3);
    let wrong = case.phone.wrong_code_at(start);
    for [first, second] in [
        [&codes[0], &codes[2]],
        [&codes[1], &codes[0]],
        [&codes[0], &codes[0]],
        [&codes[0], &wrong],
        [&wrong, &codes[1]],
    ] {
        let input = format!("{first}\n{second}\n");
        let document = case.totpctl(&["resync", ACCOUNT, "--json"], &input, 1);
        assert_eq!(document["error"]["kind"], "refused", "{document}");
    }
    case.totpctl(
        &["resync", ACCOUNT, "--json"],
        &format!("{}\n", codes[0]),
        1,
    );
    let both = format!("{}\n{}\n", codes[0], codes[1]);
    case.totpctl(&["resync", ACCOUNT, "--json"], &both, 0);
    case.totpctl(&["resync", ACCOUNT, "--json"], &both, 1);
}

#[test]
fn a_resync_counts_nothing_and_forgets_nothing() {
    let case = Case::new("[limits]\naddress_deny = 0\n");
    let wrong = case.phone.wrong_code_at(now());
    case.scratch.three_strangers_guess(ACCOUNT, &wrong);
    let counts = || {
        let user = case.scratch.status(ACCOUNT)["users"][0].clone();
        assert_eq!(user["unfamiliar"]["total"], 3, "{user}");
        (user["unfamiliar"].clone(), user["addresses"].clone())
    };
    let before = counts();
    let codes = case.phone.codes(now() + 300, 1);
    let resync = ["resync", ACCOUNT, "--json"];
    for (second, status) in [(&wrong, 1), (&codes[1], 0)] {
        let input = format!("{}\n{second}\n", codes[0]);
        case.totpctl(&resync, &input, status);
        assert_eq!(counts(), before);
    }
}

#[test]
fn a_resync_tells_nobody_which_code_was_wrong_and_logs_it() {
    let (machine, phone) = (Machine::new(), Phone::new(Phone::SECRET));
    let enroll = "totpctl enroll daemon --secret-file - --no-confirm";
    machine.feed(enroll, format!("{}\n", Phone::SECRET));
    let right = phone.code_at(now() + 300);
    let wrong = phone.wrong_code_at(now());
    let tries = [[&right, &wrong], [&wrong, &right], [&wrong, &wrong]];
    let told = tries.map(|[first, second]| {
        let before = machine.log().lines().len();
        let input = format!("{first}\n{second}\n");
        let told = machine.feed("totpctl resync daemon 2>&1 || test $? = 1", input);
        let parts = [
            "event=wrong",
            "user=daemon",
            "service=totpctl",
            "actor=uid:0",
        ];
        machine.log().assert_has_after(before, &parts);
        told
    });
    assert!(told[0].contains("no two unused codes in a row"), "{told:?}");
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
}

#[test]
fn a_device_that_the_state_does_not_know_is_named() {
    let case = Case::new(NO_LIMITS);
    let tablet = Phone::new(&secret::fresh());
    case.scratch.enroll_device(ACCOUNT, "tablet", &tablet);
    let (secret, copy) = (case.scratch.secret(ACCOUNT), case.scratch.path("copy"));
    // With its owner and mode, as a backup brings it back.
    fs::copy(&secret, &copy).expect("a secret");
    let remove = ["device", "remove", ACCOUNT, "tablet", "--force", "--json"];
    case.totpctl(&remove, "", 0);
    let repair = ["repair", ACCOUNT, "--json"];
    let document = case.totpctl(&repair, "", 0);
    assert_eq!(document["unknown"], serde_json::json!([]), "{document}");
    fs::rename(copy, secret).expect("a secret");
    let document = case.totpctl(&repair, "", 0);
    assert_eq!(document["found"], "whole");
    assert_eq!(
        document["unknown"],
        serde_json::json!(["tablet"]),
        "{document}"
    );
}

/// Somebody with a tablet too, whose records are repaired while `change` is made.
struct Overtaken {
    case: Case,
    tablet: Phone,
    new: Phone,
}

impl Overtaken {
    fn by(change: impl Fn(&Case, &Phone)) -> Self {
        let case = Case::new(NO_LIMITS);
        let [tablet, new] = [(); 2].map(|()| Phone::new(&secret::fresh()));
        case.scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        let (secret, copy) = (case.scratch.secret(ACCOUNT), case.scratch.path("copy"));
        // With its owner and mode, as a backup brings it back.
        fs::copy(secret, copy).expect("a secret");
        // It has the secret file, then the state, but not its lock.
        let repair = Paused::at_open(&case.scratch, &["repair", ACCOUNT], 2);
        change(&case, &new);
        let said = repair.end();
        assert_eq!(said.code, Some(0), "{said:?}");
        Self { case, tablet, new }
    }

    /// Whether the phone, the tablet and the new device get in when so many minutes have passed.
    fn get_in(&self, minutes: i64) -> [bool; 3] {
        let time = now() + 60 * minutes;
        clock::set(time);
        let devices = [&self.case.phone, &self.tablet, &self.new];
        let get_in = devices.map(|device| {
            let code = device.code_at(time);
            self.case.scratch.login(ACCOUNT, code.as_str()).code == Code::SUCCESS
        });
        clock::unset();
        get_in
    }

    fn restore_the_secret_file_of_before(&self) {
        let (secret, copy) = (
            self.case.scratch.secret(ACCOUNT),
            self.case.scratch.path("copy"),
        );
        fs::rename(copy, secret).expect("a secret");
    }
}

#[test]
fn a_device_rotated_meanwhile_has_its_new_key_alone() {
    let overtaken = Overtaken::by(|case, new| {
        let rotate = ["rotate", ACCOUNT, "--secret-file", "-", "--json"];
        let input = format!("{}\n{}\n", new.secret, new.code_at(now()));
        let output = case.scratch.totpctl(&rotate, &input);
        assert!(output.status.success(), "{output:?}");
    });
    assert_eq!(overtaken.get_in(2), [false, true, true]);
    overtaken.restore_the_secret_file_of_before();
    assert_eq!(overtaken.get_in(4), [false, true, false]);
}

#[test]
fn a_device_enrolled_meanwhile_works() {
    let overtaken = Overtaken::by(|case, new| case.scratch.enroll_device(ACCOUNT, "third", new));
    assert_eq!(overtaken.get_in(2), [true; 3]);
}

#[test]
fn a_device_removed_meanwhile_stays_dead() {
    let overtaken = Overtaken::by(|case, _| {
        let remove = ["device", "remove", ACCOUNT, "phone", "--force"];
        let output = case.scratch.totpctl(&remove, "");
        assert!(output.status.success(), "{output:?}");
    });
    assert_eq!(overtaken.get_in(2), [false, true, false]);
    overtaken.restore_the_secret_file_of_before();
    assert_eq!(overtaken.get_in(4), [false, true, false]);
}

/// A slot as a later version writes it.
fn slot_of_version_3(serial: u64, body: &[u8]) -> Vec<u8> {
    let mut slot = b"PAMTOTP\x03".to_vec();
    slot.extend(serial.to_le_bytes());
    slot.extend((body.len() as u64).to_le_bytes());
    let summed = output(Command::new("sha256sum"), &[&slot, body].concat()).stdout;
    let digits = std::str::from_utf8(&summed[..64]).expect("digits");
    slot.extend(
        (0..64)
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a byte")),
    );
    slot.extend(body);
    slot.resize(4096, 0);
    slot
}

#[test]
fn a_state_of_a_newer_version_is_given_up_only_by_force() {
    let newer = slot_of_version_3(7, b"what a later version keeps");
    for place in ["both", "first", "second"] {
        let case = Case::new(NO_LIMITS);
        assert!(case.gets_in(now()));
        let state = case.scratch.state(ACCOUNT);
        let own = fs::read(&state).expect("a state");
        let (first, second) = own.split_at(4096);
        let slots = match place {
            "both" => [&newer, &newer[..]],
            "first" => [&newer, second],
            _ => [first, &newer],
        };
        fs::write(&state, slots.concat()).expect("a state");
        let document = case.totpctl(&["repair", ACCOUNT, "--json"], "", 3);
        let message = document["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains("format version is 3"), "{message}");
        assert!(message.contains("--force"), "{message}");
        let everybody = case.totpctl(&["repair", "--all", "--json"], "", 3);
        assert_eq!(everybody["failed"], 1, "{everybody}");
        assert!(!case.gets_in(now() + 120), "{place}");
        let kept = fs::read(&state).expect("a state");
        assert!(kept == slots.concat(), "{place}: it has changed");
        let document = case.totpctl(&["repair", ACCOUNT, "--force", "--json"], "", 0);
        assert_eq!(document["found"], "newer", "{document}");
        assert!(!case.gets_in(now()), "{place}: of before");
        assert!(case.gets_in(now() + 120), "{place}");
    }
}

#[test]
fn a_state_that_cannot_be_read_is_not_replaced() {
    let case = Case::new(NO_LIMITS);
    assert!(case.gets_in(now()));
    let state = case.scratch.state(ACCOUNT);
    let before = fs::read(&state).expect("a state");
    for words in [&["repair", ACCOUNT][..], &["repair", ACCOUNT, "--force"]] {
        let repair = case.scratch.command(words);
        let mut strace = Command::new("strace");
        strace
            .args(["-qq", "-o", "/dev/null", "-P"])
            .arg(&state)
            .args(["-e", "inject=pread64:error=EIO"])
            .arg(repair.get_program())
            .args(repair.get_args());
        let repaired = output(strace, b"");
        assert_eq!(repaired.status.code(), Some(3), "{repaired:?}");
        let after = fs::read(&state).expect("a state");
        assert!(after == before, "{words:?}: it has changed");
    }
    assert!(case.gets_in(now() + 30), "nothing but one code is used up");
}
