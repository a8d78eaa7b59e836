//! Packages of a stock server, which come as an archive of its download directory.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::import::{Described, Import, Imported, find, unpack};
use super::super::uploads;
use super::{Change, Desk, Kind, Refusal};
use crate::model::access::Right;
use crate::model::{OsFamily, PackageId, UploadId};

/// What became of one package.
#[derive(Debug)]
pub struct ImportLine {
    /// Its number on the stock server.
    pub id: PackageId,
    /// What it is called here.
    pub name: String,
    /// What became of it, or why nothing did.
    pub outcome: Result<Imported, String>,
}

impl Desk {
    /// Imports every package of an upload, each whole or not at all; with `dry`, says what would become of each. The upload
    /// is removed when all that is in it is here.
    pub fn import_packages(
        &self,
        upload: &UploadId,
        described: BTreeMap<PackageId, Described>,
        os: Option<OsFamily>,
        dry: bool,
    ) -> Result<Vec<ImportLine>, Refusal> {
        let app = self.reading(Right::BuildPackages)?;
        let path = self.uploaded_file(upload)?;
        let unpacked = unpack(app, &path)?;
        let ids = find(unpacked.directory()).map_err(Refusal::failed)?;
        if ids.is_empty() {
            return Err(Refusal::invalid(
                "there are no packages in this archive: pack the directory that a stock server's agents fetch from, which \
                 has a directory for each package",
            )
            .about("upload"));
        }
        let import = Import { directory: unpacked.directory().to_owned(), described, os };
        let lines = ids.into_iter().map(|id| self.import_one(&import, id, dry)).collect::<Result<Vec<_>, _>>()?;
        if !dry && lines.iter().all(|line| line.outcome.is_ok()) {
            // If this fails, it goes when it expires.
            let _ = uploads::remove(app, upload);
        }
        Ok(lines)
    }

    fn import_one(&self, import: &Import, id: PackageId, dry: bool) -> Result<ImportLine, Refusal> {
        let name = import.name(id);
        if !self.actor.scope.has_family(&name) {
            let sentence = format!("{} may not build packages of the family \"{name}\"", self.actor.label());
            return Ok(ImportLine { id, name, outcome: Err(sentence) });
        }
        let change = Change::new("package import", format!("package {id}")).after(json!({ "name": name }));
        let app = self.changing(Right::BuildPackages, change)?;
        let outcome = match import.one(&app, id, dry, &mut |_| {}) {
            Ok(done) => Ok(done),
            Err(error) => {
                let refusal = Refusal::from(error);
                if refusal.kind == Kind::Failed {
                    return Err(refusal);
                }
                Err(refusal.for_people().to_owned())
            }
        };
        Ok(ImportLine { id, name, outcome })
    }
}
