//! What happens in order, told against the three doors.

pub mod arguments;
pub mod authenticate;
pub mod confirm;
pub mod deliver;
pub mod enroll;
pub mod first_pass;
pub mod plan;

pub use arguments::Arguments;
pub use authenticate::{Options, Outcome, Request, authenticate};
pub use confirm::{Confirmation, confirm};
pub use deliver::Courier;
pub use enroll::Enrolled;
pub use first_pass::FirstPass;
pub use plan::{Next, Plan, plan};
