//! `totpctl disable`: takes all devices of a user away, by a code of any of them.

use serde_json::json;
use totp_core::event::Change;
use totp_host::store::Proof;

use crate::context::Context;
use crate::failure::Failure;
use crate::proof;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.records(&account)?;
    let answer = proof::asked_for(&account, force, &mut Terminal::new(context.json))?;
    let proof = answer.as_ref().map_or(Proof::Force, Proof::Code);
    if !context.store().disable(&account, proof)? {
        return Err(proof::is_wrong(context, &account));
    }
    let change = if force {
        Change::DisabledByForce
    } else {
        Change::Disabled
    };
    context.changed(change, &account, None);
    let name = &account.name;
    let text = format!("{name} is not enrolled any more. Delete the entries in the apps.");
    context.print(&text, &json!({ "user": name, "disabled": true }));
    Ok(())
}
