//! The machine as the core asks for it.

use std::time::{SystemTime, UNIX_EPOCH};

use totp_core::delivery::Message;
use totp_core::doors::{Account, Entropy, System};
use totp_core::event::Event;
use totp_core::time::Time;
use zeroize::Zeroizing;

use crate::command::{self, Command};
use crate::meter::Meter;

/// This machine, with a log of the caller's.
pub struct Machine<L> {
    log: L,
    meter: Option<Meter>,
}

impl<L: Fn(&Event)> Machine<L> {
    /// Logs every event.
    #[must_use]
    pub fn new(log: L) -> Self {
        Self { log, meter: None }
    }

    /// Sums bursts of events up.
    #[must_use]
    pub fn metered(log: L, meter: Meter) -> Self {
        Self {
            log,
            meter: Some(meter),
        }
    }
}

impl<L: Fn(&Event)> System for Machine<L> {
    fn now(&self) -> Time {
        now()
    }

    fn host_name(&self) -> Option<String> {
        host_name()
    }

    fn account(&self, name: &str) -> Result<Option<Account>, String> {
        crate::account::account(name)
    }

    fn is_member(&self, account: &Account, group: &str) -> Result<bool, String> {
        crate::account::is_member(account, group)
    }

    fn is_local(&self, account: &Account) -> Result<bool, String> {
        crate::account::is_local(account, "/etc/passwd", "/etc/shadow")
    }

    fn deliver(&self, message: &Message) -> Result<(), String> {
        let command = Command {
            argv: &message.command,
            user: &message.user,
            input: message.input.as_bytes(),
        };
        command::run(&command).map_err(|error| error.to_string())
    }

    fn log(&self, event: &Event) {
        match &self.meter {
            Some(meter) => meter.pass(event, &now, &self.log),
            None => (self.log)(event),
        }
    }
}

/// The time by the system's clock, which may be before 1970.
fn now() -> Time {
    let whole =
        |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Time::from_unix(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => whole(before.duration()).saturating_neg(),
    })
}

impl<L: Fn(&Event)> Entropy for Machine<L> {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        SystemEntropy.random(length)
    }
}

/// The system's entropy: getrandom(2).
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut bytes = Zeroizing::new(vec![0; length]);
        getrandom::fill(&mut bytes).map_err(|error| format!("no entropy: {error}"))?;
        Ok(bytes)
    }
}

fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.')
        .next()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}
