//! What is wrong with the ways through a stack.

use super::Tree;
use super::finding::{Finding, Findings};
use super::reach::Reach;
use super::stack::{ABORT, AUTH_ERR, CODES, Line, MODULE_UNKNOWN, SERVICE_ERR, Stack};

/// What the simulation has found.
pub(super) fn tell(
    tree: &Tree<'_>,
    stack: &Stack,
    name: &str,
    first: &Line,
    reach: &Reach,
    is_missing: bool,
    findings: &mut Findings,
) {
    let mut add = |finding: Finding, line: &Line| {
        findings.add(finding.at(&line.file, Some(line.number)).of(name));
    };
    if reach.is_cut_short {
        add(
            Finding::new(
                "too-complex",
                "This stack has more ways through it than doctor follows.",
                "What is said of it may not be all.",
                format!("totpctl try --service {name} USER"),
            ),
            first,
        );
    }
    for culprit in &reach.skipped {
        skipped(stack, *culprit, first, &mut add);
    }
    if is_missing && !reach.overruled.is_empty() {
        add(
            Finding::new(
                "skipped",
                "pam_totp.so is not there, and the line says that this doesn't matter.",
                "Everybody gets in without a code.",
                "Install the module, and let the line say `required`.",
            ),
            first,
        );
    }
    let serious: Vec<&str> = [AUTH_ERR, SERVICE_ERR, ABORT]
        .iter()
        .filter(|code| reach.overruled.contains(code))
        .filter_map(|code| CODES.get(*code).copied())
        .collect();
    if !serious.is_empty() {
        let meaning = match reach.overruled.contains(&AUTH_ERR) {
            true => "Whoever types a wrong code, or none, gets in all the same.",
            false => "Whenever the module can't work, everybody gets in without a code.",
        };
        add(
            Finding::new(
                "refusal-ignored",
                format!(
                    "The control of pam_totp.so is `{}`, and with it a refusal ({}) doesn't refuse.",
                    first.control_text,
                    serious.join(", ")
                ),
                meaning,
                "auth       required     pam_totp.so",
            ),
            first,
        );
    } else if !is_missing && reach.overruled.contains(&MODULE_UNKNOWN) {
        add(
            Finding::new(
                "fault-ignored",
                format!(
                    "The control of pam_totp.so is `{}`, which goes on where the module can't be loaded.",
                    first.control_text
                ),
                "Once the module's file is gone or doesn't load, everybody gets in without a code.",
                "auth       required     pam_totp.so",
            ),
            first,
        );
    }
    if reach.reached.is_empty() {
        let meaning = match reach.skipped.is_empty() {
            true => "Lines above end every login, and nobody gets in by this service.",
            false => "Nobody is ever asked for a code by this service.",
        };
        add(
            Finding::new(
                "unreachable",
                "No login gets as far as the line of pam_totp.so.",
                meaning,
                "Take away or correct the lines above that always end the stack (pam_deny, pam_permit).",
            ),
            first,
        );
        return;
    }
    for line in reach.again.iter().filter_map(|at| stack.lines.get(*at)) {
        asked_again(tree, name, first, line, &mut add);
    }
    // Where something else lets people in, or a line is broken, that is why.
    if !is_missing && !reach.lets_in && reach.skipped.is_empty() && stack.faults.is_empty() {
        add(
            Finding::new(
                "code-refused",
                format!(
                    "No login in which the code is right gets in; the control of pam_totp.so is `{}`.",
                    first.control_text
                ),
                "Nobody gets in by this service, whatever they type.",
                "auth       required     pam_totp.so",
            ),
            first,
        );
    }
    // Only sshd can ask for something beside the stack.
    if reach.code_alone && (reach.has_proofs || name != "sshd") {
        add(
            Finding::new(
                "code-alone",
                "A right code gets in without a right password.",
                "Whoever holds somebody's phone is that person.",
                "auth       substack     common-auth\nauth       required     pam_totp.so",
            ),
            first,
        );
    }
    if reach.lets_in && !reach.lets_exempt_in && reach.skipped.is_empty() {
        add(
            Finding::new(
                "exempt-denied",
                "Whoever is asked for nothing (a rule with \"never\", `nullok`, \"skip\") does not get in, since no other \
                 line says yes.",
                "libpam denies where every module abstains.",
                "auth       required     pam_permit.so      # below the line of pam_totp.so",
            ),
            first,
        );
    }
    if reach.reveals {
        add(
            Finding::new(
                "password-revealed",
                "Only whoever has typed the right password is asked for a code.",
                "A stranger learns which passwords are right, with no code at all.",
                asked_whatever_the_password(tree, stack, first),
            ),
            first,
        );
    }
}

