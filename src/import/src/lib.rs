//! What other second factors keep of people: read into one shape, and written for them.
//!
//! A file is untrusted, whoever owns it: sizes are bounded, nothing in it is executed, resolved or followed, and no
//! message quotes what may be a secret. All or nothing: [`read`] gives either everything that can be carried over, with
//! a note of each thing that can't, or all problems of the file.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod google;
mod oath;
pub mod otpauth;
mod people;
pub mod pskc;
mod report;
mod when;

use std::fmt;

use totp_core::backup_code::ScratchCode;
use totp_core::config::Window;
use totp_core::otp::{Otp, Step};
use totp_core::secret::Secret;
use totp_core::time::Time;
use zeroize::Zeroizing;

use crate::report::Findings;
pub use crate::report::{Fate, Fault, Lock, Note, Place, Problem, Remark};

/// Who wrote a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `~/.google_authenticator` of google-authenticator-libpam; says nothing of whose it is.
    Google,
    /// The users file of pam_oath and of mod_authn_otp.
    Oath,
    /// Key URIs, one a line, and the `otpauth-migration` URIs of Google Authenticator's export.
    Otpauth,
    /// Portable Symmetric Key Container, RFC 6030.
    Pskc,
}

impl Format {
    /// The most that is read of a file.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Google => 64 << 10,
            Self::Oath => 8 << 20,
            Self::Otpauth => 1 << 20,
            Self::Pskc => 4 << 20,
        }
    }
}

/// What a file can't say of itself.
pub struct Moment {
    /// The time now.
    pub now: Time,
    /// Seconds by which local time is ahead of UTC here, in winter and in summer: pam_oath writes local time.
    pub utc_offsets: Vec<i32>,
    /// Steps that are accepted here on each side of a device's time.
    pub window: Window,
}

/// What a file is encrypted with.
pub enum Key {
    /// The key of the cipher itself.
    PreShared(Zeroizing<Vec<u8>>),
    /// What that key is derived from.
    PassPhrase(Zeroizing<Vec<u8>>),
}

/// A whole file, understood.
pub struct Import {
    /// Each once, in the order of the file.
    pub people: Vec<Person>,
    /// What of the file is not carried over as it was.
    pub notes: Vec<Note>,
}

/// What a file says of somebody.
#[derive(Default)]
pub struct Person {
    /// The account's name, where the file says one.
    pub user: Option<String>,
    /// At least one.
    pub tokens: Vec<Token>,
    /// What was kept for the day on which the tokens are gone, each good for one login.
    pub scratch_codes: Vec<ScratchCode>,
}

/// What makes somebody's codes.
pub struct Token {
    /// Where in the file it stands.
    pub at: Place,
    /// What the file calls it: a label or a serial number, as it is written there.
    pub label: Option<String>,
    /// The key.
    pub secret: Secret,
    /// How codes are made of it.
    pub otp: Otp,
    /// The last step of which a code can have been used, or the counter before the next one; `None` where none was.
    pub used: Option<Step>,
    /// How many steps its clock is ahead.
    pub drift: i16,
    /// Steps that were accepted on each side of its time, where they are fewer than here.
    pub window: Option<Window>,
}

impl Token {
    /// One that nothing but its key is known of, or of its counter the next.
    fn fresh(at: Place, secret: Secret, otp: Otp, next: Step) -> Self {
        Self {
            at,
            label: None,
            secret,
            otp,
            used: next.before(),
            drift: 0,
            window: None,
        }
    }

    /// The same with all codes used up that it can have shown by now, if they follow the time: a clock that is ahead by
    /// no more than is accepted here has shown those that come.
    fn used_until_now(self, moment: &Moment) -> Self {
        let ahead = i32::from(self.drift).saturating_add(i32::from(moment.window.get()));
        let shown = self
            .otp
            .period()
            .map(|period| period.step_at(moment.now).moved(ahead));
        Self {
            used: self.used.max(shown),
            ..self
        }
    }
}

/// Reads a file.
///
/// # Errors
/// All its problems, at least one.
pub fn read(
    format: Format,
    bytes: &[u8],
    key: Option<&Key>,
    moment: &Moment,
) -> Result<Import, Vec<Problem>> {
    let mut findings = Findings::default();
    let people = match text_of(format, bytes) {
        Ok(text) => match format {
            Format::Google => google::read(text, moment, &mut findings),
            Format::Oath => oath::read(text, moment, &mut findings),
            Format::Otpauth => otpauth::read(text, moment, &mut findings),
            Format::Pskc => pskc::read(text, key, moment, &mut findings),
        },
        Err(problem) => {
            findings.problem(problem.at, problem.fault);
            Vec::new()
        }
    };
    if people.iter().all(|person| person.tokens.is_empty()) && !findings.has_problems() {
        findings.problem(Place::File, Fault::NoToken);
    }
    findings.conclude(people)
}

/// The bytes that hexadecimal digits of either case stand for; `None` where they do for none.
#[must_use]
pub fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let is_pair = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        let pair = is_pair.then(|| std::str::from_utf8(pair).ok())??;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}

/// A counter or time step as text. The one behind it is one too, and signed numbers, which containers and other programs
/// keep them in, hold both.
fn count(text: &str) -> Option<u64> {
    let count = text.parse::<i64>().ok().filter(|count| *count < i64::MAX)?;
    u64::try_from(count).ok()
}

fn text_of(format: Format, bytes: &[u8]) -> Result<&str, Problem> {
    let max = format.max_bytes();
    if bytes.len() > max {
        let fault = Fault::TooLong { max };
        let at = Place::File;
        return Err(Problem { at, fault });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let at = Place::after(before);
        let fault = Fault::NotText;
        Problem { at, fault }
    })?;
    // Some editors begin with a byte order mark.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// As `--format` names it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Google => "google",
            Self::Oath => "oath",
            Self::Otpauth => "otpauth",
            Self::Pskc => "pskc",
        })
    }
}
