//! `totpctl disable`: takes all devices of a user away, by a code of any of them.

use serde_json::json;
use totp_core::event::Change;
use totp_core::policy::DisableConfirm;
use totp_host::store::Proof;

use crate::context::Context;
use crate::failure::Failure;
use crate::proof;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.records(&account)?;
    let mut terminal = Terminal::new(context.json);
    let (code, mailed);
    let proof = match context.config.policy.disable_confirm {
        _ if force => Proof::Force,
        DisableConfirm::Code => {
            code = proof::any_code(context, &account, &mut terminal)?;
            Proof::Code(&code)
        }
        DisableConfirm::Mail => {
            mailed = proof::mailed_code(context, &account, &mut terminal)?;
            Proof::Mailed(&mailed)
        }
        DisableConfirm::Both => {
            code = proof::own_code(&account, &mut terminal)?;
            mailed = proof::mailed_code(context, &account, &mut terminal)?;
            let (code, mailed) = (&code, &mailed);
            Proof::Both { code, mailed }
        }
    };
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
