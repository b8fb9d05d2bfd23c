//! `totpctl rotate`: gives a device a new key.

use serde_json::json;
use totp_core::device::{Device, DeviceName};
use totp_core::event::Change;
use totp_core::key_uri::KeyUri;
use totp_core::otp::{MovingFactor, Otp};
use totp_core::record::state::DeviceState;

use crate::cli::NewKey;
use crate::context::Context;
use crate::failure::Failure;
use crate::key::{Key, confirmed, new_or_given};
use crate::new_file::NewFile;
use crate::terminal::Terminal;

pub(crate) fn run(
    context: &Context,
    user: &str,
    name: &DeviceName,
    arguments: &NewKey,
) -> Result<(), Failure> {
    let account = context.account(user)?;
    let old = context.device(&account, name)?;
    let (enrollment, state) = context.records(&account)?;
    let drift = state.device(old.id).map_or(0, |known| known.drift);
    // Nobody can put a new key into a token: what takes its place is an app, unless a key is handed in that says else.
    let default = match old.otp.factor {
        MovingFactor::Counter => Otp::default(),
        MovingFactor::Time(_) => old.otp,
    };
    let given = new_or_given(context, arguments, default)?;
    let KeyUri {
        secret,
        otp,
        counter,
    } = given;
    let new = Device {
        id: context.new_id()?,
        otp,
        secret,
        enrolled: context.system().now(),
        ..old.clone()
    };
    if new.makes_codes_of(&old) {
        return Err(Failure::refused(
            "that is the key that the device has, so nothing has changed: leave --secret-file out to have a new one made",
        ));
    }
    let mut terminal = Terminal::new(context.json);
    let known = DeviceState {
        drift,
        ..DeviceState::of(&new, counter.before())
    };
    let key = Key::new(context, &account, &new, &known)?;
    let picture = key.write(&arguments.qr)?;
    key.show(arguments.qr.qr, &terminal, arguments.is_known())?;
    let used = confirmed(
        context,
        &new,
        &known,
        &mut terminal,
        "the old key still works",
    )?;
    // It may have got another name meanwhile.
    let name = context
        .store()
        .rotate_device(&account, old.id, &new, used)?;
    picture.into_iter().for_each(NewFile::keep);
    context.changed(Change::Rotated, &account, Some(&name));

    let user = account.name.as_str();
    let mut others = enrollment.devices.iter().filter(|one| one.id != old.id);
    let old_codes = match others.find(|other| other.makes_codes_of(&old)) {
        None => "its codes are dead".to_owned(),
        Some(twin) => format!("its codes are those of {} now", twin.name),
    };
    let text = format!(
        "Device {name} of {user} has a new key. Delete the old entry in your app: {old_codes}.\n\
         The code just typed is used up: wait for the next code to log in."
    );
    let mut document = json!({ "user": user, "device": name.as_str() });
    key.add_to(&mut document, &new);
    context.print(&text, &document);
    Ok(())
}
