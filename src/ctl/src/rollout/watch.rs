//! What brings the old files back when nobody confirms: a process beside the rollout, and for after a reboot a timer.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::journal::{self, Journal, Stage};
use super::{is_over, log, undo};
use crate::context::Context;
use crate::failure::Failure;

const UNITS: &str = "/etc/systemd/system";
const TIMER: &str = "pam-totp-rollout.timer";
const SERVICE: &str = "pam-totp-rollout.service";
const CRON: &str = "/etc/cron.d/pam-totp-rollout";

/// Starts both.
///
/// # Errors
/// Where the process can't be started: without it nothing may be changed.
pub(super) fn start(context: &Context) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::unreachable(format_args!(
            "nothing would bring the old files back, so nothing was changed: {error}"
        ))
    };
    let program = std::env::current_exe().map_err(failed)?;
    let config = context.config_path.as_deref();
    // Of a session of its own: the end of this terminal is not its end.
    let mut watcher = Command::new("/usr/bin/setsid");
    watcher.arg("--fork").arg(&program);
    if let Some(config) = config {
        watcher.arg("--config").arg(config);
    }
    watcher
        .args(["rollout", "--expire", "--wait"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = watcher.status().map_err(failed)?;
    if !status.success() {
        return Err(failed(std::io::Error::other("setsid failed")));
    }
    let mut words = vec![program.display().to_string()];
    words.extend(config.map(|config| format!("--config {}", config.display())));
    install_timer(&words.join(" ")).map_err(|error| {
        Failure::unreachable(format_args!(
            "a timer that survives a reboot can't be made, so nothing was changed: {error}"
        ))
    })?;
    Ok(())
}

/// By systemd where it runs, else by cron.
fn install_timer(command: &str) -> std::io::Result<()> {
    if Path::new("/run/systemd/system").is_dir() {
        fs::write(
            Path::new(UNITS).join(SERVICE),
            format!(
                "[Unit]\nDescription=Takes a rollout of pam_totp back that nobody has confirmed\n\n\
                 [Service]\nType=oneshot\nExecStart={command} rollout --expire\n"
            ),
        )?;
        fs::write(
            Path::new(UNITS).join(TIMER),
            "[Unit]\nDescription=Looks whether a rollout of pam_totp is over its time\n\n\
             [Timer]\nOnBootSec=1s\nOnUnitActiveSec=30s\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
        )?;
        systemctl(&["daemon-reload"])?;
        return systemctl(&["enable", "--now", TIMER]);
    }
    if Path::new("/etc/cron.d").is_dir() {
        return fs::write(CRON, format!("* * * * * root {command} rollout --expire\n"));
    }
    Err(std::io::Error::other("neither systemd nor cron is there"))
}

fn systemctl(words: &[&str]) -> std::io::Result<()> {
    let output = Command::new("/usr/bin/systemctl")
        .args(words)
        .env_clear()
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

/// Ends the timer. The process ends by itself when it sees that there is nothing to wait for.
pub(super) fn stop() {
    if Path::new(UNITS).join(TIMER).exists() {
        let _ = systemctl(&["disable", "--now", TIMER]);
        let _ = fs::remove_file(Path::new(UNITS).join(TIMER));
        let _ = fs::remove_file(Path::new(UNITS).join(SERVICE));
        let _ = systemctl(&["daemon-reload"]);
    }
    let _ = fs::remove_file(CRON);
}

/// Waits until a rollout is over its time, or there is none any more, and takes it back then.
pub(super) fn wait(context: &Context, folder: &Path) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        {
            let _held = journal::hold(folder)?;
            let journal = Journal::read(folder)?;
            if !journal.is_some_and(|journal| journal.stage != Stage::Confirmed) {
                return Ok(());
            }
            // What can't be put back now may be in a moment.
            if take_back(context, folder).is_ok_and(|taken_back| taken_back) {
                return Ok(());
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Takes a rollout back that is over its time.
pub(super) fn expire(context: &Context, folder: &Path) -> Result<(), Failure> {
    let is_pending =
        Journal::read(folder)?.is_some_and(|journal| journal.stage != Stage::Confirmed);
    if !is_pending {
        journal::remove_drafts(folder);
        stop();
    }
    let taken_back = take_back(context, folder)?;
    let text = match taken_back {
        true => "Nobody has confirmed the rollout, and the old files are back.",
        false => "No rollout is over its time.",
    };
    context.print(text, &json!({ "reverted": taken_back }));
    Ok(())
}

fn take_back(context: &Context, folder: &Path) -> Result<bool, Failure> {
    let journal = Journal::read(folder)?.filter(|journal| journal.stage != Stage::Confirmed);
    let over = journal.filter(|journal| is_over(journal, context.system().now()));
    let Some(journal) = over else {
        return Ok(false);
    };
    undo(folder, &journal)?;
    log(context, "rollout-reverted", &journal);
    stop();
    Ok(true)
}
