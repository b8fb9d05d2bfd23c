//! Who must have a second factor.

/// The policy of the configuration.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// What becomes of a login by somebody who is not enrolled.
    pub unenrolled: Unenrolled,
}

/// What becomes of a login by somebody who is not enrolled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unenrolled {
    /// Asked for a code like everybody, and denied.
    #[default]
    Deny,
    /// Let through without a code (PAM_IGNORE).
    Skip,
}

impl Unenrolled {
    /// What is expected where this is read.
    pub const EXPECTED: &str = "expected \"deny\" or \"skip\"";

    /// What the word stands for.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "deny" => Some(Self::Deny),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }
}
