//! What a program takes of the processor and of the memory.
//!
//! `cost PROGRAM ARGUMENT...` runs it, and prints its exit status, its microseconds of the processor and its KiB of memory
//! at most. A small process of its own does that: to a child Linux counts what its parent had when it was started.

use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::{env, ptr};

fn main() {
    let mut words = env::args_os().skip(1);
    let mut command = Command::new(words.next().expect("see the head of this file"));
    let command = command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let child = command.spawn().expect("the program starts");
    let pid = i32::try_from(child.id()).expect("a process id");
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: wait4(2) writes an int and one rusage structure to where these are; nobody else waits for the child.
    let waited = unsafe { libc::wait4(pid, ptr::from_mut(&mut status), 0, usage.as_mut_ptr()) };
    assert_eq!(waited, pid);
    // SAFETY: every pattern of bits is an rusage structure.
    let usage = unsafe { usage.assume_init() };
    assert!(libc::WIFEXITED(status), "ended by a signal");
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let time = micros(usage.ru_utime) + micros(usage.ru_stime);
    println!("{} {time} {}", libc::WEXITSTATUS(status), usage.ru_maxrss);
}
