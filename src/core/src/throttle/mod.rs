//! The limits on wrong answers: who may try, who must wait, and how long.
//!
//! | limit | counts wrong answers | then |
//! |---|---|---|
//! | `deny` | of one user from one address, in `interval` | the address is refused for that user for `lock_time` |
//! | `address_deny` | from one address, of all users it is not familiar to | the address is refused for all of them |
//! | `daily` | of one user in 24 hours: from all unfamiliar addresses together, and from each familiar one | only two codes in a row are judged |
//! | `user_limit` | of one user from unfamiliar addresses, since a login from one was accepted | the same |
//!
//! An address is *familiar* to a user for a while after a code of that user was accepted from it; a console
//! always is. All of it but `address_deny` is kept in the user's [`Tally`]; that one limit spans users, and
//! its counts are kept by address.

mod firsts;
mod limits;
mod mark;
mod place;
mod rule;
mod source;
mod standing;
mod tally;

pub use firsts::Firsts;
pub use limits::{AddressDeny, Daily, Deny, Limits, UserLimit};
pub use mark::Mark;
pub use place::{Place, Pool};
pub use rule::{Rule, merge};
pub use source::Source;
pub use standing::{Codes, Limit, Refusal, Standing};
pub use tally::Tally;
