//! How often a person may be wrong.

use std::cell::Cell;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, ESTABLISH_CRED, Item};
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, BY_PLACE, HOME, NO_LIMITS, Outcome, PROMPT, Scratch, TWO_CODES, answering,
    attempts_left, limit_reached,
};

const ELSEWHERE: &str = "198.51.100.9";
const MINUTE: i64 = 60;

/// A person with a phone, and somebody who guesses.
struct Case {
    scratch: Scratch,
    phone: Phone,
    wrong: String,
    now: Cell<i64>,
}

impl Case {
    fn new(settings: &str) -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new(settings);
        scratch.enroll(ACCOUNT, &phone);
        let wrong = phone.wrong_code_at(EPOCH);
        let case = Self {
            scratch,
            phone,
            wrong,
            now: Cell::new(EPOCH),
        };
        case.at(0);
        case
    }

    /// Sets the clock to `seconds` after the start.
    fn at(&self, seconds: i64) {
        self.now.set(EPOCH + seconds);
        clock::set(EPOCH + seconds);
    }

    fn guess_from(&self, address: &str) -> Outcome {
        let outcome = self
            .scratch
            .login_from(address, ACCOUNT, self.wrong.as_str());
        assert_eq!(outcome.code, Code::AUTH_ERR);
        outcome
    }

    fn guess(&self) -> Outcome {
        self.guess_from(HOME)
    }

    fn lock(&self) {
        for _ in 0..3 {
            self.guess();
        }
    }

    /// Whether the right code lets the owner in from `address`.
    fn owner_from(&self, address: &str) -> bool {
        let code = self.phone.code_at(self.now.get());
        self.scratch
            .login_from(address, ACCOUNT, code.as_str())
            .code
            == Code::SUCCESS
    }

    fn owner(&self) -> bool {
        self.owner_from(HOME)
    }
}

#[test]
fn wrong_answers_are_counted_down_to_the_limit() {
    let case = Case::new("");
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        let outcome = case.guess();
        assert_eq!(outcome.asked(), [PROMPT]);
        assert_eq!(outcome.told(), [told]);
    }
}

#[test]
fn beyond_the_limit_nothing_is_asked_and_the_right_code_is_refused() {
    let case = Case::new("");
    case.lock();
    for seconds in [0, 1, 9 * MINUTE, 10 * MINUTE - 1] {
        case.at(seconds);
        assert!(!case.owner(), "{seconds}");
        let outcome = case.guess();
        assert!(outcome.asked().is_empty(), "{seconds}");
        assert_eq!(outcome.told().len(), 1, "{seconds}");
    }
}

#[test]
fn refused_tries_do_not_lengthen_the_lock() {
    let case = Case::new("");
    case.lock();
    for seconds in 1..600 {
        case.at(seconds);
        assert!(case.guess().asked().is_empty(), "{seconds}");
    }
    case.at(601);
    assert!(case.owner());
}

#[test]
fn after_the_lock_all_attempts_are_free_again() {
    let case = Case::new("");
    case.lock();
    case.at(10 * MINUTE + 1);
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        assert_eq!(case.guess().told(), [told]);
    }
}

#[test]
fn the_minutes_left_are_rounded_up() {
    let case = Case::new("");
    case.lock();
    for (seconds, minutes) in [
        (0, 10),
        (1, 10),
        (59, 10),
        (60, 9),
        (61, 9),
        (479, 3),
        (480, 2),
        (540, 1),
        (599, 1),
    ] {
        case.at(seconds);
        assert_eq!(
            case.guess().told(),
            [limit_reached(minutes)],
            "after {seconds} s"
        );
    }
}

#[test]
fn the_lock_lasts_as_long_as_configured() {
    for (lock_time, seconds, minutes) in [
        ("90s", 90, 2),
        ("2m", 120, 2),
        ("1h", 3600, 60),
        ("1d", 86_400, 1440),
    ] {
        let case = Case::new(&format!(
            "[limits]\nlock_time = \"{lock_time}\"\ndeny = 1\n"
        ));
        assert_eq!(case.guess().told(), [limit_reached(minutes)], "{lock_time}");
        case.at(seconds - 1);
        assert!(!case.owner(), "{lock_time}");
        case.at(seconds + 1);
        assert!(case.owner(), "{lock_time}");
    }
}

#[test]
fn deny_is_the_number_of_wrong_answers() {
    for deny in [1, 2, 5, 32] {
        let case = Case::new(&format!("{BY_PLACE}deny = {deny}\n"));
        for left in (1..deny).rev() {
            assert_eq!(case.guess().told(), [attempts_left(left)], "deny = {deny}");
        }
        assert_eq!(case.guess().told(), [limit_reached(10)], "deny = {deny}");
    }
}

#[test]
fn deny_zero_sets_no_limit() {
    let case = Case::new(NO_LIMITS);
    for _ in 0..100 {
        assert_eq!(case.guess().asked(), [PROMPT]);
    }
    assert!(case.owner());
}

#[test]
fn an_accepted_code_clears_the_count() {
    let case = Case::new("");
    for seconds in [0, MINUTE, 2 * MINUTE] {
        case.at(seconds);
        assert_eq!(case.guess().told(), [attempts_left(2)]);
        assert_eq!(case.guess().told(), [attempts_left(1)]);
        assert!(case.owner());
    }
}

