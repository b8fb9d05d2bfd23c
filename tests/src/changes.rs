//! Changes of somebody's records that are disturbed: the old is left or the new, and nobody is locked out.

mod case;

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use crate::clock::{self, EPOCH};
use crate::disturbed::{Job, Plan};
use crate::gateway::Gateway;
use crate::libpam::{Code, ESTABLISH_CRED};
use crate::phone::Phone;
use crate::product::{ACCOUNT, HOME, IGNORED, NO_LIMITS, answering};
use crate::ssh_key::SshKey;
use crate::token::Token;

use self::case::{Case, OTHER, but_of_decoys, but_of_the_person, of_records};

/// What a rotation puts in the place of the phone's.
const NEW: &str = "NZSXO43FMNZGK5DONZSXO43FMNZGK5DO";
/// How far the clock of a phone is off that is set right.
const AHEAD: i64 = 6 * 60;
/// Enrolls a device of a given key, without asking for its code.
pub const ENROLL: &[&str] = &[
    "enroll",
    ACCOUNT,
    "--device",
    "tablet",
    "--secret-file",
    "-",
    "--no-confirm",
];
/// The same by a code of it.
const CONFIRM: [&str; 6] = [
    "enroll",
    ACCOUNT,
    "--device",
    "tablet",
    "--secret-file",
    "-",
];

/// Disturbs each system call of a change; the path is that of the program `contender`.
pub type Change = fn(Plan, &Path);

/// All changes.
pub const ALL: [Change; 24] = [
    a_bond_to_an_ssh_key,
    a_bond_that_ends,
    a_first_enrollment,
    a_login_by_an_event_token,
    a_login_by_the_backup_key,
    a_new_backup_key,
    a_removal,
    a_repair,
    a_resync,
    a_rotation,
    a_confirmed_enrollment,
    a_telephone,
    an_end_of_trust,
    an_enrollment,
    an_enrollment_at_a_login,
    an_import,
    an_invitation,
    an_unlock,
    another_name,
    backup_codes,
    disabling,
    disabling_by_a_code,
    new_backup_codes,
    resetting,
];

/// A telephone that codes are sent to, added and removed.
pub fn a_telephone(plan: Plan, _: &Path) {
    let add = ["enroll", ACCOUNT, "--text", "+41791234567", "--no-confirm"];
    let remove = ["device", "remove", ACCOUNT, "text", "--force"];
    for (words, is_addition) in [(add, true), (remove, false)] {
        let (gateway, case) = (Gateway::new(), Case::new(plan, false));
        case.scratch
            .configure(&format!("{NO_LIMITS}{}", gateway.settings()));
        if !is_addition {
            assert_eq!(case.run(&add), Some(0));
        }
        case.disturb_totpctl(plan, &words, |at| {
            assert!(case.lets_in(&case.phone, 0), "{at}");
            let is_there = case.has_text();
            assert!(
                is_there == is_addition || !at.status.success(),
                "{at}: it said so"
            );
            let again = case.run(&words);
            let is_refused = is_there == is_addition;
            assert_eq!(again, Some(if is_refused { 1 } else { 0 }), "{at}");
            assert_eq!(case.has_text(), is_addition, "{at}");
            assert!(case.lets_in(&case.phone, 1), "{at}");
        });
    }
}

/// A second device.
pub fn an_enrollment(plan: Plan, _: &Path) {
    let case = Case::new(plan, false);
    case.disturb_totpctl(plan, ENROLL, |at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let is_there = case.lets_in(&case.tablet, 1);
        assert!(is_there || !at.status.success(), "{at}: it said so");
        let again = case.run(ENROLL);
        assert_eq!(again, Some(if is_there { 1 } else { 0 }), "{at}");
        assert!(
            case.lets_in(&case.phone, 2) && case.lets_in(&case.tablet, 3),
            "{at}"
        );
    });
}

