//! `/deployments/new`: what, for whom, how; first on paper, then for real.

use std::borrow::Borrow;
use std::fmt::Write as _;

use askama::Template;

use super::super::approvals::others;
use super::super::call::{Call, Fields, View, is_about};
use super::super::series::{address, called};
use super::super::shell::Shell;
use super::super::show::{Html, count, number, toned};
use super::super::toast::Undo;
use super::again::Again;
use super::gates::{self, card};
use crate::model::access::Right;
use crate::model::{JobOptions, PackageId, PackageState, PostCommand, Schedule};
use crate::service::assign::{Assigned, Bundle, Fate, Look, Part, Target, Terms};
use crate::service::desk::series::{SeriesLine, in_words};
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::series::Wish;
use crate::store::series::{RunTarget, SeriesId};

/// Packages that can be chosen from; older ones by their number.
const PACKAGES: usize = 200;

/// What was asked for, as it came.
#[derive(Clone, Default)]
struct Input {
    /// One for each list of the form; an empty one is none.
    packages: Vec<String>,
    in_order: bool,
    wake: bool,
    /// `all`, `group`, `where` or `computers`.
    who: &'static str,
    group: String,
    text: String,
    computers: String,
    force: bool,
    schedule: String,
    after: &'static str,
    command: String,
    gate: gates::Input,
    again: Again,
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
            packages: Self::packages(fields),
            in_order: fields.is_on("in_order"),
            wake: fields.is_on("wake"),
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
            gate: gates::Input::read(fields),
            again: Again::read(fields),
        }
    }

    /// What a series does, to be changed.
    fn of(desk: &Desk, id: SeriesId) -> Result<Self, Refusal> {
        let series = desk.series(id)?.series;
        let what = &series.what;
        let mut input = Self {
            packages: what.packages.iter().map(ToString::to_string).collect(),
            in_order: what.in_order,
            gate: gates::Input::of(&what.gates),
            wake: what.wake,
            again: Again::of(&series),
            ..Self::default()
        };
        match &what.target {
            RunTarget::All => input.who = "all",
            RunTarget::Group(name) => (input.who, input.group) = ("group", name.clone()),
            RunTarget::Where(query) => (input.who, input.text) = ("where", query.clone()),
            RunTarget::Computers(_) => {
                (input.who, input.computers) = ("computers", desk.picked(&series)?.join("\n"));
            }
        }
        (input.after, input.command) = match &what.post_command {
            None => ("", String::new()),
            Some(PostCommand::Reboot) => ("reboot", String::new()),
            Some(PostCommand::Shutdown) => ("shutdown", String::new()),
            Some(PostCommand::Run(command)) => ("run", command.clone()),
        };
        Ok(input)
    }

    /// The packages in their order, after what a button of the list asks for: one more, one less, one further up.
    fn packages(fields: &Fields) -> Vec<String> {
        let mut packages: Vec<String> = fields.all("package").map(|one| one.trim().to_owned()).collect();
        let place = |name: &str| fields.get(name).parse::<usize>().ok().filter(|at| *at < packages.len());
        let (gone, up) = (place("drop"), place("up"));
        if let Some(at) = gone {
            packages.remove(at);
        }
        if let Some(at) = up.filter(|at| *at > 0) {
            packages.swap(at - 1, at);
        }
        if (fields.is_on("add") && packages.len() < Bundle::MOST) || packages.is_empty() {
            packages.push(String::new());
        }
        packages.truncate(Bundle::MOST);
        packages
    }

    fn bundle(&self) -> Result<Bundle, Refusal> {
        let named = self.packages.iter().filter(|one| !one.is_empty());
        let wrong = |_| Refusal::invalid("choose one of these packages").about("package");
        let packages: Vec<PackageId> =
            named.map(|one| one.parse::<PackageId>().map_err(wrong)).collect::<Result<_, _>>()?;
        if packages.is_empty() {
            return Err(Refusal::invalid("choose a package").about("package"));
        }
        let bundle = Bundle::new(packages, self.in_order).map_err(|error| Refusal::from(error).about("package"))?;
        Ok(bundle.waking(self.wake))
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
            follows: None,
        })
    }

    fn terms(&self) -> Result<Terms, Refusal> {
        Ok(Terms { options: self.options()?, gates: self.gate.gates()? })
    }
}

impl Input {
    fn title(&self) -> String {
        match self.again.changes() {
            Some(id) => format!("Change series {id}"),
            None => "New deployment".to_owned(),
        }
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
    may_wake: bool,
    error: Option<Refusal>,
    who: String,
}

impl Form {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn most(&self) -> usize {
        Bundle::MOST
    }

