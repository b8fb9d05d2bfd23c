//! A caller who does something odd to the su or sudo that asks for a code on their behalf.

use std::fs;

/// What is attacked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// By its caller, who becomes somebody else.
    Su,
    /// By the user themselves, who becomes root.
    Sudo,
}

/// What a caller does before the program starts, and to it.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What they start.
    pub program: Program,
    /// What their shell does first.
    pub prelude: String,
    /// What starts the program for them.
    pub wrapper: String,
    /// Nothing about it may cost anybody a login or be noticed.
    pub harmless: bool,
}

impl Hostile {
    /// Nothing odd.
    pub const PLAIN: Self = Self {
        program: Program::Su,
        prelude: String::new(),
        wrapper: String::new(),
        harmless: true,
    };

    /// Against su.
    pub fn su(prelude: &str, wrapper: &str, harmless: bool) -> Self {
        Self {
            program: Program::Su,
            prelude: prelude.to_owned(),
            wrapper: wrapper.to_owned(),
            harmless,
        }
    }

    /// Against sudo.
    pub fn sudo(wrapper: &str) -> Self {
        Self {
            program: Program::Sudo,
            ..Self::su("", wrapper, false)
        }
    }
}

/// Whether programs of root's may raise what is a hard limit: they may not in many containers.
pub fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let mut lines = status.lines();
    let capabilities = lines
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask");
    const CAP_SYS_RESOURCE: u32 = 24;
    capabilities >> CAP_SYS_RESOURCE & 1 == 1
}
