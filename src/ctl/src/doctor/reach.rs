//! What libpam makes of a stack: every way through it that the modules' answers can take.
//!
//! This is `_pam_dispatch_aux` of Linux-PAM 1.5 and 1.6 over sets: each module gives each code that it may give, and what is
//! followed are the distinct situations, not the ways to them, so that a long stack costs little.

use std::collections::{BTreeSet, HashSet};

use super::stack::{
    ABORT, AUTH_ERR, Action, CODES, Code, IGNORE, Kind, Line, MODULE_UNKNOWN, NEW_AUTHTOK_REQD,
    PERM_DENIED, SERVICE_ERR, SUCCESS, Stack,
};

/// What can come of a stack with our module in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Reach {
    /// Lines of ours that are run in some login.
    pub(crate) reached: BTreeSet<usize>,
    /// Lines of ours that ask once more where one before has accepted a code, which is used up by then.
    pub(crate) again: BTreeSet<usize>,
    /// Somebody can get in who was not asked, and the lines that led around us.
    pub(crate) skipped: BTreeSet<Option<usize>>,
    /// Codes of ours that refuse, and with which somebody can get in all the same.
    pub(crate) overruled: BTreeSet<Code>,
    /// Whoever has both right gets in.
    pub(crate) lets_in: bool,
    /// Whoever we exempt gets in.
    pub(crate) lets_exempt_in: bool,
    /// A right code is enough, without anything that another module checked.
    pub(crate) code_alone: bool,
    /// There are other modules that check something.
    pub(crate) has_proofs: bool,
    /// Only who has the password right is asked for a code.
    pub(crate) reveals: bool,
    /// Somebody gets in for whom no module has checked anything.
    pub(crate) open: bool,
    /// There were more situations than are followed.
    pub(crate) is_cut_short: bool,
}

/// More than any stack that somebody wrote has.
const MOST_SITUATIONS: usize = 200_000;

/// Follows a stack. `is_missing` is whether our module's file is, so that libpam answers for it.
pub(crate) fn follow(stack: &Stack, is_missing: bool) -> Reach {
    let lines = &stack.lines;
    let mut reach = Reach {
        has_proofs: lines.iter().any(is_proof),
        ..Reach::default()
    };
    let (mut asked_after_right, mut asked_otherwise) = (false, false);
    let mut known = HashSet::new();
    let mut left = vec![Situation::start()];
    while let Some(now) = left.pop() {
        if known.len() > MOST_SITUATIONS {
            reach.is_cut_short = true;
            break;
        }
        if !known.insert(now.clone()) {
            continue;
        }
        let Some(line) = lines.get(now.at) else {
            reach.note_end(&now);
            continue;
        };
        let now = now.entering(line.level);
        if line.kind == Kind::Substack {
            left.push(now.after(line.level));
            continue;
        }
        if line.is_ours() {
            reach.reached.insert(now.at);
            if now.asked == Asked::Accepted {
                reach.again.insert(now.at);
            }
            match now.password {
                Proof::Right => asked_after_right = true,
                Proof::None | Proof::Wrong => asked_otherwise = true,
            }
        }
        for code in answers(line, is_missing) {
            left.push(now.clone().with(line, code).acted(lines, line, code));
        }
    }
    reach.reveals = reach.has_proofs && asked_after_right && !asked_otherwise;
    reach
}

impl Reach {
    fn note_end(&mut self, end: &Situation) {
        if !end.mood.lets_in() {
            return;
        }
        match end.asked {
            Asked::Never => {
                self.skipped.insert(end.culprit);
            }
            Asked::Accepted => {
                self.lets_in = true;
                self.code_alone |= end.password != Proof::Right;
            }
            Asked::Ignored => self.lets_exempt_in = true,
            Asked::Refused(code) => {
                self.overruled.insert(code);
            }
        }
        self.open |= end.password != Proof::Right;
    }
}

/// Where a login stands before a line is run.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Situation {
    at: usize,
    /// The level of the line before.
    level: usize,
    mood: Mood,
    /// What the mood was where each substack began, outermost first.
    frames: Vec<Mood>,
    asked: Asked,
    password: Proof,
    /// The first line that led around ours.
    culprit: Option<usize>,
}

/// What libpam would say if the stack ended here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Mood {
    impression: Impression,
    is_success: bool,
}

