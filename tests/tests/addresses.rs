//! Wrong answers of one remote address, whoever they are given for. Tests are named after the threat, where there is
//! one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use end_to_end::clock::{self, EPOCH, system as now};
use end_to_end::crowd::Crowd;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::{Machine, output};
use end_to_end::phone::Phone;
use end_to_end::product::{
    HOME, NO_LIMITS, Outcome, PROMPT, Scratch, TWO_CODES, answering, attempts_left, limit_reached,
};
use serde_json::{Value, json};

/// Where somebody guesses.
const LAIR: &str = "198.51.100.9";
const MINUTE: i64 = 60;
const TABLE_BYTES: u64 = 2 << 20;

/// Accounts that every system has.
const PEOPLE: [&str; 10] = [
    "daemon", "bin", "sys", "games", "man", "lp", "mail", "news", "uucp", "proxy",
];
/// One more, whom nobody guesses at.
const OWNER: &str = "nobody";

/// People with phones that show the same, and somebody who guesses at all of them.
struct Case {
    scratch: Scratch,
    phone: Phone,
    wrong: String,
}

impl Case {
    fn new(settings: &str) -> Self {
        let case = Self::of(Scratch::new(settings), &PEOPLE);
        clock::set(EPOCH);
        case
    }

    fn of(scratch: Scratch, people: &[&str]) -> Self {
        let phone = Phone::new(Phone::SECRET);
        for user in people.iter().chain([&OWNER]) {
            scratch.enroll(user, &phone);
        }
        let wrong = phone.wrong_code_at(EPOCH);
        Self {
            scratch,
            phone,
            wrong,
        }
    }

    fn guess_at(&self, user: &str, address: &str) -> Outcome {
        let outcome = self.scratch.login_from(address, user, self.wrong.as_str());
        assert_eq!(outcome.code, Code::AUTH_ERR);
        outcome
    }

    /// Guesses at one after the other.
    fn guess_from(&self, address: &str, guesses: usize) -> Vec<Outcome> {
        let people = PEOPLE.iter().cycle().take(guesses);
        people.map(|user| self.guess_at(user, address)).collect()
    }

    fn lock(&self, address: &str) {
        let last = self.guess_from(address, 20).pop().expect("20 guesses");
        assert_eq!(last.told(), [limit_reached(10)]);
    }

    fn code_at(&self, now: i64) -> String {
        clock::set(now);
        self.phone.code_at(now)
    }

    /// Whether one right code lets `user` in at a moment.
    fn lets_in(&self, user: &str, address: &str, now: i64) -> bool {
        let code = self.code_at(now);
        let outcome = self.scratch.login_from(address, user, code.as_str());
        outcome.code == Code::SUCCESS
    }

    fn totpctl(&self, words: &[&str]) -> String {
        let output = self.scratch.totpctl(words, "");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, words: &[&str]) -> Value {
        let text = self.totpctl(&[words, &["--json"]].concat());
        serde_json::from_str(&text).expect("--json prints one document")
    }

    /// The wrong answers of all people that were judged, as their records have it.
    fn judged(&self) -> u64 {
        let status = self.json(&["status"]);
        let users = status["users"].as_array().expect("users");
        let total = |user: &Value| user["unfamiliar"]["total"].as_u64().expect("a number");
        users.iter().map(total).sum()
    }
}

fn assert_refused(outcome: &Outcome, minutes: usize) {
    assert_eq!(outcome.code, Code::AUTH_ERR);
    assert!(outcome.asked().is_empty(), "{outcome:?}");
    assert_eq!(outcome.told(), [limit_reached(minutes)]);
}

#[test]
fn t05_twenty_wrong_answers_for_many_users_lock_their_address_for_everybody() {
    let case = Case::new("");
    let told: Vec<String> = case
        .guess_from(LAIR, 20)
        .iter()
        .map(|outcome| outcome.told().concat())
        .collect();
    assert_eq!(told[..10], vec![attempts_left(2); 10]);
    assert_eq!(told[10..19], vec![attempts_left(1); 9]);
    assert_eq!(told[19], limit_reached(10));
    for user in [OWNER, PEOPLE[0], "irc", "no-such-person"] {
        assert_refused(&case.guess_at(user, LAIR), 10);
    }
    assert!(!case.lets_in(OWNER, LAIR, EPOCH));
    assert!(case.lets_in(OWNER, HOME, EPOCH));
    clock::set(EPOCH + 9 * MINUTE + 1);
    assert_refused(&case.guess_at(PEOPLE[1], LAIR), 1);
    assert!(!case.lets_in(PEOPLE[0], LAIR, EPOCH + 10 * MINUTE - 1));
    assert!(case.lets_in(PEOPLE[0], LAIR, EPOCH + 10 * MINUTE));
    assert_eq!(case.guess_at(PEOPLE[1], LAIR).asked(), [PROMPT]);
}

