//! `totpctl try`: a service's real stack, run once to see what becomes of a login.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::{Machine, output};
use end_to_end::product::{PROMPT, attempts_left};
use serde_json::Value;

fn machine() -> (Machine, Enrolled) {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .pam("sshd", &Example::named("sshd"));
    let phone = machine.enroll("alice");
    (machine, phone)
}

/// What it says to a program that types these lines.
fn tried(machine: &Machine, words: &str, lines: &str) -> (Option<i32>, Value) {
    let line = format!("totpctl try --json {words}");
    let words: Vec<&str> = line.split(' ').collect();
    let output = output(machine.command(&words), lines.as_bytes());
    let document = serde_json::from_slice(&output.stdout).expect("one document");
    (output.status.code(), document)
}

#[test]
fn who_gets_in_is_told_step_by_step_and_hidden_answers_stay_hidden() {
    let (machine, mut phone) = machine();
    let mut terminal = machine.terminal(&["totpctl", "try", "--service", "sshd", "alice"]);
    terminal
        .answer("Password: ", PASSWORD)
        .answer(PROMPT, &phone.code());
    let ending = terminal.end();
    assert_eq!(ending.status, 0, "{}", terminal.seen());
    for part in [
        "auth: Success",
        "account: Success",
        "alice would be let in by sshd",
    ] {
        assert!(ending.said.contains(part), "{}", ending.said);
    }
    assert!(!terminal.seen().contains(PASSWORD), "{}", terminal.seen());
}

#[test]
fn who_does_not_get_in_is_told_so_and_counted() {
    let (machine, mut phone) = machine();
    let words = "--service sshd alice --rhost 192.0.2.7";
    let wrong = format!("{PASSWORD}\n{}\n", phone.wrong_code());
    let (status, document) = tried(&machine, words, &wrong);
    assert_eq!(
        (status, &document["let_in"]),
        (Some(1), &Value::Bool(false))
    );
    let steps = document["steps"].to_string();
    for text in ["Password:", PROMPT.trim(), &attempts_left(2)] {
        assert!(steps.contains(text), "{steps}");
    }
    assert_eq!(document["auth"]["code"], 7);
    machine.log().assert_has(&[
        "event=wrong",
        "user=alice",
        "address=192.0.2.7",
        "service=sshd",
    ]);
    // A code that got somebody in here gets nobody in elsewhere.
    let code = phone.code();
    let right = format!("{PASSWORD}\n{code}\n");
    assert_eq!(tried(&machine, words, &right).0, Some(0));
    assert_eq!(tried(&machine, words, &right).0, Some(1));
}

#[test]
fn no_other_stack_is_taken_for_the_service() {
    let (machine, _) = machine();
    for words in [
        "--service nosuch alice",
        "--service ../sshd alice",
        "--service other/ alice",
    ] {
        let (status, document) = tried(&machine, words, "");
        assert_eq!(status, Some(1), "{document}");
        let told = document["error"]["message"].as_str().expect("a sentence");
        assert!(told.contains("there is no stack of a service"), "{told}");
    }
    let command = [
        "/usr/local/sbin/totpctl",
        "try",
        "--service",
        "sshd",
        "alice",
    ];
    let output = output(machine.command_as("alice", &command), b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("run totpctl as root"), "{told}");
}

const PASSWORD: &str = "correct horse";
