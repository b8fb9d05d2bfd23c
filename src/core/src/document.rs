//! TOML documents, read key by key. Whatever nobody asks for is a mistake, and so is what is asked for
//! and of another kind.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of a document, from which keys are taken one by one.
pub(crate) struct Section<'i> {
    text: &'i str,
    at: Range<usize>,
    table: DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'i> Section<'i> {
    /// Reads a whole document.
    pub(crate) fn parse(text: &'i str) -> Result<Self, Mistake> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self::new(text, table.span(), table.into_inner())),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                Err(Mistake::new(
                    text,
                    &at,
                    Reason::Syntax(error.message().replace('\n', ", ")),
                ))
            }
        }
    }

    fn new(text: &'i str, at: Range<usize>, table: DeTable<'i>) -> Self {
        Self {
            text,
            at,
            table,
            asked: Vec::new(),
        }
    }

    /// The string of `key` as `read` understands it; `None` where the key is not set.
    pub(crate) fn string<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Mistake> {
        self.read(key, expected, |value| value.as_str().and_then(read))
    }

    /// The whole number of `key` as `read` understands it; `None` where the key is not set.
    pub(crate) fn number<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(i64) -> Option<T>,
    ) -> Result<Option<T>, Mistake> {
        self.read(key, expected, |value| {
            let integer = value.as_integer()?;
            read(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?)
        })
    }

    /// The table of `key`, empty where the key is not set.
    pub(crate) fn section(&mut self, key: &'static str) -> Result<Section<'i>, Mistake> {
        match self.take(key) {
            None => Ok(Self::new(self.text, self.at.clone(), DeTable::new())),
            Some(value) => self.as_section(value),
        }
    }

    /// The tables of `key`, an array of tables; none where the key is not set.
    pub(crate) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'i>>, Mistake> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let at = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            return Err(self.mistake(&at, Reason::Expected("expected an array of tables")));
        };
        array
            .into_iter()
            .map(|value| self.as_section(value))
            .collect()
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(mut self) -> Result<(), Mistake> {
        match self.table.keys().min_by_key(|key| key.span().start) {
            None => Ok(()),
            Some(key) => {
                let (key, at) = (key.get_ref().to_string(), key.span());
                let known = std::mem::take(&mut self.asked);
                Err(self.mistake(&at, Reason::Unknown { key, known }))
            }
        }
    }

    /// A mistake of this table as a whole: a key that has to be there is not.
    pub(crate) fn missing(&self, key: &'static str) -> Mistake {
        self.mistake(&self.at, Reason::Missing(key))
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Result<Option<T>, Mistake> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match read(value.get_ref()) {
            Some(value) => Ok(Some(value)),
            None => Err(self.mistake(&value.span(), Reason::Expected(expected))),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.remove(key)
    }

    fn as_section(&self, value: Spanned<DeValue<'i>>) -> Result<Section<'i>, Mistake> {
        let at = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self::new(self.text, at, table)),
            _ => Err(self.mistake(&at, Reason::Expected("expected a table"))),
        }
    }

    fn mistake(&self, at: &Range<usize>, reason: Reason) -> Mistake {
        Mistake::new(self.text, at, reason)
    }
}

/// A mistake in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What it is.
    pub reason: Reason,
}

/// What is wrong at a place of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Something else was expected.
    Expected(&'static str),
    /// A key that has to be there is not.
    Missing(&'static str),
    /// No TOML, as its parser says.
    Syntax(String),
    /// A key that nobody knows.
    Unknown {
        /// The key.
        key: String,
        /// Those that are known there.
        known: Vec<&'static str>,
    },
}

impl Mistake {
    fn new(text: &str, at: &Range<usize>, reason: Reason) -> Self {
        let before = text.get(..at.start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let column = before.get(line_start..).unwrap_or("").chars().count();
        Self {
            line: before.matches('\n').count().saturating_add(1),
            column: column.saturating_add(1),
            reason,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match &self.reason {
            Reason::Expected(expected) => f.write_str(expected),
            Reason::Missing(key) => write!(f, "{key} is missing"),
            Reason::Syntax(message) => f.write_str(message),
            Reason::Unknown { key, known } => {
                write!(
                    f,
                    "unknown key {key:?}, expected one of {}",
                    known.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for Mistake {}
