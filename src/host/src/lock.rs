//! The lock on a person's state: held to read, judge and save, never while anybody types.
//!
//! It is a `flock`, which ends with its holder however that ends. It is polled and never queued for, so
//! that a hundred waiters hold up nobody. Before it, and around it, its holder takes an `fcntl` lock, which
//! tells others its process id: whoever is in has been named. Whoever starts `su` may stop it at any
//! moment, in the lock too: a holder that root sees hold still for [`PATIENCE`] is killed. Any point is safe
//! to be killed at, by the order of saving before telling. Whoever kills a holder is the first to know that the
//! lock is free: other processes of the same caller, which would hold still in their turn, look less often.

use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::unistd::Uid;
use totp_core::throttle::Refusal;

use crate::file::{CheckedFile, FileError, Others, clear_of_standard_streams};
use crate::folder::Folder;
use crate::process::{self, CriticalSection};
use crate::slot::{self, Record};

/// How long a holder may hold still.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A longer gap between two looks at a holder means that the waiter itself was stopped.
const BLINK: Duration = Duration::from_millis(500);

/// How long the lock is waited for in all.
pub const LIMIT: Duration = Duration::from_secs(20);

/// How often a waiter reads the record. In between it only asks whether the lock is free: a hundred waiters must not
/// take the time that a slow holder needs.
const LOOK: Duration = Duration::from_millis(50);

/// Most waits are for a save or two; longer ones are polled less often.
const SHORT: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(1);
const SLOW_POLL: Duration = Duration::from_millis(10);

/// A slot file of one name, locked, and the critical section that goes with it. Dropping it ends the inner
/// lock, then the outer one by closing the file, then the section: whoever is in has a name until out. The inner one
/// is ended by a call of its own, since a copy of this process may have the file open too.
#[derive(Debug)]
pub struct Locked {
    file: Flock<CheckedFile>,
    _section: CriticalSection,
}

/// What a wait for a lock has to know and to tell.
pub struct Waiting<'a> {
    /// Why the answer would not be judged under the lock, by the newest record: that ends the wait.
    pub refusal: &'a dyn Fn(&Record) -> Option<Refusal>,
    /// Hears of a holder that was killed for holding still.
    pub killed: &'a dyn Fn(libc::pid_t),
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
    /// The file, to be saved to.
    pub(crate) fn file(&self) -> &CheckedFile {
        &self.file
    }

    /// Locks `file`, opened to be written, or whichever has come in its place by the name in `folder`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(
        folder: &Folder,
        name: &str,
        file: CheckedFile,
        waiting: &Waiting<'_>,
    ) -> Result<Self, LockError> {
        Self::lock_within(folder, name, file, waiting, (PATIENCE, LIMIT))
    }

    /// The same with another patience and another limit.
    fn lock_within(
        folder: &Folder,
        name: &str,
        mut file: CheckedFile,
        waiting: &Waiting<'_>,
        (patience, limit): (Duration, Duration),
    ) -> Result<Self, LockError> {
        let mut wait = Wait {
            since: Instant::now(),
            killed_at: None,
            holder: None,
            patience,
            limit,
            waiting,
        };
        loop {
            let lock = wait.lock(file)?;
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

    /// One try; gives the file back where somebody else is in.
    fn try_lock(file: CheckedFile) -> Result<Result<Self, CheckedFile>, LockError> {
        // First of all: nobody can stop us by a signal from the terminal while we are in.
        let section = CriticalSection::begin(slot::FILE_BYTES as u64).map_err(LockError::Caller)?;
        match fcntl(&*file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(Err(file)),
            Err(errno) => return Err(LockError::Failed(errno)),
        }
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Ok(Self {
                file,
                _section: section,
            })),
            // Another thread of this process, or a program that knows nothing of the outer lock.
            Err((file, Errno::EWOULDBLOCK)) => {
                release(&file);
                Ok(Err(file))
            }
            Err((_, errno)) => Err(LockError::Failed(errno)),
        }
    }
}

/// One wait for a lock.
struct Wait<'a> {
    since: Instant,
    /// When a holder was killed: the lock is free as soon as the kernel has buried it.
    killed_at: Option<Instant>,
    holder: Option<Holder>,
    /// How long a holder may hold still.
    patience: Duration,
    /// How long is waited in all.
    limit: Duration,
    waiting: &'a Waiting<'a>,
}

/// Whoever holds the lock, and since when nothing has been heard of it.
struct Holder {
    pid: libc::pid_t,
    serial: Option<u64>,
    still_since: Instant,
    last_seen: Instant,
}

