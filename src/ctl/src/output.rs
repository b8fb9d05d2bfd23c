//! Standard output, and whether anybody gets what is said there.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};

use crate::failure::Failure;

/// Why something that was to be printed is lost. Of the whole process, as standard output is: what a command does it does
/// whether or not anybody reads of it, and main asks at the end.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints, and remembers where that can't be done.
pub(crate) fn print(text: impl Display) {
    if let Err(error) = try_print(text) {
        LOST.get_or_init(|| error.to_string());
    }
}

/// Prints.
///
/// # Errors
/// Where that can't be done.
pub(crate) fn try_print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// How a command ended, with what it had to say.
pub(crate) fn outcome(outcome: Result<(), Failure>) -> Result<(), Failure> {
    match (outcome, LOST.get()) {
        (Err(failure), _) if !failure.message().is_empty() => Err(failure),
        (_, Some(error)) => Err(lost(error)),
        (outcome, None) => outcome,
    }
}

/// What is said where nothing can be printed.
pub(crate) fn lost(error: impl Display) -> Failure {
    Failure::unreachable(format_args!(
        "standard output can't be written: {error}. What was to be done is done, and only the report of it is lost"
    ))
}

/// Refuses to make a secret that only standard output shows, and that nobody would see there.
///
/// std opens /dev/null, for reading and writing, in place of what is closed when a program starts, and so does who
/// starts one with no output; a shell's `>/dev/null` is open for writing alone, and somebody's wish.
pub(crate) fn refuse_closed() -> Result<(), Failure> {
    const NULL: (u32, u32) = (1, 3);
    let out = io::stdout();
    let is_null = fstat(&out).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL
    });
    let is_both_ways = |flags: OFlags| flags & OFlags::RWMODE == OFlags::RDWR;
    match is_null && fcntl_getfl(&out).is_ok_and(is_both_ways) {
        false => Ok(()),
        true => Err(Failure::unreachable(
            "standard output is closed, and what is made would be shown nowhere: nothing has changed. Run this with an open one",
        )),
    }
}
