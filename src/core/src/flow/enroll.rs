//! An enrollment in the conversation of a login.
//!
//! Everything is in memory until a code of the new device is typed: whoever goes away before that leaves nothing, and
//! begins anew at the next login.

use std::fmt;

use zeroize::Zeroizing;

use crate::answer::{Answer, Typed};
use crate::backup_code::{BackupCode, BackupSet};
use crate::config::{Config, Issuer};
use crate::device::{Device, DeviceId, DeviceName};
use crate::doors::{
    Account, Caller, Conversation, Echo, Enrolling, FirstDevice, NoAnswer, Store, System,
};
use crate::flow::confirm::{TRIES, confirming_step};
use crate::judge::Entitled;
use crate::key_uri::{self, KeyUri};
use crate::message;
use crate::otp::{Otp, Step};
use crate::qr::{self, Qr};
use crate::record::state::DeviceState;
use crate::secret::Secret;

/// The proof that somebody has enrolled and has the device. Only [`enroll`] makes one.
pub struct Enrolled {
    device: DeviceName,
    backup_codes: Zeroizing<String>,
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Enrolled").field(&self.device).finish()
    }
}

impl Enrolled {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// Shows the backup codes, this once. In a prompt, since what is only told can get lost on its way.
    ///
    /// # Errors
    /// [`NoAnswer`], where they may not have been seen.
    pub(crate) fn show_backup_codes(&self, person: &mut dyn Conversation) -> Result<(), NoAnswer> {
        person.ask(&self.backup_codes, Echo::On).map(|_| ())
    }
}

/// How an enrollment ends.
#[must_use]
#[derive(Debug)]
pub enum Ending {
    /// The device is active.
    Enrolled(Enrolled),
    /// The person went away, and nothing has changed.
    Aborted,
    /// The person could not be asked at all.
    Unasked,
    /// [`TRIES`] wrong codes.
    Wrong,
    /// [`Enrolling::TooLate`] or [`Enrolling::NotInvited`].
    Lost(Enrolling),
}

/// Gives somebody a device who is entitled to one.
///
/// # Errors
/// A sentence for the log, where something that is needed can't be had. Nothing has changed then.
pub fn enroll<S: Store>(
    account: &Account,
    (caller, entitled): (&Caller, &Entitled),
    config: &Config,
    person: &mut dyn Conversation,
    store: &S,
    system: &dyn System,
) -> Result<Ending, String> {
    let (device, qr) = new_device(account, config, system)?;
    let used = match confirmed(&device, &qr, config, person, system) {
        Ok(used) => used,
        Err(ending) => return Ok(ending),
    };
    let count = usize::from(config.backup_codes.get());
    let (codes, set): (Vec<BackupCode>, _) = BackupSet::make(count, system)?;
    let first = FirstDevice {
        device: &device,
        used,
        backup_codes: &set,
        caller,
    };
    match store.enroll(account, &first, entitled) {
        Ok(Enrolling::Done) => {}
        Ok(lost) => return Ok(Ending::Lost(lost)),
        Err(error) => return Err(error.to_string()),
    }
    Ok(Ending::Enrolled(Enrolled {
        device: device.name,
        backup_codes: message::new_backup_codes(&codes),
    }))
}

fn new_device(
    account: &Account,
    config: &Config,
    system: &dyn System,
) -> Result<(Device, Qr), String> {
    let device = Device {
        id: DeviceId::random(system)?,
        name: DeviceName::default(),
        otp: Otp::default(),
        secret: Secret::random(system)?,
        enrolled: system.now(),
        ssh_key: None,
        window: None,
    };
    let host = system.host_name();
    let host = host.as_deref().unwrap_or("localhost");
    let issuer = config.issuer.clone().or_else(|| Issuer::new(host));
    let issuer = issuer
        .ok_or("the host's name can't stand for the issuer: set issuer in the configuration")?;
    let label = key_uri::label(&account.name, host, &device.name);
    let key = KeyUri {
        secret: device.secret.clone(),
        otp: device.otp,
        counter: Step(0),
    };
    let qr = Qr::new(&key.write(issuer.as_str(), &label));
    let qr = qr.ok_or("the otpauth URI is too long for a QR code: set a shorter issuer")?;
    Ok((device, qr))
}

