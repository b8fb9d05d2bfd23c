//! sshd: its settings, checked and read anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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
    run(Command::new(PROGRAM).arg("-t"))?;
    let settings = run(Command::new(PROGRAM).arg("-T"))?;
    let settings = String::from_utf8_lossy(&settings.stdout).to_ascii_lowercase();
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
    if Path::new("/run/systemd/system").is_dir() {
        return run(Command::new("/usr/bin/systemctl").args(["reload", "ssh.service"])).map(|_| ());
    }
    let Ok(pid) = fs::read_to_string("/run/sshd.pid") else {
        return Ok(()); // none is running
    };
    run(Command::new("/usr/bin/kill").args(["-HUP", pid.trim()])).map(|_| ())
}

fn run(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Whoever became root by su may have left a PATH of theirs.
    let output = command
        .env_clear()
        .output()
        .map_err(|error| Failure::unreachable(format_args!("{name}: {error}")))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Failure::refused(format_args!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