/// Of somebody who had no device yet, by a code of it, which is used up where they have one then.
pub fn a_first_enrollment(plan: Plan, _: &Path) {
    let case = Case::of_nobody(plan);
    // With this one the folders come, and what strangers share: hundreds of calls.
    case.scratch.enroll("bin", &case.phone);
    let typed = Cell::new(0);
    let job = || {
        typed.set(clock::system());
        case.totpctl(&CONFIRM, &case.confirmation(typed.get()))
    };
    case.disturb(plan, job, |at| {
        let is_there = case.is_enrolled();
        assert!(is_there || !at.status.success(), "{at}: it said so");
        let code = case.tablet.code_at(typed.get());
        let expected = if is_there { Code::AUTH_ERR } else { IGNORED };
        assert_eq!(case.login_at(typed.get(), &code, ""), expected, "{at}");
        assert!(case.keeps_nobody_out(&case.tablet, 0), "{at}");
        let again = case.run(ENROLL);
        assert_eq!(again, Some(if is_there { 1 } else { 0 }), "{at}");
        assert!(case.lets_in(&case.tablet, 1), "{at}");
    });
}

/// Of a second device, whose code is asked for.
pub fn a_confirmed_enrollment(plan: Plan, _: &Path) {
    let case = Case::new(plan, false);
    // Of a time that no login below has: it is used up or it is not.
    let input = || case.confirmation(clock::system());
    let job = || case.totpctl(&CONFIRM, &input());
    case.disturb(plan, job, |at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let is_there = case.lets_in(&case.tablet, 1);
        assert!(is_there || !at.status.success(), "{at}: it said so");
        let again = case.feed(&CONFIRM, &input());
        assert_eq!(again, Some(if is_there { 1 } else { 0 }), "{at}");
        assert!(
            case.lets_in(&case.phone, 2) && case.lets_in(&case.tablet, 3),
            "{at}"
        );
    });
}

/// Of one of two devices.
pub fn a_removal(plan: Plan, _: &Path) {
    let remove = ["device", "remove", ACCOUNT, "tablet", "--force"];
    let case = Case::new(plan, true);
    case.disturb_totpctl(plan, &remove, |at| {
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let is_there = case.lets_in(&case.tablet, 1);
        assert!(!is_there || !at.status.success(), "{at}: it said so");
        let again = case.run(&remove);
        assert_eq!(again, Some(if is_there { 0 } else { 1 }), "{at}");
        assert!(
            case.lets_in(&case.phone, 2) && !case.lets_in(&case.tablet, 3),
            "{at}"
        );
    });
}

/// The first ones.
pub fn backup_codes(plan: Plan, _: &Path) {
    regenerate_backup_codes(plan, &Case::new(plan, false), None);
}

/// In the place of older ones.
pub fn new_backup_codes(plan: Plan, _: &Path) {
    let case = Case::new(plan, false);
    let old = case.scratch.new_backup_codes(ACCOUNT).remove(0);
    regenerate_backup_codes(plan, &case, Some(&old));
}

fn regenerate_backup_codes(plan: Plan, case: &Case, old: Option<&str>) {
    let words = ["backup-codes", ACCOUNT, "--regenerate"];
    case.disturb_totpctl(plan, &words, |at| {
        let count = case.status()["backup_codes"].clone();
        let is_whole = count == 10 || old.is_none() && count.is_null();
        assert!(is_whole, "{at}: the old or the new, not {count}");
        assert!(count == 10 || !at.status.success(), "{at}: it said so");
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let codes = case.scratch.new_backup_codes(ACCOUNT);
        assert!(case.takes(&codes[0], 1, ""), "{at}");
        assert!(old.is_none_or(|old| !case.takes(old, 1, "")), "{at}");
        assert_eq!(case.status()["backup_codes"], 9, "{at}");
    });
}

/// By whoever has no code.
pub fn disabling(plan: Plan, _: &Path) {
    end_an_enrollment(plan, &["disable", ACCOUNT, "--force"]);
}

