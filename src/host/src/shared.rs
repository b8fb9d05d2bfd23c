//! Files of 64-bit words that all processes change at once, without a lock: whatever a process is stopped or killed
//! in the middle of, no other one waits for it.
//!
//! The words lie in pages of 4096 bytes. The first page starts with a magic word and a random key; each page is
//! mapped by itself, for as long as it takes. All blocks exist from the start, so that a full disk stops nobody.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use sha2::{Digest, Sha256};
use totp_core::doors::Entropy;

use crate::file::{CheckedFile, Fault, FileError, Others};
use crate::folder::Folder;
use crate::system::SystemEntropy;

/// Words in a page.
pub const PAGE_WORDS: usize = 512;
const PAGE_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"PAMTOTPW";
const KEY_BYTES: usize = 32;

/// An opened file of words.
pub struct Shared {
    file: CheckedFile,
    key: [u8; KEY_BYTES],
}

impl Shared {
    /// Opens a file of so many pages; `None` where there is none yet.
    ///
    /// # Errors
    /// [`FileError`]. A file of another size or kind counts as none.
    pub fn open(folder: &Folder, name: &str, pages: usize) -> Result<Option<Self>, FileError> {
        match Self::find(folder, name, pages)? {
            Found::Whole(shared) => Ok(Some(shared)),
            Found::Damaged(_) | Found::Nothing => Ok(None),
        }
    }

    fn find(folder: &Folder, name: &str, pages: usize) -> Result<Found, FileError> {
        let file = match folder.open_file(name, Others::None, true) {
            Err(error) if error.is_missing() => return Ok(Found::Nothing),
            file => file?,
        };
        let mut head = [0; MAGIC.len() + KEY_BYTES];
        let read = file.read_exact_at(&mut head, 0);
        let whole = file.length() == bytes_of(pages) && read.is_ok() && head.starts_with(&MAGIC);
        let key = head.last_chunk().copied().unwrap_or_default();
        Ok(if whole {
            Found::Whole(Self { file, key })
        } else {
            Found::Damaged(file)
        })
    }

    /// Opens the file, and makes one where there is none: all zeros behind its head.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_or_make(folder: &Folder, name: &str, pages: usize) -> Result<Self, FileError> {
        // Each time somebody else was faster.
        const TRIES: u32 = 3;
        let changed = || FileError::new(&folder.path_of(name), Fault::Changed);
        for _ in 0..TRIES {
            match Self::find(folder, name, pages)? {
                Found::Whole(shared) => return Ok(shared),
                Found::Nothing => {
                    folder.create(name, &fresh(folder, name, pages)?)?;
                }
                // What has lost its form has lost its counts. Of two who replace it the second would take away what
                // the first has counted, so only one does, and the others do without it this once.
                Found::Damaged(file) => {
                    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
                    let lock = lock.map_err(|_| changed())?;
                    if folder.still_names(name, &lock)? {
                        Self::renew(folder, name, pages)?;
                    }
                }
            }
        }
        Err(changed())
    }

    /// Puts a file without any counts in the place of whatever is there.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn renew(folder: &Folder, name: &str, pages: usize) -> Result<(), FileError> {
        folder.replace(name, &fresh(folder, name, pages)?)
    }

    /// A hash by this file's own key, never 0: nobody can choose what it falls together with.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let hash = Sha256::new().chain_update(self.key).chain_update(bytes);
        let digest: [u8; 32] = hash.finalize().into();
        let number = digest.first_chunk().copied().map_or(0, u64::from_le_bytes);
        number.max(1)
    }

    /// The words of a page as they are now.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self, page: usize) -> std::io::Result<Vec<u64>> {
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_exact_at(&mut bytes, bytes_of(page))?;
        let words = bytes.chunks_exact(8);
        let words = words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
        Ok(words.collect())
    }

    /// A page to change.
    ///
    /// # Errors
    /// What the system says.
    pub fn map(&self, page: usize) -> std::io::Result<Page> {
        Page::map(&self.file, bytes_of(page))
    }
}

/// What there is under a name.
enum Found {
    Whole(Shared),
    /// A file of another size or kind.
    Damaged(CheckedFile),
    Nothing,
}

/// The bytes of a new file, where it can be written: beyond the limit of this process a write would fail, and its
/// signal end the process.
fn fresh(folder: &Folder, name: &str, pages: usize) -> Result<Vec<u8>, FileError> {
    let error = |fault| FileError::new(&folder.path_of(name), fault);
    let too_large = Fault::Io {
        doing: "make",
        errno: Errno::EFBIG,
    };
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((most, _)) if most < bytes_of(pages) => return Err(error(too_large)),
        _ => {}
    }
    let key = SystemEntropy.random(KEY_BYTES);
    let key = key.map_err(|_| error(Fault::Entropy))?;
    let mut bytes = vec![0; pages.saturating_mul(PAGE_BYTES)];
    let head = MAGIC.iter().chain(key.iter());
    bytes
        .iter_mut()
        .zip(head)
        .for_each(|(to, from)| *to = *from);
    Ok(bytes)
}

