//! Backup codes: what gets somebody in whose phone is gone.

use std::env;

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, BY_PLACE, HOME, NO_LIMITS, PROMPT, Scratch, attempts_left};
use serde_json::Value;

fn enrolled(settings: &str) -> (Scratch, Phone) {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new(settings);
    scratch.enroll(ACCOUNT, &phone);
    clock::set(EPOCH);
    (scratch, phone)
}

fn left(scratch: &Scratch) -> Value {
    scratch.document(&["backup-codes", ACCOUNT])["left"].clone()
}

fn gets_in(scratch: &Scratch, code: &str) -> bool {
    scratch.login(ACCOUNT, code).code == Code::SUCCESS
}

#[test]
fn each_gets_in_once_in_any_spelling_and_the_person_is_told_how_many_are_left() {
    let (scratch, _) = enrolled(BY_PLACE);
    let codes = scratch.new_backup_codes(ACCOUNT);
    assert_eq!(codes.len(), 10);
    for (index, code) in codes.iter().enumerate() {
        let typed = match index % 4 {
            0 => code.clone(),
            1 => code.to_lowercase(),
            2 => code.replace('-', ""),
            _ => code.replace('-', " ").to_lowercase(),
        };
        let outcome = scratch.login(ACCOUNT, typed.as_str());
        assert_eq!(outcome.code, Code::SUCCESS, "{typed}");
        let told = outcome.told().join("");
        let left = 9 - index;
        if left > 0 {
            assert!(
                told.contains(&format!("Backup codes left: {left}")),
                "{told}"
            );
        } else {
            assert!(told.contains("the last backup code"), "{told}");
        }
        let again = scratch.login(ACCOUNT, code.as_str());
        assert_eq!(again.told(), [attempts_left(2)], "{code}");
    }
    assert_eq!(left(&scratch), 0);
}

#[test]
fn new_ones_void_those_of_before_and_leave_the_devices_alone() {
    let (scratch, phone) = enrolled(NO_LIMITS);
    let (old, new) = (
        scratch.new_backup_codes(ACCOUNT),
        scratch.new_backup_codes(ACCOUNT),
    );
    assert!(!gets_in(&scratch, &old[0]) && gets_in(&scratch, &new[0]));
    assert!(gets_in(&scratch, &phone.code_at(EPOCH)));
    assert_eq!(left(&scratch), 9);
}

#[test]
fn t51_of_24_with_one_backup_code_one_gets_in() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::on(&env::temp_dir(), NO_LIMITS);
    scratch.enroll(ACCOUNT, &phone);
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; 24]);
    for round in 0..5 {
        for (index, code) in scratch.new_backup_codes(ACCOUNT).iter().enumerate() {
            let place = ["inside", "outside"][index % 2];
            let ended = crowd.rush(place, EPOCH, HOME, [code.as_str(); 24]);
            let won = ended.iter().filter(|one| one.code == Code::SUCCESS).count();
            assert_eq!(won, 1, "round {round}, code {index}: {ended:?}");
        }
    }
}

#[test]
fn where_a_single_code_is_not_enough_one_backup_code_is_and_ends_that() {
    let (scratch, phone) = enrolled("[limits]\naddress_deny = 0\ndaily = 0\nuser_limit = 5\n");
    let codes = scratch.new_backup_codes(ACCOUNT);
    let wrong = phone.wrong_code_at(EPOCH);
    for stranger in 0..6 {
        scratch.login_from(&format!("198.51.100.{stranger}"), ACCOUNT, wrong.as_str());
    }
    assert!(!gets_in(&scratch, &phone.code_at(EPOCH)), "one code");
    assert!(gets_in(&scratch, &codes[0]));
    let elsewhere = scratch.login_from("203.0.113.99", ACCOUNT, phone.code_at(EPOCH + 30).as_str());
    assert_eq!(elsewhere.code, Code::SUCCESS, "the count is forgotten");
}

#[test]
fn wrong_ones_are_charged_and_a_locked_address_gets_none_in() {
    let (scratch, _) = enrolled("");
    let codes = scratch.new_backup_codes(ACCOUNT);
    for left in [2, 1] {
        let told = scratch.login(ACCOUNT, "ABCD-EFGH-IJKL-MNOP");
        assert_eq!(told.told(), [attempts_left(left)]);
    }
    scratch.login(ACCOUNT, "ABCD-EFGH-IJKL-MNOP");
    assert!(!gets_in(&scratch, &codes[0]));
    let elsewhere = scratch.login_from("198.51.100.9", ACCOUNT, codes[0].as_str());
    assert_eq!(elsewhere.code, Code::SUCCESS);
}

#[test]
fn those_of_somebody_else_do_not_serve() {
    let (scratch, phone) = enrolled(NO_LIMITS);
    scratch.enroll("bin", &phone);
    let codes = scratch.new_backup_codes(ACCOUNT);
    assert_eq!(scratch.login("bin", codes[0].as_str()).code, Code::AUTH_ERR);
    assert_eq!(scratch.login("sys", codes[0].as_str()).code, Code::AUTH_ERR);
    assert!(gets_in(&scratch, &codes[0]));
}

#[test]
fn a_repaired_or_older_state_revives_none() {
    let (scratch, _) = enrolled(NO_LIMITS);
    let codes = scratch.new_backup_codes(ACCOUNT);
    let older = std::fs::read(scratch.state(ACCOUNT)).expect("a state");
    assert!(gets_in(&scratch, &codes[0]));
    let newer = scratch.new_backup_codes(ACCOUNT);
    std::fs::write(scratch.state(ACCOUNT), older).expect("a state");
    assert!(!gets_in(&scratch, &codes[0]) && !gets_in(&scratch, &codes[1]));
    assert!(
        !gets_in(&scratch, &newer[0]),
        "of a set that the state does not know"
    );
    scratch.document(&["repair", ACCOUNT]);
    assert!(!gets_in(&scratch, &newer[0]));
    assert!(gets_in(&scratch, &scratch.new_backup_codes(ACCOUNT)[0]));
}

#[test]
fn t51_no_file_holds_a_code() {
    let (scratch, _) = enrolled(NO_LIMITS);
    let codes = scratch.new_backup_codes(ACCOUNT);
    assert!(gets_in(&scratch, &codes[0]));
    for path in end_to_end::tree::names(&scratch.path("")) {
        let Ok(content) = std::fs::read(&path) else {
            continue;
        };
        for code in &codes {
            for spelling in [code.clone(), code.replace('-', "")] {
                let found = content
                    .windows(spelling.len())
                    .any(|window| window.eq_ignore_ascii_case(spelling.as_bytes()));
                assert!(!found, "{}", path.display());
            }
        }
    }
}

#[test]
fn where_messages_are_hidden_it_is_read_at_a_prompt_that_they_run_out() {
    let (scratch, _) = enrolled("[backup_codes]\ncount = 4\n");
    scratch.stack("no_info");
    let codes = scratch.new_backup_codes(ACCOUNT);
    for (code, left) in codes.iter().zip((0..4).rev()) {
        let told = match left {
            0 => "That was the last backup code: have new ones made.".to_owned(),
            _ => format!("Backup codes left: {left}. Have new ones made before they run out."),
        };
        let outcome = scratch.login(ACCOUNT, code.as_str());
        assert_eq!(outcome.code, Code::SUCCESS);
        assert_eq!(outcome.asked(), [PROMPT, &format!("{told} (Press Enter) ")]);
        assert_eq!(outcome.told(), [""; 0]);
    }
}
