//! Enrollment at the login itself: a person without a device sets one up, and is in.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use end_to_end::clock;
use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::held::Paused;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::{Machine, output};
use end_to_end::mounts;
use end_to_end::patience::wait_for;
use end_to_end::phone::Phone;
use end_to_end::picture::Image;
use end_to_end::product::{
    ACCOUNT, HOME, IGNORED, NO_LIMITS, Outcome, PROMPT, Scratch, attempts_left, limit_reached,
};
use end_to_end::said::Said;
use end_to_end::screen::Screen;
use end_to_end::terminal::Terminal;
use serde_json::{Value, json};

/// A service that alice logs in by.
struct Door {
    service: &'static str,
    address: &'static str,
    password_prompt: &'static str,
    /// What is seen after a wrong answer.
    refusal: &'static str,
    knock: fn(&Machine) -> Terminal,
    /// What is done and seen inside.
    enter: fn(Terminal),
}

const SSHD: Door = Door {
    service: "sshd",
    address: "address=127.0.0.1",
    password_prompt: "Password: ",
    refusal: "Invalid One Time Password! (Attempts left: 2)",
    knock: |machine| machine.ssh("alice", &["id", "-un"]),
    enter: |mut terminal| terminal.assert_ends_well("alice"),
};

const LOGIN: Door = Door {
    service: "login",
    address: "address=local",
    password_prompt: "Password: ",
    refusal: "Invalid One Time Password! (Attempts left: 2)",
    knock: |machine| {
        let mut login = machine.terminal(&["login"]);
        login.see("login: ");
        login.enter("alice");
        login
    },
    enter: |mut terminal| {
        terminal.see("$ ");
        terminal.enter("exit");
        terminal.end();
    },
};

const SU: Door = Door {
    service: "su",
    address: "address=uid:",
    password_prompt: "Password: ",
    refusal: "Invalid One Time Password! (Attempts left: 2)",
    knock: |machine| machine.terminal_as("bob", &["su", "alice", "-c", "id -un"]),
    enter: |mut terminal| terminal.assert_ends_well("alice"),
};

const SUDO: Door = Door {
    service: "sudo",
    address: "address=uid:",
    password_prompt: "[sudo] password for alice: ",
    refusal: "[sudo] password for alice: ",
    knock: |machine| machine.terminal_as("alice", &["sudo", "-k", "id", "-un"]),
    enter: |mut terminal| terminal.assert_ends_well("root"),
};

impl Door {
    /// alice, who has given her password.
    fn open(&self, machine: &Machine) -> Terminal {
        let mut terminal = (self.knock)(machine);
        terminal.answer(self.password_prompt, PASSWORD);
        terminal
    }

    /// alice, who has given an invitation too, and the key that she is shown.
    fn open_with(&self, machine: &Machine, invite: &str) -> (Terminal, Phone) {
        let mut terminal = self.open(machine);
        terminal.answer(PROMPT, invite);
        let phone = shown_key(machine, &mut terminal);
        (terminal, phone)
    }
}

/// alice, bob and every service, where people enroll at the login.
fn machine_with(policy: &str) -> Machine {
    machine_before_sshd(policy).sshd(&Example::named("sshd"), "")
}

fn machine_before_sshd(policy: &str) -> Machine {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", "bob's own password")
        .pam("login", &Example::named("login"))
        .pam("su", &Example::named("su"))
        .pam("sudo", &Example::named("sudo"))
        .file("/etc/sudoers", "440", "alice ALL = (ALL) ALL\n")
        .file(
            "/etc/security/pam_totp.toml",
            "644",
            format!("[policy]\nunenrolled = \"enroll\"\n{policy}"),
        );
    // What a wrong password costs is not ours, and adds up.
    machine.run("sed -i 's/pam_unix.so/& nodelay/' /etc/pam.d/common-auth");
    machine
}

fn invite(machine: &Machine, user: &str) -> String {
    let made = machine.run(&format!("totpctl invite {user} --json"));
    let made: Value = serde_json::from_str(&made).expect("a document");
    let code = made["code"].as_str().expect("a code").to_owned();
    machine.log().keep_secret(&code);
    code
}

/// The key on the screen of somebody who is to enroll.
#[track_caller]
fn shown_key(machine: &Machine, terminal: &mut Terminal) -> Phone {
    terminal.see(ENROLL_PROMPT);
    let screen = Screen::of(terminal.seen(), ROWS, COLUMNS);
    let phone = Phone::of_shown_key(&screen.text());
    machine.log().keep_secret(&phone.secret);
    phone
}

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'2'..=b'7')
}

/// The backup codes in a text.
fn backup_codes_in(text: &str) -> Vec<String> {
    let is_group = |group: &str| group.len() == 4 && group.bytes().all(is_base32);
    let is_code = |word: &&str| word.split('-').count() == 4 && word.split('-').all(is_group);
    let codes = text.split_whitespace().filter(is_code);
    codes.map(str::to_owned).collect()
}

/// What a camera reads from a screen.
#[track_caller]
fn scanned(screen: &Screen) -> String {
    let is_drawn = |line: &String| line.len() > 20 && line.chars().all(|c| "█▀▄# ".contains(c));
    let mut lines = screen.lines();
    lines.retain(is_drawn);
    Image::of_screen(&lines).decoded()
}

/// The columns and rows of a terminal that shows all of a picture, as a smaller one still says.
#[track_caller]
fn needed(text: &str) -> (usize, usize) {
    let (_, size) = text
        .split_once("This QR code needs a terminal of ")
        .unwrap_or_else(|| panic!("too small, and nobody says so:\n{text}"));
    let mut numbers = size.split(|c: char| !c.is_ascii_digit());
    let mut number = || {
        let number = numbers.find(|text| !text.is_empty());
        number.and_then(|text| text.parse().ok()).expect("a number")
    };
    (number(), number())
}

fn device_names(machine: &Machine) -> Vec<Value> {
    let status: Value =
        serde_json::from_str(&machine.run("totpctl status alice --json")).expect("a document");
    match status["users"][0]["devices"].as_array() {
        Some(devices) => devices
            .iter()
            .map(|device| device["name"].clone())
            .collect(),
        None => Vec::new(),
    }
}

