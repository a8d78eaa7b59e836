//! `dripfeed assign`

use serde::Serialize;

use super::args::{Assign, Place};
use super::context::{administrator, desk, open};
use super::output::{Output, printable, warn};
use super::package::duration;
use super::{Done, Failure, gates, series};
use crate::service::assign::{
    AssignError, Assigned, Bundle, Look, Part, Preview, Target, Terms, assign_bundle, preview,
};
use crate::service::gates::GatesNow;
use crate::service::series::Wish;

pub(super) fn run(place: &Place, options: Assign, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let (json, dry_run, mut job_options) = (options.json, options.dry_run, options.options());
    let again = options.again;
    let asked = gates::read(&options.gates)?;
    asked.warnings().into_iter().for_each(warn);
    let bundle = Bundle::new(options.ids, options.in_order).map_err(refuse)?.waking(options.wake);
    let target = match (options.group, options.query) {
        (Some(group), _) => Target::Group(group),
        (None, Some(query)) => Target::Where(query),
        (None, None) if options.all => Target::All,
        (None, None) => Target::Computers(options.computer),
    };
    let repeat = again.repeat.as_deref().map(|rule| {
        // Every run is forced.
        job_options.force = true;
        series::repeat(rule, again.time_zone.as_deref(), again.starts.as_deref())
    });
    let repeat = repeat.transpose()?;
    if dry_run {
        let look = preview(&app, &bundle, target, &job_options, None).map_err(refuse)?;
        // A run is for those who are there when it begins.
        let look = Look { standing: look.standing && repeat.is_none(), ..look };
        if json {
            return output.json(&LookView::from(&look));
        }
        show(&look, output)?;
        return gates::say(&GatesNow::at(asked, app.clock.now()), output);
    }
    if let Some(repeat) = repeat {
        let wish = Wish { bundle, target, post_command: job_options.post_command, gates: asked, repeat };
        return series::create(&desk(place, app), &wish, json, output);
    }
    let terms = Terms { options: job_options, gates: asked };
    let made = assign_bundle(&app, &bundle, target, &terms, &administrator(), None).map_err(refuse)?;
    for id in made.iter().filter(|one| one.not_activated).map(|one| one.package) {
        warn(format_args!("package {id} is not activated: nothing is offered before `dripfeed activate {id}`"));
    }
    if let Some((id, awaited)) = made.first().and_then(|one| Some((one.deployment, one.awaited.as_ref()?))) {
        warn(format_args!("deployment {id} {awaited}: nothing is offered before `dripfeed deployment approve {id}`"));
    }
    if json {
        #[derive(Serialize)]
        struct View {
            #[serde(flatten)]
            first: AssignedView,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            then: Vec<AssignedView>,
        }
        let mut views = made.iter().map(AssignedView::from);
        return match views.next() {
            Some(first) => output.json(&View { first, then: views.collect() }),
            None => Ok(()),
        };
    }
    made.iter().try_for_each(|one| say(one, output))?;
    gates::say(&GatesNow::at(terms.gates, app.clock.now()), output)?;
    if bundle.wakes() {
        output.line("the server wakes those that were not heard of; `dripfeed deployment show` says who came")?;
    }
    if bundle.in_order() && made.len() > 1 {
        output.line("each is offered to a computer when the one before it succeeded there")?;
    }
    Ok(())
}

