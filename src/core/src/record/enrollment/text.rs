//! The text of an enrollment, a TOML file that people may read.
//!
//! ```toml
//! version = 1
//! uid = 1000
//!
//! [[device]]
//! id = "5f0c93a1d2e4b687"
//! name = "phone"
//! type = "totp"                  # or "hotp", without a period: the counter is in the state
//! secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
//! algorithm = "SHA1"
//! digits = 6
//! period = 30
//! enrolled = 1795339800
//! ssh_key = "SHA256:…"          # where the device is bound to one
//! window = 0                     # where it is narrower than that of the configuration
//!
//! [[contact]]
//! id = "16 hexadecimal digits"
//! name = "mail"
//! mail = "alice@example.org"     # or text = "+41791234567"
//! enrolled = 1795339800
//!
//! [backup_codes]
//! id = "16 hexadecimal digits"
//! salt = "32 of them"
//! hashes = ["64 of them", "…"]
//!
//! [backup_key]                   # the same, with one hash
//!
//! [invite]                       # the same and when it runs out, in a file without devices
//! expires = 1795339800
//! # sha256: 64 hexadecimal digits, of every byte before this line
//! ```
//!
//! The last line tells a damaged, cut or hand-edited file from a whole one.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Enrollment, EnrollmentError, Invite};
use crate::backup_code::{BackupSet, Count, SetId};
use crate::config::Window;
use crate::contact::{Channel, Contact, Recipient};
use crate::device::{Device, DeviceId, DeviceName};
use crate::document::{Document, Mistake, Section};
use crate::otp::{Algorithm, Digits, MovingFactor, Otp, Period};
use crate::secret::Secret;
use crate::ssh_key::Fingerprint;
use crate::time::Time;

impl Enrollment {
    /// Reads a secret file.
    ///
    /// # Errors
    /// [`EnrollmentError`], which holds a place and a reason but nothing of the text: that may be a secret.
    pub fn parse(text: &str) -> Result<Self, EnrollmentError> {
        // First what is wrong with the text, where it is no TOML at all: that names the line.
        let (version, enrollment) = read(text).map_err(EnrollmentError::from)?;
        if version != Self::VERSION {
            return Err(EnrollmentError::Version(version));
        }
        if !ends_with_its_checksum(text) {
            return Err(EnrollmentError::Checksum);
        }
        enrollment.check()?;
        Ok(enrollment)
    }

    /// The text of a secret file. Every value is of an alphabet that TOML strings take as it is.
    #[must_use]
    pub fn to_toml(&self) -> Zeroizing<String> {
        // Large enough for any enrollment: a buffer that grew would leave copies of secrets behind.
        const BYTES_OF_A_DEVICE: usize = 512;
        let bytes = self
            .devices
            .len()
            .saturating_add(4)
            .saturating_mul(BYTES_OF_A_DEVICE);
        let mut text = Zeroizing::new(String::with_capacity(bytes));
        let _ = write!(
            text,
            "# Written by totpctl. Whoever reads this file can make the codes of this account.\n\
             version = {}\nuid = {}\n",
            Self::VERSION,
            self.uid
        );
        for device in &self.devices {
            let _ = write!(
                text,
                "\n[[device]]\nid = \"{}\"\nname = \"{}\"\ntype = \"{}\"\nsecret = \"{}\"\n\
                 algorithm = \"{}\"\ndigits = {}\n",
                device.id,
                device.name,
                device.otp.factor.name(),
                device.secret.to_base32().as_str(),
                device.otp.algorithm,
                device.otp.digits,
            );
            if let Some(period) = device.otp.period() {
                let _ = writeln!(text, "period = {period}");
            }
            let _ = writeln!(text, "enrolled = {}", device.enrolled.unix());
            if let Some(key) = &device.ssh_key {
                let _ = writeln!(text, "ssh_key = \"{key}\"");
            }
            if let Some(window) = device.window {
                let _ = writeln!(text, "window = {window}");
            }
        }
        for contact in &self.contacts {
            let _ = write!(
                text,
                "\n[[contact]]\nid = \"{}\"\nname = \"{}\"\n{} = \"{}\"\nenrolled = {}\n",
                contact.id,
                contact.name,
                contact.recipient.channel().key(),
                contact.recipient.address(),
                contact.enrolled.unix(),
            );
        }
        let invite = self.invite.as_ref();
        for (name, set) in [
            (BACKUP_CODES, self.backup_codes.as_ref()),
            (BACKUP_KEY, self.backup_key.as_ref()),
            (INVITE, invite.map(|invite| &invite.set)),
        ] {
            let Some(set) = set else { continue };
            let hashes: Vec<_> = set.hashes.iter().map(|hash| hex(hash)).collect();
            let _ = write!(
                text,
                "\n[{name}]\nid = \"{:016x}\"\nsalt = \"{}\"\nhashes = [\"{}\"]\n",
                set.id.0,
                hex(&set.salt),
                hashes.join("\", \"")
            );
        }
        if let Some(Invite { expires, .. }) = invite {
            let _ = writeln!(text, "expires = {}", expires.unix());
        }
        let last_line = checksum_line(&text);
        text.push_str(&last_line);
        text
    }
}

