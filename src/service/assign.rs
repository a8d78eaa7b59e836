//! Assigning: a deployment of one package to some computers, or to all.

use std::time::Duration;

use super::App;
use super::groups::refresh_around;
use super::prolog::fits;
use super::query::{self, AskError};
use crate::engine::{PaceError, check_pace};
use crate::model::settings::{SettingsLayer, resolve};
use crate::model::{
    Computer, ComputerId, Deployment, DeploymentId, DeviceId, JobOptions, OsFamily, PackageId, PackageState,
};
use crate::store::settings::Scope;
use crate::store::{Conn, StoreError, activations, computers, deployments, groups, jobs, packages, search, settings};

/// For whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Every computer for whose system the package is; those to come included.
    All,
    /// These, by host name or device id.
    Computers(Vec<String>),
    /// The members of this group; those to come included.
    Group(String),
    /// Those that the query asks for now.
    Where(String),
}

/// What was planned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Jobs that are new.
    pub planned: usize,
    /// Computers that have an open job of the package already.
    pub already: usize,
    /// Computers that were left out, unless they were named, because they run another system.
    pub other_system: usize,
    /// How long it takes from contact to execution, by the engine's own arithmetic.
    pub pace: Duration,
    /// True if nothing will be offered until the package is activated.
    pub not_activated: bool,
}