#[track_caller]
fn assert_whole_story(door: &Door) {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    let (mut terminal, phone) = door.open_with(&machine, &invite);

    terminal.enter("q").see(ENROLL_PROMPT);
    let read = scanned(&Screen::of(terminal.seen(), ROWS, COLUMNS));
    assert!(
        read.contains(&format!("secret={}", phone.secret)),
        "another key: {read}"
    );
    terminal.enter("A");
    let shown = terminal.see(ENROLL_PROMPT);
    let (columns, rows) = needed(&Screen::of(&shown, ROWS, COLUMNS).text());
    assert_eq!(scanned(&Screen::of(&shown, rows, columns)), read);

    let mut phone = Enrolled::with(phone);
    terminal.enter(&phone.code()).see(KEPT_PROMPT);
    let screen = Screen::of(terminal.seen(), ROWS, COLUMNS);
    let codes = backup_codes_in(&screen.text());
    assert_eq!(codes.len(), 10, "{}", screen.text());
    terminal.enter("");
    (door.enter)(terminal);
    machine.log().assert_has(&[
        "event=enrolled",
        "user=alice",
        "device=phone",
        &format!("service={}", door.service),
        door.address,
    ]);
    let show = machine.run("totpctl show alice --show-secret --json");
    let show: Value = serde_json::from_str(&show).expect("a document");
    assert_eq!(show["uri"], read.as_str());

    let mut next = door.open(&machine);
    next.answer(PROMPT, &phone.code());
    assert!(!next.seen().contains("Add this key"), "{}", next.seen());
    (door.enter)(next);
    let mut next = door.open(&machine);
    next.answer(PROMPT, &codes[9]);
    if door.service == "sudo" {
        next.see("Backup codes left: 9 (Press Enter) ");
        next.enter("");
    } else {
        next.see("Backup codes left: 9\r\n");
    }
    (door.enter)(next);
    machine
        .log()
        .assert_has(&["event=accepted", "device=backup-code"]);
}

#[test]
fn by_ssh_an_invitation_leads_to_a_device_and_to_a_shell() {
    assert_whole_story(&SSHD);
}

#[test]
fn at_a_terminal_an_invitation_leads_to_a_device_and_to_a_shell() {
    assert_whole_story(&LOGIN);
}

#[test]
fn by_su_an_invitation_leads_to_a_device_and_to_a_shell() {
    assert_whole_story(&SU);
}

#[test]
fn by_sudo_an_invitation_leads_to_a_device_and_to_root() {
    assert_whole_story(&SUDO);
}

#[test]
fn three_wrong_codes_leave_nothing_and_the_invitation_serves_again() {
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        let machine = machine_with("");
        let invite = invite(&machine, "alice");
        let before = machine.tree(RECORDS);
        let (mut terminal, first) = door.open_with(&machine, &invite);
        let wrong = first.wrong_code_at(clock::system());
        for left in ["(Attempts left: 2)", "(Attempts left: 1)"] {
            terminal.enter(&wrong).see(left);
            terminal.see(ENROLL_PROMPT);
        }
        terminal.enter(&wrong);
        terminal.see("Nothing was set up. Log in again to begin anew.");
        machine
            .log()
            .assert_has(&["event=no-enrollment", "three wrong codes"]);
        drop(terminal);
        machine.assert_quiet();
        assert_eq!(machine.tree(RECORDS), before, "{}", door.service);

        let (mut terminal, second) = door.open_with(&machine, &invite);
        assert_ne!(first.secret, second.secret, "a key that others may have");
        terminal
            .enter(&Enrolled::with(second).code())
            .see(KEPT_PROMPT);
        terminal.enter("");
        (door.enter)(terminal);
    }
}

/// Everything up to a step of an enrollment by an invitation.
fn enroll_up_to(step: usize, door: &Door, machine: &Machine, invite: &str) -> Terminal {
    let mut terminal = door.open(machine);
    terminal.see(PROMPT);
    if let Some(step) = step.checked_sub(1) {
        terminal.enter(invite);
        type_up_to(step, machine, &mut terminal);
    }
    terminal
}

/// From the key on.
fn type_up_to(step: usize, machine: &Machine, terminal: &mut Terminal) {
    let phone = shown_key(machine, terminal);
    let wrong = phone.wrong_code_at(clock::system());
    for typed in ["q", &wrong, "", "a"].iter().take(step) {
        terminal.enter(typed).see(ENROLL_PROMPT);
    }
}

#[test]
fn a_line_that_drops_at_any_step_leaves_nothing() {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    let before = machine.tree(RECORDS);
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        for step in 0..=5 {
            drop(enroll_up_to(step, door, &machine, &invite));
            machine.assert_quiet();
            let after = machine.tree(RECORDS);
            assert_eq!(after, before, "{}, step {step}", door.service);
        }
    }
    let (mut terminal, phone) = SSHD.open_with(&machine, &invite);
    terminal
        .enter(&Enrolled::with(phone).code())
        .see(KEPT_PROMPT);
    terminal.enter("");
    (SSHD.enter)(terminal);
}

#[test]
fn by_password_a_line_that_drops_at_any_step_leaves_nothing_either() {
    let machine = machine_by_password("");
    let before = machine.tree(RECORDS);
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        for step in 0..=4 {
            let mut terminal = door.open(&machine);
            type_up_to(step, &machine, &mut terminal);
            drop(terminal);
            machine.assert_quiet();
            let after = machine.tree(RECORDS);
            assert_eq!(after, before, "{}, step {step}", door.service);
        }
    }
}

#[test]
fn an_interrupt_at_any_step_leaves_nothing() {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    let before = machine.tree(RECORDS);
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        for step in [0, 1, 3] {
            let mut terminal = enroll_up_to(step, door, &machine, &invite);
            terminal.interrupt();
            if door.service != "login" {
                assert_ne!(terminal.end().status, 0);
            }
            drop(terminal);
            machine.assert_quiet();
            let after = machine.tree(RECORDS);
            assert_eq!(after, before, "{}, step {step}", door.service);
        }
    }
}

