//! One-time codes: HOTP (RFC 4226) and TOTP (RFC 6238).

use std::fmt;
use std::ops::RangeInclusive;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::bounded::bounded;
use crate::doors::Entropy;
use crate::secret::Secret;
use crate::time::Time;

/// The hash under HMAC (RFC 6238 section 1.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    /// HMAC-SHA-1, what every authenticator app knows.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// What is expected where an algorithm is read.
    pub const EXPECTED: &str = "expected SHA1, SHA256 or SHA512";

    /// The algorithm of that name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Sha1, Self::Sha256, Self::Sha512];
        all.into_iter()
            .find(|algorithm| algorithm.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        })
    }
}

bounded! {
    /// Digits of a code.
    Digits(u8), 6 to 8, default 6
}

bounded! {
    /// Seconds that a TOTP code lasts: the time step X of RFC 6238 section 4.
    Period(u8), 15 to 120, default 30
}

impl Period {
    /// The step that `time` lies in: T of RFC 6238 section 4.2 with T0 = 0. Times before 1970 are in step 0.
    #[must_use]
    pub fn step_at(self, time: Time) -> Step {
        let seconds = u64::try_from(time.unix()).unwrap_or(0);
        Step(seconds.checked_div(u64::from(self.0)).unwrap_or(0))
    }
}

/// A TOTP time step, or a HOTP counter: what a code is made of beside the secret.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Step(pub u64);

impl Step {
    /// The step `by` further on, or back where it is negative; never below 0.
    #[must_use]
    pub fn moved(self, by: i32) -> Self {
        Self(self.0.saturating_add_signed(i64::from(by)))
    }

    /// The step before this one, where there is one.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// This step and so many on each side of it.
    #[must_use]
    pub fn around(self, window: u16) -> RangeInclusive<Self> {
        let reach = i32::from(window);
        self.moved(reach.saturating_neg())..=self.moved(reach)
    }

    /// How many steps `self` lies beyond `other`; negative before it.
    #[must_use]
    pub fn offset_from(self, other: Self) -> i64 {
        let distance = i64::try_from(self.0.abs_diff(other.0)).unwrap_or(i64::MAX);
        if self >= other {
            distance
        } else {
            distance.saturating_neg()
        }
    }
}

/// A code as text, one ASCII digit a byte, unused places zero bytes. Wiped on drop, compared in constant time.
#[derive(Clone)]
pub struct Code(Zeroizing<[u8; 8]>);

impl Code {
    /// A code typed by a person: 6 to 8 ASCII digits and nothing else.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if !(6..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut code = Self(Zeroizing::new([0; 8]));
        for (place, digit) in code.0.iter_mut().zip(digits) {
            *place = *digit;
        }
        Some(code)
    }

    /// A code of so many digits from the system's entropy, each as likely as any other.
    ///
    /// # Errors
    /// Where there is no entropy.
    pub fn random(digits: Digits, entropy: &(impl Entropy + ?Sized)) -> Result<Self, String> {
        /// Of ten digits each 25 bytes stand for one, and those above for none.
        const FAIR: u8 = 250;
        let mut code = Self(Zeroizing::new([0; 8]));
        let mut random = Zeroizing::new(Vec::new());
        for place in code.0.iter_mut().take(usize::from(digits.get())) {
            let byte = loop {
                match random.pop() {
                    Some(byte) if byte < FAIR => break byte,
                    Some(_) => {}
                    None => random = entropy.random(32)?,
                }
            };
            *place = b'0'.saturating_add(byte % 10);
        }
        Ok(code)
    }

    /// The code as it is kept: its digits, then zero bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The code's digits as they are typed.
    pub(crate) fn ascii(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The code's digits as text.
    #[must_use]
    pub fn to_digits(&self) -> Zeroizing<String> {
        let digits = self.ascii().iter().map(|byte| char::from(*byte));
        Zeroizing::new(digits.collect())
    }
}

/// What changes from one code of a device to the next: the moving factor (RFC 6238 section 1.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MovingFactor {
    /// HOTP (RFC 4226): the count of the codes that the device has made, which it alone moves.
    Counter,
    /// TOTP (RFC 6238): the time, in steps of so many seconds.
    Time(Period),
}

impl MovingFactor {
    /// What is expected where a kind of codes is read.
    pub const EXPECTED: &str = "expected totp or hotp";