/// By whoever has one, which is used up by it.
pub fn disabling_by_a_code(plan: Plan, _: &Path) {
    let disable = ["disable", ACCOUNT];
    let case = Case::new(plan, true);
    let codes = case.scratch.new_backup_codes(ACCOUNT);
    let job = || case.totpctl(&disable, &format!("{}\n", codes[0]));
    case.disturb(plan, job, |at| {
        let is_enrolled = case.is_enrolled();
        assert!(!is_enrolled || !at.status.success(), "{at}: it said so");
        assert!(case.keeps_nobody_out(&case.phone, 0), "{at}");
        let left = case.status()["backup_codes"].clone();
        let again = case.feed(&disable, &format!("{}\n", codes[0]));
        assert_eq!(again == Some(0), left == 10, "{at}: {left} were left");
        if left == 9 {
            assert_eq!(
                case.feed(&disable, &format!("{}\n", codes[1])),
                Some(0),
                "{at}"
            );
        }
        assert!(!case.is_enrolled(), "{at}");
        assert!(case.keeps_nobody_out(&case.phone, 1), "{at}");
    });
}

/// Of everything.
pub fn resetting(plan: Plan, _: &Path) {
    end_an_enrollment(plan, &["reset", ACCOUNT, "--force"]);
}

fn end_an_enrollment(plan: Plan, words: &[&str]) {
    let case = Case::new(plan, true);
    case.disturb_totpctl(plan, words, |at| {
        let is_enrolled = case.is_enrolled();
        assert!(!is_enrolled || !at.status.success(), "{at}: it said so");
        assert!(case.keeps_nobody_out(&case.phone, 0), "{at}");
        case.run(words);
        assert!(
            !case.is_enrolled() && !case.lets_in(&case.tablet, 1),
            "{at}"
        );
        assert_eq!(case.run(ENROLL), Some(0), "{at}");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
    });
}

/// Of a state that needs none.
pub fn a_repair(plan: Plan, _: &Path) {
    keep_all_devices(plan, &["repair", ACCOUNT]);
}

/// Of somebody whom nothing keeps out.
pub fn an_unlock(plan: Plan, _: &Path) {
    keep_all_devices(plan, &["unlock", ACCOUNT]);
}

fn keep_all_devices(plan: Plan, words: &[&str]) {
    let case = Case::new(plan, true);
    case.disturb_totpctl(plan, words, |at| {
        assert!(
            case.lets_in(&case.phone, 0) && case.lets_in(&case.tablet, 1),
            "{at}"
        );
        assert_eq!(case.run(words), Some(0), "{at}");
        assert!(case.lets_in(&case.phone, 2), "{at}");
    });
}

/// Of a phone whose clock is off.
pub fn a_resync(plan: Plan, _: &Path) {
    let resync = ["resync", ACCOUNT];
    let case = Case::new(plan, true);
    let typed = Cell::new(0);
    let codes = |time| case.phone.codes(time, 1).join("\n") + "\n";
    let job = || {
        typed.set(clock::system() + AHEAD);
        case.totpctl(&resync, &codes(typed.get()))
    };
    case.disturb(plan, job, |at| {
        let drift = case.drift();
        assert!(drift != 0 || !at.status.success(), "{at}: it said so");
        // A login that is given both before they are used up sets the phone right, too.
        for code in case.phone.codes(typed.get(), 1) {
            let is_used = || case.login_at(typed.get() - AHEAD, &code, "") == Code::AUTH_ERR;
            assert!(drift == 0 || is_used(), "{at}");
        }
        let now = clock::system() + 60;
        let code = case.phone.code_at(now + 30 * drift);
        assert_eq!(case.login_at(now, &code, ""), Code::SUCCESS, "{at}");
        let again = case.feed(&resync, &codes(clock::system() + AHEAD + 120));
        assert_eq!(again, Some(0), "{at}");
        let code = case.phone.code_at(EPOCH + 30 * case.drift());
        assert!(case.takes(&code, 0, ""), "{at}");
        assert!(case.lets_in(&case.tablet, 1), "{at}");
    });
}

/// Of whoever was not asked again.
pub fn an_end_of_trust(plan: Plan, _: &Path) {
    let clear = ["trust", "clear", ACCOUNT];
    let case = Case::new(plan, false);
    let settings = format!("{NO_LIMITS}[policy]\ntrust = \"1d\"\n");
    case.scratch.configure(&settings);
    let code = case.phone.code_at(clock::system());
    let mut login = case.scratch.start(ACCOUNT, answering(code.as_str()));
    assert_eq!(login.authenticate(0), Code::SUCCESS);
    assert_eq!(login.setcred(ESTABLISH_CRED), Code::SUCCESS);
    drop(login);
    case.disturb_totpctl(plan, &clear, |at| {
        assert!(
            !case.is_trusted() || !at.status.success(),
            "{at}: it said so"
        );
        assert_eq!(case.run(&clear), Some(0), "{at}");
        assert!(!case.is_trusted(), "{at}");
        assert!(case.lets_in(&case.phone, 0), "{at}");
    });
}

