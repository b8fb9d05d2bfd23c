//! The real login on a terminal, as getty starts it.

use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::{PROMPT, attempts_left};
use end_to_end::terminal::Terminal;

fn machine() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .pam("login", &Example::named("login"))
}

fn login(machine: &Machine) -> Terminal {
    let mut login = machine.terminal(&["login"]);
    login.see("login: ");
    login.enter("alice");
    login
}

#[test]
fn password_and_code_open_a_shell() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut login = login(&machine);
    login
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    login.see("$ ");
    login.enter("id -un; exit");
    let ending = login.end();
    // A line of its own; whether a newline goes before it is the shell's.
    assert!(
        ending.said.lines().any(|line| line == "alice"),
        "{ending:?}"
    );
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "service=login"]);
}

#[test]
fn a_wrong_code_leads_back_to_the_user_name() {
    let machine = machine();
    let phone = machine.enroll("alice");
    let mut login = login(&machine);
    login
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.wrong_code());
    login.see(&attempts_left(2));
    login.see("Login incorrect");
    login.see("login: ");
}

#[test]
fn the_same_code_opens_only_one_shell() {
    let machine = machine();
    let code = machine.enroll("alice").code();
    let mut first = login(&machine);
    first
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    first.see("$ ");
    let mut second = login(&machine);
    second
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    second.see(&attempts_left(2));
    second.see("Login incorrect");
}

#[test]
fn a_wrong_password_is_refused_even_with_the_right_code() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut login = login(&machine);
    login
        .answer(PASSWORD_PROMPT, "wrong staple")
        .answer(PROMPT, &phone.code());
    login.see("Login incorrect");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
