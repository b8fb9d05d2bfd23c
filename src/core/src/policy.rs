//! Who must have a second factor, and since when.

use std::fmt;

use crate::address::Address;
use crate::network::Network;
use crate::time::{Span, Time};

/// The policy of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// What becomes of a login by somebody who is not enrolled, where a second factor is required.
    pub unenrolled: Unenrolled,
    /// Nobody is asked whose password is kept elsewhere, in a directory say.
    pub local_users_only: bool,
    /// What entitles somebody to enroll at a login.
    pub enroll_with: EnrollWith,
    /// The end of enrolling by password.
    pub enroll_until: Option<Time>,
    /// Where from one may enroll by password; everywhere where there is none.
    pub enroll_from: Vec<Network>,
    /// For how long somebody is not asked again at the same place.
    pub trust: Span,
    /// What entitles somebody to take all devices away.
    pub disable_confirm: DisableConfirm,
    /// The first that matches wins.
    pub rules: Vec<Rule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unenrolled: Unenrolled::default(),
            local_users_only: false,
            enroll_with: EnrollWith::default(),
            enroll_until: None,
            enroll_from: Vec::new(),
            trust: Span::ZERO,
            disable_confirm: DisableConfirm::default(),
            rules: Vec::new(),
        }
    }
}

/// A `[[policy.rule]]`. Whatever it names has to fit, each by any of its values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Where it begins in the configuration.
    pub line: usize,
    /// Names of PAM services.
    pub service: Option<Vec<String>>,
    /// Names of accounts.
    pub user: Option<Vec<String>>,
    /// Names of groups.
    pub group: Option<Vec<String>>,
    /// Where from; consoles and local callers are in no network.
    pub network: Option<Vec<Network>>,
    /// What is asked for then.
    pub second_factor: SecondFactor,
    /// When it begins; until then [`SecondFactor::IfEnrolled`] holds, and people are told.
    pub from: Option<Time>,
}

/// What a policy asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecondFactor {
    /// A code, of those who are enrolled.
    IfEnrolled,
    /// Nothing.
    Never,
    /// A code.
    Required,
}

/// A word of the configuration, and what it stands for.
macro_rules! words {
    ($kind:ty, $expected:literal, $($word:literal => $value:expr),+) => {
        impl $kind {
            /// What is expected where this is read.
            pub const EXPECTED: &str = $expected;

            /// What the word stands for.
            #[must_use]
            pub fn named(word: &str) -> Option<Self> {
                match word {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let words = [$(($word, $value)),+];
                let word = words.iter().find(|(_, value)| value == self);
                f.write_str(word.map_or("", |(word, _)| word))
            }
        }
    };
}

words!(
    SecondFactor,
    "expected \"required\", \"if-enrolled\" or \"never\"",
    "required" => Self::Required,
    "if-enrolled" => Self::IfEnrolled,
    "never" => Self::Never
);

/// What becomes of a login by somebody who is not enrolled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unenrolled {
    /// Asked for a code like everybody, and denied.
    #[default]
    Deny,
    /// May enroll, with what [`EnrollWith`] says.
    Enroll,
    /// Let through without a code (PAM_IGNORE).
    Skip,
}

words!(
    Unenrolled,
    "expected \"deny\", \"skip\" or \"enroll\"",
    "deny" => Self::Deny,
    "skip" => Self::Skip,
    "enroll" => Self::Enroll
);

/// What entitles somebody to enroll at a login.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EnrollWith {
    /// A code that root has issued, typed in place of the verification code.
    #[default]
    Invite,
    /// The password of the account, or such a code.
    Password,
}

words!(
    EnrollWith,
    "expected \"invite\" or \"password\"",
    "invite" => Self::Invite,
    "password" => Self::Password
);

/// What entitles somebody to take all devices away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DisableConfirm {
    /// A code of any device, or a backup code.
    #[default]
    Code,
    /// A code that was sent by mail.
    Mail,
    /// Both.
    Both,
}

words!(
    DisableConfirm,
    "expected \"code\", \"mail\" or \"both\"",
    "code" => Self::Code,
    "mail" => Self::Mail,
    "both" => Self::Both
);

/// Whose login is decided on.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The account's name, or what was given for one.
    pub user: &'a str,
    /// Whether there is an account of that name now. Where there is none it may have another name, and be in any group,
    /// as soon as its directory answers again.
    pub is_known: bool,
    /// The PAM service.
    pub service: &'a str,
    /// Where from.
    pub address: &'a Address,
}

/// What holds for a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decision<'p> {
    /// The rule that says so; `None` where no rule matches, and the policy as a whole does.
    pub rule: Option<&'p Rule>,
    /// What is asked for.
    pub second_factor: SecondFactor,
    /// When a second factor will be required.
    pub announced: Option<Time>,
}

