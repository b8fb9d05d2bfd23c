//! The calls of libpam that pam-bindings 0.4.0 has no words for.

use std::ffi::{CStr, CString};
use std::{ptr, slice};

use libc::{c_char, c_int, c_void};
use pam::module::PamHandle;
use totp_core::event::Event;
use totp_core::trust::Place;
use zeroize::{Zeroize, Zeroizing};

// SAFETY: the prototypes are those of pam_ext.h and pam_appl.h; libpam is linked by pam-bindings.
unsafe extern "C" {
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
    fn pam_get_item(pamh: *const PamHandle, kind: c_int, item: *mut *const c_void) -> c_int;
    fn pam_set_item(pamh: *mut PamHandle, kind: c_int, item: *const c_void) -> c_int;
}

const SUCCESS: c_int = 0;
const PAM_CONV: c_int = 5;
const PAM_AUTHTOK: c_int = 6;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Reply {
    text: *mut c_char,
    unused: c_int,
}

#[repr(C)]
struct Conversation {
    function: Option<Converse>,
    data: *mut c_void,
}

type Converse =
    unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Reply, *mut c_void) -> c_int;

/// Sends one message to the application, and takes what is replied, so many bytes at most. All of it is wiped but what the
/// application keeps, which pam-bindings' own does not do with the message: it may hold a key.
pub(crate) fn converse(
    pamh: &PamHandle,
    style: c_int,
    text: &str,
    most: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let text = c_string(text.as_bytes())?;
    let message = Message {
        style,
        text: text.as_ptr().cast(),
    };
    let mut item = ptr::null();
    // SAFETY: pam_get_item(3) reads a live handle and writes one pointer.
    let code = unsafe { pam_get_item(pamh, PAM_CONV, &mut item) };
    // SAFETY: PAM_CONV points to the `pam_conv` of the handle, which stays until somebody sets another one; its two fields
    // are copied before the application is called.
    let conversation = unsafe { item.cast::<Conversation>().as_ref() };
    let Conversation { function, data } = conversation.filter(|_| code == SUCCESS)?;
    let (function, data) = ((*function)?, *data);
    let mut reply = ptr::null_mut();
    // SAFETY: pam_conv(3): one message, which lives until the call returns, and where the reply goes.
    let code = unsafe { function(1, &mut ptr::from_ref(&message), &mut reply, data) };
    // What a conversation that failed has made is its own to free.
    if code != SUCCESS || reply.is_null() {
        return None;
    }
    // SAFETY: pam_conv(3): the array of one reply and its text, a C string or null, came from malloc, and are ours to
    // free: once, here. Nobody else looks at the text while it is borrowed.
    unsafe {
        let text = (*reply).text;
        let taken = (!text.is_null()).then(|| {
            let bytes = slice::from_raw_parts_mut(text.cast::<u8>(), libc::strlen(text));
            let taken = bytes.iter().take(most).copied().collect();
            bytes.zeroize();
            Zeroizing::new(taken)
        });
        libc::free(text.cast());
        libc::free(reply.cast());
        taken
    }
}

/// Makes a password the one that the modules after us are given.
///
/// # Errors
/// A sentence for the log.
pub(crate) fn set_authtok(pamh: &PamHandle, password: &[u8]) -> Result<(), String> {
    let password = c_string(password).ok_or("a password has a zero byte in it")?;
    let pamh = ptr::from_ref(pamh).cast_mut();
    // SAFETY: pam_set_item(3) copies a C string, and wipes and frees the one before it, of which nobody holds a borrow:
    // items are copied as soon as they are read. The handle was handed to us mutable.
    match unsafe { pam_set_item(pamh, PAM_AUTHTOK, password.as_ptr().cast()) } {
        SUCCESS => Ok(()),
        code => Err(format!(
            "the password can't be handed on: libpam's code {code}"
        )),
    }
}

/// A copy that ends with a zero byte, and is wiped; `None` where there is one before its end.
fn c_string(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut copy = Zeroizing::new(Vec::with_capacity(bytes.len().checked_add(1)?));
    copy.extend_from_slice(bytes);
    copy.push(0);
    CStr::from_bytes_with_nul(&copy).is_ok().then_some(copy)
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
