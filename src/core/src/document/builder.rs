//! The making of a document's tables, key by key.

use std::borrow::Cow;

use super::{Document, Entry, Table, USUAL_KEYS, Value, Written, line_of};

/// What is wrong with a document, and where.
pub(super) type Complaint = (usize, String);

/// Makes tables of keys, values and heads, in the order of the text.
pub(super) struct Builder<'i> {
    text: &'i str,
    pub(super) tables: Vec<Table<'i>>,
    /// The table that entries go into.
    current: usize,
    /// The table that the last entry went into.
    last_table: usize,
    /// The key that is being read, with the place of each part.
    keys: Vec<(Cow<'i, str>, usize)>,
}

/// Where a key leads to.
struct Lead<'i> {
    /// The place of its first part.
    at: usize,
    /// The table that all parts but the last lead to.
    table: usize,
    /// The last part, and its place.
    key: Cow<'i, str>,
    key_at: usize,
}

impl<'i> Builder<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        let root = Table {
            name: Cow::Borrowed(""),
            parent: None,
            written: Written::Alone,
            named_at: 0,
            at: 0,
            entries: Vec::with_capacity(USUAL_KEYS),
        };
        Self {
            text,
            tables: vec![root],
            current: Document::ROOT,
            last_table: Document::ROOT,
            keys: Vec::new(),
        }
    }

    /// Takes the next part of a key.
    pub(super) fn key(&mut self, part: Cow<'i, str>, at: usize) {
        self.keys.push((part, at));
    }

    /// Begins the table of the key that was taken.
    pub(super) fn open_table(&mut self, written: Written) -> Result<(), Complaint> {
        let Some(lead) = self.lead(Document::ROOT, Written::Implied)? else {
            return Ok(());
        };
        let Lead {
            at,
            table: parent,
            key: name,
            ..
        } = lead;
        let known = self.child(parent, &name);
        let known_as = known.and_then(|index| Some(self.tables.get(index)?.written));
        self.current = match (known, known_as, written) {
            (Some(index), Some(Written::Implied), Written::Alone) => {
                if let Some(table) = self.tables.get_mut(index) {
                    (table.written, table.at) = (written, at);
                }
                index
            }
            (Some(index), Some(Written::Alone), Written::Alone) => {
                return Err((at, self.stands_already(index)));
            }
            (Some(_), Some(Written::Element), Written::Element) => {
                self.add_table(parent, name, written, at)
            }
            (None, ..) if !self.has_entry(parent, &name) => {
                self.add_table(parent, name, written, at)
            }
            _ => return Err((at, "duplicate table".to_owned())),
        };
        Ok(())
    }

    /// Gives the key that was taken its value.
    pub(super) fn insert(&mut self, value: Value<'i>, value_at: usize) -> Result<(), Complaint> {
        let Some(lead) = self.lead(self.current, Written::Alone)? else {
            return Ok(());
        };
        let Lead {
            table, key, key_at, ..
        } = lead;
        if self.has_entry(table, &key) || self.child(table, &key).is_some() {
            return Err((key_at, "duplicate key".to_owned()));
        }
        self.last_table = table;
        if let Some(table) = self.tables.get_mut(table) {
            table.entries.push(Entry {
                key,
                key_at,
                value,
                value_at,
            });
        }
        Ok(())
    }

    /// Adds an element to the array that was just inserted.
    pub(super) fn extend(&mut self, element: Value<'i>) {
        let table = self.tables.get_mut(self.last_table);
        let Some(entry) = table.and_then(|table| table.entries.last_mut()) else {
            return;
        };
        match (&mut entry.value, element) {
            (Value::Strings(strings), Value::String(string)) => strings.push(string),
            (value, _) => *value = Value::Other,
        }
    }

    /// Where the key that was taken leads to from a table. What is missing on its way is made. `None` without a key.
    fn lead(&mut self, from: usize, made: Written) -> Result<Option<Lead<'i>>, Complaint> {
        let mut parts = std::mem::take(&mut self.keys);
        let Some(at) = parts.first().map(|(_, at)| *at) else {
            return Ok(None);
        };
        if parts.len() > Document::MAX_DEPTH as usize {
            return Err((at, "too many tables in each other".to_owned()));
        }
        let Some((key, key_at)) = parts.pop() else {
            return Ok(None);
        };
        let mut table = from;
        for (name, _) in parts.drain(..) {
            let child = self.child(table, &name);
            table = match child.and_then(|child| Some((child, self.tables.get(child)?.written))) {
                // Which of the elements would a key be of?
                Some((child, Written::Element)) if made == Written::Alone => {
                    let path = self.path_of(child);
                    let said =
                        format!("there may be several of [[{path}]]: put the key below its own");
                    return Err((at, said));
                }
                Some((child, _)) => child,
                None if self.has_entry(table, &name) => {
                    return Err((at, format!("{name} is a value and no table")));
                }
                None => self.add_table(table, name, made, at),
            };
        }
        self.keys = parts;
        Ok(Some(Lead {
            at,
            table,
            key,
            key_at,
        }))
    }

    /// The newest table of that name in another one.
    fn child(&self, parent: usize, name: &str) -> Option<usize> {
        let is_it = |table: &Table<'_>| table.parent == Some(parent) && table.name == name;
        self.tables.iter().rposition(is_it)
    }

    fn has_entry(&self, index: usize, key: &str) -> bool {
        let table = self.tables.get(index);
        table.is_some_and(|table| table.entries.iter().any(|entry| entry.key == key))
    }

    fn add_table(
        &mut self,
        parent: usize,
        name: Cow<'i, str>,
        written: Written,
        at: usize,
    ) -> usize {
        let keys = match written {
            Written::Implied => 0,
            Written::Alone | Written::Element => USUAL_KEYS,
        };
        self.tables.push(Table {
            name,
            parent: Some(parent),
            written,
            named_at: at,
            at,
            entries: Vec::with_capacity(keys),
        });
        self.tables.len().saturating_sub(1)
    }

    fn stands_already(&self, index: usize) -> String {
        let table = self.tables.get(index);
        let line = line_of(self.text, table.map_or(0, |table| table.at));
        let path = self.path_of(index);
        format!("[{path}] stands at line {line} already: put the keys there")
    }

    /// The names that lead to a table, as they are written in its head.
    fn path_of(&self, index: usize) -> String {
        let table = self.tables.get(index);
        let Some((table, parent)) = table.and_then(|table| Some((table, table.parent?))) else {
            return String::new();
        };
        let parents = self.path_of(parent);
        match parents.is_empty() {
            true => table.name.clone().into_owned(),
            false => format!("{parents}.{}", table.name),
        }
    }
}
