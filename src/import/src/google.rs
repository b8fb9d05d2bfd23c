//! `~/.google_authenticator` of google-authenticator-libpam (its FILEFORMAT): the secret in the first line, options that
//! begin with `" `, scratch codes.
//!
//! The other program is followed where it is lenient: what it accepted goes on to work, and what it stopped at goes on
//! not to.

use totp_core::backup_code::ScratchCode;
use totp_core::config::Window;
use totp_core::otp::{Code, MovingFactor, Otp, Period, Step};
use totp_core::reach::Reach;
use totp_core::secret::{Secret, SecretError};
use zeroize::Zeroizing;

use crate::report::{Fault, Findings, Place, Remark};
use crate::{Moment, Person, Token, count};

/// The one person of a file.
pub(crate) fn read(text: &str, moment: &Moment, findings: &mut Findings) -> Vec<Person> {
    let mut lines = (1..).zip(text.split('\n'));
    let first = lines.next().map_or("", |(_, line)| line);
    let at = Place::Line(1);
    let secret = findings.secret(&at, secret(first));

    let mut options = Options::default();
    let mut scratch_codes = Vec::new();
    let mut stopped = false;
    for (number, line) in lines {
        let at = Place::Line(number);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
        } else if let Some(option) = line.strip_prefix("\" ") {
            options.read(&at, option, findings);
        } else if line.starts_with('"') {
            findings.note(&at, Remark::UnknownLine);
        } else if let Some(code) = scratch_code(line) {
            match stopped {
                true => findings.note(&at, Remark::DeadScratchCode),
                false => scratch_codes.push(code),
            }
        } else {
            findings.note(&at, Remark::UnknownLine);
            stopped = true;
        }
    }

    let factor = options.factor(findings);
    let token = secret.zip(factor).map(|(secret, factor)| {
        let otp = Otp {
            factor,
            ..Otp::default()
        };
        let next = Step(options.counter.unwrap_or(0));
        options.past_of(Token::fresh(at, secret, otp, next), moment, findings)
    });
    vec![Person {
        user: None,
        tokens: token.into_iter().collect(),
        scratch_codes,
    }]
}

/// Base32 as the other program reads it: in any case, with what is often mistyped put right, the bits left over dropped.
fn secret(line: &str) -> Result<Secret, SecretError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(Secret::MAX_BYTES));
    let mut kept: u16 = 0;
    let mut count: u32 = 0;
    for symbol in line.bytes() {
        let value = match symbol.to_ascii_uppercase() {
            b' ' | b'\t' | b'\r' | b'-' => continue,
            b'0' => b'O' - b'A',
            b'1' => b'L' - b'A',
            b'8' => b'B' - b'A',
            letter @ b'A'..=b'Z' => letter.saturating_sub(b'A'),
            digit @ b'2'..=b'7' => digit.saturating_sub(b'2').saturating_add(26),
            _ => return Err(SecretError::NotBase32),
        };
        kept = kept << 5 | u16::from(value);
        count = count.saturating_add(5);
        if count >= 8 {
            count = count.saturating_sub(8);
            if bytes.len() == Secret::MAX_BYTES {
                return Err(SecretError::TooLong);
            }
            let [_, byte] = (kept >> count).to_be_bytes();
            bytes.push(byte);
        }
    }
    Secret::from_bytes(bytes)
}

/// Those of the other program don't begin with a zero.
fn scratch_code(line: &str) -> Option<ScratchCode> {
    let digits = (!line.starts_with('0')).then_some(line)?;
    ScratchCode::of(&Code::from_digits(digits.as_bytes())?)
}

/// What the options of a file say. Each counts where it stands first, as in the other program.
#[derive(Default)]
struct Options {
    totp: bool,
    counter: Option<u64>,
    period: Option<Period>,
    skew: Option<i16>,
    /// How many codes were tried, and where that stands.
    window: Option<(Place, u16)>,
    /// The highest step of the list; the list may be empty.
    used: Option<Option<u64>>,
    seen: Vec<&'static str>,
    failed: bool,
}

impl Options {
    const NAMES: [&str; 18] = [
        "DISALLOW_REUSE",
        "HOTP_COUNTER",
        "RATE_LIMIT",
        "RESETTING_TIME_SKEW",
        "STEP_SIZE",
        "TIME_SKEW",
        "TOTP_AUTH",
        "WINDOW_SIZE",
        // Of the logins within `grace_period`: at most ten.
        "LAST0",
        "LAST1",
        "LAST2",
        "LAST3",
        "LAST4",
        "LAST5",
        "LAST6",
        "LAST7",
        "LAST8",
        "LAST9",
    ];

