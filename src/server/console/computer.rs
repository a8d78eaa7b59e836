//! `/computers/{device_id}`: one computer, a tab at a time.

use std::borrow::Borrow;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use super::super::fetches::Seen;
use super::super::visit::escaped;
use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use super::show::{self, Html};
use crate::clock::local_text;
use crate::model::access::Right;
use crate::model::query::fold;
use crate::model::settings::SettingKey;
use crate::model::{Computer, Job, JobState, PackageId, UnixTime};
use crate::protocol::SoftwareTitle;
use crate::service::desk::computers::{Overview, PackageOn, Section};
use crate::service::desk::{Kind, Refusal};
use crate::service::settings::{Explanation, Layer};
use crate::service::wake;
use crate::service::why::{Stage, Why};
use crate::store::events::{Event, EventKind};
use crate::store::fields::Field;
use crate::store::groups::Reason;
use crate::store::installations::Via;
use crate::store::registry::RegistryValue;
use crate::store::sections::{Change, ChangeKind};

mod change;
mod jobs;

/// Titles that a page shows.
const TITLES: usize = 1000;
/// Differences that a page shows: as many as are kept.
const CHANGES: usize = 200;
/// The section that is the dictionary.
const SOFTWARE: &str = "SOFTWARES";

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/computers/{device_id}", Right::SeeComputers, overview),
        get("/computers/{device_id}/inventory", Right::SeeComputers, inventory),
        get("/computers/{device_id}/inventory.xml", Right::SeeComputers, document),
        get("/computers/{device_id}/changes", Right::SeeComputers, changes),
        get("/computers/{device_id}/packages", Right::SeeComputers, packages),
        get("/computers/{device_id}/packages/{package}", Right::SeePackages, package),
        post("/computers/{device_id}/jobs/retry", Right::Deploy, jobs::retry),
        post("/computers/{device_id}/jobs/retry/undo", Right::Deploy, jobs::undo_retry),
        post("/computers/{device_id}/jobs/cancel", Right::StopDeployments, jobs::cancel),
        post("/computers/{device_id}/jobs/cancel/undo", Right::StopDeployments, jobs::undo_cancel),
        post("/computers/{device_id}/jobs/take-off", Right::StopDeployments, jobs::take_off),
        get("/computers/{device_id}/settings", Right::SeeSettings, settings),
        get("/computers/{device_id}/identity", Right::SeeComputers, identity),
        post("/computers/{device_id}/tag", Right::EditComputers, change::set_tag),
        post("/computers/{device_id}/fields", Right::EditComputers, change::set_field),
        post("/computers/{device_id}/notes", Right::EditComputers, change::add_note),
        post("/computers/{device_id}/notes/delete", Right::EditComputers, change::remove_note),
        post("/computers/{device_id}/notes/restore", Right::EditComputers, change::restore_note),
        post("/computers/{device_id}/settings", Right::EditSettings, set_setting),
        post("/computers/{device_id}/forget-key", Right::RemoveComputers, change::forget_key),
        post("/computers/{device_id}/remember-key", Right::RemoveComputers, change::remember_key),
        post("/computers/{device_id}/merge", Right::RemoveComputers, change::merge),
        post("/computers/{device_id}/unmerge", Right::RemoveComputers, change::unmerge),
        post("/computers/{device_id}/wake", Right::WakeComputers, change::wake),
        post("/computers/{device_id}/archive", Right::RemoveComputers, change::archive),
        post("/computers/{device_id}/restore", Right::RemoveComputers, change::restore),
        post("/computers/{device_id}/delete", Right::RemoveComputers, change::delete),
    ]
}

/// What every tab begins with.
#[expect(clippy::struct_excessive_bools, reason = "what a page shows")]
struct Head {
    computer: Computer,
    title: String,
    tab: &'static str,
    base: String,
    may_remove: bool,
    may_deploy: bool,
    may_wake: bool,
    may_see_settings: bool,
}