#[test]
fn an_interrupt_before_the_backup_codes_are_seen_is_no_login_and_leaves_the_device() {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    let (mut terminal, phone) = SUDO.open_with(&machine, &invite);
    let mut phone = Enrolled::with(phone);
    terminal.enter(&phone.code()).see(KEPT_PROMPT);
    // By then it is in the log: nobody who goes away now hides it.
    let told = ["event=enrolled", "user=alice", "service=sudo"];
    machine.log().assert_has(&told);
    terminal.interrupt();
    assert_ne!(terminal.end().status, 0);
    machine
        .log()
        .assert_has(&["event=aborted", "before the backup codes were seen"]);
    let mut next = SUDO.open(&machine);
    next.answer(PROMPT, &phone.code());
    (SUDO.enter)(next);
}

#[test]
fn a_line_that_drops_before_the_backup_codes_are_seen_leaves_the_device() {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    let (mut terminal, phone) = SSHD.open_with(&machine, &invite);
    let mut phone = Enrolled::with(phone);
    terminal.enter(&phone.code()).see(KEPT_PROMPT);
    drop(terminal);
    machine.assert_quiet();
    machine
        .log()
        .assert_has(&["event=enrolled", "user=alice", "service=sshd"]);
    let mut next = SSHD.open(&machine);
    next.answer(PROMPT, &phone.code());
    (SSHD.enter)(next);
}

/// A person through libpam who has an invitation, or what they take for one, and types no code.
fn try_invite(scratch: &Scratch, user: &str, invite: &str) -> Outcome {
    let mut login = scratch.start(user, |message| match message.style.is_prompt() {
        true if [PROMPT, INVITED_PROMPT].contains(&&*message.text) => invite.into(),
        true => Reply::Fail(Code::CONV_ERR),
        false => Reply::Null,
    });
    let code = login.authenticate(0);
    let heard = login.heard();
    Outcome { code, heard }
}

/// Whether a key was shown.
fn is_let_in(outcome: &Outcome) -> bool {
    outcome
        .asked()
        .iter()
        .any(|text| text.contains("Add this key"))
}

fn invite_of(scratch: &Scratch, words: &[&str]) -> (String, i64) {
    let made = scratch.document(&[&["invite", ACCOUNT], words].concat());
    let expires = made["expires"].as_str().expect("a time");
    let mut date = Command::new("date");
    date.args(["--date", expires, "+%s"]);
    let seconds = String::from_utf8(output(date, b"").stdout).expect("text");
    let code = made["code"].as_str().expect("a code").to_owned();
    (code, seconds.trim_end().parse().expect("seconds"))
}

#[test]
fn an_invitation_ends_with_its_second() {
    for (words, most) in [(&["--expires", "1s"][..], 1), (&[], 7 * 86_400)] {
        let scratch = Scratch::new(ENROLL);
        let made = clock::system();
        let (invite, expires) = invite_of(&scratch, words);
        assert!((made + most..=clock::system() + most).contains(&expires));
        clock::set(expires - 1);
        assert!(is_let_in(&try_invite(&scratch, ACCOUNT, &invite)));
        clock::set(expires);
        let late = try_invite(&scratch, ACCOUNT, &invite);
        assert_eq!(late.code, Code::AUTH_ERR);
        assert_eq!(
            (late.asked(), late.told()),
            (vec![PROMPT], vec![&*attempts_left(2), HOW_BY_INVITATION])
        );
        clock::unset();
    }
}

#[test]
fn an_invitation_that_runs_out_while_a_code_is_typed_gives_no_device() {
    let scratch = Scratch::new(ENROLL);
    let (invite, expires) = invite_of(&scratch, &["--expires", "1m"]);
    let before = end_to_end::tree::tree(&scratch.path("secrets"));
    clock::set(expires - 1);
    let outcome = enroll_through_libpam(&scratch, &invite, || clock::set(expires));
    clock::unset();
    assert_eq!(outcome.code, Code::AUTH_ERR);
    let told = outcome.told().concat();
    assert!(told.contains("the invitation has run out"), "{told}");
    assert_eq!(end_to_end::tree::tree(&scratch.path("secrets")), before);
}

#[test]
fn what_is_no_invitation_of_that_person_counts_like_any_wrong_answer() {
    const INVENTED: &str = "ABCD-EFGH-IJKL-MNOP";
    /// What is done to a valid invitation before somebody types it, and who.
    type Story = (&'static str, fn(&Scratch, &str) -> (String, &'static str));
    let stories: [Story; 5] = [
        ("there is none", |scratch, _| {
            scratch.document(&["invite", ACCOUNT, "--revoke"]);
            (INVENTED.to_owned(), ACCOUNT)
        }),
        ("invented", |_, _| (INVENTED.to_owned(), ACCOUNT)),
        ("revoked", |scratch, invite| {
            scratch.document(&["invite", ACCOUNT, "--revoke"]);
            (invite.to_owned(), ACCOUNT)
        }),
        ("replaced", |scratch, invite| {
            scratch.document(&["invite", ACCOUNT]);
            (invite.to_owned(), ACCOUNT)
        }),
        ("another's", |scratch, invite| {
            scratch.document(&["invite", "bin"]);
            (invite.to_owned(), "bin")
        }),
    ];
    for (name, story) in stories {
        let scratch = Scratch::new(ENROLL);
        let (invite, _) = invite_of(&scratch, &[]);
        let (typed, user) = story(&scratch, &invite);
        for told in [
            &[&*attempts_left(2), HOW_BY_INVITATION][..],
            &[&attempts_left(1), HOW_BY_INVITATION],
            &[&limit_reached(10)],
        ] {
            let outcome = try_invite(&scratch, user, &typed);
            assert_eq!(outcome.code, Code::AUTH_ERR, "{name}");
            assert_eq!(
                (&*outcome.asked(), &*outcome.told()),
                (&[PROMPT][..], told),
                "{name}"
            );
        }
        // The right one is not even asked for.
        let (invite, _) = invite_of(&scratch, &[]);
        if user == ACCOUNT {
            let outcome = try_invite(&scratch, user, &invite);
            assert_eq!(
                (outcome.code, outcome.asked()),
                (Code::AUTH_ERR, vec![]),
                "{name}"
            );
        }
    }
}

