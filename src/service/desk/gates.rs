//! When and where a deployment may run: look, change. What it concerns is the deployment as a whole, so an actor who may
//! touch only some computers changes nothing.

use serde_json::{Value, json};

use super::super::deployments::{self as service, DeploymentError};
use super::super::gates::{self, GatesNow};
use super::{Change, Desk, Refusal};
use crate::model::DeploymentId;
use crate::model::access::Right;
use crate::model::gates::Gates;
use crate::store::deployments::{self, DeploymentLine};

impl Desk {
    /// When and where a deployment may run, and whether it may now.
    pub fn gates(&self, id: DeploymentId) -> Result<GatesNow, Refusal> {
        self.deployment_line(id)?;
        Ok(self.gates_now(gates::of(&self.app, id)?))
    }

    /// The same for whoever is about to change it.
    pub fn gates_to_change(&self, id: DeploymentId) -> Result<(DeploymentLine, Gates), Refusal> {
        self.allow(Right::Deploy)?;
        self.known(id)?;
        self.allow_all_computers()?;
        let found = self.app.store.read_now(move |conn| deployments::find(conn, id))?;
        let line = found.ok_or(DeploymentError::Unknown(id))?;
        Ok((line, gates::of(&self.app, id)?))
    }

    /// How gates stand now, those of a deployment or what somebody is about to ask for.
    pub fn gates_now(&self, gates: Gates) -> GatesNow {
        GatesNow::at(gates, self.app.clock.now())
    }

    /// Changes when and where a deployment may run, and with `bundle` those that were made in one act with it, as far as they
    /// are of the actor's families; for what was not offered yet. Gives what was there before, its own first.
    pub fn change_gates(&self, id: DeploymentId, wanted: &Gates, bundle: bool) -> Result<Vec<Gates>, Refusal> {
        let (line, before) = self.gates_to_change(id)?;
        let (mut ids, mut after) = (vec![id], spell(wanted));
        if bundle && line.deployment.bundle.is_some() {
            let lines = service::bundle(&self.app, id)?;
            let others = lines.iter().filter(|line| self.actor.scope.has_family(&line.package_name));
            ids.extend(others.map(|line| line.deployment.id).filter(|other| *other != id));
            after["bundle"] = json!(true);
        }
        let change = Change::new("deployment gates", format!("deployment {id}")).before(spell(&before)).after(after);
        Ok(gates::change(&self.changing(Right::Deploy, change)?, ids, wanted)?)
    }
}

/// Gates for the audit log.
pub(super) fn spell(gates: &Gates) -> Value {
    json!({ "windows": gates.windows_text(), "window_zone": gates.zone(), "ranges": gates.ranges_text() })
}
