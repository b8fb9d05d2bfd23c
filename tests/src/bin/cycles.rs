//! A process that logs in again and again, in a scratch folder of its own.
//!
//! `cycles COUNT` logs in so many times, prints what it takes up after a tenth of them and in the end, and fails where that
//! has grown. That is exact where the C library keeps no freed memory at hand: GLIBC_TUNABLES=glibc.malloc.tcache_count=0.
//!
//! `cycles COUNT watched` does the same under a tool that watches its memory, and itself takes some for that.
//!
//! `cycles COUNT unloaded` does it with a copy of the module that is really unloaded after each login; `cycles COUNT unloaded
//! watched` under such a tool.
//!
//! `cycles COUNT anew` logs in each time in a copy of itself, in which the module was never loaded before, and fails
//! where a copy does.

#![allow(unsafe_code)]

use std::{env, process};

use end_to_end::cycles::{Cycles, Footprint, is_loaded};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    // The C library takes pages as it sees fit, but far fewer than there are logins.
    const SLACK: usize = 16;
    match arguments[..] {
        [count] => {
            in_one_process(&Cycles::new(number(count)), number(count), SLACK);
            assert!(is_loaded(), "it should stay");
        }
        [count, "watched"] => {
            in_one_process(&Cycles::new(number(count)), number(count), usize::MAX)
        }
        [count, "unloaded"] => {
            in_one_process(&Cycles::unloading(number(count)), number(count), SLACK);
            assert!(!is_loaded(), "it should be gone");
        }
        [count, "unloaded", "watched"] => {
            in_one_process(&Cycles::unloading(number(count)), number(count), usize::MAX);
            assert!(!is_loaded(), "it should be gone");
        }
        [count, "anew"] => each_anew(number(count)),
        _ => panic!("see the head of this file"),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

/// Of pages in memory `slack` may be new.
fn in_one_process(cycles: &Cycles, count: usize, slack: usize) {
    let tenth = count / 10;
    (0..tenth).for_each(|number| cycles.log_in(number));
    let before = Footprint::now();
    (tenth..count).for_each(|number| cycles.log_in(number));
    let after = Footprint::now();
    println!("after {tenth} logins: {before}");
    println!("after {count} logins: {after}");
    after.assert_not_more_than(&before, slack);
}

fn each_anew(count: usize) {
    let cycles = Cycles::new(count);
    for number in 0..count {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.expect("a copy") {
            ForkResult::Child => {
                cycles.log_in(number);
                // As processes end: whoever looks for leaks does it then.
                process::exit(0);
            }
            ForkResult::Parent { child } => {
                let ended = waitpid(child, None).expect("a child");
                assert_eq!(ended, WaitStatus::Exited(child, 0), "login {number}");
            }
        }
    }
    println!("{count} logins in new processes");
}
