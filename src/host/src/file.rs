//! Files that are checked before they are believed.
//!
//! MUST, for every file read here:
//!
//! 1. It is opened beneath its folder by one name, never through a link, never waiting (FIFOs, devices).
//! 2. What is checked is the opened descriptor, never the name: regular, of root or of the effective
//!    user, one link, within its size, closed to others.
//! 3. No descriptor is inherited by a program, and none is 0, 1 or 2.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::Uid;
use zeroize::Zeroizing;

/// Who but its owner may have access to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Others {
    /// Nobody, in any way.
    None,
    /// Everybody, to read.
    Read,
}

impl Others {
    pub(crate) const fn forbidden(self) -> u32 {
        match self {
            Self::None => 0o077,
            Self::Read => 0o022,
        }
    }
}

/// An opened file that has passed every check.
#[derive(Debug)]
pub struct CheckedFile {
    file: File,
    length: u64,
    /// Which file this is, whatever its name.
    pub(crate) identity: Identity,
}

/// Device (major, minor) and inode.
pub(crate) type Identity = (u32, u32, u64);

/// What is checked of a file.
pub(crate) struct Status {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    links: u32,
    length: u64,
    pub(crate) identity: Identity,
}

impl Status {
    /// Looks at a file by its name in a folder, or at an opened one.
    ///
    /// Times are left out on purpose: once somebody has seen them, Linux 6.13 and later give each write a time
    /// of its own, and the next sync has the inode to write beside the record.
    pub(crate) fn of(folder: impl AsFd, name: &CStr, flags: libc::c_int) -> Result<Self, Errno> {
        const WANTED: libc::c_uint = libc::STATX_TYPE
            | libc::STATX_MODE
            | libc::STATX_NLINK
            | libc::STATX_UID
            | libc::STATX_INO
            | libc::STATX_SIZE;
        let mut found = MaybeUninit::<libc::statx>::zeroed();
        let folder = folder.as_fd().as_raw_fd();
        let (name, found_at) = (name.as_ptr(), found.as_mut_ptr());
        // SAFETY: the descriptor is open and the name NUL-terminated for the call, which writes at most one
        // statx structure to where `found` is.
        let result = unsafe { libc::statx(folder, name, flags, WANTED, found_at) };
        Errno::result(result)?;
        // SAFETY: every pattern of bits, zeroes above all, is a statx structure.
        let found = unsafe { found.assume_init() };
        Ok(Self {
            mode: u32::from(found.stx_mode),
            uid: found.stx_uid,
            links: found.stx_nlink,
            length: found.stx_size,
            identity: (found.stx_dev_major, found.stx_dev_minor, found.stx_ino),
        })
    }

