//! The password and the code in one field: for clients that answer one prompt and no other.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::example::Example;
use end_to_end::gateway::Gateway;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::{Machine, output};
use end_to_end::patience::wait_for;
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, BY_PLACE, HOME, NO_LIMITS, Outcome, PROMPT, Scratch, attempts_left, limit_reached,
};
use end_to_end::terminal::Terminal;

/// A service of three modules: perhaps one that asks for a password, then ours, then one that keeps the password it is
/// given, and asks for it where it is given none.
struct Stack {
    scratch: Scratch,
    kept: PathBuf,
}

impl Stack {
    fn new(arguments: &str, asks_before: bool) -> Self {
        Self::with(Scratch::new(""), arguments, asks_before)
    }

    fn with(scratch: Scratch, arguments: &str, asks_before: bool) -> Self {
        let (keeper, kept) = (scratch.path("keeper"), scratch.path("kept"));
        let script = format!("#!/bin/sh\ntr -d '\\000' >{}\n", kept.display());
        fs::write(&keeper, script).expect("a script");
        fs::set_permissions(&keeper, fs::Permissions::from_mode(0o755)).expect("its mode");
        let before = match asks_before {
            true => "auth optional pam_exec.so expose_authtok quiet /bin/true\n",
            false => "",
        };
        let (ours, keeper) = (scratch.line("required", arguments), keeper.display());
        scratch.service(&format!(
            "{before}auth {ours}\nauth optional pam_exec.so expose_authtok quiet {keeper}\n"
        ));
        clock::set(EPOCH);
        Self { scratch, kept }
    }

    /// One enrolled account.
    fn enrolled(arguments: &str, asks_before: bool) -> (Self, Phone) {
        let (stack, phone) = (Self::new(arguments, asks_before), Phone::new(Phone::SECRET));
        stack.scratch.enroll(ACCOUNT, &phone);
        (stack, phone)
    }

    /// What came of a login whose prompts are answered one after the other, the last for ever, and the password that the
    /// last module was given.
    fn login(&self, user: &str, answers: &[&str]) -> (Outcome, Option<String>) {
        let _ = fs::remove_file(&self.kept);
        let mut answers = answers.iter();
        let mut last = "";
        let mut login = self.scratch.start(user, |message: &Message| {
            if !message.style.is_prompt() {
                return Reply::Null;
            }
            last = answers.next().unwrap_or(&last);
            last.into()
        });
        let code = login.authenticate(0);
        let heard = login.heard();
        let kept = fs::read(&self.kept).ok();
        let kept = kept.map(|kept| String::from_utf8(kept).expect("text"));
        (Outcome { code, heard }, kept)
    }
}

fn both(password: &str, code: &str) -> String {
    format!("{password}{code}")
}

#[test]
fn t45_the_next_module_is_given_exactly_the_password() {
    let longest = "x".repeat(512 - 6);
    for password in [
        "hunter2",
        "abc1",
        "12345678",
        "",
        "pass word 1-2 ",
        "-",
        "caf\u{e9}\u{ff11}",
        &longest,
    ] {
        let (stack, phone) = Stack::enrolled("forward_pass", false);
        let (outcome, kept) = stack.login(ACCOUNT, &[&both(password, &phone.code_at(EPOCH))]);
        assert_eq!(outcome.code, Code::SUCCESS, "{password:?}");
        assert_eq!(outcome.asked(), [BOTH_PROMPT], "{password:?}");
        assert_eq!(outcome.told(), Vec::<&str>::new());
        assert_eq!(kept.as_deref(), Some(password));
    }
}

#[test]
fn a_code_is_as_long_as_those_of_its_device() {
    let phones = [6, 7, 8].map(|digits| Phone {
        digits,
        ..Phone::new(SECRETS[digits - 6])
    });
    let stack = Stack::new("forward_pass", false);
    for phone in &phones {
        stack
            .scratch
            .enroll_device(ACCOUNT, &format!("phone{}", phone.digits), phone);
    }
    for phone in &phones {
        let code = phone.code_at(EPOCH);
        let (outcome, kept) = stack.login(ACCOUNT, &[&both("abc1", &code)]);
        assert_eq!(outcome.code, Code::SUCCESS, "{} digits", phone.digits);
        assert_eq!(kept.as_deref(), Some("abc1"), "{} digits", phone.digits);
    }
    let (outcome, _) = stack.login(ACCOUNT, &["abc1000000000"]);
    assert_eq!(outcome.told(), [attempts_left(2)], "one text is one guess");
}

