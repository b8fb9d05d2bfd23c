//! Trust: who has just logged in is not asked again at the same place.

use end_to_end::clock::{self, EPOCH};
use end_to_end::example::Example;
use end_to_end::libpam::{Code, Item};
use end_to_end::machine::Machine;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, PROMPT, Scratch, answering};
use end_to_end::ssh_key::SshKey;

const SETTINGS: &str =
    "[limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 0\n[policy]\ntrust = \"1h\"\n";
const SENDS_BY_ANY_WAY: &str = "[delivery.text]\ncommand = [\"/bin/true\", \"{address}\"]\n\
                                [delivery.mail]\ncommand = [\"/bin/true\", \"{address}\"]\n";
const ELSEWHERE: &str = "198.51.100.9";
const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
const DELETE_CRED: i32 = 4;

struct Case {
    scratch: Scratch,
    phone: Phone,
}

impl Case {
    fn new() -> Self {
        let case = Self {
            scratch: Scratch::new(SETTINGS),
            phone: Phone::new(Phone::SECRET),
        };
        for user in [ACCOUNT, "bin"] {
            case.scratch.enroll(user, &case.phone);
        }
        clock::set(EPOCH);
        case
    }

    /// A login with the code of now, from its prompt to the end that `end` makes of it.
    #[track_caller]
    fn login(&self, minute: i64, end: impl FnOnce(&mut end_to_end::libpam::Login<'_>)) {
        let now = EPOCH + 60 * minute;
        clock::set(now);
        let code = self.phone.code_at(now);
        let mut login = self.scratch.start(ACCOUNT, answering(code.as_str()));
        assert_eq!(login.authenticate(0), Code::SUCCESS);
        assert_eq!(login.heard().len(), 1, "asked once");
        end(&mut login);
    }

    fn trust(&self, minute: i64) {
        self.login(minute, |login| {
            assert_eq!(login.setcred(2), Code::SUCCESS);
        });
    }

    /// Whether somebody gets in unasked. Who is asked answers wrong.
    fn is_trusted(&self, minute: i64, user: &str, address: &str) -> bool {
        clock::set(EPOCH + 60 * minute);
        let mut login = self.scratch.start(user, answering("wrong"));
        login.set(Item::Rhost, address);
        let code = login.authenticate(0);
        let asked = !login.heard().is_empty();
        assert_eq!(code == Code::SUCCESS, !asked, "{code:?}");
        !asked
    }

    fn totpctl(&self, words: &[&str], input: &str) {
        let output = self.scratch.totpctl(words, input);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}

#[test]
fn after_a_whole_login_the_same_place_is_not_asked_again_for_that_long() {
    let case = Case::new();
    assert!(!case.is_trusted(0, ACCOUNT, HOME));
    case.trust(0);
    assert!(case.is_trusted(1, ACCOUNT, HOME) && case.is_trusted(59, ACCOUNT, HOME));
    assert!(!case.is_trusted(1, ACCOUNT, ELSEWHERE), "another address");
    assert!(!case.is_trusted(1, "bin", HOME), "another user");
    // Being trusted does not lengthen it.
    assert!(!case.is_trusted(60, ACCOUNT, HOME));
    case.trust(61);
    assert!(case.is_trusted(62, ACCOUNT, HOME));
}

#[test]
fn t47_a_code_alone_is_no_login() {
    let case = Case::new();
    case.login(0, |_| ());
    assert!(!case.is_trusted(1, ACCOUNT, HOME), "no setcred");
    case.login(2, |login| {
        assert_eq!(login.setcred(DELETE_CRED), Code::SUCCESS);
    });
    assert!(!case.is_trusted(3, ACCOUNT, HOME), "the end of a session");
    // Under `required` our success is not the stack's.
    let line = case.scratch.line("required", "");
    case.scratch
        .service(&format!("auth {line}\nauth required pam_deny.so\n"));
    clock::set(EPOCH + 60 * 4);
    let code = case.phone.code_at(EPOCH + 60 * 4);
    let mut login = case.scratch.start(ACCOUNT, answering(code.as_str()));
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
    drop(login);
    case.scratch.stack("");
    assert!(!case.is_trusted(5, ACCOUNT, HOME));
}

/// What the application names at the end is another's word than what was judged.
#[test]
fn t47_who_was_asked_is_trusted_where_they_were_asked() {
    let case = Case::new();
    case.login(0, |login| {
        login.set(Item::User, "bin");
        login.set(Item::Rhost, ELSEWHERE);
        assert_eq!(login.setcred(2), Code::SUCCESS);
    });
    for (user, address, trusted) in [
        (ACCOUNT, HOME, true),
        (ACCOUNT, ELSEWHERE, false),
        ("bin", HOME, false),
        ("bin", ELSEWHERE, false),
    ] {
        let is_trusted = case.is_trusted(1, user, address);
        assert_eq!(is_trusted, trusted, "{user} from {address}");
    }
}

#[test]
fn the_end_of_a_login_that_came_too_late_trusts_nobody() {
    let case = Case::new();
    case.login(0, |login| {
        clock::set(EPOCH + 60 * 11);
        assert_eq!(login.setcred(2), Code::SUCCESS);
    });
    assert!(!case.is_trusted(12, ACCOUNT, HOME));
}

#[test]
fn what_clears_trust_before_the_end_of_a_login_clears_that_one_too() {
    let case = Case::new();
    case.login(0, |login| {
        case.totpctl(&["trust", "clear", ACCOUNT], "");
        assert_eq!(login.setcred(2), Code::SUCCESS);
    });
    assert!(!case.is_trusted(1, ACCOUNT, HOME));
}

#[test]
fn another_service_is_asked() {
    let case = Case::new();
    case.trust(0);
    let stack = std::fs::read(case.scratch.path("pam.d/scratch")).expect("a stack");
    std::fs::write(case.scratch.path("pam.d/other"), stack).expect("another");
    let folder = case.scratch.path("pam.d");
    let mut login =
        end_to_end::libpam::Login::start(&folder, "other", ACCOUNT.as_bytes(), answering("wrong"))
            .expect("a service");
    login.set(Item::Rhost, HOME);
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
}

#[test]
fn any_change_of_devices_ends_it() {
    let key = format!("SHA256:{}", "A".repeat(43));
    let enroll = [
        "enroll",
        ACCOUNT,
        "--device",
        "tablet",
        "--secret-file",
        "-",
        "--no-confirm",
    ];
    let rotated = format!("{OTHER}\n{}\n", Phone::new(OTHER).code_at(clock::system()));
    for (words, input) in [
        (&enroll[..], OTHER),
        (
            &[
                "device",
                "bind",
                ACCOUNT,
                "phone",
                "--ssh-key",
                &key,
                "--force",
            ],
            "",
        ),
        (&["rotate", ACCOUNT, "--secret-file", "-"], &rotated),
        (&["repair", ACCOUNT], ""),
        (&["trust", "clear", ACCOUNT], ""),
        (&["trust", "clear", "--all"], ""),
        (&["disable", ACCOUNT, "--force"], ""),
        (&["reset", ACCOUNT, "--force"], ""),
    ] {
        let case = Case::new();
        case.trust(0);
        assert!(case.is_trusted(1, ACCOUNT, HOME));
        case.totpctl(words, input);
        assert!(!case.is_trusted(2, ACCOUNT, HOME), "{words:?}");
    }
    let bind = ["device", "bind", ACCOUNT, "tablet", "--ssh-key", &key];
    let of_the_tablet = |verb| ["device", verb, ACCOUNT, "tablet"];
    for (before, words) in [
        (
            None,
            &[&of_the_tablet("remove")[..], &["--force"]].concat()[..],
        ),
        (Some(bind), &of_the_tablet("unbind")),
        (
            None,
            &["enroll", ACCOUNT, "--text", "+41791234567", "--no-confirm"],
        ),
        (
            None,
            &[
                "enroll",
                ACCOUNT,
                "--mail",
                "alice@example.org",
                "--no-confirm",
            ],
        ),
    ] {
        let case = Case::new();
        case.scratch
            .configure(&format!("{SETTINGS}{SENDS_BY_ANY_WAY}"));
        case.scratch
            .enroll_device(ACCOUNT, "tablet", &Phone::new(OTHER));
        if let Some(before) = before {
            case.totpctl(&before, "");
        }
        case.trust(0);
        assert!(case.is_trusted(1, ACCOUNT, HOME));
        case.totpctl(words, "");
        assert!(!case.is_trusted(2, ACCOUNT, HOME), "{words:?}");
    }
}

#[test]
fn a_clock_that_went_back_ends_it_and_what_is_off_counts_for_nothing() {
    let case = Case::new();
    case.trust(30);
    assert!(case.is_trusted(31, ACCOUNT, HOME));
    assert!(!case.is_trusted(0, ACCOUNT, HOME), "in the future");
    assert!(!case.is_trusted(31, ACCOUNT, HOME), "once and for all");
    case.trust(32);
    case.scratch.configure(&SETTINGS.replace("1h", "2h"));
    assert!(case.is_trusted(33, ACCOUNT, HOME));
    case.scratch.configure(&SETTINGS.replace("1h", "0s"));
    assert!(!case.is_trusted(34, ACCOUNT, HOME));
    case.scratch.configure(SETTINGS);
    assert!(case.is_trusted(35, ACCOUNT, HOME));
}

#[test]
fn real_ssh_asks_once_an_address() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "")
        .file(CONFIG, "644", TRUST);
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    ssh.assert_ends_well("alice");
    assert!(!ssh.seen().contains(PROMPT), "{}", ssh.seen());
    machine
        .log()
        .assert_has(&["event=trusted", "user=alice", "address=127.0.0.1"]);
    let status = machine.run("totpctl status alice");
    let told: Vec<&str> = status
        .lines()
        .filter_map(|line| line.split_once("not asked again at one place until "))
        .map(|(_, until)| until)
        .collect();
    let [until] = told[..] else {
        panic!("{status}")
    };
    machine
        .log()
        .assert_has(&["event=trusted", &format!("until={until}")]);
    // The password is asked for in any case.
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, "wrong staple")
        .see(PASSWORD_PROMPT);
    let mut elsewhere = machine.ssh("alice", &["-b", "127.0.0.2", "id", "-un"]);
    elsewhere.answer(PASSWORD_PROMPT, PASSWORD).see(PROMPT);
}

