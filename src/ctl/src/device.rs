//! `totpctl device`: the devices of a user.

use serde_json::{Value, json};
use totp_core::answer::Answer;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::{Account, Conversation, Echo};
use totp_core::message;
use totp_core::record::{Enrollment, State};
use totp_host::store::{Proof, Removal};

use crate::cli::Drawing;
use crate::context::Context;
use crate::enroll::{Key, confirmed, new_id, new_secret};
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
        return Err(no_device(name, device));
    }
    let mut terminal = Terminal::new(context.json);
    if enrollment.devices.len() == 1 {
        terminal.tell(&format!(
            "{device} is the last device of {name}: without it {name} is not enrolled, and logs in as the policy \
             says for such people."
        ));
    }
    let answer = asked_for_code(name, force, &mut terminal)?;
    let proof = answer.as_ref().map_or(Proof::Force, Proof::Code);
    let removal = context.store().remove_device(&account, device, proof)?;
    if removal == Removal::WrongCode {
        return Err(wrong_code(name));
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

/// The code that proves that the user agrees; `None` where root needs none.
fn asked_for_code(
    user: &str,
    force: bool,
    terminal: &mut Terminal,
) -> Result<Option<Answer>, Failure> {
    if force {
        return Ok(None);
    }
    let answer = terminal.ask(&message::any_code_prompt(user), Echo::On);
    let answer = answer.map_err(|_| Failure::refused("no code was typed: nothing was removed"))?;
    Ok(Some(answer))
}

fn wrong_code(user: &str) -> Failure {
    Failure::refused(format_args!(
        "that is no unused code of {user}'s: nothing was removed. Where there is no device that works, say --force"
    ))
}

pub(crate) fn disable(context: &Context, user: &str, force: bool) -> Result<(), Failure> {
    let account = context.account(user)?;
    records(context, &account)?;
    let name = account.name.as_str();
    let mut terminal = Terminal::new(context.json);
    let answer = asked_for_code(name, force, &mut terminal)?;
    let proof = answer.as_ref().map_or(Proof::Force, Proof::Code);
    if !context.store().disable(&account, proof)? {
        return Err(wrong_code(name));
    }
    let event = if force {
        "disabled-by-force"
    } else {
        "disabled"
    };
    context.log(event, Some(name), None);
    let text = format!("{name} is not enrolled any more. Delete the entries in the apps.");
    context.print(&text, &json!({ "user": name, "disabled": true }));
    Ok(())
}

pub(crate) fn rotate(
    context: &Context,
    user: &str,
    name: &DeviceName,
    drawing: Drawing,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    let old = device_of(context, &account, name)?;
    let new = Device {
        id: new_id()?,
        secret: new_secret()?,
        enrolled: context.system().now(),
        ..old.clone()
    };
    let mut terminal = Terminal::new(context.json);
    let key = Key::new(context, &account, &new)?;
    key.show(drawing, &terminal)?;
    let used = confirmed(context, &new, &mut terminal)?;
    context
        .store()
        .rotate_device(&account, old.id, &new, Some(used))?;
    let user = account.name.as_str();
    context.log("rotated", Some(user), Some(name.as_str()));
    let text = format!(
        "Device {name} of {user} has a new key. Delete the old entry in your app: its codes are dead.\n\
         The code just typed is used up: wait for the next code to log in."
    );
    let document = key_document(user, &new, &key);
    context.print(&text, &document);
    Ok(())
}

pub(crate) fn show(
    context: &Context,
    user: &str,
    name: &DeviceName,
    drawing: Drawing,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    let device = device_of(context, &account, name)?;
    let key = Key::new(context, &account, &device)?;
    // First the log: whoever sees the key has been named.
    let user = account.name.as_str();
    context.log("shown", Some(user), Some(name.as_str()));
    key.show(drawing, &Terminal::new(context.json))?;
    let document = key_document(user, &device, &key);
    let text = format!("Whoever has this key makes the codes of {user}.");
    context.print(&text, &document);
    Ok(())
}

/// The key of a device for programs.
fn key_document(user: &str, device: &Device, key: &Key) -> Value {
    json!({
        "user": user,
        "device": device.name.as_str(),
        "secret": device.secret.to_base32().as_str(),
        "uri": key.uri.as_str(),
    })
}

fn device_of(context: &Context, account: &Account, name: &DeviceName) -> Result<Device, Failure> {
    let (enrollment, _) = records(context, account)?;
    let device = enrollment.device(name).cloned();
    device.ok_or_else(|| no_device(&account.name, name))
}

fn no_device(user: &str, device: &DeviceName) -> Failure {
    Failure::refused(format_args!(
        "{user} has no device named {device}: totpctl device list {user} shows which there are"
    ))
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