impl Head {
    fn new(call: &Call, computer: &Computer, tab: &'static str) -> Self {
        let desk = call.desk();
        Self {
            title: name_of(computer).to_owned(),
            base: address(computer),
            tab,
            computer: computer.clone(),
            may_remove: desk.may(Right::RemoveComputers),
            may_deploy: desk.may(Right::Deploy),
            may_wake: desk.may(Right::WakeComputers),
            may_see_settings: desk.may(Right::SeeSettings),
        }
    }

    /// Was it written down, and has its agent not come yet? Whoever came, came from somewhere.
    fn never_came(&self) -> bool {
        self.computer.peer_address.is_empty()
    }

    fn tabs(&self) -> [(&'static str, &'static str, bool); 6] {
        [
            ("", "Overview", true),
            ("inventory", "Inventory", true),
            ("changes", "Changes", true),
            ("packages", "Packages", true),
            ("settings", "Settings", self.may_see_settings),
            ("identity", "Identity", true),
        ]
    }

    fn at(&self, part: &str) -> String {
        if part.is_empty() { self.base.clone() } else { format!("{}/{part}", self.base) }
    }

    fn deploy(&self) -> String {
        let query =
            format!("device_id = '{}'", self.computer.device_id.as_str().replace('\\', "\\\\").replace('\'', "\\'"));
        format!("/deployments/new?where={}", escaped(&query))
    }

    fn os_icon(&self) -> &'static str {
        self.computer.os_family().map_or("computer", crate::model::OsFamily::as_str)
    }
}

/// What people call it.
pub(super) fn name_of(computer: &Computer) -> &str {
    if computer.name.is_empty() { computer.device_id.host() } else { &computer.name }
}

/// What two computers are called side by side: by their names, or by their device ids where the names are one.
pub(super) fn told_apart<'a>(one: &'a Computer, other: &'a Computer) -> (&'a str, &'a str) {
    let names = (name_of(one), name_of(other));
    if names.0 == names.1 { (one.device_id.as_str(), other.device_id.as_str()) } else { names }
}

/// Where its page is.
pub(super) fn address(computer: &Computer) -> String {
    format!("/computers/{}", escaped(computer.device_id.as_str()))
}

fn device_id(call: &Call) -> &str {
    call.path.raw("device_id")
}

/// Why a computer is in a group.
fn reason_text(reason: impl Borrow<Reason>) -> &'static str {
    match reason.borrow() {
        Reason::Query => "the group's query asks for it",
        Reason::Included => "added by hand",
        Reason::Excluded => "kept out by hand: it is no member",
    }
}

/// How the ledger knows.
fn via_text(via: impl Borrow<Via>) -> &'static str {
    match via.borrow() {
        Via::AgentHistory => "by the agent's history",
        Via::Job => "by a job",
    }
}