    fn read(&mut self, at: &Place, option: &str, findings: &mut Findings) {
        let (name, value) = option.split_once([' ', '\t']).unwrap_or((option, ""));
        let value = value.trim();
        let Some(name) = Self::NAMES.into_iter().find(|known| *known == name) else {
            return findings.note(at, Remark::Unknown("an option that is not known"));
        };
        if self.seen.contains(&name) {
            return findings.note(at, Remark::Unknown("an option that is there twice"));
        }
        self.seen.push(name);
        self.failed |= self.take(at, name, value, findings).is_none();
    }

    /// `None` with a problem more where a value can't be used.
    fn take(
        &mut self,
        at: &Place,
        name: &'static str,
        value: &str,
        findings: &mut Findings,
    ) -> Option<()> {
        let form = |expected| Fault::Form { name, expected };
        match name {
            "DISALLOW_REUSE" => {
                let steps: Option<Vec<_>> = value.split_ascii_whitespace().map(count).collect();
                let steps = steps.ok_or(form("time steps"));
                self.used = Some(findings.take(at, steps)?.into_iter().max());
            }
            "HOTP_COUNTER" => {
                let counter = count(value).filter(|counter| *counter >= 1);
                let counter = counter.ok_or(form("a whole number from 1"));
                self.counter = Some(findings.take(at, counter)?);
            }
            "RATE_LIMIT" => findings.note(at, Remark::RateLimit),
            "RESETTING_TIME_SKEW" => {
                if !value.is_empty() {
                    findings.note(at, Remark::Resync);
                }
            }
            "STEP_SIZE" => {
                let period = value.parse().ok().and_then(Period::new);
                let period = period.ok_or(form("a whole number from 15 to 120"));
                self.period = Some(findings.take(at, period)?);
            }
            "TIME_SKEW" => {
                let skew = value.parse().map_err(|_| form("a number of steps"));
                self.skew = Some(findings.take(at, skew)?);
            }
            "TOTP_AUTH" => self.totp = true,
            "WINDOW_SIZE" => {
                let window = value.parse().ok().filter(|size| (1..=100).contains(size));
                let window = window.ok_or(form("a whole number from 1 to 100"));
                self.window = Some((at.clone(), findings.take(at, window)?));
            }
            _ => findings.note(at, Remark::Grace),
        }
        Some(())
    }

    /// A counter goes before the time where a file has both. `None` where an option could not be read, or with a
    /// problem more.
    fn factor(&self, findings: &mut Findings) -> Option<MovingFactor> {
        if self.failed {
            return None;
        }
        if self.counter.is_some() {
            return Some(MovingFactor::Counter);
        }
        if !self.totp {
            findings.problem(Place::File, Fault::NoKind);
            return None;
        }
        Some(MovingFactor::Time(self.period.unwrap_or_default()))
    }

    /// A token with what the options say of it.
    fn past_of(&self, token: Token, moment: &Moment, findings: &mut Findings) -> Token {
        let (at, tried) = self.window.clone().unwrap_or((Place::File, USUAL_WINDOW));
        let MovingFactor::Time(period) = token.otp.factor else {
            if tried != Reach::LOOK_AHEAD {
                findings.note(&at, Remark::LookAhead { codes: tried });
            }
            return token;
        };
        let sides = tried.saturating_sub(1) / 2;
        let here = u16::from(moment.window.get());
        if sides > here {
            findings.note(&at, Remark::Window { steps: sides, here });
        }
        let narrower = Window::new(sides.into()).filter(|_| sides < here);
        let drift = self.skew.unwrap_or(0);
        let ahead = i32::from(tried / 2).saturating_add(drift.into());
        let shown = period.step_at(moment.now).moved(ahead);
        Token {
            used: self.used_steps(shown, findings),
            drift,
            window: narrower,
            ..token
        }
    }

    /// Where the other program did not note each code, all that it can have accepted until now, the last of them
    /// `shown`, count as used. It did not for codes that set the clock.
    fn used_steps(&self, shown: Step, findings: &mut Findings) -> Option<Step> {
        let listed = self.used.flatten().map(Step);
        let remark = match (self.used, self.skew) {
            (Some(_), None) => return listed,
            (Some(_), Some(_)) => Remark::UsedUntilNow,
            (None, _) => Remark::Reuse,
        };
        findings.note(&Place::File, remark);
        listed.max(Some(shown))
    }
}

/// How many codes are tried where no option says it.
const USUAL_WINDOW: u16 = 3;
