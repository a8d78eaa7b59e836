//! The info file: what a package is, how to check it, what to do with it (ocs-protocol 5).

use std::str::FromStr;

use super::option::is_on;
use super::xml::{Element, Place, Rules, XmlError, cut, parse_with, push_attribute};
use crate::model::limits::RequestLimits;
use crate::model::{
    Action, Digest, DigestAlgorithm, DigestEncoding, Done, FragmentCount, FragmentPlan, InvalidDigest, InvalidPackage,
    Notify, PackageId, Priority,
};

/// `PROTO`: how fragments travel. The info file itself is always fetched over HTTPS.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `HTTP`.
    #[default]
    Http,
    /// `HTTPS`.
    Https,
}

impl Scheme {
    fn wire_name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        }
    }

    /// For an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// `<DOWNLOAD …/>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// `ID`.
    pub package: PackageId,
    /// `PRI`.
    pub priority: Priority,
    /// `ACT` with `NAME`, `COMMAND` or `PATH`.
    pub action: Action,
    /// `FRAGS`.
    pub fragments: FragmentCount,
    /// `DIGEST`, `DIGEST_ALGO`, `DIGEST_ENCODE`; `None` without fragments. Written as MD5 in Hexa, the only form that
    /// every agent takes.
    pub digest: Option<Digest>,
    /// `PROTO`.
    pub scheme: Scheme,
    /// `NOTIFY_USER` and what belongs to it.
    pub notify: Option<Notify>,
    /// `NEED_DONE_ACTION` and its text.
    pub done: Option<Done>,
    /// `SHA256`: ours, ignored by stock agents; our agent checks it as well as `DIGEST`.
    pub sha256: Option<Digest>,
}

