//! The backup key: what ends an enrollment whose devices and codes are gone.

use std::{env, fs};

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::example::Example;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::Machine;
use end_to_end::memory;
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, BY_PLACE, HOME, IGNORED, NO_LIMITS, Outcome, PROMPT, Scratch, TWO_CODES, attempts_left,
};
use end_to_end::secret::traces_of;
use end_to_end::tree;
use serde_json::Value;

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
const SKIP: &str = "[policy]\nunenrolled = \"skip\"\n";
const GONE: &str = "All your devices and codes are removed. Please enroll a new device soon.";
const GONE_AND_DENIED: &str = "All your devices and codes are removed.\n\
                               Please ask your administrator to enroll you, then log in again.";
/// Of the right length, and nobody's.
const WRONG: &str = "ABCD-EFGH-IJKL-MNOP-QRST-UVWX-YZ23-4567";

/// Somebody with a phone, backup codes and a backup key.
struct Case {
    scratch: Scratch,
    phone: Phone,
    codes: Vec<String>,
    key: String,
}

impl Case {
    fn new(settings: &str) -> Self {
        Self::on(Scratch::new(settings))
    }

    fn on(scratch: Scratch) -> Self {
        let phone = Phone::new(Phone::SECRET);
        scratch.enroll(ACCOUNT, &phone);
        clock::set(EPOCH);
        let codes = scratch.new_backup_codes(ACCOUNT);
        let key = scratch.new_backup_key(ACCOUNT);
        Self {
            scratch,
            phone,
            codes,
            key,
        }
    }

    fn skipping(limits: &str) -> Self {
        Self::new(&format!("{limits}{SKIP}"))
    }

    fn answer(&self, answer: &str) -> Outcome {
        self.scratch.login(ACCOUNT, answer)
    }

    fn status(&self) -> Value {
        self.scratch.status(ACCOUNT)["users"][0].clone()
    }

    #[track_caller]
    fn assert_gone(&self) {
        let (secret, state) = (self.scratch.secret(ACCOUNT), self.scratch.state(ACCOUNT));
        assert!(!secret.exists() && !state.exists());
        assert_eq!(self.status()["enrolled"], false);
    }

    #[track_caller]
    fn assert_enrolled(&self) {
        assert_eq!(self.status()["enrolled"], true);
    }
}

#[test]
fn it_lets_this_login_in_where_nobody_must_be_enrolled_and_removes_all() {
    let case = Case::skipping(NO_LIMITS);
    let outcome = case.answer(&case.key);
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(outcome.told(), [GONE]);
    case.assert_gone();
    let next = case.answer("");
    assert_eq!((next.code, next.asked()), (IGNORED, vec![]));
}

#[test]
fn where_people_must_be_enrolled_it_denies_and_says_what_to_do() {
    let case = Case::new(NO_LIMITS);
    let outcome = case.answer(&case.key);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert_eq!(outcome.told(), [GONE_AND_DENIED]);
    case.assert_gone();
    let tablet = Phone::new(OTHER);
    case.scratch.enroll(ACCOUNT, &tablet);
    assert_eq!(case.answer(&tablet.code_at(EPOCH)).code, Code::SUCCESS);
}

#[test]
fn nullok_lets_this_login_in_too() {
    let case = Case::new(NO_LIMITS);
    case.scratch.stack("nullok");
    assert_eq!(case.answer(&case.key).code, Code::SUCCESS);
    case.assert_gone();
}

#[test]
fn where_messages_are_hidden_a_person_who_is_let_in_reads_it_at_a_prompt() {
    let case = Case::skipping(NO_LIMITS);
    case.scratch.stack("no_info");
    let outcome = case.answer(&case.key);
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(outcome.asked(), [PROMPT, &format!("{GONE} (Press Enter) ")]);
    assert_eq!(outcome.told(), [""; 0]);
}

#[test]
fn where_messages_are_hidden_a_denied_person_reads_it_at_a_prompt() {
    let case = Case::new(NO_LIMITS);
    case.scratch.stack("no_info");
    let outcome = case.answer(&case.key);
    assert_eq!(outcome.code, Code::AUTH_ERR);
    let told = format!("{GONE_AND_DENIED} (Press Enter) ");
    assert_eq!(outcome.asked(), [PROMPT, &told]);
}