#[test]
fn a_wrong_code_is_told_and_the_password_handed_on_all_the_same_to_strangers_too() {
    let (stack, phone) = Stack::enrolled("forward_pass", false);
    let wrong = phone.wrong_code_at(EPOCH);
    let mut seen = Vec::new();
    for user in [ACCOUNT, "bin", "no-such-one"] {
        for typed in [both("hunter2", &wrong), "hunter2".to_owned()] {
            let (outcome, kept) = stack.login(user, &[&typed]);
            assert_eq!(outcome.code, Code::AUTH_ERR, "{user}");
            assert_eq!(outcome.asked(), [BOTH_PROMPT], "{user}");
            assert_eq!(kept.as_deref(), Some("hunter2"), "{user}");
            seen.push(outcome);
        }
    }
    assert_eq!(seen[0].told(), [attempts_left(2)]);
    assert_eq!(
        seen[1].told(),
        [attempts_left(1)],
        "a text without a code counts too"
    );
    assert!(
        seen[2..4] == seen[..2] && seen[4..] == seen[..2],
        "{seen:?}"
    );
}

#[test]
fn who_is_locked_out_is_not_asked_by_us_and_nothing_is_handed_on() {
    let (stack, phone) = Stack::enrolled("forward_pass", false);
    for _ in 0..3 {
        stack.login(ACCOUNT, &[&both("hunter2", &phone.wrong_code_at(EPOCH))]);
    }
    let right = both("hunter2", &phone.code_at(EPOCH));
    let (outcome, kept) = stack.login(ACCOUNT, &[&right]);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(outcome.told(), [limit_reached(10)]);
    assert_eq!(outcome.asked(), ["Password: "], "by the last module");
    assert_eq!(kept, Some(right));
}

#[test]
fn t45_what_is_too_long_is_neither_read_nor_handed_on() {
    let (stack, phone) = Stack::enrolled("forward_pass", false);
    let long = both(&"x".repeat(507), &phone.code_at(EPOCH));
    let (outcome, kept) = stack.login(ACCOUNT, &[&long, "from the next prompt"]);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(outcome.told(), [attempts_left(2)]);
    assert_eq!(kept.as_deref(), Some("from the next prompt"));
}

#[test]
fn backup_codes_go_behind_the_password_as_they_are_printed() {
    let (stack, _) = Stack::enrolled("forward_pass", false);
    let codes = stack.scratch.new_backup_codes(ACCOUNT);
    let (outcome, kept) = stack.login(ACCOUNT, &[&both("2abc", &codes[0].to_lowercase())]);
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(kept.as_deref(), Some("2abc"));
    let (outcome, _) = stack.login(ACCOUNT, &[&both("2abc", &codes[0])]);
    assert_eq!(outcome.code, Code::AUTH_ERR, "once");
    let (outcome, kept) = stack.login(ACCOUNT, &[&both("2abc", &codes[1].replace('-', ""))]);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(
        kept,
        Some(both("2abc", &codes[1].replace('-', ""))),
        "not as printed"
    );
}

#[test]
fn use_first_pass_takes_what_was_typed_before_and_asks_nothing() {
    for (arguments, rest) in [
        ("use_first_pass", None),
        ("use_first_pass forward_pass", Some("abc1")),
    ] {
        let (stack, phone) = Stack::enrolled(&format!("{arguments} no_info"), true);
        for (code, expected) in [
            (phone.code_at(EPOCH), Code::SUCCESS),
            (phone.code_at(EPOCH), Code::AUTH_ERR),
            (phone.wrong_code_at(EPOCH), Code::AUTH_ERR),
            (String::new(), Code::AUTH_ERR),
            (phone.code_at(EPOCH + 30), Code::AUTH_ERR),
        ] {
            let typed = both("abc1", &code);
            let (outcome, kept) = stack.login(ACCOUNT, &[&typed]);
            assert_eq!(outcome.code, expected, "{arguments}");
            assert_eq!(outcome.asked(), ["Password: "], "by the first module");
            let whole = typed.as_str();
            // The last one is refused unread.
            let is_unread = code == phone.code_at(EPOCH + 30);
            let rest = rest.filter(|_| !is_unread).unwrap_or(whole);
            assert_eq!(kept.as_deref(), Some(rest), "{arguments}");
        }
    }
}

#[test]
fn use_first_pass_without_a_password_before_denies_and_asks_nothing() {
    let (stack, _) = Stack::enrolled("use_first_pass", false);
    let (outcome, _) = stack.login(ACCOUNT, &["123456"]);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(outcome.asked(), ["Password: "], "by the last module");
}