/// Of the phone.
pub fn a_rotation(plan: Plan, _: &Path) {
    const ROTATE: [&str; 4] = ["rotate", ACCOUNT, "--secret-file", "-"];
    let new = Phone::new(NEW);
    // The code of now, whatever that is when it is judged.
    let input = || {
        let codes = new.codes(clock::system(), 1).join("\n");
        format!("{NEW}\n{codes}\n")
    };
    let case = Case::new(plan, true);
    let job = || case.totpctl(&ROTATE, &input());
    case.disturb(plan, job, |at| {
        let (has_old, has_new) = (case.lets_in(&case.phone, 0), case.lets_in(&new, 1));
        assert!(has_old != has_new, "{at}: old {has_old}, new {has_new}");
        assert!(has_new || !at.status.success(), "{at}: it said so");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
        let again = case.feed(&ROTATE, &input());
        assert_eq!(again, Some(if has_new { 1 } else { 0 }), "{at}");
        assert!(
            !case.lets_in(&case.phone, 3) && case.lets_in(&new, 4) && case.lets_in(&case.tablet, 5),
            "{at}"
        );
    });
}

/// Of the phone.
pub fn a_bond_to_an_ssh_key(plan: Plan, _: &Path) {
    let case = Case::new(plan, true);
    let key = SshKey::new(&case.scratch.path("key"));
    let bind = [
        "device",
        "bind",
        ACCOUNT,
        "phone",
        "--ssh-key",
        &key.fingerprint,
    ];
    case.disturb_totpctl(plan, &bind, |at| {
        let is_bound = case.status()["devices"][0]["ssh_key"] == *key.fingerprint;
        assert!(is_bound || !at.status.success(), "{at}: it said so");
        assert_eq!(case.lets_in(&case.phone, 0), !is_bound, "{at}");
        assert!(case.lets_in_beside(&case.phone, 1, &key.proof), "{at}");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
        assert_eq!(case.run(&bind), Some(0), "{at}");
        assert!(
            !case.lets_in(&case.phone, 3) && case.lets_in_beside(&case.phone, 4, &key.proof),
            "{at}"
        );
    });
}

/// Of the phone.
pub fn a_bond_that_ends(plan: Plan, _: &Path) {
    let case = Case::new(plan, true);
    let key = SshKey::new(&case.scratch.path("key"));
    let [bind, unbind] = ["bind", "unbind"].map(|verb| ["device", verb, ACCOUNT, "phone"]);
    let bind = [&bind[..], &["--ssh-key", &key.fingerprint]].concat();
    assert_eq!(case.run(&bind), Some(0));
    case.disturb_totpctl(plan, &unbind, |at| {
        let is_bound = case.status()["devices"][0]["ssh_key"] == *key.fingerprint;
        assert!(!is_bound || !at.status.success(), "{at}: it said so");
        assert_eq!(case.lets_in(&case.phone, 0), !is_bound, "{at}");
        assert!(case.lets_in_beside(&case.phone, 1, &key.proof), "{at}");
        assert!(case.lets_in(&case.tablet, 2), "{at}");
        let again = case.run(&unbind);
        assert_eq!(again, Some(if is_bound { 0 } else { 1 }), "{at}");
        assert!(case.lets_in(&case.phone, 3), "{at}");
    });
}

