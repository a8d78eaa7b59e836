//! The database: intent, results, computers. Floor 2; the only place that names diesel.
//!
//! A store function takes the connection first, is one query or one small transaction step, and knows no policy.
//! [`Store::read`] and [`Store::write`] are the only bridges from async code; [`Store::read_now`] and
//! [`Store::write_now`] are the same for the command line. A write returns after its commit, never before.

mod connection;
mod error;
mod migrate;
mod schema;
mod writer;

pub mod activations;
pub mod computers;
pub mod deployments;
pub mod events;
pub mod installations;
pub mod jobs;
pub mod packages;
pub mod settings;
pub mod users;

pub use connection::{Conn, DatabaseUrl, InvalidDatabaseUrl};
pub use error::StoreError;

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens (and for SQLite creates) the database and brings its tables up to date.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let _ = url;
        Ok(Self {})
    }

    /// Reads, on the calling worker for SQLite: for queries of microseconds. One consistent view per call.
    pub async fn read<T, E>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _ = query;
        todo!()
    }

    /// Writes in a transaction of its own or together with others; an `Err` from the closure undoes just this one.
    /// `Ok` means committed and synced.
    pub async fn write<T, E>(&self, change: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _ = change;
        todo!()
    }

    /// [`Store::read`] for code that may block.
    pub fn read_now<T, E>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _ = query;
        todo!()
    }

    /// [`Store::write`] for code that may block.
    pub fn write_now<T, E>(&self, change: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _ = change;
        todo!()
    }
}
