//! What brings the old files back when nobody confirms: a process beside the rollout, and for after a reboot a timer.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;
use totp_host::process::is_running;

use super::command::{is_systemd, systemctl};
use super::file::{remove_drafts, replace, sync, unwritable};
use super::{journal, log, undo};
use crate::context::Context;
use crate::failure::Failure;

const UNITS: &str = "/etc/systemd/system";
const TIMER: &str = "pam-totp-rollout.timer";
const SERVICE: &str = "pam-totp-rollout.service";
const CRON: &str = "/etc/cron.d/pam-totp-rollout";
/// Those that read /etc/cron.d.
const CRONS: [&str; 2] = ["cron", "crond"];

/// Starts both.
///
/// # Errors
/// Where one of them can't be: without them nothing may be changed.
pub(super) fn start() -> Result<(), Failure> {
    let program = std::env::current_exe();
    let program = program.map_err(failed)?;
    let words = [&text(&program)?, "rollout", "--expire"].map(str::to_owned);
    install_timer(&words)?;
    start_watcher(&words).map_err(failed)
}

fn failed(error: impl Display) -> Failure {
    Failure::unreachable(format_args!(
        "nothing would bring the old files back, so nothing was changed: {error}"
    ))
}

/// A path as a word of a unit or a line of cron.
fn text(path: &Path) -> Result<String, Failure> {
    let plain = path
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    plain.map(str::to_owned).ok_or_else(|| {
        Failure::refused(format_args!(
            "{}: no timer can be told this name: give it another one",
            path.display()
        ))
    })
}

/// A process of a session of its own: the end of this terminal is not its end.
fn start_watcher(words: &[String]) -> io::Result<()> {
    let mut setsid = Command::new("/usr/bin/setsid")
        .arg("--fork")
        .args(words)
        .arg("--wait")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut told = String::new();
    if let Some(stdout) = setsid.stdout.take() {
        BufReader::new(stdout).read_line(&mut told)?;
    }
    setsid.wait()?;
    match told == WATCHING {
        true => Ok(()),
        false => Err(io::Error::other("the process that waits did not start")),
    }
}

/// What the process says once it waits.
const WATCHING: &str = "watching\n";

/// By systemd where it runs, else by cron.
fn install_timer(words: &[String]) -> Result<(), Failure> {
    let put = |path: &Path, text: &str| {
        let mode = Permissions::from_mode(0o644);
        replace(path, text, |file| file.set_permissions(mode))
            .map_err(|error| failed(unwritable(path, &error, "this again").message()))
    };
    if is_systemd() {
        let command: Vec<String> = words.iter().map(|word| word_of_systemd(word)).collect();
        put(
            &Path::new(UNITS).join(SERVICE),
            &format!(
                "[Unit]\nDescription=Takes a rollout of pam_totp back that nobody has confirmed\n\n\
                 [Service]\nType=oneshot\nExecStart={}\n",
                command.join(" ")
            ),
        )?;
        put(
            &Path::new(UNITS).join(TIMER),
            "[Unit]\nDescription=Looks whether a rollout of pam_totp is over its time\n\n\
             [Timer]\nOnBootSec=1s\nOnUnitActiveSec=30s\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
        )?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", TIMER])?;
        // systemd does not: a power cut would leave a timer that nothing starts.
        let wanted = Path::new(UNITS).join("timers.target.wants").join(TIMER);
        if wanted.exists() {
            sync(&wanted).map_err(failed)?;
        }
        return systemctl(&["is-active", "--quiet", TIMER]);
    }
    if is_cron() {
        let command: Vec<String> = words.iter().map(|word| word_of_cron(word)).collect();
        // What it says is for a terminal; cron would mail it each minute. Errors it does.
        let line = format!("* * * * * root {} >/dev/null\n", command.join(" "));
        return put(Path::new(CRON), &line);
    }
    Err(no_timer())
}

/// Whether the machine runs a cron that would read our line.
fn is_cron() -> bool {
    is_running(&CRONS) && Path::new(CRON).parent().is_some_and(Path::is_dir)
}

fn no_timer() -> Failure {
    let what = "a timer that survives a reboot needs systemd or a running cron";
    failed(what)
}

/// Where nothing can start a timer, which nobody has to answer a question to hear.
pub(super) fn refuse_without_timer() -> Result<(), Failure> {
    match is_systemd() || is_cron() {
        true => Ok(()),
        false => Err(no_timer()),
    }
}

/// Quoted for ExecStart= (systemd.service(5), COMMAND LINES).
fn word_of_systemd(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", word.replace('%', "%%").replace('$', "$$"))
}

/// Quoted for the shell that cron runs (crontab(5)): cron takes the backslash before % away, whatever is around it.
fn word_of_cron(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''").replace('%', "\\%"))
}

/// Ends the timer. The process ends by itself when it sees that there is nothing to wait for.
pub(super) fn stop() {
    let (units, cron) = (Path::new(UNITS), Path::new(CRON));
    if units.join(TIMER).exists() || units.join(SERVICE).exists() {
        // One that still runs finds nothing to do, and tries this again.
        let _ = systemctl(&["disable", "--now", TIMER]);
        let _ = fs::remove_file(units.join(TIMER));
        let _ = fs::remove_file(units.join(SERVICE));
        let _ = systemctl(&["daemon-reload"]);
    }
    let _ = fs::remove_file(cron);
    for folder in [Some(units), cron.parent()].into_iter().flatten() {
        remove_drafts(folder);
    }
}

/// Waits until a rollout is over its time, or there is none any more, and takes it back then.
pub(super) fn wait(context: &Context, folder: &Path) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_secs(1);
    // Each try has sshd read its settings anew.
    const AFTER_FAILURE: Duration = Duration::from_secs(15);
    let mut out = io::stdout();
    let told = out
        .write_all(WATCHING.as_bytes())
        .and_then(|()| out.flush());
    told.map_err(Failure::unreachable)?;
    loop {
        match is_done(context, folder) {
            Ok(true) => return Ok(()),
            Ok(false) => thread::sleep(PAUSE),
            // What can't be read or put back now may be in a moment.
            Err(_) => thread::sleep(AFTER_FAILURE),
        }
    }
}

/// Whether nothing is left to wait for.
fn is_done(context: &Context, folder: &Path) -> Result<bool, Failure> {
    // The package was purged.
    if !folder.exists() {
        return Ok(true);
    }
    let _held = journal::hold(folder)?;
    Ok(journal::under_way(folder)?.is_none() || take_back(context, folder)?)
}

/// Takes a rollout back that is over its time.
pub(super) fn expire(context: &Context, folder: &Path) -> Result<(), Failure> {
    let _held = journal::hold(folder)?;
    if journal::under_way(folder)?.is_none() {
        remove_drafts(folder);
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
    let now = context.system().now();
    let journal = journal::under_way(folder)?;
    let over = journal.filter(|journal| journal.is_over(now) || journal.is_abandoned());
    let Some(journal) = over else {
        return Ok(false);
    };
    let remarks = undo(folder, &journal)?;
    log(context, "rollout-reverted", &journal, &remarks);
    stop();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_whoever_reads_them() {
        let word = r#"/a b/50%'"$x\"#;
        assert_eq!(word_of_systemd(word), r#""/a b/50%%'\"$$x\\""#);
        assert_eq!(word_of_cron(word), r#"'/a b/50\%'\''"$x\'"#);
    }
}
