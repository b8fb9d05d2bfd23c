//! The folders and records: whether each can be used, and whether each belongs to somebody.

use std::collections::BTreeSet;
use std::path::Path;

use totp_core::config::Config;
use totp_core::doors::{Account, System};
use totp_core::throttle::{Codes, Standing};
use totp_host::error::{Damage, StoreError};
use totp_host::file::{Fault, FileError};
use totp_host::folder::Folder;
use totp_host::slot::SlotError;
use totp_host::store::FileStore;
use totp_host::volume::{self, Kind, Volume};

use super::covered;
use super::delivery::{self, Recipients};
use super::finding::{Finding, Findings};
use super::people::Accounts;
use crate::failure::Failure;
use crate::mount;

/// Looks at all that a configuration names. `is_used` is whether any login depends on it.
///
/// # Errors
/// Where this user must not look.
pub(crate) fn look(
    config: &Config,
    accounts: &Accounts<'_>,
    is_used: bool,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut is_usable = true;
    for (id, path) in [
        ("secret-folder", &config.secret_dir),
        ("state-folder", &config.state_dir),
    ] {
        let meaning =
            "The module can't tell who is enrolled, and denies every login that needs a code.";
        match Folder::open(path) {
            Ok(_) => volume(path, id == "state-folder", findings),
            Err(error) if error.is_denied() => return Err(denied(&error)),
            Err(error) => {
                is_usable = false;
                if error.is_missing() && !is_used {
                    continue;
                }
                let (fact, mend) = match error.is_missing() {
                    true => (
                        format!("{} does not exist.", path.display()),
                        format!("install -d -m 700 {}", path.display()),
                    ),
                    false => advice(&error),
                };
                findings.add(Finding::new(id, fact, meaning, mend).at(path, None));
            }
        }
    }
    if let Err(error) = Folder::open(&config.run_dir) {
        if !error.is_missing() {
            let (fact, mend) = advice(&error);
            let meaning = "Wrong answers can't be counted by address: two codes in a row are asked for everywhere.";
            findings.add(Finding::new("run-folder", fact, meaning, mend).at(&config.run_dir, None));
        }
    }
    if !is_usable {
        return Ok(());
    }
    covered::look(config, findings);
    if let Err(error) = totp_host::store::check_is_kept(config) {
        let (fact, mend) = advice(&error);
        let meaning =
            "Whoever has no secret in it is denied, since it can't be told who was enrolled.";
        findings
            .add(Finding::new("secret-folder", fact, meaning, mend).at(&config.secret_dir, None));
    }
    records(config, accounts, findings)
}

fn denied(error: &impl std::fmt::Display) -> Failure {
    Failure::unreachable(format_args!("{error}: run totpctl as root"))
}

/// The fact, and what mends it, of a sentence that has both.
fn advice(error: &FileError) -> (String, String) {
    let text = error.to_string();
    let has_both = !matches!(
        error.fault,
        Fault::Io { .. } | Fault::NotDurable { .. } | Fault::Entropy | Fault::Missing
    );
    match text.rsplit_once(": ").filter(|_| has_both) {
        Some((fact, mend)) => (format!("{fact}."), mend.to_owned()),
        None => (
            format!("{text}."),
            "Look at the disk, and at dmesg.".to_owned(),
        ),
    }
}

