//! sshd: its settings, checked and read anew.

use std::fs;
use std::path::Path;

use totp_host::process::Process;

use super::command;
use crate::failure::Failure;

const PROGRAM: &str = "/usr/sbin/sshd";

/// The settings that the module needs.
pub(super) fn drop_in(after_key: bool) -> String {
    let (comment, methods) = match after_key {
        true => (
            "the key, then the code",
            "publickey,keyboard-interactive:pam",
        ),
        false => ("the password, then the code", "keyboard-interactive:pam"),
    };
    format!(
        "# Written by totpctl rollout: {comment}.\nUsePAM yes\nKbdInteractiveAuthentication yes\n\
         PasswordAuthentication no\nAuthenticationMethods {methods}\n"
    )
}

/// Whether that is the file of our settings.
pub(super) fn is_drop_in(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "conf")
}

/// Whether sshd takes its settings, and ours as they are: of two lines for one keyword the first one counts.
///
/// # Errors
/// What it says.
pub(super) fn check(drop_in: &str) -> Result<(), Failure> {
    let settings = command::run(PROGRAM, &["-T"])?;
    let settings = settings.to_ascii_lowercase();
    for line in drop_in.lines().filter(|line| !line.starts_with('#')) {
        let line = line.to_ascii_lowercase();
        if !settings.lines().any(|found| found == line) {
            return Err(Failure::refused(format_args!(
                "sshd does not take {line:?} (sshd -T): it does not read /etc/ssh/sshd_config.d/*.conf, or another line \
                 comes before that of 10-pam_totp.conf: take it out"
            )));
        }
    }
    Ok(())
}

/// Has a running sshd read its settings. Logins that are there stay.
///
/// # Errors
/// Where it can't be told to.
pub(super) fn reload() -> Result<(), Failure> {
    // Where a socket starts it for each login there is nothing to tell, and systemctl reload would fail.
    for unit in ["ssh.service", "sshd.service"] {
        if command::is_systemd() && command::systemctl(&["is-active", "--quiet", unit]).is_ok() {
            refuse_mistakes()?;
            return command::systemctl(&["reload", unit]);
        }
    }
    let id = fs::read_to_string("/run/sshd.pid").ok();
    let id = id.and_then(|id| id.trim().parse().ok());
    // The file may have outlived it, and the number belong to another.
    let runs = |id: &u32| Process::of(*id).is_some_and(|process| process.program == "sshd");
    match id.filter(runs) {
        Some(id) => {
            refuse_mistakes()?;
            command::run("/usr/bin/kill", &["-HUP", &id.to_string()]).map(|_| ())
        }
        None => Ok(()),
    }
}

/// An sshd that is told to read settings with a mistake ends, and nobody gets in by it.
fn refuse_mistakes() -> Result<(), Failure> {
    command::run(PROGRAM, &["-t"]).map(|_| ())
}
