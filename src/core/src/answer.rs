//! What a person typed at a prompt.

use zeroize::Zeroizing;

use crate::backup_code::{BackupCode, BackupKey, Symbols};
use crate::otp::{Code, Digits};

/// What somebody typed. Wiped on drop; has no `Debug`.
pub struct Answer {
    bytes: Zeroizing<Vec<u8>>,
    /// The password comes first, and right after it the code.
    has_password: bool,
}

/// What an answer can be judged as.
pub enum Typed {
    /// Nothing, or nothing but blanks and dashes.
    Empty,
    /// 6 to 8 ASCII digits.
    Code(TypedCode),
    /// 16 symbols of a backup code, in any case.
    Backup(BackupCode),
    /// 32 symbols of a backup key, in any case.
    Key(BackupKey),
    /// Anything else.
    Other,
}

/// The digits that were typed. Behind a password nothing tells where the code begins, so each code that there is has to
/// be held against as many of the last digits as it has itself: one text is one guess at it, never several.
pub struct TypedCode {
    /// All of them, or the last eight.
    digits: Code,
    has_password: bool,
}

impl TypedCode {
    /// What was typed in place of a code of so many digits; of another length where so many were not typed.
    #[must_use]
    pub fn of(&self, digits: Digits) -> Code {
        let all = self.digits.ascii();
        let most = if self.has_password {
            usize::from(digits.get())
        } else {
            all.len()
        };
        let end = all.get(all.len().saturating_sub(most)..);
        end.and_then(Code::from_digits)
            .unwrap_or_else(|| self.digits.clone())
    }

    /// The same for codes of which only a hash is known: one of each length, since no two lengths have a hash in common.
    pub fn each(&self) -> impl Iterator<Item = (Digits, Code)> {
        let lengths = (6..=i64::from(Digits::MAX)).filter_map(Digits::new);
        lengths
            .map(|digits| (digits, self.of(digits)))
            .filter(|(digits, code)| code.ascii().len() == usize::from(digits.get()))
    }
}

impl Answer {
    /// PAM_MAX_RESP_SIZE of Linux-PAM: no code needs more, and a longer answer is never read.
    pub const MAX_BYTES: usize = 512;

