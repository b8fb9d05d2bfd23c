//! Several devices of one person, and what becomes of one that is renamed or removed.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use end_to_end::clock::{self, system as now};
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::Machine;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch};
use end_to_end::said::Said;
use end_to_end::secret;
use serde_json::Value;

/// What asks for a code of a new key.
const CONFIRM_PROMPT: &str = "Code from your app: ";
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

    /// How many steps ahead the phone is known to be.
    fn drift(&self) -> i64 {
        let user = self.scratch.status(ACCOUNT)["users"][0].clone();
        user["devices"][0]["drift"].as_i64().expect("a number")
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

/// A totpctl that waits for an answer.
struct Asked {
    child: Child,
    output: ChildStdout,
    said: String,
}

impl Asked {
    /// Returns once it has asked what ends with `prompt`.
    fn by(case: &Case, words: &[&str], prompt: &str) -> Self {
        let mut child = case
            .scratch
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("totpctl starts");
        let mut output = child.stdout.take().expect("a pipe");
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(prompt.as_bytes()) {
            output.read_exact(&mut byte).expect("it asks");
            said.extend(byte);
        }
        Self {
            child,
            output,
            said: String::from_utf8(said).expect("text"),
        }
    }

    /// Types answers. What was said until then is not in what was said.
    fn end(mut self, answers: &str) -> Said {
        let mut input = self.child.stdin.take().expect("a pipe");
        input.write_all(answers.as_bytes()).expect("it reads");
        drop(input);
        let (mut out, mut err) = (String::new(), String::new());
        self.output.read_to_string(&mut out).expect("text");
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut err).expect("text");
        let code = self.child.wait().expect("it ends").code();
        Said { code, out, err }
    }
}

/// A totpctl that has shown a new key and waits for a code of it.
struct Rotation {
    asked: Asked,
    phone: Phone,
}

impl Rotation {
    fn of(case: &Case, device: &str) -> Self {
        Self::with(case, device, &[])
    }

    fn with(case: &Case, device: &str, options: &[&str]) -> Self {
        let rotate = ["rotate", ACCOUNT, "--device", device, "--qr", "none"];
        let asked = Asked::by(case, &[&rotate, options].concat(), CONFIRM_PROMPT);
        let secret = asked.said.split("secret=").nth(1).expect("a secret");
        let secret = secret.split(['&', '\n']).next().expect("a secret");
        Self {
            phone: Phone::new(secret),
            asked,
        }
    }

    fn end(self, answers: &str) -> Said {
        self.asked.end(answers)
    }
}

#[test]
fn t50_the_old_key_works_until_a_code_of_the_new_one_is_typed_and_is_dead_then() {
    let case = Case::new();
    let rotation = Rotation::of(&case, "phone");
    let new = rotation.phone.clone();
    assert!(case.lets_in(&case.phone), "the old one, meanwhile");
    assert!(!case.lets_in(&new), "not yet");
    let code = new.code_at(now());
    let said = rotation.end(&format!("{code}\n"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("Delete the old entry in your app"),
        "{said:?}"
    );
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
        let said = rotation.end(answers);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("the old key still works"), "{said:?}");
        assert!(case.lets_in(&case.phone) && !case.lets_in(&new));
    }
}

