//! The account's password, checked through a PAM service of its own.
//!
//! A stack that has us behind a `required` password module runs us after a wrong password as well. Before a password
//! entitles anybody to enroll it is therefore checked again, by the stack of the service [`SERVICE`].

use std::cell::Cell;

use pam::items::{AuthTok, RHost, Tty};
use pam::module::PamHandle;
use subtle::ConstantTimeEq;
use totp_core::answer::Answer;
use totp_core::doors::{Account, PasswordCheck};
use totp_host::enroll_stack::{self, SERVICE};
use totp_host::pam::{Code, Item, Message, NO_EMPTY_PASSWORD, Reply, SILENT, Transaction};
use zeroize::Zeroizing;

use crate::item;

/// A password. Wiped on drop; has no `Debug`.
pub(crate) struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes it over; `None` where it is none that libpam could hand on.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let is_one = (1..=Answer::MAX_BYTES).contains(&bytes.len()) && !bytes.contains(&0);
        is_one.then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The same, to be judged.
    pub(crate) fn into_answer(self) -> Answer {
        Answer::new(self.0)
    }

    /// Whether it is this one, compared in constant time.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.0.as_slice().ct_eq(bytes).into()
    }
}

/// The password that was typed before our turn.
pub(crate) fn typed_before(pamh: &PamHandle) -> Option<Password> {
    let token = pamh.get_item::<AuthTok<'_>>().ok().flatten()?;
    Password::new(token.as_bytes())
}

/// Whether a password is the account's: it is the answer to each prompt of the service that hides what is typed. What
/// the service says is dropped, and any other question ends the attempt.
///
/// # Errors
/// A sentence for the log, where nothing has judged it: what was said then would have been said of any password.
pub(crate) fn check(
    pamh: &PamHandle,
    account: &Account,
    password: &Password,
) -> Result<PasswordCheck, String> {
    enroll_stack::check()?;
    let was_asked = Cell::new(false);
    let mut answer = |message: Message<'_>| match message {
        Message::AskHidden(_) => {
            was_asked.set(true);
            Some(password.0.clone())
        }
        Message::Error(_) | Message::Info(_) => Some(Reply::default()),
        Message::Ask(_) => None,
    };
    let mut transaction = Transaction::start(SERVICE, &account.name, &mut answer)?;
    for (item, value) in [
        (Item::Tty, item::<Tty<'_>>(pamh)),
        (Item::Rhost, item::<RHost<'_>>(pamh)),
    ] {
        if let Some(value) = value {
            transaction.set(item, &value)?;
        }
    }
    let flags = SILENT | NO_EMPTY_PASSWORD;
    match transaction.authenticate(flags) {
        Code::SUCCESS => {}
        Code::AUTH_ERR | Code::MAX_TRIES | Code::USER_UNKNOWN => return Ok(PasswordCheck::Wrong),
        // Of several modules one may have judged it, which the code doesn't tell.
        code => {
            return Ok(PasswordCheck::Impossible {
                reason: format!("service {SERVICE}: {code}"),
                was_asked: was_asked.get(),
            });
        }
    }
    Ok(match transaction.account(flags) {
        // A new one is asked for by the application, when the login asks for the account.
        Code::SUCCESS | Code::NEW_PASSWORD => PasswordCheck::Right,
        // An account that is over or locked gets no device either, and has nobody to be kept out.
        _ => PasswordCheck::Wrong,
    })
}
