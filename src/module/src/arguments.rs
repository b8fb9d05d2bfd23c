//! The arguments of the module's line in a stack.

use std::ffi::CStr;
use std::path::PathBuf;

use totp_core::flow::Options;
use totp_core::message;

/// What the line says.
#[derive(Default)]
pub(crate) struct Arguments {
    /// `config=`: the configuration, where it is not the default one.
    pub(crate) config: Option<PathBuf>,
    /// All others.
    pub(crate) options: Options,
}

impl Arguments {
    /// Reads the arguments; an unknown one is an error, since it may have been meant to be strict.
    pub(crate) fn parse(args: &[&CStr]) -> Result<Self, String> {
        let mut arguments = Self::default();
        let options = &mut arguments.options;
        for argument in args {
            let text = argument
                .to_str()
                .map_err(|_| "a module argument is not UTF-8".to_owned())?;
            match text.split_once('=') {
                Some(("config", path)) => arguments.config = Some(PathBuf::from(path)),
                Some(("prompt", prompt)) => options.prompt = Some(checked_prompt(prompt)?),
                None if text == "debug" => options.debug = true,
                None if text == "echo" => options.echo = true,
                None if text == "no_info" => options.no_info = true,
                None if text == "nullok" => options.nullok = true,
                _ => {
                    return Err(format!(
                        "unknown module argument {text}: expected config=PATH, debug, echo, no_info, \
                         nullok or prompt=TEXT"
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

/// A prompt that fits a message of libpam's beside a notice.
fn checked_prompt(prompt: &str) -> Result<String, String> {
    const MAX_BYTES: usize = message::MAX_PROMPT_BYTES;
    if prompt.is_empty() || prompt.len() > MAX_BYTES || prompt.contains(char::is_control) {
        return Err(format!(
            "module argument prompt= takes 1 to {MAX_BYTES} bytes without control characters; \
             a text with blanks is written [prompt=Code: ]"
        ));
    }
    Ok(prompt.to_owned())
}
