//! XML as far as containers of keys need it: a small tree of names, attributes and texts.
//!
//! MUST, since a file may be anybody's: no document type and no entity but the five of XML; depth, attributes and elements
//! are bounded, and what is read takes time and memory in proportion to the file. Namespaces are left aside: an element
//! is known by its local name.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Error, Reader, XmlVersion};
use zeroize::Zeroizing;

use crate::report::{Fault, Place};

/// Containers need nine levels.
const MAX_DEPTH: usize = 32;
/// Containers need six, namespaces and all.
const MAX_ATTRIBUTES: usize = 64;
/// Some 2,500 keys. References count as elements, since each is a piece to read.
const MAX_ELEMENTS: usize = 40_000;

/// An element.
pub(super) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    /// All of it, between its children too.
    text: Zeroizing<String>,
    children: Vec<Element>,
}

impl Element {
    /// The root of a document.
    ///
    /// # Errors
    /// [`Fault::Dtd`], [`Fault::TooManyElements`] or [`Fault::Xml`], and where.
    pub(super) fn parse(text: &str) -> Result<Self, (Place, Fault)> {
        let mut reader = Reader::from_str(text);
        let mut builder = Builder::default();
        loop {
            let begin = reader.buffer_position();
            let event = reader.read_event();
            let begin = match &event {
                Ok(_) => begin,
                Err(_) => reader.error_position(),
            };
            let built = event.map_err(Fault::from).and_then(|event| match event {
                Event::Eof => builder.end().map(Some),
                event => builder.take(event).map(|()| None),
            });
            match built {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(root),
                Err(fault) => {
                    let before = usize::try_from(begin).ok();
                    let before = before.and_then(|end| text.as_bytes().get(..end));
                    return Err((Place::after(before.unwrap_or_default()), fault));
                }
            }
        }
    }

    /// Its local name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All children.
    pub(super) fn children(&self) -> &[Self] {
        &self.children
    }

    /// The children of that name.
    pub(super) fn named<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Self> {
        self.children.iter().filter(move |one| one.name == name)
    }

    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|one| one.name == name)
    }

    /// Its text without the blanks around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The text of the first child of that name; `None` where it is empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text();
        (!text.is_empty()).then_some(text)
    }

    fn of(start: &BytesStart<'_>) -> Result<Self, Fault> {
        let name = text_of(start.local_name().into_inner())?;
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| Fault::Xml)?;
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(Fault::TooManyElements);
            }
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            let name = text_of(attribute.key.local_name().into_inner())?;
            attributes.push((name, value.map_err(Fault::from)?.into_owned()));
        }
        Ok(Self {
            name,
            attributes,
            text: Zeroizing::new(String::new()),
            children: Vec::new(),
        })
    }
}

fn text_of(bytes: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Xml)?;
    Ok(text.to_owned())
}

#[derive(Default)]
struct Builder {
    /// Those that are not closed, the outermost first.
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Start(start) => {
                let element = self.begin(&start)?;
                self.open.push(element);
                Ok(())
            }
            Event::Empty(start) => {
                let element = self.begin(&start)?;
                self.close(element)
            }
            Event::End(_) => {
                let element = self.open.pop().ok_or(Fault::Xml)?;
                self.close(element)
            }
            Event::Text(text) => self.write(&text.decode().map_err(|_| Fault::Xml)?),
            Event::CData(text) => self.write(&text.decode().map_err(|_| Fault::Xml)?),
            Event::GeneralRef(reference) => {
                self.count()?;
                if let Some(c) = reference.resolve_char_ref().map_err(|_| Fault::Xml)? {
                    return self.write(c.encode_utf8(&mut [0; 4]));
                }
                let name = reference.decode().map_err(|_| Fault::Xml)?;
                let text = quick_xml::escape::resolve_xml_entity(&name);
                self.write(text.ok_or(Fault::Dtd)?)
            }
            Event::DocType(_) => Err(Fault::Dtd),
            Event::Comment(_) | Event::Decl(_) | Event::Eof | Event::PI(_) => Ok(()),
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<Element, Fault> {
        self.count()?;
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::TooManyElements);
        }
        Element::of(start)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.elements = self.elements.saturating_add(1);
        match self.elements <= MAX_ELEMENTS {
            true => Ok(()),
            false => Err(Fault::TooManyElements),
        }
    }

    fn close(&mut self, element: Element) -> Result<(), Fault> {
        match (self.open.last_mut(), &self.root) {
            (Some(above), _) => above.children.push(element),
            (None, None) => self.root = Some(element),
            (None, Some(_)) => return Err(Fault::Xml),
        }
        Ok(())
    }

    /// Outside of the root there are but blanks.
    fn write(&mut self, text: &str) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(Fault::Xml),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Element, Fault> {
        match self.open.is_empty() {
            true => self.root.take().ok_or(Fault::Xml),
            false => Err(Fault::Xml),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Escape(quick_xml::escape::EscapeError::UnrecognizedEntity(..)) => Self::Dtd,
            _ => Self::Xml,
        }
    }
}
