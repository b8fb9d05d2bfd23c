//! Settings that are allowed and dangerous.

use std::path::Path;

use totp_core::config::Config;

use super::finding::{Finding, Findings};

/// Looks for limits that are off.
pub(crate) fn look(config: &Config, path: &Path, findings: &mut Findings) {
    let limits = &config.limits;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |key: &str| {
        let is_it = |line: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(is_assignment)
        };
        let at = text.lines().position(is_it)?;
        at.checked_add(1)
    };
    for (key, value, default, meaning) in [
        (
            "deny",
            u32::from(limits.deny.get()),
            3,
            "One address may go on guessing at one user's codes without a pause.",
        ),
        (
            "address_deny",
            u32::from(limits.address_deny.get()),
            20,
            "One address may guess at the codes of all users in turn.",
        ),
        (
            "daily",
            u32::from(limits.daily.get()),
            8,
            "Guesses from many addresses add up: the chance that one hits is no longer under 1 % a year.",
        ),
        (
            "user_limit",
            limits.user_limit.get(),
            100,
            "Slow guessing over months is never stopped.",
        ),
    ] {
        if value == 0 {
            findings.add(
                Finding::new(
                    "limit-off",
                    format!("{key} = 0 turns that limit off."),
                    meaning,
                    format!("{key} = {default}"),
                )
                .at(path, line(key)),
            );
        }
    }
    if !config.exempt.is_empty() {
        let networks: Vec<String> = config.exempt.iter().map(ToString::to_string).collect();
        findings.add(
            Finding::new(
                "limits-exempt",
                format!("No limit holds for {}.", networks.join(", ")),
                "Whoever is in there and has a password may guess codes without end, and will hit.",
                "exempt = []",
            )
            .at(path, line("exempt")),
        );
    }
}

fn is_assignment(rest: &str) -> bool {
    rest.trim_start().starts_with('=')
}
