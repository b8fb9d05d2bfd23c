//! `totpctl`: enrolls people in pam_totp, shows where they stand and gets them back in.
#![forbid(unsafe_code)]

mod attempt;
mod backup;
mod cli;
mod contact;
mod context;
mod device;
mod disable;
mod doctor;
mod enroll;
mod example;
mod explain;
mod export;
mod failure;
mod import;
mod invite;
mod key;
mod mount;
mod new_file;
mod output;
mod proof;
mod qr;
mod repair;
mod reset;
mod resync;
mod rollout;
mod rotate;
mod show;
mod status;
mod terminal;
mod trust;
mod unlock;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Device, Trust};
use crate::context::Context;
use crate::failure::Failure;

fn main() -> ExitCode {
    totp_host::process::forbid_core_dumps();
    let _room = totp_host::process::Room::make();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let json = cli.json;
    match output::outcome(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let named = cli.config.as_deref();
    let context = || Context::new(named, cli.json);
    match cli.command {
        Command::Enroll(arguments) => match arguments.mail.as_ref().or(arguments.text.as_ref()) {
            Some(recipient) => contact::enroll(&context()?, &arguments, recipient),
            None => enroll::run(&context()?, &arguments),
        },
        Command::BackupCodes {
            user,
            regenerate: true,
            print,
        } => backup::make_codes(&context()?, &user, print),
        Command::BackupCodes { user, .. } => backup::count_codes(&context()?, &user),
        Command::BackupKey {
            user,
            regenerate: true,
            print,
            ..
        } => backup::make_key(&context()?, &user, print),
        Command::BackupKey {
            user, remove: true, ..
        } => backup::remove_key(&context()?, &user),
        Command::BackupKey { user, .. } => backup::show_key(&context()?, &user),
        Command::Device(Device::List { user }) => device::list(&context()?, &user),
        Command::Device(Device::Rename { user, from, to }) => {
            device::rename(&context()?, &user, &from, &to)
        }
        Command::Device(Device::Remove {
            user,
            device,
            force,
        }) => device::remove(&context()?, &user, &device, force),
        Command::Device(Device::Bind {
            user,
            device,
            ssh_key,
            force,
        }) => device::bind(&context()?, &user, &device, ssh_key, force),
        Command::Device(Device::Unbind { user, device }) => {
            device::unbind(&context()?, &user, &device)
        }
        Command::Disable { user, force } => disable::run(&context()?, &user, force),
        // It runs where the configuration can't be read, too.
        Command::Doctor(arguments) => doctor::run(named, cli.json, &arguments),
        Command::Explain(arguments) => explain::run(&context()?, &arguments),
        Command::Export(arguments) => export::run(&context()?, &arguments),
        Command::Import(arguments) => import::run(&context()?, &arguments),
        Command::Invite {
            user, revoke: true, ..
        } => invite::take_back(&context()?, &user),
        Command::Invite { user, expires, .. } => invite::make(&context()?, &user, expires),
        Command::Rotate { user, device, key } => rotate::run(&context()?, &user, &device, &key),
        Command::Show {
            user, device, qr, ..
        } => show::run(&context()?, &user, &device, &qr),
        Command::Repair { user, force, .. } => match user {
            Some(user) => repair::user(&context()?, &user, force),
            None => repair::all(&context()?),
        },
        Command::Resync { user, device } => resync::run(&context()?, &user, &device),
        Command::Reset { user, force } => reset::run(&context()?, &user, force),
        Command::Status {
            address: Some(address),
            ..
        } => status::of_addresses(&context()?, address.as_ref()),
        Command::Status { user, .. } => status::of_users(&context()?, user.as_deref()),
        Command::Trust(Trust::Clear { user, .. }) => match user {
            Some(user) => trust::clear(&context()?, &user),
            None => trust::clear_all(&context()?),
        },
        // What denies everybody must not keep anybody from taking it back.
        Command::Rollout(arguments) if arguments.takes_back() => {
            rollout::run(&Context::new_or_default(named, cli.json), &arguments)
        }
        Command::Rollout(arguments) => rollout::run(&context()?, &arguments),
        Command::Try(arguments) => attempt::run(&context()?, &arguments),
        Command::Unlock { user, address, .. } => match (user, address) {
            (Some(user), _) => unlock::user(&context()?, &user),
            (None, Some(address)) => unlock::address(&context()?, &address),
            (None, None) => unlock::all(&context()?),
        },
    }
}
