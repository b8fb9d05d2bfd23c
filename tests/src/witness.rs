//! A process that watches itself while it logs in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::clock::EPOCH;
use crate::libpam::Code;
use crate::product::Scratch;

/// What comes of the witness, which is `program`, after `prelude` in a shell, in the scratch folder.
pub fn witness(
    program: &Path,
    scratch: &Scratch,
    prelude: &str,
    verb: &str,
    user: &str,
    answers: &[&str],
) -> Output {
    Command::new("sh")
        .args(["-c", &format!("{prelude}\nexec \"$@\""), "sh"])
        .arg(program)
        .arg(scratch.path("pam.d"))
        .args([verb, user, &EPOCH.to_string()])
        .args(answers)
        .current_dir(scratch.path(""))
        .output()
        .expect("a shell")
}

/// The codes that it printed.
pub fn codes(output: &Output) -> Vec<Code> {
    let out = String::from_utf8_lossy(&output.stdout);
    out.lines()
        .map(|code| Code(code.parse().expect("a number")))
        .collect()
}

/// What this process shows of itself: ids, masks, handlers, threads, limits, folder, files, environment.
pub fn process() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).expect("proc");
    let changing = [
        "Vm",
        "Rss",
        "Hugetlb",
        "voluntary",
        "nonvoluntary",
        "State",
        "SigQ",
    ];
    let status = read("status");
    let status: Vec<&str> = status
        .lines()
        .filter(|line| !changing.iter().any(|name| line.starts_with(name)))
        .collect();
    let link = |name: &str| fs::read_link(format!("/proc/self/{name}")).expect("proc");
    let mut files: Vec<_> = fs::read_dir("/proc/self/fd")
        .expect("proc")
        .filter_map(|file| {
            let file = file.expect("proc").path();
            Some((file.clone(), fs::read_link(file).ok()?))
        })
        .collect();
    files.sort();
    let threads = fs::read_dir("/proc/self/task").expect("proc").count();
    // SAFETY: takes no further argument and touches no memory of ours.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    format!(
        "{}\n{}\n{:?}\n{files:?}\n{threads} threads\ndumpable {dumpable}\n{}",
        status.join("\n"),
        read("limits"),
        link("cwd"),
        read("environ")
    )
}
