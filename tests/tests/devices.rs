//! Several devices of one person, and what becomes of one that is renamed or removed.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use end_to_end::clock::{self, system as now};
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::Machine;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch};
use end_to_end::secret;

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

struct Case {
    scratch: Scratch,
    phone: Phone,
    tablet: Phone,
    start: i64,
    steps: Cell<i64>,
}

impl Case {
    fn new() -> Self {
        let (phone, tablet) = (Phone::new(Phone::SECRET), Phone::new(OTHER));
        let scratch = Scratch::new(NO_LIMITS);
        scratch.enroll_device(ACCOUNT, "phone", &phone);
        scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        Self {
            scratch,
            phone,
            tablet,
            start: now(),
            steps: Cell::new(0),
        }
    }

    /// Whether a code that was never used gets in.
    fn lets_in(&self, device: &Phone) -> bool {
        self.steps.set(self.steps.get() + 4);
        let time = self.start + 30 * self.steps.get();
        clock::set(time);
        let code = self.scratch.login(ACCOUNT, device.code_at(time).as_str());
        clock::unset();
        code.code == Code::SUCCESS
    }

    fn totpctl(&self, arguments: &[&str], input: &str) -> i32 {
        let output = self.scratch.totpctl(arguments, input);
        output.status.code().expect("a status")
    }
}

#[test]
fn the_code_of_any_device_gets_in() {
    let case = Case::new();
    assert!(case.lets_in(&case.phone) && case.lets_in(&case.tablet));
}

#[test]
fn another_name_changes_no_code_and_frees_none() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::SUCCESS
    );
    assert_eq!(
        case.totpctl(&["device", "rename", ACCOUNT, "phone", "pixel"], ""),
        0
    );
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::AUTH_ERR
    );
    assert!(case.lets_in(&case.phone));
    assert_eq!(
        case.scratch.status(ACCOUNT)["users"][0]["devices"][0]["name"],
        "pixel"
    );
}

#[test]
fn a_removed_device_is_dead_and_the_other_is_not() {
    let case = Case::new();
    assert_eq!(
        case.totpctl(&["device", "remove", ACCOUNT, "phone", "--force"], ""),
        0
    );
    assert!(!case.lets_in(&case.phone));
    assert!(case.lets_in(&case.tablet));
    // Of the same secret and name it is another device.
    case.scratch.enroll_device(ACCOUNT, "phone", &case.phone);
    assert!(case.lets_in(&case.phone));
}

#[test]
fn removing_takes_an_unused_code_of_any_device_and_uses_it_up() {
    let case = Case::new();
    let (code, wrong) = (case.tablet.code_at(now()), case.phone.wrong_code_at(now()));
    let remove = ["device", "remove", ACCOUNT, "phone"];
    for answer in ["", &wrong, "no code"] {
        assert_eq!(case.totpctl(&remove, &format!("{answer}\n")), 1, "{answer}");
    }
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::SUCCESS
    );
    assert_eq!(case.totpctl(&remove, &format!("{code}\n")), 1, "a used one");
    let next = case.tablet.code_at(now() + 30);
    assert_eq!(case.totpctl(&remove, &format!("{next}\n")), 0);
    assert_eq!(
        case.scratch.login(ACCOUNT, next.as_str()).code,
        Code::AUTH_ERR
    );
    assert!(!case.lets_in(&case.phone) && case.lets_in(&case.tablet));
}

#[test]
fn a_device_that_is_removed_while_its_code_is_asked_for_lets_nobody_in() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    let person = |message: &Message| {
        if !message.style.is_prompt() {
            return Reply::Null;
        }
        assert_eq!(
            case.totpctl(&["device", "remove", ACCOUNT, "phone", "--force"], ""),
            0
        );
        code.as_str().into()
    };
    let mut login = case.scratch.start(ACCOUNT, person);
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
}

#[test]
fn without_the_last_device_nobody_is_enrolled() {
    let case = Case::new();
    for device in ["phone", "tablet"] {
        assert_eq!(
            case.totpctl(&["device", "remove", ACCOUNT, device, "--force"], ""),
            0
        );
    }
    assert_eq!(case.scratch.status(ACCOUNT)["users"][0]["enrolled"], false);
    assert!(!case.lets_in(&case.tablet));
    assert!(!case.scratch.state(ACCOUNT).exists() && !case.scratch.secret(ACCOUNT).exists());
}

/// A totpctl that has shown a new key and waits for a code of it.
struct Rotation {
    child: Child,
    output: BufReader<ChildStdout>,
    phone: Phone,
}

