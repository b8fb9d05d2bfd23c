//! What a module weighs in the process that loads it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::cases::Calendar;
use crate::figures::{heading, line, quantile};
use crate::ground::{Ground, owner};
use crate::module::{Module, People};
use crate::run;
use crate::worker::MARK;

/// All that is weighed.
pub fn all(ground: &Ground, people: &People, calendar: &mut Calendar) {
    let titles = [
        "bytes",
        "relocs",
        "libraries",
        "dirty KB",
        "calls",
        "calls, next",
    ];
    heading("weight (+: over pam_permit)", &titles);
    let mut permit = None;
    for module in Module::ALL {
        let file = module.file(ground);
        let dirty = private_dirty(people, module, calendar);
        let [first, second] = calls(ground, people, module, calendar);
        let (dirty0, [first0, second0]) = *permit.get_or_insert((dirty, [first, second]));
        let size = file.metadata().expect("a module").len();
        line(
            module.name(),
            [
                size.to_string(),
                relocations(&file).to_string(),
                libraries(ground, &file).to_string(),
                format!("{:+}", dirty - dirty0),
                format!("{:+}", first - first0),
                format!("{:+}", second - second0),
            ],
        );
    }
}

/// Places that the dynamic linker changes at each load, each a write to a page that becomes private.
fn relocations(file: &Path) -> usize {
    let listing = run("readelf", ["-rW".as_ref(), file.as_os_str()]);
    // "Relocation section '.rela.dyn' at offset 0x4f8 contains 8 entries:", and for .relr.dyn "…contains 12 entries:",
    // "  180 offsets".
    let sections = listing
        .lines()
        .filter(|line| line.starts_with("Relocation section"));
    let plain = sections
        .filter(|line| !line.contains(".relr."))
        .map(|line| number_before(line, " entr"));
    let offsets = listing
        .lines()
        .filter(|line| line.trim_end().ends_with(" offsets"));
    plain
        .chain(offsets.map(|line| number_before(line, " offsets")))
        .sum()
}

fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().unwrap_or_default();
    let number = before.rsplit(' ').next().unwrap_or_default();
    number
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"))
}

/// Libraries that come with it and not with pam_permit.
fn libraries(ground: &Ground, file: &Path) -> usize {
    let of = |file: &Path| -> BTreeSet<String> {
        let listing = run("ldd", [file.as_os_str()]);
        let names = listing
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        names.map(str::to_owned).collect()
    };
    of(file)
        .difference(&of(&Module::Permit.file(ground)))
        .count()
}

/// Memory that a process has written to by its first login, in KB: the median of some.
fn private_dirty(people: &People, module: Module, calendar: &mut Calendar) -> i64 {
    let weigh = |moment: crate::cases::Moment| {
        let mut command = Command::new("/proc/self/exe");
        command.arg("weighed").arg(people.services());
        command.args([
            module.name(),
            &owner(0).0,
            &moment.time.to_string(),
            &moment.right,
        ]);
        let output = command.output().expect("a process");
        let said = String::from_utf8(output.stdout).expect("text");
        said.trim().parse().expect("a number")
    };
    let sizes = calendar.moments(5).into_iter().map(weigh);
    quantile(sizes.collect(), 0.5) as i64
}

/// System calls of the first and of the second login of a process. Reading a clock is none where nobody sets it.
fn calls(ground: &Ground, people: &People, module: Module, calendar: &mut Calendar) -> [i64; 2] {
    let trace = ground.path("trace");
    let moments = calendar.moments(2);
    // Of strace's own process /proc/self would be strace.
    let own = std::env::current_exe().expect("a program has a path");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).arg(own);
    command
        .arg("marked")
        .arg(people.services())
        .args([module.name(), &owner(0).0]);
    for moment in moments {
        command.args([moment.time.to_string(), moment.right]);
    }
    let status = command.status().expect("strace starts");
    assert!(status.success(), "{}: {status}", module.name());
    let text = std::fs::read_to_string(trace).expect("a trace");
    let mut logins = text.split_inclusive('\n').collect::<Vec<_>>();
    logins.retain(|line| !line.contains("clock_gettime("));
    let mut logins = logins
        .split(|line| line.contains(MARK))
        .map(|calls| calls.len() as i64);
    // What comes before the first one is the start of the process.
    logins.next();
    let mut next = || logins.next().expect("as many logins as marks");
    [next(), next()]
}
