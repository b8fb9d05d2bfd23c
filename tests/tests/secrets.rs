//! Neither memory, core files, logs nor what others see of a process give a secret away. Numbers are those of
//! the threats it is about.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use end_to_end::case::Case;
use end_to_end::clock::EPOCH;
use end_to_end::dump::{are_left_here, assert_free_of, core};
use end_to_end::enrolled::Enrolled;
use end_to_end::held::Held;
use end_to_end::libpam::Code;
use end_to_end::machine::{Machine, output};
use end_to_end::memory;
use end_to_end::owners::{self, PASSWORD};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, PROMPT, Scratch};
use end_to_end::secret::{self, traces_of};
use end_to_end::skipped::skip;
use end_to_end::witness::{codes, witness};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const WITNESS: &str = env!("CARGO_BIN_EXE_witness");

#[test]
fn t43_no_secret_is_in_memory_at_a_prompt_or_after_a_login() {
    let secret = secret::fresh();
    let case = Case::with(&secret);
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
    let output = witness(
        WITNESS.as_ref(),
        &case.scratch,
        "true",
        &verb,
        ACCOUNT,
        &answers,
    );
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{:?}\n{complaint}",
        traces_of(&secret)
    );
    assert_eq!(codes(&output)[1], Code::SUCCESS);
}

#[test]
fn t43_a_core_from_the_prompt_has_no_secret_and_the_critical_section_leaves_none() {
    let secret = secret::fresh();
    let case = Case::with(&secret);
    let right = case.phone.code_at(EPOCH);
    let unlimited = "ulimit -c unlimited";

    let output = witness(
        WITNESS.as_ref(),
        &case.scratch,
        unlimited,
        "dies=prompt",
        ACCOUNT,
        &[&right],
    );
    let status = output.status;
    assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{output:?}");
    assert!(
        status.core_dumped(),
        "no cores here: nothing is tested below"
    );
    match core(&case.scratch) {
        Some(core) => assert_free_of(&secret, &core, "at the prompt"),
        None => assert_taken_elsewhere(),
    }

    for answer in [case.wrong(), right] {
        let output = witness(
            WITNESS.as_ref(),
            &case.scratch,
            unlimited,
            "dies=save",
            ACCOUNT,
            &[&answer],
        );
        let status = output.status;
        assert_eq!(status.signal(), Some(Signal::SIGSYS as i32), "{output:?}");
        assert!(!status.core_dumped(), "a core with a secret");
        assert!(core(&case.scratch).is_none());
    }
}

#[test]
fn t43_totpctl_leaves_no_core() {
    let scratch = Scratch::new("");
    let dying = |words: &[&OsStr]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"])
            .args(words)
            .current_dir(scratch.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.spawn().expect("sh starts")
    };
    let end = |mut child: Child| {
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGABRT).expect("it lives");
        let status = child.wait().expect("a child");
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
        (status.core_dumped(), core(&scratch).is_some())
    };
    let mut other = dying(&["sh".as_ref(), "-c".as_ref(), "echo; read line".as_ref()]);
    see_line(&mut other, "");
    assert!(end(other).0, "no cores here: nothing is tested below");

    let enroll = scratch.command(&["enroll", ACCOUNT]);
    let words: Vec<&OsStr> = std::iter::once(enroll.get_program())
        .chain(enroll.get_args())
        .collect();
    let mut totpctl = dying(&words);
    see_line(&mut totpctl, "otpauth://");
    assert_eq!(end(totpctl), (false, false), "a core with a secret");
}

/// Waits for a program to print a line with `words`.
fn see_line(child: &mut Child, words: &str) {
    let said = BufReader::new(child.stdout.as_mut().expect("a pipe"));
    let mut lines = said.lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains(words)), "no {words:?}");
}

/// Where no core is here, none may be here.
#[track_caller]
fn assert_taken_elsewhere() {
    assert!(!are_left_here(), "no core was searched");
    skip("the system takes cores elsewhere");
}

#[test]
fn t43_a_signal_that_waited_for_the_save_leaves_no_secret_in_a_core() {
    let mut searched = 0;
    for signal in ["QUIT", "ABRT", "TRAP"] {
        let secret = secret::fresh();
        let case = Case::with(&secret);
        let inject = format!("pwrite64:signal={signal}");
        let contender = env!("CARGO_BIN_EXE_contender").as_ref();
        let mut held = Held::traced(contender, &case.scratch, &inject, HOME, &case.wrong());
        let status = held.strace.wait().expect("a child");
        // strace ends as what it traced.
        assert!(status.signal().is_some(), "{}: {status}", held.pid);
        match core(&case.scratch) {
            Some(core) => {
                assert_free_of(&secret, &core, signal);
                searched += 1;
            }
            None => println!("{signal}: no core"),
        }
    }
    if searched < 3 {
        assert_taken_elsewhere();
    }
}

#[test]
fn t44_neither_log_nor_command_lines_nor_environments_give_anything_away() {
    let owners = owners::names(2);
    let machine = owners::machine(&owners);
    let owner = &owners[0];
    let secret = secret::fresh();
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
