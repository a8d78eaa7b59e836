//! Deploying: on paper and for real.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::operation::{Asked, Nothing};
use super::gates::{GatesBody, GatesView};
use super::package;
use crate::model::gates::Gates;
use crate::model::{ComputerId, JobOptions, PostCommand, Schedule};
use crate::service::assign::{Assigned, Bundle, Fate, Look, Part, Preview, Sleepers, Target, Terms};
use crate::service::desk::Refusal;

/// What to deploy, for whom, how. One of `package` and `packages` says what; one of `all`, `group`, `where`, `computers` and
/// `selected` says for whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(in super::super) struct NewDeployment {
    /// The package's number.
    package: Option<u32>,
    /// Several packages' numbers, at most 20: a deployment of each, made in one act.
    #[serde(default)]
    packages: Vec<u32>,
    /// Offer each of several packages to a computer only when the one before it succeeded there. What is done afterwards
    /// is done after the last one.
    #[serde(default)]
    in_order: bool,
    /// Every computer for whose system the package is; those to come, too.
    #[serde(default)]
    all: bool,
    /// The members of this group; those to come, too.
    group: Option<String>,
    /// Those that this query asks for now.
    r#where: Option<String>,
    /// These, by host name or device id; one that cannot get it refuses the whole.
    computers: Option<Vec<String>>,
    /// These, by number; those that cannot get it are left out.
    selected: Option<Vec<i64>>,
    /// Run it also where it was run before.
    #[serde(default)]
    force: bool,
    /// Not before that time of each computer: `YYYY/MM/DD HH:MM`.
    schedule: Option<String>,
    /// `REBOOT`, `SHUTDOWN` or a command.
    post_command: Option<String>,
    /// When and where it may run; at any time and anywhere if it is not said.
    gates: Option<GatesBody>,
    /// Wake those of its computers over the network that were not heard of for ten minutes; at the moment of the `schedule`,
    /// by this server's clock, if there is one. Needs the right `computers.wake`, too.
    #[serde(default)]
    wake: bool,
}

impl NewDeployment {
    pub(in super::super) fn bundle(&self) -> Result<Bundle, Refusal> {
        let numbers = match (self.package, self.packages.as_slice()) {
            (Some(one), []) => vec![one],
            (None, several) => several.to_vec(),
            (Some(_), _) => {
                return Err(Refusal::invalid("say what in one way: package or packages").about("packages"));
            }
        };
        let packages = numbers.into_iter().map(package).collect::<Result<_, _>>()?;
        let bundle = Bundle::new(packages, self.in_order).map_err(|error| Refusal::from(error).about("packages"))?;
        Ok(bundle.waking(self.wake))
    }

