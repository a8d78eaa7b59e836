//! The info file: what a package is, how to check it, what to do with it (ocs-protocol 5).

use crate::model::{Action, Digest, Done, FragmentCount, InvalidDigest, InvalidPackage, Notify, PackageId, Priority};

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
    #[error("the info file is not XML: {0}")]
    Xml(#[from] super::xml::XmlError),
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
    pub fn to_xml(&self) -> String {
        todo!()
    }

    /// Reads any console's info file; a raw `&` is tolerated.
    pub fn parse(document: &[u8]) -> Result<Self, InfoError> {
        let _ = document;
        todo!()
    }
}
