//! `totpctl try`: a service's real stack, run once to see what becomes of a login.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::{Machine, output};
use end_to_end::product::{PROMPT, attempts_left};
use end_to_end::terminal::Terminal;
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

#[test]
fn libpam_hears_of_a_login_what_the_service_itself_tells_it() {
    let witness = "auth optional pam_exec.so /srv/witness\n\
                   account optional pam_exec.so /srv/witness\n\
                   session optional pam_exec.so /srv/witness\n";
    let witnessed = |service: &str| Example {
        stack: format!("{witness}{}", Example::named(service).stack),
    };
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", PASSWORD)
        .file("/etc/sudoers", "440", "alice ALL = (ALL) ALL\n")
        .file("/srv/witness", "755", WITNESS)
        .file("/srv/seen", "666", "")
        .file(
            "/etc/security/pam_totp.toml",
            "644",
            "[policy]\nunenrolled = \"skip\"\n",
        )
        .pam("login", &witnessed("login"))
        .pam("su", &witnessed("su"))
        .pam("sudo", &witnessed("sudo"))
        .sshd(&witnessed("sshd"), "");
    let services: [(&str, &dyn Fn() -> Terminal); 4] = [
        ("sshd alice", &|| machine.ssh("alice", &["true"])),
        ("sudo alice", &|| {
            machine.terminal_as("alice", &["sudo", "true"])
        }),
        ("su bob --ruser alice", &|| {
            machine.terminal_as("alice", &["su", "bob", "-c", "true"])
        }),
        ("login alice", &|| machine.terminal(&["login", "alice"])),
    ];
    for (name, real) in services {
        let mut real = real();
        let prompt = match name {
            "sudo alice" => "[sudo] password for alice: ",
            _ => "Password: ",
        };
        real.answer(prompt, PASSWORD);
        if name.starts_with("login") {
            real.see("$ ");
            real.enter("exit");
        }
        assert_eq!(real.end().status, 0, "{name}: {}", real.seen());
        machine.assert_quiet();
        let seen = machine.run("cat /srv/seen; : >/srv/seen");
        let (sessions, asked): (Vec<&str>, Vec<&str>) =
            seen.lines().partition(|line| line.contains("session"));
        assert!(!sessions.is_empty(), "{name}: {seen}");

        let line = format!("totpctl try --service {name}");
        let words: Vec<&str> = line.split(' ').collect();
        let mut tried = machine.terminal(&words);
        tried.answer("Password: ", PASSWORD);
        assert_eq!(tried.end().status, 0, "{name}: {}", tried.seen());
        let seen = machine.run("cat /srv/seen; : >/srv/seen");
        assert_eq!(seen.lines().collect::<Vec<_>>(), asked, "{name}");
    }
}

#[test]
fn what_su_asks_of_others_is_asked_where_another_runs_it() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", PASSWORD)
        .pam("su", &Example::named("su"));
    let mut phone = machine.enroll("bob");
    let (status, document) = tried(&machine, "--service su bob", "");
    assert_eq!(
        (status, &document["root_alone"]),
        (Some(0), &Value::Bool(true))
    );
    let told = machine.run("totpctl try --service su bob </dev/null");
    assert!(
        told.contains("--ruser NAME shows what others meet"),
        "{told}"
    );
    let lines = format!("{PASSWORD}\n{}\n", phone.code());
    let (status, document) = tried(&machine, "--service su bob --ruser alice", &lines);
    assert_eq!(
        (status, &document["root_alone"]),
        (Some(0), &Value::Bool(false))
    );
    let uid = machine.run("id -u alice");
    machine.log().assert_has(&[
        "event=accepted",
        "user=bob",
        &format!("address=uid:{}", uid.trim()),
    ]);
}

#[test]
fn who_has_no_password_is_let_in_where_sshd_is_told_to() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "");
    machine.run("passwd --delete alice");
    let mut phone = machine.enroll("alice");
    let words = "--service sshd alice";
    let (status, document) = tried(&machine, words, &format!("\n{}\n", phone.code()));
    assert_eq!(status, Some(1), "{document}");
    assert_eq!(document["steps"][0]["text"], "Password:");
    machine.run("echo PermitEmptyPasswords yes >>/etc/ssh/sshd_config.d/machine.conf");
    let (status, document) = tried(&machine, words, &format!("{}\n", phone.code()));
    assert_eq!(status, Some(0), "{document}");
    assert_eq!(document["steps"][0]["text"], PROMPT.trim());
}

#[test]
fn sudo_keeps_messages_to_itself_and_so_does_the_try() {
    let stack = Example::named("sudo").stack.replace(" no_info", "");
    let (machine, phone) = machine();
    let machine = machine.pam("sudo", &Example { stack });
    let lines = format!("{PASSWORD}\n{}\n", phone.wrong_code());
    for (service, is_told) in [("sudo", false), ("sshd", true)] {
        let (status, document) = tried(&machine, &format!("--service {service} alice"), &lines);
        assert_eq!(status, Some(1), "{document}");
        let told = document["steps"]
            .to_string()
            .contains("Invalid One Time Password");
        assert_eq!(told, is_told, "{service}: {document}");
    }
}

#[test]
fn a_password_that_has_run_out_lets_in_and_is_to_be_changed() {
    let (machine, mut phone) = machine();
    machine.run("chage --lastday 0 alice");
    let lines = format!("{PASSWORD}\n{}\n", phone.code());
    let (status, document) = tried(&machine, "--service sshd alice", &lines);
    assert_eq!(status, Some(0), "{document}");
    assert_eq!(document["account"]["code"], 12);
    assert_eq!(document["needs_new_password"], true);
}

#[test]
fn t55_what_a_module_says_cannot_command_the_terminal() {
    let (machine, _) = machine();
    let machine = machine
        .file("/srv/text", "644", "red: \x1b[31m\u{9b}32m\x07\n")
        .file(
            "/etc/pam.d/echo",
            "644",
            "auth required pam_echo.so file=/srv/text\n\
                                        account required pam_permit.so\n",
        );
    let mut terminal = machine.terminal(&["totpctl", "try", "--service", "echo", "alice"]);
    let said = terminal.end().said;
    assert!(said.contains("red: [31m32m"), "{said:?}");
    assert!(!said.contains(['\x1b', '\u{9b}', '\x07']), "{said:?}");
}

#[test]
fn a_line_is_read_to_its_end_and_no_further() {
    let (machine, mut phone) = machine();
    let lines = format!("{PASSWORD}\n{}\nrest\n", phone.code());
    let rest = machine.feed("totpctl try --service sshd alice >/dev/null; cat", lines);
    assert_eq!(rest, "rest\n");
}

const PASSWORD: &str = "correct horse";

/// Notes what libpam was told, wherever on a pseudo-terminal, and whose process it is.
const WITNESS: &str = "#!/bin/sh\n\
    echo $PAM_TYPE service=$PAM_SERVICE user=$PAM_USER rhost=$PAM_RHOST tty=${PAM_TTY%%[0-9]*} \
    ruser=$PAM_RUSER real=$(id -ru) >>/srv/seen\n";
