//! Networks of addresses, written `192.0.2.0/24` or `2001:db8::/32` (CIDR, RFC 4632 and RFC 4291).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::{Address, embeds};

/// A network of addresses of one family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// IPv4: the first address, and how many of its 32 bits all have in common.
    V4(u32, u32),
    /// IPv6: the first 64 bits of the first address, and how many of them all have in common.
    V6(u64, u32),
}

impl Network {
    /// What is expected where a network is read.
    pub const EXPECTED: &str =
        "expected networks between quotes, such as [\"192.0.2.0/24\", \"2001:db8::/32\"]";

    /// Reads an address and the length of its prefix, or an address alone. Bits behind the prefix are refused:
    /// something else was meant. So are prefixes of IPv6 networks beyond 64, since logins are told apart by 64
    /// bits, and IPv4 addresses in IPv6's clothes or translated, since logins from them count as IPv4.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::around(text).and_then(|(network, has_host_bits)| (!has_host_bits).then_some(network))
    }

    /// The network that an address with a prefix lies in, and whether the address has bits behind the prefix.
    #[must_use]
    pub fn around(text: &str) -> Option<(Self, bool)> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let is_whole = prefix.is_some();
        let prefix = |most: u32| match prefix {
            None => Some(most),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|prefix| *prefix <= most)
            }
            Some(_) => None,
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let (bits, prefix) = (address.to_bits(), prefix(32)?);
                let first = bits & mask_v4(prefix);
                Some((Self::V4(first, prefix), first != bits))
            }
            IpAddr::V6(address) if embeds(address) => None,
            IpAddr::V6(address) => {
                let bits = high_half(&address);
                let behind = address.to_bits() & u128::from(u64::MAX);
                let prefix = prefix(64)?;
                let first = bits & mask_v6(prefix);
                let has_host_bits = first != bits || is_whole && behind != 0;
                Some((Self::V6(first, prefix), has_host_bits))
            }
        }
    }

    /// Whether an address lies in this network.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::V4(bits, prefix), Address::V4(address)) => {
                address.to_bits() & mask_v4(*prefix) == *bits
            }
            (Self::V6(bits, prefix), Address::V6(network)) => {
                u64::from_be_bytes(*network) & mask_v6(*prefix) == *bits
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(bits, prefix) => write!(f, "{}/{prefix}", Ipv4Addr::from_bits(*bits)),
            Self::V6(bits, prefix) => {
                let bits = u128::from(*bits) << 64;
                write!(f, "{}/{prefix}", Ipv6Addr::from_bits(bits))
            }
        }
    }
}

fn high_half(address: &Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() >> 64).unwrap_or(0)
}

/// The first `prefix` of 32 bits.
fn mask_v4(prefix: u32) -> u32 {
    let behind = 32_u32.saturating_sub(prefix);
    u32::MAX.checked_shl(behind).unwrap_or(0)
}

/// The first `prefix` of 64 bits.
fn mask_v6(prefix: u32) -> u64 {
    let behind = 64_u32.saturating_sub(prefix);
    u64::MAX.checked_shl(behind).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Origin;

    fn address(rhost: &str) -> Address {
        Address::of(&Origin {
            rhost: Some(rhost),
            ..Origin::default()
        })
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::"),
            ("2001:db8:0:1::/64", "2001:db8:0:1::9", "2001:db8:0:2::9"),
            ("::/0", "2001:db8::1", "not an address"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("::1", "::1", "203.0.113.9"),
            ("::/64", "::1", "0.0.0.0"),
            ("::/48", "::1", "::ffff:203.0.113.9"),
        ] {
            let parsed = Network::parse(network).expect(network);
            assert!(parsed.contains(&address(inside)), "{network} {inside}");
            assert!(!parsed.contains(&address(outside)), "{network} {outside}");
            assert!(!parsed.contains(&Address::Local), "{network} local");
        }
    }

    #[test]
    fn of_an_address_with_host_bits_the_network_is_told() {
        for (text, network) in [
            ("192.0.2.1/28", Some("192.0.2.0/28")),
            ("192.0.2.1/0", Some("0.0.0.0/0")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("2001:db8:0:1::/48", Some("2001:db8::/48")),
            ("192.0.2.0/28", None),
            ("192.0.2.1", None),
            ("192.0.2.1/33", None),
            ("2001:db8::1/65", None),
            ("::ffff:192.0.2.1/24", None),
            ("host/28", None),
        ] {
            let around = Network::around(text).filter(|(_, has_host_bits)| *has_host_bits);
            let around = around.map(|(network, _)| network.to_string());
            assert_eq!(around.as_deref(), network, "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "192.0.2.0/",
            "/24",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "192.0.2.0/24/24",
            "192.0.2.1/24",
            "192.0.2/24",
            "192.0.2.0/255.255.255.0",
            "2001:db8::/65",
            "2001:db8::1/64",
            "fe80::1%eth0",
            "::ffff:192.0.2.1",
            "64:ff9b::192.0.2.1",
            "64:ff9b::/64",
            "::ffff:0:0/96",
            "example.com",
            " 192.0.2.1",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
