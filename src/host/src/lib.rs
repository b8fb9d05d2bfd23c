//! The operating system as pam_totp sees it: files that are checked before they are believed, the
//! records of people on disk, locks, accounts, the clock and the log.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod account;
pub mod addresses;
pub mod clock;
pub mod command;
pub mod config;
mod decoy;
pub mod enroll_stack;
pub mod error;
pub mod file;
pub mod folder;
pub mod home;
pub mod lock;
pub mod log;
pub mod meter;
pub mod pam;
pub mod process;
mod shared;
// The end-to-end tests' own.
#[cfg(test)]
#[path = "../../../tests/src/skipped.rs"]
mod skipped;
pub mod slot;
mod stack;
pub mod store;
pub mod system;
pub mod terminal;
pub mod volume;
