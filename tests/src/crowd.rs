//! Processes that log in at the same moment.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use crate::libpam::Code;
use crate::product::Scratch;

/// Processes that log in together, each again and again.
pub struct Crowd {
    gate: PathBuf,
    contenders: Vec<Contender>,
}

struct Contender {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// How one of the logins ended.
#[derive(Debug)]
pub struct Ended {
    /// What `pam_authenticate` returned.
    pub code: Code,
    /// All that was told beside prompts.
    pub told: String,
}

impl Ended {
    /// No code of libpam's: the process was killed before it had one.
    pub const KILLED: Code = Code(-1);

    /// Judged, and told so.
    pub fn is_wrong(&self) -> bool {
        self.code == Code::AUTH_ERR && self.told.starts_with("Invalid One Time Password!")
    }

    /// Reads `CODE TOLD`, as programs print it; nothing is what one that was killed prints.
    pub fn of(line: &str) -> Self {
        if line.is_empty() {
            let (code, told) = (Self::KILLED, String::new());
            return Self { code, told };
        }
        let (code, told) = line.split_once(' ').expect("a code and what was told");
        Self {
            code: Code(code.parse().expect("a number")),
            told: told.to_owned(),
        }
    }
}

impl Crowd {
    /// One process for each of `users`, which runs the program `contender`.
    pub fn new<'a>(
        contender: &Path,
        scratch: &Scratch,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::with_gate(contender, scratch, "gate", users)
    }

    /// The same with a gate of its own, for several crowds in one scratch folder.
    pub fn with_gate<'a>(
        contender: &Path,
        scratch: &Scratch,
        gate: &str,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let gate = scratch.path(gate);
        File::create(&gate).expect("a new file");
        let start = |user| {
            let mut process = Command::new(contender)
                .arg(scratch.path("pam.d"))
                .arg(&gate)
                .arg(user)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the contender starts");
            let input = process.stdin.take().expect("a pipe");
            let output = BufReader::new(process.stdout.take().expect("a pipe"));
            Contender {
                process,
                input,
                output,
            }
        };
        Self {
            contenders: users.into_iter().map(start).collect(),
            gate,
        }
    }

    /// The processes' ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.contenders.iter().map(|one| one.process.id())
    }

    /// Everybody gives an answer of `answers` from `address`, all released at once at `place`.
    pub fn rush<'a>(
        &mut self,
        place: &str,
        now: i64,
        address: &str,
        answers: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Ended> {
        self.rush_after(place, now, address, answers, || ())
    }

    /// The same, with something to do when all are ready.
    pub fn rush_after<'a>(
        &mut self,
        place: &str,
        now: i64,
        address: &str,
        answers: impl IntoIterator<Item = &'a str>,
        last: impl FnOnce(),
    ) -> Vec<Ended> {
        let gate = File::open(&self.gate).expect("the gate");
        let gate = Flock::lock(gate, FlockArg::LockExclusive).expect("nobody waits at the gate");
        for (contender, answer) in self.contenders.iter_mut().zip(answers) {
            writeln!(contender.input, "{place} {address} {now} {answer}").expect("it reads");
        }
        let ready: Vec<_> = self.contenders.iter_mut().map(Contender::ready).collect();
        last();
        drop(gate);
        let contenders = self.contenders.iter_mut().zip(ready);
        contenders
            .map(|(one, ended)| ended.unwrap_or_else(|| one.ended()))
            .collect()
    }
}

impl Contender {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("lines of text");
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits until it waits; `None` unless its login has ended by then.
    fn ready(&mut self) -> Option<Ended> {
        let line = self.line();
        (line != "ready").then(|| Ended::of(&line))
    }

    fn ended(&mut self) -> Ended {
        Ended::of(&self.line())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may be waiting for a line or at the gate, and has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
