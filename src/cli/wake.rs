//! `dripfeed computer wake`

use serde_json::{Value, json};

use super::context::refused;
use super::output::{Output, count, printable};
use super::{Done, Failure};
use crate::clock::utc_text;
use crate::model::DeviceId;
use crate::model::query::{Expr, Query};
use crate::service::desk::Desk;
use crate::service::desk::computers::{Asked, Bulk, Chosen};
use crate::store::wakes::Wake;

/// Whom the verb names, in one of three ways.
pub(super) fn chosen(computers: Vec<String>, query: Option<String>, group: Option<String>) -> Result<Chosen, Failure> {
    let query = match (query, group) {
        (Some(query), _) => query,
        (None, Some(group)) => {
            let members = Query::try_from(Expr::InGroup(group)).map_err(|error| Failure::Refused(error.into()))?;
            members.to_string()
        }
        (None, None) => return Ok(Chosen::Named(computers)),
    };
    Ok(Chosen::All(Asked { query, ..Asked::default() }))
}

pub(super) fn run(desk: &Desk, chosen: &Chosen, json: bool, output: &mut Output) -> Done {
    let done = desk.change_many(chosen, &Bulk::Wake).map_err(refused)?;
    let names: Vec<&str> = done.named.iter().map(DeviceId::as_str).collect();
    if json {
        let (woken, waiting) = (done.changed, done.left);
        return output
            .json(&json!({ "woken": woken, "waiting": waiting, "unable": done.unable, "unable_first": names }));
    }
    if done.changed > 0 || done.left + done.unable == 0 {
        output.line(format_args!("waking {}, one after the other", count(done.changed as u64, "computer")))?;
    }
    if done.left > 0 {
        output.line(format_args!("{} waiting for that already", count(done.left as u64, "computer")))?;
    }
    if done.unable == 0 {
        return Ok(());
    }
    let unable = count(done.unable as u64, "computer");
    output.line(format_args!("{unable} cannot be woken, because no MAC address of a card is known:"))?;
    names.iter().try_for_each(|name| output.line(format_args!("  {}", printable(name))))?;
    let more = done.unable - names.len();
    if more > 0 { output.line(format_args!("  and {more} more")) } else { Ok(()) }
}

/// A wish to wake a computer and what became of it, as JSON.
pub(super) fn view(wake: &Wake) -> Value {
    json!({
        "asked_at": utc_text(wake.asked_at),
        "by": wake.by,
        "deployment": wake.deployment.map(|id| id.0),
        "state": wake.state.as_str(),
        "sent_at": wake.sent_at.map(utc_text),
        "came_at": wake.came_at.map(utc_text),
        "problem": wake.problem,
    })
}
