//! `totpctl enroll`: gives a user a new device.
//!
//! Nothing is on disk before the code is confirmed: whatever goes wrong until then, or whoever walks
//! away, leaves the user as before.

use serde_json::json;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::Account;
use totp_core::event::Change;
use totp_core::key_uri::KeyUri;
use totp_core::otp::Otp;
use totp_core::record::Enrollment;
use totp_core::record::state::DeviceState;
use totp_host::error::StoreError;
use totp_host::store::check_new;

use crate::cli::Enroll;
use crate::context::Context;
use crate::failure::Failure;
use crate::key::{Key, confirmed, new_or_given};
use crate::new_file::NewFile;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Enroll) -> Result<(), Failure> {
    let account = context.account(&arguments.user)?;
    let mut terminal = Terminal::new(context.json);
    let given = new_or_given(context, &arguments.key, Otp::default())?;
    let KeyUri {
        secret,
        otp,
        counter,
    } = given;
    let device = Device {
        id: context.new_id()?,
        name: arguments.device.clone().unwrap_or_default(),
        otp,
        secret,
        enrolled: context.system().now(),
        ssh_key: None,
        window: None,
    };
    // Before the person has scanned anything; once more when it is added.
    if let Some((enrollment, _)) = context.store().records(&account)? {
        check_new(&enrollment, &device).map_err(|error| exists(error, &enrollment, &account))?;
    }
    let known = DeviceState::of(&device, counter.before());
    let key = Key::new(context, &account, &device, &known)?;
    let picture = key.write(&arguments.key.qr)?;

    // Who hands in a secret and wants no code asked has nobody watching, and knows the key.
    let is_unattended = arguments.key.secret_file.is_some() && arguments.no_confirm;
    if !is_unattended {
        let is_known = arguments.no_confirm || arguments.key.is_known();
        key.show(arguments.key.qr.qr, &terminal, is_known)?;
    }
    let known = match arguments.no_confirm {
        true => known,
        false => confirmed(
            context,
            &device,
            &[known],
            &mut terminal,
            "nothing was enrolled",
        )?,
    };
    context.store().add_device(&account, &device, known.floor)?;
    picture.into_iter().for_each(NewFile::keep);
    context.changed(Change::Enrolled, &account, Some(&device.name));

    let text = done(&account, &device.name, !arguments.no_confirm);
    let mut document = json!({
        "user": account.name,
        "device": device.name.as_str(),
        "confirmed": !arguments.no_confirm,
    });
    if !is_unattended {
        key.add_to(&mut document, &device);
    }
    context.print(&text, &document);
    Ok(())
}

/// Whoever enrolls under a name that is taken may mean the same device with a new key.
fn exists(error: StoreError, enrollment: &Enrollment, account: &Account) -> Failure {
    let rotate = match &error {
        StoreError::DeviceExists(name) if enrollment.device(name).is_some() => {
            let device = match *name == DeviceName::default() {
                true => String::new(),
                false => format!(" --device {name}"),
            };
            let user = &account.name;
            Some(format!(
                "or, for a new phone: totpctl rotate {user}{device}"
            ))
        }
        _ => None,
    };
    Failure::from(error).with(rotate.as_slice())
}

fn done(account: &Account, device: &DeviceName, confirmed: bool) -> String {
    let next = if confirmed {
        "The code just typed is used up: wait for the next code to log in."
    } else {
        "No code was asked for: try a login before you close this session."
    };
    format!("Device {device} of {} is active.\n{next}", account.name)
}
