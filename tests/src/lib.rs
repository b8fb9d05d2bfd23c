//! The harness of the end-to-end tests. It knows the product only as a user does: by its files, prompts,
//! log lines and exit codes.

#![deny(unsafe_code)]

pub mod boot;
pub mod case;
pub mod cgroup;
pub mod changes;
#[allow(unsafe_code)]
pub mod clock;
pub mod crowd;
#[allow(unsafe_code)]
pub mod cycles;
// The same chance as in the models of the core.
#[allow(dead_code)]
#[path = "../../src/core/tests/model/dice.rs"]
mod dice;
pub mod disk;
pub mod disturbed;
pub mod dump;
pub mod enrolled;
pub mod example;
pub mod gateway;
pub mod ground;
pub mod held;
pub mod hostile;
pub mod kept;
#[allow(unsafe_code)]
pub mod libpam;
pub mod log;
pub mod machine;
pub mod memory;
pub mod mixed;
pub mod mounts;
pub mod owners;
pub mod package;
pub mod page;
pub mod patience;
pub mod phone;
pub mod picture;
pub mod post;
pub mod product;
pub mod recorded;
pub mod said;
pub mod screen;
pub mod secret;
pub mod skipped;
pub mod ssh_key;
pub mod terminal;
pub mod thief;
pub mod token;
pub mod tree;
pub mod trial;
#[allow(unsafe_code)]
pub mod witness;
