//! A process that watches itself while it logs in, under whatever it was started with.
//!
//! `witness CONFDIR VERB USER TIME ANSWER...` logs in once for each ANSWER, the clock set to TIME, prints a line
//! `CODE` each, and fails where it does not find itself as VERB expects:
//!
//! `same` or `same-handling`: before, at and after each prompt nothing about the process differs. The second
//! handles SIGCHLD meanwhile and expects none.
//! `forgetful=HEX,...`: at and after each prompt none of the byte strings is in memory. Each HEX shows the
//! bytes under `MASK`, so that the witness itself never holds them.
//! `dies=prompt` or `dies=save`: pwrite(2) ends the process as a fault would. It calls it itself at the
//! prompt, or leaves that to the module.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_int;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, str};

use end_to_end::clock;
use end_to_end::libpam::{Item, Login, Message, Reply};
use end_to_end::memory::MASK;
use end_to_end::witness::process;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [confdir, verb, user, time, answers @ ..] = &arguments[..] else {
        panic!("see the head of this file")
    };
    clock::set(time.parse().expect("seconds"));
    let watch = Watch::new(verb);
    let log_in = |answer: &str, watch: &Watch| {
        let person = |message: &Message| {
            watch.look("at a message");
            if message.style.is_prompt() {
                answer.into()
            } else {
                Reply::Null
            }
        };
        let mut login = Login::start(confdir.as_ref(), "scratch", user.as_bytes(), person)
            .expect("libpam reads the service");
        login.set(Item::Rhost, "203.0.113.7");
        let code = login.authenticate(0);
        watch.look("after a login");
        code
    };
    // What libc opens for NSS and syslog stays open.
    log_in("", &Watch::Nothing);
    watch.begin();
    for answer in answers {
        println!("{}", log_in(answer, &watch).0);
        watch.look("after the end of libpam");
    }
}

enum Watch {
    Nothing,
    Same(RefCell<String>),
    Forgetful(Vec<Vec<u8>>),
    DiesAtPrompt,
    DiesAtSave,
}

impl Watch {
    fn new(verb: &str) -> Self {
        match verb {
            "same" => Self::Same(RefCell::default()),
            "same-handling" => {
                handle_children();
                Self::Same(RefCell::default())
            }
            "dies=prompt" => Self::DiesAtPrompt,
            "dies=save" => Self::DiesAtSave,
            _ => {
                let masked = verb.strip_prefix("forgetful=").expect("a verb");
                let known = String::from("something to be found");
                let shown = known.bytes().map(|byte| byte ^ MASK).collect();
                assert!(find(&[shown]).is_some(), "the search finds nothing");
                Self::Forgetful(masked.split(',').map(bytes_of).collect())
            }
        }
    }

    fn begin(&self) {
        match self {
            Self::Same(before) => *before.borrow_mut() = process(),
            Self::DiesAtPrompt | Self::DiesAtSave => die_at_pwrite(),
            Self::Nothing | Self::Forgetful(_) => {}
        }
    }

    fn look(&self, place: &str) {
        match self {
            Self::Nothing | Self::DiesAtSave => {}
            Self::Same(before) => {
                assert_eq!(process(), *before.borrow(), "{place}");
                assert_eq!(CHILDREN.load(Ordering::Relaxed), 0, "SIGCHLD {place}");
            }
            Self::Forgetful(masked) => assert_eq!(find(masked), None, "{place}"),
            // SAFETY: reads nothing, since no byte is asked for; the process ends by it.
            Self::DiesAtPrompt => unsafe {
                libc::pwrite(0, std::ptr::null(), 0, 0);
            },
        }
    }
}

static CHILDREN: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_child(_: c_int) {
    CHILDREN.fetch_add(1, Ordering::Relaxed);
}

fn handle_children() {
    let handler = SigHandler::Handler(count_child);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler changes an atomic and nothing else.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.expect("a handler");
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

/// Which of the strings that `masked` shows is in writable memory, and where.
fn find(masked: &[Vec<u8>]) -> Option<(usize, String)> {
    let memory = File::open("/proc/self/mem").expect("own memory");
    let maps = fs::read_to_string("/proc/self/maps").expect("proc");
    maps.lines()
        .filter(|map| map.contains(" rw"))
        .find_map(|map| {
            let (range, _) = map.split_once(' ').expect("a range");
            let (start, end) = range.split_once('-').expect("a range");
            let address = |text| u64::from_str_radix(text, 16).expect("an address");
            let (start, end) = (address(start), address(end));
            let mut bytes = vec![0; (end - start) as usize];
            // A map that has gone since holds nothing.
            memory.read_exact_at(&mut bytes, start).ok()?;
            let found = end_to_end::memory::find(&bytes, masked, MASK);
            bytes.fill(0);
            Some((found?, map.to_owned()))
        })
}

/// From now on pwrite(2) ends the process by SIGSYS, which no mask holds off, as none does a fault.
fn die_at_pwrite() {
    let statement = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let is_pwrite = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::SYS_pwrite64 as u32,
    };
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let mut filter = [
        statement(load, 0),
        is_pwrite,
        statement(give, libc::SECCOMP_RET_KILL_PROCESS),
        statement(give, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: PR_SET_SECCOMP reads a sock_fprog and the filter it points to, which live for the call.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(set, 0, "root may filter system calls");
}
