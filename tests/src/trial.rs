//! A login that is disturbed, and what must be true after it whatever was done to it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::clock::{self, EPOCH};
use crate::disturbed::{Call, Ended, Job, Plan};
use crate::gateway::Gateway;
use crate::ground::Ground;
use crate::libpam::{Code, Item, Message, Reply};
use crate::patience::PATIENCE;
use crate::phone::Phone;
use crate::product::{ACCOUNT, HOME, Outcome, Scratch, attempts_left};
use crate::token::Token;

/// What is typed, and from where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// A backup code.
    BackupCode,
    /// A code of an event token, three codes ahead.
    EventToken,
    /// A code of the phone.
    RightCode,
    /// The same from an address that no code was accepted from.
    RightCodeElsewhere,
    /// The same after another code was asked for by text message.
    RightCodeAfterALetter,
    /// A code that was sent by a login before.
    SentCode,
    /// A code of the phone, and the place is trusted when the login has succeeded.
    Trusting,
    /// No code at all.
    WrongCode,
    /// The same from an address that no code was accepted from, as the first login after a boot.
    WrongCodeElsewhere,
}

/// All ways to be tried.
pub const WAYS: [Way; 9] = [
    Way::BackupCode,
    Way::EventToken,
    Way::RightCode,
    Way::RightCodeElsewhere,
    Way::RightCodeAfterALetter,
    Way::SentCode,
    Way::Trusting,
    Way::WrongCode,
    Way::WrongCodeElsewhere,
];

/// Another person, whom nothing of this concerns.
const NEIGHBOUR: &str = "bin";
const ELSEWHERE: &str = "198.51.100.9";
/// A token's secret.
const SEED: &str = "NZSXO43FMNZGK5DONZSXO43FMNZGK5DO";
/// With three wrong answers from one address it is closed; no other limit is met by what is tried here.
const SETTINGS: &str = "[limits]\ndaily = 0\n";

/// Somebody who has logged in from [`HOME`] before, about to type something.
struct Trial {
    way: Way,
    scratch: Ground,
    phone: Phone,
    answers: Vec<String>,
    /// How many logins were disturbed when somebody had heard their verdict.
    heard: Cell<usize>,
    /// After how many the place was trusted.
    trusted: Cell<usize>,
}

/// Disturbs each system call between the first prompt of such a login and its end. `contender` is the program of that
/// name.
pub fn disturb_login(plan: Plan, way: Way, contender: &Path) {
    let trial = Trial::new(plan, way);
    let job = || trial.login(contender);
    trial
        .scratch
        .disturb(plan, job, after_the_prompt, |ended| trial.check(ended));
    trial.assert_heard();
}

/// The calls from when somebody has read the prompt to the end, with some behind the verdict.
fn after_the_prompt(calls: Vec<Call>) -> Vec<Call> {
    let tells = |call: &Call| call.name == "write" && call.arguments.starts_with("1, ");
    let calls = calls.into_iter().skip_while(|call| !tells(call)).skip(1);
    // No signal comes in time for the last one.
    calls.filter(|call| call.name != "exit_group").collect()
}

impl Trial {
    fn new(plan: Plan, way: Way) -> Self {
        let gateway = Gateway::new();
        let program = match way {
            Way::SentCode => gateway.program(),
            _ => PathBuf::from("/bin/true"),
        };
        let delivery = format!("[delivery.text]\ncommand = [{program:?}, \"{{address}}\"]\n");
        let trust = match way {
            Way::Trusting => "[policy]\ntrust = \"1h\"\n",
            _ => "",
        };
        let scratch = Ground::new(plan, &format!("{SETTINGS}{delivery}{trust}"));
        let (phone, token) = (Phone::new(Phone::SECRET), Token::new(SEED));
        scratch.enroll(ACCOUNT, &phone);
        scratch.enroll(NEIGHBOUR, &phone);
        clock::set(EPOCH - 7200);
        let before = phone.code_at(EPOCH - 7200);
        assert_eq!(scratch.login(ACCOUNT, before.as_str()).code, Code::SUCCESS);
        // The folder of a boot is made by whoever is first to be counted there.
        scratch.login_from(ELSEWHERE, "nosuchone", "000000");
        clock::set(EPOCH);
        let right = phone.code_at(EPOCH);
        let answers = match way {
            Way::BackupCode => vec![scratch.new_backup_codes(ACCOUNT).remove(0)],
            Way::EventToken => {
                scratch.enroll_uri(ACCOUNT, "token", &token.uri(0));
                vec![token.code(3)]
            }
            Way::RightCode | Way::RightCodeElsewhere | Way::Trusting => vec![right],
            Way::RightCodeAfterALetter => {
                enroll_telephone(&scratch);
                vec!["t".to_owned(), right]
            }
            Way::SentCode => {
                enroll_telephone(&scratch);
                let mut letter = ["t"].into_iter();
                answer_each(&scratch, ACCOUNT, HOME, || {
                    letter.next().unwrap_or_default()
                });
                vec![gateway.code()]
            }
            Way::WrongCode => vec![phone.wrong_code_at(EPOCH)],
            Way::WrongCodeElsewhere => {
                fs::remove_dir_all(scratch.path("run")).expect("a folder");
                vec![phone.wrong_code_at(EPOCH)]
            }
        };
        clock::unset();
        Self {
            way,
            scratch,
            phone,
            answers,
            heard: Cell::new(0),
            trusted: Cell::new(0),
        }
    }

