//! What a package was made by: kept with it, so that a new version begins where this one ended.

use serde::{Deserialize, Serialize};

use super::super::App;
use super::super::templates::{Script, Values};
use super::Fragmenting;
use crate::model::{ByteSize, PackageId};
use crate::store::{StoreError, recipes};

/// The template, what was typed into it, and the script.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recipe {
    /// The template's word; empty if the action was written without one.
    pub template: String,
    /// Its version.
    pub version: u32,
    /// What stood in its fields.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub values: Values,
    /// The script that was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Bytes of a fragment, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_bytes: Option<u64>,
    /// How many fragments at most, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragments: Option<u32>,
}

impl Recipe {
    /// The same, cut so.
    #[must_use]
    pub fn cut(mut self, fragmenting: Option<Fragmenting>) -> Self {
        (self.fragment_bytes, self.fragments) = match fragmenting {
            Some(Fragmenting::Size(size)) => (Some(size.0), None),
            Some(Fragmenting::Count(count)) => (None, Some(count)),
            None => (None, None),
        };
        self
    }

    /// How it was cut, if somebody said so.
    pub fn fragmenting(&self) -> Option<Fragmenting> {
        let size = self.fragment_bytes.map(|bytes| Fragmenting::Size(ByteSize(bytes)));
        size.or(self.fragments.map(Fragmenting::Count))
    }

    /// As the store keeps it.
    pub fn to_document(&self) -> String {
        // Texts and numbers are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The recipe of a package; none for one that was built without this, or before recipes were kept.
pub fn of_package(app: &App, package: PackageId) -> Result<Option<Recipe>, StoreError> {
    let document = app.store.read_now(move |conn| recipes::find(conn, package))?;
    Ok(document.and_then(|document| serde_json::from_str(&document).ok()))
}
