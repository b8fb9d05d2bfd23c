//! The protocol of a login on a state file (open, lock, check, read, judge, save, leave, answer), in every order that
//! processes can run in, killed, stopped or cut off from power anywhere. Stateright visits all states that there are;
//! and the protocol with a step left out or moved must break a promise, or this would show nothing.
//!
//! What is left out: a torn write (the slot file's own tests), and time: whoever is stopped in the lock is killed sooner
//! or later by whoever waits. Whoever is stopped anywhere else is like a dead one to all others.

use stateright::{Checker, HasDiscoveries, Model, Property};

/// The machine that processes log in on, or its like with a flaw.
struct Protocol {
    logins: usize,
    codes: u8,
    flaw: Option<Flaw>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    /// The person hears the verdict, then it is saved.
    AnswerBeforeSave,
    /// The verdict is written, the person hears it, then it is synced.
    AnswerBeforeSync,
    /// A process can die between the write and the sync of a save.
    KillBeforeSync,
    /// Nobody looks whether the locked file is still the one of that name.
    NoCheckOfTheName,
    /// The state is read, then locked.
    ReadBeforeLock,
    /// The lock that has a name is taken inside the other one, and let go before it.
    UnnamedLockFirst,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Machine {
    /// Sorted: which of two that are alike does something makes no difference.
    processes: Vec<Process>,
    /// All state files that ever had the name; the last one has it.
    files: Vec<StateFile>,
    is_after_power_cut: bool,
}

/// A state file as processes see it, and as it would be after a power cut.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct StateFile {
    memory: Record,
    /// `None` where nothing whole may be left.
    disk: Option<Record>,
}

impl StateFile {
    fn new(record: Record) -> Self {
        Self {
            memory: record,
            disk: Some(record),
        }
    }

    /// What is written takes the place of the older of two records. Where the newest has not reached the disk, that is
    /// the last one there, and a power cut may tear both.
    fn write(&mut self, record: Record) {
        self.disk = self.disk.filter(|disk| *disk == self.memory);
        self.memory = record;
    }

    fn sync(&mut self) {
        self.disk = Some(self.memory);
    }

    fn lose_power(&mut self) {
        self.memory = self.disk.unwrap_or_default();
    }
}

/// What is remembered of logins.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Record {
    /// Codes below are used up.
    floor: u8,
    /// Answers that were counted.
    answers: u8,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Process {
    task: Task,
    at: At,
    read: Option<Record>,
    is_right: Option<bool>,
    has_answered: bool,
    is_stopped: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Task {
    /// Somebody has typed a code.
    Login { code: u8 },
    /// totpctl puts another file in the place of this one.
    Replace,
}

/// How far a process is, with the number of the file that it has open.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum At {
    Start,
    Open(usize),
    /// In the outer lock.
    HalfLocked(usize),
    /// In both.
    Locked(usize),
    Checked(usize),
    Read(usize),
    /// In the call that saves, between its write and its sync.
    Written(usize),
    Saved(usize),
    /// Out of the inner lock.
    HalfFree(usize),
    Free,
    Ended,
    Dead,
}

impl At {
    fn outer_lock(self) -> Option<usize> {
        match self {
            Self::HalfLocked(file) | Self::HalfFree(file) => Some(file),
            _ => self.inner_lock(),
        }
    }

