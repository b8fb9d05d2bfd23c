//! What a volume that is mounted over the records covers.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat, stat};
use rustix::mount::{OpenTreeFlags, open_tree};
use totp_core::config::Config;

use super::finding::{Finding, Findings};

/// Finds folders for secrets and states that come to light where a volume isn't mounted.
///
/// To look there takes CAP_SYS_ADMIN and Linux 5.2; without them nothing is found.
pub(crate) fn look(config: &Config, findings: &mut Findings) {
    // One covered folder alone denies: the other tells that something is missing.
    let of_states = covering(&config.state_dir);
    let mut of_secrets = covering(&config.secret_dir).into_iter();
    let Some(volume) = of_secrets.find(|point| of_states.contains(point)) else {
        return;
    };
    let volume = volume.display();
    let (secrets, states) = (config.secret_dir.display(), config.state_dir.display());
    findings.add(
        Finding::new(
            "records-covered",
            format!("Below what is mounted on {volume} lie other folders with the names of {secrets} and {states}."),
            "Where the volume is not mounted they are taken for the records: nobody would be enrolled, or codes that were used be good again.",
            format!(
                "unshare --mount sh -c 'umount --lazy {volume} && rmdir {secrets} {states}'        # missing folders deny"
            ),
        )
        .at(&config.secret_dir, None),
    );
}

/// The folder and those above it, inmost first, below which another one of its name is hidden.
fn covering(folder: &Path) -> Vec<PathBuf> {
    let (Ok(folder), Ok(shown)) = (fs::canonicalize(folder), stat(folder)) else {
        return Vec::new();
    };
    let identity = |file: &Stat| (file.st_dev, file.st_ino);
    let hides_another = |point: &&Path| {
        let below = below(point, &folder).and_then(|below| Ok(fstat(below)?));
        below.is_ok_and(|below| identity(&below) != identity(&shown))
    };
    let points = folder.ancestors().filter(hides_another);
    points.map(Path::to_owned).collect()
}

/// The folder that would be found if nothing were mounted on `point`, which is above it or it.
fn below(point: &Path, folder: &Path) -> std::io::Result<OwnedFd> {
    let parent = point.parent().ok_or(std::io::ErrorKind::NotFound)?;
    // A copy of the parent's own mount: without what is mounted in it, and gone with its descriptor.
    let copy = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = open_tree(CWD, parent, copy)?;
    let path = folder.strip_prefix(parent).unwrap_or(folder);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(copy, path, flags, Mode::empty())?)
}