#[test]
fn t14_a_lock_binds_only_its_own_address() {
    let case = Case::new("");
    case.lock();
    assert!(case.owner_from(ELSEWHERE));
    case.at(MINUTE);
    assert!(!case.owner(), "a login from elsewhere opens nothing here");
    assert_eq!(case.guess_from(ELSEWHERE).told(), [attempts_left(2)]);
}

#[test]
fn t21_a_lock_binds_only_its_own_user() {
    let case = Case::new("");
    case.scratch.enroll("bin", &case.phone);
    case.lock();
    let code = case.phone.code_at(EPOCH);
    assert_eq!(case.scratch.login("bin", code.as_str()).code, Code::SUCCESS);
}

#[test]
fn t17_addresses_of_one_person_count_together() {
    let cases = [
        ("203.0.113.7", "203.0.113.7", true),
        ("203.0.113.7", "203.0.113.8", false),
        ("203.0.113.7", "::ffff:203.0.113.7", true),
        ("2001:db8::1", "2001:db8::ffff:1", true),
        ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("not an address", "neither is this", true),
        ("not an address", "203.0.113.7", false),
    ];
    for (first, second, together) in cases {
        let case = Case::new("");
        case.guess_from(first);
        let left = if together { 1 } else { 2 };
        assert_eq!(
            case.guess_from(second).told(),
            [attempts_left(left)],
            "{first}, then {second}"
        );
    }
}

#[test]
fn a_login_without_an_address_counts_by_itself() {
    let case = Case::new("");
    let mut login = case.scratch.start(ACCOUNT, answering(case.wrong.as_str()));
    login.set(Item::Rhost, "");
    login.set(Item::Tty, "tty1");
    login.set(Item::Ruser, "bin");
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
        assert_eq!(
            login.heard().last().map(|message| message.text.clone()),
            Some(told)
        );
    }
    assert!(case.owner());
}

#[test]
fn only_wrong_answers_within_the_interval_count() {
    let case = Case::new("");
    for (seconds, told) in [
        (0, attempts_left(2)),
        (10 * MINUTE, attempts_left(1)),
        (15 * MINUTE + 1, attempts_left(1)),
        (26 * MINUTE, attempts_left(1)),
        (30 * MINUTE, limit_reached(10)),
    ] {
        case.at(seconds);
        assert_eq!(case.guess().told(), [told], "after {seconds} s");
    }
}

#[test]
fn the_interval_is_as_long_as_configured() {
    let case = Case::new("[limits]\ninterval = \"1h\"\n");
    for (minutes, told) in [
        (0, attempts_left(2)),
        (59, attempts_left(1)),
        (61, attempts_left(1)),
    ] {
        case.at(minutes * MINUTE);
        assert_eq!(case.guess().told(), [told], "minute {minutes}");
    }
}

#[test]
fn t15_calls_other_than_authenticate_clear_nothing() {
    let case = Case::new("");
    let mut login = case.scratch.start(ACCOUNT, answering(case.wrong.as_str()));
    for left in [2, 1] {
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
        assert_eq!(
            login.heard().last().map(|message| message.text.clone()),
            Some(attempts_left(left))
        );
        login.setcred(ESTABLISH_CRED);
        login.acct_mgmt();
        login.open_session();
        login.close_session();
    }
    assert_eq!(case.guess().told(), [limit_reached(10)]);
}

#[test]
fn status_shows_what_is_left() {
    let case = Case::new("");
    // totpctl reads the system's clock.
    clock::unset();
    for left in [2, 1, 0] {
        case.guess();
        let status = case.scratch.status(ACCOUNT);
        let place = &status["users"][0]["addresses"][0];
        assert_eq!(place["address"], HOME, "{status}");
        assert_eq!(place["locked"], left == 0, "{status}");
        if left > 0 {
            assert_eq!(place["attempts_left"], left, "{status}");
        }
    }
}

#[test]
fn unlock_gives_the_attempts_back() {
    let case = Case::new("");
    case.lock();
    let output = case.scratch.totpctl(&["unlock", ACCOUNT], "");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(case.guess().told(), [attempts_left(2)]);
    assert!(case.owner());
}

#[test]
fn t23_t24_the_unknown_and_the_unenrolled_see_what_the_enrolled_see_in_each_state_of_locks() {
    let case = Case::new("[limits]\naddress_deny = 0\n");
    let tries = |user: &str| -> Vec<_> {
        let texts = |outcome: Outcome| (outcome.code, outcome.heard);
        (0..5)
            .map(|_| texts(case.scratch.login(user, case.wrong.as_str())))
            .collect()
    };
    // Three that lock, three more, and two after which one code is not enough.
    for seconds in [0, 10 * MINUTE + 1, 20 * MINUTE + 2, 31 * MINUTE] {
        case.at(seconds);
        let enrolled = tries(ACCOUNT);
        let asked = enrolled.iter().map(|(_, heard)| {
            let prompts = heard.iter().filter(|message| message.style.is_prompt());
            let two = prompts.filter(|message| message.text.contains(TWO_CODES));
            two.count()
        });
        let is_after_eight = seconds > 20 * MINUTE;
        assert_eq!(asked.sum::<usize>() > 0, is_after_eight, "{enrolled:?}");
        for user in ["bin", "no-such-person", "../../etc/passwd"] {
            assert_eq!(tries(user), enrolled, "{user:?} after {seconds} s");
        }
    }
}
