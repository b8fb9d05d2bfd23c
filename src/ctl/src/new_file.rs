//! Files that are made for somebody: root's alone, and never in the place of another.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file that was made (0600), and goes away with this unless it is kept.
pub(crate) struct NewFile {
    path: PathBuf,
    is_kept: bool,
}

impl NewFile {
    /// Writes it where none of that name is.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            let path = path.display();
            Failure::unreachable(match error.kind() {
                ErrorKind::AlreadyExists => format!("{path} is there already: name another file"),
                ErrorKind::NotFound => {
                    format!("{path}: there is no such folder: name another file")
                }
                _ => format!("{path}: {error}: name another file"),
            })
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        let made = Self {
            path: path.to_owned(),
            is_kept: false,
        };
        file.write_all(bytes).map_err(failed)?;
        Ok(made)
    }

    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
