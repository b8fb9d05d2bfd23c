//! The person, as libpam lets us speak to them.

use pam::constants::{PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON};
use pam::conv::Conv;
use pam::module::PamHandle;
use totp_core::answer::Answer;
use totp_core::doors::{Echo, NoAnswer};

/// The conversation function of the application.
pub(crate) struct Conversation<'a> {
    pamh: &'a PamHandle,
    /// PAM_SILENT: the application wants no messages.
    silent: bool,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(pamh: &'a PamHandle, silent: bool) -> Self {
        Self { pamh, silent }
    }
}

impl totp_core::doors::Conversation for Conversation<'_> {
    fn ask(&mut self, prompt: &str, echo: Echo) -> Result<Answer, NoAnswer> {
        let style = match echo {
            Echo::On => PAM_PROMPT_ECHO_ON,
            Echo::Off => PAM_PROMPT_ECHO_OFF,
        };
        let conversation = self
            .pamh
            .get_item::<Conv<'_>>()
            .ok()
            .flatten()
            .ok_or(NoAnswer)?;
        let reply = conversation
            .send(style, prompt)
            .ok()
            .flatten()
            .ok_or(NoAnswer)?;
        Ok(Answer::new(reply.as_bytes().to_vec().into()))
    }

    fn tell(&mut self, sentence: &str) {
        if self.silent {
            return;
        }
        if let Ok(Some(conversation)) = self.pamh.get_item::<Conv<'_>>() {
            // Some applications reply to a message with nothing at all, which counts as an error.
            let _ = conversation.send(PAM_ERROR_MSG, sentence);
        }
    }
}