#[test]
fn t05_who_has_logged_in_from_a_locked_address_before_gets_in_there() {
    let case = Case::new("");
    assert!(case.lets_in(OWNER, LAIR, EPOCH));
    case.lock(LAIR);
    assert!(!case.lets_in(PEOPLE[0], LAIR, EPOCH + MINUTE));
    assert!(case.lets_in(OWNER, LAIR, EPOCH + MINUTE));
}

#[test]
fn wrong_answers_from_a_familiar_address_are_not_held_against_it() {
    let case = Case::new("");
    assert!(case.lets_in(OWNER, LAIR, EPOCH));
    case.guess_from(LAIR, 19);
    for _ in 0..2 {
        assert_eq!(case.guess_at(OWNER, LAIR).asked(), [PROMPT]);
    }
    assert_eq!(case.guess_at("lp", LAIR).asked(), [PROMPT]);
    assert_refused(&case.guess_at("mail", LAIR), 10);
}

#[test]
fn t05_a_success_clears_nothing_of_its_address() {
    let case = Case::new("");
    case.guess_from(LAIR, 19);
    assert!(case.lets_in(OWNER, LAIR, EPOCH));
    let twentieth = case.guess_at(PEOPLE[9], LAIR);
    assert_eq!(twentieth.told(), [limit_reached(10)]);
    assert_refused(&case.guess_at(PEOPLE[0], LAIR), 10);
}

#[test]
fn refused_tries_do_not_lengthen_the_lock_of_an_address() {
    let case = Case::new("");
    case.lock(LAIR);
    for minute in 1..10 {
        clock::set(EPOCH + minute * MINUTE);
        let outcome = case.guess_at(PEOPLE[2], LAIR);
        assert_refused(&outcome, 10 - minute as usize);
    }
    assert!(case.lets_in(OWNER, LAIR, EPOCH + 10 * MINUTE));
}

#[test]
fn exempt_networks_are_neither_counted_nor_refused() {
    let case = Case::new("[limits]\nexempt = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n");
    for (address, minute) in [(LAIR, 1), ("2001:db8:1::7", 2)] {
        for outcome in case.guess_from(address, 50) {
            assert_eq!(outcome.asked(), [PROMPT], "{address}");
        }
        assert!(case.lets_in(OWNER, address, EPOCH + minute * MINUTE));
    }
    assert!(!case.scratch.path("run/addresses").exists());
}

#[test]
fn t06_of_100_guesses_at_once_at_many_users_from_one_address_20_are_judged() {
    let settings = "[limits]\ndeny = 32\ndaily = 0\nuser_limit = 0\n";
    let case = Case::of(Scratch::on(&std::env::temp_dir(), settings), &PEOPLE);
    let contender = Path::new(env!("CARGO_BIN_EXE_contender"));
    let users = PEOPLE.iter().copied().cycle().take(100);
    let mut crowd = Crowd::new(contender, &case.scratch, users);
    for round in 1..=6 {
        let now = EPOCH + round as i64 * 120 * MINUTE;
        let place = if round % 2 == 0 { "inside" } else { "outside" };
        let wrong = case.phone.wrong_code_at(now);
        let ended = crowd.rush(place, now, LAIR, vec![wrong.as_str(); 100]);
        let is_denied = ended.iter().all(|one| one.code == Code::AUTH_ERR);
        assert!(is_denied, "{ended:?}");
        let told = ended.iter().filter(|one| one.is_wrong()).count();
        assert!(
            told < 20,
            "{told} of 20 are told that there are attempts left"
        );
        assert!(!case.lets_in(OWNER, LAIR, now), "round {round}");
        assert!(case.lets_in(OWNER, HOME, now), "round {round}");
        // Last: totpctl reads the system's clock, by which all this lies in the future.
        assert_eq!(case.judged(), 20 * round, "round {round}: {ended:?}");
    }
}

