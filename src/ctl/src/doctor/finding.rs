//! What doctor finds, and how it is told.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// How much it matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Severity {
    /// Somebody gets in who must not, or nobody gets in.
    Danger,
    /// It will be one of both, or is for some.
    Warning,
    /// Good to know; nothing has to be done.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Danger => "danger",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Every id, in the order of danger: first who gets in, then who doesn't.
const IDS: [(&str, Severity); 73] = {
    use Severity::{Danger, Note, Warning};
    [
        ("skipped", Danger),
        ("refusal-ignored", Danger),
        ("code-alone", Danger),
        ("sshd-without-pam", Danger),
        ("sshd-key-alone", Danger),
        ("totp-enroll-open", Danger),
        ("module-unsafe", Danger),
        ("config", Danger),
        ("line-config", Danger),
        ("arguments", Danger),
        ("nothing-before", Danger),
        ("module-missing", Danger),
        ("stack-broken", Danger),
        ("unreachable", Danger),
        ("code-refused", Danger),
        ("asks-twice", Danger),
        ("sshd-no-prompt", Danger),
        ("sshd-invalid", Danger),
        ("state-folder", Danger),
        ("secret-folder", Danger),
        ("network-file-system", Danger),
        ("limit-off", Warning),
        ("limits-exempt", Warning),
        ("fault-ignored", Warning),
        ("password-revealed", Warning),
        ("nobody-asked", Warning),
        ("everybody-exempt", Warning),
        ("records-covered", Warning),
        ("sudo-i", Warning),
        ("stack-unsafe", Warning),
        ("root-way-in", Warning),
        ("file-unsafe", Warning),
        ("secret-damaged", Warning),
        ("state-damaged", Warning),
        ("state-newer", Warning),
        ("state-missing", Warning),
        ("record-unusable", Warning),
        ("account-gone", Warning),
        ("account-renewed", Warning),
        ("not-enrolled", Warning),
        ("not-invited", Warning),
        ("exempt-denied", Warning),
        ("unsendable", Warning),
        ("not-root", Warning),
        ("totp-enroll-loop", Warning),
        ("totp-enroll-missing", Warning),
        ("sshd-root-key", Warning),
        ("sshd-unchecked", Warning),
        ("sshd-password", Warning),
        ("sshd-grace", Warning),
        ("clock-unsynchronised", Warning),
        ("clock-off", Warning),
        ("clock-unknown", Warning),
        ("space", Warning),
        ("inodes", Warning),
        ("copy-on-write", Warning),
        ("run-folder", Warning),
        ("too-complex", Warning),
        ("only-other-types", Warning),
        ("sudo-timestamp-never-ends", Warning),
        ("account-unknown", Warning),
        ("rollout-pending", Note),
        ("secrets-on-network", Note),
        ("without-module", Note),
        ("rule-names-nothing", Note),
        ("sshd-root", Note),
        ("sudo-timestamp", Note),
        ("sudo-no-password", Note),
        ("locked", Note),
        ("two-codes", Note),
        ("state-orphaned", Note),
        ("invite-orphaned", Note),
        ("invite-expired", Note),
    ]
};

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    id: &'static str,
    /// What is so.
    fact: String,
    /// What comes of it.
    meaning: String,
    /// The command or the line that mends it.
    mend: String,
    file: Option<PathBuf>,
    line: Option<usize>,
    services: BTreeSet<String>,
}