    /// The kind of codes, as records and Key URIs call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "hotp",
            Self::Time(_) => "totp",
        }
    }

    /// The kind of that name, with the usual period.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Counter, Self::Time(Period::default())];
        all.into_iter().find(|factor| factor.name() == name)
    }
}

/// How a device makes its codes, beside its secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Otp {
    /// The hash under HMAC.
    pub algorithm: Algorithm,
    /// The length of a code.
    pub digits: Digits,
    /// What its codes follow.
    pub factor: MovingFactor,
}

impl Default for Otp {
    /// What every authenticator app knows.
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            digits: Digits::default(),
            factor: MovingFactor::Time(Period::default()),
        }
    }
}

impl fmt::Display for Otp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            algorithm, digits, ..
        } = self;
        match self.factor {
            MovingFactor::Counter => write!(f, "counter-based, {algorithm}, {digits} digits"),
            MovingFactor::Time(period) => {
                write!(
                    f,
                    "time-based, {algorithm}, {digits} digits, {period} seconds"
                )
            }
        }
    }
}

impl Otp {
    /// How long a code lasts; `None` where that is up to the device.
    #[must_use]
    pub fn period(&self) -> Option<Period> {
        match self.factor {
            MovingFactor::Counter => None,
            MovingFactor::Time(period) => Some(period),
        }
    }

    /// TOTP(K, T) = HOTP(K, T), RFC 6238 section 4.2.
    #[must_use]
    pub fn code(&self, secret: &Secret, step: Step) -> Code {
        hotp(secret, self.algorithm, self.digits, step.0)
    }

    /// The highest of `steps` whose code is `code`.
    ///
    /// All the codes are computed and compared in constant time, whichever of them fits.
    #[must_use]
    pub fn matching_step(
        &self,
        secret: &Secret,
        code: &Code,
        steps: &RangeInclusive<Step>,
    ) -> Option<Step> {
        match self.algorithm {
            Algorithm::Sha1 => self.search::<Hmac<Sha1>>(secret, code, steps),
            Algorithm::Sha256 => self.search::<Hmac<Sha256>>(secret, code, steps),
            Algorithm::Sha512 => self.search::<Hmac<Sha512>>(secret, code, steps),
        }
    }

    fn search<M: Mac + KeyInit + Clone>(
        &self,
        secret: &Secret,
        code: &Code,
        steps: &RangeInclusive<Step>,
    ) -> Option<Step> {
        let keyed = <M as KeyInit>::new_from_slice(secret.expose()).ok()?;
        search(code, steps, |step| {
            code_of(keyed.clone(), self.digits, step.0)
        })
    }
}

/// The highest of `steps` for which `make` makes `code`: all of them are made.
fn search(
    code: &Code,
    steps: &RangeInclusive<Step>,
    mut make: impl FnMut(Step) -> Code,
) -> Option<Step> {
    let mut found = subtle::Choice::from(0);
    let mut at = 0;
    for step in (steps.start().0..=steps.end().0).map(Step) {
        let fits = make(step).0.ct_eq(code.0.as_slice());
        at.conditional_assign(&step.0, fits);
        found |= fits;
    }
    bool::from(found).then_some(Step(at))
}

/// HOTP(K, C) = Truncate(HMAC(K, C)), RFC 4226 section 5.3.
#[must_use]
pub fn hotp(secret: &Secret, algorithm: Algorithm, digits: Digits, counter: u64) -> Code {
    fn keyed<M: Mac + KeyInit>(secret: &Secret, digits: Digits, counter: u64) -> Option<Code> {
        let keyed = <M as KeyInit>::new_from_slice(secret.expose()).ok()?;
        Some(code_of(keyed, digits, counter))
    }
    let code = match algorithm {
        Algorithm::Sha1 => keyed::<Hmac<Sha1>>(secret, digits, counter),
        Algorithm::Sha256 => keyed::<Hmac<Sha256>>(secret, digits, counter),
        Algorithm::Sha512 => keyed::<Hmac<Sha512>>(secret, digits, counter),
    };
    // HMAC takes keys of any length, so there always is one.
    code.unwrap_or_else(|| Code(Zeroizing::new([0; 8])))
}

