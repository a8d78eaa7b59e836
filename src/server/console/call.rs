//! What a page is given and what it gives.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Instant;

use askama::Template;
use axum::response::Response;
use http::Method;

use super::super::Site;
use super::super::visit::Visit;
use super::shell::Shell;
use super::toast::{Toast, Undo};
use crate::model::access::Right;
use crate::service::desk::{Desk, Refusal};

/// A page: where it is, who may see it, what it does.
pub(in crate::server) struct Page {
    /// GET or POST.
    pub(in crate::server) method: Method,
    /// Its address, parameters in braces.
    pub(in crate::server) path: &'static str,
    /// The right that it needs; `None` for everybody who is signed in.
    pub(in crate::server) right: Option<Right>,
    /// What it does. Runs beside the workers: it may block.
    pub(super) run: fn(&Call) -> Result<View, Refusal>,
}

/// A page that shows.
pub(super) fn get(
    path: &'static str,
    right: impl Into<Option<Right>>,
    run: fn(&Call) -> Result<View, Refusal>,
) -> Page {
    Page { method: Method::GET, path, right: right.into(), run }
}

/// A form that changes.
pub(super) fn post(
    path: &'static str,
    right: impl Into<Option<Right>>,
    run: fn(&Call) -> Result<View, Refusal>,
) -> Page {
    Page { method: Method::POST, path, right: right.into(), run }
}

/// What a page gives.
pub(super) enum View {
    /// A page, or the part that was asked for.
    Html(String),
    /// The same with a status that is not 200: a form that was refused (422).
    Refused(String),
    /// Another page, with a sentence for whoever comes there.
    To {
        /// Its address on this server.
        address: String,
        /// What was done.
        toast: Option<Toast>,
    },
    /// Anything else: a download, a stream.
    Other(Box<Response>),
}

impl View {
    /// On to another page.
    pub(super) fn to(address: impl Into<String>) -> Result<Self, Refusal> {
        Ok(Self::To { address: address.into(), toast: None })
    }

    /// On to another page, which says what was done.
    pub(super) fn done(address: impl Into<String>, toast: impl Into<String>) -> Result<Self, Refusal> {
        Ok(Self::To { address: address.into(), toast: Some(Toast::new(toast)) })
    }

    /// The same with a button that takes it back.
    pub(super) fn undoable(address: impl Into<String>, toast: impl Into<String>, undo: Undo) -> Result<Self, Refusal> {
        let toast = Toast { text: toast.into(), undo: Some(undo) };
        Ok(Self::To { address: address.into(), toast: Some(toast) })
    }
}

/// Names with values, in their order; a name may come more than once.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The first value of a name, without the spaces around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first value as it came.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The first value if it is not blank.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Is a box of that name ticked?
    pub(super) fn is_on(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// A value of a type; refused with the type's own sentence.
    pub(super) fn parse<T>(&self, name: &'static str) -> Result<T, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        self.get(name).parse().map_err(|error: T::Err| Refusal::invalid(error.to_string()).about(name))
    }

    /// The same for a value that may be missing.
    pub(super) fn parse_some<T>(&self, name: &'static str) -> Result<Option<T>, Refusal>
    where
        T: FromStr<Err: Display>,
    {
        self.some(name).map(|_| self.parse(name)).transpose()
    }
}

/// A request for a page.
pub(super) struct Call {
    /// Who asks.
    pub(super) visit: Visit,
    /// The server.
    pub(super) site: Site,
    /// The parts of the address in braces.
    pub(super) path: Fields,
    /// What follows the question mark.
    pub(super) query: Fields,
    /// The query as it came, without the question mark.
    pub(super) query_text: String,
    /// The form.
    pub(super) form: Fields,
    /// The id of the element that is wanted alone (`X-Fragment`), if the script asks.
    pub(super) fragment: Option<String>,
    /// The address without its query.
    pub(super) address: String,
    /// `dark` or `light`, if somebody chose.
    pub(super) theme: Option<&'static str>,
    /// What was done before, to be said once.
    pub(super) toast: Option<Toast>,
    /// By which host name the browser reached us, with its port.
    pub(super) host: String,
    /// When the request came.
    pub(super) started: Instant,
}

impl Call {
    /// The desk of whoever asks.
    pub(super) fn desk(&self) -> &Desk {
        &self.visit.desk
    }

    /// The frame around a page. `nav` is the address of its place in the menu.
    pub(super) fn shell(&self, title: impl Into<String>, nav: &'static str) -> Shell {
        Shell::new(self, title.into(), nav)
    }

    /// Writes a page.
    #[expect(clippy::unused_self, reason = "a page is written for a call")]
    pub(super) fn page(&self, template: &impl Template) -> Result<View, Refusal> {
        Ok(View::Html(render(template)?))
    }

    /// Writes a page that shows a form again with what was wrong about it.
    #[expect(clippy::unused_self, reason = "a page is written for a call")]
    pub(super) fn again(&self, template: &impl Template) -> Result<View, Refusal> {
        Ok(View::Refused(render(template)?))
    }
}

/// Is it this field of the form that was wrong?
pub(super) fn is_about(error: Option<&Refusal>, field: &str) -> bool {
    error.is_some_and(|error| error.field == Some(field))
}

fn render(template: &impl Template) -> Result<String, Refusal> {
    template.render().map_err(Refusal::failed)
}
