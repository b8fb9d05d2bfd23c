//! Files that are checked before they are believed.
//!
//! MUST, for every file read here:
//!
//! 1. It is opened beneath its folder by one name, never through a link, never waiting (FIFOs, devices).
//! 2. What is checked is the opened descriptor, never the name: regular, of root or of the effective
//!    user, one link, within its size, closed to others.
//! 3. No descriptor is inherited by a program, and none is 0, 1 or 2.
//! 4. A file is replaced whole (write beside it, sync, rename, sync the folder) or not at all.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, RenameFlags, fcntl, openat, renameat2};
use nix::libc;
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use totp_core::doors::Entropy;
use zeroize::Zeroizing;

use crate::system::SystemEntropy;

/// Who but its owner may have access to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Others {
    /// Nobody, in any way.
    None,
    /// Everybody, to read.
    Read,
}

impl Others {
    const fn forbidden(self) -> u32 {
        match self {
            Self::None => 0o077,
            Self::Read => 0o022,
        }
    }
}

/// When a new file has to be on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sync {
    /// Before anybody hears that it is there.
    Now,
    /// Whenever the system gets round to it: it can be made again.
    Later,
}

/// An opened folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    file: File,
}

/// An opened file that has passed every check.
#[derive(Debug)]
pub struct CheckedFile {
    file: File,
    metadata: Metadata,
}

impl Deref for CheckedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Folder {
    /// Opens a folder that only root or the effective user can change.
    ///
    /// # Errors
    /// [`FileError`]; [`Fault::Missing`] where it does not exist.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let folder = Self::open_any(path)?;
        let metadata = folder.file.metadata();
        let metadata = metadata.map_err(|error| folder.error(Fault::io("look at", &error)))?;
        check_owner(metadata.uid()).map_err(|fault| folder.error(fault))?;
        if metadata.mode() & 0o022 != 0 {
            return Err(folder.error(Fault::Mode {
                mode: metadata.mode(),
                wanted: 0o700,
            }));
        }
        Ok(folder)
    }

    /// Opens a folder, and makes it (0700) and those above it (0755) where they are missing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_or_make(path: &Path) -> Result<Self, FileError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| FileError::new(parent, Fault::io("make", &error)))?;
        }
        match mkdirat(AT_FDCWD, path, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Self::open(path),
            Err(errno) => Err(FileError::new(
                path,
                Fault::Io {
                    doing: "make",
                    errno,
                },
            )),
        }
    }

    fn open_any(path: &Path) -> Result<Self, FileError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = openat(AT_FDCWD, path, flags, Mode::empty())
            .and_then(clear_of_standard_streams)
            .map_err(|errno| FileError::new(path, Fault::opening(errno)))?;
        Ok(Self {
            path: path.to_owned(),
            file: file.into(),
        })
    }

    /// Refuses a folder of another machine's or of a program's: locks and syncs are not what they are on a
    /// disk of one's own there.
    ///
    /// # Errors
    /// [`Fault::Network`].
    pub fn refuse_network(self) -> Result<Self, FileError> {
        // linux/magic.h: NFS, SMB, CIFS, SMB2, FUSE, 9P, AFS, Ceph.
        const NETWORK: [u32; 8] = [
            0x6969,
            0x517B,
            0xFF53_4D42,
            0xFE53_4D42,
            0x6573_5546,
            0x0102_1997,
            0x5346_414F,
            0x00C3_6400,
        ];
        let status = fstatfs(&self.file).map_err(|errno| {
            self.error(Fault::Io {
                doing: "look at",
                errno,
            })
        })?;
        // The numbers have 32 bits; the type that holds them is as wide as the processor's words.
        let kind = (status.filesystem_type().0 as u64 & 0xFFFF_FFFF) as u32;
        if NETWORK.contains(&kind) {
            Err(self.error(Fault::Network))
        } else {
            Ok(self)
        }
    }

    /// Where a file of this folder is.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file to read, and to write where `writable`.
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
        match fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => {
                let opened = &file.metadata;
                Ok((named.st_dev, named.st_ino) == (opened.dev(), opened.ino()))
            }
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

    /// Puts a file of mode 0600 in the place of the one of that name, or where none was.
    ///
    /// # Errors
    /// [`FileError`]; the old file is then still whole.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.put(name, bytes, RenameFlags::empty(), Sync::Now)
    }

    /// Makes a file of mode 0600 where none of that name is; where one is, leaves it alone. It is meant to
    /// be overwritten in place.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn create(&self, name: &str, bytes: &[u8], sync: Sync) -> Result<(), FileError> {
        match self.put(name, bytes, RenameFlags::RENAME_NOREPLACE, sync) {
            Err(FileError {
                fault:
                    Fault::Io {
                        errno: Errno::EEXIST,
                        ..
                    },
                ..
            }) => Ok(()),
            result => result,
        }
    }

    fn put(&self, name: &str, bytes: &[u8], how: RenameFlags, sync: Sync) -> Result<(), FileError> {
        let error = |fault| FileError::new(&self.path_of(name), fault);
        let suffix = SystemEntropy.random(8).map_err(|_| error(Fault::Entropy))?;
        let suffix = suffix
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let beside = format!("{TEMPORARY}{suffix:016x}");
        let written = self.write_new(&beside, bytes, how, sync).and_then(|()| {
            renameat2(&self.file, beside.as_str(), &self.file, name, how).map_err(|errno| {
                Fault::Io {
                    doing: "put",
                    errno,
                }
            })
        });
        if let Err(fault) = written {
            let _ = unlinkat(&self.file, beside.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(error(fault));
        }
        match sync {
            Sync::Now => self.sync(),
            Sync::Later => Ok(()),
        }
    }

    fn write_new(
        &self,
        name: &str,
        bytes: &[u8],
        how: RenameFlags,
        sync: Sync,
    ) -> Result<(), Fault> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&self.file, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(clear_of_standard_streams)
            .map_err(|errno| Fault::Io {
                doing: "make",
                errno,
            })?;
        let mut file = File::from(file);
        if how.contains(RenameFlags::RENAME_NOREPLACE) {
            overwrite_in_place(&file);
        }
        file.write_all(bytes).map_err(|e| Fault::io("write", &e))?;
        match sync {
            Sync::Now => file.sync_all().map_err(|e| Fault::io("write", &e)),
            Sync::Later => Ok(()),
        }
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
        let error = |e: io::Error| self.error(Fault::io("list", &e));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            names.extend(
                name.to_str()
                    .filter(|name| !name.starts_with('.'))
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
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
            .map_err(|error| self.error(Fault::io("sync", &error)))
    }

    fn error(&self, fault: Fault) -> FileError {
        FileError::new(&self.path, fault)
    }
}

