//! A container of keys in plain text, for a file that nobody else reads.

use std::fmt::Write as _;

use base64ct::{Base64, Encoding};
use totp_core::otp::{MovingFactor, Otp, Step};
use totp_core::secret::Secret;
use zeroize::Zeroizing;

/// A device as another program is to have it.
pub struct Exported<'d> {
    /// Tells it from all others.
    pub id: String,
    /// What its owner calls it.
    pub name: &'d str,
    /// The key.
    pub secret: &'d Secret,
    /// How codes are made of it.
    pub otp: Otp,
    /// The first step that is not used up, or the next counter.
    pub next: Step,
    /// How many steps its clock is ahead.
    pub drift: i16,
}

/// The devices of one account, RFC 6030.
#[must_use]
pub fn write(user: &str, devices: &[Exported<'_>]) -> Zeroizing<String> {
    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n";
    // Enough for any device: a buffer that grew would leave copies behind.
    let user = escape(user);
    let each = user.len().saturating_add(1200);
    let length = devices.len().saturating_mul(each).saturating_add(300);
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.push_str(HEAD);
    for device in devices {
        write_device(&mut text, &user, device);
    }
    text.push_str("</KeyContainer>\n");
    text
}

fn write_device(text: &mut String, user: &str, device: &Exported<'_>) {
    let Exported {
        id,
        name,
        secret,
        otp,
        next,
        drift,
    } = device;
    let name = escape(name);
    let secret = Zeroizing::new(Base64::encode_string(secret.expose()));
    let _ = write!(
        text,
        "  <KeyPackage>\n    <DeviceInfo><UserId>{user}</UserId></DeviceInfo>\n    \
         <Key Id=\"{id}\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:{}\">\n      \
         <AlgorithmParameters><Suite>HMAC-{}</Suite>\
         <ResponseFormat Length=\"{}\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\n      \
         <FriendlyName>{name}</FriendlyName>\n      \
         <Data>\n        <Secret><PlainValue>{}</PlainValue></Secret>\n",
        otp.factor.name(),
        otp.algorithm,
        otp.digits,
        secret.as_str(),
    );
    let _ = match otp.factor {
        MovingFactor::Counter => value(text, "Counter", next.0),
        MovingFactor::Time(period) => value(text, "Time", next.before().map_or(0, |used| used.0))
            .and_then(|()| value(text, "TimeInterval", period))
            .and_then(|()| value(text, "TimeDrift", drift)),
    };
    text.push_str(
        "      </Data>\n      <Policy><KeyUsage>OTP</KeyUsage></Policy>\n    </Key>\n  </KeyPackage>\n",
    );
}

fn value(text: &mut String, name: &str, value: impl std::fmt::Display) -> std::fmt::Result {
    writeln!(
        text,
        "        <{name}><PlainValue>{value}</PlainValue></{name}>"
    )
}

/// As text of an element; control characters, which XML has none of, are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Moment, read};
    use proptest::prelude::*;
    use totp_core::config::Window;
    use totp_core::otp::{Algorithm, Digits, Period};
    use totp_core::time::Time;

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            user in "[^\\p{C}=\\s]{1,20}",
            name in "[^\\p{C}\\s]{1,20}",
            bytes in proptest::collection::vec(any::<u8>(), 10..=128),
            digits in 6..=8_i64,
            period in 15..=120_i64,
            next in 1..=u64::from(u32::MAX),
            drift in any::<i16>(),
            counts in any::<bool>(),
        ) {
            let secret = Secret::from_bytes(bytes.into()).unwrap();
            let factor = match counts {
                true => MovingFactor::Counter,
                false => MovingFactor::Time(Period::new(period).unwrap()),
            };
            let otp = Otp { algorithm: Algorithm::Sha512, digits: Digits::new(digits).unwrap(), factor };
            let next = Step(next);
            let written = Exported { id: "00ff".to_owned(), name: &name, secret: &secret, otp, next, drift };
            let text = write(&user, &[written]);
            let (now, window) = (Time::from_unix(0), Window::default());
            let moment = Moment { now, utc_offsets: Vec::new(), window };
            let import = read(Format::Pskc, text.as_bytes(), None, &moment).ok().unwrap();
            let person = &import.people[0];
            let token = &person.tokens[0];
            prop_assert_eq!(person.user.as_deref(), Some(user.as_str()));
            prop_assert_eq!(token.label.as_deref(), Some(name.as_str()));
            prop_assert_eq!(token.secret.expose(), secret.expose());
            prop_assert_eq!(token.otp, otp);
            if counts {
                prop_assert_eq!(token.used, next.before());
            } else {
                prop_assert_eq!(token.drift, drift);
                prop_assert!(token.used >= next.before());
            }
        }
    }
}