    pub(in super::super) fn target(&self) -> Result<Target, Refusal> {
        let mut targets = Vec::new();
        if self.all {
            targets.push(Target::All);
        }
        targets.extend(self.group.clone().map(Target::Group));
        targets.extend(self.r#where.clone().map(Target::Where));
        targets.extend(self.computers.clone().map(Target::Computers));
        let numbers = self.selected.clone();
        targets.extend(numbers.map(|numbers| Target::Selected(numbers.into_iter().map(ComputerId).collect())));
        match (targets.pop(), targets.is_empty()) {
            (Some(target), true) => Ok(target),
            _ => Err(Refusal::invalid("say for whom in one way: all, group, where, computers or selected")),
        }
    }

    pub(in super::super) fn options(&self) -> Result<JobOptions, Refusal> {
        let schedule = self.schedule.as_deref().map(str::parse::<Schedule>).transpose();
        let post_command = self.post_command.as_deref().map(str::parse::<PostCommand>).transpose();
        Ok(JobOptions {
            force: self.force,
            schedule: schedule.map_err(|error| Refusal::invalid(error.to_string()).about("schedule"))?,
            post_command: post_command.map_err(|error| Refusal::invalid(error.to_string()).about("post_command"))?,
            follows: None,
        })
    }

    pub(in super::super) fn gates(&self) -> Result<Gates, Refusal> {
        self.gates.as_ref().map_or_else(|| Ok(Gates::default()), GatesBody::gates)
    }
}

/// What was planned of one package.
#[derive(JsonSchema, Serialize)]
struct PlannedView {
    /// The deployment's number.
    deployment: i64,
    /// The package's number.
    package: u32,
    /// Jobs that are new.
    planned: usize,
    /// Computers that have an open job of the package already.
    already: usize,
    /// Computers that were left out because they run another system.
    other_system: usize,
    /// Seconds from a contact to the execution, by the engine's own arithmetic.
    pace_seconds: u64,
    /// Is the package activated? Nothing is offered before it is.
    activated: bool,
    /// How many others have to approve it before anything is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvers: Option<u32>,
}

impl From<Assigned> for PlannedView {
    fn from(assigned: Assigned) -> Self {
        Self {
            deployment: assigned.deployment.0,
            package: assigned.package.number(),
            planned: assigned.planned,
            already: assigned.already,
            other_system: assigned.other_system,
            pace_seconds: assigned.pace.as_secs(),
            activated: !assigned.not_activated,
            approvers: assigned.awaited.map(|awaited| awaited.needed),
        }
    }
}

/// What was planned.
#[derive(JsonSchema, Serialize)]
pub(super) struct CreatedView {
    /// Of the package, or of the first one.
    #[serde(flatten)]
    first: PlannedView,
    /// Of the other packages, in their order.
    then: Vec<PlannedView>,
}

pub(super) fn create(asked: Asked<Nothing, Nothing, NewDeployment>) -> Result<CreatedView, Refusal> {
    let body = &asked.body;
    let terms = Terms { options: body.options()?, gates: body.gates()? };
    let made = asked.desk().deploy(&body.bundle()?, body.target()?, terms)?;
    let mut made = made.into_iter().map(PlannedView::from);
    let first = made.next().ok_or_else(|| Refusal::invalid("name a package"))?;
    Ok(CreatedView { first, then: made.collect() })
}

/// Some computers.
#[derive(JsonSchema, Serialize)]
struct PartView {
    /// How many.
    count: usize,
    /// The first of them, by their device ids.
    first: Vec<String>,
}

impl From<Part> for PartView {
    fn from(part: Part) -> Self {
        Self { count: part.count, first: part.first.iter().map(|computer| computer.device_id.to_string()).collect() }
    }
}

/// What a deployment would do with one package.
#[derive(JsonSchema, Serialize)]
struct PackagePreviewView {
    /// The package's number.
    package: u32,
    /// Who gets it.
    gets: PartView,
    /// Whose agents say that they have run it: their jobs end as already installed, unless forced.
    has_it: PartView,
    /// Who has an open job of it already.
    already: PartView,
    /// Who runs another system.
    other_system: PartView,
    /// Seconds from a contact to the execution, by the engine's own arithmetic.
    pace_seconds: u64,
    /// Is the package activated?
    activated: bool,
}

impl From<Preview> for PackagePreviewView {
    fn from(preview: Preview) -> Self {
        Self {
            package: preview.package.id.number(),
            gets: preview.gets.into(),
            has_it: preview.has_it.into(),
            already: preview.already.into(),
            other_system: preview.other_system.into(),
            pace_seconds: preview.pace.as_secs(),
            activated: !preview.not_activated,
        }
    }
}

/// What would become of each package on one computer.
#[derive(JsonSchema, Serialize)]
struct FatesView {
    /// Its device id.
    computer: String,
    /// Package by package, in their order: `gets it`, `ran it before`, `has an open job of it`, `runs another system` or
    /// `is archived`.
    packages: Vec<&'static str>,
}

/// Computers that were not heard of for ten minutes.
#[derive(JsonSchema, Serialize)]
struct SleepersView {
    /// How many would be woken.
    woken: usize,
    /// Who cannot be: no MAC address of a card is known.
    no_address: PartView,
}

impl From<Sleepers> for SleepersView {
    fn from(sleepers: Sleepers) -> Self {
        Self { woken: sleepers.woken, no_address: sleepers.no_address.into() }
    }
}

/// What a deployment would do.
#[derive(JsonSchema, Serialize)]
pub(super) struct PreviewView {
    /// With the package, or with the first one.
    #[serde(flatten)]
    first: PackagePreviewView,
    /// With the other packages, in their order.
    then: Vec<PackagePreviewView>,
    /// The first of the computers that are meant, each with what becomes of every package.
    computers: Vec<FatesView>,
    /// How many computers are meant, those that were put away included.
    meant: usize,
    /// Is each package offered only where the one before it succeeded?
    in_order: bool,
    /// Who was put away.
    archived: PartView,
    /// How many are outside the actor's scope.
    out_of_scope: usize,
    /// Will computers that come later get it, too?
    standing: bool,
    /// How often agents check in, in hours.
    contact_hours: u32,
    /// Is deployment switched on?
    download: bool,
    /// When and where it may run, and whether it may now; absent for at any time and anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates: Option<GatesView>,
    /// How many computers it reaches: those for whose system one of the packages is.
    reach: u64,
    /// How many others have to approve it before anything is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvers: Option<u32>,
    /// Who would be woken, if that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    wake: Option<SleepersView>,
}

pub(super) fn preview(asked: Asked<Nothing, Nothing, NewDeployment>) -> Result<PreviewView, Refusal> {
    let body = &asked.body;
    let gates = asked.desk().gates_now(body.gates()?).if_any();
    let look = asked.desk().preview_deployment(&body.bundle()?, body.target()?, &body.options()?)?;
    let Look { packages, computers, meant, in_order, archived, out_of_scope, standing, .. } = look;
    let mut packages = packages.into_iter().map(PackagePreviewView::from);
    let computers = computers.into_iter().map(|(computer, fates)| FatesView {
        computer: computer.device_id.to_string(),
        packages: fates.into_iter().map(Fate::as_str).collect(),
    });
    Ok(PreviewView {
        first: packages.next().ok_or_else(|| Refusal::invalid("name a package"))?,
        then: packages.collect(),
        computers: computers.collect(),
        meant,
        in_order,
        archived: archived.into(),
        out_of_scope,
        standing,
        contact_hours: look.contact_hours,
        download: !look.is_off,
        wake: look.sleepers.map(SleepersView::from),
        reach: look.reach,
        approvers: look.approvers,
        gates: gates.map(GatesView::from),
    })
}