#[test]
fn after_it_no_other_try_is_given() {
    let case = Case::new(&format!("{NO_LIMITS}[verify]\ntries = 3\n"));
    assert_eq!(case.answer(&case.key).asked(), [PROMPT]);
}

#[test]
fn it_is_read_in_any_spelling() {
    let spellings: [fn(&str) -> String; 6] = [
        str::to_lowercase,
        |key| key.replace('-', ""),
        |key| key.replace('-', " "),
        |key| key.replace('-', "").to_lowercase(),
        |key| format!("  {} ", key.replace('-', " - ")),
        |key| key[..20].to_lowercase() + &key[20..],
    ];
    for spelling in spellings {
        let case = Case::skipping(NO_LIMITS);
        let typed = spelling(&case.key);
        assert_eq!(case.answer(&typed).code, Code::SUCCESS, "{typed}");
        case.assert_gone();
    }
}

#[test]
fn a_part_of_it_is_nothing() {
    let case = Case::skipping(NO_LIMITS);
    let longer = format!("{}A", case.key);
    for typed in [&case.key[..19], &case.key[20..], &case.key[..38], &longer] {
        assert_eq!(case.answer(typed).code, Code::AUTH_ERR, "{typed}");
    }
    case.assert_enrolled();
}

#[test]
fn a_wrong_one_is_charged_and_a_locked_address_ends_nothing() {
    let case = Case::skipping(BY_PLACE);
    for left in [2, 1] {
        assert_eq!(case.answer(WRONG).told(), [attempts_left(left)]);
    }
    case.answer(WRONG);
    let before = tree::tree(&case.scratch.path("secrets"));
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    assert_eq!(tree::tree(&case.scratch.path("secrets")), before);
    let elsewhere = case
        .scratch
        .login_from("198.51.100.9", ACCOUNT, case.key.as_str());
    assert_eq!(elsewhere.code, Code::SUCCESS);
    case.assert_gone();
}

#[test]
fn a_wrong_one_counts_against_its_address_for_everybody() {
    let limits = "[limits]\ndeny = 0\naddress_deny = 2\ndaily = 0\nuser_limit = 0\n";
    let case = Case::skipping(limits);
    case.scratch.enroll("bin", &case.phone);
    for _ in 0..2 {
        case.answer(WRONG);
    }
    let right = case.phone.code_at(EPOCH);
    assert_eq!(
        case.scratch.login("bin", right.as_str()).code,
        Code::AUTH_ERR
    );
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    case.assert_enrolled();
}

#[test]
fn a_right_one_is_not_charged_to_its_address() {
    let limits = "[limits]\ndeny = 0\naddress_deny = 1\ndaily = 0\nuser_limit = 0\n";
    let case = Case::skipping(limits);
    case.scratch.enroll("bin", &case.phone);
    assert_eq!(case.answer(&case.key).code, Code::SUCCESS);
    let right = case.phone.code_at(EPOCH);
    assert_eq!(
        case.scratch.login("bin", right.as_str()).code,
        Code::SUCCESS
    );
}

#[test]
fn where_two_codes_in_a_row_are_needed_it_is_enough() {
    let case = Case::skipping("[limits]\ndeny = 0\naddress_deny = 0\ndaily = 1\nuser_limit = 0\n");
    case.answer(&case.phone.wrong_code_at(EPOCH));
    let outcome = case.answer(&case.key);
    assert_eq!(outcome.asked(), [format!("{TWO_CODES}\n{PROMPT}")]);
    assert_eq!(outcome.code, Code::SUCCESS);
    case.assert_gone();
}

#[test]
fn a_new_one_voids_the_one_before_and_leaves_the_rest() {
    let case = Case::skipping(NO_LIMITS);
    let new = case.scratch.new_backup_key(ACCOUNT);
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    let right = case.phone.code_at(EPOCH);
    assert_eq!(case.answer(&right).code, Code::SUCCESS);
    assert_eq!(case.answer(&case.codes[0]).code, Code::SUCCESS);
    assert_eq!(case.answer(&new).code, Code::SUCCESS);
    case.assert_gone();
}

#[test]
fn new_backup_codes_leave_it() {
    let case = Case::skipping(NO_LIMITS);
    let codes = case.scratch.new_backup_codes(ACCOUNT);
    assert_eq!(case.answer(&codes[0]).code, Code::SUCCESS);
    assert_eq!(case.answer(&case.key).code, Code::SUCCESS);
    case.assert_gone();
}

