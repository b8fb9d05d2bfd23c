//! `totpctl disable`: takes all devices of a user away, by a code of any of them.

use serde_json::json;
use totp_core::event::Change;

use crate::context::Context;
use crate::failure::Failure;
use crate::proof::{self, Given};
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.records(&account)?;
    let mut terminal = Terminal::new(context.json);
    let given = match force {
        true => Given::Force,
        false => proof::to_disable(context, &account, &mut terminal)?,
    };
    if !context.store().disable(&account, given.proof())? {
        return Err(proof::is_wrong(context, &account, &given));
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
