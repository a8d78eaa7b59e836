//! Uploads: everybody's own, for those who may build.

use serde_json::json;

use super::super::uploads::{self, Running, UploadError, Writing};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{Upload, UploadFile, UploadId};

impl Desk {
    /// Begins an upload of a file with that name and size; of several files if they are named.
    pub fn begin_upload(&self, name: &str, size: u64, files: Vec<UploadFile>) -> Result<Upload, Refusal> {
        let shown: String = name.chars().take(200).collect();
        let change = Change::new("upload begin", format!("upload {shown}"))
            .after(json!({ "name": shown, "size": size, "files": files.len().max(1) }));
        let app = self.changing(Right::BuildPackages, change)?;
        uploads::begin(&app, &self.actor.name, name, size, files).map_err(|error| {
            let field = match error {
                UploadError::Name(_) => Some("name"),
                UploadError::Files(_) => Some("files"),
                UploadError::NoSpace { .. } | UploadError::Empty => Some("size"),
                _ => None,
            };
            let refusal = Refusal::from(error);
            match field {
                Some(field) => refusal.about(field),
                None => refusal,
            }
        })
    }

    /// The actor's uploads, the one that changed last first.
    pub fn uploads(&self) -> Result<Vec<Upload>, Refusal> {
        Ok(uploads::list(self.reading(Right::BuildPackages)?, &self.actor.name)?)
    }

    /// One of the actor's uploads.
    pub fn upload(&self, id: &UploadId) -> Result<Upload, Refusal> {
        Ok(uploads::find(self.reading(Right::BuildPackages)?, &self.actor.name, id)?)
    }

    /// Opens an upload for the piece at `offset`.
    pub fn open_upload(&self, id: &UploadId, offset: u64, running: Option<Running>) -> Result<Writing, UploadRefusal> {
        let upload = self.upload(id).map_err(UploadRefusal::Other)?;
        Writing::open(&self.app, upload, offset, running).map_err(UploadRefusal::from)
    }

    /// Removes one of the actor's uploads.
    pub fn cancel_upload(&self, id: &UploadId) -> Result<(), Refusal> {
        let upload = self.upload(id)?;
        let change = Change::new("upload cancel", format!("upload {}", upload.name))
            .before(json!({ "received": upload.received, "size": upload.size }));
        let app = self.changing(Right::BuildPackages, change)?;
        Ok(uploads::remove(&app, id)?)
    }
}

/// Why a piece was not taken.
#[derive(Debug)]
pub enum UploadRefusal {
    /// It does not follow what is there.
    Offset {
        /// What is there.
        received: u64,
        /// The sentence.
        refusal: Refusal,
    },
    /// It is longer than the file was announced.
    TooLong(Refusal),
    /// Anything else.
    Other(Refusal),
}

impl From<UploadError> for UploadRefusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Offset { received } => Self::Offset { received, refusal: error.into() },
            UploadError::TooLong { .. } => Self::TooLong(error.into()),
            error => Self::Other(error.into()),
        }
    }
}
