//! `totpctl invite`: a code that entitles somebody to enroll at the next login.

use serde_json::json;
use totp_core::backup_code::{BackupCode, BackupSet};
use totp_core::event::Change;
use totp_core::policy::Unenrolled;
use totp_core::record::Invite;
use totp_core::time::Span;
use totp_host::error::StoreError;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

pub(crate) fn make(context: &Context, user: &str, expires: Span) -> Result<(), Failure> {
    let account = context.account(user)?;
    if expires == Span::ZERO {
        return Err(Failure::usage(
            "--expires takes at least 1s: an invite has to last until the next login",
        ));
    }
    output::refuse_closed()?;
    let (codes, set): (Vec<BackupCode>, _) =
        BackupSet::make(1, context.system()).map_err(Failure::unreachable)?;
    let expires = context.system().now().after(expires);
    context.store().invite(&account, Invite { set, expires })?;
    let until = format_args!("until {expires}");
    context.changed_because(Change::Invited, &account, None, until);

    let name = &account.name;
    let shown = codes.first().map(BackupCode::shown);
    let code = shown.as_ref().map_or("", |code| code.as_str());
    let mut text = format!(
        "Invitation of {name}, good for one enrollment until {expires}:\n\n  {code}\n\n\
         {name} types it at the next login, in place of the verification code. One made\n\
         before is void."
    );
    if context.config.policy.unenrolled != Unenrolled::Enroll {
        text.push_str(
            "\nNobody can use it yet: set unenrolled = \"enroll\" in [policy] of the\nconfiguration.",
        );
    }
    let document = json!({ "user": name, "code": code, "expires": expires.to_string() });
    context.print_once(&text, &document)
}

pub(crate) fn take_back(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    match context.store().take_invite_back(&account) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::refused(format_args!(
                "{name} has no invitation: nothing has changed"
            )));
        }
        Err(StoreError::Enrolled) => {
            return Err(Failure::refused(format_args!(
                "{name} has just enrolled by it: totpctl reset {name} --force takes the device away"
            )));
        }
        Err(error) => return Err(error.into()),
    }
    context.changed(Change::InviteRevoked, &account, None);
    let text = format!("The invitation of {name} is void.");
    context.print(&text, &json!({ "user": name, "revoked": true }));
    Ok(())
}