fn asked_again(
    tree: &Tree<'_>,
    name: &str,
    first: &Line,
    second: &Line,
    add: &mut impl FnMut(Finding, &Line),
) {
    // Of two lines the one to take out is that of this service alone.
    let (line, other) = match is_profile(tree, second) {
        true => (first, second),
        false => (second, first),
    };
    let journal = tree.path(crate::rollout::journal_of(name));
    let mut mend = match journal.is_file() {
        true => format!("totpctl rollout --revert {name}"),
        false => "Take this line out.".to_owned(),
    };
    if is_profile(tree, other) {
        mend.push_str("\nor, for all services at once: pam-auth-update --disable totp");
    }
    add(
        Finding::new(
            "asks-twice",
            format!(
                "Two codes are asked for: by this line, and by {}, line {}.",
                other.file.display(),
                other.number
            ),
            "The first prompt uses a code up, and the second refuses it: nobody gets in with one code.",
            mend,
        ),
        line,
    );
}

/// Whether pam-auth-update has written a line, and would write it again.
fn is_profile(tree: &Tree<'_>, line: &Line) -> bool {
    line.file == tree.path("/etc/pam.d/common-auth")
        && tree.path("/usr/share/pam-configs/totp").is_file()
}

/// What mends a stack in which only the right password leads to the code. A substack hides that from nobody where the
/// module is in it, and a second line of the module would ask for a second code.
fn asked_whatever_the_password(tree: &Tree<'_>, stack: &Stack, first: &Line) -> String {
    if is_profile(tree, first) {
        return "pam-auth-update --disable totp\n\
                totpctl rollout SERVICE        # then, for each service: asks whatever the password was"
            .to_owned();
    }
    let part = first.file.file_name().and_then(|name| name.to_str());
    match part.filter(|_| stack.included.contains(&first.file)) {
        Some(part) => format!(
            "Take this line out, and in the file of each service say:\n\
             auth       substack     {part}        # instead of @include or include\n\
             auth       required     pam_totp.so"
        ),
        None => "auth       substack     common-auth        # instead of @include or requisite\n\
                 auth       required     pam_totp.so"
            .to_owned(),
    }
}

fn skipped(
    stack: &Stack,
    culprit: Option<usize>,
    first: &Line,
    add: &mut impl FnMut(Finding, &Line),
) {
    let around = culprit.and_then(|at| stack.lines.get(at));
    let (fact, mend) = match around {
        Some(line) => {
            let mend = match line.file == first.file {
                true => "Move the line of pam_totp.so above this one, or let this one say `required`; or put it into a\n\
                     file of its own and say: auth substack THAT-FILE".to_owned(),
                false => format!(
                    "auth       substack     {}      # instead of @include or include",
                    line.file
                        .file_name()
                        .and_then(|name| name.to_str())
                        .unwrap_or("FILE")
                ),
            };
            let fact = format!(
                "`{} {}` leads around pam_totp.so, and the login succeeds.",
                line.control_text,
                line.module()
            );
            (fact, mend)
        }
        None => (
            "A login succeeds that never comes to pam_totp.so.".to_owned(),
            "auth       required     pam_totp.so".to_owned(),
        ),
    };
    add(
        Finding::new(
            "skipped",
            fact,
            "Whoever satisfies that line gets in without a code.",
            mend,
        ),
        around.unwrap_or(first),
    );
}
