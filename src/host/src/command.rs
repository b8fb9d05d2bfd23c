//! A program of the site's, such as a gateway for mail or text messages, run from inside somebody else's process.
//!
//! MUST:
//!
//! 1. The caller never hears of it: no SIGCHLD, nothing that its own waits could reap, no descriptor, and nothing of the
//!    process is changed. It may ignore SIGCHLD, have threads, and have closed its standard streams.
//! 2. The program gets nothing of the caller's: no descriptor, signal, id, folder, terminal or environment.
//! 3. Whatever becomes of the caller, the program ends in time, and is reaped.
//! 4. In a copy of the caller only what is safe in a signal handler is done (signal-safety(7)): another of its threads
//!    may hold any lock. What allocates is done before. Ids and the handling of signals are changed by system calls of
//!    their own: glibc's functions also signal the threads that a copy has not got, and from 2.41 on wait for the lock that
//!    a thread holds which starts a process.
//! 5. What the program prints is dropped: it may quote the message.
//!
//! A child gives no SIGCHLD, and is left alone by waits without `__WALL`, as long as it has no exit signal. execve(2) gives
//! it one, so the program can't be a child of the caller's. It is one of a *keeper*: a copy of the caller, without an exit
//! signal, that runs no program, watches the clock, reaps, and tells how it ended through a pipe.

use std::ffi::{CString, c_char, c_int, c_long};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::{self, gid_t, pid_t, uid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Pid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, getgrouplist, getresgid, getresuid,
    pipe2, setsid, write,
};

use crate::account;
use crate::file::{FileError, check_program, clear_of_standard_streams};
use crate::process::{self, CriticalSection};

/// How long a program may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What a program may be told, in bytes: what a pipe takes at once, however many others there are (pipe(7)).
pub const MAX_INPUT: usize = libc::PIPE_BUF;

/// A program of the site's: an argument vector, no shell.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    /// The program, by its absolute path, and its arguments. They are there for all to see, in ps(1).
    pub argv: &'a [String],
    /// The account that it runs as, with all its groups. Not root's.
    pub user: &'a str,
    /// What it reads on its standard input, at most [`MAX_INPUT`] bytes.
    pub input: &'a [u8],
}

/// Runs it to its end, for [`LIMIT`] at most; then its process group is killed. Limits that are too low are raised for
/// it. No part of the input is in an error.
///
/// # Errors
/// [`CommandError`], also where the program has another exit status than 0.
pub fn run(command: &Command<'_>) -> Result<(), CommandError> {
    if !Uid::effective().is_root() {
        return Err(CommandError::NotRoot);
    }
    let plan = Plan::of(command)?;
    let (report, teller) = pipe(OFlag::O_NONBLOCK)?;
    let since = Instant::now();
    let keeper = {
        // The copy must run no handler of the caller's, nor leave a core.
        let _section = CriticalSection::begin(0).map_err(failed("block signals"))?;
        // SAFETY: in the copy nothing but `keep` is called, and that does only what a signal handler may.
        let copy = unsafe { Process::copy(0) };
        match copy.map_err(failed("start a process"))? {
            Some(keeper) => keeper,
            None => keep(&plan, &teller, since),
        }
    };
    drop(teller);
    if !keeper.ends_within(since, LIMIT.saturating_add(GRACE)) {
        let _ = process::kill(&keeper.descriptor);
    }
    keeper.reap();
    match End::heard(report) {
        Some(end) => end.verdict(plan.path, command.user),
        None => Err(CommandError::Lost),
    }
}

/// Whether a command could be run, as far as that can be told without running it.
///
/// # Errors
/// [`CommandError`]
pub fn check(argv: &[String], user: &str) -> Result<(), CommandError> {
    program(argv)?;
    user_named(user)?;
    Ok(())
}

/// The program of an argument vector, as it is found in the end.
fn program(argv: &[String]) -> Result<PathBuf, CommandError> {
    let named = argv.first().ok_or(CommandError::Empty)?;
    if !named.starts_with('/') {
        return Err(CommandError::NotAbsolute(named.clone()));
    }
    check_program(Path::new(named)).map_err(CommandError::Program)
}

/// The account of that name, which is not root's.
fn user_named(name: &str) -> Result<nix::unistd::User, CommandError> {
    let user = account::user(name).map_err(CommandError::Accounts)?;
    let user = user.ok_or_else(|| CommandError::UnknownUser(name.to_owned()))?;
    match user.uid.is_root() {
        true => Err(CommandError::RootUser),
        false => Ok(user),
    }
}

