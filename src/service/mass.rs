//! The same for many computers, so that it can be taken back (docs/decisions/0731).
//!
//! One write changes all of them and keeps what each had before. Taking it back touches only what is still as the change
//! left it: whatever somebody wrote since stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{App, groups};
use crate::model::settings::SettingKey;
use crate::model::{ComputerId, UnixTime};
use crate::store::mass::{self, MassChange, Step, What};
use crate::store::{Conn, StoreError, fields, settings};

/// How long a change of many can be taken back.
pub const KEPT: Duration = Duration::from_hours(7 * 24);
/// Changes that are forgotten together.
const AT_ONCE: usize = 20;

/// Why nothing was taken back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It is not there any more.
    #[error("what was there before this change is not kept any more: that is done for a week")]
    Gone,
    /// Twice.
    #[error("this change was taken back already")]
    Undone,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a change of many did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Values that were changed.
    pub changed: usize,
    /// Values that were so already, or that somebody has changed since.
    pub left: usize,
    /// The number to take it back by, if something was changed.
    pub undo: Option<i64>,
}

/// What these computers have now; an empty text is none.
pub(super) fn present(
    conn: &mut Conn,
    what: What,
    of: &[ComputerId],
) -> Result<BTreeMap<ComputerId, String>, StoreError> {
    Ok(match what {
        What::Tag => fields::tags(conn, of)?,
        What::Field(id) => {
            fields::of_computers(conn, of, &[id])?.into_iter().map(|((computer, _), value)| (computer, value)).collect()
        }
        What::Setting(key) => {
            settings::of_computers(conn, key, of)?.into_iter().map(|(id, value)| (id, value.to_string())).collect()
        }
    })
}

/// The steps from what is there to these values; those that have theirs already need none.
pub(super) fn steps(conn: &mut Conn, what: What, wanted: &[(ComputerId, String)]) -> Result<Vec<Step>, StoreError> {
    let ids: Vec<ComputerId> = wanted.iter().map(|(id, _)| *id).collect();
    let mut present = present(conn, what, &ids)?;
    let step = |(computer, after): &(ComputerId, String)| {
        let before = present.remove(computer).unwrap_or_default();
        (before != *after).then(|| Step { computer: *computer, what, before, after: after.clone() })
    };
    Ok(wanted.iter().filter_map(step).collect())
}

/// Does the steps and keeps them under a number.
pub(super) fn carry_out(
    conn: &mut Conn,
    actor: &str,
    words: &str,
    steps: &[Step],
    now: UnixTime,
) -> Result<Option<i64>, StoreError> {
    if steps.is_empty() {
        return Ok(None);
    }
    write(conn, steps, now)?;
    mass::keep(conn, actor, words, steps, now).map(Some)
}

fn write(conn: &mut Conn, steps: &[Step], now: UnixTime) -> Result<(), StoreError> {
    let mut tags: BTreeMap<&str, Vec<ComputerId>> = BTreeMap::new();
    let mut own: BTreeMap<i64, Vec<(ComputerId, String)>> = BTreeMap::new();
    let mut set: BTreeMap<SettingKey, Vec<(ComputerId, Option<i64>)>> = BTreeMap::new();
    for step in steps {
        match step.what {
            What::Tag => tags.entry(&step.after).or_default().push(step.computer),
            What::Field(id) => own.entry(id).or_default().push((step.computer, step.after.clone())),
            // Nothing but numbers is ever kept there.
            What::Setting(key) => set.entry(key).or_default().push((step.computer, step.after.parse().ok())),
        }
    }
    for (tag, computers) in tags {
        fields::set_tags(conn, &computers, tag)?;
    }
    for (field, values) in own {
        fields::set_many(conn, field, &values)?;
    }
    for (key, values) in set {
        settings::set_many(conn, key, &values)?;
    }
    let asked: BTreeSet<ComputerId> =
        steps.iter().filter(|step| !matches!(step.what, What::Setting(_))).map(|step| step.computer).collect();
    groups::evaluate_many(conn, &asked, now)
}

/// One change.
pub fn find(app: &App, id: i64) -> Result<MassChange, UndoError> {
    app.store.read_now(move |conn| mass::find(conn, id))?.ok_or(UndoError::Gone)
}

/// What a change is about: whoever takes it back needs the right to each.
pub fn kinds(app: &App, id: i64) -> Result<BTreeSet<What>, StoreError> {
    app.store.read_now(move |conn| Ok(mass::steps(conn, id)?.into_iter().map(|step| step.what).collect()))
}

/// Takes a change back for the computers that are allowed, as far as they still have what it gave them.
pub fn undo(app: &App, id: i64, allowed: Option<BTreeSet<ComputerId>>) -> Result<Written, UndoError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        let change = mass::find(conn, id)?.ok_or(UndoError::Gone)?;
        if change.undone_at.is_some() {
            return Err(UndoError::Undone);
        }
        let all = mass::steps(conn, id)?;
        let mut by_what: BTreeMap<What, Vec<Step>> = BTreeMap::new();
        let count = all.len();
        for step in all.into_iter().filter(|step| allowed.as_ref().is_none_or(|ids| ids.contains(&step.computer))) {
            by_what.entry(step.what).or_default().push(step);
        }
        let mut back = Vec::new();
        for (what, steps) in by_what {
            back.extend(reversed(conn, what, steps)?);
        }
        write(conn, &back, now)?;
        mass::set_undone(conn, id, now)?;
        Ok(Written { changed: back.len(), left: count - back.len(), undo: None })
    })
}

/// The steps back, those that can still be gone: the value is as the change left it, and what was there may stand there.
fn reversed(conn: &mut Conn, what: What, steps: Vec<Step>) -> Result<Vec<Step>, StoreError> {
    let kind = match what {
        What::Field(id) => match fields::find(conn, id)? {
            Some(field) => Some(field.kind),
            None => return Ok(Vec::new()),
        },
        What::Tag | What::Setting(_) => None,
    };
    let ids: Vec<ComputerId> = steps.iter().map(|step| step.computer).collect();
    let present = present(conn, what, &ids)?;
    let fits = |step: &Step| {
        let now = present.get(&step.computer).map_or("", String::as_str);
        now == step.after
            && kind.as_ref().is_none_or(|kind| kind.read(&step.before).is_ok_and(|read| read == step.before))
    };
    let back = |step: Step| Step { before: step.after, after: step.before, ..step };
    Ok(steps.into_iter().filter(fits).map(back).collect())
}

/// Forgets what was changed long ago; says how many changes that were.
pub fn forget_old(app: &App) -> Result<usize, StoreError> {
    let old = app.clock.now().millis().saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX));
    let old = app.store.read_now(move |conn| mass::before(conn, UnixTime::from_millis(old), AT_ONCE))?;
    // Nothing is written, most of the time.
    if old.is_empty() { Ok(0) } else { app.store.write_now(move |conn| mass::forget(conn, &old)) }
}
