//! Folders as they were, to be put back as often as somebody has been at them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What was in some folders, or that they were not there.
pub struct Kept {
    folders: Vec<PathBuf>,
    found: Vec<(PathBuf, Found)>,
}

enum Found {
    File(u32, Vec<u8>),
    Folder(u32),
}

impl Kept {
    /// Folders and regular files only: what pam_totp makes.
    pub fn of(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let folders: Vec<_> = folders.into_iter().collect();
        let mut found = Vec::new();
        for folder in folders.iter().filter(|folder| folder.exists()) {
            keep(folder, &mut found);
        }
        Self { folders, found }
    }

    /// Puts everything back, as new files, and takes away what else is there.
    pub fn restore(&self) {
        for folder in &self.folders {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.expect("our own folder"),
            }
        }
        for (path, found) in &self.found {
            match found {
                Found::File(mode, bytes) => write(path, *mode, bytes),
                Found::Folder(mode) => make_folder(path, *mode),
            }
        }
    }
}

/// A new file.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .expect("a new file");
}

/// A new folder.
pub fn make_folder(path: &Path, mode: u32) {
    let made = DirBuilder::new().mode(mode).create(path);
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .expect("a new folder");
}

fn keep(folder: &Path, found: &mut Vec<(PathBuf, Found)>) {
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    found.push((folder.to_owned(), Found::Folder(mode(folder))));
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            keep(&path, found);
        } else {
            let bytes = fs::read(&path).expect("a file");
            let kept = Found::File(mode(&path), bytes);
            found.push((path, kept));
        }
    }
}
