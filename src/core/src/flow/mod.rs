//! What happens in order, told against the three doors.

pub mod authenticate;
pub mod confirm;

pub use authenticate::{Options, Outcome, Request, authenticate};
pub use confirm::{Confirmation, confirm};