/// Who waits for one that doesn't move kills it, so either may have come first.
#[test]
fn an_invitation_that_was_taken_back_gives_nobody_a_device_any_more() {
    let scratch = Scratch::on(&std::env::temp_dir(), ENROLL);
    let (invite, _) = invite_of(&scratch, &[]);
    let mut enrolling = Command::new(env!("CARGO_BIN_EXE_contender"));
    enrolling.arg(scratch.path("pam.d"));
    enrolling.args(["enroll", ACCOUNT, HOME, &invite]);
    let paused = Paused::at_save(&scratch, &enrolling);
    let revoked = scratch.totpctl(&["invite", ACCOUNT, "--revoke"], "");
    paused.end();
    let is_enrolled = scratch.status(ACCOUNT)["users"][0]["enrolled"] == true;
    assert_eq!(revoked.status.success(), !is_enrolled, "{revoked:?}");
}

#[test]
fn an_invitation_is_made_of_nobody_who_gets_a_device_meanwhile() {
    let scratch = Scratch::on(&std::env::temp_dir(), ENROLL);
    let key = scratch.path("key");
    std::fs::write(&key, Phone::SECRET).expect("a new file");
    let key = key.to_str().expect("a plain path");
    let enroll = scratch.command(&["enroll", ACCOUNT, "--secret-file", key, "--no-confirm"]);
    let paused = Paused::at_save(&scratch, &enroll);
    let invited = scratch.totpctl(&["invite", ACCOUNT, "--json"], "");
    paused.end();
    let is_enrolled = scratch.status(ACCOUNT)["users"][0]["enrolled"] == true;
    assert_eq!(invited.status.success(), !is_enrolled, "{invited:?}");
}

#[test]
fn a_used_invitation_serves_nobody_again() {
    let scratch = Scratch::new(ENROLL);
    let (invite, _) = invite_of(&scratch, &[]);
    let enrolled = enroll_through_libpam(&scratch, &invite, || ());
    assert_eq!(enrolled.code, Code::SUCCESS);
    let again = try_invite(&scratch, ACCOUNT, &invite);
    assert_eq!((again.code, again.asked()), (Code::AUTH_ERR, vec![PROMPT]));
    scratch.document(&["reset", ACCOUNT, "--force"]);
    let again = try_invite(&scratch, ACCOUNT, &invite);
    assert_eq!((again.code, again.asked()), (Code::AUTH_ERR, vec![PROMPT]));
}

#[test]
fn an_invitation_is_typed_as_people_type() {
    for typed in [
        str::to_lowercase,
        |invite: &str| invite.replace('-', ""),
        |invite: &str| format!(" {} ", invite.replace('-', " ")),
    ] {
        let scratch = Scratch::new(ENROLL);
        let (invite, _) = invite_of(&scratch, &[]);
        assert!(is_let_in(&try_invite(&scratch, ACCOUNT, &typed(&invite))));
    }
}

/// A person who types an invitation, or a backup key, and enrolls. `meanwhile` happens before the code is typed.
fn enroll_through_libpam(scratch: &Scratch, typed: &str, meanwhile: impl Fn()) -> Outcome {
    let mut login = scratch.start(ACCOUNT, |message| enrolling(message, typed, &meanwhile));
    let code = login.authenticate(0);
    let heard = login.heard();
    Outcome { code, heard }
}

fn enrolling(message: &Message, typed: &str, meanwhile: impl Fn()) -> Reply {
    match message.text.as_str() {
        _ if !message.style.is_prompt() => Reply::Null,
        PROMPT | PASSWORD_PROMPT | INVITED_PROMPT => typed.into(),
        text if text.ends_with(ENROLL_PROMPT) => {
            let code = Phone::of_shown_key(text).code_at(clock::now());
            meanwhile();
            code.as_str().into()
        }
        _ => "".into(),
    }
}

#[test]
fn t49_of_24_with_one_invitation_one_gets_a_device_and_the_others_are_told() {
    for round in 0..5 {
        let scratch = Scratch::on(&std::env::temp_dir(), ENROLL);
        let (invite, _) = invite_of(&scratch, &[]);
        assert_one_of_24_enrolls(&scratch, &invite, round);
    }
}

#[test]
fn of_24_with_one_password_one_gets_a_device_and_the_others_are_told() {
    mounts::privately(|| {
        mounts::hide("/etc/pam.d".as_ref(), 1 << 20);
        let right = "auth required pam_permit.so\naccount required pam_permit.so\n";
        std::fs::write(TOTP_ENROLL, right).expect("a new file");
        for round in 0..5 {
            let settings = format!("{NO_LIMITS}{ENROLL}{BY_PASSWORD}");
            let scratch = Scratch::on(&std::env::temp_dir(), &settings);
            // What a first enrollment leaves behind.
            scratch.enroll("bin", &Phone::new(Phone::SECRET));
            assert_one_of_24_enrolls(&scratch, PASSWORD, round);
        }
    });
}

/// All with a key on their screen before anybody types a code.
#[track_caller]
fn assert_one_of_24_enrolls(scratch: &Scratch, entitling: &str, round: u8) {
    const PEOPLE: usize = 24;
    let ready = AtomicUsize::new(0);
    let ended: Vec<Outcome> = thread::scope(|scope| {
        let people: Vec<_> = (0..PEOPLE)
            .map(|_| {
                scope.spawn(|| {
                    enroll_through_libpam(scratch, entitling, || {
                        ready.fetch_add(1, Ordering::SeqCst);
                        wait_for("everybody to have a key", || {
                            ready.load(Ordering::SeqCst) == PEOPLE
                        });
                    })
                })
            })
            .collect();
        let ended = people
            .into_iter()
            .map(|one| one.join().expect("an outcome"));
        ended.collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|one| one.code == Code::SUCCESS);
    assert_eq!(won.len(), 1, "round {round}: {ended:?}");
    for one in lost {
        let told = one.told().concat();
        assert_eq!(one.code, Code::AUTH_ERR);
        assert!(told.contains("Somebody has just set up a device"), "{told}");
        assert_eq!(backup_codes_in(&one.asked().concat()), Vec::<String>::new());
    }
    let devices = scratch.status(ACCOUNT)["users"][0]["devices"].clone();
    assert_eq!(devices.as_array().map(Vec::len), Some(1), "{devices}");
    let phone = Phone::of_shown_key(&won[0].asked().concat());
    let next = clock::system() + 30;
    let login = scratch.login(ACCOUNT, phone.code_at(next).as_str());
    assert_eq!(login.code, Code::SUCCESS, "round {round}");
}

#[test]
fn a_backup_key_leads_to_a_new_device_in_the_same_login() {
    let scratch = Scratch::new(ENROLL);
    let old = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &old);
    let key = scratch.new_backup_key(ACCOUNT);
    let outcome = enroll_through_libpam(&scratch, &key, || ());
    assert_eq!(outcome.code, Code::SUCCESS);
    let asked = outcome.asked().concat();
    assert_eq!(backup_codes_in(&asked).len(), 10, "{asked}");
    let next = clock::system() + 30;
    let login = |phone: &Phone| scratch.login(ACCOUNT, phone.code_at(next).as_str()).code;
    assert_eq!(login(&old), Code::AUTH_ERR);
    assert_eq!(login(&Phone::of_shown_key(&asked)), Code::SUCCESS);
    // The key is gone with the devices that it has removed.
    assert_eq!(scratch.login(ACCOUNT, key.as_str()).code, Code::AUTH_ERR);
}

