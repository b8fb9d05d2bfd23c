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
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const NOON: Time = Time::from_unix(1_800_000_000);

    fn names() -> impl Strategy<Value = Option<Vec<String>>> {
        option::of(vec("[ab]", 1..3))
    }

    prop_compose! {
        fn rule()(
            service in names(),
            user in names(),
            group in names(),
            is_from_there in option::of(any::<bool>()),
            factor in 0_usize..3,
            from in option::of(-2_i64..3),
        ) -> Rule {
            let networks = |is_there| match is_there {
                true => vec![Network::V4(0xC000_0200, 24)],
                false => vec![Network::V6(0x2001_0DB8_0000_0000, 32)],
            };
            Rule {
                line: 0,
                service,
                user,
                group,
                network: is_from_there.map(networks),
                second_factor: [SecondFactor::IfEnrolled, SecondFactor::Never, SecondFactor::Required][factor],
                from: from.map(|seconds| Time::from_unix(NOON.unix() + seconds)),
            }
        }
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        vec(rule(), 0..6)
    }

    fn policy(mut rules: Vec<Rule>) -> Policy {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.line = index;
        }
        let default = Policy::default();
        Policy { rules, ..default }
    }

    /// What holds for user and service `a` in the group `a`, from 192.0.2.7.
    fn decide(policy: &Policy) -> Decision<'_> {
        decide_of(policy, &login(&address()), "a")
    }

    fn decide_of<'p>(policy: &'p Policy, login: &Login<'_>, own: &str) -> Decision<'p> {
        let decision = policy.decide(login, NOON, |group| Ok::<_, ()>(group == own));
        decision.unwrap()
    }

    fn login(address: &Address) -> Login<'_> {
        let (user, service) = ("a", "a");
        Login {
            user,
            is_known: true,
            service,
            address,
        }
    }

    fn address() -> Address {
        Address::named("192.0.2.7").unwrap()
    }

    fn for_everybody(second_factor: SecondFactor) -> Rule {
        Rule {
            line: 0,
            service: None,
            user: None,
            group: None,
            network: None,
            second_factor,
            from: None,
        }
    }

    #[test]
    fn a_rule_is_for_everybody_where_it_names_nothing() {
        let (rule, names) = (
            for_everybody(SecondFactor::Never),
            Some(vec!["a".to_owned()]),
        );
        assert!(rule.is_for_everybody());
        let (service, user, group) = (names.clone(), names.clone(), names);
        let network = Some(vec![Network::V4(0xC000_0200, 24)]);
        for narrower in [
            Rule {
                service,
                ..rule.clone()
            },
            Rule {
                user,
                ..rule.clone()
            },
            Rule {
                group,
                ..rule.clone()
            },
            Rule {
                network,
                ..rule.clone()
            },
        ] {
            assert!(!narrower.is_for_everybody(), "{narrower:?}");
        }
    }

    #[test]
    fn a_rule_for_a_group_is_for_those_who_are_in_it() {
        let group = Some(vec!["a".to_owned()]);
        let policy = policy(vec![Rule {
            group,
            ..for_everybody(SecondFactor::Never)
        }]);
        for (own, is_in_it) in [("a", true), ("b", false)] {
            let address = address();
            let decision = decide_of(&policy, &login(&address), own);
            assert_eq!(decision.rule.is_some(), is_in_it, "{own}");
        }
    }

    #[test]
    fn of_what_cannot_be_told_the_strictest_holds_and_else_what_is_sure() {
        use SecondFactor::{IfEnrolled, Never, Required};
        for (perhaps, sure, is_known, is_stricter) in [
            (Never, Some(IfEnrolled), true, false),
            (Never, Some(Required), true, false),
            (IfEnrolled, Some(Never), true, true),
            (IfEnrolled, Some(Required), true, false),
            (IfEnrolled, None, true, false),
            (Required, Some(Never), true, true),
            (Required, Some(IfEnrolled), true, true),
            (Required, Some(Required), true, false),
            (Required, None, true, true),
            (Required, Some(Never), false, true),
            (Required, Some(IfEnrolled), false, false),
            (Required, None, false, false),
            (IfEnrolled, Some(Required), false, false),
        ] {
            let somewhere = Rule {
                network: Some(vec![Network::V4(0xC000_0200, 24)]),
                ..for_everybody(perhaps)
            };
            let rules = [somewhere].into_iter().chain(sure.map(for_everybody));
            let policy = policy(rules.collect());
            let login = Login {
                is_known,
                ..login(&Address::Unreadable)
            };
            let line = decide_of(&policy, &login, "").rule.map(|rule| rule.line);
            assert_eq!(
                line == Some(0),
                is_stricter,
                "{perhaps:?}, {sure:?}, {is_known}"
            );
        }
    }

    #[test]
    fn the_password_enrolls_until_a_day_and_from_some_places() {
        let by_password = Policy {
            enroll_with: EnrollWith::Password,
            ..Policy::default()
        };
        let at = |seconds| Some(Time::from_unix(NOON.unix() + seconds));
        let from = |bits| vec![Network::V4(0xC633_6400, 24), Network::V4(0xC000_0200, bits)];
        for (policy, expected) in [
            (Policy::default(), false),
            (by_password.clone(), true),
            (
                Policy {
                    enroll_until: at(1),
                    ..by_password.clone()
                },
                true,
            ),
            (
                Policy {
                    enroll_until: at(0),
                    ..by_password.clone()
                },
                false,
            ),
            (
                Policy {
                    enroll_until: at(-1),
                    ..by_password.clone()
                },
                false,
            ),
            (
                Policy {
                    enroll_from: from(24),
                    ..by_password.clone()
                },
                true,
            ),
            (
                Policy {
                    enroll_from: from(32),
                    ..by_password.clone()
                },
                false,
            ),
            (
                Policy {
                    enroll_from: from(24),
                    enroll_until: at(-1),
                    ..by_password
                },
                false,
            ),
            (
                Policy {
                    enroll_from: from(24),
                    ..Policy::default()
                },
                false,
            ),
        ] {
            let enrolls = policy.enrolls_by_password(&address(), NOON);
            assert_eq!(enrolls, expected, "{policy:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_first_rule_that_matches_matters(rules in rules(), others in rules()) {
            let whole = policy(rules.clone());
            let decision = decide(&whole);
            let matching = |rule: &Rule| decide(&policy(vec![rule.clone()])).rule.is_some();
            let first = rules.iter().position(matching);
            prop_assert_eq!(decision.rule.map(|rule| rule.line), first);
            let Some(first) = first else {
                prop_assert_eq!(decision.second_factor, SecondFactor::Required);
                prop_assert_eq!(decision.announced, None);
                return Ok(());
            };
            let alone = policy(vec![rules[first].clone()]);
            let alone = decide(&alone);
            prop_assert_eq!(decision.second_factor, alone.second_factor);
            prop_assert_eq!(decision.announced, alone.announced);
            let changed = policy([&rules[..=first], &others].concat());
            prop_assert_eq!(decide(&changed), decision);
        }

        #[test]
        fn one_more_condition_matches_no_more_and_one_more_value_no_less(rule in rule()) {
            let is_match = |rule: &Rule| decide(&policy(vec![rule.clone()])).rule.is_some();
            let matched = is_match(&rule);
            let narrower = Rule { service: Some(vec!["b".to_owned()]), ..rule.clone() };
            prop_assert!(!is_match(&narrower));
            let mut wider = rule;
            for names in [&mut wider.service, &mut wider.user, &mut wider.group] {
                names.iter_mut().for_each(|names| names.push("a".to_owned()));
            }
            prop_assert!(is_match(&wider) || !matched);
        }

        #[test]
        fn a_rule_that_is_still_to_come_asks_those_who_are_enrolled(rule in rule()) {
            let policy = policy(vec![rule.clone()]);
            let decision = decide(&policy);
            let is_to_come = rule.from.is_some_and(|from| NOON < from);
            prop_assume!(decision.rule.is_some());
            prop_assert_eq!(decision.announced.is_some(), is_to_come);
            let expected = if is_to_come { SecondFactor::IfEnrolled } else { rule.second_factor };
            prop_assert_eq!(decision.second_factor, expected);
        }

        #[test]
        fn what_cannot_be_told_of_a_login_makes_no_rule_weaker(rules in rules()) {
            let policy = policy(rules);
            let strictness = |login: &Login<'_>, own| decide_of(&policy, login, own).strictness(login);
            let least = strictness(&login(&Address::Unreadable), "a");
            for place in ["192.0.2.7", "2001:db8::7", "203.0.113.7"] {
                let place = Address::named(place).unwrap();
                prop_assert!(strictness(&login(&place), "a") <= least);
            }
            let address = address();
            let nobody = Login { is_known: false, ..login(&address) };
            for own in ["a", "b", ""] {
                let is_exempt = strictness(&login(&address), own) == 0;
                prop_assert!(is_exempt || strictness(&nobody, "") > 0);
            }
        }

        #[test]
        fn a_failing_group_lookup_is_no_decision(rules in rules()) {
            let asked = std::cell::Cell::new(false);
            let policy = policy(rules);
            let address = address();
            let decision = policy.decide(&login(&address), NOON, |_| {
                asked.set(true);
                Err::<bool, _>("no groups")
            });
            prop_assert_eq!(decision.is_err(), asked.get());
        }
    }
}
