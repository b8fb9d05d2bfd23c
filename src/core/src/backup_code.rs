//! Backup codes and the backup key: what serves somebody whose devices are gone.
//!
//! A code is 80 random bits as 16 letters and digits of base32 (RFC 4648), a key 160 bits as 32 of them, made by us and
//! shown once. What is kept is HMAC-SHA-256 of it under a salt of the set: nobody finds 80 bits by trying, however fast.
//! Codes that were printed before pam_totp came are of 8 digits, and a set may be of those.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::bounded::bounded;
use crate::device::random_u64;
use crate::doors::Entropy;
use crate::otp::Code;

bounded! {
    /// Codes of a set.
    Count(u8), 1 to 16, default 10
}

/// Gets somebody in once.
pub type BackupCode = Symbols<16>;

/// Gets somebody in once, too: 8 digits that another module has made, such as google-authenticator's scratch codes.
pub type ScratchCode = Symbols<8>;

/// Removes all devices and codes of somebody.
pub type BackupKey = Symbols<32>;

/// So many symbols, in capitals and without dashes. Wiped on drop, has no `Debug`.
#[derive(Clone)]
pub struct Symbols<const N: usize>([u8; N]);

impl<const N: usize> Drop for Symbols<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Symbols<N> {
    /// Random bytes that they are made of.
    pub const RANDOM_BYTES: usize = N / 8 * 5;

    /// Bytes of them as they are shown.
    pub const SHOWN_BYTES: usize = N + N / 4 - 1;

    /// Those of so many random bytes; `None` where they would look like digits, for a code once in 10^11 times.
    #[must_use]
    pub fn new(random: &[u8]) -> Option<Self> {
        let alphabet = base32::Alphabet::Rfc4648 { padding: false };
        let text = Zeroizing::new(base32::encode(alphabet, random));
        Self::typed(text.as_bytes())
    }

    /// What somebody typed, blanks and dashes left out, in any case.
    #[must_use]
    pub fn typed(symbols: &[u8]) -> Option<Self> {
        let mut code = Self(*symbols.first_chunk()?);
        code.0.make_ascii_uppercase();
        let is_symbol = |symbol: &u8| matches!(symbol, b'A'..=b'Z' | b'2'..=b'7');
        let is_code = symbols.len() == N
            && code.0.iter().all(is_symbol)
            && code.0.iter().any(u8::is_ascii_alphabetic);
        is_code.then_some(code)
    }

    /// Those that end a text, dashes and all, in any case.
    #[must_use]
    pub fn shown_last_in(text: &[u8]) -> Option<Self> {
        let end = text.get(text.len().checked_sub(Self::SHOWN_BYTES)?..)?;
        let mut symbols = Zeroizing::new(Vec::with_capacity(Self::SHOWN_BYTES));
        symbols.extend(end.iter().filter(|byte| **byte != b'-'));
        let code = Self::typed(&symbols)?;
        end.eq_ignore_ascii_case(code.shown().as_bytes())
            .then_some(code)
    }

    /// As people read and type it: `ABCD-EFGH-IJKL-MNOP`.
    #[must_use]
    pub fn shown(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(N.saturating_mul(2)));
        for (index, symbol) in self.0.iter().enumerate() {
            if index != 0 && index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(*symbol));
        }
        text
    }
}

impl ScratchCode {
    /// A code typed by a person, where it is as long as these are.
    #[must_use]
    pub fn of(code: &Code) -> Option<Self> {
        code.ascii().try_into().ok().map(Self)
    }
}

/// 64 random bits that tell a set of codes from every other; what was used of it is kept under them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SetId(pub u64);

/// What is kept of the codes that were made together; a backup key is a set of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackupSet {
    /// Made anew with each set.
    pub id: SetId,
    /// The key of the hashes.
    pub salt: [u8; 16],
    /// One for each code, at most [`Count::MAX`].
    pub hashes: Vec<[u8; 32]>,
}

impl BackupSet {
    /// One without codes.
    pub(crate) const EMPTY: Self = Self {
        id: SetId(0),
        salt: [0; 16],
        hashes: Vec::new(),
    };

    /// So many new codes, and what is kept of them.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn make<const N: usize>(
        count: usize,
        entropy: &(impl Entropy + ?Sized),
    ) -> Result<(Vec<Symbols<N>>, Self), String> {
        let mut codes = Vec::with_capacity(count);
        while codes.len() < count {
            // One that looks like digits is made anew.
            codes.extend(Symbols::new(&entropy.random(Symbols::<N>::RANDOM_BYTES)?));
        }
        let set = Self::keep(&codes, entropy)?;
        Ok((codes, set))
    }

    /// What is kept of codes that there are, under a new id.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn keep<const N: usize>(
        codes: &[Symbols<N>],
        entropy: &(impl Entropy + ?Sized),
    ) -> Result<Self, String> {
        let salt = entropy.random(16)?;
        let salt = salt.first_chunk().copied().ok_or("no entropy")?;
        Ok(Self::of(SetId(random_u64(entropy)?), salt, codes))
    }

    /// What is kept of codes.
    #[must_use]
    pub fn of<const N: usize>(id: SetId, salt: [u8; 16], codes: &[Symbols<N>]) -> Self {
        let hashes = codes.iter().filter_map(|code| hash(&salt, code)).collect();
        Self { id, salt, hashes }
    }

    /// Which of the codes this is. All are compared, in constant time.
    #[must_use]
    pub fn position<const N: usize>(&self, code: &Symbols<N>) -> Option<u8> {
        let hash = hash(&self.salt, code)?;
        let (mut at, mut found) = (0_u8, subtle::Choice::from(0));
        for (index, known) in (0_u8..).zip(&self.hashes) {
            let fits = hash.ct_eq(known);
            at.conditional_assign(&index, fits);
            found |= fits;
        }
        bool::from(found).then_some(at)
    }
}

