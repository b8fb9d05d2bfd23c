//! Key URIs, one a line, and the URIs of Google Authenticator's export; lines that begin with `#` are comments.

mod migration;

use totp_core::key_uri::{self, KeyUri};
use totp_core::time::Time;

use crate::report::{Fault, Findings, Place, Remark};
use crate::{Moving, Person, Token};
use migration::Parts;

/// One person, whose name the file doesn't say: a label is no account.
pub(crate) fn read(text: &str, now: Time, findings: &mut Findings) -> Vec<Person> {
    let mut person = Person::default();
    let mut parts = Parts::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if findings.are_full() {
            break;
        }
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(data) = migration::data(line) {
            let tokens = migration::read(number, data, now, &mut parts, findings);
            person.tokens.extend(tokens);
        } else {
            let at = Place::Line(number);
            let uri = findings.take(&at, KeyUri::parse(line).map_err(Fault::KeyUri));
            person
                .tokens
                .extend(uri.map(|uri| token(at, line, uri, now)));
        }
    }
    parts.check(findings);
    if person.tokens.iter().any(Token::follows_time) {
        findings.note(&Place::File, Remark::UsedUntilNow);
    }
    vec![person]
}

fn token(at: Place, line: &str, uri: KeyUri, now: Time) -> Token {
    let totp = uri.totp;
    Token {
        at,
        label: key_uri::label_of(line),
        secret: uri.secret,
        algorithm: totp.algorithm,
        digits: totp.digits,
        moving: Moving::Totp {
            period: totp.period,
            drift: 0,
            used: Some(totp.period.step_at(now)),
        },
        window: None,
    }
}
