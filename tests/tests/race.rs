//! Many processes at once.

use std::env;

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::{Crowd, Ended};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, BY_PLACE, HOME, NO_LIMITS, Scratch, attempts_left, limit_reached,
};

const ROUNDS: usize = 200;

fn crowd<'a>(scratch: &Scratch, users: impl IntoIterator<Item = &'a str>) -> Crowd {
    Crowd::new(env!("CARGO_BIN_EXE_contender").as_ref(), scratch, users)
}

/// Saves take their time on a disk, and that is when others come in between.
fn on_disk(settings: &str, phone: &Phone) -> Scratch {
    let scratch = Scratch::on(&env::temp_dir(), settings);
    scratch.enroll(ACCOUNT, phone);
    scratch
}

fn assert_one_winner(count: usize, place: &str) {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(NO_LIMITS, &phone);
    let mut crowd = crowd(&scratch, vec![ACCOUNT; count]);
    for (round, code) in phone.codes(EPOCH, ROUNDS - 1).iter().enumerate() {
        let now = EPOCH + round as i64 * phone.period;
        let ended = crowd.rush(place, now, HOME, vec![code.as_str(); count]);
        let won = ended.iter().filter(|one| one.code == Code::SUCCESS).count();
        let lost = ended.iter().filter(|one| one.is_wrong()).count();
        assert_eq!((won, lost), (1, count - 1), "round {round}: {ended:?}");
    }
}

#[test]
fn t01_of_24_with_one_code_and_an_open_prompt_one_gets_in() {
    assert_one_winner(24, "inside");
}

#[test]
fn t01_of_24_who_start_with_one_code_one_gets_in() {
    assert_one_winner(24, "outside");
}

#[test]
fn of_50_with_one_code_and_an_open_prompt_one_gets_in() {
    assert_one_winner(50, "inside");
}

#[test]
fn of_50_who_start_with_one_code_one_gets_in() {
    assert_one_winner(50, "outside");
}

#[test]
fn t06_of_100_guesses_at_once_three_are_judged() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(BY_PLACE, &phone);
    let mut crowd = crowd(&scratch, [ACCOUNT; 100]);
    for round in 0..20 {
        let now = EPOCH + round * 7200;
        let wrong: Vec<_> = phone.wrong_codes_at(now).take(100).collect();
        let place = if round % 2 == 0 { "inside" } else { "outside" };
        let ended = crowd.rush(place, now, HOME, wrong.iter().map(String::as_str));
        assert!(
            ended.iter().all(|one| one.code == Code::AUTH_ERR),
            "round {round}: {ended:?}"
        );
        for (text, count) in [
            (attempts_left(2), 1),
            (attempts_left(1), 1),
            (limit_reached(10), 98),
        ] {
            let told = ended.iter().filter(|one| one.told == text).count();
            assert_eq!(told, count, "{text:?} in round {round}: {ended:?}");
        }

        clock::set(now);
        let code = phone.code_at(now);
        assert_eq!(
            scratch.login(ACCOUNT, code.as_str()).code,
            Code::AUTH_ERR,
            "round {round}"
        );
        let elsewhere = scratch.login_from("198.51.100.9", ACCOUNT, code.as_str());
        assert_eq!(elsewhere.code, Code::SUCCESS, "round {round}");
    }
}

#[test]
fn of_100_guesses_at_once_without_a_limit_all_are_judged_and_none_is_right() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(NO_LIMITS, &phone);
    let mut crowd = crowd(&scratch, [ACCOUNT; 100]);
    let wrong: Vec<_> = phone.wrong_codes_at(EPOCH).take(100).collect();
    let ended = crowd.rush("inside", EPOCH, HOME, wrong.iter().map(String::as_str));
    assert!(ended.iter().all(Ended::is_wrong), "{ended:?}");
    clock::set(EPOCH);
    assert_eq!(
        scratch.login(ACCOUNT, phone.code_at(EPOCH).as_str()).code,
        Code::SUCCESS
    );
}

#[test]
fn the_one_with_the_right_code_gets_in_among_23_without() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(&format!("{BY_PLACE}deny = 32\n"), &phone);
    let mut crowd = crowd(&scratch, [ACCOUNT; 24]);
    for round in 0..50 {
        let now = EPOCH + round as i64 * 7200;
        let (right, wrong) = (phone.code_at(now), phone.wrong_code_at(now));
        let mut answers = [wrong.as_str(); 24];
        answers[round % 24] = &right;
        let ended = crowd.rush("inside", now, HOME, answers);
        let won: Vec<_> = ended.iter().map(|one| one.code == Code::SUCCESS).collect();
        let expected: Vec<_> = (0..24).map(|index| index == round % 24).collect();
        assert_eq!(won, expected, "round {round}: {ended:?}");
    }
}

#[test]
fn t21_people_who_log_in_at_the_same_moment_all_get_in() {
    const PEOPLE: [&str; 16] = [
        "root", "daemon", "bin", "sys", "games", "man", "lp", "mail", "news", "uucp", "proxy",
        "www-data", "backup", "list", "irc", "nobody",
    ];
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::on(&env::temp_dir(), "");
    for user in PEOPLE {
        scratch.enroll(user, &phone);
    }
    let mut crowd = crowd(&scratch, PEOPLE);
    for (round, code) in phone.codes(EPOCH, 49).iter().enumerate() {
        let now = EPOCH + round as i64 * phone.period;
        let ended = crowd.rush("outside", now, HOME, [code.as_str(); 16]);
        assert!(
            ended.iter().all(|one| one.code == Code::SUCCESS),
            "round {round}: {ended:?}"
        );
    }
}