impl CheckedFile {
    fn read(&self, limit: usize) -> Result<Zeroizing<Vec<u8>>, Fault> {
        // One allocation of the full length: a buffer that grew would leave copies behind.
        let length = usize::try_from(self.metadata.len()).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Fault::TooLarge { limit });
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        let result = (&self.file).read_exact(&mut bytes);
        result
            .map_err(|error| Fault::io("read", &error))
            .map(|()| bytes)
    }
}

/// Reads a whole file of at most `limit` bytes by its path, whoever can change its folder.
///
/// # Errors
/// [`FileError`]; [`Fault::Missing`] where there is no such file.
pub fn read(path: &Path, others: Others, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    open_checked(AT_FDCWD, path, others, false)
        .and_then(|file| file.read(limit))
        .map_err(|fault| FileError::new(path, fault))
}

fn open_checked(
    folder: impl AsFd,
    path: &Path,
    others: Others,
    writable: bool,
) -> Result<CheckedFile, Fault> {
    let access = if writable {
        OFlag::O_RDWR
    } else {
        OFlag::O_RDONLY
    };
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(folder, path, flags, Mode::empty())
        .and_then(clear_of_standard_streams)
        .map_err(Fault::opening)?;
    let file = File::from(file);
    let metadata = file
        .metadata()
        .map_err(|error| Fault::io("look at", &error))?;
    if !metadata.is_file() {
        return Err(Fault::NotRegular);
    }
    check_owner(metadata.uid())?;
    if metadata.nlink() != 1 {
        return Err(Fault::Links {
            links: metadata.nlink(),
        });
    }
    if metadata.mode() & others.forbidden() != 0 {
        let wanted = 0o666 & !others.forbidden();
        return Err(Fault::Mode {
            mode: metadata.mode(),
            wanted,
        });
    }
    Ok(CheckedFile { file, metadata })
}

