//! A device: a named thing that makes codes, such as a phone or a token.

use std::fmt;

use crate::config::{Verify, Window};
use crate::doors::Entropy;
use crate::otp::Otp;
use crate::secret::Secret;
use crate::ssh_key::Fingerprint;
use crate::time::Time;

/// A device as it was enrolled.
#[derive(Clone)]
pub struct Device {
    /// Made anew with each secret; the state of logins is kept under it.
    pub id: DeviceId,
    /// What its owner calls it.
    pub name: DeviceName,
    /// How it makes codes.
    pub otp: Otp,
    /// What it makes them of.
    pub secret: Secret,
    /// When it was enrolled.
    pub enrolled: Time,
    /// The one ssh key that it serves beside; `None` where it serves any login.
    pub ssh_key: Option<Fingerprint>,
    /// Steps accepted on each side of its time, where they are fewer than of other devices.
    pub window: Option<Window>,
}

/// 64 random bits that tell one enrollment of a device from every other, even of the same name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Device {
    /// Whether this device and `other`, by whatever names, make the same codes: they have one secret. Of more digits a
    /// code is the same but for the first ones.
    #[must_use]
    pub fn makes_codes_of(&self, other: &Self) -> bool {
        let steps = |device: &Self| (device.otp.algorithm, device.otp.factor);
        steps(self) == steps(other) && self.secret.is(&other.secret)
    }

    /// How its codes are verified.
    #[must_use]
    pub fn verify(&self, usual: &Verify) -> Verify {
        let own = self.window.filter(|own| own.get() < usual.window.get());
        Verify {
            window: own.unwrap_or(usual.window),
            ..*usual
        }
    }

    /// Whether it counts for a login that has shown these ssh keys.
    #[must_use]
    pub fn serves(&self, ssh_keys: &[Fingerprint]) -> bool {
        self.ssh_key.is_none_or(|key| ssh_keys.contains(&key))
    }

    /// What people are compared with who are not enrolled. The state that goes with it accepts nothing.
    #[must_use]
    pub fn decoy() -> Self {
        Self {
            id: DeviceId::DECOY,
            name: DeviceName("decoy".to_owned()),
            otp: Otp::default(),
            secret: Secret::decoy(),
            enrolled: Time::from_unix(0),
            ssh_key: None,
            window: None,
        }
    }
}

impl DeviceId {
    /// An id that no other device has.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn random(entropy: &(impl Entropy + ?Sized)) -> Result<Self, String> {
        random_u64(entropy).map(Self)
    }

    /// The id of [`Device::decoy`].
    pub const DECOY: Self = Self(0);
    /// What is expected where an id is read.
    pub const EXPECTED: &str = "expected an id of 16 hexadecimal digits in lower case";

    /// Reads the one spelling that an id has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = u64::from_str_radix(text, 16).map(Self).ok()?;
        (id.to_string() == text).then_some(id)
    }
}

/// 64 random bits.
///
/// # Errors
/// Where there is no entropy.
pub(crate) fn random_u64(entropy: &(impl Entropy + ?Sized)) -> Result<u64, String> {
    let bytes = entropy.random(8)?;
    let bytes = bytes.first_chunk().ok_or("no entropy")?;
    Ok(u64::from_be_bytes(*bytes))
}

/// The name of a device: 1 to 32 letters, digits, dots, dashes and underscores, a letter or digit first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceName(String);

impl Default for DeviceName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl DeviceName {
    /// Longest name.
    pub const MAX_BYTES: usize = 32;
    /// What is expected where a name is read.
    pub const EXPECTED: &str =
        "expected a device name of 1 to 32 letters, digits, dots, dashes and underscores";

    /// That of a device that nobody gave one.
    pub const DEFAULT: &str = "phone";

    /// The name, where it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_name = starts_well && text.len() <= Self::MAX_BYTES && text.bytes().all(allowed);
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["phone", "Pixel-9", "token_2.alice", "7", &"x".repeat(32)] {
            assert_eq!(DeviceName::parse(name).map(|n| n.0).as_deref(), Some(name));
        }
        for name in [
            "",
            "-phone",
            ".phone",
            "my phone",
            "phone\n",
            "téléphone",
            &"x".repeat(33),
        ] {
            assert_eq!(DeviceName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!(DeviceId::parse("00000000000000ff"), Some(DeviceId(255)));
        assert_eq!(DeviceId(255).to_string(), "00000000000000ff");
        for id in [
            "ff",
            "00000000000000FF",
            "+0000000000000ff",
            "00000000000000fff",
        ] {
            assert_eq!(DeviceId::parse(id), None, "{id}");
        }
    }
}
