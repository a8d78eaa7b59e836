//! What was just done, said once on the next page; with a button that takes it back, where it can be.
//!
//! It travels in a cookie that no script and no other site can write (`__Host-`, `HttpOnly`), so what it holds is ours.

use super::super::visit::{escaped, unescaped};
use super::signin::own_address;

/// Characters of a sentence.
const SENTENCE: usize = 300;
/// Browsers keep cookies of 4 KiB.
const COOKIE: usize = 3500;

/// A form of ours that takes back what was done. Whoever presses it is asked for right and scope like for any form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Undo {
    pub(super) address: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Undo {
    /// Posts to this address.
    pub(super) fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), fields: Vec::new() }
    }

    /// With this field.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    fn written(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!("&{}={}", escaped(name), escaped(value)));
        format!("&{}{}", escaped(&self.address), fields.collect::<String>())
    }
}

/// A sentence and its inverse.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Toast {
    pub(super) text: String,
    pub(super) undo: Option<Undo>,
}

impl Toast {
    /// A sentence alone.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), undo: None }
    }

    /// As the cookie carries it: the sentence, the address and the fields, each escaped, `&` between.
    pub(super) fn written(&self) -> String {
        let text = escaped(&self.text.chars().take(SENTENCE).collect::<String>());
        let undo = self.undo.as_ref().map(Undo::written).unwrap_or_default();
        // Without the button it is still said.
        if text.len() + undo.len() > COOKIE { text } else { text + &undo }
    }

    /// What [`Toast::written`] made, read again; `None` for anything else.
    pub(super) fn read(cookie: &str) -> Option<Self> {
        let mut parts = cookie.split('&');
        let text = unescaped(parts.next()?).filter(|text| !text.is_empty())?;
        let Some(address) = parts.next() else { return Some(Self::new(text)) };
        let address = unescaped(address).filter(|address| own_address(address) == *address)?;
        let field = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((unescaped(name)?, unescaped(value)?))
        };
        let fields = parts.map(field).collect::<Option<_>>()?;
        Some(Self { text, undo: Some(Undo { address, fields }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let undo = Undo::new("/computers/a%2Fb/tag").with("tag", "Zürich & <b>=\"1\"</b>; x").with("empty", "");
        for toast in
            [Toast::new("Archived; \"it\" = back & forth."), Toast { text: "Tagged.".to_owned(), undo: Some(undo) }]
        {
            let written = toast.written();
            assert!(written.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)), "{written}");
            assert_eq!(Toast::read(&written), Some(toast));
        }
    }

    #[test]
    fn what_leads_elsewhere_or_is_broken_is_not_read() {
        for cookie in ["", "%", "a&https%3A%2F%2Fevil.example%2F", "a&%2F%2Fevil.example", "a&%2Fx&y", "a&%2Fx&%=1"] {
            assert_eq!(Toast::read(cookie), None, "{cookie:?}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_cookie_is_said_without_its_button() {
        let undo = Undo::new("/computers/views").with("query", "x".repeat(4000));
        let toast = Toast { text: "é".repeat(1000), undo: Some(undo) };
        let read = Toast::read(&toast.written()).expect("a sentence");
        assert_eq!((read.text.chars().count(), read.undo), (SENTENCE, None));
    }
}
