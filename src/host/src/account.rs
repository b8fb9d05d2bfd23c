//! Accounts of the machine, through its name services.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Group, Uid, User, getgrouplist, setresuid};
use totp_core::doors::Account;
use zeroize::Zeroizing;

use crate::file::clear_of_standard_streams;

/// The account of that name; `None` where there is certainly none.
///
/// # Errors
/// A sentence, where the account database can't be asked.
pub fn account(name: &str) -> Result<Option<Account>, String> {
    Ok(user(name)?.map(|user| Account {
        name: user.name,
        uid: user.uid.as_raw(),
    }))
}

/// All that the database has of an account; `None` where there certainly is none of that name.
pub(crate) fn user(name: &str) -> Result<Option<User>, String> {
    // LOGIN_NAME_MAX of Linux; a NUL can't be asked for at all.
    const MAX_BYTES: usize = 256;
    if name.is_empty() || name.len() > MAX_BYTES || name.contains('\0') {
        return Ok(None);
    }
    match User::from_name(name) {
        // What getpwnam(3) says some name services give for "no such account".
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(errno) => Err(format!("cannot look up the account: {}", errno.desc())),
        Ok(user) => Ok(user),
    }
}

/// Where somebody's home is; `None` where there is no such account.
///
/// # Errors
/// A sentence, where the account database can't be asked.
pub fn home(account: &Account) -> Result<Option<PathBuf>, String> {
    Ok(user(&account.name)?.map(|user| user.dir))
}

/// The account of a user id; `None` where there is none.
///
/// # Errors
/// A sentence, where the account database can't be asked.
pub fn account_of_uid(uid: u32) -> Result<Option<Account>, String> {
    match User::from_uid(uid.into()) {
        Ok(user) => Ok(user.map(|user| Account {
            name: user.name,
            uid: user.uid.as_raw(),
        })),
        Err(errno) => Err(format!("cannot look up the account: {}", errno.desc())),
    }
}

/// Whether an account is in a group, be it as its primary one; in one that does not exist nobody is.
///
/// # Errors
/// A sentence, where the group database can't be asked.
pub fn is_member(account: &Account, group: &str) -> Result<bool, String> {
    let failed = |errno: Errno| format!("cannot look up the group {group}: {}", errno.desc());
    let user = User::from_name(&account.name).map_err(failed)?;
    let primary = user.ok_or_else(|| failed(Errno::ESRCH))?.gid;
    let group = match Group::from_name(group) {
        Ok(Some(group)) => group,
        // A service that answers behind one that has failed hides that. Then the own group is not to be found either.
        Ok(None) => {
            let own = Group::from_gid(primary).map_err(failed)?;
            return own.map(|_| false).ok_or_else(|| failed(Errno::ENOENT));
        }
        // ENOENT is one: glibc gives no error for a group that no name service has, but this for a missing file.
        Err(errno) => return Err(failed(errno)),
    };
    if group.mem.contains(&account.name) {
        return Ok(true);
    }
    // A directory may know members by the user alone.
    let name = CString::new(account.name.as_str()).map_err(|_| failed(Errno::EINVAL))?;
    let groups = getgrouplist(&name, primary).map_err(failed)?;
    Ok(groups.contains(&group.gid))
}

/// Whether there is a group of that name.
///
/// # Errors
/// A sentence, where the group database can't be asked.
pub fn has_group(name: &str) -> Result<bool, String> {
    let group = Group::from_name(name);
    let group =
        group.map_err(|errno| format!("cannot look up the group {name}: {}", errno.desc()))?;
    Ok(group.is_some())
}

/// Whether an account has a line in the local files, and the password with it: in the first, or in the second where
/// the first says so with an `x`.
///
/// # Errors
/// A sentence, where a file can't be read.
pub fn is_local(account: &Account, passwd: &str, shadow: &str) -> Result<bool, String> {
    Ok(match is_elsewhere(account, passwd)? {
        None => false,
        Some(true) => is_elsewhere(account, shadow)?.is_some(),
        Some(false) => true,
    })
}

/// Whether an account's line leaves the password to another file; `None` where there is no line.
fn is_elsewhere(account: &Account, path: &str) -> Result<Option<bool>, String> {
    let text = hashes(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next() == Some(account.name.as_bytes()) {
            return Ok(Some(fields.next() == Some(b"x")));
        }
    }
    Ok(None)
}

/// A file in which people's hashes may stand: in one piece of memory, which is wiped, and never as a standard stream.
fn hashes(path: &str) -> std::io::Result<Zeroizing<Vec<u8>>> {
    /// What a longer text would be moved for.
    const SPARE: usize = 256;
    let mut file = File::from(clear_of_standard_streams(File::open(path)?.into())?);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut text = Zeroizing::new(Vec::with_capacity(length.saturating_add(SPARE)));
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// The real user id of this process: under su and sudo, the caller's or root's.
#[must_use]
pub fn real_uid() -> u32 {
    Uid::current().as_raw()
}

/// Makes an account the real user of this process and leaves it root's powers, as where it had been started setuid root.
///
/// # Errors
/// A sentence, where the process is not root's.
pub fn become_real_user(account: &Account) -> Result<(), String> {
    let root = Uid::from_raw(0);
    setresuid(account.uid.into(), root, root)
        .map_err(|errno| format!("cannot run as {}: {}", account.name, errno.desc()))
}

/// The effective user id of this process.
#[must_use]
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// Who logged in, whoever they have become since (the audit system's login uid, proc(5)); `None` where nobody did.
#[must_use]
pub fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_local_by_its_line_and_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let passwd = write(
            "passwd",
            "root:x:0:0::/:/bin/sh\nold:$6$hash:1:1::/:/bin/sh\nhalf:x:2:2::/:/bin/sh\n+::::::\nlast:x:3:3::/:",
        );
        let shadow = write("shadow", "root:*:1::::::\nlast:$y$hash:1::::::\n");
        let is_local = |name: &str| {
            let (name, uid) = (name.to_owned(), 1);
            is_local(&Account { name, uid }, &passwd, &shadow)
        };
        for (name, expected) in [
            ("root", true),
            ("old", true),
            ("half", false),
            ("last", true),
            ("roo", false),
            ("root:x", false),
            ("directory", false),
        ] {
            assert_eq!(is_local(name), Ok(expected), "{name}");
        }
        std::fs::remove_file(&shadow).unwrap();
        assert!(is_local("root").unwrap_err().contains("shadow"));
    }
}