#[test]
fn messages_fit_libpam_and_hold_no_escapes() {
    const MAX_BYTES: usize = 512;
    let scratch = Scratch::new(&format!("[backup_codes]\ncount = 16\n{ENROLL}"));
    let (invite, _) = invite_of(&scratch, &[]);
    let mut typed = vec![invite.as_str(), "q", "a", "", "000000", "Q"].into_iter();
    let mut login = scratch.start(ACCOUNT, |message| match message.style.is_prompt() {
        true if message.text.contains("Press Enter") => "".into(),
        true => typed
            .next()
            .map_or(Reply::Fail(Code::CONV_ERR), Reply::from),
        false => Reply::Null,
    });
    login.authenticate(0);
    let heard = login.heard();
    // sshd ends a connection where more come before an answer.
    const MOST: usize = 32;
    let rounds = heard.split_inclusive(|message| message.style.is_prompt());
    let counts: Vec<usize> = rounds.map(<[_]>::len).collect();
    assert!(counts.iter().all(|count| *count <= MOST), "{counts:?}");
    for drawn in ["█", "##"] {
        assert!(heard.iter().any(|message| message.text.contains(drawn)));
    }
    for message in heard {
        assert!(message.text.len() < MAX_BYTES, "{message:?}");
        let is_plain = |sign: char| sign == '\n' || !sign.is_control();
        assert!(message.text.chars().all(is_plain), "{message:?}");
    }
}

#[test]
fn where_ssh_carries_only_a_password_nobody_enrolls_and_nobody_waits() {
    for (policy, way) in [
        ("", "totpctl invite"),
        (BY_PASSWORD, "log in once by ssh in a terminal"),
    ] {
        let machine = machine_before_sshd(policy)
            .pam("totp-enroll", &Example::named("totp-enroll"))
            .file(
                "/etc/ssh/sshd_config.d/00-first.conf",
                "644",
                "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nAuthenticationMethods password\n",
            )
            .sshd(&Example::named("sshd"), "");
        invite(&machine, "alice");
        let before = machine.tree("/var/lib/pam_totp/secrets");
        let mut ssh = machine.ssh("alice", &["id", "-un"]);
        ssh.answer("password: ", PASSWORD);
        // sshd keeps to itself what modules say here, so it is the log that tells what to do.
        ssh.see("Permission denied, please try again.");
        machine.log().assert_has(&["event=", "user=alice", way]);
        assert_eq!(machine.tree("/var/lib/pam_totp/secrets"), before);
    }
}

#[test]
fn su_without_a_terminal_ends_and_says_why() {
    let su = |machine: &Machine| {
        let su = machine.command_as("bob", &["su", "alice", "-c", "id -un"]);
        let ended = Said::new(&output(su, format!("{PASSWORD}\n").as_bytes()));
        assert!(ended.code != Some(0) && ended.out.is_empty(), "{ended:?}");
        assert_eq!(device_names(machine), Vec::<Value>::new());
        ended
    };
    let machine = machine_with("");
    su(&machine);
    machine
        .log()
        .assert_has(&["event=aborted", "user=alice", "totpctl invite"]);
    let machine = machine_by_password("");
    let ended = su(&machine);
    let told = "A second factor has to be set up first: log in once by ssh in a terminal";
    assert!(ended.err.contains(told), "{}", ended.err);
}

#[test]
fn who_types_nothing_is_told_the_same_enrolled_or_not() {
    let machine = machine_with("");
    let su = || {
        let su = machine.command_as("bob", &["su", "alice"]);
        Said::new(&output(su, b"wrong staple\n")).err
    };
    let unenrolled = su();
    assert!(unenrolled.contains("Who has no device yet"), "{unenrolled}");
    machine.enroll("alice");
    assert_eq!(su(), unenrolled);
}

/// As programs that copy files do: they ask for a password once, and have no other answer.
#[test]
fn a_client_that_says_the_password_again_is_told_what_to_do() {
    let machine = machine_with("");
    let mut ssh = SSHD.open(&machine);
    ssh.answer(PROMPT, PASSWORD);
    ssh.see("Who has no device yet logs in by ssh in a terminal");
    machine
        .log()
        .assert_has(&["event=wrong", "user=alice", "totpctl invite"]);
    let machine = machine_by_password("");
    let mut ssh = SSHD.open(&machine);
    ssh.answer(ENROLL_PROMPT, PASSWORD);
    ssh.see("A second factor has to be set up first: log in once by ssh in a terminal");
    drop(ssh);
    machine.assert_quiet();
    assert_eq!(device_names(&machine), Vec::<Value>::new());
}

#[test]
fn an_invitation_that_is_damaged_is_none_and_the_log_says_whose() {
    let machine = machine_with("");
    let invite = invite(&machine, "alice");
    machine.run("truncate -s -9 /var/lib/pam_totp/secrets/.invite-alice");
    let mut terminal = SU.open(&machine);
    terminal.answer(PROMPT, &invite);
    terminal.see(SU.refusal);
    machine
        .log()
        .assert_has(&["event=no-enrollment user=alice", ".invite-alice"]);
}

