//! The enrollment: a person's devices and their secrets, a TOML file that people may read.
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

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::backup_code::{BackupSet, Count, SetId};
use crate::config::Window;
use crate::contact::{Channel, Contact, Recipient};
use crate::device::{Device, DeviceId, DeviceName};
use crate::document::{Document, Mistake, Reason, Section};
use crate::otp::{Algorithm, Digits, MovingFactor, Otp, Period};
use crate::secret::Secret;
use crate::ssh_key::Fingerprint;
use crate::time::Time;

/// A person's devices.
#[derive(Clone)]
pub struct Enrollment {
    /// The account's user id when it was enrolled: a re-used name does not inherit a secret.
    pub uid: u32,
    /// At most [`Enrollment::MAX_DEVICES`], of different names and ids.
    pub devices: Vec<Device>,
    /// Where codes are sent: at most one of each kind, of other names and ids than the devices.
    pub contacts: Vec<Contact>,
    /// The backup codes, where some were made.
    pub backup_codes: Option<BackupSet>,
    /// The backup key, where there is one: a set of one.
    pub backup_key: Option<BackupSet>,
    /// What entitles its owner to enroll. Kept in a file of its own, beside no device: to be enrolled is to have a
    /// secret file.
    pub invite: Option<Invite>,
}

/// A code that root has issued, for one enrollment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invite {
    /// A set of one.
    pub set: BackupSet,
    /// From then on it is worth nothing.
    pub expires: Time,
}

impl Enrollment {
    /// More devices than this are refused.
    pub const MAX_DEVICES: usize = 16;
    /// The format that is written; any other is refused.
    const VERSION: u32 = 1;

    /// Nobody has enrolled yet.
    #[must_use]
    pub fn new(uid: u32) -> Self {
        Self {
            uid,
            devices: Vec::new(),
            contacts: Vec::new(),
            backup_codes: None,
            backup_key: None,
            invite: None,
        }
    }

    /// The contact of that kind.
    #[must_use]
    pub fn contact(&self, channel: Channel) -> Option<&Contact> {
        let mut contacts = self.contacts.iter();
        contacts.find(|contact| contact.recipient.channel() == channel)
    }

    /// The names of all devices and contacts.
    pub fn names(&self) -> impl Iterator<Item = &DeviceName> {
        let devices = self.devices.iter().map(|device| &device.name);
        devices.chain(self.contacts.iter().map(|contact| &contact.name))
    }

    /// Gives a device or contact another name; `false` where none has the old one.
    pub fn rename(&mut self, from: &DeviceName, to: &DeviceName) -> bool {
        let devices = self.devices.iter_mut().map(|device| &mut device.name);
        let contacts = self.contacts.iter_mut().map(|contact| &mut contact.name);
        let mut names = devices.chain(contacts);
        match names.find(|name| *name == from) {
            Some(name) => {
                *name = to.clone();
                true
            }
            None => false,
        }
    }

    /// Whether a device or contact has that name.
    #[must_use]
    pub fn has(&self, name: &DeviceName) -> bool {
        self.names().any(|known| known == name)
    }

    /// The same without the device or contact of that name.
    #[must_use]
    pub fn without(&self, name: &DeviceName) -> Self {
        let mut left = self.clone();
        left.devices.retain(|device| device.name != *name);
        left.contacts.retain(|contact| contact.name != *name);
        left
    }

