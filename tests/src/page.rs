//! The manual pages, as a person reads them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::product;

/// One page.
pub struct Page {
    /// Its file.
    pub path: PathBuf,
    /// What mandoc shows of it, on lines that hardly ever end early.
    lines: Vec<String>,
    source: String,
}

/// An entry of a list: what it is about, and all that is said.
#[derive(Debug)]
pub struct Entry {
    /// Such as `--device NAME`.
    pub tag: String,
    /// The tag and what follows it.
    pub text: String,
}

impl Page {
    /// The file `name`.
    pub fn named(name: &str) -> Self {
        let path = folder().join(name);
        let shown = Command::new("mandoc")
            .args(["-Tascii", "-Owidth=500"])
            .arg(&path)
            .output()
            .expect("mandoc");
        assert!(shown.status.success(), "{shown:?}");
        let shown = String::from_utf8(shown.stdout).expect("ASCII");
        Self {
            lines: shown.lines().map(plain).collect(),
            source: fs::read_to_string(&path).expect("text"),
            path,
        }
    }

    /// All pages.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir(folder()).expect("the pages");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| Self::named(name.to_str().expect("a plain name")))
            .collect()
    }

    /// The headings, as they stand.
    pub fn headings(&self) -> impl Iterator<Item = &str> {
        let headings = self.lines.iter().filter(|line| is_heading(line));
        headings.map(|line| line.trim())
    }

    /// All that is said below a heading and above the next one.
    #[track_caller]
    pub fn below(&self, heading: &str) -> Vec<&str> {
        let mut lines = self.lines.iter().map(String::as_str);
        let found = lines.find(|line| is_heading(line) && line.trim() == heading);
        assert!(found.is_some(), "{:?} has no {heading:?}", self.path);
        lines.take_while(|line| !is_heading(line)).collect()
    }

    /// The entries of the lists below a heading.
    #[track_caller]
    pub fn entries(&self, heading: &str) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for line in self.below(heading) {
            let text = line.trim();
            match (indent(line), entries.last_mut()) {
                (0, _) => {}
                (INDENT, _) => entries.push(Entry {
                    tag: text.split("  ").next().unwrap_or(text).to_owned(),
                    text: text.to_owned(),
                }),
                (_, Some(entry)) => entry.text += &format!(" {text}"),
                (_, None) => {}
            }
        }
        entries
    }

    /// The blocks that are set apart to be pasted, word for word.
    pub fn examples(&self) -> Vec<String> {
        let blocks = self.source.split(".Bd -literal -offset indent\n").skip(1);
        let blocks = blocks.map(|block| block.split(".Ed").next().expect("a block").to_owned());
        let blocks: Vec<_> = blocks.collect();
        assert!(blocks.iter().all(|block| !block.contains('\\')));
        blocks
    }
}

/// A line without the characters that are struck over by others, for bold and underlined ones.
fn plain(line: &str) -> String {
    let mut text = String::new();
    for character in line.chars() {
        match character {
            '\u{8}' => drop(text.pop()),
            other => text.push(other),
        }
    }
    text
}

fn is_heading(line: &str) -> bool {
    indent(line) < INDENT && !line.is_empty()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn folder() -> PathBuf {
    product::workspace().join("man")
}

/// Of the text of a page; headings have less.
const INDENT: usize = 5;
