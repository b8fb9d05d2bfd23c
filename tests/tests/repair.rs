//! `totpctl repair` and `totpctl resync`: what gets people back in whose records or clocks are off.

use std::fs;

use end_to_end::clock::{self, system as now};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch, attempts_left};
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
