//! `/audit`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Asked, Nothing, Operation, Page, limit, operation};
use crate::clock;
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::audit::{Line, Wanted};

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(Method::GET, "/audit", "list_audit", "Who changed what, newest first", Right::SeeAudit, list)]
}

/// Which lines are wanted.
#[derive(Default, Deserialize, JsonSchema)]
struct Filter {
    /// Part of the name of who did it.
    actor: Option<String>,
    /// Part of what was done: `user add`.
    action: Option<String>,
    /// Part of what it was done to: `package 1795170000`.
    subject: Option<String>,
    /// Not before this moment.
    from: Option<String>,
    /// Before this moment.
    to: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

/// A change.
#[derive(JsonSchema, Serialize)]
struct LineView {
    /// Its number: later lines have larger ones.
    id: i64,
    /// When.
    at: String,
    /// Who.
    actor: String,
    /// Through which door: `console`, `api`, `command line` or `server`.
    via: String,
    /// From where; empty on the machine itself.
    peer_address: String,
    /// What was done, in words of the command line.
    action: String,
    /// To what.
    subject: String,
    /// What was there before.
    before: Value,
    /// What was asked for.
    after: Value,
}

impl From<Line> for LineView {
    fn from(line: Line) -> Self {
        let at = line.at();
        let document = |text: Option<String>| -> Value {
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        };
        Self {
            id: line.id,
            at: clock::utc_text(at),
            actor: line.actor,
            via: line.via,
            peer_address: line.peer_address,
            action: line.action,
            subject: line.subject,
            before: document(line.before),
            after: document(line.after),
        }
    }
}

fn moment(text: Option<&str>, field: &'static str) -> Result<Option<UnixTime>, Refusal> {
    let read = |text| {
        clock::parse(text)
            .ok_or_else(|| Refusal::invalid("a moment is written as 2026-11-20 or 2026-11-20T10:00:00Z").about(field))
    };
    text.map(read).transpose()
}

fn list(asked: Asked<Nothing, Filter, Nothing>) -> Result<Page<LineView>, Refusal> {
    let filter = &asked.query;
    let limit = limit(filter.limit)?;
    let before = filter.after.as_deref().map(str::parse).transpose();
    let wanted = Wanted {
        actor: filter.actor.clone().unwrap_or_default(),
        action: filter.action.clone().unwrap_or_default(),
        subject: filter.subject.clone().unwrap_or_default(),
        from: moment(filter.from.as_deref(), "from")?,
        to: moment(filter.to.as_deref(), "to")?,
        before: before.map_err(|_| Refusal::invalid("`after` is `next` of the page before").about("after"))?,
    };
    let lines = asked.desk().audit(wanted, limit + 1)?;
    Ok(Page::cut(lines, limit, |line| line.id.to_string(), LineView::from))
}
