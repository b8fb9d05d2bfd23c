//! Devices of one secret: what one of them used, and what one of them is bound to, counts for all.

use std::fs;

use end_to_end::clock::{self, EPOCH, system as now};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch, answering};
use end_to_end::secret;
use end_to_end::ssh_key::SshKey;

/// Somebody with a tablet, and a phone whose key another device gets too.
struct Case {
    scratch: Scratch,
    phone: Phone,
    key: SshKey,
}

impl Case {
    fn new() -> Self {
        let [phone, tablet] = [(); 2].map(|()| Phone::new(&secret::fresh()));
        let scratch = Scratch::new(NO_LIMITS);
        scratch.enroll_device(ACCOUNT, "phone", &phone);
        scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        let key = SshKey::new(&scratch.path("key"));
        Self {
            scratch,
            phone,
            key,
        }
    }

    fn with_twin() -> Self {
        let case = Self::new();
        case.add_twin();
        case
    }

    fn add_twin(&self) {
        self.scratch.enroll_device(ACCOUNT, "copy", &self.phone);
    }

    #[track_caller]
    fn run(&self, words: &[&str], input: &str) {
        let output = self.scratch.totpctl(words, input);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    fn remove(&self, device: &str) {
        self.run(&["device", "remove", ACCOUNT, device, "--force"], "");
    }

    fn bind(&self, device: &str) {
        let print = &self.key.fingerprint;
        self.run(&["device", "bind", ACCOUNT, device, "--ssh-key", print], "");
    }

    fn takes(&self, code: &str) -> bool {
        self.scratch.login(ACCOUNT, code).code == Code::SUCCESS
    }

    /// Whether a code of the phone gets in where sshd has been shown a key. `moment` is one that no code of this case
    /// was used at before.
    fn takes_beside(&self, proof: &str, moment: i64) -> bool {
        let time = EPOCH + 120 * moment;
        clock::set(time);
        let code = self.phone.code_at(time);
        let mut login = self.scratch.start(ACCOUNT, answering(code.as_str()));
        login.put_env("SSH_AUTH_INFO_0", proof);
        let code = login.authenticate(0);
        clock::unset();
        code == Code::SUCCESS
    }

    /// The key lets a code in, and no other login does.
    #[track_caller]
    fn assert_bound(&self) {
        assert!(!self.takes_beside("", 0));
        assert!(self.takes_beside(&self.key.proof, 1));
    }
}

#[test]
fn what_one_used_is_used_for_one_that_comes_later() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    assert!(case.takes(&code));
    case.add_twin();
    assert!(!case.takes(&code));
    assert!(case.takes(&case.phone.code_at(now() + 30)));
}

#[test]
fn a_removed_one_takes_nothing_along_of_what_it_used() {
    for removed in ["phone", "copy"] {
        let case = Case::new();
        let code = case.phone.code_at(now());
        assert!(case.takes(&code));
        case.add_twin();
        case.remove(removed);
        assert!(!case.takes(&code), "{removed}");
        assert!(case.takes(&case.phone.code_at(now() + 30)), "{removed}");
    }
}

#[test]
fn a_removed_one_takes_nothing_along_of_what_confirmed_it() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    let enroll = ["enroll", ACCOUNT, "--device", "copy", "--secret-file", "-"];
    case.run(&enroll, &format!("{}\n{code}\n", case.phone.secret));
    case.remove("copy");
    assert!(!case.takes(&code));
}

/// Uses a code of the phone, whose clock is minutes ahead, and returns it and when its twin shows the same.
fn use_a_code_ahead(case: &Case) -> (String, i64) {
    let ahead = now() + 5 * 60;
    let codes = case.phone.codes(ahead, 2);
    let resync = ["resync", ACCOUNT, "--device", "phone"];
    case.run(&resync, &(codes[..2].join("\n") + "\n"));
    assert!(case.takes(&codes[2]));
    (codes[2].clone(), ahead + 60)
}

