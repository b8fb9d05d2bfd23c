//! libpam as an application uses it: to have a stack of the system run, and be the other end of its conversation.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{ptr, slice};

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

type Converse = unsafe extern "C" fn(
    c_int,
    *const *const RawMessage,
    *mut *mut RawResponse,
    *mut c_void,
) -> c_int;

/// `struct pam_conv`.
#[repr(C)]
struct RawConversation {
    converse: Converse,
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
    /// PAM_AUTH_ERR.
    pub const AUTH_ERR: Self = Self(7);
    /// PAM_USER_UNKNOWN.
    pub const USER_UNKNOWN: Self = Self(10);
    /// PAM_MAXTRIES.
    pub const MAX_TRIES: Self = Self(11);
    /// PAM_NEW_AUTHTOK_REQD: let in, once a new password is set.
    pub const NEW_PASSWORD: Self = Self(12);
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

/// PAM_SILENT: asks for no messages.
pub const SILENT: i32 = 0x8000;

/// PAM_DISALLOW_NULL_AUTHTOK: refuses accounts without a password.
pub const NO_EMPTY_PASSWORD: i32 = 1;

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
///
/// # Safety
/// As pam_conv(3) has it for Linux-PAM: `messages` points to `count` pointers, each null or to a message that holds null
/// or a C string, all alive for the call; a pointer may be stored at `responses`. `data` is null or what
/// [`Transaction::start`] handed in.
unsafe extern "C" fn converse<A: FnMut(Message<'_>) -> Option<Reply>>(
    count: c_int,
    messages: *const *const RawMessage,
    responses: *mut *mut RawResponse,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    if !(1..=MOST_MESSAGES).contains(&count)
        || messages.is_null()
        || responses.is_null()
        || data.is_null()
    {
        return CONV_ERR;
    }
    // SAFETY: this function's contract: `count` pointers, which any bits are.
    let messages = unsafe { slice::from_raw_parts(messages, count) };
    let Some(mut replies) = Replies::for_messages(count) else {
        return BUF_ERR;
    };
    // SAFETY: this function's contract: an `A` that is borrowed for as long as the transaction lives, and that nobody else
    // uses while libpam runs.
    let answer = unsafe { &mut *data.cast::<A>() };
    for (index, message) in messages.iter().enumerate() {
        // SAFETY: this function's contract: null or alive for the call.
        let Some(message) = (unsafe { message.as_ref() }) else {
            return CONV_ERR;
        };
        // A panic must not unwind into libpam.
        // SAFETY: this function's contract says of the text what `ask` needs.
        let asked = AssertUnwindSafe(|| unsafe { ask(message, answer) });
        match catch_unwind(asked).ok().flatten() {
            Some(reply) if replies.set(index, &reply).is_some() => {}
            _ => return CONV_ERR,
        }
    }
    // SAFETY: this function's contract: a place for the array, which is not ours any more.
    unsafe { *responses = replies.into_raw() };
    0
}

/// The reply to one message; `None` ends the conversation.
///
/// # Safety
/// The message's text is null or a C string that is alive for the call.
unsafe fn ask(
    message: &RawMessage,
    answer: &mut impl FnMut(Message<'_>) -> Option<Reply>,
) -> Option<Reply> {
    let text = match message.text.is_null() {
        true => Cow::Borrowed(""),
        // SAFETY: this function's contract.
        false => unsafe { CStr::from_ptr(message.text) }.to_string_lossy(),
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
    /// One for each message, all without a text; `None` where there is no memory.
    fn for_messages(count: usize) -> Option<Self> {
        // SAFETY: calloc(3) of an array whose elements are valid when zeroed.
        let array = unsafe { libc::calloc(count, size_of::<RawResponse>()) }.cast::<RawResponse>();
        (!array.is_null()).then_some(Self { array, count })
    }

    /// Puts one in, once; `None` where there is no memory, no such message, or a NUL in it.
    fn set(&mut self, index: usize, reply: &[u8]) -> Option<()> {
        if index >= self.count {
            return None;
        }
        let mut text = Zeroizing::new(Vec::with_capacity(reply.len().checked_add(1)?));
        text.extend_from_slice(reply);
        text.push(0);
        let text = CStr::from_bytes_with_nul(&text).ok()?;
        // SAFETY: strdup(3) of a C string; `index` is below `count`, the length of the array.
        unsafe {
            let copy = libc::strdup(text.as_ptr());
            (*self.array.add(index)).text = copy;
            (!copy.is_null()).then_some(())
        }
    }

    /// Hands them over to who frees the array and each text with free(3).
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

/// PAM_MAX_NUM_MSG.
const MOST_MESSAGES: usize = 32;

const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(style: c_int, text: Option<&'static CStr>) -> RawMessage {
        let text = text.map_or(ptr::null(), CStr::as_ptr);
        RawMessage { style, text }
    }

    /// What a module hears that sends these messages, as `count`.
    fn heard<A: FnMut(Message<'_>) -> Option<Reply>>(
        count: c_int,
        messages: &[*const RawMessage],
        mut answer: A,
    ) -> Result<Vec<Vec<u8>>, c_int> {
        let mut responses = ptr::null_mut();
        let data = ptr::from_mut(&mut answer).cast();
        // SAFETY: the tests say no higher `count` than there are messages, but for those that are refused by it.
        let code = unsafe { converse::<A>(count, messages.as_ptr(), &mut responses, data) };
        if code != 0 {
            assert!(responses.is_null());
            return Err(code);
        }
        let count = messages.len();
        let replies = Replies {
            array: responses,
            count,
        };
        let texts = (0..count).map(|index| {
            // SAFETY: on success there is a C string for each message.
            let text = unsafe { CStr::from_ptr((*replies.array.add(index)).text) };
            text.to_bytes().to_vec()
        });
        Ok(texts.collect())
    }

    #[test]
    fn each_message_gets_its_own_reply() {
        let messages = [
            message(1, Some(c"Password: ")),
            message(4, None),
            message(2, Some(c"Code\xff: ")),
        ];
        let messages = messages.each_ref().map(ptr::from_ref);
        let told = |message: Message<'_>| Some(Reply::new(format!("{message:?}").into_bytes()));
        let replies = heard(3, &messages, told).unwrap();
        assert_eq!(
            replies,
            [
                b"AskHidden(\"Password: \")".as_slice(),
                b"Info(\"\")",
                "Ask(\"Code\u{fffd}: \")".as_bytes()
            ]
        );
    }

    #[test]
    fn what_is_no_conversation_ends_it_without_replies() {
        let (good, strange) = (message(1, Some(c"Password: ")), message(7, Some(c"?")));
        let answer = |_: Message<'_>| Some(Reply::new(b"secret".to_vec()));
        let good = ptr::from_ref(&good);
        for count in [-1, 0, 33, c_int::MAX] {
            assert_eq!(heard(count, &[good], answer), Err(CONV_ERR), "{count}");
        }
        assert_eq!(heard(2, &[good, ptr::null()], answer), Err(CONV_ERR));
        assert_eq!(heard(2, &[good, &strange], answer), Err(CONV_ERR));
        assert_eq!(heard(1, &[good], |_| None), Err(CONV_ERR));
        let cut = |_: Message<'_>| Some(Reply::new(b"sec\0ret".to_vec()));
        assert_eq!(heard(1, &[good], cut), Err(CONV_ERR));
        assert_eq!(heard(1, &[good], |_| panic!("not here")), Err(CONV_ERR));
    }

    #[test]
    fn without_pointers_there_is_no_conversation() {
        let mut answer = |_: Message<'_>| Some(Reply::default());
        fn of<A: FnMut(Message<'_>) -> Option<Reply>>(_: &A) -> Converse {
            converse::<A>
        }
        let converse = of(&answer);
        let good = message(1, Some(c"Password: "));
        let (messages, mut responses) = ([ptr::from_ref(&good)], ptr::null_mut());
        let (messages, responses) = (messages.as_ptr(), &raw mut responses);
        let data = ptr::from_mut(&mut answer).cast();
        // SAFETY: null or valid, as `converse` has it.
        unsafe {
            assert_eq!(converse(1, ptr::null(), responses, data), CONV_ERR);
            assert_eq!(converse(1, messages, ptr::null_mut(), data), CONV_ERR);
            assert_eq!(converse(1, messages, responses, ptr::null_mut()), CONV_ERR);
            assert_eq!(converse(1, messages, responses, data), 0);
            drop(Replies {
                array: *responses,
                count: 1,
            });
        }
    }
}