fn hash<const N: usize>(salt: &[u8], code: &Symbols<N>) -> Option<[u8; 32]> {
    // HMAC takes keys of any length, so there always is one.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(salt).ok()?;
    mac.update(&code.0);
    Some(mac.finalize().into_bytes().into())
}

/// What is remembered of a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsedCodes {
    /// Which set.
    pub id: SetId,
    /// One bit a code, the first in the lowest.
    pub used: u16,
}

impl UsedCodes {
    /// Whether a code is used up.
    #[must_use]
    pub fn is_used(&self, position: u8) -> bool {
        self.bit(position) & self.used != 0
    }

    /// Uses a code up.
    pub fn burn(&mut self, position: u8) {
        self.used |= self.bit(position);
    }

    /// How many of so many codes are left.
    #[must_use]
    pub fn left_of(&self, count: usize) -> u8 {
        let used = self.used.count_ones();
        let count = u32::try_from(count).unwrap_or(0);
        u8::try_from(count.saturating_sub(used)).unwrap_or(u8::MAX)
    }

    fn bit(&self, position: u8) -> u16 {
        1_u16.checked_shl(u32::from(position)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(byte: u8) -> BackupCode {
        BackupCode::new(&[byte; BackupCode::RANDOM_BYTES]).unwrap()
    }

    #[test]
    fn a_code_is_read_in_any_case_and_only_as_it_was_made() {
        let made = code(0x5a);
        let shown = made.shown();
        assert_eq!(shown.as_str(), "LJNF-UWS2-LJNF-UWS2");
        for text in ["LJNFUWS2LJNFUWS2", "ljnfuws2ljnfuws2", "LjNfUwS2lJnFuWs2"] {
            assert_eq!(BackupCode::typed(text.as_bytes()).unwrap().shown(), shown);
        }
        for text in [
            "",
            "LJNFUWS2LJNFUWS",
            "LJNFUWS2LJNFUWS22",
            "LJNFUWS2LJNFUWS1",
            "LJNFUWS2LJNFUW-2",
            "2222222222222222",
        ] {
            assert!(BackupCode::typed(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// Bytes of one value each time, of which those of the first code look like digits.
    struct Counting(std::cell::Cell<u8>);

    impl Entropy for Counting {
        fn random(&self, count: usize) -> Result<Zeroizing<Vec<u8>>, String> {
            let turn = self.0.replace(self.0.get() + 1);
            // Of five bits each: the symbol 2.
            let of_digits = [0xD6, 0xB5, 0xAD, 0x6B, 0x5A].repeat(count / 5);
            Ok(match turn {
                0 => of_digits,
                turn => vec![turn; count],
            }
            .into())
        }
    }

    #[test]
    fn as_many_codes_are_made_as_are_wanted_and_none_of_digits() {
        let made = BackupSet::make::<16>(3, &Counting(Default::default()));
        let (codes, set) = made.unwrap();
        assert_eq!((codes.len(), set.hashes.len()), (3, 3));
        for (index, code) in (0..).zip(&codes) {
            assert!(code.shown().contains(|c: char| c.is_ascii_uppercase()));
            assert_eq!(set.position(code), Some(index));
        }
    }

    #[test]
    fn scratch_codes_are_of_eight_digits() {
        let of = |digits: &[u8]| ScratchCode::of(&Code::from_digits(digits).unwrap());
        assert_eq!(of(b"01234567").unwrap().shown().as_str(), "0123-4567");
        assert!(of(b"012345").is_none() && of(b"0123456").is_none());
    }

    #[test]
    fn a_set_knows_its_codes_and_no_others() {
        let codes: Vec<_> = (1..=3).map(code).collect();
        let set = BackupSet::of(SetId(1), [7; 16], &codes);
        for (index, code) in (0..).zip(&codes) {
            assert_eq!(set.position(code), Some(index));
        }
        assert_eq!(set.position(&code(4)), None);
        let other = BackupSet::of(SetId(1), [8; 16], &codes);
        assert_ne!(set.hashes, other.hashes, "the salt counts");
    }

    #[test]
    fn each_code_is_used_up_by_itself() {
        let mut used = UsedCodes {
            id: SetId(1),
            used: 0,
        };
        used.burn(0);
        used.burn(15);
        used.burn(15);
        let is_used: Vec<_> = (0..16).filter(|index| used.is_used(*index)).collect();
        assert_eq!(is_used, [0, 15]);
        assert_eq!(used.left_of(16), 14);
    }
}
