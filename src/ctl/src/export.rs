//! `totpctl export`: the keys of somebody's devices, for another program.

use serde_json::json;
use totp_core::device::Device;
use totp_core::doors::Account;
use totp_core::event::Change;
use totp_core::record::State;
use totp_core::record::state::DeviceState;
use totp_import::pskc::{self, Exported};
use zeroize::Zeroizing;

use crate::cli::{Export, ExportFormat};
use crate::context::Context;
use crate::failure::Failure;
use crate::key::Key;
use crate::new_file::NewFile;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Export) -> Result<(), Failure> {
    let account = context.account(&arguments.user)?;
    let (enrollment, state) = context.records(&account)?;
    if enrollment.devices.is_empty() {
        let user = &account.name;
        let what = "has no device, and codes that are sent have no key";
        return Err(Failure::refused(format_args!("{user} {what}")));
    }
    if arguments.output.is_none() && !Terminal::new(context.json).is_watched() {
        return Err(Failure::usage(
            "the keys go to a terminal, or into a file that is root's alone: name one by --output",
        ));
    }
    let devices = &enrollment.devices;
    let text = match arguments.format {
        ExportFormat::Otpauth => uris(context, &account, devices, &state)?,
        ExportFormat::Pskc => container(&account, devices, &state),
    };
    // First the log: whoever sees the keys has been named.
    for device in devices {
        context.changed(Change::Exported, &account, Some(&device.name));
    }
    let user = &account.name;
    let mut document = json!({ "user": user, "devices": devices.len() });
    let said = match &arguments.output {
        Some(path) => {
            NewFile::write(path, text.as_bytes())?.keep();
            format!("The keys of {user} are in {}.", path.display())
        }
        None => {
            let shown = Terminal::new(context.json).print(&text);
            shown.map_err(|error| {
                Failure::unreachable(format_args!("the keys can't be shown: {error}"))
            })?;
            format!("Whoever has these keys makes the codes of {user}.")
        }
    };
    let has_codes = enrollment.backup_codes.is_some();
    let codes = match has_codes {
        true => " Backup codes are not exported: only their hashes are kept.",
        false => "",
    };
    if let Some(fields) = document.as_object_mut() {
        let path = arguments
            .output
            .as_ref()
            .map(|path| path.display().to_string());
        fields.insert("file".to_owned(), path.into());
    }
    context.print(&format!("{said}{codes}"), &document);
    Ok(())
}

fn known(state: &State, device: &Device) -> DeviceState {
    let known = state.device(device.id).cloned();
    known.unwrap_or_else(|| DeviceState::new(device.id, None))
}

fn uris(
    context: &Context,
    account: &Account,
    devices: &[Device],
    state: &State,
) -> Result<Zeroizing<String>, Failure> {
    let keys = devices
        .iter()
        .map(|device| Key::new(context, account, device, &known(state, device)));
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    let length = keys
        .iter()
        .map(|key| key.uri().len().saturating_add(1))
        .sum();
    let mut text = Zeroizing::new(String::with_capacity(length));
    for key in &keys {
        text.push_str(key.uri());
        text.push('\n');
    }
    Ok(text)
}

fn container(account: &Account, devices: &[Device], state: &State) -> Zeroizing<String> {
    let exported = devices.iter().map(|device| {
        let known = known(state, device);
        Exported {
            id: device.id.to_string(),
            name: device.name.as_str(),
            secret: &device.secret,
            otp: device.otp,
            next: known.next(),
            drift: known.drift,
        }
    });
    pskc::write(&account.name, &exported.collect::<Vec<_>>())
}
