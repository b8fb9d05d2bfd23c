//! The person at the terminal, or the program at the other end of the pipe.

use std::io::{self, BufRead, IsTerminal, Write};

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
        self.print(prompt).map_err(|_| NoAnswer)?;
        let hidden = (echo == Echo::Off).then(NoEcho::new);
        let line = read_line(&mut io::stdin().lock()).map_err(|_| NoAnswer)?;
        drop(hidden);
        // Whoever types a line ends it on the screen too.
        if !io::stdin().is_terminal() || line.is_none() {
            self.print("\n").map_err(|_| NoAnswer)?;
        }
        line.map(|line| Answer::new(Zeroizing::new(line.as_bytes().to_vec())))
            .ok_or(NoAnswer)
    }

    fn tell(&mut self, sentence: &str) {
        // What matters is the exit status.
        let _ = self.print(&format!("{sentence}\n"));
    }
}

/// One line without its end; `None` at the end of the input.
///
/// # Errors
/// Where the input can't be read, the line is longer than 4096 bytes or not UTF-8.
pub(crate) fn read_line(input: &mut impl BufRead) -> io::Result<Option<Zeroizing<String>>> {
    const MAX_BYTES: usize = 4096;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut limited = io::Read::take(input, MAX_BYTES as u64);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    if line.len() == MAX_BYTES && !line.ends_with(b"\n") {
        return Err(invalid("a line of more than 4096 bytes"));
    }
    let text = std::str::from_utf8(&line).map_err(|_| invalid("not UTF-8"))?;
    Ok(Some(Zeroizing::new(
        text.trim_end_matches(['\n', '\r']).to_owned(),
    )))
}
