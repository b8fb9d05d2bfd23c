//! Rules that are allowed, and hardly meant as they stand.

use std::path::Path;

use totp_core::config::Config;
use totp_core::doors::System as _;
use totp_core::policy::{Rule, SecondFactor};

use super::finding::{Finding, Findings};
use super::people::Accounts;
use super::services::Services;

/// Looks for a policy that asks nobody, and for names that nothing has.
pub(crate) fn look(
    config: &Config,
    path: &Path,
    accounts: &Accounts<'_>,
    services: &Services,
    findings: &mut Findings,
) {
    let rules = &config.policy.rules;
    // Whom a rule before it asks, a last "never" does not exempt.
    let mut exempting = rules
        .iter()
        .take_while(|rule| rule.second_factor == SecondFactor::Never);
    let everybody = exempting.find(|rule| rule.is_for_everybody());
    if let Some(rule) = everybody.filter(|_| !services.asking.is_empty()) {
        findings.add(
            Finding::new(
                "everybody-exempt",
                "This rule says \"never\" and names nobody, so it is for everybody.",
                "No service asks anybody for a code.",
                "Take the rule out when the emergency is over: from its [[policy.rule]] on, to the next line with [.",
            )
            .at(path, Some(rule.line)),
        );
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for rule in rules {
        for (kind, name) in unknown(rule, accounts, services) {
            findings.add(
                Finding::new(
                    "rule-names-nothing",
                    format!(
                        "This rule is for the {kind} {name:?}, and there is no {kind} {name:?}."
                    ),
                    "The rule holds for nobody by that name: others may hold instead, or [policy].",
                    format!("Correct the name, if it is not of a {kind} that is still to come."),
                )
                .at(path, Some(line_of(name, rule, &text))),
            );
        }
    }
}

/// What a rule names and nothing is called. What can't be asked for is taken to be there.
fn unknown<'a>(
    rule: &'a Rule,
    accounts: &Accounts<'_>,
    services: &Services,
) -> Vec<(&'static str, &'a str)> {
    let is_service = |name: &str| services.names.contains(name);
    let is_account = |name: &str| !matches!(accounts.account(name), Ok(None));
    let is_group = |name: &str| accounts.has_group(name).unwrap_or(true);
    let mut unknown = Vec::new();
    for (kind, names, is_there) in [
        (
            "service",
            &rule.service,
            &is_service as &dyn Fn(&str) -> bool,
        ),
        ("account", &rule.user, &is_account),
        ("group", &rule.group, &is_group),
    ] {
        let names = names.iter().flatten().map(String::as_str);
        unknown.extend(
            names
                .filter(|name| !is_there(name))
                .map(|name| (kind, name)),
        );
    }
    unknown
}

/// The line of a rule in which a name stands, or where the rule begins.
fn line_of(name: &str, rule: &Rule, text: &str) -> usize {
    let quoted = [format!("\"{name}\""), format!("'{name}'")];
    let mut lines = (1..).zip(text.lines()).skip(rule.line.saturating_sub(1));
    let found = lines.find(|(_, line)| quoted.iter().any(|name| line.contains(name)));
    found.map_or(rule.line, |(number, _)| number)
}
