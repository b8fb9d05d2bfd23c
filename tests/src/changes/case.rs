//! Somebody whose records are changed, and which calls of that are disturbed.

use std::path::Path;
use std::process::Command;

use crate::clock::{self, EPOCH};
use crate::disturbed::{Call, Ended, Job, Plan};
use crate::ground::Ground;
use crate::libpam::{Code, Message, Reply};
use crate::phone::Phone;
use crate::product::{ACCOUNT, HOME, IGNORED, NO_LIMITS, PROMPT, answering};

/// The tablet's.
pub(super) const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

/// Somebody with a phone, and perhaps a tablet, whose records a command changes.
pub(super) struct Case {
    pub(super) scratch: Ground,
    pub(super) phone: Phone,
    pub(super) tablet: Phone,
}

impl Case {
    pub(super) fn of_nobody(plan: Plan) -> Self {
        Self {
            scratch: Ground::new(
                plan,
                &format!("{NO_LIMITS}[policy]\nunenrolled = \"skip\"\n"),
            ),
            phone: Phone::new(Phone::SECRET),
            tablet: Phone::new(OTHER),
        }
    }

    pub(super) fn new(plan: Plan, has_tablet: bool) -> Self {
        let case = Self::of_nobody(plan);
        case.scratch.enroll(ACCOUNT, &case.phone);
        if has_tablet {
            case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
        }
        case
    }

    /// Whether a fresh code gets in. `moment` is one that no code of this case was used at before.
    pub(super) fn lets_in(&self, device: &Phone, moment: i64) -> bool {
        self.lets_in_beside(device, moment, "")
    }

    /// The same where sshd has been shown a key.
    pub(super) fn lets_in_beside(&self, device: &Phone, moment: i64, proof: &str) -> bool {
        self.takes(&device.code_at(EPOCH + 120 * moment), moment, proof)
    }

    pub(super) fn takes(&self, answer: &str, moment: i64, proof: &str) -> bool {
        self.login_with(answer, moment, proof) == Code::SUCCESS
    }

    pub(super) fn login_with(&self, answer: &str, moment: i64, proof: &str) -> Code {
        self.login_at(EPOCH + 120 * moment, answer, proof)
    }

    pub(super) fn login_at(&self, time: i64, answer: &str, proof: &str) -> Code {
        clock::set(time);
        let mut login = self.scratch.start(ACCOUNT, answering(answer));
        login.put_env("SSH_AUTH_INFO_0", proof);
        let code = login.authenticate(0);
        clock::unset();
        code
    }

    /// Whether somebody with a device is let in by it, and somebody without one is asked for nothing.
    pub(super) fn keeps_nobody_out(&self, device: &Phone, moment: i64) -> bool {
        let code = device.code_at(EPOCH + 120 * moment);
        let expected = match self.is_enrolled() {
            true => Code::SUCCESS,
            false => IGNORED,
        };
        self.login_with(&code, moment, "") == expected
    }

    pub(super) fn status(&self) -> serde_json::Value {
        self.scratch.status(ACCOUNT)["users"][0].clone()
    }

    pub(super) fn has_text(&self) -> bool {
        let status = self.status();
        let mut devices = status["devices"].as_array().expect("a list").iter();
        devices.any(|device| device["type"] == "text")
    }

    pub(super) fn is_enrolled(&self) -> bool {
        self.status()["enrolled"] == true
    }

    /// How many codes the phone is known to be ahead.
    pub(super) fn drift(&self) -> i64 {
        let device = &self.status()["devices"][0];
        device["drift"].as_i64().expect("a number")
    }

    /// Whether whoever is asked for nothing gets in, now.
    pub(super) fn is_trusted(&self) -> bool {
        let mut login = self.scratch.start(ACCOUNT, answering("wrong"));
        login.authenticate(0) == Code::SUCCESS
    }

    /// Somebody who has no device and is let set one up.
    pub(super) fn of_somebody_invited(plan: Plan) -> (Self, String) {
        let case = Self::of_nobody(plan);
        let settings = format!("{NO_LIMITS}[policy]\nunenrolled = \"enroll\"\n");
        case.scratch.configure(&settings);
        case.scratch.enroll("bin", &case.phone);
        let invite = case.invite();
        (case, invite)
    }

