//! Where a file system is mounted.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The command that lets the file system be written again that a file or folder is on.
pub(crate) fn remount(path: &Path) -> String {
    let point = point(path).ok().flatten();
    format!(
        "mount -o remount,rw {}",
        word(&point.unwrap_or_else(|| path.to_owned()))
    )
}

/// The folder on which that is mounted which a file or folder is on; the device alone does not tell it, which is that of all
/// bind mounts of it.
fn point(path: &Path) -> io::Result<Option<PathBuf>> {
    let file = File::open(path)?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let mut ids = about
        .lines()
        .filter_map(|line| line.strip_prefix("mnt_id:"));
    let id = ids.next().unwrap_or_default().trim();
    Ok(point_of(id, &fs::read("/proc/self/mountinfo")?))
}

/// The fifth word of the line that begins with an id (proc(5)).
fn point_of(id: &str, mounts: &[u8]) -> Option<PathBuf> {
    let mut lines = mounts
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b' '));
    let mut line = lines.find(|line| line.clone().next() == Some(id.as_bytes()))?;
    Some(PathBuf::from(OsString::from_vec(unescaped(line.nth(4)?))))
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut pieces = word.split(|byte| *byte == b'\\');
    let mut text = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let digits = piece.split_at_checked(3).and_then(|(digits, rest)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, rest))
        });
        match digits {
            Some((byte, rest)) => {
                text.push(byte);
                text.extend_from_slice(rest);
            }
            None => text.extend_from_slice(piece),
        }
    }
    text
}

/// A path as a shell takes it.
fn word(path: &Path) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@:,".contains(byte);
    let text = path.display().to_string();
    match path.as_os_str().as_bytes().iter().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_id_and_pasted_as_it_is() {
        let mounts = b"36 35 98:0 / /var/lib rw - ext4 /dev/sda1 rw\n\
                       360 35 98:0 / /mnt/a\\040b\\134c's ro - ext4 /dev/sdb1 ro\n";
        for (id, expected) in [
            ("36", Some("/var/lib")),
            ("360", Some(r"'/mnt/a b\c'\''s'")),
            ("3", None),
            ("", None),
        ] {
            let found = point_of(id, mounts).map(|point| word(&point));
            assert_eq!(found.as_deref(), expected, "{id}");
        }
        assert_eq!(
            point(Path::new("/proc/self")).unwrap().unwrap(),
            Path::new("/proc")
        );
    }
}
