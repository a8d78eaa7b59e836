//! Files that appear whole, locks, the published tree. Floor 2; only this room renames or deletes.
//!
//! The order of writes is the point: a file is written beside its place, made durable, renamed, and the directory is made
//! durable; so after a crash there is the old file or the new one, never a torn one.

pub mod atomic;
mod checkpoint;
pub mod lock;
mod positioned;
pub mod published;
pub mod space;

pub use checkpoint::checkpoint;
pub use positioned::PositionedReader;
