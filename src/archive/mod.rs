//! Archives: cutting, putting together, looking inside. Floor 1: readers and writers are arguments.

mod assemble;
mod error;
mod format;
mod pack;
mod path;
mod pipe;
mod split;
mod tar;
#[cfg(test)]
mod tests;
mod walk;
mod zip;

pub use assemble::{AssembleError, Verified, assemble};
pub use error::ArchiveError;
pub use format::ArchiveFormat;
pub use pack::{PackEntry, PackError, pack};
pub use path::EntryPath;
pub use split::{SplitError, SplitFragment, SplitSummary, split};
pub use walk::{EntryKind, Summary, Visitor, inspect, walk};
