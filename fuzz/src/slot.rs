//! Slot files: what is read was saved whole, whatever else lies beside it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};
use totp_host::file::{CheckedFile, Others};
use totp_host::folder::Folder;
use totp_host::slot::{FILE_BYTES, MAX_BODY, Record, SlotError, new_file, read, save};

use super::table::Place;

const SLOT: usize = FILE_BYTES / 2;
const NAME: &str = "slots";

/// Where a save is torn, in two bytes, and what is in the file: as it is; as the beginnings of the two slots; and as
/// those with magic and checksums put right.
pub fn slot(bytes: &[u8]) {
    let Some((cut, file)) = bytes.split_first_chunk() else {
        return;
    };
    let cut = usize::from(u16::from_le_bytes(*cut)) % (SLOT + 1);
    let place = Place::new();
    holds(&place.folder, file, cut, file);
    let (first, second) = file.split_at(file.len() / 2);
    let mut slots = [first, second].map(|bytes| {
        let mut slot = bytes.to_vec();
        slot.resize(SLOT, 0);
        slot
    });
    holds(&place.folder, &slots.concat(), cut, first);
    slots.iter_mut().for_each(|slot| put_right(slot));
    holds(&place.folder, &slots.concat(), cut, second);

    if let Ok(file) = new_file(file) {
        let found = read(&opened(&place.folder, &file)).expect("a new record");
        assert_eq!(found.serial, 0);
        assert!(file[BODY..].starts_with(&found.body));
    }
}

/// What is read has a checksum that fits, and is older than nothing that has one. After a save it is the new record;
/// torn, the save leaves one of the two.
fn holds(folder: &Folder, bytes: &[u8], cut: usize, next: &[u8]) {
    let file = opened(folder, bytes);
    let record = match read(&file) {
        Ok(record) => record,
        Err(SlotError::Length) => return assert_ne!(bytes.len(), FILE_BYTES),
        Err(SlotError::Damaged) => return assert!(whole_slots(bytes).is_empty()),
        Err(SlotError::Version { version }) => {
            let mut versions = whole_slots(bytes).into_iter().map(|(version, _)| version);
            return assert!(version != VERSION && versions.any(|one| one == version));
        }
        Err(error) => panic!("{error}"),
    };
    let whole = whole_slots(bytes);
    assert!(whole.contains(&(VERSION, record.clone())));
    assert!(
        whole
            .iter()
            .all(|(version, one)| *version == VERSION && one.serial <= record.serial)
    );

    match save(&file, &record, next) {
        Ok(()) => {}
        Err(SlotError::TooLong { length }) => return assert!(length > MAX_BODY),
        Err(SlotError::Damaged) => return assert_eq!(record.serial, u64::MAX),
        Err(error) => panic!("{error}"),
    }
    let saved = Record {
        serial: record.serial + 1,
        body: next.to_vec(),
    };
    assert_eq!(read(&file).ok().as_ref(), Some(&saved));
    let after = contents(&file);
    let mut torn = bytes.to_vec();
    for (torn, after) in torn.chunks_mut(SLOT).zip(after.chunks(SLOT)) {
        torn[..cut].copy_from_slice(&after[..cut]);
    }
    let left = read(&opened(folder, &torn)).expect("a record");
    assert!(left == record || left == saved, "torn at {cut}");
}

const MAGIC: &[u8] = b"PAMTOTP";
const VERSION: u8 = 2;
const SERIAL: usize = 8;
const LENGTH: usize = 16;
const SUM: usize = 24;
const BODY: usize = 56;

/// Version and record of each slot that a save may have left, as the head of src/host/src/slot.rs has it.
fn whole_slots(file: &[u8]) -> Vec<(u8, Record)> {
    let whole = |(place, slot): (u64, &[u8])| {
        let serial = u64::from_le_bytes(slot.get(SERIAL..LENGTH)?.try_into().ok()?);
        let sum = sum_of(slot)?;
        let (version, body) = (slot[MAGIC.len()], slot[BODY..][..length_of(slot)].to_vec());
        let is_in_its_place = version != VERSION || serial % 2 == place;
        let is_whole = slot.starts_with(MAGIC) && slot[SUM..BODY] == sum && is_in_its_place;
        is_whole.then_some((version, Record { serial, body }))
    };
    (0..).zip(file.chunks(SLOT)).filter_map(whole).collect()
}

fn sum_of(slot: &[u8]) -> Option<[u8; 32]> {
    let body = slot.get(BODY..)?.get(..length_of(slot))?;
    let sum = Sha256::new().chain_update(&slot[..SUM]).chain_update(body);
    Some(sum.finalize().into())
}

fn length_of(slot: &[u8]) -> usize {
    slot[LENGTH..]
        .first_chunk()
        .map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

fn put_right(slot: &mut [u8]) {
    slot[..MAGIC.len()].copy_from_slice(MAGIC);
    slot[MAGIC.len()] = slot[MAGIC.len()].max(VERSION);
    if let Some(sum) = sum_of(slot) {
        slot[SUM..BODY].copy_from_slice(&sum);
    }
}

fn opened(folder: &Folder, bytes: &[u8]) -> CheckedFile {
    folder.replace(NAME, bytes).expect("our own folder");
    folder
        .open_file(NAME, Others::None, true)
        .expect("our own file")
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    file.read_exact_at(&mut bytes, 0).expect("a slot file");
    bytes
}
