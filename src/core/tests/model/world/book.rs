//! The secrets and their codes.

use std::collections::HashMap;

use totp_core::device::Device;
use totp_core::otp::{Algorithm, MovingFactor, Otp, Period, Step};
use totp_core::secret::Secret;

/// Each code is made once: by the number of its secret, its length and its step.
#[derive(Default)]
pub struct Book(HashMap<(usize, u8, i64), String>);

impl Book {
    pub fn code(&mut self, device: &Device, key: usize, step: i64) -> &str {
        let place = (key, device.otp.digits.get(), step);
        self.0.entry(place).or_insert_with(|| {
            let step = Step(u64::try_from(step).unwrap());
            let code = device.otp.code(&device.secret, step);
            code.to_digits().to_string()
        })
    }

    /// Nobody comes back to the codes of a time that is over; the counts of tokens all begin at 0.
    pub fn turn_over(&mut self) {
        self.0
            .retain(|(key, _, _), _| factor(*key) == MovingFactor::Counter);
    }
}

/// What a secret of that number follows.
pub fn factor(key: usize) -> MovingFactor {
    match [30, 30, 60, 15, 0][key % 5] {
        0 => MovingFactor::Counter,
        period => MovingFactor::Time(Period::new(period).unwrap()),
    }
}

/// How it makes codes, of the usual length.
pub fn otp(key: usize) -> Otp {
    let algorithms = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
    Otp {
        algorithm: algorithms[key % 3],
        factor: factor(key),
        ..Otp::default()
    }
}

pub fn secret(key: usize) -> Secret {
    Secret::from_bytes(vec![u8::try_from(key).unwrap(); 20].into()).unwrap()
}
