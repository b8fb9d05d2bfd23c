//! What a caller can do to the su, sudo or other program that asks for a code on their behalf: limits, signals,
//! files, environment, and stopping it at the worst moment. Numbers are those of the threats it is about.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::libpam::Code;
use end_to_end::machine::{Machine, output};
use end_to_end::memory;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, PROMPT, Scratch, attempts_left};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

// ---- The real su and sudo ------------------------------------------------------------------------------

/// alice and the thieves attack, carol's and the friends' are other addresses, and `users` own what is attacked.
fn machine(users: &[String]) -> Machine {
    let machine = Machine::new()
        .pam("su", &Example::named("su"))
        .pam("sudo", &Example::named("sudo"))
        .file("/etc/sudoers", "440", "ALL ALL = (ALL) ALL\n");
    // These delays are not ours, and cost minutes.
    machine.run("sed -i 's/pam_unix.so/& nodelay/' /etc/pam.d/common-auth; echo FAIL_DELAY 0 >>/etc/login.defs");
    let accounts: String = ["alice".to_owned(), "carol".to_owned()]
        .into_iter()
        .chain(
            users
                .iter()
                .flat_map(|user| [user.clone(), thief_of(user), friend_of(user)]),
        )
        .map(|name| format!("{name}:{PASSWORD}::::/:/bin/sh\n"))
        .collect();
    machine.log().keep_secret(PASSWORD);
    machine.feed("newusers /dev/fd/0", accounts);
    machine
}

/// Somebody else for each owner: what one person guesses of many counts together.
fn thief_of(user: &str) -> String {
    format!("thief-of-{user}")
}

fn friend_of(user: &str) -> String {
    format!("friend-of-{user}")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("owner{index}")).collect()
}

/// What a program said and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Told that a code was wrong, by su at once or by sudo when it asks again.
    fn is_judged(&self) -> bool {
        self.err.contains("Invalid One Time Password!") || self.err.contains("Attempts left: ")
    }
}

/// What `caller` hears who gives the password and `code` of `user` to `program`, after `prelude` in a shell.
fn attempt(machine: &Machine, caller: &str, hostile: &Hostile, user: &str, code: &str) -> Said {
    machine.log().keep_secret(code);
    let script = format!("{}\nexec {} \"$@\"", hostile.prelude, hostile.wrapper);
    let program = match hostile.program {
        Program::Su => vec!["/bin/su", user, "-c", "/usr/bin/id -un"],
        Program::Sudo => vec!["sudo", "-S", "-k", "-p", "Password: ", "id", "-un"],
    };
    let caller = match hostile.program {
        Program::Su => caller,
        Program::Sudo => user,
    };
    let words = [&["sh", "-c", &script, "sh"], &program[..]].concat();
    let command = machine.command_as(caller, &words);
    Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
}

/// Whether a friend, who does nothing odd, gets in as `user`.
fn owner_gets_in(machine: &Machine, user: &str, code: &str) -> bool {
    let said = attempt(machine, &friend_of(user), &PLAIN, user, code);
    said.code == Some(0) && said.out == format!("{user}\n")
}

/// The wrong answers that were counted for `user` from addresses that are not familiar.
fn counted(machine: &Machine, user: &str) -> u64 {
    let status = machine.run(&format!("totpctl status {user} --json"));
    let status: Value = serde_json::from_str(&status).expect("a document");
    let total = &status["users"][0]["unfamiliar"]["total"];
    total.as_u64().unwrap_or_else(|| panic!("{status}"))
}

fn unlock(machine: &Machine, user: &str) {
    machine.run(&format!("totpctl unlock {user}"));
}

/// Everything that is kept, by kind, mode and owner.
fn kept(machine: &Machine) -> String {
    machine.run("cd /var/lib/pam_totp; find . -type f -printf '%P %y %m %u %s\\n' -o -printf '%P %y %m %u\\n' | sort")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Program {
    Su,
    Sudo,
}

#[derive(Clone, Debug)]
struct Hostile {
    program: Program,
    prelude: String,
    wrapper: String,
    /// Nothing about it may cost anybody a login or be noticed.
    harmless: bool,
}

const PLAIN: Hostile = Hostile {
    program: Program::Su,
    prelude: String::new(),
    wrapper: String::new(),
    harmless: true,
};

fn su(prelude: &str, wrapper: &str, harmless: bool) -> Hostile {
    Hostile {
        program: Program::Su,
        prelude: prelude.to_owned(),
        wrapper: wrapper.to_owned(),
        harmless,
    }
}

fn sudo(wrapper: &str) -> Hostile {
    Hostile {
        program: Program::Sudo,
        ..su("", wrapper, false)
    }
}

/// A wrong and a right answer under `hostile`, and what they left.
fn assert_no_guess_is_free(machine: &Machine, user: &str, hostile: &Hostile) -> String {
    let mut phone = machine.enroll(user);
    let wrong = phone.wrong_code();
    let refused = attempt(machine, &thief_of(user), hostile, user, &wrong);
    assert_ne!(refused.code, Some(0), "{hostile:?}: {refused:?}");
    assert_eq!(refused.out, "", "{hostile:?}");
    let count = counted(machine, user);
    assert!(count <= 1, "{hostile:?} counted {count}");
    let logged = |event: &str| {
        let line = format!("event={event} user={user} ");
        machine
            .log()
            .lines()
            .iter()
            .any(|logged| logged.contains(&line))
    };
    let judged = refused.is_judged() || logged("wrong");
    assert!(
        !judged || count == 1,
        "a free guess: {hostile:?}: {refused:?}"
    );

    let right = phone.code();
    let answered = attempt(machine, &thief_of(user), hostile, user, &right);
    let accepted = logged("accepted");
    let let_in = matches!(&*answered.out, out if out == format!("{user}\n") || out == "root\n");
    assert!(accepted || !let_in, "{hostile:?}: {answered:?}");
    assert!(
        !accepted || count == 1,
        "right and wrong are told apart, and the wrong isn't counted: {hostile:?}: {refused:?}, {answered:?}"
    );
    if hostile.harmless {
        let asked = format!("Password: {PROMPT}");
        let told = format!("{asked}{}\n", attempts_left(2));
        // su counts failures in a file of its own, which may end it.
        let last = ["", "su: Authentication failure\n"];
        assert!(
            last.iter()
                .any(|last| refused.err == format!("{told}{last}")),
            "{hostile:?}: {refused:?}"
        );
        assert!(
            accepted && answered.err.starts_with(&asked),
            "{hostile:?}: {answered:?}"
        );
    }

    unlock(machine, user);
    let again = owner_gets_in(machine, user, &right);
    assert!(!(accepted && again), "used twice after {hostile:?}");
    unlock(machine, user);
    let fresh = owner_gets_in(machine, user, &phone.code());
    assert!(fresh, "the owner can't get in after {hostile:?}");
    let cause = match (&*answered.err, answered.code) {
        (_, None) => "killed",
        (text, _) => text.lines().last().unwrap_or_default(),
    };
    format!(
        "{:60} judged {:5} counted {count} accepted {accepted:5} reusable {again:5} {cause:?}",
        format!("{} {}", hostile.prelude, hostile.wrapper),
        judged
    )
}

/// Every case with an owner of its own, a few at a time.
fn assert_none_is_free(cases: &[Hostile]) {
    let owners = names(cases.len());
    let machine = machine(&owners);
    assert_none_is_free_in(&machine, &owners, cases);
}

fn assert_none_is_free_in(machine: &Machine, owners: &[String], cases: &[Hostile]) {
    // What the first enrollment makes for everybody.
    machine.enroll("carol");
    let before = kept(machine);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { break };
            println!("{}", assert_no_guess_is_free(machine, &owners[index], case));
        }
    };
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(work);
        }
    });
    let after = kept(machine);
    let of_owner = |line: &&str| owners.iter().any(|owner| line.contains(owner.as_str()));
    let others: Vec<_> = after.lines().filter(|line| !of_owner(line)).collect();
    assert_eq!(others.join("\n"), before.trim_end());
    let state = before.lines().find(|line| line.starts_with("state/carol "));
    let tail = state.expect("a state").trim_start_matches("state/carol");
    for owner in owners {
        assert!(
            after.contains(&format!("state/{owner}{tail}\n")),
            "{owner}: {after}"
        );
    }
    assert_eq!(
        after.lines().filter(of_owner).count(),
        2 * owners.len(),
        "a secret and a state each:\n{after}"
    );
    assert_eq!(
        machine
            .run("find /run/pam_totp ! -user root -o -type d ! -perm 700 -o -type f ! -perm 600"),
        ""
    );
}

