//! The configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use totp_core::config::Config;
use totp_core::document::Mistake;

use crate::file::{self, FileError, Others};

/// Largest configuration, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Reads the configuration: the file named, or else the default one, which may be missing.
///
/// # Errors
/// [`LoadError`]. There is no half of a configuration.
pub fn load(named: Option<&Path>) -> Result<Config, LoadError> {
    let path = named.unwrap_or(Path::new(Config::DEFAULT_PATH));
    let error = |reason| LoadError {
        path: path.to_owned(),
        reason,
    };
    if !path.is_absolute() {
        return Err(error(Reason::Relative));
    }
    let bytes = match file::read(path, Others::Read, MAX_BYTES) {
        Err(missing) if missing.is_missing() && named.is_none() => return Ok(Config::default()),
        Err(_) if path.is_dir() => return Err(error(Reason::Folder)),
        result => result.map_err(|file| error(Reason::File(file)))?,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| error(Reason::Encoding))?;
    Config::parse(text).map_err(|mistake| error(Reason::Mistake(mistake)))
}

/// A configuration that can't be used.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Encoding,
    File(FileError),
    Folder,
    Mistake(Box<Mistake>),
    Relative,
}

impl LoadError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where in it the mistake is, where one is.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match &self.reason {
            Reason::Mistake(mistake) => Some(mistake.line),
            _ => None,
        }
    }

    /// Whether the reason is that this user must not read it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(&self.reason, Reason::File(error) if error.is_denied())
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Encoding => write!(f, "{path} is not UTF-8"),
            Reason::File(error) if error.is_missing() => {
                write!(
                    f,
                    "{error}: name a configuration that does, or none for the default one"
                )
            }
            Reason::File(error) => error.fmt(f),
            Reason::Folder => write!(f, "{path} is a folder: name a configuration file"),
            Reason::Mistake(mistake) => write!(f, "{path}, {mistake}"),
            Reason::Relative => write!(f, "{path}: the path of a configuration starts with /"),
        }
    }
}

impl std::error::Error for LoadError {}
