//! Computers that are woken: at somebody's wish, and for deployments.

use super::super::wake::{self, Woken};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::wake::WakeState;
use crate::model::{Computer, DeploymentId, DeviceId};
use crate::store::wakes::{self, Wake};

impl Desk {
    /// Wants a computer woken.
    pub fn wake_computer(&self, name: &str) -> Result<Computer, Refusal> {
        self.allow(Right::WakeComputers)?;
        let computer = self.computer(name)?;
        let change = Change::new("computer wake", format!("computer {}", computer.device_id));
        let app = self.changing(Right::WakeComputers, change)?;
        wake::ask(&app, computer.id, computer.device_id.as_str(), &self.actor.label())?;
        Ok(computer)
    }

    /// The newest wish to wake a computer, which the actor has been shown.
    pub fn last_wake(&self, computer: &Computer) -> Result<Option<Wake>, Refusal> {
        let (app, id) = (self.reading(Right::SeeComputers)?, computer.id);
        Ok(app.store.read_now(move |conn| wakes::last_of(conn, id))?)
    }

    /// How a deployment wakes its computers; `None` if it does not, and for an actor who sees only some of them.
    pub fn deployment_wakes(&self, id: DeploymentId) -> Result<Option<Woken>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        if self.actor.scope.computers.is_some() {
            return Ok(None);
        }
        Ok(wake::of_deployment(app, id)?)
    }

    /// Computers of the actor's scope that a deployment wakes, those in one state or all; those after `after`, at most `limit`.
    pub fn deployment_wake_list(
        &self,
        id: DeploymentId,
        state: Option<WakeState>,
        after: Option<(WakeState, i64)>,
        limit: usize,
    ) -> Result<Vec<(Wake, DeviceId)>, Refusal> {
        self.deployment(id)?;
        Ok(wake::list(&self.app, id, state, self.scope_of_computers(), after, limit)?)
    }
}