/// Whether programs of root's may raise what is a hard limit: they may not in many containers.
fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let mut lines = status.lines();
    let capabilities = lines
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask");
    const CAP_SYS_RESOURCE: u32 = 24;
    capabilities >> CAP_SYS_RESOURCE & 1 == 1
}

#[test]
fn t27_whatever_limits_the_caller_sets_no_guess_is_free_through_real_su() {
    let mut cases = vec![PLAIN];
    for bytes in [0, 1, 4096] {
        for kind in ["", ":"] {
            let limit = format!("prlimit --fsize={bytes}{kind}");
            let harmless = kind == ":" || may_raise_limits();
            cases.push(su("", &limit, harmless));
            cases.push(su("trap '' XFSZ", &limit, harmless));
        }
    }
    for files in 3..=16 {
        cases.push(su("", &format!("prlimit --nofile={files}"), false));
    }
    cases.push(su("", "prlimit --nofile=4:", false));
    for limit in [
        "nproc=0",
        "cpu=1",
        "cpu=1:",
        "core=unlimited",
        "memlock=0",
        "sigpending=0",
        "msgqueue=0",
        "locks=0",
        "nice=0",
        "rtprio=0",
    ] {
        cases.push(su("", &format!("prlimit --{limit}"), limit != "nproc=0"));
    }
    for kilobytes in [64, 128, 256, 1024] {
        cases.push(su(
            "",
            &format!("prlimit --stack={}", kilobytes << 10),
            false,
        ));
    }
    for kilobytes in [0, 128, 512, 1024] {
        cases.push(su(
            "",
            &format!("prlimit --data={}", kilobytes << 10),
            false,
        ));
    }
    let all = "prlimit --fsize=0 --nofile=8 --nproc=0 --cpu=1 --stack=131072 --core=0";
    cases.push(su("trap '' XFSZ XCPU CHLD", all, false));
    assert_none_is_free(&cases);
}

#[test]
fn t27_however_little_memory_the_caller_leaves_no_guess_is_free_through_real_su() {
    let steps = [
        0, 128, 256, 384, 512, 640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16_384,
    ];
    let owners = names(steps.len());
    let machine = machine(&owners);
    // The least with which su and the password alone do.
    machine.run("grep -v pam_totp /etc/pam.d/su >/etc/pam.d/su-l");
    let does = |kilobytes: usize| {
        let limit = format!("ulimit -v {kilobytes}; exec su - {} -c true", owners[0]);
        let command = machine.command_as("alice", &["sh", "-c", &limit]);
        output(command, format!("{PASSWORD}\n").as_bytes())
            .status
            .success()
    };
    let (mut too_little, mut enough) = (1 << 10, 64 << 10);
    assert!(does(enough));
    while enough - too_little > 128 {
        let middle = (enough + too_little) / 2;
        if does(middle) {
            enough = middle;
        } else {
            too_little = middle;
        }
    }
    println!("the password alone does with {enough} kB");
    let cases: Vec<_> = steps
        .iter()
        .map(|more| {
            su(
                "",
                &format!("prlimit --as={}", (enough + more) << 10),
                *more == 16_384,
            )
        })
        .collect();
    assert_none_is_free_in(&machine, &owners, &cases);
}

#[test]
fn t27_whatever_limits_the_caller_sets_no_guess_is_free_through_real_sudo() {
    let limits = [
        "fsize=0",
        "fsize=1:",
        "nofile=4",
        "nofile=6",
        "nproc=0",
        "cpu=1",
        "stack=131072",
        "as=12000000",
        "as=16000000",
        "core=unlimited",
    ];
    let cases: Vec<_> = limits
        .iter()
        .map(|limit| sudo(&format!("prlimit --{limit}")))
        .collect();
    assert_none_is_free(&cases);
}

