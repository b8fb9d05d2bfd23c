//! The codes that have been the first of two.

use crate::device::DeviceId;
use crate::otp::Step;

/// The last codes that were good as the first of two, so that each is worth one try at the second.
///
/// Of each there is a number made of its device and step, and 0 where there is none. Two have the same once in four
/// thousand million: such a code is refused, and the next one is not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Firsts([u32; Self::MAX]);

impl Firsts {
    /// Kept at most. Of more the oldest is forgotten: who has found so many others has one more try by it.
    pub const MAX: usize = 32;
    /// There were none.
    pub const NONE: Self = Self([0; Self::MAX]);

    /// Those of a record.
    pub(crate) const fn new(numbers: [u32; Self::MAX]) -> Self {
        Self(numbers)
    }

    /// For a record, the oldest first.
    pub(crate) const fn numbers(&self) -> &[u32; Self::MAX] {
        &self.0
    }

    /// Whether it was one.
    #[must_use]
    pub fn has(&self, device: DeviceId, step: Step) -> bool {
        self.0.contains(&number(device, step))
    }

    /// Takes it down.
    pub fn add(&mut self, device: DeviceId, step: Step) {
        self.0.copy_within(1.., 0);
        let [.., last] = &mut self.0;
        *last = number(device, step);
    }
}

/// The ids of devices are random.
fn number(device: DeviceId, step: Step) -> u32 {
    let [a, b, c, d, ..] = (device.0 ^ step.0).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
