//! The calls of libpam that pam-bindings 0.4.0 has no words for.

use std::ffi::{CStr, CString};
use std::ptr;

use libc::{c_char, c_int};
use pam::module::PamHandle;
use totp_core::event::Event;
use totp_core::trust::Place;

// SAFETY: the prototypes are those of pam_ext.h and pam_appl.h; libpam is linked by pam-bindings.
unsafe extern "C" {
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
}

/// What this transaction has come to, for as long as it lasts. The process that ends a login need not be the one that
/// asked (sshd), and the user need not be the same by then (sudo).
pub(crate) struct Noted {
    /// The user and the place that is to be trusted, where a code was accepted.
    pub(crate) trust: Option<(String, Place)>,
}

impl Noted {
    const KEY: &str = concat!("pam_totp ", env!("CARGO_PKG_VERSION"));

    /// Notes it.
    pub(crate) fn note(self, pamh: &mut PamHandle) {
        // Where that can't be done the person is asked again.
        let _ = pamh.set_data(Self::KEY, Box::new(self));
    }

    /// What was noted in this transaction.
    pub(crate) fn of(pamh: &PamHandle) -> Option<&Self> {
        // SAFETY: nobody but `note` stores anything under this key, which is the name and version of this module.
        unsafe { pamh.get_data(Self::KEY) }.ok()
    }
}

/// Writes an event to the system log: authpriv, as `program[pid]: pam_totp(service:auth): …`.
pub(crate) fn log(pamh: &PamHandle, event: &Event) {
    let Ok(line) = CString::new(event.to_string()) else {
        return; // an event escapes every NUL
    };
    let priority = totp_host::log::priority(event.severity);
    // SAFETY: pam_syslog(3) reads a live handle, and the format takes one string, which `line` is,
    // NUL-terminated and alive for the call.
    unsafe { pam_syslog(pamh, priority, c"%s".as_ptr(), line.as_ptr()) }
}

/// A copy of a variable of the PAM environment, which the application sets; never of the process's own.
pub(crate) fn getenv(pamh: &PamHandle, name: &CStr) -> Option<String> {
    // SAFETY: pam_getenv(3) only reads through the handle, though its prototype takes it mutable; the
    // value it returns stays until the next call that changes the environment, and is copied before.
    let value = unsafe {
        let value = pam_getenv(ptr::from_ref(pamh).cast_mut(), name.as_ptr());
        if value.is_null() {
            None
        } else {
            Some(CStr::from_ptr(value))
        }
    };
    value.map(|value| value.to_string_lossy().into_owned())
}
