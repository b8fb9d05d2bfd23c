//! `totpctl unlock`: forgets a user's wrong answers.

use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    if !context.store().unlock(&account)? {
        return Err(Failure::refused(format_args!(
            "{name} is not enrolled: totpctl enroll {name}"
        )));
    }
    context.log("unlocked", name, None);
    let text = format!("{name} can log in from everywhere again.");
    context.print(&text, &json!({ "user": name, "unlocked": true }));
    Ok(())
}
