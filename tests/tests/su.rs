//! The real su, called by somebody who is not root.

use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::{PROMPT, attempts_left};
use end_to_end::terminal::Terminal;

fn machine() -> Machine {
    Machine::new()
        .user("alice", "alice's own password")
        .user("bob", PASSWORD)
        .password("root", PASSWORD)
        .pam("su", &Example::named("su"))
}

fn su(machine: &Machine, words: &[&str]) -> Terminal {
    machine.terminal_as("alice", &[&["su"], words].concat())
}

#[test]
fn the_password_and_the_code_of_the_target_get_in() {
    let machine = machine();
    let mut phone = machine.enroll("bob");
    let mut su = su(&machine, &["bob", "-c", "id -un"]);
    su.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    su.assert_ends_well("bob");
    machine
        .log()
        .assert_has(&["event=accepted", "user=bob", "service=su"]);
}

#[test]
fn a_login_shell_of_root_takes_the_code_too() {
    let machine = machine();
    let mut phone = machine.enroll("root");
    let mut su = su(&machine, &["-", "root", "-c", "id -un"]);
    su.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    su.assert_ends_well("root");
    machine
        .log()
        .assert_has(&["event=accepted", "user=root", "service=su-l"]);
}

#[test]
fn the_same_code_serves_only_once() {
    let machine = machine();
    let code = machine.enroll("bob").code();
    let mut first = su(&machine, &["bob", "-c", "id -un"]);
    first
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    first.assert_ends_well("bob");
    let mut second = su(&machine, &["bob", "-c", "id -un"]);
    second
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    second.see(&attempts_left(2));
    assert_ne!(second.end().status, 0);
}

#[test]
fn the_callers_own_code_does_not_serve() {
    let machine = machine();
    machine.enroll("bob");
    let mut callers = machine.enroll("alice");
    let mut su = su(&machine, &["bob", "-c", "id -un"]);
    su.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &callers.code());
    su.see(&attempts_left(2));
    assert_ne!(su.end().status, 0);
}

#[test]
fn a_wrong_password_is_refused_even_with_the_right_code() {
    let machine = machine();
    let mut phone = machine.enroll("bob");
    let mut su = su(&machine, &["bob", "-c", "id -un"]);
    su.answer(PASSWORD_PROMPT, "wrong staple")
        .answer(PROMPT, &phone.code());
    assert_ne!(su.end().status, 0);
}

#[test]
fn root_is_asked_for_nothing() {
    let machine = machine();
    machine.enroll("bob");
    assert_eq!(machine.run("su bob -c 'id -un'"), "bob\n");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
