//! The program that loads the module is left as it was. One test only, so that no other one opens files
//! in this process meanwhile.

use std::fs;
use std::path::PathBuf;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, Scratch};

/// What a thread sees of itself: ids, groups, masks, handlers, limits, folder and open files.
fn process() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/{name}")).expect("proc");
    let kept = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "Sig",
        "Cap",
        "NoNewPrivs",
        "Seccomp:",
    ];
    let status = read("status");
    let status = status
        .lines()
        .filter(|line| kept.iter().any(|name| line.starts_with(name)));
    let mut files: Vec<PathBuf> = fs::read_dir("/proc/thread-self/fd")
        .expect("proc")
        .filter_map(|file| fs::read_link(file.expect("proc").path()).ok())
        .collect();
    files.sort();
    let folder = std::env::current_dir().expect("a current folder");
    let environment: Vec<_> = std::env::vars_os().collect();
    let status: Vec<_> = status.collect();
    format!(
        "{}\n{}\n{folder:?}\n{files:?}\n{environment:?}",
        status.join("\n"),
        read("limits")
    )
}

#[test]
fn t38_t39_it_finds_everything_as_it_was() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new("");
    scratch.enroll(ACCOUNT, &phone);
    scratch.enroll("bin", &phone);
    clock::set(EPOCH);
    let (right, wrong) = (phone.code_at(EPOCH), phone.wrong_code_at(EPOCH));
    fs::remove_file(scratch.state("bin")).expect("its state");
    // What libc opens for NSS and syslog stays open.
    scratch.login("no-such-person", wrong.as_str());

    let before = process();
    let logins: [(&str, &str, Reply, Code); 8] = [
        ("accepted", ACCOUNT, right.as_str().into(), Code::SUCCESS),
        ("replayed", ACCOUNT, right.as_str().into(), Code::AUTH_ERR),
        (
            "aborted",
            ACCOUNT,
            Reply::Fail(Code::CONV_ERR),
            Code::AUTH_ERR,
        ),
        ("wrong", ACCOUNT, wrong.as_str().into(), Code::AUTH_ERR),
        (
            "the last wrong",
            ACCOUNT,
            wrong.as_str().into(),
            Code::AUTH_ERR,
        ),
        ("locked", ACCOUNT, right.as_str().into(), Code::AUTH_ERR),
        (
            "without state",
            "bin",
            right.as_str().into(),
            Code::AUTH_ERR,
        ),
        (
            "unknown",
            "no-such-person",
            wrong.as_str().into(),
            Code::AUTH_ERR,
        ),
    ];
    for (name, user, reply, expected) in logins {
        assert_eq!(scratch.login(user, reply).code, expected, "{name}");
        assert_eq!(process(), before, "{name}");
    }
    scratch.write_config("[");
    assert_eq!(
        scratch.login(ACCOUNT, right.as_str()).code,
        Code::SERVICE_ERR
    );
    assert_eq!(process(), before, "a wrong configuration");
}