fn volume(path: &Path, is_states: bool, findings: &mut Findings) {
    const LITTLE: u64 = 16 << 20;
    const FEW: u64 = 64;
    let Ok(volume) = Volume::of(path) else {
        return;
    };
    let folder = path.display();
    let mut add = |id, fact: String, meaning: &str, mend: String| {
        findings.add(Finding::new(id, fact, meaning, mend).at(path, None));
    };
    if is_states && volume.is_read_only {
        add(
            "state-folder",
            format!("{folder} is on a file system that is mounted read-only."),
            "No answer can be counted, so every login that needs a code is denied.",
            format!(
                "{}        # after a look at dmesg: an error may have made it so",
                mount::remount(path)
            ),
        );
    }
    match (volume.kind, is_states) {
        (Kind::Network, true) => add(
            "network-file-system",
            format!("{folder} is on a network or FUSE file system."),
            "Locks and syncs are not reliable there, so the module refuses it: every login that needs a code is denied.",
            "state_dir = \"/var/lib/pam_totp/state\"        # or another folder on a local disk"
                .to_owned(),
        ),
        (Kind::Network, false) => add(
            "secrets-on-network",
            format!("{folder} is on a network or FUSE file system."),
            "Nobody gets in while it can't be reached.",
            "secret_dir = \"/var/lib/pam_totp/secrets\"".to_owned(),
        ),
        (Kind::CopyOnWrite, true) if !is_in_place(path) => add(
            "copy-on-write",
            format!("{folder} is on a file system that copies what is overwritten."),
            "Each answer takes new space: when the disk is full, every login that needs a code is denied.",
            format!(
                "chattr +C {folder}        # of btrfs, then: totpctl repair --all; else another file system"
            ),
        ),
        _ => {}
    }
    if volume.free < LITTLE && !volume.is_read_only {
        add(
            "space",
            format!(
                "{} KiB are free on the file system of {folder}.",
                volume.free >> 10
            ),
            "Logins go on, since states are overwritten in place; nobody can enroll, rotate or be repaired.",
            "Make room on that file system.".to_owned(),
        );
    }
    if let Some(free) = volume.free_files.filter(|free| *free < FEW) {
        add(
            "inodes",
            format!("{free} more files fit on the file system of {folder}."),
            "Logins go on; nobody can enroll, rotate or be repaired.",
            "Remove files from that file system.".to_owned(),
        );
    }
}

/// Whether the files in a folder are told to be overwritten in place.
fn is_in_place(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut flags = files.map(|file| volume::is_overwritten_in_place(&file.path()));
    flags.all(|flag| flag.unwrap_or(false))
}

fn records(
    config: &Config,
    accounts: &Accounts<'_>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let store = FileStore::new(config, accounts);
    let names = store.enrolled_names()?;
    let mut recipients = Recipients::new();
    for name in &names {
        let path = file_of(&config.secret_dir, name);
        match accounts.account(name) {
            Err(error) => findings.add(
                Finding::new(
                    "account-unknown",
                    format!("Whether there is an account {name} can't be told: {error}."),
                    "Logins are denied as long as the name service doesn't answer.",
                    format!("getent passwd {name}"),
                )
                .at(path, None),
            ),
            Ok(None) => findings.add(
                Finding::new(
                    "account-gone",
                    format!("There is a secret of {name}, and no such account."),
                    "An account that gets that name and user id later has the old owner's codes.",
                    format!("totpctl reset {name} --force"),
                )
                .at(path, None),
            ),
            Ok(Some(account)) => match store.records(&account) {
                Ok(Some((enrollment, state))) => {
                    standing(config, accounts, name, &state, findings);
                    for contact in &enrollment.contacts {
                        let channel = contact.recipient.channel();
                        recipients.entry(channel).or_default().push(name);
                    }
                }
                Ok(None) => {}
                Err(StoreError::File(error)) if error.is_denied() => return Err(denied(&error)),
                Err(error) => findings.add(record(&error, &account, &path)),
            },
        }
    }
    // The programs of another tree are not run from here.
    if accounts.are_this_machines() {
        delivery::look(config, &store, &recipients, findings);
    }
    let enrolled: BTreeSet<&String> = names.iter().collect();
    match store.state_names() {
        Ok(states) => {
            for name in states.iter().filter(|name| !enrolled.contains(name)) {
                findings.add(
                    Finding::new(
                        "state-orphaned",
                        format!("There is a state of {name}, who has no secret."),
                        "It is left from a removal that was cut off, and does no harm.",
                        format!("totpctl reset {name} --force"),
                    )
                    .at(file_of(&config.state_dir, name), None),
                );
            }
        }
        // The folder has been looked at.
        Err(StoreError::File(_)) => {}
        Err(error) => return Err(error.into()),
    }
    invites(&store, config, accounts, &enrolled, findings)
}

fn file_of(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(totp_core::record::file_name(name).unwrap_or_default())
}