    fn is_wrong(&self, field: &str) -> bool {
        is_about(self.error.as_ref(), field)
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

#[derive(Template)]
#[template(path = "deployment-preview.html")]
struct Who {
    look: Option<Look>,
    left_out: Vec<LeftOut>,
    /// When and where it may run, as a card.
    when: String,
    /// When it comes again, in words, and the next times.
    again: Comes,
    is_change: bool,
    pace: String,
    sentence: String,
    may_activate: bool,
}

impl Who {
    /// What the heading says.
    fn title(look: &Look) -> String {
        let most = look.packages.iter().map(|one| one.gets.count).max().unwrap_or(0);
        match (look.packages.as_slice(), most) {
            ([_], 0) => "Nobody would get it".to_owned(),
            ([_], _) => format!("{} would get it", count(most as u64, "computer")),
            (several, _) => format!("{} packages for {}", several.len(), count(look.meant as u64, "computer")),
        }
    }

    /// Packages that nobody activated.
    fn inactive(look: &Look) -> Vec<(PackageId, String)> {
        let inactive = look.packages.iter().filter(|one| one.not_activated);
        inactive.map(|one| (one.package.id, format!("{} {}", one.package.name, one.package.version))).collect()
    }
}

/// A fate as a badge.
pub(in crate::server::console) fn fate(fate: impl Borrow<Fate>) -> Html {
    let fate = fate.borrow();
    let (tone, icon) = match fate {
        Fate::Gets => ("ok", "succeeded"),
        Fate::HasIt => ("already-installed", "already-installed"),
        Fate::Already => ("pending", "pending"),
        Fate::OtherSystem => ("withheld", "withheld"),
        Fate::Archived => ("neutral", "trash"),
    };
    toned(fate.as_str(), tone, icon)
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
    for id in input.packages.iter().filter_map(|one| one.parse::<PackageId>().ok()) {
        if !packages.iter().any(|(known, _)| *known == id) {
            packages.insert(0, (id, format!("package {id}")));
        }
    }
    let mut groups = Vec::new();
    if desk.may(Right::SeeGroups) {
        groups.extend(desk.groups()?.into_iter().map(|summary| (summary.group.name, summary.members)));
    }
    let who = who(desk, &input)?;
    Ok(Form {
        shell: call.shell(input.title(), "/deployments"),
        limited: desk.actor().scope.computers.is_some(),
        may_wake: desk.may(Right::WakeComputers),
        input,
        packages,
        groups,
        error,
        who,
    })
}

pub(super) fn form(call: &Call) -> Result<View, Refusal> {
    let fields = if call.form.0.is_empty() { &call.query } else { &call.form };
    let input = match call.query.parse_some::<i64>("series")?.filter(|_| call.form.0.is_empty()) {
        Some(id) => Input::of(call.desk(), SeriesId(id))?,
        None => Input::read(fields),
    };
    call.page(&show(call, input, None)?)
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
    let done = if input.again.is_on() {
        save(call.desk(), &input).and_then(|line| series_started(&line, input.again.changes().is_some()))
    } else {
        (|| started(&call.desk().deploy(&input.bundle()?, input.target()?, input.terms()?)?))()
    };
    match done {
        Ok(view) => Ok(view),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict | Kind::NotFound) => {
            call.again(&show(call, input, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

/// Makes a series, or changes the one that the form is about.
fn save(desk: &Desk, input: &Input) -> Result<SeriesLine, Refusal> {
    let Terms { options, gates } = input.terms()?;
    if options.schedule.is_some() {
        let sentence = "\"not before\" is one moment, and this comes again: leave it empty";
        return Err(Refusal::invalid(sentence).about("schedule"));
    }
    let repeat = input.again.repeat()?;
    let repeat = repeat.ok_or_else(|| Refusal::invalid("choose how often it comes again").about("again"))?;
    let post_command = options.post_command;
    let wish = Wish { bundle: input.bundle()?, target: input.target()?, post_command, gates, repeat };
    match input.again.changes() {
        Some(id) => desk.change_series(id, &wish),
        None => desk.repeat(&wish),
    }
}

fn series_started(line: &SeriesLine, was_there: bool) -> Result<View, Refusal> {
    let page = address(line.series.id);
    let waits =
        line.awaited.as_ref().map(|awaited| format!(" No run begins before {} approved it.", others(awaited.needed)));
    let waits = waits.unwrap_or_default();
    if was_there {
        return View::done(page, format!("The series is changed. It acts with your rights from now on.{waits}"));
    }
    let text = format!("The series is made: nothing is deployed before its first time has come.{waits}");
    View::undoable(page.clone(), text, Undo::new(format!("{page}/end")))
}

/// To the first of the deployments, with the button that takes all of them back.
fn started(made: &[Assigned]) -> Result<View, Refusal> {
    let first = made.first().ok_or_else(|| Refusal::invalid("choose a package").about("package"))?;
    let sum = |of: fn(&Assigned) -> usize| made.iter().map(of).sum::<usize>() as u64;
    let mut text = format!("{} planned.", count(sum(|one| one.planned), "job"));
    if made.len() > 1 {
        let _ = write!(text, " {} were made together.", count(made.len() as u64, "deployment"));
    }
    let already = sum(|one| one.already);
    if already > 0 {
        let _ = write!(text, " {} had an open one already.", number(already));
    }
    if let Some(awaited) = &first.awaited {
        let _ = write!(text, " Nobody is told before {} approved it.", others(awaited.needed));
    }
    match made.iter().filter(|one| one.not_activated).count() {
        0 => {}
        1 if made.len() == 1 => text.push_str(" Nothing is offered before the package is activated."),
        several => {
            let _ = write!(text, " {several} of the packages are not activated: they wait for that.");
        }
    }
    let page = format!("/deployments/{}", first.deployment);
    View::undoable(page.clone(), text, Undo::new(format!("{page}/cancel")).with("bundle", "1"))
}

/// The part that says who gets it. What is not complete yet is asked for, not refused.
fn who(desk: &Desk, input: &Input) -> Result<String, Refusal> {
    let look = look(desk, input);
    let is_change = input.again.changes().is_some();
    let part = match look {
        Ok((look, again)) => Who {
            when: card(&desk.gates_now(input.gate.gates()?), None)?,
            again,
            is_change,
            left_out: left_out(&look),
            pace: pace(&look) + if input.gate.windows.is_empty() { "" } else { OUTSIDE },
            sentence: String::new(),
            may_activate: desk.may(Right::ActivatePackages),
            look: Some(look),
        },
        Err(refusal) if refusal.kind == Kind::Failed => return Err(refusal),
        Err(refusal) => Who {
            look: None,
            when: String::new(),
            again: None,
            is_change,
            left_out: Vec::new(),
            pace: String::new(),
            sentence: super::sentence(refusal.for_people()),
            may_activate: false,
        },
    };
    part.render().map_err(Refusal::failed)
}

/// In words, and the next times.
type Comes = Option<(String, Vec<String>)>;

/// Who gets it now, and when it comes again.
fn look(desk: &Desk, input: &Input) -> Result<(Look, Comes), Refusal> {
    let (bundle, target, Terms { mut options, .. }) = (input.bundle()?, input.target()?, input.terms()?);
    let Some(repeat) = input.again.repeat()? else {
        return Ok((desk.preview_deployment(&bundle, target, &options)?, None));
    };
    options.force = true;
    // A run is for those who are there when it begins.
    let look = Look { standing: false, ..desk.preview_deployment(&bundle, target, &options)? };
    let words = in_words(&repeat.rule().to_string(), repeat.zone());
    let times = desk.times_of(&repeat).into_iter().map(|at| called(repeat.zone(), at));
    Ok((look, Some((words, times.collect()))))
}

fn left_out(look: &Look) -> Vec<LeftOut> {
    let mut all = Vec::new();
    let mut add = |part: &Part, icon, what: &str, why| {
        if part.count > 0 {
            let title = format!("{} {what}", count(part.count as u64, "computer"));
            all.push(LeftOut { title, why, icon, part: part.clone() });
        }
    };
    // Of several packages the table says it, each for itself.
    if let [preview] = look.packages.as_slice() {
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
    }
    if let Some(sleepers) = &look.sleepers {
        add(
            &sleepers.no_address,
            "bolt",
            "cannot be woken",
            "Their inventories have no MAC address of a network card. They get it when somebody turns them on.",
        );
    }
    add(&look.archived, "trash", "archived", "They were put away and are offered nothing.");
    add(
        &Part { count: look.out_of_scope, first: Vec::new() },
        "lock",
        "outside your scope",
        "You may deploy to the computers of your scope only.",
    );
    all
}

/// Beside how long it takes, where there are windows.
const OUTSIDE: &str =
    " Contacts outside the windows do not count: computers should check in often enough to come inside one.";

/// How long it takes, in a sentence.
fn pace(look: &Look) -> String {
    let contact = if look.contact_hours == 1 {
        "within the hour".to_owned()
    } else {
        format!("within {} hours", look.contact_hours)
    };
    let between = std::time::Duration::from_secs(u64::from(look.contact_hours) * 3600);
    if look.packages.len() > 1 && look.in_order {
        let all = look.packages.iter().map(|one| one.pace + between).sum();
        return format!(
            "Each package is offered at a computer's first contact after the one before it succeeded there, and every \
             computer makes one {contact}: the last package of the last computer is done after about {}, if it is switched on.",
            span(all)
        );
    }
    let Some(slowest) = look.packages.iter().max_by_key(|one| one.pace) else { return String::new() };
    let package = &slowest.package;
    if package.fragments.0 == 0 {
        return format!("Nothing is downloaded: it runs at the first contact, which every computer makes {contact}.");
    }
    let several = look.packages.len() > 1;
    let of = if several { format!(" of {} {}, the slowest,", package.name, package.version) } else { String::new() };
    let beside =
        if several { " Packages that are fetched at the same time take turns, so they need longer." } else { "" };
    format!(
        "{}{of} at priority {}: about {} from a computer's contact to the execution there. Every computer checks in {contact}, \
         so the last one is done after about {}, if it is switched on.{beside}",
        count(u64::from(package.fragments.0), "fragment"),
        package.priority.number(),
        span(slowest.pace),
        span(slowest.pace + between)
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
