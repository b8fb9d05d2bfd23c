//! Many who log in at the same moment, each as somebody else.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use end_to_end::libpam::Code;
use nix::fcntl::{Flock, FlockArg};

use crate::cases::{Calendar, Moment};
use crate::figures::{heading, line, quantile};
use crate::ground::{OWNERS, Place, owner};
use crate::module::{Module, People};

/// Processes that log in by one module, all at once.
struct Crowd {
    gate: PathBuf,
    people: Vec<Person>,
}

struct Person {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// All crowds.
pub fn all(place: &Place, people: &People, calendar: &mut Calendar, rounds: usize) {
    for count in [1, 8, OWNERS] {
        let mut crowds = Module::ALL.map(|module| Crowd::gather(people, module, count));
        let mut ended = Module::ALL.map(|_| Vec::new());
        for (round, moment) in calendar.moments(rounds).iter().enumerate() {
            for turn in 0..crowds.len() {
                let index = (round + turn) % crowds.len();
                ended[index].push(crowds[index].rush(moment));
            }
        }
        let about = format!("{count} at the same moment, {}", place.name);
        heading(
            &about,
            &["median µs", "p99 µs", "last µs", "ours ÷", "let in"],
        );
        let last =
            |logins: &Vec<(Code, f64)>| logins.iter().map(|login| login.1).fold(0.0, f64::max);
        let ours: Vec<_> = ended.last().expect("ours").iter().map(last).collect();
        for (module, rounds) in Module::ALL.iter().zip(&ended) {
            let all: Vec<_> = rounds.iter().flatten().collect();
            let walls: Vec<_> = all.iter().map(|login| login.1).collect();
            let let_in = all.iter().filter(|login| login.0 == Code::SUCCESS).count();
            let lasts: Vec<_> = rounds.iter().map(last).collect();
            let ratios = ours.iter().zip(&lasts).map(|(ours, it)| ours / it);
            line(
                module.name(),
                [
                    format!("{:.0}", quantile(walls.clone(), 0.5)),
                    format!("{:.0}", quantile(walls, 0.99)),
                    format!("{:.0}", quantile(lasts.clone(), 0.5)),
                    format!("{:.2}", quantile(ratios.collect(), 0.5)),
                    format!("{:.0} %", 100.0 * let_in as f64 / all.len() as f64),
                ],
            );
        }
    }
}

impl Crowd {
    fn gather(people: &People, module: Module, count: usize) -> Self {
        let gate = people.services().join("gate");
        File::create(&gate).expect("a new file");
        let start = |number| {
            let mut process = Command::new("/proc/self/exe")
                .arg("crowd")
                .arg(people.services())
                .args([module.name(), &owner(number).0])
                .arg(&gate)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let input = process.stdin.take().expect("a pipe");
            let output = BufReader::new(process.stdout.take().expect("a pipe"));
            Person {
                process,
                input,
                output,
            }
        };
        Self {
            people: (0..count).map(start).collect(),
            gate,
        }
    }

    /// The code of each and the microseconds it took.
    fn rush(&mut self, moment: &Moment) -> Vec<(Code, f64)> {
        let gate = File::open(&self.gate).expect("the gate");
        let gate = Flock::lock(gate, FlockArg::LockExclusive).expect("nobody waits at the gate");
        for person in &mut self.people {
            writeln!(person.input, "{} {}", moment.time, moment.right).expect("it reads");
        }
        for person in &mut self.people {
            assert_eq!(person.line(), "ready");
        }
        drop(gate);
        self.people.iter_mut().map(Person::ended).collect()
    }
}

impl Person {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("lines of text");
        line.trim_end().to_owned()
    }

    fn ended(&mut self) -> (Code, f64) {
        let line = self.line();
        let (code, nanoseconds) = line.split_once(' ').expect("a code and a time");
        let took = Duration::from_nanos(nanoseconds.parse().expect("a number"));
        (
            Code(code.parse().expect("a number")),
            took.as_secs_f64() * 1e6,
        )
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
