//! `otpauth://` URIs: the Key URI format that authenticator apps read from QR codes.

use std::fmt::{self, Write as _};

use zeroize::Zeroizing;

use crate::device::DeviceName;
use crate::otp::{Algorithm, Digits, MovingFactor, Otp, Period, Step};
use crate::secret::{Secret, SecretError};

/// What an app needs to know of a device.
pub struct KeyUri {
    /// The key.
    pub secret: Secret,
    /// How codes are made of it.
    pub otp: Otp,
    /// The counter of the next code; 0 where codes follow the time.
    pub counter: Step,
}

impl KeyUri {
    /// The URI. What every app takes for granted is left out, so that the QR code is small: SHA1, 6 digits and 30
    /// seconds. `issuer` must not hold a colon.
    #[must_use]
    pub fn write(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let issuer = percent_encode(issuer, b"-._~");
        let account = percent_encode(account, b"-._~@()");
        let secret = self.secret.to_base32();
        let length = issuer.len().saturating_mul(2).saturating_add(account.len());
        let mut uri = Zeroizing::new(String::with_capacity(
            length.saturating_add(secret.len()).saturating_add(100),
        ));
        let Otp {
            algorithm,
            digits,
            factor,
        } = self.otp;
        let _ = write!(
            uri,
            "otpauth://{}/{issuer}:{account}?secret={}&issuer={issuer}",
            factor.name(),
            secret.as_str()
        );
        if algorithm != Algorithm::default() {
            let _ = write!(uri, "&algorithm={algorithm}");
        }
        if digits != Digits::default() {
            let _ = write!(uri, "&digits={digits}");
        }
        match factor {
            MovingFactor::Counter => {
                let _ = write!(uri, "&counter={}", self.counter.0);
            }
            MovingFactor::Time(period) if period != Period::default() => {
                let _ = write!(uri, "&period={period}");
            }
            MovingFactor::Time(_) => {}
        }
        uri
    }

    /// Reads a URI. The label, the issuer and parameters that the format does not know are left aside.
    ///
    /// # Errors
    /// [`KeyUriError`]; it never holds a part of the URI.
    pub fn parse(uri: &str) -> Result<Self, KeyUriError> {
        let rest =
            strip_prefix_ignoring_case(uri.trim(), "otpauth://").ok_or(KeyUriError::Scheme)?;
        let (kind, rest) = rest.split_once('/').ok_or(KeyUriError::Type)?;
        let factor = MovingFactor::named(&kind.to_ascii_lowercase()).ok_or(KeyUriError::Type)?;
        let (_, query) = rest.split_once('?').ok_or(KeyUriError::Missing("secret"))?;
        let query = query.split('#').next().unwrap_or(query);

        let (mut secret, mut counter) = (None, None);
        let mut otp = Otp {
            factor,
            ..Otp::default()
        };
        let of_factor = match factor {
            MovingFactor::Counter => "counter",
            MovingFactor::Time(_) => "period",
        };
        let mut seen = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let known = ["secret", "algorithm", "digits", of_factor];
            let Some(name) = known.into_iter().find(|known| *known == name) else {
                continue;
            };
            if seen.contains(&name) {
                return Err(KeyUriError::Twice(name));
            }
            seen.push(name);
            let value = percent_decode(value).ok_or(KeyUriError::Value(name))?;
            let number = || value.parse::<i64>().ok();
            match name {
                "secret" => {
                    secret = Some(Secret::from_base32(&value).map_err(KeyUriError::Secret)?);
                }
                "algorithm" => {
                    otp.algorithm = Algorithm::named(&value).ok_or(KeyUriError::Value(name))?;
                }
                "digits" => {
                    let digits = number().and_then(Digits::new);
                    otp.digits = digits.ok_or(KeyUriError::Value(name))?;
                }
                "counter" => {
                    let number = number().and_then(|number| u64::try_from(number).ok());
                    counter = Some(Step(number.ok_or(KeyUriError::Value(name))?));
                }
                _ => {
                    let period = number().and_then(Period::new);
                    otp.factor = MovingFactor::Time(period.ok_or(KeyUriError::Value(name))?);
                }
            }
        }
        let secret = secret.ok_or(KeyUriError::Missing("secret"))?;
        let counter = match factor {
            MovingFactor::Counter => counter.ok_or(KeyUriError::Missing("counter"))?,
            MovingFactor::Time(_) => Step(0),
        };
        Ok(Self {
            secret,
            otp,
            counter,
        })
    }
}

