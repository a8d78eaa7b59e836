//! What needs a person now, what is rolling out, what changed: the first page of a day.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::deployments::Summary;
use super::super::settings;
use super::approvals::Awaiting;
use super::mirrors::MirrorLine;
use super::series::SeriesLine;
use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::model::{DeploymentId, ResultCode, UnixTime};
use crate::store::attention::{self, Failed, Sight, Silent, Stuck, StuckPlace};
use crate::store::audit::{Line, Wanted as WantedLines};
use crate::store::deployments::{Wanted, Which};
use crate::store::{Conn, StoreError, activations, computers, packages};

/// A computer that was not heard of for so long needs a look.
pub const SILENT: Duration = Duration::from_hours(24 * 7);
/// Deployments that are rolling out, as many as are shown.
const ROLLING: usize = 8;
/// Deployments in which failures are looked for.
const LOOKED_AT: usize = 50;
/// Lines of what failed.
const FAILURES: usize = 6;
/// Silent computers and jobs that stand still, counted up to so many.
const MOST: usize = 1000;
/// Computers of one deployment that are named.
const NAMED: usize = 5;
/// Series that are shown.
const SERIES: usize = 8;
/// Approvals that are asked for and shown.
const AWAITING: usize = 8;
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

/// Computers on which a package of one deployment stands still.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StuckIn {
    /// Which.
    pub deployment: DeploymentId,
    /// Its package's name and version.
    pub package: String,
    /// How many computers.
    pub computers: u64,
    /// The names of the first of them: those where nothing has happened for longest.
    pub names: Vec<String>,
}

/// Jobs that stand still, and since when that counts.
#[derive(Clone, Debug, Default)]
pub struct StandingStill {
    /// Days without anything.
    pub days: u64,
    /// By deployment, the most computers first.
    pub by_deployment: Vec<StuckIn>,
    /// How many jobs, counted so far.
    pub jobs: usize,
    /// Are there more?
    pub more: bool,
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
    /// Jobs of which their computers were told, and nothing followed.
    pub stuck: StandingStill,
    /// Pairs of computers that look like one, counted so far; none for an actor who may decide nothing about them.
    pub duplicates: usize,
    /// Mirrors to which no computer is sent, or whose last sync went wrong; none for an actor who may not see mirrors.
    pub mirrors: Vec<MirrorLine>,
    /// What waits for the actor's approval, newest first.
    pub awaiting: Vec<Awaiting>,
    /// Series that paused by themselves, newest first, but for those that wait for approval.
    pub paused_series: Vec<SeriesLine>,
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
        let mut silent = if sees_computers { self.silent()? } else { Vec::new() };
        let more_silent = silent.len() > MOST;
        silent.truncate(MOST);
        let stuck = if sees_deployments { self.standing_still()? } else { StandingStill::default() };
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
            stuck,
            duplicates: self.open_duplicates()?,
            mirrors: self.ill_mirrors()?,
            awaiting: self.awaiting_me(AWAITING)?,
            paused_series: if sees_deployments { self.paused_series()? } else { Vec::new() },
            free: self.app.tree.free().ok(),
            changes,
        })
    }

    fn paused_series(&self) -> Result<Vec<SeriesLine>, Refusal> {
        let mut paused = self.ailing_series(SERIES)?;
        paused.retain(|line| line.awaited.is_none());
        Ok(paused)
    }

    fn open_duplicates(&self) -> Result<usize, Refusal> {
        if self.may(Right::SeeComputers) && self.may(Right::RemoveComputers) {
            return self.likenesses_count(MOST);
        }
        Ok(0)
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
        Ok(self.app.store.read_now(|conn| -> Result<_, StoreError> {
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

    /// Reads what needs a person among the computers of the actor's scope.
    fn survey<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Conn, &Sight) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (scope, now) = (self.actor.scope.computers.clone(), self.app.clock.now());
        Ok(self.app.store.read_now(move |conn| {
            let sight = Sight::of(conn, scope.as_ref(), now)?;
            read(conn, &sight)
        })?)
    }

    fn silent(&self) -> Result<Vec<Silent>, Refusal> {
        let since = before(self.app.clock.now(), SILENT);
        self.survey(move |conn, sight| attention::silent(conn, sight, since, MOST + 1))
    }

    /// Jobs of which their computers were told long ago and to which nothing happened since, though the computers come: the
    /// oldest first, after a place. Long ago is what `STUCK_AFTER` says.
    pub fn stuck(&self, after: Option<StuckPlace>, limit: usize) -> Result<Vec<Stuck>, Refusal> {
        self.allow(Right::SeeDeployments)?;
        let (scope, since) = (self.actor.scope.clone(), before(self.app.clock.now(), self.stuck_after()?));
        self.survey(move |conn, sight| {
            attention::stuck(conn, sight, |family| scope.has_family(family), since, after, limit)
        })
    }

    /// What `STUCK_AFTER` says.
    pub fn stuck_after(&self) -> Result<Duration, Refusal> {
        let configured = self.app.configured.clone();
        let read = move |conn: &mut Conn| settings::everyones(conn, &configured, SettingKey::StuckAfter);
        let days = self.app.store.read_now(read)?;
        Ok(Duration::from_hours(24 * days.unsigned_abs()))
    }

    fn standing_still(&self) -> Result<StandingStill, Refusal> {
        let mut stuck = self.stuck(None, MOST + 1)?;
        let more = stuck.len() > MOST;
        stuck.truncate(MOST);
        Ok(StandingStill {
            days: self.stuck_after()?.as_secs() / (24 * 60 * 60),
            jobs: stuck.len(),
            more,
            by_deployment: by_deployment(stuck),
        })
    }

    fn failures(&self) -> Result<Vec<Failures>, Refusal> {
        let scope = self.actor.scope.clone();
        let all = self
            .survey(move |conn, sight| attention::failed(conn, sight, |family| scope.has_family(family), LOOKED_AT))?;
        Ok(first_failures(all))
    }
}

fn before(now: UnixTime, span: Duration) -> UnixTime {
    UnixTime::from_millis(now.millis().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

fn by_deployment(stuck: Vec<Stuck>) -> Vec<StuckIn> {
    let mut all: BTreeMap<DeploymentId, StuckIn> = BTreeMap::new();
    for one in stuck {
        let line = all.entry(one.deployment).or_insert_with(|| StuckIn {
            deployment: one.deployment,
            package: format!("{} {}", one.package_name, one.package_version),
            computers: 0,
            names: Vec::new(),
        });
        line.computers += 1;
        if line.names.len() < NAMED {
            line.names.push(one.name);
        }
    }
    let mut all: Vec<StuckIn> = all.into_values().collect();
    all.sort_by_key(|line| std::cmp::Reverse(line.computers));
    all
}

fn first_failures(mut all: Vec<Failed>) -> Vec<Failures> {
    all.sort_by_key(|(code, _)| std::cmp::Reverse(code.computers));
    let failures = all.into_iter().take(FAILURES).map(|(code, package)| Failures {
        deployment: code.deployment,
        package,
        code: ResultCode::from_wire(&code.code),
        computers: code.computers,
    });
    failures.collect()
}