/// alice, who has to give her password at each sudo.
fn machine_of_sudo() -> Machine {
    Machine::new()
        .user("alice", PASSWORD)
        .pam("sudo", &Example::named("sudo"))
        .file(
            "/etc/sudoers",
            "440",
            "Defaults timestamp_timeout=0\nalice ALL = (ALL) ALL\n",
        )
        .file(CONFIG, "644", TRUST)
}

#[test]
fn sudo_asks_once_a_terminal_session() {
    let machine = machine_of_sudo();
    let mut phone = machine.enroll("alice");
    let shell = ["sh", "-c", "sudo id -un && sudo id -un"];
    let mut first = machine.terminal_as("alice", &shell);
    first
        .answer(SUDO_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    first.answer(SUDO_PROMPT, PASSWORD);
    first.assert_ends_well("root");
    assert_eq!(first.seen().matches(PROMPT).count(), 1, "{}", first.seen());
    let mut second = machine.terminal_as("alice", &shell);
    second.answer(SUDO_PROMPT, PASSWORD).see(PROMPT);
}

/// The numbers of terminals are used again, for somebody else at the next login.
#[test]
fn a_terminal_that_was_used_before_is_no_place_that_is_known() {
    let machine = machine_of_sudo();
    let mut phone = machine.enroll("alice");
    // The terminal stays open, while one session on it follows the other.
    let one_by_one = "for number in 1 2; do setsid --ctty --wait \
        setpriv --reuid alice --regid alice --init-groups --reset-env sh -c 'tty; sudo id -un && sudo id -un'; done";
    let mut terminal = machine.terminal(&["sh", "-c", one_by_one]);
    let mut used = Vec::new();
    for _ in 0..2 {
        used.push(terminal.see("/dev/pts/") + &terminal.see("\r\n"));
        terminal.answer(SUDO_PROMPT, PASSWORD);
        terminal.answer(PROMPT, &phone.code()).see("root\r\n");
        terminal.answer(SUDO_PROMPT, PASSWORD);
        let shown = terminal.see("root\r\n");
        assert!(!shown.contains(PROMPT), "{shown}");
    }
    assert_eq!(terminal.end().status, 0);
    let number = |text: &String| text.rsplit('/').next().map(str::to_owned);
    assert_eq!(number(&used[0]), number(&used[1]), "another terminal");
}

#[test]
fn su_trusts_one_caller_in_one_session() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", "bob's own password")
        .user("carol", "carol's own password")
        .pam("su", &Example::named("su"))
        .file(CONFIG, "644", TRUST);
    let mut phone = machine.enroll("alice");
    let su_as = |caller: &str| {
        format!(
            "setpriv --reuid {caller} --regid {caller} --init-groups --reset-env su alice -c 'id -un'"
        )
    };
    let (bob, carol) = (su_as("bob"), su_as("carol"));
    let mut terminal = machine.terminal(&["sh", "-c", &format!("{bob}; {bob}; {carol}")]);
    terminal.answer(PASSWORD_PROMPT, PASSWORD);
    terminal.answer(PROMPT, &phone.code()).see("alice\r\n");
    terminal.answer(PASSWORD_PROMPT, PASSWORD);
    let shown = terminal.see("alice\r\n");
    assert!(!shown.contains(PROMPT), "{shown}");
    terminal.answer(PASSWORD_PROMPT, PASSWORD);
    terminal.answer(PROMPT, &phone.code()).see("alice\r\n");
    assert_eq!(terminal.end().status, 0);
}

