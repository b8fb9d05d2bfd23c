//! The harness of the end-to-end tests. It knows the product only as a user does: by its files, prompts,
//! log lines and exit codes.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod clock;
pub mod crowd;
pub mod enrolled;
pub mod example;
#[allow(unsafe_code)]
pub mod libpam;
pub mod log;
pub mod machine;
pub mod memory;
pub mod mounts;
pub mod phone;
pub mod picture;
pub mod product;
pub mod terminal;
pub mod tree;
