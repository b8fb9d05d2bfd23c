//! A file that a rollout changes: whole and durably, and back again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::edit;
use crate::failure::Failure;
use crate::mount;

/// A file that is changed.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    /// What was in it; `None` where there was none.
    pub(super) old: Option<String>,
    pub(super) new: String,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

/// What a file is to be again.
pub(super) enum Back {
    /// It needs no change.
    AsItIs,
    /// What it was.
    Old,
    /// What somebody has made of it meanwhile, without our lines.
    Without(String),
}

impl Change {
    /// The change that `edit` makes.
    pub(super) fn of(
        path: PathBuf,
        edit: impl FnOnce(Option<&str>) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::unreachable(format_args!("{}: {error}", path.display()));
        let (old, mode, owner) = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, 0o644, (0, 0)),
            Err(error) => return Err(failed(error)),
            Ok(file) if !file.is_file() => {
                return Err(Failure::refused(format_args!(
                    "{} is no file of its own but a link or a folder: edit it by hand",
                    path.display()
                )));
            }
            Ok(file) => {
                let text = fs::read_to_string(&path).map_err(failed)?;
                (Some(text), file.mode() & 0o7777, (file.uid(), file.gid()))
            }
        };
        let new = edit(old.as_deref())?;
        Ok(Self {
            path,
            old,
            new,
            mode,
            owner,
        })
    }

    /// # Errors
    /// Where it is no more what the change was made for.
    pub(super) fn refuse_edited(&self) -> Result<(), Failure> {
        match self.is_old() {
            true => Ok(()),
            false => Err(Failure::refused(format_args!(
                "{} was edited meanwhile, and nothing was changed: run this again, and look at the changes again",
                self.path.display()
            ))),
        }
    }

    /// Puts the new content in place. The old file keeps a second name beside it, so that it comes back on a full disk
    /// too.
    pub(super) fn put_new(&self) -> Result<(), Failure> {
        self.try_put_new()
            .map_err(|error| unwritable(&self.path, &error, "this again"))
    }

    fn try_put_new(&self) -> io::Result<()> {
        if self.old.is_some() {
            let saved = self.beside("old");
            let _ = fs::remove_file(&saved);
            fs::hard_link(&self.path, &saved)?;
        }
        self.put(&self.new)
    }

    /// What a rollout that nobody confirmed goes back to: what was there, whatever is there now.
    pub(super) fn whole(&self) -> Back {
        match self.is_old() {
            true => Back::AsItIs,
            false => Back::Old,
        }
    }

    /// What a confirmed one goes back to, which somebody may have edited since: their lines stay.
    ///
    /// # Errors
    /// Which of our lines somebody has to take out.
    pub(super) fn without_ours(&self) -> Result<Back, Failure> {
        let by_hand = |what: String| {
            let lines = edit::ours(self.old.as_deref(), &self.new).join("\n    ");
            Failure::refused(format_args!(
                "{} {what}, and nothing was taken back: take the module out by hand, which put these lines there, and run this \
                 again:\n    {lines}",
                self.path.display(),
            ))
        };
        if self.is_old() {
            return Ok(Back::AsItIs);
        }
        let found = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Back::Old),
            found => found.map_err(|error| by_hand(format!("can't be read ({error})")))?,
        };
        if found == self.new.as_bytes() {
            return Ok(Back::Old);
        }
        let found = String::from_utf8(found)
            .map_err(|_| by_hand("is no text that can be read".to_owned()))?;
        match edit::taken_out(self.old.as_deref(), &self.new, &found) {
            Some(text) if text == found => Ok(Back::AsItIs),
            Some(text) => Ok(Back::Without(text)),
            None => Err(by_hand("was edited in our lines".to_owned())),
        }
    }

    fn is_old(&self) -> bool {
        match (&self.old, fs::read(&self.path)) {
            (Some(old), Ok(found)) => found == old.as_bytes(),
            (None, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Puts something of before in place for a service; where what somebody has edited is kept, if it is.
    pub(super) fn put_back(&self, back: &Back, service: &str) -> Result<Option<PathBuf>, Failure> {
        self.try_put_back(back)
            .map_err(|error| unwritable(&self.path, &error, &reverting(service)))
    }

    fn try_put_back(&self, back: &Back) -> io::Result<Option<PathBuf>> {
        let kept = match back {
            Back::AsItIs => None,
            Back::Without(text) if text.trim().is_empty() && self.old.is_none() => {
                fs::remove_file(&self.path)?;
                None
            }
            Back::Without(text) => {
                self.put(text)?;
                None
            }
            Back::Old => {
                let kept = self.keep_edited();
                self.put_old()?;
                kept
            }
        };
        let _ = fs::remove_file(self.beside("old"));
        // Before the journal goes: what a power cut undoes has to be done again.
        sync(&self.path)?;
        Ok(kept)
    }

    fn put_old(&self) -> io::Result<()> {
        let saved = self.beside("old");
        match &self.old {
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            // It may have been taken away or edited by that name as well.
            Some(old) if fs::read(&saved).is_ok_and(|kept| kept == old.as_bytes()) => {
                fs::rename(&saved, &self.path)
            }
            Some(old) => self.put(old),
        }
    }

    /// Keeps what somebody has made of the new file, by a further name, which takes no room. A disk on which not even
    /// that goes keeps nobody locked out.
    fn keep_edited(&self) -> Option<PathBuf> {
        match fs::read(&self.path) {
            Ok(found) if found == self.new.as_bytes() => return None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            _ => {}
        }
        let kept = self.beside("edited");
        let _ = fs::remove_file(&kept);
        fs::hard_link(&self.path, &kept).ok().map(|()| kept)
    }

    /// Takes away what a kill has left beside it.
    pub(super) fn tidy(&self) {
        if let Some(folder) = self.path.parent() {
            remove_drafts(folder);
        }
    }

    fn beside(&self, what: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{BESIDE}{what}-{name}"))
    }

    fn put(&self, text: &str) -> io::Result<()> {
        replace(&self.path, text, |file| {
            match File::open(&self.path) {
                Ok(present) => copy_attributes(&present, file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            fchown(file, Some(self.owner.0), Some(self.owner.1))?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))
        })
    }
}

/// The command that takes back the rollout of a service, where others were rolled out too.
pub(super) fn reverting(service: &str) -> String {
    format!("totpctl rollout --revert {service}")
}

/// That a file can't be written, and what mends it before something is run.
pub(super) fn unwritable(path: &Path, error: &io::Error, then: &str) -> Failure {
    Failure::unreachable(format_args!(
        "cannot write {}: {error}: {}, then run {then}",
        path.display(),
        mend(path, error)
    ))
}

/// What mends that a file can't be changed.
pub(super) fn mend(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        // A file that is not there yet is on no disk.
        io::ErrorKind::ReadOnlyFilesystem => mount::remount(path.parent().unwrap_or(path)),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there".to_owned(),
        _ => "mend that".to_owned(),
    }
}

/// How files of ours begin that lie beside those which are changed. libpam takes no service of such a name.
const BESIDE: &str = ".pam_totp-";

/// Replaces a file whole, and durably, after `dress` has given the new one its owner and the like.
pub(super) fn replace(
    path: &Path,
    text: &str,
    dress: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let draft = draft(path, text).map_err(|error| io::Error::from(error.kind()))?;
    let (file, name) = draft.into_parts();
    dress(&file)?;
    file.sync_all()?;
    name.persist(path)?;
    sync(path)
}

/// A file with that text, yet to be put in place. Its errors name it, which tells nobody anything.
fn draft(path: &Path, text: &str) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = NamedTempFile::with_prefix_in(format!("{BESIDE}new-"), folder)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Makes it durable which file has that path, if any.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Removes files that were never put in place.
pub(super) fn remove_drafts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&format!("{BESIDE}new-")) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The access lists, the label of SELinux and whatever else stands beside a file.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    // What Linux allows a list and a value of (xattr(7)).
    const MOST: usize = 64 * 1024;
    let mut names = Vec::with_capacity(MOST);
    match flistxattr(from, rustix::buffer::spare_capacity(&mut names)) {
        // A file system without.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        listed => listed?,
    };
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = Vec::with_capacity(MOST);
        fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value))?;
        fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}
