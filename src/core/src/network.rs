//! Networks of addresses, written `192.0.2.0/24` or `2001:db8::/32` (CIDR, RFC 4632 and RFC 4291).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Address;

/// A network of IPv4 or IPv6 addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// As IPv6; IPv4 ones are mapped.
    bits: u128,
    /// How many of the bits the network has in common.
    prefix: u8,
}

impl Network {
    /// What is expected where a network is read.
    pub const EXPECTED: &str =
        "expected networks between quotes, such as [\"192.0.2.0/24\", \"2001:db8::/32\"]";

    /// Reads an address and the length of its prefix, or an address alone. Bits behind the prefix are refused:
    /// something else was meant. So are prefixes of IPv6 networks beyond 64, since logins are told apart by 64
    /// bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, offset, most, default) = match address {
            IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 96_u8, 32, 32),
            IpAddr::V6(address) => (address.to_bits(), 0, 64, 64),
        };
        let prefix = match prefix {
            None => default,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok().filter(|prefix| *prefix <= most)?
            }
            Some(_) => return None,
        };
        let prefix = offset.saturating_add(prefix);
        let is_whole = text.contains('/') && bits & !mask(prefix) != 0;
        (!is_whole).then_some(Self {
            bits: bits & mask(prefix),
            prefix,
        })
    }

    /// Whether an address lies in this network.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        let bits = match address {
            Address::V4(address) => Ipv4Addr::to_ipv6_mapped(address).to_bits(),
            Address::V6(network) => {
                let [a, b, c, d, e, f, g, h] = *network;
                Ipv6Addr::from([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]).to_bits()
            }
            _ => return false,
        };
        bits & mask(self.prefix) == self.bits
    }
}

/// The first `prefix` of 128 bits.
fn mask(prefix: u8) -> u128 {
    let behind = 128_u32.saturating_sub(u32::from(prefix));
    u128::MAX.checked_shl(behind).unwrap_or(0)
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
        ] {
            let parsed = Network::parse(network).expect(network);
            assert!(parsed.contains(&address(inside)), "{network} {inside}");
            assert!(!parsed.contains(&address(outside)), "{network} {outside}");
            assert!(!parsed.contains(&Address::Local), "{network} local");
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
            "example.com",
            " 192.0.2.1",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
