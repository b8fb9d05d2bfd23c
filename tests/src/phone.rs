//! A person's authenticator: codes computed by oathtool, which shares no code with ours.

use std::fmt;
use std::process::Command;

/// The hash of RFC 6238.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hash::Sha1 => "SHA1",
            Hash::Sha256 => "SHA256",
            Hash::Sha512 => "SHA512",
        })
    }
}

/// What an authenticator app keeps about one account.
#[derive(Clone, Debug)]
pub struct Phone {
    /// In base32.
    pub secret: String,
    /// SHA1 unless said otherwise.
    pub hash: Hash,
    /// Of a code.
    pub digits: usize,
    /// Seconds for which one code is shown.
    pub period: i64,
}

impl Phone {
    /// The secret of the RFCs' test vectors.
    pub const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// What nearly every phone app does: SHA1, six digits, thirty seconds.
    pub fn new(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            hash: Hash::Sha1,
            digits: 6,
            period: 30,
        }
    }

    /// What somebody types in who is shown a key, in groups of four in a line of its own.
    #[track_caller]
    pub fn of_shown_key(text: &str) -> Self {
        let is_base32 = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
        let is_group = |word: &str| word.len() == 4 && word.bytes().all(is_base32);
        let is_key = |line: &&str| line.split(' ').count() == 8 && line.split(' ').all(is_group);
        let key = text.lines().map(str::trim).rfind(is_key);
        let key = key.unwrap_or_else(|| panic!("no key:\n{text}"));
        Self::new(&key.replace(' ', ""))
    }

    /// What its QR code says.
    pub fn uri(&self) -> String {
        let Self {
            secret,
            hash,
            digits,
            period,
        } = self;
        format!(
            "otpauth://totp/Example:someone?secret={secret}&issuer=Example&algorithm={hash}&digits={digits}&period={period}"
        )
    }

    /// The code the phone shows at `time`, leading zeros and all.
    pub fn code_at(&self, time: i64) -> String {
        self.codes(time, 0).remove(0)
    }

    /// The first of the `wrong_codes_at`.
    pub fn wrong_code_at(&self, time: i64) -> String {
        self.wrong_codes_at(time)
            .next()
            .expect("some code is wrong")
    }

    /// Codes that are wrong at `time` and for 50 steps on each side of it, all different.
    pub fn wrong_codes_at(&self, time: i64) -> impl Iterator<Item = String> {
        let digits = self.digits;
        let right = self.codes(time - 50 * self.period, 100);
        (0..)
            .map(move |n| format!("{n:0digits$}"))
            .filter(move |code| !right.contains(code))
    }

    /// The codes of the step `time` lies in and of the `following` ones.
    pub fn codes(&self, time: i64, following: usize) -> Vec<String> {
        let output = Command::new("oathtool")
            .arg(format!("--totp={}", self.hash))
            .args(["--base32", "--digits", &self.digits.to_string()])
            .args(["--time-step-size", &format!("{}s", self.period)])
            .args([
                "--now",
                &format!("@{time}"),
                "--window",
                &following.to_string(),
                &self.secret,
            ])
            .output()
            .expect("oathtool is installed");
        assert!(
            output.status.success(),
            "oathtool: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("codes are text")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
