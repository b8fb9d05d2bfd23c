//! The arguments of the module's line in a stack.

use std::path::PathBuf;

use crate::flow::{FirstPass, Options};
use crate::message;

/// What the line says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Arguments {
    /// `config=`: the configuration, where it is not the default one.
    pub config: Option<PathBuf>,
    /// All others.
    pub options: Options,
}

impl Arguments {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A sentence, where one is unknown, since it may have been meant to be strict, or where two contradict each other.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut read = Self::default();
        for text in arguments {
            let options = &mut read.options;
            match text.split_once('=') {
                Some(("config", path)) => set(&mut read.config, "config", PathBuf::from(path))?,
                Some(("prompt", prompt)) => {
                    set(&mut options.prompt, "prompt", checked_prompt(prompt)?)?;
                }
                None if text == "debug" => options.debug = true,
                None if text == "echo" => options.echo = true,
                None if text == "forward_pass" => options.forward_pass = true,
                None if text == "no_info" => options.no_info = true,
                None if text == "nullok" => options.nullok = true,
                None if text == "try_first_pass" => options.set_first_pass(FirstPass::Tried)?,
                None if text == "use_first_pass" => options.set_first_pass(FirstPass::Only)?,
                _ => {
                    return Err(format!(
                        "unknown module argument {text}: expected config=PATH, debug, echo, forward_pass, no_info, \
                         nullok, prompt=TEXT, try_first_pass or use_first_pass"
                    ));
                }
            }
        }
        Ok(read)
    }
}

/// Takes a value, where no other was said before: it may have been meant to be the strict one.
fn set<T: PartialEq>(said: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    if said.as_ref().is_some_and(|said| *said != value) {
        return Err(format!(
            "module argument {name}= is there twice, and says two things: take one out"
        ));
    }
    *said = Some(value);
    Ok(())
}

impl Options {
    fn set_first_pass(&mut self, first_pass: FirstPass) -> Result<(), String> {
        if ![FirstPass::Ignored, first_pass].contains(&self.first_pass) {
            return Err(
                "module arguments try_first_pass and use_first_pass exclude each other: take one out"
                    .to_owned(),
            );
        }
        self.first_pass = first_pass;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Arguments::parse(line.split_whitespace()).map(|read| read.options)
    }

    #[test]
    fn where_the_password_comes_from_and_goes_to_is_said_by_itself() {
        for (line, first_pass, forward_pass) in [
            ("", FirstPass::Ignored, false),
            ("forward_pass", FirstPass::Ignored, true),
            ("try_first_pass", FirstPass::Tried, false),
            ("use_first_pass use_first_pass", FirstPass::Only, false),
            ("forward_pass use_first_pass", FirstPass::Only, true),
        ] {
            let options = Options {
                first_pass,
                forward_pass,
                ..Options::default()
            };
            assert_eq!(parse(line), Ok(options), "{line}");
        }
        for line in [
            "try_first_pass use_first_pass",
            "use_first_pass try_first_pass",
        ] {
            assert!(
                parse(line).unwrap_err().contains("exclude each other"),
                "{line}"
            );
        }
        for line in [
            "forward_pass=",
            "try_first_pass=1",
            "split=6",
            "Forward_pass",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn no_value_takes_the_place_of_another() {
        for line in ["config=/a config=/b", "prompt=A prompt=B"] {
            assert!(parse(line).unwrap_err().contains("twice"), "{line}");
        }
        assert!(parse("config=/a prompt=A config=/a").is_ok());
    }
}