impl Finding {
    /// One with an id of the table.
    pub(crate) fn new(
        id: &'static str,
        fact: impl Into<String>,
        meaning: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            id,
            fact: fact.into(),
            meaning: meaning.into(),
            mend: mend.into(),
            file: None,
            line: None,
            services: BTreeSet::new(),
        }
    }

    pub(crate) fn at(mut self, file: impl Into<PathBuf>, line: Option<usize>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    pub(crate) fn of(mut self, service: &str) -> Self {
        self.services.insert(service.to_owned());
        self
    }

    fn place(&self) -> (usize, Severity) {
        let mut ids = IDS.iter().enumerate();
        let found = ids.find(|(_, (id, _))| *id == self.id);
        found.map_or((usize::MAX, Severity::Warning), |(at, (_, severity))| {
            (at, *severity)
        })
    }

    /// Whether nobody should change a service such that this is so: somebody gets in who must not, or who should can't.
    pub(crate) fn forbids(&self) -> bool {
        self.place().1 == Severity::Danger || ["not-enrolled", "not-invited"].contains(&self.id)
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "severity": self.place().1.to_string(),
            "id": self.id,
            "fact": self.fact,
            "meaning": self.meaning,
            "mend": self.mend,
            "file": self.file.as_ref().map(|file| file.display().to_string()),
            "line": self.line,
            "services": self.services,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.place().1.to_string().to_uppercase();
        write!(f, "{severity} {}", self.id)?;
        if !self.services.is_empty() {
            let services: Vec<&str> = self.services.iter().map(String::as_str).collect();
            write!(f, " ({})", services.join(", "))?;
        }
        if let Some(file) = &self.file {
            write!(f, "  {}", file.display())?;
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, "\n  {}\n  {}", self.fact, self.meaning)?;
        for line in self.mend.lines() {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one; what was found of another service already becomes one with it.
    pub(crate) fn add(&mut self, new: Finding) {
        let same = |old: &&mut Finding| {
            (old.id, &old.file, old.line, &old.fact) == (new.id, &new.file, new.line, &new.fact)
        };
        match self.0.iter_mut().find(same) {
            Some(old) => old.services.extend(new.services),
            None => self.0.push(new),
        }
    }

    /// The most dangerous first.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|one, other| {
            let key = |finding: &Finding| (finding.place().1, finding.place().0);
            key(one)
                .cmp(&key(other))
                .then_with(|| (&one.file, one.line).cmp(&(&other.file, other.line)))
        });
    }

    /// Those that are about one service, or about none; without notes, and the most dangerous first.
    pub(crate) fn about(mut self, service: &str) -> Self {
        self.0.retain(|one| {
            let is_about_it = one.services.is_empty() || one.services.contains(service);
            is_about_it && one.place().1 != Severity::Note
        });
        self.sort();
        self
    }

    /// What nobody should change a service to, or leave it as.
    pub(crate) fn forbidding(self) -> Vec<Finding> {
        self.0.into_iter().filter(Finding::forbids).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether something is to be done. Notes ask for nothing.
    pub(crate) fn need_mending(&self) -> bool {
        self.0
            .iter()
            .any(|finding| finding.place().1 != Severity::Note)
    }

    pub(crate) fn document(&self) -> Value {
        self.0.iter().map(Finding::document).collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&texts.join("\n\n"))?;
        let count = |severity| {
            let of = |finding: &&Finding| finding.place().1 == severity;
            self.0.iter().filter(of).count()
        };
        let mut parts = Vec::new();
        for severity in [Severity::Danger, Severity::Warning, Severity::Note] {
            let count = count(severity);
            if count > 0 {
                let plural = if count == 1 { "" } else { "s" };
                parts.push(format!("{count} {severity}{plural}"));
            }
        }
        match parts.is_empty() {
            true => f.write_str("Nothing was found that has to be mended."),
            false => write!(f, "\n\n{}.", parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_once_and_in_order_of_severity() {
        let ids: BTreeSet<&str> = IDS.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), IDS.len());
        assert!(IDS.is_sorted_by_key(|(_, severity)| *severity));
    }

    #[test]
    fn what_holds_for_several_services_is_one_finding() {
        let mut findings = Findings::default();
        let new = |id, service| {
            Finding::new(id, "a", "b", "c")
                .at("/f", Some(1))
                .of(service)
        };
        findings.add(new("locked", "sshd"));
        findings.add(new("skipped", "sshd"));
        findings.add(new("skipped", "login"));
        findings.sort();
        let text = findings.to_string();
        assert!(
            text.starts_with("DANGER skipped (login, sshd)  /f, line 1\n"),
            "{text}"
        );
        assert!(text.ends_with("1 danger, 1 note."), "{text}");
    }
}
