//! Archives: cutting, putting together, looking inside. Floor 1: readers and writers are arguments.

mod assemble;
mod error;
mod format;
mod pack;
mod pipe;
mod split;
mod walk;

pub use assemble::{AssembleError, Verified, assemble};
pub use error::ArchiveError;
pub use format::ArchiveFormat;
pub use pack::{PackEntry, PackError, pack};
pub use split::{SplitError, SplitFragment, SplitSummary, split};
pub use walk::{EntryKind, EntryPath, Summary, Visitor, inspect, walk};
