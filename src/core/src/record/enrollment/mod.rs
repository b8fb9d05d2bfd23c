//! The enrollment: a person's devices and their secrets.

#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use crate::backup_code::{BackupSet, Count};
use crate::contact::{Channel, Contact};
use crate::device::{Device, DeviceId, DeviceName};
use crate::document::{Mistake, Reason};
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
            // No key of ours is one of networks.
            Reason::HostBits(_) | Reason::Unknown { .. } => "unknown key".to_owned(),
        };
        Self::Malformed {
            line,
            column,
            reason,
        }
    }
}
