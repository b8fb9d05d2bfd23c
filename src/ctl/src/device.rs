//! `totpctl device`: the devices of a user.

use serde_json::{Value, json};
use totp_core::device::DeviceName;
use totp_core::doors::{Account, Conversation, Echo};
use totp_core::message;
use totp_core::record::{Enrollment, State};
use totp_host::store::{Proof, Removal};

use crate::context::Context;
use crate::failure::Failure;
use crate::status::describe_device;
use crate::terminal::Terminal;

pub(crate) fn list(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let (enrollment, state) = records(context, &account)?;
    let devices = enrollment.devices.iter();
    let (lines, documents): (Vec<String>, Vec<Value>) = devices
        .map(|device| describe_device(device, &state))
        .unzip();
    let document = json!({ "user": account.name, "devices": documents });
    context.print(&lines.join("\n"), &document);
    Ok(())
}

pub(crate) fn rename(
    context: &Context,
    user: &str,
    from: &DeviceName,
    to: &DeviceName,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    records(context, &account)?;
    context.store().rename_device(&account, from, to)?;
    let (name, device) = (account.name.as_str(), to.as_str());
    context.log("renamed", Some(name), Some(device));
    let text = format!(
        "Device {from} of {name} is called {to} now. The entry in the app keeps its old name."
    );
    let document = json!({ "user": name, "device": device, "was": from.as_str() });
    context.print(&text, &document);
    Ok(())
}

pub(crate) fn remove(
    context: &Context,
    user: &str,
    device: &DeviceName,
    force: bool,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    let (enrollment, _) = records(context, &account)?;
    let name = account.name.as_str();
    if enrollment.device(device).is_none() {
        return Err(Failure::refused(format_args!(
            "{name} has no device named {device}: totpctl device list {name} shows which there are"
        )));
    }
    let mut terminal = Terminal::new(context.json);
    if enrollment.devices.len() == 1 {
        terminal.tell(&format!(
            "{device} is the last device of {name}: without it {name} is not enrolled, and logs in as the policy \
             says for such people."
        ));
    }
    let answer = match force {
        true => None,
        false => {
            let prompt = message::any_code_prompt(name);
            let answer = terminal.ask(&prompt, Echo::On);
            Some(answer.map_err(|_| Failure::refused("no code was typed: nothing was removed"))?)
        }
    };
    let proof = answer.as_ref().map_or(Proof::Force, Proof::Code);
    let removal = context.store().remove_device(&account, device, proof)?;
    if removal == Removal::WrongCode {
        return Err(Failure::refused(format_args!(
            "that is no unused code of {name}'s: nothing was removed. Where there is no device that works, say \
             --force"
        )));
    }
    let event = if force { "removed-by-force" } else { "removed" };
    context.log(event, Some(name), Some(device.as_str()));
    let is_last = removal == Removal::RemovedLast;
    let text = if is_last {
        format!(
            "Device {device} is gone, and {name} is not enrolled any more. Delete its entry in the app."
        )
    } else {
        format!("Device {device} of {name} is gone. Delete its entry in the app.")
    };
    let document = json!({ "user": name, "device": device.as_str(), "last": is_last });
    context.print(&text, &document);
    Ok(())
}

fn records(context: &Context, account: &Account) -> Result<(Enrollment, State), Failure> {
    let name = &account.name;
    let records = context.store().records(account)?;
    records.ok_or_else(|| {
        Failure::refused(format_args!(
            "{name} is not enrolled: totpctl enroll {name}"
        ))
    })
}