/// Of the phone.
pub fn another_name(plan: Plan, _: &Path) {
    let rename = ["device", "rename", ACCOUNT, "phone", "pixel"];
    let case = Case::new(plan, true);
    case.disturb_totpctl(plan, &rename, |at| {
        let name = case.status()["devices"][0]["name"].clone();
        assert!(name == "phone" || name == "pixel", "{at}: {name}");
        assert!(name == "pixel" || !at.status.success(), "{at}: it said so");
        assert!(
            case.lets_in(&case.phone, 0) && case.lets_in(&case.tablet, 1),
            "{at}"
        );
        let again = case.run(&rename);
        assert_eq!(again, Some(if name == "pixel" { 1 } else { 0 }), "{at}");
        assert!(case.lets_in(&case.phone, 2), "{at}");
    });
}

/// In the place of an older one.
pub fn a_new_backup_key(plan: Plan, _: &Path) {
    let words = ["backup-key", ACCOUNT, "--regenerate"];
    let case = Case::new(plan, false);
    let old = case.scratch.new_backup_key(ACCOUNT);
    case.disturb_totpctl(plan, &words, |at| {
        assert_eq!(
            case.status()["backup_key"],
            true,
            "{at}: the old or the new"
        );
        assert!(case.lets_in(&case.phone, 0), "{at}");
        let newest = case.scratch.new_backup_key(ACCOUNT);
        assert!(!case.takes(&old, 1, "") && case.is_enrolled(), "{at}");
        assert!(case.takes(&newest, 1, "") && !case.is_enrolled(), "{at}");
    });
}

/// Which ends the enrollment.
pub fn a_login_by_the_backup_key(plan: Plan, contender: &Path) {
    let case = Case::new(plan, true);
    let key = case.scratch.new_backup_key(ACCOUNT);
    case.disturb(
        plan,
        || case.login(contender, &key),
        |at| {
            let is_enrolled = case.is_enrolled();
            assert!(!is_enrolled || !at.status.success(), "{at}: it said so");
            assert_eq!(case.lets_in(&case.phone, 0), is_enrolled, "{at}");
            assert_eq!(case.lets_in(&case.tablet, 1), is_enrolled, "{at}");
            assert_eq!(case.takes(&key, 2, ""), is_enrolled, "{at}");
            assert!(!case.is_enrolled(), "{at}");
            assert_eq!(case.run(ENROLL), Some(0), "{at}");
            assert!(
                !case.takes(&key, 3, "") && !case.lets_in(&case.phone, 4),
                "{at}"
            );
            assert!(case.lets_in(&case.tablet, 5), "{at}");
        },
    );
}

/// In the place of an older one.
pub fn an_invitation(plan: Plan, _: &Path) {
    let (case, old) = Case::of_somebody_invited(plan);
    case.disturb_totpctl(plan, &["invite", ACCOUNT, "--json"], |at| {
        let is_new = !case.is_good(&old);
        assert!(is_new || !at.status.success(), "{at}: it said so");
        if at.status.success() {
            let made: serde_json::Value = serde_json::from_str(&at.out).expect("a document");
            let code = made["code"].as_str().expect("a code");
            assert!(case.is_good(code), "{at}");
        }
        let newest = case.invite();
        assert!(case.is_good(&newest), "{at}");
        assert!(!case.is_good(&old), "{at}");
        assert!(!case.is_enrolled() && case.run(ENROLL) == Some(0), "{at}");
        assert!(case.lets_in(&case.tablet, 0), "{at}");
        assert!(!case.takes(&newest, 1, ""), "{at}");
    });
}

/// By an invitation, which is used up where there is a device then.
pub fn an_enrollment_at_a_login(plan: Plan, contender: &Path) {
    let (case, invite) = Case::of_somebody_invited(plan);
    let job = || {
        let mut command = Command::new(contender);
        command
            .arg(case.scratch.path("pam.d"))
            .args(["enroll", ACCOUNT, HOME, &invite]);
        Job::new(command, "")
    };
    let of_interest = |calls| but_of_the_person(but_of_decoys(of_records(calls)));
    case.scratch.disturb(plan, job, of_interest, |at| {
        let is_there = case.is_enrolled();
        assert!(is_there || !at.status.success(), "{at}: it said so");
        if !is_there {
            assert!(case.is_good(&invite), "{at}: the old or the new");
            let again = job().undisturbed();
            assert!(again.status.success(), "{again}, {at}");
            assert!(case.lets_in(&Phone::of_shown_key(&again.out), 0), "{at}");
        } else {
            assert!(case.lets_in(&Phone::of_shown_key(&at.out), 0), "{at}");
        }
        assert!(!case.takes(&invite, 1, ""), "{at}");
        assert!(
            case.run(ENROLL) == Some(0) && case.lets_in(&case.tablet, 2),
            "{at}"
        );
    });
}

