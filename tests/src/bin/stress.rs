//! The long versions of what the tests show in short, with figures. Run by `make stress`; ends with 1 where a promise
//! does not hold.
//!
//! `stress [race|mixed|guesses|strangers|addresses|faults]`, all of them where none is named.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, iter};

use end_to_end::changes;
use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::disturbed::{self, Plan};
use end_to_end::libpam::{Code, Item};
use end_to_end::mixed::{COUNT, EDITS, Mixed};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch};
use end_to_end::trial::{WAYS, disturb_login};

fn main() -> ExitCode {
    type Part = (&'static str, fn() -> bool);
    let parts: [Part; 6] = [
        ("race", race),
        ("mixed", mixed),
        ("guesses", guesses),
        ("strangers", strangers),
        ("addresses", addresses),
        ("faults", faults),
    ];
    let wanted = env::args().nth(1);
    let mut holds = true;
    for (name, part) in parts {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            holds &= part();
        }
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A number that an environment variable may make smaller.
fn number(name: &str, default: usize) -> usize {
    let set = env::var(name).ok();
    set.map_or(default, |set| set.parse().expect("a whole number"))
}

fn contender() -> PathBuf {
    let program = env::current_exe().expect("a program has a path");
    program.with_file_name("contender")
}

/// One code, 24 processes: one gets in, in every round.
fn race() -> bool {
    let rounds = number("STRESS_ROUNDS", 100_000);
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new(NO_LIMITS);
    scratch.enroll(ACCOUNT, &phone);
    let mut crowd = Crowd::new(&contender(), &scratch, [ACCOUNT; 24]);
    let mut more_than_one = 0;
    let mut none = 0;
    for round in 0..rounds {
        let now = EPOCH + round as i64 * phone.period;
        let code = phone.code_at(now);
        let place = ["inside", "outside"][round % 2];
        let ended = crowd.rush(place, now, HOME, iter::repeat_n(code.as_str(), 24));
        match ended.iter().filter(|one| one.code == Code::SUCCESS).count() {
            0 => none += 1,
            1 => {}
            _ => more_than_one += 1,
        }
    }
    println!(
        "race: {rounds} rounds of 24 processes with one code: accepted more than once in {more_than_one}, \
         not at all in {none}"
    );
    more_than_one + none == 0
}

/// The same by ssh, sudo and su, while totpctl changes the records.
fn mixed() -> bool {
    let rounds = number("STRESS_MIXED", 1_000);
    let mut mixed = Mixed::new();
    let (mut more_than_one, mut none, mut ended) = (0, 0, 0);
    for edit in EDITS.into_iter().cycle().take(rounds) {
        match mixed.round(edit) {
            0 if edit.ends_the_token() => ended += 1,
            0 => none += 1,
            1 => {}
            _ => more_than_one += 1,
        }
    }
    println!(
        "mixed: {rounds} rounds of {COUNT} by ssh, sudo and su with one code and a change by totpctl: accepted more \
         than once in {more_than_one}, not at all in {none}, and in {ended} where the change ended the device"
    );
    more_than_one + none == 0
}

/// Every guess that was answered is counted.
fn guesses() -> bool {
    const PROCESSES: usize = 50;
    let total = number("STRESS_GUESSES", 1_000_000);
    let phone = Phone::new(Phone::SECRET);
    let scratch =
        Scratch::new("[limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 1_000_000\n");
    scratch.enroll(ACCOUNT, &phone);
    let mut crowd = Crowd::new(&contender(), &scratch, [ACCOUNT; PROCESSES]);
    let wrong: Vec<_> = phone.wrong_codes_at(EPOCH).take(PROCESSES).collect();
    let started = Instant::now();
    let mut answered = 0;
    for _ in 0..total / PROCESSES {
        let ended = crowd.rush("inside", EPOCH, HOME, wrong.iter().map(String::as_str));
        answered += ended.iter().filter(|one| one.is_wrong()).count();
    }
    let counted = counted(&scratch);
    let rate = answered as f64 / started.elapsed().as_secs_f64();
    println!(
        "guesses: {answered} answered by {PROCESSES} processes at once, {counted} counted, {rate:.0} a second"
    );
    answered as u64 == counted
}

/// Wrong answers of the account as totpctl has them.
fn counted(scratch: &Scratch) -> u64 {
    let status = scratch.status(ACCOUNT);
    let total = &status["users"][0]["unfamiliar"]["total"];
    total.as_u64().expect("a number")
}

/// Wrong answers of the enrolled, the unenrolled and the unknown take the same time, in each state of locks.
fn strangers() -> bool {
    let samples = number("STRESS_SAMPLES", 5_000);
    let phone = Phone::new(Phone::SECRET);
    let mut holds = true;
    for (state, settings, wrong_before) in [
        ("open", NO_LIMITS, 0),
        (
            "one code is not enough",
            "[limits]\ndeny = 0\naddress_deny = 0\nuser_limit = 0\n",
            8,
        ),
        ("locked", "[limits]\naddress_deny = 0\n", 3),
        (NEW_ADDRESSES, "[limits]\ndaily = 0\nuser_limit = 0\n", 0),
    ] {
        let scratch = Scratch::on(&env::temp_dir(), settings);
        scratch.enroll(ACCOUNT, &phone);
        clock::set(EPOCH);
        let wrong = phone.wrong_code_at(EPOCH);
        let users = [
            ("enrolled", ACCOUNT),
            ("not enrolled", "bin"),
            ("unknown", "nosuchone"),
        ];
        let mut times = users.map(|_| Vec::with_capacity(samples));
        for (_, user) in users {
            for _ in 0..wrong_before.max(3) {
                scratch.login(user, wrong.as_str());
            }
        }
        for sample in 0..samples as u32 {
            for ((_, user), times) in users.iter().zip(&mut times) {
                let mut login = scratch.start(user, end_to_end::product::answering(wrong.as_str()));
                if state == NEW_ADDRESSES {
                    clock::set(EPOCH + i64::from(sample) * 60);
                    login.set(Item::Rhost, spread(sample).to_string().as_str());
                }
                let started = Instant::now();
                login.authenticate(0);
                times.push(started.elapsed());
            }
        }
        let medians = times.map(|mut times| {
            times.sort_unstable();
            times[samples / 2].as_secs_f64() * 1e6
        });
        let most = medians.iter().copied().fold(0.0, f64::max);
        let least = medians.iter().copied().fold(f64::MAX, f64::min);
        let apart = (most / least - 1.0) * 100.0;
        let shown: Vec<_> = users
            .iter()
            .zip(medians)
            .map(|((name, _), median)| format!("{name} {median:.0} µs"))
            .collect();
        println!(
            "strangers, {state}: {}: {apart:.1} % apart",
            shown.join(", ")
        );
        holds &= apart <= 5.0;
    }
    holds
}

/// What state it is where each answer is the first one of its address.
const NEW_ADDRESSES: &str = "from new addresses";

/// One address for each number, spread over all networks.
fn spread(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(index.wrapping_mul(0x9E37_79B1))
}

/// A hundred thousand addresses in an hour: the table keeps its size, and an answer costs what it cost.
fn addresses() -> bool {
    let total = number("STRESS_ADDRESSES", 100_000);
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new("[limits]\ndaily = 0\nuser_limit = 0\n");
    scratch.enroll(ACCOUNT, &phone);
    let wrong = phone.wrong_code_at(EPOCH);
    let mut times = Vec::with_capacity(total);
    for index in 0..total as u32 {
        clock::set(EPOCH + i64::from(index) * 3600 / total as i64);
        let address = spread(index);
        let started = Instant::now();
        scratch.login_from(&address.to_string(), "nosuchone", wrong.as_str());
        times.push(started.elapsed());
    }
    let table = scratch.path("run").join("addresses");
    let size = std::fs::metadata(table).expect("the table").len();
    let tenth = total / 10;
    let [first, last] = [&times[..tenth], &times[total - tenth..]].map(|times| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[tenth * 99 / 100].as_secs_f64() * 1e6
    });
    println!(
        "addresses: {total} in an hour: the table has {size} bytes; p99 of the first tenth {first:.0} µs, of \
         the last {last:.0} µs"
    );
    size == 2 << 20 && last < 1.5 * first
}

/// Each system call of each kind of login and of each change fails with each error. What does not hold panics.
fn faults() -> bool {
    let contender = contender();
    for way in WAYS {
        disturb_login(Plan::AllFaults, way, &contender);
    }
    for change in changes::ALL {
        change(Plan::AllFaults, &contender);
    }
    println!(
        "faults: {} runs of {} kinds of logins and {} of changes, each call with each of {} errors: none broke a promise",
        disturbed::runs(),
        WAYS.len(),
        changes::ALL.len(),
        disturbed::ERRORS.len()
    );
    true
}
