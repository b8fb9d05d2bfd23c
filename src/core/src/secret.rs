//! Shared secrets of devices: raw key bytes, wiped when dropped, never shown by accident.

use std::fmt;

use base32::Alphabet;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::doors::Entropy;

/// A device's key, 10 to 128 bytes. Wiped on drop; has no `Debug` and no `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Length of the secrets made here: 160 bits, as RFC 4226 section 4 (R6) recommends.
    pub const NEW_BYTES: usize = 20;
    /// Below this length a secret is refused (80 bits).
    pub const MIN_BYTES: usize = 10;
    /// Below this length (128 bits, RFC 4226 section 4) whoever brings a secret is warned.
    pub const RECOMMENDED_BYTES: usize = 16;
    /// No hash of RFC 6238 gains from a longer key.
    pub const MAX_BYTES: usize = 128;

    /// Takes over raw key bytes.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] and [`SecretError::TooLong`].
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        match bytes.len() {
            ..Self::MIN_BYTES => Err(SecretError::TooShort {
                bits: bytes.len().saturating_mul(8),
            }),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(bytes)),
            _ => Err(SecretError::TooLong),
        }
    }

    /// A key that nobody knows yet.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn random(entropy: &(impl Entropy + ?Sized)) -> Result<Self, String> {
        entropy.random(Self::NEW_BYTES).map(Self)
    }

    /// Base32 in groups of four, as people read and type it.
    #[must_use]
    pub fn grouped(&self) -> Zeroizing<String> {
        let key = self.to_base32();
        let mut grouped = Zeroizing::new(String::with_capacity(key.len().saturating_mul(2)));
        for (index, symbol) in key.chars().enumerate() {
            if index != 0 && index % 4 == 0 {
                grouped.push(' ');
            }
            grouped.push(symbol);
        }
        grouped
    }

    /// A key of no one's.
    pub(crate) fn decoy() -> Self {
        Self(Zeroizing::new(vec![0; Self::NEW_BYTES]))
    }

    /// Whether two keys are the same to HMAC, which fills them up with zeros (RFC 2104). Compared in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let filled = |key: &Self| {
            let mut filled = Zeroizing::new([0; Self::MAX_BYTES]);
            for (to, from) in filled.iter_mut().zip(key.0.iter()) {
                *to = *from;
            }
            filled
        };
        filled(self).ct_eq(filled(other).as_slice()).into()
    }

    /// Reads base32 (RFC 4648 section 6) as people copy it: any case, with blanks, dashes and padding.
    ///
    /// The crate behind it takes malformed input and drops what it can't use, so the result counts only
    /// where it encodes to the very same text again.
    ///
    /// # Errors
    /// [`SecretError`]; it never holds a part of the text.
    pub fn from_base32(text: &str) -> Result<Self, SecretError> {
        // One allocation of the full length: a buffer that grew would leave copies behind.
        let mut canonical = Zeroizing::new(String::with_capacity(text.len()));
        canonical.extend(
            text.chars()
                .filter(|c| !c.is_ascii_whitespace() && *c != '-')
                .map(|c| c.to_ascii_uppercase()),
        );
        let symbols = canonical.trim_end_matches('=');
        let bytes = base32::decode(Alphabet::Rfc4648 { padding: false }, symbols)
            .map(Zeroizing::new)
            .ok_or(SecretError::NotBase32)?;
        if encode(&bytes).as_str() != symbols {
            let is_base32 = symbols
                .bytes()
                .all(|c| matches!(c, b'A'..=b'Z' | b'2'..=b'7'));
            return Err(match is_base32 {
                true => SecretError::LeftOver,
                false => SecretError::NotBase32,
            });
        }
        Self::from_bytes(bytes)
    }

    /// The key in base32, upper case, without padding.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        encode(&self.0)
    }

    /// The key itself. Each use is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(base32::encode(Alphabet::Rfc4648 { padding: false }, bytes))
}

