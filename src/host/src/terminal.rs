//! The terminal on standard input.

use std::io::{IsTerminal, stdin};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::ttyname;

/// Its path, such as /dev/pts/0; `None` where there is none.
#[must_use]
pub fn path() -> Option<String> {
    let path = ttyname(stdin()).ok()?;
    path.into_os_string().into_string().ok()
}

/// Nothing that is typed shows for as long as this lives.
pub struct NoEcho(Option<Termios>);

impl NoEcho {
    /// Turns the echo off, where there is a terminal that has one.
    #[must_use]
    pub fn new() -> Self {
        let before = stdin().is_terminal().then(|| tcgetattr(stdin()).ok());
        let before = before.flatten();
        if let Some(before) = &before {
            let mut hidden = before.clone();
            hidden.local_flags.remove(LocalFlags::ECHO);
            hidden.local_flags.insert(LocalFlags::ECHONL);
            let _ = tcsetattr(stdin(), SetArg::TCSAFLUSH, &hidden);
        }
        Self(before)
    }
}

impl Default for NoEcho {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, before);
        }
    }
}
