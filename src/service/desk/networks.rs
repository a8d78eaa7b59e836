//! Networks with who was seen in them, and what Windows computers are asked of their registry.

use serde_json::json;

use super::super::assign::{AssignError, named};
use super::super::discovery::{self, DiscoveryError, Host, NetworkSummary};
use super::{Change, Desk, Refusal};
use crate::model::RegistryQuery;
use crate::model::access::Right;
use crate::store::registry::{self, Finding, RegistryValue};

impl Desk {
    /// Every network, in order of the addresses. They say how many computers there are, so they are for those whose
    /// scope is all of them.
    pub fn networks(&self) -> Result<Vec<NetworkSummary>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(discovery::networks(&self.app)?)
    }

    /// Who is in a network.
    pub fn network(&self, network: &str) -> Result<Vec<Host>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(discovery::hosts(&self.app, network)?)
    }

    /// What Windows computers are asked.
    pub fn registry_questions(&self) -> Result<Vec<RegistryQuery>, Refusal> {
        Ok(self.reading(Right::SeeComputers)?.store.read_now(registry::queries)?)
    }

    /// Asks them something more.
    pub fn add_registry_question(&self, question: RegistryQuery) -> Result<(), Refusal> {
        self.allow_all_computers()?;
        let change = Change::new("registry add", format!("registry question {}", question.name())).after(json!({
            "tree": question.tree().as_str(),
            "key": question.key(),
            "value": question.value(),
        }));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::add_registry_query(&app, question)?)
    }

    /// Takes a question back.
    pub fn remove_registry_question(&self, name: &str) -> Result<(), Refusal> {
        self.allow_all_computers()?;
        self.allow(Right::EditSettings)?;
        let all = self.app.store.read_now(registry::queries)?;
        let known = all.into_iter().find(|question| question.name().eq_ignore_ascii_case(name));
        let before = known.ok_or_else(|| DiscoveryError::UnknownQuery(name.chars().take(255).collect()))?;
        let change = Change::new("registry remove", format!("registry question {}", before.name())).before(json!({
            "tree": before.tree().as_str(),
            "key": before.key(),
            "value": before.value(),
        }));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::remove_registry_query(&app, name)?)
    }

    /// What computers found by a question, at most so many.
    pub fn registry_findings(&self, name: &str, limit: usize) -> Result<Vec<Finding>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        let name = name.to_owned();
        Ok(self.app.store.read_now(move |conn| registry::findings(conn, &name, limit))?)
    }

    /// What one computer found, by name or device id.
    pub fn registry_values(&self, computer: &str) -> Result<Vec<RegistryValue>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let name = computer.to_owned();
        let computer = app.store.read_now(move |conn| -> Result<_, AssignError> { named(conn, &name) })?;
        self.allow_computer(&computer)?;
        Ok(app.store.read_now(move |conn| registry::values_of(conn, computer.id))?)
    }
}