#[test]
fn people_who_log_in_at_once_from_a_new_address_all_get_in() {
    let settings = "[limits]\naddress_deny = 3\n";
    let case = Case::of(Scratch::on(&std::env::temp_dir(), settings), &PEOPLE);
    let contender = Path::new(env!("CARGO_BIN_EXE_contender"));
    let mut crowd = Crowd::new(contender, &case.scratch, PEOPLE);
    for round in 0..20 {
        let now = EPOCH + round * MINUTE;
        let code = case.phone.code_at(now);
        let address = format!("198.51.100.{round}");
        let place = if round % 2 == 0 { "inside" } else { "outside" };
        let ended = crowd.rush(place, now, &address, [code.as_str(); PEOPLE.len()]);
        let all_in = ended.iter().all(|one| one.code == Code::SUCCESS);
        assert!(all_in, "round {round}: {ended:?}");
    }
}

#[test]
fn t05_guesses_at_people_who_do_not_exist_count_as_well() {
    for is_anybody_enrolled in [true, false] {
        let scratch = Scratch::new("");
        let people: &[&str] = &[];
        let case = if is_anybody_enrolled {
            Case::of(scratch, people)
        } else {
            let phone = Phone::new(Phone::SECRET);
            let wrong = phone.wrong_code_at(EPOCH);
            fs::create_dir(scratch.path("secrets")).expect("a new folder");
            fs::create_dir(scratch.path("state")).expect("a new folder");
            Case {
                scratch,
                phone,
                wrong,
            }
        };
        clock::set(EPOCH);
        for number in 0..20 {
            let user = format!("no-such-person-{number}");
            assert_eq!(case.guess_at(&user, LAIR).asked(), [PROMPT]);
        }
        assert_refused(&case.guess_at("no-such-person", LAIR), 10);
        assert_refused(&case.guess_at(OWNER, LAIR), 10);
        assert_eq!(case.guess_at(OWNER, HOME).asked(), [PROMPT]);
    }
}

#[test]
fn address_deny_zero_turns_it_off() {
    let case = Case::new(NO_LIMITS);
    for outcome in case.guess_from(LAIR, 100) {
        assert_eq!(outcome.asked(), [PROMPT]);
    }
    assert!(case.lets_in(OWNER, LAIR, EPOCH));
    assert!(!case.scratch.path("run/addresses").exists());
    let report = case.totpctl(&["status", "--address", LAIR]);
    assert!(report.contains("all users: no limit"), "{report}");
}

#[test]
fn address_deny_is_the_number_of_wrong_answers() {
    for deny in [1, 2, 28] {
        let case = Case::new(&format!("[limits]\ndeny = 32\naddress_deny = {deny}\n"));
        for (index, outcome) in case.guess_from(LAIR, deny).iter().enumerate() {
            let expected = match deny - index - 1 {
                0 => limit_reached(10),
                left => attempts_left(left.min(31 - index / PEOPLE.len())),
            };
            assert_eq!(outcome.told(), [expected], "{deny}: {index}");
        }
        assert_refused(&case.guess_at(OWNER, LAIR), 10);
    }
}

#[test]
fn t17_an_address_counts_in_whatever_form_and_with_whatever_it_owns() {
    let case = Case::new("");
    type Form = fn(usize) -> String;
    let forms: [(Form, &str, &str); 3] = [
        (
            |number| match number % 2 {
                0 => "192.0.2.7".to_owned(),
                _ => "::ffff:192.0.2.7".to_owned(),
            },
            "::ffff:c000:207",
            "192.0.2.8",
        ),
        (
            |number| format!("2001:db8::{number:x}"),
            "2001:db8:0:0:ffff::1",
            "2001:db8:0:1::1",
        ),
        // No name is looked up, and none is an address of its own.
        (
            |number| format!("host-{number}.example.com"),
            "localhost",
            "192.0.2.9",
        ),
    ];
    for (round, (form, same, other)) in forms.into_iter().enumerate() {
        clock::set(EPOCH + round as i64 * 24 * 60 * MINUTE);
        for number in 0..20 {
            let outcome = case.guess_at(PEOPLE[number % PEOPLE.len()], &form(number));
            assert_eq!(outcome.asked(), [PROMPT], "{}", form(number));
        }
        assert_refused(&case.guess_at(OWNER, same), 10);
        assert_eq!(case.guess_at(OWNER, other).asked(), [PROMPT], "{other}");
    }
}

