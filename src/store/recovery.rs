//! Recovery codes, as digests: each stands in for an authenticator once.

use diesel::prelude::*;

use super::connection::q;
use super::row::text;
use super::schema::recovery_codes;
use super::sessions::SecretDigest;
use super::{Conn, StoreError};

/// Puts these in the place of a user's codes; none takes all away.
pub fn replace(conn: &mut Conn, user: &str, digests: &[SecretDigest]) -> Result<(), StoreError> {
    let old = recovery_codes::table.filter(recovery_codes::user_name.eq(text(user)));
    q!(conn => diesel::delete(old).execute(conn))?;
    for digest in digests {
        q!(conn => diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::user_name.eq(text(user)), recovery_codes::digest.eq(digest.as_slice())))
            .execute(conn))?;
    }
    Ok(())
}

/// Uses one up. False if it is not one of the user's, or not any more.
pub fn consume(conn: &mut Conn, user: &str, digest: &SecretDigest) -> Result<bool, StoreError> {
    let code = recovery_codes::table.find((text(user), digest.as_slice()));
    Ok(q!(conn => diesel::delete(code).execute(conn))? > 0)
}

/// How many a user has left.
pub fn left(conn: &mut Conn, user: &str) -> Result<i64, StoreError> {
    let query = recovery_codes::table.filter(recovery_codes::user_name.eq(text(user)));
    Ok(q!(conn => query.count().get_result(conn))?)
}
