//! `/packages`: the list with its recycle bin, one package with everything about it, two side by side.

use askama::Template;

use super::super::api::packages::{check_options, own_location};
use super::call::{Call, Page, View, get, post};
use super::series::called;
use super::shell::Shell;
// As templates name them, those of the modules below included.
use super::toast::Undo;
use super::{deployments, show};
use crate::archive::SplitFragment;
use crate::model::access::Right;
use crate::model::{Location, Package, PackageId, PackageState, UnixTime};
use crate::service::contents::{Contents, FileChange, compare as compare_contents};
use crate::service::desk::packages::{Activating, PackageLine};
use crate::service::desk::series::SeriesLine;
use crate::service::desk::{Kind, Refusal};
use crate::service::series::Need;
use crate::store::audit;
use crate::store::deployments::DeploymentLine;

mod import;
mod list;
mod progress;

/// Rows of a page.
const ROWS: usize = 50;
/// Fragments, files and differences of a page.
const SHOWN: usize = 500;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/packages", Right::SeePackages, list::list),
        get("/packages/live", Right::SeePackages, list::list_live),
        post("/packages/restore", Right::WithdrawPackages, restore_many),
        post("/packages/withdraw", Right::WithdrawPackages, withdraw_many),
        get("/packages/import", Right::BuildPackages, import::ask),
        post("/packages/import", Right::BuildPackages, import::import),
        get("/packages/compare", Right::SeePackages, compare),
        get("/packages/{id}", Right::SeePackages, one),
        get("/packages/{id}/live", Right::SeePackages, progress::live),
        get("/packages/{id}/computers", Right::SeeDeployments, progress::computers),
        post("/packages/{id}/jobs/retry", Right::Deploy, progress::retry),
        post("/packages/{id}/jobs/retry/undo", Right::Deploy, progress::undo_retry),
        post("/packages/{id}/jobs/cancel", Right::StopDeployments, progress::cancel),
        post("/packages/{id}/jobs/cancel/undo", Right::StopDeployments, progress::undo_cancel),
        post("/packages/{id}/jobs/take-off", Right::StopDeployments, progress::take_off),
        get("/packages/{id}/activate", Right::ActivatePackages, ask_activate),
        post("/packages/{id}/activate", Right::ActivatePackages, activate),
        post("/packages/{id}/deactivate", Right::ActivatePackages, deactivate),
        get("/packages/{id}/withdraw", Right::WithdrawPackages, ask_withdraw),
        post("/packages/{id}/withdraw", Right::WithdrawPackages, withdraw),
        post("/packages/{id}/restore", Right::WithdrawPackages, restore),
        post("/packages/{id}/forget", Right::WithdrawPackages, forget),
    ]
}

/// What the chosen tab shows.
enum Tab {
    Overview,
    Info(Result<String, String>),
    Files(Option<Contents>),
    Fragments(Vec<SplitFragment>),
    Versions,
    Deployments,
    Audit(Vec<audit::Line>),
}

#[derive(Template)]
#[template(path = "package.html")]
#[expect(clippy::struct_excessive_bools, reason = "what the template asks for")]
struct One {
    shell: Shell,
    line: PackageLine,
    progress: String,
    live: String,
    tab: Tab,
    chosen: String,
    versions: Vec<Package>,
    deployments: Vec<DeploymentLine>,
    pace: Result<std::time::Duration, String>,
    kept: Option<(UnixTime, UnixTime)>,
    may_build: bool,
    may_activate: bool,
    may_withdraw: bool,
    may_deploy: bool,
    sees_audit: bool,
    sees_deployments: bool,
}

impl One {
    fn tabs(&self) -> Vec<(&'static str, &'static str, Option<u64>)> {
        let mut tabs = vec![("", "Overview", None), ("info", "Info file", None)];
        if self.line.package.fragments.0 > 0 {
            tabs.push(("files", "Files", None));
            tabs.push(("fragments", "Fragments", Some(u64::from(self.line.package.fragments.0))));
        }
        tabs.push(("versions", "Versions", Some(self.versions.len() as u64)));
        if self.sees_deployments {
            tabs.push(("deployments", "Deployments", Some(self.deployments.len() as u64)));
        }
        if self.sees_audit {
            tabs.push(("audit", "Audit log", None));
        }
        tabs
    }

    fn available(&self) -> bool {
        self.line.package.state == PackageState::Available
    }

