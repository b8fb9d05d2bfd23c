//! libpam as an application uses it: to have a stack of the system run, and be the other end of its conversation.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use nix::libc::{self, c_char, c_int};
use zeroize::Zeroizing;

/// What libpam makes of a transaction; there is nothing in it for us to look at.
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

// SAFETY: the prototypes are those of pam_appl.h.
#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const RawConversation,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_strerror(handle: *mut Handle, code: c_int) -> *const c_char;
}

/// `struct pam_conv`.
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

/// A code of libpam's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code(pub i32);

impl Code {
    /// PAM_SUCCESS.
    pub const SUCCESS: Self = Self(0);
    /// PAM_MAXTRIES.
    pub const MAX_TRIES: Self = Self(11);
    /// PAM_AUTH_ERR.
    pub const AUTH_ERR: Self = Self(7);
    /// PAM_USER_UNKNOWN.
    pub const USER_UNKNOWN: Self = Self(10);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: pam_strerror(3) of Linux-PAM does not look at the handle, and gives a string that is never freed.
        let text = unsafe { pam_strerror(ptr::null_mut(), self.0) };
        if text.is_null() {
            return write!(f, "code {}", self.0);
        }
        // SAFETY: as above: a C string that lives for ever.
        let text = unsafe { CStr::from_ptr(text) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

/// A message of a stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// Asks for something that is not to be seen while it is typed.
    AskHidden(&'a str),
    /// Asks for something that may be.
    Ask(&'a str),
    /// Tells of an error.
    Error(&'a str),
    /// Tells something.
    Info(&'a str),
}

/// An answer to a message. Wiped on drop.
pub type Reply = Zeroizing<Vec<u8>>;

/// Items that an application sets (pam_set_item(3)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub enum Item {
    /// The terminal.
    Tty = 3,
    /// The remote host.
    Rhost = 4,
    /// Who asks.
    Ruser = 8,
}

/// A transaction: `pam_start` to `pam_end`.
pub struct Transaction<'a, A> {
    handle: *mut Handle,
    last: Code,
    /// What `converse` finds behind its pointer is borrowed until after `pam_end`.
    answer: PhantomData<&'a mut A>,
}

/// Asks for no messages, and for no account without a password (pam_authenticate(3)).
pub const QUIET_AND_STRICT: i32 = 0x8000 | 1;

impl<'a, A: FnMut(Message<'_>) -> Option<Reply>> Transaction<'a, A> {
    /// Starts one. `answer` hears each message, and `None` from it ends the conversation. What only tells wants no
    /// answer, and drops one.
    ///
    /// # Errors
    /// A sentence, where libpam does not know the service or can't read its stack.
    pub fn start(service: &str, user: &str, answer: &'a mut A) -> Result<Self, String> {
        let (service_name, user) = (c_string(service)?, c_string(user)?);
        let conversation = RawConversation {
            converse: converse::<A>,
            data: ptr::from_mut(answer).cast(),
        };
        let mut handle = ptr::null_mut();
        // SAFETY: pam_start(3) copies the strings and the structure; what the structure points to is borrowed for as long
        // as the transaction lives.
        let code = unsafe {
            pam_start(
                service_name.as_ptr(),
                user.as_ptr(),
                &conversation,
                &mut handle,
            )
        };
        if code != 0 || handle.is_null() {
            return Err(format!(
                "libpam can't start the service {service}: {}",
                Code(code)
            ));
        }
        Ok(Self {
            handle,
            last: Code(code),
            answer: PhantomData,
        })
    }

    /// Sets an item.
    ///
    /// # Errors
    /// A sentence, where libpam does not take it.
    pub fn set(&mut self, item: Item, value: &str) -> Result<(), String> {
        let value = c_string(value)?;
        // SAFETY: the handle is live until drop; for each `Item` pam_set_item(3) copies a C string.
        let code = unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) };
        match Code(code) {
            Code::SUCCESS => Ok(()),
            code => Err(format!("libpam takes no {item:?}: {code}")),
        }
    }

    /// `pam_authenticate`.
    pub fn authenticate(&mut self, flags: i32) -> Code {
        // SAFETY: the handle is live, and what `converse` uses lives longer.
        self.last = Code(unsafe { pam_authenticate(self.handle, flags) });
        self.last
    }

    /// `pam_acct_mgmt`.
    pub fn account(&mut self, flags: i32) -> Code {
        // SAFETY: as for `authenticate`.
        self.last = Code(unsafe { pam_acct_mgmt(self.handle, flags) });
        self.last
    }
}

