//! What is inside packages' archives, as it was listed when they were built.

use diesel::prelude::*;

use super::connection::q;
use super::schema::package_contents;
use super::{Conn, StoreError};
use crate::model::PackageId;

/// Keeps the document of a package.
pub fn set(conn: &mut Conn, package: PackageId, document: &[u8]) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(package_contents::table)
        .values((package_contents::package_id.eq(i64::from(package)), package_contents::document.eq(document)))
        .on_conflict(package_contents::package_id)
        .do_update()
        .set(package_contents::document.eq(document))
        .execute(conn))?;
    Ok(())
}

/// The document of a package, if it was listed.
pub fn find(conn: &mut Conn, package: PackageId) -> Result<Option<Vec<u8>>, StoreError> {
    let query = package_contents::table.find(i64::from(package)).select(package_contents::document);
    Ok(q!(conn => query.first(conn).optional())?)
}
