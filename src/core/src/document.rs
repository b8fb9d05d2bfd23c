//! TOML documents, read key by key. Whatever nobody asks for is a mistake, and so is what is asked for
//! and of another kind.
//!
//! `toml_parser` splits and decodes the text; what is built of it here is a flat list of tables, all
//! that our files need. (The `toml` crate above it takes 50 KB more in the module, with serde 200 KB.)

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use crate::network::Network;
use crate::time::Time;

/// A document of TOML.
pub(crate) struct Document<'i> {
    text: &'i str,
    /// The root first, then in the order of the text.
    tables: Vec<Table<'i>>,
}

struct Table<'i> {
    path: Vec<Cow<'i, str>>,
    /// Whether it is one of an array of tables.
    is_element: bool,
    at: usize,
    entries: Vec<Entry<'i>>,
}

struct Entry<'i> {
    key: Cow<'i, str>,
    key_at: usize,
    value: Value<'i>,
    value_at: usize,
}

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
    /// Reads a whole document.
    pub(crate) fn parse(text: &'i str) -> Result<Self, Box<Mistake>> {
        const MAX_DEPTH: u32 = 16;
        let source = Source::new(text);
        let mut builder = Builder {
            source,
            tables: vec![Table {
                path: Vec::new(),
                is_element: false,
                at: 0,
                entries: Vec::new(),
            }],
            current: 0,
            last_table: 0,
            keys: Vec::new(),
            depth: 0,
        };
        let mut first = FirstError(None);
        let mut checked = ValidateWhitespace::new(&mut builder, source);
        let mut bounded = RecursionGuard::new(&mut checked, MAX_DEPTH);
        parse_document(&source.lex().into_vec(), &mut bounded, &mut first);
        match first.0 {
            None => Ok(Self {
                text,
                tables: builder.tables,
            }),
            Some((at, message)) => Err(Mistake::new(text, at, Reason::Syntax(message))),
        }
    }

    /// The table that all others are in.
    pub(crate) fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: Vec::new(),
            table: self.tables.first(),
            asked: Vec::new(),
        }
    }
}

/// Makes tables of the parser's events.
struct Builder<'i> {
    source: Source<'i>,
    tables: Vec<Table<'i>>,
    /// The table that entries go into.
    current: usize,
    /// The table that the last entry went into.
    last_table: usize,
    /// The key that is being read, with the place of each part.
    keys: Vec<(Cow<'i, str>, usize)>,
    /// Arrays and inline tables that are open.
    depth: u32,
}

impl<'i> Builder<'i> {
    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'i> {
        let text = self
            .source
            .input()
            .get(span.start()..span.end())
            .unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn open_table(&mut self, span: Span, is_element: bool, errors: &mut dyn ErrorSink) {
        let path: Vec<_> = self.keys.drain(..).map(|(key, _)| key).collect();
        let rival = self.tables.iter().find(|table| table.path == path);
        let rival = rival.filter(|table| !(is_element && table.is_element));
        if let Some(rival) = rival.filter(|rival| !is_element && !rival.is_element) {
            let line = line_of(self.source.input(), rival.at);
            let said = format!(
                "[{}] stands at line {line} already: put the keys there",
                path.join(".")
            );
            errors.report_error(ParseError::new(said).with_unexpected(span));
        } else if rival.is_some() || self.is_entry(&path) {
            errors.report_error(ParseError::new("duplicate table").with_unexpected(span));
        }
        self.current = self.tables.len();
        self.tables.push(Table {
            path,
            is_element,
            at: span.start(),
            entries: Vec::new(),
        });
    }

