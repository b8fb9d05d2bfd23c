//! The two records kept of a person, and what they look like on disk.
//!
//! The [`Enrollment`] changes when a person enrolls, the [`State`] at every attempt. A login writes
//! only the second.

pub mod enrollment;
pub mod file_name;
pub mod state;

pub use enrollment::{Enrollment, Invite};
pub use file_name::{account_of, file_name};
pub use state::State;