#[test]
fn t19_no_number_of_addresses_makes_any_file_grow_or_frees_a_locked_one() {
    let case = Case::new("");
    case.lock(LAIR);
    let sizes = || -> Vec<(String, u64)> {
        let mut sizes = Vec::new();
        for folder in ["run", "state", "secrets"] {
            for entry in fs::read_dir(case.scratch.path(folder)).expect("a folder") {
                let entry = entry.expect("an entry");
                let name = entry.path().display().to_string();
                sizes.push((name, entry.metadata().expect("a file").len()));
            }
        }
        sizes.sort();
        sizes
    };
    let before = sizes();
    let table = case.scratch.path("run/addresses").display().to_string();
    assert!(before.contains(&(table, TABLE_BYTES)), "{before:?}");
    for number in 0..3000_u32 {
        let address = match number % 2 {
            0 => std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).to_string(),
            _ => format!("2001:{:x}:{number:x}::1", number % 7),
        };
        let user = format!("no-such-person-{number}");
        case.scratch.login_from(&address, user, case.wrong.as_str());
    }
    assert_eq!(sizes(), before);
    assert_refused(&case.guess_at(OWNER, LAIR), 10);
}

#[test]
fn a_missing_run_folder_is_made_for_root_alone() {
    let case = Case::new("");
    let run = case.scratch.path("run");
    assert!(!run.exists());
    case.guess_at(OWNER, LAIR);
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it was made")
            .permissions()
            .mode()
    };
    assert_eq!(mode(&run) & 0o7777, 0o700);
    assert_eq!(mode(&run.join("addresses")) & 0o7777, 0o600);
    // What a reboot takes away is made anew.
    fs::remove_dir_all(&run).expect("our own folder");
    case.guess_at(OWNER, LAIR);
    assert_eq!(mode(&run) & 0o7777, 0o700);
}

/// Answers one prompt after the other.
fn one_by_one<'a>(answers: &'a [String]) -> impl FnMut(&Message) -> Reply + 'a {
    let mut answers = answers.iter();
    move |message| match message.style.is_prompt() {
        true => answers
            .next()
            .map_or(Reply::Null, |answer| answer.as_str().into()),
        false => Reply::Null,
    }
}

#[test]
fn without_a_run_folder_one_code_is_enough_at_familiar_places_alone() {
    let case = Case::new("");
    assert!(case.lets_in(OWNER, HOME, EPOCH));
    let run = case.scratch.path("run");
    fs::remove_dir_all(&run).expect("our own folder");
    fs::write(&run, "no folder").expect("writes");

    assert!(!case.lets_in(PEOPLE[0], LAIR, EPOCH + MINUTE));
    assert!(!case.lets_in(OWNER, LAIR, EPOCH + MINUTE));
    assert!(case.lets_in(OWNER, HOME, EPOCH + MINUTE));
    let outcome = case.guess_at(PEOPLE[1], LAIR);
    assert!(outcome.asked()[0].starts_with(TWO_CODES));

    let now = EPOCH + 5 * MINUTE;
    clock::set(now);
    let codes = case.phone.codes(now, 1);
    let mut login = case.scratch.start(PEOPLE[2], one_by_one(&codes));
    assert_eq!(login.authenticate(0), Code::SUCCESS);
    assert_eq!(fs::read(&run).expect("a file"), b"no folder");
}

#[test]
fn a_run_folder_that_cannot_be_used_is_logged() {
    let machine = Machine::new();
    machine.enroll("root");
    let contender = fs::read(env!("CARGO_BIN_EXE_contender")).expect("it was built");
    let machine = machine
        .file("/etc/scratch/scratch", "644", "auth required pam_totp.so\n")
        .file("/usr/local/bin/contender", "755", contender);
    machine.run("rm -rf /run/pam_totp; touch /run/pam_totp");
    let now = EPOCH.to_string();
    let words = [
        "contender",
        "/etc/scratch",
        "once",
        "root",
        LAIR,
        &now,
        "000000",
    ];
    let ended = output(machine.command(&words), b"");
    assert_eq!(ended.status.code(), Some(Code::AUTH_ERR.0), "{ended:?}");
    machine
        .log()
        .assert_has(&["event=uncounted", LAIR, "/run/pam_totp"]);
}

