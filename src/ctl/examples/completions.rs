//! Writes the completions of totpctl for bash, zsh and fish into a folder, which `make` does after the build.
//!
//! An example and no command of totpctl's: what runs as root has no use for it, and nothing of clap_complete is in it.

#[path = "../src/cli.rs"]
#[allow(dead_code, reason = "nothing is run here, so nothing is read")]
mod cli;

use std::error::Error;
use std::fs::create_dir_all;
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
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, "totpctl", &folder)?;
    }
    Ok(())
}

/// Where an account is expected, its name is offered by the shells that know how.
fn with_accounts(command: Command) -> Command {
    let command = command.mut_args(|argument| match argument.get_id().as_str() {
        "user" => argument.value_hint(ValueHint::Username),
        _ => argument,
    });
    command.mut_subcommands(with_accounts)
}
