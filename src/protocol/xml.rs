//! XML as OCS uses it: a reader for which an attribute and a child element are the same thing, and a strict writer.

use crate::model::limits::RequestLimits;

/// Why a document was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// Entities and external subsets are never read.
    #[error("the document has a DOCTYPE, which is never accepted")]
    Doctype,
    /// A bound of [`RequestLimits`] was passed.
    #[error("the document has more than {limit} {what}")]
    TooMany {
        /// Elements, attributes of one element, levels.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A declared encoding that nobody knows.
    #[error("unknown encoding \"{0}\"")]
    Encoding(String),
}

/// One element: what stock parsers make of it (ocs-protocol 1.6).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Attributes in the order of the document.
    pub attributes: Vec<(String, String)>,
    /// Child elements in the order of the document.
    pub children: Vec<Element>,
    /// The text directly inside, concatenated, not trimmed.
    pub text: String,
}

/// Reads a document: declared encodings (UTF-8, ISO-8859-1, windows-125x …), no DTD, bounded.
///
/// Bytes that are not valid in the encoding become U+FFFD.
pub fn parse(document: &[u8], limits: &RequestLimits) -> Result<Element, XmlError> {
    let _ = (document, limits);
    todo!()
}

impl Element {
    /// The value of that name: an attribute, or the text of the first child element of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        let _ = name;
        todo!()
    }

    /// The first child element of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every child element of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }
}
