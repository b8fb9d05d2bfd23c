//! What the module returns, and what each of its arguments does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, DELETE_CRED, ESTABLISH_CRED, Login, Reply, SILENT, Style};
use end_to_end::mounts;
use end_to_end::phone::Phone;
use end_to_end::product::{
    ACCOUNT, HOME, Outcome, PROMPT, Scratch, answering, attempts_left, limit_reached, module,
    workspace,
};

/// Somebody the scratch product doesn't know.
const STRANGER: &str = "bin";

struct Case {
    scratch: Scratch,
    right: String,
    wrong: String,
}

impl Case {
    fn new(settings: &str) -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new(settings);
        scratch.enroll(ACCOUNT, &phone);
        clock::set(EPOCH);
        Self {
            scratch,
            right: phone.code_at(EPOCH),
            wrong: phone.wrong_code_at(EPOCH),
        }
    }

    fn with_arguments(arguments: &str) -> Self {
        let case = Self::new("");
        case.scratch.stack(arguments);
        case
    }

    fn right(&self) -> Outcome {
        self.scratch.login(ACCOUNT, self.right.as_str())
    }

    fn wrong(&self) -> Outcome {
        self.scratch.login(ACCOUNT, self.wrong.as_str())
    }

    /// Whether the module returns PAM_IGNORE for `user`, which libpam shows to nobody but the stack.
    fn ignores(&self, user: &str, arguments: &str) -> bool {
        let line = self.scratch.line("[ignore=1 default=die]", arguments);
        self.scratch.service(&format!(
            "auth {line}\nauth requisite pam_deny.so\nauth required pam_permit.so\n"
        ));
        let outcome = self.scratch.login(user, self.wrong.as_str());
        outcome.code == Code::SUCCESS && outcome.heard.is_empty()
    }
}

#[test]
fn the_right_code_is_success_and_any_other_answer_an_authentication_failure() {
    let case = Case::new("");
    assert_eq!(case.wrong().code, Code::AUTH_ERR);
    assert_eq!(case.scratch.login(ACCOUNT, "").code, Code::AUTH_ERR);
    assert_eq!(
        case.scratch
            .login(ACCOUNT, Reply::Fail(Code::CONV_ERR))
            .code,
        Code::AUTH_ERR
    );
    let accepted = case.right();
    assert_eq!(accepted.code, Code::SUCCESS);
    assert_eq!(accepted.asked(), [PROMPT]);
    assert!(accepted.told().is_empty());
    assert_eq!(case.right().code, Code::AUTH_ERR, "replayed");
}

#[test]
fn the_limit_is_an_authentication_failure_like_any_other() {
    let case = Case::new("[limits]\ndeny = 1\n");
    assert_eq!(case.wrong().code, Code::AUTH_ERR);
    let refused = case.right();
    assert_eq!(refused.code, Code::AUTH_ERR);
    assert!(refused.asked().is_empty());
    assert_eq!(refused.told(), [limit_reached(10)]);
}

#[test]
fn a_stranger_is_refused_or_ignored_as_the_policy_says() {
    let cases = [
        ("", "", false),
        ("[policy]\nunenrolled = \"deny\"\n", "", false),
        ("[policy]\nunenrolled = \"skip\"\n", "", true),
        ("[policy]\nunenrolled = \"deny\"\n", "nullok", true),
    ];
    for (settings, arguments, ignored) in cases {
        let case = Case::new(settings);
        assert_eq!(
            case.ignores(STRANGER, arguments),
            ignored,
            "{settings:?} {arguments:?}"
        );
        assert!(
            !case.ignores(ACCOUNT, arguments),
            "the enrolled with {settings:?} {arguments:?}"
        );
        case.scratch.stack(arguments);
        let alone = case.scratch.login(STRANGER, case.right.as_str());
        let expected = if ignored {
            Code::PERM_DENIED
        } else {
            Code::AUTH_ERR
        };
        assert_eq!(alone.code, expected, "{settings:?} {arguments:?}");
    }
}