#[test]
fn t37_t39_t40_neither_environment_nor_umask_nor_folder_nor_handlers_change_anything() {
    let variables = [
        "TZ=:/etc/shadow",
        "TZ=../../../dev/tty",
        "LANG=xx_YY.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tlh",
        "LD_PRELOAD=/lib/x86_64-linux-gnu/libm.so.6 LD_LIBRARY_PATH=/tmp LD_AUDIT=/tmp/audit.so LD_BIND_NOW=1",
        "HOME=/tmp/evil TMPDIR=/nowhere",
        "RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=0 RUST_LIB_BACKTRACE=1",
        "PAM_TOTP_CONFIG=/tmp/evil/pam_totp.toml PAM_TOTP_STATEDIR=/tmp/evil PAM_TOTP=off TOTP_CONFIG=/tmp/evil",
        "XDG_CONFIG_HOME=/tmp/evil XDG_DATA_HOME=/tmp/evil XDG_STATE_HOME=/tmp/evil XDG_RUNTIME_DIR=/tmp/evil",
        "GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_PERTURB_=90 MALLOC_CHECK_=3 LIBC_FATAL_STDERR_=1",
        "SSH_CONNECTION='192.0.2.1 1 192.0.2.2 22' SUDO_USER=root SUDO_UID=0 LOGNAME=root USER=root",
        "PATH=/nowhere IFS=x HOSTALIASES=/etc/shadow LOCALDOMAIN=x NLSPATH=/tmp/%N GCONV_PATH=/tmp",
    ];
    let mut cases: Vec<_> = variables
        .iter()
        .map(|variables| su("", &format!("/usr/bin/env {variables}"), true))
        .collect();
    let gone = "mkdir /tmp/gone$$; cd /tmp/gone$$; rmdir /tmp/gone$$";
    for (prelude, wrapper) in [
        ("umask 000", ""),
        ("umask 777", ""),
        (gone, ""),
        ("cd /proc/self/fdinfo", ""),
        ("trap '' CHLD", ""),
        (
            "trap '' INT QUIT TERM HUP PIPE ALRM USR1 USR2 TSTP TTIN TTOU CONT",
            "",
        ),
        ("", "env --block-signal"),
        ("", "nice -n 19"),
    ] {
        cases.push(su(prelude, wrapper, true));
    }
    let owners = names(cases.len());
    let machine = machine(&owners);
    // Under it nobody is enrolled and nobody needs to be.
    machine.run("install -d -m 700 /tmp/evil /tmp/evil/secrets /tmp/evil/state");
    let config = "secret_dir = \"/tmp/evil/secrets\"\nstate_dir = \"/tmp/evil/state\"\n\
                  [policy]\nunenrolled = \"skip\"\n";
    machine.feed("cat >/tmp/evil/pam_totp.toml", config);
    machine.run("chmod -R go+rX /tmp/evil; cp /tmp/evil/pam_totp.toml /tmp/evil/.pam_totp.toml");
    let before = machine.run("find /tmp/evil");
    assert_none_is_free_in(&machine, &owners, &cases);
    assert_eq!(machine.run("find /tmp/evil"), before);
}

#[test]
fn t38_t39_closed_and_inherited_files_and_the_first_use_of_run_dir() {
    let owners = names(7);
    let machine = machine(&owners);
    let mut phones: Vec<_> = owners.iter().map(|owner| machine.enroll(owner)).collect();

    // su has nothing to read then: nobody answered, which is no guess.
    let run = |redirections: &str, user: &str, code: &str| {
        machine.log().keep_secret(code);
        let script = format!("exec \"$@\" {redirections}");
        let words = [
            "sh",
            "-c",
            &script,
            "sh",
            "su",
            user,
            "-c",
            "id -un >/tmp/who",
        ];
        let command = machine.command_as("alice", &words);
        Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
    };
    for redirections in ["<&-", "<&- >&- 2>&-"] {
        let said = run(redirections, &owners[0], &phones[0].wrong_code());
        assert_ne!(said.code, Some(0));
        assert_eq!(said.is_judged() as u64, counted(&machine, &owners[0]));
    }
    assert!(owner_gets_in(&machine, &owners[0], &phones[0].code()));

    // It reads, and nothing shows what it says.
    let said = run(">&- 2>&-", &owners[1], &phones[1].wrong_code());
    assert_eq!((said.out, said.err), (String::new(), String::new()));
    let wrong = format!("event=wrong user={} ", owners[1]);
    machine.log().assert_has(&[&wrong]);
    assert_eq!(counted(&machine, &owners[1]), 1);
    run(">&- 2>&-", &owners[1], &phones[1].code());
    assert_eq!(machine.run("cat /tmp/who"), format!("{}\n", owners[1]));
    assert!(owner_gets_in(&machine, &owners[1], &phones[1].code()));

    let perl = "use POSIX; for (1..10000) { POSIX::dup(0) // die $! } exec @ARGV or die";
    for (limit, has_room, user) in [(16_384, true, 2), (10_010, false, 3)] {
        let owner = &owners[user];
        let limited = |code: &str| {
            machine.log().keep_secret(code);
            let command = format!(
                "ulimit -n {limit}; exec setpriv --reuid alice --regid alice --init-groups \
                 perl -e '{perl}' su {owner} -c 'id -un'"
            );
            let command = machine.command(&["sh", "-c", &command]);
            Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
        };
        let said = limited(&phones[user].wrong_code());
        assert!(said.is_judged() || !has_room, "{said:?}");
        assert_eq!(u64::from(said.is_judged()), counted(&machine, owner));
        let right = phones[user].code();
        // The session fails after it: it is given 1024 files at most.
        limited(&right);
        let line = format!("event=accepted user={owner} ");
        let lines = machine.log().lines();
        let accepted = lines.iter().any(|logged| logged.contains(&line));
        assert_eq!(accepted, said.is_judged(), "{said:?}");
        assert_eq!(owner_gets_in(&machine, owner, &right), !accepted);
        unlock(&machine, owner);
        assert!(owner_gets_in(&machine, owner, &phones[user].code()));
    }

    let first_uses = [
        ("umask 000", "", 4),
        ("umask 777", "", 5),
        ("", "prlimit --fsize=0:", 6),
    ];
    for (umask, limit, user) in first_uses {
        machine.run("rm -rf /run/pam_totp");
        let hostile = su(umask, limit, true);
        let said = attempt(
            &machine,
            "alice",
            &hostile,
            &owners[user],
            &phones[user].wrong_code(),
        );
        assert!(said.is_judged(), "{said:?}");
        let made = machine.run("find /run/pam_totp -printf '%y %m %u %f\\n' | sort");
        let lines: Vec<_> = made.lines().collect();
        assert_eq!(lines[0], "d 700 root pam_totp", "{hostile:?}:\n{made}");
        assert!(lines.len() > 1, "{hostile:?}:\n{made}");
        for file in &lines[1..] {
            assert!(
                file.starts_with("f 600 root ") && !file.contains(".new"),
                "{hostile:?}:\n{made}"
            );
        }
        assert!(owner_gets_in(&machine, &owners[user], &phones[user].code()));
    }
}

