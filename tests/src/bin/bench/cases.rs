//! The cases of one login at a time.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use end_to_end::clock::EPOCH;
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::HOME;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::figures::{self, Samples, Spent};
use crate::ground::{OWNERS, Place, UNENROLLED, UNKNOWN, owner};
use crate::module::{Module, People};
use crate::visit::Visit;

/// Where nobody has logged in from.
const ELSEWHERE: &str = "198.51.100.7";

/// The days of the bench.
pub struct Calendar {
    phone: Phone,
    next: i64,
}

/// A moment, and what is typed then.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Seconds since 1970.
    pub time: i64,
    /// The code of this moment.
    pub right: String,
    /// A code of no moment near it.
    pub wrong: String,
}

impl Calendar {
    /// Codes are those of `phone`.
    pub fn new(phone: Phone) -> Self {
        let next = EPOCH;
        Self { phone, next }
    }

    /// So many moments, four hours apart.
    pub fn moments(&mut self, count: usize) -> Vec<Moment> {
        let moment = |_| {
            let time = self.next;
            self.next += 4 * 3600;
            Moment {
                time,
                right: self.phone.code_at(time),
                wrong: self.phone.wrong_code_at(time),
            }
        };
        (0..count).map(moment).collect()
    }
}

/// Logins at one moment, measured by module.
struct Measured<'a> {
    services: PathBuf,
    modules: &'a [Module],
    samples: Vec<Samples>,
}

impl<'a> Measured<'a> {
    fn new(people: &People, modules: &'a [Module]) -> Self {
        Self {
            services: people.services(),
            modules,
            samples: vec![Samples::default(); modules.len()],
        }
    }

    /// Each module has a turn; another one is the first in each round.
    fn round(&mut self, round: usize, login: impl Fn(Module) -> (Code, Spent)) {
        let count = self.modules.len();
        for turn in 0..count {
            let index = (round + turn) % count;
            let (code, spent) = login(self.modules[index]);
            self.samples[index].add(spent, code == Code::SUCCESS);
        }
    }

    fn visits(&mut self, round: usize, visit: &Visit<'_>) {
        let services = self.services.clone();
        self.round(round, |module| {
            let service = module.name();
            Visit { service, ..*visit }.pay(&services)
        });
    }

    fn print(self, case: &str) {
        let names = self.modules.iter().map(|module| module.name());
        let measured: Vec<_> = names.zip(self.samples).collect();
        figures::print(case, &measured, Module::Ours.name());
    }
}

/// All that can happen to one answer.
pub fn all(place: &Place, people: &People, calendar: &mut Calendar, rounds: usize) {
    let new = |modules| Measured::new(people, modules);
    let (mut right, mut wrong, mut elsewhere, mut locked, mut unenrolled, mut unknown) = (
        new(&Module::ALL[..]),
        new(&Module::JUDGING[..]),
        new(&Module::JUDGING[..]),
        new(&Module::JUDGING[..]),
        new(&Module::JUDGING[..]),
        new(&Module::JUDGING[..]),
    );
    let (alice, bob) = (owner(0).0, owner(1).0);
    for (round, moment) in calendar.moments(rounds).iter().enumerate() {
        let at_home = |user, answer| Visit {
            service: "",
            user,
            address: HOME,
            time: moment.time,
            answer,
        };
        let stranger = |user| Visit {
            address: ELSEWHERE,
            ..at_home(user, &moment.wrong)
        };
        right.visits(round, &at_home(&alice, &moment.right));
        wrong.visits(round, &at_home(&alice, &moment.wrong));
        elsewhere.visits(round, &stranger(&bob));
        // Another one each round: nobody is to have had wrong answers lately but those that lock.
        let carol = owner(2 + round % (OWNERS - 2)).0;
        let refused = at_home(&carol, &moment.wrong);
        for module in Module::JUDGING {
            let service = module.name();
            for _ in 0..3 {
                Visit { service, ..refused }.pay(&people.services());
            }
        }
        locked.visits(round, &refused);
        unenrolled.visits(round, &stranger(UNENROLLED));
        unknown.visits(round, &stranger(UNKNOWN));
    }
    let place = &place.name;
    right.print(&format!("right code, {place}"));
    wrong.print(&format!("wrong code, {place}"));
    elsewhere.print(&format!("wrong code from elsewhere, {place}"));
    locked.print(&format!("locked, {place}"));
    unenrolled.print(&format!("not enrolled, {place}"));
    unknown.print(&format!("no such user, {place}"));
}

/// Right codes only.
pub fn right(place: &Place, people: &People, calendar: &mut Calendar, rounds: usize) {
    right_codes(people, calendar, rounds, &Module::ALL)
        .print(&format!("right code, {}", place.name));
}

/// Right codes of one among so many. pam_oath reads them all, so that whoever comes next finds nothing left in the
/// processor's caches: it is measured by itself.
pub fn growth(enrolled: usize, people: &People, calendar: &mut Calendar, rounds: usize) {
    let oath = [Module::Permit, Module::Oath];
    let others = [Module::Permit, Module::Floor, Module::Google, Module::Ours];
    for modules in [&others[..], &oath] {
        right_codes(people, calendar, rounds, modules)
            .print(&format!("right code, {enrolled} enrolled"));
    }
}

fn right_codes<'a>(
    people: &People,
    calendar: &mut Calendar,
    rounds: usize,
    modules: &'a [Module],
) -> Measured<'a> {
    let mut measured = Measured::new(people, modules);
    let alice = owner(0).0;
    for (round, moment) in calendar.moments(rounds).iter().enumerate() {
        let visit = Visit {
            service: "",
            user: &alice,
            address: HOME,
            time: moment.time,
            answer: &moment.right,
        };
        measured.visits(round, &visit);
    }
    measured
}

/// A process that starts, logs in once and ends.
pub fn fresh_processes(place: &Place, people: &People, calendar: &mut Calendar, rounds: usize) {
    let mut measured = Measured::new(people, &Module::ALL);
    let alice = owner(0).0;
    for (round, moment) in calendar.moments(rounds).iter().enumerate() {
        let login = |module: Module| {
            let mut command = Command::new("/proc/self/exe");
            command.arg("once").arg(people.services());
            command.args([
                module.name(),
                &alice,
                &moment.time.to_string(),
                &moment.right,
            ]);
            let (wall, cpu) = (Instant::now(), children_cpu());
            let status = command.status().expect("a process");
            let spent = Spent {
                wall: wall.elapsed(),
                cpu: children_cpu() - cpu,
            };
            (Code(status.code().expect("a code")), spent)
        };
        measured.round(round, login);
    }
    measured.print(&format!("fork, exec, first login, {}", place.name));
}

/// What the children that have ended have had of a processor.
fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("children are counted");
    [usage.user_time(), usage.system_time()]
        .map(|time: TimeVal| {
            Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64)
        })
        .iter()
        .sum()
}
