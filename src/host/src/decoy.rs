//! What people are judged by who are not enrolled or don't exist.
//!
//! They are asked, counted down, locked and refused like everybody, at the same cost: by one of
//! [`FILES`] states that are read, locked, judged and saved like a real one. A keyed hash of the name
//! picks the file and is mixed into the addresses, so that nobody outside can tell who shares one. Half of such an
//! address is the same for all names, so that root can forgive the address. They have a secret file too, which is opened
//! and read where an enrolled person's would be. Enrollment makes the files: where nobody ever enrolled there is nobody
//! to tell strangers from, and they are asked and denied without a count.

use sha2::{Digest, Sha256};
use totp_core::address::Address;
use totp_core::device::{Device, DeviceId};
use totp_core::doors::Entropy;
use totp_core::otp::Step;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::throttle::Source;
use totp_core::time::Time;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::file::{CheckedFile, Fault, FileError, Others};
use crate::folder::Folder;
use crate::slot;
use crate::store::read_enrollment;
use crate::system::SystemEntropy;

/// How many files the strangers share.
const FILES: u64 = 64;

/// What strangers have for a secret file.
pub(crate) const SECRET_NAME: &str = ".decoy";

/// The half of a masked address that is the same for all names.
const OF_ADDRESS: u64 = 0xffff_ffff;

const KEY_NAME: &str = ".decoy-key";
const KEY_BYTES: usize = 32;

/// Makes the key and all the files that are missing or damaged.
pub(crate) fn make_all(secrets: &Folder, folder: &Folder, now: Time) -> Result<(), StoreError> {
    let secret = || Ok(enrollment().to_toml());
    put_where_needed(secrets, SECRET_NAME, secret, |_| true)?;
    make_states(folder, now)?;
    // Last: where there is a key, there is a state for everybody.
    let new_key = || {
        let key = SystemEntropy.random(KEY_BYTES);
        key.map_err(StoreError::Entropy)
    };
    let is_whole = |_: &CheckedFile| matches!(key(folder), Ok(Some(_)));
    put_where_needed(folder, KEY_NAME, new_key, is_whole)
}

/// Refuses secrets among which the strangers' is not, though they have their states: somebody enrolled, and what lies there now
/// is another folder, such as an empty one below a disk that isn't mounted. Nobody is not enrolled by that.
///
/// # Errors
/// [`Fault::Emptied`], or where it can't be told.
pub(crate) fn check_is_kept<E: From<FileError>>(
    secrets: &Folder,
    states: impl FnOnce() -> Result<Folder, E>,
) -> Result<(), E> {
    let kept = secrets.check_file(SECRET_NAME, Others::None);
    // Nobody waits for the states where all is in order: the unenrolled would take longer than others.
    if kept.is_err_and(|error| error.is_missing()) && key(&states()?)?.is_some() {
        return Err(secrets.error(Fault::Emptied).into());
    }
    Ok(())
}

/// Makes the states alone that are missing or damaged.
pub(crate) fn make_states(folder: &Folder, now: Time) -> Result<(), StoreError> {
    for name in files() {
        let state = || new_state(folder, &name, now);
        put_where_needed(folder, &name, state, |file| slot::read(file).is_ok())?;
    }
    Ok(())
}

/// Several may do this at the same moment, and what one of them has made may have counted wrong answers since: a missing
/// file is made once, and only one that is there and no good is replaced.
fn put_where_needed<B: AsRef<[u8]>>(
    folder: &Folder,
    name: &str,
    new: impl Fn() -> Result<B, StoreError>,
    is_good: impl Fn(&CheckedFile) -> bool,
) -> Result<(), StoreError> {
    match folder.open_file(name, Others::None, false) {
        Ok(file) if is_good(&file) => {}
        Err(error) if error.is_missing() => folder.create(name, new()?.as_ref())?,
        _ => folder.replace(name, new()?.as_ref())?,
    }
    Ok(())
}

fn new_state(
    folder: &Folder,
    name: &str,
    now: Time,
) -> Result<impl AsRef<[u8]> + use<>, StoreError> {
    let file = slot::new_file(&fresh(now).encode());
    file.map_err(|error| StoreError::slot(folder.path_of(name), error))
}

/// Replaces all states: nobody has been wrong.
pub(crate) fn forgive(folder: &Folder, now: Time) -> Result<(), StoreError> {
    if key(folder)?.is_none() {
        return Ok(());
    }
    for name in files() {
        folder.replace(&name, new_state(folder, &name, now)?.as_ref())?;
    }
    Ok(())
}

/// Tells of the places in the states whether they are at an address, whoever's they are; `None` where nobody ever
/// enrolled.
pub(crate) fn places_at(
    folder: &Folder,
    address: &Address,
) -> Result<Option<impl Fn(&Address) -> bool>, FileError> {
    let Some(key) = key(folder)? else {
        return Ok(None);
    };
    let there = hash_of_address(&key, &address.to_string());
    Ok(Some(move |place: &Address| match place {
        Address::Masked(hash) => hash & OF_ADDRESS == there,
        _ => false,
    }))
}

/// The file of a stranger, and what the stranger's answers are counted by there; `None` where nobody ever
/// enrolled.
pub(crate) fn seat_of(
    folder: &Folder,
    name: &str,
    source: &Source,
) -> Result<Option<(String, Source)>, FileError> {
    let Some(key) = key(folder)? else {
        return Ok(None);
    };
    let number = hash(&key, &[name.as_bytes()]) % FILES;
    let hash_of = |address: &str| hash(&key, &[name.as_bytes(), b"\0", address.as_bytes()]);
    let address = source.address.to_string();
    let of_name = hash_of(&address) & !OF_ADDRESS;
    let source = Source {
        address: Address::Masked(of_name | hash_of_address(&key, &address)),
        elsewhere: Address::Masked(hash_of(&source.elsewhere.to_string())),
        ..*source
    };
    Ok(Some((decoy_file(number), source)))
}

/// What strangers are compared with.
pub(crate) fn enrollment() -> Enrollment {
    Enrollment {
        devices: vec![Device::decoy()],
        ..Enrollment::new(0)
    }
}

/// The same, at the cost of reading an enrolled person's.
pub(crate) fn enrollment_like_any(secrets: &Folder) -> Enrollment {
    let read = read_enrollment(secrets, SECRET_NAME);
    read.ok().flatten().unwrap_or_else(enrollment)
}

/// Every step of its device is used up: it is compared like any other and accepts nothing.
fn fresh(now: Time) -> State {
    let mut device = DeviceState::new(DeviceId::DECOY, Some(Step(u64::MAX)));
    device.floor_reported = true;
    let mut state = State::new(now);
    state.devices.push(device);
    state
}

/// The names of all their states.
pub(crate) fn files() -> impl Iterator<Item = String> {
    (0..FILES).map(decoy_file)
}

fn decoy_file(number: u64) -> String {
    format!(".decoy-{number:02}")
}

fn hash_of_address(key: &[u8], address: &str) -> u64 {
    hash(key, &[b"\0", address.as_bytes()]) & OF_ADDRESS
}

fn hash(key: &[u8], parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new().chain_update(key);
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// The key of the hashes, where there is a whole one.
fn key(folder: &Folder) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    match folder.read(KEY_NAME, Others::None, KEY_BYTES) {
        Err(error) if error.is_missing() => Ok(None),
        key => Ok(Some(key?).filter(|key| key.len() == KEY_BYTES)),
    }
}
