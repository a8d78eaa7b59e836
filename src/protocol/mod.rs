//! The wire: bytes ↔ values. Floor 1, pure.
//!
//! Read liberally (attribute or child element, any order, several containers), write strictly (the form that both stock
//! agents parse, ocs-protocol 1.6). One exchange, as a stock Unix agent has it:
//!
//! ```text
//! POST /ocsinventory   zlib(<REQUEST><DEVICEID>ws042-2024-03-05-09-10-11</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>)
//!   200                zlib(<REPLY><RESPONSE>SEND</RESPONSE>…<OPTION><NAME>DOWNLOAD</NAME><PARAM TYPE="CONF" …/>
//!                           <PARAM TYPE="PACK" ID="1709630000" INFO_LOC="dl.example.net/download" …/></OPTION></REPLY>)
//! GET  https://dl.example.net/download/1709630000/info
//! POST /ocsinventory   zlib(<REQUEST>…<QUERY>INVENTORY</QUERY></REQUEST>)
//! GET  http://dl.example.net/download/1709630000/1709630000-1     one a cycle …
//! POST /ocsinventory   zlib(<REQUEST DEVICEID="…" ERR="SUCCESS" ID="1709630000" QUERY="DOWNLOAD" />)
//!   200                empty
//! ```

pub mod envelope;
mod info;
mod inventory;
mod manifest;
mod option;
mod prolog;
pub mod proof;
pub mod range;
mod report;
mod request;
#[cfg(test)]
mod tests;
mod wanted;
pub mod xml;

pub use info::{Info, InfoError, Scheme};
pub use inventory::{
    AccountField, ComputerFacts, Discovered, InventoryDocument, InventoryReply, InventoryRequest, NOT_COMPARED,
    Network, Section, SectionFacts, SoftwareTitle, changes_by_itself, sections_of,
};
pub use manifest::{
    InvalidFilter, Listing, Manifest, ManifestEntry, ManifestError, MirrorReport, PackageFilter, SignedManifest,
};
pub use option::{ConfError, DownloadOption, Offer, conf_from_xml, conf_to_xml};
pub use prolog::{Decision, PrologReply, PrologRequest, ReplyError};
pub use report::DownloadReport;
pub use request::{NotifyRequest, Request, RequestError, UPDATE_REPLY};
pub use wanted::IpDiscover;
