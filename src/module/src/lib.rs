//! `pam_totp.so`: a PAM module that asks for a one-time code after the password.
//!
//! Nothing is decided here. This crate turns what libpam hands over into a [`Request`], lets
//! [`authenticate`] run, and turns the [`Outcome`] into a code of libpam's.

mod arguments;
mod conversation;
mod ffi;
mod password;

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use pam::constants::{PAM_SILENT, PamFlag, PamResultCode};
use pam::items::{RHost, RUser, Service, Tty};
use pam::module::{PamHandle, PamHooks};
use totp_core::address::{Address, Origin};
use totp_core::doors::{Caller, Conversation as _};
use totp_core::event::{Event, Severity};
use totp_core::flow::{Outcome, Request, authenticate};
use totp_core::message;
use totp_core::ssh_key::Fingerprint;
use totp_host::meter::Meter;
use totp_host::store::FileStore;
use totp_host::system::Machine;

use crate::arguments::Arguments;
use crate::conversation::Conversation;

struct Module;

#[allow(
    missing_docs,
    reason = "the six entry points of libpam, made by the macro"
)]
mod entry_points {
    use super::Module;
    pam::pam_hooks!(Module);
}

impl PamHooks for Module {
    fn sm_authenticate(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        // What a panic prints would end up on the terminal or in the protocol of the host process.
        static SILENT: Once = Once::new();
        SILENT.call_once(|| std::panic::set_hook(Box::new(|_| {})));

        let run = AssertUnwindSafe(|| run(pamh, &args, flags));
        match catch_unwind(run) {
            Ok(code) => code,
            Err(_) => {
                let event = Event::new(Severity::Error, "panic");
                let reason = "a defect of pam_totp: please report it with the lines before";
                ffi::log(pamh, &event.because(reason));
                PamResultCode::PAM_ABORT
            }
        }
    }

    /// Codes give no credentials. Anything but success would fail a stack that has let its user in.
    fn sm_setcred(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }
}

fn run(pamh: &mut PamHandle, args: &[&CStr], flags: PamFlag) -> PamResultCode {
    // pam-bindings gives an error for a name that is not UTF-8. No account has such a name.
    let user = pamh.get_user(None).ok();
    let pamh: &PamHandle = pamh;
    let service = item::<Service<'_>>(pamh).unwrap_or_default();
    if service == password::SERVICE {
        // We asked libpam whether a password is right, and its stack leads back to us.
        let event = Event::new(Severity::Error, "misconfigured");
        let reason = "the stack of this service must not have pam_totp in it";
        ffi::log(pamh, &event.because(reason));
        return PamResultCode::PAM_SERVICE_ERR;
    }
    let mut person = Conversation::new(pamh, flags & PAM_SILENT != 0);

    let settings = Arguments::parse(args).and_then(|arguments| {
        let config = totp_host::config::load(arguments.config.as_deref());
        Ok((
            config.map_err(|error| error.to_string())?,
            arguments.options,
        ))
    });
    let (config, options) = match settings {
        Ok(settings) => settings,
        Err(reason) => {
            let event = Event::new(Severity::Error, "misconfigured");
            ffi::log(pamh, &event.because(reason));
            if !args.contains(&c"no_info") {
                person.tell(message::OUT_OF_ORDER);
            }
            return PamResultCode::PAM_SERVICE_ERR;
        }
    };
    #[cfg(feature = "panic-probe")]
    assert!(options.prompt.as_deref() != Some("panic"), "asked for");

    let request = Request {
        user: user.as_deref(),
        service: &service,
        caller: Caller {
            address: address(pamh),
            ssh_keys: ffi::getenv(pamh, c"SSH_AUTH_INFO_0")
                .map(|info| Fingerprint::of_login(&info))
                .unwrap_or_default(),
        },
        options,
    };
    let log = |event: &Event| ffi::log(pamh, event);
    let system = Machine::metered(log, Meter::new(&config.run_dir));
    let store = FileStore::new(&config, &system);
    code(&authenticate(
        &request,
        &config,
        &mut person,
        &store,
        &system,
    ))
}

/// What libpam is told. The one place that says yes, and it takes the proof that the person has a device.
fn code(outcome: &Outcome) -> PamResultCode {
    match outcome {
        Outcome::Accepted(_) | Outcome::Enrolled(_) => PamResultCode::PAM_SUCCESS,
        Outcome::Ignored => PamResultCode::PAM_IGNORE,
        Outcome::Denied => PamResultCode::PAM_AUTH_ERR,
    }
}

fn address(pamh: &PamHandle) -> Address {
    let (rhost, tty) = (item::<RHost<'_>>(pamh), item::<Tty<'_>>(pamh));
    let ssh_connection = ffi::getenv(pamh, c"SSH_CONNECTION");
    let caller = item::<RUser<'_>>(pamh);
    let caller = caller.and_then(|name| totp_host::account::account(&name).ok().flatten());
    Address::of(&Origin {
        rhost: rhost.as_deref(),
        ssh_connection: ssh_connection.as_deref(),
        tty: tty.as_deref(),
        ruser_uid: caller.map(|account| account.uid),
        real_uid: totp_host::account::real_uid(),
    })
}

/// A copy of an item: what libpam holds may change in a conversation.
fn item<'a, T>(pamh: &'a PamHandle) -> Option<String>
where
    T: pam::items::Item<'a> + std::ops::Deref<Target = &'a CStr>,
{
    let item = pamh.get_item::<T>().ok().flatten()?;
    Some(item.to_string_lossy().into_owned())
}
