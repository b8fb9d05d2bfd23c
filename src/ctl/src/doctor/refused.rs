//! Whom a change of a service refuses from then on, who got in by it before.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::Tree;
use super::entry::Entry;
use super::people::{Accounts, Lack, Person, lack};
use super::services::Service;
use super::sshd;

/// Those whom a service let in before a change, and not as before after it.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    service: String,
    /// By their names, in the order in which the machine has them.
    people: Vec<(String, BTreeSet<Why>)>,
    /// A key alone got in, and does no more, and not all keys are known.
    has_untold_keys: bool,
}

/// Why somebody is refused.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Why {
    NoDevice,
    NoInvite,
    NoPassword,
    NoKey,
    Root,
    /// That got them in. With more they may get in all the same.
    KeyAlone,
}

impl Refused {
    /// Those of some people, between two states of a machine. In the later one the service is as given, and asks for a code; in
    /// the earlier one its stack asked for a password.
    pub(super) fn between(
        (before, after): (&Tree<'_>, &Tree<'_>),
        accounts: &Accounts<'_>,
        people: &[Person],
        service: &Service,
    ) -> Self {
        let entries = |tree| match service.name.as_str() {
            "sshd" => sshd::entries(tree, people),
            _ => people.iter().map(|_| Entry::by_stack()).collect(),
        };
        let mut refused = Self {
            service: service.name.clone(),
            ..Self::default()
        };
        for ((person, before), after) in people.iter().zip(entries(before)).zip(entries(after)) {
            if !person.is_served_by(&service.name) {
                continue;
            }
            let ends_key_alone = before.takes_key_alone() && !after.takes_key_alone();
            refused.has_untold_keys |= ends_key_alone && before.has_key.is_none();
            let lack = lack(accounts, person, service);
            let why = why(person, (&before, &after), service.reach.has_proofs, lack);
            if !why.is_empty() {
                refused.people.push((person.account.name.clone(), why));
            }
        }
        refused
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.people.is_empty() && !self.has_untold_keys
    }

    pub(crate) fn document(&self) -> Value {
        let people = self.people.iter();
        let people = people.map(|(user, why)| {
            let why: Vec<&str> = why.iter().map(|why| why.id()).collect();
            json!({ "user": user, "why": why })
        });
        people.collect()
    }
}

/// Why a change refuses somebody.
fn why(
    person: &Person,
    (before, after): (&Entry, &Entry),
    asks_password: bool,
    lack: Option<Lack>,
) -> BTreeSet<Why> {
    let mut why = BTreeSet::new();
    let has_key = before.has_key == Some(true);
    if has_key && before.takes_key_alone() && !after.takes_key_alone() {
        why.insert(Why::KeyAlone);
    }
    let has_password = person.has_password || !asks_password;
    // Nobody is named who may not be concerned.
    let was_in = before.opens(person.has_password, false);
    if !was_in || after.opens(has_password && lack.is_none(), true) {
        return why;
    }
    if !after.takes_answers() {
        why.insert(Why::Root);
        return why;
    }
    why.extend(lack.map(|lack| match lack {
        Lack::Device => Why::NoDevice,
        Lack::Invite => Why::NoInvite,
    }));
    if !has_password {
        why.insert(Why::NoPassword);
    }
    if !after.opens(true, true) {
        why.insert(Why::NoKey);
    }
    why
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refuses from then on:", self.service)?;
        let all: BTreeSet<Why> = self
            .people
            .iter()
            .flat_map(|(_, why)| why)
            .copied()
            .collect();
        for why in all {
            let of = self.people.iter().filter(|(_, all)| all.contains(&why));
            let names: Vec<&str> = of.map(|(name, _)| name.as_str()).collect();
            let (fact, mend) = why.words();
            write!(f, "\n  {}: {fact}", names.join(", "))?;
            if !mend.is_empty() {
                write!(f, "\n    {mend}")?;
            }
        }
        match self.has_untold_keys {
            true => {
                f.write_str("\n  whoever else sshd may know a key of: a key alone does no more")
            }
            false => Ok(()),
        }
    }
}

impl Why {
    const fn id(self) -> &'static str {
        match self {
            Self::NoDevice => "no-device",
            Self::NoInvite => "no-invite",
            Self::NoPassword => "no-password",
            Self::NoKey => "no-key",
            Self::Root => "root-by-ssh",
            Self::KeyAlone => "key-alone",
        }
    }

    /// What is so, and what mends it.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoDevice => (
                "no device, and a code is required",
                "totpctl enroll NAME        # or, until all are enrolled, in the configuration: unenrolled = \"skip\"",
            ),
            Self::NoInvite => (
                "no device and no invite, and one of both is required",
                "totpctl invite NAME",
            ),
            Self::NoPassword => (
                "no password, and one is asked for beside the code",
                "passwd NAME",
            ),
            Self::NoKey => ("no key, and one is asked for beside the code", ""),
            Self::Root => (
                "sshd takes no code of root's",
                "PermitRootLogin yes        # in /etc/ssh/sshd_config",
            ),
            Self::KeyAlone => ("a key alone got them in until now, and does no more", ""),
        }
    }
}
