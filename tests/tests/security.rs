//! SECURITY.md names what there is: tests, files, cases, commands and targets of make, and an answer to each threat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::product::{totpctl, workspace};

/// The threats that no test is named after, since there is nothing that it could see.
const BY_CONSTRUCTION: [&str; 1] = ["T34"];
const THREATS: usize = 58;

#[test]
fn all_that_is_named_to_show_something_is_there() {
    let sources = Sources::all();
    let mut wrong = Vec::new();
    for row in rows().filter(|row| row.is_shown) {
        for group in row.last.split(';') {
            wrong.extend(
                sources
                    .missing_of(group)
                    .map(|it| format!("{}: {it}", row.first)),
            );
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn each_threat_has_its_answer_and_a_test_of_its_number() {
    let sources = Sources::all();
    let threats: Vec<Row> = rows().filter(|row| row.first.starts_with('T')).collect();
    let ids: Vec<&str> = threats.iter().map(|row| &*row.first).collect();
    let expected: Vec<String> = (1..=THREATS)
        .map(|number| format!("T{number:02}"))
        .collect();
    assert_eq!(ids, expected);
    for Row { first, last, .. } in &threats {
        let name = format!("{}_", first.to_lowercase());
        let has_test = sources.has_function(&name, None);
        assert_eq!(has_test, !BY_CONSTRUCTION.contains(&&**first), "{first}");
        assert_eq!(
            last.contains(&format!("`{name}")),
            has_test,
            "{first}: {last}"
        );
    }
}

#[test]
fn every_command_that_is_named_exists() {
    let makefile = text("Makefile");
    let verbs = totpctl_verbs();
    for name in [
        "SECURITY.md",
        "README.md",
        "MIGRATING.md",
        "ARCHITECTURE.md",
    ] {
        let document = text(name);
        for quoted in document.split('`').skip(1).step_by(2) {
            let mut words = quoted
                .split_whitespace()
                .skip_while(|word| word.contains('='));
            let command = words.next();
            let word = words.find(|word| !word.contains('=')).unwrap_or_default();
            let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let is_there = match command {
                Some("make") => word.is_empty() || makefile.contains(&format!("\n{word}:")),
                Some("totpctl") => word.is_empty() || verbs.iter().any(|verb| verb == word),
                _ => true,
            };
            assert!(is_there || word == "USER", "{name}: {quoted}");
        }
    }
}

/// A line of a table.
struct Row {
    first: String,
    last: String,
    /// Whether the last column tells what shows it.
    is_shown: bool,
}

fn rows() -> impl Iterator<Item = Row> {
    let document = text("SECURITY.md");
    let mut is_shown = false;
    let rows: Vec<Row> = document
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split(" | ")
                .collect();
            let (first, last) = (cells.first()?.to_string(), cells.last()?.to_string());
            if first == "#" {
                is_shown = last == "shown by";
                return None;
            }
            is_shown &= first.chars().any(|c| c.is_ascii_digit()) && cells.len() > 2;
            Some(Row {
                first,
                last,
                is_shown,
            })
        })
        .collect();
    assert!(rows.len() > THREATS);
    rows.into_iter()
}

/// The verbs that its help tells of.
fn totpctl_verbs() -> Vec<String> {
    let help = Command::new(totpctl())
        .arg("--help")
        .output()
        .expect("totpctl");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let verbs = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let verbs: Vec<String> = verbs.map(str::to_owned).collect();
    assert!(verbs.iter().any(|verb| verb == "enroll"), "{help}");
    verbs
}

/// All of the product's own text in Rust.
struct Sources(Vec<(PathBuf, String)>);

impl Sources {
    fn all() -> Self {
        let mut sources = Vec::new();
        for folder in ["src", "tests"] {
            gather(&workspace().join(folder), &mut sources);
        }
        Self(sources)
    }

    /// What is named in a part of a cell and isn't there: files, and functions of the files before them or of any.
    fn missing_of(&self, group: &str) -> impl Iterator<Item = String> {
        let is_within = group.contains(".rs`: `");
        let mut file = None;
        let mut missing = Vec::new();
        for name in group.split('`').skip(1).step_by(2) {
            let is_there = if name.ends_with(".rs") {
                file = file_of(name);
                file.is_some()
            } else if name.contains('/') {
                workspace().join(name).exists()
            } else if name.contains(' ') {
                true
            } else {
                self.has_function(
                    name.trim_end_matches('…'),
                    file.as_deref().filter(|_| is_within),
                )
            };
            if !is_there {
                missing.push(name.to_owned());
            }
        }
        missing.into_iter()
    }

    /// Whether there is a function of which the name begins so, or has this between two others.
    fn has_function(&self, name: &str, file: Option<&Path>) -> bool {
        let mut sources = self
            .0
            .iter()
            .filter(|(path, _)| file.is_none_or(|file| path == file));
        sources.any(|(_, text)| {
            let names = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split('(').next());
            let mut names = names.map(|own| format!("_{own}_"));
            let is_number = name.starts_with('t') && name.ends_with('_') && name.len() == 4;
            names.any(|own| match is_number {
                true => own.contains(&format!("_{name}")),
                false => own.starts_with(&format!("_{name}")),
            })
        })
    }
}

fn gather(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            sources.push((path, text));
        }
    }
}

/// Where no folder is, it is in that of the end-to-end tests.
fn file_of(name: &str) -> Option<PathBuf> {
    let folder = if name.contains('/') {
        ""
    } else {
        "tests/tests"
    };
    let path = workspace().join(folder).join(name);
    path.exists().then_some(path)
}

fn text(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).expect(name)
}
