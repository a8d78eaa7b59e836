//! `/duplicates`, and `POST /computers`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{ComputerId, UnixTime};
use crate::service::desk::Refusal;
use crate::service::entry::Pattern;
use crate::service::likenesses::{Pair, Side};
use crate::store::likenesses::Likeness;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/duplicates",
            "list_duplicates",
            "Pairs that look like one computer and about which nobody has decided, the newest first",
            Right::SeeComputers,
            list,
        ),
        operation(
            Method::PUT,
            "/duplicates",
            "decide_duplicate",
            "Says that two computers that look like one are two, or has somebody asked again; merging is `/computers/{computer}/merge`",
            Right::RemoveComputers,
            decide,
        ),
        operation(
            Method::POST,
            "/computers",
            "enter_computers",
            "Writes computers down before their agents come: the agent that comes under what is written takes it all over",
            Right::EditComputers,
            enter,
        )
        .creates(),
    ]
}

/// One of two.
#[derive(JsonSchema, Serialize)]
struct SideView {
    /// Its device id.
    device_id: String,
    /// Its name.
    name: String,
    /// When it was last heard of.
    last_contact: String,
    /// Jobs that it would give to the other one.
    jobs: usize,
}

impl From<&Side> for SideView {
    fn from(side: &Side) -> Self {
        Self {
            device_id: side.computer.device_id.to_string(),
            name: side.computer.name.clone(),
            last_contact: utc_text(side.computer.last_contact),
            jobs: side.gift.jobs,
        }
    }
}

/// What is not the same.
#[derive(JsonSchema, Serialize)]
struct DifferenceView {
    /// What it is: `Serial number`.
    what: &'static str,
    /// What the older one says.
    older: String,
    /// What the newer one says.
    newer: String,
}

/// Two that look like one.
#[derive(JsonSchema, Serialize)]
struct PairView {
    /// The one that came first.
    older: SideView,
    /// The other one.
    newer: SideView,
    /// What they have in common: `serial number`, `MAC address`, `UUID`, `name`, `model`.
    same: Vec<&'static str>,
    /// What they have not.
    differences: Vec<DifferenceView>,
    /// The device id of the one that was heard of last: the one to keep, unless somebody knows better.
    keep: String,
    /// Since when that is known.
    seen_at: String,
}

impl From<Pair> for PairView {
    fn from(pair: Pair) -> Self {
        let difference = |(what, older, newer)| DifferenceView { what, older, newer };
        Self {
            older: SideView::from(&pair.older),
            newer: SideView::from(&pair.newer),
            same: pair.same(),
            differences: pair.differences().into_iter().map(difference).collect(),
            keep: pair.away_and_kept().1.computer.device_id.to_string(),
            seen_at: utc_text(pair.likeness.seen_at),
        }
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<PairView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let after = asked.query.after.as_deref().map(place).transpose()?;
    let pairs = asked.desk().likenesses(after, limit + 1)?;
    let key = |last: &Pair| format!("{}-{}", last.likeness.newer, last.likeness.older);
    Ok(Page::cut(pairs, limit, key, PairView::from))
}

fn place(text: &str) -> Result<Likeness, Refusal> {
    let parts = text.split_once('-').and_then(|(newer, older)| Some((newer.parse().ok()?, older.parse().ok()?)));
    let (newer, older) = parts.ok_or_else(|| Refusal::invalid("expected `next` of the page before").about("after"))?;
    Ok(Likeness { older: ComputerId(older), newer: ComputerId(newer), same: 0, seen_at: UnixTime::from_millis(0) })
}

/// A decision about two.
#[derive(Deserialize, JsonSchema)]
struct DecisionBody {
    /// One: its device id, or its name.
    one: String,
    /// The other one.
    other: String,
    /// `true`: they are two, and nobody is asked again. `false`: that is taken back.
    two: bool,
}

fn decide(asked: Asked<Nothing, Nothing, DecisionBody>) -> Result<Nothing, Refusal> {
    let body = &asked.body;
    if body.two {
        asked.desk().keep_apart(&body.one, &body.other)?;
    } else {
        asked.desk().ask_again(&body.one, &body.other)?;
    }
    Ok(Nothing {})
}

/// Computers that differ by a number.
#[derive(Clone, Deserialize, JsonSchema)]
struct EntryBody {
    /// The host name; `#` stands for the number, `###` for three digits of it.
    name: String,
    /// How many, from 1 to 1000; 1 if it is not said.
    #[serde(default = "one")]
    count: u32,
    /// The first one's number; 1 if it is not said.
    #[serde(default = "one")]
    first: u32,
    /// The serial number, with `#` likewise; empty if nobody knows it.
    #[serde(default)]
    serial: String,
    /// The MAC address of the first one; those of the others are counted up. Empty if nobody knows it.
    #[serde(default)]
    mac: String,
    /// The tag of all.
    #[serde(default)]
    tag: String,
}

fn one() -> u32 {
    1
}

/// Computers that were written down.
#[derive(JsonSchema, Serialize)]
struct EnteredView {
    /// Their device ids, until their agents come.
    device_ids: Vec<String>,
}

fn enter(asked: Asked<Nothing, Nothing, EntryBody>) -> Result<EnteredView, Refusal> {
    let EntryBody { name, count, first, serial, mac, tag } = asked.body.clone();
    let added = asked.desk().enter_computers(&Pattern { count, first, name, serial, mac, tag })?;
    Ok(EnteredView { device_ids: added.iter().map(ToString::to_string).collect() })
}
