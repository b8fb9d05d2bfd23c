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
