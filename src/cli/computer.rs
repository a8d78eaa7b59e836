//! `dripfeed computer …`

use std::io::Read as _;

use serde::Serialize;

use super::args::{ComputerVerb, Place};
use super::context::open;
use super::output::{Output, printable, say};
use super::status::JobView;
use super::{Done, Failure};
use crate::clock;
use crate::model::Computer;
use crate::service::App;
use crate::service::assign::{AssignError, named};
use crate::service::query::{AskError, ask};
use crate::store::events::{Event, EventKind};
use crate::store::installations::Via;
use crate::store::{StoreError, computers, events, installations, jobs};

pub(super) fn run(place: &Place, verb: ComputerVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        ComputerVerb::List { query, json } => list(&app, query.as_deref(), json, output),
        ComputerVerb::Show { computer, inventory: true, .. } => inventory(&app, &computer, output),
        ComputerVerb::Show { computer, json, .. } => show(&app, &computer, json, output),
        ComputerVerb::Delete { computer, json } => delete(&app, &computer, json, output),
    }
}

/// A computer as JSON.
#[derive(Serialize)]
struct ComputerView {
    name: String,
    device_id: String,
    os: String,
    os_version: String,
    architecture: String,
    ip_address: String,
    peer_address: String,
    user: String,
    serial: String,
    model: String,
    uuid: String,
    workgroup: String,
    tag: String,
    agent: String,
    first_contact: String,
    last_contact: String,
    last_inventory: Option<String>,
}

impl From<&Computer> for ComputerView {
    fn from(computer: &Computer) -> Self {
        let computer = computer.clone();
        Self {
            name: computer.name,
            device_id: computer.device_id.to_string(),
            os: computer.os_name,
            os_version: computer.os_version,
            architecture: computer.architecture,
            ip_address: computer.ip_address,
            peer_address: computer.peer_address,
            user: computer.user_name,
            serial: computer.serial,
            model: computer.model,
            uuid: computer.uuid,
            workgroup: computer.workgroup,
            tag: computer.tag,
            agent: computer.user_agent,
            first_contact: clock::utc_text(computer.first_contact),
            last_contact: clock::utc_text(computer.last_contact),
            last_inventory: computer.last_inventory.map(clock::utc_text),
        }
    }
}

const PAGE: usize = 1000;

fn list(app: &App, query: Option<&str>, json: bool, output: &mut Output) -> Done {
    let all = match query {
        None => every(app)?,
        Some(query) => ask(app, query).map_err(|error| match error {
            AskError::Store(error) => Failure::Failed(error.into()),
            other => Failure::Refused(other.into()),
        })?,
    };
    if json {
        return output.json(&all.iter().map(ComputerView::from).collect::<Vec<_>>());
    }
    if all.is_empty() && query.is_some() {
        say("no computer matches: `dripfeed computer list` shows them all");
        return Ok(());
    }
    if all.is_empty() {
        say("no computers yet: they appear with their first inventory");
        return Ok(());
    }
    let rows: Vec<[String; 7]> = all
        .iter()
        .map(|computer| {
            [
                printable(&computer.name),
                printable(&computer.os_name),
                printable(&computer.ip_address),
                printable(&computer.user_name),
                printable(&computer.tag),
                clock::local_text(computer.last_contact),
                printable(computer.device_id.as_str()),
            ]
        })
        .collect();
    output.table(["NAME", "SYSTEM", "ADDRESS", "USER", "TAG", "LAST CONTACT", "DEVICE ID"], &rows)
}

