//! DOWNLOAD: what became of a package (ocs-protocol 2.3).

use crate::model::{DeviceId, PackageId, ResultCode};

/// `QUERY` DOWNLOAD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DownloadReport {
    /// Who.
    pub device_id: DeviceId,
    /// `ID`; `None` if it is absent or no package id, which is answered 200 all the same.
    pub package: Option<PackageId>,
    /// `ERR`, verbatim; `UNKNOWN_CODE` if it is absent.
    pub code: ResultCode,
}

impl DownloadReport {
    /// The document, byte for byte as the stock Unix agent writes it.
    pub fn to_xml(&self) -> String {
        todo!()
    }
}
