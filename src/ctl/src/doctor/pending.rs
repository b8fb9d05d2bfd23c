//! A rollout that waits for its confirmation.

use super::Tree;
use super::finding::{Finding, Findings};
use super::people::Accounts;
use crate::rollout;

pub(super) fn look(tree: &Tree<'_>, accounts: &Accounts<'_>, findings: &mut Findings) {
    let Some(pending) = rollout::pending(&tree.path(rollout::FOLDER), accounts) else {
        return;
    };
    findings.add(
        Finding::new(
            "rollout-pending",
            format!("The rollout of {} is not confirmed yet.", pending.service),
            format!(
                "Without that the old files come back by themselves at {}.",
                pending.ends
            ),
            format!(
                "{}        # {}, and run it there\ntotpctl rollout --revert        # to have the old files back at once",
                pending.command, pending.login
            ),
        )
        .at(pending.journal, None)
        .of(&pending.service),
    );
}
