use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use totp_core::throttle::Limit;
use totp_core::time::Time;

use super::*;
use crate::skipped::skip;

/// A folder with a slot file of the name "alice".
fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder
        .create("alice", &slot::new_file(b"").unwrap())
        .unwrap();
    (place, folder)
}

fn open(folder: &Folder) -> CheckedFile {
    folder.open_file("alice", Others::None, true).unwrap()
}

/// As the documents say.
#[test]
fn a_holder_that_does_not_move_has_5_seconds_and_a_wait_20() {
    let seconds = Duration::from_secs;
    assert_eq!((PATIENCE, LIMIT), (seconds(5), seconds(20)));
}

/// Locks, and returns who was killed for it.
fn lock(folder: &Folder, file: CheckedFile) -> (Locked, Option<libc::pid_t>) {
    let dead = Cell::new(None);
    let waiting = Waiting {
        refusal: &|_| None,
        killed: &|pid| dead.set(Some(pid)),
    };
    let lock = Locked::lock(folder, "alice", file, &waiting).unwrap();
    (lock, dead.get())
}

/// Another process that takes the locks as we do and does `first` between them, then `next`.
fn holder(folder: &Folder, first: &str, next: &str) -> Child {
    let program = format!(
        "use Fcntl qw(:flock F_SETLK F_UNLCK F_WRLCK); $| = 1; open F, '+<', $ARGV[0] or die; \
         my $lock = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl F, F_SETLK, $lock or die; \
         {first} flock F, LOCK_EX or die; print \"held\n\"; {next}"
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
        return skip("only root kills");
    }
    const IN: &str = "kill STOP => $$;";
    const ON_THE_WAY_IN: &str = "print \"held\\n\"; kill STOP => $$;";
    const ON_THE_WAY_OUT: &str = "flock F, LOCK_UN; kill STOP => $$;";
    for (first, next) in [("", IN), (ON_THE_WAY_IN, ""), ("", ON_THE_WAY_OUT)] {
        let (_place, folder) = folder();
        let mut stopped = holder(&folder, first, next);
        let began = Instant::now();
        let (_lock, killed) = lock(&folder, open(&folder));
        let waited = began.elapsed();
        assert_eq!(killed, i32::try_from(stopped.id()).ok());
        assert!(
            waited >= PATIENCE && waited < PATIENCE + Duration::from_secs(1),
            "{waited:?}"
        );
        assert!(!stopped.wait().unwrap().success());
    }
}

/// State D of proc(5) says no more than that a signal which can be caught ends no wait.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_holder_in_a_wait_that_only_a_kill_ends_is_killed() {
    if !Uid::effective().is_root() {
        return skip("only root kills");
    }
    // vfork: the holder waits for its child, which has let the file go.
    const WAITING: &str = "if (syscall(58) == 0) { syscall(3, fileno F); \
                           select undef, undef, undef, 9; syscall(60, 0); }";
    let (_place, folder) = folder();
    let mut waiting = holder(&folder, "", WAITING);
    let (_lock, killed) = lock(&folder, open(&folder));
    assert_eq!(killed, i32::try_from(waiting.id()).ok());
    assert!(!waiting.wait().unwrap().success());
}

/// Waits with a patience of one second, and for three in all.
fn end_of_a_wait(folder: &Folder) -> (Result<Locked, LockError>, Option<libc::pid_t>) {
    let dead = Cell::new(None);
    let waiting = Waiting {
        refusal: &|_| None,
        killed: &|pid| dead.set(Some(pid)),
    };
    let limits = (Duration::from_secs(1), Duration::from_secs(3));
    let began = Instant::now();
    let ended = Locked::lock_within(folder, "alice", open(folder), &waiting, limits);
    assert!(ended.is_ok() || began.elapsed() >= limits.1, "{ended:?}");
    (ended, dead.get())
}