/// Why nothing was assigned.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// No such package.
    #[error("there is no package {0}: `dripfeed package list` shows them")]
    UnknownPackage(PackageId),
    /// Not built to the end, or withdrawn.
    #[error("package {0} is {1}: only an available package can be assigned")]
    NotAvailable(PackageId, &'static str),
    /// No such computer.
    #[error("there is no computer \"{0}\": it must have sent an inventory first (`dripfeed computer list`)")]
    UnknownComputer(String),
    /// Several computers of one name.
    #[error("there are {} computers named \"{name}\": name one by its device id ({})", .ids.len(), .ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their device ids.
        ids: Vec<String>,
    },
    /// The computer was put away.
    #[error("{0} is archived and is offered nothing: `dripfeed computer restore {0}` takes it back")]
    Archived(String),
    /// A computer of another system was named.
    #[error("package {package} is for {os}, but {computer} runs {runs}")]
    OtherSystem {
        /// The package.
        package: PackageId,
        /// What it is for.
        os: OsFamily,
        /// The computer.
        computer: String,
        /// What it runs.
        runs: String,
    },
    /// No such group.
    #[error("there is no group \"{0}\": `dripfeed group list` shows them")]
    UnknownGroup(String),
    /// The query asks for nobody.
    #[error("no computer matches: `dripfeed computer list --where` tries a query; a group also reaches those to come")]
    NobodyMatches,
    /// The query cannot be used.
    #[error(transparent)]
    Ask(AskError),
    /// It would never finish.
    #[error(transparent)]
    Pace(#[from] PaceError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a deployment and its jobs, in one transaction.
pub fn assign(
    app: &App,
    package: PackageId,
    target: Target,
    options: JobOptions,
    by: &str,
) -> Result<Assigned, AssignError> {
    let (by, now) = (by.to_owned(), app.clock.now());
    let configured = app.configured.clone();
    app.store.write_now(move |conn| {
        let found = packages::find(conn, package)?.ok_or(AssignError::UnknownPackage(package))?;
        if found.state != PackageState::Available {
            return Err(AssignError::NotAvailable(package, found.state.as_str()));
        }
        let mut global = configured;
        global.0.extend(settings::layer(conn, Scope::Global)?.0);
        let pace_of = |of_groups: &[SettingsLayer], own: &SettingsLayer| {
            let settings = resolve(&global, of_groups, own).download();
            check_pace(&settings, found.priority, found.fragments)
        };
        let mut pace = pace_of(&[], &SettingsLayer::default())?;
        let mut group = None;
        let (chosen, other_system) = match &target {
            Target::All => all(conn, found.os)?,
            Target::Group(name) => {
                let known = groups::find_by_name(conn, name)?.ok_or_else(|| AssignError::UnknownGroup(name.clone()))?;
                let layer = settings::layer(conn, Scope::Group(known.id))?;
                pace = pace.max(pace_of(&[layer], &SettingsLayer::default())?);
                // Who is a member today, not when it was last asked.
                refresh_around(conn, &known.name, now)?;
                group = Some(known.id);
                let members = groups::members(conn, known.id, None, usize::MAX)?;
                let members = members.into_iter().filter(|(_, reason, _)| reason.is_member());
                fitting(found.os, members.map(|(computer, _, _)| computer))
            }
            Target::Where(text) => {
                let query = query::read(conn, text).map_err(|error| match error {
                    AskError::Store(error) => AssignError::Store(error),
                    other => AssignError::Ask(other),
                })?;
                let matching = search::computers(conn, &query, now, None, usize::MAX)?;
                if matching.is_empty() {
                    return Err(AssignError::NobodyMatches);
                }
                fitting(found.os, matching.into_iter())
            }
            Target::Computers(names) => {
                let mut chosen = Vec::new();
                for name in names {
                    let computer = named(conn, name)?;
                    if computer.archived_at.is_some() {
                        return Err(AssignError::Archived(computer.device_id.to_string()));
                    }
                    if !fits(found.os, &computer.os_name) {
                        return Err(AssignError::OtherSystem {
                            package,
                            os: found.os,
                            computer: computer.name,
                            runs: computer.os_name,
                        });
                    }
                    let of_groups: Vec<SettingsLayer> =
                        groups::layers(conn, computer.id)?.into_iter().map(|(_, layer)| layer).collect();
                    pace = pace.max(pace_of(&of_groups, &settings::layer(conn, Scope::Computer(computer.id))?)?);
                    chosen.push(computer.id);
                }
                chosen.sort_unstable();
                chosen.dedup();
                (chosen, 0)
            }
        };
        let all_computers = target == Target::All;
        let id = match group {
            Some(group) => deployments::create_for_group(conn, package, group, &options, &by, now)?,
            None => deployments::create(conn, package, all_computers, &options, &by, now)?,
        };
        let deployment = Deployment { id, package, all_computers, group, options, created_at: now, cancelled_at: None };
        let planned = jobs::plan(conn, &deployment, &chosen, now)?;
        Ok(Assigned {
            deployment: id,
            planned,
            already: chosen.len() - planned,
            other_system,
            pace,
            not_activated: activations::find(conn, package)?.is_none(),
        })
    })
}

fn fitting(os: OsFamily, computers: impl Iterator<Item = Computer>) -> (Vec<ComputerId>, usize) {
    let (chosen, others): (Vec<Computer>, Vec<Computer>) = computers.partition(|computer| fits(os, &computer.os_name));
    (chosen.into_iter().map(|computer| computer.id).collect(), others.len())
}

fn all(conn: &mut Conn, os: OsFamily) -> Result<(Vec<ComputerId>, usize), StoreError> {
    const PAGE: usize = 1000;
    let (mut chosen, mut left_out, mut after) = (Vec::new(), 0, None);
    loop {
        let page = computers::list(conn, after, PAGE)?;
        for computer in &page {
            if fits(os, &computer.os_name) {
                chosen.push(computer.id);
            } else {
                left_out += 1;
            }
        }
        after = page.last().map(|computer| computer.id);
        if page.len() < PAGE {
            return Ok((chosen, left_out));
        }
    }
}

/// One computer by its device id, or by its host name if that is one computer's alone.
pub fn named(conn: &mut Conn, text: &str) -> Result<Computer, AssignError> {
    if let Ok(device_id) = text.parse::<DeviceId>()
        && let Some(computer) = computers::find_by_device_id(conn, &device_id)?
    {
        return Ok(computer);
    }
    let mut found = computers::find_by_name(conn, text)?;
    // Who is put away does not stand in the way of who is there.
    if found.iter().any(|computer| computer.archived_at.is_none()) {
        found.retain(|computer| computer.archived_at.is_none());
    }
    match found.len() {
        0 => Err(AssignError::UnknownComputer(text.to_owned())),
        1 => Ok(found.swap_remove(0)),
        _ => {
            let ids = found.iter().map(|computer| computer.device_id.to_string()).collect();
            Err(AssignError::Ambiguous { name: text.to_owned(), ids })
        }
    }
}
