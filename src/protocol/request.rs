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
    /// The name of the root does not matter. Of an inventory only what the server compares or makes columns of is kept in
    /// memory; the rest is checked and passed over.
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
    Some(Network {
        ip_address: column(value("IP")?),
        mac: column(value("MAC")?),
        mask: column(value("MASK")?),
        subnet: value("SUBNET").map(column).unwrap_or_default(),
    })
}

/// What a request is read for. 450,000 elements are 100,000 programs and as much again of everything else a computer has.
const RULES: Rules = Rules { raw_ampersands: false, keep: is_read, kept: 450_000 };

fn is_read(open: &[Element], name: &str) -> bool {
    match open {
        [_] => {
            matches!(
                name,
                "CONTENT" | "DEVICEID" | "ERR" | "HARDWARE" | "ID" | "IFACE" | "OLD_DEVICEID" | "QUERY" | "TYPE"
            )
        }
        // Run-time data, and long.
        [_, content] if content.name == "CONTENT" => {
            !matches!(name, "JOURNALLOG" | "PROCESS" | "PROCESSES" | "RUNNINGPROCESSES")
        }
        // Most of an inventory, of which three of a dozen leaves tell titles apart.
        [_, _, software] if software.name == "SOFTWARES" => matches!(name, "NAME" | "PUBLISHER" | "VERSION"),
        // The root, and what the sections hold.
        _ => true,
    }
}

/// `DEVICEID` of the request, else of its content (ocs-protocol 2).
fn device_id(root: &Element) -> Result<DeviceId, RequestError> {
    let named = |element: &Element| element.value("DEVICEID").filter(|id| !id.is_empty()).map(str::to_owned);
    let id = named(root).or_else(|| root.child("CONTENT").and_then(named)).ok_or(RequestError::NoDeviceId)?;
    Ok(bytes_as_characters(&id).unwrap_or(id).parse()?)
}

