//! What needs a person now, what is rolling out, what changed: the first page of a day.

use std::time::Duration;

use super::super::deployments::Summary;
use super::mirrors::MirrorLine;
use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::model::{DeploymentId, ResultCode, UnixTime};
use crate::store::audit::{Line, Wanted as WantedLines};
use crate::store::deployments::{Wanted, Which};
use crate::store::progress::{self, Silent};
use crate::store::{activations, computers, packages};

/// A computer that was not heard of for so long needs a look.
pub const SILENT: Duration = Duration::from_hours(24 * 7);
/// Deployments that are rolling out, as many as are shown.
const ROLLING: usize = 8;
/// Deployments in which failures are looked for.
const LOOKED_AT: usize = 50;
/// Lines of what failed.
const FAILURES: usize = 6;
/// Silent computers, counted up to so many.
const MOST_SILENT: usize = 1000;
/// Lines of the audit log.
const CHANGES: usize = 8;

/// Computers on which one deployment failed with one code.
#[derive(Clone, Debug)]
pub struct Failures {
    /// Which.
    pub deployment: DeploymentId,
    /// Its package's name and version.
    pub package: String,
    /// The code.
    pub code: ResultCode,
    /// How many computers.
    pub computers: u64,
}

/// How far a newcomer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each step is taken or not, in any order")]
pub struct FirstSteps {
    /// Is there a package?
    pub has_package: bool,
    /// Is one activated?
    pub has_activation: bool,
    /// Is there a computer?
    pub has_computer: bool,
    /// Was anything deployed?
    pub has_deployment: bool,
}

impl FirstSteps {
    /// Has every step been taken?
    pub fn are_done(self) -> bool {
        self.has_package && self.has_activation && self.has_computer && self.has_deployment
    }
}

/// The first page.
#[derive(Clone, Debug)]
pub struct Home {
    /// Computers in all, for an actor who sees all of them.
    pub computers: Option<u64>,
    /// How far a newcomer is; `None` for an actor who does not see everything.
    pub first_steps: Option<FirstSteps>,
    /// What is rolling out, newest first.
    pub rolling: Vec<Summary>,
    /// Are there more?
    pub more_rolling: bool,
    /// What failed in deployments that nobody put away, the most frequent first.
    pub failures: Vec<Failures>,
    /// Computers that were not heard of, those with open jobs first; bounded.
    pub silent: Vec<Silent>,
    /// Are there more?
    pub more_silent: bool,
    /// Mirrors to which no computer is sent, or whose last sync went wrong; none for an actor who may not see mirrors.
    pub mirrors: Vec<MirrorLine>,
    /// Bytes that are free where packages are published, if the system tells.
    pub free: Option<u64>,
    /// What changed, newest first; `None` for an actor who may not read it.
    pub changes: Option<Vec<Line>>,
}

impl Desk {
    /// The first page, as far as the actor may see it.
    pub fn home(&self) -> Result<Home, Refusal> {
        let scope = &self.actor.scope;
        let (sees_computers, sees_deployments) = (self.may(Right::SeeComputers), self.may(Right::SeeDeployments));
        let everywhere = scope.computers.is_none();
        let mut rolling = Vec::new();
        let mut failures = Vec::new();
        if sees_deployments {
            let wanted = Wanted { which: Which::Running, ..Wanted::default() };
            rolling = self.deployments(wanted, ROLLING + 1)?;
            failures = self.failures()?;
        }
        let more_rolling = rolling.len() > ROLLING;
        rolling.truncate(ROLLING);
        let since = UnixTime::from_millis(
            self.app.clock.now().millis() - i64::try_from(SILENT.as_millis()).unwrap_or(i64::MAX),
        );
        let mut silent = Vec::new();
        if sees_computers {
            silent = self.app.store.read_now(move |conn| progress::silent(conn, since, MOST_SILENT + 1))?;
        }
        let more_silent = silent.len() > MOST_SILENT;
        silent.truncate(MOST_SILENT);
        if !everywhere {
            let mut mine = Vec::new();
            for one in silent {
                if self.sees_computer(one.computer)? {
                    mine.push(one);
                }
            }
            silent = mine;
        }
        let all = self.may(Right::SeePackages) && sees_computers && sees_deployments && !scope.is_limited();
        let changes = self.may(Right::SeeAudit).then(|| self.audit(WantedLines::default(), CHANGES)).transpose()?;
        Ok(Home {
            computers: if sees_computers && everywhere {
                Some(self.app.store.read_now(computers::count)?)
            } else {
                None
            },
            first_steps: if all { Some(self.first_steps()?) } else { None },
            rolling,
            more_rolling,
            failures,
            silent,
            more_silent,
            mirrors: self.ill_mirrors()?,
            free: self.app.tree.free().ok(),
            changes,
        })
    }

