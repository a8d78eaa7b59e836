//! `/computers`.

#![expect(clippy::needless_pass_by_value, reason = "what an operation is given is its own")]

mod list;
mod many;
mod settings;
mod wake;

pub(super) use wake::WakeView;

use axum::extract::{Extension, Path};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::visit::{Visit, blocking};
use super::identity::IdentityView;
use super::operation::{Asked, Nothing, Operation, operation};
use super::problem::refused;
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{Computer, PackageId};
use crate::service::desk::Refusal;
use crate::service::desk::computers as desk;
use crate::service::why::Why;
use crate::store::installations::Via;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn operations() -> Vec<Operation> {
    use Right::{EditComputers as Edit, EditSettings, RemoveComputers as Remove, SeeComputers as See, SeeSettings};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    vec![
        operation(GET, "/computers", "list_computers", "Computers that a query asks for", See, list::list),
        operation(
            POST,
            "/computers/selected",
            "change_computers",
            "Does the same to many computers: those that are named, or every one that a query asks for",
            See,
            many::change_many,
        ),
        operation(GET, "/computers/{computer}", "get_computer", "One computer", See, get),
        operation(
            DELETE,
            "/computers/{computer}",
            "delete_computer",
            "Erases a computer that is archived",
            Remove,
            delete,
        ),
        operation(PUT, "/computers/{computer}/tag", "set_computer_tag", "Gives a computer a tag", Edit, set_tag),
        operation(
            PUT,
            "/computers/{computer}/fields/{field}",
            "set_computer_field",
            "Writes a field of a computer; the first value of a name makes the field",
            Edit,
            set_field,
        ),
        operation(
            POST,
            "/computers/{computer}/notes",
            "add_computer_note",
            "Leaves a note on a computer",
            Edit,
            add_note,
        )
        .creates(),
        operation(
            DELETE,
            "/computers/{computer}/notes/{note}",
            "remove_computer_note",
            "Removes a note",
            Edit,
            remove_note,
        ),
        operation(
            GET,
            "/computers/{computer}/inventory",
            "get_computer_inventory",
            "Every section of the last inventory",
            See,
            inventory,
        ),
        Operation::stream(
            GET,
            "/computers/{computer}/document",
            "get_computer_document",
            "The last inventory as the agent sent it",
            See,
            "application/xml",
            axum::routing::get(document),
        )
        .path_of::<ByName>(),
        operation(
            GET,
            "/computers/{computer}/software",
            "list_computer_software",
            "What is installed on a computer",
            See,
            software,
        ),
        operation(
            GET,
            "/computers/{computer}/changes",
            "list_computer_changes",
            "What changed between its inventories, newest first",
            See,
            changes,
        ),
        operation(
            GET,
            "/computers/{computer}/packages",
            "list_computer_packages",
            "Packages that a computer has a job of, or has had",
            See,
            packages,
        ),
        operation(
            GET,
            "/computers/{computer}/packages/{package}",
            "explain_computer_package",
            "Why a package is where it is on a computer, and what was said about it",
            Right::SeePackages,
            why,
        ),
        operation(
            GET,
            "/computers/{computer}/settings",
            "list_computer_settings",
            "Every setting of a computer with its origin",
            SeeSettings,
            settings::of_computer,
        ),
        operation(
            PUT,
            "/computers/{computer}/settings/{key}",
            "set_computer_setting",
            "Sets a setting for one computer",
            EditSettings,
            settings::set,
        ),
        operation(
            DELETE,
            "/computers/{computer}/settings/{key}",
            "unset_computer_setting",
            "Takes back what was set for one computer",
            EditSettings,
            settings::unset,
        ),
        wake::operation(),
        operation(POST, "/computers/{computer}/archive", "archive_computer", "Puts a computer away", Remove, archive),
        operation(POST, "/computers/{computer}/restore", "restore_computer", "Takes a computer back", Remove, restore),
        operation(
            POST,
            "/computers/{computer}/merge",
            "merge_computer",
            "Makes one computer of two: another takes over and this one is archived",
            Remove,
            merge,
        ),
        operation(
            POST,
            "/computers/{computer}/unmerge",
            "unmerge_computer",
            "Takes the newest merge of a computer back",
            Remove,
            unmerge,
        ),
    ]
}

/// A computer's name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
}

