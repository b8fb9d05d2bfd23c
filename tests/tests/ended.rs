//! Commands that others overtake: one that ends the enrollment, or one that changes it.

use std::fs;

use end_to_end::clock::system as now;
use end_to_end::held::Paused;
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch};
use end_to_end::said::Said;
use end_to_end::secret;

const PHONE: &str = "phone";
/// How often a command that changes something opens a record before it has the lock.
const UNTIL_LOCKED: usize = 3;
/// How often one that shows something does at all.
const UNTIL_READ: usize = 2;

/// Somebody with a phone and a tablet, and the key of a third device in a file.
struct Case {
    scratch: Scratch,
    phone: Phone,
    tablet: Phone,
    third: Phone,
}

impl Case {
    fn new() -> Self {
        let [phone, tablet, third] = [(); 3].map(|()| Phone::new(&secret::fresh()));
        let scratch = Scratch::new(NO_LIMITS);
        scratch.enroll_device(ACCOUNT, PHONE, &phone);
        scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        fs::write(scratch.path("key"), third.uri()).expect("a new file");
        Self {
            scratch,
            phone,
            tablet,
            third,
        }
    }

    #[track_caller]
    fn run(&self, words: &[&str]) {
        let output = self.scratch.totpctl(words, "");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    fn lets_in(&self, device: &Phone) -> bool {
        let code = device.code_at(now());
        self.scratch.login(ACCOUNT, code.as_str()).code == Code::SUCCESS
    }

    /// The names of the devices.
    fn devices(&self) -> Vec<String> {
        let user = self.scratch.status(ACCOUNT)["users"][0].clone();
        let devices = user["devices"].as_array().expect("devices").iter();
        let names = devices.map(|device| device["name"].as_str().expect("text").to_owned());
        names.collect()
    }
}

/// Ends the enrollment while a command is at each of its first steps.
fn end_during(words: &[&str], steps: usize, check: impl Fn(&Case, &Said, &str)) {
    for nth in 1..=steps {
        let case = Case::new();
        let key = case.scratch.path("key");
        let key = key.to_str().expect("a plain path");
        let words: Vec<&str> = words
            .iter()
            .map(|word| if *word == "KEY" { key } else { *word })
            .collect();
        let paused = Paused::at_open(&case.scratch, &words, nth);
        case.run(&["disable", ACCOUNT, "--force"]);
        let said = paused.end();
        let at = format!("{words:?} at {nth}: {said:?}");
        assert!(matches!(said.code, Some(0 | 1)), "{at}");
        let told = format!("{}{}", said.out, said.err);
        assert!(!told.contains("totpctl repair"), "{at}");
        assert!(!case.lets_in(&case.phone), "{at}");
        check(&case, &said, &at);
    }
}

/// The same of a command that needs an enrollment.
fn end_for_good_during(words: &[&str]) {
    end_during(words, UNTIL_LOCKED, |case, said, at| {
        assert_eq!(said.code, Some(1), "{at}");
        let user = case.scratch.status(ACCOUNT)["users"][0].clone();
        assert_eq!(user["enrolled"], false, "{at}");
    });
}

#[test]
fn an_enrollment_begins_anew() {
    let enroll = ["enroll", ACCOUNT, "--device", "third", "--no-confirm"];
    let words = [&enroll[..], &["--secret-file", "KEY"]].concat();
    end_during(&words, UNTIL_LOCKED, |case, said, at| {
        assert_eq!(said.code, Some(0), "{at}");
        assert_eq!(case.devices(), ["third"], "{at}");
        assert!(case.lets_in(&case.third), "{at}");
    });
}

#[test]
fn a_name_is_not_given() {
    end_for_good_during(&["device", "rename", ACCOUNT, PHONE, "pixel"]);
}

#[test]
fn a_device_is_not_removed() {
    end_for_good_during(&["device", "remove", ACCOUNT, PHONE, "--force"]);
}

#[test]
fn backup_codes_and_a_key_are_not_made() {
    for command in ["backup-codes", "backup-key"] {
        end_for_good_during(&[command, ACCOUNT, "--regenerate"]);
    }
}

#[test]
fn a_device_is_not_bound() {
    let print = format!("SHA256:{}", "A".repeat(43));
    end_for_good_during(&["device", "bind", ACCOUNT, PHONE, "--ssh-key", &print]);
}

#[test]
fn nothing_is_shown_as_if_it_were_damaged() {
    for words in [
        &["status", ACCOUNT][..],
        &["device", "list", ACCOUNT],
        &["backup-codes", ACCOUNT],
        &["show", ACCOUNT, "--show-secret", "--qr", "none"],
    ] {
        end_during(words, UNTIL_READ, |_, said, at| {
            let is_told = format!("{}{}", said.out, said.err).contains("not enrolled");
            assert!(is_told, "{at}");
        });
    }
}

#[test]
fn what_is_removed_while_a_name_is_written_stays_removed() {
    let case = Case::new();
    let rename = ["device", "rename", ACCOUNT, PHONE, "pixel"];
    let paused = Paused::at_sync(&case.scratch, &rename);
    // Who waits for one that doesn't move kills it, so the name may be either.
    case.run(&["device", "remove", ACCOUNT, "tablet", "--force"]);
    paused.end();
    let devices = case.devices();
    assert!(devices == ["phone"] || devices == ["pixel"], "{devices:?}");
    assert!(case.lets_in(&case.phone) && !case.lets_in(&case.tablet));
}

#[test]
fn whoever_is_removed_while_a_name_is_written_stays_removed() {
    let case = Case::new();
    let rename = ["device", "rename", ACCOUNT, PHONE, "pixel"];
    let paused = Paused::at_sync(&case.scratch, &rename);
    case.run(&["disable", ACCOUNT, "--force"]);
    paused.end();
    assert!(!case.scratch.secret(ACCOUNT).exists());
}

#[test]
fn a_device_enrolled_while_a_name_is_written_stays() {
    let case = Case::new();
    let rename = ["device", "rename", ACCOUNT, PHONE, "pixel"];
    let paused = Paused::at_sync(&case.scratch, &rename);
    case.scratch.enroll_device(ACCOUNT, "third", &case.third);
    paused.end();
    assert!(case.lets_in(&case.third) && case.lets_in(&case.phone));
}
