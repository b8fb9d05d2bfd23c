//! Slot files: a record that is rewritten in place and survives a torn write.
//!
//! A slot file has two slots of 4096 bytes. A save writes the record into the slot that holds the older
//! one; if that write is torn, the other slot still holds the record before it, whose
//! successor nobody was told of. The blocks exist from the start, so a full disk stops no save.
//!
//! The write and its sync are one system call, which a kill comes before or after. Between two calls it would leave a
//! record that only memory has, and the next save would overwrite the last one that is on the disk.
//!
//! ```text
//! magic     8   "PAMTOTP\x02": the last byte is the version of the format
//! serial    u64 little-endian, one more at each save
//! length    u32 of the body, little-endian
//! zero      u32
//! checksum  32  SHA-256 of the fields above and the body
//! body
//! ```

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use crate::file::CheckedFile;

/// A record as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Grows by one at each save.
    pub serial: u64,
    /// What was saved.
    pub body: Vec<u8>,
}

const SLOT: usize = 4096;
const MAGIC: [u8; 7] = *b"PAMTOTP";
const VERSION: u8 = 2;
const HEADER: usize = 24;
const BODY: usize = HEADER + 32;

/// Size of every slot file in bytes.
pub const FILE_BYTES: usize = 2 * SLOT;

/// Longest body in bytes.
pub const MAX_BODY: usize = SLOT - BODY;

/// The newest whole record of a slot file.
///
/// Without the lock too: a save under way touches one slot only, and what it tears doesn't count.
///
/// # Errors
/// [`SlotError`] where neither slot holds a whole record, or one is of a newer version.
pub fn read(file: &File) -> Result<Record, SlotError> {
    unless_torn(|| read_once(file))
}

/// Two saves while we read may tear both slots for us: rare once, and no fault of the file's.
fn unless_torn<T>(mut read: impl FnMut() -> Result<T, SlotError>) -> Result<T, SlotError> {
    const TRIES: u8 = 3;
    for _ in 1..TRIES {
        match read() {
            Err(SlotError::Damaged) => {}
            found => return found,
        }
    }
    read()
}

fn read_once(file: &File) -> Result<Record, SlotError> {
    // One byte more tells a longer file.
    let mut bytes = [0; FILE_BYTES + 1];
    let length = file.read_at(&mut bytes, 0).map_err(SlotError::reading)?;
    newest(bytes.get(..length).unwrap_or_default())
}

/// The newest whole record in the bytes of a slot file.
fn newest(file: &[u8]) -> Result<Record, SlotError> {
    if file.len() != FILE_BYTES {
        return Err(SlotError::Length);
    }
    let (first, second) = file.split_at(SLOT);
    // Never of the same serial: those of the one are even, those of the other odd.
    let newest = read_slot(first, 0)?.max(read_slot(second, SLOT as u64)?);
    let (serial, body) = newest.ok_or(SlotError::Damaged)?;
    let body = body.to_vec();
    Ok(Record { serial, body })
}

/// Saves the successor of `current`, which the caller read under the lock. Durable on return.
///
/// # Errors
/// [`SlotError`]; what was saved must then not be acted on.
pub fn save(file: &CheckedFile, current: &Record, body: &[u8]) -> Result<(), SlotError> {
    let serial = current.serial.checked_add(1).ok_or(SlotError::Damaged)?;
    let slot = encode_slot(serial, body)?;
    let offset = slot_offset(serial);
    file.write_all_at(&slot, offset).map_err(|error| {
        // Memory may now hold a record that the disk does not. Nobody may build on it: the next save
        // would overwrite the last one that is on disk.
        let _ = file.write_all_at(&[0; BODY], offset);
        SlotError::writing(error)
    })
}

/// The bytes of a new slot file whose first record is `body`.
///
/// # Errors
/// [`SlotError::TooLong`].
pub fn new_file(body: &[u8]) -> Result<Vec<u8>, SlotError> {
    let mut bytes = encode_slot(0, body)?;
    bytes.resize(FILE_BYTES, 0);
    Ok(bytes)
}

