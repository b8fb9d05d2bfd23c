//! The log: one line an event, fixed `key=value` fields, nothing in it that could break a line.

use std::fmt;

use crate::address::Address;
use crate::time::Time;

/// How loud an event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Somebody has to do something.
    Error,
    /// Somebody may want to look.
    Warning,
    /// The usual.
    Notice,
    /// Only where the stack's line says `debug`.
    Debug,
}

/// A change of somebody's factors. Each is logged, and is what the owner of an account wants to hear of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// New backup codes, which void those of before.
    BackupCodesMade,
    /// A new backup key, which voids the one before.
    BackupKeyMade,
    /// The backup key is void.
    BackupKeyRemoved,
    /// The backup key removed all there was.
    BackupKeyUsed,
    /// A device serves beside one ssh key only.
    Bound,
    /// All devices and codes are gone, by a code.
    Disabled,
    /// The same without one.
    DisabledByForce,
    /// A new device.
    Enrolled,
    /// The keys of devices were written out.
    Exported,
    /// Devices that came from elsewhere, and codes.
    Imported,
    /// Somebody may enroll at a login.
    Invited,
    /// The invite is void.
    InviteRevoked,
    /// A device is gone, by a code.
    Removed,
    /// The same without one.
    RemovedByForce,
    /// A device has another name.
    Renamed,
    /// The codes of before are used up, and backup codes void.
    Repaired,
    /// All that was kept of an account is gone.
    Reset,
    /// A device was set right by two codes.
    Resynced,
    /// A device has a new key.
    Rotated,
    /// Somebody has looked at a device's key.
    Shown,
    /// The person is asked everywhere again.
    TrustCleared,
    /// A device serves any login again.
    Unbound,
}

impl Change {
    /// Whether the account's owner is told of it, where the site has that.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Renamed | Self::Resynced | Self::TrustCleared)
    }

    /// The word for it in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BackupCodesMade => "backup-codes-made",
            Self::BackupKeyMade => "backup-key-made",
            Self::BackupKeyRemoved => "backup-key-removed",
            Self::BackupKeyUsed => "backup-key-used",
            Self::Bound => "bound",
            Self::Disabled => "disabled",
            Self::DisabledByForce => "disabled-by-force",
            Self::Enrolled => "enrolled",
            Self::Exported => "exported",
            Self::Imported => "imported",
            Self::Invited => "invited",
            Self::InviteRevoked => "invite-revoked",
            Self::Removed => "removed",
            Self::RemovedByForce => "removed-by-force",
            Self::Renamed => "renamed",
            Self::Repaired => "repaired",
            Self::Reset => "reset",
            Self::Resynced => "resynced",
            Self::Rotated => "rotated",
            Self::Shown => "shown",
            Self::TrustCleared => "trust-cleared",
            Self::Unbound => "unbound",
        }
    }
}

/// One line of the log. Secrets, codes and answers have no field to be in.
#[derive(Clone, Debug)]
pub struct Event {
    /// How loud.
    pub severity: Severity,
    /// What happened: a word.
    pub name: &'static str,
    /// To whose account; `None` for names that are no account, since people type passwords there.
    pub user: Option<String>,
    /// By which PAM service.
    pub service: Option<String>,
    /// From where.
    pub address: Option<Address>,
    /// With which device.
    pub device: Option<String>,
    /// Why, and for errors what to do next.
    pub reason: Option<String>,
    /// Wrong answers left.
    pub left: Option<u8>,
    /// When a lock runs out.
    pub until: Option<Time>,
    /// How many such events it stands for, where that is more than one.
    pub count: Option<u32>,
    /// Who did it, where that is an administrator.
    pub actor: Option<String>,
}

impl Event {
    /// An event with no field set but its name.
    #[must_use]
    pub fn new(severity: Severity, name: &'static str) -> Self {
        Self {
            severity,
            name,
            user: None,
            service: None,
            address: None,
            device: None,
            reason: None,
            left: None,
            until: None,
            count: None,
            actor: None,
        }
    }

    /// The same event with a reason.
    #[must_use]
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={}", self.name)?;
        let address = self.address.as_ref().map(ToString::to_string);
        let left = self.left.map(|left| left.to_string());
        let until = self.until.map(|until| until.to_string());
        for (key, value) in [
            ("user", &self.user),
            ("service", &self.service),
            ("address", &address),
            ("device", &self.device),
            ("reason", &self.reason),
            ("left", &left),
            ("until", &until),
        ] {
            write!(f, " {key}={}", Value(value.as_deref().unwrap_or("-")))?;
        }
        if let Some(count) = self.count {
            write!(f, " count={count}")?;
        }
        match &self.actor {
            Some(actor) => write!(f, " actor={}", Value(actor)),
            None => Ok(()),
        }
    }
}

/// A value as the log shows it: at most 256 bytes, quoted where it is more than one plain word, everything
/// but printable ASCII escaped.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_BYTES: usize = 256;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@%+,".contains(&byte);
        let is_plain = !self.0.is_empty() && self.0.bytes().all(plain);
        let quote = if is_plain { "" } else { "\"" };
        f.write_str(quote)?;
        let mut room = MAX_BYTES;
        for byte in self.0.bytes() {
            let shown = byte.escape_ascii();
            room = match room.checked_sub(shown.len()) {
                Some(room) => room,
                None => {
                    f.write_str("...")?;
                    break;
                }
            };
            write!(f, "{shown}")?;
        }
        f.write_str(quote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_all_fields_in_order() {
        let event = Event {
            user: Some("alice".to_owned()),
            service: Some("sshd".to_owned()),
            address: Some(Address::Uid(1000)),
            left: Some(2),
            until: Some(Time::from_unix(0)),
            ..Event::new(Severity::Notice, "wrong").because("the code doesn't fit")
        };
        assert_eq!(
            event.to_string(),
            "event=wrong user=alice service=sshd address=uid:1000 device=- \
             reason=\"the code doesn\\'t fit\" left=2 until=1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn t55_no_value_breaks_out_of_its_field() {
        for (value, shown) in [
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("a\" user=root x=\"", "\"a\\\" user=root x=\\\"\""),
            ("a\nevent=accepted", "\"a\\nevent=accepted\""),
            ("\x1b[2J\0", "\"\\x1b[2J\\x00\""),
            ("é", "\"\\xc3\\xa9\""),
            ("back\\slash", "\"back\\\\slash\""),
        ] {
            assert_eq!(Value(value).to_string(), shown);
        }
        let long = Value(&"x".repeat(300)).to_string();
        assert_eq!(long, format!("{}...", "x".repeat(256)));
        let longest = Value(&"\0".repeat(300)).to_string();
        assert_eq!(longest, format!("\"{}...\"", "\\x00".repeat(64)));
    }
}
