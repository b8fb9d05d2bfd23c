//! `totpctl repair`: gives people a state that works.

use serde_json::{Value, json};
use totp_core::device::DeviceName;
use totp_core::event::Change;
use totp_host::store::Found;

use crate::context::Context;
use crate::failure::{Failure, not_enrolled};

/// Of one user.
pub(crate) fn user(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    let name = context.account(user)?.name;
    let (text, document) = repaired(context, &name, force)?;
    context.print(&text, &document);
    Ok(())
}

/// Of everybody who is enrolled.
pub(crate) fn all(context: &Context) -> Result<(), Failure> {
    context.for_everybody(|name| repaired(context, name, false))
}

fn repaired(context: &Context, name: &str, force: bool) -> Result<(String, Value), Failure> {
    let account = context.account(name)?;
    let found = context.store().repair(&account, force)?;
    let found = found.ok_or_else(|| not_enrolled(name))?;
    context.changed(Change::Repaired, &account, None);
    let (was, document) = match &found {
        Found::Damaged(damage) if damage.is_newer() => (
            format!("was of a newer version ({damage})"),
            json!({ "user": name, "found": "newer", "damage": damage.to_string() }),
        ),
        Found::Damaged(damage) => (
            format!("was damaged ({damage})"),
            json!({ "user": name, "found": "damaged", "damage": damage.to_string() }),
        ),
        Found::Missing => (
            "was missing".to_owned(),
            json!({ "user": name, "found": "missing" }),
        ),
        Found::Whole(unknown) => {
            let unknown: Vec<&str> = unknown.iter().map(DeviceName::as_str).collect();
            let was = match unknown.is_empty() {
                true => "was whole".to_owned(),
                false => format!(
                    "was whole, but did not know {}: if that is no device any more but came back with a secret file, \
                     remove it",
                    unknown.join(", ")
                ),
            };
            (
                was,
                json!({ "user": name, "found": "whole", "unknown": unknown }),
            )
        }
    };
    let (_, state) = context.records(&account)?;
    let tokens = match state.devices.iter().any(|known| known.awaits_resync) {
        true => " Event tokens (HOTP) need two codes in a row, once.",
        false => "",
    };
    let text = format!(
        "{name}: the state {was}. All codes of before are used up: a new one gets in after a minute.{tokens} \
         Backup codes and a backup key are void: make new ones."
    );
    Ok((text, document))
}
