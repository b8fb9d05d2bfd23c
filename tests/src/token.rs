//! A person's event token: codes computed by oathtool, which shares no code with ours.

use std::process::Command;

/// A token with a button: SHA1, six digits.
#[derive(Clone, Debug)]
pub struct Token {
    /// In base32.
    pub secret: String,
}

impl Token {
    /// One with this secret.
    pub fn new(secret: &str) -> Self {
        let secret = secret.to_owned();
        Self { secret }
    }

    /// What its QR code says, where `counter` is that of the next code.
    pub fn uri(&self, counter: u64) -> String {
        let Self { secret } = self;
        format!("otpauth://hotp/Example:someone?secret={secret}&issuer=Example&counter={counter}")
    }

    /// The code of a counter (RFC 4226).
    pub fn code(&self, counter: u64) -> String {
        self.codes(counter, 0).remove(0)
    }

    /// The codes of a counter and of the `following` ones.
    pub fn codes(&self, counter: u64, following: usize) -> Vec<String> {
        let output = Command::new("oathtool")
            .args(["--hotp", "--base32", "--counter", &counter.to_string()])
            .args(["--window", &following.to_string(), &self.secret])
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
