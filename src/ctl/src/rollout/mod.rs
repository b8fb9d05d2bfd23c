//! `totpctl rollout`: turns the module on for a service, and off again unless somebody has logged in anew.
//!
//! What is to be changed, and what was there before, is on disk before anything changes (journal.rs). Whoever comes after
//! a kill, a full disk or a reboot puts the old files back by it: the next command, the watcher that runs beside the
//! rollout, or the timer that the system starts after a boot (watch.rs).

mod edit;
mod journal;
mod sshd;
mod watch;

use std::path::{Path, PathBuf};

use serde_json::json;
use similar::TextDiff;
use totp_core::doors::{Account, Caller, Conversation, Echo};
use totp_core::event::{Event, Severity};
use totp_core::flow::plan::{Next, plan};
use totp_core::flow::{Options, Request};
use totp_core::time::Time;
use totp_host::account::{account_of_uid, login_uid, real_uid};

use self::journal::{Change, Journal, Stage};
use crate::cli::{Rollout, RolloutStep};
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Rollout) -> Result<(), Failure> {
    if real_uid() != 0 {
        return Err(Failure::unreachable(
            "only root can change the stacks of services: run totpctl as root",
        ));
    }
    let folder = folder(context)?;
    if let RolloutStep::Expire { wait: true } = arguments.step() {
        return watch::wait(context, &folder);
    }
    // One at a time: whoever looks at the journal finds it as it is.
    let _held = journal::hold(&folder)?;
    match arguments.step() {
        RolloutStep::Begin(service) => begin(context, arguments, &folder, service),
        RolloutStep::Confirm => confirm(context, &folder),
        RolloutStep::Revert => revert(context, &folder),
        RolloutStep::Expire { .. } => watch::expire(context, &folder),
    }
}

/// Where the journal lies: beside the records, which survive a reboot.
fn folder(context: &Context) -> Result<PathBuf, Failure> {
    let state_dir = &context.config.state_dir;
    let parent = state_dir.parent().ok_or_else(|| {
        Failure::refused("state_dir has no folder beside it for what is saved: name another one")
    })?;
    Ok(parent.join("rollout"))
}

fn begin(
    context: &Context,
    arguments: &Rollout,
    folder: &Path,
    service: &str,
) -> Result<(), Failure> {
    refuse_strange(service, arguments.after_key)?;
    if let Some(journal) = Journal::read(folder)? {
        if journal.stage != Stage::Confirmed {
            return Err(Failure::refused(format_args!(
                "a rollout for {} is under way: end it by totpctl rollout --confirm or --revert",
                journal.service
            )));
        }
        if journal.service == service {
            return Err(Failure::refused(format_args!(
                "{service} was rolled out already: totpctl rollout --revert turns it off"
            )));
        }
    }
    let person = person(context, arguments)?;
    refuse_lockout(context, &person, service)?;
    let changes = changes(arguments, service)?;
    let mut terminal = Terminal::new(context.json);
    for change in &changes {
        terminal.tell(&shown(change));
    }
    let span = arguments.within;
    if !arguments.yes && !agreed(&mut terminal)? {
        return Err(Failure::refused("nothing was changed"));
    }

    let now = context.system().now();
    let mut journal = Journal {
        service: service.to_owned(),
        person: person.name.clone(),
        began: now,
        ends: now.after(span),
        stage: Stage::Prepared,
        changes,
    };
    journal.save(folder)?;
    let watched = watch::start(context);
    let applied = watched.and_then(|()| apply(&mut journal, folder));
    if let Err(failure) = applied {
        let undone = undo(folder, &journal);
        watch::stop();
        undone?;
        return Err(failure);
    }
    log(context, "rollout", &journal);
    let minutes = span.minutes_rounded_up();
    let text = format!(
        "{service} asks for a code now. In a NEW terminal, log in by {service} as {0} with a\n\
         code, and run there within {minutes} min:\n\n    totpctl rollout --confirm\n\n\
         Without that the old files come back at {1}. Keep this terminal open.",
        person.name, journal.ends
    );
    let document = json!({
        "service": service,
        "user": person.name,
        "reverts": journal.ends.to_string(),
        "files": journal.changes.iter().map(|change| &change.path).collect::<Vec<_>>(),
    });
    context.print(&text, &document);
    Ok(())
}

/// Whether this is a service whose stack can be changed like this.
fn refuse_strange(service: &str, after_key: bool) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if service.is_empty() || !service.bytes().all(is_plain) || service.starts_with("common-") {
        return Err(Failure::refused(format_args!(
            "{service:?} is no service with a stack of its own: name one, such as sshd"
        )));
    }
    if after_key && service != "sshd" {
        return Err(Failure::refused(
            "--after-key is for sshd alone: in other services the code would take the password's place",
        ));
    }
    Ok(())
}

/// Who has to get in: named, or whoever logged in to run this.
fn person(context: &Context, arguments: &Rollout) -> Result<Account, Failure> {
    if let Some(user) = &arguments.user {
        return context.account(user);
    }
    let login = login_uid().unwrap_or(real_uid());
    let account = account_of_uid(login).map_err(Failure::unreachable)?;
    account.ok_or_else(|| {
        Failure::refused("who runs this is no account: name one that can log in by --user")
    })
}

