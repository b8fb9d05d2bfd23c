//! What a rollout makes of a stack, and makes of it again.

#[path = "../../src/ctl/src/rollout/edit.rs"]
mod edit;

use self::edit::{ours, taken_out, with_module};
use super::text_of;

/// How and of which service, where somebody adds a line, the line, which a newline ends, and a stack: the module goes
/// into it behind the password, or in its place, and all else stays to the byte. Taken out again, the stack is what it
/// was, with what somebody has added.
pub fn stack(bytes: &[u8]) {
    let Some(([how, place], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let (mine, old) = text_of(rest).split_once('\n').unwrap_or_default();
    let after_key = how & 1 != 0;
    let service = ["sshd", "sudo"][usize::from(how >> 1 & 1)];
    let Ok(new) = with_module(old, service, after_key) else {
        return;
    };
    asks_for_a_code(old, &new, after_key);
    keeps_the_rest(old, &new);
    assert!(with_module(&new, service, after_key).is_err(), "twice");
    assert!(ours(Some(old), &new).concat().contains("pam_totp.so"));
    assert_eq!(taken_out(Some(old), &new, &new).as_deref(), Some(old));

    let is_like_ours =
        |line: &str| line.trim_start_matches(['#', ' ']) == mine.trim_start_matches(['#', ' ']);
    if mine.contains("pam_totp.so") || new.split('\n').chain(old.split('\n')).any(is_like_ours) {
        return;
    }
    let mine = format!("{mine}\n");
    let added = |to: &str| {
        let mut lines: Vec<&str> = to.split_inclusive('\n').collect();
        lines.insert(usize::from(*place) % lines.len(), &mine);
        lines.concat()
    };
    for found in [added(&new), added(old)] {
        let Some(left) = taken_out(Some(old), &new, &found) else {
            continue;
        };
        let lines = left.split_inclusive('\n');
        let theirs: Vec<&str> = lines.filter(|line| *line != mine).collect();
        assert_eq!(theirs.concat(), old);
        assert!(theirs.concat().len() < left.len(), "{mine:?} is gone");
        assert_eq!(taken_out(Some(old), &new, &left).as_ref(), Some(&left));
    }
}

/// libpam finds the module behind the last line that may ask for the password, or instead of it, and all others where
/// they were.
fn asks_for_a_code(old: &str, new: &str, after_key: bool) {
    let (old, new) = (entries(old), entries(new));
    let is_ours = |entry: &String| entry.contains("pam_totp.so");
    let at = new.iter().position(is_ours).expect("the module");
    let (before, behind) = if after_key { (0, 3) } else { (1, 1) };
    let (password, behind) = (at.checked_sub(before).expect("a password"), at + behind);
    assert!(asks_for_password(&old[password]), "{}", old[password]);
    assert!(
        !old[password + 1..]
            .iter()
            .any(|entry| asks_for_password(entry))
    );
    assert_eq!(old[..password], new[..password]);
    assert_eq!(old[password + 1..], new[behind..]);
    if !after_key {
        let words: Vec<&str> = old[password].split_whitespace().collect();
        match words.as_slice() {
            ["@include", name, ..] | [_, "include" | "substack", name, ..] => {
                assert_eq!(new[password], format!("auth       substack     {name}"));
            }
            _ => assert_eq!(old[password], new[password]),
        }
    }
}

fn asks_for_password(entry: &str) -> bool {
    const STACKS: [&str; 3] = ["common-auth", "system-auth", "password-auth"];
    const MODULES: [&str; 3] = ["pam_unix.so", "pam_sss.so", "pam_ldap.so"];
    let is_by = |word: &&str| {
        let name = word.rsplit('/').next().unwrap_or_default();
        STACKS.contains(&name) || MODULES.contains(&name)
    };
    let words: Vec<&str> = entry.split_whitespace().collect();
    match words.as_slice() {
        ["@include", name, ..] => STACKS.contains(name),
        ["auth" | "-auth", rest @ ..] => rest.iter().any(is_by),
        _ => false,
    }
}

/// The lines of a stack that libpam looks at, without comments and put together where they go on in the next one.
fn entries(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut begun = String::new();
    // By newlines alone, as libpam does.
    for line in text.split('\n') {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bare = line.split('#').next().unwrap_or_default();
        match bare.trim_end().strip_suffix('\\').filter(|_| bare == line) {
            Some(part) => begun.push_str(part),
            None => entries.push(std::mem::take(&mut begun) + bare),
        }
    }
    entries
}

/// All lines but the one that was changed are there to the byte.
fn keeps_the_rest(old: &str, new: &str) {
    let kept = |line: &&str| new.split_inclusive('\n').any(|kept| kept == *line);
    let changed: Vec<&str> = old
        .split_inclusive('\n')
        .filter(|line| !kept(line))
        .collect();
    assert!(changed.len() <= 1, "{changed:?}");
}
