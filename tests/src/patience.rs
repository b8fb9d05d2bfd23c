//! How long is waited.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than a login waits for one that doesn't move.
pub const PATIENCE: Duration = Duration::from_secs(6);

/// Without having waited for anybody.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// Returns once `condition` holds.
#[track_caller]
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_long_for(Duration::from_secs(20), what, condition);
}

/// The same for what may take as long as `limit`.
#[track_caller]
pub fn wait_long_for(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
