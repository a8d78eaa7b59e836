//! DOWNLOAD: what became of a package (ocs-protocol 2.3).

use super::xml::{Element, Place, push_attribute};
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
    ///
    /// ```
    /// use dripfeed::model::ResultCode;
    /// use dripfeed::protocol::DownloadReport;
    ///
    /// let report = DownloadReport {
    ///     device_id: "ws042-2024-03-05-09-10-11".parse()?,
    ///     package: Some("1709630000".parse()?),
    ///     code: ResultCode::success(),
    /// };
    /// assert_eq!(
    ///     report.to_xml(),
    ///     "<REQUEST DEVICEID=\"ws042-2024-03-05-09-10-11\" ERR=\"SUCCESS\" ID=\"1709630000\" QUERY=\"DOWNLOAD\" />\n"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<REQUEST");
        let mut attribute = |name, value: &str| push_attribute(&mut out, name, value, Place::Attribute);
        attribute("DEVICEID", self.device_id.as_str());
        attribute("ERR", self.code.as_str());
        if let Some(package) = self.package {
            attribute("ID", &package.to_string());
        }
        attribute("QUERY", "DOWNLOAD");
        out.push_str(" />\n");
        out
    }

    /// Unix agents send attributes, Windows agents both (ocs-protocol 2.3).
    pub(super) fn read(device_id: DeviceId, root: &Element) -> Self {
        Self {
            device_id,
            package: root.value("ID").and_then(|id| id.parse().ok()),
            code: ResultCode::from_wire(root.value("ERR").unwrap_or_default()),
        }
    }
}
