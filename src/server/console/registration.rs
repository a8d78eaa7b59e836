//! `/registration`: which new agents may register a key, by their names or by the registration key.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use super::show::count;
use super::toast::Undo;
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::service::desk::{Kind, Refusal};
use crate::store::expected::Expected;

/// Where it is.
const ADDRESS: &str = "/registration";
/// Rows of a page.
const ROWS: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get(ADDRESS, Right::SeeComputers, page),
        post("/registration/names", Right::EditComputers, expect),
        post("/registration/names/remove", Right::EditComputers, unexpect),
        post("/registration/key", Right::EditSettings, renew),
        post("/registration/key/remove", Right::EditSettings, remove),
    ]
}

#[derive(Template)]
#[template(path = "registration.html")]
struct Registration {
    shell: Shell,
    configured: bool,
    made: Option<(UnixTime, String)>,
    all: u64,
    names: Vec<Expected>,
    next: Option<String>,
    q: String,
    typed: String,
    may_edit: bool,
    may_renew: bool,
    error: Option<Refusal>,
    /// The key that was made just now.
    new_key: Option<String>,
}

impl Registration {
    fn of(call: &Call, error: Option<Refusal>, new_key: Option<String>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let (q, after) = (call.query.get("q").to_owned(), call.query.some("after").map(str::to_owned));
        let mut names = desk.expected_computers(&q, after, ROWS + 1)?;
        let more = names.len() > ROWS;
        names.truncate(ROWS);
        let next = names.last().filter(|_| more);
        Ok(Self {
            shell: call.shell("Registration", ADDRESS),
            configured: call.site.has_registration_key(),
            made: desk.registration()?,
            all: desk.expected_count()?,
            next: next.map(|last| format!("{ADDRESS}?q={}&after={}", escaped(&q), escaped(&last.name))),
            names,
            q,
            typed: call.form.raw("names").to_owned(),
            may_edit: desk.may(Right::EditComputers),
            may_renew: desk.may(Right::EditSettings),
            error,
            new_key,
        })
    }

    /// What the registration key is just now, as a tone, an icon and a word.
    fn state(&self) -> (&'static str, &'static str, &'static str) {
        if self.configured || self.made.is_some() { ("ok", "lock", "in force") } else { ("neutral", "pause", "none") }
    }
}

fn page(call: &Call) -> Result<View, Refusal> {
    call.page(&Registration::of(call, None, None)?)
}

/// Names, one or more a line, with blanks or commas between.
fn names(call: &Call) -> Vec<String> {
    let words = call.form.all("names").flat_map(|text| text.split([',', ';', ' ', '\t', '\r', '\n']));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn back(names: &[String], address: &str) -> Undo {
    Undo::new(address).with("names", names.join(" "))
}

fn expect(call: &Call) -> Result<View, Refusal> {
    match call.desk().expect_computers(&names(call)) {
        Ok(added) if added.is_empty() => View::done(ADDRESS, "All of them were expected already."),
        Ok(added) => {
            let text = format!("{} expected.", count(added.len() as u64, "name"));
            View::undoable(ADDRESS, text, back(&added, "/registration/names/remove"))
        }
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Registration::of(call, Some(refusal), None)?),
        Err(refusal) => Err(refusal),
    }
}

fn unexpect(call: &Call) -> Result<View, Refusal> {
    match call.desk().unexpect_computers(&names(call)) {
        Ok(removed) if removed.is_empty() => View::done(ADDRESS, "None of them was expected."),
        Ok(removed) => {
            let text = format!("{} not expected any more.", count(removed.len() as u64, "name"));
            View::undoable(ADDRESS, text, back(&removed, "/registration/names"))
        }
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Registration::of(call, Some(refusal), None)?),
        Err(refusal) => Err(refusal),
    }
}

fn renew(call: &Call) -> Result<View, Refusal> {
    // On the page that answers, and nowhere else: a toast travels in a cookie.
    let key = call.desk().renew_registration()?;
    call.page(&Registration::of(call, None, Some(key))?)
}

fn remove(call: &Call) -> Result<View, Refusal> {
    match call.desk().remove_registration() {
        Ok(()) => View::done(ADDRESS, "The registration key is gone: nobody registers with it any more."),
        Err(refusal) if refusal.kind == Kind::Conflict => View::done(ADDRESS, "There was no registration key."),
        Err(refusal) => Err(refusal),
    }
}
