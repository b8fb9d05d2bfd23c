//! `totpctl rollout`: turns the module on for a service, and off again unless somebody has logged in anew.
//!
//! What is to be changed, and what was there before, is on disk before anything changes (journal.rs). Whoever comes after
//! a kill, a full disk or a reboot puts the old files back by it: the next command, the watcher that runs beside the
//! rollout, or the timer that the system starts after a boot (watch.rs). It stays once a process of a new login says so
//! (proof.rs).

mod command;
mod edit;
mod file;
mod instruction;
mod journal;
mod proof;
mod sshd;
mod watch;

use std::path::{Path, PathBuf};

use serde_json::json;
use similar::TextDiff;
use totp_core::doors::{Account, Conversation, Echo, Store, Subject, System};
use totp_core::event::{Event, Severity};
use totp_core::flow::plan::{Next, plan};
use totp_core::throttle::Standing;
use totp_core::time::Time;
use totp_host::account::{account_of_uid, login_uid, real_uid};
use totp_host::process::Moment;

use self::file::Change;
pub(crate) use self::journal::FOLDER;
use self::journal::{Journal, Stage};
use self::proof::{Missing, can_be_told, has_code, new_login, used_backup_codes};
use crate::cli::{Rollout, RolloutStep, Which};
use crate::context::Context;
use crate::doctor::{self, Finding, Refused, people};
use crate::example;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Rollout) -> Result<(), Failure> {
    if real_uid() != 0 {
        return Err(Failure::unreachable(match arguments.step() {
            RolloutStep::Confirm => "only root can confirm: sudo totpctl rollout --confirm",
            _ => "only root can change the stacks of services: run totpctl as root",
        }));
    }
    let folder = Path::new(journal::FOLDER);
    match arguments.step() {
        RolloutStep::Begin(service) => begin(context, arguments, folder, service),
        RolloutStep::Confirm => confirm(context, folder),
        RolloutStep::Revert(which) => revert(context, folder, &which),
        RolloutStep::Expire { wait: false } => watch::expire(context, folder),
        RolloutStep::Expire { wait: true } => watch::wait(context, folder),
    }
}

/// Where the old files of a service are kept that was rolled out.
pub(crate) fn journal_of(service: &str) -> PathBuf {
    journal::path(Path::new(journal::FOLDER), service)
}

/// A rollout that nobody has confirmed yet.
pub(crate) struct Pending {
    pub(crate) service: String,
    /// When the old files come back.
    pub(crate) ends: Time,
    pub(crate) journal: PathBuf,
    /// What somebody has to do first who confirms it.
    pub(crate) login: String,
    pub(crate) command: &'static str,
}

/// The one whose journal is in a folder, where it can be read.
pub(crate) fn pending(folder: &Path, system: &dyn System) -> Option<Pending> {
    let journal = journal::under_way(folder).ok()??;
    let service = journal.service;
    let account = system.account(&journal.person).ok()??;
    Some(Pending {
        ends: journal.ends,
        journal: journal::path(folder, &service),
        login: instruction::login(&service, &account).replace('\n', " "),
        command: instruction::command(&service, &account),
        service,
    })
}

/// Whether a service is one that can be rolled out.
///
/// # Errors
/// Why it is none.
pub(crate) fn takes(service: &str) -> Result<(), Failure> {
    refuse_strange(service, false)?;
    change_of_stack(service, false)?;
    refuse_unconfirmable(service)
}

