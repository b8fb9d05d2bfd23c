//! A login that is held up in the middle of its save.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::EPOCH;
use crate::patience::wait_for;
use crate::product::{ACCOUNT, Scratch};
use crate::said::Said;

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
    /// With the save on disk.
    AfterSave,
}

impl Stop {
    const fn tampering(self) -> &'static str {
        match self {
            Self::BeforeRead => "flock:signal=STOP:when=1",
            Self::AfterSave => "pwrite64:signal=STOP",
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
        let state = scratch.state(ACCOUNT);
        let path = state.to_str().expect("a plain path");
        let inject = format!("inject={inject}");
        let calls = "trace=flock,pwrite64";
        let mut login = Command::new(contender);
        login.arg(scratch.path("pam.d")).args([
            "once",
            ACCOUNT,
            address,
            &EPOCH.to_string(),
            answer,
        ]);
        let options = ["-P", path, "-e", calls, "-e", &inject];
        let (held, _) = Self::start(scratch, &options, &login, Stdio::inherit());
        held
    }

    /// A command under strace with `options`, and what it prints.
    fn start(
        scratch: &Scratch,
        options: &[&str],
        command: &Command,
        complaints: Stdio,
    ) -> (Self, BufReader<ChildStdout>) {
        static TRACES: AtomicUsize = AtomicUsize::new(0);
        let number = TRACES.fetch_add(1, Ordering::Relaxed);
        let trace = scratch.path(&format!("trace{number}"));
        // Whoever runs the tests in the background of a shell has some signals ignored.
        let mut strace = Command::new("env")
            .args(["--default-signal=INT,QUIT", "strace", "-o"])
            .arg(&trace)
            .args(options)
            .args([
                "sh",
                "-c",
                "ulimit -c unlimited; echo $$; exec \"$@\"",
                "sh",
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(scratch.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .expect("strace is installed");
        let mut pid = String::new();
        let stdout = strace.stdout.take().expect("a pipe");
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut pid).expect("a line");
        let pid = pid.trim().parse().expect("a process id");
        let pid = Pid::from_raw(pid);
        (Self { strace, pid, trace }, stdout)
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

/// A command that is stopped on its way, of totpctl mostly.
pub struct Paused {
    held: Held,
    output: BufReader<ChildStdout>,
}

impl Paused {
    /// Stopped when it has opened a record of [`ACCOUNT`] for the `nth` time.
    pub fn at_open(scratch: &Scratch, words: &[&str], nth: usize) -> Self {
        let inject = format!("inject=openat:signal=STOP:when={nth}");
        // The name below its folder, as it is opened.
        let options = ["-P", ACCOUNT, "-e", &inject];
        Self::new(scratch, &scratch.command(words), &options)
    }

    /// Stopped when it has synced a file that is to take the place of a secret file.
    pub fn at_sync(scratch: &Scratch, words: &[&str]) -> Self {
        let inject = "inject=fsync:signal=STOP:when=1";
        let options = ["-e", "trace=fsync", "-e", inject];
        Self::new(scratch, &scratch.command(words), &options)
    }

    /// Stopped when it has saved a state.
    pub fn at_save(scratch: &Scratch, command: &Command) -> Self {
        let inject = "inject=pwrite64:signal=STOP:when=1";
        let options = ["-e", "trace=pwrite64", "-e", inject];
        Self::new(scratch, command, &options)
    }

    fn new(scratch: &Scratch, command: &Command, options: &[&str]) -> Self {
        let (held, output) = Held::start(scratch, options, command, Stdio::piped());
        held.wait_for("stopped by SIGSTOP");
        Self { held, output }
    }

    /// Lets it go on, and returns how it ended and what it said.
    pub fn end(mut self) -> Said {
        // Somebody may have killed it.
        let _ = kill(self.held.pid, Signal::SIGCONT);
        let (mut out, mut err) = (String::new(), String::new());
        self.output.read_to_string(&mut out).expect("text");
        let mut complaints = self.held.strace.stderr.take().expect("a pipe");
        complaints.read_to_string(&mut err).expect("text");
        let code = self.held.strace.wait().expect("a child").code();
        Said { code, out, err }
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
