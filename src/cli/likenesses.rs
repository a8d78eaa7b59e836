//! `dripfeed computer add`, `duplicates` and `keep-apart`.

use serde_json::{Value, json};

use super::Done;
use super::context::refused;
use super::output::{Output, count, printable, say};
use crate::clock;
use crate::model::DeviceId;
use crate::service::desk::Desk;
use crate::service::entry::Pattern;
use crate::service::likenesses::Pair;

/// Pairs that are read at a time.
const PAGE: usize = 1000;

pub(super) fn add(desk: &Desk, pattern: &Pattern, json: bool, output: &mut Output) -> Done {
    let added = desk.enter_computers(pattern).map_err(refused)?;
    if json {
        let ids: Vec<&str> = added.iter().map(DeviceId::as_str).collect();
        return output.json(&json!({ "device_ids": ids }));
    }
    output.line(format_args!("wrote down {}", count(added.len() as u64, "computer")))?;
    for id in &added {
        output.line(format_args!("  {}", printable(id.as_str())))?;
    }
    Ok(())
}

pub(super) fn list(desk: &Desk, json: bool, output: &mut Output) -> Done {
    let pairs = desk.every_likeness(PAGE).map_err(refused)?;
    if json {
        return output.json(&pairs.iter().map(view).collect::<Vec<Value>>());
    }
    if pairs.is_empty() {
        say("no two computers look like one");
        return Ok(());
    }
    let row = |pair: &Pair| {
        let (away, kept) = pair.away_and_kept();
        [
            printable(kept.computer.device_id.as_str()),
            printable(away.computer.device_id.as_str()),
            pair.same().join(", "),
            clock::local_text(pair.likeness.seen_at),
        ]
    };
    output.table(["HEARD OF LAST", "THE OTHER ONE", "THE SAME", "SINCE"], &pairs.iter().map(row).collect::<Vec<_>>())
}

fn view(pair: &Pair) -> Value {
    let (away, kept) = pair.away_and_kept();
    json!({
        "kept": kept.computer.device_id.as_str(),
        "away": away.computer.device_id.as_str(),
        "same": pair.same(),
        "seen_at": clock::utc_text(pair.likeness.seen_at),
    })
}

pub(super) fn keep_apart(desk: &Desk, (one, other): (&str, &str), undo: bool, json: bool, output: &mut Output) -> Done {
    let done = if undo { desk.ask_again(one, other) } else { desk.keep_apart(one, other) };
    let (one, other) = done.map_err(refused)?;
    if json {
        let pair = [one.device_id.as_str(), other.device_id.as_str()];
        return output.json(&json!({ "computers": pair, "two": !undo }));
    }
    let (one, other) = (printable(one.device_id.as_str()), printable(other.device_id.as_str()));
    if undo {
        return output.line(format_args!("{one} and {other} are listed as duplicates again"));
    }
    output.line(format_args!("{one} and {other} are two computers"))
}
