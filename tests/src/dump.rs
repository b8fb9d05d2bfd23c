//! The memory that a process leaves behind in a core.

use std::fs;

use crate::memory;
use crate::product::Scratch;
use crate::secret::traces_of;

/// Whether a core is left in the folder of the process that it is of, and not taken elsewhere.
pub fn are_left_here() -> bool {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("proc");
    !pattern.starts_with(['|', '/'])
}

/// What a process left in the scratch folder.
pub fn core(scratch: &Scratch) -> Option<Vec<u8>> {
    let entries = fs::read_dir(scratch.path("")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut cores = paths.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name == "core" || name.starts_with("core.")
    });
    let path = cores.next()?;
    let bytes = fs::read(&path).expect("a core");
    fs::remove_file(path).expect("a core");
    Some(bytes)
}

/// Nothing of `secret` is in `core`.
#[track_caller]
pub fn assert_free_of(secret: &str, core: &[u8], what: &str) {
    let (forms, bytes): (Vec<_>, Vec<_>) = traces_of(secret).into_iter().unzip();
    let found = memory::find(core, &bytes, 0);
    let found = found.map(|index| forms[index]);
    assert_eq!(found, None, "the core has the secret: {what}");
}
