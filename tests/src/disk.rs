//! A disk that has lost its power: of what was written and not synced, each part may be there or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// What is durable at once, or not at all, where the power goes. A disk's blocks are larger: what survives this survives
/// that.
const BLOCK: usize = 64;

/// Something that a program did to files, by their full names.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new file, empty.
    Create(PathBuf),
    /// A name is another file's.
    Rename(PathBuf, PathBuf),
    /// A name is gone.
    Remove(PathBuf),
    /// A file or a folder is on disk when this is over.
    Sync(PathBuf),
    /// Bytes of a file, from an offset on or at its end.
    Write(PathBuf, Option<usize>, Vec<u8>),
}

/// Files as programs see them, and as they are on disk.
#[derive(Clone, Default)]
pub struct Disk {
    files: Vec<File>,
    seen: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// What happened to names since their folder was synced, in order.
    unsynced: Vec<Naming>,
}

#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A name of a folder, and what it is the name of from then on.
type Naming = BTreeMap<PathBuf, Option<usize>>;

impl Disk {
    /// A disk with these files and nothing else.
    pub fn new(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        let mut disk = Self::default();
        for (path, bytes) in files {
            disk.seen.insert(path, disk.files.len());
            disk.files.push(File {
                seen: bytes.clone(),
                durable: bytes,
                unsynced: Vec::new(),
            });
        }
        disk.durable = disk.seen.clone();
        disk
    }

    /// Does what a program did.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(path) => {
                self.files.push(File::default());
                self.name(Naming::from([(path.clone(), Some(self.files.len() - 1))]));
            }
            Change::Rename(from, to) => {
                let file = self.seen[from];
                self.name(Naming::from([
                    (from.clone(), None),
                    (to.clone(), Some(file)),
                ]));
            }
            Change::Remove(path) => self.name(Naming::from([(path.clone(), None)])),
            Change::Sync(path) => match self.seen.get(path) {
                Some(file) => self.files[*file].sync(),
                None => self.sync_folder(path),
            },
            Change::Write(path, offset, bytes) => {
                let file = &mut self.files[self.seen[path]];
                file.write(offset.unwrap_or(file.seen.len()), bytes);
            }
        }
    }

    /// Does several things.
    pub fn apply_all<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        for change in changes {
            self.apply(change);
        }
    }

    /// Whether programs see a file of that name.
    pub fn has(&self, path: &Path) -> bool {
        self.seen.contains_key(path)
    }

    /// What programs see.
    pub fn seen(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.seen.iter();
        files
            .map(|(path, file)| (path.clone(), self.files[*file].seen.clone()))
            .collect()
    }

    /// What is there after a power cut now; what is lost depends on `seed`.
    pub fn after_power_cut(&self, seed: u64) -> Vec<(PathBuf, Vec<u8>)> {
        let mut dice = Dice(seed);
        let mut names = self.durable.clone();
        let mut lost = Vec::<&Path>::new();
        for naming in &self.unsynced {
            let folder = folder_of(naming);
            // Names of one folder get to the disk in order: what follows one that is lost is lost too.
            if !lost.contains(&folder) && dice.one_in(2) {
                rename(&mut names, naming);
            } else {
                lost.push(folder);
            }
        }
        let files = names.into_iter();
        files
            .map(|(path, file)| (path, self.files[file].after_power_cut(&mut dice)))
            .collect()
    }

    fn name(&mut self, naming: Naming) {
        rename(&mut self.seen, &naming);
        self.unsynced.push(naming);
    }

    fn sync_folder(&mut self, folder: &Path) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (synced, left): (Vec<_>, _) = unsynced
            .into_iter()
            .partition(|naming| folder_of(naming) == folder);
        for naming in synced {
            rename(&mut self.durable, &naming);
        }
        self.unsynced = left;
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    for (path, file) in naming {
        match file {
            Some(file) => names.insert(path.clone(), *file),
            None => names.remove(path),
        };
    }
}

fn folder_of(naming: &Naming) -> &Path {
    let (path, _) = naming.first_key_value().expect("a name");
    path.parent().expect("a name in a folder")
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.seen, offset, bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        self.durable = self.seen.clone();
        self.unsynced.clear();
    }

    fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (offset, written) in &self.unsynced {
            // All of it, nothing, or some of its blocks.
            let odds = [1, usize::MAX, 2][dice.below(3)];
            for (index, block) in written.chunks(BLOCK).enumerate() {
                if dice.one_in(odds) {
                    put(&mut bytes, offset + index * BLOCK, block);
                }
            }
        }
        bytes
    }
}

/// What was never written in between is zeros.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    file.resize(file.len().max(end), 0);
    file[offset..end].copy_from_slice(bytes);
}
