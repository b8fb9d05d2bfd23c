//! Programs of the system, run as root.

use std::path::Path;
use std::process::Command;

use crate::failure::Failure;

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// What it complained about.
pub(super) fn run(program: &str, words: &[&str]) -> Result<String, Failure> {
    // Whoever became root by su may have left a PATH of theirs.
    let output = Command::new(program)
        .args(words)
        .env_clear()
        .output()
        .map_err(|error| Failure::unreachable(format_args!("{program}: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::refused(format_args!(
            "{program} {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Whether systemd runs the machine (sd_booted(3)).
pub(super) fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

pub(super) fn systemctl(words: &[&str]) -> Result<(), Failure> {
    run("/usr/bin/systemctl", words).map(|_| ())
}
