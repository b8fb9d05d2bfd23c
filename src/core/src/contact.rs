//! A contact: where codes are sent to somebody, by mail or by text message.

use std::fmt;

use crate::device::{DeviceId, DeviceName};
use crate::time::Time;

/// Where codes are sent to, as it was enrolled. Codes that are sent come from it as those of an app come from a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contact {
    /// Made anew with each; the state of logins is kept under it.
    pub id: DeviceId,
    /// What its owner calls it: no device has the same name.
    pub name: DeviceName,
    /// Where to.
    pub recipient: Recipient,
    /// When it was enrolled.
    pub enrolled: Time,
}

/// How a code gets to somebody. Nobody has two contacts of one kind.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Channel {
    /// By mail.
    Mail,
    /// By text message.
    Text,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Mail, Self::Text];

    /// The letter that asks for a code at a prompt.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Mail => b'm',
            Self::Text => b't',
        }
    }

    /// The key of the configuration, and of the secret file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Text => "text",
        }
    }

    /// The words for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Mail => "by mail",
            Self::Text => "by text message",
        }
    }
}

/// One mailbox or one telephone, in a form that no command and no header takes for anything else. `Display` masks it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    channel: Channel,
    address: String,
}

impl Recipient {
    /// What is expected of a mail address.
    pub const MAIL: &str = "expected one mail address such as alice@example.org";
    /// The longest masked address, in characters.
    pub const MAX_MASKED_CHARS: usize = 40;
    /// What is expected of a telephone's number.
    pub const NUMBER: &str =
        "expected one number in international form, + and 7 to 15 digits (ITU-T E.164)";

    /// The recipient of that address, where it is one.
    #[must_use]
    pub fn new(channel: Channel, address: &str) -> Option<Self> {
        let address = match channel {
            Channel::Mail => mailbox(address)?,
            Channel::Text => number(address)?,
        };
        Some(Self { channel, address })
    }

    /// Mail or text message.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The masked address in ASCII: the log escapes all other bytes.
    #[must_use]
    pub fn for_log(&self) -> String {
        self.to_string().replace('…', "...")
    }

    /// The whole address, for whoever sends.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Enough of an address for its owner to know it by: `a…@b.c`, `…1234`.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.split_once('@') {
            Some((local, domain)) => {
                let first = local.chars().next().unwrap_or('?');
                let hidden = domain
                    .len()
                    .saturating_sub(Self::MAX_MASKED_CHARS.saturating_sub(4));
                let (dots, end) = match domain.get(hidden..) {
                    Some(end) if hidden > 0 => ("…", end),
                    _ => ("", domain),
                };
                write!(f, "{first}…@{dots}{end}")
            }
            None => {
                let hidden = self.address.len().saturating_sub(4);
                write!(f, "…{}", self.address.get(hidden..).unwrap_or_default())
            }
        }
    }
}

/// An addr-spec of RFC 5322 section 3.4.1, as far as it is a dot-atom at a host's name; its lengths as in RFC 5321
/// section 4.5.3.1. Quoted parts, comments, literals and what is not ASCII are not taken.
fn mailbox(text: &str) -> Option<String> {
    let is_atom = |part: &str| {
        let is_atext =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte);
        !part.is_empty() && part.bytes().all(is_atext)
    };
    let is_label = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_edged = part.starts_with('-') || part.ends_with('-');
        (1..=63).contains(&part.len()) && part.bytes().all(is_plain) && !is_edged
    };
    let (local, domain) = text.split_once('@')?;
    let is_mailbox = local.len() <= 64
        && domain.len() <= 255
        && local.split('.').all(is_atom)
        && domain.split('.').all(is_label)
        // A command could take it for an option of its own.
        && !local.starts_with('-');
    is_mailbox.then(|| text.to_owned())
}

/// A number of ITU-T E.164; blanks and dashes are left out.
fn number(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let digits = plain.strip_prefix('+')?;
    let is_number = (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    is_number.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_plain_and_single() {
        let long = format!("{}@example.org", "x".repeat(64));
        for address in [
            "a@b.c",
            "alice.b+totp@mail.example.org",
            "o'neil@example",
            &long,
        ] {
            assert!(
                Recipient::new(Channel::Mail, address).is_some(),
                "{address}"
            );
        }
        let longer = format!("{}@example.org", "x".repeat(65));
        for address in [
            "",
            "a",
            "a@",
            "@b.c",
            "a@b@c",
            "-oQ/tmp@b.c",
            "a@-b.c",
            "a b@c.d",
            "a@b.c ",
            "a@b.c,d@e.f",
            "a@b.c\nBcc: d@e.f",
            "a@b.c\r",
            "a@b..c",
            ".a@b.c",
            "a..b@c.d",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            "Alice <a@b.c>",
            "a@b.c(x)",
            "é@b.c",
            "a@é.c",
            "a\0@b.c",
            &longer,
        ] {
            assert_eq!(Recipient::new(Channel::Mail, address), None, "{address:?}");
        }
    }

    #[test]
    fn numbers_are_international() {
        for (typed, known) in [
            ("+41791234567", "+41791234567"),
            ("+41 79 123-45-67", "+41791234567"),
            ("+1234567", "+1234567"),
        ] {
            let recipient = Recipient::new(Channel::Text, typed).unwrap();
            assert_eq!(recipient.address(), known);
        }
        for number in [
            "",
            "+",
            "0791234567",
            "+0791234567",
            "+123456",
            "+1234567890123456",
            "-41791234567",
            "+4179123456x",
            "+41791234567,+41791234568",
            "+41791234567\n",
            "+４１７９１２３４５６７",
        ] {
            assert_eq!(Recipient::new(Channel::Text, number), None, "{number:?}");
        }
    }

    #[test]
    fn addresses_are_masked() {
        let shown = |channel, address| Recipient::new(channel, address).unwrap().to_string();
        assert_eq!(shown(Channel::Mail, "alice@b.c"), "a…@b.c");
        assert_eq!(shown(Channel::Mail, "a@b.c"), "a…@b.c");
        assert_eq!(shown(Channel::Text, "+41791231234"), "…1234");
        let long = format!("a@{}example.org", "x.".repeat(30));
        let masked = shown(Channel::Mail, &long);
        assert!(
            masked.starts_with("a…@…") && masked.ends_with(".example.org"),
            "{masked}"
        );
        assert_eq!(masked.chars().count(), Recipient::MAX_MASKED_CHARS);
    }
}
