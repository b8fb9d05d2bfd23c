//! What a login has shown. Nobody else can make these values, but for an [`Entitled`] by the login itself.

use crate::backup_code::SetId;
use crate::contact::Channel;
use crate::device::DeviceName;
use crate::otp::Digits;
use crate::time::{Span, Time};

/// The proof that a code was accepted. Only [`judge`](super::judge) makes one.
#[derive(Debug)]
pub struct Accepted {
    pub(super) devices: Vec<DeviceName>,
    pub(super) first_at: Option<Time>,
    pub(super) backup_left: Option<u8>,
    pub(super) sent_by: Option<Channel>,
    pub(super) digits: Option<Digits>,
}

impl Accepted {
    /// By a backup code, of which so many are left.
    pub(super) fn by_backup_code(left: u8) -> Self {
        Self {
            backup_left: Some(left),
            ..Self::by_backup_key()
        }
    }

    pub(super) fn by_backup_key() -> Self {
        Self {
            devices: Vec::new(),
            first_at: None,
            backup_left: None,
            sent_by: None,
            digits: None,
        }
    }

    /// The length of the code, where it was one of digits; of the longest, where it was several at once.
    #[must_use]
    pub fn digits(&self) -> Option<Digits> {
        self.digits
    }

    /// The devices and contacts whose code it was: one, or by a rare chance several.
    #[must_use]
    pub fn devices(&self) -> &[DeviceName] {
        &self.devices
    }

    /// How many backup codes are left, where it was one.
    #[must_use]
    pub fn backup_left(&self) -> Option<u8> {
        self.backup_left
    }

    /// How the code was sent, where it was one that was.
    #[must_use]
    pub fn sent_by(&self) -> Option<Channel> {
        self.sent_by
    }

    /// When the first code was given, where it was the second of two in a row.
    #[must_use]
    pub fn first_at(&self) -> Option<Time> {
        self.first_at
    }
}

/// The proof that somebody may enroll at a login.
#[derive(Debug)]
pub struct Entitled {
    invite: Option<SetId>,
    since: Time,
}

impl Entitled {
    pub(super) fn by_invite(invite: SetId, since: Time) -> Self {
        Self {
            invite: Some(invite),
            since,
        }
    }

    /// By something that this login has shown: the account's password, or its backup key.
    pub(crate) fn by_login(since: Time) -> Self {
        Self {
            invite: None,
            since,
        }
    }

    /// Whether it has come to its end: nobody holds a conversation open until the policy has changed.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        const LASTS: Span = Span::from_minutes(15);
        now < self.since || now > self.since.after(LASTS)
    }

    /// The invite that it is by, where it is by one. It is used up when the device becomes active.
    #[must_use]
    pub fn invite(&self) -> Option<SetId> {
        self.invite
    }
}