const TEMPORARY: &str = ".new-";

fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(TEMPORARY))
}

/// Tells a file system that copies on write (btrfs) not to: a copy needs space, and a full disk would then
/// stop logins. Others don't know the flag, and need not.
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

/// linux/fs.h
const FS_NOCOW_FL: libc::c_int = 0x0080_0000;

/// Whoever starts us may have closed 0, 1 or 2: a file of ours there would receive what others print.
fn clear_of_standard_streams(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if descriptor.as_raw_fd() > 2 {
        return Ok(descriptor);
    }
    let raw = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor that nobody else knows of.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(raw) })
}

fn check_owner(owner: u32) -> Result<(), Fault> {
    if owner == 0 || owner == Uid::effective().as_raw() {
        Ok(())
    } else {
        Err(Fault::Owner { uid: owner })
    }
}

/// A file or folder that can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub fault: Fault,
}

impl FileError {
    fn new(path: &Path, fault: Fault) -> Self {
        Self {
            path: path.to_owned(),
            fault,
        }
    }

    /// Whether the reason is that this user must not.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let denied = |errno| matches!(errno, Errno::EACCES | Errno::EPERM);
        matches!(self.fault, Fault::Io { errno, .. } if denied(errno))
            || (matches!(self.fault, Fault::Owner { .. }) && !Uid::effective().is_root())
    }

    /// Whether the reason is that there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.fault == Fault::Missing
    }
}

/// Why a file or folder can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The system has no entropy for a name.
    Entropy,
    /// A call failed.
    Io {
        /// What was done: a verb.
        doing: &'static str,
        /// What the system said.
        errno: Errno,
    },
    /// It has other names too.
    Links {
        /// How many names it has.
        links: u64,
    },
    /// It does not exist.
    Missing,
    /// Others may do more with it than they should.
    Mode {
        /// What others may do.
        mode: u32,
        /// What they should.
        wanted: u32,
    },
    /// It is on another machine, or made up by a program.
    Network,
    /// A link, FIFO, device, socket or folder.
    NotRegular,
    /// It belongs to somebody else.
    Owner {
        /// Whom.
        uid: u32,
    },
    /// It is larger than any good one.
    TooLarge {
        /// The most, in bytes.
        limit: usize,
    },
}

impl Fault {
    fn io(doing: &'static str, error: &io::Error) -> Self {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        Self::Io { doing, errno }
    }

    fn opening(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::Missing,
            // ELOOP: a symbolic link. ENXIO: a FIFO, socket or device that nobody serves.
            Errno::ELOOP | Errno::ENXIO | Errno::EISDIR => Self::NotRegular,
            errno => Self::Io {
                doing: "open",
                errno,
            },
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Entropy => write!(f, "cannot write {path}: the system has no entropy"),
            Fault::Io { doing, errno } => write!(f, "cannot {doing} {path}: {}", errno.desc()),
            Fault::Links { links } => write!(
                f,
                "{path} has {links} hard links and must have one: look who made the others"
            ),
            Fault::Missing => write!(f, "{path} does not exist"),
            Fault::Mode { mode, wanted } => write!(
                f,
                "{path} has mode {:04o}, which gives others too much: chmod {wanted:04o} {path}",
                mode & 0o7777
            ),
            Fault::Network => write!(
                f,
                "{path} is on a network or FUSE file system: set state_dir to a folder on a local disk"
            ),
            Fault::NotRegular => write!(f, "{path} is not a regular file: remove it"),
            Fault::Owner { uid } => {
                write!(
                    f,
                    "{path} belongs to user id {uid}: chown root {path}, if you trust it"
                )
            }
            Fault::TooLarge { limit } => write!(f, "{path} has more than {limit} bytes"),
        }
    }
}

impl std::error::Error for FileError {}
