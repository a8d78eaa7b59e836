//! `/deployments/new`: what, for whom, how; first on paper, then for real.

use std::fmt::Write as _;

use askama::Template;

use super::super::call::{Call, Fields, View};
use super::super::shell::Shell;
use super::super::show::{Html, count, number};
use crate::model::access::Right;
use crate::model::{JobOptions, PackageId, PackageState, PostCommand, Schedule};
use crate::service::assign::{Part, Preview, Target};
use crate::service::desk::{Desk, Kind, Refusal};

/// Packages that can be chosen from; older ones by their number.
const PACKAGES: usize = 200;

/// What was asked for, as it came.
#[derive(Clone, Default)]
struct Input {
    package: String,
    /// `all`, `group`, `where` or `computers`.
    who: &'static str,
    group: String,
    text: String,
    computers: String,
    force: bool,
    schedule: String,
    after: &'static str,
    command: String,
}

impl Input {
    fn read(fields: &Fields) -> Self {
        let names: Vec<&str> = ["computer", "id"]
            .iter()
            .flat_map(|name| fields.all(name))
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect();
        let mut computers = fields.raw("computers").to_owned();
        for name in names {
            computers.push_str(name);
            computers.push('\n');
        }
        let query = fields.some("where").or(fields.some("q")).unwrap_or_default().to_owned();
        let is_all = fields.get("all") == "1";
        let who = match fields.get("who") {
            "all" => "all",
            "group" => "group",
            "where" => "where",
            "computers" => "computers",
            // From a list or a link, without the form's own word.
            _ if !query.is_empty() && (is_all || computers.trim().is_empty()) => "where",
            _ if is_all => "all",
            _ if fields.some("group").is_some() => "group",
            _ if !computers.trim().is_empty() => "computers",
            _ => "",
        };
        Self {
            package: fields.get("package").to_owned(),
            who,
            group: fields.get("group").to_owned(),
            text: query,
            computers,
            force: fields.is_on("force"),
            // As browsers write a local time: 2026-11-20T22:00.
            schedule: fields.get("schedule").to_owned(),
            after: match fields.get("afterwards") {
                "reboot" => "reboot",
                "shutdown" => "shutdown",
                "run" => "run",
                _ => "",
            },
            command: fields.get("command").to_owned(),
        }
    }

    fn package(&self) -> Result<PackageId, Refusal> {
        if self.package.is_empty() {
            return Err(Refusal::invalid("choose a package").about("package"));
        }
        self.package.parse().map_err(|_| Refusal::invalid("choose one of these packages").about("package"))
    }

    fn target(&self) -> Result<Target, Refusal> {
        match self.who {
            "all" => Ok(Target::All),
            "group" if self.group.is_empty() => Err(Refusal::invalid("choose a group").about("group")),
            "group" => Ok(Target::Group(self.group.clone())),
            "where" if self.text.is_empty() => {
                Err(Refusal::invalid("say what the computers have in common: tag = Paris").about("where"))
            }
            "where" => Ok(Target::Where(self.text.clone())),
            "computers" => {
                let names = self.computers.lines().map(str::trim).filter(|name| !name.is_empty());
                let names: Vec<String> = names.map(str::to_owned).collect();
                if names.is_empty() {
                    return Err(Refusal::invalid("name a computer, one a line").about("computers"));
                }
                Ok(Target::Computers(names))
            }
            _ => Err(Refusal::invalid("choose who gets it").about("who")),
        }
    }

    fn options(&self) -> Result<JobOptions, Refusal> {
        let schedule = self.schedule.replace('-', "/").replace('T', " ");
        let schedule: String = schedule.chars().take(16).collect();
        let schedule = Some(schedule.as_str()).filter(|text| !text.is_empty()).map(str::parse::<Schedule>);
        let post_command = match self.after {
            "reboot" => Some(PostCommand::Reboot),
            "shutdown" => Some(PostCommand::Shutdown),
            "run" => {
                let command = self.command.parse::<PostCommand>();
                Some(command.map_err(|error| Refusal::invalid(error.to_string()).about("command"))?)
            }
            _ => None,
        };
        Ok(JobOptions {
            force: self.force,
            schedule: schedule.transpose().map_err(|error| Refusal::invalid(error.to_string()).about("schedule"))?,
            post_command,
        })
    }
}

#[derive(Template)]
#[template(path = "deployment-new.html")]
struct Form {
    shell: Shell,
    input: Input,
    packages: Vec<(PackageId, String)>,
    groups: Vec<(String, u64)>,
    limited: bool,
    error: Option<Refusal>,
    who: String,
}

