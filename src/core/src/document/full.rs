//! The reading of all of TOML: `toml_parser` splits and decodes the text.

use std::borrow::Cow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use super::builder::{Builder, Complaint};
use super::{Document, Table, Value, Written};

/// The tables of a text, or the first thing that is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Table<'_>>, Complaint> {
    let source = Source::new(text);
    let mut events = Events {
        source,
        builder: Builder::new(text),
        depth: 0,
    };
    let mut first = First(None);
    let mut checked = ValidateWhitespace::new(&mut events, source);
    let mut bounded = RecursionGuard::new(&mut checked, Document::MAX_DEPTH);
    parse_document(&source.lex().into_vec(), &mut bounded, &mut first);
    match first.0 {
        None => Ok(events.builder.tables),
        Some(complaint) => Err(complaint),
    }
}

/// What the parser finds, on its way to the builder.
struct Events<'i> {
    source: Source<'i>,
    builder: Builder<'i>,
    /// Arrays and inline tables that are open.
    depth: u32,
}

impl<'i> Events<'i> {
    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'i> {
        let text = self
            .source
            .input()
            .get(span.start()..span.end())
            .unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn value(&mut self, value: Value<'i>, span: Span, errors: &mut dyn ErrorSink) {
        match self.depth {
            0 => pass(self.builder.insert(value, span.start()), errors),
            1 => self.builder.extend(value),
            _ => {}
        }
    }
}

fn pass(result: Result<(), Complaint>, errors: &mut dyn ErrorSink) {
    if let Err((at, said)) = result {
        let span = Span::new_unchecked(at, at);
        errors.report_error(ParseError::new(said).with_unexpected(span));
    }
}

impl EventReceiver for Events<'_> {
    fn std_table_close(&mut self, _: Span, errors: &mut dyn ErrorSink) {
        pass(self.builder.open_table(Written::Alone), errors);
    }

    fn array_table_close(&mut self, _: Span, errors: &mut dyn ErrorSink) {
        pass(self.builder.open_table(Written::Element), errors);
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        if self.depth == 0 {
            let mut key = Cow::Borrowed("");
            self.raw(span, encoding).decode_key(&mut key, errors);
            self.builder.key(key, span.start());
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
        self.value(value, span, errors);
    }

    fn array_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        let value = match self.depth {
            0 => Value::Strings(Vec::new()),
            _ => Value::Other,
        };
        self.value(value, span, errors);
        self.depth = self.depth.saturating_add(1);
        true
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn inline_table_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        self.value(Value::Other, span, errors);
        self.depth = self.depth.saturating_add(1);
        true
    }

    fn inline_table_close(&mut self, span: Span, errors: &mut dyn ErrorSink) {
        self.array_close(span, errors);
    }
}

/// The first complaint.
struct First(Option<Complaint>);

impl ErrorSink for First {
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
