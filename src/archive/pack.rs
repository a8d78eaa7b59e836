//! Packing: a directory or a bare file becomes an archive, the same bytes each time.

use std::io::{self, Read, Write};

use super::ArchiveFormat;

/// Something to be packed. The caller gives entries sorted by path, directories before what is in them.
pub enum PackEntry<R> {
    /// A directory.
    Directory {
        /// Relative, `/` between components.
        path: String,
    },
    /// A file.
    File {
        /// Relative, `/` between components.
        path: String,
        /// May it be executed?
        executable: bool,
        /// Its bytes.
        size: u64,
        /// Where they come from.
        content: R,
    },
    /// A symbolic link.
    Link {
        /// Relative, `/` between components.
        path: String,
        /// Relative.
        target: String,
    },
}

/// Why packing stopped.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file could not be read, or changed its size on the way.
    #[error("failed to pack \"{path}\"")]
    Entry {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
    /// A ZIP for Windows has no links.
    #[error("\"{path}\" is a symbolic link, which a ZIP for Windows cannot hold")]
    Link {
        /// Which.
        path: String,
    },
}

/// Packs entries reproducibly: no times, no owners, modes 0644 or 0755.
pub fn pack<R: Read, W: Write>(
    format: ArchiveFormat,
    entries: impl IntoIterator<Item = io::Result<PackEntry<R>>>,
    output: W,
) -> Result<W, PackError> {
    let _ = (format, output);
    let _ = entries.into_iter();
    todo!()
}
