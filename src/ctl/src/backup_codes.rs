//! `totpctl backup-codes`: shows how many are left, or makes new ones.

use serde_json::json;
use totp_core::backup_code::{BackupCode, BackupCodes, SetId};
use totp_core::doors::Entropy;
use totp_core::record::{Enrollment, State};
use totp_host::system::{SystemEntropy, host_name};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::enroll::new_id;
use crate::failure::Failure;

/// How many are left.
pub(crate) fn count(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let records = context.store().records(&account)?;
    let (enrollment, state) = records.ok_or_else(|| not_enrolled(name))?;
    let set = enrollment.backup_codes.as_ref();
    let known = left(&enrollment, &state);
    let text = match (set, known) {
        (None, _) => format!(
            "{name} has no backup codes: totpctl backup-codes {name} --regenerate makes some"
        ),
        (Some(_), None) => format!(
            "The backup codes of {name} are void, since the state was repaired: totpctl backup-codes {name} \
             --regenerate makes new ones"
        ),
        (Some(_), Some(left)) => format!("{name} has {left} backup codes left."),
    };
    let document = json!({ "user": name, "made": set.is_some(), "left": known.unwrap_or(0) });
    context.print(&text, &document);
    Ok(())
}

/// How many are left; `None` where none were made, or the state does not know them.
pub(crate) fn left(enrollment: &Enrollment, state: &State) -> Option<u8> {
    let set = enrollment.backup_codes.as_ref()?;
    let used = state.backup_codes.iter().find(|used| used.id == set.id)?;
    Some(used.left_of(set.hashes.len()))
}

/// Makes new ones; those of before are void.
pub(crate) fn regenerate(context: &Context, user: &str, print: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    if context.store().records(&account)?.is_none() {
        return Err(not_enrolled(name));
    }
    let codes = new_codes(usize::from(context.config.backup_codes.get()))?;
    let salt = random(16)?.first_chunk().copied().unwrap_or_default();
    let set = BackupCodes::of(SetId(new_id()?.0), salt, &codes);
    context.store().replace_backup_codes(&account, &set)?;
    context.log("backup-codes-made", Some(name), None);

    let shown: Vec<Zeroizing<String>> = codes.iter().map(BackupCode::shown).collect();
    let block = Zeroizing::new(block(name, &shown));
    let text = if print {
        block
    } else {
        Zeroizing::new(format!(
            "{}\nThey are shown this once. Each lets {name} in once, in place of a code from the app. Those of before \
             are void.",
            block.as_str()
        ))
    };
    let codes: Vec<&str> = shown.iter().map(|code| code.as_str()).collect();
    context.print(&text, &json!({ "user": name, "codes": codes }));
    Ok(())
}

/// What people print: two codes a line.
fn block(user: &str, codes: &[Zeroizing<String>]) -> String {
    let host = host_name().unwrap_or_else(|| "localhost".to_owned());
    let mut text = format!("Backup codes of {user}@{host}\n");
    for pair in codes.chunks(2) {
        let pair: Vec<&str> = pair.iter().map(|code| code.as_str()).collect();
        text.push_str(&format!("\n  {}", pair.join("   ")));
    }
    text.push('\n');
    text
}

fn new_codes(count: usize) -> Result<Vec<BackupCode>, Failure> {
    let mut codes = Vec::with_capacity(count);
    while codes.len() < count {
        // One that looks like digits is made anew.
        codes.extend(BackupCode::new(&random(BackupCode::RANDOM_BYTES)?));
    }
    Ok(codes)
}

fn random(length: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    SystemEntropy.random(length).map_err(Failure::unreachable)
}

fn not_enrolled(user: &str) -> Failure {
    Failure::refused(format_args!(
        "{user} is not enrolled: totpctl enroll {user}"
    ))
}
