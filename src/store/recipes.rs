//! What packages were made by: the template, what was typed, and the script; what a new version begins with.

use diesel::prelude::*;

use super::connection::q;
use super::schema::recipes;
use super::{Conn, StoreError};
use crate::model::PackageId;

/// Keeps the recipe of a package: a JSON document.
pub fn set(conn: &mut Conn, package: PackageId, document: &str) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(recipes::table)
        .values((recipes::package_id.eq(i64::from(package)), recipes::document.eq(document)))
        .execute(conn))?;
    Ok(())
}

/// The recipe of a package, if it was kept.
pub fn find(conn: &mut Conn, package: PackageId) -> Result<Option<String>, StoreError> {
    let query = recipes::table.find(i64::from(package)).select(recipes::document);
    Ok(q!(conn => query.first(conn).optional())?)
}
