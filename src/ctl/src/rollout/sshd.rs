//! sshd: its settings, checked and read anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::failure::Failure;

const PROGRAM: &str = "/usr/sbin/sshd";

/// The settings that the module needs.
pub(super) fn drop_in(after_key: bool) -> String {
    let (comment, password, methods) = match after_key {
        true => (
            "the key, then the code",
            "",
            "publickey,keyboard-interactive:pam",
        ),
        false => (
            "the password, then the code",
            "PasswordAuthentication no\n",
            "keyboard-interactive:pam",
        ),
    };
    format!(
        "# Written by totpctl rollout: {comment}.\nUsePAM yes\nKbdInteractiveAuthentication yes\n{password}\
         AuthenticationMethods {methods}\n"
    )
}

/// Whether sshd takes its settings, and takes ours: of two lines for one keyword the first one counts.
///
/// # Errors
/// What it says.
pub(super) fn check() -> Result<(), Failure> {
    run(Command::new(PROGRAM).arg("-t"))?;
    let settings = run(Command::new(PROGRAM).arg("-T"))?;
    let settings = String::from_utf8_lossy(&settings.stdout).into_owned();
    for (keyword, value) in [("usepam", "yes"), ("kbdinteractiveauthentication", "yes")] {
        let line = format!("{keyword} {value}");
        if !settings.lines().any(|found| found == line) {
            return Err(Failure::refused(format_args!(
                "sshd does not read /etc/ssh/sshd_config.d/*.conf, or something before it says otherwise: {keyword} is not \
                 {value} (sshd -T)"
            )));
        }
    }
    let methods = settings
        .lines()
        .find_map(|line| line.strip_prefix("authenticationmethods "));
    if !methods.is_some_and(|methods| methods.contains("keyboard-interactive:pam")) {
        return Err(Failure::refused(
            "another AuthenticationMethods comes before that of /etc/ssh/sshd_config.d/10-pam_totp.conf (sshd -T): \
             take it out",
        ));
    }
    Ok(())
}

/// Has a running sshd read its settings. Logins that are there stay.
///
/// # Errors
/// Where it can't be told to.
pub(super) fn reload() -> Result<(), Failure> {
    if Path::new("/run/systemd/system").is_dir() {
        return run(Command::new("systemctl").args(["reload", "ssh.service"])).map(|_| ());
    }
    let Ok(pid) = fs::read_to_string("/run/sshd.pid") else {
        return Ok(()); // none is running
    };
    run(Command::new("kill").args(["-HUP", pid.trim()])).map(|_| ())
}

fn run(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
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
