//! What a program said.

use std::process::Output;

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// On its standard output.
    pub out: String,
    /// On its standard error.
    pub err: String,
}

impl Said {
    /// Of a program that has ended.
    pub fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Told that a code was wrong, by su at once or by sudo when it asks again.
    pub fn is_judged(&self) -> bool {
        self.err.contains("Invalid One Time Password!") || self.err.contains("Attempts left: ")
    }
}