impl Mood {
    const UNDECIDED: Self = Self {
        impression: Impression::None,
        is_success: false,
    };
    const NO: Self = Self {
        impression: Impression::Bad,
        is_success: false,
    };

    fn lets_in(self) -> bool {
        self.impression == Impression::Good && self.is_success
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Impression {
    Bad,
    Good,
    None,
}

/// What our module has said.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Asked {
    Accepted,
    Ignored,
    Never,
    Refused(Code),
}

/// What the others have said that check something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Proof {
    None,
    Right,
    Wrong,
}

impl Situation {
    fn start() -> Self {
        Self {
            at: 0,
            level: 0,
            mood: Mood::UNDECIDED,
            frames: vec![Mood::UNDECIDED],
            asked: Asked::Never,
            password: Proof::None,
            culprit: None,
        }
    }

    /// Remembers the mood where a substack begins.
    fn entering(mut self, level: usize) -> Self {
        if self.level < level {
            self.frames.resize(level, Mood::UNDECIDED);
            self.frames.push(self.mood);
        } else {
            // What was remembered of deeper levels is never looked at again.
            self.frames.truncate(level.saturating_add(1));
        }
        self
    }

    fn after(mut self, level: usize) -> Self {
        self.at = self.at.saturating_add(1);
        self.level = level;
        self
    }

    /// Notes who has said what.
    fn with(mut self, line: &Line, code: Code) -> Self {
        if line.is_ours() {
            self.asked = match (self.asked, code) {
                (Asked::Refused(first), _) => Asked::Refused(first),
                (_, SUCCESS) => Asked::Accepted,
                (Asked::Accepted, IGNORE) => Asked::Accepted,
                (_, IGNORE) => Asked::Ignored,
                (_, code) => Asked::Refused(code),
            };
        } else if is_proof(line) {
            self.password = match (self.password, code) {
                (Proof::Right, _) | (_, SUCCESS | NEW_AUTHTOK_REQD) => Proof::Right,
                _ => Proof::Wrong,
            };
        }
        self
    }

    /// Does what the line says about the code, and goes on.
    fn acted(mut self, lines: &[Line], line: &Line, code: Code) -> Self {
        let level = line.level;
        let is_success = code == SUCCESS;
        let mut last = self.at;
        let inside = |index: usize, least: usize| {
            lines
                .get(index.saturating_add(1))
                .is_some_and(|next| next.level >= least)
        };
        let mut ends_here = false;
        match line.control.on(code) {
            Action::Ignore => {}
            Action::Reset => {
                self.mood = self.frames.get(level).copied().unwrap_or(Mood::UNDECIDED);
            }
            action @ (Action::Ok | Action::Done) => {
                if self.mood.impression == Impression::None || self.mood.lets_in() {
                    self.mood = Mood {
                        impression: Impression::Good,
                        is_success,
                    };
                }
                ends_here = action == Action::Done && self.mood.impression == Impression::Good;
            }
            action @ (Action::Bad | Action::Die) => {
                self.mood = Mood::NO;
                ends_here = action == Action::Die;
            }
            Action::Jump(count) => {
                let mut count = count;
                // A substack is jumped over as a whole.
                while count > 0 && inside(last, level) {
                    last = last.saturating_add(1);
                    while inside(last, level.saturating_add(1)) {
                        last = last.saturating_add(1);
                    }
                    count = count.saturating_sub(1);
                }
                if count > 0 {
                    self.mood = Mood::NO;
                }
            }
        }
        if ends_here {
            while inside(last, level) {
                last = last.saturating_add(1);
            }
        }
        let skipped = lines.get(self.at.saturating_add(1)..=last);
        if skipped.is_some_and(|lines| lines.iter().any(Line::is_ours)) {
            self.culprit.get_or_insert(self.at);
        }
        self.at = last;
        self.after(level)
    }
}

