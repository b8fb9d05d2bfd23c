//! `totpctl unlock`: forgets wrong answers.

use serde_json::{Value, json};
use totp_core::address::Address;
use totp_host::error::StoreError;

use crate::context::Context;
use crate::failure::{Failure, not_enrolled};

/// Of one user, from wherever they came.
pub(crate) fn user(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let store = context.store();
    if !store.unlock(&account)? {
        return Err(not_enrolled(name));
    }
    context.log_unlocked(Some(name));
    let mut text = format!("The wrong answers of {name} are forgotten.");
    let addresses = store.addresses().unwrap_or_default();
    if addresses
        .iter()
        .any(|(_, standing)| standing.refusal().is_some())
    {
        text += "\nAddresses that are at their limit stay so: totpctl status --address shows them.";
    }
    context.print(&text, &json!({ "user": name, "unlocked": true }));
    Ok(())
}

/// From one address, whoever's they were.
pub(crate) fn address(context: &Context, address: &Address) -> Result<(), Failure> {
    let mut failed = Failed::default();
    let had_any = context
        .store()
        .unlock_address(address, &mut |user, error| failed.note(user, &error))?;
    context.log_address("unlocked", address);
    let text = if had_any {
        format!(
            "No lock holds for {address} any more. What its users spent of their day stays spent."
        )
    } else {
        format!("Nothing was counted against {address} that could be forgotten.")
    };
    failed.finish(
        context,
        &text,
        json!({ "address": address.to_string(), "unlocked": had_any }),
    )
}

/// All of them.
pub(crate) fn all(context: &Context) -> Result<(), Failure> {
    let mut failed = Failed::default();
    let store = context.store();
    store.unlock_all(&mut |user, error| failed.note(user, &error))?;
    context.log_unlocked(None);
    let text = "Everybody can log in from everywhere again.";
    failed.finish(context, text, json!({ "unlocked": true }))
}

/// Users whose state could not be changed.
#[derive(Default)]
struct Failed {
    lines: Vec<String>,
    users: Vec<Value>,
}

impl Failed {
    fn note(&mut self, user: &str, error: &StoreError) {
        self.lines.push(format!("{user}: {error}"));
        let error = error.to_string();
        self.users.push(json!({ "user": user, "error": error }));
    }

    fn finish(self, context: &Context, text: &str, mut document: Value) -> Result<(), Failure> {
        if self.lines.is_empty() {
            context.print(text, &document);
            return Ok(());
        }
        if let Some(fields) = document.as_object_mut() {
            fields.insert("failed".to_owned(), json!(self.users.len()));
            fields.insert("users".to_owned(), json!(self.users));
        }
        let text = format!("{text} But not of these:\n{}", self.lines.join("\n"));
        context.print(&text, &document);
        Err(Failure::reported())
    }
}
