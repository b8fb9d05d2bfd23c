//! What happens while a prompt is open counts: it is the state after the answer that an answer is judged by.

use std::fs;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, Outcome, Scratch, limit_reached};

struct Case {
    scratch: Scratch,
    right: String,
    wrong: String,
}

impl Case {
    fn new() -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new("");
        scratch.enroll(ACCOUNT, &phone);
        clock::set(EPOCH);
        let (right, wrong) = (phone.code_at(EPOCH), phone.wrong_code_at(EPOCH));
        Self {
            scratch,
            right,
            wrong,
        }
    }

    /// A login with the right code, typed after `event`.
    fn right_after(&self, event: impl Fn(&Self)) -> Outcome {
        let person = |message: &Message| {
            if !message.style.is_prompt() {
                return Reply::Null;
            }
            event(self);
            self.right.as_str().into()
        };
        let mut login = self.scratch.start(ACCOUNT, person);
        let code = login.authenticate(0);
        Outcome {
            code,
            heard: login.heard(),
        }
    }

    fn totpctl(&self, arguments: &[&str], input: &str) {
        let output = self.scratch.totpctl(arguments, input);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn enroll_anew(&self) {
        self.totpctl(&["reset", ACCOUNT, "--force"], "");
        self.scratch
            .enroll(ACCOUNT, &Phone::new("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"));
    }
}

#[test]
fn t20_an_open_prompt_keeps_nobody_waiting_and_its_code_is_good_once() {
    let case = Case::new();
    let elsewhere = |case: &Case| {
        let code = case.scratch.login(ACCOUNT, case.right.as_str()).code;
        assert_eq!(code, Code::SUCCESS);
    };
    assert_eq!(case.right_after(elsewhere).code, Code::AUTH_ERR);
}

#[test]
fn a_limit_reached_meanwhile_refuses_the_right_code() {
    let case = Case::new();
    let outcome = case.right_after(|case| {
        for _ in 0..3 {
            case.scratch.login(ACCOUNT, case.wrong.as_str());
        }
    });
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(outcome.told(), [limit_reached(10)]);
}

#[test]
fn a_lock_opened_meanwhile_lets_the_right_code_in() {
    let case = Case::new();
    let outcome = case.right_after(|case| {
        for _ in 0..3 {
            case.scratch.login(ACCOUNT, case.wrong.as_str());
        }
        case.totpctl(&["unlock", ACCOUNT], "");
    });
    assert_eq!(outcome.code, Code::SUCCESS);
}

#[test]
fn an_enrollment_ended_meanwhile_is_over() {
    type Event = fn(&Case);
    let events: [(&str, Event); 4] = [
        ("reset", |case| {
            case.totpctl(&["reset", ACCOUNT, "--force"], "")
        }),
        ("enrolled anew", Case::enroll_anew),
        ("no secret", |case| {
            fs::remove_file(case.scratch.secret(ACCOUNT)).unwrap()
        }),
        ("no state", |case| {
            fs::remove_file(case.scratch.state(ACCOUNT)).unwrap()
        }),
    ];
    for (name, event) in events {
        let case = Case::new();
        assert_eq!(case.right_after(event).code, Code::AUTH_ERR, "{name}");
    }
}

#[test]
fn a_configuration_changed_meanwhile_counts_from_the_next_login() {
    let case = Case::new();
    let outcome = case.right_after(|case| case.scratch.write_config("["));
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(case.scratch.login(ACCOUNT, "").code, Code::SERVICE_ERR);
}
