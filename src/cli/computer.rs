//! `dripfeed computer …`

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Serialize;
use serde_json::Value;

use super::args::{ComputerVerb, Place};
use super::context::{administrator, desk, open};
use super::identity::{self, IdentityView};
use super::output::{Output, printable, say};
use super::status::JobView;
use super::{Done, Failure, likenesses, software, table, wake};
use crate::clock;
use crate::model::{Computer, ComputerId, UnixTime};
use crate::service::App;
use crate::service::account::{self, AccountError};
use crate::service::assign::{AssignError, named};
use crate::service::changes::MOST_CHANGES;
use crate::service::duplicates::{self, DuplicateError};
use crate::service::entry::Pattern;
use crate::service::query::{AskError, ask};
use crate::service::wake::in_words;
use crate::store::events::{Event, EventKind};
use crate::store::installations::Via;
use crate::store::sections::{Change, ChangeKind};
use crate::store::{Conn, StoreError, computers, events, fields, installations, jobs, merges, sections, wakes};

pub(super) fn run(place: &Place, verb: ComputerVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        ComputerVerb::Import { file, dry_run, clear, leave_out_wrong, json } => {
            let how = table::How { dry_run, clear, leave_out_wrong, json };
            table::import(place, app, &file, &how, output)
        }
        ComputerVerb::Undo { change, json } => table::undo(place, app, change, json, output),
        ComputerVerb::Count { by, query, json } => table::count(place, app, &by, query.as_deref(), json, output),
        ComputerVerb::List { query, archived, json } => list(&app, query.as_deref(), archived, json, output),
        ComputerVerb::Show { computer, inventory: true, .. } => inventory(&app, &computer, output),
        ComputerVerb::Show { computer, software: true, json, .. } => {
            software::of_computer(&app, &computer, json, output)
        }
        ComputerVerb::Show { computer, changes: true, json, .. } => changes(&app, &computer, json, output),
        ComputerVerb::Show { computer, json, .. } => show(&app, &computer, json, output),
        ComputerVerb::Tag { computer, tag, json, .. } => tag_computer(&app, &computer, tag.as_deref(), json, output),
        ComputerVerb::Field { computer, name, value, json, .. } => {
            field(&app, &computer, &name, value.as_deref(), json, output)
        }
        ComputerVerb::Merge { old, new, json } => merge(&app, (&old, &new), json, output),
        ComputerVerb::Unmerge { computer, json } => unmerge(&app, &computer, json, output),
        ComputerVerb::Archive { computer, json } => archive(&app, &computer, json, output),
        ComputerVerb::Restore { computer, json } => restore(&app, &computer, json, output),
        ComputerVerb::Expect { names, json } => identity::expect(&app, &names, json, output),
        ComputerVerb::Expected { json } => identity::expected(&app, json, output),
        ComputerVerb::Unexpect { name, json } => identity::unexpect(&app, &name, json, output),
        ComputerVerb::ForgetKey { computer, json } => identity::forget_key(&desk(place, app), &computer, json, output),
        ComputerVerb::Add { name, count, first, serial, mac, tag, json } => {
            let pattern = Pattern { count, first, name, serial, mac, tag };
            likenesses::add(&desk(place, app), &pattern, json, output)
        }
        ComputerVerb::Wake { computers, query, members, json } => {
            wake::run(&desk(place, app), &wake::chosen(computers, query, members)?, json, output)
        }
        ComputerVerb::Duplicates { json } => likenesses::list(&desk(place, app), json, output),
        ComputerVerb::KeepApart { one, other, undo, json } => {
            likenesses::keep_apart(&desk(place, app), (&one, &other), undo, json, output)
        }
        ComputerVerb::RememberKey { computer, json } => {
            identity::remember_key(&desk(place, app), &computer, json, output)
        }
        ComputerVerb::RegistrationKey { renew, remove, json } => {
            identity::registration_key(&desk(place, app), (renew, remove), json, output)
        }
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
    archived_at: Option<String>,
    identity: IdentityView,
}

