//! Writes the completions of totpctl for bash, zsh and fish into a folder, which `make` does after the build.
//!
//! An example and no command of totpctl's: what runs as root has no use for it, and nothing of clap_complete is in it.

#[path = "../src/cli.rs"]
#[allow(dead_code, reason = "nothing is run here, so nothing is read")]
mod cli;

use std::error::Error;
use std::fs::{create_dir_all, read_to_string, write};
use std::path::PathBuf;

use clap::{Command, CommandFactory, ValueHint};
use clap_complete::{Shell, generate_to};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("usage: completions FOLDER")?;
    let folder = PathBuf::from(folder);
    create_dir_all(&folder)?;
    let mut command = with_accounts(cli::Cli::command());
    let hidden = hidden(&command);
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let file = generate_to(shell, &mut command, "totpctl", &folder)?;
        let text = read_to_string(&file)?;
        write(file, without(&text, &hidden))?;
    }
    Ok(())
}

/// The options that the help doesn't show, and that clap_complete offers all the same.
fn hidden(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|one| one.is_hide_set());
    let own = own.filter_map(|one| one.get_long().map(str::to_owned));
    let deeper = command.get_subcommands().flat_map(hidden);
    own.chain(deeper).collect()
}

/// Completions without some options: bash has them as words, fish and zsh as lines.
fn without(text: &str, options: &[String]) -> String {
    let mut text = text.to_owned();
    for option in options {
        let is_about = |line: &&str| {
            line.contains(&format!(" -l {option} ")) || line.contains(&format!("--{option}["))
        };
        let lines = text.split_inclusive('\n').filter(|line| !is_about(line));
        text = lines
            .collect::<String>()
            .replace(&format!(" --{option}"), "");
    }
    text
}

/// Where an account is expected, its name is offered by the shells that know how.
fn with_accounts(command: Command) -> Command {
    let command = command.mut_args(|argument| match argument.get_id().as_str() {
        "user" => argument.value_hint(ValueHint::Username),
        _ => argument,
    });
    command.mut_subcommands(with_accounts)
}