/// Why a text is no secret. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretError {
    /// Base32, but not of whole bytes.
    LeftOver,
    /// Not base32.
    NotBase32,
    /// More than [`Secret::MAX_BYTES`].
    TooLong,
    /// Fewer than [`Secret::MIN_BYTES`].
    TooShort {
        /// The length that was given.
        bits: usize,
    },
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOver => f.write_str(
                "the secret is base32, but not of whole bytes: its last letter is wrong, or letters are missing",
            ),
            Self::NotBase32 => f.write_str(
                "the secret is not valid base32: expected the letters A to Z and digits 2 to 7",
            ),
            Self::TooLong => f.write_str("the secret is longer than 1024 bits"),
            Self::TooShort { bits } => {
                write!(
                    f,
                    "the secret has {bits} bits: at least 80 are needed, 160 are usual"
                )
            }
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> Option<SecretError> {
        Secret::from_base32(text).err()
    }

    #[test]
    fn keys_that_hmac_takes_for_one_are_one() {
        let key = |bytes: &[u8]| Secret::from_bytes(bytes.to_vec().into()).unwrap();
        let (plain, other) = ([7; 20], [8; 20]);
        let filled = [&plain[..], &[0; 12]].concat();
        assert!(key(&plain).is(&key(&filled)) && key(&plain).is(&key(&plain)));
        assert!(!key(&plain).is(&key(&other)) && !key(&plain).is(&key(&plain[..19])));
    }

    #[test]
    fn a_key_is_shown_in_groups_of_four() {
        for (bytes, shown) in [
            (&b"12345"[..], "GEZD GNBV"),
            (b"12345678901", "GEZD GNBV GY3T QOJQ GE"),
        ] {
            let secret = Secret(bytes.to_vec().into());
            assert_eq!(secret.grouped().as_str(), shown);
        }
    }

    #[test]
    fn base32_is_read_as_people_copy_it() {
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ\n",
            "gezd-gnbv-gy3t-qojq-gezd-gnbv-gy3t-qojq",
        ] {
            let secret = Secret::from_base32(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(secret.expose(), b"12345678901234567890");
        }
        let padded =
            Secret::from_base32("GEZDGNBVGY3TQOJQGE======").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(padded.expose(), b"12345678901");
    }

    #[test]
    fn malformed_base32_is_refused() {
        for text in [
            "GEZD=NBVGY3TQOJQ",   // padding in the middle
            "=GEZDGNBVGY3TQOJ",   // padding in front
            "GEZDGNBVGY3TQOJ1",   // 1 is not in the alphabet
            "GEZDGNBVGY3TQOJÄ",   // neither is Ä
            "GEZDGNBVGY3TQOJQ\0", // nor NUL
        ] {
            assert_eq!(error(text), Some(SecretError::NotBase32), "{text}");
        }
        for text in [
            "A",                          // one symbol is less than a byte
            "GEZDGNBVGY3TQOJQA",          // 17 symbols: no whole number of bytes
            "GEZDGNBVGY3TQOJQGR",         // trailing bits are not zero
            "MFRGGZDFMZTWQ2LKMFRGGZDFMZ", // the same
        ] {
            assert_eq!(error(text), Some(SecretError::LeftOver), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_quotes_nothing() {
        for (text, words) in [
            ("GEZDGNBVGY3TQOJQA", "not of whole bytes"),
            ("GEZDGNBVGY3TQOJ1", "A to Z and digits 2 to 7"),
            ("GEZDGNBVGY3TQOI", "has 72 bits: at least 80"),
            (&"A".repeat(208), "longer than 1024 bits"),
        ] {
            let told = error(text).unwrap().to_string();
            assert!(told.contains(words) && !told.contains(text), "{told}");
        }
    }

    #[test]
    fn length_is_bounded_on_both_sides() {
        assert_eq!(error(""), Some(SecretError::TooShort { bits: 0 }));
        assert_eq!(
            error("GEZDGNBVGY3TQOI"),
            Some(SecretError::TooShort { bits: 72 })
        );
        assert_eq!(error("GEZDGNBVGY3TQOJQ"), None);
        assert_eq!(error(&"A".repeat(206)), Some(SecretError::LeftOver));
        assert_eq!(error(&"A".repeat(208)), Some(SecretError::TooLong));
    }

    proptest! {
        #[test]
        fn base32_of_any_secret_reads_back(bytes in proptest::collection::vec(any::<u8>(), 10..=128)) {
            let secret = Secret::from_bytes(Zeroizing::new(bytes.clone())).ok();
            let again = secret.and_then(|s| Secret::from_base32(&s.to_base32()).ok());
            prop_assert_eq!(again.map(|s| s.expose().to_vec()), Some(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Secret::from_base32(&text);
        }
    }
}
