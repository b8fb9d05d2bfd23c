//! The application's side of libpam, with a scripted person at the other end of the conversation.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::ptr;
use std::rc::Rc;

/// A transaction with libpam, from `pam_start_confdir` to `pam_end`.
pub struct Login<'a> {
    handle: *mut Handle,
    talk: Rc<Talk<'a>>,
    last: Code,
}

impl<'a> Login<'a> {
    /// Starts `service` as the file of that name in `confdir` describes it. `person` answers each message.
    pub fn start(
        confdir: &Path,
        service: &str,
        user: &[u8],
        person: impl FnMut(&Message) -> Reply + 'a,
    ) -> Result<Self, Code> {
        let talk = Rc::new(Talk {
            person: RefCell::new(Box::new(person)),
            heard: RefCell::default(),
            panic: Cell::default(),
        });
        let conversation = RawConversation {
            converse,
            talk: Rc::as_ptr(&talk).cast_mut().cast(),
        };
        let confdir = c_string(confdir.as_os_str().as_encoded_bytes());
        let (service, user) = (c_string(service.as_bytes()), c_string(user));
        let mut handle = ptr::null_mut();
        // SAFETY: pam_start_confdir(3) copies the strings and the conversation structure, which live until
        // it returns; `talk`, which the structure points to, lives as long as the handle does.
        let code = Code(unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ptr(),
                &conversation,
                confdir.as_ptr(),
                &mut handle,
            )
        });
        if code != Code::SUCCESS {
            return Err(code);
        }
        Ok(Self {
            handle,
            talk,
            last: code,
        })
    }

    /// Sets an item, as sshd, sudo and login do before they authenticate.
    pub fn set(&mut self, item: Item, value: &str) {
        let value = c_string(value.as_bytes());
        // SAFETY: the handle is live until drop; for each `Item` pam_set_item(3) copies a C string.
        let code = unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) };
        assert_eq!(Code(code), Code::SUCCESS, "pam_set_item {item:?}");
    }

    /// Puts `NAME=value` into the environment of the transaction, as sshd does with what it knows of a client.
    pub fn put_env(&mut self, name: &str, value: &str) {
        let pair = c_string(format!("{name}={value}").as_bytes());
        // SAFETY: the handle is live until drop; pam_putenv(3) copies a C string.
        let code = unsafe { pam_putenv(self.handle, pair.as_ptr()) };
        assert_eq!(Code(code), Code::SUCCESS, "pam_putenv {name}");
    }

    /// `pam_authenticate`.
    pub fn authenticate(&mut self, flags: c_int) -> Code {
        self.call(pam_authenticate, flags)
    }

    /// `pam_setcred`.
    pub fn setcred(&mut self, flags: c_int) -> Code {
        self.call(pam_setcred, flags)
    }

    /// `pam_acct_mgmt`.
    pub fn acct_mgmt(&mut self) -> Code {
        self.call(pam_acct_mgmt, 0)
    }

    /// `pam_open_session`.
    pub fn open_session(&mut self) -> Code {
        self.call(pam_open_session, 0)
    }

    /// `pam_close_session`.
    pub fn close_session(&mut self) -> Code {
        self.call(pam_close_session, 0)
    }

    /// `pam_chauthtok`.
    pub fn chauthtok(&mut self) -> Code {
        self.call(pam_chauthtok, 0)
    }

    /// What the person has been shown since this was last asked.
    pub fn heard(&self) -> Vec<Message> {
        self.talk.heard.take()
    }

    fn call(&mut self, function: Function, flags: c_int) -> Code {
        // SAFETY: every `Function` takes a live handle and flags, and may call `converse`, whose data
        // outlives the handle.
        self.last = Code(unsafe { function(self.handle, flags) });
        if let Some(panic) = self.talk.panic.take() {
            resume_unwind(panic);
        }
        self.last
    }
}

impl Drop for Login<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from pam_start_confdir and is ended once, here.
        unsafe { pam_end(self.handle, self.last.0) };
    }
}

/// A PAM return code.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Code(pub c_int);

#[allow(missing_docs)]
impl Code {
    pub const SUCCESS: Self = Self(0);
    pub const OPEN_ERR: Self = Self(1);
    pub const SERVICE_ERR: Self = Self(3);
    pub const PERM_DENIED: Self = Self(6);
    pub const AUTH_ERR: Self = Self(7);
    pub const CONV_ERR: Self = Self(19);
    pub const IGNORE: Self = Self(25);
    pub const ABORT: Self = Self(26);
    pub const CONV_AGAIN: Self = Self(30);
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: pam_strerror(3) ignores the handle and returns a static C string for every number.
        let text = unsafe { CStr::from_ptr(pam_strerror(ptr::null_mut(), self.0)) };
        write!(f, "{} ({})", self.0, text.to_string_lossy())
    }
}

/// The application wants no messages.
pub const SILENT: c_int = 0x8000;
/// For `setcred` after a login.
pub const ESTABLISH_CRED: c_int = 2;
/// For `setcred` at its end.
pub const DELETE_CRED: c_int = 4;

