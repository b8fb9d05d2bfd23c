//! Homes of people, and what they keep there.
//!
//! MUST: a home is opened once, no link is followed to it or in it, and what is read is its owner's. Whoever owns it can
//! change it meanwhile; nothing of it is believed but whose it is.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::unistd::User;
use totp_core::doors::Account;
use zeroize::Zeroizing;

use crate::account::account_of_uid;
use crate::file::{Fault, FileError, read_of_user};

/// A folder that is an account's home.
pub struct Home {
    /// Whose it is.
    pub account: Account,
    path: PathBuf,
    file: File,
}

impl Home {
    /// The folder at `path`, if it belongs to an account and is that account's home.
    ///
    /// # Errors
    /// A sentence, where the folder or the account database can't be looked at.
    pub fn at(path: &Path) -> Result<Option<Self>, String> {
        let mut options = File::options();
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY);
        let file = match options.open(path) {
            // A file or a link among the homes is none.
            Err(error) if is_no_folder(&error) => return Ok(None),
            opened => opened
                .map_err(|error| FileError::new(path, Fault::io("open", &error)).to_string())?,
        };
        let status = file.metadata();
        let status = status
            .map_err(|error| FileError::new(path, Fault::io("look at", &error)).to_string())?;
        let Some(account) = account_of_uid(status.uid())? else {
            return Ok(None);
        };
        let user = User::from_name(&account.name);
        let user = user.map_err(|errno| format!("cannot look up the account: {}", errno.desc()))?;
        let is_home = user.is_some_and(|user| user.dir == path);
        Ok(is_home.then(|| Self {
            account,
            path: path.to_owned(),
            file,
        }))
    }

    /// Where a file of it is.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a whole file of its owner's; `None` where there is none.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        match read_of_user(self.account.uid, &self.file, Path::new(name), limit) {
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(FileError::new(&self.path_of(name), fault)),
            Ok(bytes) => Ok(Some(bytes)),
        }
    }
}

/// Reads a whole file that is root's, the effective user's or `owner`'s.
///
/// # Errors
/// [`FileError`].
pub fn read_file(
    path: &Path,
    owner: Option<&Account>,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let uid = owner.map_or(0, |account| account.uid);
    read_of_user(uid, AT_FDCWD, path, limit).map_err(|fault| FileError::new(path, fault))
}

fn is_no_folder(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOTDIR | Errno::ELOOP))
}
