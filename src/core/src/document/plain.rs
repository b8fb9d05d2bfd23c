//! The reading of plain documents: as totpctl writes them, and as most people do.
//!
//! A login reads two documents, and all of TOML takes most of the time that it works itself. What is read here is read
//! alike by [`super::full`], which `tests` and the fuzzed `config` hold it to; what is not is left to that, mistakes above all.

use std::borrow::Cow;

use super::builder::Builder;
use super::{Table, Value, Written};

/// The tables of a text, of printable ASCII alone, whose lines are empty, comments, heads or one key each with its value:
/// a text without escapes, an array of such texts on the same line, a whole number, or yes or no. `None` where it is not of
/// that kind.
pub(super) fn read(text: &str) -> Option<Vec<Table<'_>>> {
    let is_plain = |byte: u8| byte == b'\n' || (b' '..=b'~').contains(&byte);
    if !text.bytes().all(is_plain) {
        return None;
    }
    let mut builder = Builder::new(text);
    let mut rest = Rest { text, at: 0 };
    while !rest.text.is_empty() {
        rest.line(&mut builder)?;
    }
    Some(builder.tables)
}

/// What has not been read yet, and its place.
struct Rest<'i> {
    text: &'i str,
    at: usize,
}

impl<'i> Rest<'i> {
    fn line(&mut self, builder: &mut Builder<'i>) -> Option<()> {
        self.run(|byte| byte == b' ');
        if self.eat("[[") {
            self.key(builder)?;
            self.token("]]")?;
            builder.open_table(Written::Element).ok()?;
        } else if self.eat("[") {
            self.key(builder)?;
            self.token("]")?;
            builder.open_table(Written::Alone).ok()?;
        } else if !self.text.starts_with(['#', '\n']) {
            self.key(builder)?;
            self.run(|byte| byte == b' ');
            self.token("=")?;
            self.run(|byte| byte == b' ');
            let at = self.at;
            builder.insert(self.value()?, at).ok()?;
        }
        self.run(|byte| byte == b' ');
        if self.eat("#") {
            self.run(|byte| byte != b'\n');
        }
        (self.text.is_empty() || self.eat("\n")).then_some(())
    }

    /// A bare key, of parts with dots between them.
    fn key(&mut self, builder: &mut Builder<'i>) -> Option<()> {
        loop {
            let at = self.at;
            let part =
                self.run(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
            if part.is_empty() {
                return None;
            }
            builder.key(Cow::Borrowed(part), at);
            if !self.eat(".") {
                return Some(());
            }
        }
    }

    fn value(&mut self) -> Option<Value<'i>> {
        if self.eat("[") {
            let mut strings = vec![self.string()?];
            while self.eat(", ") {
                strings.push(self.string()?);
            }
            self.token("]")?;
            return Some(Value::Strings(strings));
        }
        if self.text.starts_with('"') {
            return self.string().map(Value::String);
        }
        match self.run(|byte| byte.is_ascii_alphanumeric()) {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            digits => {
                let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
                let is_padded = digits.starts_with('0') && digits != "0";
                let number = digits.parse().ok().filter(|_| is_whole && !is_padded);
                number.map(Value::Integer)
            }
        }
    }

    /// A text between quotes, without escapes.
    fn string(&mut self) -> Option<Cow<'i, str>> {
        self.token("\"")?;
        let text = self.run(|byte| !matches!(byte, b'"' | b'\\' | b'\n'));
        self.token("\"")?;
        Some(Cow::Borrowed(text))
    }

    /// As many bytes as are of a kind.
    fn run(&mut self, is_of_it: impl Fn(u8) -> bool) -> &'i str {
        let end = self.text.bytes().position(|byte| !is_of_it(byte));
        let (run, rest) = end
            .and_then(|end| self.text.split_at_checked(end))
            .unwrap_or((self.text, ""));
        self.at = self.at.saturating_add(run.len());
        self.text = rest;
        run
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.text.strip_prefix(token);
        if let Some(rest) = rest {
            self.at = self.at.saturating_add(token.len());
            self.text = rest;
        }
        rest.is_some()
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.eat(token).then_some(())
    }
}
