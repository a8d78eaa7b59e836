//! Assigning: deployments of one package or several to some computers, or to all.

mod choose;
mod preview;

use std::collections::BTreeSet;
use std::time::Duration;

use super::App;
use super::approvals::{self, Asked, Reach};
use super::groups::refresh_around;
use super::query::AskError;
use super::wake;
use crate::engine::PaceError;
use crate::model::gates::Gates;
use crate::model::query::Query;
use crate::model::settings::SettingsLayer;
use crate::model::{
    ApprovalId, Awaited, Computer, ComputerId, Deployment, DeploymentId, DeviceId, JobOptions, OsFamily, PackageId,
    UnixTime,
};
use crate::store::groups::{Group, Reason};
use crate::store::{
    Conn, StoreError, activations, approvals as rows, computers, deployments, gates, groups, jobs, search,
};
use choose::{Choice, Meant};

pub use preview::{Fate, Look, Part, Preview, Sleepers, preview};

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

/// How: what each job keeps, and what its deployment asks at each contact.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Kept by each job.
    pub options: JobOptions,
    /// Asked at each contact, as they are then.
    pub gates: Gates,
}

impl From<&JobOptions> for Terms {
    fn from(options: &JobOptions) -> Self {
        Self { options: options.clone(), gates: Gates::default() }
    }
}

impl From<&Self> for Terms {
    fn from(terms: &Self) -> Self {
        terms.clone()
    }
}

/// What was planned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Of which package.
    pub package: PackageId,
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
    /// What is waited for before anything is offered, if others have to agree.
    pub awaited: Option<Awaited>,
}

/// Why nothing was assigned.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// Nothing to deploy.
    #[error("name a package: `dripfeed package list` shows them")]
    NoPackage,
    /// More packages than one act holds.
    #[error("{0} packages are too many for one act: at most {most} are deployed at once", most = Bundle::MOST)]
    TooMany(usize),
    /// A package was named twice.
    #[error("package {0} is named twice")]
    Twice(PackageId),
    /// One after the other, but for different systems.
    #[error(
        "packages that follow one another have to be for one system: {package} is for {os}, {other} is for {other_os}"
    )]
    MixedOrder {
        /// The first package.
        package: PackageId,
        /// What it is for.
        os: OsFamily,
        /// One that follows.
        other: PackageId,
        /// What that is for.
        other_os: OsFamily,
    },
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

/// What is deployed in one act: packages in their order, each on its own or one after the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    packages: Vec<PackageId>,
    in_order: bool,
    wakes: bool,
}

impl Bundle {
    /// Packages of one act.
    pub const MOST: usize = 20;

    /// With `in_order`, each package is offered to a computer only when the one before it succeeded there.
    pub fn new(packages: Vec<PackageId>, in_order: bool) -> Result<Self, AssignError> {
        if packages.is_empty() {
            return Err(AssignError::NoPackage);
        }
        if packages.len() > Self::MOST {
            return Err(AssignError::TooMany(packages.len()));
        }
        let mut seen = BTreeSet::new();
        match packages.iter().find(|package| !seen.insert(**package)) {
            Some(twice) => Err(AssignError::Twice(*twice)),
            None => Ok(Self { packages, in_order, wakes: false }),
        }
    }

    /// In their order.
    pub fn packages(&self) -> &[PackageId] {
        &self.packages
    }

    /// The same, which wakes those of its computers that were not heard of for a while.
    #[must_use]
    pub fn waking(self, wakes: bool) -> Self {
        Self { wakes, ..self }
    }

    /// Are computers woken for it?
    pub fn wakes(&self) -> bool {
        self.wakes
    }

    /// Does one wait for the other?
    pub fn in_order(&self) -> bool {
        self.in_order
    }

    /// Each package with those that it is for.
    fn choices(&self, conn: &mut Conn, meant: &Meant) -> Result<Vec<Choice>, AssignError> {
        let choices: Vec<Choice> =
            self.packages.iter().map(|package| meant.choose(conn, *package)).collect::<Result<_, _>>()?;
        let first = &choices[0].package;
        let other = choices.iter().map(|choice| &choice.package).find(|package| package.os != first.os);
        match other.filter(|_| self.in_order) {
            // Where the first is never run the second would wait for ever.
            Some(other) => {
                Err(AssignError::MixedOrder { package: first.id, os: first.os, other: other.id, other_os: other.os })
            }
            None => Ok(choices),
        }
    }

    /// The options of the package at this place. What is done afterwards is done after the last of those that follow one
    /// another: a restart between them would be one for each.
    fn options(&self, at: usize, asked: &JobOptions) -> JobOptions {
        if !self.in_order {
            return asked.clone();
        }
        let is_last = at + 1 == self.packages.len();
        JobOptions {
            post_command: asked.post_command.clone().filter(|_| is_last),
            follows: at.checked_sub(1).map(|before| self.packages[before]),
            ..asked.clone()
        }
    }
}

impl From<PackageId> for Bundle {
    fn from(package: PackageId) -> Self {
        Self { packages: vec![package], in_order: false, wakes: false }
    }
}

/// Makes a deployment of one package and its jobs, in one transaction.
#[expect(clippy::needless_pass_by_value, reason = "whoever deploys one package made its options for it")]
pub fn assign(
    app: &App,
    package: PackageId,
    target: Target,
    options: JobOptions,
    by: &str,
) -> Result<Assigned, AssignError> {
    let made = assign_bundle(app, &package.into(), target, &options, by, None)?;
    made.into_iter().next().ok_or(AssignError::NoPackage)
}

