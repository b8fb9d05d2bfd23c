//! The lock on a person's state: held to read, judge and save, never while anybody types.
//!
//! It is a `flock`, which ends with its holder however that ends. It is polled and never queued for, so
//! that a hundred waiters hold up nobody. Inside it the holder takes an `fcntl` lock, which tells others
//! its process id. Whoever starts `su` may stop it at any moment, in the lock too: a holder that root
//! sees hold still for [`PATIENCE`] is killed. Any point is safe to be killed at, by the order of saving
//! before telling.

use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::unistd::Uid;

use crate::file::{CheckedFile, FileError, Folder, Others};
use crate::slot;

/// How long a holder may hold still.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long the lock is waited for in all.
pub const LIMIT: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(1);

/// A slot file of one name, locked. Dropping it unlocks.
#[derive(Debug)]
pub struct Locked {
    file: Flock<CheckedFile>,
    /// A holder that was killed for holding still.
    pub killed: Option<libc::pid_t>,
}

impl AsRawFd for CheckedFile {
    fn as_raw_fd(&self) -> RawFd {
        self.deref().as_raw_fd()
    }
}

// SAFETY: `Flockable` asks that no clone of the value shares its file description. A `CheckedFile` owns
// its `File` and is not `Clone`.
unsafe impl nix::fcntl::Flockable for CheckedFile {}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Locked {
    /// Locks `file`, opened to be written, or whichever has come in its place by the name in `folder`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(folder: &Folder, name: &str, mut file: CheckedFile) -> Result<Self, LockError> {
        let mut wait = Wait::new();
        loop {
            let lock = Self {
                file: wait.lock(file)?,
                killed: wait.killed,
            };
            announce(&lock).map_err(LockError::Failed)?;
            if folder
                .still_names(name, &lock.file)
                .map_err(LockError::File)?
            {
                return Ok(lock);
            }
            file = folder
                .open_file(name, Others::None, true)
                .map_err(LockError::File)?;
        }
    }
}

/// Whoever has the inner lock has the outer one: it goes first.
impl Drop for Locked {
    fn drop(&mut self) {
        let unlock = whole_file(libc::F_UNLCK);
        let _ = fcntl(&**self.file, FcntlArg::F_SETLK(&unlock));
    }
}

/// One wait for a lock.
struct Wait {
    since: Instant,
    holder: Option<Holder>,
    killed: Option<libc::pid_t>,
}

/// Whoever holds the lock, and since when nothing has been heard of it.
struct Holder {
    pid: libc::pid_t,
    serial: Option<u64>,
    still_since: Instant,
}

impl Wait {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            holder: None,
            killed: None,
        }
    }

    fn lock(&mut self, mut file: CheckedFile) -> Result<Flock<CheckedFile>, LockError> {
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => return Ok(locked),
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
                Err((_, errno)) => return Err(LockError::Failed(errno)),
            };
            if self.since.elapsed() >= LIMIT {
                let holder = holder_pid(&file);
                return Err(LockError::Busy { holder });
            }
            if Uid::effective().is_root() {
                self.watch(&file);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Looks whether the holder moves, and kills it where it has not for [`PATIENCE`].
    fn watch(&mut self, file: &File) {
        let Some(pid) =
            holder_pid(file).filter(|pid| u32::try_from(*pid) != Ok(std::process::id()))
        else {
            self.holder = None;
            return;
        };
        let serial = slot::read(file).ok().map(|record| record.serial);
        match &self.holder {
            Some(holder) if (holder.pid, holder.serial) == (pid, serial) => {
                if holder.still_since.elapsed() >= PATIENCE && kill(pid, file) {
                    self.killed = Some(pid);
                    self.holder = None;
                }
            }
            _ => {
                let still_since = Instant::now();
                self.holder = Some(Holder {
                    pid,
                    serial,
                    still_since,
                });
            }
        }
    }
}

/// A lock on the whole file, or the end of one.
const fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Lets others see which process holds the lock.
fn announce(file: &File) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))).map(drop)
}

/// The process that holds the lock, where it is one that can be named from here.
fn holder_pid(file: &File) -> Option<libc::pid_t> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    let is_held = lock.l_type != libc::F_UNLCK as libc::c_short;
    (is_held && lock.l_pid > 0).then_some(lock.l_pid)
}