#[test]
fn t33_what_cannot_be_read_denies_and_is_never_ignored() {
    type Break = fn(&Scratch);
    let emptied: Break = |scratch| {
        let secrets = scratch.path("secrets");
        fs::rename(&secrets, scratch.path("elsewhere")).unwrap();
        fs::create_dir(&secrets).unwrap();
    };
    let cases: [(&str, Break); 7] = [
        ("no secret folder", |scratch| {
            fs::remove_dir_all(scratch.path("secrets")).unwrap()
        }),
        (
            "another secret folder, as below what isn't mounted",
            emptied,
        ),
        ("no state folder", |scratch| {
            fs::remove_dir_all(scratch.path("state")).unwrap()
        }),
        ("no state file", |scratch| {
            fs::remove_file(scratch.state(ACCOUNT)).unwrap()
        }),
        ("an empty state file", |scratch| {
            fs::write(scratch.state(ACCOUNT), "").unwrap()
        }),
        ("an empty secret file", |scratch| {
            fs::write(scratch.secret(ACCOUNT), "").unwrap()
        }),
        ("a senseless secret file", |scratch| {
            fs::write(scratch.secret(ACCOUNT), "[[[").unwrap()
        }),
    ];
    for (name, break_it) in cases {
        let case = Case::new("[policy]\nunenrolled = \"skip\"\n");
        break_it(&case.scratch);
        assert!(!case.ignores(ACCOUNT, "nullok"), "{name}");
        case.scratch.stack("nullok");
        assert_eq!(case.right().code, Code::AUTH_ERR, "{name}");
    }
    let case = Case::new("[policy]\nunenrolled = \"skip\"\n");
    assert!(case.ignores(STRANGER, "nullok"));
    emptied(&case.scratch);
    assert!(!case.ignores(STRANGER, "nullok"), "another secret folder");
    fs::remove_dir_all(case.scratch.path("secrets")).unwrap();
    assert!(
        !case.ignores(STRANGER, "nullok"),
        "no secret folder is not the same as not enrolled"
    );
}

#[test]
fn t36_a_wrong_configuration_is_a_service_error() {
    let wrong: [&[u8]; 18] = [
        b"colour = 1",
        b"[limits]\ncolour = 1",
        b"[colours]",
        b"[limits]\ndeny = \"3\"",
        b"[limits]\ndeny = -1",
        b"[limits]\ndeny = 33",
        b"[limits]\ndeny = 3.0",
        b"[limits]\ndeny = 99999999999999999999",
        b"[limits]\ndeny = 3\ndeny = 3",
        b"[limits]\ninterval = 15",
        b"[limits]\ninterval = \"15 minutes\"",
        b"[limits]\nlock_time = \"\"",
        b"[limits]\nlock_time = \"99999999999999999999d\"",
        b"[verify]\nwindow = \"1\"",
        b"[verify]\nmax_drift = true",
        b"[policy]\nunenrolled = \"maybe\"",
        b"[limits",
        b"issuer = \"\xff\"",
    ];
    for text in wrong {
        let case = Case::new("");
        let mut config = fs::read(case.scratch.config()).unwrap();
        config.extend(text);
        fs::write(case.scratch.config(), config).unwrap();
        let shown = String::from_utf8_lossy(text);
        assert_eq!(case.right().code, Code::SERVICE_ERR, "{shown}");
        assert!(!case.ignores(STRANGER, "nullok"), "{shown}");
        case.scratch.configure("");
        case.scratch.stack("");
        assert_eq!(case.right().code, Code::SUCCESS, "mended after {shown}");
    }
}

#[test]
fn a_missing_config_file_is_a_service_error() {
    let case = Case::new("");
    fs::remove_file(case.scratch.config()).unwrap();
    assert_eq!(case.right().code, Code::SERVICE_ERR);
    assert!(!case.ignores(STRANGER, "nullok"));
}

#[test]
fn a_missing_default_configuration_means_the_defaults() {
    mounts::privately(|| {
        for folder in ["/etc/security", "/var/lib", "/run"] {
            mounts::hide(Path::new(folder), 4 << 20);
        }
        fs::create_dir("/var/lib/pam_totp").unwrap();
        let case = Case::new("[policy]\nunenrolled = \"skip\"\n");
        case.scratch
            .service(&format!("auth required {}\n", module().display()));
        assert_eq!(
            case.right().code,
            Code::AUTH_ERR,
            "without the secret folder"
        );
        let phone = Phone::new(Phone::SECRET);
        fs::write(case.scratch.config(), "").unwrap();
        case.scratch.enroll(ACCOUNT, &phone);
        assert_eq!(
            case.right().code,
            Code::SUCCESS,
            "enrolled where the defaults say"
        );
        let stranger = case.scratch.login(STRANGER, case.right.as_str());
        assert_eq!(
            stranger.code,
            Code::AUTH_ERR,
            "unenrolled = \"deny\" is the default"
        );
    });
}

