//! A series that reaches many computers: others agree to it once, and then to all of its runs.

use super::super::approvals::{self, Asked, Reach};
use super::super::assign::Decided;
use super::{NoRun, next};
use crate::model::settings::SettingsLayer;
use crate::model::{Approval, Awaited, UnixTime};
use crate::store::series::{Owner, RunTarget, Series, SeriesId, Stage, What};
use crate::store::{Conn, StoreError, approvals as rows, series};

/// How far a run of it would reach now.
pub(super) fn reach(what: &What, owner: &Owner, decided: Option<&Decided>) -> Reach {
    Reach {
        computers: decided.map_or(0, Decided::reach),
        everybody: what.target == RunTarget::All && owner.scope.computers.is_none(),
        grows: false,
    }
}

/// What a series waits for before a run begins, if it waits.
pub(super) fn awaited(conn: &mut Conn, known: &Series) -> Result<Option<Awaited>, StoreError> {
    let found = known.approval.map(|id| rows::find(conn, id)).transpose()?.flatten();
    Ok(found.filter(Approval::waits).map(|approval| approval.awaited))
}

/// Asks others about a series that reaches that far and was not asked about, and says what it waits for now.
pub(super) fn ask(
    conn: &mut Conn,
    configured: &SettingsLayer,
    known: &Series,
    reach: Reach,
    by: &str,
    now: UnixTime,
) -> Result<Option<Awaited>, StoreError> {
    if known.approval.is_some() {
        return awaited(conn, known);
    }
    let asked = approvals::ask_for(conn, configured, reach, by, now)?;
    let Some(Asked { id, awaited }) = asked else { return Ok(None) };
    rows::set_of_series(conn, known.id, Some(id))?;
    Ok(awaited)
}

/// Others agreed to what it was: what is changed they are asked about anew, and so they are where somebody else takes over
/// what still waits, who could else agree to it alone.
pub(super) fn changes(
    conn: &mut Conn,
    known: &mut Series,
    what: &What,
    owner: &Owner,
    by: &str,
) -> Result<(), StoreError> {
    let is_taken_over = awaited(conn, known)?.is_some_and(|awaited| awaited.asked_by != approvals::account(by));
    if known.what == *what && known.owner.scope == owner.scope && !is_taken_over {
        return Ok(());
    }
    known.approval = None;
    rows::set_of_series(conn, known.id, None)
}

/// The stage of a series that goes on, or that waits for others first.
pub(super) fn stage(awaited: Option<&Awaited>, next: UnixTime, now: UnixTime) -> Stage {
    match awaited {
        Some(awaited) => Stage::Paused(now, Some(awaited.to_string())),
        None => Stage::Next(next),
    }
}

/// A series says what it still waits for.
pub(in crate::service) fn says(conn: &mut Conn, id: SeriesId, awaited: &Awaited) -> Result<(), StoreError> {
    let Some(paused) = series::find(conn, id)?.and_then(|known| known.paused_at) else { return Ok(()) };
    series::set_stage(conn, id, &Stage::Paused(paused, Some(awaited.to_string())))
}

/// Enough others agreed: it goes on with the next time that lies ahead.
pub(in crate::service) fn goes_on(conn: &mut Conn, id: SeriesId, now: UnixTime) -> Result<(), StoreError> {
    let Some(known) = series::find(conn, id)? else { return Ok(()) };
    let stage = match next(&known.when, now) {
        Ok(next) => Stage::Next(next),
        Err(NoRun::Held(problem) | NoRun::Waits(problem)) => Stage::Paused(now, Some(problem)),
        Err(NoRun::Store(error)) => return Err(error),
    };
    series::set_stage(conn, id, &stage)
}
