//! What shows that the new files work: this process belongs to a new login, and a second factor got it in.

use std::time::Duration;

use totp_core::address::Address;
use totp_core::doors::Account;
use totp_core::record::State;
use totp_core::time::{Span, Time};
use totp_host::account::login_uid;
use totp_host::process::{Moment, Process, ancestry};

use crate::doctor;

/// How many backup codes of somebody's were ever used.
pub(super) fn used_backup_codes(state: &State) -> u32 {
    state.sets.iter().map(|set| set.used.count_ones()).sum()
}

/// Whether a code of somebody's was accepted by a service since then. Of a backup code the count tells where the place
/// does not.
pub(super) fn has_code(state: &State, service: &str, since: Time, backup_codes: u32) -> bool {
    let places = || {
        let places = state.tally.places.iter();
        places.filter_map(|place| Some((&place.address, place.accepted?)))
    };
    let is_of_service = |address: &Address| match service {
        "sshd" => !address.is_local(),
        "sudo" | "sudo-i" | "su" | "su-l" => address.is_local(),
        _ => true,
    };
    let here = places().filter(|(address, _)| is_of_service(address));
    let here = here.map(|(_, accepted)| accepted).max();
    // A console and other places that can't become familiar leave nothing but the device's own word.
    let elsewhere = places().map(|(_, accepted)| accepted).max();
    let devices = state.devices.iter().filter_map(|device| device.last_used);
    let device = devices.max().filter(|used| elsewhere < Some(*used));
    here.max(device) >= Some(since) || used_backup_codes(state) > backup_codes
}

/// What is missing of a new login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    /// This is no login by that service, or one of before.
    Login,
    /// It is somebody else's.
    Person,
}

/// How long ago the login of a person by a service began to which this process belongs; it began after the new files were
/// in place. Rounded up.
///
/// # Errors
/// What is missing.
pub(super) fn new_login(
    service: &str,
    person: &Account,
    applied: &Moment,
) -> Result<Span, Missing> {
    let chain = ancestry();
    let logins = logins(service, &chain, applied);
    if let Some(login) = logins.iter().find(|login| login.owner == Some(person.uid)) {
        return Ok(login.age(applied));
    }
    if !logins.is_empty() {
        return Err(Missing::Person);
    }
    // Of other services the program may have any name; the audit system counts its sessions.
    let is_of_another = KNOWN
        .iter()
        .any(|(known, _)| !self::logins(known, &chain, applied).is_empty());
    let is_known = KNOWN.iter().any(|(known, _)| *known == service);
    if is_known || is_of_another || !applied.is_before_this_session() {
        return Err(Missing::Login);
    }
    match login_uid() == Some(person.uid) {
        true => Ok(rounded_up(applied.age())),
        false => Err(Missing::Person),
    }
}

/// Whether a login by that service can be told from others: by its program, or by the audit system's count.
pub(super) fn can_be_told(service: &str) -> bool {
    KNOWN.iter().any(|(known, _)| *known == service) || doctor::is_audited(service)
}

/// The services that are known here, and their programs.
const KNOWN: [(&str, &[&str]); 6] = [
    ("login", &["login"]),
    ("sshd", &["sshd", "sshd-session"]),
    ("su", &["su"]),
    ("su-l", &["su"]),
    ("sudo", &["sudo"]),
    ("sudo-i", &["sudo"]),
];

/// A login that began after the new files were in place.
struct Login<'a> {
    /// Who is logged in, or who called sudo.
    owner: Option<u32>,
    /// What asked for the code.
    asked: &'a Process,
}

impl Login<'_> {
    /// getty becomes login: what asked may be older than the new files.
    fn age(&self, applied: &Moment) -> Span {
        let age = self.asked.age();
        let since = applied.age();
        rounded_up(match (age, since) {
            (Some(age), Some(since)) => Some(age.min(since)),
            (age, since) => age.or(since),
        })
    }
}

