//! The codes that have been the first of two.

use crate::device::DeviceId;
use crate::otp::Step;

/// The last codes that were good as the first of two, so that each is worth one try at the second.
///
/// Of each there is a number made of its device and step. Two have the same once in four thousand million: such a
/// code is refused, and the next one is not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Firsts(Vec<u32>);

impl Firsts {
    /// Kept at most. Of more the oldest is forgotten: who has found so many others has one more try by it.
    pub const MAX: usize = 32;

    /// Those of a record.
    pub(crate) fn new(numbers: Vec<u32>) -> Self {
        Self(numbers)
    }

    /// For a record, the oldest first.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// Whether it was one.
    #[must_use]
    pub fn has(&self, device: DeviceId, step: Step) -> bool {
        self.0.contains(&number(device, step))
    }

    /// Takes it down.
    pub fn add(&mut self, device: DeviceId, step: Step) {
        self.0.push(number(device, step));
        let excess = self.0.len().saturating_sub(Self::MAX);
        self.0.drain(..excess);
    }
}

/// The ids of devices are random.
fn number(device: DeviceId, step: Step) -> u32 {
    let [a, b, c, d, ..] = (device.0 ^ step.0).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
