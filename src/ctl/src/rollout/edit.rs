//! The line of the module in the stack of a service: put in, and taken out again.

use std::collections::BTreeMap;

use similar::{DiffTag, TextDiff};

/// The stack with the module in it: behind the password, or instead of it where a key has been shown before.
///
/// # Errors
/// Why it can't be put in.
pub(super) fn with_module(text: &str, service: &str, after_key: bool) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    if names_module(text) {
        return Err("pam_totp is in it already".to_owned());
    }
    if lines.iter().any(|line| line.ends_with('\\')) {
        return Err(
            "it has lines that go on in the next one: edit it by hand, after the examples in pam.d-examples"
                .to_owned(),
        );
    }
    let password = lines.iter().rposition(|line| is_password(line));
    let password = password.ok_or(
        "no line of it asks for the password, as far as this can tell: edit it by hand, after the examples in pam.d-examples",
    )?;
    let arguments = match service {
        // sudo keeps the messages of modules to itself.
        "sudo" | "sudo-i" => " no_info",
        _ => "",
    };
    let ours = format!("auth       required     pam_totp.so{arguments}");
    let mut new = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if index != password {
            new.push((*line).to_owned());
            continue;
        }
        match (after_key, included(line)) {
            (true, _) => {
                new.push(format!("#{line}"));
                // Without this line the next one denies, whoever takes it out and for whatever reason.
                new.push("auth       [success=1 ignore=1 default=die] pam_totp.so".to_owned());
                new.push("auth       requisite    pam_deny.so".to_owned());
                // A stack in which everybody abstains denies.
                new.push("auth       required     pam_permit.so".to_owned());
            }
            // A substack: nobody learns which of the two was wrong, and nothing in it skips the code.
            (false, Some(name)) => {
                new.push(format!("auth       substack     {name}"));
                new.push(ours.clone());
            }
            (false, None) => {
                new.push((*line).to_owned());
                new.push(ours.clone());
            }
        }
    }
    new.push(String::new());
    Ok(new.join("\n"))
}

/// Whether a line that is no comment loads the module.
fn names_module(text: &str) -> bool {
    text.lines()
        .any(|line| !line.trim_start().starts_with('#') && line.contains("pam_totp.so"))
}

/// What somebody has made of the new text, without what made it new. `None` where they have edited that.
pub(super) fn taken_out(old: Option<&str>, new: &str, found: &str) -> Option<String> {
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
    let new_lines: Vec<&str> = new.split_inclusive('\n').collect();
    let old_lines: Vec<&str> = old.split_inclusive('\n').collect();
    let mut lines: Vec<&str> = found.split_inclusive('\n').collect();
    // Who had to get in in a hurry has made comments of our lines.
    let uncommented = lines.iter().map(|line| {
        let bare = line.trim_start_matches(['#', ' ']);
        if new_lines.contains(&bare) {
            bare
        } else {
            line
        }
    });
    let uncommented: Vec<&str> = uncommented.collect();
    let edited = TextDiff::from_slices(&new_lines, &uncommented);
    let mut kept = BTreeMap::new();
    for operation in edited
        .ops()
        .iter()
        .filter(|one| one.tag() == DiffTag::Equal)
    {
        kept.extend(operation.old_range().zip(operation.new_range()));
    }
    // What takes the place of each line that goes.
    let mut instead = BTreeMap::new();
    for operation in changes(&TextDiff::from_lines(old, new)) {
        let range = operation.new_range();
        let places: Vec<usize> = range
            .clone()
            .filter_map(|line| kept.get(&line).copied())
            .collect();
        let Some((first, rest)) = places.split_first() else {
            continue;
        };
        let end = first.checked_add(range.len())?;
        if places != (*first..end).collect::<Vec<_>>() {
            return None;
        }
        instead.insert(*first, old_lines.get(operation.old_range())?.concat());
        instead.extend(rest.iter().map(|place| (*place, String::new())));
    }
    for (place, text) in &instead {
        *lines.get_mut(*place)? = text;
    }
    let text = lines.concat();
    (!names_module(&text)).then_some(text)
}

/// The lines that the new text has and the old one has not.
pub(super) fn ours(old: Option<&str>, new: &str) -> Vec<String> {
    let lines: Vec<&str> = new.lines().collect();
    changes(&TextDiff::from_lines(old.unwrap_or_default(), new))
        .filter_map(|operation| lines.get(operation.new_range()))
        .flatten()
        .map(|line| (*line).to_owned())
        .collect()
}

fn changes(diff: &TextDiff<'_, '_, str>) -> impl Iterator<Item = similar::DiffOp> {
    let ops = diff.ops().to_vec().into_iter();
    ops.filter(|operation| operation.tag() != DiffTag::Equal)
}

/// Whether a line asks for the password.
fn is_password(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["@include", "common-auth" | "system-auth" | "password-auth"] => true,
        [kind, rest @ ..] if kind.trim_start_matches('-') == "auth" => rest.iter().any(|word| {
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
    let mut words = line.split_whitespace();
    match (words.next()?, words.next()?, words.next()) {
        ("@include", name, None) => Some(name),
        ("auth" | "-auth", "include" | "substack", Some(name)) => Some(name),
        _ => None,
    }
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
        ] {
            assert_eq!(
                with_module(text, service, after_key).as_deref(),
                Ok(expected)
            );
        }
        for (text, reason) in [
            ("auth required pam_totp.so\n", "already"),
            ("account required pam_unix.so\n", "by hand"),
            ("# auth required pam_unix.so\n", "by hand"),
            ("auth required \\\n pam_unix.so\n", "by hand"),
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
}
