//! Event tokens (HOTP, RFC 4226): they know no time, and their counter is all that keeps a code from being used twice.

use std::env;
use std::fs;

use end_to_end::clock::EPOCH;
use end_to_end::crowd::Crowd;
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, BY_PLACE, HOME, NO_LIMITS, Scratch, attempts_left};
use end_to_end::token::Token;
use serde_json::Value;

/// Somebody with a token that has not been pressed yet.
fn enrolled(settings: &str) -> (Scratch, Token) {
    enrolled_in(Scratch::new(settings))
}

fn enrolled_in(scratch: Scratch) -> (Scratch, Token) {
    let token = Token::new(Phone::SECRET);
    scratch.enroll_uri(ACCOUNT, "token", &token.uri(0));
    (scratch, token)
}

fn gets_in(scratch: &Scratch, code: &str) -> bool {
    scratch.login(ACCOUNT, code).code == Code::SUCCESS
}

/// What totpctl tells of the only device.
fn device(scratch: &Scratch) -> Value {
    scratch.status(ACCOUNT)["users"][0]["devices"][0].clone()
}

#[test]
fn each_code_gets_in_once_and_its_counter_is_told() {
    let (scratch, token) = enrolled(NO_LIMITS);
    for (counter, code) in (0..).zip(token.codes(0, 29)) {
        assert_eq!(device(&scratch)["next_counter"], counter);
        assert!(gets_in(&scratch, &code), "{counter}");
        assert!(!gets_in(&scratch, &code), "{counter} again");
    }
    for (counter, code) in (0..).zip(token.codes(0, 29)) {
        assert!(!gets_in(&scratch, &code), "{counter} once more");
    }
    let device = device(&scratch);
    assert_eq!(device["next_counter"], 30);
    assert_eq!(
        (&device["type"], &device["drift"]),
        (&"hotp".into(), &Value::Null)
    );
}

#[test]
fn ten_codes_ahead_are_looked_at_and_not_eleven() {
    for (ahead, expected) in [(1, true), (9, true), (10, true), (11, false), (12, false)] {
        let (scratch, token) = enrolled(NO_LIMITS);
        assert!(gets_in(&scratch, &token.code(0)));
        assert_eq!(gets_in(&scratch, &token.code(ahead)), expected, "{ahead}");
        let next = if expected { ahead + 1 } else { 1 };
        assert_eq!(device(&scratch)["next_counter"], next, "{ahead}");
    }
}

#[test]
fn codes_that_were_skipped_are_used_up() {
    let (scratch, token) = enrolled(NO_LIMITS);
    assert!(gets_in(&scratch, &token.code(7)));
    for skipped in 0..=7 {
        assert!(!gets_in(&scratch, &token.code(skipped)), "{skipped}");
    }
    assert!(gets_in(&scratch, &token.code(8)));
}

#[test]
fn two_codes_in_a_row_bring_a_token_back_and_the_first_counts_as_wrong_until_then() {
    let (scratch, token) = enrolled(BY_PLACE);
    let told = scratch.login(ACCOUNT, token.code(60).as_str());
    assert_eq!(
        (told.code, told.told()),
        (Code::AUTH_ERR, vec![attempts_left(2).as_str()])
    );
    let skips_one = scratch.login(ACCOUNT, token.code(62).as_str());
    assert_eq!(skips_one.told(), [attempts_left(1)]);
    assert!(gets_in(&scratch, &token.code(63)));
    for used in [60, 61, 62, 63] {
        assert!(!gets_in(&scratch, &token.code(used)), "{used}");
        scratch.document(&["unlock", ACCOUNT]);
    }
    assert!(gets_in(&scratch, &token.code(64)));
}

