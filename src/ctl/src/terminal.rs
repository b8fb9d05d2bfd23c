//! The person at the terminal, or the program at the other end of the pipe.

use std::io::{self, BufRead, IsTerminal, Write};

use terminal_size::{Height, Width};
use totp_core::answer::Answer;
use totp_core::doors::{Conversation, Echo, NoAnswer};
use zeroize::Zeroizing;

/// Speaks on stdout, or on stderr where stdout is for a JSON document; listens on stdin.
pub(crate) struct Terminal {
    json: bool,
}

impl Terminal {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn print(&self, text: &str) {
        let _ = if self.json {
            io::stderr()
                .write_all(text.as_bytes())
                .and_then(|()| io::stderr().flush())
        } else {
            io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| io::stdout().flush())
        };
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
    fn ask(&mut self, prompt: &str, _: Echo) -> Result<Answer, NoAnswer> {
        self.print(prompt);
        let line = read_line(&mut io::stdin().lock()).map_err(|_| NoAnswer)?;
        if !io::stdin().is_terminal() {
            self.print("\n");
        }
        line.map(|line| Answer::new(Zeroizing::new(line.as_bytes().to_vec())))
            .ok_or(NoAnswer)
    }

    fn tell(&mut self, sentence: &str) {
        self.print(&format!("{sentence}\n"));
    }
}

/// One line without its end, at most 4096 bytes; `None` at the end of the input.
pub(crate) fn read_line(input: &mut impl BufRead) -> io::Result<Option<Zeroizing<String>>> {
    const MAX_BYTES: usize = 4096;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut limited = io::Read::take(input, MAX_BYTES as u64);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::other("not UTF-8"))?;
    Ok(Some(Zeroizing::new(
        text.trim_end_matches(['\n', '\r']).to_owned(),
    )))
}
