//! What people are judged by who are not enrolled or don't exist.
//!
//! They are asked, counted down, locked and refused like everybody, at the same cost: by one of
//! [`FILES`] states that are read, locked, judged and saved like a real one. A keyed hash of the name
//! picks the file and is mixed into the address, so that nobody outside can tell who shares one.

use sha2::{Digest, Sha256};
use totp_core::address::Address;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::Entropy;
use totp_core::otp::{Step, Totp};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::secret::Secret;
use totp_core::time::Time;

use crate::file::{Folder, Others, Sync};
use crate::slot;
use crate::store::StoreError;
use crate::system::SystemEntropy;

/// How many files the strangers share.
const FILES: u64 = 64;

const DEVICE: DeviceId = DeviceId(0);

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

/// One device, so that a stranger's answer costs what others cost.
pub(crate) fn enrollment() -> Result<Enrollment, StoreError> {
    let secret = Secret::from_bytes(vec![0; Secret::NEW_BYTES].into());
    Ok(Enrollment {
        uid: 0,
        devices: vec![Device {
            id: DEVICE,
            name: DeviceName::parse("decoy").ok_or(StoreError::Ended)?,
            totp: Totp::default(),
            secret: secret.map_err(|_| StoreError::Ended)?,
            enrolled: Time::from_unix(0),
        }],
    })
}

/// Makes a file, where it is missing.
pub(crate) fn make(folder: &Folder, name: &str, now: Time) -> Result<(), StoreError> {
    // Every step of its device is used up: it is compared like any other and accepts nothing.
    let mut device = DeviceState::new(DEVICE, Some(Step(u64::MAX)));
    device.floor_reported = true;
    let mut state = State::new(now);
    state.devices.push(device);
    Ok(folder.create(name, &slot::new_file(&state.encode())?, Sync::Later)?)
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
