//! Why an archive is refused, at upload and on the agent: one list, one sentence each (DESIGN.md, promise 7).

/// Why an archive was refused. `entry` is the path as the archive spells it, made printable and cut.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Neither a ZIP nor a gzip-compressed tar.
    #[error("this is neither a ZIP nor a TAR.GZ archive")]
    UnknownFormat,
    /// It ends too early.
    #[error("the archive is truncated: {0}")]
    Truncated(String),
    /// Damaged in another way.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// Password-protected.
    #[error("the archive is encrypted (\"{entry}\"): agents have no password; build it without one")]
    Encrypted {
        /// The entry.
        entry: String,
    },
    /// A compression method that stock agents cannot read.
    #[error("\"{entry}\" is compressed by {method}, which agents cannot read: use Deflate")]
    Method {
        /// The entry.
        entry: String,
        /// The method.
        method: String,
    },
    /// An entry of a kind that a package cannot hold.
    #[error("\"{entry}\" is {kind}: a package holds regular files, directories and links that stay inside")]
    Kind {
        /// The entry.
        entry: String,
        /// A device, a fifo, a hard link to nothing …
        kind: &'static str,
    },
    /// A path that leaves the package, or that systems understand differently.
    #[error("the path \"{entry}\" is refused: {problem}")]
    Path {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A link that leaves the package, or that the package's system does not have.
    #[error("the link \"{entry}\" to \"{target}\" is refused: {problem}")]
    Link {
        /// The entry.
        entry: String,
        /// Where it points.
        target: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two entries of one name.
    #[error("\"{entry}\" stands twice in the archive, with different content")]
    Twice {
        /// The entry.
        entry: String,
    },
    /// Something that is said in two ways, or in a way that not every reader knows.
    #[error(
        "\"{entry}\" is described in a way that systems understand differently ({problem}): build the archive anew"
    )]
    Ambiguous {
        /// The entry.
        entry: String,
        /// What is unclear.
        problem: &'static str,
    },
    /// A bound was passed.
    #[error("the archive {what}, more than the limit of {limit}")]
    TooLarge {
        /// What it does: "unpacks to more than 4 GiB" …
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// The reader or the visitor failed.
    #[error("failed to read the archive")]
    Io(#[from] std::io::Error),
}