// ---- Signals at the prompt -----------------------------------------------------------------------------

#[test]
fn t20_t28_whatever_the_caller_does_to_its_own_prompt_the_owner_gets_in_at_once() {
    let keys = [('c', true), ('\\', true), ('z', true), ('c', false)];
    let signals = [
        "STOP", "KILL", "TERM", "HUP", "ALRM", "PIPE", "XFSZ", "USR1",
    ];
    let owners = names(keys.len() + signals.len());
    let machine = machine(&owners);
    let mut owners = owners.iter();

    for (key, is_typed) in keys {
        let owner = owners.next().expect("enough");
        let mut phone = machine.enroll(owner);
        let mut held = machine.terminal_as("alice", &["su", owner, "-c", "id -un"]);
        held.answer("Password: ", PASSWORD).see(PROMPT);
        if is_typed {
            held.press(key);
        }
        assert_in_at_once(&machine, owner, &mut phone);
        let before = counted(&machine, owner);
        assert_eq!(before, 0, "ctrl-{key}");
        if !is_typed {
            // Hangs up.
            drop(held);
            assert_in_at_once(&machine, owner, &mut phone);
            assert_eq!(counted(&machine, owner), 0);
            continue;
        }
        let wrong = phone.wrong_code();
        machine.log().keep_secret(&wrong);
        // One that has ended reads nothing.
        held.enter(&wrong);
        let end = held.end();
        let judged = end.said.contains("Invalid One Time Password!");
        assert_eq!(
            u64::from(judged),
            counted(&machine, owner),
            "ctrl-{key}: {end:?}"
        );
        assert_ne!(end.status, 0, "ctrl-{key}: {end:?}");
    }

    for signal in signals {
        let owner = owners.next().expect("enough");
        let mut phone = machine.enroll(owner);
        let mut held = machine.terminal_as("alice", &["su", owner, "-c", "id -un"]);
        held.answer("Password: ", PASSWORD).see(PROMPT);
        let id = machine.run(&format!("pgrep -x -f 'su {owner} -c id -un'"));
        let alice = |signal: &str| {
            let mut command = machine.command_as("alice", &["kill", "-s", signal, id.trim()]);
            let sent = command.status().expect("kill starts").success();
            assert!(sent, "alice can't send {signal} to her own su");
        };
        alice(signal);
        assert_in_at_once(&machine, owner, &mut phone);
        assert_eq!(counted(&machine, owner), 0, "{signal}");
        if signal == "STOP" {
            alice("CONT");
            held.wake();
            held.enter(&phone.wrong_code())
                .see("Invalid One Time Password!");
            assert_eq!(counted(&machine, owner), 1);
        }
        assert_ne!(held.end().status, 0, "{signal}");
        machine
            .log()
            .assert_has(&["event=accepted", &format!("user={owner}")]);
    }
    let lines = machine.log().lines();
    assert!(!lines.iter().any(|line| line.contains("event=killed")));
}

#[track_caller]
fn assert_in_at_once(machine: &Machine, owner: &str, phone: &mut Enrolled) {
    let code = phone.code();
    let began = Instant::now();
    assert!(owner_gets_in(machine, owner, &code), "{owner}");
    let took = began.elapsed();
    // Far below the five seconds that a holder of the lock gets.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

// ---- Stopped while it holds the lock -------------------------------------------------------------------

/// A login of [`ACCOUNT`] in the middle of its save.
struct Held {
    strace: Child,
    pid: Pid,
}

/// Where strace stops it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    BeforeRead,
    BeforeSync,
    AfterSync,
}

impl Stop {
    const fn tampering(self) -> &'static str {
        match self {
            Self::BeforeRead => "flock:signal=STOP:when=1",
            Self::BeforeSync => "pwrite64:signal=STOP",
            Self::AfterSync => "fdatasync:signal=STOP",
        }
    }
}

impl Held {
    fn new(scratch: &Scratch, stop: Stop, address: &str, answer: &str) -> Self {
        let (mut strace, pid, trace) = traced(scratch, stop.tampering(), address, answer);
        wait_for("the stop", || {
            fs::read_to_string(&trace).is_ok_and(|text| text.contains("stopped by SIGSTOP"))
        });
        assert_eq!(holder(scratch), Some(pid), "it isn't in the lock");
        assert!(strace.try_wait().expect("a child").is_none());
        Self { strace, pid }
    }

    /// How it ended.
    fn ended(mut self) -> Option<i32> {
        self.strace.wait().expect("a child").signal()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = self.strace.wait();
    }
}

/// A contender under strace, with its process id and the file that is told of its saves.
fn traced(scratch: &Scratch, inject: &str, address: &str, answer: &str) -> (Child, Pid, PathBuf) {
    static TRACES: AtomicUsize = AtomicUsize::new(0);
    let number = TRACES.fetch_add(1, Ordering::Relaxed);
    let trace = scratch.path(&format!("trace{number}"));
    let mut strace = Command::new("strace")
        .arg("-o")
        .arg(&trace)
        .arg("-P")
        .arg(scratch.state(ACCOUNT))
        .args([
            "-e",
            "trace=flock,pwrite64,fdatasync",
            "-e",
            &format!("inject={inject}"),
        ])
        .args([
            "sh",
            "-c",
            "ulimit -c unlimited; echo $$; exec \"$@\"",
            "sh",
        ])
        .arg(env!("CARGO_BIN_EXE_contender"))
        .arg(scratch.path("pam.d"))
        .args(["once", ACCOUNT, address, &EPOCH.to_string(), answer])
        .current_dir(scratch.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("strace is installed");
    let mut pid = String::new();
    let stdout = strace.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut pid).expect("a line");
    let pid = pid.trim().parse().expect("a process id");
    (strace, Pid::from_raw(pid), trace)
}

