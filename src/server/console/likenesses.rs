//! `/duplicates`: pairs that look like one computer, to be merged or told apart; and `/entries`, where
//! computers are written down before they come.

use askama::Template;

use super::call::{Call, Page, View, get, post};
use super::computer;
use super::shell::Shell;
use super::show::count;
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::{ComputerId, UnixTime};
use crate::service::desk::{Kind, Refusal};
use crate::service::duplicates::Gift;
use crate::service::entry::Pattern;
use crate::service::likenesses::{Pair, Side};
use crate::store::likenesses::Likeness;

/// Where the queue is.
pub(super) const ADDRESS: &str = "/duplicates";
/// Where computers are written down.
pub(super) const NEW: &str = "/entries";
/// Pairs of a page.
const ROWS: usize = 10;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get(ADDRESS, Right::SeeComputers, list),
        post("/duplicates/merge", Right::RemoveComputers, merge),
        post("/duplicates/two", Right::RemoveComputers, two),
        post("/duplicates/ask", Right::RemoveComputers, ask),
        get(NEW, Right::EditComputers, form),
        post(NEW, Right::EditComputers, add),
    ]
}

#[derive(Template)]
#[template(path = "duplicates.html")]
struct List {
    shell: Shell,
    pairs: Vec<Pair>,
    next: Option<String>,
    may_decide: bool,
    sees_settings: bool,
}

impl List {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn address(&self, side: &Side) -> String {
        computer::address(&side.computer)
    }

    /// What both are called.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn names<'a>(&self, one: &'a Side, other: &'a Side) -> (&'a str, &'a str) {
        computer::told_apart(&one.computer, &other.computer)
    }

    /// What becomes of both, as a sentence.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn outcome(&self, away: &Side, kept: &Side) -> String {
        let (away_name, kept_name) = computer::told_apart(&away.computer, &kept.computer);
        let gift = said(&away.gift);
        let takes = if gift.is_empty() { "takes nothing over".to_owned() } else { format!("takes over {gift}") };
        format!("{kept_name} is kept and {takes}; {away_name} is archived. It can be taken back.")
    }
}

/// What is given, in words; empty if there is nothing.
fn said(gift: &Gift) -> String {
    let numbers = [(gift.jobs, "job"), (gift.fields, "field"), (gift.settings, "setting")];
    let counted = numbers.into_iter().filter(|(number, _)| *number > 0);
    let mut parts: Vec<String> = counted.map(|(number, what)| count(number as u64, what)).collect();
    parts.extend(gift.tag.as_ref().map(|tag| format!("the tag {tag}")));
    parts.join(", ")
}

fn list(call: &Call) -> Result<View, Refusal> {
    let desk = call.desk();
    let after = place(call)?;
    let mut pairs = desk.likenesses(after, ROWS + 1)?;
    let more = pairs.len() > ROWS;
    pairs.truncate(ROWS);
    let last = pairs.last().filter(|_| more).map(|pair| pair.likeness);
    call.page(&List {
        shell: call.shell("Duplicates", "/computers"),
        next: last.map(|last| format!("{ADDRESS}?newer={}&older={}", last.newer, last.older)),
        pairs,
        may_decide: desk.may(Right::RemoveComputers),
        sees_settings: desk.may(Right::SeeSettings),
    })
}

fn place(call: &Call) -> Result<Option<Likeness>, Refusal> {
    let (newer, older) = (call.query.parse_some::<i64>("newer")?, call.query.parse_some::<i64>("older")?);
    let place = newer.zip(older).map(|(newer, older)| Likeness {
        older: ComputerId(older),
        newer: ComputerId(newer),
        same: 0,
        seen_at: UnixTime::from_millis(0),
    });
    Ok(place)
}

fn merge(call: &Call) -> Result<View, Refusal> {
    let (away, kept) = call.desk().merge_computers(call.form.raw("away"), call.form.raw("kept"))?;
    let (away_name, kept_name) = computer::told_apart(&away, &kept);
    let text = format!("{kept_name} took over from {away_name}.");
    View::undoable(ADDRESS, text, Undo::new(format!("{}/unmerge", computer::address(&kept))))
}

fn two(call: &Call) -> Result<View, Refusal> {
    let (one, other) = call.desk().keep_apart(call.form.raw("one"), call.form.raw("other"))?;
    let (one_name, other_name) = computer::told_apart(&one, &other);
    let text = format!("{one_name} and {other_name} are two.");
    let undo = Undo::new("/duplicates/ask").with("one", one.device_id.as_str()).with("other", other.device_id.as_str());
    View::undoable(ADDRESS, text, undo)
}

fn ask(call: &Call) -> Result<View, Refusal> {
    call.desk().ask_again(call.form.raw("one"), call.form.raw("other"))?;
    View::done(ADDRESS, "They are in the list again.")
}

#[derive(Template)]
#[template(path = "computers-new.html")]
struct New {
    shell: Shell,
    typed: Typed,
    error: Option<Refusal>,
}

/// What was typed.
struct Typed {
    name: String,
    serial: String,
    mac: String,
    tag: String,
    count: String,
    first: String,
}

impl New {
    fn of(call: &Call, error: Option<Refusal>) -> Self {
        let or = |name: &str, other: &str| call.form.some(name).unwrap_or(other).to_owned();
        let typed = Typed {
            name: or("name", ""),
            serial: or("serial", ""),
            mac: or("mac", ""),
            tag: or("tag", ""),
            count: or("count", "1"),
            first: or("first", "1"),
        };
        Self { shell: call.shell("Add computers", "/computers"), typed, error }
    }
}

fn form(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    call.page(&New::of(call, None))
}

fn pattern(call: &Call) -> Result<Pattern, Refusal> {
    let text = |name: &str| call.form.get(name).to_owned();
    Ok(Pattern {
        count: call.form.parse_some("count")?.unwrap_or(1),
        first: call.form.parse_some("first")?.unwrap_or(1),
        name: text("name"),
        serial: text("serial"),
        mac: text("mac"),
        tag: text("tag"),
    })
}

fn add(call: &Call) -> Result<View, Refusal> {
    match pattern(call).and_then(|pattern| call.desk().enter_computers(&pattern)) {
        Ok(added) => View::done("/computers", format!("{} written down.", count(added.len() as u64, "computer"))),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&New::of(call, Some(refusal)))
        }
        Err(refusal) => Err(refusal),
    }
}
