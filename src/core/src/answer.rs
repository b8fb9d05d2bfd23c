//! What a person typed at a prompt.

use zeroize::Zeroizing;

use crate::backup_code::{BackupCode, BackupKey, Symbols};
use crate::otp::Code;

/// The bytes that came back from a prompt. Wiped on drop; has no `Debug`.
pub struct Answer(Zeroizing<Vec<u8>>);

/// What an answer can be judged as.
pub enum Typed {
    /// Nothing, or nothing but blanks and dashes.
    Empty,
    /// 6 to 8 ASCII digits, once blanks and dashes are left out.
    Code(Code),
    /// 16 symbols of a backup code, in any case, once blanks and dashes are left out.
    Backup(BackupCode),
    /// 32 symbols of a backup key, the same way.
    Key(BackupKey),
    /// Anything else.
    Other,
}

impl Answer {
    /// PAM_MAX_RESP_SIZE of Linux-PAM: no code needs more, and a longer answer is never read.
    pub const MAX_BYTES: usize = 512;

    /// Takes over what was typed.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// An answer that is nothing, to charge somebody for what was typed elsewhere.
    #[must_use]
    pub fn wrong() -> Self {
        Self(Zeroizing::new(b"wrong".to_vec()))
    }

    /// What was typed, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The one letter that was typed, in lower case; `None` for anything else.
    #[must_use]
    pub fn letter(&self) -> Option<u8> {
        match self.0.trim_ascii() {
            [letter] if letter.is_ascii_alphabetic() => Some(letter.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// Reads the answer: blanks and dashes are dropped, digits are ASCII, nothing becomes a number.
    #[must_use]
    pub fn typed(&self) -> Typed {
        if self.0.len() > Self::MAX_BYTES {
            return Typed::Other;
        }
        let mut digits = Zeroizing::new(Vec::with_capacity(self.0.len()));
        digits.extend(
            self.0
                .iter()
                .filter(|byte| !matches!(byte, b' ' | b'\t' | b'-')),
        );
        if digits.is_empty() {
            return Typed::Empty;
        }
        if let Some(code) = Code::from_digits(&digits) {
            return Typed::Code(code);
        }
        let code = Symbols::typed(&digits).map(Typed::Backup);
        let key = || Symbols::typed(&digits).map(Typed::Key);
        code.or_else(key).unwrap_or(Typed::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> String {
        match Answer::new(Zeroizing::new(text.to_vec())).typed() {
            Typed::Empty => "empty".to_owned(),
            Typed::Code(code) => code.to_digits().to_string(),
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
}
