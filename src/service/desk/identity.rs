//! Keys of computers, and names that are expected.

use serde_json::json;

use super::super::identity;
use super::{Change, Desk, Refusal};
use crate::model::Computer;
use crate::model::access::Right;
use crate::store::expected::{self, Expected};

impl Desk {
    /// Forgets the key of a computer: it is known by its name again, until an agent registers.
    pub fn forget_key(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        let change = Change::new("computer forget-key", format!("computer {}", computer.device_id))
            .before(json!({ "key": computer.agent_key.as_ref().map(|key| &key.key) }));
        let app = self.changing(Right::RemoveComputers, change)?;
        Ok(identity::forget(&app, computer.device_id.as_str(), &self.actor.label())?)
    }

    /// Names whose first agent with a key may register. They are of computers that nobody knows, so of no scope.
    pub fn expected_computers(&self) -> Result<Vec<Expected>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(self.app.store.read_now(expected::list)?)
    }

    /// Expects a name.
    pub fn expect_computer(&self, name: &str) -> Result<(), Refusal> {
        self.allow(Right::EditComputers)?;
        self.allow_all_computers()?;
        let app = self.changing(Right::EditComputers, Change::new("computer expect", subject(name)))?;
        identity::expect(&app, &[name.to_owned()], &self.actor.label())
            .map_err(|error| Refusal::from(error).about("name"))?;
        Ok(())
    }

    /// Expects a name no more.
    pub fn unexpect_computer(&self, name: &str) -> Result<(), Refusal> {
        self.allow(Right::EditComputers)?;
        self.allow_all_computers()?;
        let app = self.changing(Right::EditComputers, Change::new("computer unexpect", subject(name)))?;
        Ok(identity::unexpect(&app, name)?)
    }
}

fn subject(name: &str) -> String {
    format!("name {}", name.trim())
}