fn bytes_of(pages: usize) -> u64 {
    u64::try_from(pages.saturating_mul(PAGE_BYTES)).unwrap_or(u64::MAX)
}

/// One page of words in memory, the same for every process that maps it.
pub struct Page {
    start: NonNull<libc::c_void>,
    length: NonZeroUsize,
    words: NonNull<AtomicU64>,
}

impl Page {
    fn map(file: &File, offset: u64) -> std::io::Result<Self> {
        // The system's pages may be larger than ours, and are mapped whole.
        // SAFETY: sysconf takes a number and touches no memory of ours.
        let system_page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let system_page = u64::try_from(system_page).unwrap_or(1);
        let inside = offset.checked_rem(system_page).unwrap_or(0);
        let invalid = || std::io::Error::from_raw_os_error(libc::EINVAL);
        let inside = usize::try_from(inside).map_err(|_| invalid())?;
        let length = inside.saturating_add(PAGE_BYTES);
        let length = NonZeroUsize::new(length).ok_or_else(invalid)?;
        let start = libc::off_t::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_sub(libc::off_t::try_from(inside).ok()?))
            .ok_or_else(invalid)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so nothing of ours is mapped over. The mapping is reached through
        // `AtomicU64` alone, here and in every other process, and ends in `drop`.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, start)? };
        // SAFETY: `inside` + PAGE_BYTES is the length of the mapping.
        let words = unsafe { start.byte_add(inside) }.cast();
        Ok(Self {
            start,
            length,
            words,
        })
    }
}

impl Deref for Page {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `words` points to PAGE_BYTES of the mapping, which are PAGE_WORDS words, aligned as a page
        // is, and stay mapped for as long as `self` lives. The file had its full size when it was opened, and
        // nobody but root can cut it. Any bytes are an `AtomicU64`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), PAGE_WORDS) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives the value.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn every_mapping_of_a_page_sees_what_the_others_write() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(Shared::open(&folder, "words", 3).unwrap().is_none());
        let shared = Shared::open_or_make(&folder, "words", 3).unwrap();
        let other = Shared::open(&folder, "words", 3).unwrap().unwrap();
        assert_eq!(shared.hash(b"alice"), other.hash(b"alice"));
        let (one, two) = (shared.map(2).unwrap(), other.map(2).unwrap());
        one[511].store(7, Ordering::Relaxed);
        assert_eq!(two[511].load(Ordering::Relaxed), 7);
        assert_eq!(other.read(2).unwrap()[511], 7);
        assert_eq!(other.read(1).unwrap(), vec![0; PAGE_WORDS]);
    }

    #[test]
    fn a_file_of_another_form_is_none_and_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        for bytes in [&b""[..], &[0; 3 * PAGE_BYTES], b"PAMTOTPW"] {
            folder.replace("words", bytes).unwrap();
            assert!(Shared::open(&folder, "words", 3).unwrap().is_none());
            let shared = Shared::open_or_make(&folder, "words", 3).unwrap();
            assert_eq!(shared.read(2).unwrap(), vec![0; PAGE_WORDS]);
        }
    }

    #[test]
    fn of_many_who_make_a_file_at_once_none_takes_away_what_another_has_counted() {
        for (is_damaged, round) in (0..100).map(|round| (round % 2 == 1, round)) {
            let place = tempfile::tempdir().unwrap();
            let folder = Folder::open(place.path()).unwrap();
            if is_damaged {
                folder.replace("words", b"no words").unwrap();
            }
            let start = Barrier::new(8);
            let counted = std::thread::scope(|threads| {
                let count = || {
                    start.wait();
                    // Who finds another at work on a damaged file does without.
                    let shared = Shared::open_or_make(&folder, "words", 3).ok()?;
                    let page = shared.map(1).unwrap();
                    Some(page[0].fetch_add(1, Ordering::Relaxed))
                };
                let threads: Vec<_> = (0..8).map(|_| threads.spawn(count)).collect();
                let counts = threads.into_iter().map(|thread| thread.join().unwrap());
                counts.collect::<Vec<_>>()
            });
            let all = counted.iter().flatten().count();
            assert!(all > 0 && (is_damaged || all == 8), "{round}: {counted:?}");
            let shared = Shared::open(&folder, "words", 3).unwrap().unwrap();
            let kept = usize::try_from(shared.read(1).unwrap()[0]).unwrap();
            assert_eq!(kept, all, "round {round}: {counted:?}");
        }
    }

    #[test]
    fn a_damaged_file_that_somebody_is_stopped_at_holds_nobody() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        folder.replace("words", b"no words").unwrap();
        let file = folder.open_file("words", Others::None, true).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        assert!(Shared::open_or_make(&folder, "words", 3).is_err());
        drop(lock);
        assert!(Shared::open_or_make(&folder, "words", 3).is_ok());
    }

    #[test]
    fn no_two_files_hash_alike() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let one = Shared::open_or_make(&folder, "one", 1).unwrap();
        let two = Shared::open_or_make(&folder, "two", 1).unwrap();
        assert_ne!(one.hash(b"alice"), two.hash(b"alice"));
    }
}
