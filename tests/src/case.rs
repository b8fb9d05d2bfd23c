//! An owner with a phone, whose account somebody else attacks.

use std::time::{Duration, Instant};

use crate::clock::{self, EPOCH};
use crate::libpam::Code;
use crate::phone::Phone;
use crate::product::{ACCOUNT, Scratch, attempts_left};

/// Another address than `HOME`.
pub const ELSEWHERE: &str = "198.51.100.9";

/// [`ACCOUNT`] with the default settings.
pub struct Case {
    /// Where it is enrolled.
    pub scratch: Scratch,
    /// What the owner has.
    pub phone: Phone,
}

impl Case {
    /// With an enrollment of `bin` too, who has the same phone.
    pub fn new() -> Self {
        let phone = Phone::new(Phone::SECRET);
        let scratch = Scratch::new("");
        for user in [ACCOUNT, "bin"] {
            scratch.enroll(user, &phone);
        }
        Self { scratch, phone }
    }

    /// With `secret` in the phone.
    pub fn with(secret: &str) -> Self {
        let phone = Phone::new(secret);
        let scratch = Scratch::new("");
        scratch.enroll(ACCOUNT, &phone);
        Self { scratch, phone }
    }

    /// A wrong code.
    pub fn wrong(&self) -> String {
        self.phone.wrong_code_at(EPOCH)
    }

    /// How long the owner of `user` takes to get in from elsewhere with the code of `step`.
    #[track_caller]
    pub fn owner_takes(&self, user: &str, step: i64) -> Duration {
        let code = self.phone.code_at(EPOCH + step * 30);
        clock::set(EPOCH + step * 30);
        let began = Instant::now();
        let outcome = self.scratch.login_from(ELSEWHERE, user, code.as_str());
        let took = began.elapsed();
        assert_eq!(outcome.code, Code::SUCCESS, "{user} after {took:?}");
        took
    }

    /// The wrong answers that were counted from `HOME`.
    pub fn counted(&self) -> u64 {
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

impl Default for Case {
    fn default() -> Self {
        Self::new()
    }
}