/// What an application tells about a person and where they come from.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Item {
    User = 2,
    Tty = 3,
    Rhost = 4,
    Ruser = 8,
}

/// How a message wants to be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub enum Style {
    EchoOff,
    EchoOn,
    Error,
    Info,
    Unknown(c_int),
}

impl Style {
    /// Whether the person is to type something.
    pub fn is_prompt(self) -> bool {
        matches!(self, Self::EchoOff | Self::EchoOn)
    }
}

impl From<c_int> for Style {
    fn from(number: c_int) -> Self {
        match number {
            1 => Self::EchoOff,
            2 => Self::EchoOn,
            3 => Self::Error,
            4 => Self::Info,
            other => Self::Unknown(other),
        }
    }
}

/// One message of the conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// How it is to be shown.
    pub style: Style,
    /// What it says.
    pub text: String,
}

/// What an application may answer to a message.
#[derive(Clone, Debug)]
pub enum Reply {
    /// What was typed.
    Text(Vec<u8>),
    /// A response without text.
    Null,
    /// PAM_SUCCESS, but no responses at all.
    NoArray,
    /// No responses, and this code.
    Fail(Code),
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

type Person<'a> = dyn FnMut(&Message) -> Reply + 'a;

struct Talk<'a> {
    person: RefCell<Box<Person<'a>>>,
    heard: RefCell<Vec<Message>>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl Talk<'_> {
    fn answer(&self, style: c_int, text: &CStr) -> Reply {
        let message = Message {
            style: style.into(),
            text: text.to_string_lossy().into_owned(),
        };
        let reply = catch_unwind(AssertUnwindSafe(|| (self.person.borrow_mut())(&message)));
        self.heard.borrow_mut().push(message);
        reply.unwrap_or_else(|panic| {
            self.panic.set(Some(panic));
            Reply::Fail(Code::CONV_ERR)
        })
    }
}

/// # Safety
/// As pam_conv(3) has it: `messages` points to `count` pointers to messages, `replies` is writable, and
/// `talk` is the pointer given to `pam_start_confdir`.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const RawMessage,
    replies: *mut *mut RawReply,
    talk: *mut c_void,
) -> c_int {
    // SAFETY: `Login::start` gave libpam a pointer to a `Talk` that outlives the handle.
    let talk = unsafe { &*talk.cast::<Talk>() };
    let count = count as usize;
    // SAFETY: calloc takes any sizes; zeros are a valid `RawReply`, a reply without text.
    let array = unsafe { libc::calloc(count, size_of::<RawReply>()) }.cast::<RawReply>();
    assert!(!array.is_null(), "out of memory");
    let mut refusal = None;
    for index in 0..count {
        // SAFETY: pam_conv(3): `count` messages, each with a C string, valid during this call.
        let reply = unsafe {
            let message = &**messages.add(index);
            talk.answer(message.style, CStr::from_ptr(message.text))
        };
        match reply {
            // SAFETY: `index` is below `count`, the length of the array.
            Reply::Text(text) => unsafe { (*array.add(index)).text = allocate(&text) },
            Reply::Null => (),
            Reply::NoArray => refusal = Some(Code::SUCCESS),
            Reply::Fail(code) => refusal = Some(code),
        }
    }
    match refusal {
        Some(code) => {
            // SAFETY: pam_conv(3) leaves it to the application to free what it doesn't hand over; free(3)
            // takes NULL, and array and texts came from calloc.
            unsafe {
                (0..count).for_each(|index| libc::free((*array.add(index)).text.cast()));
                libc::free(array.cast());
                *replies = ptr::null_mut();
            }
            code.0
        }
        None => {
            // SAFETY: pam_conv(3): `replies` is where the array goes; the module frees it.
            unsafe { *replies = array };
            Code::SUCCESS.0
        }
    }
}

/// A copy of `bytes` and a NUL that the module may free.
fn allocate(bytes: &[u8]) -> *mut c_char {
    // SAFETY: calloc takes any sizes; the block holds one byte more than is copied to it.
    unsafe {
        let copy = libc::calloc(bytes.len() + 1, 1).cast::<u8>();
        assert!(!copy.is_null(), "out of memory");
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        copy.cast()
    }
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no NUL in a PAM string")
}

#[repr(C)]
struct Handle {
    opaque: [u8; 0],
}

#[repr(C)]
struct RawMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct RawReply {
    text: *mut c_char,
    unused: c_int,
}

type Converse =
    unsafe extern "C" fn(c_int, *mut *const RawMessage, *mut *mut RawReply, *mut c_void) -> c_int;

#[repr(C)]
struct RawConversation {
    converse: Converse,
    talk: *mut c_void,
}

type Function = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const RawConversation,
        confdir: *const c_char,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_putenv(handle: *mut Handle, pair: *const c_char) -> c_int;
    fn pam_strerror(handle: *mut Handle, code: c_int) -> *const c_char;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut Handle, flags: c_int) -> c_int;
}
