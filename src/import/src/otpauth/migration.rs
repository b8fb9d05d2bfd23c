//! `otpauth-migration://offline?data=…`, one QR code of Google Authenticator's export: a protocol buffer in base64.
//!
//! The message has seven fields of interest in two levels, so it is read here: a generated reader would be another
//! 100 KB of dependencies for them.

use std::collections::BTreeMap;

use base64ct::{Base64Unpadded, Encoding};
use totp_core::key_uri::percent_decode;
use totp_core::otp::{Algorithm, Digits, MovingFactor, Otp, Period, Step};
use totp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::report::{Fault, Findings, Place};
use crate::{Moment, Token};

const FORM: Fault = Fault::Form {
    name: "data",
    expected: "what Google Authenticator exports",
};

/// The data of such a URI, percent-encoded; `None` where it is another URI.
pub(super) fn data(line: &str) -> Option<&str> {
    let (scheme, rest) = line.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("otpauth-migration") {
        return None;
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let data = query.split('&').find_map(|one| one.strip_prefix("data="));
    Some(data.unwrap_or(""))
}

/// The tokens of one URI.
pub(super) fn read(
    line: usize,
    data: &str,
    moment: &Moment,
    parts: &mut Parts,
    findings: &mut Findings,
) -> Vec<Token> {
    let Some(payload) = decode(data) else {
        findings.problem(Place::Line(line), FORM);
        return Vec::new();
    };
    let mut tokens = Vec::new();
    let mut part = Part::default();
    let mut entry = 0_usize;
    for field in Fields(&payload) {
        match field {
            Some((1, Value::Bytes(message))) => {
                entry = entry.saturating_add(1);
                let at = Place::Entry { line, entry };
                tokens.extend(read_token(at, message, moment, findings));
            }
            Some((3, Value::Number(size))) => part.size = size,
            Some((4, Value::Number(index))) => part.index = index,
            Some((5, Value::Number(batch))) => part.batch = batch,
            Some(_) => {}
            None => {
                findings.problem(Place::Line(line), FORM);
                return Vec::new();
            }
        }
    }
    if !parts.add(line, part) {
        findings.problem(Place::Line(line), FORM);
    }
    tokens
}

fn decode(data: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = percent_decode(data)?;
    let symbols = text.trim_end_matches('=');
    let bytes = Base64Unpadded::decode_vec(symbols).ok()?;
    (!bytes.is_empty()).then(|| Zeroizing::new(bytes))
}

/// One entry of the export: secret, name, issuer, algorithm, digits, type, counter.
fn read_token(
    at: Place,
    message: &[u8],
    moment: &Moment,
    findings: &mut Findings,
) -> Option<Token> {
    let mut secret = None;
    let mut label = None;
    let (mut algorithm, mut digits, mut kind, mut counter) = (0, 0, 0, 0);
    for field in Fields(message) {
        match findings.take(&at, field.ok_or(FORM))? {
            (1, Value::Bytes(bytes)) => secret = Some(Zeroizing::new(bytes.to_vec())),
            (2, Value::Bytes(name)) => label = std::str::from_utf8(name).ok(),
            (4, Value::Number(number)) => algorithm = number,
            (5, Value::Number(number)) => digits = number,
            (6, Value::Number(number)) => kind = number,
            (7, Value::Number(number)) => counter = number,
            _ => {}
        }
    }
    let secret = findings.take(&at, secret.ok_or(Fault::Missing("the secret")));
    let secret = findings.secret(&at, Secret::from_bytes(secret?));
    // 0 is what is left out, 4 is MD5.
    let algorithm = match algorithm {
        0 | 1 => Ok(Algorithm::Sha1),
        2 => Ok(Algorithm::Sha256),
        3 => Ok(Algorithm::Sha512),
        _ => Err(Fault::Algorithm("SHA1, SHA256 or SHA512")),
    };
    let digits = match digits {
        0 | 1 => Digits::new(6),
        2 => Digits::new(8),
        3 => Digits::new(7),
        _ => None,
    };
    let name = "digits";
    let expected = "6 to 8";
    let digits = findings.take(&at, digits.ok_or(Fault::Form { name, expected }));
    let factor = match kind {
        0 | 2 => Ok(MovingFactor::Time(Period::default())),
        1 => Ok(MovingFactor::Counter),
        _ => Err(Fault::Algorithm("TOTP or HOTP")),
    };
    let counter = i64::try_from(counter).and_then(u64::try_from);
    let (algorithm, factor) = (findings.take(&at, algorithm), findings.take(&at, factor));
    let counter = findings.take(&at, counter.map_err(|_| FORM))?;
    let otp = Otp {
        algorithm: algorithm?,
        digits: digits?,
        factor: factor?,
    };
    let token = Token::fresh(at, secret?, otp, Step(counter));
    let label = label.map(str::to_owned);
    Some(Token { label, ..token }.used_until_now(moment))
}

/// Which of several QR codes one is.
#[derive(Default)]
struct Part {
    batch: u64,
    size: u64,
    index: u64,
}

/// The QR codes of each export.
#[derive(Default)]
pub(super) struct Parts(BTreeMap<(u64, u64), (usize, Vec<u64>)>);

impl Parts {
    /// More QR codes than anybody scans.
    const MAX: u64 = 100;

    /// Whether there can be such a part.
    fn add(&mut self, line: usize, part: Part) -> bool {
        let Part { batch, size, index } = part;
        let can_be = size <= Self::MAX && index < size.max(1);
        if can_be {
            let (_, indices) = self.0.entry((batch, size)).or_insert((line, Vec::new()));
            indices.push(index);
        }
        can_be
    }

    /// An export is whole or refused.
    pub(super) fn check(self, findings: &mut Findings) {
        for ((_, of), (line, indices)) in self.0 {
            let missing = (0..of).filter(|index| !indices.contains(index));
            for index in missing {
                let part = index.saturating_add(1);
                findings.problem(Place::Line(line), Fault::PartMissing { part, of });
            }
        }
    }
}

/// A value of a field.
enum Value<'b> {
    Bytes(&'b [u8]),
    Number(u64),
    Other,
}

/// The fields of a message with their numbers; `None`, once, where it is none.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Option<(u64, Value<'b>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Value<'b>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// Seven bits a byte, the lowest first; the highest bit says that another follows.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}