    fn withdrawn(&self) -> bool {
        self.line.package.state == PackageState::Withdrawn
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn shown(&self) -> usize {
        SHOWN
    }

    /// The version before this one.
    fn before(&self) -> Option<&Package> {
        self.versions.iter().find(|package| package.id < self.line.package.id)
    }
}

fn id(call: &Call) -> Result<PackageId, Refusal> {
    call.path.parse::<PackageId>("id").map_err(|error| Refusal::not_found(error.to_string()))
}

fn one(call: &Call) -> Result<View, Refusal> {
    let (id, desk) = (id(call)?, call.desk());
    let line = desk.package(id)?;
    let chosen = call.query.get("tab").to_owned();
    let sees_audit = desk.may(Right::SeeAudit);
    let tab = match chosen.as_str() {
        "info" => Tab::Info(match desk.info(id) {
            Ok(text) => Ok(text),
            Err(refusal) if refusal.kind == Kind::NotFound => Err(refusal.for_people().to_owned()),
            Err(refusal) => return Err(refusal),
        }),
        "files" => Tab::Files(desk.contents(id)?),
        "fragments" => Tab::Fragments(desk.fragments(id)?),
        "versions" => Tab::Versions,
        "deployments" => Tab::Deployments,
        "audit" if sees_audit => Tab::Audit(desk.audit_of_package(id)?),
        _ => Tab::Overview,
    };
    let (versions, deployments) = desk.beside(&line.package)?;
    let kept = if line.package.state == PackageState::Withdrawn { desk.withdrawal(id)? } else { None };
    let title = format!("{} {}", line.package.name, line.package.version);
    call.page(&One {
        shell: call.shell(title, "/packages"),
        progress: progress::part(desk, &line)?,
        live: progress::live_address(call, id),
        tab,
        chosen,
        versions,
        deployments,
        pace: desk.pace(line.package.priority, line.package.fragments)?,
        kept,
        may_build: desk.may(Right::BuildPackages),
        may_activate: desk.may(Right::ActivatePackages),
        may_withdraw: desk.may(Right::WithdrawPackages),
        may_deploy: desk.may(Right::Deploy),
        sees_audit,
        sees_deployments: desk.may(Right::SeeDeployments),
        line,
    })
}

#[derive(Template)]
#[template(path = "package-activate.html")]
struct Activate {
    shell: Shell,
    line: PackageLine,
    info_location: String,
    fragment_location: String,
    check: bool,
    error: Option<Refusal>,
}

impl Activate {
    fn error_of(&self, field: &str) -> bool {
        self.error.as_ref().is_some_and(|error| error.field == Some(field))
    }
}

fn ask_activate(call: &Call) -> Result<View, Refusal> {
    let line = call.desk().package(id(call)?)?;
    let (info_location, fragment_location) = if let Some(activation) = &line.activation {
        (activation.info_location.to_string(), activation.fragment_location.to_string())
    } else {
        let authorities = &call.site.authorities;
        (own_location(&authorities.https)?.to_string(), own_location(&authorities.http)?.to_string())
    };
    call.page(&Activate {
        shell: call.shell("Activate", "/packages"),
        line,
        info_location,
        fragment_location,
        check: true,
        error: None,
    })
}

fn activate(call: &Call) -> Result<View, Refusal> {
    let (id, form) = (id(call)?, &call.form);
    let check = form.is_on("check");
    let begun = (|| {
        let (info, fragments) =
            (form.parse::<Location>("info_location")?, form.parse::<Location>("fragment_location")?);
        let check_with = check.then(|| check_options(&call.site));
        let wanted = Activating { info_location: info, fragment_location: fragments, check_with };
        call.desk().start_activation(&call.site.works, id, wanted)
    })();
    match begun {
        Ok(work) => View::to(format!("/packages/work/{work}")),
        Err(error) if matches!(error.kind, Kind::Invalid | Kind::Later) => call.again(&Activate {
            shell: call.shell("Activate", "/packages"),
            line: call.desk().package(id)?,
            info_location: form.get("info_location").to_owned(),
            fragment_location: form.get("fragment_location").to_owned(),
            check,
            error: Some(error),
        }),
        Err(error) => Err(error),
    }
}

fn deactivate(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().deactivate(id)?;
    View::done(format!("/packages/{id}"), "Deactivated: nothing more is offered, and what is open waits.")
}

#[derive(Template)]
#[template(path = "package-withdraw.html")]
struct Withdraw {
    shell: Shell,
    lines: Vec<PackageLine>,
    /// Series that deploy one of them, and pause at their next run.
    series: Vec<SeriesLine>,
    one: bool,
}

impl Withdraw {
    fn of(call: &Call, lines: Vec<PackageLine>, one: bool) -> Result<Self, Refusal> {
        let mut series: Vec<SeriesLine> = Vec::new();
        for line in &lines {
            let more = call.desk().series_that_need(Need::Package(line.package.id))?;
            series.extend(
                more.into_iter()
                    .filter(|one| !series.iter().any(|known| known.series.id == one.series.id))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(Self { shell: call.shell("Withdraw", "/packages"), lines, series, one })
    }

    /// When a series comes, and for whom.
    fn comes(line: &SeriesLine) -> String {
        let rule = deployments::capital(&line.rule());
        let next = line.series.next_at.map(|at| format!("; next {}", called(&line.series.when.zone, at)));
        format!("{rule}: {}{}", line.target(), next.unwrap_or_default())
    }

    fn open(&self) -> u64 {
        self.lines.iter().map(PackageLine::open_jobs).sum()
    }
}

fn ask_withdraw(call: &Call) -> Result<View, Refusal> {
    let line = call.desk().package(id(call)?)?;
    call.page(&Withdraw::of(call, vec![line], true)?)
}

fn withdraw(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let withdrawn = call.desk().withdraw(id)?;
    let jobs = show::count(withdrawn.cancelled_jobs as u64, "open job");
    let text = format!("Withdrawn; {jobs} cancelled. It can be restored for seven days.");
    View::undoable(format!("/packages/{id}"), text, Undo::new(format!("/packages/{id}/restore")))
}

/// Asks, unless it was asked; then withdraws every one that still can be.
fn withdraw_many(call: &Call) -> Result<View, Refusal> {
    let ids = ticked(call)?;
    if ids.is_empty() {
        return View::done("/packages", "No package was ticked, so nothing was withdrawn.");
    }
    if ids.len() > ROWS {
        return Err(Refusal::invalid("at most 50 packages are withdrawn at once"));
    }
    let lines = ids.iter().map(|id| call.desk().package(*id)).collect::<Result<Vec<_>, _>>()?;
    if !call.form.is_on("sure") {
        return call.page(&Withdraw::of(call, lines, false)?);
    }
    let (mut done, mut jobs, mut undo) = (0_u64, 0_u64, Undo::new("/packages/restore"));
    for line in lines.iter().filter(|line| line.package.state != PackageState::Withdrawn) {
        let withdrawn = call.desk().withdraw(line.package.id)?;
        done += 1;
        jobs += withdrawn.cancelled_jobs as u64;
        undo = undo.with("id", line.package.id.to_string());
    }
    let toast = format!("{} withdrawn, {} cancelled.", show::count(done, "package"), show::count(jobs, "open job"));
    View::undoable("/packages?state=withdrawn", toast, undo)
}

fn ticked(call: &Call) -> Result<Vec<PackageId>, Refusal> {
    let ids = call.form.all("id").map(str::parse::<PackageId>).collect::<Result<Vec<_>, _>>();
    ids.map_err(|error| Refusal::invalid(error.to_string()).about("id"))
}

/// Takes a withdrawal of many back.
fn restore_many(call: &Call) -> Result<View, Refusal> {
    let ids = ticked(call)?;
    if ids.len() > ROWS {
        return Err(Refusal::invalid("at most 50 packages are restored at once"));
    }
    ids.iter().try_for_each(|id| call.desk().restore(*id).map(drop))?;
    let text = format!("{} restored. Jobs that were cancelled stay so.", show::count(ids.len() as u64, "package"));
    View::done("/packages", text)
}

fn restore(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().restore(id)?;
    View::done(
        format!("/packages/{id}"),
        "Restored with the activation that it had. Jobs that were cancelled stay so: assign it again.",
    )
}

fn forget(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().forget(id)?;
    View::done(format!("/packages/{id}"), "Its files are removed. The record and the results stay.")
}

#[derive(Template)]
#[template(path = "packages-compare.html")]
struct Compare {
    shell: Shell,
    old: Package,
    new: Package,
    facts: Vec<(&'static str, String, String)>,
    files: Option<Vec<FileChange>>,
    same: u64,
}

impl Compare {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn shown(&self) -> usize {
        SHOWN
    }
}

fn compare(call: &Call) -> Result<View, Refusal> {
    let found = call.desk().compare(call.query.parse("a")?, call.query.parse("b")?)?;
    let describe = |package: &Package| {
        let notify = package.notify.as_ref();
        let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
        [
            ("name", package.name.clone()),
            ("version", package.version.clone()),
            ("description", package.description.clone()),
            ("system", package.os.to_string()),
            ("action", package.action.as_str().to_owned()),
            ("command", package.action.text().to_owned()),
            ("priority", package.priority.to_string()),
            ("question", notify.map(|notify| notify.text.clone()).unwrap_or_default()),
            ("may be refused", yes(notify.is_some_and(|notify| notify.can_abort))),
            ("may be put off", yes(notify.is_some_and(|notify| notify.can_delay))),
            ("limits of the question", notify.map(|notify| notify.limits().join("; ")).unwrap_or_default()),
            ("message afterwards", package.done.as_ref().map(|done| done.text.clone()).unwrap_or_default()),
            ("size", show::size(package.size)),
            ("fragments", package.fragments.to_string()),
            ("SHA-256", package.sha256.map(|digest| digest.to_string()).unwrap_or_default()),
        ]
    };
    let facts = describe(&found.old).into_iter().zip(describe(&found.new)).map(|((name, a), (_, b))| (name, a, b));
    let (files, same) = match &found.contents {
        (Some(old), Some(new)) => {
            let changes = compare_contents(old, new);
            let gone = changes.iter().filter(|change| !matches!(change, FileChange::Added(_))).count();
            (Some(changes), old.members.len().saturating_sub(gone) as u64)
        }
        _ => (None, 0),
    };
    call.page(&Compare {
        shell: call.shell("Compare", "/packages"),
        facts: facts.collect(),
        files,
        same,
        old: found.old,
        new: found.new,
    })
}