/// What was meant, if the characters are the bytes of UTF-8: a stock Unix agent sends a host name `büro` as it is in the
/// prolog, and as `bÃ¼ro` in the inventory. Only for the identifier: without that it would be two computers.
fn bytes_as_characters(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(character).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_agent_is_the_same_computer_in_each_message_whatever_its_name() {
        let said = |id: &[u8]| {
            let document =
                [b"<REQUEST><DEVICEID>", id, b"-2024-03-05-09-10-11</DEVICEID><QUERY>SNMP</QUERY></REQUEST>"];
            match Request::parse(&document.concat(), &RequestLimits::DEFAULT) {
                Ok(Request::Snmp { device_id }) => device_id.host().to_owned(),
                other => panic!("{other:?}"),
            }
        };
        // A host name in UTF-8: as it is in the prolog; in the inventory each of its bytes is a character.
        assert_eq!(said("büro".as_bytes()), "büro");
        assert_eq!(said("bÃ¼ro".as_bytes()), "büro");
        // In ISO-8859-1: its bytes in the prolog; in the inventory the characters that they mean.
        assert_eq!(said(b"b\xfcro"), "büro");
        // What is no such mistake stays.
        for name in ["ws042", "bÃro", "büro€", "日本"] {
            assert_eq!(said(name.as_bytes()), name);
        }
    }

    fn check(inside: &str) -> String {
        let document = format!("<REQUEST>{inside}</REQUEST>");
        match Request::parse(document.as_bytes(), &RequestLimits::DEFAULT) {
            Ok(Request::Prolog(prolog)) => format!("prolog of {}", prolog.device_id.host()),
            Ok(Request::Snmp { device_id }) => format!("snmp of {}", device_id.host()),
            Ok(Request::Update) => "update".to_owned(),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("400: {error}"),
        }
    }

    const PC: &str = "<DEVICEID>pc-2024-03-05-09-10-11</DEVICEID>";

    #[test]
    fn the_name_may_stand_in_the_content() {
        assert_eq!(check(&format!("<QUERY>PROLOG</QUERY><CONTENT>{PC}</CONTENT>")), "prolog of pc");
        let both = format!("<QUERY>PROLOG</QUERY><DEVICEID/><CONTENT><OTHER/>{PC}</CONTENT>");
        assert_eq!(check(&both), "prolog of pc");
    }

    #[test]
    fn every_query_is_told_apart() {
        assert_eq!(
            check(&format!("{PC}<QUERY>SNMP</QUERY><CONTENT><PRINTER><A>1</A></PRINTER></CONTENT>")),
            "snmp of pc"
        );
        assert_eq!(check("<QUERY>UPDATE</QUERY>"), "update");
        let sentences: Vec<String> = [
            "",
            PC,
            "<QUERY/>",
            "<QUERY>PROLOG</QUERY>",
            "<QUERY>PROLOG</QUERY><DEVICEID></DEVICEID>",
            "<QUERY>PROLOG</QUERY><DEVICEID>pc-2024-03-05-09-10-11 </DEVICEID>",
            "<QUERY> PROLOG </QUERY>",
            "<QUERY>prolog</QUERY>",
            "<QUERY>FILE</QUERY>",
            "<QUERY>SYSTEM</QUERY>",
        ]
        .iter()
        .map(|inside| check(inside))
        .collect();
        insta::assert_snapshot!(sentences.join("\n"), @r#"
        400: the request has no QUERY
        400: the request has no QUERY
        400: the request has no QUERY
        400: the request has no DEVICEID
        400: the request has no DEVICEID
        400: "pc-2024-03-05-09-10-11 " is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
        400: unknown QUERY " PROLOG "
        400: unknown QUERY "prolog"
        400: unknown QUERY "FILE"
        400: unknown QUERY "SYSTEM"
        "#);
    }

    #[test]
    fn a_windows_agent_mixes_attributes_and_elements() {
        let document = br#"<?xml version="1.0" encoding="UTF-8" ?>
            <REQUEST ID="1709630000" ERR="EXIT_CODE_1603">
                <DEVICEID>PC-2024-03-05-09-10-11</DEVICEID>
                <CONTENT />
                <QUERY>DOWNLOAD</QUERY>
            </REQUEST>"#;
        let Ok(Request::Download(report)) = Request::parse(document, &RequestLimits::DEFAULT) else { panic!() };
        assert_eq!(report.package.map(crate::model::PackageId::number), Some(1_709_630_000));
        assert_eq!(report.code.as_str(), "EXIT_CODE_1603");
    }

    #[test]
    fn a_notification_lists_the_adapters_that_are_whole() {
        let notify = |kind: &str| {
            let inside = format!(
                "{PC}<CONTENT/><QUERY>NOTIFY</QUERY><TYPE>{kind}</TYPE><HARDWARE><IPADDR>10.1.2.42</IPADDR></HARDWARE>
                 <IFACE><MAC>02:00:00:00:00:2A</MAC><IP>10.1.2.42</IP><MASK>255.255.255.0</MASK>
                   <SUBNET>10.1.2.0</SUBNET></IFACE>
                 <IFACE><MAC>02:00:00:00:00:2B</MAC><IP>10.1.2.43</IP><MASK/></IFACE>
                 <IFACE MAC='' IP='10.1.2.44' MASK='255.0.0.0'/>"
            );
            let document = format!("<REQUEST>{inside}</REQUEST>");
            match Request::parse(document.as_bytes(), &RequestLimits::DEFAULT) {
                Ok(Request::Notify(notify)) => notify,
                other => panic!("{other:?}"),
            }
        };
        let whole = Network {
            ip_address: "10.1.2.42".to_owned(),
            mac: "02:00:00:00:00:2A".to_owned(),
            mask: "255.255.255.0".to_owned(),
            subnet: "10.1.2.0".to_owned(),
        };
        assert_eq!(notify("IP").networks, [whole]);
        assert_eq!(notify("IP").ip_address.as_deref(), Some("10.1.2.42"));
        assert_eq!((notify("DNS").networks, notify("DNS").ip_address), (vec![], None));
    }
}