impl Form {
    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

#[derive(Template)]
#[template(path = "deployment-preview.html")]
struct Who {
    preview: Option<Preview>,
    left_out: Vec<LeftOut>,
    pace: String,
    sentence: String,
    may_activate: bool,
}

/// Computers that do not get it, and why.
struct LeftOut {
    title: String,
    why: &'static str,
    icon: &'static str,
    part: Part,
}

fn show(call: &Call, input: Input, error: Option<Refusal>) -> Result<Form, Refusal> {
    let desk = call.desk();
    let mut packages = Vec::new();
    if desk.may(Right::SeePackages) {
        let lines = desk.packages(None, PACKAGES)?;
        let available = lines.into_iter().map(|line| line.package).filter(|one| one.state == PackageState::Available);
        packages.extend(available.map(|one| (one.id, format!("{} {} ({})", one.name, one.version, one.os.as_str()))));
    }
    if let Ok(id) = input.package.parse::<PackageId>()
        && !packages.iter().any(|(known, _)| *known == id)
    {
        packages.insert(0, (id, format!("package {id}")));
    }
    let mut groups = Vec::new();
    if desk.may(Right::SeeGroups) {
        groups.extend(desk.groups()?.into_iter().map(|summary| (summary.group.name, summary.members)));
    }
    let who = who(desk, &input)?;
    Ok(Form {
        shell: call.shell("New deployment", "/deployments"),
        limited: desk.actor().scope.computers.is_some(),
        input,
        packages,
        groups,
        error,
        who,
    })
}

pub(super) fn form(call: &Call) -> Result<View, Refusal> {
    let fields = if call.form.0.is_empty() { &call.query } else { &call.form };
    call.page(&show(call, Input::read(fields), None)?)
}

pub(super) fn preview(call: &Call) -> Result<View, Refusal> {
    let input = Input::read(&call.form);
    if call.fragment.is_some() {
        return Ok(View::Html(who(call.desk(), &input)?));
    }
    call.page(&show(call, input, None)?)
}

pub(super) fn start(call: &Call) -> Result<View, Refusal> {
    let input = Input::read(&call.form);
    let done = (|| call.desk().deploy(input.package()?, input.target()?, input.options()?))();
    match done {
        Ok(assigned) => {
            let mut text = format!("{} planned.", count(assigned.planned as u64, "job"));
            if assigned.already > 0 {
                let _ = write!(text, " {} had an open one already.", number(assigned.already as u64));
            }
            if assigned.not_activated {
                text.push_str(" Nothing is offered before the package is activated.");
            }
            View::done(format!("/deployments/{}", assigned.deployment), text)
        }
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict | Kind::NotFound) => {
            call.again(&show(call, input, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The part that says who gets it. What is not complete yet is asked for, not refused.
fn who(desk: &Desk, input: &Input) -> Result<String, Refusal> {
    let preview = match (input.package(), input.target(), input.options()) {
        (Ok(package), Ok(target), Ok(options)) => desk.preview_deployment(package, target, &options),
        (Err(refusal), ..) | (_, Err(refusal), _) | (.., Err(refusal)) => Err(refusal),
    };
    let part = match preview {
        Ok(preview) => Who {
            left_out: left_out(&preview),
            pace: pace(&preview),
            sentence: String::new(),
            may_activate: desk.may(Right::ActivatePackages),
            preview: Some(preview),
        },
        Err(refusal) if refusal.kind == Kind::Failed => return Err(refusal),
        Err(refusal) => Who {
            preview: None,
            left_out: Vec::new(),
            pace: String::new(),
            sentence: super::sentence(refusal.for_people()),
            may_activate: false,
        },
    };
    part.render().map_err(Refusal::failed)
}

fn left_out(preview: &Preview) -> Vec<LeftOut> {
    let mut all = Vec::new();
    let mut add = |part: &Part, icon, what: &str, why| {
        if part.count > 0 {
            let title = format!("{} {what}", count(part.count as u64, "computer"));
            all.push(LeftOut { title, why, icon, part: part.clone() });
        }
    };
    add(
        &preview.has_it,
        "already-installed",
        "ran it before",
        "Their agents' own history has it, so nothing is offered and the job ends as already installed. Force runs it again.",
    );
    add(
        &preview.already,
        "pending",
        "with an open job of it",
        "Another deployment of this package is under way there; that job stays as it is.",
    );
    add(&preview.other_system, "withheld", "with another system", "The package is for another operating system.");
    add(&preview.archived, "trash", "archived", "They were put away and are offered nothing.");
    add(
        &Part { count: preview.out_of_scope, first: Vec::new() },
        "lock",
        "outside your scope",
        "You may deploy to the computers of your scope only.",
    );
    all
}

/// How long it takes, in a sentence.
fn pace(preview: &Preview) -> String {
    let package = &preview.package;
    let contact = if preview.contact_hours == 1 {
        "within the hour".to_owned()
    } else {
        format!("within {} hours", preview.contact_hours)
    };
    if package.fragments.0 == 0 {
        return format!("Nothing is downloaded: it runs at the first contact, which every computer makes {contact}.");
    }
    format!(
        "{} at priority {}: about {} from a computer's contact to the execution there. Every computer checks in {contact}, \
         so the last one is done after about {}, if it is switched on.",
        count(u64::from(package.fragments.0), "fragment"),
        package.priority.number(),
        span(preview.pace),
        span(preview.pace + std::time::Duration::from_secs(u64::from(preview.contact_hours) * 3600))
    )
}

/// The largest unit that is exact enough.
fn span(span: std::time::Duration) -> String {
    let minutes = span.as_secs().div_ceil(60);
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(60 * 24)),
    }
}

/// A list of names in a sentence's tail.
pub(in crate::server::console) fn names(part: &Part) -> Html {
    let mut text: Vec<String> = part.first.iter().map(|one| super::super::show::escape(&one.name)).collect();
    if part.count > part.first.len() && !part.first.is_empty() {
        text.push(format!("and {} more", number((part.count - part.first.len()) as u64)));
    }
    Html(text.join(", "))
}