#[test]
fn two_codes_from_two_addresses_are_not_two_in_a_row() {
    let (scratch, token) = enrolled(NO_LIMITS);
    let from =
        |address, counter| scratch.login_from(address, ACCOUNT, token.code(counter).as_str());
    assert_eq!(from("198.51.100.1", 60).code, Code::AUTH_ERR);
    assert_eq!(from("198.51.100.2", 61).code, Code::AUTH_ERR);
    assert_eq!(from("198.51.100.1", 61).code, Code::SUCCESS);
}

#[test]
fn where_one_code_is_not_enough_two_are() {
    let (scratch, token) = enrolled("[limits]\naddress_deny = 0\ndaily = 0\nuser_limit = 3\n");
    scratch.three_strangers_guess(ACCOUNT, "000000");
    assert!(!gets_in(&scratch, &token.code(0)));
    assert!(gets_in(&scratch, &token.code(1)));
}

#[test]
fn of_24_with_one_code_one_gets_in_and_the_counter_moves_by_one() {
    let (scratch, token) = enrolled_in(Scratch::on(&env::temp_dir(), NO_LIMITS));
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; 24]);
    for (counter, code) in (0..).zip(token.codes(0, 49)) {
        let place = ["inside", "outside"][counter % 2];
        let ended = crowd.rush(place, EPOCH, HOME, [code.as_str(); 24]);
        let won = ended.iter().filter(|one| one.code == Code::SUCCESS).count();
        let lost = ended.iter().filter(|one| one.is_wrong()).count();
        assert_eq!((won, lost), (1, 23), "{counter}: {ended:?}");
        assert_eq!(device(&scratch)["next_counter"], counter + 1);
    }
}

#[test]
fn of_24_with_codes_in_a_row_none_gets_in_behind_a_later_one() {
    let (scratch, token) = enrolled_in(Scratch::on(&env::temp_dir(), NO_LIMITS));
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; 24]);
    let mut next = 0;
    for round in 0..20 {
        // Each of eight codes three times.
        let codes = token.codes(next, 7);
        let answers = (0..24).map(|index| codes[index % 8].as_str());
        let ended = crowd.rush("inside", EPOCH, HOME, answers);
        for code in 0..8 {
            let won = (code..24)
                .step_by(8)
                .filter(|index| ended[*index].code == Code::SUCCESS);
            assert!(won.count() <= 1, "round {round}, code {code}: {ended:?}");
        }
        let last = &codes[7];
        assert!(
            !gets_in(&scratch, last),
            "round {round}: the last one was judged"
        );
        next += 8;
        assert_eq!(device(&scratch)["next_counter"], next, "round {round}");
    }
}

#[test]
fn a_token_is_enrolled_by_a_code_that_is_used_up_by_it() {
    let scratch = Scratch::new(NO_LIMITS);
    let token = Token::new(Phone::SECRET);
    let enroll = ["enroll", ACCOUNT, "--secret-file", "-", "--json"];
    let (used, ahead, right) = (token.code(6), token.code(17), token.code(16));
    let input = format!("{}\n{used}\n{ahead}\n{right}\n", token.uri(7));
    let output = scratch.totpctl(&enroll, &input);
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let uri = document["uri"].as_str().expect("a URI");
    assert!(
        uri.starts_with("otpauth://hotp/") && uri.ends_with("&counter=7"),
        "{uri}"
    );
    assert_eq!(device(&scratch)["next_counter"], 17);
    assert!(!gets_in(&scratch, &right) && gets_in(&scratch, &ahead));
    let shown = scratch.document(&["show", ACCOUNT, "--show-secret"]);
    let uri = shown["uri"].as_str().expect("a URI");
    assert!(uri.ends_with("&counter=18"), "{uri}");
}