    fn inner_lock(self) -> Option<usize> {
        match self {
            Self::Locked(file)
            | Self::Checked(file)
            | Self::Read(file)
            | Self::Written(file)
            | Self::Saved(file) => Some(file),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// A process does its next step.
    Step(usize),
    /// A process that waits kills one that holds still in the lock.
    Kill {
        waiting: usize,
        holder: usize,
    },
    /// A process dies.
    Crash(usize),
    /// A process in the lock stops, for ever.
    Stop(usize),
    PowerCut,
}

impl Process {
    fn new(task: Task) -> Self {
        Self {
            task,
            at: At::Start,
            read: None,
            is_right: None,
            has_answered: false,
            is_stopped: false,
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self.at, At::Ended | At::Dead)
    }

    /// What was heard stays heard.
    fn go(&mut self, end: At) {
        self.at = end;
        self.read = None;
        self.is_right = self.is_right.filter(|_| self.has_answered);
        self.is_stopped = false;
    }
}

impl Machine {
    fn named(&self) -> usize {
        self.files.len() - 1
    }

    fn is_locked(&self, file: usize) -> bool {
        let mut processes = self.processes.iter();
        processes.any(|process| process.at.outer_lock() == Some(file))
    }

    fn accepted(&self, code: u8) -> usize {
        let got_in = |process: &&Process| {
            process.task == Task::Login { code }
                && process.has_answered
                && process.is_right == Some(true)
        };
        self.processes.iter().filter(got_in).count()
    }

    fn answered(&self) -> usize {
        self.processes
            .iter()
            .filter(|process| process.has_answered)
            .count()
    }
}

impl Protocol {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether others can learn the process's id from its lock.
    fn is_named(&self, process: &Process, file: usize) -> bool {
        let lock = match self.has(Flaw::UnnamedLockFirst) {
            true => process.at.inner_lock(),
            false => process.at.outer_lock(),
        };
        lock == Some(file)
    }

    /// The next step of a process; `None` where it has to wait.
    fn step(&self, before: &Machine, index: usize) -> Option<Machine> {
        let mut machine = before.clone();
        let named = machine.named();
        let process = &mut machine.processes[index];
        match process.at {
            At::Start => {
                process.at = At::Open(named);
                if self.has(Flaw::ReadBeforeLock) {
                    process.read = Some(machine.files[named].memory);
                }
            }
            At::Open(file) if before.is_locked(file) => return None,
            At::Open(file) => process.at = At::HalfLocked(file),
            At::HalfLocked(file) => process.at = At::Locked(file),
            At::Locked(file) if file == named || self.has(Flaw::NoCheckOfTheName) => {
                process.at = At::Checked(file);
            }
            At::Locked(_) => process.at = At::Open(named),
            At::Checked(file) => {
                process.read = process.read.or(Some(machine.files[file].memory));
                process.at = At::Read(file);
            }
            At::Read(file) => {
                let read = process.read?;
                match process.task {
                    Task::Login { code } => {
                        process.is_right = Some(code >= read.floor);
                        if self.has(Flaw::AnswerBeforeSave) && !process.has_answered {
                            process.has_answered = true;
                        } else {
                            process.at = At::Written(file);
                            process.read = None;
                            machine.files[file].write(Record {
                                floor: read.floor.max(code + 1),
                                answers: read.answers + 1,
                            });
                        }
                    }
                    Task::Replace => {
                        process.at = At::Saved(file);
                        process.read = None;
                        machine.files.push(StateFile::new(read));
                    }
                }
            }
            At::Written(_) if self.has(Flaw::AnswerBeforeSync) && !process.has_answered => {
                process.has_answered = true;
            }
            At::Written(file) => {
                process.at = At::Saved(file);
                machine.files[file].sync();
            }
            At::Saved(file) => process.at = At::HalfFree(file),
            At::HalfFree(_) => process.at = At::Free,
            At::Free => {
                process.has_answered = matches!(process.task, Task::Login { .. });
                process.go(At::Ended);
            }
            At::Ended | At::Dead => return None,
        }
        Some(machine)
    }

    /// Whether anybody can go on by themselves.
    fn can_go_on(&self, machine: &Machine) -> bool {
        let mut events = Vec::new();
        self.actions(machine, &mut events);
        let mut own = events
            .iter()
            .filter(|event| matches!(event, Event::Step(_) | Event::Kill { .. }));
        own.any(|event| self.next_state(machine, *event).is_some())
    }
}

impl Model for Protocol {
    type State = Machine;
    type Action = Event;

    /// All that could be typed.
    fn init_states(&self) -> Vec<Machine> {
        let mut states = vec![Vec::new()];
        for _ in 0..self.logins {
            let longer = states.iter().flat_map(|codes: &Vec<u8>| {
                let least = codes.last().copied().unwrap_or(0);
                (least..self.codes).map(|code| [codes.as_slice(), &[code]].concat())
            });
            states = longer.collect();
        }
        let machine = |codes: Vec<u8>| {
            let logins = codes
                .into_iter()
                .map(|code| Process::new(Task::Login { code }));
            Machine {
                processes: logins.chain([Process::new(Task::Replace)]).collect(),
                files: vec![StateFile::new(Record::default())],
                is_after_power_cut: false,
            }
        };
        states.into_iter().map(machine).collect()
    }

    fn actions(&self, machine: &Machine, events: &mut Vec<Event>) {
        for (index, process) in machine.processes.iter().enumerate() {
            if process.is_gone() {
                continue;
            }
            // A save is one call, which signals come before or after.
            let is_in_a_call = matches!(process.at, At::Written(_));
            let takes_signals = !is_in_a_call || self.has(Flaw::KillBeforeSync);
            if takes_signals {
                events.push(Event::Crash(index));
            }
            if process.is_stopped {
                continue;
            }
            events.push(Event::Step(index));
            if takes_signals && process.at.outer_lock().is_some() {
                events.push(Event::Stop(index));
            }
            if let At::Open(file) = process.at {
                let others = machine.processes.iter().enumerate();
                let holders =
                    others.filter(|(_, other)| other.is_stopped && self.is_named(other, file));
                events.extend(holders.map(|(holder, _)| Event::Kill {
                    waiting: index,
                    holder,
                }));
            }
        }
        if !machine.is_after_power_cut {
            events.push(Event::PowerCut);
        }
    }

    fn next_state(&self, before: &Machine, event: Event) -> Option<Machine> {
        let mut machine = match event {
            Event::Step(index) => self.step(before, index)?,
            _ => before.clone(),
        };
        match event {
            Event::Step(_) => {}
            Event::Crash(index) | Event::Kill { holder: index, .. } => {
                machine.processes[index].go(At::Dead)
            }
            Event::Stop(index) => machine.processes[index].is_stopped = true,
            Event::PowerCut => {
                machine.is_after_power_cut = true;
                for file in &mut machine.files {
                    file.lose_power();
                }
                let processes = machine.processes.iter_mut();
                // Those that have not started yet do so afterwards.
                for process in
                    processes.filter(|process| !process.is_gone() && process.at != At::Start)
                {
                    process.go(At::Dead);
                }
            }
        }
        machine.processes.sort();
        Some(machine)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |protocol: &Self, machine: &Machine| {
                (0..protocol.codes).all(|code| machine.accepted(code) <= 1)
            }),
            Property::always(COUNTED, |_, machine: &Machine| {
                let disk = machine.files[machine.named()].disk.unwrap_or_default();
                usize::from(disk.answers) >= machine.answered()
            }),
            Property::always(KEPT, |_, machine: &Machine| {
                machine.files.iter().all(|file| file.disk.is_some())
            }),
            // No run goes on for ever, so whoever can't go on would have to wait for ever.
            Property::always(NO_WAIT, |protocol: &Self, machine: &Machine| {
                let mut waiting = machine.processes.iter();
                let is_over = waiting.all(|process| process.is_gone() || process.is_stopped);
                is_over || protocol.can_go_on(machine)
            }),
            Property::sometimes(
                "all get in, one after the other",
                |protocol: &Self, machine: &Machine| {
                    (0..protocol.codes)
                        .map(|code| machine.accepted(code))
                        .sum::<usize>()
                        == protocol.logins
                },
            ),
            Property::sometimes(
                "the file is replaced between two logins",
                |_, machine: &Machine| {
                    machine.files.len() == 2
                        && machine.files[1].memory.answers == 2
                        && machine.files[0].memory.answers == 1
                },
            ),
        ]
    }
}