/// Who holds the lock on the state of [`ACCOUNT`].
fn holder(scratch: &Scratch) -> Option<Pid> {
    let file = File::open(scratch.state(ACCOUNT)).expect("a state");
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).expect("a lock's holder");
    (lock.l_type != libc::F_UNLCK as libc::c_short).then(|| Pid::from_raw(lock.l_pid))
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "waited for {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

const ELSEWHERE: &str = "198.51.100.9";
const PATIENCE: Duration = Duration::from_secs(6);
const AT_ONCE: Duration = Duration::from_secs(1);

struct Case {
    scratch: Scratch,
    phone: Phone,
}

impl Case {
    fn new() -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new("");
        for user in [ACCOUNT, "bin"] {
            scratch.enroll(user, &phone);
        }
        Self { scratch, phone }
    }

    fn wrong(&self) -> String {
        self.phone.wrong_code_at(EPOCH)
    }

    /// How long the owner of `user` takes to get in from elsewhere with the code of `step`.
    #[track_caller]
    fn owner_takes(&self, user: &str, step: i64) -> Duration {
        let code = self.phone.code_at(EPOCH + step * 30);
        clock::set(EPOCH + step * 30);
        let began = Instant::now();
        let outcome = self.scratch.login_from(ELSEWHERE, user, code.as_str());
        let took = began.elapsed();
        assert_eq!(outcome.code, Code::SUCCESS, "{user} after {took:?}");
        took
    }

    /// The wrong answers that were counted from [`HOME`].
    fn counted(&self) -> u64 {
        // A right code from an unfamiliar address clears the pool, but not what its own address has left.
        clock::set(EPOCH);
        let outcome = self.scratch.login(ACCOUNT, self.wrong().as_str());
        let told = outcome.told().concat();
        (1..3)
            .find(|count| told == attempts_left(3 - *count as usize))
            .unwrap_or_else(|| panic!("{told}"))
            - 1
    }
}

#[test]
fn t28_a_login_stopped_in_the_lock_delays_nobody_for_long_and_its_guess_is_counted_or_unheard() {
    let stops = [Stop::BeforeRead, Stop::BeforeSync, Stop::AfterSync];
    let stopped = |stop: Stop| {
        let case = Case::new();
        let held = Held::new(&case.scratch, stop, HOME, &case.wrong());
        let took = case.owner_takes("bin", 0);
        assert!(took < AT_ONCE, "another user waited {took:?}, {stop:?}");
        let took = case.owner_takes(ACCOUNT, 0);
        assert!(took < PATIENCE, "{took:?}, {stop:?}");
        // Nobody heard what became of its guess.
        assert_eq!(held.ended(), Some(Signal::SIGKILL as i32), "{stop:?}");
        let took = case.owner_takes(ACCOUNT, 1);
        assert!(took < AT_ONCE, "{took:?}, {stop:?}");
        let saved = u64::from(stop != Stop::BeforeRead);
        assert_eq!(case.counted(), saved, "{stop:?}");
    };
    thread::scope(|threads| {
        for stop in stops {
            threads.spawn(move || stopped(stop));
        }
    });
}

#[test]
fn t28_a_right_code_of_a_login_stopped_in_the_lock_gets_nobody_in_twice() {
    let case = Case::new();
    let right = case.phone.code_at(EPOCH);
    let held = Held::new(&case.scratch, Stop::AfterSync, HOME, &right);
    clock::set(EPOCH);
    let began = Instant::now();
    let code = case
        .scratch
        .login_from(ELSEWHERE, ACCOUNT, right.as_str())
        .code;
    assert_eq!(code, Code::AUTH_ERR, "the save was made");
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(held.ended(), Some(Signal::SIGKILL as i32));
    assert!(case.owner_takes(ACCOUNT, 1) < AT_ONCE);
}

#[test]
fn t28_a_login_killed_in_the_lock_delays_nobody() {
    for stop in [Stop::BeforeRead, Stop::BeforeSync, Stop::AfterSync] {
        let case = Case::new();
        let held = Held::new(&case.scratch, stop, HOME, &case.wrong());
        kill(held.pid, Signal::SIGKILL).expect("it lives");
        assert_eq!(held.ended(), Some(Signal::SIGKILL as i32));
        let took = case.owner_takes(ACCOUNT, 0);
        assert!(took < AT_ONCE, "{took:?}, {stop:?}");
        assert_eq!(
            case.counted(),
            u64::from(stop != Stop::BeforeRead),
            "{stop:?}"
        );
    }
}

#[test]
fn t28_signals_from_the_terminal_wait_until_the_lock_is_free() {
    for signal in [
        "INT", "QUIT", "HUP", "TERM", "TSTP", "TTIN", "XFSZ", "XCPU", "ALRM",
    ] {
        let case = Case::new();
        let inject = format!("fdatasync:signal={signal}");
        let (strace, pid, trace) = traced(&case.scratch, &inject, HOME, &case.wrong());
        let held = Held { strace, pid };
        let name = format!("SIG{signal}");
        wait_for("the signal", || {
            fs::read_to_string(&trace).is_ok_and(|text| text.contains(&name))
        });
        assert_eq!(holder(&case.scratch), None, "it came in the lock: {signal}");
        assert!(case.owner_takes(ACCOUNT, 0) < AT_ONCE, "{signal}");
        drop(held);
        assert_eq!(case.counted(), 1, "{signal}");
    }
}

