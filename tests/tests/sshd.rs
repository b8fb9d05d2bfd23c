//! Logins through the real sshd by the real ssh client.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::{PROMPT, attempts_left, limit_reached, next_code_needed};

fn alice_with_password_and_code() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "")
}

fn alice_with_key_and_code() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd-publickey"), "")
        .authorized_key("alice")
}

/// Nine wrong codes for alice, more than the day has, from people who don't have the password: the stack asks for a
/// code all the same.
fn strangers_guess(machine: &Machine, phone: &Enrolled) {
    for stranger in 2..5 {
        let from = format!("127.0.0.{stranger}");
        let mut ssh = machine.ssh("alice", &["-b", &from]);
        for _ in 0..3 {
            ssh.answer(PASSWORD_PROMPT, "a guess")
                .answer(PROMPT, &phone.wrong_code());
        }
        ssh.see(&limit_reached(10));
    }
}

#[test]
fn password_and_code_get_in() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    machine.log().assert_has(&[
        "event=accepted",
        "user=alice",
        "service=sshd",
        "address=127.0.0.1",
    ]);
}

#[test]
fn a_wrong_code_is_refused_and_counted_down() {
    let machine = alice_with_password_and_code();
    let phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.wrong_code());
    ssh.see(&attempts_left(2));
    ssh.see(PASSWORD_PROMPT);
    machine.log().assert_has(&["event=wrong", "user=alice"]);
}

#[test]
fn the_same_code_gets_in_only_once() {
    let machine = alice_with_password_and_code();
    let code = machine.enroll("alice").code();
    let mut first = machine.ssh("alice", &["id", "-un"]);
    first
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    first.assert_ends_well("alice");
    let mut second = machine.ssh("alice", &["id", "-un"]);
    second
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &code);
    second.see(&attempts_left(2));
    second.see(PASSWORD_PROMPT);
}

#[test]
fn the_next_code_gets_in_after_the_first() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    for _ in 0..2 {
        let mut ssh = machine.ssh("alice", &["id", "-un"]);
        ssh.answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.code());
        ssh.assert_ends_well("alice");
    }
}

#[test]
fn a_wrong_password_is_asked_for_the_code_and_refused_even_with_the_right_one() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, "wrong staple")
        .answer(PROMPT, &phone.code());
    ssh.see(PASSWORD_PROMPT);
}

#[test]
fn a_key_alone_does_not_get_in() {
    let machine = alice_with_password_and_code().authorized_key("alice");
    machine.enroll("alice");
    machine.ssh("alice", &["id", "-un"]).see(PASSWORD_PROMPT);
}

#[test]
fn t18_wrong_codes_end_the_connection_and_count_in_the_next() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "MaxAuthTries 2");
    let phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    for _ in 0..2 {
        ssh.answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.wrong_code());
    }
    let ending = ssh.end();
    assert_eq!(ending.status, SSH_FAILED);
    assert!(
        ending.said.contains("Too many authentication failures"),
        "{ending:?}"
    );
    let mut next = machine.ssh("alice", &["id", "-un"]);
    next.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.wrong_code());
    next.see(&limit_reached(10));
}

#[test]
fn after_three_wrong_codes_only_unlock_lets_the_right_one_in() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        ssh.answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.wrong_code());
        ssh.see(&told);
    }
    drop(ssh);

    let mut refused = machine.ssh("alice", &["id", "-un"]);
    refused.answer(PASSWORD_PROMPT, PASSWORD);
    let shown = refused.see(PASSWORD_PROMPT);
    assert!(
        shown.contains("You have reached the limit of attempts."),
        "{shown}"
    );
    assert!(
        !shown.contains(PROMPT),
        "asked for a code that nobody will judge: {shown}"
    );
    machine.log().assert_has(&["event=refused", "user=alice"]);
    drop(refused);

    machine.run("totpctl unlock alice");
    let mut unlocked = machine.ssh("alice", &["id", "-un"]);
    unlocked
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    unlocked.assert_ends_well("alice");
}

#[test]
fn a_lock_holds_for_the_address_that_guessed() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    let mut guesser = machine.ssh("alice", &["-b", "127.0.0.2"]);
    for _ in 0..3 {
        guesser
            .answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.wrong_code());
    }
    guesser.see(&limit_reached(10));
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
}

