//! TOML documents, read key by key. Whatever nobody asks for is a mistake, and so is what is asked for
//! and of another kind.
//!
//! What is built of a text is a list of tables, all that our files need. (The `toml` crate takes 50 KB more in the module,
//! with serde 200 KB.)

mod builder;
mod full;
mod plain;

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use crate::network::Network;
use crate::time::Time;

/// A document of TOML.
pub(crate) struct Document<'i> {
    text: &'i str,
    /// The root first, and each before those that are in it.
    tables: Vec<Table<'i>>,
}

#[cfg_attr(test, derive(Debug, PartialEq))]
struct Table<'i> {
    name: Cow<'i, str>,
    /// The index of the table that it is in; the root is in none.
    parent: Option<usize>,
    written: Written,
    /// Where it is named first, maybe by one that is in it.
    named_at: usize,
    /// Where it begins.
    at: usize,
    entries: Vec<Entry<'i>>,
}

/// As many keys as most tables have: room that is made at once.
const USUAL_KEYS: usize = 10;

/// How a table came into the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    /// By the name of one that is in it: `a` of `[a.b]`.
    Implied,
    /// By itself: `[a]`, or the `a` of `a.b = 1`.
    Alone,
    /// As one of an array: `[[a]]`.
    Element,
}

#[cfg_attr(test, derive(Debug, PartialEq))]
struct Entry<'i> {
    key: Cow<'i, str>,
    key_at: usize,
    value: Value<'i>,
    value_at: usize,
}

#[cfg_attr(test, derive(Debug, PartialEq))]
enum Value<'i> {
    Boolean(bool),
    /// A date, a time or both, as it is written.
    Date(Cow<'i, str>),
    Integer(i64),
    /// Of a kind that none of our keys has.
    Other,
    String(Cow<'i, str>),
    /// An array of strings and nothing else.
    Strings(Vec<Cow<'i, str>>),
}

impl<'i> Document<'i> {
    const ROOT: usize = 0;

    /// Of arrays within each other, and of the parts of a key.
    const MAX_DEPTH: u32 = 16;

    /// Reads a whole document.
    pub(crate) fn parse(text: &'i str) -> Result<Self, Box<Mistake>> {
        let tables = match plain::read(text) {
            Some(tables) => tables,
            None => full::read(text)
                .map_err(|(at, said)| Mistake::new(text, at, Reason::Syntax(said)))?,
        };
        Ok(Self { text, tables })
    }

    /// The table that all others are in.
    pub(crate) fn root(&self) -> Section<'_> {
        Section::of(self, self.tables.first().map(|root| (Self::ROOT, root)))
    }
}

/// What a key is asked for as.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Table,
    Tables,
    Value,
}

/// A table of a document, whose keys are asked for one by one.
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    /// The table and its index; `None` where it is not in the document, which means that none of its keys is set.
    table: Option<(usize, &'d Table<'d>)>,
    /// The keys that were asked for, where there is a table that may have others.
    asked: Vec<(&'static str, Kind)>,
}

impl<'d> Section<'d> {
    fn of(document: &'d Document<'d>, table: Option<(usize, &'d Table<'d>)>) -> Self {
        let keys = table.map_or(0, |_| USUAL_KEYS);
        Self {
            document,
            table,
            asked: Vec::with_capacity(keys),
        }
    }

    /// The string of `key` as `read` understands it; `None` where the key is not set.
    pub(crate) fn string<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Box<Mistake>> {
        let Some(entry) = self.ask(key, Kind::Value) else {
            return Ok(None);
        };
        let value = match &entry.value {
            Value::String(text) => read(text),
            _ => None,
        };
        value.map_or_else(
            || Err(self.unexpected(entry, expected)),
            |value| Ok(Some(value)),
        )
    }

    /// Whether the table is in the document.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The strings of `key`, an array, as `read` understands each; none where the key is not set.
    pub(crate) fn strings<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Box<Mistake>> {
        let Some(entry) = self.ask(key, Kind::Value) else {
            return Ok(Vec::new());
        };
        let values = match &entry.value {
            Value::Strings(strings) => strings.iter().map(|string| read(string)).collect(),
            _ => None,
        };
        values.ok_or_else(|| self.unexpected(entry, expected))
    }

