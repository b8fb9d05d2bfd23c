//! Everything that lies in a folder, to tell whether anything changed.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What can change about a file without its name changing.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    mode: u32,
    owner: u32,
    links: u64,
    size: u64,
    /// Of a regular file's bytes or of a link's target.
    content: u64,
}

/// Files by name.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// `folder` and what is in it, links and special files as such, never opened.
pub fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).expect("nobody else removes it");
        let mut content = DefaultHasher::new();
        let mut size = about.len();
        if about.is_dir() {
            size = 0;
            let entries = fs::read_dir(&path).expect("a readable folder");
            left.extend(entries.map(|entry| entry.expect("a readable folder").path()));
        } else if about.is_symlink() {
            fs::read_link(&path).expect("a link").hash(&mut content);
        } else if about.is_file() && size < 1 << 20 {
            fs::read(&path).expect("a readable file").hash(&mut content);
        }
        let content = content.finish();
        let (mode, owner, links) = (about.mode(), about.uid(), about.nlink());
        found.insert(
            path,
            Entry {
                mode,
                owner,
                links,
                size,
                content,
            },
        );
    }
    found
}

/// The names of everything in `folder`.
pub fn names(folder: &Path) -> Vec<PathBuf> {
    tree(folder).into_keys().collect()
}