/// A computer as its last inventory described it; empty text is "not said".
#[derive(JsonSchema, Serialize)]
pub(super) struct ComputerView {
    /// The name that its agent says: `NAME-YYYY-MM-DD-HH-MM-SS`.
    device_id: String,
    /// The host name.
    name: String,
    /// The operating system.
    os: String,
    /// Its version.
    os_version: String,
    /// The processor's architecture.
    architecture: String,
    /// Its address.
    ip_address: String,
    /// The address that it was last heard from.
    peer_address: String,
    /// Who uses it.
    user: String,
    /// Its serial number.
    serial: String,
    /// Maker and model.
    model: String,
    /// The firmware's UUID.
    uuid: String,
    /// Workgroup or domain.
    workgroup: String,
    /// The administrators' tag.
    tag: String,
    /// The agent's `User-Agent`.
    agent: String,
    /// When it was first heard of.
    first_contact: String,
    /// When it last said anything.
    last_contact: String,
    /// When its last inventory came.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_inventory: Option<String>,
    /// When it was put away.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_at: Option<String>,
    /// How sure it is that messages are its own.
    identity: IdentityView,
}

impl From<Computer> for ComputerView {
    fn from(computer: Computer) -> Self {
        Self {
            identity: (&computer).into(),
            device_id: computer.device_id.to_string(),
            name: computer.name,
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
            first_contact: utc_text(computer.first_contact),
            last_contact: utc_text(computer.last_contact),
            last_inventory: computer.last_inventory.map(utc_text),
            archived_at: computer.archived_at.map(utc_text),
        }
    }
}

/// A computer with what administrators say of it.
#[derive(JsonSchema, Serialize)]
struct OneView {
    #[serde(flatten)]
    computer: ComputerView,
    /// The administrators' fields that say something.
    fields: std::collections::BTreeMap<String, String>,
    /// Its groups, and why: `query`, `included` or `excluded` (which is no member).
    groups: std::collections::BTreeMap<String, &'static str>,
    /// Notes, newest first.
    notes: Vec<NoteView>,
    /// Merges that it had a part in, newest first.
    merges: Vec<MergeView>,
    /// The newest wish to wake it, and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    woken: Option<WakeView>,
}

/// A note.
#[derive(JsonSchema, Serialize)]
struct NoteView {
    /// Its number.
    id: i64,
    /// When it was written.
    at: String,
    /// By whom.
    author: String,
    /// What it says.
    text: String,
}

/// A merge.
#[derive(JsonSchema, Serialize)]
struct MergeView {
    /// When.
    at: String,
    /// Why.
    reason: String,
    /// The other computer; absent when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    /// Did this computer take over? Else the other one did.
    took_over: bool,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_at: Option<String>,
}

fn get(asked: Asked<ByName, Nothing, Nothing>) -> Result<OneView, Refusal> {
    let one = asked.desk().computer_overview(&asked.path.computer)?;
    let id = one.computer.id;
    let woken = asked.desk().last_wake(&one.computer)?;
    let fields = one.fields.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(OneView {
        fields: fields.map(|(field, value)| (field.name, value)).collect(),
        groups: one.groups.into_iter().map(|(name, reason)| (name, reason.as_str())).collect(),
        notes: one
            .notes
            .into_iter()
            .map(|note| NoteView { id: note.id, at: utc_text(note.at), author: note.author, text: note.text })
            .collect(),
        merges: one
            .merges
            .into_iter()
            .map(|(merge, other)| MergeView {
                at: utc_text(merge.at),
                reason: merge.reason,
                other: other.map(|other| other.device_id.to_string()),
                took_over: merge.new == id,
                undone_at: merge.undone_at.map(utc_text),
            })
            .collect(),
        woken: woken.map(WakeView::from),
        computer: one.computer.into(),
    })
}

fn delete(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_computer(&asked.path.computer)?;
    Ok(Nothing {})
}

/// A text.
#[derive(Deserialize, JsonSchema)]
struct ValueBody {
    /// At most 255 characters on one line; empty takes it back.
    value: String,
}

fn set_tag(asked: Asked<ByName, Nothing, ValueBody>) -> Result<Nothing, Refusal> {
    asked.desk().set_tag(&asked.path.computer, &asked.body.value)?;
    Ok(Nothing {})
}

