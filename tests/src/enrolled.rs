//! A person whose phone is in use now.

use crate::clock;
use crate::phone::Phone;

/// A phone that shows no code twice. It gets through without waiting for the next step because a code is
/// accepted one step early: two codes a test.
pub struct Enrolled {
    phone: Phone,
    last_step: i64,
}

impl Enrolled {
    /// The owner of `phone`.
    pub fn with(phone: Phone) -> Self {
        Self {
            phone,
            last_step: 0,
        }
    }

    /// A code that the server has not seen.
    pub fn code(&mut self) -> String {
        let now = clock::system() / self.phone.period;
        self.last_step = now.max(self.last_step + 1);
        assert!(
            self.last_step <= now + 1,
            "more codes than the window holds: let the test use another user"
        );
        self.phone.code_at(self.last_step * self.phone.period)
    }

    /// The code that this phone will show in so many steps.
    pub fn code_in(&self, steps: i64) -> String {
        let later = clock::system() + steps * self.phone.period;
        self.phone.code_at(later)
    }

    /// A code that this phone will not show for a while.
    pub fn wrong_code(&self) -> String {
        self.phone.wrong_code_at(clock::system())
    }
}