/// What a module may say.
fn answers(line: &Line, is_missing: bool) -> Vec<Code> {
    const FAILURES: [Code; 10] = [
        SERVICE_ERR,
        4, // system_err
        PERM_DENIED,
        AUTH_ERR,
        8,  // cred_insufficient
        9,  // authinfo_unavail
        10, // user_unknown
        11, // maxtries
        13, // acct_expired
        19, // conv_err
    ];
    if line.kind == Kind::Broken {
        return vec![PERM_DENIED];
    }
    if line.is_misnamed() {
        return vec![MODULE_UNKNOWN];
    }
    if line.is_ours() {
        return match is_missing {
            true => vec![MODULE_UNKNOWN],
            false => vec![
                SUCCESS,
                IGNORE,
                AUTH_ERR,
                SERVICE_ERR,
                ABORT,
                MODULE_UNKNOWN,
            ],
        };
    }
    match line.module() {
        "pam_permit.so" => return vec![SUCCESS],
        // It says yes to root alone, who needs no code here.
        "pam_deny.so" | "pam_rootok.so" => return vec![AUTH_ERR],
        "pam_faildelay.so" | "pam_env.so" | "pam_group.so" | "pam_echo.so" => return vec![IGNORE],
        "pam_debug.so" => {
            let mut set = line
                .arguments()
                .iter()
                .filter_map(|one| one.strip_prefix("auth="));
            let code = set.next().map_or(Some(SUCCESS), |name| {
                CODES.iter().position(|code| *code == name)
            });
            return vec![code.unwrap_or(SUCCESS)];
        }
        _ => {}
    }
    let mut codes = vec![SUCCESS, NEW_AUTHTOK_REQD, MODULE_UNKNOWN];
    codes.extend(FAILURES);
    if !is_proof(line) {
        codes.extend([
            IGNORE, 1, 2, 5, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, ABORT, 27, 29, 30,
        ]);
    }
    codes
}

