use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{full, plain};

/// What is read plainly is read alike as all of TOML.
fn check(text: &str) -> Result<bool, TestCaseError> {
    let plain = plain::read(text);
    if let Some(tables) = &plain {
        let full = full::read(text);
        prop_assert_eq!(full.as_ref(), Ok(tables), "{}", text);
    }
    Ok(plain.is_some())
}

/// Pieces that documents are made of, and what is nearly one.
const PIECES: [&str; 56] = [
    "a",
    "b",
    "c-1",
    "_",
    "deny",
    "0",
    "7",
    "07",
    "42",
    "1_000",
    "-1",
    "+2",
    "1.5",
    "1e3",
    "0x1f",
    "true",
    "false",
    "truex",
    "inf",
    "2027-01-31",
    "07:32:00",
    "\"\"",
    "\"x\"",
    "\"x # y\"",
    "\"[a]\"",
    "'x'",
    "\"\\\"\"",
    "\"\\u0041\"",
    "\"\"\"x\"\"\"",
    "\"",
    "'",
    "\\",
    "=",
    " = ",
    "  =  ",
    ".",
    ",",
    ", ",
    "[",
    "]",
    "[[",
    "]]",
    "[\"a\", \"b\"]",
    "[\"a\",\"b\"]",
    "[]",
    "[1, 2]",
    "[\"a\", 1]",
    "{",
    "}",
    "{a = 1}",
    "#",
    "# comment",
    "\n",
    "\n",
    "\n\n",
    " ",
];

proptest! {
    #[test]
    fn plain_documents_are_read_like_all_others(pieces in vec(select(&PIECES[..]), 0..24)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn lines_of_plain_documents_too(lines in vec(line(), 0..12)) {
        check(&lines.join("\n"))?;
    }

    #[test]
    fn any_other_text_too(text in "[ -~\\n\\t\\r\u{7f}\u{e9}]{0,40}") {
        check(&text)?;
    }
}

/// Heads and keys of few names, so that they meet; seldom is one no plain line.
fn line() -> impl Strategy<Value = String> {
    let key = select(&["a", "b", "a.b", "b.a", "a.b.a", "c"][..]);
    let value = select(&["1", "true", "\"x\"", "[\"x\", \"y\"]", "'x'", "\"x\" # why"][..]);
    prop_oneof![
        key.clone().prop_map(|key| format!("[{key}]")),
        key.clone().prop_map(|key| format!("[[{key}]]")),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        Just("# said".to_owned()),
        Just(String::new()),
    ]
}

#[test]
fn what_is_plain_is_read_plainly() {
    for text in [
        "",
        "\n",
        "# only said",
        "a = 1",
        "a = \"\"\nb=[\"x\"]\n",
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1",
        "  a = true  # why\n[b.c]  # where\nd = 0\n\n[[e]]\na.b = 2\n[[e]]\n[e.f]",
    ] {
        assert!(check(text).unwrap(), "{text}");
    }
}

#[test]
fn all_else_is_left_to_the_parser() {
    for text in [
        "a = 1\r\n",
        "a\t= 1",
        "a = 1 2",
        "a = 01",
        "a = 1x",
        "a = 99999999999999999999",
        "a = ",
        "a = tru",
        "a",
        "= 1",
        "a. = 1",
        "'a' = 1",
        "a = 'x'",
        "a = \"x",
        "a = \"\\t\"",
        "a = \"\u{e9}\"",
        "a = [\"x\"",
        "a = [\"x\",\"y\"]",
        "a = []",
        "[a",
        "[a]]",
        "[[a]",
        "[a] b = 1",
        "[ a ]",
        "[]",
        // Mistakes are for it to tell.
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = 1\n[a]",
        "[[a]]\n[a]",
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1",
    ] {
        assert_eq!(plain::read(text), None, "{text}");
    }
}
