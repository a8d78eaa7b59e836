//! Every upper bound on foreign bytes: its default, and the abuse it stops (DESIGN.md, promise 7).

/// Bounds on what an agent may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Bytes of a request's body as it travels. A full inventory with 2,000 titles is about 100 KiB deflated.
    pub body: usize,
    /// Bytes of it inflated. A full inventory is about 1 MiB; a deflate bomb turns 16 MiB into 16 GiB.
    pub inflated: usize,
    /// Elements inside elements. OCS nests six deep; a stack or a path could be made to grow without end.
    pub depth: usize,
    /// Attributes of one element, the largest real one has 17; duplicate checks are quadratic in some readers.
    pub attributes: usize,
    /// Elements in all. 100,000 programs with twelve fields each.
    pub elements: usize,
}

impl RequestLimits {
    /// The defaults.
    pub const DEFAULT: Self =
        Self { body: 16 << 20, inflated: 64 << 20, depth: 16, attributes: 256, elements: 1_500_000 };
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Bounds on a reply that an agent takes from a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplyLimits {
    /// Bytes of a reply, and of it inflated. 10,000 packages at 300 bytes each.
    pub reply: usize,
    /// Bytes of an info file: text of some kilobytes.
    pub info: usize,
}

impl ReplyLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self { reply: 8 << 20, info: 1 << 20 };
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Bounds on an archive, at upload and on the agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArchiveLimits {
    /// Entries: an archive of a million empty files exhausts inodes.
    pub entries: u64,
    /// Bytes of one entry's path: what the file systems take.
    pub path: usize,
    /// Directories inside directories.
    pub depth: usize,
    /// An archive may always inflate to this many bytes …
    pub unpacked_floor: u64,
    /// … or to this many times its size, whichever is more: a zip bomb inflates a thousand times.
    pub unpacked_ratio: u64,
}

impl ArchiveLimits {
    /// The defaults.
    pub const DEFAULT: Self =
        Self { entries: 500_000, path: 1024, depth: 64, unpacked_floor: 4 << 30, unpacked_ratio: 100 };

    /// How many bytes an archive of that size may unpack to.
    pub fn unpacked(&self, archive_size: u64) -> u64 {
        self.unpacked_floor.max(archive_size.saturating_mul(self.unpacked_ratio))
    }
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
