//! `totpctl backup-codes` and `totpctl backup-key`: what serves somebody without a device, made and shown once.

use std::io::{self, Write};

use serde_json::json;
use totp_core::backup_code::{BackupCode, BackupKey, BackupSet, Symbols};
use totp_core::delivery::backup_codes_message;
use totp_core::doors::Account;
use totp_core::event::{Change, Event, Severity};
use totp_core::record::{Enrollment, State};
use totp_host::store::Backup;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// How many codes are left.
pub(crate) fn count_codes(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let (enrollment, state) = context.records(&account)?;
    let left = codes_left(&enrollment, &state);
    let text = match (&enrollment.backup_codes, left) {
        (None, _) => format!(
            "{name} has no backup codes: totpctl backup-codes {name} --regenerate makes some"
        ),
        (Some(_), None) => format!(
            "The backup codes of {name} are void, since the state was repaired: totpctl backup-codes {name} \
             --regenerate makes new ones"
        ),
        (Some(_), Some(left)) => format!("{name} has {left} backup codes left."),
    };
    let is_made = enrollment.backup_codes.is_some();
    let document = json!({ "user": name, "made": is_made, "left": left.unwrap_or(0) });
    context.print(&text, &document);
    Ok(())
}

/// How many codes are left; `None` where none were made, or the state does not know them.
pub(crate) fn codes_left(enrollment: &Enrollment, state: &State) -> Option<u8> {
    let set = enrollment.backup_codes.as_ref()?;
    Some(state.set(set.id)?.left_of(set.hashes.len()))
}

/// Whether there is a key, and the state knows it.
pub(crate) fn has_key(enrollment: &Enrollment, state: &State) -> bool {
    let set = enrollment.backup_key.as_ref();
    set.is_some_and(|set| state.set(set.id).is_some())
}

/// Makes new codes; those of before are void.
pub(crate) fn make_codes(context: &Context, user: &str, print: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.records(&account)?;
    output::refuse_closed()?;
    let count = usize::from(context.config.backup_codes.get());
    let (codes, set): (Vec<BackupCode>, _) = made(context, count)?;
    let store = context.store();
    store.replace_backup(&account, Backup::Codes, Some(&set))?;
    context.changed(Change::BackupCodesMade, &account, None);

    let name = &account.name;
    let hint = format!(
        "They are shown this once. Each lets {name} in once, in place of a code from\n\
         the app. Those of before are void."
    );
    let shown: Vec<_> = codes.iter().map(Symbols::shown).collect();
    let shown: Vec<&str> = shown.iter().map(|code| code.as_str()).collect();
    let block = block(context, &account, "Backup codes", 2, &shown);
    let document = json!({ "user": name, "codes": shown });
    if context.config.mail_backup_codes {
        send_by_mail(context, &account, &block);
    }
    context.print_once(&with_hint(block, &hint, print), &document)
}

/// Sends codes to the mail address of an account. They are shown in any case: what can't be sent is only said.
fn send_by_mail(context: &Context, account: &Account, codes: &str) {
    let (name, system) = (&account.name, context.system());
    let Some(recipient) = context.store().owner_of(account) else {
        return say(format_args!(
            "{name} has no mail address: the codes are shown here only"
        ));
    };
    let mail = backup_codes_message(codes, &recipient, name, &context.config.mail, system);
    let event = Event {
        user: Some(name.clone()),
        ..Event::new(Severity::Notice, "sent")
    };
    match mail.and_then(|mail| system.deliver(&mail)) {
        Ok(()) => {
            let to = recipient.for_log();
            context.log_as_actor(event.because(format_args!("backup codes by mail to {to}")));
            say(format_args!(
                "the codes are sent by mail to {recipient} as well"
            ));
        }
        Err(reason) => {
            let failed = Event {
                severity: Severity::Error,
                name: "unsent",
                ..event
            };
            context.log_as_actor(failed.because(format_args!("backup codes by mail: {reason}")));
            say(format_args!(
                "the codes could not be sent by mail, and are shown here only: {reason}"
            ));
        }
    }
}

/// On stderr: stdout may be for a printer or a program.
fn say(sentence: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "totpctl: {sentence}");
}

/// Whether there is a key.
pub(crate) fn show_key(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let (enrollment, state) = context.records(&account)?;
    let (is_made, is_known) = (
        enrollment.backup_key.is_some(),
        has_key(&enrollment, &state),
    );
    let text = match (is_made, is_known) {
        (_, true) => format!("{name} has a backup key. It can't be shown again."),
        (false, _) => {
            format!("{name} has no backup key: totpctl backup-key {name} --regenerate makes one")
        }
        (true, false) => format!(
            "The backup key of {name} is void, since the state was repaired: totpctl backup-key {name} \
             --regenerate makes a new one"
        ),
    };
    context.print(
        &text,
        &json!({ "user": name, "made": is_made, "valid": is_known }),
    );
    Ok(())
}

/// Makes a new key; the one before is void.
pub(crate) fn make_key(context: &Context, user: &str, print: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.records(&account)?;
    output::refuse_closed()?;
    let (key, set): (Vec<BackupKey>, _) = made(context, 1)?;
    let store = context.store();
    store.replace_backup(&account, Backup::Key, Some(&set))?;
    context.changed(Change::BackupKeyMade, &account, None);

    let name = &account.name;
    let hint = format!(
        "It is shown this once. Typed in place of a code it removes all devices and\n\
         codes of {name}, and itself: also for somebody who has no password. Keep it\n\
         where nobody else looks. One made before is void."
    );
    let shown: Vec<_> = key.iter().map(Symbols::shown).collect();
    let shown: Vec<&str> = shown.iter().map(|key| key.as_str()).collect();
    let title = "Backup key (no code for a login: it removes all devices)";
    let block = block(context, &account, title, 1, &shown);
    let document = json!({ "user": name, "key": shown.first() });
    context.print_once(&with_hint(block, &hint, print), &document)
}

/// Voids the key.
pub(crate) fn remove_key(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let (enrollment, _) = context.records(&account)?;
    if enrollment.backup_key.is_none() {
        return Err(Failure::refused(format_args!(
            "{name} has no backup key: nothing has changed"
        )));
    }
    context
        .store()
        .replace_backup(&account, Backup::Key, None)?;
    context.changed(Change::BackupKeyRemoved, &account, None);
    let text = format!("The backup key of {name} is void.");
    context.print(&text, &json!({ "user": name, "removed": true }));
    Ok(())
}

/// So many new codes, and what is kept of them.
fn made<const N: usize>(
    context: &Context,
    count: usize,
) -> Result<(Vec<Symbols<N>>, BackupSet), Failure> {
    BackupSet::make(count, context.system()).map_err(Failure::unreachable)
}

/// A block for paper, so many a line.
fn block(
    context: &Context,
    account: &Account,
    title: &str,
    columns: usize,
    shown: &[&str],
) -> Zeroizing<String> {
    // Large enough for any: a buffer that grew would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str(&format!(
        "{title} of {}@{}\n",
        account.name,
        context.host_name()
    ));
    for line in shown.chunks(columns) {
        text.push('\n');
        for code in line {
            text.push_str("  ");
            text.push_str(code);
        }
    }
    text.push('\n');
    text
}

/// The same for a person who reads it on a screen.
fn with_hint(mut block: Zeroizing<String>, hint: &str, print: bool) -> Zeroizing<String> {
    if !print {
        block.push('\n');
        block.push_str(hint);
    }
    block
}
