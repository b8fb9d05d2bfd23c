//! They need root, as the code does: `make unit` leaves them out.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, sigaction};
use nix::sys::wait::{WaitPidFlag, waitpid};
use tempfile::TempDir;

use super::*;

const USER: &str = "nobody";
const CODE: &str = "your code is 123456\n";

/// A folder that programs can be kept in, with another that they may write to.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("out")).unwrap();
        for (name, mode) in [("", 0o755), ("out", 0o777)] {
            fs::set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn program(&self, text: &str, mode: u32) -> String {
        let path = self.path("program");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Runs lines of shell in the folder for output.
    fn shell(&self, text: &str) -> Result<(), CommandError> {
        let text = format!("cd {} || exit 99\n{text}", self.path("out"));
        run_as(USER, &["/bin/sh", "-c", &text], CODE.as_bytes())
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.path("out/") + name).unwrap()
    }
}

fn run_as(user: &str, argv: &[&str], input: &[u8]) -> Result<(), CommandError> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    run(&Command {
        argv: &argv,
        user,
        input,
    })
}

fn run_program(path: &str) -> Result<(), CommandError> {
    run_as(USER, &[path], CODE.as_bytes())
}

/// Whether this is the process that the test of that name has for itself. Elsewhere makes one, behind lines of shell in a
/// mount namespace, and passes its failure on.
fn alone(test: &str, prelude: &str) -> bool {
    if std::env::var_os("ALONE").is_some() {
        return true;
    }
    let output = alone_in(test, prelude).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{prelude}: {said}");
    assert!(said.contains("running 1 test\n"), "{said}");
    false
}

fn alone_in(test: &str, prelude: &str) -> process::Command {
    let mut command = process::Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec"])
        .arg(format!("{prelude}\nexec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("command::tests::{test}")])
        .args(["--test-threads", "1", "--nocapture"])
        .env("ALONE", "1");
    command
}

/// All of this process that its owner may find changed, and that it has no child of any kind.
fn condition() -> String {
    let mut lines = Vec::new();
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let kept = [
        "Uid", "Gid", "Groups", "Umask", "SigPnd", "SigBlk", "SigIgn", "SigCgt", "ShdPnd", "Cap",
        "NoNew", "Threads",
    ];
    let is_kept = |line: &&str| kept.iter().any(|name| line.starts_with(name));
    lines.extend(status.lines().filter(is_kept).map(str::to_owned));
    lines.push(fs::read_to_string("/proc/self/limits").unwrap());
    lines.push(format!("{:?}", std::env::current_dir()));
    lines.push(format!("{:?}", prctl::get_dumpable()));
    let mut descriptors: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some(format!("{path:?} {:?}", fs::read_link(&path).ok()?)))
        .filter(|line| !line.contains("/fd\""))
        .collect();
    descriptors.sort();
    lines.extend(descriptors);
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    assert_eq!(waitpid(None, Some(flags)), Err(Errno::ECHILD));
    lines.join("\n")
}

/// Waits until a process is gone, or nothing but an entry that its new parent has not taken yet.
fn is_ended(pid: &str) -> bool {
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let since = Instant::now();
    while is_there() && since.elapsed() < LIMIT + LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    !is_there()
}

/// As the documents say.
#[test]
fn a_command_has_10_seconds() {
    assert_eq!(LIMIT, Duration::from_secs(10));
}

#[test]
fn the_program_gets_nothing_of_the_callers() {
    let prelude = "
        export LD_DEBUG_OUTPUT=/x SECRET=s
        exec 9</dev/null
        umask 077; cd /proc; trap '' TERM HUP CHLD; ulimit -S -c unlimited
        exec setpriv --groups 4,27 nice -n 0 \"$0\" \"$@\"";
    if !alone("the_program_gets_nothing_of_the_callers", prelude) {
        return;
    }
    let blocked = SigSet::all();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
    // No shell, which changes some of it.
    let place = Place::new();
    let about = ["environ", "limits", "stat", "status"].map(|name| format!("/proc/self/{name}"));
    let [environment, limits, stat, status] = about.each_ref().map(String::as_str);
    let out = place.path("out");
    let argv = ["/bin/cp", environment, limits, stat, status, &out];
    run_as(USER, &argv, b"").unwrap();
    assert_eq!(
        place.said("environ"),
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin\0LANG=C.UTF-8\0"
    );
    let limits = place.said("limits");
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    assert_eq!(cores.unwrap().split_whitespace().nth(4), Some("0"));
    let stat = place.said("stat");
    let fields: Vec<_> = stat.split(' ').collect();
    let [pid, _, _, parent, group, session, terminal, ..] = fields[..] else {
        panic!("{stat}");
    };
    assert_eq!((group, session, terminal), (pid, pid, "0"));
    assert_ne!(parent, process::id().to_string());
    assert!(!Path::new("/proc").join(parent).exists());

    let status = place.said("status");
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let (_, value) = lines.find(|(found, _)| *found == name).unwrap();
        value.trim()
    };
    let user = account::user(USER).unwrap().unwrap();
    let all = |id: u32| format!("{id}\t{id}\t{id}\t{id}");
    assert_eq!(field("Uid"), all(user.uid.as_raw()));
    assert_eq!(field("Gid"), all(user.gid.as_raw()));
    assert_eq!(field("Groups"), user.gid.to_string());
    assert_eq!(field("Umask"), "0022");
    for none in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "CapPrm", "CapEff"] {
        // The C library keeps two signals to itself, 32 and 33, and leaves them as they are.
        let bits = u64::from_str_radix(field(none), 16).unwrap() & !(0b11 << 31);
        assert_eq!(bits, 0, "{none}");
    }

    // What perl lists its descriptors by is gone when it looks what they are.
    let text = format!(
        "my @open = map {{ readlink or () }} '/proc/self/cwd', glob '/proc/self/fd/*';
         open(my $out, '>', '{out}/open'); print $out \"@open\"",
    );
    run_as(USER, &["/usr/bin/perl", "-e", &text], b"").unwrap();
    let open = place.said("open");
    assert!(open.starts_with("/ pipe:["), "{open}");
    assert!(open.ends_with("] /dev/null /dev/null"), "{open}");
}

