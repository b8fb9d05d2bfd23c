//! Where a login comes from: what wrong answers are counted by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One place that a login can come from. Comparing and printing need no name service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A whole IPv4 address; v4-mapped IPv6 addresses are folded into it.
    V4(Ipv4Addr),
    /// An IPv6 network of 64 bits: whoever has one address of it has them all.
    V6([u8; 8]),
    /// The caller's real user id: sudo and su.
    Uid(u32),
    /// A real console, such as `tty1` or `ttyS0`.
    Tty(TtyName),
    /// On this machine, and nothing more is known.
    Local,
    /// A remote host that was given neither as an address nor in a form that leads to one.
    Unreadable,
    /// All the remote addresses that came while a user's table was full.
    Crowd,
    /// All the local ones but consoles.
    LocalCrowd,
    /// All the consoles.
    ConsoleCrowd,
    /// All the addresses that are not familiar to a user, together.
    Elsewhere,
    /// A keyed hash of a name and an address, in the tables of people who are not enrolled.
    Masked(u64),
}

/// What a PAM application says of a login's origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// PAM_RHOST.
    pub rhost: Option<&'a str>,
    /// SSH_CONNECTION of the PAM environment: client address, client port, server address, server port.
    pub ssh_connection: Option<&'a str>,
    /// PAM_TTY.
    pub tty: Option<&'a str>,
    /// The user id of PAM_RUSER, where that names an account.
    pub ruser_uid: Option<u32>,
    /// The calling process's real user id.
    pub real_uid: u32,
}

impl Origin<'_> {
    /// The user who runs su or sudo, where that is not root.
    fn caller(&self) -> Option<u32> {
        let uid = match self.real_uid {
            0 => self.ruser_uid.unwrap_or(0),
            uid => uid,
        };
        (uid != 0).then_some(uid)
    }
}

impl Address {
    /// Bytes of the longest one in a record.
    pub const MAX_BYTES: usize = 2 + TtyName::MAX_BYTES;
    /// What is expected where one is read.
    pub const EXPECTED: &str =
        "expected an IP address, uid:NUMBER, tty:NAME, local or unreadable, as the log shows it";

    /// The address of a login.
    #[must_use]
    pub fn of(origin: &Origin<'_>) -> Self {
        if let Some(rhost) = origin.rhost.filter(|rhost| !rhost.is_empty()) {
            // With `UseDNS yes` sshd gives a name here, which its owner chose; the address is beside it.
            let connected = || origin.ssh_connection?.split(' ').next()?.parse().ok();
            if let Some(remote) = rhost.parse().ok().or_else(connected) {
                return Self::remote(remote);
            }
            // `Defaults pam_rhost` makes sudo give this host's own name. PAM_RUSER is no help here: of a
            // remote host it is whatever that host says.
            return match origin.real_uid {
                0 => Self::Unreadable,
                uid => Self::Uid(uid),
            };
        }
        if let Some(uid) = origin.caller() {
            return Self::Uid(uid);
        }
        let console = origin.tty.and_then(TtyName::console);
        console.map_or(Self::Local, Self::Tty)
    }

    /// The address that is shown so, in the log and by totpctl; any address of its network stands for an IPv6 one.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        if let Some(uid) = text.strip_prefix("uid:") {
            return uid.parse().ok().map(Self::Uid);
        }
        if let Some(tty) = text.strip_prefix("tty:") {
            return TtyName::console(tty).map(Self::Tty);
        }
        let remote = text.strip_suffix("/64").unwrap_or(text);
        match text {
            "local" => Some(Self::Local),
            "unreadable" => Some(Self::Unreadable),
            _ => remote.parse().ok().map(Self::remote),
        }
    }

    /// Whether only somebody who already is on this machine, or at it, has this address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Local | Self::LocalCrowd) || self.is_console()
    }

    /// Whether only somebody at this machine has this address.
    #[must_use]
    pub fn is_console(&self) -> bool {
        matches!(self, Self::Tty(_) | Self::ConsoleCrowd)
    }

    /// Whether it is one place: what several share is familiar to nobody.
    #[must_use]
    pub fn is_one_place(&self) -> bool {
        matches!(
            self,
            Self::V4(_) | Self::V6(_) | Self::Uid(_) | Self::Tty(_)
        )
    }

    /// The place that this address shares with others where there is no room for one of its own.
    #[must_use]
    pub fn crowd(&self) -> Self {
        if self.is_console() {
            Self::ConsoleCrowd
        } else if self.is_local() {
            Self::LocalCrowd
        } else {
            Self::Crowd
        }
    }

    fn remote(Remote(address): Remote) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) => Self::V4(address),
                None => {
                    let [a, b, c, d, e, f, g, h, ..] = address.octets();
                    Self::V6([a, b, c, d, e, f, g, h])
                }
            },
        }
    }
}

/// The IPv4 address in an IPv6 one: one in its clothes (RFC 4291, 2.5.5.2), or one that a translator has sent on
/// (RFC 6052, 2.1).
pub(crate) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let translated = || u32::try_from(address.to_bits() ^ TRANSLATED).ok();
    // Without an address in it, it is the network that this one is shown as.
    let translated = || translated().filter(|bits| *bits != 0).map(Ipv4Addr::from);
    address.to_ipv4_mapped().or_else(translated)
}

/// Whether logins from a network of that address count as IPv4.
pub(crate) fn embeds(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some() || address.to_bits() >> 64 == TRANSLATED >> 64
}

