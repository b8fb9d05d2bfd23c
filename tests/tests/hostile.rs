//! A caller who sets the limits, files, signals and environment that the module has to work with.

use std::ffi::OsStr;
use std::process::Command;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, Scratch};

/// What a shell does before it starts su, how the contender then logs in (`bare` closes the standard files
/// itself, for a Rust program opens again what it doesn't find), and whether the right code must still do.
/// Too few files, and a limit that can't be raised, may cost the login: of the right and the wrong alike.
const HOSTILE: [(&str, &str, bool); 14] = [
    ("true", "once", true),
    ("true", "bare", true),
    ("ulimit -n 4", "bare", false),
    ("ulimit -n 4", "once", false),
    ("ulimit -S -n 4", "once", false),
    ("ulimit -f 0", "once", false),
    ("ulimit -S -f 0", "once", true),
    ("trap '' XFSZ; ulimit -S -f 0", "once", true),
    ("ulimit -c unlimited", "once", true),
    ("ulimit -t 1", "once", true),
    ("umask 0777", "once", true),
    ("trap '' INT TERM HUP QUIT PIPE", "once", true),
    ("cd /proc/self", "once", true),
    (ENVIRONMENT, "once", true),
];

const ENVIRONMENT: &str = "export TZ=/etc/passwd LC_ALL=xx PATH=/nowhere HOME=/nowhere TMPDIR=/nowhere \
                           RUST_BACKTRACE=full";

#[test]
fn t27_whatever_it_does_no_guess_is_free_and_no_code_is_used_twice() {
    let phone = Phone::new(Phone::SECRET);
    for (hostile, verb, must_work) in HOSTILE {
        let scratch = Scratch::new("");
        scratch.enroll(ACCOUNT, &phone);
        let attempt = |time: i64, answer: &str| {
            let status = Command::new("/bin/sh")
                .args(["-c", &format!("{hostile}\nexec \"$@\""), "sh"])
                .arg(env!("CARGO_BIN_EXE_contender"))
                .args([scratch.path("pam.d").as_os_str(), OsStr::new(verb)])
                .args([ACCOUNT, HOME, &time.to_string(), answer])
                .status()
                .expect("a shell");
            Code(
                status
                    .code()
                    .unwrap_or_else(|| panic!("{hostile}: {status}")),
            )
        };

        let (first, later) = (EPOCH, EPOCH + 3600);
        let right = phone.code_at(first);
        let judged = attempt(first, &right) == Code::SUCCESS;
        assert!(judged || !must_work, "{hostile} costs the right code");
        clock::set(first);
        let again = scratch.login(ACCOUNT, right.as_str()).code;
        assert_eq!(
            again == Code::SUCCESS,
            !judged,
            "the same code after {hostile}"
        );

        let (right, wrong) = (phone.code_at(later), phone.wrong_code_at(later));
        for _ in 0..3 {
            let refused = attempt(later, &wrong);
            assert_ne!(refused, Code::SUCCESS, "{hostile}");
            assert!(
                refused == Code::AUTH_ERR || !judged,
                "{hostile}: {refused:?}"
            );
        }
        let locked = attempt(later, &right);
        assert_ne!(locked, Code::SUCCESS, "beyond the limit with {hostile}");
        clock::set(later);
        let owner = scratch.login(ACCOUNT, right.as_str()).code;
        assert_eq!(owner == Code::SUCCESS, !judged, "{hostile} and the count");
        let elsewhere =
            scratch.login_from("198.51.100.9", ACCOUNT, phone.code_at(later + 30).as_str());
        assert_eq!(elsewhere.code, Code::SUCCESS, "the owner after {hostile}");
    }
}
