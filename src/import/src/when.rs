//! Points in time as other programs write them.

use totp_core::time::{Span, Time};

/// The time at the start of `text`, `2027-01-31T12:00:00` read as UTC, and what stands behind it.
pub(crate) fn civil(text: &str) -> Option<(Time, &str)> {
    let (date, rest) = text.split_at_checked("2027-01-31".len())?;
    let (clock, rest) = rest.strip_prefix('T')?.split_at_checked("12:00:00".len())?;
    let day = Time::of_date(date)?;
    let mut parts = clock.split(':').map(two_digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second counts as the one after it.
    let in_day = hour <= 23 && minute <= 59 && second <= 60;
    let seconds = u32::from(hour)
        .checked_mul(3600)?
        .checked_add(u32::from(minute).checked_mul(60)?)?
        .checked_add(u32::from(second))?;
    in_day.then(|| (day.after(Span::from_seconds(seconds)), rest))
}

/// A time of XML Schema: with a fraction of a second or without, in UTC or with its distance from it.
pub(crate) fn xml_time(text: &str) -> Option<Time> {
    let (time, rest) = civil(text)?;
    let rest = rest.strip_prefix('.').map_or(rest, |fraction| {
        fraction.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    if matches!(rest, "" | "Z") {
        return Some(time);
    }
    let (hours, minutes) = rest.get(1..)?.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let minutes = u32::from(hours)
        .checked_mul(60)?
        .checked_add(minutes.into())?;
    let span = Span::from_minutes(minutes);
    match rest.chars().next()? {
        '+' => Some(time.before(span)),
        '-' => Some(time.after(span)),
        _ => None,
    }
}

fn two_digits(text: &str) -> Option<u8> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_distance_from_utc() {
        for (text, unix) in [
            ("2026-11-22T09:30:00Z", 1_795_339_800),
            ("2026-11-22T09:30:00", 1_795_339_800),
            ("2026-11-22T09:30:00.250Z", 1_795_339_800),
            ("2026-11-22T10:30:00+01:00", 1_795_339_800),
            ("2026-11-22T00:00:00-09:30", 1_795_339_800),
        ] {
            assert_eq!(xml_time(text), Some(Time::from_unix(unix)), "{text}");
        }
        for text in [
            "",
            "2026-11-22",
            "2026-02-30T09:30:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T09:30Z",
            "2026-11-22T09:30:00 Z",
            "2026-11-22T09:30:00+1:00",
            "2026-11-22T+9:30:00Z",
        ] {
            assert_eq!(xml_time(text), None, "{text}");
        }
    }
}