/// Whoever turns it on must get in afterwards.
fn refuse_lockout(context: &Context, person: &Account, service: &str) -> Result<(), Failure> {
    let request = Request {
        user: Some(&person.name),
        caller: Caller {
            service: service.to_owned(),
            address: totp_core::address::Address::Local,
            ssh_keys: Vec::new(),
            place: None,
        },
        options: Options::default(),
    };
    let (store, system) = (context.store(), context.system());
    let name = &person.name;
    let plan = plan(&request, Some(person), &context.config, &store, system)
        .map_err(|reason| Failure::refused(format_args!("{name} would be locked out: {reason}")))?;
    match plan.next {
        // The state has to be readable as well.
        Next::Ask => context.records(person).map(|_| ()),
        Next::Pass(_) => Err(Failure::refused(format_args!(
            "{name} is asked for no code by {service}, so a login of theirs would show nothing: totpctl enroll {name}, \
             or name somebody else by --user"
        ))),
        Next::Deny | Next::Enroll { .. } => Err(Failure::refused(format_args!(
            "{name} could not confirm, having no device: totpctl enroll {name} first, or name somebody else by --user"
        ))),
    }
}

/// The files as they are and as they will be.
fn changes(arguments: &Rollout, service: &str) -> Result<Vec<Change>, Failure> {
    let etc = Path::new("/etc");
    let stack = etc.join("pam.d").join(service);
    let mut changes = Vec::new();
    if service == "sshd" {
        let drop_in = etc.join("ssh/sshd_config.d/10-pam_totp.conf");
        changes.push(Change::of(drop_in, |_| {
            Ok(sshd::drop_in(arguments.after_key))
        })?);
    }
    changes.push(Change::of(stack.clone(), |text| {
        let text = text.ok_or_else(|| {
            Failure::refused(format_args!(
                "{}: there is no such stack: name a service that has one",
                stack.display()
            ))
        })?;
        edit::with_module(text, service, arguments.after_key)
            .map_err(|reason| Failure::refused(format_args!("{}: {reason}", stack.display())))
    })?);
    Ok(changes)
}

fn shown(change: &Change) -> String {
    let old = change.old.as_deref().unwrap_or_default();
    let path = change.path.display();
    let diff = TextDiff::from_lines(old, &change.new);
    let mut unified = diff.unified_diff();
    format!("{}", unified.header(&format!("{path}"), &format!("{path}")))
}

fn agreed(terminal: &mut Terminal) -> Result<bool, Failure> {
    let answer = terminal
        .ask("Make these changes? (yes) ", Echo::On)
        .map_err(|_| Failure::refused("nobody answered, and nothing was changed: say --yes"))?;
    Ok(answer.bytes().trim_ascii() == b"yes")
}

/// Puts the new files in place. On an error the journal says what to put back.
fn apply(journal: &mut Journal, folder: &Path) -> Result<(), Failure> {
    // What sshd asks for first, and only then what the stack leaves to it.
    for change in &journal.changes {
        change.put_new()?;
        if sshd::is_drop_in(&change.path) {
            sshd::check(&change.new)?;
            sshd::reload()?;
        }
    }
    journal.stage = Stage::Applied;
    journal.save(folder)
}

/// Puts the old files back.
fn undo(folder: &Path, journal: &Journal) -> Result<(), Failure> {
    journal.keep_edited(folder)?;
    for change in journal.changes.iter().rev() {
        change.put_old()?;
    }
    if journal.service == "sshd" {
        // An sshd that isn't running reads them when it starts.
        let _ = sshd::reload();
    }
    journal.tidy();
    Journal::remove(folder)
}

fn confirm(context: &Context, folder: &Path) -> Result<(), Failure> {
    let mut journal = pending(folder)?;
    let account = context.account(&journal.person)?;
    let (enrollment, state) = context.records(&account)?;
    let mut used = enrollment
        .devices
        .iter()
        .filter_map(|device| state.device(device.id)?.last_used);
    if !used.any(|time| time >= journal.began) {
        return Err(Failure::refused(format_args!(
            "no code of {0} was accepted since the rollout began: log in by {1} as {0} in a new terminal, and run this there. \
             The old files come back at {2}",
            journal.person, journal.service, journal.ends
        )));
    }
    journal.stage = Stage::Confirmed;
    journal.save(folder)?;
    watch::stop();
    log(context, "rollout-confirmed", &journal);
    let text = format!(
        "{} asks for a code from now on. To turn it off: totpctl rollout --revert",
        journal.service
    );
    context.print(
        &text,
        &json!({ "service": journal.service, "confirmed": true }),
    );
    Ok(())
}

fn revert(context: &Context, folder: &Path) -> Result<(), Failure> {
    let Some(journal) = Journal::read(folder)? else {
        return Err(Failure::refused(
            "there is no rollout to take back: no old files are kept",
        ));
    };
    undo(folder, &journal)?;
    watch::stop();
    log(context, "rollout-reverted", &journal);
    let text = format!("The old files of {} are back.", journal.service);
    context.print(
        &text,
        &json!({ "service": journal.service, "reverted": true }),
    );
    Ok(())
}

/// The rollout that waits for its confirmation.
fn pending(folder: &Path) -> Result<Journal, Failure> {
    match Journal::read(folder)? {
        Some(journal) if journal.stage == Stage::Applied => Ok(journal),
        Some(journal) if journal.stage == Stage::Confirmed => Err(Failure::refused(format_args!(
            "the rollout for {} is confirmed already",
            journal.service
        ))),
        _ => Err(Failure::refused(
            "no rollout waits to be confirmed: its old files are back, or there was none",
        )),
    }
}

fn log(context: &Context, name: &'static str, journal: &Journal) {
    let event = Event {
        user: Some(journal.person.clone()),
        until: (journal.stage == Stage::Applied).then_some(journal.ends),
        ..Event::new(Severity::Warning, name)
    };
    let what = format!("service {}", journal.service);
    context.log_as_actor(event.because(what));
}

/// Whether a rollout is over: its time has come, by a clock that may have been set meanwhile, or nobody makes it.
fn is_over(journal: &Journal, now: Time) -> bool {
    now >= journal.ends || now < journal.began || journal.is_abandoned()
}
