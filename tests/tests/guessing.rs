//! Somebody who guesses, with all the addresses, sessions and clocks in the world. Tests are named after the threat.

use std::cell::Cell;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::libpam::{Code, Item};
use end_to_end::machine::{Machine, output};
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, BY_PLACE, HOME, NO_LIMITS, Outcome, PROMPT, Scratch, TWO_CODES, answering,
    attempts_left, limit_reached, next_code_needed,
};
use end_to_end::tree::tree;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The owner of a phone, and somebody who guesses from ever new addresses.
struct Case {
    scratch: Scratch,
    phone: Phone,
    wrong: String,
    now: Cell<i64>,
    strangers: Cell<u32>,
}

impl Case {
    fn new(settings: &str) -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new(settings);
        scratch.enroll(ACCOUNT, &phone);
        let case = Self {
            wrong: phone.wrong_code_at(EPOCH),
            scratch,
            phone,
            now: Cell::new(EPOCH),
            strangers: Cell::new(0),
        };
        case.pass(0);
        case
    }

    /// Moves the clock.
    fn pass(&self, seconds: i64) {
        self.now.set(self.now.get() + seconds);
        clock::set(self.now.get());
    }

    fn owner_from(&self, address: &str) -> Outcome {
        let code = self.phone.code_at(self.now.get());
        self.scratch.login_from(address, ACCOUNT, code.as_str())
    }

    fn gets_in_from(&self, address: &str) -> bool {
        self.owner_from(address).code == Code::SUCCESS
    }

    fn guess_from(&self, address: &str) -> Outcome {
        let outcome = self
            .scratch
            .login_from(address, ACCOUNT, self.wrong.as_str());
        assert_eq!(outcome.code, Code::AUTH_ERR);
        outcome
    }

    /// A wrong answer from an address that nobody has seen.
    fn stranger(&self) -> Outcome {
        let number = self.strangers.get();
        self.strangers.set(number + 1);
        let address = std::net::Ipv4Addr::from(0xC612_0000 + number);
        self.guess_from(&address.to_string())
    }

    /// Wrong answers after which one code is not enough anywhere new.
    fn spend_the_day(&self) {
        for _ in 0..8 {
            self.stranger();
        }
    }
}

/// Whether a single code was asked for.
fn asks_for_one(outcome: &Outcome) -> bool {
    outcome.asked() == [PROMPT]
}

#[test]
fn t05_guessing_from_ever_new_addresses_ends_after_eight_guesses_a_day() {
    // One who goes on when a single code is asked for no more, and one who then waits for the next day.
    for (is_patient, expected) in [(false, 8), (true, 8 * 3)] {
        let case = Case::new("");
        let mut judged = 0;
        for _ in 0..3 {
            for _ in 0..50 {
                let is_judged = asks_for_one(&case.stranger());
                judged += usize::from(is_judged);
                if is_patient && !is_judged {
                    break;
                }
                case.pass(DAY / 50);
            }
            if is_patient {
                // The wrong answer that was not judged counts too.
                case.pass(DAY);
            }
        }
        assert_eq!(judged, expected, "in three days");
    }
}

#[test]
fn t05_guessing_behind_the_owners_own_address_ends_after_eight_guesses_a_day() {
    let case = Case::new("");
    assert!(case.gets_in_from(HOME));
    let mut judged = 0;
    for _ in 0..48 {
        case.pass(15 * MINUTE);
        judged += usize::from(asks_for_one(&case.guess_from(HOME)));
    }
    assert_eq!(judged, 8);
    assert!(!case.gets_in_from(HOME), "one code is not enough");
    case.pass(30);
    assert!(case.gets_in_from(HOME), "two in a row are");
}

#[test]
fn t05_the_count_outlasts_processes_services_and_what_a_reboot_loses() {
    let case = Case::new("[limits]\naddress_deny = 0\n");
    case.spend_the_day();
    std::fs::remove_dir_all(case.scratch.path("run")).expect("it was made");
    let confdir = case.scratch.path("pam.d");
    std::fs::copy(confdir.join("scratch"), confdir.join("other")).expect("a copy");
    let status = Command::new(env!("CARGO_BIN_EXE_contender"))
        .arg(&confdir)
        .args(["once", ACCOUNT, "203.0.113.99"])
        .args([
            case.now.get().to_string(),
            case.phone.code_at(case.now.get()),
        ])
        .status()
        .expect("the contender starts");
    assert_eq!(Code(status.code().expect("a code")), Code::AUTH_ERR);
    assert!(!case.gets_in_from(HOME));
}

