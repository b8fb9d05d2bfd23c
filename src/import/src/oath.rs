//! The users file of pam_oath and of mod_authn_otp: a token a line, its fields between blanks.
//!
//! `type user PIN secret [moving factor [last code [time of it]]]`, the secret in hexadecimal, the time local.

use totp_core::otp::{Algorithm, Code, Digits, Period, Step, Totp, hotp};
use totp_core::secret::Secret;
use totp_core::time::{Span, Time};
use zeroize::Zeroizing;

use crate::people::People;
use crate::report::{Fault, Findings, Place, Remark};
use crate::{Moment, Moving, Person, Token, when};

/// Everybody of a file, with the tokens of all their lines.
pub(crate) fn read(text: &str, moment: &Moment, findings: &mut Findings) -> Vec<Person> {
    let mut people = People::default();
    for (number, line) in (1..).zip(text.lines()) {
        if findings.are_full() {
            break;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let (kind, user) = (fields.next().unwrap_or(""), fields.next());
        let at = Place::Line(number);
        let Some(user) = user else {
            findings.problem(at, Fault::Missing("the user"));
            continue;
        };
        if let Some(token) = read_token(&at, kind, fields, moment, findings) {
            people.add(Some(user), token);
        }
    }
    people.into_list()
}

fn read_token<'t>(
    at: &Place,
    kind: &str,
    mut fields: impl Iterator<Item = &'t str>,
    moment: &Moment,
    findings: &mut Findings,
) -> Option<Token> {
    let form = |name, expected| Fault::Form { name, expected };
    let kind = Kind::named(kind).ok_or(form(
        "type",
        "HOTP, HOTP/E, HOTP/T30 or HOTP/T60, with /6, /7 or /8 behind it",
    ));
    let kind = findings.take(at, kind);
    let pin = fields.next();
    let secret = fields.next().ok_or(Fault::Missing("the secret"));
    let secret = findings.take(at, secret)?;
    let bytes = from_hex(secret).ok_or(form("secret", "hexadecimal digits, two a byte"));
    let secret = findings.take(at, bytes).map(Secret::from_bytes);
    let secret = secret.and_then(|secret| findings.secret(at, secret));
    let used = read_use(fields).map_err(|(name, expected)| form(name, expected));
    let used = findings.take(at, used);
    if pin.is_some_and(|pin| pin != "-" && pin != "+") {
        findings.note(at, Remark::Pin);
    }

    let (kind, secret, used) = (kind?, secret?, used?);
    let moving = match kind.period {
        None => Moving::Hotp {
            next: used.next_counter(at, &secret, kind.digits, findings),
        },
        Some(period) => Moving::Totp {
            period,
            drift: 0,
            used: used.last_step(at, &secret, kind.totp(period), moment, findings),
        },
    };
    Some(Token {
        at: at.clone(),
        label: None,
        secret,
        algorithm: Algorithm::Sha1,
        digits: kind.digits,
        moving,
        window: None,
    })
}

/// The first field of a line.
struct Kind {
    /// `None` for those of a counter.
    period: Option<Period>,
    digits: Digits,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let moves = (parts.next()? == "HOTP").then(|| parts.next())?;
        let period = match moves {
            None | Some("E") => None,
            Some(moves) => {
                let seconds = moves.strip_prefix('T')?;
                let is_number = seconds.bytes().all(|byte| byte.is_ascii_digit());
                let seconds = is_number.then(|| seconds.parse().ok())??;
                Some(Period::new(seconds)?)
            }
        };
        let digits = match parts.next() {
            None => Digits::default(),
            Some("6") => Digits::new(6)?,
            Some("7") => Digits::new(7)?,
            Some("8") => Digits::new(8)?,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self { period, digits })
    }

    fn totp(&self, period: Period) -> Totp {
        Totp {
            algorithm: Algorithm::Sha1,
            digits: self.digits,
            period,
        }
    }
}

/// What the other program noted of logins.
struct Use {
    counter: Option<u64>,
    code: Option<Code>,
    /// Local time, as if it were UTC.
    at: Option<Time>,
}

/// The last three fields of a line; those that follow are mod_authn_otp's. The name and form of one that can't be used.
fn read_use<'t>(
    mut fields: impl Iterator<Item = &'t str>,
) -> Result<Use, (&'static str, &'static str)> {
    let given = |field: Option<&'t str>| field.filter(|field| *field != "-");
    let counter = given(fields.next()).map(|counter| {
        // Of the time it is an offset, in steps, and may be negative.
        let magnitude = counter.strip_prefix('-').unwrap_or(counter);
        let number = magnitude.parse().ok();
        number.ok_or(("moving factor", "a whole number"))
    });
    let code = given(fields.next()).map(|code| {
        let code = Code::from_digits(code.as_bytes());
        code.ok_or(("last code", "6 to 8 digits"))
    });
    let at = given(fields.next()).map(|text| {
        let time = when::civil(text).filter(|(_, rest)| *rest == "L");
        let time = time.map(|(time, _)| time);
        time.ok_or(("time of the last code", "the form 2027-01-31T12:00:00L"))
    });
    Ok(Use {
        counter: counter.transpose()?,
        code: code.transpose()?,
        at: at.transpose()?,
    })
}

impl Use {
    /// pam_oath notes the count of the last code, mod_authn_otp the one behind it. A count before any code is the next.
    fn next_counter(
        &self,
        at: &Place,
        secret: &Secret,
        digits: Digits,
        findings: &mut Findings,
    ) -> u64 {
        let counter = self.counter.unwrap_or(0);
        let Some(code) = &self.code else {
            return counter;
        };
        let is_last = |counter| {
            let made = hotp(secret, Algorithm::Sha1, digits, counter);
            made.to_digits() == code.to_digits()
        };
        if !is_last(counter) {
            if counter.checked_sub(1).is_some_and(is_last) {
                return counter;
            }
            findings.note(at, Remark::OtherLastCode);
        }
        counter.saturating_add(1)
    }

    /// The step of the last code: the last that fits it near the time of it. Where none does, all that any token can
    /// have shown until now count as used.
    fn last_step(
        &self,
        at: &Place,
        secret: &Secret,
        totp: Totp,
        moment: &Moment,
        findings: &mut Findings,
    ) -> Option<Step> {
        /// What people set `window=` to, and what some need.
        const REACHES: [u16; 2] = [5, 20];
        let code = self.code.as_ref()?;
        let latest = totp.period.step_at(moment.now).moved(20);
        for reach in REACHES {
            for offset in &moment.utc_offsets {
                let Some(local) = self.at else { continue };
                let centre = totp.period.step_at(utc(local, *offset));
                let step = totp.matching_step(secret, code, centre, reach);
                if let Some(step) = step.filter(|step| *step <= latest) {
                    return Some(step);
                }
            }
        }
        findings.note(at, Remark::UsedUntilNow);
        Some(latest)
    }
}

fn utc(local: Time, offset: i32) -> Time {
    let span = Span::from_seconds(offset.unsigned_abs());
    if offset < 0 {
        local.after(span)
    } else {
        local.before(span)
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let is_pair = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        let pair = is_pair.then(|| std::str::from_utf8(pair).ok())??;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}
