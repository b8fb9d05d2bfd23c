//! `totpctl device`: the devices of a user.

use serde_json::{Value, json};
use totp_core::device::{Device, DeviceName};
use totp_core::doors::Conversation;
use totp_core::event::Change;
use totp_core::ssh_key::Fingerprint;
use totp_host::store::Removal;

use crate::contact;
use crate::context::Context;
use crate::failure::{Failure, no_device};
use crate::proof::{self, Given};
use crate::status::describe_device;
use crate::terminal::Terminal;

pub(crate) fn list(context: &Context, user: &str) -> Result<(), Failure> {
    let account = context.account(user)?;
    let (enrollment, state) = context.records(&account)?;
    let devices = enrollment.devices.iter();
    let devices = devices.map(|device| describe_device(device, &state));
    let contacts = enrollment.contacts.iter();
    let contacts = contacts.map(|contact| contact::describe(contact, &state));
    let (lines, documents): (Vec<String>, Vec<Value>) = devices.chain(contacts).unzip();
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
    context.records(&account)?;
    context.store().rename_device(&account, from, to)?;
    let was = format_args!("was {from}");
    context.changed_because(Change::Renamed, &account, Some(to), was);
    let name = &account.name;
    let text = format!(
        "Device {from} of {name} is called {to} now. The entry in the app keeps its old name."
    );
    let document = json!({ "user": name, "device": to.as_str(), "was": from.as_str() });
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
    let name = &account.name;
    let mut terminal = Terminal::new(context.json);
    let (enrollment, _) = context.records(&account)?;
    if !enrollment.has(device) {
        return Err(no_device(&account, device));
    }
    let left = enrollment.without(device);
    let mut others = left.devices.iter();
    let as_last = left.is_empty();
    if as_last {
        terminal.tell(&format!(
            "{device} is the last device of {name}: without it {name} is not enrolled, and logs in as the policy \
             says for such people."
        ));
    } else if left.contacts.is_empty() && others.all(|other| other.ssh_key.is_some()) {
        terminal.tell(&format!(
            "The other devices of {name} are bound to ssh keys: without {device} they serve ssh logins only."
        ));
    }
    let given = match (force, as_last) {
        (true, _) => Given::Force,
        // Whoever takes the last one away disables.
        (false, true) => proof::to_disable(context, &account, &mut terminal)?,
        (false, false) => Given::Code(proof::any_code(context, &account, &mut terminal)?),
    };
    let store = context.store();
    let removal = store.remove_device(&account, device, given.proof(), as_last)?;
    if removal == Removal::WrongCode {
        return Err(proof::is_wrong(context, &account, &given));
    }
    let change = if force {
        Change::RemovedByForce
    } else {
        Change::Removed
    };
    context.changed(change, &account, Some(device));
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

pub(crate) fn bind(
    context: &Context,
    user: &str,
    device: &DeviceName,
    ssh_key: Fingerprint,
    force: bool,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    context.device(&account, device)?;
    context
        .store()
        .bind_device(&account, device, Some(ssh_key), force)?;
    context.changed_because(Change::Bound, &account, Some(device), ssh_key);
    let text = format!(
        "Codes of {device} count only in ssh logins of {} with the key {ssh_key}.",
        account.name
    );
    let document = json!({
        "user": account.name,
        "device": device.as_str(),
        "ssh_key": ssh_key.to_string(),
    });
    context.print(&text, &document);
    Ok(())
}

pub(crate) fn unbind(context: &Context, user: &str, device: &DeviceName) -> Result<(), Failure> {
    let account = context.account(user)?;
    let Device { ssh_key, .. } = context.device(&account, device)?;
    if ssh_key.is_none() {
        return Err(Failure::refused(format_args!(
            "device {device} of {0} is bound to no ssh key: totpctl device list {0} shows which are",
            account.name
        )));
    }
    let store = context.store();
    store.bind_device(&account, device, None, false)?;
    context.changed(Change::Unbound, &account, Some(device));
    let text = format!("Codes of {device} count in any login of {}.", account.name);
    let document = json!({ "user": account.name, "device": device.as_str(), "ssh_key": null });
    context.print(&text, &document);
    Ok(())
}