#[test]
fn t28_a_real_su_that_its_caller_stops_in_the_lock_is_killed_and_this_is_logged() {
    let owners = names(2);
    let machine = machine(&owners);
    let mut phones: Vec<_> = owners.iter().map(|owner| machine.enroll(owner)).collect();
    let wrong = phones[0].wrong_code();
    machine.log().keep_secret(&wrong);
    let owner = &owners[0];
    // root's strace gives alice the one moment that she would have to hit.
    let attack = format!(
        "strace -u alice -o /tmp/trace -P /var/lib/pam_totp/state/{owner} -e trace=fdatasync \
         -e inject=fdatasync:signal=STOP su {owner} -c 'id -un'"
    );
    let mut su = machine.terminal(&["sh", "-c", &attack]);
    su.answer("Password: ", PASSWORD).answer(PROMPT, &wrong);
    machine.run("until grep -q 'stopped by SIGSTOP' /tmp/trace; do sleep 0.02; done");
    assert!(owner_gets_in(&machine, &owners[1], &phones[1].code()));
    let lines = machine.log().lines();
    assert!(!lines.iter().any(|line| line.contains("event=killed")));

    let mut carol = machine.terminal_as("carol", &["su", owner, "-c", "id -un"]);
    let began = Instant::now();
    carol
        .answer("Password: ", PASSWORD)
        .answer(PROMPT, &phones[0].code());
    carol.assert_ends_well(owner);
    let took = began.elapsed();
    assert!(took < PATIENCE + AT_ONCE, "{took:?}");
    machine
        .log()
        .assert_has(&["event=killed", "without moving"]);
    let end = su.end();
    assert!(!end.said.contains("Invalid"), "{end:?}");
    assert_ne!(end.status, 0);
    // carol's login has cleared the pool of strangers, but not what alice has left.
    let status = machine.run(&format!("totpctl status {owner} --json"));
    let status: Value = serde_json::from_str(&status).expect("a document");
    let places = status["users"][0]["addresses"].as_array().expect("places");
    let of_alice = places.iter().find(|place| place["familiar"] == false);
    assert_eq!(of_alice.expect("a place")["attempts_left"], 2, "{status}");
}

// ---- Control groups --------------------------------------------------------------------------------------

/// A control group of its own.
struct Group {
    path: PathBuf,
}

impl Group {
    /// In the first hierarchy of `kind` that can be written and has `file` in its groups.
    fn new(kind: &str, name: &str, file: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc");
        mounts.lines().find_map(|mount| {
            let (place, system) = mount.split_once(" - ")?;
            let folder = Path::new(place.split(' ').nth(4)?);
            let is_kind = system.split(' ').next() == Some(kind);
            let path = folder.join(format!("pam_totp-{name}-{}", std::process::id()));
            (is_kind && fs::create_dir(&path).is_ok()).then_some(())?;
            let group = Self { path };
            group.path.join(file).exists().then_some(group)
        })
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.path.join(file), value).expect("a group of root's");
    }

    fn add(&self, pid: u32) {
        self.set("cgroup.procs", &pid.to_string());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let began = Instant::now();
        // Who has just been killed may still be in it.
        while fs::remove_dir(&self.path).is_err() && began.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn t28_a_login_frozen_in_the_lock_delays_nobody_for_long() {
    let Some(group) = Group::new("cgroup2", "frozen", "cgroup.freeze") else {
        println!("not frozen: no writable cgroup v2; tested with SIGSTOP");
        return;
    };
    let case = Case::new();
    let mut held = Held::new(&case.scratch, Stop::AfterSync, HOME, &case.wrong());
    group.add(u32::try_from(held.pid.as_raw()).expect("an id"));
    group.set("cgroup.freeze", "1");
    // Without its tracer and continued, only the group holds it.
    held.strace.kill().expect("it runs");
    held.strace.wait().expect("a child");
    kill(held.pid, Signal::SIGCONT).expect("it lives");
    wait_for("the frost", || {
        fs::read_to_string(group.path.join("cgroup.events"))
            .is_ok_and(|text| text.contains("frozen 1"))
    });
    assert_eq!(holder(&case.scratch), Some(held.pid));
    let took = case.owner_takes("bin", 0);
    assert!(took < AT_ONCE, "another user waited {took:?}");
    let took = case.owner_takes(ACCOUNT, 0);
    assert!(took < PATIENCE, "{took:?}");
    wait_for("the end", || {
        kill(held.pid, None) == Err(Errno::ESRCH) || is_dead(held.pid)
    });
    assert!(case.owner_takes(ACCOUNT, 1) < AT_ONCE);
    assert_eq!(case.counted(), 1);
    drop(held);
}

fn is_dead(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
}

/// The processes of a crowd.
fn contenders_of(scratch: &Scratch) -> Vec<u32> {
    let confdir = scratch.path("pam.d");
    let program = env!("CARGO_BIN_EXE_contender");
    let start = format!("{program}\0{}\0", confdir.display());
    let entries = fs::read_dir("/proc").expect("proc");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(start.as_bytes()))
    })
    .collect()
}

#[test]
fn t20_a_hundred_throttled_logins_do_not_queue_the_owner_out() {
    let v1 = Group::new("cgroup", "slow", "cpu.cfs_quota_us");
    let v2 = || Group::new("cgroup2", "slow", "cpu.max");
    let Some(group) = v1.or_else(v2) else {
        println!("not throttled: no writable group with a limit on processors");
        return;
    };
    let throttle = |percent: Option<u32>| {
        if group.path.join("cpu.max").exists() {
            let quota = percent.map_or("max".to_owned(), |percent| (percent * 1000).to_string());
            group.set("cpu.max", &format!("{quota} 100000"));
        } else {
            let quota = percent.map_or("-1".to_owned(), |percent| (percent * 1000).to_string());
            group.set("cpu.cfs_quota_us", &quota);
        }
    };
    let case = Case::new();
    let wrong: Vec<_> = case.phone.wrong_codes_at(EPOCH).take(100).collect();
    let contender = Path::new(env!("CARGO_BIN_EXE_contender"));
    let mut crowd = Crowd::new(contender, &case.scratch, [ACCOUNT; 100]);
    let mut crowd_ids = Vec::new();
    wait_for("the contenders", || {
        crowd_ids = contenders_of(&case.scratch);
        crowd_ids.len() == 100
    });
    for pid in crowd_ids {
        group.add(pid);
    }
    let state = || fs::read(case.scratch.state(ACCOUNT)).expect("a state");
    let before = state();
    thread::scope(|threads| {
        let rush = threads.spawn(|| {
            let answers = wrong.iter().map(String::as_str);
            crowd.rush_after("inside", EPOCH, HOME, answers, || throttle(Some(1)))
        });
        wait_for("the first of them", || {
            state() != before || holder(&case.scratch).is_some()
        });
        let took: Vec<_> = (0..3).map(|step| case.owner_takes(ACCOUNT, step)).collect();
        assert!(took.iter().all(|took| *took < PATIENCE), "{took:?}");
        println!("the owner took {took:?}");
        throttle(None);
        let ended = rush.join().expect("the crowd");
        let judged = ended.iter().filter(|one| one.is_wrong()).count();
        assert!(judged <= 3, "{ended:?}");
    });
}

