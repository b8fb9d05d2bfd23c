//! An ssh key as ssh-keygen makes and names it, for logins without sshd.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::output;

/// A key, and what sshd tells PAM of a login that has shown it.
pub struct SshKey {
    /// As totpctl takes it.
    pub fingerprint: String,
    /// A line of SSH_AUTH_INFO_0.
    pub proof: String,
}

impl SshKey {
    /// A new one, in files that begin with `path`.
    pub fn new(path: &Path) -> Self {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
        let made = output(make, b"");
        assert!(made.status.success(), "{made:?}");
        let public = path.with_extension("pub");
        let mut show = Command::new("ssh-keygen");
        show.arg("-lf").arg(&public);
        let shown = String::from_utf8(output(show, b"").stdout).expect("text");
        let public = fs::read_to_string(public).expect("a public key");
        let [kind, blob, ..] = public.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{public}")
        };
        Self {
            fingerprint: fingerprint(&shown),
            proof: format!("publickey {kind} {blob}\n"),
        }
    }
}

/// The fingerprint in a line of `ssh-keygen -l`.
pub fn fingerprint(shown: &str) -> String {
    let word = shown.split(' ').nth(1);
    word.unwrap_or_else(|| panic!("{shown:?}")).to_owned()
}
