//! The real sudo, on a terminal and with its answers on standard input.

use end_to_end::example::Example;
use end_to_end::machine::{Machine, output};
use end_to_end::product::PROMPT;
use end_to_end::terminal::Terminal;

fn machine() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .pam("sudo", &Example::named("sudo"))
        .pam("sudo-i", &Example::named("sudo-i"))
        .file("/etc/sudoers", "440", "alice ALL = (ALL) ALL\n")
}

fn sudo(machine: &Machine, words: &[&str]) -> Terminal {
    machine.terminal_as("alice", &[&["sudo"], words].concat())
}

#[test]
fn password_and_code_become_root() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut sudo = sudo(&machine, &["id", "-un"]);
    sudo.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    sudo.assert_ends_well("root");
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "service=sudo"]);
}

#[test]
fn a_login_shell_of_root_takes_the_code_too() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut sudo = sudo(&machine, &["-i", "id", "-un"]);
    sudo.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    sudo.assert_ends_well("root");
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "service=sudo-i"]);
}

#[test]
fn password_and_code_on_standard_input_become_root() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let code = phone.code();
    machine.log().keep_secret(&code);
    let answers = format!("{PASSWORD}\n{code}\n");
    let sudo = machine.command_as("alice", &["sudo", "-S", "id", "-un"]);
    let output = output(sudo, answers.as_bytes());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "root\n",
        "{output:?}"
    );
}

#[test]
fn the_password_alone_on_standard_input_is_refused() {
    let machine = machine();
    machine.enroll("alice");
    let sudo = machine.command_as("alice", &["sudo", "-S", "id", "-un"]);
    let output = output(sudo, format!("{PASSWORD}\n").as_bytes());
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

#[test]
fn the_same_code_serves_only_once() {
    let machine = machine();
    let code = machine.enroll("alice").code();
    let mut first = sudo(&machine, &["id", "-un"]);
    first
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    first.assert_ends_well("root");
    let mut second = sudo(&machine, &["-k", "id", "-un"]);
    second
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    second.see(PASSWORD_PROMPT);
}

#[test]
fn a_wrong_password_is_refused_even_with_the_right_code() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut sudo = sudo(&machine, &["id", "-un"]);
    sudo.answer(PASSWORD_PROMPT, "wrong staple")
        .answer(PROMPT, &phone.code());
    sudo.see(PASSWORD_PROMPT);
}

#[test]
fn the_prompt_counts_down_and_then_tells_of_the_limit_and_asks_for_no_code() {
    let machine = machine();
    let phone = machine.enroll("alice");
    let mut first = sudo(&machine, &["id", "-un"]);
    for told in ["", "Attempts left: 2", "Attempts left: 1"] {
        first.answer(PASSWORD_PROMPT, PASSWORD).see(told);
        first.answer(PROMPT, &phone.wrong_code());
    }
    let limit = "limit of attempts. Please try again later in 10 minutes. (Press Enter) ";
    first.see(limit);
    first.enter("");
    assert_ne!(first.end().status, 0);
    let mut refused = sudo(&machine, &["id", "-un"]);
    refused.answer(PASSWORD_PROMPT, PASSWORD);
    refused.see(limit);
    refused.enter("");
    let shown = refused.see(PASSWORD_PROMPT);
    assert!(
        !shown.contains(PROMPT),
        "asked for a code that nobody will judge: {shown}"
    );
    machine
        .log()
        .assert_has(&["event=refused", "user=alice", "service=sudo"]);
}

#[test]
fn interrupting_the_prompt_is_a_refusal_but_no_guess() {
    let machine = machine();
    machine.enroll("alice");
    let mut interrupted = sudo(&machine, &["id", "-un"]);
    interrupted.answer(PASSWORD_PROMPT, PASSWORD).see(PROMPT);
    // sudo misses one that comes between its prompt and its reading.
    interrupted.interrupt();
    interrupted.interrupt();
    assert_ne!(interrupted.end().status, 0);
    let mut next = sudo(&machine, &["id", "-un"]);
    let shown = next.answer(PASSWORD_PROMPT, PASSWORD).see(PROMPT);
    assert!(!shown.contains("Attempts left"), "{shown}");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "[sudo] password for alice: ";
