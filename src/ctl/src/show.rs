//! `totpctl show`: the key of a device once more.

use serde_json::json;
use totp_core::device::DeviceName;
use totp_core::event::Change;
use totp_core::record::state::DeviceState;

use crate::cli::QrOptions;
use crate::context::Context;
use crate::failure::Failure;
use crate::key::Key;
use crate::new_file::NewFile;
use crate::terminal::Terminal;

pub(crate) fn run(
    context: &Context,
    user: &str,
    name: &DeviceName,
    qr: &QrOptions,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    let device = context.device(&account, name)?;
    let (_, state) = context.records(&account)?;
    let known = state.device(device.id).cloned();
    let known = known.unwrap_or_else(|| DeviceState::of(&device, None));
    let key = Key::new(context, &account, &device, &known)?;
    // First the log: whoever sees the key has been named.
    context.changed(Change::Shown, &account, Some(name));
    key.write(qr)?.into_iter().for_each(NewFile::keep);
    key.show(qr.qr, &Terminal::new(context.json), true)?;

    let user = account.name.as_str();
    let mut document = json!({ "user": user, "device": name.as_str() });
    key.add_to(&mut document, &device);
    let text = format!("Whoever has this key makes the codes of {user}.");
    context.print(&text, &document);
    Ok(())
}