    fn ill_mirrors(&self) -> Result<Vec<MirrorLine>, Refusal> {
        if !self.may(Right::SeeMirrors) {
            return Ok(Vec::new());
        }
        let now = self.app.clock.now();
        let mut mirrors = self.mirrors()?;
        mirrors.retain(|line| match line.health {
            // Somebody may be just about to set it up.
            "never reported" => now.since(line.mirror.created_at) > line.mirror.silent_after,
            health => matches!(health, "silent" | "trouble"),
        });
        Ok(mirrors)
    }

    fn first_steps(&self) -> Result<FirstSteps, Refusal> {
        Ok(self.app.store.read_now(|conn| -> Result<_, crate::store::StoreError> {
            let newest = packages::list(conn, None, 20)?;
            let mut has_activation = false;
            for package in &newest {
                has_activation |= activations::find(conn, package.id)?.is_some();
            }
            Ok(FirstSteps {
                has_package: !newest.is_empty(),
                has_activation,
                has_computer: !computers::list(conn, None, 1)?.is_empty(),
                has_deployment: !crate::store::deployments::list(conn, None, 1)?.is_empty(),
            })
        })?)
    }

    fn failures(&self) -> Result<Vec<Failures>, Refusal> {
        let scope = self.actor.scope.clone();
        if scope.computers.is_some() {
            // Counted there, one by one: there are few.
            let mut all = Vec::new();
            for summary in self.deployments(Wanted::default(), ROLLING)? {
                if summary.line.deployment.closed_at.is_some() {
                    continue;
                }
                let name = format!("{} {}", summary.line.package_name, summary.line.package_version);
                for code in self.deployment(summary.line.deployment.id)?.codes {
                    all.push((code, name.clone()));
                }
            }
            return Ok(first_failures(all));
        }
        let all = self.app.store.read_now(move |conn| -> Result<_, crate::store::StoreError> {
            let lines = crate::store::deployments::some(conn, &Wanted::default(), LOOKED_AT)?;
            let open: Vec<_> = lines
                .into_iter()
                .filter(|line| line.deployment.closed_at.is_none() && line.deployment.cancelled_at.is_none())
                .filter(|line| scope.has_family(&line.package_name))
                .collect();
            let ids: Vec<DeploymentId> = open.iter().map(|line| line.deployment.id).collect();
            let codes = progress::codes(conn, &ids, FAILURES)?;
            let named = codes.into_iter().map(|code| {
                let line = open.iter().find(|line| line.deployment.id == code.deployment);
                let name = line.map(|line| format!("{} {}", line.package_name, line.package_version));
                (code, name.unwrap_or_default())
            });
            Ok(named.collect::<Vec<_>>())
        })?;
        Ok(first_failures(all))
    }
}

fn first_failures(mut all: Vec<(progress::CodeCount, String)>) -> Vec<Failures> {
    all.sort_by_key(|(code, _)| std::cmp::Reverse(code.computers));
    let failures = all.into_iter().take(FAILURES).map(|(code, package)| Failures {
        deployment: code.deployment,
        package,
        code: ResultCode::from_wire(&code.code),
        computers: code.computers,
    });
    failures.collect()
}
