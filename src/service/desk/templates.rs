//! Templates: the program's for everybody who builds, and administrators' own, version by version.

use std::sync::Arc;

use serde_json::json;

use super::super::templates::own::{self, OwnError};
use super::super::templates::{Catalogue, DocumentError, Template};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::store::templates::Saved;

impl Desk {
    /// The templates that the actor can choose from.
    pub fn templates(&self) -> Result<Catalogue, Refusal> {
        Ok(own::catalogue(self.reading(Right::BuildPackages)?)?)
    }

    /// Administrators' own, as they were saved last.
    pub fn own_templates(&self) -> Result<Vec<Saved>, Refusal> {
        Ok(own::list(self.reading(Right::BuildPackages)?)?)
    }

    /// One with its document.
    pub fn template(&self, id: &str) -> Result<(Arc<Template>, String), Refusal> {
        let catalogue = self.templates()?;
        let unknown = || Refusal::not_found(format!("there is no template \"{id}\""));
        let template = catalogue.named(id).ok_or_else(unknown)?;
        let document = if template.own {
            self.own_templates()?.into_iter().find(|saved| saved.id == id).map(|saved| saved.document)
        } else {
            own::source(id)
        };
        Ok((Arc::clone(template), document.ok_or_else(unknown)?))
    }

    /// Every version of one of administrators' own, the newest first; also of one that was deleted.
    pub fn template_versions(&self, id: &str) -> Result<Vec<Saved>, Refusal> {
        let found = own::versions(self.reading(Right::BuildPackages)?, id)?;
        if found.is_empty() {
            return Err(OwnError::Unknown(id.to_owned()).into());
        }
        Ok(found)
    }

    /// What a document holds, or every error of it.
    pub fn check_template(&self, document: &str) -> Result<Result<Template, Vec<DocumentError>>, Refusal> {
        self.allow(Right::BuildPackages)?;
        Ok(own::check(document))
    }

    /// Saves a document as the next version of the template that it names; `began` is the version that was edited.
    pub fn save_template(&self, document: &str, began: Option<u32>) -> Result<Template, Refusal> {
        self.allow(Right::EditTemplates)?;
        let wrong = |errors| Refusal::from(OwnError::Document(errors)).about("document");
        let read = own::check(document).map_err(wrong)?;
        let before = own::list(&self.app)?.into_iter().find(|saved| saved.id == read.id);
        let change = Change::new("template save", format!("template {}", read.id))
            .before(before.map_or(json!(null), |saved| json!({ "version": saved.version, "document": saved.document })))
            .after(json!({ "document": document }));
        let app = self.changing(Right::EditTemplates, change)?;
        Ok(own::save(&app, document, began, &self.actor.name)?)
    }

    /// Takes one out of the choice.
    pub fn delete_template(&self, id: &str) -> Result<(), Refusal> {
        self.allow(Right::EditTemplates)?;
        let before = own::list(&self.app)?.into_iter().find(|saved| saved.id == id);
        let change = Change::new("template delete", format!("template {id}")).before(
            before.map_or(json!(null), |saved| json!({ "version": saved.version, "document": saved.document })),
        );
        let app = self.changing(Right::EditTemplates, change)?;
        Ok(own::delete(&app, id, &self.actor.name)?)
    }
}
