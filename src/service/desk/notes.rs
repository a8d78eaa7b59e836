//! A note that was removed comes back as it was: what it said, and who wrote it when, stands in the log.

use serde_json::{Value, json};

use super::{Change, Desk, Refusal};
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::store::{audit, notes};

/// What removing a note is called in the log.
pub(super) const REMOVE: &str = "computer note remove";
/// Lines of a computer's log in which a note is looked for.
const LOOKED_BACK: usize = 100;

/// A removed note, as the line of its removal has it.
pub(super) fn written(note: &notes::Note) -> Value {
    json!({ "number": note.id, "note": note.text, "author": note.author, "at": note.at.millis() })
}

impl Desk {
    /// Brings a note back that was removed a while ago; gives its new number.
    pub fn restore_note(&self, name: &str, number: i64) -> Result<i64, Refusal> {
        let computer = self.computer(name)?;
        let subject = format!("computer {}", computer.device_id);
        let change = Change::new("computer note restore", subject.clone()).after(json!({ "number": number }));
        let app = self.changing(Right::EditComputers, change)?;
        let log = self.app.store.read_now(move |conn| audit::of_subject(conn, &subject, None, LOOKED_BACK))?;
        let removed = log.into_iter().filter(|line| line.action == REMOVE).find_map(|line| {
            let before: Value = serde_json::from_str(&line.before?).ok()?;
            (before.get("number")?.as_i64()? == number).then_some(before)
        });
        let restored = removed.and_then(|before| {
            let text = |key: &str| Some(before.get(key)?.as_str()?.to_owned());
            Some((UnixTime::from_millis(before.get("at")?.as_i64()?), text("author")?, text("note")?))
        });
        let (at, author, text) =
            restored.ok_or_else(|| Refusal::not_found("there is no such note that could be brought back"))?;
        Ok(app.store.write_now(move |conn| notes::add(conn, computer.id, at, &author, &text))?)
    }
}