impl Wait<'_> {
    fn lock(&mut self, mut file: CheckedFile) -> Result<Locked, LockError> {
        let (mut looked, mut serial): (Option<Instant>, _) = (None, None);
        loop {
            // A try that is refused whatever it says never takes the lock, not even a free one.
            let is_first = looked.is_none();
            if is_look_due(looked.map(|at| at.elapsed())) {
                looked = Some(Instant::now());
                let newest = slot::read(&file).ok();
                if let Some(refusal) = newest.as_ref().and_then(self.waiting.refusal) {
                    return Err(LockError::Refused(refusal));
                }
                serial = newest.map(|record| record.serial);
            }
            if is_first || !is_held(&file) {
                file = match Locked::try_lock(file)? {
                    Ok(lock) => return Ok(lock),
                    Err(file) => file,
                };
            }
            if self.since.elapsed() >= self.limit {
                return Err(LockError::Busy {
                    holder: holder_pid(&file),
                });
            }
            if Uid::effective().is_root() {
                self.watch(&file, serial);
            }
            let since_kill = self.killed_at.map(|at| at.elapsed());
            std::thread::sleep(pause(self.since.elapsed(), since_kill));
        }
    }

    /// Looks whether the holder moves, and kills it where it has not for so long.
    fn watch(&mut self, file: &File, serial: Option<u64>) {
        let is_other = |pid: &libc::pid_t| u32::try_from(*pid) != Ok(std::process::id());
        let Some(pid) = holder_pid(file).filter(is_other) else {
            self.holder = None;
            return;
        };
        let now = Instant::now();
        match &mut self.holder {
            // Who was stopped itself has seen nothing meanwhile, and starts anew.
            Some(holder)
                if (holder.pid, holder.serial) == (pid, serial)
                    && !was_stopped(now.duration_since(holder.last_seen)) =>
            {
                holder.last_seen = now;
                if now.duration_since(holder.still_since) >= self.patience && kill(pid, file) {
                    self.killed_at = Some(now);
                    (self.waiting.killed)(pid);
                    self.holder = None;
                }
            }
            _ => {
                self.holder = Some(Holder {
                    pid,
                    serial,
                    still_since: now,
                    last_seen: now,
                })
            }
        }
    }
}

/// Whether the waiter itself was stopped, who looks at the holder so long after the last time.
fn was_stopped(since_last: Duration) -> bool {
    since_last >= BLINK
}

/// Whether the record is read again, so long after the last time.
fn is_look_due(since_last: Option<Duration>) -> bool {
    since_last.is_none_or(|since| since >= LOOK)
}

/// How long a waiter pauses before the next try: not at all where it has just killed the holder, since others must not come first.
fn pause(waited: Duration, since_kill: Option<Duration>) -> Duration {
    match since_kill {
        Some(since) if since < SHORT => Duration::ZERO,
        _ if waited < SHORT => POLL,
        _ => SLOW_POLL,
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

/// Ends the outer lock.
fn release(file: &File) {
    let _ = fcntl(file, FcntlArg::F_SETLK(&whole_file(libc::F_UNLCK)));
}

/// The process that holds the lock, where it is one that can be named from here.
fn holder_pid(file: &File) -> Option<libc::pid_t> {
    outer_lock(file).and_then(|lock| nameable(lock.l_pid))
}

/// Whoever is in another namespace is 0, and a lock that belongs to no process has -1.
fn nameable(pid: libc::pid_t) -> Option<libc::pid_t> {
    (pid > 0).then_some(pid)
}

/// Whether somebody has the outer lock. The inner one alone is with another thread of this process, or with a
/// program that knows nothing of the outer one.
fn is_held(file: &File) -> bool {
    outer_lock(file).is_some()
}

/// Somebody else's outer lock.
fn outer_lock(file: &File) -> Option<libc::flock> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock)
}

/// Kills the process `pid`, if it still is the holder once nobody else can come by its number.
fn kill(pid: libc::pid_t, file: &File) -> bool {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) });
    let Some(Ok(descriptor)) = opened.ok().map(libc::c_int::try_from) else {
        return false;
    };
    // SAFETY: the kernel has just given this descriptor to us alone.
    let process = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let Ok(process) = clear_of_standard_streams(process) else {
        return false;
    };
    if holder_pid(file) != Some(pid) {
        return false;
    }
    process::kill(&process).is_ok()
}

/// Why a lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// Somebody held it for [`LIMIT`].
    Busy {
        /// Their process, where it can be named.
        holder: Option<libc::pid_t>,
    },
    /// The limits of this process leave no room for a save.
    Caller(Errno),
    /// A call failed.
    Failed(Errno),
    /// The file can't be opened.
    File(FileError),
    /// Nothing would be judged under it.
    Refused(Refusal),
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
            Self::Busy { holder: None } => f.write_str(
                "locked for over 20 seconds by a process that can't be named: look for it with fuser -v",
            ),
            Self::Caller(errno) => write!(
                f,
                "can't be saved under the limits of this process, so nothing was judged: {}",
                errno.desc()
            ),
            Self::Failed(errno) => write!(f, "cannot be locked: {}", errno.desc()),
            Self::File(error) => error.fmt(f),
            Self::Refused(_) => f.write_str("too many wrong answers"),
        }
    }
}

impl std::error::Error for LockError {}

#[cfg(test)]
mod tests;
