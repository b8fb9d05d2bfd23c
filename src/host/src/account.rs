//! Accounts of the machine, through its name services.

use nix::errno::Errno;
use nix::unistd::User;
use totp_core::doors::Account;

/// The account of that name; `None` where there is certainly none.
///
/// # Errors
/// A sentence, where the account database can't be asked.
pub fn account(name: &str) -> Result<Option<Account>, String> {
    // LOGIN_NAME_MAX of Linux; a NUL can't be asked for at all.
    const MAX_BYTES: usize = 256;
    if name.is_empty() || name.len() > MAX_BYTES || name.contains('\0') {
        return Ok(None);
    }
    match User::from_name(name) {
        Ok(user) => Ok(user.map(|user| Account {
            name: user.name,
            uid: user.uid.as_raw(),
        })),
        // What getpwnam(3) says some name services give for "no such account".
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(errno) => Err(format!("cannot look up the account: {}", errno.desc())),
    }
}

/// The real user id of this process: under su and sudo, the caller's or root's.
#[must_use]
pub fn real_uid() -> u32 {
    nix::unistd::Uid::current().as_raw()
}
