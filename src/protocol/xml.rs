//! XML as OCS uses it: a reader for which an attribute and a child element are the same thing, and a strict writer.
//!
//! The reader is as liberal as the stock server's and more robust: declared encodings are honoured, bytes and characters
//! that XML cannot carry become U+FFFD instead of an error, white space is kept. It refuses what stock parsers refuse
//! too: a name twice among the attributes of one element, a raw `<` in an attribute, entities that nobody declared,
//! anything after the root. A DOCTYPE is never read. Time is linear in the document, and what is kept of it is bounded.
//!
//! The writer escapes once, writes nothing that is not well-formed, and never writes an attribute that a reader would
//! normalise: line feeds and tabs in attributes are character references.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::encoding::{DetectedEncoding, detect_encoding};
use quick_xml::events::{BytesDecl, BytesStart, Event};

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
    pub children: Vec<Self>,
    /// The text directly inside, concatenated, not trimmed.
    pub text: String,
}

/// Reads a document: declared encodings (UTF-8, ISO-8859-1, windows-125x …), no DTD, bounded.
///
/// Bytes that are not valid UTF-8 are taken for ISO-8859-1; those that are not valid in another encoding become U+FFFD.
///
/// ```
/// use dripfeed::model::limits::RequestLimits;
/// use dripfeed::protocol::xml;
///
/// let root = xml::parse(b"<REQUEST ID='7'><QUERY>A &amp; B</QUERY></REQUEST>", &RequestLimits::DEFAULT)?;
/// assert_eq!((root.value("ID"), root.value("QUERY")), (Some("7"), Some("A & B")));
/// # Ok::<(), xml::XmlError>(())
/// ```
pub fn parse(document: &[u8], limits: &RequestLimits) -> Result<Element, XmlError> {
    parse_with(document, limits, &Rules::ALL)
}

impl Element {
    /// The value of that name: an attribute, or the text of the first child element of that name.
    ///
    /// As for the stock server, a child that is empty or blank does not exist; an empty attribute does. Where both are
    /// there the attribute wins.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attribute(name).or_else(|| {
            let mut texts = self.children.iter().filter(|child| child.name == name).map(|child| child.text.as_str());
            texts.find(|text| !text.trim_ascii().is_empty())
        })
    }

    /// The value of that name to the letter: a child that is blank counts.
    pub(super) fn verbatim(&self, name: &str) -> Option<&str> {
        self.attribute(name).or_else(|| self.child(name).map(|child| child.text.as_str()))
    }

    /// The first child element of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every child element of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a reader wants of a document.
pub(super) struct Rules {
    /// Are stray ampersands text? The stock console writes commands unescaped (ocs-protocol 5).
    pub(super) raw_ampersands: bool,
    /// Shall an element of that name inside the open ones be kept? What is not kept is checked all the same.
    pub(super) keep: fn(open: &[Element], name: &str) -> bool,
    /// How many elements may be kept.
    pub(super) kept: usize,
}

impl Rules {
    /// All of it.
    pub(super) const ALL: Self = Self { raw_ampersands: false, keep: |_, _| true, kept: usize::MAX };
}

/// Reads a document by these rules.
pub(super) fn parse_with(document: &[u8], limits: &RequestLimits, rules: &Rules) -> Result<Element, XmlError> {
    let text = decode(document)?;
    let mut reader = Reader::from_str(text.trim_ascii_start());
    reader.config_mut().allow_dangling_amp = rules.raw_ampersands;
    let mut builder = Builder { limits, rules, open: Vec::new(), skipped: 0, root: None, elements: 0, kept: 0 };
    let mut first = true;
    loop {
        let position = reader.buffer_position();
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => return Err(refusal(&error, reader.error_position())),
        };
        let malformed = |reason: &str| Err(at(reason, position));
        match event {
            Event::Start(tag) => builder.start(&tag, position)?,
            Event::Empty(tag) => {
                builder.start(&tag, position)?;
                builder.end();
            }
            Event::End(_) => builder.end(),
            Event::Text(text) if text.contains('\r') => builder.text(&text.xml10_content(), position)?,
            Event::Text(text) => builder.text(&text, position)?,
            Event::CData(text) => builder.character_data(&text.xml10_content(), position)?,
            Event::GeneralRef(name) => match resolve(&name) {
                Some(character) => builder.character_data(character.encode_utf8(&mut [0; 4]), position)?,
                None if rules.raw_ampersands => builder.character_data(&format!("&{};", &*name), position)?,
                None => return malformed(&format!("the entity &{}; is not declared", cut(&name))),
            },
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Decl(_) if !first => return malformed("an XML declaration in the middle"),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return builder.finish(position),
        }
        first = false;
    }
}

