//! The system log, for programs that have no PAM handle to log by.

use std::ffi::CString;

use nix::libc;
use totp_core::event::{Event, Severity};

/// The priority of syslog(3) for an event.
#[must_use]
pub const fn priority(severity: Severity) -> libc::c_int {
    match severity {
        Severity::Error => libc::LOG_ERR,
        Severity::Warning => libc::LOG_WARNING,
        Severity::Notice => libc::LOG_NOTICE,
        Severity::Debug => libc::LOG_DEBUG,
    }
}

/// Writes an event as `totpctl[pid]: …` to authpriv.
pub fn log(event: &Event) {
    let Ok(line) = CString::new(event.to_string()) else {
        return; // an event escapes every NUL
    };
    let facility = libc::LOG_AUTHPRIV;
    // SAFETY: openlog keeps the pointer it is given, which is to a static string. The format takes one
    // string, and `line` is one, NUL-terminated and alive for the call.
    unsafe {
        libc::openlog(c"totpctl".as_ptr(), libc::LOG_PID, facility);
        libc::syslog(
            facility | priority(event.severity),
            c"%s".as_ptr(),
            line.as_ptr(),
        );
    }
}