/// How much longer than the program the keeper may take, to kill it and to tell so. Only one that was stopped does.
const GRACE: Duration = Duration::from_secs(2);

/// What is made before the processes are, so that nothing is left to fail there that need not.
struct Plan {
    path: PathBuf,
    program: CString,
    /// What `pointers` points to.
    _arguments: Vec<CString>,
    /// The arguments and a null pointer, as execve(2) takes them.
    pointers: Vec<*const c_char>,
    uid: uid_t,
    gid: gid_t,
    groups: Vec<gid_t>,
    /// Gives the message, then the end of file.
    input: OwnedFd,
    /// /dev/null
    output: OwnedFd,
}

impl Plan {
    fn of(command: &Command<'_>) -> Result<Self, CommandError> {
        if command.input.len() > MAX_INPUT {
            return Err(CommandError::TooLong);
        }
        let path = program(command.argv)?;
        let arguments: Result<Vec<_>, _> = command
            .argv
            .iter()
            .map(|argument| CString::new(argument.as_str()))
            .collect();
        let arguments = arguments.map_err(|_| CommandError::Nul)?;
        let ends = arguments.iter().map(|argument| argument.as_ptr());
        let user = user_named(command.user)?;
        let name = CString::new(user.name).map_err(|_| CommandError::Nul)?;
        let groups = getgrouplist(&name, user.gid).map_err(failed("look up the groups"))?;
        let null = open(
            "/dev/null",
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .and_then(clear_of_standard_streams);
        Ok(Self {
            program: CString::new(path.as_os_str().as_bytes()).map_err(|_| CommandError::Nul)?,
            path,
            pointers: ends.chain([ptr::null()]).collect(),
            _arguments: arguments,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
            input: holding(command.input)?,
            output: null.map_err(failed("open /dev/null"))?,
        })
    }
}

/// The end of a pipe that gives these bytes and no more. They are in it before anybody reads: nobody waits for
/// anybody, and there is no SIGPIPE.
fn holding(bytes: &[u8]) -> Result<OwnedFd, CommandError> {
    let (reader, writer) = pipe(OFlag::empty())?;
    write(&writer, bytes).map_err(failed("write to a pipe"))?;
    Ok(reader)
}

fn pipe(flags: OFlag) -> Result<(OwnedFd, OwnedFd), CommandError> {
    let made = pipe2(flags | OFlag::O_CLOEXEC).and_then(|(reader, writer)| {
        Ok((
            clear_of_standard_streams(reader)?,
            clear_of_standard_streams(writer)?,
        ))
    });
    made.map_err(failed("make a pipe"))
}

/// The keeper's life. It runs in a copy of the caller.
fn keep(plan: &Plan, teller: &OwnedFd, since: Instant) -> ! {
    let end = match leave(plan, teller).and_then(|()| start(plan, teller)) {
        Ok(program) => watch(&program, since),
        Err(end) => end,
    };
    end.tell(teller);
    leave_for_good()
}

/// Lets go of all that is the caller's.
fn leave(plan: &Plan, teller: &OwnedFd) -> Result<(), End> {
    // Under su the real user id is the caller's, who could stop or kill us by it.
    set_ids(ids::SETRESUID, 0).map_err(End::at(Stage::Leaving))?;
    for number in 1..=libc::SIGRTMAX() {
        handle_by_default(number);
    }
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    process::raise_needed();
    process::raise(Resource::RLIMIT_NPROC, RLIM_INFINITY);
    umask(Mode::from_bits_truncate(0o022));
    chdir(c"/")
        .and_then(|()| dup2_stdin(&plan.input))
        .and_then(|()| dup2_stdout(&plan.output))
        .and_then(|()| dup2_stderr(&plan.output))
        .and_then(|()| close_all_but(teller.as_raw_fd()))
        .map_err(End::at(Stage::Leaving))
}

/// Gives a signal its default handling, which is refused for those that have no other.
fn handle_by_default(number: c_int) {
    /// A `sigaction` of the kernel's: SIG_DFL, no flags and no signals blocked are all zeros. No system's is larger.
    const DEFAULT: [u64; 8] = [0; 8];
    const SET_BYTES: usize = size_of::<KernelSet>();
    // SAFETY: the array is only read, and the old handling is not asked for.
    unsafe {
        let old = ptr::null_mut::<u64>();
        libc::syscall(
            libc::SYS_rt_sigaction,
            number,
            DEFAULT.as_ptr(),
            old,
            SET_BYTES,
        );
    }
}

/// The kernel's own set of signals, a bit each.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
type KernelSet = u64;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
type KernelSet = u128;

/// Closes what is behind the standard streams, but for one.
fn close_all_but(kept: RawFd) -> Result<(), Errno> {
    let below = (3, kept.saturating_sub(1));
    let above = (kept.saturating_add(1), RawFd::MAX);
    for (first, last) in [below, above] {
        if first <= last {
            // SAFETY: who owns these descriptors here never gets to use them again: this copy ends by `_exit`.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
    }
    Ok(())
}

/// Starts the program, which is not running yet when this returns.
fn start(plan: &Plan, teller: &OwnedFd) -> Result<Process, End> {
    // SAFETY: in the copy nothing but what follows is called, and that does only what a signal handler may.
    match unsafe { Process::copy(libc::SIGCHLD) }.map_err(End::at(Stage::Starting))? {
        Some(program) => Ok(program),
        None => {
            become_program(plan).tell(teller);
            leave_for_good()
        }
    }
}

/// Turns this copy into the program; returns only where that fails.
fn become_program(plan: &Plan) -> End {
    let environment = [
        c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(),
        c"LANG=C.UTF-8".as_ptr(),
        ptr::null(),
    ];
    if let Err(errno) = setsid() {
        return End::at(Stage::Starting)(errno);
    }
    if let Err(errno) = drop_ids(plan) {
        return End::at(Stage::User)(errno);
    }
    // Where somebody kills the keeper, nobody else would watch the clock.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let (program, arguments) = (plan.program.as_ptr(), plan.pointers.as_ptr());
    // SAFETY: all strings end with a NUL and both arrays with a null pointer, and they live in `plan` and above.
    unsafe { libc::execve(program, arguments, environment.as_ptr()) };
    End::at(Stage::Program)(Errno::last())
}

/// Becomes the plan's user, for good.
fn drop_ids(plan: &Plan) -> Result<(), Errno> {
    // SAFETY: the array is as long as said, and only read.
    let set = unsafe { libc::syscall(ids::SETGROUPS, plan.groups.len(), plan.groups.as_ptr()) };
    Errno::result(set)?;
    set_ids(ids::SETRESGID, plan.gid)?;
    set_ids(ids::SETRESUID, plan.uid)?;
    let (users, groups) = (getresuid()?, getresgid()?);
    let users = [users.real, users.effective, users.saved].map(Uid::as_raw);
    let groups = [groups.real, groups.effective, groups.saved].map(|group| group.as_raw());
    if users == [plan.uid; 3] && groups == [plan.gid; 3] {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Sets all three ids, the real, the effective and the saved one.
fn set_ids(call: c_long, id: u32) -> Result<(), Errno> {
    // SAFETY: both calls take three integers and touch no memory of ours.
    Errno::result(unsafe { libc::syscall(call, id, id, id) }).map(drop)
}

/// The calls that take ids of 32 bits. Where there were others first, those have the plain names.
mod ids {
    #[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
    pub(super) use nix::libc::{
        SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID,
    };
    #[cfg(any(target_arch = "arm", target_arch = "x86"))]
    pub(super) use nix::libc::{
        SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
    };
}

/// Waits for the program's end, or brings it about.
fn watch(program: &Process, since: Instant) -> End {
    let in_time = program.ends_within(since, LIMIT);
    if !in_time {
        // Nobody else can have these numbers before it is reaped. The first kill is for one that has no group yet.
        let pid = Pid::from_raw(program.pid);
        let _ = kill(pid, Signal::SIGKILL);
        let _ = kill(Pid::from_raw(program.pid.saturating_neg()), Signal::SIGKILL);
    }
    match program.reap() {
        Some(end) if in_time => end,
        _ => End {
            stage: Stage::Overtime,
            value: 0,
        },
    }
}

/// Ends a copy, without anything that the caller has registered for its own exit.
fn leave_for_good() -> ! {
    // SAFETY: _exit takes an integer and runs no handlers.
    unsafe { libc::_exit(0) }
}

/// A process that this one has made.
struct Process {
    /// At 0 to 2 it would do no harm: nothing can be read from it or printed to it.
    descriptor: OwnedFd,
    pid: pid_t,
}

impl Process {
    /// Makes a copy of this process, in which this returns `None`. It ends with `signal`.
    ///
    /// # Safety
    /// The copy has this thread alone, whatever the others were doing. It must do nothing but what is safe in a
    /// signal handler, and end by `_exit` or execve.
    unsafe fn copy(signal: c_int) -> Result<Option<Self>, Errno> {
        let flags = c_long::from(libc::CLONE_PIDFD | signal);
        let mut descriptor: RawFd = -1;
        let found_at = &raw mut descriptor;
        // No stack of its own, as the copy has our memory. That is the first argument in one place (clone(2)).
        let [first, second] = if cfg!(target_arch = "s390x") {
            [0, flags]
        } else {
            [flags, 0]
        };
        // SAFETY: without CLONE_VM the copy has memory and stack of its own; the kernel writes one descriptor to where
        // `descriptor` is. What the copy may do is our caller's promise.
        let made = unsafe { libc::syscall(libc::SYS_clone, first, second, found_at, 0, 0) };
        let pid = pid_t::try_from(Errno::result(made)?).map_err(|_| Errno::EOVERFLOW)?;
        if pid == 0 {
            return Ok(None);
        }
        // SAFETY: the kernel has just given this descriptor to us alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Some(Self { descriptor, pid }))
    }

    /// Waits for its end, until `limit` after `since`.
    fn ends_within(&self, since: Instant, limit: Duration) -> bool {
        loop {
            let left = limit.saturating_sub(since.elapsed());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut watched = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, timeout) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Waits for its end, and takes it from the kernel's list.
    fn reap(&self) -> Option<End> {
        let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
        let descriptor = libc::id_t::try_from(self.descriptor.as_raw_fd()).ok()?;
        loop {
            let flags = libc::WEXITED | libc::__WALL;
            let (kind, found) = (libc::P_PIDFD, found.as_mut_ptr());
            // SAFETY: the descriptor is open for the call, which writes one siginfo structure to where `found` is.
            let waited = unsafe { libc::waitid(kind, descriptor, found, flags) };
            match Errno::result(waited) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
        // SAFETY: waitid has filled it in, and a status is what it gives.
        let (code, value) = unsafe {
            let found = found.assume_init();
            (found.si_code, found.si_status())
        };
        let stage = match code {
            libc::CLD_EXITED => Stage::Exit,
            _ => Stage::Signal,
        };
        Some(End { stage, value })
    }
}

/// How far it came.
#[derive(Clone, Copy)]
enum Stage {
    /// The keeper could not let go of what is the caller's, by an errno.
    Leaving,
    /// There could be no process for the program, by an errno.
    Starting,
    /// It could not become the user, by an errno.
    User,
    /// It could not become the program, by an errno.
    Program,
    /// It ended by itself, with a status.
    Exit,
    /// It was ended, by a signal.
    Signal,
    /// It did not end.
    Overtime,
}

/// How it ended.
#[derive(Clone, Copy)]
struct End {
    stage: Stage,
    value: c_int,
}

impl End {
    const BYTES: usize = 1 + size_of::<c_int>();

    fn at(stage: Stage) -> impl Fn(Errno) -> Self {
        move |errno| Self {
            stage,
            value: errno as c_int,
        }
    }

    /// Tells it to the caller, who listens to the first of us.
    fn tell(self, teller: &OwnedFd) {
        let [a, b, c, d] = self.value.to_ne_bytes();
        let _ = write(teller, &[self.stage as u8, a, b, c, d]);
    }

    /// What the keeper told; `None` where it was ended before.
    fn heard(report: OwnedFd) -> Option<Self> {
        const STAGES: [Stage; 7] = [
            Stage::Leaving,
            Stage::Starting,
            Stage::User,
            Stage::Program,
            Stage::Exit,
            Stage::Signal,
            Stage::Overtime,
        ];
        let mut told = [0; Self::BYTES];
        File::from(report).read_exact(&mut told).ok()?;
        let [stage, value @ ..] = told;
        Some(Self {
            stage: *STAGES.iter().find(|known| **known as u8 == stage)?,
            value: c_int::from_ne_bytes(value),
        })
    }

    fn verdict(self, program: PathBuf, user: &str) -> Result<(), CommandError> {
        let errno = Errno::from_raw(self.value);
        Err(match self.stage {
            Stage::Leaving => failed("leave the caller's process")(errno),
            Stage::Starting => failed("start a process")(errno),
            Stage::User => CommandError::User {
                name: user.to_owned(),
                errno,
            },
            Stage::Program => CommandError::NotRun { program, errno },
            Stage::Exit if self.value == 0 => return Ok(()),
            Stage::Exit => CommandError::Exited { status: self.value },
            Stage::Signal => CommandError::Killed { signal: self.value },
            Stage::Overtime => CommandError::Overtime,
        })
    }
}

fn failed(doing: &'static str) -> impl Fn(Errno) -> CommandError {
    move |errno| CommandError::Failed { doing, errno }
}

/// Why a program was not run, or not with success.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CommandError {
    /// The account database can't be asked.
    Accounts(String),
    /// There is no program in the argument vector.
    Empty,
    /// The program ended with another status than 0.
    Exited {
        /// Which.
        status: c_int,
    },
    /// A call failed.
    Failed {
        /// What was done: a verb and more.
        doing: &'static str,
        /// What the system said.
        errno: Errno,
    },
    /// The program was ended by somebody else's signal, or by a fault of its own.
    Killed {
        /// Which.
        signal: c_int,
    },
    /// The process that watched it was killed.
    Lost,
    /// The program is not named by an absolute path.
    NotAbsolute(String),
    /// This process can't become somebody else.
    NotRoot,
    /// The system does not run the program.
    NotRun {
        /// What was to be run.
        program: PathBuf,
        /// What the system said.
        errno: Errno,
    },
    /// An argument has a NUL.
    Nul,
    /// The program did not end within [`LIMIT`].
    Overtime,
    /// The program is not to be trusted, or is not there.
    Program(FileError),
    /// The program was to run as root.
    RootUser,
    /// There is more input than [`MAX_INPUT`].
    TooLong,
    /// There is no such account to run as.
    UnknownUser(String),
    /// The ids of the account can't be taken on.
    User {
        /// Whose.
        name: String,
        /// What the system said.
        errno: Errno,
    },
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts(reason) => f.write_str(reason),
            Self::Empty => f.write_str("there is no command: name a program"),
            Self::Exited { status } => write!(
                f,
                "the command ended with status {status}: run it by hand as its user to see what it says"
            ),
            Self::Failed {
                doing,
                errno: errno @ Errno::EAGAIN,
            } => write!(
                f,
                "cannot {doing} for the command: {}: {MORE_PROCESSES}",
                errno.desc()
            ),
            Self::Failed { doing, errno } => {
                write!(f, "cannot {doing} for the command: {}", errno.desc())
            }
            Self::Killed { signal } => write!(
                f,
                "the command was ended by signal {signal}: run it by hand as its user to see why"
            ),
            Self::Lost => f.write_str(
                "the process that watched the command was killed: look in the kernel's log who did it",
            ),
            Self::NotAbsolute(named) => {
                write!(
                    f,
                    "the command {named} is no absolute path: begin it with /"
                )
            }
            Self::NotRoot => f.write_str(
                "only root can run the command as another user: look whether the service runs as root",
            ),
            Self::NotRun {
                program,
                errno: errno @ Errno::EAGAIN,
            } => write!(
                f,
                "cannot run {}: {}: {MORE_PROCESSES}",
                program.display(),
                errno.desc()
            ),
            Self::NotRun {
                program,
                errno: errno @ Errno::ENOENT,
            } => write!(
                f,
                "cannot run {}: {}: install the interpreter that it names in its first line",
                program.display(),
                errno.desc()
            ),
            Self::NotRun { program, errno } => write!(
                f,
                "cannot run {}: {}: try it by hand as the command's user",
                program.display(),
                errno.desc()
            ),
            Self::Nul => {
                f.write_str("an argument of the command has a zero byte: write it without")
            }
            Self::Overtime => write!(
                f,
                "the command did not end within {} seconds and was killed: use one that queues the message",
                LIMIT.as_secs()
            ),
            Self::Program(error) if error.is_missing() => {
                write!(f, "{error}: install the command, or name another")
            }
            Self::Program(error) => error.fmt(f),
            Self::RootUser => f.write_str(
                "the command must not run as root: name an account that is there for nothing else",
            ),
            Self::TooLong => write!(
                f,
                "the message for the command is longer than {MAX_INPUT} bytes: make it shorter"
            ),
            Self::UnknownUser(name) => write!(
                f,
                "there is no account {name} to run the command as: make it, or name another"
            ),
            Self::User { name, errno } => write!(
                f,
                "the command cannot run as {name}: {}: look which capabilities the service is left",
                errno.desc()
            ),
        }
    }
}

impl std::error::Error for CommandError {}

const MORE_PROCESSES: &str = "raise the limit on processes (ulimit -u, TasksMax)";

#[cfg(test)]
mod tests;