/// A sentence for people: the verbs of the command line are for others.
fn people(sentence: &str) -> String {
    let text = sentence.split(": dripfeed ").next().unwrap_or_default();
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn section_title(name: &str) -> String {
    let title = match name {
        "BIOS" => "Firmware",
        "CPUS" => "Processors",
        "DRIVES" => "Drives",
        "HARDWARE" | "=FACTS" => "Computer",
        "MEMORIES" => "Memory",
        "NETWORKS" => "Network",
        "SOFTWARES" => "Software",
        "STORAGES" => "Disks",
        "VIDEOS" => "Graphics",
        "RUNNINGPROCESSES" => "Running processes",
        "USERS" => "Users",
        "ACCOUNTINFO" => "Administrators' data",
        "" => "Inventory",
        other => {
            let lower = other.to_lowercase();
            let mut letters = lower.chars();
            let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
            return format!("{first}{}", letters.as_str());
        }
    };
    title.to_owned()
}

fn change_badge(kind: impl Borrow<ChangeKind>) -> Html {
    match kind.borrow() {
        ChangeKind::Added => show::toned("added", "ok", "plus"),
        ChangeKind::Removed => show::toned("removed", "bad", "minus"),
        ChangeKind::Changed => show::toned("changed", "info", "edit"),
    }
}

fn stage_badge(stage: impl Borrow<Stage>) -> Html {
    let stage = *stage.borrow();
    let (tone, icon) = match stage {
        Stage::NotAssigned => ("neutral", "info"),
        Stage::Withdrawn | Stage::Cancelled => ("cancelled", "cancelled"),
        Stage::NotActivated
        | Stage::NoMirror
        | Stage::DownloadOff
        | Stage::OtherSystem
        | Stage::Scheduled
        | Stage::OutsideRanges
        | Stage::OutsideWindow
        | Stage::AfterAnother
        | Stage::NotApproved => ("withheld", "withheld"),
        Stage::InHistory | Stage::AlreadyInstalled => ("already-installed", "already-installed"),
        Stage::Waiting => ("pending", "pending"),
        Stage::Silent => ("warn", "warning"),
        Stage::Offered => ("offered", "offered"),
        Stage::Succeeded => ("succeeded", "succeeded"),
        Stage::Failed => ("failed", "failed"),
        Stage::Expired => ("expired", "expired"),
    };
    show::toned(stage.as_str(), tone, icon)
}

fn origin_text(line: &Explanation) -> String {
    match line.origin() {
        Layer::Default => "the default".to_owned(),
        other => format!("set {}", other.whose()),
    }
}

fn is_lost(job: &Job) -> bool {
    matches!(job.state, JobState::Failed | JobState::Expired)
}

fn own_value(line: &Explanation) -> String {
    let own = line.parts.iter().find(|part| part.layer == Layer::Computer).and_then(|part| part.value);
    own.map(|value| value.to_string()).unwrap_or_default()
}

fn server_alone(key: impl Borrow<SettingKey>) -> bool {
    crate::service::settings::is_servers_alone(*key.borrow())
}

#[derive(Template)]
#[template(path = "computer-overview.html")]
struct OverviewPage {
    shell: Shell,
    head: Head,
    facts: Vec<(&'static str, String)>,
    one: Overview,
    /// What it found in its registry, each with the address of its question if there is one to see.
    found: Vec<(RegistryValue, Option<String>)>,
    own_agent: bool,
    own_address: bool,
    may_edit: bool,
    error: Option<Refusal>,
}

impl OverviewPage {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn input(&self, field: &Field, value: &str) -> Html {
        super::fields::input(&field.kind, "value", &format!("field-{}", field.id), value)
    }
}

fn overview(call: &Call) -> Result<View, Refusal> {
    call.page(&overview_page(call, None)?)
}

fn overview_page(call: &Call, error: Option<Refusal>) -> Result<OverviewPage, Refusal> {
    let one = call.desk().computer_overview(device_id(call))?;
    let computer = &one.computer;
    let version = if computer.os_version.is_empty() { String::new() } else { format!(" {}", computer.os_version) };
    let mut facts = vec![
        ("System", format!("{}{version}", computer.os_name)),
        ("Architecture", computer.architecture.clone()),
        ("User", computer.user_name.clone()),
        ("Address", computer.ip_address.clone()),
        ("Model", computer.model.clone()),
        ("Serial number", computer.serial.clone()),
        ("UUID", computer.uuid.clone()),
        ("Workgroup", computer.workgroup.clone()),
        ("Agent", computer.user_agent.clone()),
        ("Heard from", computer.peer_address.clone()),
    ];
    if let Some(wake) = call.desk().last_wake(computer)? {
        facts.push(("Woken", wake::in_words(&wake)));
    }
    if let Some((at, by)) = call.desk().entered(computer)? {
        facts.insert(0, ("Written down", format!("by {by}, {}; its agent has not come yet", local_text(at))));
    }
    let peer = &computer.peer_address;
    let own_address = *peer == computer.ip_address || one.adapters.iter().any(|(ip, _)| ip == peer);
    Ok(OverviewPage {
        shell: call.shell(name_of(computer), "/computers"),
        head: Head::new(call, computer, ""),
        facts,
        found: found_on(call, computer)?,
        own_agent: computer.user_agent.contains("dripfeed"),
        own_address,
        may_edit: call.desk().may(Right::EditComputers),
        error,
        one,
    })
}

fn found_on(call: &Call, computer: &Computer) -> Result<Vec<(RegistryValue, Option<String>)>, Refusal> {
    let found = call.desk().registry_values(computer.device_id.as_str())?;
    // Most computers have no registry, and whoever has a part of them does not see what all of them found.
    if found.is_empty() || call.desk().actor().scope.computers.is_some() {
        return Ok(found.into_iter().map(|value| (value, None)).collect());
    }
    let asked = call.desk().registry_questions()?;
    let with_address = |value: RegistryValue| {
        let known = asked.iter().any(|question| fold(question.name()) == fold(&value.name));
        let address = known.then(|| super::registry::address(&value.name));
        (value, address)
    };
    Ok(found.into_iter().map(with_address).collect())
}

/// A refused form of the overview: what is there, and what was wrong.
fn overview_again(call: &Call, refusal: Refusal) -> Result<View, Refusal> {
    match refusal.kind {
        Kind::Invalid | Kind::Conflict => call.again(&overview_page(call, Some(refusal))?),
        _ => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "computer-inventory.html")]
struct InventoryPage {
    shell: Shell,
    head: Head,
    names: Vec<(String, usize)>,
    shown: String,
    sections: Vec<Section>,
    titles: Vec<SoftwareTitle>,
    cut: bool,
    q: String,
}

fn inventory(call: &Call) -> Result<View, Refusal> {
    let (computer, mut sections) = call.desk().inventory_sections(device_id(call))?;
    let (_, mut titles) = call.desk().computer_software(device_id(call))?;
    let mut names: Vec<(String, usize)> =
        sections.iter().map(|section| (section.name.clone(), section.rows.len())).collect();
    if !titles.is_empty() {
        names.push((SOFTWARE.to_owned(), titles.len()));
    }
    names.sort_by_key(|(name, _)| section_title(name));
    let asked = call.query.get("section");
    let has = |name: &str| names.iter().any(|(known, _)| known == name);
    let first = ["HARDWARE", SOFTWARE].into_iter().find(|name| has(name)).unwrap_or_default();
    let shown = if has(asked) { asked } else { first }.to_owned();
    sections.retain(|section| section.name == shown);
    let q = call.query.get("q").to_owned();
    let part = q.to_lowercase();
    titles.retain(|title| title.name.to_lowercase().contains(&part) || title.publisher.to_lowercase().contains(&part));
    let cut = titles.len() > TITLES;
    titles.truncate(TITLES);
    call.page(&InventoryPage {
        shell: call.shell(format!("{}, inventory", name_of(&computer)), "/computers"),
        head: Head::new(call, &computer, "inventory"),
        names,
        shown,
        sections,
        titles,
        cut,
        q,
    })
}

/// The document as it came: a download, never a page of this server.
fn document(call: &Call) -> Result<View, Refusal> {
    let (computer, document) = call.desk().inventory_document(device_id(call))?;
    let document = document.ok_or_else(|| Refusal::not_found("this computer has no inventory yet"))?;
    let mut response = Response::new(Body::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let name: String = computer
        .device_id
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.xml\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(View::Other(Box::new(response)))
}

#[derive(Template)]
#[template(path = "computer-changes.html")]
struct ChangesPage {
    shell: Shell,
    head: Head,
    changes: Vec<Change>,
}

fn changes(call: &Call) -> Result<View, Refusal> {
    let (computer, changes) = call.desk().computer_changes(device_id(call), CHANGES)?;
    call.page(&ChangesPage {
        shell: call.shell(format!("{}, changes", name_of(&computer)), "/computers"),
        head: Head::new(call, &computer, "changes"),
        changes,
    })
}

#[derive(Template)]
#[template(path = "computer-packages.html")]
struct PackagesPage {
    shell: Shell,
    head: Head,
    lines: Vec<PackageOn>,
    may_take: bool,
}

impl PackagesPage {
    /// Is there a box before each row?
    fn ticks(&self) -> bool {
        (self.head.may_deploy || self.may_take) && self.lines.iter().any(|line| line.job.is_some())
    }
}

fn packages(call: &Call) -> Result<View, Refusal> {
    let (computer, lines) = call.desk().computer_packages(device_id(call))?;
    call.page(&PackagesPage {
        shell: call.shell(format!("{}, packages", name_of(&computer)), "/computers"),
        head: Head::new(call, &computer, "packages"),
        may_take: call.desk().may(Right::StopDeployments),
        lines,
    })
}

/// A step of a time line.
struct Step {
    at: UnixTime,
    tone: &'static str,
    icon: &'static str,
    title: String,
    text: String,
    todo: bool,
}

#[derive(Template)]
#[template(path = "computer-package.html")]
struct PackagePage {
    shell: Shell,
    head: Head,
    why: Why,
    steps: Vec<Step>,
    /// How what is fetched comes to be known; nothing for a package without files.
    about_fetches: Option<&'static str>,
}

fn package(call: &Call) -> Result<View, Refusal> {
    let id = call.path.parse::<PackageId>("package").map_err(|error| Refusal::not_found(error.to_string()))?;
    let (why, said) = call.desk().computer_why(device_id(call), id)?;
    let now = call.site.app.clock.now();
    let mut steps = steps(&why, &said, now);
    let fetched = fetched(call, &why);
    steps.extend(fetched.iter().flat_map(|seen| fetch_steps(seen, &why)));
    steps.sort_by_key(|step| step.at);
    call.page(&PackagePage {
        shell: call.shell(format!("{} on {}", why.package.name, name_of(&why.computer)), "/computers"),
        head: Head::new(call, &why.computer, "packages"),
        steps,
        about_fetches: (why.package.fragments.0 > 0).then(|| about_fetches(fetched.as_ref())),
        why,
    })
}

/// What this server saw the computer fetch of the package since its newest offer.
fn fetched(call: &Call, why: &Why) -> Option<Seen> {
    let since = why.job.as_ref()?.offered_at?;
    call.site.fetches.of(&why.computer, why.package.id, since)
}

fn fetch_steps(seen: &Seen, why: &Why) -> Vec<Step> {
    let step = |at, icon, title: String| Step { at, tone: "info", icon, title, text: String::new(), todo: false };
    let mut steps = Vec::new();
    steps.extend(seen.info_at.map(|at| step(at, "file", "Info file fetched".to_owned())));
    if seen.fragments > 0 {
        steps.push(step(seen.last_at, "downloading", show::fragments(seen, why.package.fragments)));
    }
    steps
}

fn about_fetches(seen: Option<&Seen>) -> &'static str {
    match seen {
        Some(seen) if seen.is_shared => {
            "Several computers check in from this computer's address, so what is shown as fetched may have been fetched by \
             another of them."
        }
        _ => {
            "What is fetched is seen by this server alone, since it was started: not what comes from a mirror or a cache, and \
             not who of several behind one address it was. The agent itself says nothing between the offer and the result."
        }
    }
}

/// What was recorded, in the order of time: the evidence, and everything that was said.
fn steps(why: &Why, said: &[Event], now: UnixTime) -> Vec<Step> {
    let mut steps: Vec<Step> = said
        .iter()
        .map(|event| {
            let (tone, icon, title) = match event.kind {
                EventKind::Offered => ("offered", "offered", "Offered to the agent"),
                EventKind::Reported if event.text.starts_with("SUCCESS") => {
                    ("succeeded", "succeeded", "The agent reported")
                }
                EventKind::Reported if event.text.contains("ALREADY") => {
                    ("already-installed", "already-installed", "The agent reported")
                }
                EventKind::Reported => ("failed", "failed", "The agent reported"),
                EventKind::Decided => ("already-installed", "already-installed", "Decided by the server"),
                EventKind::Cancelled => ("cancelled", "cancelled", "Cancelled"),
                EventKind::Restored => ("pending", "restore", "Taken up again"),
                EventKind::Key | EventKind::Refused | EventKind::Apart => ("info", "info", "Identity"),
            };
            Step { at: event.at, tone, icon, title: title.to_owned(), text: event.text.clone(), todo: false }
        })
        .collect();
    for fact in &why.evidence {
        // An offer and a result are events already.
        let known = fact.text == "offered to the agent" || fact.text.starts_with("result ") || fact.text == "cancelled";
        if known && steps.iter().any(|step| step.at == fact.at) {
            continue;
        }
        steps.push(Step {
            at: fact.at,
            tone: if fact.text.starts_with("withheld") { "withheld" } else { "neutral" },
            icon: if fact.at > now { "clock" } else { "check" },
            title: people(&fact.text).trim_end_matches('.').to_owned(),
            text: String::new(),
            todo: fact.at > now,
        });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

#[derive(Template)]
#[template(path = "computer-settings.html")]
struct SettingsPage {
    shell: Shell,
    head: Head,
    settings: Vec<Explanation>,
    may_edit: bool,
    error: Option<Refusal>,
}

fn settings(call: &Call) -> Result<View, Refusal> {
    call.page(&settings_page(call, None)?)
}

fn settings_page(call: &Call, error: Option<Refusal>) -> Result<SettingsPage, Refusal> {
    let (computer, settings) = call.desk().computer_settings(device_id(call))?;
    Ok(SettingsPage {
        shell: call.shell(format!("{}, settings", name_of(&computer)), "/computers"),
        head: Head::new(call, &computer, "settings"),
        settings,
        may_edit: call.desk().may(Right::EditSettings),
        error,
    })
}

fn set_setting(call: &Call) -> Result<View, Refusal> {
    let key: SettingKey = call.form.parse("key")?;
    let value = (!call.form.is_on("unset")).then(|| call.form.get("value"));
    let computer = call.desk().computer(device_id(call))?;
    match call.desk().set_computer_setting(device_id(call), key, value) {
        Ok(changed) => {
            let name = key.info().name;
            let mut text =
                format!("{name} is {} there now; the agent is told at its next contact.", changed.explanation.value);
            for warning in changed.warnings {
                text.push(' ');
                text.push_str(&warning);
            }
            View::done(format!("{}/settings", address(&computer)), text)
        }
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&settings_page(call, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "computer-identity.html")]
struct IdentityPage {
    shell: Shell,
    head: Head,
    one: Overview,
    may_unmerge: bool,
    into: String,
    error: Option<Refusal>,
}

fn identity(call: &Call) -> Result<View, Refusal> {
    call.page(&identity_page(call, None)?)
}

fn identity_page(call: &Call, error: Option<Refusal>) -> Result<IdentityPage, Refusal> {
    let one = call.desk().computer_overview(device_id(call))?;
    let head = Head::new(call, &one.computer, "identity");
    Ok(IdentityPage {
        shell: call.shell(format!("{}, identity", head.title), "/computers"),
        may_unmerge: head.may_remove && one.merges.iter().any(|(merge, _)| merge.undone_at.is_none()),
        into: call.form.get("into").to_owned(),
        head,
        one,
        error,
    })
}

fn identity_again(call: &Call, refusal: Refusal) -> Result<View, Refusal> {
    match refusal.kind {
        Kind::Invalid | Kind::Conflict => call.again(&identity_page(call, Some(refusal))?),
        Kind::NotFound if refusal.field == Some("into") => call.again(&identity_page(call, Some(refusal))?),
        _ => Err(refusal),
    }
}
