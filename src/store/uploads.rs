//! Files on their way to the server.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, big, limit as rows, text};
use super::schema::uploads;
use super::{Conn, StoreError};
use crate::model::{Digest, DigestAlgorithm, UnixTime, Upload, UploadFile, UploadId};

#[derive(Queryable, Selectable)]
#[diesel(table_name = uploads)]
struct UploadRow {
    id: String,
    owner: String,
    name: String,
    size: i64,
    received: i64,
    sha256: Option<Vec<u8>>,
    created_at: i64,
    changed_at: i64,
    files: Option<String>,
}

impl TryFrom<UploadRow> for Upload {
    type Error = StoreError;

    fn try_from(row: UploadRow) -> Result<Self, StoreError> {
        let id: Result<UploadId, _> = row.id.parse();
        let at = At("uploads", row.created_at);
        let sha256 = row.sha256.map(|bytes| {
            Digest::from_bytes(DigestAlgorithm::Sha256, &bytes).ok_or_else(|| at.corrupt("its SHA-256 is none"))
        });
        let files: Vec<(String, u64)> = match row.files {
            Some(document) => at.check(serde_json::from_str(&document))?,
            None => Vec::new(),
        };
        Ok(Self {
            id: at.check(id)?,
            owner: row.owner,
            name: row.name,
            size: at.number("size", row.size)?,
            received: at.number("received", row.received)?,
            sha256: sha256.transpose()?,
            created_at: UnixTime::from_millis(row.created_at),
            changed_at: UnixTime::from_millis(row.changed_at),
            files: files.into_iter().map(|(path, size)| UploadFile { path, size }).collect(),
        })
    }
}

/// A new one, with nothing received.
pub fn create(conn: &mut Conn, upload: &Upload) -> Result<(), StoreError> {
    let files: Vec<(&str, u64)> = upload.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    // Texts and numbers are always JSON.
    let files = (!files.is_empty()).then(|| serde_json::to_string(&files).unwrap_or_default());
    q!(conn => diesel::insert_into(uploads::table)
        .values((
            uploads::id.eq(upload.id.as_str()),
            uploads::owner.eq(text(&upload.owner)),
            uploads::name.eq(text(&upload.name)),
            uploads::size.eq(big(upload.size)),
            uploads::received.eq(big(upload.received)),
            uploads::sha256.eq(upload.sha256.as_ref().map(Digest::as_bytes)),
            uploads::created_at.eq(upload.created_at.millis()),
            uploads::changed_at.eq(upload.changed_at.millis()),
            uploads::files.eq(files),
        ))
        .execute(conn))?;
    Ok(())
}

/// One.
pub fn find(conn: &mut Conn, id: &UploadId) -> Result<Option<Upload>, StoreError> {
    let query = uploads::table.find(id.as_str());
    q!(conn => query.select(UploadRow::as_select()).first(conn).optional())?.map(Upload::try_from).transpose()
}

/// Those of one owner, the one that changed last first.
pub fn of_owner(conn: &mut Conn, owner: &str, limit: usize) -> Result<Vec<Upload>, StoreError> {
    let query = uploads::table.filter(uploads::owner.eq(owner)).order(uploads::changed_at.desc()).limit(rows(limit));
    q!(conn => query.select(UploadRow::as_select()).load(conn))?.into_iter().map(Upload::try_from).collect()
}

/// Those that did not change since then, the oldest first.
pub fn idle(conn: &mut Conn, since: UnixTime, limit: usize) -> Result<Vec<Upload>, StoreError> {
    let query =
        uploads::table.filter(uploads::changed_at.lt(since.millis())).order(uploads::changed_at).limit(rows(limit));
    q!(conn => query.select(UploadRow::as_select()).load(conn))?.into_iter().map(Upload::try_from).collect()
}

/// Bytes that are still to come, of all of them.
pub fn outstanding(conn: &mut Conn) -> Result<u64, StoreError> {
    let found: Vec<(i64, i64)> = q!(conn => uploads::table.filter(uploads::received.lt(uploads::size)).select((uploads::size, uploads::received)).load(conn))?;
    Ok(found.into_iter().map(|(size, received)| u64::try_from(size.saturating_sub(received)).unwrap_or(0)).sum())
}

/// Notes how much is durable, and the digest once that is all. True if there is such an upload.
pub fn received(
    conn: &mut Conn,
    id: &UploadId,
    bytes: u64,
    sha256: Option<&Digest>,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let row = uploads::table.find(id.as_str());
    Ok(q!(conn => diesel::update(row)
        .set((
            uploads::received.eq(big(bytes)),
            uploads::sha256.eq(sha256.map(Digest::as_bytes)),
            uploads::changed_at.eq(now.millis()),
        ))
        .execute(conn))?
        > 0)
}

/// Forgets it. True if there was one.
pub fn remove(conn: &mut Conn, id: &UploadId) -> Result<bool, StoreError> {
    let row = uploads::table.find(id.as_str());
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}