#[test]
fn t05_a_hundred_wrong_answers_from_new_places_count_until_the_owner_comes_from_one() {
    let case = Case::new("");
    assert!(case.gets_in_from(HOME));
    for guess in 0..100 {
        assert!(asks_for_one(&case.stranger()), "guess {guess}");
        case.pass(4 * HOUR);
    }
    case.pass(2 * DAY);
    assert!(!asks_for_one(&case.stranger()), "no day brings more");
    assert!(case.gets_in_from(HOME), "the usual place");
    case.pass(30);
    let first = case.owner_from("203.0.113.200");
    assert_eq!(first.told()[0], next_code_needed(2));
    assert_eq!(first.code, Code::AUTH_ERR);
    case.pass(30);
    assert!(case.gets_in_from("203.0.113.200"));
    assert!(
        asks_for_one(&case.stranger()),
        "the owner has been somewhere new"
    );
}

#[test]
fn t05_unlock_gives_a_single_code_its_worth_back() {
    let case = Case::new("");
    for _ in 0..120 {
        case.stranger();
    }
    let unlock = case.scratch.totpctl(&["unlock", ACCOUNT], "");
    assert!(unlock.status.success(), "{unlock:?}");
    assert!(case.gets_in_from("203.0.113.200"));
}

#[test]
fn t06_of_10000_guesses_every_answered_one_is_counted() {
    const PROCESSES: usize = 50;
    let phone = Phone::new(Phone::SECRET);
    let settings = "[limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 1_000_000\n";
    let scratch = Scratch::on(&env::temp_dir(), settings);
    scratch.enroll(ACCOUNT, &phone);
    let contender = env!("CARGO_BIN_EXE_contender").as_ref();
    let mut crowd = Crowd::new(contender, &scratch, [ACCOUNT; PROCESSES]);
    let wrong: Vec<_> = phone.wrong_codes_at(EPOCH).take(PROCESSES).collect();
    let mut answered = 0;
    for _ in 0..10_000 / PROCESSES {
        let ended = crowd.rush("inside", EPOCH, HOME, wrong.iter().map(String::as_str));
        answered += ended.iter().filter(|one| one.is_wrong()).count();
    }
    clock::unset();
    let status = scratch.status(ACCOUNT);
    assert_eq!(answered, 10_000);
    assert_eq!(
        status["users"][0]["unfamiliar"]["total"], answered,
        "{status}"
    );
}

/// Runs one login under strace, which does to a call of the module's what `inject` says.
fn tampered(case: &Case, inject: &str, answer: &str) -> std::process::Output {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "trace=flock,pwrite64"])
        .args(["-e", &format!("inject={inject}")])
        .arg(env!("CARGO_BIN_EXE_contender"))
        .arg(case.scratch.path("pam.d"))
        .args(["once", ACCOUNT, HOME])
        .args([&case.now.get().to_string(), answer]);
    output(strace, b"")
}

#[test]
fn t07_what_cannot_be_counted_is_not_judged_be_it_right_or_wrong() {
    let case = Case::new("");
    let right = case.phone.code_at(case.now.get());
    let before = tree(&case.scratch.path("state"));
    for answer in [&right, &case.wrong] {
        let ended = tampered(&case, "pwrite64:error=EIO", answer);
        assert_eq!(ended.status.code(), Some(Code::AUTH_ERR.0), "{ended:?}");
    }
    assert_eq!(
        case.scratch.status(ACCOUNT)["users"][0]["unfamiliar"]["total"],
        0
    );
    let states = tree(&case.scratch.path("state"));
    assert_eq!(before.len(), states.len());
    assert!(case.gets_in_from(HOME), "its code was not used up");
}