#[test]
fn what_one_used_ahead_of_time_is_used_for_the_other_when_its_time_comes() {
    let new = Phone::new(&secret::fresh());
    type Event<'a> = &'a dyn Fn(&Case);
    let events: [(&str, Event); 3] = [
        ("nothing", &|_| ()),
        ("removed", &|case| case.remove("phone")),
        ("rotated", &|case| {
            let rotate = ["rotate", ACCOUNT, "--secret-file", "-"];
            let code = new.code_at(now() + 5 * 60 + 30);
            case.run(&rotate, &format!("{}\n{code}\n", new.secret));
        }),
    ];
    for (name, event) in events {
        let case = Case::with_twin();
        let (code, time) = use_a_code_ahead(&case);
        event(&case);
        clock::set(time);
        assert!(!case.takes(&code), "{name}");
        clock::set(time + 30);
        assert!(case.takes(&case.phone.code_at(time + 30)), "{name}");
        clock::unset();
    }
}

#[test]
fn each_is_set_right_by_itself_and_its_codes_are_used_for_all() {
    for device in ["phone", "copy"] {
        let case = Case::with_twin();
        let ahead = 5 * 60;
        let codes = case.phone.codes(now() + ahead, 1);
        let resync = ["resync", ACCOUNT, "--device", device];
        case.run(&resync, &(codes.join("\n") + "\n"));
        assert!(codes.iter().all(|code| !case.takes(code)), "{device}");
        let next = case.phone.code_at(now() + ahead + 60);
        assert!(case.takes(&next), "{device}");
        let status = case.scratch.status(ACCOUNT)["users"][0].clone();
        for known in status["devices"].as_array().expect("devices") {
            let drifts = known["drift"] != 0;
            assert_eq!(drifts, known["name"] == device, "{device}: {known}");
        }
    }
}

#[test]
fn one_that_comes_before_or_after_a_bond_needs_the_key_too() {
    let case = Case::with_twin();
    case.bind("phone");
    case.assert_bound();
    let case = Case::with_twin();
    case.bind("copy");
    case.assert_bound();
    let case = Case::new();
    case.bind("phone");
    case.add_twin();
    case.assert_bound();
}

#[test]
fn one_that_gets_the_key_of_a_bound_one_needs_its_ssh_key() {
    let case = Case::new();
    case.bind("phone");
    let rotate = [
        "rotate",
        ACCOUNT,
        "--device",
        "tablet",
        "--secret-file",
        "-",
    ];
    let code = case.phone.code_at(now());
    case.run(&rotate, &format!("{}\n{code}\n", case.phone.secret));
    case.assert_bound();
}

#[test]
fn without_the_bond_all_serve_any_login() {
    let case = Case::with_twin();
    case.bind("phone");
    case.run(&["device", "unbind", ACCOUNT, "phone"], "");
    assert!(case.takes_beside("", 0));
}

#[test]
fn a_bond_of_one_needs_another_device_for_logins_without_a_key() {
    let case = Case::with_twin();
    case.remove("tablet");
    let print = &case.key.fingerprint;
    let bind = ["device", "bind", ACCOUNT, "phone", "--ssh-key", print];
    let refused = case.scratch.totpctl(&bind, "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(case.takes_beside("", 0));
}

#[test]
fn a_secret_file_of_before_undoes_no_bond() {
    let case = Case::with_twin();
    let third = Phone::new(&secret::fresh());
    case.scratch.enroll_device(ACCOUNT, "third", &third);
    let (secret, copy) = (case.scratch.secret(ACCOUNT), case.scratch.path("copy"));
    // With its owner and mode, as a backup brings it back.
    fs::copy(&secret, &copy).expect("a secret");
    case.bind("phone");
    fs::rename(&copy, &secret).expect("a secret");
    assert!(!case.takes_beside("", 0));
    let time = EPOCH + 120;
    clock::set(time);
    assert!(case.takes(&third.code_at(time)), "it was not touched by it");
}

#[test]
fn eight_digits_use_up_the_six_that_they_end_with() {
    let case = Case::new();
    let long = Phone {
        digits: 8,
        ..case.phone.clone()
    };
    case.scratch.enroll_device(ACCOUNT, "copy", &long);
    let code = long.code_at(now());
    assert!(case.takes(&code));
    assert!(!case.takes(&code[2..]));
}
