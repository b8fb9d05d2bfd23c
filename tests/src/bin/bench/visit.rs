//! One login as the bench makes it.

use std::path::Path;
use std::time::{Duration, Instant};

use end_to_end::clock;
use end_to_end::libpam::{Code, Item, Login};
use end_to_end::product::answering;
use nix::time::{ClockId, clock_gettime};

use crate::figures::Spent;

/// Somebody who comes to log in.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// By which service.
    pub service: &'a str,
    /// As whom.
    pub user: &'a str,
    /// From where.
    pub address: &'a str,
    /// When, in seconds since 1970.
    pub time: i64,
    /// What is typed at each prompt.
    pub answer: &'a str,
}

impl Visit<'_> {
    /// Logs in, from `pam_start` to `pam_end`.
    pub fn pay(&self, confdir: &Path) -> (Code, Spent) {
        clock::set(self.time);
        let (wall, cpu) = (Instant::now(), cpu());
        let code = self.stay(confdir, |_| ());
        let spent = Spent {
            wall: wall.elapsed(),
            cpu: self::cpu() - cpu,
        };
        (code, spent)
    }

    /// The same; `before_the_end` is run before `pam_end`.
    pub fn stay(&self, confdir: &Path, before_the_end: impl FnOnce(Code)) -> Code {
        clock::set(self.time);
        let person = answering(self.answer);
        let mut login = Login::start(confdir, self.service, self.user.as_bytes(), person)
            .expect("libpam reads the service");
        login.set(Item::Rhost, self.address);
        let code = login.authenticate(0);
        before_the_end(code);
        code
    }
}

/// What this thread has had of a processor.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.expect("threads have a clock").into()
}
