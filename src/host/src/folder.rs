//! Folders that only root or the effective user can change, and the making of files in them.
//!
//! MUST: a file is replaced whole (write beside it, sync, rename, sync the folder) or not at all.

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::libc;
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use totp_core::doors::Entropy;
use zeroize::Zeroizing;

use crate::file::{
    CheckedFile, Fault, FileError, Identity, Others, Status, check_owner,
    clear_of_standard_streams, is_trusted, open_checked, unless_replaced,
};
use crate::system::SystemEntropy;
use crate::volume::{self, FS_NOCOW_FL, Kind};

/// An opened folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    file: File,
}

impl Folder {
    /// Opens a folder that only root or the effective user can change or put another in the place of.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::MissingFolder`] where it does not exist.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (folder, _) = Self::open_itself(path)?;
        folder.check_above()?;
        Ok(folder)
    }

    /// The same, where what is around the folder is checked by `check` too. Neither that nor the folder above is looked at
    /// again where it still is the one that was `seen` in order.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::MissingFolder`] where it does not exist.
    pub(crate) fn open_again(
        path: &Path,
        seen: &Cell<Option<Identity>>,
        check: impl FnOnce(&Self) -> Result<(), FileError>,
    ) -> Result<Self, FileError> {
        let (folder, identity) = Self::open_itself(path)?;
        if seen.get() != Some(identity) {
            folder.check_above()?;
            check(&folder)?;
            seen.set(Some(identity));
        }
        Ok(folder)
    }

    fn open_itself(path: &Path) -> Result<(Self, Identity), FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(AT_FDCWD, path, flags, Mode::empty())
            .and_then(clear_of_standard_streams)
            .map_err(|errno| {
                let fault = match errno {
                    Errno::ENOENT => Fault::MissingFolder,
                    Errno::ENOTDIR | Errno::ELOOP => Fault::NotFolder,
                    errno => Fault::Io {
                        doing: "open",
                        errno,
                    },
                };
                FileError::new(path, fault)
            })?;
        let folder = Self {
            path: path.to_owned(),
            file: file.into(),
        };
        let identity = folder.check(c"", path, 0)?;
        Ok((folder, identity))
    }

    /// Whoever can write to the folder above can rename this one away.
    fn check_above(&self) -> Result<(), FileError> {
        let above = self.path.parent().unwrap_or(&self.path);
        self.check(c"..", above, libc::S_ISVTX).map(|_| ())
    }

    /// Checks that nobody else may change what `name` is in this folder, save where its mode has a bit of those `allowed`.
    fn check(&self, name: &CStr, path: &Path, allowed: u32) -> Result<Identity, FileError> {
        let status = Status::of(&self.file, name, libc::AT_EMPTY_PATH).map_err(|errno| {
            self.error(Fault::Io {
                doing: "look at",
                errno,
            })
        })?;
        let error = |fault| FileError::new(path, fault);
        check_owner(status.uid).map_err(error)?;
        if status.mode & 0o022 != 0 && status.mode & allowed == 0 {
            return Err(error(Fault::Mode {
                mode: status.mode,
                wanted: 0o700,
            }));
        }
        Ok(status.identity)
    }

    /// Opens a folder, and makes it and those above it (0700) where they are missing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_or_make(path: &Path) -> Result<Self, FileError> {
        match Self::open(path) {
            Err(error) if error.is_missing() => {}
            opened => return opened,
        }
        let failed = |error: &io::Error| FileError::new(path, Fault::io("make", error));
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // What is no folder is refused below, with its reason.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(&error));
            }
            _ => {}
        }
        let folder = Self::open(path)?;
        // Whoever started us may have set a umask that leaves nothing of the mode. By what was opened and found in order:
        // somebody may have put a link in the place of the name.
        let mode = Permissions::from_mode(0o700);
        folder
            .file
            .set_permissions(mode)
            .map_err(|error| failed(&error))?;
        Ok(folder)
    }

    /// Refuses a folder of another machine's or of a program's: locks and syncs are not what they are on a
    /// disk of one's own there.
    ///
    /// # Errors
    /// [`Fault::Network`].
    pub fn refuse_network(&self) -> Result<(), FileError> {
        let kind = volume::kind(&self.file).map_err(|errno| {
            self.error(Fault::Io {
                doing: "look at",
                errno,
            })
        })?;
        match kind {
            Kind::Network => Err(self.error(Fault::Network)),
            Kind::CopyOnWrite | Kind::Ordinary => Ok(()),
        }
    }

    /// Where a file of this folder is.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file to read, and to write where `writable`: each write is durable when it returns.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::Missing`] where there is no such file.
    pub fn open_file(
        &self,
        name: &str,
        others: Others,
        writable: bool,
    ) -> Result<CheckedFile, FileError> {
        open_checked(&self.file, Path::new(name), others, writable)
            .map_err(|fault| FileError::new(&self.path_of(name), fault))
    }

    /// Checks a file that is not to be read now.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::Missing`] where there is no such file.
    pub fn check_file(&self, name: &str, others: Others) -> Result<(), FileError> {
        let check = || {
            let status = self.status_of(name).map_err(Fault::opening)?;
            status.check(others, &is_trusted)
        };
        unless_replaced(check).map_err(|fault| FileError::new(&self.path_of(name), fault))
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::Missing`] where there is no such file.
    pub fn read(
        &self,
        name: &str,
        others: Others,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let file = self.open_file(name, others, false)?;
        file.read(limit)
            .map_err(|fault| FileError::new(&self.path_of(name), fault))
    }

    /// Whether `file` still is the file of that name.
    ///
    /// # Errors
    /// [`FileError`] where that can't be told.
    pub fn still_names(&self, name: &str, file: &CheckedFile) -> Result<bool, FileError> {
        match self.status_of(name) {
            Ok(named) => Ok(named.identity == file.identity),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => {
                let fault = Fault::Io {
                    doing: "look at",
                    errno,
                };
                Err(FileError::new(&self.path_of(name), fault))
            }
        }
    }

    fn status_of(&self, name: &str) -> Result<Status, Errno> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        Status::of(&self.file, &name, libc::AT_SYMLINK_NOFOLLOW)
    }

    /// Puts a file of mode 0600 in the place of the one of that name, or where none was.
    ///
    /// # Errors
    /// [`FileError`]; the old file is then still whole, or with [`Fault::NotDurable`] the new one in its place.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.put(name, bytes, |beside| {
            renameat(&self.file, beside, &self.file, name)
        })
    }

    /// Makes a file of mode 0600 where none of that name is; where one is, leaves it alone. Whoever has made it may have
    /// been killed before its name was durable, which it is on return.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        if fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            return self.sync();
        }
        let put = self.put(name, bytes, |beside| {
            let how = RenameFlags::RENAME_NOREPLACE;
            renameat2(&self.file, beside, &self.file, name, how)
        });
        let created = match put {
            // The file system renames and can't say where it must not (ZFS before 2.2).
            Err(error) if error.is(Errno::EINVAL) => self.link_new(name, bytes),
            put => put,
        };
        match created {
            Err(error) if error.is(Errno::EEXIST) => self.sync(),
            created => created,
        }
    }

    /// Writes a file beside its place, and has it put there.
    fn put(
        &self,
        name: &str,
        bytes: &[u8],
        rename: impl Fn(&str) -> nix::Result<()>,
    ) -> Result<(), FileError> {
        let error = |fault| FileError::new(&self.path_of(name), fault);
        let suffix = SystemEntropy.random(8).map_err(|_| error(Fault::Entropy))?;
        let suffix = suffix
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let beside = format!("{TEMPORARY}{suffix:016x}");
        let written = self
            .write_new(&beside, OFlag::O_CREAT | OFlag::O_EXCL, bytes)
            .and_then(|_| {
                rename(&beside).map_err(|errno| Fault::Io {
                    doing: "put",
                    errno,
                })
            });
        if let Err(fault) = written {
            let _ = unlinkat(&self.file, beside.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(error(fault));
        }
        self.sync()
    }

    /// Writes a file that has no name, and gives it its only one: a second link would make it one that is refused.
    fn link_new(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write_new(".", OFlag::O_TMPFILE, bytes)
            .and_then(|file| {
                linkat(&file, "", &self.file, name, AtFlags::AT_EMPTY_PATH).map_err(|errno| {
                    Fault::Io {
                        doing: "put",
                        errno,
                    }
                })
            })
            .map_err(|fault| FileError::new(&self.path_of(name), fault))?;
        self.sync()
    }

    fn write_new(&self, name: &str, how: OFlag, bytes: &[u8]) -> Result<File, Fault> {
        let flags = how | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&self.file, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(clear_of_standard_streams)
            .map_err(|errno| Fault::Io {
                doing: "make",
                errno,
            })?;
        let mut file = File::from(file);
        // Whoever started us may have set a umask under which not even we could read it.
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(|e| Fault::io("make", &e))?;
        overwrite_in_place(&file);
        file.write_all(bytes).map_err(|e| Fault::io("write", &e))?;
        file.sync_all().map_err(|e| Fault::io("write", &e))?;
        Ok(file)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::Missing`] where there is no such file.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir).map_err(|errno| {
            let fault = match errno {
                Errno::ENOENT => Fault::Missing,
                errno => Fault::Io {
                    doing: "remove",
                    errno,
                },
            };
            FileError::new(&self.path_of(name), fault)
        })?;
        self.sync()
    }

    /// The names in this folder that are not ours to hide: those without a leading dot, sorted.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        self.names_that(|name| (!name.starts_with('.')).then_some(name))
    }

    fn names_that(&self, wanted: impl Fn(&str) -> Option<&str>) -> Result<Vec<String>, FileError> {
        let error = |e: io::Error| self.error(Fault::io("list", &e));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            names.extend(name.to_str().and_then(&wanted).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// What follows `prefix` in the names in this folder that begin with it, sorted.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn names_after(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        self.names_that(|name| name.strip_prefix(prefix))
    }

    /// Removes what a replacement that was killed left behind: files beside others, over an hour old.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn tidy(&self) -> Result<(), FileError> {
        const OLD: std::time::Duration = std::time::Duration::from_secs(3600);
        let error = |e: io::Error| self.error(Fault::io("list", &e));
        for entry in std::fs::read_dir(&self.path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD));
            if is_old && is_temporary(&entry.file_name()) {
                let name = entry.file_name();
                let _ = unlinkat(&self.file, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), FileError> {
        self.file
            .sync_all()
            .map_err(|error| self.error(Fault::not_durable(&error)))
    }

    pub(crate) fn error(&self, fault: Fault) -> FileError {
        FileError::new(&self.path, fault)
    }
}

const TEMPORARY: &str = ".new-";

fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(TEMPORARY))
}

/// Tells a file system that copies on write (btrfs) not to. States are rewritten in place: a copy needs space,
/// and a full disk would then stop logins. Other file systems don't know the flag, and need not.
fn overwrite_in_place(file: &File) {
    let mut flags: libc::c_int = 0;
    // SAFETY: FS_IOC_GETFLAGS writes an int to where `flags` is; the descriptor is open for the call.
    let known = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) };
    if known == 0 {
        flags |= FS_NOCOW_FL;
        // SAFETY: FS_IOC_SETFLAGS reads an int from where `flags` is; the descriptor is open for the call.
        unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
    }
}