/// The document while it is read.
struct Builder<'a> {
    limits: &'a RequestLimits,
    rules: &'a Rules,
    /// The elements around the place, those that are kept.
    open: Vec<Element>,
    /// How many levels deep inside them is what is not kept.
    skipped: usize,
    root: Option<Element>,
    elements: usize,
    kept: usize,
}

impl Builder<'_> {
    fn start(&mut self, tag: &BytesStart<'_>, position: u64) -> Result<(), XmlError> {
        let tag_name = tag.name();
        let name: &str = tag_name.as_ref();
        if self.root.is_some() {
            return Err(at(&format!("<{}> after the end of the root element", cut(name)), position));
        }
        if !is_name(name) {
            return Err(at(&format!("\"{}\" is no name of an element", cut(name)), position));
        }
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(XmlError::TooMany { what: "elements", limit: self.limits.elements });
        }
        if self.open.len() + self.skipped >= self.limits.depth {
            return Err(XmlError::TooMany { what: "levels of elements", limit: self.limits.depth });
        }
        let keep = self.skipped == 0 && (self.rules.keep)(&self.open, name);
        let attributes = self.attributes(tag, name, keep, position)?;
        if !keep {
            self.skipped += 1;
            return Ok(());
        }
        self.kept += 1;
        if self.kept > self.rules.kept {
            return Err(XmlError::TooMany { what: "elements in the sections that are read", limit: self.rules.kept });
        }
        self.open.push(Element { name: name.to_owned(), attributes, ..Element::default() });
        Ok(())
    }

    fn attributes(
        &self,
        tag: &BytesStart<'_>,
        element: &str,
        keep: bool,
        position: u64,
    ) -> Result<Vec<(String, String)>, XmlError> {
        let mut attributes = Vec::new();
        for (count, attribute) in tag.attributes().enumerate() {
            // Before the next one is looked at: with 800,000 of them every look costs.
            if count >= self.limits.attributes {
                return Err(XmlError::TooMany { what: "attributes in one element", limit: self.limits.attributes });
            }
            let attribute = attribute.map_err(|error| at(&format!("in <{}>: {error}", cut(element)), position))?;
            let key: &str = attribute.key.as_ref();
            let wrong =
                |reason: &str| Err(at(&format!("attribute {} of <{}> {reason}", cut(key), cut(element)), position));
            if !is_name(key) {
                return wrong("has no proper name");
            }
            if attribute.value.contains('<') {
                return wrong("holds a raw \"<\", which must be written &lt;");
            }
            match attribute_value(&attribute.value, self.rules.raw_ampersands) {
                Some(value) if keep => attributes.push((key.to_owned(), value)),
                Some(_) => {}
                None => return wrong("holds an \"&\" that begins no reference and must be written &amp;"),
            }
        }
        Ok(attributes)
    }

    fn end(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    /// Text; white space may stand outside the root.
    fn text(&mut self, text: &str, position: u64) -> Result<(), XmlError> {
        if self.open.is_empty() && text.trim_ascii().is_empty() {
            return Ok(());
        }
        self.character_data(text, position)
    }

    fn character_data(&mut self, text: &str, position: u64) -> Result<(), XmlError> {
        match self.open.last_mut() {
            None => Err(at("text outside the root element", position)),
            Some(element) if self.skipped == 0 => {
                element.text.push_str(text);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    fn finish(self, position: u64) -> Result<Element, XmlError> {
        match (self.open.last(), self.root) {
            (Some(open), _) => Err(at(&format!("the document ends inside <{}>", cut(&open.name)), position)),
            (None, Some(root)) => Ok(root),
            (None, None) => Err(at("there is no element in it", position)),
        }
    }
}

fn at(reason: &str, position: u64) -> XmlError {
    XmlError::Malformed(format!("{reason} (at byte {position})"))
}

fn refusal(error: &quick_xml::Error, position: u64) -> XmlError {
    use quick_xml::errors::SyntaxError;
    let reason = match error {
        quick_xml::Error::Syntax(SyntaxError::UnclosedDoctype) => return XmlError::Doctype,
        quick_xml::Error::Syntax(error) => error.to_string(),
        quick_xml::Error::IllFormed(error) => error.to_string(),
        other => other.to_string(),
    };
    at(&reason.chars().take(200).collect::<String>(), position)
}

/// Names in messages: what a hostile document calls its elements may be megabytes long.
pub(super) fn cut(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

fn is_name(name: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' || !byte.is_ascii();
    let follows = |byte: u8| starts(byte) || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    name.bytes().next().is_some_and(starts) && name.bytes().all(follows)
}

/// The characters of a document, from whatever encoding it is in, all of them such that XML can carry them.
fn decode(document: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let detected = detect_encoding(document);
    let bytes = &document[detected.as_ref().map_or(0, DetectedEncoding::bom_len)..];
    let text = match detected {
        None | Some(DetectedEncoding::AsciiCompatible | DetectedEncoding::Utf8Bom) => decode_as_declared(bytes)?,
        Some(wide) => wide.encoding().decode_without_bom_handling(bytes).0,
    };
    if text.bytes().all(|byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r')) {
        return Ok(text);
    }
    Ok(Cow::Owned(text.chars().map(|c| if is_xml(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()))
}

/// Decodes as the XML declaration says; UTF-8 if it says nothing.
fn decode_as_declared(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let Some(declaration) = declaration(bytes) else { return Ok(utf8_else_latin1(bytes)) };
    let Some(Ok(name)) = declaration.encoding() else { return Ok(utf8_else_latin1(bytes)) };
    match declaration.encoder() {
        // The declaration could be read as ASCII, so this is not UTF-16, whatever it says.
        Some(encoding) if encoding.name() == "UTF-8" || encoding.name().starts_with("UTF-16") => {
            Ok(utf8_else_latin1(bytes))
        }
        Some(encoding) if encoding.is_ascii_compatible() => Ok(encoding.decode_without_bom_handling(bytes).0),
        _ => Err(XmlError::Encoding(cut(&name).into_owned())),
    }
}

/// UTF-8; a byte that is not is the ISO-8859-1 character of its number. A stock Unix agent copies the name of an old
/// machine into a document that says it is UTF-8, and so nothing of it is lost.
fn utf8_else_latin1(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    Cow::Owned(text)
}

fn declaration(bytes: &[u8]) -> Option<BytesDecl<'_>> {
    // Longer than any declaration; what goes on beyond that is not one.
    const LONGEST: usize = 256;
    let bytes = bytes.trim_ascii_start().strip_prefix(b"<?")?;
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let end = bytes.windows(2).position(|pair| pair == b"?>")?;
    let content = std::str::from_utf8(&bytes[..end]).ok().filter(|content| content.starts_with("xml"))?;
    Some(BytesDecl::from_start(BytesStart::from_content(content, "xml".len())))
}

/// An attribute's value: references resolved, white space characters made blanks. `None` for a raw ampersand.
fn attribute_value(raw: &str, raw_ampersands: bool) -> Option<String> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(position) = rest.bytes().position(|byte| matches!(byte, b'&' | b'\t' | b'\n' | b'\r')) {
        value.push_str(&rest[..position]);
        rest = &rest[position..];
        if let Some(after) = rest.strip_prefix('&') {
            match reference(after) {
                Some((character, length)) => {
                    value.push(character);
                    rest = &after[length..];
                }
                None if raw_ampersands => {
                    value.push('&');
                    rest = after;
                }
                None => return None,
            }
        } else {
            value.push(' ');
            rest = rest.strip_prefix("\r\n").unwrap_or_else(|| &rest[1..]);
        }
    }
    value.push_str(rest);
    Some(value)
}

/// The reference that follows an ampersand, and how long it is with its semicolon.
fn reference(after: &str) -> Option<(char, usize)> {
    // Longer than any: without a bound, a megabyte of ampersands would be a million megabytes to look through.
    const LONGEST: usize = 16;
    let end = after.bytes().take(LONGEST).position(|byte| byte == b';')?;
    Some((resolve(&after[..end])?, end + 1))
}

/// A predefined entity or a character by its number. One that XML cannot carry is U+FFFD.
fn resolve(name: &str) -> Option<char> {
    let number = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        other => other.strip_prefix('#')?,
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let character = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    Some(character.filter(|c| is_xml(*c)).unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Can XML 1.0 carry it?
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Where text is written, which decides what must be escaped.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Between tags.
    Text,
    /// Between double quotes.
    Attribute,
    /// Between double quotes in an info file, where the stock console leaves `>` as it is.
    InfoAttribute,
}

/// Writes text so that a reader gets it back; characters that XML cannot carry are written as U+FFFD.
pub(super) fn push_escaped(out: &mut String, text: &str, place: Place) {
    // Most texts have nothing in them that needs a look: ids, numbers, addresses.
    if text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' '..=b'!' | b'#'..=b'%' | b'\''..=b'/' | b':'))
    {
        out.push_str(text);
        return;
    }
    let mut written = 0;
    for (position, character) in text.char_indices() {
        let escaped = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' if place != Place::InfoAttribute => "&gt;",
            '"' if place != Place::Text => "&quot;",
            '\r' => "&#13;",
            '\n' if place != Place::Text => "&#10;",
            '\t' if place != Place::Text => "&#9;",
            character if is_xml(character) => continue,
            _ => "\u{fffd}",
        };
        out.push_str(&text[written..position]);
        out.push_str(escaped);
        written = position + character.len_utf8();
    }
    out.push_str(&text[written..]);
}

/// Writes ` NAME="value"`.
pub(super) fn push_attribute(out: &mut String, name: &str, value: &str, place: Place) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    push_escaped(out, value, place);
    out.push('"');
}

/// Writes `<NAME>text</NAME>` on a line of its own.
pub(super) fn push_leaf(out: &mut String, depth: usize, name: &str, text: &str) {
    push_indent(out, depth);
    out.push('<');
    out.push_str(name);
    out.push('>');
    push_escaped(out, text, Place::Text);
    push_close(out, name);
}

/// Writes `<NAME>` on a line of its own.
pub(super) fn push_open(out: &mut String, depth: usize, name: &str) {
    push_indent(out, depth);
    out.push('<');
    out.push_str(name);
    out.push_str(">\n");
}

/// Writes `</NAME>` on a line of its own.
pub(super) fn push_end(out: &mut String, depth: usize, name: &str) {
    push_indent(out, depth);
    push_close(out, name);
}

/// Two blanks a level, as all stock writers on the Perl side do.
pub(super) fn push_indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn push_close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push_str(">\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &[u8]) -> Result<Element, XmlError> {
        parse(document, &RequestLimits::DEFAULT)
    }

    /// A document on one line, as the reader understood it.
    fn show(element: &Element) -> String {
        let attributes: Vec<String> =
            element.attributes.iter().map(|(key, value)| format!(" {key}={value:?}")).collect();
        let children: String = element.children.iter().map(show).collect();
        format!("<{}{} {:?}{children}>", element.name, attributes.concat(), element.text)
    }

    fn check(document: &str) -> String {
        match read(document.as_bytes()) {
            Ok(root) => show(&root),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn text_comes_together_from_its_pieces() {
        assert_eq!(check("<a>x &amp; <![CDATA[<y>&]]><!-- no -->&#65;&#x42;</a>"), r#"<a "x & <y>&AB">"#);
        assert_eq!(check("<a> x\r\ny\rz </a>"), r#"<a " x\ny\nz ">"#);
        assert_eq!(check("<a><b> </b>t<c k='1'/>u</a>"), r#"<a "tu"<b " "><c k="1" "">>"#);
    }

    #[test]
    fn attributes_are_normalised_as_xml_says() {
        assert_eq!(check("<a k='1\r\n2\t3&#10;4&quot;' l=\"&lt;'\"/>"), r#"<a k="1 2 3\n4\"" l="<'" "">"#);
        assert_eq!(check("<a k = '1'\n\tl='2' ></a >"), r#"<a k="1" l="2" "">"#);
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_replaced() {
        assert_eq!(check("<a k='\u{1}&#0;'>\u{b}&#xFFFF;&#xD800;&#99999999;</a>"), r#"<a k="��" "����">"#);
        assert_eq!(show(&read(b"<a>b\xfcro \xff\xe4</a>").expect("read")), r#"<a "büro ÿä">"#);
        let mixed = [b"<a>".as_slice(), "ü".as_bytes(), b"\xfc", "€".as_bytes(), b"\xe2\x82</a>"].concat();
        assert_eq!(show(&read(&mixed).expect("read")), r#"<a "üü€â\u{82}">"#);
    }

    #[test]
    fn declared_encodings_are_honoured() {
        let document = |name: &str, bytes: &[u8]| {
            [format!("<?xml version=\"1.0\" encoding='{name}' ?>\n<a>").as_bytes(), bytes, b"</a>"].concat()
        };
        for (name, bytes, text) in [
            ("UTF-8", "ä€".as_bytes(), "ä€"),
            ("iso-8859-1", b"\xe4".as_slice(), "ä"),
            ("ISO-8859-15", b"\xa4", "€"),
            ("windows-1251", b"\xcf\xca", "ПК"),
            ("windows-1252", b"\x80", "€"),
            ("Shift_JIS", b"\x83\x65", "テ"),
            // It could be read, so it is not what it says.
            ("UTF-16", "ä".as_bytes(), "ä"),
        ] {
            assert_eq!(read(&document(name, bytes)).expect(name).text, text, "{name}");
        }
        for name in ["EBCDIC", "", "iso-2022-jp", "hz-gb-2312"] {
            assert_eq!(read(&document(name, b"x")), Err(XmlError::Encoding(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn utf_16_is_told_by_its_first_bytes() {
        let text = "<?xml version='1.0' encoding='UTF-16'?><a>ä€</a>";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for document in [[b"\xff\xfe", &*little].concat(), [b"\xfe\xff", &*big].concat(), little, big] {
            assert_eq!(read(&document).expect("read").text, "ä€");
        }
        assert_eq!(read(b"\xef\xbb\xbf<a>\xc3\xa4</a>").expect("read").text, "ä");
    }

    #[test]
    fn what_is_not_well_formed_is_refused_with_its_place() {
        let refusals: Vec<String> = [
            "",
            "   ",
            "plain",
            "<a>",
            "<a><b></a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>text",
            "x<a/>",
            "<a/>&amp;",
            "<a k='1' k='2'/>",
            "<a k=1/>",
            "<a k/>",
            "<a k='<'/>",
            "<a k='&'/>",
            "<a k='&nbsp;'/>",
            "<a>&nbsp;</a>",
            "<a>& b</a>",
            "<a>&#x;&#-1;</a>",
            "<1/>",
            "< a/>",
            "<a 1='2'/>",
            "<a>\n<?xml version='1.0'?></a>",
            "<a",
            "<a k='",
            "<!-- ",
            "<a><![CDATA[ </a>",
        ]
        .iter()
        .map(|document| {
            format!("{document:?}: {}", check(document).trim_start_matches("refused: not well-formed XML: "))
        })
        .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        "": there is no element in it (at byte 0)
        "   ": there is no element in it (at byte 0)
        "plain": text outside the root element (at byte 0)
        "<a>": the document ends inside <a> (at byte 3)
        "<a><b></a></b>": expected `</b>`, but `</a>` was found (at byte 6)
        "</a>": close tag `</a>` does not match any open tag (at byte 0)
        "<a/><b/>": <b> after the end of the root element (at byte 4)
        "<a/>text": text outside the root element (at byte 4)
        "x<a/>": text outside the root element (at byte 0)
        "<a/>&amp;": text outside the root element (at byte 4)
        "<a k='1' k='2'/>": in <a>: position 8: duplicated attribute, previous declaration at position 2 (at byte 0)
        "<a k=1/>": in <a>: position 4: attribute value must be enclosed in `"` or `'` (at byte 0)
        "<a k/>": in <a>: position 3: attribute key must be directly followed by `=` or space (at byte 0)
        "<a k='<'/>": attribute k of <a> holds a raw "<", which must be written &lt; (at byte 0)
        "<a k='&'/>": attribute k of <a> holds an "&" that begins no reference and must be written &amp; (at byte 0)
        "<a k='&nbsp;'/>": attribute k of <a> holds an "&" that begins no reference and must be written &amp; (at byte 0)
        "<a>&nbsp;</a>": the entity &nbsp; is not declared (at byte 3)
        "<a>& b</a>": entity or character reference not closed: `;` not found before end of input (at byte 3)
        "<a>&#x;&#-1;</a>": the entity &#x; is not declared (at byte 3)
        "<1/>": "1" is no name of an element (at byte 0)
        "< a/>": "" is no name of an element (at byte 0)
        "<a 1='2'/>": attribute 1 of <a> has no proper name (at byte 0)
        "<a>\n<?xml version='1.0'?></a>": an XML declaration in the middle (at byte 4)
        "<a": tag not closed: `>` not found before end of input (at byte 0)
        "<a k='": attribute value not closed: `'` not found before end of input (at byte 0)
        "<!-- ": comment not closed: `-->` not found before end of input (at byte 0)
        "<a><![CDATA[ </a>": CDATA not closed: `]]>` not found before end of input (at byte 3)
        "#);
    }

    #[test]
    fn a_doctype_is_refused_finished_or_not() {
        for document in [
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
            "<?xml version='1.0'?>\n<!doctype a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<!DOCTYPE a [",
            "<a><!DOCTYPE b></a>",
        ] {
            assert_eq!(read(document.as_bytes()), Err(XmlError::Doctype), "{document}");
        }
    }

    #[test]
    fn limits_hold_to_the_last_one_that_is_allowed() {
        let limits = RequestLimits { depth: 2, attributes: 2, elements: 3, ..RequestLimits::DEFAULT };
        let check = |document: &str| match parse(document.as_bytes(), &limits) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(check("<a k='' l=''><b/><c></c></a>"), "taken");
        assert_eq!(check("<a><b/><c/><d/></a>"), "the document has more than 3 elements");
        assert_eq!(check("<a><b><c/></b></a>"), "the document has more than 2 levels of elements");
        assert_eq!(check("<a k='' l='' m=''/>"), "the document has more than 2 attributes in one element");
    }

    #[test]
    fn a_value_is_an_attribute_or_a_child_that_says_something() {
        let root = read(b"<a k='1' e=''><k>2</k><l/><l> </l><l> 3 </l><m/><n><o/></n></a>").expect("read");
        let values = ["k", "e", "l", "m", "n", "z"].map(|name| root.value(name));
        assert_eq!(values, [Some("1"), Some(""), Some(" 3 "), None, None, None]);
        assert_eq!(root.verbatim("l"), Some(""));
    }

    #[test]
    fn what_is_not_kept_is_counted_and_checked() {
        let rules = Rules { keep: |open, name| open.is_empty() || name != "skip", ..Rules::ALL };
        let check = |document: &str, limits: &RequestLimits| {
            parse_with(document.as_bytes(), limits, &rules).map(|root| show(&root)).map_err(|error| error.to_string())
        };
        let all = RequestLimits::DEFAULT;
        let kept = check("<a><skip k='1'>x<b>y</b>z</skip>t<b/></a>", &all);
        assert_eq!(kept.as_deref(), Ok(r#"<a "t"<b "">>"#));
        assert!(check("<a><skip k='<'/></a>", &all).is_err());
        assert!(check("<a><skip>&what;</skip></a>", &all).is_err());
        assert!(check("<a><skip><b></skip></a>", &all).is_err());
        assert!(check("<a><skip><b/></skip></a>", &RequestLimits { depth: 2, ..all }).is_err());
        assert!(check("<a><skip><b/></skip></a>", &RequestLimits { elements: 2, ..all }).is_err());
        let few = Rules { kept: 2, ..Rules::ALL };
        assert!(parse_with(b"<a><b/></a>", &all, &few).is_ok());
        assert!(matches!(parse_with(b"<a><b/><b/></a>", &all, &few), Err(XmlError::TooMany { limit: 2, .. })));
    }

    #[test]
    fn stray_ampersands_are_text_where_that_is_asked_for() {
        let rules = Rules { raw_ampersands: true, ..Rules::ALL };
        let check =
            |document: &str| parse_with(document.as_bytes(), &RequestLimits::DEFAULT, &rules).map(|root| show(&root));
        assert_eq!(
            check("<a k='x && y &amp; &z; &#65; &'>x && y &amp; &z; &#65; &</a>").as_deref(),
            Ok(r#"<a k="x && y & &z; A &" "x && y & &z; A &">"#)
        );
    }

    #[test]
    fn what_is_written_is_escaped_once() {
        let write = |place| {
            let mut out = String::new();
            push_escaped(&mut out, "a & b < c > d \" ' \r\n\t\u{0}é&amp;\u{ffff}", place);
            out
        };
        assert_eq!(write(Place::Text), "a &amp; b &lt; c &gt; d \" ' &#13;\n\t\u{fffd}é&amp;amp;\u{fffd}");
        let attribute = "a &amp; b &lt; c &gt; d &quot; ' &#13;&#10;&#9;\u{fffd}é&amp;amp;\u{fffd}";
        assert_eq!(write(Place::Attribute), attribute);
        assert_eq!(write(Place::InfoAttribute), attribute.replace("&gt;", ">"));
    }
}
