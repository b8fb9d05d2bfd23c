//! The code that entitles somebody to take devices away.

use totp_core::answer::Answer;
use totp_core::doors::{Account, Conversation, Echo};
use totp_core::message;

use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Asks for it; `None` where root needs none.
pub(crate) fn asked_for(
    account: &Account,
    force: bool,
    terminal: &mut Terminal,
) -> Result<Option<Answer>, Failure> {
    if force {
        return Ok(None);
    }
    let answer = terminal.ask(&message::any_code_prompt(&account.name), Echo::On);
    let answer = answer.map_err(|_| Failure::refused(
            "no code was typed: nothing was removed. Where there is no device that works, say --force",
        ))?;
    Ok(Some(answer))
}

/// Says that it was none, to the log as well: whoever may run us for others could guess.
pub(crate) fn is_wrong(context: &Context, account: &Account) -> Failure {
    context.log_wrong_proof(account);
    Failure::refused(format_args!(
        "that is no unused code of {}'s, of a device or of the backup codes: nothing was removed. Where there is none, \
         say --force",
        account.name
    ))
}