    /// Whether nobody could log in by it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.contacts.is_empty()
    }

    /// The device of that name.
    #[must_use]
    pub fn device(&self, name: &DeviceName) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == *name)
    }

    /// The same with another device in the place of the one of that id.
    #[must_use]
    pub fn with(&self, old: DeviceId, new: Device) -> Self {
        let mut changed = self.clone();
        let mut devices = changed.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.id == old) {
            *device = new;
        }
        changed
    }

    /// Whether a device counts for a login that has shown these ssh keys: all that make the same codes have to.
    #[must_use]
    pub fn serves(&self, device: &Device, ssh_keys: &[Fingerprint]) -> bool {
        let mut bound = self.devices.iter().filter(|one| !one.serves(ssh_keys));
        !bound.any(|one| one.makes_codes_of(device))
    }

    /// The same devices, each of them good for any login: for proofs of possession where there is no login.
    #[must_use]
    pub fn unbound(mut self) -> Self {
        self.devices
            .iter_mut()
            .for_each(|device| device.ssh_key = None);
        self
    }

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
        let body = text
            .rfind("\n# sha256: ")
            .and_then(|end| text.split_at_checked(end.saturating_add(1)));
        if body.is_none_or(|(body, last_line)| last_line != checksum_line(body)) {
            return Err(EnrollmentError::Checksum);
        }
        enrollment.check()?;
        Ok(enrollment)
    }

    /// Whether this is one that [`Enrollment::parse`] takes.
    ///
    /// # Errors
    /// [`EnrollmentError`].
    pub fn check(&self) -> Result<(), EnrollmentError> {
        if self.devices.len() > Self::MAX_DEVICES {
            return Err(EnrollmentError::TooManyDevices);
        }
        let codes = self.backup_codes.as_ref().map(|set| set.hashes.len());
        if codes > Some(usize::from(Count::MAX)) {
            return Err(EnrollmentError::TooManyBackupCodes);
        }
        if self.invite.is_some() && !self.is_empty() {
            return Err(EnrollmentError::InviteBesideDevices);
        }
        let ids = self.devices.iter().map(|device| device.id);
        let ids = ids.chain(self.contacts.iter().map(|contact| contact.id));
        let all: Vec<_> = self.names().zip(ids).collect();
        for (index, (name, id)) in all.iter().enumerate() {
            let mut others = all.iter().skip(index.saturating_add(1));
            if others.any(|(other, other_id)| other == name || other_id == id) {
                return Err(EnrollmentError::DuplicateDevice((*name).clone()));
            }
        }
        let mut channels = Channel::ALL.into_iter();
        let is_double = |channel: &Channel| {
            let of_kind = |contact: &&Contact| contact.recipient.channel() == *channel;
            self.contacts.iter().filter(of_kind).count() > 1
        };
        match channels.find(is_double) {
            Some(channel) => Err(EnrollmentError::DuplicateContact(channel)),
            None => Ok(()),
        }
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

fn checksum_line(body: &str) -> String {
    format!("# sha256: {}\n", hex(&Sha256::digest(body)))
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

/// Why a secret file can't be used. Names a place in the file, never its text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EnrollmentError {
    /// The last line is not the checksum of those before it.
    Checksum,
    /// Two contacts of one kind.
    DuplicateContact(Channel),
    /// Two devices of one name or id.
    DuplicateDevice(DeviceName),
    /// Whoever has a device needs no invite.
    InviteBesideDevices,
    /// Not what is expected at that place.
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What was expected.
        reason: String,
    },
    /// More than [`Count::MAX`].
    TooManyBackupCodes,
    /// More than [`Enrollment::MAX_DEVICES`].
    TooManyDevices,
    /// Written by another version of pam_totp.
    Version(u32),
}

impl fmt::Display for EnrollmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("the file is not whole: damaged, cut or edited by hand"),
            Self::DuplicateContact(channel) => {
                write!(f, "two contacts for codes {} stand there", channel.words())
            }
            Self::DuplicateDevice(name) => write!(f, "device {name} stands there twice"),
            Self::InviteBesideDevices => f.write_str("an invite stands there beside devices"),
            Self::Malformed {
                line,
                column,
                reason,
            } => {
                write!(f, "line {line}, column {column}: {reason}")
            }
            Self::TooManyBackupCodes => write!(f, "more than {} backup codes", Count::MAX),
            Self::TooManyDevices => {
                write!(f, "more than {} devices", Enrollment::MAX_DEVICES)
            }
            Self::Version(version) => {
                write!(
                    f,
                    "format version {version}, but this pam_totp knows version 1 only"
                )
            }
        }
    }
}

impl std::error::Error for EnrollmentError {}

impl From<Box<Mistake>> for EnrollmentError {
    fn from(mistake: Box<Mistake>) -> Self {
        let Mistake {
            line,
            column,
            reason,
        } = *mistake;
        let reason = match reason {
            Reason::Expected(expected) => expected.to_owned(),
            Reason::Missing(key) => format!("{key} is missing"),
            // The parser's words and the names of keys may be parts of a secret.
            Reason::Syntax(_) => "this is no TOML".to_owned(),
            Reason::Unknown { .. } => "unknown key".to_owned(),
        };
        Self::Malformed {
            line,
            column,
            reason,
        }
    }
}

