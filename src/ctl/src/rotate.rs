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
    let known = DeviceState::of(&new, counter.before());
    let key = Key::new(context, &account, &new, &known)?;
    let picture = key.write(&arguments.qr)?;
    key.show(arguments.qr.qr, &terminal, arguments.is_known())?;
    let learned = match new.otp.period() == old.otp.period() {
        true => state.device(old.id).map_or(0, |known| known.drift),
        // In steps of another length.
        false => 0,
    };
    let known = confirmed(
        context,
        &new,
        &by_each_clock(&known, learned),
        &mut terminal,
        "the old key still works",
    )?;
    // It may have got another name meanwhile.
    let name = context
        .store()
        .rotate_device(&account, old.id, &new, &known)?;
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

/// The key is in the same phone, with the clock that is known, or in a new one that is in time. The clock that is ahead
/// comes first: a code can be typed late, but not early.
fn by_each_clock(known: &DeviceState, learned: i16) -> [DeviceState; 2] {
    [learned.max(0), learned.min(0)].map(|drift| DeviceState {
        drift,
        ..known.clone()
    })
}

#[cfg(test)]
mod tests {
    use totp_core::device::DeviceId;
    use totp_core::otp::Step;

    use super::*;

    #[test]
    fn a_clock_that_is_ahead_comes_first_and_the_counter_stays() {
        let known = DeviceState::new(DeviceId(1), Some(Step(7)));
        for (learned, drifts) in [(3, [3, 0]), (-3, [0, -3]), (0, [0, 0])] {
            let clocks = by_each_clock(&known, learned);
            assert_eq!(clocks.each_ref().map(|known| known.drift), drifts);
            assert!(clocks.iter().all(|clock| clock.floor == known.floor));
        }
    }
}
