//! Reading one file from several places at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// A reader with a position of its own over a file that others read too.
#[derive(Debug)]
pub struct PositionedReader<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> PositionedReader<'a> {
    /// From the beginning, wherever the file's own position is.
    pub fn new(file: &'a File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for PositionedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let n = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.position)?;
        #[cfg(windows)]
        let n = std::os::windows::fs::FileExt::seek_read(self.file, buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for PositionedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
