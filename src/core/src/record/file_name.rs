//! The file name of an account's records.

use crate::key_uri::{percent_decode, percent_encode};

/// The name of `account`'s files: letters, digits, `.`, `_` and `-` stand for themselves, every other
/// byte and a leading dot are percent-encoded. Two accounts never share a name, no name leaves its
/// folder, and names with a leading dot stay free for files that are nobody's.
///
/// `None` where the account's name is empty or the file's would exceed 255 bytes.
#[must_use]
pub fn file_name(account: &str) -> Option<String> {
    let name = match account.strip_prefix('.') {
        Some(rest) => format!("%2E{}", percent_encode(rest, b"._-")),
        None => percent_encode(account, b"._-"),
    };
    (1..=255).contains(&name.len()).then_some(name)
}

/// The account whose files have that name; `None` where no account's have.
#[must_use]
pub fn account_of(file: &str) -> Option<String> {
    let account = percent_decode(file)?.to_string();
    (file_name(&account).as_deref() == Some(file)).then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t30_names_never_leave_their_folder() {
        for (account, name) in [
            ("alice", "alice"),
            ("Alice.B_c-d", "Alice.B_c-d"),
            ("../x", "%2E.%2Fx"),
            ("..", "%2E."),
            (".", "%2E"),
            ("a/b", "a%2Fb"),
            ("%2Froot", "%252Froot"),
            ("a b\n\0", "a%20b%0A%00"),
            ("ÄD\\bob", "%C3%84D%5Cbob"),
        ] {
            assert_eq!(file_name(account).as_deref(), Some(name), "{account}");
            assert_eq!(account_of(name).as_deref(), Some(account));
        }
        for name in ["", ".new-1", "%61lice", "%2e", "a%2fb", "a%", "%FF"] {
            assert_eq!(account_of(name), None, "{name}");
        }
        assert_eq!(file_name(""), None);
        assert_eq!(file_name(&"x".repeat(255)).map(|n| n.len()), Some(255));
        assert_eq!(file_name(&"x".repeat(256)), None);
        assert_eq!(file_name(&"/".repeat(86)), None);
    }

    proptest! {
        #[test]
        fn t30_two_accounts_never_share_a_file(a in "[./%a-c2EFef]{1,6}", b in "[./%a-c2EFef]{1,6}") {
            prop_assert_eq!(a == b, file_name(&a) == file_name(&b));
        }
    }
}
