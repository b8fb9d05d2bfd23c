//! The line of the module in the stack of a service.

/// The stack with the module in it: behind the password, or instead of it where a key has been shown before.
///
/// # Errors
/// Why it can't be put in.
pub(super) fn with_module(text: &str, service: &str, after_key: bool) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_comment = |line: &str| line.trim_start().starts_with('#');
    if lines
        .iter()
        .any(|line| !is_comment(line) && line.contains("pam_totp.so"))
    {
        return Err("pam_totp is in it already".to_owned());
    }
    // A jump counts lines, and a `sufficient` ends the stack: what comes of another line is for a person to say.
    let is_tricky = |line: &&str| {
        let is_auth = line
            .trim_start()
            .trim_start_matches('-')
            .starts_with("auth");
        let is_password = is_password(line);
        let jumps = line.contains("[");
        is_auth && (jumps || (is_password && line.contains("sufficient")) || line.ends_with('\\'))
    };
    if lines.iter().any(is_tricky) {
        return Err(
            "it has jumps or a sufficient password: edit it by hand, after the examples in pam.d-examples"
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
            (
                "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n",
                "jumps",
            ),
            (
                "auth sufficient pam_unix.so\nauth required pam_deny.so\n",
                "sufficient",
            ),
        ] {
            let error = with_module(text, "sshd", false).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
