//! What many computers were given at once, with what each had before (docs/decisions/0731).

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, rows_of, text, time};
use super::schema::{mass_changes, mass_values};
use super::{Conn, StoreError};
use crate::model::settings::SettingKey;
use crate::model::{ComputerId, UnixTime};

/// What of a computer is another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum What {
    /// Its tag.
    Tag,
    /// A field of the administrators' own, by its number.
    Field(i64),
    /// A setting of its own.
    Setting(SettingKey),
}

impl What {
    fn written(self) -> String {
        match self {
            Self::Tag => "tag".to_owned(),
            Self::Field(id) => format!("field {id}"),
            Self::Setting(key) => format!("setting {}", key.info().name),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None => (text == "tag").then_some(Self::Tag),
            Some(("field", id)) => id.parse().ok().map(Self::Field),
            Some(("setting", key)) => key.parse().ok().map(Self::Setting),
            Some(_) => None,
        }
    }
}

/// One value of one computer; an empty text is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Whose.
    pub computer: ComputerId,
    /// What.
    pub what: What,
    /// What it was.
    pub before: String,
    /// What it became.
    pub after: String,
}

/// A change of many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MassChange {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: UnixTime,
    /// By whom.
    pub actor: String,
    /// What was done, as the audit log says it.
    pub words: String,
    /// When it was taken back.
    pub undone_at: Option<UnixTime>,
}

/// Writes down a change with what was there before. Gives its number.
pub fn keep(conn: &mut Conn, actor: &str, words: &str, steps: &[Step], now: UnixTime) -> Result<i64, StoreError> {
    let id: i64 = q!(conn => diesel::insert_into(mass_changes::table)
        .values((
            mass_changes::at.eq(now.millis()),
            mass_changes::actor.eq(text(actor)),
            mass_changes::words.eq(text(words)),
        ))
        .returning(mass_changes::id)
        .get_result(conn))?;
    for chunk in steps.chunks(rows_of(5)) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|step| {
                (
                    mass_values::change_id.eq(id),
                    mass_values::computer_id.eq(step.computer.0),
                    mass_values::what.eq(step.what.written()),
                    mass_values::before.eq(text(&step.before)),
                    mass_values::after.eq(text(&step.after)),
                )
            })
            .collect();
        q!(conn => diesel::insert_into(mass_values::table).values(&rows).execute(conn))?;
    }
    Ok(id)
}

/// One change.
pub fn find(conn: &mut Conn, id: i64) -> Result<Option<MassChange>, StoreError> {
    let query = mass_changes::table.find(id).select((
        mass_changes::at,
        mass_changes::actor,
        mass_changes::words,
        mass_changes::undone_at,
    ));
    let found: Option<(i64, String, String, Option<i64>)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(at, actor, words, undone_at)| MassChange {
        id,
        at: UnixTime::from_millis(at),
        actor,
        words,
        undone_at: time(undone_at),
    }))
}

/// Everything that a change changed; computers that were erased since are not there.
pub fn steps(conn: &mut Conn, id: i64) -> Result<Vec<Step>, StoreError> {
    let query =
        mass_values::table.filter(mass_values::change_id.eq(id)).order((mass_values::computer_id, mass_values::what));
    let query = query.select((mass_values::computer_id, mass_values::what, mass_values::before, mass_values::after));
    let found: Vec<(i64, String, String, String)> = q!(conn => query.load(conn))?;
    let step = |(computer, what, before, after): (i64, String, String, String)| {
        let read =
            What::read(&what).ok_or_else(|| At("mass_values", id).corrupt(format_args!("what is \"{what}\"")))?;
        Ok(Step { computer: ComputerId(computer), what: read, before, after })
    };
    found.into_iter().map(step).collect()
}

/// It was taken back.
pub fn set_undone(conn: &mut Conn, id: i64, now: UnixTime) -> Result<(), StoreError> {
    let row = mass_changes::table.find(id);
    q!(conn => diesel::update(row).set(mass_changes::undone_at.eq(now.millis())).execute(conn))?;
    Ok(())
}

/// Changes that are older than a moment, at most `limit`.
pub fn before(conn: &mut Conn, moment: UnixTime, limit: usize) -> Result<Vec<i64>, StoreError> {
    let query = mass_changes::table.filter(mass_changes::at.lt(moment.millis())).order(mass_changes::id);
    Ok(q!(conn => query.limit(rows(limit)).select(mass_changes::id).load(conn))?)
}

/// Forgets these. Gives how many there were.
pub fn forget(conn: &mut Conn, ids: &[i64]) -> Result<usize, StoreError> {
    Ok(q!(conn => diesel::delete(mass_changes::table.filter(mass_changes::id.eq_any(ids))).execute(conn))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for what in [What::Tag, What::Field(7), What::Setting(SettingKey::PrologFrequency)] {
            assert_eq!(What::read(&what.written()), Some(what));
        }
        for wrong in ["", "field", "field x", "setting NOTHING", "tags", "note 7"] {
            assert_eq!(What::read(wrong), None, "{wrong}");
        }
    }
}