    pub(super) fn invite(&self) -> String {
        let made = self.scratch.document(&["invite", ACCOUNT]);
        made["code"].as_str().expect("a code").to_owned()
    }

    /// Whether a key is shown to whoever types an invitation, and goes away then.
    pub(super) fn is_good(&self, invite: &str) -> bool {
        let person = |message: &Message| match message.text.as_str() {
            _ if !message.style.is_prompt() => Reply::Null,
            PROMPT => invite.into(),
            _ => Reply::Fail(Code::CONV_ERR),
        };
        let mut login = self.scratch.start(ACCOUNT, person);
        assert_ne!(login.authenticate(0), Code::SUCCESS);
        let heard = login.heard();
        heard.iter().any(|one| one.text.contains("Add this key"))
    }

    pub(super) fn run(&self, words: &[&str]) -> Option<i32> {
        self.feed(words, &format!("{OTHER}\n"))
    }

    pub(super) fn feed(&self, words: &[&str], input: &str) -> Option<i32> {
        self.scratch.totpctl(words, input).status.code()
    }

    pub(super) fn totpctl(&self, words: &[&str], input: &str) -> Job {
        Job::new(self.scratch.command(words), input)
    }

    /// What is typed to enroll the tablet by its code of a time.
    pub(super) fn confirmation(&self, time: i64) -> String {
        format!("{OTHER}\n{}\n", self.tablet.code_at(time))
    }

    /// A login at the moment 0.
    pub(super) fn login(&self, contender: &Path, answer: &str) -> Job {
        let mut command = Command::new(contender);
        command.arg(self.scratch.path("pam.d")).args([
            "once",
            ACCOUNT,
            HOME,
            &EPOCH.to_string(),
            answer,
        ]);
        Job::new(command, "")
    }

    /// Disturbs each call of a job from the first that has to do with records on, and has `check` look at what is left
    /// and bring it to an end.
    pub(super) fn disturb(&self, plan: Plan, job: impl Fn() -> Job, check: impl Fn(&Ended)) {
        let of_interest = |calls| match plan {
            Plan::PowerCuts => around_changes(of_records(calls)),
            _ => of_records(calls),
        };
        self.scratch.disturb(plan, job, of_interest, check);
    }

    /// The same of a command that takes the tablet's secret, or no input.
    pub(super) fn disturb_totpctl(&self, plan: Plan, words: &[&str], check: impl Fn(&Ended)) {
        self.disturb(plan, || self.totpctl(words, &format!("{OTHER}\n")), check);
    }
}

pub(super) fn of_records(calls: Vec<Call>) -> Vec<Call> {
    let is_of_records = |call: &Call| call.arguments.contains("/secrets\"");
    let mut calls: Vec<_> = calls
        .into_iter()
        .skip_while(|call| !is_of_records(call))
        .collect();
    // No signal comes in time for the last one.
    calls.retain(|call| call.name != "exit_group");
    calls
}

/// All but the looks at the states that strangers share, one by one: hundreds of calls.
pub(super) fn but_of_decoys(mut calls: Vec<Call>) -> Vec<Call> {
    let mut is_of_decoy = false;
    calls.retain(|call| {
        if call.name == "openat" {
            is_of_decoy = call.arguments.contains("\".decoy-");
        }
        !is_of_decoy
    });
    calls
}

/// All but what the program `contender` does to show a text, and to compute a code by a program of its own.
pub(super) fn but_of_the_person(mut calls: Vec<Call>) -> Vec<Call> {
    let mut is_computing = false;
    calls.retain(|call| {
        is_computing |= call.name == "pipe2";
        let is_shown = call.name == "write" && call.arguments.starts_with("1, ");
        let is_ours = !is_computing && !is_shown;
        is_computing &= !call.name.starts_with("wait");
        is_ours
    });
    calls
}

/// Calls that change a file, and those after them: a disk is the same before all others as before one of these.
pub(super) fn around_changes(calls: Vec<Call>) -> Vec<Call> {
    let after = [false]
        .into_iter()
        .chain(calls.iter().map(Call::changes_files));
    let around = calls.iter().zip(after);
    around
        .filter(|(call, is_after)| *is_after || call.changes_files())
        .map(|(call, _)| call.clone())
        .collect()
}
