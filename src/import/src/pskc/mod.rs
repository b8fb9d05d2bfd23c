//! Portable Symmetric Key Container, RFC 6030: tokens as their makers deliver them, in XML.
//!
//! Namespaces are left aside, since drafts and makers differ in them.

mod policy;
mod vault;
mod write;
mod xml;

use totp_core::otp::{Algorithm, Digits, MovingFactor, Otp, Period, Step};
use totp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::people::People;
use crate::report::{Fault, Findings, Place, Remark};
use crate::{Key, Moment, Person, Token};
use vault::Vault;
pub use write::{Exported, write};
use xml::Element;

/// Everybody of a container.
pub(crate) fn read(
    text: &str,
    key: Option<&Key>,
    moment: &Moment,
    findings: &mut Findings,
) -> Vec<Person> {
    let root = match Element::parse(text) {
        Ok(root) => root,
        Err((at, fault)) => {
            findings.problem(at, fault);
            return Vec::new();
        }
    };
    if root.name() != "KeyContainer" {
        let (name, expected) = ("the root element", "KeyContainer");
        findings.problem(Place::File, Fault::Form { name, expected });
        return Vec::new();
    }
    let Some(vault) = findings.take(&Place::File, Vault::open(&root, key)) else {
        return Vec::new();
    };
    if root.child("Signature").is_some() {
        findings.note(&Place::File, Remark::Signature);
    }
    let mut people = People::default();
    for package in root.named("KeyPackage") {
        if findings.are_full() {
            break;
        }
        read_package(package, &vault, moment, findings, &mut people);
    }
    people.into_list()
}

fn read_package(
    package: &Element,
    vault: &Vault,
    moment: &Moment,
    findings: &mut Findings,
    people: &mut People,
) {
    let device = package.child("DeviceInfo");
    let of_device = |name| device.and_then(|device| device.text_of(name));
    let serial = of_device("SerialNo");
    for key in package.named("Key") {
        let id = key.attribute("Id").or(serial).unwrap_or("without an id");
        let at = Place::Key(id.to_owned());
        let user = key.text_of("UserId").or(of_device("UserId"));
        let token = KeyElement {
            key,
            at,
            vault,
            moment,
        }
        .read(findings);
        if let Some(token) = token {
            let label = serial.or(key.text_of("FriendlyName")).unwrap_or(id);
            let label = Some(label.to_owned());
            people.add(user.and_then(account), Token { label, ..token });
        }
    }
}

/// The name of an account: alone, or as `UID` of a distinguished name (RFC 4514).
fn account(user: &str) -> Option<&str> {
    let mut parts = user.split([',', '+']).map(str::trim);
    let uid = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("uid").then_some(value)
    });
    uid.or((!user.contains('=')).then_some(user))
}

struct KeyElement<'d> {
    key: &'d Element,
    at: Place,
    vault: &'d Vault,
    moment: &'d Moment,
}

