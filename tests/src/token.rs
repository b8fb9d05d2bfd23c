//! A person's event token: codes computed by oathtool, which shares no code with ours.

use std::process::Command;

/// A token with a button: SHA1.
#[derive(Clone, Debug)]
pub struct Token {
    /// In base32.
    pub secret: String,
    /// Six or more.
    pub digits: u8,
}

impl Token {
    /// One with this secret and six digits.
    pub fn new(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            digits: 6,
        }
    }

    /// What its QR code says, where `counter` is that of the next code.
    pub fn uri(&self, counter: u64) -> String {
        let Self { secret, digits } = self;
        format!(
            "otpauth://hotp/Example:someone?secret={secret}&issuer=Example&digits={digits}&counter={counter}"
        )
    }

    /// The code of a counter (RFC 4226).
    pub fn code(&self, counter: u64) -> String {
        self.codes(counter, 0).remove(0)
    }

    /// The codes of a counter and of the `following` ones.
    pub fn codes(&self, counter: u64, following: usize) -> Vec<String> {
        let output = Command::new("oathtool")
            .args(["--hotp", "--base32", "--counter", &counter.to_string()])
            .args(["--window", &following.to_string()])
            .args(["--digits", &self.digits.to_string(), &self.secret])
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
