//! Files that appear whole, locks, the published tree. Floor 2; only this room renames or deletes.
//!
//! | file | what |
//! |---|---|
//! | [`atomic`] | write beside, fsync, rename, fsync the directory |
//! | [`lock`] | one process at a time, or several that agree |
//! | [`PositionedReader`] | one file read from several places at once |
//! | [`published`] | the tree that agents fetch from: staged, then published with one rename |
//! | [`space`] | how much is left |
//! | [`uploads`] | files on their way to the server, grown piece by piece |
//!
//! # Checkpoints
//!
//! `checkpoint` names the places between two writes. A crash test sets `DRIPFEED_CHECKPOINT=name` (or `name:3` for the
//! third time it is passed) and the process aborts there; with `DRIPFEED_CHECKPOINT_LOG=path` every name that is passed
//! is appended to that file, so that a test can find out which there are. Builds without debug assertions ignore both.
//! Those of this room, in their order:
//!
//! - [`atomic::write`]: `atomic:written` `atomic:synced` `atomic:renamed` `atomic:done`
//! - [`atomic::rename`]: `rename:renamed` `rename:done`
//! - [`Staged::publish`]: `publish:info-written` (in [`Staged::write_info`]) `publish:files-synced`
//!   `publish:directory-synced` `publish:renamed` `publish:done`
//! - [`PublishedTree::withdraw`] and [`PublishedTree::set_aside`]: `withdraw:renamed` `withdraw:synced` `withdraw:done`
//! - [`PublishedTree::restore`]: `restore:renamed` `restore:done`
//!
//! `service::publish` adds its own around its commits: `build:…` and `withdraw:noted`.
//!
//! # Faults
//!
//! The same builds have disks that fail: with `DRIPFEED_DISK_FULL=n-m` the n-th change that needs room (each passes
//! [`claim_room`]) fails as on a full disk, and so do those after it up to the m-th (without m, for ever);
//! `DRIPFEED_DISK_LOG=path` counts them there, a line each. With `DRIPFEED_DISK_STUCK=text` no directory whose path ends in the text can be removed.

pub mod atomic;
mod checkpoint;
mod fault;
pub mod lock;
mod positioned;
pub mod published;
pub mod space;
pub mod uploads;
#[cfg(windows)]
mod windows;

pub use checkpoint::checkpoint;
pub use fault::claim_room;
pub use lock::{LockError, LockFile};
pub use positioned::PositionedReader;
pub use published::{FragmentWriter, PublishedTree, Spool, Staged, TreeError};
#[cfg(windows)]
pub use windows::{is_trusted, make_private};