impl Rotation {
    fn of(case: &Case, device: &str) -> Self {
        let mut child = case
            .scratch
            .command(&["rotate", ACCOUNT, "--device", device, "--qr", "none"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("totpctl starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("otpauth://") {
            line.clear();
            let length = output.read_line(&mut line).expect("text");
            assert!(length > 0, "no key was shown");
        }
        let secret = line.split("secret=").nth(1).expect("a secret");
        let secret = secret.split('&').next().expect("a secret").trim();
        Self {
            child,
            output,
            phone: Phone::new(secret),
        }
    }

    /// Types answers, and returns the exit status, the rest of what was said, and the complaints.
    fn end(mut self, answers: &str) -> (i32, String, String) {
        let mut input = self.child.stdin.take().expect("a pipe");
        input.write_all(answers.as_bytes()).expect("it reads");
        drop(input);
        let (mut said, mut complaint) = (String::new(), String::new());
        self.output.read_to_string(&mut said).expect("text");
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut complaint).expect("text");
        let status = self.child.wait().expect("it ends");
        (status.code().expect("a status"), said, complaint)
    }
}

#[test]
fn the_old_key_works_until_a_code_of_the_new_one_is_typed_and_is_dead_then() {
    let case = Case::new();
    let rotation = Rotation::of(&case, "phone");
    let new = rotation.phone.clone();
    assert!(case.lets_in(&case.phone), "the old one, meanwhile");
    assert!(!case.lets_in(&new), "not yet");
    let code = new.code_at(now());
    let (status, said, _) = rotation.end(&format!("{code}\n"));
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Delete the old entry in your app"), "{said}");
    assert!(!case.lets_in(&case.phone));
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::AUTH_ERR,
        "used up"
    );
    assert!(case.lets_in(&new) && case.lets_in(&case.tablet));
}

#[test]
fn a_rotation_that_is_not_confirmed_changes_nothing() {
    let case = Case::new();
    for answers in ["", "000000\n000000\n000000\n"] {
        let rotation = Rotation::of(&case, "phone");
        let new = rotation.phone.clone();
        let (status, ..) = rotation.end(answers);
        assert_eq!(status, 1);
        assert!(case.lets_in(&case.phone) && !case.lets_in(&new));
    }
}

#[test]
fn of_two_rotations_at_once_one_wins_and_the_other_is_told() {
    let case = Case::new();
    let (one, two) = (Rotation::of(&case, "phone"), Rotation::of(&case, "phone"));
    let (winner, loser) = (one.phone.clone(), two.phone.clone());
    let code = winner.code_at(now());
    assert_eq!(one.end(&format!("{code}\n")).0, 0);
    let code = loser.code_at(now());
    let (status, _, complaint) = two.end(&format!("{code}\n"));
    assert_eq!(status, 1);
    let told = "device phone was changed or removed meanwhile, and this has changed nothing";
    assert!(complaint.contains(told), "{complaint}");
    assert!(case.lets_in(&winner) && !case.lets_in(&loser) && !case.lets_in(&case.phone));
}

#[test]
fn a_rotation_while_the_old_code_is_asked_for_lets_nobody_in() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    let person = |message: &Message| {
        if !message.style.is_prompt() {
            return Reply::Null;
        }
        let rotation = Rotation::of(&case, "phone");
        let new = rotation.phone.code_at(now());
        assert_eq!(rotation.end(&format!("{new}\n")).0, 0);
        code.as_str().into()
    };
    let mut login = case.scratch.start(ACCOUNT, person);
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
}

#[test]
fn a_name_given_while_a_rotation_asks_for_its_code_stays() {
    let case = Case::new();
    let rotation = Rotation::of(&case, "phone");
    let rename = ["device", "rename", ACCOUNT, "phone", "pixel"];
    assert_eq!(case.totpctl(&rename, ""), 0);
    // Another one may have taken the old name.
    let third = Phone::new(&secret::fresh());
    case.scratch.enroll_device(ACCOUNT, "phone", &third);
    let new = rotation.phone.clone();
    let code = new.code_at(now());
    assert_eq!(rotation.end(&format!("{code}\n")).0, 0);
    let devices = case.scratch.status(ACCOUNT)["users"][0]["devices"].clone();
    assert_eq!(devices[0]["name"], "pixel");
    assert!(!case.lets_in(&case.phone));
    assert!(case.lets_in(&new) && case.lets_in(&third) && case.lets_in(&case.tablet));
}