    /// Takes over what was typed at a prompt for a code.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self {
            bytes,
            has_password: false,
        }
    }

    /// The same where it is a password, and right after it the code.
    #[must_use]
    pub fn with_password(self) -> Self {
        Self {
            has_password: true,
            ..self
        }
    }

    /// An answer that is nothing, to charge somebody for what was typed elsewhere.
    #[must_use]
    pub fn wrong() -> Self {
        Self::new(Zeroizing::new(b"wrong".to_vec()))
    }

    /// Whether a password was to be typed before it.
    #[must_use]
    pub fn is_behind_password(&self) -> bool {
        self.has_password
    }

    /// What was typed, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there may be a code in it.
    #[must_use]
    pub fn has_code(&self) -> bool {
        !matches!(self.typed(), Typed::Empty | Typed::Other)
    }

    /// The password in front of the code. A code of digits has so many as one has that was accepted, else the fewest that it
    /// may have. `None` where nothing can be told apart.
    #[must_use]
    pub fn password(&self, digits: Option<Digits>) -> Option<&[u8]> {
        if !self.has_password || self.bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let code = match self.typed() {
            Typed::Code(_) => usize::from(digits.unwrap_or_default().get()),
            Typed::Backup(_) => BackupCode::SHOWN_BYTES,
            Typed::Key(_) => BackupKey::SHOWN_BYTES,
            Typed::Empty | Typed::Other => 0,
        };
        self.bytes.get(..self.bytes.len().checked_sub(code)?)
    }

    /// The one letter that was typed, in lower case; `None` for anything else.
    #[must_use]
    pub fn letter(&self) -> Option<u8> {
        match self.bytes.trim_ascii() {
            [letter] if letter.is_ascii_alphabetic() => Some(letter.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// Reads the answer: digits are ASCII, nothing becomes a number. Of a code alone blanks and dashes are dropped; behind
    /// a password a code is typed without them, and a backup code or key as it is shown.
    #[must_use]
    pub fn typed(&self) -> Typed {
        if self.bytes.len() > Self::MAX_BYTES {
            return Typed::Other;
        }
        match self.has_password {
            true => self.typed_last(),
            false => self.typed_alone(),
        }
    }

    /// No two of these can end the same text but a key, whose second half looks like a code.
    fn typed_last(&self) -> Typed {
        const MOST: usize = Digits::MAX as usize;
        if self.bytes.is_empty() {
            return Typed::Empty;
        }
        let key = Symbols::shown_last_in(&self.bytes).map(Typed::Key);
        let backup = || Symbols::shown_last_in(&self.bytes).map(Typed::Backup);
        let code = || {
            let digits = self.bytes.iter().rev().take(MOST);
            let count = digits.take_while(|byte| byte.is_ascii_digit()).count();
            let digits = self.bytes.get(self.bytes.len().checked_sub(count)?..)?;
            Some(self.code(Code::from_digits(digits)?))
        };
        key.or_else(backup).or_else(code).unwrap_or(Typed::Other)
    }

    fn code(&self, digits: Code) -> Typed {
        Typed::Code(TypedCode {
            digits,
            has_password: self.has_password,
        })
    }

    fn typed_alone(&self) -> Typed {
        let mut digits = Zeroizing::new(Vec::with_capacity(self.bytes.len()));
        digits.extend(
            self.bytes
                .iter()
                .filter(|byte| !matches!(byte, b' ' | b'\t' | b'-')),
        );
        if digits.is_empty() {
            return Typed::Empty;
        }
        if let Some(code) = Code::from_digits(&digits) {
            return self.code(code);
        }
        let code = Symbols::typed(&digits).map(Typed::Backup);
        let key = || Symbols::typed(&digits).map(Typed::Key);
        code.or_else(key).unwrap_or(Typed::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(text: &[u8]) -> Answer {
        Answer::new(Zeroizing::new(text.to_vec()))
    }

    fn read(text: &[u8]) -> String {
        words(&answer(text))
    }

    fn words(answer: &Answer) -> String {
        match answer.typed() {
            Typed::Empty => "empty".to_owned(),
            Typed::Code(code) => {
                let codes = code.each().map(|(_, code)| code.to_digits().to_string());
                codes.collect::<Vec<_>>().join(" ")
            }
            Typed::Backup(code) => code.shown().to_string(),
            Typed::Key(key) => format!("key {}", key.shown().as_str()),
            Typed::Other => "other".to_owned(),
        }
    }

    #[test]
    fn answers_are_read_with_good_will_and_nothing_more() {
        for (text, expected) in [
            ("123456", "123456"),
            (" 123 456 ", "123456"),
            ("123-456", "123456"),
            ("1-2-3-4-5-6-7-8", "12345678"),
            ("\t000000", "000000"),
            ("", "empty"),
            ("  ", "empty"),
            ("--", "empty"),
            ("12345", "other"),
            ("123456789", "other"),
            ("１２３４５６", "other"),
            ("+123456", "other"),
            ("123456\n", "other"),
            ("0x1234", "other"),
            ("123\u{a0}456", "other"),
            ("123456x", "other"),
            ("ljnf-uws2 LJNF-uws2", "LJNF-UWS2-LJNF-UWS2"),
            ("ljnfuws2ljnfuws8", "other"),
            (
                "ljnf uws2-ljnf-uws2 LJNFUWS2LJNFUWS7",
                "key LJNF-UWS2-LJNF-UWS2-LJNF-UWS2-LJNF-UWS7",
            ),
            ("ljnfuws2ljnfuws2ljnfuws2ljnfuws", "other"),
            ("ljnfuws2ljnfuws2ljnfuws2ljnfuws22", "other"),
        ] {
            assert_eq!(read(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(read(b"12345\xff6"), "other");
    }

    #[test]
    fn one_letter_is_a_letter_in_any_case_and_nothing_else_is() {
        for (text, letter) in [
            ("y", Some(b'y')),
            (" Y\n", Some(b'y')),
            ("", None),
            ("yy", None),
            ("1", None),
            ("-", None),
        ] {
            let answer = Answer::new(text.as_bytes().to_vec().into());
            assert_eq!(answer.letter(), letter, "{text:?}");
            assert_eq!(answer.bytes(), text.as_bytes());
            assert!(!answer.has_code() && !answer.is_behind_password());
        }
        assert!(matches!(Answer::wrong().typed(), Typed::Other));
    }

    #[test]
    fn overlong_answers_are_not_read() {
        let blanks = [b' '; Answer::MAX_BYTES];
        let mut text = blanks[..Answer::MAX_BYTES - 6].to_vec();
        text.extend(b"123456");
        assert_eq!(read(&text), "123456");
        text.push(b' ');
        assert_eq!(read(&text), "other");
    }

    /// The password, where so many digits were accepted, and what is read as the code.
    fn split(text: &[u8], digits: Option<i64>) -> (Option<Vec<u8>>, String) {
        let both = answer(text).with_password();
        let password = both.password(digits.and_then(Digits::new));
        (password.map(<[u8]>::to_vec), words(&both))
    }

    #[test]
    fn behind_a_password_a_code_is_what_ends_the_text() {
        for (text, digits, password, code) in [
            ("abc1123456", Some(6), "abc1", "123456 1123456"),
            ("abc1123456", Some(7), "abc", "123456 1123456"),
            ("abc1123456", None, "abc1", "123456 1123456"),
            (
                "2468097531123456",
                Some(6),
                "2468097531",
                "123456 1123456 31123456",
            ),
            (
                "2468097531123456",
                Some(8),
                "24680975",
                "123456 1123456 31123456",
            ),
            ("123456", Some(6), "", "123456"),
            ("pass word 123456", Some(6), "pass word ", "123456"),
            ("pass-word-123456", Some(6), "pass-word-", "123456"),
            ("caf\u{e9}000000", Some(6), "caf\u{e9}", "000000"),
            ("", None, "", "empty"),
            ("password", None, "password", "other"),
            ("password12345", None, "password12345", "other"),
            ("password123 456", None, "password123 456", "other"),
            ("password123456 ", None, "password123456 ", "other"),
            (
                "password\u{ff11}23456",
                None,
                "password\u{ff11}23456",
                "other",
            ),
            (
                "hunter2LJNF-UWS2-ljnf-uws2",
                None,
                "hunter2",
                "LJNF-UWS2-LJNF-UWS2",
            ),
            ("LJNF-UWS2-LJNF-UWS2", None, "", "LJNF-UWS2-LJNF-UWS2"),
            (
                "hunter2-LJNFUWS2LJNFUWS2",
                None,
                "hunter2-LJNFUWS2LJNFUWS2",
                "other",
            ),
            (
                "correct horse battery staple",
                None,
                "correct horse battery staple",
                "other",
            ),
            (
                "x2222-2222-2222-2222",
                None,
                "x2222-2222-2222-2222",
                "other",
            ),
            (
                "xLJNF-UWS2-LJNF-UWS2-LJNF-UWS2-LJNF-UWS7",
                None,
                "x",
                "key LJNF-UWS2-LJNF-UWS2-LJNF-UWS2-LJNF-UWS7",
            ),
        ] {
            let (before, read) = split(text.as_bytes(), digits);
            assert_eq!(before.as_deref(), Some(password.as_bytes()), "{text:?}");
            assert_eq!(read, code, "{text:?}");
            let both = answer(text.as_bytes()).with_password();
            assert!(both.is_behind_password());
            let is_none = ["empty", "other"].contains(&code);
            assert_eq!(both.has_code(), !is_none, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_taken_for_a_password_that_was_not_meant_as_one_or_is_too_long() {
        assert_eq!(answer(b"abc1123456").password(None), None);
        assert_eq!(read(b"abc1123456"), "other");
        let mut text = vec![b'x'; Answer::MAX_BYTES - 6];
        text.extend(b"123456");
        let (password, code) = split(&text, Some(6));
        assert_eq!(password.map(|it| it.len()), Some(Answer::MAX_BYTES - 6));
        assert_eq!(code, "123456");
        text.insert(0, b'x');
        assert_eq!(split(&text, Some(6)), (None, "other".to_owned()));
    }

    proptest! {
        #[test]
        fn password_and_code_are_the_whole_text(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..=Answer::MAX_BYTES + 1),
                "[a-z0-9-]{0,40}[0-9]{0,9}".prop_map(String::into_bytes),
                "[a-z0-9-]{0,20}([A-Z2-7]{4}-){2,8}[A-Z2-7]{4}".prop_map(String::into_bytes),
            ],
            digits in 6..=8_i64,
        ) {
            let both = answer(&text).with_password();
            let Some(password) = both.password(Digits::new(digits)) else {
                prop_assert!(text.len() > Answer::MAX_BYTES || text.len() < digits as usize);
                return Ok(());
            };
            prop_assert!(text.starts_with(password));
            let code = String::from_utf8_lossy(&text[password.len()..]).to_ascii_uppercase();
            match both.typed() {
                Typed::Empty | Typed::Other => prop_assert_eq!(code, ""),
                Typed::Backup(backup) => prop_assert!(code == backup.shown().as_str()),
                Typed::Key(key) => prop_assert!(code == key.shown().as_str()),
                Typed::Code(typed) => {
                    // Of a length that was not typed nothing can have been accepted.
                    let typed = typed.of(Digits::new(digits).unwrap()).to_digits();
                    prop_assert!(typed.len() < digits as usize || code == typed.as_str());
                }
            }
        }
    }
}
