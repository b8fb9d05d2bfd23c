//! A wall clock that a test sets for its own thread.
//!
//! The programs of this package export `clock_gettime` and `time`, so the dynamic linker binds the calls of
//! every library loaded later, a PAM module included, to these. A thread that has set nothing, and every
//! clock but `CLOCK_REALTIME`, gets the kernel's answer.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use libc::{CLOCK_REALTIME, SYS_clock_gettime, c_int, clockid_t, time_t, timespec};

thread_local! {
    static SET: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The start of a time step for each period that divides two minutes; later than any real enrollment.
pub const EPOCH: i64 = 2_000_000_040;

/// From now on this thread reads `seconds` since 1970 on its wall clock.
pub fn set(seconds: i64) {
    SET.set(Some(seconds));
}

/// Seconds since 1970 as this thread reads them.
pub fn now() -> i64 {
    SET.get().unwrap_or_else(system)
}

/// Seconds since 1970 by the system's clock, whatever this thread reads.
pub fn system() -> i64 {
    let set = SET.replace(None);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    SET.set(set);
    let seconds = since_1970.expect("a clock after 1970").as_secs();
    seconds.try_into().expect("a clock before the end of time")
}

/// Gives this thread the real time back.
pub fn unset() {
    SET.set(None);
}

#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    match SET.get() {
        Some(seconds) if clock == CLOCK_REALTIME && !time.is_null() => {
            let value = timespec {
                tv_sec: seconds as time_t,
                tv_nsec: 0,
            };
            // SAFETY: clock_gettime(2) demands that `time` point to a writable timespec.
            unsafe { time.write(value) };
            0
        }
        // SAFETY: the caller's arguments go to the system call they were meant for, which checks the
        // pointer itself and answers EFAULT.
        _ => unsafe { libc::syscall(SYS_clock_gettime, clock, time) as c_int },
    }
}

#[unsafe(no_mangle)]
extern "C" fn time(seconds: *mut time_t) -> time_t {
    let now = now() as time_t;
    if !seconds.is_null() {
        // SAFETY: time(2) demands that `seconds` be NULL or point to a writable time_t.
        unsafe { seconds.write(now) };
    }
    now
}