impl<A> Drop for Transaction<'_, A> {
    fn drop(&mut self) {
        // SAFETY: the handle came from pam_start and is ended once, here.
        unsafe { pam_end(self.handle, self.last.0) };
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a name with a NUL in it".to_owned())
}

/// The conversation function: hands each message to the `A` behind `data`.
extern "C" fn converse<A: FnMut(Message<'_>) -> Option<Reply>>(
    count: c_int,
    messages: *const *const RawMessage,
    responses: *mut *mut RawResponse,
    data: *mut c_void,
) -> c_int {
    const PAM_BUF_ERR: c_int = 5;
    const PAM_CONV_ERR: c_int = 19;
    const MOST_MESSAGES: usize = 32;
    let count = usize::try_from(count).unwrap_or(0);
    if !(1..=MOST_MESSAGES).contains(&count)
        || messages.is_null()
        || responses.is_null()
        || data.is_null()
    {
        return PAM_CONV_ERR;
    }
    // SAFETY: calloc(3) of an array whose elements are valid when zeroed. On success the caller frees it and each text,
    // with free(3), as pam_conv(3) has it.
    let array = unsafe { libc::calloc(count, size_of::<RawResponse>()) }.cast::<RawResponse>();
    if array.is_null() {
        return PAM_BUF_ERR;
    }
    let mut replies = Replies { array, count };
    // SAFETY: `data` is what `Transaction::start` handed in: an `A` that is borrowed for the transaction, and that nobody
    // else uses while libpam runs.
    let answer = unsafe { &mut *data.cast::<A>() };
    for index in 0..count {
        // SAFETY: pam_conv(3): `messages` is an array of `count` pointers to messages, alive for the call.
        let message = unsafe { &**messages.add(index) };
        // A panic must not unwind into libpam.
        let asked = std::panic::AssertUnwindSafe(|| ask(message, answer));
        match std::panic::catch_unwind(asked).ok().flatten() {
            Some(reply) if replies.set(index, &reply).is_some() => {}
            _ => return PAM_CONV_ERR,
        }
    }
    // SAFETY: pam_conv(3): `responses` takes the array, which is not ours any more.
    unsafe { *responses = replies.into_raw() };
    0
}

/// The reply to one message; `None` ends the conversation.
fn ask(
    message: &RawMessage,
    answer: &mut impl FnMut(Message<'_>) -> Option<Reply>,
) -> Option<Reply> {
    let text = match message.text.is_null() {
        true => String::new(),
        // SAFETY: pam_conv(3): the text is a C string, alive for the call.
        false => unsafe { CStr::from_ptr(message.text) }
            .to_string_lossy()
            .into_owned(),
    };
    let message = match message.style {
        1 => Message::AskHidden(&text),
        2 => Message::Ask(&text),
        3 => Message::Error(&text),
        4 => Message::Info(&text),
        _ => return None,
    };
    answer(message)
}

/// Replies on their way to libpam, which frees them; what does not get there is wiped and freed here.
struct Replies {
    array: *mut RawResponse,
    count: usize,
}

impl Replies {
    fn set(&mut self, index: usize, reply: &[u8]) -> Option<()> {
        let mut text = Zeroizing::new(Vec::with_capacity(reply.len().checked_add(1)?));
        text.extend_from_slice(reply);
        text.push(0);
        let text = CStr::from_bytes_with_nul(&text).ok()?;
        // SAFETY: strdup(3) of a C string; `index` is below `count`.
        unsafe {
            let copy = libc::strdup(text.as_ptr());
            (*self.array.add(index)).text = copy;
            (!copy.is_null()).then_some(())
        }
    }

    fn into_raw(self) -> *mut RawResponse {
        let array = self.array;
        std::mem::forget(self);
        array
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        for index in 0..self.count {
            // SAFETY: the array has `count` elements, each null or a C string of strdup(3)'s.
            unsafe {
                let text = (*self.array.add(index)).text;
                if !text.is_null() {
                    libc::explicit_bzero(text.cast(), libc::strlen(text));
                    libc::free(text.cast());
                }
            }
        }
        // SAFETY: calloc's, and freed once.
        unsafe { libc::free(self.array.cast()) };
    }
}
