//! The journal of a rollout: which files it changes, and what was there before.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use totp_core::time::Time;

use crate::failure::Failure;

/// A rollout that was begun.
pub(super) struct Journal {
    /// The PAM service.
    pub(super) service: String,
    /// Who has to get in.
    pub(super) person: String,
    pub(super) began: Time,
    /// When the old files come back.
    pub(super) ends: Time,
    pub(super) stage: Stage,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Some of the files may be changed.
    Prepared,
    /// All are, and the confirmation is awaited.
    Applied,
    /// It stays.
    Confirmed,
}

impl Stage {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Prepared, "prepared"),
        (Self::Applied, "applied"),
        (Self::Confirmed, "confirmed"),
    ];

    fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(stage, _)| *stage == self)
            .map_or("", |(_, name)| name)
    }

    fn named(text: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, name)| *name == text).map(|(stage, _)| *stage)
    }
}

/// A file that is changed.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    /// What was in it; `None` where there was none.
    pub(super) old: Option<String>,
    pub(super) new: String,
    mode: u32,
    owner: (u32, u32),
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

    /// Puts the new content in place. The old file keeps a second name beside it, so that it comes back on a full disk
    /// too.
    pub(super) fn put_new(&self) -> Result<(), Failure> {
        if self.old.is_some() {
            let saved = self.saved();
            let _ = fs::remove_file(&saved);
            fs::hard_link(&self.path, &saved).map_err(|error| self.failed(error))?;
        }
        self.put(&self.new)
    }

    /// Puts the old file back, wherever it is not in place.
    pub(super) fn put_old(&self) -> Result<(), Failure> {
        let found = fs::read_to_string(&self.path).ok();
        let saved = self.saved();
        let put = match &self.old {
            old if found == *old => Ok(()),
            None => fs::remove_file(&self.path),
            // It may have been taken away or edited by that name as well.
            Some(old) if fs::read_to_string(&saved).is_ok_and(|kept| kept == *old) => {
                fs::rename(&saved, &self.path)
            }
            Some(old) => return self.put(old),
        };
        put.map_err(|error| self.failed(error))?;
        let _ = fs::remove_file(&saved);
        Ok(())
    }

    fn saved(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{BESIDE}old-{name}"))
    }

    /// Replaces the file whole, and durably.
    fn put(&self, text: &str) -> Result<(), Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let put = || -> io::Result<()> {
            let mut file = NamedTempFile::with_prefix_in(format!("{BESIDE}new-"), folder)?;
            file.write_all(text.as_bytes())?;
            let file = file.into_parts();
            fchown(&file.0, Some(self.owner.0), Some(self.owner.1))?;
            file.0
                .set_permissions(fs::Permissions::from_mode(self.mode))?;
            file.0.sync_all()?;
            file.1.persist(&self.path)?;
            fs::File::open(folder)?.sync_all()
        };
        put().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::unreachable(format_args!(
            "{}: {error}: make room or mend that, then run totpctl rollout --revert",
            self.path.display()
        ))
    }
}

const NAME: &str = "journal.json";
/// How a journal begins that is not saved yet.
const DRAFT: &str = ".journal-";
/// How files of ours begin that lie beside those which are changed. libpam takes no service of such a name.
const BESIDE: &str = ".pam_totp-";

/// Holds the folder against every other step of a rollout. It is made where there is none.
///
/// # Errors
/// Where it is no folder of root's own, or can't be held.
pub(super) fn hold(folder: &Path) -> Result<impl Drop + use<>, Failure> {
    let failed = |error: io::Error| {
        Failure::unreachable(format_args!(
            "{}: {error}: a rollout is kept there, in a folder of root's own",
            folder.display()
        ))
    };
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(failed(io::Error::other(
            "others may write it, or it is a link",
        )));
    }
    totp_host::file::hold(&folder.join(".lock")).map_err(failed)
}

/// Removes journals that were never saved.
pub(super) fn remove_drafts(folder: &Path) {
    remove_all(folder, DRAFT);
}

