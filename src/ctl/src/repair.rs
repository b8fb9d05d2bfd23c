//! `totpctl repair`: gives people a state that works.

use serde_json::{Value, json};
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
    let (was, kind) = match &found {
        Found::Damaged(damage) => (format!("was damaged ({damage})"), "damaged"),
        Found::Missing => ("was missing".to_owned(), "missing"),
        Found::Whole => ("was whole".to_owned(), "whole"),
    };
    let (_, state) = context.records(&account)?;
    let tokens = match state.devices.iter().any(|known| known.awaits_resync) {
        true => " Event tokens (HOTP) need two codes in a row, once.",
        false => "",
    };
    let text = format!(
        "{name}: the state {was}. All codes of before are used up: wait for a new one.{tokens} \
         Backup codes and a backup key are void: make new ones."
    );
    let mut document = json!({ "user": name, "found": kind });
    if let (Found::Damaged(damage), Some(fields)) = (found, document.as_object_mut()) {
        fields.insert("damage".to_owned(), json!(damage));
    }
    Ok((text, document))
}