#[test]
fn an_invitation_without_the_password_lets_nobody_in() {
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        let machine = machine_with("");
        let invite = invite(&machine, "alice");
        let mut terminal = (door.knock)(&machine);
        terminal.answer(door.password_prompt, "wrong staple");
        terminal.answer(PROMPT, &invite);
        let phone = shown_key(&machine, &mut terminal);
        let code = Enrolled::with(phone).code();
        terminal.enter(&code).see(KEPT_PROMPT);
        terminal.enter("");
        let after = match door.service {
            "login" => "Login incorrect",
            "su" => "su: Authentication failure",
            _ => door.password_prompt,
        };
        terminal.see(after);
    }
}

#[test]
fn whom_pam_faillock_has_locked_learns_here_of_no_password_whether_it_is_right() {
    const COUNTING: &str = "auth required pam_faillock.so preauth\n\
                            auth [success=1 default=ignore] pam_unix.so nodelay\n\
                            auth [default=die] pam_faillock.so authfail\n\
                            auth required pam_permit.so\n";
    let machine = machine_by_password("")
        .file("/etc/security/faillock.conf", "644", "deny = 1\n")
        .file("/etc/pam.d/common-auth", "644", COUNTING);
    let mut terminal = SSHD.open(&machine);
    terminal.see(ENROLL_PROMPT);
    drop(terminal);
    let mut terminal = (SSHD.knock)(&machine);
    terminal.answer("Password: ", "wrong staple");
    terminal.answer(PROMPT, "000000").see(&attempts_left(2));
    terminal.answer("Password: ", PASSWORD);
    let shown = terminal.see(PROMPT);
    assert!(!shown.contains("Add this key"), "{shown}");
}

/// Where the password entitles to enroll, and is checked by the shipped stack.
fn machine_by_password(policy: &str) -> Machine {
    machine_with(&format!("{BY_PASSWORD}{policy}"))
        .pam("totp-enroll", &Example::named("totp-enroll"))
}

#[test]
fn the_right_password_leads_to_a_device() {
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        let machine = machine_by_password("");
        let mut terminal = door.open(&machine);
        let phone = shown_key(&machine, &mut terminal);
        terminal
            .enter(&Enrolled::with(phone).code())
            .see(KEPT_PROMPT);
        terminal.enter("");
        (door.enter)(terminal);
        assert_eq!(device_names(&machine), ["phone"]);
    }
}

#[test]
fn t49_a_wrong_password_is_shown_no_key() {
    for door in [&SSHD, &LOGIN, &SU, &SUDO] {
        let machine = machine_by_password("");
        let mut terminal = (door.knock)(&machine);
        terminal.answer(door.password_prompt, "wrong staple");
        terminal.answer(PROMPT, "000000").see(door.refusal);
        if door.service != "sudo" {
            terminal.see("is shown a key there\r\nright after the right password.");
        }
        assert!(
            !terminal.seen().contains("Add this key"),
            "{}",
            terminal.seen()
        );
        drop(terminal);
        machine.assert_quiet();
        assert_eq!(device_names(&machine), Vec::<Value>::new());
    }
}

/// What entitles alice to enroll, as totpctl has it.
fn explained(machine: &Machine) -> Value {
    let explained = machine.run(&format!("{EXPLAIN} --json"));
    let explained: Value = serde_json::from_str(&explained).expect("a document");
    explained["enroll_with"].clone()
}

#[test]
fn without_a_stack_of_its_own_that_is_roots_nobody_enrolls_by_password() {
    let machine = machine_by_password("");
    assert_eq!(explained(&machine), json!(["password", "invite"]));
    const ENTITLED: &str = "ENROLLED at this login, after the password, or with an invitation\n";
    assert!(machine.run(EXPLAIN).contains(ENTITLED));
    for spoil in [
        "rm $stack",
        "chown alice $stack",
        "chmod 664 $stack",
        "chmod 646 $stack",
        "mv $stack $stack.old; ln -s $stack.old $stack",
        "rm $stack; mkdir $stack",
        "rm $stack; mkfifo $stack",
    ] {
        machine.run(&format!("stack={TOTP_ENROLL}; rm -rf $stack $stack.old"));
        let machine = &machine;
        let example = Example::named("totp-enroll");
        machine.feed(
            &format!("install -m 644 /dev/fd/0 {TOTP_ENROLL}"),
            &example.stack,
        );
        machine.run(&format!("stack={TOTP_ENROLL}; {spoil}"));
        assert_eq!(explained(machine), json!(["invite"]), "{spoil}");
        let told = machine.run(EXPLAIN);
        assert!(
            told.contains(TOTP_ENROLL) && !told.contains(ENTITLED),
            "{told}"
        );
        let mut terminal = SSHD.open(machine);
        let shown = terminal.see(PROMPT);
        assert!(!shown.contains("Add this key"), "{spoil}: {shown}");
        let told = machine.log().lines();
        let refusals = told
            .iter()
            .filter(|line| line.contains("event=no-enrollment") && line.contains(TOTP_ENROLL));
        assert!(refusals.count() > 0, "{spoil}");
        machine.run("totpctl unlock --all");
    }
}

#[test]
fn a_stack_for_passwords_that_leads_back_to_the_module_lets_nobody_enroll() {
    let stack = Example::named("totp-enroll").stack + "auth required pam_totp.so\n";
    let machine = machine_by_password("").file(TOTP_ENROLL, "644", stack);
    let mut terminal = SSHD.open(&machine);
    let shown = terminal.see(PROMPT);
    assert!(!shown.contains("Add this key"), "{shown}");
    machine
        .log()
        .assert_has(&["pam_totp(totp-enroll:auth)", "must not have pam_totp in it"]);
    machine
        .log()
        .assert_has(&["event=no-enrollment", "service=sshd"]);
}