/// What a URI calls its entry, issuer and all; `None` where it is nothing or no text.
#[must_use]
pub fn label_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let (_, label) = rest.split(['?', '#']).next()?.split_once('/')?;
    let label = percent_decode(label)?;
    (!label.is_empty()).then(|| label.to_string())
}

/// What an app calls the entry of a device.
#[must_use]
pub fn label(user: &str, host: &str, device: &DeviceName) -> String {
    format!("{user}@{host} ({device})")
}

/// Why a text is no Key URI of a device. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyUriError {
    /// A parameter that has to be there is not.
    Missing(&'static str),
    /// Not `otpauth://`.
    Scheme,
    /// The secret is no secret.
    Secret(SecretError),
    /// A parameter stands there twice.
    Twice(&'static str),
    /// Neither `totp` nor `hotp`.
    Type,
    /// A parameter's value is not one of those allowed.
    Value(&'static str),
}

impl fmt::Display for KeyUriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "the otpauth URI has no {name}"),
            Self::Scheme => f.write_str(
                "expected base32 or a URI that starts with otpauth://totp/ or otpauth://hotp/ (what Google \
                 Authenticator exports is for totpctl import --format otpauth)",
            ),
            Self::Secret(error) => error.fmt(f),
            Self::Twice(name) => write!(f, "the otpauth URI names {name} twice"),
            Self::Type => f.write_str(
                "the otpauth URI is neither of type totp nor of type hotp: codes of other types are not known",
            ),
            Self::Value(name) => write!(
                f,
                "the otpauth URI's {name} can't be used: \
                 algorithm is SHA1, SHA256 or SHA512, digits 6 to 8, period 15 to 120, \
                 counter 0 or more"
            ),
        }
    }
}