const ANY_TIME: &RangeInclusive<i64> = &(i64::MIN..=i64::MAX);
const TIME: &str = "expected a time in seconds";

fn read(text: &str) -> Result<(u32, Enrollment), Box<Mistake>> {
    const BOUNDS: RangeInclusive<i64> = 0..=0xffff_ffff;
    const NUMBER: &str = "expected a whole number from 0 to 4294967295";
    let unsigned = |number: i64| u32::try_from(number).ok();
    let document = Document::parse(text)?;
    let mut root = document.root();
    let version = root.number("version", &BOUNDS, NUMBER)?.and_then(unsigned);
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
    let hashes = section.strings("hashes", EXPECTED, unhex)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const KEY: &str = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn sample() -> Enrollment {
        let device = |id, name: &str, digits, algorithm| Device {
            id: DeviceId(id),
            name: DeviceName::parse(name).unwrap(),
            otp: Otp {
                algorithm,
                digits: Digits::new(digits).unwrap(),
                factor: MovingFactor::Time(Period::new(60).unwrap()),
            },
            secret: Secret::from_base32(SECRET).unwrap(),
            enrolled: Time::from_unix(1_795_339_800),
            ssh_key: None,
            window: None,
        };
        let bound = Device {
            ssh_key: Fingerprint::parse(KEY),
            window: Window::new(0),
            ..device(u64::MAX, "token", 8, Algorithm::Sha512)
        };
        let contact = |id, name: &str, channel, address: &str| Contact {
            id: DeviceId(id),
            name: DeviceName::parse(name).unwrap(),
            recipient: Recipient::new(channel, address).unwrap(),
            enrolled: Time::from_unix(1_795_339_800),
        };
        Enrollment {
            uid: 1000,
            devices: vec![device(1, "phone", 6, Algorithm::Sha1), bound],
            contacts: vec![
                contact(2, "mail", Channel::Mail, "alice.b'c@example.org"),
                contact(3, "mobile", Channel::Text, "+41791234567"),
            ],
            backup_codes: Some(BackupSet {
                id: SetId(0xfedc),
                salt: [0xab; 16],
                hashes: vec![[1; 32], [2; 32]],
            }),
            backup_key: Some(BackupSet {
                id: SetId(0xba98),
                salt: [0xcd; 16],
                hashes: vec![[3; 32]],
            }),
            invite: None,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = sample().to_toml();
        let again = Enrollment::parse(&text).unwrap();
        assert_eq!(again.to_toml().as_str(), text.as_str());
        assert_eq!(again.devices.len(), 2);
        assert_eq!(again.contacts, sample().contacts);
        assert_eq!(again.backup_codes, sample().backup_codes);
        assert_eq!(again.backup_key, sample().backup_key);
        assert_eq!(again.devices[1].ssh_key, Fingerprint::parse(KEY));
        assert_eq!(again.devices[1].window, Window::new(0));
        assert_eq!(again.devices[1].otp.digits.get(), 8);
    }

    #[test]
    fn an_event_token_has_no_period_and_no_counter() {
        let mut tokens = sample();
        tokens.devices.truncate(1);
        tokens.devices[0].otp.factor = MovingFactor::Counter;
        let text = tokens.to_toml();
        assert!(text.contains("type = \"hotp\"") && !text.contains("period"));
        let again = Enrollment::parse(&text).unwrap();
        assert_eq!(again.devices[0].otp, tokens.devices[0].otp);
    }

    #[test]
    fn more_codes_than_are_read_are_not_written() {
        let mut many = sample();
        let hashes = vec![[1; 32]; usize::from(Count::MAX) + 1];
        many.backup_codes = many.backup_codes.map(|set| BackupSet { hashes, ..set });
        assert_eq!(many.check(), Err(EnrollmentError::TooManyBackupCodes));
    }

    #[test]
    fn an_invite_stands_alone() {
        let alone = Enrollment {
            invite: Some(Invite {
                set: BackupSet {
                    id: SetId(0x7654),
                    salt: [0xef; 16],
                    hashes: vec![[4; 32]],
                },
                expires: Time::from_unix(1_795_339_800),
            }),
            ..Enrollment::new(1000)
        };
        let again = Enrollment::parse(&alone.to_toml()).unwrap();
        assert_eq!(again.invite, alone.invite);
        let beside = Enrollment {
            devices: sample().devices,
            ..alone
        };
        let error = Enrollment::parse(&beside.to_toml()).err();
        assert_eq!(error, Some(EnrollmentError::InviteBesideDevices));
    }

    #[test]
    fn every_other_text_is_refused_with_its_place_and_without_its_content() {
        let text = sample().to_toml();
        for (old, new, line) in [
            ("uid = 1000", "uid = -1", 3),
            ("uid = 1000", "", 1),
            ("uid = 1000", "uid = 1000\ncolour = 1", 4),
            ("digits = 6", "digits = 5", 11),
            ("period = 60", "period = \"60\"", 12),
            ("algorithm = \"SHA1\"", "algorithm = \"MD5\"", 10),
            ("type = \"totp\"", "type = \"motp\"", 8),
            ("type = \"totp\"", "type = \"hotp\"", 12),
            ("period = 60\n", "", 5),
            ("id = \"0000000000000001\"", "id = \"1\"", 6),
            ("name = \"phone\"", "name = \"my phone\"", 7),
            (
                "TQOJQ\"\nalgorithm = \"SHA1\"",
                "TQOJ1\"\nalgorithm = \"SHA1\"",
                9,
            ),
            (
                "TQOJQ\"\nalgorithm = \"SHA1\"",
                "TQOJQ\nalgorithm = \"SHA1\"",
                9,
            ),
            ("secret = \"GEZ", "secret = GEZ", 9),
            ("secret = \"GEZ", "GEZ = \"", 5),
        ] {
            assert!(text.contains(old), "{old}");
            let broken = text.replacen(old, new, 1);
            let Err(error) = Enrollment::parse(&broken) else {
                panic!("{new} was taken");
            };
            let EnrollmentError::Malformed { line: at, .. } = &error else {
                panic!("{new}: {error}");
            };
            assert_eq!(*at, line, "{new}: {error}");
            for leak in ["GEZ", "TQOJ", "DGNB", "MD5", "motp", "my phone"] {
                assert!(!error.to_string().contains(leak), "{error}");
            }
        }
    }

    /// The text with its last line made anew.
    fn resealed(text: &str) -> String {
        let body = &text[..text.rfind("# sha256").unwrap()];
        format!("{body}{}", checksum_line(body))
    }

    #[test]
    fn versions_and_duplicates_are_told_apart() {
        let text = sample().to_toml();
        let newer = text.replacen("version = 1", "version = 2", 1);
        assert_eq!(
            Enrollment::parse(&newer).err(),
            Some(EnrollmentError::Version(2))
        );
        let twice = resealed(&text.replacen("token", "phone", 1));
        let phone = DeviceName::parse("phone").unwrap();
        assert_eq!(
            Enrollment::parse(&twice).err(),
            Some(EnrollmentError::DuplicateDevice(phone))
        );
        let taken = resealed(&text.replacen("name = \"mail\"", "name = \"phone\"", 1));
        assert!(matches!(
            Enrollment::parse(&taken).err(),
            Some(EnrollmentError::DuplicateDevice(_))
        ));
        let two = text.replacen("text = \"+41791234567\"", "mail = \"b@c.d\"", 1);
        assert_eq!(
            Enrollment::parse(&resealed(&two)).err(),
            Some(EnrollmentError::DuplicateContact(Channel::Mail))
        );
        let mut many = sample();
        many.devices = vec![many.devices.remove(0); 17];
        assert_eq!(
            Enrollment::parse(&many.to_toml()).err(),
            Some(EnrollmentError::TooManyDevices)
        );
    }

    #[test]
    fn a_file_cut_at_any_byte_is_refused() {
        let text = sample().to_toml();
        for end in 0..text.len() {
            assert!(Enrollment::parse(&text[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let text = sample().to_toml();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8(bytes);
            assert!(
                flipped.map_or(true, |text| Enrollment::parse(&text).is_err()),
                "bit {bit}"
            );
        }
    }
}
