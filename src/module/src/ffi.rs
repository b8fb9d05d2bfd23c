//! The calls of libpam that pam-bindings 0.4.0 has no words for.

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use libc::{c_char, c_int};
use pam::module::PamHandle;
use totp_core::event::Event;
use totp_core::trust::Place;
use zeroize::Zeroizing;

// SAFETY: the prototypes are those of pam_ext.h and pam_appl.h; libpam is linked by pam-bindings.
unsafe extern "C" {
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const RawConversation,
        pamh: *mut *mut PamHandle,
    ) -> c_int;
    fn pam_set_item(pamh: *mut PamHandle, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(pamh: *mut PamHandle, flags: c_int) -> c_int;
    fn pam_end(pamh: *mut PamHandle, status: c_int) -> c_int;
}

/// `struct pam_conv` of pam_appl.h.
#[repr(C)]
struct RawConversation {
    converse:
        extern "C" fn(c_int, *const *const RawMessage, *mut *mut RawResponse, *mut c_void) -> c_int,
    data: *mut c_void,
}

/// `struct pam_message`.
#[repr(C)]
struct RawMessage {
    style: c_int,
    text: *const c_char,
}

/// `struct pam_response`.
#[repr(C)]
struct RawResponse {
    text: *mut c_char,
    code: c_int,
}

/// A password. Wiped on drop; has no `Debug`.
pub(crate) struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes it over; `None` where it is empty, too long for libpam or has a NUL in it.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        const MAX_BYTES: usize = 512;
        let is_one = (1..=MAX_BYTES).contains(&bytes.len()) && !bytes.contains(&0);
        is_one.then(|| {
            let mut terminated = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_add(1)));
            terminated.extend_from_slice(bytes);
            terminated.push(0);
            Self(terminated)
        })
    }
}

/// A password that is tried at a service.
pub(crate) struct Attempt<'a> {
    pub(crate) service: &'a str,
    pub(crate) user: &'a str,
    pub(crate) rhost: Option<String>,
    pub(crate) tty: Option<String>,
    pub(crate) password: &'a Password,
}

/// Whether `pam_authenticate` of another transaction takes the password. What its modules say is dropped, and the
/// password is the answer to each prompt that hides it; any other prompt ends the attempt.
///
/// # Errors
/// A sentence, where the service can't be asked.
pub(crate) fn authenticate(attempt: &Attempt<'_>) -> Result<bool, String> {
    const PAM_TTY: c_int = 3;
    const PAM_RHOST: c_int = 4;
    const PAM_SILENT: c_int = 0x8000;
    const PAM_DISALLOW_NULL_AUTHTOK: c_int = 1;
    // Codes that say that the user or the password is not right: pam.h's PAM_AUTH_ERR, PAM_USER_UNKNOWN, PAM_MAXTRIES.
    const REFUSALS: [c_int; 3] = [7, 10, 8];
    let c_string = |text: &str| CString::new(text).map_err(|_| "a NUL in an item".to_owned());
    let (service, user) = (c_string(attempt.service)?, c_string(attempt.user)?);
    let conversation = RawConversation {
        converse: answer_with_password,
        data: ptr::from_ref(attempt.password).cast_mut().cast(),
    };
    let mut pamh = ptr::null_mut();
    // SAFETY: pam_start(3) copies the strings and the structure; the password that the structure points to lives
    // until after pam_end.
    let started = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &conversation, &mut pamh) };
    if started != 0 || pamh.is_null() {
        return Err(format!(
            "service {}: libpam gives code {started}",
            attempt.service
        ));
    }
    for (item, value) in [(PAM_TTY, &attempt.tty), (PAM_RHOST, &attempt.rhost)] {
        if let Some(value) = value.as_deref().map(c_string).transpose()? {
            // SAFETY: the handle is live; for these items pam_set_item(3) copies a C string.
            unsafe { pam_set_item(pamh, item, value.as_ptr().cast()) };
        }
    }
    // SAFETY: the handle is live.
    let code = unsafe { pam_authenticate(pamh, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK) };
    // SAFETY: the handle came from pam_start and is ended once.
    unsafe { pam_end(pamh, code) };
    match code {
        0 => Ok(true),
        code if REFUSALS.contains(&code) => Ok(false),
        code => Err(format!(
            "service {}: libpam gives code {code}",
            attempt.service
        )),
    }
}

/// The other end of the conversation: gives the password to prompts that hide it.
extern "C" fn answer_with_password(
    count: c_int,
    messages: *const *const RawMessage,
    responses: *mut *mut RawResponse,
    data: *mut c_void,
) -> c_int {
    const PAM_BUF_ERR: c_int = 5;
    const PAM_CONV_ERR: c_int = 19;
    const PAM_PROMPT_ECHO_OFF: c_int = 1;
    const PAM_ERROR_MSG: c_int = 3;
    const PAM_TEXT_INFO: c_int = 4;
    const MOST_MESSAGES: usize = 32;
    let count = usize::try_from(count).unwrap_or(0);
    if !(1..=MOST_MESSAGES).contains(&count) || messages.is_null() || data.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: pam_conv(3): `messages` is an array of `count` pointers to messages, each alive for the call.
    let styles = unsafe { std::slice::from_raw_parts(messages, count) };
    // SAFETY: as above.
    let styles = styles.iter().map(|message| unsafe { (**message).style });
    let styles: Vec<c_int> = styles.collect();
    let is_known =
        |style: &c_int| matches!(*style, PAM_PROMPT_ECHO_OFF | PAM_ERROR_MSG | PAM_TEXT_INFO);
    if !styles.iter().all(is_known) {
        return PAM_CONV_ERR;
    }
    // SAFETY: `data` is the password that `authenticate` handed in, which it keeps until pam_end.
    let password = unsafe { &*data.cast::<Password>() };
    // SAFETY: calloc(3) of an array whose elements are valid when zeroed. The caller frees it and each text, with
    // free(3), as pam_conv(3) has it.
    let replies = unsafe { libc::calloc(count, size_of::<RawResponse>()) }.cast::<RawResponse>();
    if replies.is_null() {
        return PAM_BUF_ERR;
    }
    for (index, style) in styles.iter().enumerate() {
        if *style == PAM_PROMPT_ECHO_OFF {
            // SAFETY: `index` is below `count`; the password ends with a NUL. A copy that can't be made is null,
            // which is no answer.
            unsafe { (*replies.add(index)).text = libc::strdup(password.0.as_ptr().cast()) };
        }
    }
    // SAFETY: pam_conv(3): `responses` takes the array.
    unsafe { *responses = replies };
    0
}

/// What this transaction has come to, for as long as it lasts. The process that ends a login need not be the one that
/// asked (sshd), and the user need not be the same by then (sudo).
pub(crate) struct Ending {
    /// The user and the place that is to be trusted, where a code was accepted.
    pub(crate) trust: Option<(String, Place)>,
}

impl Ending {
    const KEY: &str = "pam_totp";

    /// Notes it.
    pub(crate) fn note(self, pamh: &mut PamHandle) {
        // Where that can't be done the person is asked again.
        let _ = pamh.set_data(Self::KEY, Box::new(self));
    }

    /// What was noted in this transaction.
    pub(crate) fn noted(pamh: &PamHandle) -> Option<&Self> {
        // SAFETY: nobody but `note` stores anything under this key, which is the name of this module.
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