#[test]
fn who_logs_in_by_key_is_asked_for_the_password_and_a_wrong_one_counts() {
    let machine = machine_before_sshd(BY_PASSWORD)
        .pam("totp-enroll", &Example::named("totp-enroll"))
        .sshd(&Example::named("sshd-publickey"), "")
        .authorized_key("alice");
    let before = machine.tree(RECORDS);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.see("Password: ");
    drop(ssh);
    machine.assert_quiet();
    assert_eq!(machine.tree(RECORDS), before, "nothing was typed");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", "wrong staple");
    ssh.see(&attempts_left(2));
    drop(ssh);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", PASSWORD);
    let phone = shown_key(&machine, &mut ssh);
    ssh.enter(&Enrolled::with(phone).code()).see(KEPT_PROMPT);
    ssh.enter("");
    ssh.assert_ends_well("alice");
    machine.log().assert_has(&["event=wrong", "user=alice"]);
}

#[test]
fn a_right_password_is_no_guess_even_where_no_device_comes_of_it() {
    let machine = machine_before_sshd(&format!("{BY_PASSWORD}[limits]\naddress_deny = 3\n"))
        .pam("totp-enroll", &Example::named("totp-enroll"))
        .sshd(&Example::named("sshd-publickey"), "")
        .authorized_key("alice");
    let wrong_once = |left| {
        let mut ssh = machine.ssh("alice", &["id", "-un"]);
        ssh.answer("Password: ", "wrong staple");
        ssh.see(&attempts_left(left));
    };
    wrong_once(2);
    for _ in 0..4 {
        let mut ssh = machine.ssh("alice", &["id", "-un"]);
        ssh.answer("Password: ", PASSWORD);
        shown_key(&machine, &mut ssh);
        drop(ssh);
        machine.assert_quiet();
    }
    wrong_once(1);
    let lines = machine.log().lines();
    let wrong = lines.iter().filter(|line| line.contains("event=wrong"));
    assert_eq!(wrong.count(), 2, "{lines:?}");
}

/// Where alice logs in by her key, and the module itself asks for the password.
fn machine_by_key() -> Machine {
    machine_before_sshd(BY_PASSWORD)
        .pam("totp-enroll", &Example::named("totp-enroll"))
        .sshd(&Example::named("sshd-publickey"), "")
        .authorized_key("alice")
}

/// alice, who has typed this at the module's own prompt.
fn typed_behind_key(machine: &Machine, password: &str) -> Terminal {
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", password);
    ssh
}

#[test]
fn a_right_password_that_has_to_be_changed_leads_to_a_device_and_then_to_the_change() {
    const CHANGE: &str = "You are required to change your password immediately";
    for door in [&SSHD, &LOGIN, &SU] {
        let machine = machine_by_password("");
        machine.run("chage -d 0 alice");
        let mut terminal = door.open(&machine);
        let phone = shown_key(&machine, &mut terminal);
        let code = Enrolled::with(phone).code();
        terminal.enter(&code).see(KEPT_PROMPT);
        terminal.enter("");
        terminal.see(CHANGE);
        assert_eq!(device_names(&machine), ["phone"]);
    }
    let machine = machine_by_key();
    machine.run("chage -d 0 alice");
    for _ in 0..2 {
        let mut ssh = typed_behind_key(&machine, PASSWORD);
        shown_key(&machine, &mut ssh);
        drop(ssh);
        machine.assert_quiet();
    }
    typed_behind_key(&machine, "wrong staple").see(&attempts_left(2));
}

#[test]
fn a_password_that_nothing_asked_for_is_no_guess_and_keeps_no_invitation_out() {
    for (spoil, reason) in [
        ("rm $stack", "install the example of that name"),
        (
            "sed -i 's/pam_unix/pam_nothing/' $stack",
            "Module is unknown",
        ),
    ] {
        let machine = machine_by_key();
        machine.run(&format!("stack={TOTP_ENROLL}; {spoil}"));
        let at_prompt = || {
            let mut ssh = typed_behind_key(&machine, PASSWORD);
            ssh.see(PROMPT);
            let seen = ssh.seen();
            assert!(!seen.contains("Attempts"), "{spoil}: {seen}");
            ssh
        };
        for _ in 0..3 {
            drop(at_prompt());
            machine.assert_quiet();
        }
        machine
            .log()
            .assert_has(&["event=no-enrollment user=alice", reason]);
        let lines = machine.log().lines();
        assert!(!lines.iter().any(|line| line.contains("event=wrong")));
        let invite = invite(&machine, "alice");
        let mut ssh = at_prompt();
        ssh.enter(&invite);
        shown_key(&machine, &mut ssh);
    }
}

#[test]
fn a_password_that_was_asked_for_and_cannot_be_judged_counts() {
    const TWO: &str = "auth sufficient pam_unix.so nodelay\n\
                       auth required pam_debug.so auth=authinfo_unavail\n\
                       account required pam_unix.so\n";
    let machine = machine_by_key().file(TOTP_ENROLL, "644", TWO);
    for _ in 0..2 {
        let mut ssh = typed_behind_key(&machine, PASSWORD);
        shown_key(&machine, &mut ssh);
        drop(ssh);
        machine.assert_quiet();
    }
    for left in [2, 1] {
        typed_behind_key(&machine, "wrong staple").see(&attempts_left(left));
    }
    typed_behind_key(&machine, "wrong staple").see("Please try again later");
    machine
        .log()
        .assert_has(&["event=no-enrollment user=alice", "cannot retrieve"]);
}

#[test]
fn after_the_last_day_and_from_elsewhere_an_invitation_is_needed() {
    for limit in [
        "enroll_until = 2020-01-01\n",
        "enroll_from = [\"192.0.2.0/24\"]\n",
    ] {
        let machine = machine_by_password(limit);
        let invite = invite(&machine, "alice");
        let (mut terminal, phone) = SSHD.open_with(&machine, &invite);
        terminal
            .enter(&Enrolled::with(phone).code())
            .see(KEPT_PROMPT);
        terminal.enter("");
        (SSHD.enter)(terminal);
    }
}

#[test]
fn an_announcement_is_seen_once_a_login() {
    let rule = "[[policy.rule]]\nsecond_factor = \"required\"\nfrom = 2999-12-31\n";
    const SENTENCE: &str = "From 2999-12-31 on, in ";
    let machine = machine_with(rule);
    let mut ssh = SSHD.open(&machine);
    let said = ssh.end().said;
    assert_eq!(said.matches(SENTENCE).count(), 1, "{said}");
    assert!(said.contains("alice\r\n"), "{said}");
    let mut sudo = SUDO.open(&machine);
    let shown = sudo.see("(Press Enter) ");
    assert_eq!(shown.matches(SENTENCE).count(), 1, "{shown}");
    sudo.enter("");
    (SUDO.enter)(sudo);
}