/// Kills the process `pid`, if it still is the holder once nobody else can come by its number.
fn kill(pid: libc::pid_t, file: &File) -> bool {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(descriptor) = libc::c_int::try_from(descriptor) else {
        return false;
    };
    if descriptor < 0 {
        return false;
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    let process = unsafe { OwnedFd::from_raw_fd(descriptor) };
    if holder_pid(file) != Some(pid) {
        return false;
    }
    let descriptor = process.as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the call; a null siginfo makes the kernel fill in its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor,
            libc::SIGKILL,
            no_info,
            0,
        )
    };
    result == 0
}

/// Why a lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// Somebody held it for [`LIMIT`].
    Busy {
        /// Their process, where it can be named.
        holder: Option<libc::pid_t>,
    },
    /// A call failed.
    Failed(Errno),
    /// The file can't be opened.
    File(FileError),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { holder: Some(pid) } => {
                write!(
                    f,
                    "locked by process {pid} for over 20 seconds: look what it is waiting for"
                )
            }
            Self::Busy { holder: None } => {
                f.write_str("locked for over 20 seconds by an unknown process")
            }
            Self::Failed(errno) => write!(f, "cannot be locked: {}", errno.desc()),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::MetadataExt;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::file::Sync;

    /// A folder with a slot file of the name "alice".
    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder
            .create("alice", &slot::new_file(b"").unwrap(), Sync::Later)
            .unwrap();
        (place, folder)
    }

    fn open(folder: &Folder) -> CheckedFile {
        folder.open_file("alice", Others::None, true).unwrap()
    }

    /// Another process that holds the lock as we do, then does `next`.
    fn holder(folder: &Folder, next: &str) -> Child {
        let program = format!(
            "use Fcntl qw(:flock F_SETLK F_WRLCK); $| = 1; open F, '+<', $ARGV[0] or die; \
             flock F, LOCK_EX or die; my $lock = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl F, F_SETLK, $lock or die; \
             print \"held\\n\"; {next}"
        );
        let mut child = Command::new("perl")
            .args(["-e", &program])
            .arg(folder.path_of("alice"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        child
    }

    #[test]
    fn a_stopped_holder_is_killed_by_root_once_it_has_not_moved_for_five_seconds() {
        if !Uid::effective().is_root() {
            eprintln!("not run: only root kills");
            return;
        }
        let (_place, folder) = folder();
        let mut stopped = holder(&folder, "kill STOP => $$;");
        let began = Instant::now();
        let lock = Locked::lock(&folder, "alice", open(&folder)).unwrap();
        let waited = began.elapsed();
        assert_eq!(lock.killed, i32::try_from(stopped.id()).ok());
        assert!(
            waited >= PATIENCE && waited < PATIENCE + Duration::from_secs(1),
            "{waited:?}"
        );
        assert!(!stopped.wait().unwrap().success());
    }

    #[test]
    fn a_holder_that_ends_is_waited_for_and_left_alone() {
        let (_place, folder) = folder();
        let mut busy = holder(&folder, "my $line = <STDIN>; exit 7;");
        let waiter = std::thread::scope(|threads| {
            let waiter = threads.spawn(|| {
                Locked::lock(&folder, "alice", open(&folder))
                    .unwrap()
                    .killed
            });
            drop(busy.stdin.take());
            waiter.join().unwrap()
        });
        assert_eq!(waiter, None);
        assert_eq!(busy.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_file_that_was_replaced_meanwhile_is_left_for_the_new_one() {
        let (_place, folder) = folder();
        let old = open(&folder);
        folder
            .replace("alice", &slot::new_file(b"new").unwrap())
            .unwrap();
        let named = std::fs::metadata(folder.path_of("alice")).unwrap().ino();
        assert_ne!(old.metadata().unwrap().ino(), named);
        let lock = Locked::lock(&folder, "alice", old).unwrap();
        assert_eq!(lock.metadata().unwrap().ino(), named);
        assert_eq!(slot::read(&lock).unwrap().body, b"new");
    }

    #[test]
    fn the_lock_names_its_holder_and_ends_when_it_is_dropped() {
        let (_place, folder) = folder();
        let lock = Locked::lock(&folder, "alice", open(&folder)).unwrap();
        let flock = Command::new("flock")
            .arg("-n")
            .arg(folder.path_of("alice"))
            .arg("true")
            .status();
        assert_eq!(
            flock.unwrap().code(),
            Some(1),
            "somebody else got the lock too"
        );
        drop(lock);
        let flock = Command::new("flock")
            .arg("-n")
            .arg(folder.path_of("alice"))
            .arg("true")
            .status();
        assert!(flock.unwrap().success());
    }
}