#[test]
fn an_argument_that_means_nothing_is_a_service_error() {
    for argument in [
        "bogus",
        "Debug",
        "bogus=1",
        "config",
        "prompt",
        "no-info",
        "=",
        "nullok nulok",
    ] {
        let case = Case::with_arguments(argument);
        assert_eq!(case.right().code, Code::SERVICE_ERR, "{argument}");
        assert!(!case.ignores(STRANGER, argument), "{argument}");
    }
}

#[test]
fn the_prompt_is_hidden_and_says_what_it_wants() {
    let styles = |case: &Case| -> Vec<_> {
        case.right()
            .heard
            .into_iter()
            .map(|message| (message.style, message.text))
            .collect()
    };
    for (arguments, style, text) in [
        ("", Style::EchoOff, PROMPT),
        ("[prompt=Code, please: ]", Style::EchoOff, "Code, please: "),
        ("echo", Style::EchoOn, PROMPT),
        ("echo [prompt=Code: ]", Style::EchoOn, "Code: "),
        ("debug", Style::EchoOff, PROMPT),
        ("nullok no_info", Style::EchoOff, PROMPT),
    ] {
        let case = Case::with_arguments(arguments);
        assert_eq!(styles(&case), [(style, text.to_owned())], "{arguments}");
    }
}

#[test]
fn debug_tells_the_person_nothing_more() {
    let (plain, debug) = (Case::new(""), Case::with_arguments("debug"));
    for told in [
        attempts_left(2),
        attempts_left(1),
        limit_reached(10),
        limit_reached(10),
    ] {
        let outcome = debug.wrong();
        assert_eq!(outcome.told(), [told]);
        assert_eq!(outcome, plain.wrong());
    }
}

#[test]
fn no_info_puts_what_must_be_seen_into_the_next_prompt() {
    let case = Case::with_arguments("no_info");
    for before in ["", "Attempts left: 2", "Attempts left: 1"] {
        let outcome = case.wrong();
        assert_eq!(outcome.code, Code::AUTH_ERR);
        assert!(outcome.told().is_empty(), "{outcome:?}");
        let asked = outcome.asked()[0];
        assert!(
            asked.ends_with(PROMPT) && asked.contains(before),
            "{asked:?} after {before:?}"
        );
        assert_eq!(before.is_empty(), asked == PROMPT, "{asked:?}");
        let locks = before == "Attempts left: 1";
        let limit = format!("{} (Press Enter) ", limit_reached(10));
        assert_eq!(
            &outcome.asked()[1..],
            if locks { vec![limit.as_str()] } else { vec![] }
        );
    }
    let beyond = case.wrong();
    assert!(beyond.told().is_empty(), "{beyond:?}");
    assert_eq!(
        beyond.asked(),
        [format!("{} (Press Enter) ", limit_reached(10))]
    );
    case.scratch.write_config("[");
    assert!(case.wrong().heard.is_empty(), "with a wrong configuration");
}

#[test]
fn a_silent_application_gets_the_prompt_and_nothing_else() {
    let case = Case::new("");
    let mut login = case.scratch.start(ACCOUNT, answering(case.wrong.as_str()));
    for prompts in [1, 1, 1, 0] {
        assert_eq!(login.authenticate(SILENT), Code::AUTH_ERR);
        let heard = login.heard();
        assert_eq!(heard.len(), prompts, "{heard:?}");
        assert!(
            heard.iter().all(|message| message.style.is_prompt()),
            "{heard:?}"
        );
    }
}

#[test]
fn an_application_that_answers_no_message_but_prompts_changes_nothing() {
    let case = Case::new("");
    let mut login = case.scratch.start(ACCOUNT, |message| {
        if message.style.is_prompt() {
            case.wrong.as_str().into()
        } else {
            Reply::Fail(Code::CONV_ERR)
        }
    });
    for told in [attempts_left(2), attempts_left(1), limit_reached(10)] {
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
        assert_eq!(
            login.heard().last().map(|message| message.text.clone()),
            Some(told)
        );
    }
}

