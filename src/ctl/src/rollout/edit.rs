//! The line of the module in the stack of a service: put in, and taken out again.

use std::collections::BTreeMap;
use std::ops::Range;

use similar::{DiffTag, TextDiff};

/// The stack with the module in it: behind the password, or instead of it where a key has been shown before.
///
/// # Errors
/// Why it can't be put in.
pub(super) fn with_module(text: &str, service: &str, after_key: bool) -> Result<String, String> {
    let lines = lines_of(text);
    if names_module(text) {
        return Err("pam_totp is in it already".to_owned());
    }
    if lines.iter().any(|line| line.trim_end().ends_with('\\')) {
        return Err("it has lines that go on in the next one".to_owned());
    }
    let is_password = |line: &&str| is_password(line);
    let found = lines.iter().rposition(is_password).and_then(|password| {
        let (before, rest) = lines.split_at_checked(password)?;
        let (password, behind) = rest.split_first()?;
        Some((before.concat(), *password, behind.concat()))
    });
    let (before, password, behind) =
        found.ok_or("no line of it asks for the password, as far as this can tell")?;
    let arguments = match service {
        // sudo keeps the messages of modules to itself.
        "sudo" | "sudo-i" => " no_info",
        _ => "",
    };
    let ours = format!("auth       required     pam_totp.so{arguments}");
    // A file may end without one.
    let line = password.strip_suffix('\n').unwrap_or(password);
    let instead = match (after_key, included(line)) {
        (true, _) => vec![
            format!("#{line}"),
            // Without the next line the one behind it denies, whoever takes it out and for whatever reason.
            "auth       [success=1 ignore=1 default=die] pam_totp.so".to_owned(),
            "auth       requisite    pam_deny.so".to_owned(),
            // A stack in which everybody abstains denies.
            "auth       required     pam_permit.so".to_owned(),
        ],
        // A substack: nobody learns which of the two was wrong, and nothing in it skips the code.
        (false, Some(name)) => vec![format!("auth       substack     {name}"), ours],
        (false, None) => vec![line.to_owned(), ours],
    };
    let instead = instead.join("\n");
    Ok(format!("{before}{instead}\n{behind}"))
}

/// Whether a line that is no comment loads the module.
fn names_module(text: &str) -> bool {
    text.lines()
        .any(|line| !line.trim_start().starts_with('#') && line.contains("pam_totp.so"))
}

/// What somebody has made of the new text, without what made it new. `None` where they have edited that.
pub(super) fn taken_out<'a>(old: Option<&'a str>, new: &str, found: &'a str) -> Option<String> {
    let Some(old) = old else {
        // A file of ours: each line is, wherever it stands now.
        let ours: Vec<&str> = new.lines().collect();
        let theirs = found.split_inclusive('\n');
        return Some(
            theirs
                .filter(|line| !ours.contains(&line.trim_end()))
                .collect(),
        );
    };
    let (old_lines, new_lines) = (lines_of(old), lines_of(new));
    let mut lines = lines_of(found);
    // Who had to get in in a hurry has made comments of our lines.
    let uncommented = |lines: &[&'a str]| -> Vec<&'a str> {
        let ours = |line: &&'a str| {
            let bare = line.trim_start_matches(['#', ' ']);
            match new_lines.contains(line) || !new_lines.contains(&bare) {
                true => *line,
                false => bare,
            }
        };
        lines.iter().map(ours).collect()
    };
    let found_lines = uncommented(&lines);
    let edited = TextDiff::from_slices(&new_lines, &found_lines);
    let mut kept = BTreeMap::new();
    for operation in edited
        .ops()
        .iter()
        .filter(|one| one.tag() == DiffTag::Equal)
    {
        kept.extend(operation.old_range().zip(operation.new_range()));
    }
    let (before, ours) = changed(&old_lines, &new_lines);
    let places: Vec<usize> = ours
        .clone()
        .filter_map(|line| kept.get(&line).copied())
        .collect();
    if let Some(first) = places.first() {
        let end = first.checked_add(ours.len())?;
        if places == (*first..end).collect::<Vec<_>>() {
            lines.splice(*first..end, old_lines.get(before)?.iter().copied());
        } else if !is_free_of(new_lines.get(ours)?, &uncommented(&old_lines), &found_lines) {
            return None;
        }
    }
    let text = lines.concat();
    (!names_module(&text)).then_some(text)
}

