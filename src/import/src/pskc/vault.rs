//! Encrypted values, RFC 6030 section 6: AES in CBC mode under a key that was agreed on or is derived from a pass phrase,
//! with a MAC over the whole ciphertext that is checked before anything is decrypted.

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use base64ct::{Base64, Encoding};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use totp_core::otp::Algorithm;
use zeroize::Zeroizing;

use super::xml::Element;
use crate::Key;
use crate::report::{Fault, Lock};

/// A second's work; makers use thousands.
const MAX_ITERATIONS: u32 = 1_000_000;

/// What opens the values of a container.
pub(super) struct Vault {
    /// `None` where nothing is encrypted.
    key: Option<Zeroizing<Vec<u8>>>,
    mac: Option<(Algorithm, Zeroizing<Vec<u8>>)>,
}

impl Vault {
    /// That of a container, with the key that its maker has told.
    pub(super) fn open(container: &Element, key: Option<&Key>) -> Result<Self, Fault> {
        let Some(encryption) = container.child("EncryptionKey") else {
            return Ok(Self {
                key: None,
                mac: None,
            });
        };
        let key = encryption_key(encryption, key)?;
        let mac = match container.child("MACMethod") {
            Some(method) => Some(mac_key(method, &key)?),
            None => None,
        };
        Ok(Self {
            key: Some(key),
            mac,
        })
    }

    /// What an `EncryptedValue` holds.
    pub(super) fn value(
        &self,
        encrypted: &Element,
        mac: Option<&str>,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let key = self.key.as_ref().ok_or(Fault::Missing("EncryptionKey"))?;
        let (algorithm, mac_key) = self.mac.as_ref().ok_or(Fault::Unauthenticated)?;
        let mac = from_base64(mac.ok_or(Fault::Unauthenticated)?).ok_or(Fault::WrongMac)?;
        let cipher = Ciphertext::of(encrypted)?;
        if !cipher.has_mac(*algorithm, mac_key, &mac) {
            return Err(Fault::WrongMac);
        }
        cipher.decrypt(key)
    }
}

fn encryption_key(encryption: &Element, key: Option<&Key>) -> Result<Zeroizing<Vec<u8>>, Fault> {
    if let Some(derived) = encryption.child("DerivedKey") {
        return match key {
            Some(Key::PassPhrase(phrase)) => derive(derived, phrase),
            _ => Err(Fault::Locked(Lock::PassPhrase)),
        };
    }
    if encryption.child("KeyName").is_none() {
        return Err(Fault::Algorithm(
            "a pre-shared key or one derived from a pass phrase",
        ));
    }
    match key {
        Some(Key::PreShared(key)) => Ok(key.clone()),
        _ => Err(Fault::Locked(Lock::PreShared)),
    }
}

/// PBKDF2 of PKCS #5.
fn derive(derived: &Element, phrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let method = derived.child("KeyDerivationMethod");
    let method = method.ok_or(Fault::Missing("KeyDerivationMethod"))?;
    let name = method.attribute("Algorithm").unwrap_or("");
    if name.rsplit('#').next() != Some("pbkdf2") {
        return Err(Fault::Algorithm("PBKDF2"));
    }
    let parameters = method
        .child("PBKDF2-params")
        .ok_or(Fault::Missing("PBKDF2-params"))?;
    let salt = parameters
        .child("Salt")
        .and_then(|salt| salt.text_of("Specified"));
    let salt = salt.and_then(from_base64).ok_or(Fault::Form {
        name: "Salt",
        expected: "base64",
    })?;
    let number = |name| parameters.text_of(name)?.parse::<u32>().ok();
    let iterations = number("IterationCount").filter(|count| *count >= 1);
    let iterations = iterations.ok_or(Fault::Form {
        name: "IterationCount",
        expected: "a whole number from 1",
    })?;
    if iterations > MAX_ITERATIONS {
        let max = MAX_ITERATIONS;
        return Err(Fault::Iterations { max });
    }
    let length = number("KeyLength").filter(|length| [16, 24, 32].contains(length));
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or(Fault::Form {
        name: "KeyLength",
        expected: "16, 24 or 32",
    })?;
    let prf = parameters
        .child("PRF")
        .and_then(|prf| prf.attribute("Algorithm"));
    let mut key = Zeroizing::new(vec![0; length]);
    match prf.map_or(Some(Algorithm::Sha1), hmac_named) {
        Some(Algorithm::Sha1) => {
            pbkdf2::pbkdf2_hmac::<Sha1>(phrase, &salt, iterations, &mut key);
        }
        Some(Algorithm::Sha256) => {
            pbkdf2::pbkdf2_hmac::<Sha256>(phrase, &salt, iterations, &mut key);
        }
        Some(Algorithm::Sha512) => {
            pbkdf2::pbkdf2_hmac::<Sha512>(phrase, &salt, iterations, &mut key);
        }
        None => return Err(Fault::Algorithm("PBKDF2 with HMAC-SHA1, 256 or 512")),
    }
    Ok(key)
}