/// Makes a deployment of each package of a bundle, in one transaction. Somebody with a scope deploys to the computers that
/// it asks for; such a deployment stands for nobody who comes later: it takes those that are there.
pub fn assign_bundle(
    app: &App,
    bundle: &Bundle,
    target: Target,
    terms: impl Into<Terms>,
    by: &str,
    scope: Option<Query>,
) -> Result<Vec<Assigned>, AssignError> {
    let (bundle, terms, by, now) = (bundle.clone(), terms.into(), by.to_owned(), app.clock.now());
    let configured = app.configured.clone();
    app.store.write_now(move |conn| {
        let decided = Decided::now(conn, &configured, &bundle, &target, scope.as_ref(), now)?;
        let asked = approvals::ask_for(conn, &configured, decided.reaches(), &by, now)?;
        let (approval, awaited) = asked.map_or((None, None), |Asked { id, awaited }| (Some(id), awaited));
        let made = decided.plan(conn, &bundle, &terms, approval, &by, now)?;
        Ok(made.into_iter().map(|one| Assigned { awaited: awaited.clone(), ..one }).collect())
    })
}

/// Who gets which package, before anything is planned.
pub(super) struct Decided {
    meant: Meant,
    choices: Vec<Choice>,
}

impl Decided {
    /// As it is now, the members of a group included.
    pub(super) fn now(
        conn: &mut Conn,
        configured: &SettingsLayer,
        bundle: &Bundle,
        target: &Target,
        scope: Option<&Query>,
        now: UnixTime,
    ) -> Result<Self, AssignError> {
        if let Target::Group(name) = target
            && let Some(group) = groups::find_by_name(conn, name)?
        {
            // Who is a member today, not when it was last asked.
            refresh_around(conn, &group.name, now)?;
        }
        let meant = Meant::load(conn, configured, target, scope, now)?;
        let choices = bundle.choices(conn, &meant)?;
        Ok(Self { meant, choices })
    }

    /// The same for those who are there now, and nobody who comes later.
    #[must_use]
    pub(super) fn once(mut self) -> Self {
        self.meant.all_computers = false;
        self.meant.group = None;
        self
    }

    /// Who is meant, whatever the package, in the order of their numbers.
    pub(super) fn meant(&self) -> Vec<ComputerId> {
        self.meant.candidates.iter().map(|one| one.id).collect()
    }

    /// Is there a computer for one of the packages?
    pub(super) fn is_for_somebody(&self) -> bool {
        self.choices.iter().any(|choice| !choice.chosen.is_empty())
    }

    /// How many computers get one of the packages.
    pub(super) fn reach(&self) -> u64 {
        let chosen: BTreeSet<ComputerId> = self.choices.iter().flat_map(|one| one.chosen.iter().copied()).collect();
        chosen.len() as u64
    }

    /// How far it reaches, now and later.
    fn reaches(&self) -> Reach {
        Reach { computers: self.reach(), everybody: self.meant.all_computers, grows: self.meant.group.is_some() }
    }

    /// Makes the deployments and their jobs. With an approval that is waited for, nobody is told of them before.
    pub(super) fn plan(
        &self,
        conn: &mut Conn,
        bundle: &Bundle,
        terms: &Terms,
        approval: Option<ApprovalId>,
        by: &str,
        now: UnixTime,
    ) -> Result<Vec<Assigned>, StoreError> {
        let mut made = Vec::with_capacity(self.choices.len());
        for (at, choice) in self.choices.iter().enumerate() {
            let one = deploy(conn, &self.meant, choice, bundle.options(at, &terms.options), approval, by, now)?;
            if !terms.gates.is_open_to_all() {
                gates::set(conn, one.deployment, &terms.gates)?;
            }
            if bundle.wakes {
                wake::order(conn, one.deployment, &terms.options, now)?;
            }
            made.push(one);
        }
        if made.len() > 1 {
            let together: Vec<DeploymentId> = made.iter().map(|one| one.deployment).collect();
            deployments::bind(conn, &together)?;
        }
        Ok(made)
    }
}

fn deploy(
    conn: &mut Conn,
    meant: &Meant,
    choice: &Choice,
    options: JobOptions,
    approval: Option<ApprovalId>,
    by: &str,
    now: UnixTime,
) -> Result<Assigned, StoreError> {
    let (package, all_computers, group) = (choice.package.id, meant.all_computers, meant.group);
    let id = match group {
        Some(group) => deployments::create_for_group(conn, package, group, &options, by, now)?,
        None => deployments::create(conn, package, all_computers, &options, by, now)?,
    };
    if let Some(approval) = approval {
        rows::set_of_deployment(conn, id, approval)?;
    }
    let deployment = Deployment {
        id,
        package,
        all_computers,
        group,
        options,
        created_at: now,
        cancelled_at: None,
        closed_at: None,
        bundle: None,
        approval,
    };
    let planned = jobs::plan(conn, &deployment, &choice.chosen, now)?;
    Ok(Assigned {
        deployment: id,
        package,
        planned,
        already: choice.chosen.len() - planned,
        other_system: choice.other_system.len(),
        pace: choice.pace,
        not_activated: activations::find(conn, package)?.is_none(),
        awaited: None,
    })
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