fn begin(
    context: &Context,
    arguments: &Rollout,
    folder: &Path,
    service: &str,
) -> Result<(), Failure> {
    refuse_strange(service, arguments.after_key)?;
    refuse_second(folder, service)?;
    let person = person(context, arguments)?;
    refuse_lockout(context, &person, service, arguments.after_key)?;
    if let Some(place) = doctor::place_in(service) {
        return Err(Failure::refused(format_args!(
            "{service} asks for a code already: pam_totp.so is in its stack ({place})"
        )));
    }
    let changes = changes(arguments, service)?;
    refuse_unconfirmable(service)?;
    watch::refuse_without_timer()?;
    let mut terminal = Terminal::new(context.json);
    for change in &changes {
        terminal.tell(&shown(change));
    }
    let refused = refuse_danger(context, &person, service, &changes, &mut terminal)?;
    if !refused.is_empty() {
        terminal.tell(&format!("{refused}\n"));
    }
    let span = arguments.within;
    if !arguments.yes && !agreed(&mut terminal)? {
        return Err(Failure::refused("nothing was changed"));
    }

    // Nobody waits for whoever had not answered yet, so this may have another beginning by now.
    let held = journal::hold(folder)?;
    refuse_second(folder, service)?;
    changes.iter().try_for_each(Change::refuse_edited)?;
    let (_, state) = context.records(&person)?;
    let now = context.system().now();
    let mut journal = Journal {
        service: service.to_owned(),
        person: person.name.clone(),
        backup_codes: used_backup_codes(&state),
        began: now,
        ends: now.after(span),
        stage: Stage::Prepared,
        changes,
    };
    journal.save(folder)?;
    let watched = watch::start();
    let applied = watched.and_then(|()| apply(&mut journal, folder));
    if let Err(failure) = applied {
        let undone = undo(folder, &journal);
        watch::stop();
        let remarks = undone?;
        return Err(failure.with(&remarks));
    }
    log(context, "rollout", &journal, &[]);
    // A terminal that takes no text must not keep the old files from coming back.
    drop(held);
    let minutes = span.minutes_rounded_up();
    let text = format!(
        "{service} asks for a code now. {}, and run there within {minutes} min:\n\n    {}\n\n{}\
         Without that the old files come back at {}. Keep this terminal open.",
        instruction::login(service, &person),
        instruction::command(service, &person),
        instruction::without_sudo(service, &person),
        journal.ends
    );
    let document = json!({
        "service": service,
        "user": person.name,
        "reverts": journal.ends.to_string(),
        "files": journal.changes.iter().map(|change| &change.path).collect::<Vec<_>>(),
        "refused": refused.document(),
    });
    context.print(&text, &document);
    Ok(())
}