#[test]
fn t07_a_wrong_answer_is_on_disk_before_anybody_hears_of_it() {
    let case = Case::new("");
    // Killed when it is to let the lock go, which is before a word is said.
    const AFTER_THE_SAVE: &str = "flock:signal=KILL:when=2";
    let is_killed = |answer: &str| {
        let ended = tampered(&case, AFTER_THE_SAVE, answer);
        // strace ends as what it traced.
        ended.status.signal() == Some(9)
    };
    assert!(is_killed(&case.wrong));
    assert_eq!(
        case.guess_from(HOME).told(),
        [attempts_left(1)],
        "it was counted"
    );
    let right = case.phone.code_at(case.now.get());
    assert!(is_killed(&right));
    assert!(
        !case.gets_in_from("203.0.113.9"),
        "a code whose login was killed is used up"
    );
}

#[test]
fn t14_one_wrong_code_every_five_seconds_keeps_nobody_out_of_the_usual_place() {
    let case = Case::new("");
    assert!(case.gets_in_from(HOME));
    case.pass(30);
    for second in (0..HOUR).step_by(5) {
        case.stranger();
        case.pass(5);
        if second % 300 == 0 {
            assert!(case.gets_in_from(HOME), "after {second} s");
        }
    }
}

#[test]
fn t14_nobody_far_away_locks_a_console() {
    let case = Case::new("");
    let at_console = |answer: &str, user: &str| {
        let mut login = case.scratch.start(user, answering(answer));
        login.set(Item::Rhost, "");
        login.set(Item::Tty, "/dev/tty1");
        let code = login.authenticate(0);
        let told: Vec<_> = login
            .heard()
            .into_iter()
            .map(|message| message.text)
            .collect();
        (code, told)
    };
    for _ in 0..300 {
        case.stranger();
    }
    let right = case.phone.code_at(case.now.get());
    assert_eq!(at_console(&right, ACCOUNT).0, Code::SUCCESS);
    // Nor does anybody on this machine.
    case.pass(HOUR);
    for guesser in ["bin", "sys", "games"] {
        let mut refused = false;
        for _ in 0..4 {
            let mut login = case.scratch.start(ACCOUNT, answering(case.wrong.as_str()));
            login.set(Item::Rhost, "");
            login.set(Item::Ruser, guesser);
            login.set(Item::Tty, "/dev/pts/1");
            assert_eq!(login.authenticate(0), Code::AUTH_ERR);
            refused = !login
                .heard()
                .iter()
                .any(|message| message.style.is_prompt());
        }
        assert!(refused, "{guesser} may go on");
    }
    let right = case.phone.code_at(case.now.get());
    assert_eq!(at_console(&right, ACCOUNT).0, Code::SUCCESS);
}

#[test]
fn t14_from_a_new_place_the_owner_needs_a_minute_more_however_many_guess() {
    let case = Case::new("");
    for round in 0..5 {
        for _ in 0..300 {
            case.stranger();
        }
        let place = format!("203.0.113.{}", 100 + round);
        let first = case.owner_from(&place);
        assert_eq!(first.code, Code::AUTH_ERR);
        assert!(first.asked()[0].starts_with(TWO_CODES), "{first:?}");
        for _ in 0..100 {
            case.stranger();
        }
        case.pass(30);
        assert!(case.gets_in_from(&place), "round {round}");
        case.pass(30);
    }
}

#[test]
fn t14_exempt_networks_are_never_refused() {
    let case = Case::new("[limits]\nexempt = [\"203.0.113.0/24\"]\n");
    for _ in 0..150 {
        assert!(asks_for_one(&case.guess_from(HOME)));
    }
    assert!(case.gets_in_from(HOME));
    assert_eq!(
        case.scratch.status(ACCOUNT)["users"][0]["unfamiliar"]["total"],
        0
    );
}

#[test]
fn t15_the_owner_of_an_account_can_neither_read_nor_reset_the_count() {
    use std::os::unix::fs::MetadataExt;
    let case = Case::new("");
    case.stranger();
    for folder in ["state", "secrets", "run"] {
        let folder = case.scratch.path(folder);
        for path in end_to_end::tree::names(&folder) {
            let about = std::fs::symlink_metadata(&path).expect("it is there");
            assert_eq!(about.uid(), 0, "{}", path.display());
            assert_eq!(about.mode() & 0o077, 0, "{}", path.display());
        }
    }
}