#[test]
fn status_and_unlock_tell_and_forget_what_an_address_did() {
    let case = Case::new("");
    // totpctl reads the system's clock.
    clock::unset();
    let words = ["status", "--address"];
    assert_eq!(case.json(&words), json!({ "addresses": [] }));
    assert!(case.totpctl(&words).contains("No wrong answers"));

    case.lock(LAIR);
    case.guess_at("no-such-person", "2001:db8::7");
    let all = case.json(&words);
    let [lair, network] = &all["addresses"].as_array().expect("addresses")[..] else {
        panic!("{all}")
    };
    assert_eq!(lair["address"], LAIR);
    assert_eq!(lair["locked"], true);
    assert!(lair["until"].is_string(), "{all}");
    assert_eq!(network["address"], "2001:db8::/64");
    assert_eq!(network["locked"], false);
    assert_eq!(network["attempts_left"], 19);
    assert_eq!(case.json(&["status"])["addresses"], all["addresses"]);

    let one = case.json(&["status", "--address", LAIR]);
    assert_eq!(one["locked"], true);
    assert_eq!(one["users"].as_array().map(Vec::len), Some(PEOPLE.len()));
    assert_eq!(one["users"][0]["attempts_left"], 1);
    let unseen = case.json(&["status", "--address", HOME]);
    assert_eq!(unseen["attempts_left"], 20);
    assert_eq!(unseen["users"], json!([]));

    let unlocked = case.json(&["unlock", "--address", LAIR]);
    assert_eq!(unlocked, json!({ "address": LAIR, "unlocked": true }));
    let again = case.json(&["unlock", "--address", LAIR]);
    assert_eq!(again, json!({ "address": LAIR, "unlocked": false }));
    assert_eq!(case.json(&words)["addresses"], json!([network]));
    // Its users have all their attempts there again, too.
    assert_eq!(case.guess_at(PEOPLE[0], LAIR).told(), [attempts_left(2)]);
}

#[test]
fn what_was_spent_of_the_day_at_a_familiar_address_stays_spent_when_it_is_unlocked() {
    let case = Case::new("[limits]\ndaily = 4\n");
    assert!(case.lets_in(OWNER, HOME, now()));
    clock::unset();
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        assert_eq!(case.guess_at(OWNER, HOME).told(), [told]);
    }
    let unlocked = case.json(&["unlock", "--address", HOME]);
    assert_eq!(unlocked, json!({ "address": HOME, "unlocked": true }));
    let fourth = case.guess_at(OWNER, HOME);
    assert_eq!(fourth.asked(), [PROMPT], "no lock holds");
    let fifth = case.guess_at(OWNER, HOME);
    assert!(fifth.asked()[0].starts_with(TWO_CODES), "{fifth:?}");
}

#[test]
fn unlocking_an_address_tells_nobody_elsewhere_who_is_enrolled() {
    let case = Case::new("[limits]\ndaily = 4\n");
    // totpctl reads the system's clock.
    clock::unset();
    let people = [PEOPLE[0], "no-such-person"];
    for user in people {
        for address in [LAIR, LAIR, HOME] {
            case.guess_at(user, address);
        }
    }
    case.totpctl(&["unlock", "--address", LAIR]);
    for user in people {
        let there = case.guess_at(user, LAIR);
        assert_eq!(there.told(), [attempts_left(2)], "{user}");
        let elsewhere = case.guess_at(user, HOME);
        assert!(elsewhere.asked()[0].starts_with(TWO_CODES), "{user}");
        let told = elsewhere.told();
        assert!(told[0].contains("(Attempts left: 1)"), "{user}: {told:?}");
    }
}

#[test]
fn unlock_all_forgets_all_addresses_and_all_users() {
    let case = Case::new("");
    clock::unset();
    case.lock(LAIR);
    case.lock("192.0.2.7");
    assert_refused(&case.guess_at("no-such-person", LAIR), 10);
    case.totpctl(&["unlock", "--all"]);
    assert_eq!(
        case.json(&["status", "--address"]),
        json!({ "addresses": [] })
    );
    assert_eq!(case.judged(), 0);
    for address in [LAIR, "192.0.2.7"] {
        assert_eq!(case.guess_at(PEOPLE[0], address).told(), [attempts_left(2)]);
    }
}

#[test]
fn unlocking_a_user_leaves_the_address_locked() {
    let case = Case::new("");
    clock::unset();
    case.lock(LAIR);
    let said = case.totpctl(&["unlock", PEOPLE[0]]);
    assert!(said.contains("totpctl status --address"), "{said}");
    assert_refused(&case.guess_at(PEOPLE[0], LAIR), 10);
    let mut login = case
        .scratch
        .start(PEOPLE[0], answering(case.wrong.as_str()));
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
    assert_eq!(
        login.heard().last().map(|m| m.text.clone()),
        Some(attempts_left(2))
    );
}
