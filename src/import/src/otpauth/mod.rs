//! Key URIs, one a line, and the URIs of Google Authenticator's export; lines that begin with `#` are comments.

mod migration;

use totp_core::key_uri::{self, KeyUri, KeyUriError};

use crate::report::{Fault, Findings, Place, Remark};
use crate::{Moment, Person, Token};
use migration::Parts;

const NO_URI: Fault = Fault::Form {
    name: "the line",
    expected: "a URI that starts with otpauth:// or otpauth-migration://",
};

/// One person, whose name the file doesn't say: a label is no account.
pub(crate) fn read(text: &str, moment: &Moment, findings: &mut Findings) -> Vec<Person> {
    let mut person = Person::default();
    let mut parts = Parts::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if findings.are_full() {
            break;
        }
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(data) = migration::data(line) {
            let tokens = migration::read(number, data, moment, &mut parts, findings);
            person.tokens.extend(tokens);
        } else {
            let at = Place::Line(number);
            let uri = KeyUri::parse(line).map_err(|error| match error {
                KeyUriError::Scheme => NO_URI,
                error => Fault::KeyUri(error),
            });
            if let Some(uri) = findings.take(&at, uri) {
                findings.weigh(&at, &uri.secret);
                person.tokens.push(token(at, line, uri, moment));
            }
        }
    }
    parts.check(findings);
    if person
        .tokens
        .iter()
        .any(|token| token.otp.period().is_some())
    {
        findings.note(&Place::File, Remark::UsedUntilNow);
    }
    vec![person]
}

fn token(at: Place, line: &str, uri: KeyUri, moment: &Moment) -> Token {
    let label = key_uri::label_of(line);
    let token = Token::fresh(at, uri.secret, uri.otp, uri.counter);
    Token { label, ..token }.used_until_now(moment)
}
