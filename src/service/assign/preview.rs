//! An assignment on paper: who would get which package and who would not, and why. Nothing is changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{App, approvals, wake};
use super::choose::{Choice, Meant};
use super::{AssignError, Bundle, Decided, Target};
use crate::model::query::Query;
use crate::model::{Computer, ComputerId, JobOptions, Package, UnixTime};
use crate::store::{Conn, StoreError, activations, computers, progress};

/// Some computers: how many, and the first of them.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Computer>,
}

/// What an assignment would do with one package.
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
    /// How long it takes from contact to execution, by the engine's own arithmetic.
    pub pace: Duration,
    /// True if nothing will be offered until the package is activated.
    pub not_activated: bool,
}

/// What would become of one package on one computer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It gets it.
    Gets,
    /// Its agent says that it has run it.
    HasIt,
    /// It has an open job of it already.
    Already,
    /// It runs another system.
    OtherSystem,
    /// It was put away.
    Archived,
}

impl Fate {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gets => "gets it",
            Self::HasIt => "ran it before",
            Self::Already => "has an open job of it",
            Self::OtherSystem => "runs another system",
            Self::Archived => "is archived",
        }
    }
}

/// Those of the computers that would have a job and were not heard of for a while.
#[derive(Clone, Debug)]
pub struct Sleepers {
    /// How many would be woken.
    pub woken: usize,
    /// Who cannot be.
    pub no_address: Part,
}

/// What an assignment would do.
#[derive(Clone, Debug)]
pub struct Look {
    /// With each package, in their order.
    pub packages: Vec<Preview>,
    /// On the first of the computers that are meant: what becomes of each package.
    pub computers: Vec<(Computer, Vec<Fate>)>,
    /// How many computers are meant, those that were put away included.
    pub meant: usize,
    /// Is each package offered only where the one before it succeeded?
    pub in_order: bool,
    /// Who was put away.
    pub archived: Part,
    /// How many the actor may not touch.
    pub out_of_scope: usize,
    /// Will computers that come later get it, too?
    pub standing: bool,
    /// How often agents check in where nothing else is set, in hours.
    pub contact_hours: u32,
    /// True if deployment is switched off for every computer.
    pub is_off: bool,
    /// How many computers it reaches: those for whose system one of the packages is.
    pub reach: u64,
    /// How many others have to approve it before anything is offered; `None` if nobody is asked.
    pub approvers: Option<u32>,
    /// Who would be woken, if that is asked for.
    pub sleepers: Option<Sleepers>,
}

impl Look {
    /// Would anything come of it?
    pub fn is_worth_it(&self) -> bool {
        self.standing || self.packages.iter().any(|one| one.gets.count + one.has_it.count > 0)
    }
}

/// Computers that are named.
const NAMED: usize = 20;

/// Tells what [`super::assign_bundle`] would do.
pub fn preview(
    app: &App,
    bundle: &Bundle,
    target: Target,
    options: &JobOptions,
    scope: Option<Query>,
) -> Result<Look, AssignError> {
    let (now, force, configured) = (app.clock.now(), options.force, app.configured.clone());
    let bundle = bundle.clone();
    app.store.read_now(move |conn| {
        let meant = Meant::load(conn, &configured, &target, scope.as_ref(), now)?;
        let decided = Decided { choices: bundle.choices(conn, &meant)?, meant };
        let (reach, approvers) = (decided.reach(), approvals::needed(conn, &configured, decided.reaches())?);
        let Decided { meant, choices } = decided;
        let split: Vec<Split> =
            choices.into_iter().map(|choice| Split::of(conn, choice, force)).collect::<Result<_, _>>()?;
        let mut computers = Vec::new();
        for one in meant.candidates.iter().take(NAMED) {
            let fates = split.iter().map(|split| if one.is_archived { Fate::Archived } else { split.fate(one.id) });
            computers.extend(computers::find(conn, one.id)?.map(|computer| (computer, fates.collect())));
        }
        let archived = part(conn, &meant.archived())?;
        let sleepers = if bundle.wakes { Some(sleepers(conn, &split, now)?) } else { None };
        Ok(Look {
            packages: split.into_iter().map(|split| split.preview(conn)).collect::<Result<_, _>>()?,
            computers,
            meant: meant.candidates.len(),
            in_order: bundle.in_order,
            archived,
            out_of_scope: meant.out_of_scope,
            standing: meant.all_computers || meant.group.is_some(),
            contact_hours: meant.settings().prolog_frequency(),
            is_off: !meant.settings().download().on,
            reach,
            approvers,
            sleepers,
        })
    })
}

fn sleepers(conn: &mut Conn, split: &[Split], now: UnixTime) -> Result<Sleepers, StoreError> {
    let with_a_job = split.iter().flat_map(|one| one.choice.chosen.iter().filter(|id| !one.already.contains(id)));
    let ids: BTreeSet<ComputerId> = with_a_job.copied().collect();
    let ids: Vec<ComputerId> = ids.into_iter().collect();
    let (with, without) = wake::sleepers(conn, &ids, now)?;
    Ok(Sleepers { woken: with.len(), no_address: part(conn, &without)? })
}

/// What becomes of one package, by computer.
struct Split {
    choice: Choice,
    gets: Vec<ComputerId>,
    has_it: BTreeSet<ComputerId>,
    already: BTreeSet<ComputerId>,
}

impl Split {
    fn of(conn: &mut Conn, choice: Choice, force: bool) -> Result<Self, StoreError> {
        let package = choice.package.id;
        let already: BTreeSet<ComputerId> =
            progress::with_open_job(conn, package, &choice.chosen)?.into_iter().collect();
        let mut has_it = BTreeSet::new();
        if !force {
            has_it.extend(progress::with_history(conn, package, &choice.chosen)?);
            has_it.retain(|id| !already.contains(id));
        }
        let gets = choice.chosen.iter().copied().filter(|id| !already.contains(id) && !has_it.contains(id)).collect();
        Ok(Self { choice, gets, has_it, already })
    }

    fn fate(&self, id: ComputerId) -> Fate {
        if self.already.contains(&id) {
            Fate::Already
        } else if self.has_it.contains(&id) {
            Fate::HasIt
        } else if self.gets.binary_search(&id).is_ok() {
            Fate::Gets
        } else {
            Fate::OtherSystem
        }
    }

    fn preview(self, conn: &mut Conn) -> Result<Preview, StoreError> {
        let has_it: Vec<ComputerId> = self.has_it.into_iter().collect();
        let already: Vec<ComputerId> = self.already.into_iter().collect();
        Ok(Preview {
            gets: part(conn, &self.gets)?,
            has_it: part(conn, &has_it)?,
            already: part(conn, &already)?,
            other_system: part(conn, &self.choice.other_system)?,
            pace: self.choice.pace,
            not_activated: activations::find(conn, self.choice.package.id)?.is_none(),
            package: self.choice.package,
        })
    }
}

fn part(conn: &mut Conn, ids: &[ComputerId]) -> Result<Part, StoreError> {
    let first = ids.iter().take(NAMED).map(|id| computers::find(conn, *id));
    Ok(Part { count: ids.len(), first: first.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect() })
}