/// Where another one waits for its confirmation, or this one is done.
fn refuse_second(folder: &Path, service: &str) -> Result<(), Failure> {
    if let Some(journal) = journal::under_way(folder)? {
        return Err(Failure::refused(format_args!(
            "a rollout for {} is under way: end it by totpctl rollout --confirm or --revert",
            journal.service
        )));
    }
    match Journal::read(folder, service)? {
        None => Ok(()),
        Some(_) => Err(Failure::refused(format_args!(
            "{service} was rolled out already: totpctl rollout --revert {service} turns it off"
        ))),
    }
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

/// Where nobody could confirm it: those services run no commands, or nothing tells their logins from others.
fn refuse_unconfirmable(service: &str) -> Result<(), Failure> {
    match can_be_told(service) {
        true => Ok(()),
        false => Err(Failure::refused(format_args!(
            "no login by {service} can confirm it: that takes sshd, sudo, sudo-i, su or login, or a service whose session \
             lines have pam_loginuid.so. Edit its stack by hand, after {}",
            example::words()
        ))),
    }
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
fn refuse_lockout(
    context: &Context,
    person: &Account,
    service: &str,
    after_key: bool,
) -> Result<(), Failure> {
    let request = people::request(person, service, false);
    let (store, system) = (context.store(), context.system());
    let name = &person.name;
    let plan = plan(&request, Some(person), &context.config, &store, system)
        .map_err(|reason| Failure::refused(format_args!("{name} would be locked out: {reason}")))?;
    match plan.next {
        Next::Ask => {}
        Next::Pass(_) => {
            return Err(Failure::refused(format_args!(
                "{name} is asked for no code by {service}, so a login of theirs would show nothing: totpctl enroll {name}, \
                 or name somebody else by --user"
            )));
        }
        Next::Deny | Next::Enroll { .. } => {
            return Err(Failure::refused(format_args!(
                "{name} could not confirm, having no device: totpctl enroll {name} first, or name somebody else by --user"
            )));
        }
    }
    let (enrollment, _) = context.records(person)?;
    let serves = |device| enrollment.serves(device, &[]);
    if !after_key && enrollment.contacts.is_empty() && !enrollment.devices.iter().any(serves) {
        return Err(Failure::refused(format_args!(
            "no device of {name} counts by {service}, where no ssh key is shown: totpctl device unbind {name}, or name \
             somebody else by --user"
        )));
    }
    match store
        .standing(Subject::Enrolled(person), &request.caller)?
        .0
    {
        Standing::Open { .. } => Ok(()),
        Standing::Refused(refusal) => Err(Failure::refused(format_args!(
            "{name} is locked out until {}: totpctl unlock {name}",
            refusal.until
        ))),
    }
}

/// What doctor would say of the new files; told where it is no reason to leave them alone. Returns whom they refuse.
fn refuse_danger(
    context: &Context,
    person: &Account,
    service: &str,
    changes: &[Change],
    terminal: &mut Terminal,
) -> Result<Refused, Failure> {
    let changed = changes
        .iter()
        .map(|change| (change.path.clone(), change.new.clone()));
    let (findings, refused) = doctor::foresee(context, service, person, changed.collect())?;
    for finding in findings.iter() {
        if finding.forbids() {
            return Err(Failure::refused(format_args!(
                "nothing was changed: with the new files totpctl doctor would find this. Mend it first, or edit them by hand, \
                 after {}:\n\n{finding}",
                example::words()
            )));
        }
        terminal.tell(&format!("{finding}\n"));
    }
    Ok(refused)
}

/// The files as they are and as they will be.
fn changes(arguments: &Rollout, service: &str) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    if service == "sshd" {
        let drop_in = PathBuf::from("/etc/ssh/sshd_config.d/10-pam_totp.conf");
        changes.push(Change::of(drop_in, |_| {
            Ok(sshd::drop_in(arguments.after_key))
        })?);
    }
    changes.push(change_of_stack(service, arguments.after_key)?);
    Ok(changes)
}

fn change_of_stack(service: &str, after_key: bool) -> Result<Change, Failure> {
    let stack = Path::new("/etc/pam.d").join(service);
    Change::of(stack.clone(), |text| {
        let text = text.ok_or_else(|| {
            Failure::refused(format_args!(
                "{}: there is no such stack: name a service that has one",
                stack.display()
            ))
        })?;
        edit::with_module(text, service, after_key).map_err(|reason| by_hand(&stack, &reason))
    })
}

fn by_hand(stack: &Path, reason: &str) -> Failure {
    Failure::refused(format_args!(
        "{}: {reason}: edit it by hand, after {}",
        stack.display(),
        example::words()
    ))
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
        .ask("Make these changes? Type yes: ", Echo::On)
        .map_err(|_| Failure::refused("nobody answered, and nothing was changed: say --yes"))?;
    let word = answer.bytes().trim_ascii();
    Ok([&b"yes"[..], b"y"]
        .iter()
        .any(|yes| word.eq_ignore_ascii_case(yes)))
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
    let moment = Moment::now().ok_or_else(|| {
        Failure::unreachable("/proc can't be read, by which a new login is told from an old one")
    })?;
    journal.stage = Stage::Applied(moment);
    journal.save(folder)?;
    // Who logs in as soon as this has returned is newer.
    std::thread::sleep(Moment::RESOLUTION);
    Ok(())
}

/// Puts the old files back; what somebody should know of that. What was confirmed may have been edited in the weeks since:
/// that stays. Of the rest nothing matters but that everybody gets in as before.
fn undo(folder: &Path, journal: &Journal) -> Result<Vec<String>, Failure> {
    let back = |change: &Change| match journal.stage {
        Stage::Confirmed => change.without_ours(),
        Stage::Prepared | Stage::Applied(_) => Ok(change.whole()),
    };
    let backs: Vec<_> = journal.changes.iter().map(back).collect::<Result<_, _>>()?;
    let mut remarks = Vec::new();
    for (change, back) in journal.changes.iter().zip(&backs).rev() {
        if let Some(kept) = change.put_back(back, &journal.service)? {
            let (path, kept) = (change.path.display(), kept.display());
            remarks.push(format!(
                "{path} was edited meanwhile: what was in it is in {kept}"
            ));
        }
    }
    if journal.service == "sshd" {
        if let Err(failure) = sshd::reload() {
            let what = failure.message();
            remarks.push(format!(
                "sshd does not know of it yet, and goes on with the settings of the rollout: {what}: have it reload them"
            ));
        }
    }
    journal.remove(folder)?;
    Ok(remarks)
}

fn confirm(context: &Context, folder: &Path) -> Result<(), Failure> {
    let _held = journal::hold(folder)?;
    let under_way = journal::under_way(folder)?;
    let applied = under_way.and_then(|journal| match journal.stage.clone() {
        Stage::Applied(moment) => Some((journal, moment)),
        Stage::Prepared | Stage::Confirmed => None,
    });
    let (mut journal, applied) = applied.ok_or_else(|| {
        Failure::refused(
            "no rollout waits to be confirmed: it is confirmed, its old files are back, or there was none",
        )
    })?;
    let account = context.account(&journal.person)?;
    let (service, person, ends) = (&journal.service, &journal.person, journal.ends);
    let command = instruction::command(service, &account);
    let login = instruction::login(service, &account).replace('\n', " ");
    let age = new_login(service, &account, &applied).map_err(|missing| {
        let what = match missing {
            Missing::Login => format!("this is no login by {service} since the rollout began"),
            Missing::Person => format!("this login by {service} is not {person}'s"),
        };
        Failure::refused(format_args!(
            "{what}. {login}, and run there, outside of screen and tmux: {command}. The old files come back at {ends}"
        ))
    })?;
    let (_, state) = context.records(&account)?;
    let since = context.system().now().before(age);
    if !has_code(&state, service, since, journal.backup_codes) {
        let unasked = match service.as_str() {
            "su" | "su-l" => "root's own su asks for nothing (pam_rootok). ",
            "sudo" | "sudo-i" => {
                "For some minutes after an answer sudo asks for nothing in the same terminal: run sudo -k first. "
            }
            _ => "",
        };
        return Err(Failure::refused(format_args!(
            "no code of {person} was accepted by {service} since this login began. {unasked}{login}, and run there: \
             {command}. Where no code is asked for, the place is trusted (totpctl trust clear {person}) or something leads \
             around the module (totpctl doctor). The old files come back at {ends}"
        )));
    }
    journal.stage = Stage::Confirmed;
    journal.save(folder)?;
    watch::stop();
    log(context, "rollout-confirmed", &journal, &[]);
    let service = &journal.service;
    let text = format!(
        "{service} asks for a code from now on. To turn it off: totpctl rollout --revert {service}"
    );
    context.print(&text, &json!({ "service": service, "confirmed": true }));
    Ok(())
}

fn revert(context: &Context, folder: &Path, which: &Which<'_>) -> Result<(), Failure> {
    let _held = journal::hold(folder)?;
    let Some(journal) = chosen(folder, which)? else {
        watch::stop();
        context.print(
            "No rollout waits for its confirmation.",
            &json!({ "reverted": false }),
        );
        return Ok(());
    };
    let is_confirmed = journal.stage == Stage::Confirmed;
    let remarks = undo(folder, &journal)?;
    if !is_confirmed {
        watch::stop();
    }
    log(context, "rollout-reverted", &journal, &remarks);
    let service = &journal.service;
    let still_asks = doctor::place_in(service);
    let mut lines = vec![match (is_confirmed, &still_asks) {
        (true, None) => format!("{service} asks for no code any more."),
        _ => format!("The old files of {service} are back."),
    }];
    lines.extend(still_asks.iter().map(|place| {
        format!("But {service} still asks for a code: pam_totp.so is in its stack ({place}).")
    }));
    lines.extend(remarks.iter().map(|remark| format!("But {remark}.")));
    // Done is done: where it can't be told what comes of it, that is no failure.
    let dangers = match still_asks {
        Some(_) => doctor::dangers(context, service).unwrap_or_default(),
        None => Vec::new(),
    };
    lines.extend(dangers.iter().map(|finding| format!("\n{finding}")));
    let document = json!({
        "service": service,
        "reverted": true,
        "still_asks": still_asks,
        "remarks": remarks,
        "findings": dangers.iter().map(Finding::document).collect::<Vec<_>>(),
    });
    context.print(&lines.join("\n"), &document);
    Ok(())
}

/// The journal that is meant.
fn chosen(folder: &Path, which: &Which<'_>) -> Result<Option<Journal>, Failure> {
    if let Which::Of(service) = which {
        refuse_strange(service, false)?;
        let journal = Journal::read(folder, service)?;
        return journal.map(Some).ok_or_else(|| {
            Failure::refused(format_args!(
                "{service} was not rolled out, or taken back already: no old files of it are kept"
            ))
        });
    }
    let under_way = journal::under_way(folder)?;
    if under_way.is_some() || matches!(which, Which::Unconfirmed) {
        return Ok(under_way);
    }
    let mut journals = journal::all(folder)?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    match (journals.pop(), journals.as_slice()) {
        (None, _) => Err(Failure::refused(
            "there is no rollout to take back: no old files are kept",
        )),
        (Some(only), []) => Ok(Some(only)),
        (Some(last), others) => {
            let names = others.iter().chain([&last]).map(|one| one.service.as_str());
            Err(Failure::refused(format_args!(
                "several services were rolled out: name one: totpctl rollout --revert {}",
                names.collect::<Vec<_>>().join(" | ")
            )))
        }
    }
}

fn log(context: &Context, name: &'static str, journal: &Journal, remarks: &[String]) {
    let event = Event {
        user: Some(journal.person.clone()),
        until: matches!(journal.stage, Stage::Applied(_)).then_some(journal.ends),
        ..Event::new(Severity::Warning, name)
    };
    let mut what = vec![format!("service {}", journal.service)];
    what.extend_from_slice(remarks);
    context.log_as_actor(event.because(what.join("; ")));
}
