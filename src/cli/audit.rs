//! `dripfeed audit …`

use serde_json::{Value, json};

use super::args::{AuditVerb, Place};
use super::context::{desk, open, refused};
use super::output::{Output, printable, say};
use super::{Done, Failure};
use crate::clock;
use crate::model::UnixTime;
use crate::store::audit::{Line, Wanted};

pub(super) fn run(place: &Place, verb: AuditVerb, output: &mut Output) -> Done {
    let AuditVerb::List { actor, action, subject, from, to, limit, json } = verb;
    let wanted = Wanted { actor, action, subject, from: moment(from)?, to: moment(to)?, before: None };
    let lines = desk(place, open(place)?.app).audit(wanted, limit).map_err(refused)?;
    if json {
        return output.json(&lines.iter().map(view).collect::<Vec<Value>>());
    }
    if lines.is_empty() {
        say("no such line: every change is written down, by whatever door it comes");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = lines
        .into_iter()
        .map(|line| {
            let (actor, subject) = (printable(&line.actor), printable(&line.subject));
            [clock::local_text(line.at()), actor, line.via, line.action, subject]
        })
        .collect();
    output.table(["WHEN", "WHO", "VIA", "DID", "TO"], &rows)
}

fn moment(text: Option<String>) -> Result<Option<UnixTime>, Failure> {
    let read = |text: String| {
        clock::parse(&text).ok_or_else(|| {
            Failure::refused(format!("\"{text}\" is not a moment: write 2026-11-20 or 2026-11-20T10:00:00Z"))
        })
    };
    text.map(read).transpose()
}

fn view(line: &Line) -> Value {
    let document = |text: &Option<String>| -> Value {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    json!({
        "id": line.id,
        "at": clock::utc_text(line.at()),
        "actor": line.actor,
        "via": line.via,
        "peer_address": line.peer_address,
        "action": line.action,
        "subject": line.subject,
        "before": document(&line.before),
        "after": document(&line.after),
    })
}