/// Removes the files of a folder whose names begin so.
fn remove_all(folder: &Path, beginning: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Journal {
    /// The journal of the last rollout, where one was not taken back.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text,
        };
        let text = text.map_err(|error| {
            Failure::unreachable(format_args!(
                "{}: {error}: run totpctl as root",
                path.display()
            ))
        })?;
        let journal = serde_json::from_str(&text)
            .ok()
            .and_then(|json| of_json(&json));
        journal.map(Some).ok_or_else(|| {
            Failure::unreachable(format_args!(
                "{} is damaged: the old files stand in it, put them back by hand",
                path.display()
            ))
        })
    }

    /// Saves it whole, and durably.
    pub(super) fn save(&self, folder: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            Failure::unreachable(format_args!(
                "{}: {error}: nothing is changed before that is saved",
                folder.display()
            ))
        };
        let save = || -> io::Result<()> {
            let mut file = NamedTempFile::with_prefix_in(DRAFT, folder)?;
            writeln!(file, "{:#}", self.to_json())?;
            let (file, path) = file.into_parts();
            file.sync_all()?;
            path.persist(folder.join(NAME))?;
            fs::File::open(folder)?.sync_all()
        };
        save().map_err(failed)
    }

    /// Whether whoever was making the changes is gone, and left some of them: they hold the folder until they are done.
    pub(super) fn is_abandoned(&self) -> bool {
        self.stage == Stage::Prepared
    }

    /// Keeps what somebody has made of the new files, since the old ones take their place.
    pub(super) fn keep_edited(&self, folder: &Path) -> Result<(), Failure> {
        for (index, change) in self.changes.iter().enumerate() {
            let Ok(found) = fs::read_to_string(&change.path) else {
                continue;
            };
            if found == change.new || Some(&found) == change.old.as_ref() {
                continue;
            }
            let kept = folder.join(format!("edited-{index}"));
            fs::write(&kept, found).map_err(|error| {
                Failure::unreachable(format_args!("{}: {error}", kept.display()))
            })?;
        }
        Ok(())
    }

    /// Takes away what a kill has left beside the files.
    pub(super) fn tidy(&self) {
        for folder in self
            .changes
            .iter()
            .filter_map(|change| change.path.parent())
        {
            remove_all(folder, &format!("{BESIDE}new-"));
        }
        // The old files of other rollouts stay.
        for change in &self.changes {
            let _ = fs::remove_file(change.saved());
        }
    }

    /// The rollout is over, and the old files are back.
    pub(super) fn remove(folder: &Path) -> Result<(), Failure> {
        remove_drafts(folder);
        match fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::unreachable(
                format_args!("{}: {error}", folder.join(NAME).display()),
            )),
            _ => Ok(()),
        }
    }

    fn to_json(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            json!({
                "path": change.path,
                "old": change.old,
                "new": change.new,
                "mode": change.mode,
                "owner": [change.owner.0, change.owner.1],
            })
        });
        json!({
            "version": 1,
            "service": self.service,
            "person": self.person,
            "began": self.began.unix(),
            "ends": self.ends.unix(),
            "stage": self.stage.name(),
            "changes": changes.collect::<Vec<_>>(),
        })
    }
}

fn of_json(json: &Value) -> Option<Journal> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let change = |change: &Value| {
        Some(Change {
            path: PathBuf::from(change.get("path")?.as_str()?),
            old: change.get("old").and_then(text),
            new: text(change.get("new")?)?,
            mode: number(change.get("mode")?)?,
            owner: (
                number(change.get("owner")?.get(0)?)?,
                number(change.get("owner")?.get(1)?)?,
            ),
        })
    };
    let changes = json.get("changes")?.as_array()?.iter().map(change);
    Some(Journal {
        service: text(json.get("service")?)?,
        person: text(json.get("person")?)?,
        began: Time::from_unix(json.get("began")?.as_i64()?),
        ends: Time::from_unix(json.get("ends")?.as_i64()?),
        stage: Stage::named(json.get("stage")?.as_str()?)?,
        changes: changes.collect::<Option<_>>()?,
    })
}