impl KeyElement<'_> {
    fn read(self, findings: &mut Findings) -> Option<Token> {
        let at = &self.at;
        let algorithm = self.key.attribute("Algorithm");
        let algorithm = findings.take(at, algorithm.ok_or(Fault::Missing("Algorithm")))?;
        // The drafts have `#` where the RFC has a colon.
        let factor = match algorithm.rsplit([':', '#']).next() {
            Some(name @ ("hotp" | "totp")) => MovingFactor::named(name),
            Some("pin") => {
                findings.note(at, Remark::Pin);
                return None;
            }
            _ => None,
        };
        let factor = findings.take(at, factor.ok_or(Fault::Algorithm("hotp or totp")));
        if let Some(policy) = self.key.child("Policy") {
            policy::check(policy, at, self.moment.now, findings);
        }
        let digits = self.digits(findings);
        let suite = findings.take(at, self.suite());
        let secret = self.value("Secret").and_then(|secret| match secret {
            Some(Value::Plain(text)) => {
                let expected = "base64";
                let name = "Secret";
                vault::from_base64(text).ok_or(Fault::Form { name, expected })
            }
            Some(Value::Decrypted(bytes)) => Ok(bytes),
            None => Err(Fault::Missing("Secret")),
        });
        let secret = findings.take(at, secret).map(Secret::from_bytes);
        let secret = secret.and_then(|secret| findings.secret(at, secret));
        let otp = |factor| {
            Some(Otp {
                algorithm: suite?,
                digits: digits?,
                factor,
            })
        };
        let at = at.clone();
        match factor? {
            MovingFactor::Counter => {
                let next = self.counter(findings)?;
                let otp = otp(MovingFactor::Counter)?;
                Some(Token::fresh(at, secret?, otp, Step(next)))
            }
            MovingFactor::Time(usual) => {
                let period = self.period(usual, findings);
                let (drift, shown) = (self.drift(findings)?, self.time(findings)?);
                let otp = otp(MovingFactor::Time(period?))?;
                findings.note(&at, Remark::UsedUntilNow);
                let token = Token::fresh(at, secret?, otp, Step(shown).moved(1));
                Some(Token { drift, ..token }.used_until_now(self.moment))
            }
        }
    }

    /// `Suite`: HMAC-SHA256 and the like, SHA1 where there is none.
    fn suite(&self) -> Result<Algorithm, Fault> {
        let parameters = self.key.child("AlgorithmParameters");
        let Some(suite) = parameters.and_then(|one| one.text_of("Suite")) else {
            return Ok(Algorithm::Sha1);
        };
        let hash = suite
            .strip_prefix("HMAC-")
            .unwrap_or(suite)
            .replace('-', "");
        Algorithm::named(&hash).ok_or(Fault::Algorithm(
            "the suite HMAC-SHA1, HMAC-SHA256 or HMAC-SHA512",
        ))
    }

    fn digits(&self, findings: &mut Findings) -> Option<Digits> {
        let parameters = self.key.child("AlgorithmParameters");
        let Some(format) = parameters.and_then(|one| one.child("ResponseFormat")) else {
            findings.note(&self.at, Remark::AssumedDigits);
            return Some(Digits::default());
        };
        let is_decimal = matches!(format.attribute("Encoding"), None | Some("DECIMAL"))
            && matches!(format.attribute("CheckDigits"), None | Some("false" | "0"));
        let length = format.attribute("Length").and_then(|one| one.parse().ok());
        let digits = length.and_then(Digits::new).filter(|_| is_decimal);
        let (name, expected) = (
            "ResponseFormat",
            "6 to 8 decimal digits without a check digit",
        );
        findings.take(&self.at, digits.ok_or(Fault::Form { name, expected }))
    }

    fn counter(&self, findings: &mut Findings) -> Option<u64> {
        let next = findings.take(&self.at, self.number("Counter"))?;
        if next.is_none() {
            findings.note(&self.at, Remark::AssumedCounter);
        }
        let next = u64::try_from(next.unwrap_or(0)).map_err(|_| number_form("Counter"));
        findings.take(&self.at, next)
    }

    fn period(&self, usual: Period, findings: &mut Findings) -> Option<Period> {
        let Some(seconds) = findings.take(&self.at, self.number("TimeInterval"))? else {
            findings.note(&self.at, Remark::AssumedPeriod);
            return Some(usual);
        };
        let (name, expected) = ("TimeInterval", "15 to 120 seconds");
        let period = Period::new(seconds).ok_or(Fault::Form { name, expected });
        findings.take(&self.at, period)
    }

    /// The intervals that the token is ahead.
    fn drift(&self, findings: &mut Findings) -> Option<i16> {
        let drift = findings.take(&self.at, self.number("TimeDrift"))?;
        let drift = i16::try_from(drift.unwrap_or(0)).map_err(|_| number_form("TimeDrift"));
        findings.take(&self.at, drift)
    }

    /// The interval that the token was last seen at.
    fn time(&self, findings: &mut Findings) -> Option<u64> {
        let time = findings.take(&self.at, self.number("Time"))?;
        let time = u64::try_from(time.unwrap_or(0)).map_err(|_| number_form("Time"));
        findings.take(&self.at, time)
    }

    /// A number of `Data`; encrypted ones are of 4 or 8 bytes.
    fn number(&self, name: &'static str) -> Result<Option<i64>, Fault> {
        let number = match self.value(name)? {
            None => return Ok(None),
            Some(Value::Plain(text)) => text.parse().ok(),
            Some(Value::Decrypted(bytes)) => match bytes.as_slice() {
                [a, b, c, d] => Some(i32::from_be_bytes([*a, *b, *c, *d]).into()),
                bytes => bytes.try_into().ok().map(i64::from_be_bytes),
            },
        };
        number.map(Some).ok_or(number_form(name))
    }

    /// A value of `Data`.
    fn value(&self, name: &str) -> Result<Option<Value<'_>>, Fault> {
        let data = self.key.child("Data");
        let Some(element) = data.and_then(|data| data.child(name)) else {
            return Ok(None);
        };
        if let Some(encrypted) = element.child("EncryptedValue") {
            let bytes = self.vault.value(encrypted, element.text_of("ValueMAC"))?;
            return Ok(Some(Value::Decrypted(bytes)));
        }
        Ok(element.text_of("PlainValue").map(Value::Plain))
    }
}

fn number_form(name: &'static str) -> Fault {
    let expected = "a whole number";
    Fault::Form { name, expected }
}

enum Value<'d> {
    Decrypted(Zeroizing<Vec<u8>>),
    Plain(&'d str),
}