/// A field of a computer.
#[derive(Deserialize, JsonSchema)]
struct ByField {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
    /// The field's name.
    field: String,
}

fn set_field(asked: Asked<ByField, Nothing, ValueBody>) -> Result<Nothing, Refusal> {
    asked.desk().set_field(&asked.path.computer, &asked.path.field, &asked.body.value)?;
    Ok(Nothing {})
}

/// A note to leave.
#[derive(Deserialize, JsonSchema)]
struct NoteBody {
    /// 1 to 4000 characters.
    text: String,
}

/// A new note.
#[derive(JsonSchema, Serialize)]
struct NewNote {
    /// Its number.
    id: i64,
}

fn add_note(asked: Asked<ByName, Nothing, NoteBody>) -> Result<NewNote, Refusal> {
    Ok(NewNote { id: asked.desk().add_note(&asked.path.computer, &asked.body.text)? })
}

/// A note of a computer.
#[derive(Deserialize, JsonSchema)]
struct ByNote {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
    /// The note's number.
    note: i64,
}

fn remove_note(asked: Asked<ByNote, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remove_note(&asked.path.computer, asked.path.note)?;
    Ok(Nothing {})
}

/// A section of an inventory.
#[derive(JsonSchema, Serialize)]
struct SectionView {
    /// `DRIVES` …
    name: String,
    /// The names of the texts.
    columns: Vec<String>,
    /// As many texts a row as there are columns.
    rows: Vec<Vec<String>>,
}

/// An inventory.
#[derive(JsonSchema, Serialize)]
struct InventoryView {
    /// Its sections, software apart.
    sections: Vec<SectionView>,
}

fn inventory(asked: Asked<ByName, Nothing, Nothing>) -> Result<InventoryView, Refusal> {
    let (_, sections) = asked.desk().inventory_sections(&asked.path.computer)?;
    let sections = sections.into_iter();
    let view =
        |section: desk::Section| SectionView { name: section.name, columns: section.columns, rows: section.rows };
    Ok(InventoryView { sections: sections.map(view).collect() })
}

