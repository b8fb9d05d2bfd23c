//! SSH public keys, as sshd names them to PAM and as people name them to totpctl.

use std::fmt;

use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};

/// The SHA-256 fingerprint of a public key, as `ssh-keygen -l` prints it: of a certificate, that of the key in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// What is expected where one is read.
    pub const EXPECTED: &str =
        "expected a key's fingerprint as ssh-keygen -l prints it: SHA256: and 43 symbols";
    const PREFIX: &str = "SHA256:";

    /// Reads the one spelling that a fingerprint has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digest = Base64Unpadded::decode(text.strip_prefix(Self::PREFIX)?, &mut bytes).ok()?;
        let print = Self(digest.first_chunk().copied()?);
        (print.to_string() == text).then_some(print)
    }

    /// The keys that a login has proven to have: `SSH_AUTH_INFO_0` of the PAM environment has a line for each method
    /// that has succeeded, with the whole key where it was a key.
    #[must_use]
    pub fn of_login(auth_info: &str) -> Vec<Self> {
        let keys = auth_info.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let method = words.next().filter(|method| *method == "publickey");
            let blob = method.and_then(|_| words.nth(1))?;
            Some(Self::of_blob(&Base64::decode_vec(blob).ok()?))
        });
        keys.collect()
    }

    /// That of a key in its wire format (RFC 4253, section 6.6).
    fn of_blob(blob: &[u8]) -> Self {
        let key = key_of_certificate(blob);
        Self(Sha256::digest(key.as_deref().unwrap_or(blob)).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 43];
        let text = Base64Unpadded::encode(&self.0, &mut text).map_err(|_| fmt::Error)?;
        write!(f, "{}{text}", Self::PREFIX)
    }
}

/// The key in a certificate (OpenSSH's PROTOCOL.certkeys): after the type and a nonce come the key's own fields.
fn key_of_certificate(blob: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = string(blob)?;
    let kind = std::str::from_utf8(kind).ok()?;
    let (own_kind, fields) = match kind.strip_suffix("-cert-v01@openssh.com")? {
        "ssh-ed25519" => ("ssh-ed25519", 1),
        "ssh-rsa" => ("ssh-rsa", 2),
        "ecdsa-sha2-nistp256" => ("ecdsa-sha2-nistp256", 2),
        "ecdsa-sha2-nistp384" => ("ecdsa-sha2-nistp384", 2),
        "ecdsa-sha2-nistp521" => ("ecdsa-sha2-nistp521", 2),
        "sk-ssh-ed25519" => ("sk-ssh-ed25519@openssh.com", 2),
        "sk-ecdsa-sha2-nistp256" => ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
        "ssh-dss" => ("ssh-dss", 4),
        _ => return None,
    };
    let (_nonce, mut rest) = string(rest)?;
    let mut key = Vec::with_capacity(blob.len());
    append(&mut key, own_kind.as_bytes())?;
    for _ in 0..fields {
        let (field, behind) = string(rest)?;
        append(&mut key, field)?;
        rest = behind;
    }
    Some(key)
}

/// A string of the wire format (RFC 4251, section 5), and what is behind it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn append(bytes: &mut Vec<u8>, string: &[u8]) -> Option<()> {
    bytes.extend(u32::try_from(string.len()).ok()?.to_be_bytes());
    bytes.extend(string);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn wire(strings: &[&str]) -> Vec<u8> {
        let mut blob = Vec::new();
        for string in strings {
            append(&mut blob, string.as_bytes()).unwrap();
        }
        blob
    }

    fn line(method: &str, blob: &[u8]) -> String {
        format!("{method} some-type {}\n", Base64::encode_string(blob))
    }

    #[test]
    fn a_fingerprint_has_one_spelling() {
        let print = Fingerprint(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(print.to_string(), OWN);
        assert_eq!(Fingerprint::parse(OWN), Some(print));
        for text in [
            "",
            "SHA256:",
            &OWN.to_lowercase(),
            &OWN[7..],
            &format!("{OWN}="),
            &format!("{OWN}A"),
            &OWN[..OWN.len() - 1],
            &OWN.replace("Hh8", "Hh9"),
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_keys_that_have_succeeded_count() {
        let (one, two) = (wire(&["ssh-ed25519", "one"]), wire(&["ssh-rsa", "e", "n"]));
        let info = format!(
            "password\n{}keyboard-interactive/pam\n{}{}publickey\npublickey ssh-rsa\npublickey ssh-rsa !\n\n",
            line("publickey", &one),
            line("hostbased", &wire(&["ssh-ed25519", "of the host"])),
            line("publickey", &two),
        );
        let expected = [&one, &two].map(|blob| Fingerprint(Sha256::digest(blob).into()));
        assert_eq!(Fingerprint::of_login(&info), expected);
        assert_eq!(Fingerprint::of_login(""), []);
    }

    #[test]
    fn a_certificate_counts_as_the_key_in_it() {
        for (kind, own, fields) in [
            ("ssh-ed25519", "ssh-ed25519", 1),
            ("ssh-rsa", "ssh-rsa", 2),
            ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", 2),
            ("sk-ssh-ed25519", "sk-ssh-ed25519@openssh.com", 2),
            (
                "sk-ecdsa-sha2-nistp256",
                "sk-ecdsa-sha2-nistp256@openssh.com",
                3,
            ),
        ] {
            let fields = &["field 1", "field 2", "field 3"][..fields];
            let certified = format!("{kind}-cert-v01@openssh.com");
            let certificate = [&[&*certified, "nonce"], fields, &["serial", "and more"]].concat();
            let plain = [&[own], fields].concat();
            assert_eq!(
                Fingerprint::of_blob(&wire(&certificate)),
                Fingerprint::of_blob(&wire(&plain)),
                "{kind}"
            );
        }
        // Cut off or of no known kind, it is taken whole and is nobody's key.
        let whole = wire(&["ssh-new-cert-v01@openssh.com", "nonce", "field"]);
        assert_eq!(
            Fingerprint::of_blob(&whole),
            Fingerprint(Sha256::digest(&whole).into())
        );
        let cut = &wire(&["ssh-ed25519-cert-v01@openssh.com", "nonce", "field"])[..50];
        assert_eq!(
            Fingerprint::of_blob(cut),
            Fingerprint(Sha256::digest(cut).into())
        );
    }
}
