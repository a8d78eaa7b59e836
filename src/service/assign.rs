//! Assigning: a deployment of one package to some computers, or to all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::App;
use super::groups::refresh_around;
use super::prolog::fits;
use super::query::{self, AskError};
use crate::engine::{PaceError, check_pace};
use crate::model::query::Query;
use crate::model::settings::{Settings, SettingsLayer, resolve};
use crate::model::{
    Computer, ComputerId, Deployment, DeploymentId, DeviceId, GroupId, JobOptions, OsFamily, Package, PackageId,
    PackageState, UnixTime,
};
use crate::store::groups::{Group, Reason};
use crate::store::settings::Scope;
use crate::store::{
    Conn, StoreError, activations, computers, deployments, groups, jobs, packages, progress, search, settings,
};

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
    /// These, ticked in a list: who was put away or runs another system is left out.
    Selected(Vec<ComputerId>),
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
    assign_within(app, package, target, options, by, None)
}

/// The same for somebody who may touch only the computers that a query asks for. Such a deployment stands for nobody who
/// comes later: it takes those that are there.
pub fn assign_within(
    app: &App,
    package: PackageId,
    target: Target,
    options: JobOptions,
    by: &str,
    scope: Option<Query>,
) -> Result<Assigned, AssignError> {
    let (by, now) = (by.to_owned(), app.clock.now());
    let configured = app.configured.clone();
    app.store.write_now(move |conn| {
        if let Target::Group(name) = &target
            && let Some(group) = groups::find_by_name(conn, name)?
        {
            // Who is a member today, not when it was last asked.
            refresh_around(conn, &group.name, now)?;
        }
        let choice = choose(conn, &configured, package, &target, scope.as_ref(), now)?;
        let Choice { all_computers, group, chosen, .. } = choice;
        let id = match group {
            Some(group) => deployments::create_for_group(conn, package, group, &options, &by, now)?,
            None => deployments::create(conn, package, all_computers, &options, &by, now)?,
        };
        let deployment = Deployment {
            id,
            package,
            all_computers,
            group,
            options,
            created_at: now,
            cancelled_at: None,
            closed_at: None,
        };
        let planned = jobs::plan(conn, &deployment, &chosen, now)?;
        Ok(Assigned {
            deployment: id,
            planned,
            already: chosen.len() - planned,
            other_system: choice.other_system.len(),
            pace: choice.pace,
            not_activated: activations::find(conn, package)?.is_none(),
        })
    })
}

/// Some computers: how many, and the first of them.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Computer>,
}

/// What an assignment would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The package.
    pub package: Package,
    /// Who gets it.
    pub gets: Part,
    /// Whose agents say that they have run it: without force their jobs end without being offered.
    pub has_it: Part,
    /// Who has an open job of it already, which stays as it is.
    pub already: Part,
    /// Who runs another system.
    pub other_system: Part,
    /// Who was put away.
    pub archived: Part,
    /// How many the actor may not touch.
    pub out_of_scope: usize,
    /// Will computers that come later get it, too?
    pub standing: bool,
    /// How long it takes from contact to execution, by the engine's own arithmetic.
    pub pace: Duration,
    /// How often agents check in where nothing else is set, in hours.
    pub contact_hours: u32,
    /// True if deployment is switched off for every computer.
    pub is_off: bool,
    /// True if nothing will be offered until the package is activated.
    pub not_activated: bool,
}

/// Computers of a preview that are named.
const NAMED: usize = 20;

/// Tells what [`assign_within`] would do, and changes nothing.
pub fn preview(
    app: &App,
    package: PackageId,
    target: Target,
    options: &JobOptions,
    scope: Option<Query>,
) -> Result<Preview, AssignError> {
    let (now, force, configured) = (app.clock.now(), options.force, app.configured.clone());
    app.store.read_now(move |conn| {
        let choice = choose(conn, &configured, package, &target, scope.as_ref(), now)?;
        let already: BTreeSet<ComputerId> =
            progress::with_open_job(conn, package, &choice.chosen)?.into_iter().collect();
        let mut has_it = BTreeSet::new();
        if !force {
            has_it.extend(progress::with_history(conn, package, &choice.chosen)?);
            has_it.retain(|id| !already.contains(id));
        }
        let gets: Vec<ComputerId> =
            choice.chosen.iter().copied().filter(|id| !already.contains(id) && !has_it.contains(id)).collect();
        let mut some = |ids: Vec<ComputerId>| -> Result<Part, StoreError> {
            let first = ids.iter().take(NAMED).map(|id| computers::find(conn, *id));
            Ok(Part { count: ids.len(), first: first.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect() })
        };
        Ok(Preview {
            gets: some(gets)?,
            has_it: some(has_it.into_iter().collect())?,
            already: some(already.into_iter().collect())?,
            other_system: some(choice.other_system)?,
            archived: some(choice.archived)?,
            out_of_scope: choice.out_of_scope,
            standing: choice.all_computers || choice.group.is_some(),
            pace: choice.pace,
            contact_hours: choice.settings.prolog_frequency(),
            is_off: !choice.settings.download().on,
            not_activated: activations::find(conn, package)?.is_none(),
            package: choice.package,
        })
    })
}

/// Who is meant.
struct Choice {
    package: Package,
    all_computers: bool,
    group: Option<GroupId>,
    /// Those for whose system the package is, in order of their numbers.
    chosen: Vec<ComputerId>,
    other_system: Vec<ComputerId>,
    archived: Vec<ComputerId>,
    out_of_scope: usize,
    settings: Settings,
    pace: Duration,
}