#[test]
fn try_first_pass_asks_only_where_no_right_code_was_typed_before() {
    let (stack, phone) = Stack::enrolled("try_first_pass", true);
    let typed = both("hunter2", &phone.code_at(EPOCH));
    let (outcome, kept) = stack.login(ACCOUNT, &[&typed]);
    assert_eq!(
        (outcome.code, outcome.asked()),
        (Code::SUCCESS, vec!["Password: "])
    );
    assert_eq!(kept, Some(typed));

    for _ in 0..4 {
        let (outcome, _) = stack.login(ACCOUNT, &["hunter2", ""]);
        assert_eq!(outcome.asked(), ["Password: ", PROMPT]);
        assert_eq!(
            outcome.told(),
            Vec::<&str>::new(),
            "a password alone is no guess"
        );
    }
    let next = phone.code_at(EPOCH + 30);
    let (outcome, kept) = stack.login(ACCOUNT, &["hunter2", &next]);
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(kept.as_deref(), Some("hunter2"));

    let wrong = both("hunter2", &phone.wrong_code_at(EPOCH));
    clock::set(EPOCH + 60);
    let (outcome, _) = stack.login(ACCOUNT, &[&wrong, &phone.code_at(EPOCH + 60)]);
    assert_eq!(outcome.told(), [attempts_left(2)], "a wrong code is one");
    assert_eq!(outcome.code, Code::SUCCESS);
}

#[test]
fn try_first_pass_and_forward_pass_ask_for_both_and_hand_on_what_was_typed_last() {
    let (stack, phone) = Stack::enrolled("try_first_pass forward_pass", true);
    let typed = both("abc123456", &phone.code_at(EPOCH));
    let (outcome, kept) = stack.login(ACCOUNT, &["abc123456", &typed]);
    assert_eq!(outcome.asked(), ["Password: ", BOTH_PROMPT]);
    assert_eq!(
        outcome.told(),
        [attempts_left(2)],
        "the password looks like one with a code"
    );
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(kept.as_deref(), Some("abc123456"));
}

#[test]
fn forward_pass_asks_even_where_a_password_was_typed_before_and_takes_the_same_text() {
    let (stack, phone) = Stack::enrolled("forward_pass", true);
    let typed = both("hunter2", &phone.code_at(EPOCH));
    let (outcome, kept) = stack.login(ACCOUNT, &[&typed]);
    assert_eq!(outcome.asked(), ["Password: ", BOTH_PROMPT]);
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(kept.as_deref(), Some("hunter2"));
}

#[test]
fn whom_nothing_is_asked_of_types_the_password_alone() {
    for (arguments, settings) in [
        ("nullok forward_pass", ""),
        ("forward_pass", "[policy]\nunenrolled = \"skip\"\n"),
        ("nullok use_first_pass forward_pass", ""),
    ] {
        let asks_before = arguments.contains("use_first_pass");
        let stack = Stack::with(Scratch::new(settings), arguments, asks_before);
        stack.scratch.enroll("bin", &Phone::new(Phone::SECRET));
        let (outcome, kept) = stack.login(ACCOUNT, &["hunter2"]);
        assert_eq!(outcome.asked(), ["Password: "], "{arguments}");
        assert_eq!(kept.as_deref(), Some("hunter2"), "{arguments}");
    }
}

#[test]
fn nobody_enrolls_where_nothing_can_be_asked() {
    for enroll_with in ["password", "invite"] {
        let settings =
            format!("[policy]\nunenrolled = \"enroll\"\nenroll_with = \"{enroll_with}\"\n");
        let stack = Stack::with(Scratch::new(&settings), "use_first_pass", true);
        // totpctl goes by the system's.
        clock::unset();
        let invited = stack.scratch.document(&["invite", ACCOUNT]);
        let invitation = invited["code"].as_str().expect("an invitation");
        let (outcome, _) = stack.login(ACCOUNT, &[&both("hunter2", invitation)]);
        assert_eq!(outcome.code, Code::AUTH_ERR);
        assert_eq!(outcome.asked(), ["Password: "]);
        assert!(!stack.scratch.secret(ACCOUNT).exists());
        assert!(
            outcome.told()[0].contains("log in once by ssh in a terminal"),
            "{outcome:?}"
        );
    }
}