    /// The same, of which there must be one where the key is set.
    pub(crate) fn some_strings<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Box<Mistake>> {
        let strings = self.strings(key, expected, read)?;
        match (strings.is_empty(), self.entry(key)) {
            (true, Some(entry)) => Err(self.unexpected(entry, expected)),
            (true, None) => Ok(None),
            (false, _) => Ok(Some(strings)),
        }
    }

    /// The networks of `key`; none where the key is not set.
    pub(crate) fn networks(&mut self, key: &'static str) -> Result<Vec<Network>, Box<Mistake>> {
        self.strings(key, Network::EXPECTED, Network::parse)
            .map_err(|mistake| self.with_host_bits(key, mistake))
    }

    /// The same, of which there must be one where the key is set.
    pub(crate) fn some_networks(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<Network>>, Box<Mistake>> {
        self.some_strings(key, Network::EXPECTED, Network::parse)
            .map_err(|mistake| self.with_host_bits(key, mistake))
    }

    /// A mistake of networks, which says what is usually wrong, and what was meant.
    fn with_host_bits(&self, key: &str, mut mistake: Box<Mistake>) -> Box<Mistake> {
        if let Some(Value::Strings(strings)) = self.entry(key).map(|entry| &entry.value) {
            let mut networks = strings.iter().filter_map(|text| Network::around(text));
            if let Some((network, _)) = networks.find(|(_, has_host_bits)| *has_host_bits) {
                mistake.reason = Reason::HostBits(network);
            }
        }
        mistake
    }

    /// The date of `key`, at its beginning in UTC; `None` where the key is not set.
    pub(crate) fn date(&mut self, key: &'static str) -> Result<Option<Time>, Box<Mistake>> {
        const EXPECTED: &str = "expected a date without quotes, such as 2027-01-31";
        let Some(entry) = self.ask(key, Kind::Value) else {
            return Ok(None);
        };
        let date = match &entry.value {
            Value::Date(text) => Time::of_date(text),
            _ => None,
        };
        date.map_or_else(
            || Err(self.unexpected(entry, EXPECTED)),
            |date| Ok(Some(date)),
        )
    }

    /// The yes or no of `key`; `None` where the key is not set.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Box<Mistake>> {
        match self.ask(key, Kind::Value) {
            None => Ok(None),
            Some(entry) => match entry.value {
                Value::Boolean(value) => Ok(Some(value)),
                _ => Err(self.unexpected(entry, "expected true or false")),
            },
        }
    }

    /// The line on which the table begins, counted from 1; 0 where it is not in the document.
    pub(crate) fn line(&self) -> usize {
        self.table
            .map_or(0, |(_, table)| line_of(self.document.text, table.at))
    }