/// The rules of an assignment, for a real one and for a look at it.
fn choose(
    conn: &mut Conn,
    configured: &SettingsLayer,
    package: PackageId,
    target: &Target,
    scope: Option<&Query>,
    now: UnixTime,
) -> Result<Choice, AssignError> {
    let found = packages::find(conn, package)?.ok_or(AssignError::UnknownPackage(package))?;
    if found.state != PackageState::Available {
        return Err(AssignError::NotAvailable(package, found.state.as_str()));
    }
    let mut global = configured.clone();
    global.0.extend(settings::layer(conn, Scope::Global)?.0);
    let (priority, fragments) = (found.priority, found.fragments);
    let pace_of = |of_groups: &[SettingsLayer], own: &SettingsLayer| {
        check_pace(&resolve(&global, of_groups, own).download(), priority, fragments)
    };
    let pace = pace_of(&[], &SettingsLayer::default())?;
    let mut choice = Choice {
        package: found,
        all_computers: *target == Target::All && scope.is_none(),
        group: None,
        chosen: Vec::new(),
        other_system: Vec::new(),
        archived: Vec::new(),
        out_of_scope: 0,
        settings: resolve(&global, &[], &SettingsLayer::default()),
        pace,
    };
    let allowed = scope.map(|query| search::ids(conn, query, now)).transpose()?;
    match target {
        Target::All => {
            for (id, system) in progress::systems(conn)? {
                choice.put(id, &system, None, allowed.as_ref());
            }
        }
        Target::Group(name) => {
            let known = groups::find_by_name(conn, name)?.ok_or_else(|| AssignError::UnknownGroup(name.clone()))?;
            let layer = settings::layer(conn, Scope::Group(known.id))?;
            choice.pace = pace.max(pace_of(&[layer], &SettingsLayer::default())?);
            choice.group = scope.is_none().then_some(known.id);
            for computer in members_now(conn, &known, now)? {
                choice.put_computer(&computer, allowed.as_ref());
            }
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
            for computer in matching {
                choice.put_computer(&computer, allowed.as_ref());
            }
        }
        Target::Selected(ids) => {
            for id in ids.iter().copied().collect::<BTreeSet<_>>() {
                if let Some(computer) = computers::find(conn, id)? {
                    choice.put_computer(&computer, allowed.as_ref());
                }
            }
        }
        Target::Computers(names) => {
            for name in names {
                let computer = choice.named(conn, name, allowed.as_ref())?;
                let of_groups: Vec<SettingsLayer> =
                    groups::layers(conn, computer.id)?.into_iter().map(|(_, layer)| layer).collect();
                let own = settings::layer(conn, Scope::Computer(computer.id))?;
                choice.pace = choice.pace.max(pace_of(&of_groups, &own)?);
                choice.chosen.push(computer.id);
            }
            choice.chosen.sort_unstable();
            choice.chosen.dedup();
        }
    }
    Ok(choice)
}

impl Choice {
    /// A computer that was named: one that cannot get the package refuses the whole.
    fn named(
        &self,
        conn: &mut Conn,
        name: &str,
        allowed: Option<&BTreeSet<ComputerId>>,
    ) -> Result<Computer, AssignError> {
        let computer = named(conn, name)?;
        if allowed.is_some_and(|allowed| !allowed.contains(&computer.id)) {
            return Err(AssignError::UnknownComputer(name.to_owned()));
        }
        if computer.archived_at.is_some() {
            return Err(AssignError::Archived(computer.device_id.to_string()));
        }
        if !fits(self.package.os, &computer.os_name) {
            return Err(AssignError::OtherSystem {
                package: self.package.id,
                os: self.package.os,
                computer: computer.name,
                runs: computer.os_name,
            });
        }
        Ok(computer)
    }

    fn put_computer(&mut self, computer: &Computer, allowed: Option<&BTreeSet<ComputerId>>) {
        self.put(computer.id, &computer.os_name, computer.archived_at, allowed);
    }

    fn put(
        &mut self,
        id: ComputerId,
        system: &str,
        archived: Option<UnixTime>,
        allowed: Option<&BTreeSet<ComputerId>>,
    ) {
        if allowed.is_some_and(|allowed| !allowed.contains(&id)) {
            self.out_of_scope += 1;
        } else if archived.is_some() {
            self.archived.push(id);
        } else if fits(self.package.os, system) {
            self.chosen.push(id);
        } else {
            self.other_system.push(id);
        }
    }
}

/// Who is in a group if its query is asked now: what a refresh would write, without writing it.
fn members_now(conn: &mut Conn, group: &Group, now: UnixTime) -> Result<Vec<Computer>, AssignError> {
    let marked = groups::members(conn, group.id, None, usize::MAX)?;
    let by_hand = |reason: Reason| marked.iter().filter(move |member| member.1 == reason).map(|member| &member.0);
    let Some(text) = &group.query else { return Ok(by_hand(Reason::Included).cloned().collect()) };
    let query = text.parse::<Query>().map_err(|error| AssignError::Ask(error.into()))?;
    let mut found = search::computers(conn, &query, now, None, usize::MAX)?;
    let excluded: BTreeSet<ComputerId> = by_hand(Reason::Excluded).map(|computer| computer.id).collect();
    found.retain(|computer| !excluded.contains(&computer.id));
    found.extend(by_hand(Reason::Included).cloned());
    found.sort_unstable_by_key(|computer| computer.id);
    found.dedup_by_key(|computer| computer.id);
    Ok(found)
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