#[test]
fn a_holder_that_moves_is_waited_for_to_the_limit_and_left_alone() {
    let (_place, folder) = folder();
    let mut moving = holder(&folder, "", "my $line = <STDIN>; exit 7;");
    let pid = i32::try_from(moving.id()).unwrap();
    let is_over = AtomicBool::new(false);
    let (ended, killed) = std::thread::scope(|threads| {
        threads.spawn(|| {
            // What a holder does that moves is save.
            let file = open(&folder);
            while !is_over.load(Ordering::Relaxed) {
                let newest = slot::read(&file).unwrap();
                slot::save(&file, &newest, b"").unwrap();
            }
        });
        let ended = end_of_a_wait(&folder);
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    let busy = matches!(ended, Err(LockError::Busy { holder: Some(holder) }) if holder == pid);
    assert!(busy, "{ended:?}");
    assert_eq!(killed, None);
    drop(moving.stdin.take());
    assert_eq!(moving.wait().unwrap().code(), Some(7));
}

/// What a holder does first who has no outer lock.
const UNNAMED: &str = "$lock = pack('s s x4 q q l x4', F_UNLCK, 0, 0, 0, 0); \
                       fcntl F, F_SETLK, $lock or die;";

/// Who waits and holds still would otherwise be taken for the holder, and killed.
#[test]
fn a_waiter_has_no_name_in_the_lock() {
    let (_place, folder) = folder();
    let mut unnamed = holder(&folder, UNNAMED, "my $line = <STDIN>;");
    let file = open(&folder);
    let end = format!(":{} 0 EOF", file.metadata().unwrap().ino());
    let (looks, named) = (Cell::new(0), Cell::new(0));
    let waiting = Waiting {
        refusal: &|_| {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let ours = locks.lines().filter(|line| line.ends_with(&end));
            let (outer, inner): (Vec<_>, Vec<_>) = ours.partition(|line| line.contains("POSIX"));
            assert_eq!(inner.len(), 1, "{locks}");
            named.set(named.get() + outer.len());
            looks.set(looks.get() + 1);
            (looks.get() == 4).then_some(because())
        },
        killed: &|_| {},
    };
    let ended = Locked::lock(&folder, "alice", file, &waiting);
    assert!(matches!(ended, Err(LockError::Refused(_))), "{ended:?}");
    assert_eq!(named.get(), 0);
    drop(unnamed.stdin.take());
    assert!(unnamed.wait().unwrap().success());
}

#[test]
fn a_holder_without_a_name_is_waited_for_to_the_limit() {
    let (_place, folder) = folder();
    let mut unnamed = holder(&folder, UNNAMED, "my $line = <STDIN>; exit 7;");
    let (ended, killed) = end_of_a_wait(&folder);
    assert!(
        matches!(ended, Err(LockError::Busy { holder: None })),
        "{ended:?}"
    );
    assert_eq!(killed, None);
    drop(unnamed.stdin.take());
    assert_eq!(unnamed.wait().unwrap().code(), Some(7));
}

#[test]
fn a_holder_of_another_namespace_has_no_name_here() {
    assert_eq!([-1, 0, 1].map(nameable), [None, None, Some(1)]);
}

fn because() -> Refusal {
    Refusal {
        until: Time::from_unix(7),
        limit: Limit::Address,
    }
}

#[test]
fn a_wait_looks_twenty_times_a_second_and_slows_down_after_a_tenth_of_one() {
    let ms = Duration::from_millis;
    let looks = [None, Some(0), Some(49), Some(50), Some(51)];
    let looks = looks.map(|since| is_look_due(since.map(ms)));
    assert_eq!(looks, [true, false, false, true, true]);

    assert_eq!(
        [499, 500, 501].map(|since| was_stopped(ms(since))),
        [false, true, true]
    );
    let pauses = [0, 99, 100, 101].map(|waited| pause(ms(waited), None));
    assert_eq!(pauses, [1, 1, 10, 10].map(ms));
    let pauses = [0, 99, 100, 101].map(|since| pause(ms(7000), Some(ms(since))));
    assert_eq!(pauses, [0, 0, 10, 10].map(ms));
}

#[test]
fn a_wait_that_is_of_no_use_any_more_ends() {
    let (_place, folder) = folder();
    let mut busy = holder(&folder, "", "my $line = <STDIN>;");
    let waiting = Waiting {
        refusal: &|_| Some(because()),
        killed: &|_| {},
    };
    let ends = || {
        let ended = Locked::lock(&folder, "alice", open(&folder), &waiting);
        matches!(ended, Err(LockError::Refused(refusal)) if refusal == because())
    };
    assert!(ends());
    drop(busy.stdin.take());
    assert!(busy.wait().unwrap().success());
    assert!(ends(), "a free one is not taken");
}

#[test]
fn a_holder_that_ends_is_waited_for_and_left_alone() {
    let (_place, folder) = folder();
    let mut busy = holder(&folder, "", "my $line = <STDIN>; exit 7;");
    assert!(is_held(&open(&folder)));
    let waiter = std::thread::scope(|threads| {
        let waiter = threads.spawn(|| lock(&folder, open(&folder)).1);
        drop(busy.stdin.take());
        waiter.join().unwrap()
    });
    assert_eq!(waiter, None);
    assert_eq!(busy.wait().unwrap().code(), Some(7));
    assert!(!is_held(&open(&folder)));
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
    let (lock, _) = lock(&folder, old);
    assert_eq!(lock.metadata().unwrap().ino(), named);
    assert_eq!(slot::read(&lock).unwrap().body, b"new");
}

#[test]
fn the_lock_names_its_holder_and_ends_when_it_is_dropped() {
    let (_place, folder) = folder();
    let (lock, _) = lock(&folder, open(&folder));
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
