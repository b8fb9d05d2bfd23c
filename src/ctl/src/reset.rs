//! `totpctl reset`: removes all that is kept of a user.

use serde_json::json;
use totp_core::doors::Account;
use totp_core::event::Change;

use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    // An account that is gone can be reset too: its records outlive it.
    let account = context
        .system()
        .account(user)
        .map_err(Failure::unreachable)?;
    let is_gone = account.is_none();
    let account = account.unwrap_or_else(|| Account {
        name: user.to_owned(),
        uid: u32::MAX,
    });
    let name = &account.name;
    if !force {
        return Err(Failure::refused(format_args!(
            "this removes every device of {name}, and the old codes never work again: \
             say --force if you mean it"
        )));
    }
    context.remember_owner(&account);
    if name.is_empty() || !context.store().reset(name)? {
        return Err(Failure::refused(format_args!(
            "{name:?} is not enrolled: nothing to reset"
        )));
    }
    context.changed(Change::Reset, &account, None);
    let text = if is_gone {
        format!("Nothing of {name}, which is no account any more, is left.")
    } else {
        format!("{name} has no devices any more. Enroll again: totpctl enroll {name}")
    };
    context.print(&text, &json!({ "user": name, "reset": true }));
    Ok(())
}