// ---- In the process itself -------------------------------------------------------------------------------

/// Runs the witness after `prelude` in a shell, in the scratch folder.
fn witness(scratch: &Scratch, prelude: &str, verb: &str, user: &str, answers: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", &format!("{prelude}\nexec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_witness"))
        .arg(scratch.path("pam.d"))
        .args([verb, user, &EPOCH.to_string()])
        .args(answers)
        .current_dir(scratch.path(""))
        .output()
        .expect("a shell")
}

/// The codes that it printed.
fn codes(output: &Output) -> Vec<Code> {
    let out = String::from_utf8_lossy(&output.stdout);
    out.lines()
        .map(|code| Code(code.parse().expect("a number")))
        .collect()
}

#[test]
fn t27_t38_t39_t40_t41_the_process_is_the_same_before_at_and_after_every_message() {
    let preludes = [
        ("true", "same"),
        ("true", "same-handling"),
        ("trap '' CHLD", "same"),
        ("ulimit -S -f 0", "same"),
        ("ulimit -f 0", "same"),
        ("ulimit -f 1; trap '' XFSZ INT TERM HUP", "same"),
        ("ulimit -n 12", "same"),
        ("ulimit -S -n 12", "same"),
        ("ulimit -s 256", "same"),
        ("ulimit -S -s 256", "same"),
        ("ulimit -v 60000", "same"),
        ("ulimit -d 30000", "same"),
        ("ulimit -t 30", "same"),
        ("ulimit -S -t 30", "same"),
        ("ulimit -c unlimited", "same"),
        ("ulimit -c 0", "same"),
        ("ulimit -l 0; ulimit -p 1", "same"),
        ("umask 777", "same"),
        ("umask 000", "same"),
        ("mkdir gone; cd gone; rmdir ../gone", "same"),
        ("exec 9</dev/null 7>/dev/full", "same"),
        (
            "ulimit -S -f 0; ulimit -n 20; ulimit -s 512; ulimit -t 30; umask 123; cd /proc",
            "same-handling",
        ),
    ];
    for (prelude, verb) in preludes {
        let case = Case::new();
        let (right, wrong) = (case.phone.code_at(EPOCH), case.wrong());
        let answers = [&*right, &right, "rubbish", "", &wrong, &wrong, &right];
        let output = witness(&case.scratch, prelude, verb, ACCOUNT, &answers);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{prelude}: {complaint}");
        assert_eq!(complaint, "", "{prelude}");
        let mut expected = vec![Code::AUTH_ERR; answers.len()];
        if !prelude.starts_with("ulimit -f") || may_raise_limits() {
            expected[0] = Code::SUCCESS;
        }
        assert_eq!(codes(&output), expected, "{prelude}");
        let output = witness(
            &case.scratch,
            prelude,
            verb,
            "no-such-person",
            &[&wrong, &wrong],
        );
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{prelude}: {complaint}");
    }
}

#[test]
fn t41_no_thread_and_no_process_is_started() {
    let case = Case::new();
    for answer in [case.phone.code_at(EPOCH), case.wrong()] {
        let trace = case.scratch.path("trace");
        let status = Command::new("strace")
            .args(["-f", "-e", "trace=clone,clone3,fork,vfork,execve", "-o"])
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_contender"))
            .arg(case.scratch.path("pam.d"))
            .args(["once", ACCOUNT, HOME, &EPOCH.to_string(), &answer])
            .status()
            .expect("strace is installed");
        let trace = fs::read_to_string(&trace).expect("a trace");
        let calls: Vec<_> = trace.lines().filter(|line| line.contains('(')).collect();
        assert!(
            status.code().is_some_and(|code| code == 0 || code == 7),
            "{status}"
        );
        assert!(
            calls.len() == 1 && calls[0].contains("execve("),
            "only the start of the contender:\n{trace}"
        );
    }
}

// ---- Secrets ---------------------------------------------------------------------------------------------

/// A secret, in base32, that no program has seen.
fn fresh_secret() -> String {
    let random = File::open("/dev/urandom").expect("entropy");
    let mut bytes = [0; 20];
    std::io::Read::read_exact(&mut { random }, &mut bytes).expect("entropy");
    let mut command = Command::new("base32");
    command.args(["-w", "0"]);
    String::from_utf8(output(command, &bytes).stdout).expect("base32")
}

/// Every half of the secret: as base32, as bytes and as the two forms in which HMAC keys a hash.
fn traces_of(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut command = Command::new("base32");
    command.arg("-d");
    let raw = output(command, secret.as_bytes()).stdout;
    assert_eq!(raw.len(), 20);
    let padded = |pad: u8| raw.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let forms = [
        ("base32", secret.as_bytes().to_vec()),
        ("bytes", raw.clone()),
        ("inner pad", padded(0x36)),
        ("outer pad", padded(0x5C)),
    ];
    let halves = forms.iter().flat_map(|(name, bytes)| {
        let (first, last) = bytes.split_at(bytes.len() / 2);
        [(*name, first.to_vec()), (*name, last.to_vec())]
    });
    halves.collect()
}

fn scratch_with(secret: &str) -> Case {
    let case = Case {
        scratch: Scratch::new(""),
        phone: Phone::new(secret),
    };
    case.scratch.enroll(ACCOUNT, &case.phone);
    case
}

