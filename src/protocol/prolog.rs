//! PROLOG: the check-in and its answer (ocs-protocol 2.1).

use super::DownloadOption;
use super::xml::XmlError;
use crate::model::DeviceId;

/// `QUERY` PROLOG.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrologRequest {
    /// Who.
    pub device_id: DeviceId,
}

impl PrologRequest {
    /// The document as the stock Unix agent writes it.
    pub fn to_xml(&self) -> String {
        todo!()
    }
}

/// `RESPONSE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// An inventory is wanted.
    Send,
    /// It is not.
    Stop,
    /// Any other word; agents read it as "not wanted".
    Other(String),
}

/// The answer to a prolog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrologReply {
    /// Is an inventory wanted?
    pub decision: Decision,
    /// Hours until the next contact.
    pub prolog_freq: Option<u32>,
    /// Whether Windows agents check in when their service starts.
    pub inventory_on_startup: Option<bool>,
    /// Settings and packages; `None` after "never".
    pub download: Option<DownloadOption>,
}

/// Why an agent could not read a reply.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// Not XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The root is not `REPLY`.
    #[error("the answer is not an OCS reply: its root is \"{0}\"")]
    NotAReply(String),
}

impl PrologReply {
    /// The document: deterministic order, the form that both stock agents parse (ocs-protocol 1.6).
    pub fn to_xml(&self) -> String {
        todo!()
    }

    /// Reads any server's reply: any order, PARAM values as attributes or child elements.
    pub fn parse(document: &[u8]) -> Result<Self, ReplyError> {
        let _ = document;
        todo!()
    }
}