#[test]
fn a_bond_made_while_a_rotation_asks_for_its_code_stays() {
    let case = Case::new();
    let rotation = Rotation::of(&case, "phone");
    let print = format!("SHA256:{}", "A".repeat(43));
    let bind = ["device", "bind", ACCOUNT, "phone", "--ssh-key", &print];
    assert_eq!(case.totpctl(&bind, ""), 0);
    let new = rotation.phone.clone();
    let code = new.code_at(now());
    // Whether it is done or has to begin again.
    rotation.end(&format!("{code}\n"));
    let devices = case.scratch.status(ACCOUNT)["users"][0]["devices"].clone();
    assert_eq!(devices[0]["ssh_key"], print);
    assert!(!case.lets_in(&new) && !case.lets_in(&case.phone));
    assert!(case.lets_in(&case.tablet));
}

/// Gives the tablet's key to another device too, confirmed by `code`.
fn give_the_tablets_key(case: &Case, command: &str, code: &str) {
    let device = if command == "enroll" {
        "third"
    } else {
        "phone"
    };
    let words = [command, ACCOUNT, "--device", device, "--secret-file", "-"];
    assert_eq!(case.totpctl(&words, &format!("{OTHER}\n{code}\n")), 0);
}

#[test]
fn a_code_that_confirms_a_device_is_used_up_for_all_that_have_its_key() {
    for command in ["enroll", "rotate"] {
        let case = Case::new();
        let code = case.tablet.code_at(now());
        give_the_tablets_key(&case, command, &code);
        let login = case.scratch.login(ACCOUNT, code.as_str());
        assert_eq!(login.code, Code::AUTH_ERR, "{command}");
        assert!(case.lets_in(&case.tablet));
    }
}

#[test]
fn a_code_that_was_accepted_stays_used_up_when_another_device_gets_its_key() {
    for command in ["enroll", "rotate"] {
        let case = Case::new();
        let [older, code] = [now(), now() + 30].map(|time| case.tablet.code_at(time));
        let login = case.scratch.login(ACCOUNT, code.as_str());
        assert_eq!(login.code, Code::SUCCESS);
        give_the_tablets_key(&case, command, &older);
        let login = case.scratch.login(ACCOUNT, code.as_str());
        assert_eq!(login.code, Code::AUTH_ERR, "{command}");
    }
}

#[test]
fn disabling_takes_an_unused_code_and_ends_it_all() {
    let case = Case::new();
    let wrong = case.phone.wrong_code_at(now());
    for answer in ["", &wrong] {
        assert_eq!(
            case.totpctl(&["disable", ACCOUNT], &format!("{answer}\n")),
            1
        );
    }
    let code = case.tablet.code_at(now());
    let person = |message: &Message| {
        if !message.style.is_prompt() {
            return Reply::Null;
        }
        assert_eq!(case.totpctl(&["disable", ACCOUNT], &format!("{code}\n")), 0);
        case.phone.code_at(now()).as_str().into()
    };
    let mut login = case.scratch.start(ACCOUNT, person);
    assert_eq!(
        login.authenticate(0),
        Code::AUTH_ERR,
        "at its prompt meanwhile"
    );
    assert_eq!(case.scratch.status(ACCOUNT)["users"][0]["enrolled"], false);
    assert_eq!(
        case.totpctl(&["disable", ACCOUNT, "--force"], ""),
        1,
        "nobody is left"
    );
}

#[test]
fn a_shown_key_is_the_one_that_was_enrolled_and_takes_a_word() {
    let case = Case::new();
    assert_eq!(
        case.totpctl(&["show", ACCOUNT, "--device", "tablet"], ""),
        2
    );
    let arguments = [
        "show",
        ACCOUNT,
        "--device",
        "tablet",
        "--show-secret",
        "--qr",
        "none",
    ];
    let shown = case.scratch.totpctl(&arguments, "");
    assert!(shown.status.success(), "{shown:?}");
    let said = String::from_utf8_lossy(&shown.stdout);
    assert!(
        said.contains(OTHER) && !said.contains(Phone::SECRET),
        "{said}"
    );
}

#[test]
fn a_backup_code_proves_as_much_as_a_code_of_a_device() {
    let case = Case::new();
    let codes = case.scratch.new_backup_codes(ACCOUNT);
    let code = format!("{}\n", codes[0]);
    assert_eq!(
        case.totpctl(&["device", "remove", ACCOUNT, "phone"], &code),
        0
    );
    assert_eq!(case.totpctl(&["disable", ACCOUNT], &code), 1, "used up");
    let code = format!("{}\n", codes[1]);
    assert_eq!(case.totpctl(&["disable", ACCOUNT], &code), 0);
}