const ONCE: &str = "a code is accepted once";
const COUNTED: &str = "an answer that was heard is on the disk";
const KEPT: &str = "a whole record is on the disk";
const NO_WAIT: &str = "nobody waits for ever";

/// As many logins as `make model` says; three have more states than a test without optimisation gets through.
fn protocol(flaw: Option<Flaw>) -> Protocol {
    let logins =
        std::env::var("MODEL_LOGINS").map_or(2, |logins| logins.parse().expect("a whole number"));
    Protocol {
        logins,
        codes: 4,
        flaw,
    }
}

#[test]
fn no_order_of_steps_kills_and_stops_breaks_a_promise() {
    let protocol = protocol(None);
    let logins = protocol.logins;
    let checker = protocol.checker().spawn_bfs().join();
    checker.assert_properties();
    println!(
        "{logins} logins and a replacement: all of {} states",
        checker.unique_state_count()
    );
}

#[test]
fn a_step_left_out_or_moved_is_found() {
    for (flaw, broken) in [
        (Flaw::NoCheckOfTheName, ONCE),
        (Flaw::ReadBeforeLock, ONCE),
        (Flaw::AnswerBeforeSave, ONCE),
        (Flaw::AnswerBeforeSave, COUNTED),
        (Flaw::AnswerBeforeSync, ONCE),
        (Flaw::KillBeforeSync, KEPT),
        (Flaw::UnnamedLockFirst, NO_WAIT),
    ] {
        let found = HasDiscoveries::AllOf([broken].into());
        let checker = protocol(Some(flaw))
            .checker()
            .finish_when(found)
            .spawn_bfs()
            .join();
        let found = checker
            .discovery(broken)
            .unwrap_or_else(|| panic!("{flaw:?} did not break: {broken}"));
        println!(
            "{flaw:?} breaks \"{broken}\" in {} steps",
            found.into_actions().len()
        );
    }
}