#[test]
fn t50_of_two_rotations_at_once_one_wins_and_the_other_is_told() {
    let case = Case::new();
    let (one, two) = (Rotation::of(&case, "phone"), Rotation::of(&case, "phone"));
    let (winner, loser) = (one.phone.clone(), two.phone.clone());
    let code = winner.code_at(now());
    assert_eq!(one.end(&format!("{code}\n")).code, Some(0));
    let code = loser.code_at(now());
    let said = two.end(&format!("{code}\n"));
    assert_eq!(said.code, Some(1));
    let told = "device phone was changed or removed meanwhile, and this has changed nothing";
    assert!(said.err.contains(told), "{said:?}");
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
        assert_eq!(rotation.end(&format!("{new}\n")).code, Some(0));
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
    assert_eq!(rotation.end(&format!("{code}\n")).code, Some(0));
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

/// What is said of wrong answers, from wherever they came.
fn counts(scratch: &Scratch) -> (Value, Value) {
    let user = scratch.status(ACCOUNT)["users"][0].clone();
    (user["unfamiliar"].clone(), user["addresses"].clone())
}

#[test]
fn a_right_proof_forgets_no_guess_and_makes_no_place_familiar() {
    let case = Case::new();
    // How many a day are allowed is a matter of devices.
    case.scratch
        .configure("[limits]\naddress_deny = 0\ndaily = 0\n");
    let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
    let wrong = case.phone.wrong_code_at(now());
    case.scratch.three_strangers_guess(ACCOUNT, &wrong);
    let before = counts(&case.scratch);
    assert_eq!(before.0["total"], 3);
    let third = Phone::new(&secret::fresh());
    for (right, device) in [(&case.tablet.code_at(now()), "third"), (&backup, "fourth")] {
        case.scratch.enroll_device(ACCOUNT, device, &third);
        let remove = ["device", "remove", ACCOUNT, device];
        assert_eq!(case.totpctl(&remove, &format!("{right}\n")), 0);
        assert_eq!(counts(&case.scratch), before, "{device}");
    }
}

/// Types something at each command that takes a proof, by turns.
fn prove(case: &Case, turn: usize, answer: &str) -> Said {
    let disable = &["disable", ACCOUNT][..];
    let remove = &["device", "remove", ACCOUNT, "phone"];
    let words = [disable, remove][turn % 2];
    Said::new(&case.scratch.totpctl(words, &format!("{answer}\n")))
}

#[test]
fn no_proof_is_a_free_guess() {
    let case = Case::new();
    case.scratch.configure("");
    let wrong = case.phone.wrong_code_at(now());
    for turn in 0..3 {
        let said = prove(&case, turn, &wrong);
        assert!(said.err.contains("no unused code"), "{said:?}");
    }
    assert_eq!(counts(&case.scratch).0["total"], 3);
    let (right, backup) = (
        case.tablet.code_at(now()),
        case.scratch.new_backup_codes(ACCOUNT).remove(0),
    );
    for (turn, answer) in [&wrong, &right, &backup].into_iter().enumerate() {
        let said = prove(&case, turn, answer);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(
            said.err.contains("none is judged here for a while"),
            "{said:?}"
        );
    }
    assert_eq!(counts(&case.scratch).0["total"], 3, "what is not judged");
    // Nobody else waits for it, and root has two ways on.
    assert!(case.lets_in(&case.phone));
    assert_eq!(case.totpctl(&["unlock", ACCOUNT], ""), 0);
    assert_eq!(prove(&case, 1, &right).code, Some(0));
    assert_eq!(case.totpctl(&["disable", ACCOUNT, "--force"], ""), 0);
}

#[test]
fn nor_is_one_where_nothing_was_saved_for_long() {
    for seconds in [20 * 60, 25 * 60 * 60] {
        let case = Case::new();
        case.scratch.configure("");
        clock::set(now() - seconds);
        case.scratch.login(ACCOUNT, "no code");
        clock::unset();
        for turn in 0..3 {
            let said = prove(&case, turn, &case.phone.wrong_code_at(now()));
            assert!(said.err.contains("no unused code"), "{turn}: {said:?}");
        }
        let said = prove(&case, 0, &case.tablet.code_at(now()));
        assert!(
            said.err.contains("none is judged here for a while"),
            "{seconds}: {said:?}"
        );
    }
}

#[test]
fn where_two_codes_are_needed_only_a_backup_code_is_a_proof() {
    let case = Case::new();
    case.scratch
        .configure("[limits]\naddress_deny = 0\ndaily = 0\nuser_limit = 3\n");
    let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
    let wrong = case.phone.wrong_code_at(now());
    case.scratch.three_strangers_guess(ACCOUNT, &wrong);
    let said = prove(&case, 0, &case.tablet.code_at(now()));
    assert!(
        said.err.contains("none is judged here for a while"),
        "{said:?}"
    );
    assert_eq!(prove(&case, 1, &backup).code, Some(0));
}

#[test]
fn a_device_that_becomes_the_last_one_takes_the_proof_of_the_last_one() {
    // Of one who has no mail address the enrollment ends by root's word alone.
    let settings = format!("{NO_LIMITS}[policy]\ndisable_confirm = \"mail\"\n");
    let case = Case::new();
    case.scratch.configure(&settings);
    let remove = ["device", "remove", ACCOUNT, "phone"];
    let removal = Asked::by(&case, &remove, ": ");
    assert_eq!(
        case.totpctl(&["device", "remove", ACCOUNT, "tablet", "--force"], ""),
        0
    );
    let code = case.phone.code_at(now());
    let said = removal.end(&format!("{code}\n"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("phone is the last device"), "{said:?}");
    let login = case.scratch.login(ACCOUNT, code.as_str());
    assert_eq!(login.code, Code::SUCCESS, "not used up either");
    let said = Said::new(&case.scratch.totpctl(&remove, ""));
    assert!(said.err.contains("no mail address"), "{said:?}");
}

#[test]
fn a_wrong_proof_is_logged() {
    let machine = Machine::new();
    machine.enroll(ACCOUNT);
    let mut phone = machine.enroll_device(ACCOUNT, "tablet");
    for command in ["device remove daemon phone", "disable daemon"] {
        let before = machine.log().lines().len();
        let wrong = format!("{}\n", phone.wrong_code());
        machine.feed(&format!("totpctl {command} || test $? = 1"), wrong);
        let parts = [
            "event=wrong",
            "user=daemon",
            "service=totpctl",
            "actor=uid:0",
        ];
        machine.log().assert_has_after(before, &parts);
    }
    let right = format!("{}\n", phone.code());
    machine.feed("totpctl disable daemon", right);
    machine.log().assert_has(&["event=disabled", "user=daemon"]);
}

/// Seconds that the clock of somebody's old phone is ahead.
const AHEAD: i64 = 5 * 30;

/// Somebody whose phone is known to be [`AHEAD`].
fn with_a_phone_that_is_ahead() -> Case {
    let case = Case::new();
    let codes = case.phone.codes(now() + AHEAD, 1).join("\n") + "\n";
    assert_eq!(case.totpctl(&["resync", ACCOUNT], &codes), 0);
    let drift = case.drift();
    assert!(drift == 5 || drift == 6, "{drift}");
    case
}

#[test]
fn a_phone_whose_clock_is_off_gets_a_new_key_and_logs_in_with_it() {
    let case = with_a_phone_that_is_ahead();
    let learned = case.drift();
    let rotation = Rotation::of(&case, "phone");
    let new = rotation.phone.clone();
    let code = new.code_at(now() + AHEAD);
    let said = rotation.end(&format!("{code}\n"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(case.drift(), learned);
    let used = case.scratch.login(ACCOUNT, code.as_str());
    assert_eq!(used.code, Code::AUTH_ERR);
    let next = new.code_at(now() + AHEAD + 30);
    let login = case.scratch.login(ACCOUNT, next.as_str());
    assert_eq!(login.code, Code::SUCCESS);
}

#[test]
fn a_phone_whose_clock_is_right_takes_the_place_of_one_whose_clock_was_off() {
    for (options, period) in [(&[][..], 30), (&["--period", "60"], 60)] {
        let case = with_a_phone_that_is_ahead();
        let rotation = Rotation::with(&case, "phone", options);
        let new = Phone {
            period,
            ..rotation.phone.clone()
        };
        let [before, code, next, of_the_old_clock] =
            [-period, 0, period, 5 * period].map(|after| new.code_at(now() + after));
        let said = rotation.end(&format!("{code}\n"));
        assert_eq!(said.code, Some(0), "{period}: {said:?}");
        assert_eq!(case.drift(), 0, "{period}");
        for (code, expected) in [
            (&before, Code::AUTH_ERR),
            (&code, Code::AUTH_ERR),
            (&of_the_old_clock, Code::AUTH_ERR),
            (&next, Code::SUCCESS),
        ] {
            let login = case.scratch.login(ACCOUNT, code.as_str());
            assert_eq!(login.code, expected, "{period}: {code}");
        }
    }
}

#[test]
fn steps_of_another_length_say_nothing_of_a_new_phone() {
    let case = with_a_phone_that_is_ahead();
    let rotation = Rotation::with(&case, "phone", &["--period", "60"]);
    let new = Phone {
        period: 60,
        ..rotation.phone.clone()
    };
    // As many steps ahead, which is twice as far.
    let code = new.code_at(now() + 2 * AHEAD);
    let said = rotation.end(&format!("{code}\n").repeat(3));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the old key still works"), "{said:?}");
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
