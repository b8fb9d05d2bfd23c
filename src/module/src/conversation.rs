//! The person, as libpam lets us speak to them.

use libc::c_int;
use pam::constants::{PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_TEXT_INFO};
use pam::module::PamHandle;
use totp_core::answer::Answer;
use totp_core::doors::{Account, Echo, NoAnswer, PasswordCheck};
use totp_core::message;
use totp_host::process::Room;

use crate::ffi;
use crate::password::{self, Password};

/// The conversation function of the application. It runs under the limits that the caller has set, while all else
/// that we do has [`Room`].
pub(crate) struct Conversation<'a> {
    pamh: &'a PamHandle,
    room: Room,
    /// PAM_SILENT: the application wants no messages.
    silent: bool,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(pamh: &'a PamHandle, silent: bool) -> Self {
        Self {
            pamh,
            room: Room::make(),
            silent,
        }
    }

    fn send(&mut self, style: c_int, text: &str) -> Option<Answer> {
        // One byte more shows that it is too long.
        let most = Answer::MAX_BYTES.saturating_add(1);
        let pamh = self.pamh;
        let reply = self.room.lend(|| ffi::converse(pamh, style, text, most));
        reply.map(Answer::new)
    }

    fn prompt(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        let style = match echo {
            Echo::On => PAM_PROMPT_ECHO_ON,
            Echo::Off => PAM_PROMPT_ECHO_OFF,
        };
        self.send(style, prompt).ok_or(NoAnswer::Gone)
    }
}

impl totp_core::doors::Conversation for Conversation<'_> {
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        let answer = self.prompt(prompt, echo)?;
        match password::typed_before(self.pamh) {
            Some(password) if password.is(answer.bytes()) => Err(NoAnswer::PasswordAgain),
            _ => Ok(answer),
        }
    }

    fn ask_for_both(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        self.prompt(prompt, echo).map(Answer::with_password)
    }

    fn typed_before(&mut self) -> Option<Answer> {
        let password = password::typed_before(self.pamh)?;
        Some(password.into_answer().with_password())
    }

    fn hand_on(&mut self, password: &[u8]) -> Result<(), String> {
        ffi::set_authtok(self.pamh, password)
    }

    fn tell(&mut self, sentence: &str) {
        if !self.silent {
            // Some applications reply to a message with nothing at all, which counts as an error.
            let _ = self.send(PAM_ERROR_MSG, sentence);
        }
    }

    fn show(&mut self, lines: &str) {
        // Asked for by the person, whatever the application wants.
        let _ = self.send(PAM_TEXT_INFO, lines);
    }

    fn check_password(
        &mut self,
        account: &Account,
        charge: &mut dyn FnMut() -> bool,
    ) -> PasswordCheck {
        let before = password::typed_before(self.pamh);
        let is_ours = before.is_none();
        let typed = before.or_else(|| {
            let answer = self.ask(message::PASSWORD_PROMPT, Echo::Off).ok()?;
            Password::new(answer.bytes())
        });
        let Some(typed) = typed else {
            return PasswordCheck::NoAnswer;
        };
        if is_ours && !charge() {
            return PasswordCheck::Wrong;
        }
        let check = password::check(self.pamh, account, &typed);
        check.unwrap_or_else(|reason| PasswordCheck::Impossible {
            reason,
            was_asked: false,
        })
    }
}