#[test]
fn the_program_has_all_groups_of_its_user() {
    let prelude = "
        mount -t tmpfs none /mnt; cp /etc/group /mnt/group
        echo gateway:x:54321:nobody >>/mnt/group; mount --bind /mnt/group /etc/group";
    if alone("the_program_has_all_groups_of_its_user", prelude) {
        let place = Place::new();
        place.shell("id -G >groups").unwrap();
        let gid = account::user(USER).unwrap().unwrap().gid;
        assert_eq!(place.said("groups"), format!("{gid} 54321\n"));
    }
}

#[test]
fn t52_arguments_are_no_lines_of_shell() {
    let place = Place::new();
    let argument = "$(id) `id` ; * \\ \"'{address} \n";
    let copy = format!("printf %s \"$1\" >{}", place.path("out/argument"));
    run_as(USER, &["/bin/sh", "-c", &copy, "sh", argument], b"").unwrap();
    assert_eq!(place.said("argument"), argument);
}

#[test]
fn it_is_told_how_the_program_ended() {
    let place = Place::new();
    assert_eq!(place.shell("exit 0"), Ok(()));
    for (text, status) in [("exit 1", 1), ("cat >&2; exit 75", 75), ("exit 255", 255)] {
        assert_eq!(place.shell(text), Err(CommandError::Exited { status }));
    }
    for signal in [9, 15, 40] {
        let text = format!("kill -{signal} $$");
        assert_eq!(place.shell(&text), Err(CommandError::Killed { signal }));
    }
}

#[test]
fn a_program_that_hangs_is_killed_with_its_group() {
    if !alone("a_program_that_hangs_is_killed_with_its_group", "") {
        return;
    }
    let (place, before, since) = (Place::new(), condition(), Instant::now());
    let text = "trap '' TERM INT HUP; sleep 600 & echo $$ >one; echo $! >other; sleep 600";
    assert_eq!(place.shell(text), Err(CommandError::Overtime));
    assert!(since.elapsed() >= LIMIT);
    assert!(
        since.elapsed() < LIMIT + GRACE,
        "the keeper had to be killed"
    );
    assert!(
        !Path::new("/proc").join(place.said("one").trim()).exists(),
        "it was not reaped"
    );
    assert!(is_ended(&place.said("other")));
    assert_eq!(condition(), before);
}

