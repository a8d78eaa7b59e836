//! placeholder
#![allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_docs)]
use std::fs::File;
use std::path::Path;

use crate::archive::Verified;
use crate::model::limits::ArchiveLimits;
use crate::model::{OsFamily, ResultCode};

#[derive(Debug, thiserror::Error)]
#[error("placeholder")]
pub(crate) struct UnpackError;
impl UnpackError {
    pub(crate) fn result_code(&self) -> ResultCode {
        ResultCode::error("BUILD")
    }
}
pub(crate) fn unpack(
    _: Verified<File>,
    _: u64,
    into: &Path,
    _: OsFamily,
    _: &ArchiveLimits,
) -> Result<(), UnpackError> {
    crate::disk::atomic::create_dir_private(into).map_err(|_| UnpackError)
}
