//! Embedded migrations.

use diesel::migration::{Migration, MigrationConnection, MigrationSource, MigrationVersion};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::StoreError;
use super::postgres::PgConnection;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// A connection that knows which migrations are its own.
pub(super) trait Migrated: MigrationHarness<Self::Backend> + MigrationConnection + Sized {
    fn migrations() -> EmbeddedMigrations;
}

impl Migrated for diesel::SqliteConnection {
    fn migrations() -> EmbeddedMigrations {
        SQLITE
    }
}

impl Migrated for PgConnection {
    fn migrations() -> EmbeddedMigrations {
        POSTGRES
    }
}

/// Are there migrations still to run? Refuses tables that a newer dripfeed has made.
pub(super) fn is_behind<C: Migrated>(conn: &mut C) -> Result<bool, StoreError> {
    let fail = |error| StoreError::Migrate(format!("{error}"));
    let known = versions::<C>()?;
    let applied = conn.applied_migrations().map_err(fail)?;
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        let newest = known.last().map_or_else(String::new, ToString::to_string);
        return Err(StoreError::Migrate(format!(
            "its tables are of version {newer}, which a newer dripfeed has made, and this one knows versions up to \
             {newest}; install that dripfeed again, or put back a backup from before the upgrade"
        )));
    }
    Ok(applied.len() < known.len())
}

/// Runs what is missing, within the caller's transaction.
pub(super) fn run<C: Migrated>(conn: &mut C) -> Result<(), StoreError> {
    if is_behind(conn)? {
        conn.run_pending_migrations(C::migrations()).map_err(|error| StoreError::Migrate(error.to_string()))?;
    }
    Ok(())
}

fn versions<C: Migrated>() -> Result<Vec<MigrationVersion<'static>>, StoreError> {
    let fail = |error| StoreError::Migrate(format!("{error}"));
    let migrations: Vec<Box<dyn Migration<C::Backend>>> = C::migrations().migrations().map_err(fail)?;
    let mut versions: Vec<_> = migrations.iter().map(|migration| migration.name().version().as_owned()).collect();
    versions.sort_unstable();
    Ok(versions)
}
