//! What a program takes of the processor and of the memory.
//!
//! `cost PROGRAM ARGUMENT...` runs it, and prints its exit status, its microseconds of the processor and its KiB of memory
//! at most. A small process of its own does that: to a child Linux counts what its parent had when it was started.

use std::env;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

fn main() {
    let mut words = env::args_os().skip(1);
    let mut command = Command::new(words.next().expect("see the head of this file"));
    let command = command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let status = command.status().expect("the program starts");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("figures");
    let time = usage.user_time() + usage.system_time();
    let status = status.code().expect("no signal ended it");
    println!("{status} {} {}", time.num_microseconds(), usage.max_rss());
}