#[test]
fn who_has_codes_sent_types_the_password_alone_and_then_both() {
    for (arguments, asks_before) in [
        ("use_first_pass forward_pass", true),
        ("forward_pass", false),
    ] {
        let gateway = Gateway::new();
        let program = gateway.program();
        let settings = format!(
            "[delivery.text]\ndigits = 8\ncommand = [{:?}, \"{{address}}\"]\n",
            program.display().to_string()
        );
        let stack = Stack::with(Scratch::new(&settings), arguments, asks_before);
        let enrolled = stack.scratch.totpctl(
            &[
                "enroll",
                ACCOUNT,
                "--text",
                "+41 79 123 45 67",
                "--no-confirm",
            ],
            "",
        );
        assert!(enrolled.status.success(), "{enrolled:?}");
        for _ in 0..4 {
            let (outcome, kept) = stack.login(ACCOUNT, &["hunter2"]);
            assert_eq!(outcome.code, Code::AUTH_ERR);
            assert_eq!(outcome.asked().len(), 1, "{outcome:?}");
            assert_eq!(outcome.told(), Vec::<&str>::new(), "no guess");
            assert_eq!(kept.as_deref(), Some("hunter2"));
            assert_eq!(gateway.handed().len(), 1);
        }
        let code = gateway.code();
        assert_eq!(code.len(), 8);
        let (outcome, kept) = stack.login(ACCOUNT, &[&both("hunter2", &code)]);
        assert_eq!(outcome.code, Code::SUCCESS);
        assert_eq!(kept.as_deref(), Some("hunter2"));
        let (outcome, _) = stack.login(ACCOUNT, &[&both("hunter2", &code)]);
        assert_eq!(outcome.code, Code::AUTH_ERR, "once");
        assert_eq!(outcome.told(), [attempts_left(2)]);
    }
}

#[test]
fn arguments_that_contradict_each_other_are_no_stack() {
    let (stack, phone) = Stack::enrolled("try_first_pass use_first_pass", true);
    let (outcome, _) = stack.login(ACCOUNT, &[&both("hunter2", &phone.code_at(EPOCH))]);
    assert_eq!(outcome.code, Code::SERVICE_ERR);
}

#[test]
fn of_24_with_one_password_and_code_one_gets_in() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::on(&env::temp_dir(), NO_LIMITS);
    scratch.enroll(ACCOUNT, &phone);
    scratch.stack("forward_pass");
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; 24]);
    for (round, code) in phone.codes(EPOCH, 29).iter().enumerate() {
        let typed = both("hunter2", code);
        let place = if round % 2 == 0 { "inside" } else { "outside" };
        let ended = crowd.rush(place, EPOCH + round as i64 * 30, HOME, [typed.as_str(); 24]);
        let won = ended.iter().filter(|one| one.code == Code::SUCCESS).count();
        let lost = ended.iter().filter(|one| one.is_wrong()).count();
        assert_eq!((won, lost), (1, 23), "round {round}: {ended:?}");
    }
}

#[test]
fn t06_of_100_passwords_with_codes_at_once_three_are_judged() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::on(&env::temp_dir(), BY_PLACE);
    scratch.enroll(ACCOUNT, &phone);
    scratch.stack("forward_pass");
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; 100]);
    for round in 0..4 {
        let now = EPOCH + round * 7200;
        let wrong = phone.wrong_codes_at(now).take(100);
        let wrong: Vec<_> = wrong.map(|code| both("hunter2", &code)).collect();
        let ended = crowd.rush("inside", now, HOME, wrong.iter().map(String::as_str));
        for (text, count) in [
            (attempts_left(2), 1),
            (attempts_left(1), 1),
            (limit_reached(10), 98),
        ] {
            let told = ended.iter().filter(|one| one.told == text).count();
            assert_eq!(told, count, "{text:?} in round {round}: {ended:?}");
        }
    }
}

/// A machine whose sshd takes a password and asks nothing.
fn machine() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd-one-field"), "")
}

/// sshd keeps what was told until somebody is in.
fn assert_in_after(mut ssh: Terminal, told: &[String]) {
    let words = [told, &["alice".to_owned()]].concat();
    ssh.assert_ends_well(&words.join("\r\n"));
}

#[test]
fn ssh_with_a_password_alone_gets_in_by_password_and_code() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let code = phone.code();
    machine.log().keep_secret(&code);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(SSH_PROMPT, &both(PASSWORD, &code));
    ssh.assert_ends_well("alice");
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "service=sshd"]);

    let mut again = machine.ssh("alice", &["id", "-un"]);
    again.answer(SSH_PROMPT, &both(PASSWORD, &code));
    again.see(SSH_DENIED);
    machine
        .log()
        .assert_has(&["event=wrong", "reason=replayed", "left=2"]);
    again.answer(SSH_PROMPT, PASSWORD).see(SSH_DENIED);
    machine
        .log()
        .assert_has(&["event=wrong", "reason=malformed", "left=1"]);
    again.answer(SSH_PROMPT, &both(PASSWORD, &phone.code()));
    assert_in_after(again, &[attempts_left(2), attempts_left(1)]);
}

