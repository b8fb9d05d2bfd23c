//! The doors that people come in by, beside the services that ask.

use super::Tree;
use super::finding::{Finding, Findings};
use super::services::{Services, tell_faults};
use super::stack::Folders;

/// Doors that people come in by: where others ask for a code and one of these doesn't, that is worth a word.
pub(super) const DOORS: [&str; 6] = ["login", "sshd", "su", "su-l", "sudo", "sudo-i"];

/// Doors that ask for no code while others do.
pub(super) fn look(
    tree: &Tree<'_>,
    folders: &Folders,
    services: &Services,
    findings: &mut Findings,
) {
    let asks = |name: &str| services.named(name).is_some();
    if services.asking.is_empty() {
        findings.add(
            Finding::new(
                "nobody-asked",
                "No service has pam_totp.so in its auth lines.",
                "Nobody is asked for a code anywhere.",
                "totpctl rollout sshd        # or sudo, sudo-i, su, login; from a root shell that stays open",
            )
            .at(tree.path("/etc/pam.d"), None),
        );
        return;
    }
    if asks("sudo") && !asks("sudo-i") && services.names.contains("sudo-i") {
        findings.add(
            Finding::new(
                "sudo-i",
                "sudo asks for a code, and sudo-i does not.",
                "`sudo -i` is a service of its own: whoever has the password becomes root by it.",
                "totpctl rollout sudo-i",
            )
            .at(folders.file("sudo-i"), None)
            .of("sudo-i"),
        );
    }
    for door in DOORS {
        if !services.names.contains(door) || asks(door) {
            continue;
        }
        let stack = folders.stack(door, "auth");
        if stack.is_refused {
            tell_faults(&stack, door, findings);
        } else if !(door == "sudo-i" && asks("sudo")) {
            findings.add(
                Finding::new(
                    "without-module",
                    "This service asks for no code, and others do.",
                    "It may be meant as a way in, such as the console.",
                    format!("totpctl rollout {door}        # where it is not"),
                )
                .of(door),
            );
        }
    }
}
