//! What shows that the new files work: this process belongs to a new login, and a second factor got it in.

use totp_core::doors::Account;
use totp_core::record::State;
use totp_core::time::Time;
use totp_host::process::{Moment, ancestry};

/// What was used of somebody's factors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Used {
    /// When a code was last accepted, of a device or from a place that is familiar by that.
    pub(super) last: Option<Time>,
    /// How many backup codes.
    pub(super) backup_codes: u32,
}

impl Used {
    pub(super) fn of(state: &State) -> Self {
        let sets = state.sets.iter().map(|set| set.used.count_ones());
        let devices = state.devices.iter().filter_map(|device| device.last_used);
        // Of a code that was sent nothing else stays.
        let places = state.tally.places.iter().filter_map(|place| place.accepted);
        Self {
            last: devices.chain(places).max(),
            backup_codes: sets.sum(),
        }
    }

    /// Whether something was accepted since it stood like that.
    pub(super) fn is_more_than(self, before: Self) -> bool {
        self.last > before.last || self.backup_codes > before.backup_codes
    }
}

/// What is missing of a new login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    /// This is no login by that service, or one of before.
    Login,
    /// It is somebody else's.
    Person,
}

/// Whether this process belongs to a login of a person by a service that began after the new files were in place.
///
/// # Errors
/// What is missing.
pub(super) fn new_login(service: &str, person: &Account, applied: &Moment) -> Result<(), Missing> {
    let programs: &[&str] = match service {
        "sshd" => &["sshd", "sshd-session"],
        "sudo" | "sudo-i" => &["sudo"],
        "su" | "su-l" => &["su"],
        other => &[other],
    };
    let chain = ancestry();
    let born = |at: usize| match service {
        // getty becomes login: what login starts is as old as the session.
        "login" => at.checked_sub(1).and_then(|below| chain.get(below)),
        _ => chain.get(at),
    };
    let is_new_login = |at: &usize| {
        chain
            .get(*at)
            .is_some_and(|process| programs.contains(&process.program.as_str()))
            && born(*at).is_some_and(|process| process.is_newer_than(applied))
    };
    if let Some(at) = (0..chain.len()).find(is_new_login) {
        // What the login has started, or above sudo who called it.
        let mut around = chain.iter().take(at.saturating_add(2));
        return match around.any(|process| process.uid == person.uid) {
            true => Ok(()),
            false => Err(Missing::Person),
        };
    }
    // Of other services the program may have any name; the audit system counts its sessions.
    let is_known = ["sshd", "sudo", "sudo-i", "su", "su-l", "login"].contains(&service);
    match !is_known && applied.is_before_this_session() {
        true => Ok(()),
        false => Err(Missing::Login),
    }
}