#[test]
fn t15_a_success_clears_the_count_of_its_own_place_and_not_the_day() {
    let case = Case::new("");
    assert!(case.gets_in_from(HOME));
    for round in 0..4 {
        case.pass(30);
        assert_eq!(case.guess_from(HOME).told(), [attempts_left(2)]);
        assert_eq!(case.guess_from(HOME).told(), [attempts_left(1)]);
        assert_eq!(case.gets_in_from(HOME), round < 3, "{round}");
    }
    assert!(
        !asks_for_one(&case.guess_from(HOME)),
        "eight of the day are spent"
    );
}

#[test]
fn t16_an_aborted_prompt_is_no_guess_and_a_wrong_answer_is_one() {
    let case = Case::new("");
    for _ in 0..20 {
        case.scratch.login(ACCOUNT, "");
        case.scratch
            .login(ACCOUNT, end_to_end::libpam::Reply::Fail(Code::CONV_ERR));
    }
    assert_eq!(case.guess_from(HOME).told(), [attempts_left(2)]);
    assert_eq!(case.guess_from(HOME).told(), [attempts_left(1)]);
    assert_eq!(case.guess_from(HOME).told(), [limit_reached(10)]);
}

#[test]
fn clocks_that_jump_free_no_guesser_and_lock_nobody_for_longer() {
    for jump in [-HOUR, -50 * 365 * DAY, 10 * 365 * DAY] {
        let case = Case::new(BY_PLACE);
        for _ in 0..3 {
            case.guess_from(HOME);
        }
        // There and back: wherever the clock stands, a lock lasts ten minutes of it.
        case.pass(jump);
        if jump < 0 {
            assert_eq!(case.guess_from(HOME).told(), [limit_reached(10)], "{jump}");
            case.pass(10 * MINUTE - 1);
            assert!(
                case.guess_from(HOME).asked().is_empty(),
                "{jump}: freed too early"
            );
            case.pass(1);
            assert!(
                asks_for_one(&case.guess_from(HOME)),
                "{jump}: locked for longer"
            );
        } else {
            for _ in 0..3 {
                case.guess_from(HOME);
            }
            case.pass(-jump);
            assert_eq!(case.guess_from(HOME).told(), [limit_reached(10)], "{jump}");
            case.pass(10 * MINUTE);
            assert!(case.gets_in_from(HOME), "{jump}: locked for longer");
        }
    }
}

#[test]
fn no_clock_gives_a_guesser_more_than_a_hundred_single_guesses() {
    let case = Case::new("[limits]\naddress_deny = 0\n");
    let mut judged = 0;
    for jump in (0..300).map(|n| if n % 3 == 0 { 400 * DAY } else { -100 * DAY }) {
        judged += usize::from(asks_for_one(&case.stranger()));
        case.pass(jump.min(4_000_000_000 - case.now.get()));
    }
    assert!(judged <= 100, "{judged}");
}

#[test]
fn t22_a_burst_of_10000_failures_is_few_lines_and_their_number() {
    let machine = Machine::new();
    machine.enroll("root");
    // The machine has a /tmp of its own, where nothing of ours is.
    let contender = std::fs::read(env!("CARGO_BIN_EXE_contender")).expect("a program");
    let machine = machine
        .file("/etc/scratch/scratch", "644", "auth required pam_totp.so\n")
        .file("/usr/local/bin/contender", "755", contender)
        .file("/etc/security/pam_totp.toml", "644", NO_LIMITS);
    let guess = |seconds: i64, count: &str| {
        let time = (EPOCH + seconds).to_string();
        let words = [
            "contender",
            "/etc/scratch",
            "many",
            "root",
            HOME,
            &time,
            count,
            "no code",
        ];
        let ended = output(machine.command(&words), b"");
        assert!(ended.status.success(), "{ended:?}");
    };
    guess(0, "10000");
    guess(60, "1");
    let lines = machine.log().lines();
    let of = |event: &str| -> Vec<&String> {
        lines.iter().filter(|line| line.contains(event)).collect()
    };
    // Ten lines, those where the number doubled, and the one a minute later.
    assert_eq!(of("event=wrong").len(), 10 + 9 + 1, "{lines:?}");
    let burst = of("event=burst");
    assert_eq!(burst.len(), 1, "{lines:?}");
    assert!(
        burst[0].contains("user=root") && burst[0].ends_with("count=10000"),
        "{burst:?}"
    );
}
