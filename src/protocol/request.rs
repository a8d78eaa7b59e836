//! What agents say.

use super::inventory::column;
use super::xml::{Element, Rules, XmlError, cut, parse_with};
use super::{DownloadReport, InventoryRequest, Network, PrologRequest};
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
    pub networks: Vec<Network>,
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

/// The whole answer to [`Request::Update`]: there is nothing newer.
pub const UPDATE_REPLY: &str =
    "<?xml version='1.0' encoding='UTF-8'?>\n<REPLY>\n  <RESPONSE>NO_UPDATE</RESPONSE>\n</REPLY>\n";

impl Request {
    /// Reads an opened request.
    ///
    /// The name of the root does not matter. Of an inventory only what the server makes columns of is kept in memory;
    /// the rest is checked and passed over.
    ///
    /// ```
    /// use dripfeed::model::limits::RequestLimits;
    /// use dripfeed::protocol::Request;
    ///
    /// let document = br#"<REQUEST DEVICEID="ws042-2024-03-05-09-10-11" QUERY="PROLOG" />"#;
    /// let Request::Prolog(prolog) = Request::parse(document, &RequestLimits::DEFAULT)? else { unreachable!() };
    /// assert_eq!(prolog.device_id.host(), "ws042");
    /// # Ok::<(), dripfeed::protocol::RequestError>(())
    /// ```
    pub fn parse(document: &[u8], limits: &RequestLimits) -> Result<Self, RequestError> {
        let root = parse_with(document, limits, &RULES)?;
        let query = root.value("QUERY").filter(|query| !query.is_empty()).ok_or(RequestError::NoQuery)?;
        Ok(match query {
            "PROLOG" => Self::Prolog(PrologRequest { device_id: device_id(&root)? }),
            "INVENTORY" => Self::Inventory(Box::new(InventoryRequest::read(device_id(&root)?, &root))),
            "DOWNLOAD" => Self::Download(DownloadReport::read(device_id(&root)?, &root)),
            "NOTIFY" => Self::Notify(NotifyRequest::read(device_id(&root)?, &root)),
            "SNMP" => Self::Snmp { device_id: device_id(&root)? },
            // The only one that needs no name (ocs-protocol 1.4).
            "UPDATE" => Self::Update,
            other => return Err(RequestError::UnknownQuery(cut(other).into_owned())),
        })
    }
}

impl NotifyRequest {
    fn read(device_id: DeviceId, root: &Element) -> Self {
        let mut notify = Self { device_id, ip_address: None, networks: Vec::new() };
        // Nobody sends another type; the stock server only logs them.
        if root.value("TYPE") == Some("IP") {
            notify.ip_address = root.child("HARDWARE").and_then(|hardware| hardware.value("IPADDR")).map(column);
            notify.networks = root.children_named("IFACE").filter_map(adapter).collect();
        }
        notify
    }
}

fn adapter(iface: &Element) -> Option<Network> {
    let value = |name| iface.value(name).filter(|value| !value.is_empty());
    value("MASK")?;
    Some(Network { ip_address: column(value("IP")?), mac: column(value("MAC")?) })
}

/// What a request is read for. 50,000 elements are 16,000 network adapters, or as many packages in the history.
const RULES: Rules = Rules { raw_ampersands: false, keep: is_read, kept: 50_000 };

fn is_read(open: &[Element], name: &str) -> bool {
    match open {
        [] => true,
        [_] => {
            matches!(name, "CONTENT" | "DEVICEID" | "ERR" | "HARDWARE" | "ID" | "IFACE" | "QUERY" | "TYPE")
        }
        [_, content] if content.name == "CONTENT" => {
            matches!(name, "ACCOUNTINFO" | "BIOS" | "CPUS" | "DEVICEID" | "DOWNLOAD" | "HARDWARE" | "NETWORKS")
        }
        _ => true,
    }
}

/// `DEVICEID` of the request, else of its content (ocs-protocol 2).
fn device_id(root: &Element) -> Result<DeviceId, RequestError> {
    let named = |element: &Element| element.value("DEVICEID").filter(|id| !id.is_empty()).map(str::to_owned);
    let id = named(root).or_else(|| root.child("CONTENT").and_then(named)).ok_or(RequestError::NoDeviceId)?;
    Ok(id.parse()?)
}