fn code_of<M: Mac>(mut keyed: M, digits: Digits, counter: u64) -> Code {
    keyed.update(&counter.to_be_bytes());
    let mut mac = keyed.finalize().into_bytes();
    let code = shorten(&mac, digits);
    mac.as_mut_slice().zeroize();
    code
}

/// The last digits of the number in a MAC; without one, a code that nobody can type.
fn shorten(mac: &[u8], digits: Digits) -> Code {
    let mut code = Code(Zeroizing::new([0; 8]));
    let Some(mut number) = truncate(mac) else {
        return code;
    };
    for place in code.0.iter_mut().take(usize::from(digits.0)).rev() {
        let [digit, ..] = (number % 10).to_le_bytes();
        *place = b'0'.saturating_add(digit);
        number /= 10;
    }
    code
}

/// Dynamic truncation to 31 bits, RFC 4226 section 5.3.
fn truncate(mac: &[u8]) -> Option<u32> {
    let offset = usize::from(mac.last()? & 0x0f);
    let bytes = mac.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: &[u8]) -> Secret {
        Secret::from_bytes(Zeroizing::new(bytes.to_vec())).unwrap()
    }

    /// RFC 6238 Appendix B seeds: the digits 1 to 0 repeated to the length of each hash.
    fn seed(algorithm: Algorithm) -> Secret {
        let length = match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        let digits: Vec<u8> = b"1234567890".iter().copied().cycle().take(length).collect();
        secret(&digits)
    }

    fn totp(algorithm: Algorithm, digits: i64) -> Otp {
        Otp {
            algorithm,
            digits: Digits::new(digits).unwrap(),
            ..Otp::default()
        }
    }

    #[test]
    fn rfc_4226_appendix_d() {
        let expected = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (counter, expected) in (0..).zip(expected) {
            let code = hotp(
                &seed(Algorithm::Sha1),
                Algorithm::Sha1,
                Digits::default(),
                counter,
            );
            assert_eq!(code.to_digits().as_str(), expected);
        }
    }

    #[test]
    fn rfc_6238_appendix_b() {
        use Algorithm::{Sha1, Sha256, Sha512};
        for (time, step, sha1, sha256, sha512) in [
            (59, 0x1, "94287082", "46119246", "90693936"),
            (
                1_111_111_109,
                0x0235_23EC,
                "07081804",
                "68084774",
                "25091201",
            ),
            (
                1_111_111_111,
                0x0235_23ED,
                "14050471",
                "67062674",
                "99943326",
            ),
            (
                1_234_567_890,
                0x0273_EF07,
                "89005924",
                "91819424",
                "93441116",
            ),
            (
                2_000_000_000,
                0x03F9_40AA,
                "69279037",
                "90698825",
                "38618901",
            ),
            (
                20_000_000_000,
                0x27BC_86AA,
                "65353130",
                "77737706",
                "47863826",
            ),
        ] {
            let at = Period::default().step_at(Time::from_unix(time));
            assert_eq!(at, Step(step));
            for (algorithm, expected) in [(Sha1, sha1), (Sha256, sha256), (Sha512, sha512)] {
                let code = totp(algorithm, 8).code(&seed(algorithm), at);
                assert_eq!(code.to_digits().as_str(), expected, "{algorithm} at {time}");
            }
        }
    }

    #[test]
    fn steps_beyond_32_bits_make_codes_of_their_own() {
        // oathtool -c 4294967297 3132333435363738393031323334353637383930, and the like
        for (counter, expected) in [
            (1 << 32, "999456"),
            ((1 << 32) + 1, "108930"),
            (u64::MAX, "094451"),
        ] {
            let code = hotp(
                &seed(Algorithm::Sha1),
                Algorithm::Sha1,
                Digits::default(),
                counter,
            );
            assert_eq!(code.to_digits().as_str(), expected);
        }
    }

    #[test]
    fn leading_zeros_count() {
        let device = totp(Algorithm::Sha1, 8);
        let at = Period::default().step_at(Time::from_unix(1_111_111_109));
        let fits = |digits: &[u8]| {
            let code = Code::from_digits(digits).unwrap();
            device.matching_step(&seed(Algorithm::Sha1), &code, &at.around(0))
        };
        assert_eq!(fits(b"07081804"), Some(at));
        assert_eq!(fits(b"7081804"), None);
    }

    #[test]
    fn a_shorter_code_is_not_the_start_of_a_longer_one() {
        let at = Step(1);
        let (six, eight) = (totp(Algorithm::Sha1, 6), totp(Algorithm::Sha1, 8));
        let key = seed(Algorithm::Sha1);
        assert_eq!(
            six.matching_step(&key, &eight.code(&key, at), &at.around(0)),
            None
        );
        assert_eq!(
            eight.matching_step(&key, &six.code(&key, at), &at.around(0)),
            None
        );
    }

    #[test]
    fn the_window_reaches_as_far_as_it_says() {
        let (device, key) = (Otp::default(), seed(Algorithm::Sha1));
        for window in [0_u16, 1, 3, 10] {
            let edge = i32::from(window);
            for offset in [-edge - 1, -edge, edge, edge + 1] {
                let (centre, step) = (Step(1000), Step(1000).moved(offset));
                let found =
                    device.matching_step(&key, &device.code(&key, step), &centre.around(window));
                let inside = offset.abs() <= edge;
                assert_eq!(found, inside.then_some(step));
            }
        }
    }

    #[test]
    fn t13_every_code_of_the_window_is_made_and_compared_whichever_fits() {
        let (device, key) = (Otp::default(), seed(Algorithm::Sha1));
        for fitting in [-3_i32, 0, 3, 4] {
            let code = device.code(&key, Step(1000).moved(fitting));
            let mut made = Vec::new();
            let found = search(&code, &Step(1000).around(3), |step| {
                made.push(step.0);
                device.code(&key, step)
            });
            let all: Vec<u64> = (997..=1003).collect();
            assert_eq!(made, all, "the fitting one is {fitting}");
            assert_eq!(found.is_some(), fitting <= 3);
        }
    }

    #[test]
    fn only_six_to_eight_ascii_digits_are_a_code() {
        for digits in [
            "",
            "12345",
            "123456789",
            "12345a",
            "12 456",
            "-12345",
            "１２３４５６",
        ] {
            assert!(Code::from_digits(digits.as_bytes()).is_none(), "{digits}");
        }
        for digits in ["000000", "0000000", "99999999"] {
            let code = Code::from_digits(digits.as_bytes()).unwrap();
            assert_eq!(code.to_digits().as_str(), digits);
        }
    }

    #[test]
    fn every_digit_of_a_random_code_is_as_likely_as_any_other() {
        struct Bytes;
        impl Entropy for Bytes {
            fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
                // Taken from the end, where bytes that would make the low digits likelier stand before each that counts.
                let bytes = [249, 255, 8, 250, 10, 253, 3, 252, 22, 251, 1, 254, 0, 250];
                assert!(bytes.len() <= length);
                Ok(bytes.to_vec().into())
            }
        }
        let code = Code::random(Digits::default(), &Bytes).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(code.to_digits().as_str(), "012308");
    }

    #[test]
    fn settings_are_told_in_a_line() {
        let shown = Otp::default().to_string();
        assert_eq!(shown, "time-based, SHA1, 6 digits, 30 seconds");
        let token = Otp {
            factor: MovingFactor::Counter,
            ..Otp::default()
        };
        assert_eq!(token.to_string(), "counter-based, SHA1, 6 digits");
    }

    #[test]
    fn the_step_before_the_first_is_none() {
        assert_eq!(Step(0).before(), None);
        assert_eq!(Step(5).before(), Some(Step(4)));
    }

    #[test]
    fn times_before_1970_are_in_the_first_step() {
        for time in [i64::MIN, -1, 0, 29] {
            assert_eq!(Period::default().step_at(Time::from_unix(time)), Step(0));
        }
        assert_eq!(Step(3).moved(-5), Step(0));
        assert_eq!(Step(u64::MAX).moved(1), Step(u64::MAX));
        assert_eq!(Step(3).offset_from(Step(5)), -2);
        assert_eq!(Step(u64::MAX).offset_from(Step(0)), i64::MAX);
    }

    #[test]
    fn settings_outside_their_bounds_are_refused() {
        assert!(Digits::new(5).is_none() && Digits::new(9).is_none());
        assert!(Period::new(14).is_none() && Period::new(121).is_none());
        assert!(Digits::new(i64::MAX).is_none() && Period::new(-30).is_none());
    }
}