    fn login(&self, contender: &Path) -> Job {
        let verb = match self.way {
            Way::Trusting => "whole",
            _ => "aloud",
        };
        let mut command = Command::new(contender);
        command
            .arg(self.scratch.path("pam.d"))
            .args([verb, ACCOUNT, self.address(), &EPOCH.to_string()])
            .args(&self.answers);
        Job::new(command, "")
    }

    fn address(&self) -> &'static str {
        match self.way {
            Way::RightCodeElsewhere | Way::WrongCodeElsewhere => ELSEWHERE,
            _ => HOME,
        }
    }

    /// Where the next codes are typed: where one is asked for.
    fn next_address(&self) -> &'static str {
        match self.way {
            Way::Trusting => ELSEWHERE,
            _ => self.address(),
        }
    }

    /// What was heard is true, and nobody is kept out.
    fn check(&self, how: &Ended) {
        let out = &how.out;
        let began = Instant::now();
        let is_told = |text: &str| out.lines().any(|line| line == text);
        let is_accepted = is_told(&format!("= {}", Code::SUCCESS.0));
        let is_told_wrong = is_told(&attempts_left(2));
        let has_heard = is_accepted || is_told_wrong;
        self.heard.set(self.heard.get() + usize::from(has_heard));
        match self.way {
            Way::WrongCode | Way::WrongCodeElsewhere => {
                assert!(!is_accepted, "{how}: a wrong code\n{out}");
                let counted = self.wrong_answers();
                assert!(
                    counted == 1 || counted == 0 && !is_told_wrong,
                    "{how}: {counted} counted\n{out}"
                );
            }
            _ => {
                assert!(!is_told_wrong, "{how}: a right code\n{out}");
                let answer = self.answers.last().expect("an answer");
                let again = [(); 2].map(|()| self.takes(answer, self.next_address(), 0));
                let times =
                    usize::from(is_accepted) + again.into_iter().filter(|took| *took).count();
                assert!(times <= 1, "{how}: accepted {times} times\n{out}");
            }
        }
        if self.way == Way::Trusting {
            self.check_trust(how, is_accepted);
        }
        let next = self.phone.code_at(EPOCH + 120);
        assert!(
            self.takes(&next, HOME, 120),
            "{how}: the next code is refused\n{out}"
        );
        let neighbour = answer_each(&self.scratch, NEIGHBOUR, HOME, || &next);
        assert_eq!(
            neighbour.code,
            Code::SUCCESS,
            "{how}: another person is refused"
        );
        clock::unset();
        assert!(began.elapsed() < PATIENCE, "{how}: somebody was waited for");
    }

    /// Nobody is trusted without having got in.
    fn check_trust(&self, how: &Ended, is_accepted: bool) {
        clock::set(EPOCH + 60);
        let login = answer_each(&self.scratch, ACCOUNT, HOME, || "");
        let is_trusted = login.code == Code::SUCCESS;
        assert_eq!(is_trusted, login.asked().is_empty(), "{how}: {login:?}");
        let got_in = is_accepted || how.status.success();
        assert!(got_in || !is_trusted, "{how}: trusted without a login");
        self.trusted
            .set(self.trusted.get() + usize::from(is_trusted));
    }

    /// Or none of this would show anything.
    fn assert_heard(&self) {
        assert_ne!(self.heard.get(), 0, "{:?}: no verdict was heard", self.way);
        let is_trusting = self.way == Way::Trusting;
        assert_eq!(self.trusted.get() != 0, is_trusting, "{:?}", self.way);
    }

    fn takes(&self, answer: &str, address: &str, seconds: i64) -> bool {
        clock::set(EPOCH + seconds);
        answer_each(&self.scratch, ACCOUNT, address, || answer).code == Code::SUCCESS
    }

    /// How many were counted by now, as one more is told.
    fn wrong_answers(&self) -> usize {
        clock::set(EPOCH);
        let wrong = self.answers.last().expect("an answer");
        let outcome = answer_each(&self.scratch, ACCOUNT, self.address(), || wrong);
        let told = outcome.told();
        let is_told = |left: &usize| told.contains(&attempts_left(*left).as_str());
        let left = (0..3).find(is_told).unwrap_or_else(|| panic!("{told:?}"));
        2 - left
    }
}

fn answer_each<'a>(
    scratch: &Scratch,
    user: &str,
    address: &str,
    mut answer: impl FnMut() -> &'a str,
) -> Outcome {
    let mut login = scratch.start(user, |message: &Message| match message.style.is_prompt() {
        true => answer().into(),
        false => Reply::Null,
    });
    login.set(Item::Rhost, address);
    let code = login.authenticate(0);
    let heard = login.heard();
    Outcome { code, heard }
}

fn enroll_telephone(scratch: &Scratch) {
    let words = [
        "enroll",
        ACCOUNT,
        "--text",
        "+41 79 123 45 67",
        "--no-confirm",
    ];
    let output = scratch.totpctl(&words, "");
    assert!(output.status.success(), "{output:?}");
}
