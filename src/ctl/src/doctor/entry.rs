//! The ways by which somebody gets in.

use std::collections::BTreeSet;

/// How somebody gets in.
pub(super) struct Entry {
    /// Each is open to who has all that it takes.
    pub(super) ways: Vec<BTreeSet<By>>,
    /// There is a key that is known; `None` where that can't be told.
    pub(super) has_key: Option<bool>,
}

/// What a way in takes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum By {
    Key,
    /// Right answers to what the stack asks.
    Answers,
    /// Another machine's word, or a ticket.
    Other,
}

impl Entry {
    /// That of services whose stack is all.
    pub(super) fn by_stack() -> Self {
        Self {
            ways: vec![BTreeSet::from([By::Answers])],
            has_key: Some(false),
        }
    }

    /// Whether a way is open to who has the right answers, or has not. `if_untold` is whether there is a key where that
    /// can't be told.
    pub(super) fn opens(&self, has_answers: bool, if_untold: bool) -> bool {
        let has = |by: &By| match by {
            By::Key => self.has_key.unwrap_or(if_untold),
            By::Answers => has_answers,
            By::Other => false,
        };
        self.ways.iter().any(|way| way.iter().all(has))
    }

    /// Whether a key alone gets in, for who has one.
    pub(super) fn takes_key_alone(&self) -> bool {
        self.ways.contains(&BTreeSet::from([By::Key]))
    }

    /// Whether right answers count for anything.
    pub(super) fn takes_answers(&self) -> bool {
        self.ways.iter().any(|way| way.contains(&By::Answers))
    }
}
