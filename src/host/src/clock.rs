//! How well the system's clock is kept, and what people here read off theirs.

use std::io;
use std::mem::MaybeUninit;

use nix::libc;
use totp_core::time::{Span, Time};

/// What the kernel knows of its clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clock {
    /// Somebody (chrony, systemd-timesyncd, ntpd) keeps it in step.
    pub is_synchronised: bool,
    /// How far it is known to be off, in milliseconds.
    pub offset_ms: i64,
}

/// Asks the kernel, and changes nothing.
///
/// # Errors
/// Where this process may not ask, as in some containers.
#[allow(
    clippy::useless_conversion,
    reason = "the fields are narrower where a word has 32 bits"
)]
pub fn clock() -> io::Result<Clock> {
    let mut found = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: with `modes` zero adjtimex(2) only reads, and writes one timex structure to where `found` is.
    let state = unsafe { libc::adjtimex(found.as_mut_ptr()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every pattern of bits, zeroes above all, is a timex structure.
    let found = unsafe { found.assume_init() };
    let unit = match found.status & libc::STA_NANO {
        0 => 1_000,
        _ => 1_000_000,
    };
    Ok(Clock {
        is_synchronised: state != libc::TIME_ERROR && found.status & libc::STA_UNSYNC == 0,
        offset_ms: i64::from(found.offset).checked_div(unit).unwrap_or(0),
    })
}

/// Seconds by which local time is ahead of UTC, at `now` and half a year earlier: in winter and in summer.
#[must_use]
pub fn utc_offsets(now: Time) -> Vec<i32> {
    let half_a_year = Span::from_minutes(60 * 24 * 182);
    let times = [now, now.before(half_a_year)];
    times.into_iter().filter_map(utc_offset).collect()
}

fn utc_offset(time: Time) -> Option<i32> {
    let seconds = libc::time_t::try_from(time.unix()).ok()?;
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads the seconds, and writes one tm structure to where `local` is.
    let found = unsafe { libc::localtime_r(&raw const seconds, local.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: localtime_r has filled it in, and it was zeroed before.
    let local = unsafe { local.assume_init() };
    i32::try_from(local.tm_gmtoff).ok()
}
