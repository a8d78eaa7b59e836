//! What agents say.

use super::xml::XmlError;
use super::{DownloadReport, InventoryRequest, PrologRequest};
use crate::model::{DeviceId, InvalidDeviceId, limits::RequestLimits};

/// A request at `/ocsinventory`, told apart by `QUERY` (ocs-protocol 2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// "Here I am."
    Prolog(PrologRequest),
    /// "This is what I am."
    Inventory(Box<InventoryRequest>),
    /// "This is what became of a package."
    Download(DownloadReport),
    /// "My addresses changed" (Windows).
    Notify(NotifyRequest),
    /// Old agents ask whether there is a newer agent; the answer is always no.
    Update,
    /// Results of an SNMP scan; taken and dropped.
    Snmp {
        /// Who.
        device_id: DeviceId,
    },
}

/// `QUERY` NOTIFY (ocs-protocol 2.5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotifyRequest {
    /// Who.
    pub device_id: DeviceId,
    /// `HARDWARE/IPADDR`, if it came.
    pub ip_address: Option<String>,
    /// The adapters that have IP, MASK and MAC.
    pub networks: Vec<super::Network>,
}

/// Why a request is answered 400.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// No `QUERY`.
    #[error("the request has no QUERY")]
    NoQuery,
    /// A `QUERY` that nobody knows.
    #[error("unknown QUERY \"{0}\"")]
    UnknownQuery(String),
    /// No `DEVICEID`.
    #[error("the request has no DEVICEID")]
    NoDeviceId,
    /// A `DEVICEID` of another form.
    #[error(transparent)]
    DeviceId(#[from] InvalidDeviceId),
}

impl Request {
    /// Reads an opened request.
    pub fn parse(document: &[u8], limits: &RequestLimits) -> Result<Self, RequestError> {
        let _ = (document, limits);
        todo!()
    }
}
