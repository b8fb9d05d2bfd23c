//! The shipped stacks: the one that no other test file uses, and what holds for all of them.

use std::fs;

use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::{self, PROMPT, attempts_left};

fn machine() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("optional-until-enrolled"), "")
}

#[test]
fn until_they_enroll_people_get_in_with_the_password_alone() {
    let machine = machine();
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    ssh.assert_ends_well("alice");
    assert!(!ssh.seen().contains(PROMPT), "{}", ssh.seen());
}

#[test]
fn until_they_enroll_people_need_the_right_password() {
    let machine = machine();
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, "wrong staple")
        .see(PASSWORD_PROMPT);
}

#[test]
fn once_enrolled_people_get_in_with_the_code() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
}

#[test]
fn once_enrolled_people_do_not_get_in_without_it() {
    let machine = machine();
    let phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.wrong_code());
    ssh.see(&attempts_left(2));
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
}

#[test]
fn every_example_is_used_by_a_test() {
    let tests = product::workspace().join("tests/tests");
    let files = fs::read_dir(tests)
        .expect("the tests")
        .map(|entry| entry.expect("an entry").path());
    let text: String = files
        .map(|file| fs::read_to_string(file).expect("text"))
        .collect();
    for name in Example::names() {
        assert!(
            text.contains(&format!("Example::named(\"{name}\")")),
            "no test uses {name}"
        );
    }
}

#[test]
fn the_way_back_restores_what_debian_ships() {
    for name in Example::names() {
        let example = Example::named(&name);
        let there = example.lines_below("Install");
        let back = example.lines_below("The way back");
        let target = there
            .split_whitespace()
            .last()
            .expect("a target")
            .to_owned();
        let machine = Machine::new().file(DROP_IN, "644", "UsePAM yes\n").file(
            &format!("/examples/{name}"),
            "644",
            &example.stack,
        );
        // Not each is there before.
        let read = format!("cat {target} || true");
        let before = machine.run(&read);
        machine.run(&format!("cd /examples\n{there}"));
        assert_eq!(machine.run(&read), example.stack, "{name}");
        machine.run(&back);
        assert_eq!(machine.run(&read), before, "{name}");
    }
}

const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-pam_totp.conf";
const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
