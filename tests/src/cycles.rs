//! One login after the other in one process, and what they leave behind in it.

use std::{fmt, fs};

use crate::clock::{self, EPOCH};
use crate::libpam::Code;
use crate::phone::Phone;
use crate::product::{ACCOUNT, Scratch, module};

/// Who logs in by turns, and whether with a code that a phone shows.
const TURNS: [(&str, bool); 5] = [
    (ACCOUNT, true),
    (ACCOUNT, false),
    ("bin", true),
    ("no-such-person", false),
    (ACCOUNT, true),
];

/// Logins with known ends.
pub struct Cycles {
    scratch: Scratch,
    codes: Vec<String>,
    wrong: String,
}

impl Cycles {
    /// So many of them.
    pub fn new(count: usize) -> Self {
        let phone = Phone::new(Phone::SECRET);
        let codes = phone.codes(EPOCH, count);
        let mut all = (0..).map(|number| format!("{number:06}"));
        let wrong = all.find(|code| !codes.contains(code));
        Self {
            scratch: Scratch::unlimited(ACCOUNT, &phone),
            codes,
            wrong: wrong.expect("fewer codes than a million"),
        }
    }

    /// The same with a copy of the module that lacks the flag by which it stays loaded.
    pub fn unloading(count: usize) -> Self {
        // The entry DT_FLAGS_1 in the dynamic section: DF_1_NOW with DF_1_NODELETE, and without.
        let [entry, changed] =
            [9_u64, 1].map(|flags| [0x6fff_fffb_u64.to_ne_bytes(), flags.to_ne_bytes()].concat());
        let cycles = Self::new(count);
        let mut bytes = fs::read(module()).expect("the module");
        let place = bytes.windows(entry.len()).position(|found| found == entry);
        let place = place.expect("the flags of a module that stays loaded");
        bytes[place..place + entry.len()].copy_from_slice(&changed);
        let (copy, config) = (cycles.scratch.path("copy.so"), cycles.scratch.config());
        fs::write(&copy, bytes).expect("a copy");
        let (copy, config) = (copy.display(), config.display());
        cycles
            .scratch
            .service(&format!("auth required {copy} config={config}\n"));
        cycles
    }

    /// The login of that number, from pam_start to pam_end: libpam loads the module for it, and lets go of it again.
    pub fn log_in(&self, number: usize) {
        clock::set(EPOCH + 30 * number as i64);
        let (user, is_right) = TURNS[number % TURNS.len()];
        let answer = match is_right {
            true => &self.codes[number],
            false => &self.wrong,
        };
        let expected = match user == ACCOUNT && is_right {
            true => Code::SUCCESS,
            false => Code::AUTH_ERR,
        };
        let login = self.scratch.login(user, answer.as_str());
        assert_eq!(login.code, expected, "login {number}");
    }
}

/// Whether this process has the module, or a copy of it, in its memory.
pub fn is_loaded() -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("proc");
    ["libpam_totp.so", "copy.so"]
        .iter()
        .any(|name| maps.contains(name))
}

/// What this process takes up.
pub struct Footprint {
    heap: usize,
    resident: usize,
    descriptors: usize,
}

impl Footprint {
    /// Now.
    pub fn now() -> Self {
        // Before what is read below takes some of it itself.
        let heap = heap();
        let resident = fs::read_to_string("/proc/self/statm").expect("proc");
        let resident = resident
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok());
        Self {
            heap,
            resident: resident.expect("a number of pages"),
            descriptors: fs::read_dir("/proc/self/fd").expect("proc").count(),
        }
    }

    /// Looks that nothing has grown since `before` but by so many pages in memory.
    #[track_caller]
    pub fn assert_not_more_than(&self, before: &Self, slack: usize) {
        assert_eq!(self.descriptors, before.descriptors);
        assert!(self.heap <= before.heap, "memory that is not given back");
        let most = before.resident.saturating_add(slack);
        assert!(self.resident <= most, "more memory");
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            heap,
            resident,
            descriptors,
        } = self;
        write!(
            f,
            "{heap} bytes allocated, {resident} pages in memory, {descriptors} open files"
        )
    }
}

/// The bytes that are allocated. AddressSanitizer has an allocator of its own, and this function for it.
fn heap() -> usize {
    const NAME: &std::ffi::CStr = c"__sanitizer_get_current_allocated_bytes";
    // SAFETY: the function of that name, where there is one, takes nothing and returns a number (allocator_interface.h).
    let function: Option<extern "C" fn() -> usize> =
        unsafe { std::mem::transmute(libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr())) };
    match function {
        Some(function) => function(),
        None => {
            // SAFETY: takes nothing, and returns numbers.
            let counts = unsafe { libc::mallinfo2() };
            counts.uordblks + counts.hblkhd
        }
    }
}
