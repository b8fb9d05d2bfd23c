//! The users file of pam_oath and of mod_authn_otp: a token a line, its fields between blanks.
//!
//! `type user PIN secret [moving factor [last code [time of it]]]`, the secret in hexadecimal, the time local.

use crate::people::People;
use crate::report::{Fault, Findings, Place, Remark};
use crate::{Moment, Person, Token, count, from_hex, when};
use totp_core::otp::{Algorithm, Code, Digits, MovingFactor, Otp, Period, Step};
use totp_core::secret::Secret;
use totp_core::time::{Span, Time};

/// Everybody of a file, with the tokens of all their lines.
pub(crate) fn read(text: &str, moment: &Moment, findings: &mut Findings) -> Vec<Person> {
    const MAX_LINES: usize = 200_000;
    let mut people = People::default();
    for (number, line) in (1..).zip(text.lines()) {
        if number > MAX_LINES {
            let max = MAX_LINES;
            findings.problem(Place::Line(number), Fault::TooManyLines { max });
        }
        if findings.are_full() || number > MAX_LINES {
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
    let otp = otp_named(kind).ok_or(form(
        "type",
        "HOTP, HOTP/E, HOTP/T30 or HOTP/T60, with /6, /7 or /8 behind it",
    ));
    let otp = findings.take(at, otp);
    let pin = fields.next();
    let secret = fields.next().ok_or(Fault::Missing("the secret"));
    let secret = findings.take(at, secret)?;
    let bytes = from_hex(secret).ok_or(form("secret", "hexadecimal digits, two a byte"));
    let secret = findings.take(at, bytes).map(Secret::from_bytes);
    let secret = secret.and_then(|secret| findings.secret(at, secret));
    let is_of_time = otp.is_none_or(|otp| otp.period().is_some());
    let used = read_use(is_of_time, fields).map_err(|(name, expected)| form(name, expected));
    let used = findings.take(at, used);
    if pin.is_some_and(|pin| pin != "-" && pin != "+") {
        findings.note(at, Remark::Pin);
    }

    let (otp, secret, used) = (otp?, secret?, used?);
    let used = match otp.factor {
        MovingFactor::Counter => used.last_count(at, &secret, &otp, findings),
        MovingFactor::Time(period) => used.last_step(at, &secret, &otp, period, moment, findings),
    };
    let token = Token::fresh(at.clone(), secret, otp, Step(0));
    Some(Token { used, ..token })
}

/// The first field of a line.
fn otp_named(name: &str) -> Option<Otp> {
    let mut parts = name.split('/');
    let moves = (parts.next()? == "HOTP").then(|| parts.next())?;
    let factor = match moves {
        None | Some("E") => MovingFactor::Counter,
        Some(moves) => {
            let seconds = moves.strip_prefix('T')?;
            let is_number = seconds.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = is_number.then(|| seconds.parse().ok())??;
            MovingFactor::Time(Period::new(seconds)?)
        }
    };
    let digits = match parts.next() {
        None => Digits::default(),
        Some("6") => Digits::new(6)?,
        Some("7") => Digits::new(7)?,
        Some("8") => Digits::new(8)?,
        Some(_) => return None,
    };
    let algorithm = Algorithm::Sha1;
    parts.next().is_none().then_some(Otp {
        algorithm,
        digits,
        factor,
    })
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
    is_of_time: bool,
    mut fields: impl Iterator<Item = &'t str>,
) -> Result<Use, (&'static str, &'static str)> {
    let given = |field: Option<&'t str>| field.filter(|field| *field != "-");
    let counter = given(fields.next()).map(|counter| {
        // Of the time it is an offset, in steps, and may be negative.
        let offset = counter.strip_prefix('-').filter(|_| is_of_time);
        let magnitude = offset.unwrap_or(counter);
        count(magnitude).ok_or(("moving factor", "a whole number"))
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
    fn last_count(
        &self,
        at: &Place,
        secret: &Secret,
        otp: &Otp,
        findings: &mut Findings,
    ) -> Option<Step> {
        let counter = Step(self.counter.unwrap_or(0));
        let before = counter.before();
        let Some(code) = &self.code else {
            return before;
        };
        let is_of = |count: Step| otp.code(secret, count).to_digits() == code.to_digits();
        if is_of(counter) {
            return Some(counter);
        }
        if before.is_some_and(is_of) {
            return before;
        }
        findings.note(at, Remark::OtherLastCode);
        Some(counter)
    }

    /// The step of the last code: the last that fits it near the time of it. Where none does, all that any token can
    /// have shown until now count as used.
    fn last_step(
        &self,
        at: &Place,
        secret: &Secret,
        otp: &Otp,
        period: Period,
        moment: &Moment,
        findings: &mut Findings,
    ) -> Option<Step> {
        /// What people set `window=` to, and what some need.
        const REACHES: [u16; 2] = [5, 20];
        let code = self.code.as_ref()?;
        let latest = period.step_at(moment.now).moved(20);
        let times = self.at.iter().flat_map(|local| {
            let offsets = moment.utc_offsets.iter();
            offsets.map(|offset| period.step_at(utc(*local, *offset)))
        });
        let near = |reach| {
            let mut windows = times.clone().map(|step: Step| step.around(reach));
            windows.find_map(|steps| otp.matching_step(secret, code, &steps))
        };
        let step = REACHES.into_iter().find_map(near);
        step.filter(|step| *step <= latest).or_else(|| {
            findings.note(at, Remark::UsedUntilNow);
            Some(latest)
        })
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