/// Of two people: of each one the old or the new, and the first ones may be in.
pub fn an_import(plan: Plan, _: &Path) {
    // The bytes of their keys as pam_oath writes them, in the order in which they are taken in.
    let people = [
        (
            "bin",
            Phone::new(Phone::SECRET),
            "3132333435363738393031323334353637383930",
        ),
        (
            ACCOUNT,
            Phone::new(OTHER),
            "6162636465666768696a6b6c6d6e6f7071727374",
        ),
    ];
    let import = ["import", "--format", "oath", "-"];
    let case = Case::of_nobody(plan);
    // With this one the folders come, and what strangers share.
    case.scratch.enroll("games", &case.phone);
    let file = |people: &[(&str, Phone, &str)]| -> String {
        let lines = people.iter();
        lines
            .map(|(name, _, key)| format!("HOTP/T30 {name} - {key}\n"))
            .collect()
    };
    let gets_in = |(name, phone, _): &(&str, Phone, &str), moment: i64| {
        let time = EPOCH + 120 * moment;
        clock::set(time);
        let code = case.scratch.login(name, phone.code_at(time).as_str()).code;
        clock::unset();
        code
    };
    let job = || case.totpctl(&import, &file(&people));
    let of_interest = |calls| but_of_decoys(of_records(calls));
    case.scratch.disturb(plan, job, of_interest, |at| {
        let enrolled = people
            .iter()
            .take_while(|(name, ..)| case.scratch.status(name)["users"][0]["enrolled"] == true);
        let (there, missing) = people.split_at(enrolled.count());
        assert!(
            missing.is_empty() || !at.status.success(),
            "{at}: it said so"
        );
        // What fails has imported nothing, or all where only the report of it was lost.
        let has_failed = at.status.code() == Some(3);
        let has_lost_its_report = missing.is_empty() && at.to_string().contains("inject=write:");
        assert!(
            !has_failed || there.is_empty() || has_lost_its_report,
            "{at}: {}",
            there.len()
        );
        for person in there {
            assert_eq!(gets_in(person, 0), Code::SUCCESS, "{at}: {}", person.0);
        }
        for person in missing {
            assert_eq!(gets_in(person, 0), IGNORED, "{at}: {}", person.0);
        }
        let again = case.scratch.totpctl(&import, &file(&people));
        let said = String::from_utf8_lossy(&again.stderr);
        assert_eq!(again.status.success(), there.is_empty(), "{at}: {said}");
        for (name, ..) in there {
            let advice = format!("{name} has these devices already: leave {name} out");
            assert!(said.contains(&advice), "{at}: {said}");
        }
        if !there.is_empty() && !missing.is_empty() {
            assert_eq!(case.feed(&import, &file(missing)), Some(0), "{at}");
        }
        for person in &people {
            assert_eq!(gets_in(person, 1), Code::SUCCESS, "{at}: {}", person.0);
        }
    });
}

/// Three codes ahead: none of those up to it is good any more.
pub fn a_login_by_an_event_token(plan: Plan, contender: &Path) {
    let token = Token::new(NEW);
    let case = Case::new(plan, false);
    case.scratch.enroll_uri(ACCOUNT, "token", &token.uri(0));
    let job = || case.login(contender, &token.code(3));
    case.disturb(plan, job, |at| {
        // Used by the login that was disturbed, or good once more: nobody has heard of it.
        let again = case.takes(&token.code(3), 1, "");
        assert!(!again || !at.status.success(), "{at}: accepted twice");
        assert_eq!(case.status()["devices"][1]["next_counter"], 4, "{at}");
        for used in 0..=3 {
            assert!(!case.takes(&token.code(used), 2, ""), "{at}: {used}");
        }
        assert!(case.takes(&token.code(4), 3, ""), "{at}");
        assert!(case.lets_in(&case.phone, 4), "{at}");
    });
}