impl std::error::Error for KeyUriError {}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// RFC 3986 percent-encoding of all but ASCII letters, digits and the bytes of `kept`.
pub(crate) fn percent_encode(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The text that percent-encoding was made of; `None` where it is none or not UTF-8.
#[must_use]
pub fn percent_decode(encoded: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut rest = encoded.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let hex = pair.iter().all(u8::is_ascii_hexdigit).then_some(pair)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
    }
    std::str::from_utf8(&bytes)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn uri(algorithm: Algorithm, digits: i64, period: i64) -> KeyUri {
        KeyUri {
            secret: Secret::from_base32(SECRET).unwrap(),
            otp: Otp {
                algorithm,
                digits: Digits::new(digits).unwrap(),
                factor: MovingFactor::Time(Period::new(period).unwrap()),
            },
            counter: Step(0),
        }
    }

    #[test]
    fn what_no_app_takes_for_granted_is_spelled_out() {
        for (uri, behind) in [
            (uri(Algorithm::Sha1, 6, 30), ""),
            (uri(Algorithm::Sha512, 6, 30), "&algorithm=SHA512"),
            (
                uri(Algorithm::Sha256, 8, 60),
                "&algorithm=SHA256&digits=8&period=60",
            ),
        ] {
            let label = label("alice", "host", &DeviceName::default());
            let expected = format!(
                "otpauth://totp/Bank%20of%20Examples:alice@host%20(phone)?secret={SECRET}\
                 &issuer=Bank%20of%20Examples{behind}"
            );
            assert_eq!(uri.write("Bank of Examples", &label).as_str(), expected);
        }
    }

    #[test]
    fn uris_of_other_makers_are_read() {
        for (text, algorithm, digits, period) in [
            ("otpauth://totp/a?secret=KEY", Algorithm::Sha1, 6, 30),
            (
                "OTPAUTH://TOTP/a?secret=KEY&image=http://x/y",
                Algorithm::Sha1,
                6,
                30,
            ),
            (
                "otpauth://totp/Ex:a@b?issuer=Ex&digits=8&secret=KEY&algorithm=sha256",
                Algorithm::Sha256,
                8,
                30,
            ),
            (
                " otpauth://totp/%C3%84?period=60&secret=KEY&algorithm=SHA512\n",
                Algorithm::Sha512,
                6,
                60,
            ),
            ("otpauth://totp/?secret=KEY%3D%3D&&", Algorithm::Sha1, 6, 30),
        ] {
            let text = text.replace("KEY", &SECRET.to_lowercase());
            let read = KeyUri::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.secret.to_base32().as_str(), SECRET);
            assert_eq!(read.otp, uri(algorithm, digits, period).otp);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, error) in [
            ("https://totp/a?secret=S", KeyUriError::Scheme),
            ("", KeyUriError::Scheme),
            ("otpauth://motp/a?secret=S&counter=1", KeyUriError::Type),
            ("otpauth://hotp?secret=S&counter=1", KeyUriError::Type),
            ("otpauth://hotp/a?secret=S", KeyUriError::Missing("counter")),
            (
                "otpauth://hotp/a?secret=S&counter=-1",
                KeyUriError::Value("counter"),
            ),
            (
                "otpauth://hotp/a?secret=S&counter=1&counter=1",
                KeyUriError::Twice("counter"),
            ),
            ("otpauth://totp/a", KeyUriError::Missing("secret")),
            ("otpauth://totp/a?issuer=b", KeyUriError::Missing("secret")),
            (
                "otpauth://totp/a?secret=S&secret=S",
                KeyUriError::Twice("secret"),
            ),
            (
                "otpauth://totp/a?secret=1",
                KeyUriError::Secret(SecretError::NotBase32),
            ),
            ("otpauth://totp/a?secret=%4", KeyUriError::Value("secret")),
            ("otpauth://totp/a?secret=%+4", KeyUriError::Value("secret")),
            ("otpauth://totp/a?secret=%ff", KeyUriError::Value("secret")),
            (
                "otpauth://totp/a?secret=S&digits=5",
                KeyUriError::Value("digits"),
            ),
            (
                "otpauth://totp/a?secret=S&digits=",
                KeyUriError::Value("digits"),
            ),
            (
                "otpauth://totp/a?secret=S&period=0",
                KeyUriError::Value("period"),
            ),
            (
                "otpauth://totp/a?secret=S&algorithm=MD5",
                KeyUriError::Value("algorithm"),
            ),
        ] {
            let text = text.replace("=S", &format!("={SECRET}"));
            let Err(found) = KeyUri::parse(&text) else {
                panic!("{text} was taken");
            };
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains(SECRET));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(issuer in "[^:\\p{C}]{1,20}", account in "\\PC{1,20}", digits in 6..=8_i64, period in 15..=120_i64) {
            let written = uri(Algorithm::Sha256, digits, period);
            let text = written.write(&issuer, &account);
            prop_assert!(text.is_ascii());
            let read = KeyUri::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read.otp, written.otp);
            prop_assert_eq!(read.secret.expose(), written.secret.expose());
        }

        #[test]
        fn a_counter_reads_back(counter in 0..=i64::MAX as u64) {
            let written = KeyUri {
                otp: Otp { factor: MovingFactor::Counter, ..Otp::default() },
                counter: Step(counter),
                ..uri(Algorithm::Sha1, 6, 30)
            };
            let text = written.write("a", "b");
            prop_assert_eq!(text.as_str(), format!("otpauth://hotp/a:b?secret={SECRET}&issuer=a&counter={counter}"));
            let read = KeyUri::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!((read.otp, read.counter), (written.otp, written.counter));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(otpauth://[ht]otp/)?\\PC*") {
            let _ = KeyUri::parse(&text);
        }
    }
}