#[test]
fn no_secret_file_that_a_login_would_refuse_is_trusted() {
    let case = Case::new();
    case.trust(0);
    assert!(case.is_trusted(1, ACCOUNT, HOME));
    let file = case.scratch.secret(ACCOUNT);
    let whole = std::fs::read_to_string(&file).expect("a secret file");
    let others = std::fs::read_to_string(case.scratch.secret("bin")).expect("another");
    for content in ["rubbish", &others] {
        std::fs::write(&file, content).expect("root writes");
        clock::set(EPOCH + 120);
        let login = case.scratch.login(ACCOUNT, "wrong");
        assert_eq!(login.code, Code::AUTH_ERR, "{content}");
    }
    std::fs::write(&file, whole).expect("root writes");
    assert!(case.is_trusted(2, ACCOUNT, HOME));
}

#[test]
fn a_code_of_a_bound_device_makes_no_place_trusted() {
    let case = Case::new();
    let key = SshKey::new(&case.scratch.path("key"));
    case.totpctl(
        &[
            "device",
            "bind",
            ACCOUNT,
            "phone",
            "--ssh-key",
            &key.fingerprint,
            "--force",
        ],
        "",
    );
    clock::set(EPOCH + 120);
    let code = case.phone.code_at(EPOCH + 120);
    let mut login = case.scratch.start(ACCOUNT, answering(code.as_str()));
    login.put_env("SSH_AUTH_INFO_0", &key.proof);
    assert_eq!(login.authenticate(0), Code::SUCCESS);
    assert_eq!(login.setcred(2), Code::SUCCESS);
    drop(login);
    assert!(!case.is_trusted(3, ACCOUNT, HOME));
}

const CONFIG: &str = "/etc/security/pam_totp.toml";
const TRUST: &str = "[policy]\ntrust = \"12h\"\n";
const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
const SUDO_PROMPT: &str = "password for alice: ";
