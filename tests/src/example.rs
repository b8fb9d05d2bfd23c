//! The stacks that the project ships in pam.d-examples.

use std::fs;
use std::path::PathBuf;

use crate::product;

/// One shipped file, taken as it stands.
pub struct Example {
    /// All of it.
    pub stack: String,
}

impl Example {
    /// The file `name`.
    pub fn named(name: &str) -> Self {
        let path = folder().join(name);
        let stack =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { stack }
    }

    /// The names of all files.
    pub fn names() -> Vec<String> {
        let entries = fs::read_dir(folder()).expect("the examples");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a plain name")
            })
            .collect()
    }

    /// The service that its first line says it is for, whatever the file is called.
    pub fn service(&self) -> &str {
        let first = self.stack.strip_prefix("# /etc/pam.d/");
        let first = first.expect("the path of a stack");
        let end = first.find([':', ' ']).expect("what it does");
        &first[..end]
    }

    /// The indented lines of its comment that follow the paragraph starting with `heading`.
    pub fn lines_below(&self, heading: &str) -> String {
        let opening = format!("# {heading}");
        let paragraph = self
            .stack
            .lines()
            .skip_while(|line| !line.starts_with(&opening));
        let below = paragraph
            .map(|line| line.strip_prefix("#     "))
            .skip_while(Option::is_none);
        let lines: String = below
            .map_while(|line| line)
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(
            !lines.is_empty(),
            "the example says nothing about {heading:?}"
        );
        lines
    }
}

fn folder() -> PathBuf {
    product::workspace().join("pam.d-examples")
}
