//! The journal of a rollout: which files it changes, and what was there before. One a service.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use totp_core::time::Time;
use totp_host::process::Moment;

use super::file::{Change, mend, remove_drafts, replace, reverting, sync, unwritable};
use crate::failure::Failure;

/// A rollout that was begun.
pub(super) struct Journal {
    /// The PAM service.
    pub(super) service: String,
    /// Who has to get in.
    pub(super) person: String,
    /// How many backup codes of that person's had been used before.
    pub(super) backup_codes: u32,
    pub(super) began: Time,
    /// When the old files come back.
    pub(super) ends: Time,
    pub(super) stage: Stage,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Some of the files may be changed.
    Prepared,
    /// All are since then, and the confirmation is awaited.
    Applied(Moment),
    /// It stays.
    Confirmed,
}

/// Where the journals lie: beside the usual place of the records, which survive a reboot. The configuration has no say in
/// it: whoever takes a rollout back may have to do without.
pub(crate) const FOLDER: &str = "/var/lib/pam_totp/rollout";

/// How the name of a journal ends, behind that of its service.
const EXTENSION: &str = "json";

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
    if !folder.exists() {
        let mut builder = fs::DirBuilder::new();
        let made = builder.mode(0o700).recursive(true).create(folder);
        let made = made.and_then(|()| sync(folder));
        made.map_err(|error| unwritable(folder, &error, "this again"))?;
    }
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(failed(io::Error::other(
            "others may write it, or it is a link",
        )));
    }
    totp_host::file::hold(&folder.join(".lock")).map_err(failed)
}

/// All journals, by the names of their services.
///
/// # Errors
/// Where the folder can't be read. What is wrong with one of them stands in its place.
pub(super) fn all(folder: &Path) -> Result<Vec<Result<Journal, Failure>>, Failure> {
    let failed = |error: io::Error| {
        Failure::unreachable(format_args!(
            "{}: {error}: run totpctl as root",
            folder.display()
        ))
    };
    let mut paths = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|found| found == EXTENSION));
    paths.sort();
    Ok(paths
        .iter()
        .filter_map(|path| Journal::read_from(path).transpose())
        .collect())
}

/// The one that is not confirmed; there is never a second.
///
/// # Errors
/// Where there is none that can be read, and one that can't.
pub(super) fn under_way(folder: &Path) -> Result<Option<Journal>, Failure> {
    let (mut found, mut damaged) = (None, None);
    for journal in all(folder)? {
        match journal {
            Ok(journal) if journal.stage != Stage::Confirmed => found = Some(journal),
            Ok(_) => {}
            Err(failure) => damaged = Some(failure),
        }
    }
    match (found, damaged) {
        (None, Some(failure)) => Err(failure),
        (found, _) => Ok(found),
    }
}

impl Journal {
    /// That of a service, where it was rolled out and not taken back.
    pub(super) fn read(folder: &Path, service: &str) -> Result<Option<Self>, Failure> {
        Self::read_from(&path(folder, service))
    }

    fn read_from(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text,
        };
        let text = text.map_err(|error| {
            Failure::unreachable(format_args!(
                "{}: {error}: run totpctl as root",
                path.display()
            ))
        })?;
        let journal = serde_json::from_slice(&text)
            .ok()
            .and_then(|json| of_json(&json));
        journal.map(Some).ok_or_else(|| {
            Failure::unreachable(format_args!(
                "{} is damaged: the old files stand in it, put them back by hand and remove it",
                path.display()
            ))
        })
    }

    /// Saves it whole, and durably.
    pub(super) fn save(&self, folder: &Path) -> Result<(), Failure> {
        let text = format!("{:#}\n", self.to_json());
        let path = path(folder, &self.service);
        replace(&path, &text, |_| Ok(())).map_err(|error| unwritable(&path, &error, "this again"))
    }

    /// Whether its time is over, by the clock or, where that was set back meanwhile, by the time since the boot.
    pub(super) fn is_over(&self, now: Time) -> bool {
        let is_late = match &self.stage {
            Stage::Applied(moment) => {
                let span = self.ends.unix().saturating_sub(self.began.unix());
                let span = Duration::from_secs(u64::try_from(span).unwrap_or(0));
                moment.age().is_some_and(|age| age >= span)
            }
            Stage::Prepared | Stage::Confirmed => false,
        };
        is_late || now >= self.ends || now < self.began
    }

    /// Whether whoever was making the changes is gone, and left some of them: they hold the folder until they are done.
    pub(super) fn is_abandoned(&self) -> bool {
        self.stage == Stage::Prepared
    }

    /// The rollout is over, and the old files are back.
    pub(super) fn remove(&self, folder: &Path) -> Result<(), Failure> {
        remove_drafts(folder);
        self.changes.iter().for_each(Change::tidy);
        let path = path(folder, &self.service);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::unreachable(format_args!(
                    "the old files of {} are back, but cannot remove {}: {error}: {}, then run {}",
                    self.service,
                    path.display(),
                    mend(&path, &error),
                    reverting(&self.service)
                )))
            }
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
        let (stage, applied) = match &self.stage {
            Stage::Prepared => ("prepared", None),
            Stage::Applied(moment) => ("applied", Some(moment)),
            Stage::Confirmed => ("confirmed", None),
        };
        json!({
            "version": 1,
            "service": self.service,
            "person": self.person,
            "backup_codes": self.backup_codes,
            "began": self.began.unix(),
            "ends": self.ends.unix(),
            "stage": stage,
            "applied": applied.map(|moment| json!({
                "boot": moment.boot,
                "ticks": moment.ticks,
                "audit_session": moment.audit_session,
            })),
            "changes": changes.collect::<Vec<_>>(),
        })
    }
}

/// Where the journal of a service is.
pub(super) fn path(folder: &Path, service: &str) -> PathBuf {
    folder.join(service).with_extension(EXTENSION)
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
    let stage = match json.get("stage")?.as_str()? {
        "prepared" => Stage::Prepared,
        "applied" => {
            let moment = json.get("applied")?;
            Stage::Applied(Moment {
                boot: text(moment.get("boot")?)?,
                ticks: moment.get("ticks")?.as_u64()?,
                audit_session: number(moment.get("audit_session")?)?,
            })
        }
        "confirmed" => Stage::Confirmed,
        _ => return None,
    };
    let changes = json.get("changes")?.as_array()?.iter().map(change);
    Some(Journal {
        service: text(json.get("service")?)?,
        person: text(json.get("person")?)?,
        backup_codes: number(json.get("backup_codes")?)?,
        began: Time::from_unix(json.get("began")?.as_i64()?),
        ends: Time::from_unix(json.get("ends")?.as_i64()?),
        stage,
        changes: changes.collect::<Option<_>>()?,
    })
}
