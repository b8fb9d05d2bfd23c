//! The account's password, checked through a PAM service of its own.
//!
//! A stack that has us behind a `required` password module runs us after a wrong password as well. Before a password
//! entitles anybody to enroll it is therefore checked again, by the stack of the service [`SERVICE`].

use std::fs;
use std::os::unix::fs::MetadataExt;

use pam::items::{AuthTok, RHost, Tty};
use pam::module::PamHandle;
use totp_core::doors::Account;

use crate::ffi::{self, Attempt};
use crate::item;

/// The service that checks passwords. Its stack must not lead to this module.
pub(crate) const SERVICE: &str = "totp-enroll";

/// The password that was typed before our turn.
pub(crate) fn typed_before(pamh: &PamHandle) -> Option<ffi::Password> {
    let token = pamh.get_item::<AuthTok<'_>>().ok().flatten()?;
    ffi::Password::new(token.as_bytes())
}

/// Whether a password is the account's.
///
/// # Errors
/// A sentence for the log, where that can't be told.
pub(crate) fn is_right(
    pamh: &PamHandle,
    account: &Account,
    password: &ffi::Password,
) -> Result<bool, String> {
    refuse_other_stacks()?;
    let attempt = Attempt {
        service: SERVICE,
        user: &account.name,
        rhost: item::<RHost<'_>>(pamh),
        tty: item::<Tty<'_>>(pamh),
        password,
    };
    ffi::authenticate(&attempt)
}

/// Without a file of exactly that name libpam would take the stack of `other`.
fn refuse_other_stacks() -> Result<(), String> {
    const PATH: &str = "/etc/pam.d/totp-enroll";
    let problem = match fs::symlink_metadata(PATH) {
        Err(error) => error.to_string(),
        Ok(file) if !file.is_file() => "it is no file of its own".to_owned(),
        Ok(file) if file.uid() != 0 => "it isn't root's".to_owned(),
        Ok(file) if file.mode() & 0o022 != 0 => "others may write it".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(format!(
        "nobody can enroll by password, since {PATH} can't be used: {problem}; install the example of that name"
    ))
}