impl From<&Computer> for ComputerView {
    fn from(computer: &Computer) -> Self {
        let identity = IdentityView::from(computer);
        let computer = computer.clone();
        Self {
            identity,
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
            archived_at: computer.archived_at.map(clock::utc_text),
        }
    }
}

const PAGE: usize = 1000;

fn list(app: &App, query: Option<&str>, archived: bool, json: bool, output: &mut Output) -> Done {
    let all = match query {
        None => every(app, archived)?,
        Some(query) => {
            let mut found = ask(app, query).map_err(|error| match error {
                AskError::Store(error) => Failure::Failed(error.into()),
                other => Failure::Refused(other.into()),
            })?;
            found.retain(|computer| computer.archived_at.is_some() == archived);
            found
        }
    };
    if json {
        return output.json(&all.iter().map(ComputerView::from).collect::<Vec<_>>());
    }
    if all.is_empty() && query.is_some() {
        say("no computer matches: `dripfeed computer list` shows them all");
        return Ok(());
    }
    if all.is_empty() {
        say(if archived {
            "no computer is archived: `dripfeed computer archive NAME` puts one away"
        } else {
            "no computers yet: they appear with their first inventory"
        });
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

fn every(app: &App, archived: bool) -> Result<Vec<Computer>, StoreError> {
    let mut all: Vec<Computer> = Vec::new();
    loop {
        let after = all.last().map(|computer| computer.id);
        let page = app.store.read_now(move |conn| {
            if archived { computers::list_archived(conn, after, PAGE) } else { computers::list(conn, after, PAGE) }
        })?;
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// The system with its version, once: many agents write the version into the name as well.
fn system(computer: &Computer) -> String {
    let name = if computer.os_name.is_empty() { "-" } else { &computer.os_name };
    let version = &computer.os_version;
    let said = version.is_empty() || name.split_whitespace().any(|word| word == version);
    let version = if said { String::new() } else { format!(" {version}") };
    let architecture = &computer.architecture;
    format!("{name}{version}{}", if architecture.is_empty() { String::new() } else { format!(" {architecture}") })
}

pub(super) fn find(app: &App, text: &str) -> Result<Computer, Failure> {
    let text = text.to_owned();
    app.store.read_now(move |conn| named(conn, &text)).map_err(|error: AssignError| match error {
        AssignError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    })
}

fn show(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let computer = find(app, text)?;
    let id = computer.id;
    let (networks, own_fields, merges, installed, jobs, happened, woken) =
        app.store.read_now(move |conn| -> Result<_, StoreError> {
            Ok((
                computers::networks(conn, id)?,
                fields::of_computer(conn, id)?,
                merge_views(conn, id)?,
                installations::of_computer(conn, id)?,
                jobs::list(conn, None, Some(id), None, PAGE)?,
                events::list(conn, Some(id), None, 50)?,
                wakes::last_of(conn, id)?,
            ))
        })?;
    if json {
        #[derive(Serialize)]
        struct Shown {
            #[serde(flatten)]
            computer: ComputerView,
            networks: Vec<Adapter>,
            fields: BTreeMap<String, String>,
            merges: Vec<MergeView>,
            installed: Vec<u32>,
            jobs: Vec<JobView>,
            events: Vec<EventView>,
            #[serde(skip_serializing_if = "Option::is_none")]
            woken: Option<Value>,
        }
        #[derive(Serialize)]
        struct Adapter {
            ip_address: String,
            mac: String,
        }
        return output.json(&Shown {
            computer: ComputerView::from(&computer),
            networks: networks.into_iter().map(|n| Adapter { ip_address: n.ip_address, mac: n.mac }).collect(),
            fields: own_fields.into_iter().map(|(field, value)| (field.name, value)).collect(),
            merges,
            installed: installed.iter().map(|(package, _, _)| package.number()).collect(),
            jobs: jobs.iter().map(JobView::from).collect(),
            events: happened.iter().map(EventView::from).collect(),
            woken: woken.as_ref().map(wake::view),
        });
    }
    if let Some(at) = computer.archived_at {
        output.line(format_args!(
            "{:>10}  {}; `dripfeed computer restore` takes it back",
            "archived",
            clock::local_text(at)
        ))?;
    }
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let fields = [
        ("computer", printable(&computer.name)),
        ("device id", printable(computer.device_id.as_str())),
        ("system", printable(&system(&computer))),
        ("model", format!("{}, serial {}", or_dash(&computer.model), or_dash(&computer.serial))),
        ("address", format!("{} (heard from {})", or_dash(&computer.ip_address), computer.peer_address)),
        ("user", or_dash(&computer.user_name)),
        ("tag", or_dash(&computer.tag)),
        ("identity", identity::sentence(&computer)),
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
    for (field, value) in own_fields {
        let name = printable(&field.name);
        output.line(format_args!("{:>10}  {name} = {}", "field", printable(&value)))?;
    }
    if let Some(woken) = woken {
        output.line(format_args!("{:>10}  {}", "woken", printable(&in_words(&woken))))?;
    }
    for merge in merges {
        output.line(format_args!("{:>10}  {}", "merge", merge.sentence()))?;
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
        EventKind::Restored => "restored",
        EventKind::Key => "key",
        EventKind::Refused => "refused",
        EventKind::Apart => "apart",
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

fn changes(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        at: String,
        section: String,
        change: &'static str,
        item: String,
        field: String,
        old: String,
        new: String,
    }
    let computer = find(app, text)?;
    let id = computer.id;
    let changes = app.store.read_now(move |conn| sections::changes(conn, id, MOST_CHANGES))?;
    if json {
        let view = |change: Change| View {
            at: clock::utc_text(change.at),
            section: change.section,
            change: change.kind.as_str(),
            item: change.item,
            field: change.field,
            old: change.old,
            new: change.new,
        };
        return output.json(&changes.into_iter().map(view).collect::<Vec<_>>());
    }
    if changes.is_empty() {
        say("no differences yet: inventories are compared from the second one on, without free space and the like");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = changes
        .iter()
        .map(|change| {
            let value = match change.kind {
                ChangeKind::Added => printable(&change.new),
                ChangeKind::Removed => printable(&change.old),
                ChangeKind::Changed if change.field.is_empty() => String::new(),
                ChangeKind::Changed => {
                    format!("{}: {} -> {}", printable(&change.field), shown(&change.old), shown(&change.new))
                }
            };
            [
                clock::local_text(change.at),
                printable(&change.section),
                change.kind.as_str().to_owned(),
                printable(&change.item),
                value,
            ]
        })
        .collect();
    output.table(["WHEN", "SECTION", "WHAT", "ITEM", "VALUE"], &rows)
}

fn shown(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { printable(text) }
}

/// A merge as people and programs read it.
#[derive(Serialize)]
struct MergeView {
    old: String,
    new: String,
    at: String,
    reason: String,
    undone_at: Option<String>,
    /// The same two moments, for people.
    #[serde(skip)]
    moments: (UnixTime, Option<UnixTime>),
}

impl MergeView {
    fn sentence(&self) -> String {
        let at = clock::local_text(self.moments.0);
        let undone = self.moments.1.map(|at| format!(", taken back {}", clock::local_text(at))).unwrap_or_default();
        format!("{} became {}, {at}: {}{undone}", self.old, self.new, printable(&self.reason))
    }
}

fn merge_views(conn: &mut Conn, id: ComputerId) -> Result<Vec<MergeView>, StoreError> {
    let mut views = Vec::new();
    for merge in merges::of_computer(conn, id)? {
        let mut name = |id| -> Result<String, StoreError> {
            Ok(computers::find(conn, id)?.map(|computer| computer.device_id.to_string()).unwrap_or_default())
        };
        views.push(MergeView {
            old: name(merge.old)?,
            new: name(merge.new)?,
            at: clock::utc_text(merge.at),
            reason: merge.reason,
            undone_at: merge.undone_at.map(clock::utc_text),
            moments: (merge.at, merge.undone_at),
        });
    }
    Ok(views)
}

fn refuse_account(error: AccountError) -> Failure {
    match error {
        AccountError::Store(_) | AccountError::Named(AssignError::Store(_)) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

fn tag_computer(app: &App, text: &str, tag: Option<&str>, json: bool, output: &mut Output) -> Done {
    let computer = account::set_tag(app, text, tag).map_err(refuse_account)?;
    let id = computer.id;
    let tag = app.store.read_now(move |conn| computers::find(conn, id))?.map(|now| now.tag).unwrap_or_default();
    if json {
        #[derive(Serialize)]
        struct View {
            device_id: String,
            tag: String,
        }
        return output.json(&View { device_id: computer.device_id.to_string(), tag });
    }
    output.line(format_args!(
        "{} has the tag {}; its agent is told with its next inventory",
        printable(&computer.name),
        printable(&tag)
    ))
}

fn field(app: &App, text: &str, name: &str, value: Option<&str>, json: bool, output: &mut Output) -> Done {
    let (computer, field) = account::set_field(app, text, name, value).map_err(refuse_account)?;
    if json {
        #[derive(Serialize)]
        struct View {
            device_id: String,
            field: String,
            wire_name: String,
            value: Option<String>,
        }
        return output.json(&View {
            device_id: computer.device_id.to_string(),
            wire_name: field.wire_name(),
            field: field.name,
            value: value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned),
        });
    }
    let says = match value.map(str::trim).filter(|value| !value.is_empty()) {
        Some(value) => format!("says {}", printable(value)),
        None => "says nothing any more".to_owned(),
    };
    output.line(format_args!(
        "{} of {} {says}; its agent is told with its next inventory",
        printable(&field.name),
        printable(&computer.name)
    ))
}

fn refuse_duplicate(error: DuplicateError) -> Failure {
    match error {
        DuplicateError::Store(_) | DuplicateError::Damaged(_) | DuplicateError::Named(AssignError::Store(_)) => {
            Failure::Failed(error.into())
        }
        _ => Failure::Refused(error.into()),
    }
}

/// Two computers as JSON.
#[derive(Serialize)]
struct Pair {
    old: String,
    new: String,
}

impl Pair {
    fn of(old: &Computer, new: &Computer) -> Self {
        Self { old: old.device_id.to_string(), new: new.device_id.to_string() }
    }
}

fn merge(app: &App, (old, new): (&str, &str), json: bool, output: &mut Output) -> Done {
    let (old, new) = duplicates::merge(app, old, new, &administrator()).map_err(refuse_duplicate)?;
    if json {
        return output.json(&Pair::of(&old, &new));
    }
    output.line(format_args!(
        "{} took over from {}, which is archived; `dripfeed computer unmerge {}` takes that back",
        new.device_id, old.device_id, new.device_id
    ))
}

fn unmerge(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let (old, new) = duplicates::unmerge(app, text).map_err(refuse_duplicate)?;
    if json {
        return output.json(&Pair::of(&old, &new));
    }
    output.line(format_args!("{} and {} are two computers again", old.device_id, new.device_id))
}

fn archive(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let computer = duplicates::archive(app, text).map_err(refuse_duplicate)?;
    if json {
        return output.json(&Away { device_id: computer.device_id.to_string(), archived: true });
    }
    output.line(format_args!(
        "archived {} ({}); it comes back with its next inventory",
        printable(&computer.name),
        computer.device_id
    ))
}

fn restore(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let computer = duplicates::restore(app, text).map_err(refuse_duplicate)?;
    if json {
        return output.json(&Away { device_id: computer.device_id.to_string(), archived: false });
    }
    output.line(format_args!("{} ({}) is there again", printable(&computer.name), computer.device_id))
}

/// Whether a computer is put away, as JSON.
#[derive(Serialize)]
struct Away {
    device_id: String,
    archived: bool,
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