    fn is_entry(&self, path: &[Cow<'i, str>]) -> bool {
        let Some((key, parent)) = path.split_last() else {
            return false;
        };
        let parents = self.tables.iter().filter(|table| table.path == parent);
        parents
            .flat_map(|table| &table.entries)
            .any(|entry| entry.key == *key)
    }

    fn insert(&mut self, value: Value<'i>, span: Span, errors: &mut dyn ErrorSink) {
        let Some((key, key_at)) = self.keys.pop() else {
            return; // the parser has reported why
        };
        let at = self.keys.first().map_or(key_at, |(_, at)| *at);
        let prefix: Vec<_> = self.keys.drain(..).map(|(key, _)| key).collect();
        let Some(index) = self.table_of(prefix, at) else {
            return;
        };
        self.last_table = index;
        if self.is_known(index, &key) {
            let span = Span::new_unchecked(key_at, key_at.saturating_add(key.len()));
            errors.report_error(ParseError::new("duplicate key").with_unexpected(span));
        }
        if let Some(table) = self.tables.get_mut(index) {
            table.entries.push(Entry {
                key,
                key_at,
                value,
                value_at: span.start(),
            });
        }
    }

    /// Whether a table has an entry or a table of that key.
    fn is_known(&self, index: usize, key: &str) -> bool {
        let Some(Table { path, entries, .. }) = self.tables.get(index) else {
            return false;
        };
        let is_below = |table: &Table<'_>| {
            let split = table.path.split_last();
            split.is_some_and(|(last, above)| last == key && above == path)
        };
        entries.iter().any(|entry| entry.key == key) || self.tables.iter().any(is_below)
    }

    /// Adds an element to the array that was just opened.
    fn extend(&mut self, element: Value<'i>) {
        let table = self.tables.get_mut(self.last_table);
        let Some(entry) = table.and_then(|table| table.entries.last_mut()) else {
            return;
        };
        match (&mut entry.value, element) {
            (Value::Strings(strings), Value::String(string)) => strings.push(string),
            (value, _) => *value = Value::Other,
        }
    }

    /// The table that a key's prefix leads to from the current one: `limits` of `limits.deny = 3`.
    fn table_of(&mut self, prefix: Vec<Cow<'i, str>>, at: usize) -> Option<usize> {
        if prefix.is_empty() {
            return Some(self.current);
        }
        let mut path = self.tables.get(self.current)?.path.clone();
        path.extend(prefix);
        let known = self.tables.iter().position(|table| table.path == path);
        Some(known.unwrap_or_else(|| {
            self.tables.push(Table {
                path,
                is_element: false,
                at,
                entries: Vec::new(),
            });
            self.tables.len().saturating_sub(1)
        }))
    }
}

impl EventReceiver for Builder<'_> {
    fn std_table_close(&mut self, span: Span, errors: &mut dyn ErrorSink) {
        let start = self.keys.first().map_or(span.start(), |(_, at)| *at);
        self.open_table(Span::new_unchecked(start, span.end()), false, errors);
    }

    fn array_table_close(&mut self, span: Span, errors: &mut dyn ErrorSink) {
        let start = self.keys.first().map_or(span.start(), |(_, at)| *at);
        self.open_table(Span::new_unchecked(start, span.end()), true, errors);
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        if self.depth == 0 {
            let mut key = Cow::Borrowed("");
            self.raw(span, encoding).decode_key(&mut key, errors);
            self.keys.push((key, span.start()));
        }
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let mut text = Cow::Borrowed("");
        let kind = self.raw(span, encoding).decode_scalar(&mut text, errors);
        let value = match kind {
            ScalarKind::Boolean(value) => Value::Boolean(value),
            ScalarKind::DateTime => Value::Date(text),
            ScalarKind::String => Value::String(text),
            ScalarKind::Integer(radix) => {
                i64::from_str_radix(&text, radix.value()).map_or(Value::Other, Value::Integer)
            }
            _ => Value::Other,
        };
        match self.depth {
            0 => self.insert(value, span, errors),
            1 => self.extend(value),
            _ => {}
        }
    }

    fn array_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        match self.depth {
            0 => self.insert(Value::Strings(Vec::new()), span, errors),
            1 => self.extend(Value::Other),
            _ => {}
        }
        self.depth = self.depth.saturating_add(1);
        true
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn inline_table_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        match self.depth {
            0 => self.insert(Value::Other, span, errors),
            1 => self.extend(Value::Other),
            _ => {}
        }
        self.depth = self.depth.saturating_add(1);
        true
    }

    fn inline_table_close(&mut self, span: Span, errors: &mut dyn ErrorSink) {
        self.array_close(span, errors);
    }
}

