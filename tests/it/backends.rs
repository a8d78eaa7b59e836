//! The store, on both back ends: every function, transactions under many writers, kill -9, and files that are none.
//!
//! SQLite always; PostgreSQL when `DRIPFEED_TEST_POSTGRES` holds an address (`tests/postgres.sh cargo test` makes one).
//! Each test has a database of its own: a file in a temporary directory, or a schema.

mod approvals;
mod attention;
mod counts;
mod crash;
pub(crate) mod database;
mod files;
mod functions;
mod identity;
mod inventory;
mod migrations;
mod mirrors;
mod postgres;
mod series;
mod transactions;
mod wakes;

/// Makes two tests of each function that takes a [`database::Database`].
macro_rules! for_each_backend {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(&crate::backends::database::Database::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $test() {
                if let Some(database) = crate::backends::database::Database::postgres() {
                    super::$test(&database);
                }
            })*
        }
    };
}
pub(crate) use for_each_backend;
