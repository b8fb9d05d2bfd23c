//! `pam_totp.so`: a PAM module that asks for a one-time code after the password.
//!
//! Nothing is decided here. This crate turns what libpam hands over into a [`Request`], lets
//! [`authenticate`] run, and turns the [`Outcome`] into a code of libpam's.

mod conversation;
mod ffi;
mod password;

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use pam::constants::{PAM_DELETE_CRED, PAM_SILENT, PamFlag, PamResultCode};
use pam::items::{RHost, RUser, Service, Tty, User};
use pam::module::{PamHandle, PamHooks};
use totp_core::address::{Address, Origin};
use totp_core::config::Config;
use totp_core::doors::{Caller, Conversation as _, Store as _, System as _};
use totp_core::event::{Event, Severity};
use totp_core::flow::{Arguments, Options, Outcome, Request, authenticate};
use totp_core::message;
use totp_core::ssh_key::Fingerprint;
use totp_core::time::Span;
use totp_core::trust::Place;
use totp_host::enroll_stack;
use totp_host::meter::Meter;
use totp_host::process::Room;
use totp_host::store::FileStore;
use totp_host::system::Machine;

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
        silence_panics();
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

    /// The login has succeeded: what has to be noted of it is. Codes give no credentials, and anything but success would
    /// fail a stack that has let its user in.
    fn sm_setcred(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        if flags & PAM_DELETE_CRED == 0 {
            silence_panics();
            let _ = catch_unwind(AssertUnwindSafe(|| note_success(pamh, &args)));
        }
        PamResultCode::PAM_SUCCESS
    }
}

/// What a panic prints would end up on the terminal or in the protocol of the host process.
fn silence_panics() {
    static SILENT: Once = Once::new();
    SILENT.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// Has the place of this login trusted, where the policy has that and a code was accepted.
fn note_success(pamh: &PamHandle, args: &[&CStr]) {
    // The item, since pam_get_user would ask where there is none.
    let user = item::<User<'_>>(pamh);
    let _room = Room::make();
    let noted = ffi::Noted::of(pamh).map(|ending| ending.trust.clone());
    if let Some(None) = noted {
        return;
    }
    let Ok((config, _)) = settings(args) else {
        return;
    };
    // Another process has asked, and its state is all that we know.
    let elsewhere = || {
        let service = item::<Service<'_>>(pamh).unwrap_or_default();
        user.zip(place(&service, &address(pamh), &config))
    };
    let Some((user, place)) = noted.flatten().or_else(elsewhere) else {
        return;
    };
    let log = |event: &Event| ffi::log(pamh, event);
    let system = Machine::metered(log, Meter::new(&config.run_dir));
    let store = FileStore::new(&config, &system);
    let Ok(Some(account)) = totp_host::account::account(&user) else {
        return;
    };
    // Who is not enrolled has no place to be trusted at.
    if matches!(store.is_enrolled(&account), Ok(true)) {
        if let Err(error) = store.confirm_trust(&account, place) {
            system.log(&Event::new(Severity::Error, "untrusted").because(error));
        }
    }
}

/// The configuration and what the line says.
fn settings(args: &[&CStr]) -> Result<(Config, Options), String> {
    let texts: Result<Vec<&str>, _> = args.iter().map(|argument| argument.to_str()).collect();
    let arguments = Arguments::parse(texts.map_err(|_| "a module argument is not UTF-8")?)?;
    let config = totp_host::config::load(arguments.config.as_deref());
    Ok((
        config.map_err(|error| error.to_string())?,
        arguments.options,
    ))
}

/// The place of a login, where the policy trusts places.
fn place(service: &str, address: &Address, config: &Config) -> Option<Place> {
    if config.policy.trust == Span::ZERO {
        return None;
    }
    let session = match address.is_local() {
        true => totp_host::process::session(),
        false => None,
    };
    Place::of(service, address, session.as_deref())
}

fn run(pamh: &mut PamHandle, args: &[&CStr], flags: PamFlag) -> PamResultCode {
    // pam-bindings gives an error for a name that is not UTF-8. No account has such a name.
    let user = pamh.get_user(None).ok();
    let (code, ending) = answer(pamh, user.as_deref(), args, flags);
    ending.note(pamh);
    code
}

/// What libpam is told, and what is to be remembered until the end of the login.
fn answer(
    pamh: &PamHandle,
    user: Option<&str>,
    args: &[&CStr],
    flags: PamFlag,
) -> (PamResultCode, ffi::Noted) {
    let nothing = ffi::Noted { trust: None };
    let service = item::<Service<'_>>(pamh).unwrap_or_default();
    if service == enroll_stack::SERVICE {
        // We asked libpam whether a password is right, and its stack leads back to us.
        let event = Event::new(Severity::Error, "misconfigured");
        let reason = "the stack of this service must not have pam_totp in it";
        ffi::log(pamh, &event.because(reason));
        return (PamResultCode::PAM_SERVICE_ERR, nothing);
    }
    let mut person = Conversation::new(pamh, flags & PAM_SILENT != 0);

    let (config, options) = match settings(args) {
        Ok(settings) => settings,
        Err(reason) => {
            let event = Event::new(Severity::Error, "misconfigured");
            ffi::log(pamh, &event.because(reason));
            if !args.contains(&c"no_info") {
                person.tell(message::OUT_OF_ORDER);
            }
            return (PamResultCode::PAM_SERVICE_ERR, nothing);
        }
    };
    #[cfg(feature = "panic-probe")]
    assert!(options.prompt.as_deref() != Some("panic"), "asked for");

    let address = address(pamh);
    let request = Request {
        user,
        caller: Caller {
            service: service.clone(),
            is_sshd: Caller::is_sshd(&service, item::<Tty<'_>>(pamh).as_deref()),
            place: place(&service, &address, &config),
            address,
            ssh_keys: ffi::getenv(pamh, c"SSH_AUTH_INFO_0")
                .map(|info| Fingerprint::of_login(&info))
                .unwrap_or_default(),
        },
        options,
    };
    let log = |event: &Event| ffi::log(pamh, event);
    let system = Machine::metered(log, Meter::new(&config.run_dir));
    let store = FileStore::new(&config, &system);
    let outcome = authenticate(&request, &config, &mut person, &store, &system);
    let trust = match outcome {
        Outcome::Accepted(_) => user.map(str::to_owned).zip(request.caller.place),
        _ => None,
    };
    (code(&outcome), ffi::Noted { trust })
}

/// What libpam is told. The one place that says yes, and it takes the proof that the person has a device, or had it a
/// moment ago.
fn code(outcome: &Outcome) -> PamResultCode {
    match outcome {
        Outcome::Accepted(_) | Outcome::Enrolled(_) | Outcome::Trusted(_) => {
            PamResultCode::PAM_SUCCESS
        }
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
