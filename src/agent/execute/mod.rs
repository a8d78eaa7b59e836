//! placeholder
#![allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_docs, dead_code)]
use std::path::Path;
use std::time::Duration;

use crate::model::{self, PackageId, PostCommand, ResultCode};

pub(crate) struct ExecuteRequest<'a> {
    pub action: &'a model::Action,
    pub package: PackageId,
    pub directory: &'a Path,
    pub install_path: &'a Path,
    pub timeout: Duration,
    pub environment: &'a [(String, String)],
    pub output: &'a Path,
}
#[derive(Debug, thiserror::Error)]
#[error("placeholder")]
pub(crate) struct ExecuteError;
pub(crate) fn run(request: &ExecuteRequest<'_>, _stop: &dyn Fn() -> bool) -> ResultCode {
    let model::Action::Execute { command } = request.action else { return ResultCode::error("EXECUTE") };
    match std::process::Command::new("/bin/sh").arg("-c").arg(command).current_dir(request.directory).status() {
        Ok(status) => ResultCode::of_exit(status.code().unwrap_or(-1)),
        Err(_) => ResultCode::error("EXECUTE"),
    }
}
pub(crate) fn run_post_command(_post: &PostCommand, _directory: &Path, _timeout: Duration) -> Result<(), ExecuteError> {
    Ok(())
}
