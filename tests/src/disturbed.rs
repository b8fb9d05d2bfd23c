//! Programs that are killed before one of their system calls, or have one fail. What they start is left alone: that a command
//! of the site's fails or is killed is in the tests of `command.rs`.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::NamedTempFile;

/// How a failing system call may fail.
pub const ERRORS: [&str; 7] = [
    "EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENOMEM", "EINTR",
];

/// How many programs of this process were disturbed.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// How many programs have been disturbed until now.
pub fn runs() -> usize {
    RUNS.load(Ordering::Relaxed)
}

/// The calls that start a process.
const FORKS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

/// What happens to each of a program's system calls, one in each run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plan {
    /// Killed before it.
    Kills,
    /// It fails with one of the errors, with another one at the next call.
    Faults,
    /// It fails with each of the errors.
    AllFaults,
    /// Killed before it by a power cut, which comes after the end in one more run.
    PowerCuts,
}

#[derive(Clone, Copy)]
enum Disturbance {
    Kill,
    Fault(&'static str),
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("signal=KILL"),
            Self::Fault(error) => write!(f, "error={error}"),
        }
    }
}

impl Plan {
    fn of_call(self, index: usize) -> Vec<Disturbance> {
        match self {
            Self::Kills | Self::PowerCuts => vec![Disturbance::Kill],
            Self::Faults => vec![Disturbance::Fault(ERRORS[index % ERRORS.len()])],
            Self::AllFaults => ERRORS.map(Disturbance::Fault).to_vec(),
        }
    }

    /// Runs `job` once to see its calls, and then once for each of those that are `of_interest`. `job` is made anew
    /// for each run, on what is there; `check` sees what was disturbed at the end of it.
    pub fn disturb(
        self,
        job: impl Fn() -> Job,
        of_interest: impl Fn(Vec<Call>) -> Vec<Call>,
        check: impl Fn(&Ended),
    ) {
        let all = job().calls();
        let is_alone = !all.iter().any(|call| FORKS.contains(&&*call.name));
        let calls = of_interest(all);
        assert!(!calls.is_empty());
        let (mut runs, mut hits) = (0, 0);
        for (index, call) in calls.iter().enumerate() {
            for disturbance in self.of_call(index) {
                let ended = job().disturbed(call, disturbance);
                runs += 1;
                hits += usize::from(ended.was_hit);
                check(&ended);
            }
        }
        if self == Self::PowerCuts {
            check(&job().undisturbed());
        }
        RUNS.fetch_add(runs, Ordering::Relaxed);
        println!(
            "{plan:?}: {hits} of {runs} runs hit: {:?}",
            job().command,
            plan = self
        );
        // Where a call fails, or a child is waited for, the numbers of those behind it may differ.
        let is_exact = self == Self::Kills && is_alone;
        let enough = hits == runs || !is_exact && hits * 10 > runs * 9;
        assert!(enough, "{hits} of {runs}");
    }
}

/// A program to be run, and what it is to read.
pub struct Job {
    command: Command,
    input: String,
}

/// A system call of a program.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments, as strace writes them.
    pub arguments: String,
    /// The how manieth of that name.
    count: usize,
}

impl Call {
    /// Whether it may have changed a file or made one durable.
    pub fn changes_files(&self) -> bool {
        match self.name.as_str() {
            "openat" => self.arguments.contains("O_CREAT"),
            "write" => !self.arguments.starts_with("1, "),
            name => [
                "fdatasync",
                "fsync",
                "ftruncate",
                "mkdirat",
                "pwrite64",
                "rename",
                "renameat",
                "renameat2",
                "unlink",
                "unlinkat",
            ]
            .contains(&name),
        }
    }
}

/// The end of a program that was disturbed.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it had printed by then.
    pub out: String,
    how: String,
    was_hit: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which ended with {}", self.how, self.status)
    }
}

impl Job {
    /// `command` is run with `input` on its standard input.
    pub fn new(command: Command, input: &str) -> Self {
        let input = input.to_owned();
        Self { command, input }
    }

    /// The system calls it makes where nothing disturbs it.
    fn calls(self) -> Vec<Call> {
        let (status, _, trace) = self.traced(&["-s", "64"]);
        assert!(status.success() || status.code().is_some(), "{status}");
        let mut counts = HashMap::<String, usize>::new();
        let lines = trace.lines().filter_map(|line| line.split_once('('));
        lines
            .map(|(name, arguments)| {
                let count = counts.entry(name.to_owned()).or_default();
                *count += 1;
                Call {
                    name: name.to_owned(),
                    arguments: arguments.to_owned(),
                    count: *count,
                }
            })
            .collect()
    }

    /// The end of it where nothing disturbs it.
    pub(crate) fn undisturbed(self) -> Ended {
        let (status, out, _) = self.traced(&["-e", "trace=none"]);
        Ended {
            how: format!("{:?}", self.command),
            status,
            out,
            was_hit: false,
        }
    }

    fn disturbed(self, call: &Call, disturbance: Disturbance) -> Ended {
        let Call { name, count, .. } = call;
        let traced = format!("trace={name}");
        let inject = format!("inject={name}:{disturbance}:when={count}");
        let how = format!("{:?} {inject}", self.command);
        let (status, out, trace) = self.traced(&["-e", &traced, "-e", &inject]);
        let was_hit = status.signal() == Some(9) || trace.contains("(INJECTED)");
        Ended {
            how,
            status,
            out,
            was_hit,
        }
    }

    /// How it ends under strace with `options`, what it prints, and the trace.
    pub(crate) fn traced(&self, options: &[&str]) -> (ExitStatus, String, String) {
        let trace = NamedTempFile::new().expect("a temporary file");
        let mut strace = Command::new("strace")
            .args(["-qq", "-o"])
            .arg(trace.path())
            .args(options)
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed");
        let mut input = strace.stdin.take().expect("a pipe");
        // Whoever is killed reads nothing.
        let _ = input.write_all(self.input.as_bytes());
        drop(input);
        let mut out = String::new();
        let mut output = strace.stdout.take().expect("a pipe");
        output.read_to_string(&mut out).expect("text");
        let status = strace.wait().expect("it ends");
        let trace = fs::read_to_string(trace.path()).expect("a trace");
        (status, out, trace)
    }
}