/// The hash of `…#hmac-sha256` or `…hmacWithSHA256`.
fn hmac_named(name: &str) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase();
    let hash = name.rsplit_once("hmac-").or(name.rsplit_once("hmacwith"));
    Algorithm::named(hash?.1)
}

/// The key of the MACs; that of the encryption where there is none.
fn mac_key(
    method: &Element,
    key: &Zeroizing<Vec<u8>>,
) -> Result<(Algorithm, Zeroizing<Vec<u8>>), Fault> {
    let algorithm = method.attribute("Algorithm").and_then(hmac_named);
    let algorithm = algorithm.ok_or(Fault::Algorithm("a MAC of HMAC-SHA1, 256 or 512"))?;
    let mac_key = match method.child("MACKey") {
        Some(element) => Ciphertext::of(element)?.decrypt(key)?,
        None => key.clone(),
    };
    Ok((algorithm, mac_key))
}

/// What XML Encryption makes of a value: the initialization vector and the blocks behind it.
struct Ciphertext {
    key_length: usize,
    bytes: Vec<u8>,
}

impl Ciphertext {
    fn of(element: &Element) -> Result<Self, Fault> {
        let method = element.child("EncryptionMethod");
        let name = method.and_then(|method| method.attribute("Algorithm"));
        let key_length = match name.and_then(|name| name.rsplit('#').next()) {
            Some("aes128-cbc") => 16,
            Some("aes192-cbc") => 24,
            Some("aes256-cbc") => 32,
            _ => return Err(Fault::Algorithm("AES-CBC with 128, 192 or 256 bits")),
        };
        let data = element.child("CipherData");
        let text = data.and_then(|data| data.text_of("CipherValue"));
        let bytes = text.and_then(from_base64).ok_or(Fault::Form {
            name: "CipherValue",
            expected: "base64",
        })?;
        let bytes = bytes.to_vec();
        Ok(Self { key_length, bytes })
    }

    fn has_mac(&self, algorithm: Algorithm, key: &[u8], mac: &[u8]) -> bool {
        fn is_right<M: Mac + KeyInit>(key: &[u8], bytes: &[u8], mac: &[u8]) -> bool {
            // HMAC takes keys of any length.
            <M as KeyInit>::new_from_slice(key)
                .is_ok_and(|hmac| hmac.chain_update(bytes).verify_slice(mac).is_ok())
        }
        match algorithm {
            Algorithm::Sha1 => is_right::<Hmac<Sha1>>(key, &self.bytes, mac),
            Algorithm::Sha256 => is_right::<Hmac<Sha256>>(key, &self.bytes, mac),
            Algorithm::Sha512 => is_right::<Hmac<Sha512>>(key, &self.bytes, mac),
        }
    }

    fn decrypt(&self, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let plain = match self.key_length {
            16 => self.blocks::<Aes128>(key),
            24 => self.blocks::<Aes192>(key),
            _ => self.blocks::<Aes256>(key),
        };
        plain.ok_or(Fault::WrongMac)
    }

    /// The last byte tells how many were added (XML Encryption section 5.2); what the others are is open.
    fn blocks<C: BlockCipherDecrypt + KeyInit>(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>>
    where
        cbc::Decryptor<C>: KeyIvInit + BlockModeDecrypt,
    {
        let (iv, blocks) = self.bytes.split_at_checked(16)?;
        let mut plain = Zeroizing::new(blocks.to_vec());
        let decryptor = <cbc::Decryptor<C> as KeyIvInit>::new_from_slices(key, iv).ok()?;
        decryptor.decrypt_padded::<NoPadding>(&mut plain).ok()?;
        let added = usize::from(*plain.last()?);
        let length = plain.len().checked_sub(added)?;
        if !(1..=16).contains(&added) {
            return None;
        }
        plain.truncate(length);
        Some(plain)
    }
}

/// Base64 with line breaks.
pub(super) fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let symbols: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
    Base64::decode_vec(&symbols).ok().map(Zeroizing::new)
}