#[test]
fn until_the_date_who_is_invited_enrolls_or_goes_on_without_and_nobody_else_is_asked() {
    const FROM: &str = "[[policy.rule]]\nsecond_factor = 'required'\nfrom = 2999-12-31\n";
    let announced = |outcome: &Outcome| outcome.told().concat().contains("From 2999-12-31 on");
    let scratch = Scratch::new(&format!("{ENROLL}{FROM}"));
    let (invite, expires) = invite_of(&scratch, &[]);
    let other = try_invite(&scratch, "bin", &invite);
    assert_eq!((other.code, other.asked()), (IGNORED, vec![]));

    let later = try_invite(&scratch, ACCOUNT, "");
    assert_eq!((later.code, later.asked()), (IGNORED, vec![INVITED_PROMPT]));
    assert!(announced(&later), "{later:?}");
    let explain = scratch.totpctl(&["explain", "--user", ACCOUNT, "--service", "scratch"], "");
    let explained = String::from_utf8_lossy(&explain.stdout);
    assert!(
        explained.contains("ASKED for the invitation, and let go on"),
        "{explained}"
    );
    // Nor does a line keep anybody out that takes no answer, or an application whose modules share one.
    let mut mute = scratch.start(ACCOUNT, |_: &Message| Reply::Fail(Code::CONV_ERR));
    assert_eq!(mute.authenticate(0), IGNORED);
    for arguments in ["forward_pass", "use_first_pass", "try_first_pass"] {
        scratch.stack(arguments);
        let unasked = try_invite(&scratch, ACCOUNT, &invite);
        assert_eq!(
            (unasked.code, unasked.asked()),
            (IGNORED, vec![]),
            "{arguments}"
        );
    }
    scratch.stack("");
    clock::set(expires);
    let late = try_invite(&scratch, ACCOUNT, &invite);
    assert_eq!((late.code, late.asked()), (IGNORED, vec![]));
    clock::unset();

    // What is typed counts. Who has no answers left is asked no more, and gets in as before.
    for left in [2, 1, 0] {
        let wrong = try_invite(&scratch, ACCOUNT, "ABCD-EFGH-IJKL-MNOP");
        assert_eq!(wrong.code, Code::AUTH_ERR, "{left}");
        assert_eq!(wrong.asked(), [INVITED_PROMPT], "{left}");
    }
    let unasked = try_invite(&scratch, ACCOUNT, &invite);
    assert_eq!((unasked.code, unasked.asked()), (IGNORED, vec![]));
    assert!(announced(&unasked), "{unasked:?}");

    clock::set(clock::system() + 601);
    let enrolled = enroll_through_libpam(&scratch, &invite, || {});
    assert_eq!(enrolled.code, Code::SUCCESS, "{enrolled:?}");
    let next = try_invite(&scratch, ACCOUNT, "");
    assert_eq!(next.asked(), [PROMPT]);
    clock::unset();
}

#[test]
fn by_ssh_who_is_invited_enrolls_before_the_date() {
    let machine =
        machine_with("[[policy.rule]]\nsecond_factor = \"required\"\nfrom = 2999-12-31\n");
    let invite = invite(&machine, "alice");
    let mut later = SSHD.open(&machine);
    later.see(INVITED_PROMPT);
    later.enter("");
    (SSHD.enter)(later);
    let mut ssh = SSHD.open(&machine);
    ssh.answer(INVITED_PROMPT, &invite);
    let mut phone = Enrolled::with(shown_key(&machine, &mut ssh));
    ssh.enter(&phone.code()).see(KEPT_PROMPT);
    ssh.enter("");
    (SSHD.enter)(ssh);
    let mut next = SSHD.open(&machine);
    next.answer(PROMPT, &phone.code());
    (SSHD.enter)(next);
}

#[test]
fn passwords_typed_for_the_module_are_charged_before_they_are_looked_at() {
    let machine = machine_before_sshd(BY_PASSWORD)
        .sshd(&Example::named("sshd-publickey"), "")
        .authorized_key("alice")
        .pam("totp-enroll", &Example::named("totp-enroll"));
    // All wait at the prompt, where nothing has been wrong yet.
    let mut sessions: Vec<_> = (0..6)
        .map(|_| {
            let mut ssh = machine.ssh("alice", &["id", "-un"]);
            ssh.see("Password: ");
            ssh
        })
        .collect();
    let right = sessions.pop().expect("the last one");
    for ssh in &mut sessions {
        ssh.enter("wrong staple");
    }
    for ssh in &mut sessions {
        // "Attempts left", or "limit of attempts" reached.
        ssh.see("ttempts");
    }
    let mut right = right;
    right.enter(PASSWORD);
    let told = right.see("Please try again later");
    assert!(!told.contains("authenticator app"), "{told}");
    let checked = machine.log().lines();
    let checked = checked
        .iter()
        .filter(|line| line.contains("pam_unix(totp-enroll:auth): authentication failure"));
    assert_eq!(checked.count(), 3, "no more than deny");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
const HOW_BY_INVITATION: &str = "Who has no device yet logs in by ssh in a terminal, and types an invitation\n\
                                 of the administrator in place of the verification code.";
const INVITED_PROMPT: &str =
    "Type your invitation to set up a device, or press Enter to go on without one: ";
const ENROLL_PROMPT: &str = "Code from your app (or q: QR code, a: QR code in ASCII): ";
const KEPT_PROMPT: &str = "Press Enter when you have kept them: ";
const ENROLL: &str = "[policy]\nunenrolled = \"enroll\"\n";
const BY_PASSWORD: &str = "enroll_with = \"password\"\n";
const EXPLAIN: &str = "totpctl explain --user alice --service sshd --rhost 127.0.0.1";
const TOTP_ENROLL: &str = "/etc/pam.d/totp-enroll";
const RECORDS: &str = "/var/lib/pam_totp";
const ROWS: usize = 24;
const COLUMNS: usize = 80;
