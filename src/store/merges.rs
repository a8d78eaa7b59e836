//! Which computer became which, and what is put away.

use diesel::prelude::*;

use super::connection::q;
use super::row::{rows_of, text};
use super::schema::{computers, installations, jobs, merges, networks};
use super::{Conn, StoreError};
use crate::model::{ComputerId, JobId, PackageId, UnixTime};

/// A merge on record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merge {
    /// Its number.
    pub id: i64,
    /// Who was put away.
    pub old: ComputerId,
    /// Who survived.
    pub new: ComputerId,
    /// When.
    pub at: UnixTime,
    /// Why, as a sentence.
    pub reason: String,
    /// What an undo needs; the caller's own notes.
    pub moved: String,
    /// When it was taken back.
    pub undone_at: Option<UnixTime>,
}

/// The columns of a merge.
type Columns = (i64, i64, i64, i64, String, String, Option<i64>);

/// By what a computer is known again.
#[derive(Clone, Copy, Debug)]
pub enum KnownBy<'a> {
    /// Host name, letters compared without case.
    Name(&'a str),
    /// Serial number, to the letter.
    Serial(&'a str),
    /// MAC address of any adapter, to the letter.
    Mac(&'a str),
    /// UUID, to the letter.
    Uuid(&'a str),
}

/// Computers that are not archived and have that in common, at most a hundred: more are no duplicates.
pub fn candidates(conn: &mut Conn, by: KnownBy<'_>) -> Result<Vec<ComputerId>, StoreError> {
    const MOST: i64 = 100;
    let all = computers::table.filter(computers::archived_at.is_null()).order(computers::id).limit(MOST);
    let found: Vec<i64> = match by {
        KnownBy::Name(name) => {
            let query = all.filter(computers::name_key.eq(text(&name.to_lowercase()).into_owned()));
            q!(conn => query.select(computers::id).load(conn))?
        }
        KnownBy::Serial(serial) => {
            let query = all.filter(computers::serial.eq(text(serial)));
            q!(conn => query.select(computers::id).load(conn))?
        }
        KnownBy::Uuid(uuid) => {
            let query = all.filter(computers::uuid.eq(text(uuid)));
            q!(conn => query.select(computers::id).load(conn))?
        }
        KnownBy::Mac(mac) => {
            let query = networks::table
                .inner_join(computers::table.on(computers::id.eq(networks::computer_id)))
                .filter(computers::archived_at.is_null())
                .filter(networks::mac.eq(text(mac)))
                .order(computers::id)
                .limit(MOST)
                .select(computers::id);
            let mut found: Vec<i64> = q!(conn => query.load(conn))?;
            found.dedup();
            found
        }
    };
    Ok(found.into_iter().map(ComputerId).collect())
}

/// Puts a computer away, or takes it back. True if that is news.
pub fn set_archived(conn: &mut Conn, computer: ComputerId, at: Option<UnixTime>) -> Result<bool, StoreError> {
    let row = computers::table.find(computer.0);
    let value = computers::archived_at.eq(at.map(UnixTime::millis));
    let changed = match at {
        Some(_) => q!(conn => diesel::update(row.filter(computers::archived_at.is_null())).set(value).execute(conn))?,
        None => q!(conn => diesel::update(row.filter(computers::archived_at.is_not_null())).set(value).execute(conn))?,
    };
    Ok(changed > 0)
}

/// Keeps a merge on record.
pub fn record(
    conn: &mut Conn,
    old: ComputerId,
    new: ComputerId,
    at: UnixTime,
    reason: &str,
    moved: &str,
) -> Result<i64, StoreError> {
    Ok(q!(conn => diesel::insert_into(merges::table)
        .values((
            merges::old_id.eq(old.0),
            merges::new_id.eq(new.0),
            merges::at.eq(at.millis()),
            merges::reason.eq(text(reason)),
            merges::moved.eq(text(moved)),
        ))
        .returning(merges::id)
        .get_result(conn))?)
}

/// Every merge that a computer had a part in, newest first.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<Merge>, StoreError> {
    let query = merges::table
        .filter(merges::old_id.eq(computer.0).or(merges::new_id.eq(computer.0)))
        .order(merges::id.desc())
        .limit(100)
        .select((
            merges::id,
            merges::old_id,
            merges::new_id,
            merges::at,
            merges::reason,
            merges::moved,
            merges::undone_at,
        ));
    let found: Vec<Columns> = q!(conn => query.load(conn))?;
    Ok(found
        .into_iter()
        .map(|(id, old, new, at, reason, moved, undone_at)| Merge {
            id,
            old: ComputerId(old),
            new: ComputerId(new),
            at: UnixTime::from_millis(at),
            reason,
            moved,
            undone_at: undone_at.map(UnixTime::from_millis),
        })
        .collect())
}

/// Writes that a merge was taken back.
pub fn set_undone(conn: &mut Conn, merge: i64, at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::update(merges::table.find(merge)).set(merges::undone_at.eq(at.millis())).execute(conn))?;
    Ok(())
}

/// Gives these jobs of one computer to another. Gives how many there were.
pub fn move_jobs(conn: &mut Conn, ids: &[JobId], from: ComputerId, to: ComputerId) -> Result<usize, StoreError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut moved = 0;
    for chunk in numbers.chunks(rows_of(2)) {
        let some = jobs::table.filter(jobs::id.eq_any(chunk)).filter(jobs::computer_id.eq(from.0));
        moved += q!(conn => diesel::update(some).set(jobs::computer_id.eq(to.0)).execute(conn))?;
    }
    super::jobs::mark_retried(conn, &[from.0, to.0])?;
    Ok(moved)
}

/// Gives what one computer has had installed to another that does not know of it; gives which packages those were.
pub fn copy_installations(
    conn: &mut Conn,
    from: ComputerId,
    to: ComputerId,
) -> Result<Vec<(PackageId, String)>, StoreError> {
    let of = |computer: ComputerId| {
        installations::table.filter(installations::computer_id.eq(computer.0)).select((
            installations::package_id,
            installations::via,
            installations::known_since,
        ))
    };
    let there: Vec<(i64, String, i64)> = q!(conn => of(to).load(conn))?;
    let mut copied: Vec<(i64, String, i64)> = q!(conn => of(from).load(conn))?;
    // The agent's own history is what this agent says, not what its predecessor said.
    copied.retain(|(package, via, _)| {
        via != super::installations::HISTORY && !there.iter().any(|(other, how, _)| other == package && how == via)
    });
    let rows: Vec<_> = copied
        .iter()
        .map(|(package, via, since)| {
            (
                installations::computer_id.eq(to.0),
                installations::package_id.eq(*package),
                installations::via.eq(via.as_str()),
                installations::known_since.eq(*since),
            )
        })
        .collect();
    for chunk in rows.chunks(rows_of(4)) {
        q!(conn => diesel::insert_into(installations::table).values(chunk).execute(conn))?;
    }
    let at = super::row::At("installations", from);
    copied.into_iter().map(|(package, via, _)| Ok((at.package(package)?, via))).collect()
}

/// Takes back what [`copy_installations`] gave.
pub fn remove_installations(
    conn: &mut Conn,
    computer: ComputerId,
    copied: &[(PackageId, String)],
) -> Result<(), StoreError> {
    for (package, via) in copied {
        let row = installations::table.find((computer.0, i64::from(*package), via.as_str()));
        q!(conn => diesel::delete(row).execute(conn))?;
    }
    Ok(())
}
