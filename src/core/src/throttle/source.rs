//! Where an answer comes from.

use crate::address::Address;

/// Where an answer comes from, as far as wrong ones are counted by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The place itself.
    pub address: Address,
    /// What all unfamiliar places of the user are counted under together.
    pub elsewhere: Address,
    /// A console, which is familiar to everybody.
    pub is_console: bool,
    /// No limit holds for it, and nothing is counted.
    pub is_exempt: bool,
}

impl From<Address> for Source {
    fn from(address: Address) -> Self {
        Self {
            is_console: address.is_console(),
            address,
            elsewhere: Address::Elsewhere,
            is_exempt: false,
        }
    }
}