/// Whether all old lines are there, and none of ours but where an old one looks like it.
fn is_free_of(ours: &[&str], old: &[&str], found: &[&str]) -> bool {
    let times = |line: &&str, lines: &[&str]| lines.iter().filter(|other| *other == line).count();
    let mut rest = found.iter();
    old.iter().all(|line| rest.any(|other| other == line))
        && ours
            .iter()
            .all(|line| times(line, found) <= times(line, old))
}

/// The lines that the new text has and the old one has not.
pub(super) fn ours(old: Option<&str>, new: &str) -> Vec<String> {
    let (old, new) = (lines_of(old.unwrap_or_default()), lines_of(new));
    let (_, ours) = changed(&old, &new);
    let lines = new.get(ours).unwrap_or_default().iter();
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The lines that went, and those that came in their place. They are one piece of the text, which no general comparison
/// may tell: where a line looks like one of ours it finds another way from the old text to the new.
fn changed(old: &[&str], new: &[&str]) -> (Range<usize>, Range<usize>) {
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let pairs = old.iter().skip(before).rev();
    let pairs = pairs.zip(new.iter().skip(before).rev());
    let behind = pairs.take_while(|(a, b)| a == b).count();
    let end = |lines: &[&str]| lines.len().saturating_sub(behind);
    (before..end(old), before..end(new))
}

/// Lines as libpam ends them, by newlines alone.
fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Whether a line asks for the password.
fn is_password(line: &str) -> bool {
    let words: Vec<&str> = words(line).collect();
    match words.as_slice() {
        [
            "@include",
            "common-auth" | "system-auth" | "password-auth",
            ..,
        ] => true,
        ["auth" | "-auth", rest @ ..] => rest.iter().any(|word| {
            let name = word.rsplit('/').next().unwrap_or(word);
            matches!(
                name,
                "pam_unix.so"
                    | "pam_sss.so"
                    | "pam_ldap.so"
                    | "common-auth"
                    | "system-auth"
                    | "password-auth"
            )
        }),
        _ => false,
    }
}

/// The stack that a line includes.
fn included(line: &str) -> Option<&str> {
    let mut words = words(line);
    match (words.next()?, words.next()?, words.next()) {
        ("@include", name, _) => Some(name),
        ("auth" | "-auth", "include" | "substack", Some(name)) => Some(name),
        _ => None,
    }
}

/// The words of a line, up to a comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let bare = line.split('#').next().unwrap_or_default();
    bare.split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_asked_for_behind_the_password() {
        for (text, service, after_key, expected) in [
            (
                "# sshd\n@include common-auth\naccount required pam_nologin.so\n",
                "sshd",
                false,
                "# sshd\nauth       substack     common-auth\nauth       required     pam_totp.so\n\
                 account required pam_nologin.so\n",
            ),
            (
                "@include common-auth\n@include common-account\n",
                "sudo",
                false,
                "auth       substack     common-auth\nauth       required     pam_totp.so no_info\n\
                 @include common-account\n",
            ),
            (
                "auth sufficient pam_rootok.so\nauth required pam_unix.so nullok\nsession optional pam_unix.so\n",
                "su",
                false,
                "auth sufficient pam_rootok.so\nauth required pam_unix.so nullok\n\
                 auth       required     pam_totp.so\nsession optional pam_unix.so\n",
            ),
            (
                "@include common-auth\n",
                "sshd",
                true,
                "#@include common-auth\nauth       [success=1 ignore=1 default=die] pam_totp.so\n\
                 auth       requisite    pam_deny.so\nauth       required     pam_permit.so\n",
            ),
            // Comments name nothing, and what others have written stays to the byte.
            (
                "# su\r\n@include common-auth # by debconf\nauth optional pam_cap.so # after pam_unix.so\r\n# end",
                "su",
                false,
                "# su\r\nauth       substack     common-auth\nauth       required     pam_totp.so\n\
                 auth optional pam_cap.so # after pam_unix.so\r\n# end",
            ),
        ] {
            assert_eq!(
                with_module(text, service, after_key).as_deref(),
                Ok(expected)
            );
        }
        for (text, reason) in [
            ("auth required pam_totp.so\n", "already"),
            ("account required pam_unix.so\n", "no line of it"),
            ("# auth required pam_unix.so\n", "no line of it"),
            ("auth required \\\n pam_unix.so\n", "go on"),
            ("auth required pam_unix.so \\ \n nullok\n", "go on"),
        ] {
            let error = with_module(text, "sshd", false).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
    #[test]
    fn our_lines_are_taken_out_and_others_stay() {
        let old = "# sshd\n@include common-auth\naccount required pam_nologin.so\n";
        let new = with_module(old, "sshd", false).unwrap();
        let key = with_module(old, "sshd", true).unwrap();
        let mine = "auth required pam_faildelay.so\n";
        for (new, found, expected) in [
            (&new, new.clone(), Some(old.to_owned())),
            (
                &new,
                format!("{mine}{new}# end\n"),
                Some(format!("{mine}{old}# end\n")),
            ),
            (&key, format!("{mine}{key}"), Some(format!("{mine}{old}"))),
            (&new, format!("{mine}{old}"), Some(format!("{mine}{old}"))),
            (
                &key,
                key.replace("auth       [", "#auth       ["),
                Some(old.to_owned()),
            ),
            (&new, new.replace("pam_totp.so", "pam_totp.so nullok"), None),
            (
                &new,
                new.replace("auth       required", &format!("{mine}auth       required")),
                None,
            ),
        ] {
            assert_eq!(taken_out(Some(old), new, &found), expected, "{found}");
        }
        let settings = "# ours\nUsePAM yes\n";
        for (found, expected) in [
            (settings, ""),
            ("UsePAM yes\nMaxAuthTries 3\n", "MaxAuthTries 3\n"),
            ("# ours\nUsePAM no\n", "UsePAM no\n"),
        ] {
            assert_eq!(taken_out(None, settings, found).as_deref(), Some(expected));
        }
        let ours = ours(Some(old), &new);
        assert_eq!(
            ours,
            [
                "auth       substack     common-auth",
                "auth       required     pam_totp.so"
            ]
        );
    }

    /// Whose revert was interrupted runs it again.
    #[test]
    fn what_is_out_already_is_left_alone() {
        let (line, mine) = ("@include common-auth\n", "auth required pam_env.so\n");
        let old = format!("{line}#{line}account required pam_nologin.so\n");
        let new = with_module(&old, "sshd", true).unwrap();
        let left = format!("{line}#{line}{mine}account required pam_nologin.so\n");
        assert_eq!(taken_out(Some(&old), &new, &left).as_ref(), Some(&left));
        // As what ours replaced is, but for a blank.
        let old = "@include others\n auth       substack     common-auth\n";
        let again = format!("{mine}{old}");
        let replaced = with_module(old, "sshd", false).unwrap();
        assert_eq!(taken_out(Some(old), &replaced, &again), Some(again));
        // Not where a part of ours is left that denies, or the password is missing.
        let deny = "auth       requisite    pam_deny.so\n";
        for found in [format!("{deny}{left}"), left.replacen(line, deny, 1)] {
            assert_eq!(taken_out(Some(old), &new, &found), None, "{found}");
        }
    }

    #[test]
    fn the_password_comes_back_where_other_lines_look_like_it() {
        let (line, mine) = ("@include common-auth\n", "auth required pam_env.so\n");
        for old in [
            format!("{line}#{line}"),
            line.repeat(2),
            format!("{line}\r{line}"),
        ] {
            let new = with_module(&old, "sshd", true).unwrap();
            for (found, expected) in [
                (new.clone(), old.clone()),
                (format!("{mine}{new}"), format!("{mine}{old}")),
            ] {
                let left = taken_out(Some(&old), &new, &found);
                assert_eq!(left.as_ref(), Some(&expected), "{found}");
            }
        }
    }
}