#[test]
fn a_program_ends_in_time_even_where_the_caller_was_killed() {
    const NAME: &str = "a_program_ends_in_time_even_where_the_caller_was_killed";
    if std::env::var_os("ALONE").is_some() {
        let place = std::env::var("PLACE").unwrap();
        let text = format!("echo $$ >{place}/part; mv {place}/part {place}/pid; exec sleep 600");
        let _ = run_as(USER, &["/bin/sh", "-c", &text], b"");
        return;
    }
    let place = Place::new();
    let mut caller = alone_in(NAME, "")
        .env("PLACE", place.path("out"))
        .spawn()
        .unwrap();
    while !Path::new(&place.path("out/pid")).exists() {
        assert_eq!(caller.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    caller.kill().unwrap();
    caller.wait().unwrap();
    assert!(is_ended(&place.said("pid")));
}

#[test]
fn a_keeper_that_is_killed_or_stopped_takes_the_program_with_it() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let place = Place::new();
        std::thread::scope(|threads| {
            let text = "echo $$ >pid; echo $PPID >part; mv part keeper; exec sleep 600";
            let run = threads.spawn(|| place.shell(text));
            while !Path::new(&place.path("out/keeper")).exists() {
                assert!(!run.is_finished());
                std::thread::sleep(Duration::from_millis(10));
            }
            let keeper = place.said("keeper").trim().parse().unwrap();
            kill(Pid::from_raw(keeper), signal).unwrap();
            assert_eq!(run.join().unwrap(), Err(CommandError::Lost));
            assert!(!Path::new("/proc").join(keeper.to_string()).exists());
            assert!(is_ended(&place.said("pid")));
        });
    }
}

#[test]
fn a_program_may_print_what_it_likes() {
    let place = Place::new();
    let text = "head -c 10000000 /dev/zero && head -c 10000000 /dev/zero >&2 && echo all >printed";
    place.shell(text).unwrap();
    assert_eq!(place.said("printed"), "all\n");
}