/// The step of the code that confirms the device, or how it ends without one.
fn confirmed(
    device: &Device,
    qr: &Qr,
    config: &Config,
    person: &mut dyn Conversation,
    system: &dyn System,
) -> Result<Step, Ending> {
    /// Pictures and empty answers beside wrong codes.
    const MOST_PROMPTS: u8 = 12;
    let known = DeviceState::of(device, None);
    let mut prompt = message::new_key(&device.secret);
    let mut left = TRIES;
    let mut is_first = true;
    for _ in 0..MOST_PROMPTS {
        let Ok(answer) = person.ask(&prompt, Echo::On) else {
            return Err(match is_first {
                true => Ending::Unasked,
                false => Ending::Aborted,
            });
        };
        is_first = false;
        prompt = Zeroizing::new(message::ENROLL_PROMPT.to_owned());
        if let Some(drawing) = Drawing::asked_for(&answer) {
            show(qr, drawing, person);
            continue;
        }
        if let Typed::Empty = answer.typed() {
            continue;
        }
        if let Some(step) = confirming_step(device, &known, &answer, &config.verify, system.now()) {
            return Ok(step);
        }
        left = left.saturating_sub(1);
        if left == 0 {
            return Err(Ending::Wrong);
        }
        let notice = message::not_confirmed(left);
        *prompt = message::prompt_after(&format!("\n{notice}"), message::ENROLL_PROMPT);
    }
    Err(Ending::Aborted)
}

/// How a QR code is drawn.
#[derive(Clone, Copy)]
enum Drawing {
    Utf8,
    Ascii,
}

impl Drawing {
    /// The letters that [`message::ENROLL_PROMPT`] offers.
    fn asked_for(answer: &Answer) -> Option<Self> {
        match answer.letter()? {
            b'q' => Some(Self::Utf8),
            b'a' => Some(Self::Ascii),
            _ => None,
        }
    }
}

fn show(qr: &Qr, drawing: Drawing, person: &mut dyn Conversation) {
    /// Of a terminal that nobody has resized.
    const USUAL_COLUMNS: usize = 80;
    const USUAL_ROWS: usize = 24;
    let picture = match drawing {
        Drawing::Utf8 => qr.to_half_blocks(),
        Drawing::Ascii => qr.to_ascii(),
    };
    for rows in in_messages(&picture) {
        person.show(&rows);
    }
    // Below it: of what is too tall the top is gone.
    let (columns, rows) = qr::size_of(&picture);
    if columns > USUAL_COLUMNS || rows >= USUAL_ROWS {
        person.show(&message::qr_size(columns, rows));
    }
}

/// An empty row, since clients put words before the first, then as many at a time as a message of libpam's holds. A message
/// for each would be too many: sshd ends a connection where more than 32 come before an answer.
fn in_messages(picture: &str) -> Vec<Zeroizing<String>> {
    let mut messages: Vec<Zeroizing<String>> = Vec::new();
    for row in std::iter::once("").chain(picture.lines()) {
        match messages.last_mut() {
            Some(message) if message.len().saturating_add(row.len()) < MESSAGE_BYTES => {
                message.push('\n');
                message.push_str(row);
            }
            _ => {
                let mut message = Zeroizing::new(String::with_capacity(MESSAGE_BYTES));
                message.push_str(row);
                messages.push(message);
            }
        }
    }
    messages
}

/// PAM_MAX_MSG_SIZE without the end of a C string.
const MESSAGE_BYTES: usize = 511;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_shown_in_few_messages_that_are_not_too_long() {
        // The longest Key URI of an enrollment is shorter.
        for length in [70, 150, 400] {
            let qr = Qr::new(&"x".repeat(length)).unwrap();
            for picture in [qr.to_half_blocks(), qr.to_ascii()] {
                let messages = in_messages(&picture);
                assert!(messages.len() <= 30, "{}", messages.len());
                assert!(messages.iter().all(|one| one.len() <= MESSAGE_BYTES));
                let rows: Vec<&str> = messages.iter().flat_map(|one| one.split('\n')).collect();
                assert_eq!(
                    rows.join("\n"),
                    format!("\n{}", picture.trim_end_matches('\n'))
                );
            }
        }
    }
}