/// Whether a module checks something that only the right person has or knows.
pub(crate) fn is_proof(line: &Line) -> bool {
    const OTHERS: [&str; 46] = [
        "pam_access.so",
        "pam_cap.so",
        "pam_cgfs.so",
        "pam_ck_connector.so",
        "pam_debug.so",
        "pam_deny.so",
        "pam_echo.so",
        "pam_ecryptfs.so",
        "pam_env.so",
        "pam_exec.so",
        "pam_faildelay.so",
        "pam_faillock.so",
        "pam_filter.so",
        "pam_fscrypt.so",
        "pam_gnome_keyring.so",
        "pam_group.so",
        "pam_issue.so",
        "pam_keyinit.so",
        "pam_kwallet.so",
        "pam_kwallet5.so",
        "pam_lastlog.so",
        "pam_limits.so",
        "pam_listfile.so",
        "pam_localuser.so",
        "pam_loginuid.so",
        "pam_mail.so",
        "pam_mkhomedir.so",
        "pam_motd.so",
        "pam_mount.so",
        "pam_namespace.so",
        "pam_nologin.so",
        "pam_permit.so",
        "pam_rootok.so",
        "pam_securetty.so",
        "pam_selinux.so",
        "pam_sepermit.so",
        "pam_shells.so",
        "pam_stress.so",
        "pam_succeed_if.so",
        "pam_systemd.so",
        "pam_tally2.so",
        "pam_time.so",
        "pam_umask.so",
        "pam_usertype.so",
        "pam_warn.so",
        "pam_wheel.so",
    ];
    matches!(line.kind, Kind::Module { .. }) && !line.is_ours() && !OTHERS.contains(&line.module())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::stack::Folders;
    use super::*;

    /// The ways through a stack, in which `sub` is a file to include.
    fn reach(text: &str, sub: &str) -> Reach {
        let folder = std::env::temp_dir().join(format!(
            "doctor-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let pam: PathBuf = folder.join("etc/pam.d");
        std::fs::create_dir_all(&pam).unwrap();
        std::fs::write(pam.join("test"), text.replace("; ", "\n")).unwrap();
        std::fs::write(pam.join("sub"), sub.replace("; ", "\n")).unwrap();
        let stack = Folders::below(&folder).stack("test", "auth");
        std::fs::remove_dir_all(&folder).unwrap();
        follow(&stack, false)
    }

    const DEBIAN: &str = "auth [success=1 default=ignore] pam_unix.so; auth requisite pam_deny.so; \
                          auth required pam_permit.so; auth optional pam_cap.so";

    /// What is wrong, in letters: skipped, overruled, code alone, reveals, unreachable, never lets in, exempt denied.
    fn letters(reach: &Reach) -> String {
        [
            ('s', !reach.skipped.is_empty()),
            ('o', !reach.overruled.is_empty()),
            ('c', reach.code_alone),
            ('r', reach.reveals),
            ('u', reach.reached.is_empty()),
            ('n', !reach.lets_in),
            ('e', !reach.lets_exempt_in),
        ]
        .into_iter()
        .filter_map(|(letter, is_so)| is_so.then_some(letter))
        .collect()
    }

    #[test]
    fn each_stack_has_its_ways() {
        let mut differing = Vec::new();
        for (text, wrong) in [
            ("auth substack sub; auth required pam_totp.so", ""),
            ("auth include sub; auth required pam_totp.so", "r"),
            ("@include sub; auth required pam_totp.so", "r"),
            ("auth required pam_unix.so; auth required pam_totp.so", ""),
            ("auth requisite pam_unix.so; auth required pam_totp.so", "r"),
            ("auth required pam_totp.so; auth required pam_unix.so", ""),
            (
                "auth sufficient pam_unix.so; auth required pam_totp.so",
                "sce",
            ),
            (
                "auth sufficient pam_rootok.so; auth substack sub; auth required pam_totp.so",
                "",
            ),
            ("auth substack sub; auth optional pam_totp.so", "o"),
            ("auth substack sub; auth sufficient pam_totp.so", "o"),
            (
                "auth substack sub; auth [success=ok ignore=ignore default=ignore] pam_totp.so",
                "o",
            ),
            (
                "auth substack sub; auth [success=die default=bad] pam_totp.so",
                "ne",
            ),
            ("auth substack sub; auth [default=die] pam_totp.so", "ne"),
            (
                "auth substack sub; auth [success=ok module_unknown=ignore default=bad] pam_totp.so",
                "oe",
            ),
            ("auth required pam_deny.so; auth required pam_totp.so", "ne"),
            (
                "auth requisite pam_deny.so; auth required pam_totp.so",
                "une",
            ),
            (
                "auth required pam_totp.so; auth required pam_permit.so",
                "c",
            ),
            ("auth required pam_totp.so", "ce"),
            (
                "auth [success=1 default=ignore] pam_unix.so; auth required pam_totp.so; auth required pam_permit.so",
                "sc",
            ),
            (
                "auth [success=2 default=bad] pam_unix.so; auth required pam_totp.so; auth required pam_permit.so",
                "ne",
            ),
            (
                "auth [success=9 default=bad] pam_unix.so; auth required pam_totp.so",
                "ne",
            ),
            ("auth required pam_unix.so; -auth required pam_totp.so", ""),
            (
                "auth required pam_unix.so; auth required \\; pam_totp.so",
                "",
            ),
            (
                "auth required pam_unix.so; auth [default=reset success=ok] pam_totp.so",
                "e",
            ),
            (
                "auth sufficient pam_totp.so; auth sufficient pam_unix.so; auth required pam_deny.so",
                "oc",
            ),
        ] {
            let found = letters(&reach(text, DEBIAN));
            if found != wrong {
                differing.push(format!("{text}: {found} instead of {wrong}"));
            }
        }
        assert!(differing.is_empty(), "{}", differing.join("\n"));
    }

    #[test]
    fn what_a_substack_decides_ends_at_its_end() {
        let stack = "auth substack sub; auth required pam_totp.so";
        for (sub, wrong) in [
            ("auth sufficient pam_unix.so; auth required pam_deny.so", ""),
            ("auth requisite pam_unix.so", ""),
            (
                "auth required pam_unix.so; auth sufficient pam_totp.so",
                "o",
            ),
        ] {
            assert_eq!(letters(&reach(stack, sub)), wrong, "{sub}");
        }
    }

    #[test]
    fn files_that_include_each_other_end_somewhere() {
        let found = reach(
            "auth include sub; auth required pam_totp.so",
            "auth include sub",
        );
        assert!(found.skipped.is_empty() && !found.lets_in, "{found:?}");
    }

    #[test]
    fn a_long_stack_is_followed_to_its_end() {
        let many = "auth [success=2 default=ignore] pam_a.so; ".repeat(200);
        let found = reach(
            &format!("{many}auth required pam_unix.so; auth required pam_totp.so"),
            "",
        );
        assert!(!found.is_cut_short && found.lets_in, "{found:?}");
    }
}
