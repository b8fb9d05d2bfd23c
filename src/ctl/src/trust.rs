//! `totpctl trust`: has people asked again where they were not.

use serde_json::{Value, json};
use totp_core::event::Change;

use crate::context::Context;
use crate::failure::{Failure, not_enrolled};

/// One user.
pub(crate) fn clear(context: &Context, user: &str) -> Result<(), Failure> {
    let name = context.account(user)?.name;
    let (text, document) = cleared(context, &name)?;
    context.print(&text, &document);
    Ok(())
}

/// Everybody who is enrolled.
pub(crate) fn clear_all(context: &Context) -> Result<(), Failure> {
    context.for_everybody(|name| cleared(context, name))
}

fn cleared(context: &Context, name: &str) -> Result<(String, Value), Failure> {
    let account = context.account(name)?;
    let places = context.store().clear_trust(&account)?;
    let places = places.ok_or_else(|| not_enrolled(name))?;
    context.changed(Change::TrustCleared, &account, None);
    let text = format!("{name} is asked for a code everywhere again.");
    Ok((text, json!({ "user": name, "places": places })))
}