/// Why an info file was refused.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// Not XML, even with stray ampersands repaired.
    #[error("the info file cannot be read")]
    Xml(#[from] XmlError),
    /// The root is not `DOWNLOAD`.
    #[error("the info file's root is \"{0}\", not DOWNLOAD")]
    Root(String),
    /// An attribute that must be there is not, or is not of its form.
    #[error("attribute {attribute} of the info file is missing or wrong: \"{value}\"")]
    Attribute {
        /// Which.
        attribute: &'static str,
        /// What stood there.
        value: String,
    },
    /// No command or path, or an unknown action: the agent reports `ERR_BAD_PARAM`.
    #[error(transparent)]
    Action(#[from] InvalidPackage),
    /// A digest that cannot be checked: the agent reports `ERR_BAD_DIGEST`.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Info {
    /// The file, in the stock console's order of attributes, escaped once, on one line.
    ///
    /// Byte for byte what the stock console writes, but for what it forgets to escape: `&` and `<`, and line feeds and
    /// tabs, which a reader would turn into blanks.
    pub fn to_xml(&self) -> String {
        let flag = |on| if on { "1" } else { "0" };
        let digest = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        let algorithm = self.digest.map_or(DigestAlgorithm::Md5, |digest| digest.algorithm());
        let notify = self.notify.as_ref();
        let countdown = notify.and_then(|notify| notify.countdown_seconds).map(|seconds| seconds.to_string());

        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DOWNLOAD");
        let mut attribute = |name, value: &str| push_attribute(&mut out, name, value, Place::InfoAttribute);
        attribute("ID", &self.package.to_string());
        attribute("PRI", &self.priority.to_string());
        attribute("ACT", self.action.wire_name());
        attribute("DIGEST", &digest);
        attribute("PROTO", self.scheme.wire_name());
        attribute("FRAGS", &self.fragments.to_string());
        attribute("DIGEST_ALGO", algorithm.as_str());
        attribute("DIGEST_ENCODE", DigestEncoding::Hexa.as_str());
        attribute(attribute_of(&self.action), self.action.text());
        attribute("NOTIFY_USER", flag(notify.is_some()));
        attribute("NOTIFY_TEXT", notify.map_or("", |notify| &notify.text));
        attribute("NOTIFY_COUNTDOWN", &countdown.unwrap_or_default());
        attribute("NOTIFY_CAN_ABORT", flag(notify.is_some_and(|notify| notify.can_abort)));
        attribute("NOTIFY_CAN_DELAY", flag(notify.is_some_and(|notify| notify.can_delay)));
        attribute("NEED_DONE_ACTION", flag(self.done.is_some()));
        attribute("NEED_DONE_ACTION_TEXT", self.done.as_ref().map_or("", |done| &done.text));
        // Nobody uses it; the Windows agent reads it.
        attribute("GARDEFOU", "rien");
        if let Some(sha256) = self.sha256 {
            attribute("SHA256", &sha256.to_string());
        }
        out.push_str(" />\n");
        out
    }

    /// Reads any console's info file; a raw `&` is tolerated.
    ///
    /// Without `PRI` a package is slow (10), without `FRAGS` it is a command.
    pub fn parse(document: &[u8]) -> Result<Self, InfoError> {
        let root = parse_with(document, &RequestLimits::DEFAULT, &Rules { raw_ampersands: true, ..Rules::ALL })?;
        if root.name != "DOWNLOAD" {
            return Err(InfoError::Root(cut(&root.name).into_owned()));
        }
        let fragments = FragmentCount(number(&root, "FRAGS", 0)?);
        if fragments.0 > FragmentPlan::MAX_FRAGMENTS {
            return Err(wrong(&root, "FRAGS"));
        }
        let word = root.value("ACT").unwrap_or_default().to_ascii_lowercase();
        let text = match word.as_str() {
            "launch" => root.value("NAME"),
            "execute" => root.value("COMMAND"),
            _ => root.value("PATH"),
        };
        let flag = |name| root.value(name).is_some_and(is_on);
        let text_of = |name| root.value(name).unwrap_or_default().to_owned();
        Ok(Self {
            package: required(&root, "ID")?,
            priority: Priority::from_number(number(&root, "PRI", 10)?),
            action: Action::from_parts(&word, text.unwrap_or_default())?,
            fragments,
            digest: if fragments == FragmentCount::NONE { None } else { Some(digest(&root)?) },
            scheme: match root.value("PROTO").map(str::trim) {
                None | Some("") => Scheme::Http,
                Some(word) if word.eq_ignore_ascii_case("http") => Scheme::Http,
                Some(word) if word.eq_ignore_ascii_case("https") => Scheme::Https,
                Some(_) => return Err(wrong(&root, "PROTO")),
            },
            notify: flag("NOTIFY_USER").then(|| Notify {
                text: text_of("NOTIFY_TEXT"),
                countdown_seconds: root.value("NOTIFY_COUNTDOWN").and_then(|text| text.trim().parse().ok()),
                can_abort: flag("NOTIFY_CAN_ABORT"),
                can_delay: flag("NOTIFY_CAN_DELAY"),
            }),
            done: flag("NEED_DONE_ACTION").then(|| Done { text: text_of("NEED_DONE_ACTION_TEXT") }),
            sha256: match root.value("SHA256").map(str::trim) {
                None | Some("") => None,
                Some(text) => Some(Digest::parse(DigestAlgorithm::Sha256, DigestEncoding::Hexa, text)?),
            },
        })
    }
}

fn attribute_of(action: &Action) -> &'static str {
    match action {
        Action::Launch { .. } => "NAME",
        Action::Execute { .. } => "COMMAND",
        Action::Store { .. } => "PATH",
    }
}

fn digest(root: &Element) -> Result<Digest, InvalidDigest> {
    let value = |name| root.value(name).unwrap_or_default().trim();
    Digest::parse(value("DIGEST_ALGO").parse()?, value("DIGEST_ENCODE").parse()?, value("DIGEST"))
}

fn number(root: &Element, attribute: &'static str, missing: u32) -> Result<u32, InfoError> {
    match root.value(attribute).map(str::trim) {
        None | Some("") => Ok(missing),
        Some(text) => text.parse().map_err(|_| wrong(root, attribute)),
    }
}

fn required<T: FromStr>(root: &Element, attribute: &'static str) -> Result<T, InfoError> {
    root.value(attribute).and_then(|text| text.trim().parse().ok()).ok_or_else(|| wrong(root, attribute))
}

fn wrong(root: &Element, attribute: &'static str) -> InfoError {
    InfoError::Attribute { attribute, value: cut(root.value(attribute).unwrap_or_default()).into_owned() }
}
