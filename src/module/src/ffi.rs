//! The calls of libpam that pam-bindings 0.4.0 has no words for.

use std::ffi::{CStr, CString};

use libc::{c_char, c_int};
use pam::module::PamHandle;
use totp_core::event::Event;

// SAFETY: the prototypes are those of pam_ext.h and pam_appl.h; libpam is linked by pam-bindings.
unsafe extern "C" {
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
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
        let value = pam_getenv(std::ptr::from_ref(pamh).cast_mut(), name.as_ptr());
        if value.is_null() {
            None
        } else {
            Some(CStr::from_ptr(value))
        }
    };
    value.map(|value| value.to_string_lossy().into_owned())
}