const BACKUP_CODES: &str = "backup_codes";
const BACKUP_KEY: &str = "backup_key";
const INVITE: &str = "invite";

const CHECKSUM: &str = "# sha256: ";

pub(super) fn checksum_line(body: &str) -> String {
    format!("{CHECKSUM}{}\n", hex(&Sha256::digest(body)))
}

/// Whether the last line is the checksum of all before it.
fn ends_with_its_checksum(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or_default();
    let end_of_body = lines.rfind('\n').map(|end| end.saturating_add(1));
    let parts = end_of_body.and_then(|end| lines.split_at_checked(end));
    parts.is_some_and(|(body, last_line)| {
        let checksum = last_line.strip_prefix(CHECKSUM).and_then(unhex);
        checksum == Some(<[u8; 32]>::from(Sha256::digest(body)))
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

/// The bytes of so many hexadecimal digits in lower case. A login reads some hundred of them.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let mut bytes = [0; N];
    let mut digits = text.bytes();
    for byte in &mut bytes {
        *byte = value(digits.next()?)? << 4 | value(digits.next()?)?;
    }
    digits.next().is_none().then_some(bytes)
}

const ANY_TIME: &RangeInclusive<i64> = &(i64::MIN..=i64::MAX);
const TIME: &str = "expected a time in seconds";

fn read(text: &str) -> Result<(u32, Enrollment), Box<Mistake>> {
    const BOUNDS: RangeInclusive<i64> = 0..=0xffff_ffff;
    const NUMBER: &str = "expected a whole number from 0 to 4294967295";
    // A message tells the version, and must not tell a line of digits that stands in its place.
    const VERSIONS: RangeInclusive<i64> = 0..=999;
    const VERSION: &str = "expected a whole number from 0 to 999";
    let unsigned = |number: i64| u32::try_from(number).ok();
    let document = Document::parse(text)?;
    let mut root = document.root();
    let version = root.number("version", &VERSIONS, VERSION)?;
    let version = version.and_then(unsigned);
    let uid = root.number("uid", &BOUNDS, NUMBER)?.and_then(unsigned);
    let mut devices = Vec::new();
    for section in root.sections("device")? {
        devices.push(read_device(section)?);
    }
    let mut contacts = Vec::new();
    for section in root.sections("contact")? {
        contacts.push(read_contact(section)?);
    }
    let mut section = root.section(BACKUP_CODES)?;
    let backup_codes = read_set(&mut section, usize::from(Count::MAX))?;
    section.finish()?;
    let mut section = root.section(BACKUP_KEY)?;
    let backup_key = read_set(&mut section, 1)?;
    section.finish()?;
    let mut section = root.section(INVITE)?;
    let expires = section.number("expires", ANY_TIME, TIME)?;
    let invite = match read_set(&mut section, 1)? {
        None => None,
        Some(set) => Some(Invite {
            set,
            expires: Time::from_unix(expires.ok_or_else(|| section.missing("expires"))?),
        }),
    };
    section.finish()?;
    let version = version.ok_or_else(|| root.missing("version"))?;
    let uid = uid.ok_or_else(|| root.missing("uid"))?;
    root.finish()?;
    let enrollment = Enrollment {
        uid,
        devices,
        contacts,
        backup_codes,
        backup_key,
        invite,
    };
    Ok((version, enrollment))
}

fn read_set(section: &mut Section<'_>, most: usize) -> Result<Option<BackupSet>, Box<Mistake>> {
    const EXPECTED: &str = "expected hexadecimal digits in lower case";
    if !section.is_there() {
        return Ok(None);
    }
    let id = section.string("id", EXPECTED, unhex)?;
    let id = SetId(u64::from_be_bytes(id.ok_or_else(|| section.missing("id"))?));
    let salt = section.string("salt", EXPECTED, unhex)?;
    let salt = salt.ok_or_else(|| section.missing("salt"))?;
    let hashes = section.some_strings("hashes", EXPECTED, unhex)?;
    let hashes = hashes.ok_or_else(|| section.missing("hashes"))?;
    if hashes.len() > most {
        return Err(section.unlike("hashes", "expected fewer of them"));
    }
    Ok(Some(BackupSet { id, salt, hashes }))
}

fn read_device(mut section: Section<'_>) -> Result<Device, Box<Mistake>> {
    let id = section.string("id", DeviceId::EXPECTED, DeviceId::parse)?;
    let id = id.ok_or_else(|| section.missing("id"))?;
    let name = section.string("name", DeviceName::EXPECTED, DeviceName::parse)?;
    let name = name.ok_or_else(|| section.missing("name"))?;
    let factor = section.string("type", MovingFactor::EXPECTED, MovingFactor::named)?;
    let factor = factor.ok_or_else(|| section.missing("type"))?;
    let read_secret = |text: &str| Secret::from_base32(text).ok();
    let secret = section.string("secret", "expected a secret in base32", read_secret)?;
    let secret = secret.ok_or_else(|| section.missing("secret"))?;
    let algorithm = section.string("algorithm", Algorithm::EXPECTED, Algorithm::named)?;
    let algorithm = algorithm.ok_or_else(|| section.missing("algorithm"))?;
    let digits = Digits::read(&mut section, "digits")?;
    let digits = digits.ok_or_else(|| section.missing("digits"))?;
    let factor = match factor {
        MovingFactor::Counter => factor,
        MovingFactor::Time(_) => {
            let period = Period::read(&mut section, "period")?;
            MovingFactor::Time(period.ok_or_else(|| section.missing("period"))?)
        }
    };
    let enrolled = section.number("enrolled", ANY_TIME, TIME)?;
    let enrolled = enrolled.ok_or_else(|| section.missing("enrolled"))?;
    let ssh_key = section.string("ssh_key", Fingerprint::EXPECTED, Fingerprint::parse)?;
    let window = Window::read(&mut section, "window")?;
    section.finish()?;
    Ok(Device {
        id,
        name,
        otp: Otp {
            algorithm,
            digits,
            factor,
        },
        secret,
        enrolled: Time::from_unix(enrolled),
        ssh_key,
        window,
    })
}

fn read_contact(mut section: Section<'_>) -> Result<Contact, Box<Mistake>> {
    let id = section.string("id", DeviceId::EXPECTED, DeviceId::parse)?;
    let id = id.ok_or_else(|| section.missing("id"))?;
    let name = section.string("name", DeviceName::EXPECTED, DeviceName::parse)?;
    let name = name.ok_or_else(|| section.missing("name"))?;
    let mail = section.string("mail", Recipient::MAIL, |address| {
        Recipient::new(Channel::Mail, address)
    })?;
    let text = section.string("text", Recipient::NUMBER, |address| {
        Recipient::new(Channel::Text, address)
    })?;
    let recipient = match (mail, text) {
        (Some(recipient), None) | (None, Some(recipient)) => recipient,
        (Some(_), Some(_)) => return Err(section.unlike("text", "expected no mail beside it")),
        (None, None) => return Err(section.missing("mail")),
    };
    let enrolled = section.number("enrolled", ANY_TIME, TIME)?;
    let enrolled = enrolled.ok_or_else(|| section.missing("enrolled"))?;
    section.finish()?;
    Ok(Contact {
        id,
        name,
        recipient,
        enrolled: Time::from_unix(enrolled),
    })
}