/// Records that can't be used, by what is wrong with them.
fn record(error: &StoreError, account: &Account, secret: &Path) -> Finding {
    let name = &account.name;
    let repair = format!("totpctl repair {name}");
    let renew = format!("totpctl reset {name} --force && totpctl enroll {name}");
    let denied = format!("{name} is denied wherever a code is needed.");
    let new = |id, fact: String, mend: String, path: &Path| {
        Finding::new(id, fact, denied.clone(), mend).at(path, None)
    };
    match error {
        StoreError::NoState(path) => {
            let fact = format!("{name} has a secret and no state, so used codes are not known.");
            new("state-missing", fact, repair, path)
        }
        StoreError::State(path, damage) => match damage {
            Damage::Slot(SlotError::Version { .. }) => new(
                "state-newer",
                format!("The state of {name}: {damage}."),
                format!("Install the newer pam_totp again, or: totpctl repair {name} --force"),
                path,
            ),
            Damage::Slot(SlotError::Io { .. }) => new(
                "record-unusable",
                format!("The state of {name}: {damage}."),
                "Look at the disk, and at dmesg.".to_owned(),
                path,
            ),
            _ => new(
                "state-damaged",
                format!("The state of {name} is damaged: {damage}."),
                repair,
                path,
            ),
        },
        StoreError::Secret(path, reason) => new(
            "secret-damaged",
            format!("The secret of {name} can't be understood: {reason}."),
            renew,
            path,
        ),
        StoreError::Uid {
            enrolled, found, ..
        } => new(
            "account-renewed",
            format!("{name} was enrolled as user id {enrolled}, and has {found} now."),
            renew,
            secret,
        ),
        StoreError::File(file) => {
            let (fact, mend) = advice(file);
            new("file-unsafe", fact, mend, &file.path)
        }
        other => new("record-unusable", format!("{other}."), renew, secret),
    }
}

/// Who has typed so many wrong codes that no more are judged.
fn standing(
    config: &Config,
    accounts: &Accounts<'_>,
    name: &str,
    state: &totp_core::record::State,
    findings: &mut Findings,
) {
    let now = accounts.now();
    for place in &state.tally.places {
        let source = config.source(&place.address);
        let (id, fact) = match state.standing(&source, &config.limits, now) {
            Standing::Refused(refusal) => (
                "locked",
                format!(
                    "{name} is refused from {} until {}.",
                    place.address, refusal.until
                ),
            ),
            Standing::Open {
                codes: Codes::Two, ..
            } => (
                "two-codes",
                format!("{name} needs two codes in a row from {}.", place.address),
            ),
            Standing::Open { .. } => continue,
        };
        findings.add(Finding::new(
            id,
            fact,
            "Too many wrong codes came from there; other places are not concerned.",
            format!("totpctl unlock {name}"),
        ));
    }
}

fn invites(
    store: &FileStore<'_>,
    config: &Config,
    accounts: &Accounts<'_>,
    enrolled: &BTreeSet<&String>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    for name in store.invited_names()? {
        let account = accounts.account(&name).ok().flatten();
        let invite = account.as_ref().map(|account| store.invite_of(account));
        let path = config.secret_dir.join(format!(
            ".invite-{}",
            totp_core::record::file_name(&name).unwrap_or_default()
        ));
        let mend = format!("totpctl invite {name} --revoke");
        let finding = match invite {
            _ if enrolled.contains(&name) => Finding::new(
                "invite-orphaned",
                format!("There is an invite for {name}, who is enrolled."),
                "It is good for nothing, and stays until it is taken back.",
                mend,
            ),
            None => Finding::new(
                "invite-orphaned",
                format!("There is an invite for {name}, and no such account."),
                "An account that gets that name and user id later could use it.",
                format!("totpctl reset {name} --force"),
            ),
            Some(Ok(Some(invite))) if invite.expires <= accounts.now() => Finding::new(
                "invite-expired",
                format!("The invite for {name} has run out at {}.", invite.expires),
                "It lets nobody enroll any more.",
                format!("totpctl invite {name}        # a new one, or --revoke"),
            ),
            Some(Ok(_)) => continue,
            Some(Err(error)) => Finding::new(
                "invite-orphaned",
                format!("The invite for {name} can't be used: {error}."),
                format!("{name} can't enroll with it."),
                format!("totpctl invite {name}        # a new one, or --revoke"),
            ),
        };
        findings.add(finding.at(path, None));
    }
    Ok(())
}
