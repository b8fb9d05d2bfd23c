//! Points in time and spans of it, in whole seconds and UTC. No zone, no locale, no leap seconds.

use std::fmt;

/// A point in time: seconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Time(i64);

impl Time {
    /// The time `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// The beginning of a day in UTC, written `2027-01-31`, of the years 0 to 9999.
    #[must_use]
    pub fn of_date(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let mut next = |most: i64| {
            let number = parts.next()?.parse().ok()?;
            (0..=most).contains(&number).then_some(number)
        };
        let (year, month, day) = (next(9999)?, next(12)?, next(31)?);
        let time = Self(number_of_day(year, month, day).checked_mul(86_400)?);
        // There is one way to write it, and none for days that no month has.
        (time.date() == text).then_some(time)
    }

    /// Its date in UTC: `2027-01-31`.
    #[must_use]
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate("2027-01-31".len());
        text
    }

    /// As in the Date of a mail (RFC 5322 section 3.3), in UTC: `Sun, 31 Jan 2027 10:00:00 +0000`.
    #[must_use]
    pub fn rfc5322(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let text = self.to_string();
        let part = |range| text.get(range).unwrap_or_default();
        let month = part(5..7).parse::<usize>().unwrap_or(1).saturating_sub(1);
        let weekday = usize::try_from(self.0.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
        let named =
            |names: &[&'static str], index: usize| names.get(index).copied().unwrap_or_default();
        format!(
            "{}, {} {} {} {} +0000",
            named(&DAYS, weekday),
            part(8..10),
            named(&MONTHS, month),
            part(0..4),
            part(11..19)
        )
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This time and `span` later, at most the end of time.
    #[must_use]
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(i64::from(span.0)))
    }

    /// How long ago `earlier` was: zero where it is later than this.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        let seconds = self.0.saturating_sub(earlier.0).max(0);
        Span(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The time `span` before this one.
    #[must_use]
    pub fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(i64::from(span.0)))
    }
}

/// RFC 3339 in UTC: `2026-11-22T09:30:00Z`. Years outside 0–9999 show as seconds: `@-99999999999`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_0: i64 = -62_167_219_200;
        const YEAR_10000: i64 = 253_402_300_800;
        if !(YEAR_0..YEAR_10000).contains(&self.0) {
            return write!(f, "@{}", self.0);
        }
        let (day, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let (year, month, day) = civil_date(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years run from March here, so that the leap day is a year's last.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the one caller passes days of the years 0 to 9999"
)]
fn civil_date(day: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let day = day + 719_468; // counted from 0000-03-01
    let era = day.div_euclid(DAYS_OF_400_YEARS);
    let day = day.rem_euclid(DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day)
}

/// The opposite of [`civil_date`].
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the one caller passes years up to 9999, months up to 12 and days up to 31"
)]
fn number_of_day(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    era * DAYS_OF_400_YEARS + day - 719_468
}

/// A length of time in whole seconds; in the configuration a whole number and one of s, m, h, d.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(u32);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `seconds`.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// A span of `minutes`, at most some 136 years.
    #[must_use]
    pub const fn from_minutes(minutes: u32) -> Self {
        Self(minutes.saturating_mul(60))
    }

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// Its length in minutes, rounded up.
    #[must_use]
    pub const fn minutes_rounded_up(self) -> u32 {
        self.0.div_ceil(60)
    }
}

impl Span {
    /// What is expected where a span is read.
    pub const EXPECTED: &str =
        "expected a whole number and one of s, m, h, d between quotes, such as \"15m\"";

    /// Reads a whole number and one of s, m, h, d.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number.parse::<u32>().ok()?.checked_mul(unit).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_795_339_800, "2026-11-22T09:30:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "@253402300800"),
            (i64::MIN, "@-9223372036854775808"),
        ] {
            assert_eq!(Time::from_unix(unix).to_string(), text);
        }
    }

    #[test]
    fn mails_have_their_own_way_of_it() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_795_339_800, "Sun, 22 Nov 2026 09:30:00 +0000"),
        ] {
            assert_eq!(Time::from_unix(unix).rfc5322(), text);
        }
    }

    #[test]
    fn a_date_is_its_beginning_and_has_one_spelling() {
        // Miri, which takes a thousand times as long, looks at one of so many.
        const STRIDE: usize = if cfg!(miri) { 100 } else { 1 };
        let far = (-719_000..2_900_000).step_by(7919 * STRIDE);
        for day in far.chain((0..800).step_by(STRIDE)) {
            let time = Time::from_unix(day * 86_400);
            assert_eq!(Time::of_date(&time.date()), Some(time), "{}", time.date());
        }
        for text in [
            "",
            "2027-02-29",
            "2027-00-01",
            "2027-13-01",
            "2027-1-31",
            "+2027-01-31",
            "2027-01-31T00:00:00Z",
            "2027-01-32",
            "99999-01-01",
        ] {
            assert_eq!(Time::of_date(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("0s", 0),
            ("15m", 900),
            ("2h", 7200),
            ("30d", 2_592_000),
            ("4294967295s", u32::MAX),
        ] {
            assert_eq!(Span::parse(text), Some(Span::from_seconds(seconds)));
        }
        for text in [
            "",
            "m",
            "15",
            "15 m",
            "-1m",
            "+1m",
            "1.5h",
            "1w",
            "15M",
            "4294967296s",
            "99999999d",
            "٣m",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn minutes_are_rounded_up() {
        for (seconds, minutes) in [(0, 0), (1, 1), (60, 1), (61, 2), (600, 10)] {
            assert_eq!(Span::from_seconds(seconds).minutes_rounded_up(), minutes);
        }
    }

    #[test]
    fn arithmetic_ends_at_the_end_of_time() {
        let end = Time::from_unix(i64::MAX);
        assert_eq!(end.after(Span::from_seconds(1)), end);
        assert_eq!(
            end.since(Time::from_unix(i64::MIN)),
            Span::from_seconds(u32::MAX)
        );
        assert_eq!(Time::from_unix(1).since(Time::from_unix(2)), Span::ZERO);
    }
}