#[test]
fn t23_t24_the_enrolled_the_unenrolled_and_the_unknown_see_the_same() {
    let machine = alice_with_password_and_code().user("bob", PASSWORD);
    let phone = machine.enroll("alice");
    let users = ["alice", "bob", "mallory"];
    let mut terminals = users.map(|user| machine.ssh(user, &["id", "-un"]));
    for _ in 0..3 {
        for ssh in &mut terminals {
            ssh.answer(PASSWORD_PROMPT, PASSWORD)
                .answer(PROMPT, &phone.wrong_code());
        }
    }
    for ssh in &mut terminals {
        ssh.answer(PASSWORD_PROMPT, PASSWORD);
    }
    let mut shown = Vec::new();
    for (user, ssh) in users.iter().zip(&mut terminals) {
        ssh.see(PASSWORD_PROMPT);
        shown.push(ssh.seen().replace(user, "USER"));
    }
    assert!(shown[0].contains(&limit_reached(10)), "{}", shown[0]);
    assert_eq!(shown[0], shown[1], "somebody who is not enrolled");
    assert_eq!(shown[0], shown[2], "somebody unknown");
}

/// sshd puts rubbish of the same length in the place of all that unknown people type.
#[test]
fn t24_a_password_as_long_as_the_code_tells_nobody_apart_nor_does_the_password_once_more() {
    for (password, code) in [("guess1", "000000"), ("guess1", "guess1")] {
        let machine = alice_with_password_and_code().user("bob", PASSWORD);
        machine.enroll("alice");
        tells_nobody_apart(&machine, &["id", "-un"], password, code);
    }
}

/// A second sshd has a service of its own: the name of its program or, since OpenSSH 9.8, what it is told.
#[test]
fn t24_nor_does_it_where_sshd_goes_by_another_name() {
    let machine = alice_with_password_and_code().user("bob", PASSWORD);
    machine.enroll("alice");
    machine.run(
        "mv /etc/pam.d/sshd /etc/pam.d/inner
         ln -s sshd /usr/sbin/inner
         told=-oPAMServiceName=inner
         /usr/sbin/inner -T $told >/dev/null 2>&1 || told=
         /usr/sbin/inner -p 2222 $told",
    );
    machine
        .log()
        .wait_for(&["Server listening on 127.0.0.1 port 2222"]);
    tells_nobody_apart(&machine, &["-p2222", "id", "-un"], "guess1", "guess1");
    machine
        .log()
        .assert_has(&["pam_totp(inner:auth)", "event=locked"]);
}

/// What somebody is shown by ssh who types that password and that code three times is the same, whoever they are.
fn tells_nobody_apart(machine: &Machine, words: &[&str], password: &str, code: &str) {
    let users = ["alice", "bob", "mallory"];
    let mut shown = users.map(|user| {
        let mut ssh = machine.ssh(user, words);
        for _ in 0..3 {
            ssh.answer(PASSWORD_PROMPT, password).answer(PROMPT, code);
        }
        ssh.see(PASSWORD_PROMPT);
        ssh.seen().replace(user, "USER")
    });
    assert!(shown[0].contains(&limit_reached(10)), "{}", shown[0]);
    let [enrolled, unenrolled, unknown] = shown.each_mut();
    assert_eq!(enrolled, unenrolled, "somebody who is not enrolled");
    assert_eq!(enrolled, unknown, "somebody unknown");
}

#[test]
fn t17_a_host_name_that_the_guesser_chose_is_not_what_counts() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "UseDNS yes");
    let phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, "a guess")
        .answer(PROMPT, &phone.wrong_code());
    ssh.see(&attempts_left(2));
    // What sshd told libpam is in the line of the module before ours.
    let named = machine.log().lines();
    assert!(
        named.iter().any(|line| line.contains("rhost=localhost")),
        "{named:?}"
    );
    machine
        .log()
        .assert_has(&["event=wrong", "user=alice", "address=127.0.0.1"]);
}

#[test]
fn t18_many_devices_of_one_client_get_one_prompt_each_and_count_together() {
    let machine = alice_with_password_and_code();
    let phone = machine.enroll("alice");
    let devices = "-oKbdInteractiveDevices=pam,pam,pam,pam,pam,pam,pam,pam";
    let mut ssh = machine.ssh("alice", &[devices, "id", "-un"]);
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        ssh.answer(PASSWORD_PROMPT, PASSWORD)
            .answer(PROMPT, &phone.wrong_code());
        ssh.see(&told);
    }
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    let shown = ssh.see(PASSWORD_PROMPT);
    assert!(!shown.contains(PROMPT), "{shown}");
}

