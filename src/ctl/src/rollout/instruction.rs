//! How somebody confirms a rollout, in words.

use totp_core::doors::Account;

/// What to do first, in a new terminal.
pub(super) fn login(service: &str, person: &Account) -> String {
    let name = &person.name;
    match service {
        // It asks for the code itself.
        "sudo" | "sudo-i" => format!("Open a NEW terminal as {name}"),
        "su" | "su-l" => format!(
            "In a NEW terminal, as somebody else than root, type\n`su - {name}` and {name}'s code"
        ),
        "login" => format!("At a console, log in anew as {name} with a\ncode"),
        _ => format!("In a NEW terminal, log in by {service} as {name} with a\ncode"),
    }
}

/// What to run there, as root.
pub(super) fn command(service: &str, person: &Account) -> &'static str {
    match service {
        "sudo-i" => "sudo -i totpctl rollout --confirm",
        "sudo" => "sudo totpctl rollout --confirm",
        _ if person.uid == 0 => "totpctl rollout --confirm",
        _ => "sudo totpctl rollout --confirm",
    }
}

/// Another way to be root there.
pub(super) fn without_sudo(service: &str, person: &Account) -> String {
    match service {
        "sudo" | "sudo-i" => String::new(),
        _ if person.uid == 0 => String::new(),
        _ => format!(
            "Where {} may not use sudo: become root there by su, and run it without sudo.\n",
            person.name
        ),
    }
}
