//! A person at a terminal.

use std::fs;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use rexpect::error::Error;
use rexpect::session::{PtySession, spawn_command};

use crate::log::Log;

/// A program on a pty, and whoever reads and types there.
pub struct Terminal {
    session: PtySession,
    process: Pid,
    log: Arc<Log>,
    seen: String,
}

impl Terminal {
    /// Runs `command` on a terminal of its own. What is typed in answer to a prompt must not occur in `log`.
    pub fn open(command: Command, log: Arc<Log>) -> Self {
        Self::open_patiently(command, log, DEADLINE)
    }

    /// The same, where everything may take as long as `deadline`.
    pub fn open_patiently(command: Command, log: Arc<Log>, deadline: Duration) -> Self {
        // Whoever runs the tests in the background of a shell has Ctrl-C ignored.
        const TELL_AND_BECOME: &str = "echo $$; exec env --default-signal=INT,QUIT \"$@\"";
        let mut telling_its_pid = Command::new("/bin/sh");
        telling_its_pid
            .args(["-c", TELL_AND_BECOME, "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        let deadline_ms = u64::try_from(deadline.as_millis()).expect("some minutes");
        let mut session = spawn_command(telling_its_pid, Some(deadline_ms)).expect("a terminal");
        keep_from_children();
        let pid = session.read_line().expect("the program's id");
        let process = Pid::from_raw(pid.parse().expect("a number"));
        let seen = String::new();
        Self {
            session,
            process,
            log,
            seen,
        }
    }

    /// Waits until `text` is shown and returns what was shown since the last wait, `text` included.
    #[track_caller]
    pub fn see(&mut self, text: &str) -> String {
        // The session reads each byte as a character.
        let text: String = text.bytes().map(char::from).collect();
        let before = self.session.exp_string(&text);
        let mut shown = self.expected(&text, before);
        shown.push_str(&text);
        self.seen.push_str(&text);
        shown
    }

    /// Waits for `prompt` and answers it with something confidential.
    #[track_caller]
    pub fn answer(&mut self, prompt: &str, secret: &str) -> &mut Self {
        self.log.keep_secret(secret);
        self.see(prompt);
        self.enter(secret)
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> &mut Self {
        self.session.send_line(line).expect("the program reads");
        self
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&mut self) {
        self.session.send_control('c').expect("the program reads");
    }

    /// Presses Ctrl and a key.
    pub fn press(&mut self, key: char) {
        self.session.send_control(key).expect("the program reads");
    }

    /// Continues nsenter, which stops itself when what it runs is stopped.
    pub fn wake(&self) {
        kill(self.process, Signal::SIGCONT).expect("it lives");
    }

    /// Waits for the end of a program that succeeds and says nothing but `last_words` before it.
    #[track_caller]
    pub fn assert_ends_well(&mut self, last_words: &str) {
        let ending = self.end();
        assert_eq!(
            (ending.status, ending.said.trim()),
            (0, last_words),
            "after:\n{}",
            self.seen
        );
    }

    /// Waits for the end of the program and returns what was shown since the last wait.
    #[track_caller]
    pub fn end(&mut self) -> Ending {
        let rest = self.session.exp_eof();
        let said = self.expected("the end", rest);
        let status = match self.session.process().wait() {
            Ok(WaitStatus::Exited(_, status)) => status,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            other => panic!("the program ended with {other:?} after:\n{}", self.seen),
        };
        Ending { status, said }
    }

    /// Kills the program and waits for its end.
    pub fn kill(self) {
        kill(self.process, Signal::SIGKILL).expect("it lives");
        self.session.process().wait().expect("it ends");
    }

    /// Everything shown up to the last wait.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    #[track_caller]
    fn expected(&mut self, what: &str, read: Result<String, Error>) -> String {
        let read = read.unwrap_or_else(|error| {
            panic!("waited for {what:?}: {error}\nbefore that:\n{}", self.seen)
        });
        self.seen.push_str(&read);
        read
    }
}

impl Drop for Terminal {
    /// Hangs up. Closing the master would not do: another test's child may have inherited it.
    fn drop(&mut self) {
        let id = self.process;
        // The children of nsenter lead the sessions: the kernel passes the signal on to whoever is in them.
        let children =
            fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
        {
            // One that has just ended needs no signal.
            let _ = kill(Pid::from_raw(child), Signal::SIGHUP);
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ending {
    /// Its exit status, as a shell tells it.
    pub status: i32,
    /// What it said last.
    pub said: String,
}

/// Longer than every delay that pam_unix, login and sshd add to a refusal, taken together.
const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps our ends of all terminals from the programs that are started by other tests: where one of them has such an end
/// too, a terminal that is dropped does not hang up. rexpect leaves them open to all.
#[allow(unsafe_code)]
fn keep_from_children() {
    for entry in fs::read_dir("/proc/self/fd").expect("descriptors") {
        let path = entry.expect("an entry").path();
        if !fs::read_link(&path).is_ok_and(|target| target.ends_with("ptmx")) {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse().ok()).expect("a number");
        // SAFETY: whether it is closed by an exec is all that is changed, of whatever has that number by now.
        let end = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}
