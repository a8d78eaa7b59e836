//! Networks with who was seen in them, and what Windows computers are asked of their registry.

use serde_json::{Value, json};

use super::super::assign::{AssignError, named};
use super::super::discovery::{self, DiscoveryError, Host, NetworkSummary};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::query::fold;
use crate::model::{RegistryQuery, RegistryTree};
use crate::store::labels::{self, Label};
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

    /// One network as the list shows it.
    pub fn network_summary(&self, network: &str) -> Result<NetworkSummary, Refusal> {
        let found = self.networks()?.into_iter().find(|summary| summary.network == network.trim());
        Ok(found.ok_or_else(|| DiscoveryError::UnknownNetwork(network.chars().take(60).collect()))?)
    }

    /// Says what a network is called, and whether nobody is to look round there.
    pub fn label_network(&self, network: &str, label: Label) -> Result<(), Refusal> {
        self.allow(Right::EditSettings)?;
        self.allow_all_computers()?;
        let mut known = self.app.store.read_now(labels::list)?;
        let change = Change::new("network label", format!("network {network}"))
            .before(label_facts(&known.remove(network).unwrap_or_default()))
            .after(label_facts(&label));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::label(&app, network, label)?)
    }

    /// What Windows computers are asked.
    pub fn registry_questions(&self) -> Result<Vec<RegistryQuery>, Refusal> {
        Ok(self.reading(Right::SeeComputers)?.store.read_now(registry::queries)?)
    }

    /// Asks them something more.
    pub fn add_registry_question(&self, question: RegistryQuery) -> Result<(), Refusal> {
        self.allow_all_computers()?;
        let change = Change::new("registry add", subject(&question)).after(asked(&question));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::add_registry_query(&app, question)?)
    }

    /// One of the questions.
    pub fn registry_question(&self, name: &str) -> Result<RegistryQuery, Refusal> {
        let wanted = fold(name);
        let known = self.registry_questions()?.into_iter().find(|question| fold(question.name()) == wanted);
        Ok(known.ok_or_else(|| DiscoveryError::UnknownQuery(name.chars().take(255).collect()))?)
    }

    /// Asks something else under the same name.
    pub fn edit_registry_question(
        &self,
        name: &str,
        tree: RegistryTree,
        key: &str,
        value: &str,
    ) -> Result<(), Refusal> {
        self.allow_all_computers()?;
        self.allow(Right::EditSettings)?;
        let before = self.registry_question(name)?;
        let after = RegistryQuery::new(before.name(), tree, key, value)?;
        let change = Change::new("registry edit", subject(&before)).before(asked(&before)).after(asked(&after));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::edit_registry_query(&app, after)?)
    }

    /// Takes a question back.
    pub fn remove_registry_question(&self, name: &str) -> Result<(), Refusal> {
        self.allow_all_computers()?;
        self.allow(Right::EditSettings)?;
        let before = self.registry_question(name)?;
        let change = Change::new("registry remove", subject(&before)).before(asked(&before));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(discovery::remove_registry_query(&app, name)?)
    }

    /// What computers found by a question, in order of the values, at most so many.
    pub fn registry_findings(&self, wanted: registry::Wanted, limit: usize) -> Result<Vec<Finding>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(self.app.store.read_now(move |conn| registry::findings(conn, &wanted, limit))?)
    }

    /// What was found most often by a question, with how often, at most so many.
    pub fn registry_distribution(&self, name: &str, limit: usize) -> Result<Vec<(String, u64)>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        let name = name.to_owned();
        Ok(self.app.store.read_now(move |conn| registry::values(conn, &name, limit))?)
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

fn subject(question: &RegistryQuery) -> String {
    format!("registry question {}", question.name())
}

/// What of a question the audit log tells.
fn asked(question: &RegistryQuery) -> Value {
    json!({ "tree": question.tree().as_str(), "key": question.key(), "value": question.value() })
}

/// What of a network's label it tells.
fn label_facts(label: &Label) -> Value {
    json!({ "name": label.name, "tag": label.tag, "excluded": label.excluded })
}