#[test]
fn a_repaired_token_takes_two_codes_wherever_it_is_and_no_single_one() {
    type Event = fn(&Scratch);
    let events: [(&str, Event, u64); 3] = [
        (
            "missing",
            |scratch| fs::remove_file(scratch.state(ACCOUNT)).expect("a state"),
            0,
        ),
        (
            "damaged",
            |scratch| fs::write(scratch.state(ACCOUNT), [0; 8192]).expect("a state"),
            0,
        ),
        ("whole", |_| (), 8),
    ];
    for (found, event, kept) in events {
        let (scratch, token) = enrolled(NO_LIMITS);
        assert!(gets_in(&scratch, &token.code(7)), "{found}");
        event(&scratch);
        assert_eq!(scratch.document(&["repair", ACCOUNT])["found"], found);
        let repaired = device(&scratch);
        assert_eq!(repaired["awaits_resync"], true, "{found}");
        assert_eq!(repaired["next_counter"], kept, "{found}");
        assert!(!gets_in(&scratch, &token.code(8)), "{found}: one");
        assert!(!gets_in(&scratch, &token.code(8)), "{found}: the same");
        assert!(!gets_in(&scratch, &token.code(3000)), "{found}: another");
        assert!(gets_in(&scratch, &token.code(3001)), "{found}: the next");
        assert!(
            gets_in(&scratch, &token.code(3002)),
            "{found}: one is enough"
        );
        for used in [7, 8, 3000, 3001] {
            assert!(!gets_in(&scratch, &token.code(used)), "{found}: {used}");
        }
    }
}

#[test]
fn root_brings_a_token_back_however_far_it_is() {
    let (scratch, token) = enrolled(NO_LIMITS);
    let resync = |first, second| {
        let input = format!("{}\n{}\n", token.code(first), token.code(second));
        scratch.totpctl(&["resync", ACCOUNT, "--device", "token"], &input)
    };
    assert!(gets_in(&scratch, &token.code(3)));
    for (first, second) in [(3, 4), (5000, 5002), (10_004, 10_005)] {
        assert_eq!(resync(first, second).status.code(), Some(1), "{first}");
        assert_eq!(device(&scratch)["next_counter"], 4, "{first}");
    }
    assert!(
        gets_in(&scratch, &token.code(4)),
        "what failed has changed nothing"
    );
    assert!(resync(5000, 5001).status.success());
    assert!(!gets_in(&scratch, &token.code(5001)) && gets_in(&scratch, &token.code(5002)));
}

#[test]
fn a_new_key_is_an_apps_unless_it_says_else() {
    let (scratch, token) = enrolled(NO_LIMITS);
    let rotate = |input: &str, arguments: &[&str]| {
        let words = ["rotate", ACCOUNT, "--device", "token", "--json"];
        scratch.totpctl(&[&words[..], arguments].concat(), input)
    };
    let new = Token::new("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U");
    let input = format!("{}\n{}\n", new.uri(100), new.code(100));
    let output = rotate(&input, &["--secret-file", "-"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!gets_in(&scratch, &token.code(0)) && !gets_in(&scratch, &new.code(100)));
    assert!(gets_in(&scratch, &new.code(101)));

    let phone = Phone::new("NZSXO43FMNZGK5DONZSXO43FMNZGK5DO");
    let code = phone.code_at(end_to_end::clock::system());
    let input = format!("{}\n{code}\n", phone.secret);
    let output = rotate(&input, &["--secret-file", "-"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(device(&scratch)["type"], "totp");
    assert!(!gets_in(&scratch, &new.code(102)));
}

#[test]
fn of_a_secret_file_that_comes_back_no_used_code_does() {
    let (scratch, token) = enrolled(NO_LIMITS);
    let old = fs::read(scratch.secret(ACCOUNT)).expect("a secret file");
    for code in token.codes(0, 4) {
        assert!(gets_in(&scratch, &code));
    }
    assert_eq!(
        old,
        fs::read(scratch.secret(ACCOUNT)).expect("a secret file")
    );
    scratch.totpctl(&["device", "rename", ACCOUNT, "token", "other"], "");
    fs::write(scratch.secret(ACCOUNT), old).expect("a secret file");
    for code in token.codes(0, 4) {
        assert!(!gets_in(&scratch, &code));
    }
    assert!(gets_in(&scratch, &token.code(5)));
}
