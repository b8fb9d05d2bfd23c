//! What people are judged by who are not enrolled or don't exist.
//!
//! They are asked, counted down, locked and refused like everybody, at the same cost: by one of
//! [`FILES`] states that are read, locked, judged and saved like a real one. A keyed hash of the name
//! picks the file and is mixed into the address, so that nobody outside can tell who shares one.

use sha2::{Digest, Sha256};
use totp_core::address::Address;
use totp_core::device::DeviceId;
use totp_core::doors::Entropy;
use totp_core::otp::Step;
use totp_core::record::State;
use totp_core::record::state::DeviceState;
use totp_core::time::Time;

use crate::error::StoreError;
use crate::file::Others;
use crate::folder::{Folder, Sync};
use crate::slot;
use crate::system::SystemEntropy;

/// How many files the strangers share.
const FILES: u64 = 64;

/// Makes all the files that are missing, so that no login has to.
pub(crate) fn make_all(folder: &Folder, now: Time) -> Result<(), StoreError> {
    key(folder)?;
    (0..FILES).try_for_each(|number| make(folder, &file_name(number), now))
}

/// The file of a stranger, and the address that the stranger's answers are counted by there.
pub(crate) fn seat_of(
    folder: &Folder,
    name: &str,
    address: &Address,
) -> Result<(String, Address), StoreError> {
    let key = key(folder)?;
    let address = address.to_string();
    let number = hash(&key, &[name.as_bytes()]) % FILES;
    let address = hash(&key, &[name.as_bytes(), b"\0", address.as_bytes()]);
    Ok((file_name(number), Address::Masked(address)))
}

/// Makes a file, where it is missing.
pub(crate) fn make(folder: &Folder, name: &str, now: Time) -> Result<(), StoreError> {
    // Every step of its device is used up: it is compared like any other and accepts nothing.
    let mut device = DeviceState::new(DeviceId::DECOY, Some(Step(u64::MAX)));
    device.floor_reported = true;
    let mut state = State::new(now);
    state.devices.push(device);
    let file = slot::new_file(&state.encode());
    let file = file.map_err(|error| StoreError::slot(folder.path_of(name), error))?;
    Ok(folder.create(name, &file, Sync::Later)?)
}

fn file_name(number: u64) -> String {
    format!(".decoy-{number:02}")
}

fn hash(key: &[u8], parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new().chain_update(key);
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// The key of the hashes, made where it is missing.
fn key(folder: &Folder) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
    const NAME: &str = ".decoy-key";
    const BYTES: usize = 32;
    let read = || folder.read(NAME, Others::None, BYTES);
    match read() {
        Err(error) if error.is_missing() => {
            let key = SystemEntropy.random(BYTES).map_err(StoreError::Entropy)?;
            folder.create(NAME, &key, Sync::Later)?;
            Ok(read()?)
        }
        key => Ok(key?),
    }
}