    /// Whether it is a file to be believed.
    pub(crate) fn check(&self, others: Others, may_own: &dyn Fn(u32) -> bool) -> Result<(), Fault> {
        if self.mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Fault::NotRegular);
        }
        if !may_own(self.uid) {
            return Err(Fault::Owner { uid: self.uid });
        }
        if self.links != 1 {
            return Err(Fault::Links { links: self.links });
        }
        if self.mode & others.forbidden() != 0 {
            let wanted = 0o666 & !others.forbidden();
            return Err(Fault::Mode {
                mode: self.mode,
                wanted,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
impl From<File> for CheckedFile {
    /// For tests of what is in a file: nothing was checked.
    fn from(file: File) -> Self {
        Self {
            file,
            length: 0,
            identity: (0, 0, 0),
        }
    }
}

impl Deref for CheckedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl CheckedFile {
    /// Its length in bytes when it was opened.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads all of it, at most `limit` bytes.
    pub(crate) fn read(&self, limit: usize) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Fault::TooLarge { limit });
        }
        // One allocation of the full length: a buffer that grew would leave copies behind. The byte more
        // tells a file that grew meanwhile.
        let mut bytes = Zeroizing::new(vec![0; length.saturating_add(1)]);
        let found = (&self.file).read(&mut bytes);
        if found.map_err(|error| Fault::io("read", &error))? != length {
            return Err(Fault::Changed);
        }
        bytes.truncate(length);
        Ok(bytes)
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

/// Reads a whole file of a user's, who may change it at any time: all that is known of it is whose it is.
///
/// # Errors
/// [`Fault`]; [`Fault::Missing`] where there is no such file.
pub(crate) fn read_of_user(
    uid: u32,
    folder: impl AsFd,
    path: &Path,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let is_theirs = |owner| owner == uid || is_trusted(owner);
    let opened = open_that(folder, path, Others::Read, OFlag::O_RDONLY, &is_theirs);
    let file = opened.map_err(|fault| match fault {
        // What others may not write they may read here; but what is in it are secrets.
        Fault::Mode { mode, .. } => Fault::Mode {
            mode,
            wanted: 0o600,
        },
        fault => fault,
    })?;
    file.read(limit)
}

pub(crate) fn open_checked(
    folder: impl AsFd,
    path: &Path,
    others: Others,
    writable: bool,
) -> Result<CheckedFile, Fault> {
    let access = if writable {
        OFlag::O_RDWR | OFlag::O_DSYNC
    } else {
        OFlag::O_RDONLY
    };
    open_that(folder, path, others, access, &is_trusted)
}

fn open_that(
    folder: impl AsFd,
    path: &Path,
    others: Others,
    access: OFlag,
    may_own: &dyn Fn(u32) -> bool,
) -> Result<CheckedFile, Fault> {
    unless_replaced(|| open_once(&folder, path, others, access, may_own))
}

/// What is found of a file by its name. One without a name was replaced while we looked at it: there is a new one.
pub(crate) fn unless_replaced<T>(look: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    const TRIES: u8 = 5;
    for _ in 0..TRIES {
        match look() {
            Err(Fault::Links { links: 0 }) => {}
            found => return found,
        }
    }
    Err(Fault::Changed)
}

fn open_once(
    folder: impl AsFd,
    path: &Path,
    others: Others,
    access: OFlag,
    may_own: &dyn Fn(u32) -> bool,
) -> Result<CheckedFile, Fault> {
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(folder, path, flags, Mode::empty())
        .and_then(clear_of_standard_streams)
        .map_err(Fault::opening)?;
    let file = File::from(file);
    let status = Status::of(&file, c"", libc::AT_EMPTY_PATH).map_err(|errno| Fault::Io {
        doing: "look at",
        errno,
    })?;
    status.check(others, may_own)?;
    Ok(CheckedFile {
        file,
        length: status.length,
        identity: status.identity,
    })
}

/// Whoever starts us may have closed 0, 1 or 2: a file of ours there would receive what others print.
pub(crate) fn clear_of_standard_streams(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if descriptor.as_raw_fd() > 2 {
        return Ok(descriptor);
    }
    let raw = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The file that a program's path comes to in the end, which nobody but root or the effective user can change, nor put
/// another in the place of.
pub(crate) fn check_program(path: &Path) -> Result<PathBuf, FileError> {
    let look = |place: &Path, error: &io::Error| FileError::new(place, Fault::looking(error));
    let real = path.canonicalize().map_err(|error| look(path, &error))?;
    for place in real.ancestors() {
        let status = place.symlink_metadata().map_err(|e| look(place, &e))?;
        let error = |fault| FileError::new(place, fault);
        if place == real && !status.is_file() {
            return Err(error(Fault::NotRegular));
        }
        check_owner(status.uid()).map_err(error)?;
        let mode = status.mode();
        let is_sticky = status.is_dir() && mode & libc::S_ISVTX != 0;
        if mode & Others::Read.forbidden() != 0 && !is_sticky {
            let wanted = mode & 0o7777 & !Others::Read.forbidden();
            return Err(error(Fault::Mode { mode, wanted }));
        }
    }
    Ok(real)
}

pub(crate) fn check_owner(owner: u32) -> Result<(), Fault> {
    match is_trusted(owner) {
        true => Ok(()),
        false => Err(Fault::Owner { uid: owner }),
    }
}

pub(crate) fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == Uid::effective().as_raw()
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
    pub(crate) fn new(path: &Path, fault: Fault) -> Self {
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

    /// Whether the reason lies in the file itself, so that it is the same for everybody.
    #[must_use]
    pub fn is_of_the_file(&self) -> bool {
        !matches!(
            self.fault,
            Fault::Changed | Fault::Entropy | Fault::Io { .. } | Fault::NotDurable { .. }
        )
    }

    /// Whether the reason is that there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.fault, Fault::Missing | Fault::MissingFolder)
    }

    /// Whether the reason is that error of the system's.
    pub(crate) fn is(&self, expected: Errno) -> bool {
        matches!(self.fault, Fault::Io { errno, .. } if errno == expected)
    }
}

/// Why a file or folder can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It was written to while it was read.
    Changed,
    /// It is a folder of secrets without what the first enrollment put there.
    Emptied,
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
        links: u32,
    },
    /// It does not exist.
    Missing,
    /// It is a folder, and does not exist.
    MissingFolder,
    /// Others may do more with it than they should.
    Mode {
        /// What others may do.
        mode: u32,
        /// What they should.
        wanted: u32,
    },
    /// It is on another machine, or made up by a program.
    Network,
    /// What is new in the folder, if anything is, may not outlive a power cut.
    NotDurable {
        /// What the system said.
        errno: Errno,
    },
    /// No folder, or a link to one.
    NotFolder,
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
    pub(crate) fn io(doing: &'static str, error: &io::Error) -> Self {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        Self::Io { doing, errno }
    }

    pub(crate) fn not_durable(error: &io::Error) -> Self {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        Self::NotDurable { errno }
    }

    fn looking(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::io("look at", error),
        }
    }

    pub(crate) fn opening(errno: Errno) -> Self {
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
            Fault::Changed => write!(f, "{path} changed while it was read: try again"),
            Fault::Emptied => write!(
                f,
                "{path} has lost what the first enrollment put there (.decoy), so nobody is taken for not enrolled: \
                 mount what belongs there, restore it from a backup, or have the next totpctl enroll or repair make it anew"
            ),
            Fault::Entropy => write!(f, "cannot write {path}: the system has no entropy"),
            Fault::Io { doing, errno } => write!(f, "cannot {doing} {path}: {}", errno.desc()),
            Fault::Links { links } => write!(
                f,
                "{path} has {links} hard links and must have one: look who made the others"
            ),
            Fault::Missing => write!(f, "{path} does not exist"),
            Fault::MissingFolder => {
                write!(
                    f,
                    "{path} does not exist, so logins are denied: the first totpctl enroll makes it; where people \
                     were enrolled, restore it from a backup, or run install -d -m 700 {path}, and then totpctl repair --all"
                )
            }
            Fault::Mode { mode, wanted } => write!(
                f,
                "{path} has mode {:04o}, which gives others too much: chmod {wanted:04o} {path}",
                mode & 0o7777
            ),
            Fault::Network => write!(
                f,
                "{path} is on a network or FUSE file system: set state_dir to a folder on a local disk"
            ),
            Fault::NotDurable { errno } => write!(
                f,
                "{path} can't be synced, so a power cut may take back what has just changed in it: {}",
                errno.desc()
            ),
            Fault::NotFolder => {
                write!(
                    f,
                    "{path} is not a folder of its own: name one that is, not a link"
                )
            }
            Fault::NotRegular => write!(
                f,
                "{path} is not a regular file: look who put it there before you remove it"
            ),
            Fault::Owner { uid } => {
                write!(
                    f,
                    "{path} belongs to user id {uid}: chown root {path}, if you trust it"
                )
            }
            Fault::TooLarge { limit } => write!(
                f,
                "{path} has more than {limit} bytes, so it is none of ours: remove it"
            ),
        }
    }
}

impl std::error::Error for FileError {}

/// Holds a file of that path, which is made where there is none, against everybody else who does the same; waits for
/// them. Dropping what is returned ends it.
///
/// # Errors
/// Where it can't be opened or locked.
pub fn hold(path: &Path) -> std::io::Result<impl Drop + use<>> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW);
    let file = match options.open(path) {
        // A disk that takes no changes any more keeps nobody from mending others.
        Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            options.create(false).write(false).read(true).open(path)?
        }
        file => file?,
    };
    let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive);
    held.map_err(|(_, errno)| errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_meanwhile_is_looked_at_again_and_not_for_ever() {
        let looks = |replaced: usize| {
            let times = std::cell::Cell::new(0);
            let found = unless_replaced(|| {
                times.set(times.get() + 1);
                match times.get() > replaced {
                    true => Ok(()),
                    false => Err(Fault::Links { links: 0 }),
                }
            });
            (times.get(), found.is_ok())
        };
        assert_eq!(
            [0, 1, 4, 9].map(looks),
            [(1, true), (2, true), (5, true), (5, false)]
        );
        let linked = unless_replaced(|| Err::<(), _>(Fault::Links { links: 2 }));
        assert!(matches!(linked, Err(Fault::Links { links: 2 })));
    }
}