fn every(app: &App) -> Result<Vec<Computer>, StoreError> {
    let mut all: Vec<Computer> = Vec::new();
    loop {
        let after = all.last().map(|computer| computer.id);
        let page = app.store.read_now(move |conn| computers::list(conn, after, PAGE))?;
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

fn find(app: &App, text: &str) -> Result<Computer, Failure> {
    let text = text.to_owned();
    app.store.read_now(move |conn| named(conn, &text)).map_err(|error: AssignError| match error {
        AssignError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    })
}

fn show(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let computer = find(app, text)?;
    let id = computer.id;
    let (networks, installed, jobs, happened) = app.store.read_now(move |conn| -> Result<_, StoreError> {
        Ok((
            computers::networks(conn, id)?,
            installations::of_computer(conn, id)?,
            jobs::list(conn, None, Some(id), None, PAGE)?,
            events::list(conn, Some(id), None, 50)?,
        ))
    })?;
    if json {
        #[derive(Serialize)]
        struct Shown {
            #[serde(flatten)]
            computer: ComputerView,
            networks: Vec<Adapter>,
            installed: Vec<u32>,
            jobs: Vec<JobView>,
            events: Vec<EventView>,
        }
        #[derive(Serialize)]
        struct Adapter {
            ip_address: String,
            mac: String,
        }
        return output.json(&Shown {
            computer: ComputerView::from(&computer),
            networks: networks.into_iter().map(|n| Adapter { ip_address: n.ip_address, mac: n.mac }).collect(),
            installed: installed.iter().map(|(package, _, _)| package.number()).collect(),
            jobs: jobs.iter().map(JobView::from).collect(),
            events: happened.iter().map(EventView::from).collect(),
        });
    }
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let fields = [
        ("computer", printable(&computer.name)),
        ("device id", printable(computer.device_id.as_str())),
        (
            "system",
            printable(&format!("{} {} {}", or_dash(&computer.os_name), computer.os_version, computer.architecture)),
        ),
        ("model", format!("{}, serial {}", or_dash(&computer.model), or_dash(&computer.serial))),
        ("address", format!("{} (heard from {})", or_dash(&computer.ip_address), computer.peer_address)),
        ("user", or_dash(&computer.user_name)),
        ("tag", or_dash(&computer.tag)),
        ("agent", or_dash(&computer.user_agent)),
        (
            "contact",
            format!(
                "{} (first {})",
                clock::local_text(computer.last_contact),
                clock::local_text(computer.first_contact)
            ),
        ),
        ("inventory", computer.last_inventory.map_or("never".to_owned(), clock::local_text)),
    ];
    fields.iter().try_for_each(|(name, value)| output.line(format_args!("{name:>10}  {value}")))?;
    for network in networks {
        output.line(format_args!("{:>10}  {} {}", "adapter", or_dash(&network.ip_address), printable(&network.mac)))?;
    }
    for (package, via, at) in installed {
        let via = match via {
            Via::AgentHistory => "its own history",
            Via::Job => "a job's result",
        };
        output.line(format_args!("{:>10}  {package} by {via}, {}", "installed", clock::local_text(at)))?;
    }
    if !happened.is_empty() {
        output.line("")?;
        for event in happened.iter().rev() {
            output.line(time_line(event))?;
        }
    }
    Ok(())
}

/// An event as JSON.
#[derive(Serialize)]
struct EventView {
    at: String,
    what: &'static str,
    package: Option<u32>,
    text: String,
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        Self {
            at: clock::utc_text(event.at),
            what: word(event.kind),
            package: event.package.map(crate::model::PackageId::number),
            text: event.text.clone(),
        }
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Offered => "offered",
        EventKind::Reported => "reported",
        EventKind::Decided => "decided",
        EventKind::Cancelled => "cancelled",
    }
}

/// One event as a line for people.
pub(super) fn time_line(event: &Event) -> String {
    let package = event.package.map(|package| format!(" {package}")).unwrap_or_default();
    format!("{}  {:9}{package}  {}", clock::local_text(event.at), word(event.kind), printable(&event.text))
}

fn inventory(app: &App, text: &str, output: &mut Output) -> Done {
    let computer = find(app, text)?;
    let id = computer.id;
    let deflated = app.store.read_now(move |conn| computers::document(conn, id))?;
    let Some(deflated) = deflated else {
        return Err(Failure::refused(format!("{} has sent no inventory", computer.name)));
    };
    let mut document = Vec::new();
    flate2::read::ZlibDecoder::new(&deflated[..]).read_to_end(&mut document)?;
    output.bytes(&document)
}

fn delete(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let computer = find(app, text)?;
    let id = computer.id;
    app.store.write_now(move |conn| computers::delete(conn, id))?;
    if json {
        #[derive(Serialize)]
        struct View {
            deleted: String,
        }
        return output.json(&View { deleted: computer.device_id.to_string() });
    }
    output.line(format_args!(
        "forgot {} ({}); it comes back with its next inventory",
        printable(&computer.name),
        printable(computer.device_id.as_str())
    ))
}
