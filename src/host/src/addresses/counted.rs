//! Addresses and networks as the table has them.

use totp_core::address::Address;

/// An address or network in two words: its kind and prefix, and its number.
pub(super) struct Counted(pub(super) [u64; 2]);

impl Counted {
    // What the high bits of the first word say.
    const V4: u64 = 4;
    const V6: u64 = 6;
    const UID: u64 = 1;
    const LOCAL: u64 = 2;
    const OTHER: u64 = 3;

    pub(super) fn of(words: &[u64]) -> Self {
        Self(words.first_chunk().copied().unwrap_or_default())
    }

    /// An address and the networks that it may be counted by.
    pub(super) fn levels(address: &Address) -> Vec<Self> {
        let network = |kind: u64, number: u64, bits: u64, prefix: u64| {
            let behind = u32::try_from(bits.saturating_sub(prefix)).unwrap_or(0);
            let mask = u64::MAX.checked_shl(behind).unwrap_or(0);
            Self([kind << 8 | prefix, number & mask])
        };
        match address {
            Address::V4(address) => {
                let number = u64::from(address.to_bits());
                let levels = [32, 24].map(|prefix| network(Self::V4, number, 32, prefix));
                levels.into()
            }
            Address::V6(bytes) => {
                let number = u64::from_be_bytes(*bytes);
                let levels = [64, 48, 32].map(|prefix| network(Self::V6, number, 64, prefix));
                levels.into()
            }
            Address::Uid(uid) => vec![Self([Self::UID << 8, u64::from(*uid)])],
            Address::Local => vec![Self([Self::LOCAL << 8, 0])],
            _ => vec![Self([Self::OTHER << 8, 0])],
        }
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [kind, number] = self.0;
        let prefix = kind & 0xFF;
        match kind >> 8 {
            Self::V4 => {
                let number = u32::try_from(number).unwrap_or(0);
                let address = std::net::Ipv4Addr::from_bits(number);
                match prefix {
                    32 => write!(f, "{address}"),
                    _ => write!(f, "{address}/{prefix}"),
                }
            }
            Self::V6 => {
                let address = std::net::Ipv6Addr::from_bits(u128::from(number) << 64);
                write!(f, "{address}/{prefix}")
            }
            Self::UID => write!(f, "uid:{number}"),
            Self::LOCAL => f.write_str("local"),
            _ => f.write_str("unreadable"),
        }
    }
}