#[test]
fn a_proof_counts_nothing_and_forgets_nothing() {
    let case = Case::new();
    // How many a day are allowed is a matter of devices.
    case.scratch
        .configure("[limits]\naddress_deny = 0\ndaily = 0\n");
    let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
    let wrong = case.phone.wrong_code_at(now());
    case.scratch.three_strangers_guess(ACCOUNT, &wrong);
    let counts = || {
        let user = case.scratch.status(ACCOUNT)["users"][0].clone();
        assert_eq!(user["unfamiliar"]["total"], 3, "{user}");
        (user["unfamiliar"].clone(), user["addresses"].clone())
    };
    let before = counts();
    let third = Phone::new(&secret::fresh());
    for (right, device) in [(&case.tablet.code_at(now()), "third"), (&backup, "fourth")] {
        case.scratch.enroll_device(ACCOUNT, device, &third);
        let remove = ["device", "remove", ACCOUNT, device];
        for (answer, status) in [(&wrong, 1), (right, 0)] {
            assert_eq!(case.totpctl(&remove, &format!("{answer}\n")), status);
            assert_eq!(counts(), before, "{device}: {answer}");
        }
    }
}

#[test]
fn a_wrong_proof_is_logged() {
    let machine = Machine::new();
    machine.enroll(ACCOUNT);
    let mut phone = machine.enroll_device(ACCOUNT, "tablet");
    for command in ["device remove daemon phone", "disable daemon"] {
        let lines = || machine.log().lines().len();
        let before = lines();
        let wrong = format!("{}\n", phone.wrong_code());
        machine.feed(&format!("totpctl {command} || test $? = 1"), wrong);
        let new = machine.log().lines().split_off(before);
        let parts = [
            "event=wrong",
            "user=daemon",
            "service=totpctl",
            "actor=uid:0",
        ];
        let is_told = |line: &String| parts.iter().all(|part| line.contains(part));
        assert!(new.iter().any(is_told), "{command}: {new:?}");
    }
    let right = format!("{}\n", phone.code());
    machine.feed("totpctl disable daemon", right);
    machine.log().assert_has(&["event=disabled", "user=daemon"]);
}

#[test]
fn a_phone_whose_clock_is_off_gets_a_new_key_and_logs_in_with_it() {
    let case = Case::new();
    let ahead = 5 * 30;
    let codes = case.phone.codes(now() + ahead, 1).join("\n") + "\n";
    assert_eq!(case.totpctl(&["resync", ACCOUNT], &codes), 0);
    let drift = case.scratch.status(ACCOUNT)["users"][0]["devices"][0]["drift"].clone();
    assert!(drift == 5 || drift == 6, "{drift}");
    let rotation = Rotation::of(&case, "phone");
    let new = rotation.phone.clone();
    let code = new.code_at(now() + ahead);
    let (status, said, _) = rotation.end(&format!("{code}\n"));
    assert_eq!(status, 0, "{said}");
    let used = case.scratch.login(ACCOUNT, code.as_str());
    assert_eq!(used.code, Code::AUTH_ERR);
    let next = new.code_at(now() + ahead + 30);
    let login = case.scratch.login(ACCOUNT, next.as_str());
    assert_eq!(login.code, Code::SUCCESS);
}

#[test]
fn an_enrollment_without_a_secret_file_is_not_revived_by_that_file() {
    let case = Case::new();
    let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
    let key = case.scratch.new_backup_key(ACCOUNT);
    let (secret, copy) = (case.scratch.secret(ACCOUNT), case.scratch.path("copy"));
    // As a kill leaves it.
    fs::rename(&secret, &copy).expect("a secret");
    let new = Phone::new(&secret::fresh());
    case.scratch.enroll(ACCOUNT, &new);
    assert!(case.lets_in(&new));
    // With its owner and mode, as a backup brings it back.
    fs::rename(&copy, &secret).expect("a secret");
    assert!(!case.lets_in(&case.phone) && !case.lets_in(&case.tablet));
    for answer in [&backup, &key] {
        let login = case.scratch.login(ACCOUNT, answer.as_str());
        assert_eq!(login.code, Code::AUTH_ERR, "{answer}");
    }
    assert!(secret.exists(), "the key has removed nothing");
}
