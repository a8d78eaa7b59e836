//! When and where a deployment may run: the fields of its form, how it stands, and the page that changes it.

use askama::Template;

use super::super::call::{Call, Fields, View, is_about};
use super::super::shell::Shell;
use super::super::toast::Undo;
use super::id;
use crate::clock::NamedZone;
use crate::model::DeploymentId;
use crate::model::access::Right;
use crate::model::gates::Gates;
use crate::service::desk::{Kind, Refusal};
use crate::service::gates::{GatesNow, read};

/// What was asked for, as it came.
#[derive(Clone, Default)]
pub(super) struct Input {
    pub(super) windows: String,
    pub(super) zone: String,
    pub(super) ranges: String,
}

impl Input {
    pub(super) fn read(fields: &Fields) -> Self {
        let zone = fields.some("window_zone").map_or_else(|| NamedZone::of_machine().name().to_owned(), str::to_owned);
        Self { windows: fields.get("windows").to_owned(), zone, ranges: fields.get("ranges").to_owned() }
    }

    /// As a deployment or a series has them, to be changed.
    pub(super) fn of(gates: &Gates) -> Self {
        Self {
            windows: gates.windows_text().unwrap_or_default(),
            zone: gates.zone().map_or_else(|| NamedZone::of_machine().name().to_owned(), str::to_owned),
            ranges: gates.ranges_text().unwrap_or_default(),
        }
    }

    /// Is anything asked for?
    pub(super) fn is_on(&self) -> bool {
        !self.windows.is_empty() || !self.ranges.is_empty()
    }

    pub(super) fn gates(&self) -> Result<Gates, Refusal> {
        Ok(read(Some(&self.windows), Some(&self.zone), Some(&self.ranges))?)
    }
}

/// Gates as a card: how they stand, and what is odd about them.
#[derive(Template)]
#[template(path = "gates-now.html")]
struct Now<'a> {
    now: &'a GatesNow,
    /// Where they are changed.
    change: Option<String>,
}

/// The card of gates; nothing for those that are open to all and cannot be changed.
pub(super) fn card(now: &GatesNow, change: Option<String>) -> Result<String, Refusal> {
    if now.gates.is_open_to_all() && change.is_none() {
        return Ok(String::new());
    }
    Now { now, change }.render().map_err(Refusal::failed)
}

#[derive(Template)]
#[template(path = "deployment-gates-change.html")]
struct Form {
    shell: Shell,
    base: String,
    name: String,
    /// How many were made in one act with it, itself included.
    together: usize,
    bundle: bool,
    gate: Input,
    now: String,
    error: Option<Refusal>,
}

impl Form {
    fn is_wrong(&self, field: &str) -> bool {
        is_about(self.error.as_ref(), field)
    }
}

fn address(id: DeploymentId) -> String {
    format!("/deployments/{id}")
}

fn show(call: &Call, gate: Option<Input>, error: Option<Refusal>) -> Result<Form, Refusal> {
    let id = id(call)?;
    let (line, gates) = call.desk().gates_to_change(id)?;
    let gate = gate.unwrap_or_else(|| Input::of(&gates));
    let is_one_of_several = line.deployment.bundle.is_some() && call.desk().may(Right::SeeDeployments);
    let together = if is_one_of_several { call.desk().bundle_of(id)?.len() } else { 1 };
    let name = format!("{} {}", line.package_name, line.package_version);
    Ok(Form {
        shell: call.shell(format!("{name}: when and where"), "/deployments"),
        base: address(id),
        name,
        together,
        bundle: call.form.is_on("bundle"),
        now: preview_of(call, &gate)?,
        gate,
        error,
    })
}

/// What the fields mean; what is wrong about them, in a sentence.
fn preview_of(call: &Call, input: &Input) -> Result<String, Refusal> {
    #[derive(Template)]
    #[template(path = "gates-preview.html")]
    struct Preview {
        now: String,
        sentence: String,
    }
    let preview = match input.gates() {
        Ok(gates) if gates.is_open_to_all() => {
            Preview { now: String::new(), sentence: "At any time, and from anywhere".to_owned() }
        }
        Ok(gates) => Preview { now: card(&call.desk().gates_now(gates), None)?, sentence: String::new() },
        Err(refusal) => Preview { now: String::new(), sentence: super::sentence(refusal.for_people()) },
    };
    preview.render().map_err(Refusal::failed)
}

pub(super) fn form(call: &Call) -> Result<View, Refusal> {
    call.page(&show(call, None, None)?)
}

pub(super) fn preview(call: &Call) -> Result<View, Refusal> {
    let input = Input::read(&call.form);
    if call.fragment.is_some() {
        return Ok(View::Html(preview_of(call, &input)?));
    }
    call.page(&show(call, Some(input), None)?)
}

pub(super) fn change(call: &Call) -> Result<View, Refusal> {
    let (id, input) = (id(call)?, Input::read(&call.form));
    let bundle = call.form.is_on("bundle");
    let before = match input.gates().and_then(|gates| call.desk().change_gates(id, &gates, bundle)) {
        Ok(before) => before,
        Err(refusal) if refusal.kind == Kind::Invalid => return call.again(&show(call, Some(input), Some(refusal))?),
        Err(refusal) => return Err(refusal),
    };
    let text = "Changed, for every computer that was not told yet.";
    // One form puts one thing back.
    let Some(was) = before.first().filter(|first| before.iter().all(|one| one == *first)).map(Input::of) else {
        return View::done(address(id), text);
    };
    let undo = Undo::new(format!("{}/gates", address(id)))
        .with("windows", was.windows)
        .with("window_zone", was.zone)
        .with("ranges", was.ranges)
        .with("bundle", if bundle { "1" } else { "" });
    View::undoable(address(id), text, undo)
}
