//! What is asked and answered: the words that the rules and what they are compared to have in common.

/// What an administrator sets; spans in seconds, 0 turns a limit off.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub window: i64,
    pub max_drift: i64,
    pub resync_range: i64,
    pub deny: usize,
    pub interval: i64,
    pub lock_time: i64,
    pub daily: usize,
    pub user_limit: usize,
    pub familiar_for: i64,
    pub lifetime: i64,
    pub resend_after: i64,
    pub per_hour: usize,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Its number.
    pub place: usize,
    pub is_console: bool,
    /// Whether it can become familiar: one place, and not several that can't be told apart.
    pub is_one: bool,
    pub is_exempt: bool,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Typed {
    Nothing,
    Digits,
    BackupCode,
    BackupKey,
    Rubbish,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub typed: Typed,
    pub text: &'a str,
    pub origin: &'a Origin,
    pub service: usize,
    pub has_ssh_key: bool,
    /// Whether limits that are not this person's ask for two codes.
    pub asks_two: bool,
    pub now: i64,
}

/// What comes of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Accepted {
        /// The ids of the devices and contacts whose code it was.
        of: Vec<u64>,
        /// When the first of two codes was given, where this was the second.
        first_at: Option<i64>,
        backup_left: Option<usize>,
        is_sent: bool,
    },
    BackupKey,
    Nothing,
    Refused {
        until: i64,
    },
    Wrong {
        why: Why,
        needs_two: bool,
        then: Standing,
        /// A device that no code can be accepted of for more than an hour, told once.
        out_of_reach: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    Bound,
    First,
    Malformed,
    Mismatch,
    NoDevice,
    Replayed,
    Unmarked,
}

/// What root's resync comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resync {
    Done,
    OutOfStep,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Open {
        left: Option<usize>,
        needs_two: bool,
    },
    Refused {
        until: i64,
    },
}

/// Why none is sent, and when one could be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsent {
    Refused { until: i64 },
    JustSent { next: i64 },
    TooMany { next: i64 },
}

/// What its codes follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The time, in steps of so many seconds.
    Phone { period: i64 },
    /// The count of the codes that it made.
    Token,
}