/// Even serials are in the first slot, odd ones in the second: a save never touches the newest record.
const fn slot_offset(serial: u64) -> u64 {
    if serial % 2 == 0 { 0 } else { SLOT as u64 }
}

fn encode_slot(serial: u64, body: &[u8]) -> Result<Vec<u8>, SlotError> {
    if body.len() > MAX_BODY {
        return Err(SlotError::TooLong { length: body.len() });
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(BODY.saturating_add(body.len()));
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&serial.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let checksum = checksum(&bytes, body);
    bytes.extend_from_slice(&checksum);
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Serial and body of the slot at an offset; `None` where it is torn or was never written. One that belongs into the other
/// slot counts as torn: the next save would go over it.
fn read_slot(slot: &[u8], offset: u64) -> Result<Option<(u64, &[u8])>, SlotError> {
    let whole = || {
        let (header, rest) = slot.split_first_chunk::<HEADER>()?;
        let (found, rest) = rest.split_first_chunk::<32>()?;
        let (magic, fields) = header.split_first_chunk::<7>()?;
        let (version, fields) = fields.split_first()?;
        let (serial, fields) = fields.split_first_chunk()?;
        let length = u32::from_le_bytes(*fields.first_chunk()?);
        let body = rest.get(..usize::try_from(length).ok()?)?;
        let is_whole = *magic == MAGIC && checksum(header, body) == *found;
        is_whole.then(|| (*version, u64::from_le_bytes(*serial), body))
    };
    match whole() {
        Some((version, ..)) if version != VERSION => Err(SlotError::Version { version }),
        Some((_, serial, body)) if slot_offset(serial) == offset => Ok(Some((serial, body))),
        _ => Ok(None),
    }
}

fn checksum(header: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(header)
        .chain_update(body)
        .finalize()
        .into()
}

/// A slot file that can't be read or written.
#[derive(Debug)]
pub enum SlotError {
    /// No slot holds a whole record.
    Damaged,
    /// A call failed.
    Io {
        /// What was done: a verb.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Not the size of a slot file.
    Length,
    /// A body that fits no slot.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A record of another version of pam_totp.
    Version {
        /// Its version.
        version: u8,
    },
}

impl SlotError {
    fn reading(error: io::Error) -> Self {
        Self::Io {
            doing: "read",
            error,
        }
    }

    fn writing(error: io::Error) -> Self {
        Self::Io {
            doing: "save",
            error,
        }
    }
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => write!(f, "both slots are damaged, at offsets 0 and {SLOT}"),
            Self::Io { doing, error } => write!(f, "cannot {doing} it: {error}"),
            Self::Length => write!(f, "its size is not {FILE_BYTES} bytes"),
            Self::TooLong { length } => write!(f, "a record of {length} bytes fits no slot"),
            Self::Version { version } => write!(
                f,
                "its format version is {version}, but this pam_totp knows version {VERSION} only"
            ),
        }
    }
}

impl std::error::Error for SlotError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> CheckedFile {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.into()
    }

    fn bytes(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// A file with the records "old" and "new!", the newest in the second slot.
    fn sample() -> CheckedFile {
        let file = file(&new_file(b"old").unwrap());
        save(&file, &read(&file).unwrap(), b"new!").unwrap();
        file
    }

    /// Miri, which takes a thousand times as long, looks at one place of so many.
    const STRIDE: usize = if cfg!(miri) { 509 } else { 1 };

    #[test]
    fn saves_alternate_between_the_slots() {
        let file = file(&new_file(b"0").unwrap());
        for serial in 0..5_u64 {
            let record = read(&file).unwrap();
            assert_eq!(
                record,
                Record {
                    serial,
                    body: serial.to_string().into_bytes()
                }
            );
            save(&file, &record, (serial + 1).to_string().as_bytes()).unwrap();
        }
        assert_eq!(bytes(&file).len(), FILE_BYTES);
    }

    #[test]
    fn t35_a_save_torn_at_any_byte_leaves_the_record_before_it_or_itself() {
        let file = sample();
        let mut torn = bytes(&file);
        save(&file, &read(&file).unwrap(), b"newest").unwrap();
        let new = bytes(&file);
        for cut in (0..=SLOT).step_by(STRIDE) {
            torn[..cut].copy_from_slice(&new[..cut]);
            let found = newest(&torn).unwrap().body;
            assert!(found == b"new!" || found == b"newest", "cut at {cut}");
        }
    }

    #[test]
    fn a_bit_flipped_in_one_slot_leaves_the_other() {
        let mut flipped = bytes(&sample());
        for bit in (0..FILE_BYTES * 8).step_by(STRIDE) {
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected: &[u8] = match bit / 8 {
                at if (SLOT..SLOT + BODY + 4).contains(&at) => b"old",
                _ => b"new!",
            };
            assert_eq!(newest(&flipped).unwrap().body, expected, "bit {bit}");
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn damage_in_both_slots_is_told() {
        let mut damaged = bytes(&sample());
        damaged[9] ^= 1;
        damaged[SLOT + 9] ^= 1;
        assert!(matches!(read(&file(&damaged)), Err(SlotError::Damaged)));
        assert!(matches!(newest(&[0; FILE_BYTES]), Err(SlotError::Damaged)));
    }

    #[test]
    fn a_record_in_the_wrong_slot_is_none() {
        let whole = bytes(&sample());
        let swapped = [&whole[SLOT..], &whole[..SLOT]].concat();
        assert!(matches!(newest(&swapped), Err(SlotError::Damaged)));
        let twice = [&whole[SLOT..], &whole[SLOT..]].concat();
        assert_eq!(newest(&twice).unwrap().serial, 1);
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let whole = bytes(&sample());
        for length in [0, 1, SLOT, FILE_BYTES - 1] {
            let error = read(&file(&whole[..length])).unwrap_err();
            assert!(matches!(error, SlotError::Length), "{error}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(matches!(read(&file(&longer)), Err(SlotError::Length)));
    }

    #[test]
    fn a_newer_version_is_refused_and_kept() {
        let mut slot = Vec::from(MAGIC);
        slot.push(VERSION + 1);
        slot.extend_from_slice(&[0; HEADER - 8]);
        let sum = checksum(&slot, b"");
        slot.extend_from_slice(&sum);
        let mut newer = bytes(&sample());
        newer[..BODY].copy_from_slice(&slot);
        let error = newest(&newer).unwrap_err();
        assert!(
            matches!(error, SlotError::Version { version: 3 }),
            "{error}"
        );
    }

    #[test]
    fn what_is_torn_is_read_three_times_and_else_once() {
        let reads = |torn: usize| {
            let mut times = 0;
            let found = unless_torn(|| {
                times += 1;
                match times > torn {
                    true => Ok(()),
                    false => Err(SlotError::Damaged),
                }
            });
            (times, found.is_ok())
        };
        assert_eq!(
            [0, 1, 2, 3].map(reads),
            [(1, true), (2, true), (3, true), (3, false)]
        );
    }

    #[test]
    fn the_longest_body_fits_and_a_longer_one_is_refused() {
        assert_eq!(MAX_BODY, totp_core::record::State::MAX_BYTES);
        let file = sample();
        let record = read(&file).unwrap();
        save(&file, &record, &[7; MAX_BODY]).unwrap();
        assert_eq!(read(&file).unwrap().body, [7; MAX_BODY]);
        let error = save(&file, &record, &[7; MAX_BODY + 1]).unwrap_err();
        assert!(matches!(error, SlotError::TooLong { .. }));
    }

    #[test]
    fn the_last_serial_is_never_passed() {
        let file = sample();
        let last = Record {
            serial: u64::MAX,
            body: Vec::new(),
        };
        assert!(matches!(save(&file, &last, b""), Err(SlotError::Damaged)));
    }
}
