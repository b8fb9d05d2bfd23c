//! The person at the terminal, or the program at the other end of the pipe.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use terminal_size::{Height, Width};
use totp_core::answer::Answer;
use totp_core::doors::{Conversation, Echo, NoAnswer};
use totp_host::terminal::NoEcho;
use zeroize::Zeroizing;

/// Speaks on stdout, or on stderr where stdout is for a JSON document; listens on stdin.
pub(crate) struct Terminal {
    json: bool,
}

impl Terminal {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads all that is said.
    pub(crate) fn is_for_program(&self) -> bool {
        self.json && !self.is_watched()
    }

    /// Shows `text`. Who enrolls must have seen the key: a failure here ends the enrollment.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        if self.json {
            io::stderr().write_all(text.as_bytes())?;
            io::stderr().flush()
        } else {
            io::stdout().write_all(text.as_bytes())?;
            io::stdout().flush()
        }
    }

    /// Columns and rows of the screen; `None` where there is none to fit.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let size = if self.json {
            terminal_size::terminal_size_of(io::stderr())
        } else {
            terminal_size::terminal_size_of(io::stdout())
        };
        size.map(|(Width(columns), Height(rows))| (usize::from(columns), usize::from(rows)))
    }

    /// Whether a person can see what is printed.
    pub(crate) fn is_watched(&self) -> bool {
        if self.json {
            io::stderr().is_terminal()
        } else {
            io::stdout().is_terminal()
        }
    }
}

impl Conversation for Terminal {
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        // Before anybody knows that it is their turn: what is typed by then is dropped.
        let hidden = (echo == Echo::Off).then(NoEcho::new);
        self.print(prompt).map_err(|_| NoAnswer::Gone)?;
        let line = standard_input().and_then(|mut input| read_line(&mut input));
        let line = line.map_err(|_| NoAnswer::Gone)?;
        drop(hidden);
        // Whoever types a line ends it on the screen too.
        if !io::stdin().is_terminal() || line.is_none() {
            self.print("\n").map_err(|_| NoAnswer::Gone)?;
        }
        line.map(Answer::new).ok_or(NoAnswer::Gone)
    }

    fn tell(&mut self, sentence: &str) {
        // What matters is the exit status.
        let _ = self.print(&format!("{sentence}\n"));
    }
}

/// Standard input without the buffer that std has for it, which is never wiped.
///
/// # Errors
/// Where it is closed, or there are too many open files.
pub(crate) fn standard_input() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// One line without its end; `None` at the end of the input. Nothing beyond it is read, and no copy of it is left.
///
/// # Errors
/// Where the input can't be read, or the line is longer than 4096 bytes.
pub(crate) fn read_line(input: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    const MAX_BYTES: usize = 4096;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut byte = Zeroizing::new([0]);
    loop {
        match input.read_exact(&mut *byte) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && line.is_empty() => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
            Ok(()) if *byte == *b"\n" => break,
            Ok(()) if line.len() == MAX_BYTES => {
                let reason = "a line of more than 4096 bytes";
                return Err(io::Error::new(ErrorKind::InvalidData, reason));
            }
            Ok(()) => line.extend(*byte),
        }
    }
    while line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}