#[test]
fn t14_strangers_at_other_addresses_lock_the_owner_out_of_nothing_and_two_codes_open_new_places() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    let mut usual = machine.ssh("alice", &["id", "-un"]);
    usual
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    usual.assert_ends_well("alice");
    strangers_guess(&machine, &phone);
    let mut new = machine.ssh("alice", &["-b", "127.0.0.9", "id", "-un"]);
    new.answer(PASSWORD_PROMPT, PASSWORD);
    let shown = new.see("when you are asked again.");
    assert!(shown.contains("two in a row are needed"), "{shown}");
    new.answer(PROMPT, &phone.wrong_code());
    new.see(&next_code_needed(2));
    new.answer(PASSWORD_PROMPT, PASSWORD).see(PROMPT);
    drop(new);
    let mut usual = machine.ssh("alice", &["id", "-un"]);
    usual
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    usual.assert_ends_well("alice");
}

#[test]
fn t14_two_codes_in_a_row_get_in_where_one_is_not_enough() {
    let machine = alice_with_password_and_code();
    let mut phone = machine.enroll("alice");
    strangers_guess(&machine, &phone);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.see(&next_code_needed(2));
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "two codes in a row"]);
}

#[test]
fn t14_logins_as_root_that_sshd_would_not_let_in_lock_root_out_of_no_terminal() {
    let machine = Machine::new()
        .sshd(&Example::named("sshd"), "PermitRootLogin no")
        .password("root", PASSWORD)
        .pam("login", &Example::named("login"));
    let mut phone = machine.enroll("root");
    for stranger in 2..6 {
        let from = format!("127.0.0.{stranger}");
        let mut ssh = machine.ssh("root", &["-b", &from]);
        for _ in 0..3 {
            ssh.answer(PASSWORD_PROMPT, PASSWORD)
                .answer(PROMPT, &phone.wrong_code());
        }
        ssh.see(PASSWORD_PROMPT);
    }
    // No console, which a pseudo-terminal can't be, and so a new place: two codes.
    let mut login = machine.terminal(&["login"]);
    login.see("login: ");
    login.enter("root");
    login
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code())
        .answer(PROMPT, &phone.code());
    login.see("# ");
    login.enter("exit");
    login.end();
}

#[test]
fn key_and_code_get_in_without_a_password() {
    let machine = alice_with_key_and_code();
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    assert!(!ssh.seen().contains(PASSWORD_PROMPT), "{}", ssh.seen());
}

#[test]
fn a_key_with_a_wrong_code_is_refused() {
    let machine = alice_with_key_and_code();
    let phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &phone.wrong_code());
    ssh.see(&attempts_left(2));
    ssh.see(PROMPT);
}

#[test]
fn without_the_key_nobody_is_asked_for_a_code() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd-publickey"), "");
    machine.enroll("alice");
    let ending = machine.ssh("alice", &["id", "-un"]).end();
    assert_eq!(ending.status, SSH_FAILED);
    assert!(
        ending.said.contains("Permission denied (publickey)"),
        "{ending:?}"
    );
}

#[test]
fn the_exempt_get_in_by_the_key_alone_where_no_other_module_says_yes() {
    let machine = alice_with_key_and_code().file(
        "/etc/security/pam_totp.toml",
        "644",
        "[policy]\nunenrolled = \"skip\"\n",
    );
    machine
        .ssh("alice", &["id", "-un"])
        .assert_ends_well("alice");
}

#[test]
fn root_gets_in_by_key_and_code_once_sshd_is_told() {
    let example = Example::named("sshd-publickey");
    let machine = Machine::new()
        .sshd(&example, &example.lines_below("For root"))
        .authorized_key("root");
    let mut phone = machine.enroll("root");
    let mut ssh = machine.ssh("root", &["id", "-un"]);
    ssh.answer(PROMPT, &phone.code());
    ssh.assert_ends_well("root");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
/// What ssh exits with when it is the login that failed.
const SSH_FAILED: i32 = 255;
