//! The pure part of pam_totp: one-time codes, the records kept of people and logins, and the judging.
//!
//! Nothing here touches a file, a clock or a person. The world comes in through the three traits of
//! [`doors`]; everything else is a function from values to values. Start reading at [`judge::judge`]
//! (the decision) and [`flow::authenticate`] (one login from its first question to its verdict).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod address;
pub mod answer;
pub mod backup_code;
mod bounded;
pub mod challenge;
pub mod config;
pub mod contact;
pub mod delivery;
pub mod device;
pub mod document;
pub mod doors;
pub mod event;
pub mod flow;
pub mod judge;
pub mod key_uri;
pub mod message;
pub mod network;
pub mod otp;
pub mod policy;
pub mod qr;
pub mod reach;
pub mod record;
pub mod repair;
pub mod secret;
pub mod ssh_key;
pub mod throttle;
pub mod time;
pub mod trust;
