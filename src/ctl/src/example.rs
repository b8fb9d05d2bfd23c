//! The stacks that come with the product, where a machine has them.

use std::path::{Path, PathBuf};

/// Below the places that a Makefile or a package installs to. Debian's documents go by the package's name.
const FOLDERS: [&str; 2] = [
    "share/doc/libpam-totp/examples",
    "share/doc/pam_totp/examples",
];

/// The folder of them in the tree at `root`. Containers and small systems leave documents out.
pub(crate) fn folder(root: &Path) -> Option<PathBuf> {
    // This program is in a `sbin` beside that `share`, wherever somebody's PREFIX is.
    let program = std::env::current_exe().ok();
    let own = program.as_deref().and_then(|path| path.parent()?.parent());
    let prefixes = own.into_iter().chain(["/usr", "/usr/local"].map(Path::new));
    let mut folders = prefixes.flat_map(|prefix| {
        let below = root.join(prefix.strip_prefix("/").unwrap_or(prefix));
        FOLDERS.map(|folder| below.join(folder))
    });
    folders.find(|folder| folder.is_dir())
}

/// What to edit a stack by, in words.
pub(crate) fn words() -> String {
    match folder(Path::new("/")) {
        Some(folder) => format!("the examples in {}", folder.display()),
        None => "the ones in pam_totp(8)".to_owned(),
    }
}
