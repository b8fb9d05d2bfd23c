//! What the bench starts itself as.
//!
//! `log` binds /dev/log, says `ready` and reads it.
//!
//! `once CONFDIR SERVICE USER TIME ANSWER` logs in and exits with the PAM code.
//!
//! `weighed CONFDIR SERVICE USER TIME ANSWER` logs in and prints how much memory it has written to by then, in KB.
//!
//! `marked CONFDIR SERVICE USER (TIME ANSWER)…` looks for the file [`MARK`] before each login and after the last one.
//!
//! `crowd CONFDIR SERVICE USER GATE` reads lines `TIME ANSWER`; for each it says `ready`, waits until nobody holds the lock
//! of the file GATE any more, logs in and writes the PAM code and the nanoseconds that it took.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use end_to_end::libpam::Code;
use end_to_end::product::HOME;
use nix::fcntl::{Flock, FlockArg};

use crate::ground;
use crate::visit::Visit;

/// No file: the calls between two looks at it are those of one login.
pub const MARK: &str = "/bench-mark";

/// Does it.
pub fn work(words: &[&str]) -> ExitCode {
    match *words {
        ["log"] => ground::read_log().expect("a log"),
        ["once", confdir, service, user, time, answer] => {
            let code = visit((service, user), time, answer).stay(confdir.as_ref(), |_| ());
            return ExitCode::from(u8::try_from(code.0).expect("a small number"));
        }
        ["weighed", confdir, service, user, time, answer] => {
            let visit = visit((service, user), time, answer);
            visit.stay(confdir.as_ref(), |code| {
                assert_eq!(code, Code::SUCCESS);
                println!("{}", written());
            });
        }
        ["marked", confdir, service, user, ref logins @ ..] => {
            for login in logins.chunks_exact(2) {
                mark();
                let visit = visit((service, user), login[0], login[1]);
                assert_eq!(visit.stay(confdir.as_ref(), |_| ()), Code::SUCCESS);
            }
            mark();
        }
        ["crowd", confdir, service, user, gate] => {
            for line in io::stdin().lines() {
                let line = line.expect("lines of text");
                let (time, answer) = line.split_once(' ').expect("a time and an answer");
                let visit = visit((service, user), time, answer);
                println!("ready");
                pass(gate.as_ref());
                let (code, spent) = visit.pay(confdir.as_ref());
                println!("{} {}", code.0, spent.wall.as_nanos());
            }
        }
        _ => panic!("see the head of worker.rs"),
    }
    ExitCode::SUCCESS
}

fn mark() {
    let _ = Path::new(MARK).exists();
}

fn visit<'a>((service, user): (&'a str, &'a str), time: &str, answer: &'a str) -> Visit<'a> {
    Visit {
        service,
        user,
        address: HOME,
        time: time.parse().expect("seconds"),
        answer,
    }
}

/// Memory that this process has written to, in KB: its own, and copies of pages of files. (What Private_Dirty counts
/// includes unchanged pages of files that are in memory alone.)
fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("/proc");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix("Anonymous:"));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    value.expect("a size").parse().expect("a number")
}

/// Returns once nobody holds `gate`, together with all who wait for it.
fn pass(gate: &Path) {
    let file = File::open(gate).expect("a gate");
    drop(Flock::lock(file, FlockArg::LockShared).expect("an opened gate"));
}