/// The logins by a service among these processes, each of which was started by the next.
fn logins<'a>(service: &str, chain: &'a [Process], applied: &Moment) -> Vec<Login<'a>> {
    let known = KNOWN.iter().find(|(known, _)| *known == service);
    let own_name = [service];
    let programs = known.map_or(own_name.as_slice(), |(_, programs)| programs);
    let is_of_service = |process: &Process| programs.contains(&process.program.as_str());
    let mut logins = Vec::new();
    let mut at = 0_usize;
    for group in chain.chunk_by(|one, next| is_of_service(one) == is_of_service(next)) {
        let below = at.checked_sub(1).and_then(|below| chain.get(below));
        at = at.saturating_add(group.len());
        let above = chain.get(at);
        if !group.first().is_some_and(is_of_service) {
            continue;
        }
        let new: Vec<&Process> = group
            .iter()
            .filter(|process| process.is_newer_than(applied))
            .collect();
        let login = match service {
            // What it has started is as old as the session.
            "login" => below
                .filter(|process| process.is_newer_than(applied))
                .zip(group.last())
                .map(|(session, login)| (Some(session.uid), login)),
            // With a terminal of its own there are two of them. Whose they are changes; who called the first does not.
            "sudo" | "sudo-i" => group
                .last()
                .filter(|process| process.is_newer_than(applied))
                .map(|first| (above.map(|caller| caller.uid), first)),
            // root's asks, and starts one that is the person's, which is the parent of all that they run.
            "sshd" => new.first().zip(new.last()).map(|(last, first)| {
                let owner = match last.uid {
                    0 => below.map(|process| process.uid),
                    uid => Some(uid),
                };
                (owner, *first)
            }),
            _ => new
                .last()
                .map(|first| (below.map(|process| process.uid), *first)),
        };
        logins.extend(login.map(|(owner, asked)| Login { owner, asked }));
    }
    logins
}

/// An age in whole seconds; a code counts in seconds as well. Without one nothing is as old.
fn rounded_up(age: Option<Duration>) -> Span {
    let seconds = age.unwrap_or_default().as_secs().saturating_add(1);
    Span::from_seconds(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use totp_core::backup_code::{SetId, UsedCodes};
    use totp_core::device::DeviceId;
    use totp_core::record::state::DeviceState;
    use totp_core::throttle::Place;

    use super::*;

    fn place(address: &str, accepted: i64) -> Place {
        Place {
            address: Address::named(address).unwrap(),
            wrong: Vec::new(),
            daily: Vec::new(),
            accepted: Some(Time::from_unix(accepted)),
        }
    }

    #[test]
    fn a_code_counts_by_the_service_and_at_the_time_at_which_it_was_accepted() {
        let state = |places: &[Place], device: i64| {
            let mut state = State::new(Time::from_unix(300));
            state.tally.places = places.to_vec();
            let device = DeviceState {
                last_used: Some(Time::from_unix(device)),
                ..DeviceState::new(DeviceId(1), None)
            };
            state.devices.push(device);
            state
        };
        let (remote, local) = (|at| place("192.0.2.7", at), |at| place("uid:1000", at));
        for (service, state, expected) in [
            ("sshd", state(&[remote(100)], 100), true),
            ("sshd", state(&[remote(99)], 99), false),
            ("sshd", state(&[remote(99), local(100)], 100), false),
            ("sudo", state(&[remote(100), local(99)], 100), false),
            ("su", state(&[local(100)], 100), true),
            // What came after it by another service does not take it away.
            ("sshd", state(&[remote(100), local(200)], 200), true),
            // A console, which is no place that is kept.
            ("login", state(&[remote(99)], 100), true),
            ("sshd", state(&[], 100), true),
        ] {
            let since = Time::from_unix(100);
            assert_eq!(
                has_code(&state, service, since, 0),
                expected,
                "{service} {state:?}"
            );
        }
        let mut state = state(&[], 99);
        state.sets.push(UsedCodes {
            id: SetId(1),
            used: 0b101,
        });
        assert!(has_code(&state, "login", Time::from_unix(100), 1));
        assert!(!has_code(&state, "login", Time::from_unix(100), 2));
    }
}
