//! The first of two codes in a row.

use crate::address::Address;
use crate::device::DeviceId;
use crate::otp::Step;
use crate::time::{Span, Time};

/// The first of two codes in a row, right by itself and waiting for the second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Where it was given, and where the second is expected.
    pub address: Address,
    /// Whose code it is.
    pub device: DeviceId,
    /// Its step.
    pub step: Step,
    /// When it was given.
    pub at: Time,
    /// How long it waits, in seconds: two periods of the device.
    pub lasts: u8,
}

impl Mark {
    /// Marks of a user at most.
    pub const MAX: usize = 4;
    /// Bytes of its record at most.
    pub const MAX_BYTES: usize = Address::MAX_BYTES + 8 + 8 + 4 + 1;

    pub(super) fn is_live(&self, now: Time) -> bool {
        now.since(self.at) < Span::from_seconds(u32::from(self.lasts))
    }
}
