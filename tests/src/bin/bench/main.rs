//! What a login costs: ours beside pam_permit, which is libpam's own cost, the two modules that people use today and the
//! floor (floor.c). Run by `make bench` as root; prints tables and leaves nothing behind.
//!
//! All modules log in by turns within each round, so that whatever slows the machine down for a while slows all of them.
//! Ratios are medians of the ratios within a round. The clock that modules see moves four hours from round to round:
//! each login has a fresh code, and no wrong one meets a limit that is not to be measured.
//!
//! `bench` measures. The other words are what it starts itself with: see worker.rs.

mod cases;
mod crowd;
mod figures;
mod ground;
mod module;
mod ssh;
mod visit;
mod weight;
mod worker;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::process::{Command, ExitCode};

use end_to_end::phone::Phone;

use crate::cases::Calendar;
use crate::ground::Ground;
use crate::module::People;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        [] => bench(),
        words => return worker::work(words),
    }
    ExitCode::SUCCESS
}

fn bench() {
    // Fewer rounds tell less about the slowest logins.
    let rounds = env::var("BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(1000, |text| text.parse().expect("a whole number"));
    println!("{rounds} rounds; load {}", load());

    // It needs the system's own /dev.
    ssh::full_logins(rounds.div_ceil(25));

    let ground = Ground::make();
    module::build(&ground);
    let phone = Phone::new(Phone::SECRET);
    let mut calendar = Calendar::new(phone.clone());
    let [memory, ext4, disk] = ground.places();

    let people = People::settle(&ground, &memory, &phone, ground::OWNERS);
    cases::all(&memory, &people, &mut calendar, rounds);
    weight::all(&ground, &people, &mut calendar);
    drop(people);

    let people = People::settle(&ground, &ext4, &phone, ground::OWNERS);
    cases::all(&ext4, &people, &mut calendar, rounds);
    cases::fresh_processes(&ext4, &people, &mut calendar, rounds.div_ceil(5));
    crowd::all(&ext4, &people, &mut calendar, rounds.div_ceil(10));

    let people = People::settle(&ground, &disk, &phone, 1);
    cases::right(&disk, &people, &mut calendar, rounds);

    let growing = ground::Place {
        name: ext4.name,
        folder: ext4.folder.join("growing"),
    };
    fs::create_dir(&growing.folder).expect("a new folder");
    let mut people = People::settle(&ground, &growing, &phone, 1);
    for enrolled in [1, 1_000, 100_000] {
        people.grow_to(enrolled);
        cases::growth(enrolled, &people, &mut calendar, rounds.div_ceil(10));
    }
    println!("\nload {}", load());
}

/// The processes that wanted to run, on average of 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<_> = text.split(' ').take(3).collect();
    averages.join(" ")
}

/// Runs a program that must succeed, and returns what it printed.
fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}
