//! Files on their way to the server: one file each below `staging/uploads/`, named by its number.
//!
//! How much of a file counts is said by the database; what lies behind that is cut when the next piece comes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::atomic::{create_dir_private, remove_file, sync_dir};
use super::published::UPLOADS;
use super::{PublishedTree, checkpoint};
use crate::model::UploadId;

/// The files of uploads.
#[derive(Clone, Debug)]
pub struct Uploads {
    directory: PathBuf,
}

impl Uploads {
    /// Those beside a tree: on its file system.
    pub fn of(tree: &PublishedTree) -> Self {
        Self { directory: tree.staging().join(UPLOADS) }
    }

    /// Where an upload's bytes lie.
    pub fn path(&self, id: &UploadId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    /// Makes an empty file. Durable when it returns.
    pub fn create(&self, id: &UploadId) -> io::Result<()> {
        create_dir_private(&self.directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.path(id))?;
        sync_dir(&self.directory)
    }

    /// Opens a file to go on after its first `received` bytes; what lies behind them is cut off.
    pub fn open(&self, id: &UploadId, received: u64) -> io::Result<UploadFile> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.path(id))?;
        let length = file.metadata()?.len();
        if length < received {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the upload's file has {length} bytes and should have {received}"),
            ));
        }
        if length > received {
            file.set_len(received)?;
        }
        file.seek(SeekFrom::Start(received))?;
        Ok(UploadFile(file))
    }

    /// Opens a complete file to read it.
    pub fn read(&self, id: &UploadId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// Removes a file; one that is not there is fine.
    pub fn remove(&self, id: &UploadId) -> io::Result<()> {
        remove_file(&self.path(id))
    }

    /// The numbers of the files that are there.
    pub fn list(&self) -> io::Result<Vec<UploadId>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.push(id);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A file that grows.
#[derive(Debug)]
pub struct UploadFile(File);

impl UploadFile {
    /// All that was written is durable when it returns.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_data()?;
        checkpoint("upload:synced");
        Ok(())
    }

    /// The file, to read from its beginning beside the writing.
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Write for UploadFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn uploads(root: &Path) -> Uploads {
        Uploads::of(&PublishedTree::open(&root.join("download"), &root.join("staging")).expect("a tree"))
    }

    #[test]
    fn a_file_goes_on_where_it_counts_and_what_lies_behind_is_cut() {
        let root = tempfile::tempdir().expect("a directory");
        let uploads = uploads(root.path());
        assert_eq!(uploads.list().expect("nothing yet"), []);
        let id = UploadId::from_bytes([7; 16]);
        uploads.create(&id).expect("made");
        uploads.create(&id).expect_err("it is there");
        let mut file = uploads.open(&id, 0).expect("opened");
        file.write_all(b"0123456789").and_then(|()| file.sync()).expect("written");
        // Not every system removes a file that is open.
        drop(file);
        // Six of them were told; a crash came before the rest was.
        let mut file = uploads.open(&id, 6).expect("opened");
        file.write_all(b"abc").expect("written");
        drop(file);
        assert_eq!(fs::read(uploads.path(&id)).expect("there"), b"012345abc");
        uploads.open(&id, 10).expect_err("less than was told");
        assert_eq!(uploads.list().expect("listed"), std::slice::from_ref(&id));
        uploads.remove(&id).expect("removed");
        uploads.remove(&id).expect("fine");
        assert_eq!(uploads.list().expect("listed"), []);
    }
}
