//! A process that watches itself while it logs in.

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
