//! Damaged, replaced and misplaced files: who can't be judged is refused, at once, and nothing is mended
//! behind the administrator's back.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::mounts::{self, Disk, Image};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch};
use end_to_end::skipped::skip;
use end_to_end::tree::tree;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{geteuid, mkfifo};

const SLOT: usize = 4096;
const PERIOD: i64 = 30;
const NOBODY: u32 = 65534;

/// Somebody who has logged in a few times.
struct Case {
    scratch: Arc<Scratch>,
    /// The codes that got in, in that order, and the next one.
    codes: Vec<String>,
    now: i64,
}

impl Case {
    fn new(logins: usize) -> Self {
        Self::of(Scratch::new(NO_LIMITS), logins)
    }

    fn of(scratch: Scratch, logins: usize) -> Self {
        let phone = Phone::new(Phone::SECRET);
        scratch.enroll(ACCOUNT, &phone);
        let codes = phone.codes(EPOCH, logins);
        let now = EPOCH + logins as i64 * PERIOD;
        for (step, code) in codes[..logins].iter().enumerate() {
            clock::set(EPOCH + step as i64 * PERIOD);
            assert_eq!(
                scratch.login(ACCOUNT, code.as_str()).code,
                Code::SUCCESS,
                "login {step}"
            );
        }
        clock::set(now);
        Self {
            scratch: Arc::new(scratch),
            codes,
            now,
        }
    }

    /// A code that has not been used.
    fn fresh(&self) -> &str {
        &self.codes[self.codes.len() - 1]
    }

    /// The code that got in last.
    fn last(&self) -> &str {
        &self.codes[self.codes.len() - 2]
    }

    /// The code that got in before the last.
    fn older(&self) -> &str {
        &self.codes[self.codes.len() - 3]
    }

    /// What a login with `answer` comes to. `prepare` runs before each try; one slow try of three is the
    /// machine's fault, three are the module's, and one that doesn't end is stuck.
    fn promptly(&self, answer: &str, prepare: impl Fn()) -> Code {
        for _ in 0..3 {
            prepare();
            let (scratch, answer, now) = (Arc::clone(&self.scratch), answer.to_owned(), self.now);
            let (send, receive) = mpsc::channel();
            thread::spawn(move || {
                clock::set(now);
                let start = Instant::now();
                let code = scratch.login(ACCOUNT, answer.as_str()).code;
                let time = start.elapsed();
                // The last owner removes the folder, and that should not be a thread at its end.
                drop(scratch);
                // Nobody listens to a login that took too long.
                let _ = send.send((code, time));
            });
            let limit = Duration::from_secs(10);
            let (code, time) = receive.recv_timeout(limit).expect("a login that ends");
            if time < Duration::from_millis(100) {
                return code;
            }
        }
        panic!("no answer within 100 ms");
    }

    fn refuses(&self, answer: &str, prepare: impl Fn()) -> bool {
        self.promptly(answer, prepare) == Code::AUTH_ERR
    }

    /// The index of the slot that the last login wrote, and the whole state.
    fn newest_slot(&self) -> (usize, Vec<u8>) {
        let file = self.scratch.state(ACCOUNT);
        let state = fs::read(&file).unwrap();
        assert_eq!(state.len(), 2 * SLOT);
        assert_eq!(self.promptly(self.fresh(), || ()), Code::SUCCESS);
        let next = fs::read(&file).unwrap();
        restore(&file, &state);
        // The next login overwrites the older one.
        (usize::from(next[..SLOT] != state[..SLOT]), state)
    }
}

/// Puts `bytes` into a file that stays the same file.
fn restore(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("our own file");
    file.write_all_at(bytes, 0).expect("writes");
    file.set_len(bytes.len() as u64).expect("cuts");
}

/// `bytes` with one bit of the byte at `index` flipped, another one for each index.
fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 1 << (index % 8);
    bytes
}

type Replace = fn(&Path, &Path);

