//! This process, which belongs to somebody else: su and sudo run with their caller's limits and signals.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::time::{ClockId, clock_gettime};

/// Lets no memory of this process, which may hold secrets, reach a core file.
pub fn forbid_core_dumps() {
    // Neither call can fail for a process of ours that does not run under another's rules.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

/// Which session of which terminal this process is of: numbers that no other has on this boot, with the boot's own.
/// `None` without a terminal, or where the session's leader is gone.
#[must_use]
pub fn session() -> Option<String> {
    // Counted behind the name: the session is the fourth, the terminal the fifth, the start the twentieth.
    let own = stat("self")?;
    let (session, terminal) = (own.get(3)?, own.get(4)?);
    if terminal == "0" || session == "0" {
        return None;
    }
    let leader = stat(session)?;
    let start = leader.get(19)?;
    Some(format!("{terminal} {session} {start} {}", boot()?))
}

/// The fields of proc_pid_stat(5) behind the name of the program.
fn stat(process: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before the last parenthesis may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// A point in time by which processes and login sessions are older or newer, whatever the clock does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moment {
    /// The id of the boot.
    pub boot: String,
    /// Hundredths of a second since that, as processes' starts are counted (USER_HZ).
    pub ticks: u64,
    /// The highest id that the audit system had given to a session of processes that still live; 0 without one.
    pub audit_session: u32,
}

impl Moment {
    /// What is not that far apart can't be told apart.
    pub const RESOLUTION: Duration = Duration::from_millis(10);

    /// Now; `None` without /proc.
    #[must_use]
    pub fn now() -> Option<Self> {
        // Not /proc/uptime: in many containers that tells of the container (lxcfs), and processes' starts of the machine.
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
        let hundredths = Duration::from(since_boot).as_millis().checked_div(10)?;
        Some(Self {
            boot: boot()?,
            ticks: u64::try_from(hundredths).ok()?,
            audit_session: all().filter_map(audit_session).max().unwrap_or(0),
        })
    }

    /// How long ago it was; `None` where that was on another boot.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let now = Self::now().filter(|now| now.boot == self.boot)?;
        Some(duration(now.ticks.saturating_sub(self.ticks)))
    }

    /// Whether the audit system has put this process into a session since then.
    #[must_use]
    pub fn is_before_this_session(&self) -> bool {
        let own = audit_session(std::process::id());
        own.is_some_and(|own| own > self.audit_session || boot().as_ref() != Some(&self.boot))
    }
}

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(10))
}

/// The session of a process, numbered upwards from the boot on (proc(5), sessionid).
fn audit_session(process: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/sessionid")).ok()?;
    text.trim().parse().ok().filter(|id| *id != u32::MAX)
}

/// What is known of a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// The file name of its program; where that is not for us to see, the name that it goes by.
    pub program: String,
    /// Its real user id.
    pub uid: u32,
    parent: u32,
    started: u64,
}

impl Process {
    /// The process of that id, where there is one.
    #[must_use]
    pub fn of(id: u32) -> Option<Self> {
        let stat = stat(&id.to_string())?;
        let file = std::fs::read_link(format!("/proc/{id}/exe")).ok();
        let name = file.and_then(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
        // root of a container may not trace others (CAP_SYS_PTRACE).
        let name = name.or_else(|| std::fs::read_to_string(format!("/proc/{id}/comm")).ok())?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some(Self {
            // An upgrade takes the file away from those that run.
            program: name.trim_end().trim_end_matches(" (deleted)").to_owned(),
            uid: uid.split_whitespace().next()?.parse().ok()?,
            parent: stat.get(1)?.parse().ok()?,
            started: stat.get(19)?.parse().ok()?,
        })
    }

    /// How long ago it was started; `None` without /proc.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let now = Moment::now()?;
        Some(duration(now.ticks.saturating_sub(self.started)))
    }

    /// Whether it was started after that.
    #[must_use]
    pub fn is_newer_than(&self, moment: &Moment) -> bool {
        self.started > moment.ticks || boot().as_ref() != Some(&moment.boot)
    }
}

/// This process, the one that started it, and so on.
#[must_use]
pub fn ancestry() -> Vec<Process> {
    let own = Process::of(std::process::id());
    std::iter::successors(own, |child| match child.parent {
        0 => None,
        parent => Process::of(parent),
    })
    .collect()
}

/// Whether a process runs one of these programs.
#[must_use]
pub fn is_running(programs: &[&str]) -> bool {
    let mut found = all().filter_map(Process::of);
    found.any(|process| programs.contains(&process.program.as_str()))
}

/// The ids of all processes.
fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Room to work in, whatever limits the caller has set, as far as this process may raise them. Dropping it puts
/// all back as it was. Where there are other threads, whose limits they are too, they stay as they are.
#[derive(Debug)]
pub struct Room {
    limits: Vec<(Resource, rlim_t, rlim_t)>,
}

