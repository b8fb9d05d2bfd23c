//! The keys that sshd knows of somebody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Tree;
use super::people::Person;
use super::sshd::Settings;

/// Whether sshd knows a key of somebody's.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Keys {
    /// In this file is one.
    In(PathBuf),
    /// In none of these, with commas between them, is one.
    None(String),
    /// Whoever else may know keys, or vouch for them, is not asked from here.
    Untold,
}

impl Keys {
    /// Those of a person, for whom sshd has these settings.
    pub(super) fn of(settings: &Settings, tree: &Tree<'_>, person: &Person) -> Self {
        let Some(home) = &person.home else {
            return Self::Untold;
        };
        let mut places = Vec::new();
        for pattern in settings.value("authorizedkeysfile").split_whitespace() {
            let Some(place) = key_file(pattern, person, home) else {
                return Self::Untold;
            };
            match fs::read(tree.path(&place)) {
                Ok(text) if has_key(&text) => return Self::In(place),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Self::Untold,
                _ => places.push(place.display().to_string()),
            }
        }
        let is_none = |key| ["", "none"].contains(&settings.value(key));
        match is_none("authorizedkeyscommand") && is_none("trustedusercakeys") {
            true => Self::None(places.join(", ")),
            false => Self::Untold,
        }
    }
}

/// What sshd_config(5) makes of a pattern of AuthorizedKeysFile, of those tokens that it had for ever.
fn key_file(pattern: &str, person: &Person, home: &Path) -> Option<PathBuf> {
    let mut path = String::new();
    let mut pieces = pattern.split('%');
    path.push_str(pieces.next()?);
    while let Some(piece) = pieces.next() {
        let Some(token) = piece.chars().next() else {
            // `%%`
            path.push('%');
            path.push_str(pieces.next()?);
            continue;
        };
        match token {
            'h' => path.push_str(home.to_str()?),
            'u' => path.push_str(&person.account.name),
            'U' => path.push_str(&person.account.uid.to_string()),
            _ => return None,
        }
        path.push_str(piece.strip_prefix(token)?);
    }
    Some(home.join(path))
}

fn has_key(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.any(|line| !line.is_empty() && !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use totp_core::doors::Account;

    use super::*;

    #[test]
    fn keys_are_looked_for_where_sshd_looks() {
        let person = Person::of_a_directory(Account {
            name: "al".to_owned(),
            uid: 7,
        });
        for (pattern, expected) in [
            (".ssh/authorized_keys", Some("/h/.ssh/authorized_keys")),
            ("/k/%u-%U", Some("/k/al-7")),
            ("%h/100%%/%%u", Some("/h/100%/%u")),
            ("/k/%C", None),
            ("/k/%", None),
        ] {
            let found = key_file(pattern, &person, Path::new("/h"));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{pattern}");
        }
        assert!(has_key(b"# one\n\n ssh-ed25519 AAAA\n"));
        assert!(!has_key(b"# ssh-ed25519 AAAA\n\n"));
    }
}
