//! A login that is held up in the middle of its save.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::EPOCH;
use crate::patience::wait_for;
use crate::product::{ACCOUNT, Scratch};

/// A login of [`ACCOUNT`] under strace. When it is dropped both have ended.
pub struct Held {
    /// Its tracer.
    pub strace: Child,
    /// Who logs in.
    pub pid: Pid,
    /// The file that is told of the saves.
    pub trace: PathBuf,
}

/// Where strace stops it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// With the lock just taken.
    BeforeRead,
    /// With the save written.
    BeforeSync,
    /// With the save on disk.
    AfterSync,
}

impl Stop {
    const fn tampering(self) -> &'static str {
        match self {
            Self::BeforeRead => "flock:signal=STOP:when=1",
            Self::BeforeSync => "pwrite64:signal=STOP",
            Self::AfterSync => "fdatasync:signal=STOP",
        }
    }
}

impl Held {
    /// The program `contender`, stopped with the lock in its hands.
    pub fn new(
        contender: &Path,
        scratch: &Scratch,
        stop: Stop,
        address: &str,
        answer: &str,
    ) -> Self {
        let mut held = Self::traced(contender, scratch, stop.tampering(), address, answer);
        held.wait_for("stopped by SIGSTOP");
        assert_eq!(holder(scratch), Some(held.pid), "it isn't in the lock");
        assert!(held.strace.try_wait().expect("a child").is_none());
        held
    }

    /// The program `contender`, with what strace is to `inject`.
    pub fn traced(
        contender: &Path,
        scratch: &Scratch,
        inject: &str,
        address: &str,
        answer: &str,
    ) -> Self {
        static TRACES: AtomicUsize = AtomicUsize::new(0);
        let number = TRACES.fetch_add(1, Ordering::Relaxed);
        let trace = scratch.path(&format!("trace{number}"));
        let mut strace = Command::new("strace")
            .arg("-o")
            .arg(&trace)
            .arg("-P")
            .arg(scratch.state(ACCOUNT))
            .args([
                "-e",
                "trace=flock,pwrite64,fdatasync",
                "-e",
                &format!("inject={inject}"),
            ])
            .args([
                "sh",
                "-c",
                "ulimit -c unlimited; echo $$; exec \"$@\"",
                "sh",
            ])
            .arg(contender)
            .arg(scratch.path("pam.d"))
            .args(["once", ACCOUNT, address, &EPOCH.to_string(), answer])
            .current_dir(scratch.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut pid = String::new();
        let stdout = strace.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut pid).expect("a line");
        let pid = pid.trim().parse().expect("a process id");
        Self {
            strace,
            pid: Pid::from_raw(pid),
            trace,
        }
    }

    /// Returns once the trace has `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(text, || {
            fs::read_to_string(&self.trace).is_ok_and(|trace| trace.contains(text))
        });
    }

    /// The signal that ended it.
    pub fn ended(mut self) -> Option<i32> {
        self.strace.wait().expect("a child").signal()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = self.strace.wait();
    }
}

/// Who holds the lock on the state of [`ACCOUNT`].
pub fn holder(scratch: &Scratch) -> Option<Pid> {
    let file = File::open(scratch.state(ACCOUNT)).expect("a state");
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).expect("a lock's holder");
    (lock.l_type != libc::F_UNLCK as libc::c_short).then(|| Pid::from_raw(lock.l_pid))
}
