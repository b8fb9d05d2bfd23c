//! A process whose threads log in at the same moment, while others of its threads do what threads may.
//!
//! `crew CONFDIR` reads lines `TIME USER=ANSWER...`. For each it starts a thread for every pair, which answer together once
//! all prompts are open, the clock set to TIME, and prints the code and what was told to each, a line a thread. Meanwhile
//! one more thread copies the process and keeps the copies, and another goes on changing its own signal mask. It fails
//! where a thread or the process does not find itself as it was.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, io, thread};

use end_to_end::clock;
use end_to_end::crowd::Ended;
use end_to_end::libpam::{Item, Login, Message, Reply};
use end_to_end::patience::wait_for;
use end_to_end::product::HOME;
use end_to_end::witness::process;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pause};

fn main() {
    let confdir = env::args_os().nth(1).expect("see the head of this file");
    let confdir = Path::new(&confdir);
    // What libc opens for NSS and syslog stays open, and so does its handling of a signal of its own for threads.
    round(confdir, "0 root=");
    let before = alone();
    for line in io::stdin().lines() {
        let line = line.expect("lines of text");
        for ended in round(confdir, &line) {
            println!("{} {}", ended.code.0, ended.told.replace('\n', " "));
        }
        assert_eq!(alone(), before, "after {line}");
    }
}

/// The process once all other threads, which were joined, are gone.
fn alone() -> String {
    let threads = || fs::read_dir("/proc/self/task").expect("proc").count();
    wait_for("threads to end", || threads() == 1);
    process()
}

fn round(confdir: &Path, line: &str) -> Vec<Ended> {
    let mut words = line.split(' ');
    let time = words.next().and_then(|word| word.parse().ok());
    let time = time.expect("seconds");
    let pairs: Vec<_> = words
        .map(|pair| pair.split_once('=').expect("USER=ANSWER"))
        .collect();
    let all_open = Barrier::new(pairs.len() + 1);
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| keep_copies(Turn::new(&all_open), &is_over));
        threads.spawn(|| change_masks(&is_over));
        let log_in = |(user, answer)| {
            let turn = Turn::new(&all_open);
            threads.spawn(move || log_in(confdir, time, user, answer, &turn))
        };
        let logins: Vec<_> = pairs.into_iter().map(log_in).collect();
        let ended: Vec<_> = logins.into_iter().map(|login| login.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        let ended = ended.into_iter();
        ended.map(|login| login.expect("a login")).collect()
    })
}

fn log_in(confdir: &Path, time: i64, user: &str, answer: &str, turn: &Turn<'_>) -> Ended {
    clock::set(time);
    let mask = || SigSet::thread_get_mask().expect("a mask");
    let before = mask();
    let person = |message: &Message| {
        assert_eq!(mask(), before, "at a message");
        if !message.style.is_prompt() {
            return Reply::Null;
        }
        turn.take();
        answer.into()
    };
    let mut login = Login::start(confdir, "scratch", user.as_bytes(), person)
        .expect("libpam reads the service");
    login.set(Item::Rhost, HOME);
    let code = login.authenticate(0);
    let heard = login.heard();
    drop(login);
    assert_eq!(mask(), before, "after a login");
    let told = heard
        .into_iter()
        .filter(|message| !message.style.is_prompt());
    let told = told.map(|message| message.text).collect();
    Ended { code, told }
}

/// One of those who wait for each other; who goes without having waited is not waited for.
struct Turn<'a> {
    all: &'a Barrier,
    is_taken: Cell<bool>,
}

impl<'a> Turn<'a> {
    fn new(all: &'a Barrier) -> Self {
        Self {
            all,
            is_taken: Cell::new(false),
        }
    }

    fn take(&self) {
        if !self.is_taken.replace(true) {
            self.all.wait();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

/// Copies share what is locked while they are made: now that all answer, somebody's state. They are kept until all have
/// heard what their answers were worth.
fn keep_copies(turn: Turn<'_>, is_over: &AtomicBool) {
    const MOST: usize = 64;
    turn.take();
    let mut copies = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        if copies.len() == MOST {
            thread::yield_now();
            continue;
        }
        // SAFETY: the copy makes system calls and nothing else, and does not return.
        match unsafe { fork() }.expect("a copy") {
            ForkResult::Child => {
                let _ = set_pdeathsig(Signal::SIGKILL);
                loop {
                    pause();
                }
            }
            ForkResult::Parent { child } => copies.push(child),
        }
    }
    for copy in copies {
        kill(copy, Signal::SIGKILL).expect("a copy");
        waitpid(copy, None).expect("a child");
    }
}

/// The mask is this thread's alone, and the limits are everybody's.
fn change_masks(is_over: &AtomicBool) {
    let limits = || {
        [Resource::RLIMIT_FSIZE, Resource::RLIMIT_NOFILE]
            .map(|limit| getrlimit(limit).expect("a limit"))
    };
    let before = limits();
    let masks = [
        &[][..],
        &[Signal::SIGINT, Signal::SIGTERM],
        &[Signal::SIGUSR1],
    ];
    let masks = masks.map(|signals| signals.iter().copied().collect::<SigSet>());
    for mask in masks.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        mask.thread_set_mask().expect("a mask");
        thread::yield_now();
        assert_eq!(SigSet::thread_get_mask(), Ok(*mask));
        assert_eq!(limits(), before, "while others log in");
    }
}