/// The first thing that the parser did not like: where, and what.
struct FirstError(Option<(usize, String)>);

impl ErrorSink for FirstError {
    fn report_error(&mut self, error: ParseError) {
        if self.0.is_none() {
            let at = error
                .unexpected()
                .or(error.context())
                .map_or(0, |span| span.start());
            self.0 = Some((at, error.description().to_owned()));
        }
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
    path: Vec<&'d str>,
    /// `None` where the table is not in the document, which means that none of its keys is set.
    table: Option<&'d Table<'d>>,
    asked: Vec<(&'static str, Kind)>,
}

impl<'d> Section<'d> {
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
            .map_or(0, |table| line_of(self.document.text, table.at))
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
        let path = self.below(key);
        let table = self.tables_at(&path).find(|table| !table.is_element);
        Ok(Section {
            document: self.document,
            path,
            table,
            asked: Vec::new(),
        })
    }

    /// The tables of `key`, an array of tables; none where the key is not set.
    pub(crate) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'d>>, Box<Mistake>> {
        self.refuse_entry(
            key,
            Kind::Tables,
            "expected an array of tables, written [[name]]",
        )?;
        let path = self.below(key);
        let elements = self.tables_at(&path).filter(|table| table.is_element);
        let document = self.document;
        let sections = elements.map(|table| Section {
            document,
            path: path.clone(),
            table: Some(table),
            asked: Vec::new(),
        });
        Ok(sections.collect())
    }

    /// Refuses the first key that nobody asked for, or that was asked for as something else.
    pub(crate) fn finish(self) -> Result<(), Box<Mistake>> {
        let asked = |key: &str| {
            let asked = self.asked.iter().find(|(asked, _)| *asked == key);
            asked.map(|(_, kind)| *kind)
        };
        let entries = self.table.into_iter().flat_map(|table| &table.entries);
        let unknown = entries
            .filter(|entry| asked(&entry.key).is_none())
            .map(|entry| (entry.key_at, entry.key.as_ref()));
        let misplaced = self.document.tables.iter().filter_map(|table| {
            let key = table.path.get(self.path.len())?;
            let is_ours = table.path.iter().zip(&self.path).all(|(a, b)| a == b);
            // What lies deeper is for the section of that key to refuse.
            let is_child = table.path.len() == self.path.len().saturating_add(1);
            let is_wrong = match asked(key) {
                None | Some(Kind::Value) => true,
                Some(Kind::Table) => is_child && table.is_element,
                Some(Kind::Tables) => is_child && !table.is_element,
            };
            (is_ours && is_wrong).then_some((table.at, key.as_ref()))
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
        let at = self.table.map_or(0, |table| table.at);
        Mistake::new(self.document.text, at, Reason::Missing(key))
    }

    /// A mistake of the value of `key`, seen only beside others.
    pub(crate) fn unlike(&self, key: &str, expected: &'static str) -> Box<Mistake> {
        let at = self.entry(key).map_or(0, |entry| entry.value_at);
        Mistake::new(self.document.text, at, Reason::Expected(expected))
    }

    fn ask(&mut self, key: &'static str, kind: Kind) -> Option<&'d Entry<'d>> {
        self.asked.push((key, kind));
        self.entry(key)
    }

    fn entry(&self, key: &str) -> Option<&'d Entry<'d>> {
        self.table?.entries.iter().find(|entry| entry.key == key)
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

    fn below(&self, key: &'static str) -> Vec<&'d str> {
        self.path.iter().copied().chain([key]).collect()
    }

    fn tables_at<'p>(
        &self,
        path: &'p [&'d str],
    ) -> impl Iterator<Item = &'d Table<'d>> + use<'p, 'd> {
        self.document
            .tables
            .iter()
            .filter(move |table| table.path == path)
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
