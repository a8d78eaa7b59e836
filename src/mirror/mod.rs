//! The mirror program: a copy of the download tree near its computers. Floor 4; blocking, a few scoped threads.
//!
//! ```text
//! cli ──► serve     the copy over HTTP, where there is no web server                serve.rs
//! cli ──► sync ──► manifest of the source  (one conditional request; nothing changed → nothing more)
//!            │     plan: what is here, what is there → fetch, keep, withdraw       plan.rs, pure
//!            │     each package: listing → fragments → info → one rename           disk::PublishedTree
//!            └──── withdrawn packages last
//! ```
//!
//! The directory that it fills:
//!
//! ```text
//! download/<id>/…     the copy: plain files that any web server can serve as they are
//! listings/<id>       what was proved about each package when it came; `verify` reads them
//! manifest            the last manifest that was carried out whole, with its validator
//! pin                 the key and the generation that every manifest is held against
//! staging/            packages on their way; safe to delete while nothing runs
//! ```
//!
//! A reader sees a package whole or not at all, also while it comes and after a crash at any moment (DESIGN.md, promises 2
//! and 12): a package appears with one rename when every byte of it has been proved, and its listing is written before.
//! What is in `download/` without a listing that fits is proved again or replaced.

pub mod cli;
mod local;
mod plan;
mod serve;
mod source;
mod sync;
mod verify;

pub use local::{Last, Local, LocalError};
pub use plan::{SyncPlan, plan};
pub use serve::{ServeLimits, Server};
pub use source::{Accepted, Part, Pin, Source, SourceError, Sources};
pub use sync::{SyncError, Synced, Watcher, Wish, sync};
pub use verify::{Verified, verify};
