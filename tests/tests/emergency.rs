//! The ways back in from a root console, as README has them, each from a machine that lets nobody in.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::{PROMPT, workspace};

/// The lines that README has under a heading of its emergencies.
fn lines_of(heading: &str) -> String {
    let text = std::fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let section = text.split("## Emergency").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its end");
    let below = section
        .split(&format!("**{heading}"))
        .nth(1)
        .unwrap_or_else(|| panic!("README says nothing of {heading:?}"));
    let mut lines = below
        .lines()
        .skip_while(|line| !line.starts_with("       "));
    let lines: Vec<&str> = lines
        .by_ref()
        .take_while(|line| line.starts_with("       "))
        .map(str::trim)
        .collect();
    assert!(!lines.is_empty(), "{heading}");
    lines.join("\n")
}

fn machine() -> (Machine, Enrolled) {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "");
    let phone = machine.enroll("alice");
    (machine, phone)
}

#[track_caller]
fn lets_in(machine: &Machine, code: Option<&str>) {
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    if let Some(code) = code {
        ssh.answer(PROMPT, code);
    }
    ssh.assert_ends_well("alice");
}

#[test]
fn one_person_gets_back_in() {
    let (machine, mut phone) = machine();
    for _ in 0..3 {
        machine
            .ssh("alice", &["true"])
            .answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.wrong_code())
            .see(PASSWORD_PROMPT);
    }
    let lines = lines_of("One person");
    let unlock = lines
        .lines()
        .find(|line| line.contains("unlock"))
        .expect("it");
    machine.run(unlock);
    lets_in(&machine, Some(&phone.code()));
    let reset = lines
        .lines()
        .find(|line| line.contains("reset"))
        .expect("it");
    machine.run(reset);
    let phone_of_now = machine.enroll("alice").code();
    lets_in(&machine, Some(&phone_of_now));
}

#[test]
fn everybody_gets_in_by_a_rule_that_comes_first() {
    let (machine, _) = machine();
    // Whatever is wrong with the records, they are not looked at.
    machine.run("mv /var/lib/pam_totp/state /var/lib/pam_totp/lost");
    let lines = lines_of("Everybody, by the configuration");
    let first = lines.lines().next().expect("one");
    let section = std::fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let append = section
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("printf '\\n[[policy.rule]]"))
        .expect("the other");
    for (config, words) in [
        ("issuer = \"Example\"\n[policy]\ntrust = \"1h\"\n", first),
        ("[[policy.rule]]\nsecond_factor = \"required\"\n", first),
        (
            "issuer = \"Example\"\n  [policy]\n  trust = \"1h\"\n",
            first,
        ),
        ("issuer = \"Example\"\n", append),
        ("issuer = \"Example\"", append),
        ("", append),
    ] {
        machine.run(&format!("printf '{config}' >/etc/security/pam_totp.toml"));
        machine
            .ssh("alice", &["true"])
            .answer(PASSWORD_PROMPT, PASSWORD)
            .see("can't be checked");
        machine.run(words);
        lets_in(&machine, None);
        machine.run("rm /etc/security/pam_totp.toml");
    }
}

#[test]
fn everybody_gets_in_without_the_module() {
    let (machine, _) = machine();
    machine.run("rm $(find /lib /usr/lib -name pam_totp.so)");
    machine
        .ssh("alice", &["true"])
        .answer(PASSWORD_PROMPT, PASSWORD)
        .see(PASSWORD_PROMPT);
    machine.run(&lines_of("Everybody, by the stacks"));
    lets_in(&machine, None);
    let left = machine.run("grep -l '^[^#].*pam_totp' /etc/pam.d/* || true");
    assert_eq!(left, "");
}

#[test]
fn a_lost_state_is_repaired() {
    let (machine, phone) = machine();
    machine.run("rm /var/lib/pam_totp/state/alice");
    machine
        .ssh("alice", &["true"])
        .answer(PASSWORD_PROMPT, PASSWORD)
        .see("can't be checked");
    // Those of now and of the next step may have been used before.
    let used = [0, 1].map(|steps| phone.code_in(steps));
    machine.run(&lines_of("A state is damaged"));
    let status = machine.run("totpctl status alice");
    assert!(status.starts_with("alice: enrolled"), "{status}");
    for code in used {
        assert_refused(&machine, &code);
    }
    // With this the next new one counts now, and not after a minute.
    machine.run("printf '[verify]\nwindow = 2\n' >/etc/security/pam_totp.toml");
    lets_in(&machine, Some(&phone.code_in(2)));
}

#[track_caller]
fn assert_refused(machine: &Machine, code: &str) {
    let mut ssh = machine.ssh("alice", &["true"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD).answer(PROMPT, code);
    ssh.see("Invalid One Time Password!");
}

/// The clock is everybody's: here it is right, and the phone ahead, as a right one is where the clock is behind.
#[test]
fn a_clock_that_is_wrong_is_told_by_the_log_alone() {
    let (machine, phone) = machine();
    // By an hour and by some minutes, which two codes in a row would put up with.
    for (steps, reason) in [(120, "mismatch"), (15, "\"first of two codes\"")] {
        assert_refused(&machine, &phone.code_in(steps));
        machine
            .log()
            .wait_for(&["event=wrong", "user=alice", &format!("reason={reason}")]);
    }
    let told = machine.run(
        &lines_of("The clock is wrong").replace("systemctl restart systemd-timesyncd", "true"),
    );
    assert!(told.contains("UTC"), "{told}");
    lets_in(&machine, Some(&phone.code_in(0)));
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
