//! A file on its way to the server.

use std::fmt;
use std::str::FromStr;

use super::{Digest, UnixTime};

/// Not the number of an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is not the number of an upload: 32 hexadecimal digits, as they were given at its beginning")]
pub struct InvalidUploadId;

/// An upload's number: 128 random bits, so that nobody guesses another's. 32 lower-case hexadecimal digits, which is also
/// its file's name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UploadId(String);

impl UploadId {
    /// Made of random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(
            bytes
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .map(|n| char::from(b"0123456789abcdef"[usize::from(n)]))
                .collect(),
        )
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidUploadId) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An upload, complete or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    /// Its number.
    pub id: UploadId,
    /// Whose it is: nobody else may go on with it or build from it.
    pub owner: String,
    /// The file's name, without a path.
    pub name: String,
    /// How many bytes it will have.
    pub size: u64,
    /// How many of them are durable on the server.
    pub received: u64,
    /// SHA-256 of all of them, once they are there.
    pub sha256: Option<Digest>,
    /// When it was begun.
    pub created_at: UnixTime,
    /// When bytes last came.
    pub changed_at: UnixTime,
    /// The files that lie in it one behind the other; none for a file by itself.
    pub files: Vec<UploadFile>,
}

/// One of several files of an upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UploadFile {
    /// Relative, `/` between components.
    pub path: String,
    /// Its bytes.
    pub size: u64,
}

impl Upload {
    /// Is all of it there?
    pub fn is_complete(&self) -> bool {
        self.received == self.size && self.sha256.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_a_path() {
        let id = UploadId::from_bytes([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "..", "../../etc/passwd", "A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a/"]
        {
            assert_eq!(wrong.parse::<UploadId>(), Err(InvalidUploadId), "{wrong:?}");
        }
    }
}