fn refuse(error: AssignError) -> Failure {
    match error {
        AssignError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

/// What was planned of one package, as JSON.
#[derive(Serialize)]
struct AssignedView {
    deployment: i64,
    package: u32,
    planned: usize,
    already: usize,
    other_system: usize,
    pace_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvers: Option<u32>,
}

impl From<&Assigned> for AssignedView {
    fn from(assigned: &Assigned) -> Self {
        Self {
            deployment: assigned.deployment.0,
            package: assigned.package.number(),
            planned: assigned.planned,
            already: assigned.already,
            other_system: assigned.other_system,
            pace_seconds: assigned.pace.as_secs(),
            approvers: assigned.awaited.as_ref().map(|awaited| awaited.needed),
        }
    }
}

fn computers(n: usize) -> String {
    if n == 1 { "1 computer".to_owned() } else { format!("{n} computers") }
}

fn say(assigned: &Assigned, output: &mut Output) -> Done {
    output.line(format_args!(
        "deployment {}: {} for {}, {} from contact to execution",
        assigned.deployment,
        assigned.package,
        computers(assigned.planned),
        duration(assigned.pace)
    ))?;
    if assigned.already > 0 {
        let verb = if assigned.already == 1 { "has" } else { "have" };
        output.line(format_args!("{} {verb} an open job of it already", computers(assigned.already)))?;
    }
    if assigned.other_system > 0 {
        output.line(format_args!("{} left out: they run another system", computers(assigned.other_system)))?;
    }
    Ok(())
}

/// What would be planned, as JSON.
#[derive(Serialize)]
struct LookView {
    in_order: bool,
    meant: usize,
    archived: usize,
    standing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvers: Option<u32>,
    packages: Vec<PreviewView>,
    computers: Vec<FatesView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wake: Option<SleepersView>,
}

/// Who would be woken.
#[derive(Serialize)]
struct SleepersView {
    woken: usize,
    no_address: usize,
}

/// One package.
#[derive(Serialize)]
struct PreviewView {
    package: u32,
    gets: usize,
    has_it: usize,
    already: usize,
    other_system: usize,
    pace_seconds: u64,
    activated: bool,
}

/// What would become of each package on one computer.
#[derive(Serialize)]
struct FatesView {
    computer: String,
    packages: Vec<&'static str>,
}

impl From<&Look> for LookView {
    fn from(look: &Look) -> Self {
        let package = |one: &Preview| PreviewView {
            package: one.package.id.number(),
            gets: one.gets.count,
            has_it: one.has_it.count,
            already: one.already.count,
            other_system: one.other_system.count,
            pace_seconds: one.pace.as_secs(),
            activated: !one.not_activated,
        };
        Self {
            in_order: look.in_order,
            meant: look.meant,
            archived: look.archived.count,
            standing: look.standing,
            approvers: look.approvers,
            packages: look.packages.iter().map(package).collect(),
            computers: look
                .computers
                .iter()
                .map(|(computer, fates)| FatesView {
                    computer: computer.device_id.to_string(),
                    packages: fates.iter().map(|fate| fate.as_str()).collect(),
                })
                .collect(),
            wake: look
                .sleepers
                .as_ref()
                .map(|sleepers| SleepersView { woken: sleepers.woken, no_address: sleepers.no_address.count }),
        }
    }
}

fn reach(look: &Look) -> usize {
    usize::try_from(look.reach).unwrap_or(usize::MAX)
}

/// Who cannot be woken, by name.
fn unable(part: &Part, output: &mut Output) -> Done {
    if part.count == 0 {
        return Ok(());
    }
    let names: Vec<String> = part.first.iter().map(|computer| printable(&computer.name)).collect();
    let more = if part.count > names.len() { ", …" } else { "" };
    output.line(format_args!(
        "{} cannot be woken, because no MAC address of a card is known: {}{more}",
        computers(part.count),
        names.join(", ")
    ))
}

fn show(look: &Look, output: &mut Output) -> Done {
    let rows: Vec<[String; 7]> = look
        .packages
        .iter()
        .map(|one| {
            [
                one.package.id.to_string(),
                printable(&format!("{} {}", one.package.name, one.package.version)),
                one.gets.count.to_string(),
                one.has_it.count.to_string(),
                one.already.count.to_string(),
                one.other_system.count.to_string(),
                duration(one.pace),
            ]
        })
        .collect();
    output.table(["PACKAGE", "NAME", "GET IT", "RAN IT BEFORE", "HAVE AN OPEN JOB", "OTHER SYSTEM", "TAKES"], &rows)?;
    output.line("")?;
    let rows: Vec<[String; 3]> = look
        .computers
        .iter()
        .flat_map(|(computer, fates)| {
            let of = fates.iter().zip(&look.packages);
            of.map(|(fate, one)| [printable(&computer.name), one.package.id.to_string(), fate.as_str().to_owned()])
        })
        .collect();
    output.table(["COMPUTER", "PACKAGE", "WOULD"], &rows)?;
    if look.meant > look.computers.len() {
        output.line(format_args!("and {} more", computers(look.meant - look.computers.len())))?;
    }
    if let Some(sleepers) = &look.sleepers {
        output.line(format_args!("{} would be woken", computers(sleepers.woken)))?;
        unable(&sleepers.no_address, output)?;
    }
    if look.standing {
        output.line("computers that come later would get it, too")?;
    }
    if let Some(needed) = look.approvers {
        let who = if needed == 1 { "another person".to_owned() } else { format!("{needed} other people") };
        output.line(format_args!("this reaches {}: {who} would have to approve it", computers(reach(look))))?;
    }
    Ok(())
}