const TRANSLATED: u128 = 0x0064_FF9B << 96;

/// An IP address as text, with the zone that link-local ones carry left off (`fe80::1%eth0`).
struct Remote(IpAddr);

impl FromStr for Remote {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unzoned = text.split('%').next().unwrap_or(text);
        unzoned.parse().map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6([a, b, c, d, e, g, h, i]) => {
                let address =
                    Ipv6Addr::from([*a, *b, *c, *d, *e, *g, *h, *i, 0, 0, 0, 0, 0, 0, 0, 0]);
                write!(f, "{address}/64")
            }
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Tty(name) => write!(f, "tty:{}", name.as_str()),
            Self::Local => f.write_str("local"),
            Self::Unreadable => f.write_str("unreadable"),
            Self::Crowd => f.write_str("crowd"),
            Self::LocalCrowd => f.write_str("local-crowd"),
            Self::ConsoleCrowd => f.write_str("console-crowd"),
            Self::Elsewhere => f.write_str("elsewhere"),
            Self::Masked(hash) => write!(f, "masked:{hash:016x}"),
        }
    }
}

/// The name of a console below /dev, 1 to 16 bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TtyName(String);

impl TtyName {
    /// Longest name kept.
    pub const MAX_BYTES: usize = 16;

    /// The name of a device that only somebody at the machine (or at its serial line) has: virtual
    /// consoles and serial ports. Pseudo-terminals are not consoles.
    #[must_use]
    pub fn console(tty: &str) -> Option<Self> {
        const CONSOLES: [&str; 6] = ["ttyS", "ttyAMA", "ttyUSB", "hvc", "xvc", "tty"];
        let name = tty.strip_prefix("/dev/").unwrap_or(tty);
        let numbered = CONSOLES.iter().find_map(|kind| name.strip_prefix(kind));
        let is_console = name == "console"
            || numbered.is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        (is_console && name.len() <= Self::MAX_BYTES).then(|| Self(name.to_owned()))
    }

    /// The name, without `/dev/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(origin: &Origin<'_>) -> String {
        Address::of(origin).to_string()
    }

    #[test]
    fn remote_hosts_count_by_address() {
        for (rhost, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("64:ff9b::c000:207", "192.0.2.7"),
            ("64:ff9b::1:c000:207", "64:ff9b::/64"),
            ("64:ff9b::", "64:ff9b::/64"),
            ("64:ff9b:1::c000:207", "64:ff9b:1::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            ("client.example.com", "unreadable"),
            ("192.0.2.7.", "unreadable"),
            ("0xc0000207", "unreadable"),
            (" 192.0.2.7", "unreadable"),
            ("%eth0", "unreadable"),
        ] {
            let origin = Origin {
                rhost: Some(rhost),
                ..Origin::default()
            };
            assert_eq!(address(&origin), expected, "{rhost}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for text in [
            "192.0.2.7",
            "2001:db8:1:2::/64",
            "uid:1000",
            "tty:ttyS0",
            "local",
            "unreadable",
        ] {
            let address = Address::named(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        let inside = Address::named("2001:db8:1:2::9");
        assert_eq!(inside, Address::named("2001:db8:1:2::/64"));
        for text in [
            "",
            "uid:",
            "uid:-1",
            "tty:pts/3",
            "192.0.2.0/24",
            "example.com",
            "Local",
        ] {
            assert_eq!(Address::named(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_name_is_not_believed_where_sshd_tells_the_address() {
        let mut origin = Origin {
            rhost: Some("trusted.example.com"),
            ssh_connection: Some("203.0.113.9 50222 192.0.2.1 22"),
            ..Origin::default()
        };
        assert_eq!(address(&origin), "203.0.113.9");
        origin.ssh_connection = Some("UNKNOWN 65535 UNKNOWN 65535");
        assert_eq!(address(&origin), "unreadable");
    }

    #[test]
    fn local_callers_count_by_user_id_then_by_console() {
        let base = Origin {
            rhost: Some(""),
            ..Origin::default()
        };
        for (origin, expected) in [
            (
                Origin {
                    real_uid: 1000,
                    tty: Some("/dev/tty1"),
                    ..base
                },
                "uid:1000",
            ),
            (
                Origin {
                    ruser_uid: Some(1001),
                    ..base
                },
                "uid:1001",
            ),
            (
                Origin {
                    ruser_uid: Some(0),
                    tty: Some("tty2"),
                    ..base
                },
                "tty:tty2",
            ),
            (
                Origin {
                    tty: Some("/dev/ttyS0"),
                    ..base
                },
                "tty:ttyS0",
            ),
            (
                Origin {
                    tty: Some("/dev/pts/3"),
                    ..base
                },
                "local",
            ),
            (
                Origin {
                    tty: Some("ssh"),
                    ..base
                },
                "local",
            ),
            (
                Origin {
                    tty: Some("tty"),
                    ..base
                },
                "local",
            ),
            (
                Origin {
                    tty: Some("tty1\n"),
                    ..base
                },
                "local",
            ),
            (
                Origin {
                    tty: Some("tty11111111111111"),
                    ..base
                },
                "local",
            ),
            (
                Origin {
                    rhost: Some("this-host"),
                    real_uid: 1000,
                    ..base
                },
                "uid:1000",
            ),
            (base, "local"),
        ] {
            assert_eq!(address(&origin), expected);
        }
    }
}