#[test]
fn with_the_wrong_password_the_right_code_is_refused_and_used_up() {
    let machine = machine();
    let mut phone = machine.enroll("alice");
    let code = phone.code();
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(SSH_PROMPT, &both("wrong staple", &code))
        .see(SSH_DENIED);
    ssh.answer(SSH_PROMPT, &both(PASSWORD, &code))
        .see(SSH_DENIED);
    machine
        .log()
        .assert_has(&["event=wrong", "reason=replayed"]);
    ssh.answer(SSH_PROMPT, &both(PASSWORD, &phone.code()));
    assert_in_after(ssh, &[attempts_left(2)]);
}

#[test]
fn between_two_lines_of_pam_unix_the_code_is_taken_out() {
    let example = Example::named("sshd-one-field");
    let ours =
        "auth       required     pam_totp.so forward_pass\nauth       substack     common-auth\n";
    assert!(example.stack.contains(ours));
    let stack = example.stack.replace(
        ours,
        "auth optional pam_unix.so\n\
         auth required pam_totp.so use_first_pass forward_pass\n\
         auth required pam_unix.so use_first_pass\n",
    );
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(
            &Example {
                stack: example.stack.clone(),
            },
            "",
        )
        .file("/etc/pam.d/sshd", "644", stack);
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(SSH_PROMPT, &both(PASSWORD, &phone.wrong_code()))
        .see(SSH_DENIED);
    ssh.answer(SSH_PROMPT, &both("wrong staple", &phone.code()))
        .see(SSH_DENIED);
    ssh.answer(SSH_PROMPT, &both(PASSWORD, &phone.code()));
    assert_in_after(ssh, &[attempts_left(2)]);
    let lines = machine.log().lines();
    let unanswered = lines.iter().filter(|line| line.contains("event=aborted"));
    assert_eq!(unanswered.count(), 0, "nobody was asked: {lines:?}");
}

#[test]
fn vsftpd_lets_in_by_password_and_code() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .file("/home/alice/greeting", "644", "hello\n")
        .file("/etc/vsftpd.conf", "600", VSFTPD_CONF)
        .file("/etc/pam.d/vsftpd", "644", VSFTPD_STACK);
    let mut phone = machine.enroll("alice");
    let server = machine.run("vsftpd /etc/vsftpd.conf >/dev/null 2>&1 </dev/null & echo $!");
    wait_for("the server", || {
        let open = "bash -c ': </dev/tcp/127.0.0.1/21' 2>/dev/null && echo open || true";
        machine.run(open).contains("open")
    });
    let fetch = |password: &str| {
        machine.log().keep_secret(password);
        let curl = machine.command(&[
            "curl",
            "--silent",
            "--config",
            "-",
            "ftp://127.0.0.1/greeting",
        ]);
        let user = format!("user = \"alice:{password}\"\n");
        String::from_utf8(output(curl, user.as_bytes()).stdout).expect("text")
    };
    let code = phone.code();
    assert_eq!(fetch(PASSWORD), "");
    assert_eq!(fetch(&both(PASSWORD, &code)), "hello\n");
    assert_eq!(fetch(&both(PASSWORD, &code)), "");
    assert_eq!(fetch(&both(PASSWORD, &phone.code())), "hello\n");
    machine.log().assert_has(&[
        "event=accepted",
        "user=alice",
        "service=vsftpd",
        "address=127.0.0.1",
    ]);
    machine.run(&format!("kill {}", server.trim()));
}

const BOTH_PROMPT: &str = "Password & verification code: ";
const PASSWORD: &str = "correct horse 7";
const SSH_PROMPT: &str = "password: ";
const SSH_DENIED: &str = "Permission denied, please try again.";
const SECRETS: [&str; 3] = [
    Phone::SECRET,
    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK",
];
const VSFTPD_CONF: &str = "listen=YES\nlisten_ipv6=NO\nlisten_address=127.0.0.1\nbackground=NO\nanonymous_enable=NO\n\
    local_enable=YES\npam_service_name=vsftpd\nseccomp_sandbox=NO\nsecure_chroot_dir=/run/sshd\n";
const VSFTPD_STACK: &str = "auth required pam_totp.so forward_pass\n@include common-auth\n\
    @include common-account\n@include common-session\n";