    /// The whole number of `key`; `None` where the key is not set.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        bounds: &RangeInclusive<i64>,
        expected: &'static str,
    ) -> Result<Option<i64>, Box<Mistake>> {
        let Some(entry) = self.ask(key, Kind::Value) else {
            return Ok(None);
        };
        match entry.value {
            Value::Integer(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => Err(self.unexpected(entry, expected)),
        }
    }

    /// The table of `key`.
    pub(crate) fn section(&mut self, key: &'static str) -> Result<Section<'d>, Box<Mistake>> {
        self.refuse_entry(key, Kind::Table, "expected a table, written [name]")?;
        let mut tables = self.tables().filter(|(_, table)| table.name == key);
        let table = tables.find(|(_, table)| table.written != Written::Element);
        Ok(Section::of(self.document, table))
    }

    /// The tables of `key`, an array of tables; none where the key is not set.
    pub(crate) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'d>>, Box<Mistake>> {
        self.refuse_entry(
            key,
            Kind::Tables,
            "expected an array of tables, written [[name]]",
        )?;
        let tables = self.tables().filter(|(_, table)| table.name == key);
        let elements = tables.filter(|(_, table)| table.written == Written::Element);
        let sections = elements.map(|table| Section::of(self.document, Some(table)));
        Ok(sections.collect())
    }

    /// Refuses the first key that nobody asked for, or that was asked for as something else.
    pub(crate) fn finish(self) -> Result<(), Box<Mistake>> {
        let asked = |key: &str| {
            let asked = self.asked.iter().find(|(asked, _)| *asked == key);
            asked.map(|(_, kind)| *kind)
        };
        let entries = self.table.into_iter().flat_map(|(_, table)| &table.entries);
        let unknown = entries
            .filter(|entry| asked(&entry.key).is_none())
            .map(|entry| (entry.key_at, entry.key.as_ref()));
        let misplaced = self.tables().filter_map(|(_, table)| {
            let is_wrong = match asked(&table.name) {
                None | Some(Kind::Value) => true,
                Some(Kind::Table) => table.written == Written::Element,
                Some(Kind::Tables) => table.written != Written::Element,
            };
            is_wrong.then_some((table.named_at, table.name.as_ref()))
        });
        let Some((at, key)) = unknown.chain(misplaced).min() else {
            return Ok(());
        };
        let reason = match asked(key) {
            Some(Kind::Table) => Reason::Expected("expected one table, written [name]"),
            Some(Kind::Tables) => Reason::Expected("expected an array of tables, written [[name]]"),
            Some(Kind::Value) => Reason::Expected("expected a value, found a table"),
            None => Reason::Unknown {
                key: key.to_owned(),
                known: self.asked.iter().map(|(key, _)| *key).collect(),
            },
        };
        Err(Mistake::new(self.document.text, at, reason))
    }

    /// A mistake of this table as a whole: a key that has to be there is not.
    pub(crate) fn missing(&self, key: &'static str) -> Box<Mistake> {
        let at = self.table.map_or(0, |(_, table)| table.at);
        Mistake::new(self.document.text, at, Reason::Missing(key))
    }

    /// A mistake of the value of `key`, seen only beside others.
    pub(crate) fn unlike(&self, key: &str, expected: &'static str) -> Box<Mistake> {
        let at = self.entry(key).map_or(0, |entry| entry.value_at);
        Mistake::new(self.document.text, at, Reason::Expected(expected))
    }

    fn ask(&mut self, key: &'static str, kind: Kind) -> Option<&'d Entry<'d>> {
        self.table?;
        self.asked.push((key, kind));
        self.entry(key)
    }

    fn entry(&self, key: &str) -> Option<&'d Entry<'d>> {
        let (_, table) = self.table?;
        table.entries.iter().find(|entry| entry.key == key)
    }

    fn refuse_entry(
        &mut self,
        key: &'static str,
        kind: Kind,
        expected: &'static str,
    ) -> Result<(), Box<Mistake>> {
        self.ask(key, kind)
            .map_or(Ok(()), |entry| Err(self.unexpected(entry, expected)))
    }

    /// The tables in this one, each with its index.
    fn tables(&self) -> impl Iterator<Item = (usize, &'d Table<'d>)> + use<'d> {
        let (document, own) = (self.document, self.table.map(|(index, _)| index));
        let tables = document.tables.iter().enumerate();
        tables.filter(move |(_, table)| own.is_some() && table.parent == own)
    }

    fn unexpected(&self, entry: &Entry<'_>, expected: &'static str) -> Box<Mistake> {
        Mistake::new(
            self.document.text,
            entry.value_at,
            Reason::Expected(expected),
        )
    }
}

/// A mistake in a document. It is boxed where it is returned: most reads make none.
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
    /// An address in the place of this network, which it lies in.
    HostBits(Network),
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

/// The line of a place, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or("");
    before.matches('\n').count().saturating_add(1)
}

impl Mistake {
    fn new(text: &str, at: usize, reason: Reason) -> Box<Self> {
        let before = text.get(..at).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let column = before.get(line_start..).unwrap_or("").chars().count();
        Box::new(Self {
            line: line_of(text, at),
            column: column.saturating_add(1),
            reason,
        })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match &self.reason {
            Reason::Expected(expected) => f.write_str(expected),
            Reason::HostBits(network) => {
                write!(f, "host bits are set: that network is \"{network}\"")
            }
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

/// Whether a text is read by [`plain`].
#[cfg(test)]
pub(crate) fn is_plain(text: &str) -> bool {
    plain::read(text).is_some()
}

#[cfg(test)]
mod tests;