#[test]
fn a_removed_one_is_void() {
    let case = Case::skipping(NO_LIMITS);
    assert_eq!(case.status()["backup_key"], true);
    case.scratch.document(&["backup-key", ACCOUNT, "--remove"]);
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    assert_eq!(case.status()["backup_key"], false);
    assert_eq!(case.status()["backup_codes"], 10);
    let again = case
        .scratch
        .totpctl(&["backup-key", ACCOUNT, "--remove"], "");
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn a_repair_voids_it_and_status_says_so() {
    let case = Case::skipping(NO_LIMITS);
    case.scratch.document(&["repair", ACCOUNT]);
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    assert_eq!(case.status()["backup_key"], false);
    let shown = case.scratch.document(&["backup-key", ACCOUNT]);
    assert_eq!(
        (&shown["made"], &shown["valid"]),
        (&true.into(), &false.into())
    );
    let new = case.scratch.new_backup_key(ACCOUNT);
    assert_eq!(case.answer(&case.key).code, Code::AUTH_ERR);
    assert_eq!(case.answer(&new).code, Code::SUCCESS);
}

#[test]
fn that_of_somebody_else_does_not_serve() {
    let case = Case::skipping(NO_LIMITS);
    case.scratch.enroll("bin", &case.phone);
    let theirs = case.scratch.new_backup_key("bin");
    assert_eq!(case.answer(&theirs).code, Code::AUTH_ERR);
    let key = case.key.as_str();
    assert_eq!(case.scratch.login("bin", key).code, Code::AUTH_ERR);
    case.assert_enrolled();
    assert_eq!(
        case.scratch.login("bin", theirs.as_str()).code,
        Code::SUCCESS
    );
    case.assert_enrolled();
}

#[test]
fn a_stranger_with_it_is_a_stranger() {
    let case = Case::new(NO_LIMITS);
    for user in ["sys", "nosuchone"] {
        let outcome = case.scratch.login(user, case.key.as_str());
        assert_eq!(outcome.code, Code::AUTH_ERR, "{user}");
        assert_eq!(outcome.told(), ["Invalid One Time Password!"], "{user}");
    }
    case.assert_enrolled();
}

#[test]
fn what_it_removed_never_serves_again() {
    let case = Case::new(NO_LIMITS);
    case.answer(&case.key);
    let dead = [&case.phone.code_at(EPOCH), &case.codes[0], &case.key];
    for answer in dead {
        assert_eq!(case.answer(answer).code, Code::AUTH_ERR, "{answer}");
    }
    case.scratch.enroll(ACCOUNT, &Phone::new(OTHER));
    for answer in dead {
        assert_eq!(case.answer(answer).code, Code::AUTH_ERR, "{answer}");
    }
    case.assert_enrolled();
    let new = case.scratch.new_backup_key(ACCOUNT);
    assert_eq!(
        case.answer(&case.key).told(),
        ["Invalid One Time Password!"]
    );
    assert_eq!(case.answer(&new).told(), [GONE_AND_DENIED]);
}

#[test]
fn a_secret_file_of_before_revives_nothing() {
    let case = Case::skipping(NO_LIMITS);
    let secret = case.scratch.secret(ACCOUNT);
    let copy = case.scratch.path("copy");
    // With its owner and mode, as a backup brings it back.
    fs::copy(&secret, &copy).expect("a secret");
    case.answer(&case.key);
    fs::rename(&copy, &secret).expect("a secret");
    for answer in [&case.phone.code_at(EPOCH), &case.codes[0], &case.key] {
        assert_eq!(case.answer(answer).code, Code::AUTH_ERR, "{answer}");
    }
    // A repair gives it a state that knows the devices, but none of the rest.
    case.scratch.document(&["repair", ACCOUNT]);
    for answer in [&case.codes[0], &case.key] {
        assert_eq!(case.answer(answer).code, Code::AUTH_ERR, "{answer}");
    }
    case.assert_enrolled();
}

#[test]
fn at_a_prompt_that_was_open_meanwhile_nothing_serves_any_more() {
    let answers: [fn(&Case) -> String; 3] = [
        |case| case.phone.code_at(EPOCH),
        |case| case.codes[0].clone(),
        |case| case.key.clone(),
    ];
    for (index, answer) in answers.iter().enumerate() {
        for enrolls_again in [false, true] {
            let case = Case::new(NO_LIMITS);
            let answer = answer(&case);
            let person = |message: &Message| {
                if !message.style.is_prompt() {
                    return Reply::Null;
                }
                assert_eq!(case.answer(&case.key).told(), [GONE_AND_DENIED]);
                if enrolls_again {
                    case.scratch.enroll(ACCOUNT, &Phone::new(OTHER));
                }
                answer.as_str().into()
            };
            let mut login = case.scratch.start(ACCOUNT, person);
            assert_eq!(login.authenticate(0), Code::AUTH_ERR, "answer {index}");
            assert_eq!(case.status()["enrolled"], enrolls_again);
        }
    }
}

#[test]
fn of_24_with_one_key_one_gets_in_and_the_enrollment_ends_once() {
    for round in 0..20 {
        let settings = format!("{NO_LIMITS}{SKIP}");
        // Removing takes its time on a disk.
        let case = Case::on(Scratch::on(&env::temp_dir(), &settings));
        let contender = env!("CARGO_BIN_EXE_contender").as_ref();
        let mut crowd = Crowd::new(contender, &case.scratch, [ACCOUNT; 24]);
        let place = ["inside", "outside"][round % 2];
        let ended = crowd.rush(place, EPOCH, HOME, [case.key.as_str(); 24]);
        let (won, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|one| one.code == Code::SUCCESS);
        assert_eq!(won.len(), 1, "round {round}: {ended:?}");
        assert_eq!(won[0].told, GONE);
        for one in lost {
            // Who came when nobody was enrolled any more needs no code.
            let is_late = place == "outside" && one.code == IGNORED && one.told.is_empty();
            let is_denied = one.code == Code::AUTH_ERR && one.told != GONE;
            assert!(is_late || is_denied, "round {round}: {one:?}");
        }
        case.assert_gone();
    }
}

#[test]
fn no_file_holds_it() {
    let case = Case::skipping(NO_LIMITS);
    let bare = case.key.replace('-', "");
    let spellings = [&case.key, &bare].map(|text| [text.to_uppercase(), text.to_lowercase()]);
    let mut traces = spellings
        .concat()
        .into_iter()
        .map(String::into_bytes)
        .collect::<Vec<_>>();
    traces.extend(traces_of(&bare).into_iter().map(|(_, trace)| trace));
    let look = || {
        for path in tree::names(&case.scratch.path("")) {
            let Ok(content) = fs::read(&path) else {
                continue;
            };
            let found = memory::find(&content, &traces, 0);
            assert_eq!(found, None, "{}", path.display());
        }
    };
    look();
    case.answer(&case.key);
    look();
}

fn alice(settings: &str) -> (Machine, String) {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "")
        .file("/etc/security/pam_totp.toml", "644", settings);
    machine.enroll("alice");
    let made = machine.run("totpctl backup-key alice --regenerate --json");
    let made: Value = serde_json::from_str(&made).expect("a document");
    let key = made["key"].as_str().expect("a key").to_owned();
    machine.log().keep_secret(&key.replace('-', ""));
    (machine, key)
}

#[test]
fn through_sshd_it_lets_in_and_the_log_has_a_line_of_its_own() {
    let (machine, key) = alice(SKIP);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD).answer(PROMPT, &key);
    ssh.see(GONE);
    let ending = ssh.end();
    assert_eq!((ending.status, ending.said.trim()), (0, "alice"));
    machine
        .log()
        .assert_has(&["event=backup-key-used", "user=alice", "service=sshd"]);
    let mut next = machine.ssh("alice", &["id", "-un"]);
    next.answer(PASSWORD_PROMPT, PASSWORD);
    next.assert_ends_well("alice");
}

#[test]
fn through_sshd_it_denies_where_people_must_be_enrolled_and_a_new_device_gets_in() {
    let (machine, key) = alice("");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD).answer(PROMPT, &key);
    ssh.see(&GONE_AND_DENIED.replace('\n', "\r\n"));
    drop(ssh);
    // A person is told first, and may have seen it by then.
    let used = ["event=backup-key-used", "run totpctl enroll alice"];
    machine.log().wait_for(&used);
    let mut phone = machine.enroll("alice");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