#[test]
fn setcred_succeeds_on_a_stack_of_this_module_alone() {
    let case = Case::new("");
    for flags in [ESTABLISH_CRED, DELETE_CRED, ESTABLISH_CRED | SILENT] {
        let mut login = case.scratch.start(ACCOUNT, answering(""));
        assert_eq!(login.setcred(flags), Code::SUCCESS, "{flags}");
    }
    let mut login = case.scratch.start(ACCOUNT, answering(case.right.as_str()));
    assert_eq!(login.authenticate(0), Code::SUCCESS);
    assert_eq!(login.setcred(ESTABLISH_CRED), Code::SUCCESS);
}

#[test]
fn account_session_and_password_calls_leave_the_rest_of_the_stack_alone() {
    type Call = fn(&mut Login) -> Code;
    let calls: [(&str, Call); 4] = [
        ("account", |login| login.acct_mgmt()),
        ("session", |login| login.open_session()),
        ("session", |login| login.close_session()),
        ("password", |login| login.chauthtok()),
    ];
    let case = Case::new("");
    for (kind, call) in calls {
        for (other, expected) in [("pam_permit.so", true), ("pam_deny.so", false)] {
            let line = case.scratch.line("required", "");
            case.scratch
                .service(&format!("{kind} {line}\n{kind} required {other}\n"));
            let mut login = case.scratch.start(ACCOUNT, answering(case.wrong.as_str()));
            assert_eq!(
                call(&mut login) == Code::SUCCESS,
                expected,
                "{kind} with {other}"
            );
            assert!(login.heard().is_empty(), "{kind}");
        }
    }
}

#[test]
fn a_required_stack_never_says_whether_the_password_was_right() {
    type Answer = fn(&Case) -> Outcome;
    let behind = |password: &str, answer: Answer| {
        let case = Case::new("");
        let ours = case.scratch.line("required", "");
        case.scratch
            .service(&format!("auth required {password}\nauth {ours}\n"));
        answer(&case)
    };
    let answers: [(&str, Answer); 5] = [
        ("wrong", Case::wrong),
        ("empty", |case| case.scratch.login(ACCOUNT, "")),
        ("aborted", |case| {
            case.scratch.login(ACCOUNT, Reply::Fail(Code::CONV_ERR))
        }),
        ("stranger", |case| {
            case.scratch.login(STRANGER, case.wrong.as_str())
        }),
        ("locked", |case| {
            for _ in 0..3 {
                case.wrong();
            }
            case.right()
        }),
    ];
    for (name, answer) in answers {
        let [right, wrong] =
            ["pam_permit.so", "pam_deny.so"].map(|password| behind(password, answer));
        assert_eq!(right, wrong, "{name}");
        assert_eq!(right.code, Code::AUTH_ERR, "{name}");
    }
    for (password, expected) in [
        ("pam_deny.so", Code::AUTH_ERR),
        ("pam_permit.so", Code::SUCCESS),
    ] {
        let outcome = behind(password, Case::right);
        assert_eq!(
            (outcome.code, outcome.asked()),
            (expected, vec![PROMPT]),
            "{password}"
        );
    }
}

/// The module built with the feature that makes `prompt=panic` panic.
fn panicking_module() -> PathBuf {
    let target = workspace().join("target/panic-probe");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "pam_totp",
            "--features",
            "panic-probe",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(workspace())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the panicking module doesn't build");
    target.join("debug/libpam_totp.so")
}

#[test]
fn a_panic_denies_in_silence_and_the_process_lives() {
    let case = Case::new("");
    let line = format!(
        "auth required {} config={}",
        panicking_module().display(),
        case.scratch.config().display()
    );
    case.scratch.service(&format!("{line} prompt=panic\n"));
    let output = Command::new(env!("CARGO_BIN_EXE_contender"))
        .arg(case.scratch.path("pam.d"))
        .args(["once", ACCOUNT, HOME, &EPOCH.to_string(), &case.right])
        .output()
        .expect("the contender starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(
        output.status.code(),
        Some(Code::ABORT.0),
        "{}",
        output.status
    );

    case.scratch.service(&format!("{line}\n"));
    assert_eq!(
        case.right().code,
        Code::SUCCESS,
        "the same build without the panic"
    );
}
