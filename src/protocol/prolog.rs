//! PROLOG: the check-in and its answer (ocs-protocol 2.1).

use super::DownloadOption;
use super::xml::{self, Element, XmlError, cut, push_leaf};
use super::{IpDiscover, wanted};
use crate::model::limits::RequestLimits;
use crate::model::{DeviceId, RegistryQuery};

/// `QUERY` PROLOG.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrologRequest {
    /// Who.
    pub device_id: DeviceId,
}

impl PrologRequest {
    /// The document as the stock Unix agent writes it.
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST>\n");
        push_leaf(&mut out, 1, "DEVICEID", self.device_id.as_str());
        push_leaf(&mut out, 1, "QUERY", "PROLOG");
        out.push_str("</REQUEST>\n");
        out
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
    /// What Windows agents look up in their registry.
    pub registry: Vec<RegistryQuery>,
    /// The network that this agent looks round in.
    pub ip_discover: Option<IpDiscover>,
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
    ///
    /// ```
    /// use dripfeed::protocol::{Decision, PrologReply};
    ///
    /// let never = PrologReply {
    ///     decision: Decision::Stop,
    ///     prolog_freq: Some(24),
    ///     inventory_on_startup: Some(true),
    ///     registry: Vec::new(),
    ///     ip_discover: None,
    ///     download: None,
    /// };
    /// assert_eq!(PrologReply::parse(never.to_xml().as_bytes())?, never);
    /// # Ok::<(), dripfeed::protocol::ReplyError>(())
    /// ```
    pub fn to_xml(&self) -> String {
        // The frame, CONF and a package come to about 300 bytes each.
        let offers = self.download.as_ref().map_or(0, |download| download.offers.len());
        let mut out = String::with_capacity(600 + 300 * offers);
        out.push_str("<?xml version='1.0' encoding='UTF-8'?>\n<REPLY>\n");
        push_leaf(&mut out, 1, "RESPONSE", self.decision.as_str());
        if let Some(hours) = self.prolog_freq {
            push_leaf(&mut out, 1, "PROLOG_FREQ", &hours.to_string());
        }
        if let Some(check_in) = self.inventory_on_startup {
            push_leaf(&mut out, 1, "INVENTORY_ON_STARTUP", if check_in { "1" } else { "0" });
        }
        wanted::push_registry(&self.registry, &mut out);
        if let Some(ip_discover) = self.ip_discover {
            ip_discover.push(&mut out);
        }
        if let Some(download) = &self.download {
            download.push(&mut out);
        }
        out.push_str("</REPLY>\n");
        out
    }

    /// Reads any server's reply: any order, PARAM values as attributes or child elements.
    ///
    /// Options that this agent does not know are passed over; so is a package without what it takes to fetch it.
    pub fn parse(document: &[u8]) -> Result<Self, ReplyError> {
        let root = reply(document)?;
        let number = |name| root.value(name).and_then(|text| text.trim().parse::<u32>().ok());
        Ok(Self {
            decision: Decision::read(root.value("RESPONSE").unwrap_or_default()),
            prolog_freq: number("PROLOG_FREQ"),
            inventory_on_startup: number("INVENTORY_ON_STARTUP").map(|number| number != 0),
            registry: wanted::read_registry(&root),
            ip_discover: IpDiscover::read(&root),
            download: DownloadOption::read(&root),
        })
    }
}

impl Decision {
    /// The wire's word. Windows agents fall over an empty one (ocs-protocol 1.6).
    fn as_str(&self) -> &str {
        match self {
            Self::Send => "SEND",
            Self::Other(word) if !word.trim().is_empty() => word,
            Self::Stop | Self::Other(_) => "STOP",
        }
    }

    /// In any case, as Windows agents read it; no word at all is "not wanted".
    fn read(word: &str) -> Self {
        match word {
            word if word.eq_ignore_ascii_case("SEND") => Self::Send,
            word if word.is_empty() || word.eq_ignore_ascii_case("STOP") => Self::Stop,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The root of a reply. How long it may be is the caller's to say when it fetches and inflates it.
pub(super) fn reply(document: &[u8]) -> Result<Element, ReplyError> {
    let root = xml::parse(document, &RequestLimits::DEFAULT)?;
    if root.name != "REPLY" {
        return Err(ReplyError::NotAReply(cut(&root.name).into_owned()));
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> PrologReply {
        PrologReply::parse(format!("<REPLY>{inside}</REPLY>").as_bytes()).expect("a reply")
    }

    #[test]
    fn a_decision_is_read_in_any_case_and_silence_is_stop() {
        for (inside, decision) in [
            ("<RESPONSE>SEND</RESPONSE>", Decision::Send),
            ("<RESPONSE>Send</RESPONSE>", Decision::Send),
            ("<RESPONSE>STOP</RESPONSE>", Decision::Stop),
            ("<RESPONSE>OTHER</RESPONSE>", Decision::Other("OTHER".to_owned())),
            ("<RESPONSE/>", Decision::Stop),
            ("", Decision::Stop),
        ] {
            assert_eq!(read(inside).decision, decision, "{inside}");
        }
        assert_eq!(Decision::Other(" ".to_owned()).as_str(), "STOP");
    }

    #[test]
    fn unknown_options_and_odd_numbers_are_passed_over() {
        let reply = read(
            "<PROLOG_FREQ>often</PROLOG_FREQ><INVENTORY_ON_STARTUP>1</INVENTORY_ON_STARTUP>
             <OPTION><NAME>REGISTRY</NAME><PARAM NAME='k' REGTREE='2' REGKEY='x'>v</PARAM></OPTION>
             <OPTION/><OPTION><PARAM TYPE='CONF' ON='1'/></OPTION>",
        );
        assert_eq!(reply.registry.len(), 1, "agents that know no registry pass this over");
        assert_eq!((reply.prolog_freq, reply.inventory_on_startup, reply.download), (None, Some(true), None));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let sentence = |document: &[u8]| PrologReply::parse(document).expect_err("refused").to_string();
        assert_eq!(sentence(b"<html/>"), "the answer is not an OCS reply: its root is \"html\"");
        assert!(sentence(b"<REPLY>").starts_with("not well-formed XML: the document ends inside <REPLY>"));
        assert!(sentence(b"").starts_with("not well-formed XML: there is no element"));
    }
}
