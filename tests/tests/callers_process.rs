//! The process that loads the module, whatever its caller has made of it. Numbers are those of the threats it
//! is about.

use std::fs;
use std::process::Command;

use end_to_end::case::{Case, ELSEWHERE};
use end_to_end::clock::EPOCH;
use end_to_end::hostile::may_raise_limits;
use end_to_end::libpam::Code;
use end_to_end::product::{ACCOUNT, HOME};
use end_to_end::witness::{codes, witness};

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
        let output = witness(
            env!("CARGO_BIN_EXE_witness").as_ref(),
            &case.scratch,
            prelude,
            verb,
            ACCOUNT,
            &answers,
        );
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{prelude}: {complaint}");
        assert_eq!(complaint, "", "{prelude}");
        let mut expected = vec![Code::AUTH_ERR; answers.len()];
        if !prelude.starts_with("ulimit -f") || may_raise_limits() {
            expected[0] = Code::SUCCESS;
        }
        assert_eq!(codes(&output), expected, "{prelude}");
        let output = witness(
            env!("CARGO_BIN_EXE_witness").as_ref(),
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
fn t41_t57_no_thread_no_process_and_no_network_socket_is_made() {
    let case = Case::new();
    for answer in [case.phone.code_at(EPOCH), case.wrong()] {
        let trace = case.scratch.path("trace");
        let status = Command::new("strace")
            .args([
                "-f",
                "-e",
                "trace=clone,clone3,fork,vfork,execve,socket",
                "-o",
            ])
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_contender"))
            .arg(case.scratch.path("pam.d"))
            .args(["once", ACCOUNT, HOME, &EPOCH.to_string(), &answer])
            .status()
            .expect("strace is installed");
        let trace = fs::read_to_string(&trace).expect("a trace");
        let calls = trace.lines().filter(|line| line.contains('('));
        let (sockets, calls): (Vec<_>, Vec<_>) = calls.partition(|line| line.contains(" socket("));
        assert!(
            status.code().is_some_and(|code| code == 0 || code == 7),
            "{status}"
        );
        assert!(
            calls.len() == 1 && calls[0].contains("execve("),
            "only the start of the contender:\n{trace}"
        );
        // The log's, the account database's, and libpam's to the audit system.
        let stays_here = |call: &&str| call.contains("AF_UNIX") || call.contains("AF_NETLINK");
        assert!(!sockets.is_empty(), "it logs:\n{trace}");
        assert!(sockets.iter().all(stays_here), "{sockets:?}");
    }
}

/// Of a caller without the first three: what is opened first is one of them, and is moved before anything is done by it.
#[test]
fn t38_no_file_of_ours_is_one_of_the_first_three_or_open_behind_exec() {
    let case = Case::new();
    let trace = case.scratch.path("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-qq", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_contender"))
        .arg(case.scratch.path("pam.d"))
        .args(["bare", ACCOUNT, ELSEWHERE, &EPOCH.to_string()])
        .arg(case.phone.code_at(EPOCH))
        .status()
        .expect("strace is installed");
    assert_eq!(status.code(), Some(Code::SUCCESS.0));
    let trace = fs::read_to_string(trace).expect("a trace");
    let ours = ["pam_totp.toml", "secrets", "state", "run"].map(|name| {
        let path = case.scratch.path(name);
        format!("<{}", path.display())
    });
    let descriptors = |text: &str| -> Vec<u32> {
        let ends = ours.iter().flat_map(|path| text.match_indices(path));
        let numbers = ends.map(|(end, _)| {
            let before = &text[..end];
            let start = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            before[start..].parse().expect("a descriptor")
        });
        numbers.collect()
    };
    let (mut opened, mut moved) = (0, 0);
    for call in trace.lines() {
        let (call, result) = call.rsplit_once(" = ").unwrap_or((call, ""));
        let is_moved = call.contains(", F_DUPFD_CLOEXEC, 3");
        let uses_low = descriptors(call).iter().any(|number| *number <= 2);
        let is_closed = call.contains(" close(");
        assert!(!uses_low || is_moved || is_closed, "{call} = {result}");
        moved += usize::from(uses_low && is_moved);
        if !descriptors(result).is_empty() {
            opened += usize::from(!is_moved);
            assert!(is_moved || call.contains("O_CLOEXEC"), "{call} = {result}");
        }
    }
    // The folders and what is in them, the table of addresses and the configuration.
    assert!(
        opened > 6 && moved > 3,
        "{opened} opened, {moved} moved:\n{trace}"
    );
}
