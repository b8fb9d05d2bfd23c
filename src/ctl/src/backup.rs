//! `totpctl backup-codes` and `totpctl backup-key`: what serves somebody without a device, made and shown once.

use serde_json::{Value, json};
use totp_core::backup_code::{BackupCode, BackupKey, BackupSet, SetId, Symbols};
use totp_core::doors::{Account, Entropy};
use totp_core::event::Change;
use totp_core::record::{Enrollment, State};
use totp_host::store::Backup;
use totp_host::system::{SystemEntropy, host_name};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::Failure;
use crate::key::new_id;

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
    let codes: Vec<BackupCode> = made(usize::from(context.config.backup_codes.get()))?;
    let set = set_of(&codes)?;
    let store = context.store();
    store.replace_backup(&account, Backup::Codes, Some(&set))?;
    context.changed(Change::BackupCodesMade, &account, None);

    let name = &account.name;
    let hint = format!(
        "They are shown this once. Each lets {name} in once, in place of a code from the app. Those of before \
         are void."
    );
    show_once(
        context,
        &account,
        ("Backup codes", 2),
        &codes,
        &hint,
        print,
        |codes| json!({ "user": name, "codes": codes }),
    );
    Ok(())
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
    let key: Vec<BackupKey> = made(1)?;
    let set = set_of(&key)?;
    let store = context.store();
    store.replace_backup(&account, Backup::Key, Some(&set))?;
    context.changed(Change::BackupKeyMade, &account, None);

    let name = &account.name;
    let hint = format!(
        "It is shown this once. Typed in place of a code, it removes all devices and codes of {name}, and itself.\n\
         One made before is void."
    );
    show_once(
        context,
        &account,
        ("Backup key", 1),
        &key,
        &hint,
        print,
        |key| json!({ "user": name, "key": key.first() }),
    );
    Ok(())
}

/// Voids the key.
pub(crate) fn remove_key(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let (enrollment, _) = context.records(&account)?;
    if enrollment.backup_key.is_none() {
        return Err(Failure::refused(format_args!("{name} has no backup key")));
    }
    context
        .store()
        .replace_backup(&account, Backup::Key, None)?;
    context.changed(Change::BackupKeyRemoved, &account, None);
    let text = format!("The backup key of {name} is void.");
    context.print(&text, &json!({ "user": name, "removed": true }));
    Ok(())
}

/// So many that nobody knows yet.
fn made<const N: usize>(count: usize) -> Result<Vec<Symbols<N>>, Failure> {
    let mut codes = Vec::with_capacity(count);
    while codes.len() < count {
        // One that looks like digits is made anew.
        codes.extend(Symbols::new(&random(Symbols::<N>::RANDOM_BYTES)?));
    }
    Ok(codes)
}

fn set_of<const N: usize>(codes: &[Symbols<N>]) -> Result<BackupSet, Failure> {
    let salt = random(16)?.first_chunk().copied().unwrap_or_default();
    Ok(BackupSet::of(SetId(new_id()?.0), salt, codes))
}

fn random(length: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    SystemEntropy.random(length).map_err(Failure::unreachable)
}

/// Prints what is never seen again: a block for paper, so many a line, with a hint where a person reads it.
fn show_once<const N: usize>(
    context: &Context,
    account: &Account,
    (title, columns): (&str, usize),
    codes: &[Symbols<N>],
    hint: &str,
    print: bool,
    document: impl FnOnce(&[&str]) -> Value,
) {
    let shown: Vec<Zeroizing<String>> = codes.iter().map(Symbols::shown).collect();
    let shown: Vec<&str> = shown.iter().map(|code| code.as_str()).collect();
    let host = host_name().unwrap_or_else(|| "localhost".to_owned());
    let mut text = Zeroizing::new(format!("{title} of {}@{host}\n", account.name));
    for line in shown.chunks(columns) {
        text.push_str("\n  ");
        text.push_str(&line.join("   "));
    }
    text.push('\n');
    if !print {
        text.push('\n');
        text.push_str(hint);
    }
    context.print(&text, &document(&shown));
}
