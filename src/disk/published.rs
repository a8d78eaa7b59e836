//! Placeholder.
use crate::model::TreeKey;
use std::path::{Path, PathBuf};
/// Placeholder.
#[derive(Clone, Debug)]
pub struct PublishedTree(PathBuf);
/// Placeholder.
#[derive(Debug, thiserror::Error)]
#[error("tree")]
pub struct TreeError;
impl PublishedTree {
    /// Placeholder.
    pub fn open(download: &Path, _staging: &Path) -> Result<Self, TreeError> {
        Ok(Self(download.to_owned()))
    }
    /// Placeholder.
    pub fn path(&self, key: TreeKey) -> PathBuf {
        self.0.join(key.to_string())
    }
}