#[test]
fn t43_no_secret_is_in_memory_at_a_prompt_or_after_a_login() {
    let secret = fresh_secret();
    let case = scratch_with(&secret);
    let masked: Vec<String> = traces_of(&secret)
        .iter()
        .map(|(_, bytes)| {
            bytes
                .iter()
                .map(|byte| format!("{:02x}", byte ^ memory::MASK))
                .collect()
        })
        .collect();
    let verb = format!("forgetful={}", masked.join(","));
    let (right, wrong) = (case.phone.code_at(EPOCH), case.wrong());
    let answers = [&*wrong, &right, &right, "rubbish", &wrong, &wrong, &right];
    let output = witness(&case.scratch, "true", &verb, ACCOUNT, &answers);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{:?}\n{complaint}",
        traces_of(&secret)
    );
    assert_eq!(codes(&output)[1], Code::SUCCESS);
}

/// The core that a process left in the scratch folder; `None` where the system takes cores elsewhere.
fn core(scratch: &Scratch) -> Option<Vec<u8>> {
    let entries = fs::read_dir(scratch.path("")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut cores = paths.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name == "core" || name.starts_with("core.")
    });
    let path = cores.next()?;
    let bytes = fs::read(&path).expect("a core");
    fs::remove_file(path).expect("a core");
    Some(bytes)
}

fn assert_free_of(secret: &str, core: &[u8], what: &str) {
    let (forms, bytes): (Vec<_>, Vec<_>) = traces_of(secret).into_iter().unzip();
    let found = memory::find(core, &bytes, 0);
    let found = found.map(|index| forms[index]);
    assert_eq!(found, None, "the core has the secret: {what}");
}

#[test]
fn t43_a_core_from_the_prompt_has_no_secret_and_the_critical_section_leaves_none() {
    let secret = fresh_secret();
    let case = scratch_with(&secret);
    let right = case.phone.code_at(EPOCH);
    let unlimited = "ulimit -c unlimited";

    let output = witness(&case.scratch, unlimited, "dies=prompt", ACCOUNT, &[&right]);
    let status = output.status;
    assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{output:?}");
    assert!(
        status.core_dumped(),
        "no cores here: nothing is tested below"
    );
    match core(&case.scratch) {
        Some(core) => assert_free_of(&secret, &core, "at the prompt"),
        None => println!("not searched: the system takes cores elsewhere"),
    }

    for answer in [case.wrong(), right] {
        let output = witness(&case.scratch, unlimited, "dies=save", ACCOUNT, &[&answer]);
        let status = output.status;
        assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{output:?}");
        assert!(!status.core_dumped(), "a core with a secret");
        assert!(core(&case.scratch).is_none());
    }
}

#[test]
fn t43_a_signal_that_waited_for_the_save_leaves_no_secret_in_a_core() {
    for signal in ["QUIT", "ABRT", "TRAP"] {
        let secret = fresh_secret();
        let case = scratch_with(&secret);
        let inject = format!("fdatasync:signal={signal}");
        let (mut strace, pid, trace) = traced(&case.scratch, &inject, HOME, &case.wrong());
        let status = strace.wait().expect("a child");
        // strace ends as what it traced.
        assert!(status.signal().is_some(), "{pid}: {status}");
        let trace = fs::read_to_string(trace).expect("a trace");
        if !trace.contains("core dumped") {
            println!("{signal}: no core");
            continue;
        }
        match core(&case.scratch) {
            Some(core) => assert_free_of(&secret, &core, signal),
            None => println!("not searched: the system takes cores elsewhere"),
        }
    }
}

#[test]
fn t44_neither_log_nor_command_lines_nor_environments_give_anything_away() {
    let owners = names(2);
    let machine = machine(&owners);
    let owner = &owners[0];
    let secret = fresh_secret();
    machine.log().keep_secret(&secret);
    for user in &owners {
        let enroll = format!("totpctl enroll {user} --secret-file - --no-confirm");
        machine.feed(&enroll, &secret);
    }
    let mut phone = Enrolled::with(Phone::new(&secret));
    let right = phone.code();
    let wrong = phone.wrong_code();

    let mut su = machine.terminal_as("alice", &["su", owner, "-c", "cat"]);
    su.answer("Password: ", PASSWORD).see(PROMPT);
    let watched = [PASSWORD, &*secret, &right];
    assert_discreet(&machine, &watched);
    su.enter(&right);
    machine
        .log()
        .wait_for(&["event=accepted", &format!("user={owner}")]);
    su.enter("hello").see("hello");
    assert_discreet(&machine, &watched);
    su.enter("\u{4}");
    assert_eq!(su.end().status, 0);

    let typed = [
        &*right,
        &wrong,
        "",
        "  ",
        "no digits at all",
        &"7".repeat(600),
        "\u{1b}[31m%s%n",
        &wrong,
        &right,
    ];
    for answer in typed {
        let words = ["su", owner, "-c", "true"];
        for answer in [answer].iter().filter(|answer| answer.len() > 2) {
            machine.log().keep_secret(answer);
        }
        let command = machine.command_as("alice", &words);
        let said = output(command, format!("{PASSWORD}\n{answer}\n").as_bytes());
        assert!(!said.status.success(), "{answer:?}");
    }
    // A password or a code where a name belongs.
    for name in ["hunter2hunter2", &*right] {
        let command = machine.command_as("alice", &["su", name, "-c", "true"]);
        assert!(!output(command, b"x\n000000\n").status.success());
    }
    let wrong_password = machine.command_as("alice", &["su", &owners[1], "-c", "true"]);
    let typed = format!("not the password\n{right}\n");
    machine.log().keep_secret("not the password");
    assert!(!output(wrong_password, typed.as_bytes()).status.success());
    for event in ["accepted", "wrong", "refused", "aborted", "locked"] {
        machine.log().assert_has(&[&format!("event={event}")]);
    }
    machine.log().assert_discreet();
}

/// No command line and no environment of a process in the machine contains one of `words`.
fn assert_discreet(machine: &Machine, words: &[&str]) {
    let told = machine
        .run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' || true");
    assert!(
        told.contains("su\nowner0\n") && told.contains("PATH="),
        "{told}"
    );
    for word in words {
        assert!(!told.contains(word), "{word:?} can be seen:\n{told}");
    }
}

const PASSWORD: &str = "correct horse";