async fn document(Extension(visit): Extension<Visit>, Path(computer): Path<String>) -> Response {
    let found = blocking(move || visit.desk.inventory_document(&computer)).await;
    let missing = || Refusal::not_found("this computer has no inventory yet");
    match found.and_then(|(_, document)| document.ok_or_else(missing)) {
        Ok(document) => {
            let headers: [(HeaderName, HeaderValue); 3] = [
                (CONTENT_TYPE, HeaderValue::from_static("application/xml")),
                (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
                (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            ];
            (headers, document).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

/// A program in a version.
#[derive(JsonSchema, Serialize)]
struct TitleView {
    /// Its name.
    name: String,
    /// Who makes it.
    publisher: String,
    /// The version.
    version: String,
}

/// Programs.
#[derive(JsonSchema, Serialize)]
struct SoftwareView {
    /// By name.
    items: Vec<TitleView>,
}

fn software(asked: Asked<ByName, Nothing, Nothing>) -> Result<SoftwareView, Refusal> {
    let (_, titles) = asked.desk().computer_software(&asked.path.computer)?;
    let view = |title: crate::protocol::SoftwareTitle| TitleView {
        name: title.name,
        publisher: title.publisher,
        version: title.version,
    };
    Ok(SoftwareView { items: titles.into_iter().map(view).collect() })
}

/// A difference between two inventories.
#[derive(JsonSchema, Serialize)]
struct ChangeView {
    /// When the later one came.
    at: String,
    /// The section.
    section: String,
    /// `added`, `removed` or `changed`.
    kind: &'static str,
    /// What.
    item: String,
    /// Which of its values.
    field: String,
    /// What it was.
    old: String,
    /// What it is.
    new: String,
}

/// Differences.
#[derive(JsonSchema, Serialize)]
struct ChangesView {
    /// Newest first, at most 200.
    items: Vec<ChangeView>,
}

fn changes(asked: Asked<ByName, Nothing, Nothing>) -> Result<ChangesView, Refusal> {
    let (_, changes) = asked.desk().computer_changes(&asked.path.computer, 200)?;
    let view = |change: crate::store::sections::Change| ChangeView {
        at: utc_text(change.at),
        section: change.section,
        kind: change.kind.as_str(),
        item: change.item,
        field: change.field,
        old: change.old,
        new: change.new,
    };
    Ok(ChangesView { items: changes.into_iter().map(view).collect() })
}

/// A package on a computer.
#[derive(JsonSchema, Serialize)]
struct PackageOnView {
    /// The package's number.
    package: u32,
    /// Name and version; absent for one of another server.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The state of the newest job.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// What the agent reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// Why it is where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Since when it is known to be installed: from the agent's history, from a job.
    installed: Vec<InstalledView>,
}

/// How an installation is known.
#[derive(JsonSchema, Serialize)]
struct InstalledView {
    /// `history` for the agent's own, `job` for a job's result.
    via: &'static str,
    /// Since when.
    since: String,
}

/// Packages of a computer.
#[derive(JsonSchema, Serialize)]
struct PackagesView {
    /// Newest job first, at most 200.
    items: Vec<PackageOnView>,
}

fn packages(asked: Asked<ByName, Nothing, Nothing>) -> Result<PackagesView, Refusal> {
    let (_, lines) = asked.desk().computer_packages(&asked.path.computer)?;
    let view = |line: desk::PackageOn| PackageOnView {
        package: line.package.number(),
        name: line.name,
        state: line.job.as_ref().map(|job| job.state.as_str()),
        result: line.job.and_then(|job| job.result).map(|code| code.to_string()),
        why: line.why.map(|why| why.sentence),
        installed: line
            .ledger
            .into_iter()
            .map(|(via, since)| InstalledView {
                via: match via {
                    Via::AgentHistory => "history",
                    Via::Job => "job",
                },
                since: utc_text(since),
            })
            .collect(),
    };
    Ok(PackagesView { items: lines.into_iter().map(view).collect() })
}

/// A package on a computer.
#[derive(Deserialize, JsonSchema)]
struct ByPackage {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
    /// The package's number.
    package: u32,
}

/// Why a package is where it is.
#[derive(JsonSchema, Serialize)]
struct WhyView {
    /// `waiting`, `offered`, `scheduled`, `silent`, `succeeded` …
    stage: &'static str,
    /// The answer in a sentence.
    sentence: String,
    /// When the agent should check in next.
    next_contact: String,
    /// What it rests on, in the order of time.
    evidence: Vec<EvidenceView>,
    /// What was said, oldest first, at most 200.
    events: Vec<EventView>,
}

/// A fact.
#[derive(JsonSchema, Serialize)]
struct EvidenceView {
    /// When it happened, or will.
    at: String,
    /// What.
    text: String,
}

/// Something that was said.
#[derive(JsonSchema, Serialize)]
struct EventView {
    /// When.
    at: String,
    /// `offered`, `reported`, `decided` or `cancelled`.
    kind: &'static str,
    /// The wire's text, verbatim.
    text: String,
}

fn why(asked: Asked<ByPackage, Nothing, Nothing>) -> Result<WhyView, Refusal> {
    let missing = || Refusal::not_found(format!("there is no package {}", asked.path.package));
    let package = PackageId::new(asked.path.package).ok_or_else(missing)?;
    let (why, said) = asked.desk().computer_why(&asked.path.computer, package)?;
    let Why { stage, sentence, next_contact, evidence, .. } = why;
    Ok(WhyView {
        stage: stage.as_str(),
        sentence,
        next_contact: utc_text(next_contact),
        evidence: evidence.into_iter().map(|fact| EvidenceView { at: utc_text(fact.at), text: fact.text }).collect(),
        events: said
            .into_iter()
            .map(|event| EventView { at: utc_text(event.at), kind: event.kind.as_str(), text: event.text })
            .collect(),
    })
}

fn archive(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().archive_computer(&asked.path.computer)?;
    Ok(Nothing {})
}

fn restore(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().restore_computer(&asked.path.computer)?;
    Ok(Nothing {})
}

/// The computer that survives.
#[derive(Deserialize, JsonSchema)]
struct IntoBody {
    /// Its device id, or its host name.
    into: String,
}

fn merge(asked: Asked<ByName, Nothing, IntoBody>) -> Result<Nothing, Refusal> {
    asked.desk().merge_computers(&asked.path.computer, &asked.body.into)?;
    Ok(Nothing {})
}

fn unmerge(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().unmerge_computer(&asked.path.computer)?;
    Ok(Nothing {})
}