impl<'p> Decision<'p> {
    /// That of a rule which matches.
    fn of(rule: &'p Rule, now: Time) -> Self {
        let announced = rule.from.filter(|from| now < *from);
        let second_factor = match announced {
            Some(_) => SecondFactor::IfEnrolled,
            None => rule.second_factor,
        };
        Self {
            rule: Some(rule),
            second_factor,
            announced,
        }
    }

    /// More is stricter. What a rule requires is required of whom the policy as a whole may let pass; nobody without an
    /// account has a code, whoever asks for it.
    fn strictness(&self, login: &Login<'_>) -> u8 {
        match (self.second_factor, self.rule) {
            (SecondFactor::Never, _) => 0,
            (SecondFactor::IfEnrolled, _) => 1,
            _ if !login.is_known => 1,
            (SecondFactor::Required, None) => 2,
            (SecondFactor::Required, Some(_)) => 3,
        }
    }
}

impl Policy {
    /// What holds for a login: what the first rule says that matches. Where one can't be told to match, what holds is the
    /// strictest of what it says and of what the rules after it do. `is_member` tells whether the account is in a group.
    ///
    /// # Errors
    /// That of `is_member`.
    pub fn decide<E>(
        &self,
        login: &Login<'_>,
        now: Time,
        is_member: impl Fn(&str) -> Result<bool, E>,
    ) -> Result<Decision<'_>, E> {
        let mut last = Decision {
            rule: None,
            second_factor: SecondFactor::Required,
            announced: None,
        };
        let mut possible = Vec::new();
        for rule in &self.rules {
            match rule.fits(login, &is_member)? {
                Fit::No => {}
                Fit::Perhaps => possible.push(Decision::of(rule, now)),
                Fit::Yes => {
                    last = Decision::of(rule, now);
                    break;
                }
            }
        }
        Ok(possible.into_iter().fold(last, |strictest, decision| {
            match decision.strictness(login) > strictest.strictness(login) {
                true => decision,
                false => strictest,
            }
        }))
    }

    /// Whether the password is enough to enroll, now and from there.
    #[must_use]
    pub fn enrolls_by_password(&self, address: &Address, now: Time) -> bool {
        let is_from_there = |network: &Network| network.contains(address);
        self.enroll_with == EnrollWith::Password
            && self.enroll_until.is_none_or(|end| now < end)
            && (self.enroll_from.is_empty() || self.enroll_from.iter().any(is_from_there))
    }
}

/// Whether a rule matches.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fit {
    No,
    /// That can't be told.
    Perhaps,
    Yes,
}

impl Fit {
    const fn of(fits: bool, is_known: bool) -> Self {
        match (fits, is_known) {
            (true, _) => Self::Yes,
            (false, true) => Self::No,
            (false, false) => Self::Perhaps,
        }
    }
}

impl Rule {
    /// Whether it names no condition, and so matches every login.
    #[must_use]
    pub const fn is_for_everybody(&self) -> bool {
        self.service.is_none()
            && self.user.is_none()
            && self.group.is_none()
            && self.network.is_none()
    }

    /// As well as its worst condition does.
    fn fits<E>(
        &self,
        login: &Login<'_>,
        is_member: impl Fn(&str) -> Result<bool, E>,
    ) -> Result<Fit, E> {
        let names = |names: &Option<Vec<String>>, name: &str, is_known| {
            let has_it = |names: &Vec<String>| names.iter().any(|known| known == name);
            Fit::of(names.as_ref().is_none_or(has_it), is_known)
        };
        let is_from_there = |networks: &Vec<Network>| {
            let contains = |one: &Network| one.contains(login.address);
            Fit::of(
                networks.iter().any(contains),
                *login.address != Address::Unreadable,
            )
        };
        // libpam gives services in lower case, whatever the application calls itself.
        let service = names(&self.service, &login.service.to_ascii_lowercase(), true);
        let user = names(&self.user, login.user, login.is_known);
        let network = self.network.as_ref().map_or(Fit::Yes, is_from_there);
        let fit = service.min(user).min(network);
        let Some(groups) = self.group.as_ref().filter(|_| fit != Fit::No) else {
            return Ok(fit);
        };
        if !login.is_known {
            return Ok(fit.min(Fit::Perhaps));
        }
        // Last, since it may ask a directory.
        for group in groups {
            if is_member(group)? {
                return Ok(fit);
            }
        }
        Ok(Fit::No)
    }
}

/// What the rule is about: `service sshd, login, group admins`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.network.as_ref();
        let networks = networks.map(|all| all.iter().map(ToString::to_string).collect());
        let mut comma = "";
        for (name, values) in [
            ("service", &self.service),
            ("user", &self.user),
            ("group", &self.group),
            ("network", &networks),
        ] {
            if let Some(values) = values {
                write!(f, "{comma}{name} {}", values.join(" or "))?;
                comma = ", ";
            }
        }
        if comma.is_empty() {
            f.write_str("every login")?;
        }
        Ok(())
    }
}

/// A name in a rule: 1 to 256 characters, none of them a control character.
#[must_use]
pub fn name(text: &str) -> Option<String> {
    let is_name = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