/// What a login needs, which is far less than what people usually have.
const NEEDED: [(Resource, rlim_t); 6] = [
    (Resource::RLIMIT_AS, RLIM_INFINITY),
    (Resource::RLIMIT_CPU, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY),
    (Resource::RLIMIT_NOFILE, 64),
    (Resource::RLIMIT_STACK, 1 << 20),
];

impl Room {
    /// Raises the limits that are too low.
    #[must_use]
    pub fn make() -> Self {
        let is_low = |(resource, needed): (Resource, rlim_t)| {
            getrlimit(resource).is_ok_and(|(soft, _)| soft < needed)
        };
        if !NEEDED.into_iter().any(is_low) || !is_only_thread() {
            return Self { limits: Vec::new() };
        }
        let raised = NEEDED.into_iter().filter_map(|(resource, needed)| {
            raise(resource, needed).map(|(soft, hard)| (resource, soft, hard))
        });
        Self {
            limits: raised.collect(),
        }
    }

    /// Does something under the limits that the caller has set. Those that left room before are not looked at again after
    /// it: nobody can lower them meanwhile but root, and whoever this process is of.
    pub fn lend<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.put_back();
        let result = wait();
        for (resource, needed) in NEEDED {
            if self.limits.iter().any(|(raised, ..)| *raised == resource) {
                raise(resource, needed);
            }
        }
        result
    }

    fn put_back(&self) {
        for (resource, soft, hard) in &self.limits {
            let _ = setrlimit(*resource, *soft, *hard);
        }
    }
}

/// Whether this thread is the only one of its process; `false` without /proc.
fn is_only_thread() -> bool {
    // The folder has two links and one more for each thread: to count them takes no descriptor.
    std::fs::metadata("/proc/self/task").is_ok_and(|folder| folder.nlink() == 3)
}

/// Raises the limits that are too low, for good: in a copy of a process, which has them for itself. Does only what a signal
/// handler may.
pub(crate) fn raise_needed() {
    for (resource, needed) in NEEDED {
        raise(resource, needed);
    }
}

/// Raises a limit that is too low, as far as this process may; returns what it was (soft, hard) where it was changed.
pub(crate) fn raise(resource: Resource, needed: rlim_t) -> Option<(rlim_t, rlim_t)> {
    let (soft, hard) = getrlimit(resource).ok()?;
    let raised = soft < needed
        && (setrlimit(resource, needed, hard.max(needed)).is_ok()
            || setrlimit(resource, hard.min(needed), hard).is_ok());
    raised.then_some((soft, hard))
}

impl Drop for Room {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Kills the process that a descriptor of pidfd_open(2) or clone(2) is for.
pub(crate) fn kill(process: &OwnedFd) -> Result<(), Errno> {
    let descriptor = process.as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the call; a null siginfo makes the kernel fill in its own.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor,
            libc::SIGKILL,
            no_info,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// A stretch in which no signal that can be blocked interrupts, and no memory reaches a core file; to be begun where
/// there is [`Room`]. Dropping it puts all back as it was.
#[derive(Debug)]
pub struct CriticalSection {
    mask: SigSet,
}

impl CriticalSection {
    /// Begins the stretch. `file_bytes` is the size of the largest file that will be written.
    ///
    /// # Errors
    /// [`Errno::EFBIG`] where the caller's limit on files can't be raised enough: a write would fail, and
    /// its signal end the process. Nothing must be judged then.
    pub fn begin(file_bytes: u64) -> Result<Self, Errno> {
        let mut mask = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut mask),
        )?;
        within(Inside::enter);
        let section = Self { mask };
        let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
        if most < file_bytes {
            Err(Errno::EFBIG)
        } else {
            Ok(section)
        }
    }
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        within(Inside::leave);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }
}

/// The threads in critical sections. Cores are the whole process's: they stay forbidden until the last one is out.
struct Inside {
    threads: usize,
    was_dumpable: bool,
}

impl Inside {
    fn enter(&mut self) {
        if self.threads == 0 {
            self.was_dumpable = is_dumpable() && prctl::set_dumpable(false).is_ok();
        }
        self.threads = self.threads.saturating_add(1);
    }

    fn leave(&mut self) {
        self.threads = self.threads.saturating_sub(1);
        if self.threads == 0 && self.was_dumpable {
            let _ = prctl::set_dumpable(true);
        }
    }
}

/// Held for two system calls at most, with all signals blocked.
fn within(change: fn(&mut Inside)) {
    static INSIDE: Mutex<Inside> = Mutex::new(Inside {
        threads: 0,
        was_dumpable: false,
    });
    change(&mut INSIDE.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Whether the owner of this process gets its cores. Programs that run for others have other values, by which
/// root gets them or nobody; those need no change, and one of them could not be put back.
fn is_dumpable() -> bool {
    // SAFETY: PR_GET_DUMPABLE takes no further argument and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_forbidden_until_the_last_thread_is_out() {
        assert!(is_dumpable());
        let sections = [(); 2].map(|()| CriticalSection::begin(1).unwrap());
        for section in sections {
            assert!(!is_dumpable());
            drop(section);
        }
        assert!(is_dumpable());
    }
}