/// What may lie in the place of a file. Each gets the file and a path that is free.
fn replacements() -> Vec<(&'static str, Replace)> {
    let mut all: Vec<(&str, Replace)> = vec![
        ("a link to it", |file, aside| {
            fs::rename(file, aside).unwrap();
            symlink(aside, file).unwrap();
        }),
        ("a link to nowhere", |file, aside| {
            fs::remove_file(file).unwrap();
            symlink(aside, file).unwrap();
        }),
        ("a link to itself", |file, _| {
            fs::remove_file(file).unwrap();
            symlink(file, file).unwrap();
        }),
        ("a second name", |file, aside| {
            fs::hard_link(file, aside).unwrap()
        }),
        ("a FIFO", |file, _| {
            fs::remove_file(file).unwrap();
            mkfifo(file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }),
        ("a folder", |file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("a socket", |file, _| {
            fs::remove_file(file).unwrap();
            drop(UnixListener::bind(file).unwrap());
            set_mode(file, 0o600);
        }),
        ("100 MB", |file, _| {
            let file = OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(100 << 20).unwrap();
        }),
        ("written by all", |file, _| set_mode(file, 0o666)),
        ("written by its group", |file, _| set_mode(file, 0o660)),
    ];
    if geteuid().is_root() {
        all.extend::<[(&str, Replace); 3]>([
            ("a null device", |file, _| device(file, 3)),
            ("an endless device", |file, _| device(file, 5)),
            ("somebody else's", |file, _| {
                chown(file, Some(NOBODY), None).unwrap()
            }),
        ]);
    } else {
        skip("devices and files of other owners need root");
    }
    all
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

fn device(file: &Path, minor: u64) {
    fs::remove_file(file).unwrap();
    mknod(
        file,
        SFlag::S_IFCHR,
        Mode::S_IRUSR | Mode::S_IWUSR,
        makedev(1, minor),
    )
    .unwrap();
}

fn assert_refused(what: &str, file: fn(&Scratch) -> PathBuf, expected: Code, replace: Replace) {
    let case = Case::new(1);
    replace(&file(&case.scratch), &case.scratch.path("aside"));
    let before = tree(&case.scratch.path(""));
    assert_eq!(case.promptly(case.fresh(), || ()), expected, "{what}");
    assert_eq!(tree(&case.scratch.path("")), before, "{what}");
}

fn assert_each_folder_refused(what: &str, replace: Replace) {
    let folders: [fn(&Scratch) -> PathBuf; 2] = [
        |scratch| scratch.path("secrets"),
        |scratch| scratch.path("state"),
    ];
    for folder in folders {
        assert_refused(what, folder, Code::AUTH_ERR, replace);
    }
}

#[test]
fn t29_what_lies_in_the_place_of_a_file_is_refused_and_left_alone() {
    type Target = (&'static str, fn(&Scratch) -> PathBuf, Code);
    let targets: [Target; 3] = [
        (
            "the configuration",
            |scratch| scratch.config(),
            Code::SERVICE_ERR,
        ),
        (
            "the secret",
            |scratch| scratch.secret(ACCOUNT),
            Code::AUTH_ERR,
        ),
        (
            "the state",
            |scratch| scratch.state(ACCOUNT),
            Code::AUTH_ERR,
        ),
    ];
    for (target, file, expected) in targets {
        for (name, replace) in replacements() {
            assert_refused(&format!("{name} for {target}"), file, expected, replace);
        }
    }
}

/// The moment is one that strace makes: the folder is found missing, and a link is there when it is to be made.
#[test]
fn t29_a_link_that_comes_before_a_folder_gives_nobody_a_mode() {
    let case = Case::of(Scratch::new(""), 0);
    let (folder, behind) = (case.scratch.path("run"), case.scratch.path("behind"));
    fs::create_dir(&behind).unwrap();
    set_mode(&behind, 0o755);
    symlink(&behind, &folder).unwrap();
    let trace = case.scratch.path("trace");
    let ended = Command::new("strace")
        .args(["-qq", "-P"])
        .arg(&folder)
        .arg("-o")
        .arg(&trace)
        .args(["-e", "inject=openat:error=ENOENT"])
        .arg(env!("CARGO_BIN_EXE_contender"))
        .arg(case.scratch.path("pam.d"))
        .args([
            "once",
            ACCOUNT,
            "198.51.100.9",
            &case.now.to_string(),
            "000000",
        ])
        .status()
        .expect("strace is installed");
    assert_eq!(ended.code(), Some(Code::AUTH_ERR.0));
    let calls = fs::read_to_string(&trace).unwrap();
    assert!(calls.contains("mkdir("), "{calls}");
    let mode = fs::metadata(&behind).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "{calls}");
}

/// They hold no records: a login goes on without them.
#[test]
fn a_link_or_a_fifo_in_the_place_of_a_shared_table_is_left_alone() {
    let is_link_or_fifo = |name: &str| name.starts_with("a link") || name == "a FIFO";
    for table in ["run/addresses", "run/log"] {
        for (name, replace) in replacements() {
            if !is_link_or_fifo(name) {
                continue;
            }
            let case = Case::of(Scratch::new(""), 1);
            // A wrong answer from a new place makes both.
            let elsewhere = || {
                let login = case.scratch.login_from("198.51.100.9", ACCOUNT, "000000");
                login.code
            };
            assert_eq!(elsewhere(), Code::AUTH_ERR);
            let (file, aside) = (case.scratch.path(table), case.scratch.path("aside"));
            replace(&file, &aside);
            let found = || (tree(&file), fs::read(&aside).ok());
            let before = found();
            let what = format!("{name} for {table}");
            assert_eq!(elsewhere(), Code::AUTH_ERR, "{what}");
            assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS, "{what}");
            assert_eq!(found(), before, "{what}");
        }
    }
}

#[test]
fn t31_a_secret_or_state_that_others_may_read_is_refused() {
    let readable: [(&str, Replace); 4] = [
        ("0644", |file, _| set_mode(file, 0o644)),
        ("0640", |file, _| set_mode(file, 0o640)),
        ("0604", |file, _| set_mode(file, 0o604)),
        ("0601", |file, _| set_mode(file, 0o601)),
    ];
    for (mode, replace) in readable {
        assert_refused(
            mode,
            |scratch| scratch.secret(ACCOUNT),
            Code::AUTH_ERR,
            replace,
        );
        assert_refused(
            mode,
            |scratch| scratch.state(ACCOUNT),
            Code::AUTH_ERR,
            replace,
        );
    }
}

#[test]
fn t31_a_folder_that_others_may_change_or_rename_is_refused() {
    let changeable: [(&str, Replace); 3] = [
        ("0770", |folder, _| set_mode(folder, 0o770)),
        ("0702", |folder, _| set_mode(folder, 0o702)),
        ("nobody's", |folder, _| {
            chown(folder, Some(NOBODY), None).unwrap()
        }),
    ];
    for (name, replace) in changeable {
        assert_each_folder_refused(name, replace);
        let name = format!("a folder above that is {name}");
        assert_refused(&name, |scratch| scratch.path(""), Code::AUTH_ERR, replace);
    }
}

/// As after another account got the name, or a file was copied.
#[test]
fn t58_the_records_of_another_account_are_refused_and_left_alone() {
    const HEIR: &str = "bin";
    let case = Case::new(1);
    for file in [Scratch::secret, Scratch::state] {
        let (from, to) = (file(&case.scratch, ACCOUNT), file(&case.scratch, HEIR));
        fs::copy(&from, &to).unwrap();
        set_mode(&to, 0o600);
    }
    let before = tree(&case.scratch.path(""));
    clock::set(case.now);
    let heir = case.scratch.login(HEIR, case.fresh());
    assert_eq!(heir.code, Code::AUTH_ERR);
    assert_eq!(tree(&case.scratch.path("")), before);
    assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
}

#[test]
fn what_lies_in_the_place_of_a_folder_is_refused_and_left_alone() {
    let replacements: [(&str, Replace); 4] = [
        ("nothing", |folder, aside| {
            fs::rename(folder, aside).unwrap()
        }),
        ("a file", |folder, aside| {
            fs::rename(folder, aside).unwrap();
            File::create(folder).unwrap();
        }),
        ("a FIFO", |folder, aside| {
            fs::rename(folder, aside).unwrap();
            mkfifo(folder, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }),
        ("a link to nowhere", |folder, aside| {
            fs::rename(folder, aside).unwrap();
            symlink(aside.with_extension("gone"), folder).unwrap();
        }),
    ];
    for (name, replace) in replacements {
        assert_each_folder_refused(name, replace);
    }
}

/// As on NFS and SMB, by the number that the kernel gives for them.
#[test]
fn t32_what_is_on_a_network_denies_and_is_told() {
    for magic in ["6969", "424d53ff", "424d53fe"].map(|it| format!("{it:0<16}")) {
        let case = Case::new(0);
        let inject = format!("inject=fstatfs:poke_exit=@arg2={magic}");
        let traced = |program: &Command| {
            let mut strace = Command::new("strace");
            strace.args([
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fstatfs",
                "-e",
                &inject,
            ]);
            strace.arg(program.get_program()).args(program.get_args());
            strace.output().expect("strace is installed")
        };
        let mut login = Command::new(env!("CARGO_BIN_EXE_contender"));
        login.arg(case.scratch.path("pam.d"));
        login.args([
            "once",
            ACCOUNT,
            "192.0.2.1",
            &case.now.to_string(),
            case.fresh(),
        ]);
        let before = tree(&case.scratch.path(""));
        assert_eq!(traced(&login).status.code(), Some(Code::AUTH_ERR.0));
        let told = traced(&case.scratch.command(&["status", ACCOUNT]));
        let told = String::from_utf8_lossy(&told.stdout);
        assert!(
            told.contains("is on a network or FUSE file system"),
            "{told}"
        );
        assert_eq!(tree(&case.scratch.path("")), before);
        assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
    }
}

#[test]
fn a_cut_secret_is_refused() {
    let case = Case::new(1);
    let file = case.scratch.secret(ACCOUNT);
    let secret = fs::read(&file).unwrap();
    let text = secret.trim_ascii_end().len();
    let before = tree(&case.scratch.path(""));
    for length in 0..text {
        restore(&file, &secret[..length]);
        assert!(
            case.refuses(case.fresh(), || ()),
            "{length} of {text} bytes"
        );
    }
    restore(&file, &secret);
    assert_eq!(
        tree(&case.scratch.path("")),
        before,
        "the state too, for nothing was judged"
    );
    assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
}

#[test]
fn a_bit_flipped_in_the_secret_is_refused() {
    let case = Case::new(1);
    let file = case.scratch.secret(ACCOUNT);
    let secret = fs::read(&file).unwrap();
    let state = fs::read(case.scratch.state(ACCOUNT)).unwrap();
    for index in 0..secret.len() {
        let damage = || {
            restore(&file, &flipped(&secret, index));
            restore(&case.scratch.state(ACCOUNT), &state);
        };
        let shown = String::from_utf8_lossy(&secret[index..]).into_owned();
        assert!(
            case.refuses(case.fresh(), damage),
            "flipped at {index}: {shown:?}"
        );
        assert_eq!(
            fs::read(&file).unwrap(),
            flipped(&secret, index),
            "flipped at {index}"
        );
    }
    restore(&file, &secret);
    assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
}

#[test]
fn a_bit_flipped_in_one_slot_costs_at_most_what_that_slot_knew() {
    for logins in [2, 3] {
        let case = Case::new(logins);
        let file = case.scratch.state(ACCOUNT);
        let (newest, state) = case.newest_slot();
        for index in (0..state.len()).filter(|index| is_told_apart(&state, *index)) {
            let damage = || restore(&file, &flipped(&state, index));
            // A damaged newest slot is what a torn write leaves: the older one counts.
            let known = if index / SLOT == newest {
                case.older()
            } else {
                case.last()
            };
            assert!(case.refuses(known, damage), "{index}");
            assert_eq!(
                case.promptly(case.fresh(), damage),
                Code::SUCCESS,
                "{index}"
            );
        }
    }
}

/// Whether the byte at `index` is one of a record, or one of the few looked at of the zeros behind it.
fn is_told_apart(state: &[u8], index: usize) -> bool {
    let rest = &state[index..(index / SLOT + 1) * SLOT];
    rest.iter().any(|byte| *byte != 0) || index % 61 == 0
}

#[test]
fn t35_a_cut_state_never_revives_what_is_left_of_it() {
    for logins in [2, 3] {
        let case = Case::new(logins);
        let file = case.scratch.state(ACCOUNT);
        let (newest, state) = case.newest_slot();
        let lengths = 0..state.len();
        for length in lengths.filter(|length| is_told_apart(&state, *length)) {
            let damage = || restore(&file, &state[..length]);
            assert!(case.refuses(case.older(), damage), "{length}");
            if length / SLOT > newest || length == 0 {
                assert!(case.refuses(case.last(), damage), "{length}");
            }
        }
        assert!(
            case.refuses(case.fresh(), || restore(&file, b"")),
            "an empty state"
        );
    }
}

#[test]
fn both_slots_damaged_is_refused() {
    let case = Case::new(2);
    let file = case.scratch.state(ACCOUNT);
    let state = fs::read(&file).unwrap();
    let rubbish = [
        vec![0; 2 * SLOT],
        vec![0xff; 2 * SLOT],
        flipped(&flipped(&state, 0), SLOT),
    ];
    for bytes in rubbish {
        for code in &case.codes {
            assert!(
                case.refuses(code, || restore(&file, &bytes)),
                "{:?}",
                &bytes[..16]
            );
            assert_eq!(fs::read(&file).unwrap(), bytes, "left as it is");
        }
    }
}

#[test]
fn both_slots_old_know_what_they_knew() {
    let case = Case::new(2);
    let file = case.scratch.state(ACCOUNT);
    let old = fs::read(&file).unwrap();
    let put_back = || restore(&file, &old);
    assert_eq!(case.promptly(case.fresh(), put_back), Code::SUCCESS);
    assert!(case.refuses(case.older(), put_back));
    assert!(case.refuses(case.last(), put_back));
    // What was used since is good again, which SECURITY.md tells whoever restores a backup.
    assert_eq!(case.promptly(case.fresh(), put_back), Code::SUCCESS);
    assert!(case.refuses(case.fresh(), || ()));
}

#[test]
fn t35_one_slot_from_the_future_counts_and_keeps_nobody_out() {
    let case = Case::new(5);
    let file = case.scratch.state(ACCOUNT);
    let (newest, state) = case.newest_slot();
    // What was saved by the first enrollment, never written to since, and by the last login.
    let fresh = Case::new(0);
    let mut mixed = fs::read(fresh.scratch.state(ACCOUNT)).unwrap();
    let slot = newest * SLOT..(newest + 1) * SLOT;
    mixed[slot.clone()].copy_from_slice(&state[slot]);
    let mix = || restore(&file, &mixed);
    for used in &case.codes[..5] {
        assert!(case.refuses(used, mix), "{used}");
    }
    assert_eq!(case.promptly(case.fresh(), mix), Code::SUCCESS);
    // By then both slots are of this time.
    assert!(case.refuses(case.fresh(), || ()));
}

#[test]
fn a_configuration_cut_before_its_folders_end_is_refused() {
    let case = Case::new(1);
    // The folder of the secrets comes last, so every cut loses it. One behind it may be whole and say less.
    let mut lines: Vec<_> = fs::read_to_string(case.scratch.config())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.retain(|line| line.contains("_dir"));
    lines.sort_by_key(|line| line.starts_with("secret_dir"));
    let text = lines.join("\n");
    case.scratch.write_config(&text);
    let file = case.scratch.config();
    let before = tree(&case.scratch.path(""));
    for length in 1..text.len() {
        restore(&file, &text.as_bytes()[..length]);
        let code = case.promptly(case.fresh(), || ());
        assert!(
            [Code::SERVICE_ERR, Code::AUTH_ERR].contains(&code),
            "{length}: {code:?}"
        );
    }
    restore(&file, text.as_bytes());
    assert_eq!(tree(&case.scratch.path("")), before);
    assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
}

#[test]
fn t25_a_full_file_system_stops_no_login() {
    mounts::privately(|| {
        let disk = Disk::new(6 << 20);
        let case = Case::of(Scratch::on(disk.path(), ""), 1);
        fs::write(disk.path().join("filler"), vec![7; 4 << 20]).expect_err("a full disk");
        fs::write(disk.path().join("more"), "7").expect_err("no room for a byte");

        assert!(case.refuses(case.last(), || ()), "a used code");
        assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
        assert!(case.refuses(case.fresh(), || ()), "used on a full disk");
        let elsewhere = |user| case.scratch.login_from("198.51.100.9", user, case.last());
        assert_eq!(
            elsewhere("bin"),
            elsewhere(ACCOUNT),
            "a stranger is judged like anybody"
        );
    });
}

#[test]
fn t25_a_read_only_file_system_denies_until_it_can_be_written() {
    mounts::privately(|| {
        let disk = Disk::new(2 << 20);
        let case = Case::of(Scratch::on(disk.path(), NO_LIMITS), 1);
        disk.make_read_only();
        let before = tree(disk.path());
        for code in &case.codes {
            assert!(case.refuses(code, || ()));
        }
        assert_eq!(tree(disk.path()), before);
        disk.make_writable();
        assert_eq!(case.promptly(case.fresh(), || ()), Code::SUCCESS);
    });
}

#[test]
fn a_save_that_the_disk_fails_is_denied_and_taken_back() {
    mounts::with_images(|| {
        let image = Image::new().expect("a loop device");
        let case = Case::of(Scratch::on(image.path(), NO_LIMITS), 1);
        let state = || fs::read(case.scratch.state(ACCOUNT)).unwrap();
        let (newest, before) = newest_record(&state());
        image.fail();
        assert!(case.refuses(case.fresh(), || ()));
        // Of one that only memory has the next save would overwrite the last one that is on the disk.
        assert_eq!(newest_record(&state()), (newest, before));
    });
}

/// The serial number of the newest record that a state has, and its slot.
fn newest_record(state: &[u8]) -> (u64, Vec<u8>) {
    let slots = state.chunks(SLOT);
    let records = slots.filter(|slot| slot.starts_with(b"PAMTOTP"));
    let numbered = records.map(|slot| {
        let serial = slot[8..16].try_into().expect("eight bytes");
        (u64::from_le_bytes(serial), slot.to_vec())
    });
    numbered.max().expect("a record")
}
