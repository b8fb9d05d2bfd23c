//! The password that a module before us has asked for, and what may be typed with it.

use crate::answer::Answer;
use crate::doors::{Account, Conversation, Echo, NoAnswer, PasswordCheck};

/// What becomes of that password (PAM_AUTHTOK).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FirstPass {
    /// It is left alone.
    #[default]
    Ignored,
    /// A code may be typed right after it, and is asked for where none is, or a wrong one.
    Tried,
    /// A code has to be typed right after it: nothing is ever asked.
    Only,
}

/// Somebody who can be told something, and is asked nothing.
pub(crate) struct Unasked<'a>(pub(crate) &'a mut dyn Conversation);

impl Conversation for Unasked<'_> {
    fn ask(&mut self, _: &str, _: Echo) -> Result<Answer, NoAnswer> {
        Err(NoAnswer::Gone)
    }

    fn typed_before(&mut self) -> Option<Answer> {
        self.0.typed_before()
    }

    fn hand_on(&mut self, password: &[u8]) -> Result<(), String> {
        self.0.hand_on(password)
    }

    fn tell(&mut self, sentence: &str) {
        self.0.tell(sentence);
    }

    fn show(&mut self, lines: &str) {
        self.0.show(lines);
    }

    fn check_password(&mut self, _: &Account, _: &mut dyn FnMut() -> bool) -> PasswordCheck {
        PasswordCheck::NoAnswer
    }
}