#[test]
fn a_daemon_that_keeps_the_descriptors_is_not_waited_for() {
    let (place, since) = (Place::new(), Instant::now());
    place.shell("sleep 600 & echo $! >pid").unwrap();
    assert!(since.elapsed() < LIMIT);
    let pid = place.said("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn the_process_is_the_same_afterwards_whatever_its_caller_made_of_it() {
    let preludes = [
        "true",
        "trap '' CHLD",
        "ulimit -f 0",
        "ulimit -S -f 0",
        "ulimit -n 12",
        "ulimit -s 256",
        "ulimit -S -p 1",
        "ulimit -t 30",
        "umask 777",
        "mkdir /mnt/gone; cd /mnt/gone; rmdir /mnt/gone",
        "exec setpriv --ruid 54321 \"$0\" \"$@\"",
        "ulimit -S -p 0; exec setpriv --ruid 54321 \"$0\" \"$@\"",
    ];
    for prelude in preludes {
        let test = "the_process_is_the_same_afterwards_whatever_its_caller_made_of_it";
        let prelude = format!(
            "mount -t tmpfs -o mode=755 none /mnt
            echo '#!/no/such/interpreter' >/mnt/program; chmod 755 /mnt/program
            {prelude}"
        );
        if !alone(test, &prelude) {
            continue;
        }
        let place = Place::new();
        for are_closed in [false, true] {
            if are_closed {
                for descriptor in 0..3 {
                    // SAFETY: in this process nobody else relies on them; what is printed is lost.
                    unsafe { libc::close(descriptor) };
                }
            }
            let before = condition();
            // Nor has the keeper an id by which the caller could stop it.
            let text = format!(
                "[ \"$(cat)\" = '{}' ] && grep -q '^Uid:.0.0.0.0$' /proc/$PPID/status",
                CODE.trim()
            );
            assert_eq!(place.shell(&text), Ok(()));
            assert_eq!(
                place.shell("exit 3"),
                Err(CommandError::Exited { status: 3 })
            );
            assert!(run_program("/no/such/program").is_err());
            let error = run_program("/mnt/program").unwrap_err();
            assert!(matches!(error, CommandError::NotRun { .. }), "{error}");
            assert_eq!(condition(), before);
        }
        return;
    }
}

#[test]
fn a_limit_that_the_program_could_not_work_under_is_raised() {
    let test = "a_limit_that_the_program_could_not_work_under_is_raised";
    if alone(test, "ulimit -S -f 0") {
        let (place, before) = (Place::new(), condition());
        place.shell("cat >input").unwrap();
        assert_eq!(place.said("input"), CODE);
        assert_eq!(condition(), before);
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static REAPED: AtomicUsize = AtomicUsize::new(0);

/// What many programs have for SIGCHLD.
extern "C" fn reap_all(_: c_int) {
    CALLS.fetch_add(1, Ordering::SeqCst);
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
    {
        REAPED.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_caller_hears_of_no_child_whatever_it_does_with_children() {
    if !alone(
        "the_caller_hears_of_no_child_whatever_it_does_with_children",
        "",
    ) {
        return;
    }
    let place = Place::new();
    let handlers = [
        (SigHandler::SigIgn, SaFlags::empty()),
        (SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT),
        (SigHandler::Handler(reap_all), SaFlags::SA_NOCLDWAIT),
        (SigHandler::Handler(reap_all), SaFlags::empty()),
    ];
    for (handler, flags) in handlers {
        let action = SigAction::new(handler, flags, SigSet::empty());
        // SAFETY: the handler does nothing but a system call and an addition.
        unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
        let before = condition();
        for status in [1, 2, 3] {
            let text = format!("exit {status}");
            assert_eq!(place.shell(&text), Err(CommandError::Exited { status }));
        }
        assert_eq!(place.shell("sleep 0.1"), Ok(()));
        assert_eq!(condition(), before);
        // SAFETY: as above.
        let found = unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
        assert_eq!(format!("{:?}", found.handler()), format!("{handler:?}"));
        assert!(found.flags().contains(flags));
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    assert_eq!(REAPED.load(Ordering::SeqCst), 0);
    // The handler that is in place does hear of children.
    let _ = process::Command::new("true").status();
    let since = Instant::now();
    while CALLS.load(Ordering::SeqCst) == 0 && since.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn two_hundred_runs_leave_nothing() {
    if !alone("two_hundred_runs_leave_nothing", "") {
        return;
    }
    let place = Place::new();
    let program = place.program("no program", 0o755);
    let before = condition();
    for _ in 0..100 {
        assert_eq!(run_program("/bin/true"), Ok(()));
        let errno = Errno::ENOEXEC;
        assert_eq!(
            run_program(&program),
            Err(CommandError::NotRun {
                program: program.clone().into(),
                errno
            })
        );
    }
    assert_eq!(condition(), before);
}

#[test]
fn a_caller_may_have_threads_that_allocate_wait_and_run_programs() {
    if !alone(
        "a_caller_may_have_threads_that_allocate_wait_and_run_programs",
        "",
    ) {
        return;
    }
    let (place, before) = (Place::new(), condition());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let busy = [(); 2].map(|()| {
            threads.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let many: Vec<_> = (0..100).map(|size| vec![0_u8; size * 100]).collect();
                    assert_eq!(many.len(), 100);
                    let waited = waitpid(None, Some(WaitPidFlag::WNOHANG));
                    assert_eq!(waited, Err(Errno::ECHILD));
                }
            })
        });
        let place = &place;
        let runners: Vec<_> = (0..3)
            .map(|thread| {
                threads.spawn(move || {
                    for round in 0..20 {
                        let (name, input) =
                            (format!("{thread}-{round}"), format!("{thread} {round}"));
                        let text = format!("cat >{}", place.path("out/") + &name);
                        run_as(USER, &["/bin/sh", "-c", &text], input.as_bytes()).unwrap();
                        assert_eq!(place.said(&name), input);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = runners.into_iter().map(|runner| runner.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        for ended in ended.into_iter().chain(busy.map(|thread| thread.join())) {
            ended.unwrap();
        }
    });
    assert_eq!(condition(), before);
}

#[test]
fn a_program_that_others_could_have_changed_is_refused() {
    let place = Place::new();
    let good = "#!/bin/sh\nexit 0\n";
    let refused = |why: &str| {
        let error = run_program(&place.path("program")).unwrap_err();
        assert!(matches!(error, CommandError::Program(_)), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    let program = place.program(good, 0o755);
    assert_eq!(run_program(&program), Ok(()));
    for mode in [0o775, 0o757] {
        place.program(good, mode);
        refused("chmod 0755");
    }
    place.program(good, 0o755);
    std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
    refused("chown root");
    fs::remove_file(&program).unwrap();
    refused("does not exist");
    fs::create_dir(&program).unwrap();
    refused("not a regular file");
    fs::remove_dir(&program).unwrap();

    // By a link, it is the program behind it that counts, and whether its folder can be changed.
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    assert_eq!(run_program(&program), Ok(()));
    fs::remove_file(&program).unwrap();
    let behind = place.path("out/behind");
    fs::copy("/bin/true", &behind).unwrap();
    std::os::unix::fs::symlink(&behind, &program).unwrap();
    refused("/out has mode 0777");
}

#[test]
fn a_program_that_cannot_be_run_is_told_by_its_reason() {
    let place = Place::new();
    for (text, mode, errno, next) in [
        ("#!/bin/sh\n", 0o644, Errno::EACCES, "by hand"),
        (
            "#!/no/such/interpreter\n",
            0o755,
            Errno::ENOENT,
            "interpreter",
        ),
        ("no program", 0o755, Errno::ENOEXEC, "by hand"),
    ] {
        let program = place.program(text, mode);
        let error = run_program(&program).unwrap_err();
        assert!(error.to_string().contains(next), "{error}");
        let program = program.into();
        assert_eq!(error, CommandError::NotRun { program, errno });
    }
    for (user, argv, expected) in [
        (USER, &[][..], CommandError::Empty),
        (USER, &["true"], CommandError::NotAbsolute("true".into())),
        (USER, &["/bin/true", "\0"], CommandError::Nul),
        ("root", &["/bin/true"], CommandError::RootUser),
        (
            "no-such-person",
            &["/bin/true"],
            CommandError::UnknownUser("no-such-person".into()),
        ),
    ] {
        assert_eq!(run_as(user, argv, b""), Err(expected));
    }
}

#[test]
fn the_program_reads_its_input_as_it_is_and_a_longer_one_is_refused() {
    let place = Place::new();
    let input = CODE.repeat(MAX_INPUT);
    let input = input.as_bytes();
    let argv = [
        "/bin/sh",
        "-c",
        &format!("cat >{}", place.path("out/input")),
    ];
    for length in [0, 1, CODE.len(), MAX_INPUT] {
        run_as(USER, &argv, &input[..length]).unwrap();
        assert_eq!(place.said("input").as_bytes(), &input[..length]);
    }
    let error = run_as(USER, &argv, &input[..=MAX_INPUT]);
    assert_eq!(error, Err(CommandError::TooLong));
}

#[test]
fn no_room_for_a_process_is_told() {
    let prelude = "ulimit -p 1
        exec setpriv --ruid 54321 --bounding-set -sys_resource,-sys_admin \"$0\" \"$@\"";
    if alone("no_room_for_a_process_is_told", prelude) {
        let before = condition();
        let error = run_program("/bin/true").unwrap_err();
        let (doing, errno) = ("start a process", Errno::EAGAIN);
        assert_eq!(error, CommandError::Failed { doing, errno });
        assert!(error.to_string().contains("limit on processes"), "{error}");
        assert_eq!(condition(), before);
    }
}

#[test]
fn a_process_that_may_not_become_the_user_does_not_run_the_program() {
    for missing in ["setuid", "setgid"] {
        let test = "a_process_that_may_not_become_the_user_does_not_run_the_program";
        let prelude = format!("exec setpriv --bounding-set -{missing} \"$0\" \"$@\"");
        if !alone(test, &prelude) {
            continue;
        }
        let place = Place::new();
        let (name, errno) = (USER.to_owned(), Errno::EPERM);
        let expected = CommandError::User { name, errno };
        assert_eq!(place.shell("echo ran >trace"), Err(expected));
        assert!(!Path::new(&place.path("out/trace")).exists());
        return;
    }
}

#[test]
fn who_is_not_root_is_told() {
    if alone(
        "who_is_not_root_is_told",
        "exec setpriv --euid 65534 \"$0\" \"$@\"",
    ) {
        assert_eq!(run_program("/bin/true"), Err(CommandError::NotRoot));
    }
}
