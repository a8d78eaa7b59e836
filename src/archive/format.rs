//! The two formats that agents read.

use crate::model::OsFamily;

/// TAR.GZ for Linux and macOS, ZIP for Windows; the Unix agents take a ZIP as well (ocs-protocol 6).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ArchiveFormat {
    /// gzip-compressed tar.
    TarGz,
    /// ZIP.
    Zip,
}

impl ArchiveFormat {
    /// What a directory or a bare file is packed into.
    pub fn for_os(os: OsFamily) -> Self {
        match os {
            OsFamily::Windows => Self::Zip,
            OsFamily::Linux | OsFamily::Macos => Self::TarGz,
        }
    }

    /// How a file's name ends that is one.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::TarGz => ".tar.gz",
            Self::Zip => ".zip",
        }
    }

    /// Tells the format by the first bytes.
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            _ => None,
        }
    }
}
