//! Deployments that come again: each run is a deployment of its own (docs/decisions/0780).
//!
//! ```text
//! due? ─► claim: next_at moves on ─► whose rights? ─► who is it for, now? ─► what is open of the run before gives way
//!                                        │                  │                       ─► deployments, jobs, the run
//!                                        └─── no: it pauses, with a sentence                      one commit
//! ```
//!
//! All of a run is one write, so it is made once or not at all, whatever ends the server in between.

mod consent;

use serde_json::json;

use super::App;
use super::accounts::rights_of;
use super::approvals::Reach;
use super::assign::{AssignError, Assigned, Bundle, Decided, Target, Terms};
use super::deployments::give_way;
use super::desk::Via;
use crate::clock::NamedZone;
use crate::model::access::{Right, Scope};
use crate::model::gates::Gates;
use crate::model::query::fold;
use crate::model::recurrence::{InvalidRecurrence, Recurrence};
use crate::model::settings::SettingsLayer;
use crate::model::{Awaited, ComputerId, DeploymentId, JobOptions, PackageId, PostCommand, UnixTime};
use crate::store::audit::{self, Entry};
use crate::store::series::{Owner, Run, RunTarget, Series, SeriesId, Stage, What, When};
use crate::store::{Conn, StoreError, packages, series, users};

pub(super) use consent::{goes_on, says};

/// Runs that are begun at one look; the others at the next one.
const AT_ONCE: usize = 20;
/// Computers that can be picked by hand.
pub const MOST_PICKED: usize = 10_000;

/// When something comes again, checked here.
#[derive(Clone, Debug)]
pub struct Repeat {
    rule: Recurrence,
    zone: NamedZone,
    starts_at: Option<UnixTime>,
}

impl Repeat {
    /// A rule, the zone that its times are in (this server's if none is named), and a beginning that lies ahead, in that
    /// zone.
    pub fn read(rule: &str, zone: Option<&str>, starts_at: Option<&str>) -> Result<Self, SeriesError> {
        let zone = match zone.map(str::trim).filter(|zone| !zone.is_empty()) {
            Some(name) => NamedZone::named(name).ok_or_else(|| SeriesError::Zone(name.chars().take(60).collect()))?,
            None => NamedZone::of_machine(),
        };
        let starts_at = starts_at.map(str::trim).filter(|text| !text.is_empty()).map(|text| {
            zone.parse(&text.replace('T', " "))
                .or_else(|| zone.parse(text))
                .ok_or_else(|| SeriesError::Beginning(text.chars().take(60).collect()))
        });
        Ok(Self { rule: rule.parse()?, zone, starts_at: starts_at.transpose()? })
    }

    /// The rule.
    pub fn rule(&self) -> &Recurrence {
        &self.rule
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// The next times, seen from `now`.
    pub fn upcoming(&self, now: UnixTime, count: usize) -> Vec<UnixTime> {
        self.rule.upcoming(self.starts_at.unwrap_or(now), now, &self.zone, count)
    }

    /// As a series has it; `None` if its zone is gone.
    pub(super) fn of(when: &When) -> Option<Self> {
        let zone = NamedZone::named(&when.zone)?;
        Some(Self { rule: when.rule.clone(), zone, starts_at: Some(when.starts_at) })
    }

    fn when(&self, otherwise: UnixTime) -> When {
        When {
            rule: self.rule.clone(),
            zone: self.zone.name().to_owned(),
            starts_at: self.starts_at.unwrap_or(otherwise),
        }
    }
}

/// What somebody wants to be deployed again and again.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The packages.
    pub bundle: Bundle,
    /// For whom: asked anew at each run, but for computers that were picked by hand.
    pub target: Target,
    /// What is done afterwards.
    pub post_command: Option<PostCommand>,
    /// When and where the deployments of a run may run.
    pub gates: Gates,
    /// When.
    pub repeat: Repeat,
}

/// Why a series was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// No such series.
    #[error("there is no series {0}: `dripfeed series list` shows them")]
    Unknown(SeriesId),
    /// It has ended.
    #[error("series {0} has ended: `dripfeed series resume {0}` takes it up again")]
    Ended(SeriesId),
    /// It is paused.
    #[error("series {0} is paused already")]
    Paused(SeriesId),
    /// It goes on.
    #[error("series {0} is not paused: it goes on by itself")]
    GoesOn(SeriesId),
    /// The rule.
    #[error(transparent)]
    Rule(#[from] InvalidRecurrence),
    /// The zone.
    #[error(
        "this server knows no time zone \"{0}\": expected a name such as Europe/Berlin, an offset such as +02:00, or UTC"
    )]
    Zone(String),
    /// The beginning.
    #[error("\"{0}\" is not a time: expected 2027-01-31 or \"2027-01-31 22:00\", in the zone of the rule")]
    Beginning(String),
    /// Too many were picked by hand.
    #[error(
        "{0} computers are too many to be picked by hand: at most {MOST_PICKED}; a search or a group holds any number"
    )]
    TooMany(usize),
    /// A run could not begin.
    #[error("{0}")]
    Held(String),
    /// It cannot be deployed.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a run did not begin.
enum NoRun {
    /// Something that a person has to look at.
    Held(String),
    /// Others that have to agree first.
    Waits(String),
    Store(StoreError),
}

impl From<StoreError> for NoRun {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AssignError> for NoRun {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Store(error) => Self::Store(error),
            // Without what only helps at a terminal.
            error => Self::Held(error.to_string().split(": `dripfeed").next().unwrap_or_default().to_owned()),
        }
    }
}

impl From<NoRun> for SeriesError {
    fn from(no: NoRun) -> Self {
        match no {
            NoRun::Held(sentence) | NoRun::Waits(sentence) => Self::Held(sentence),
            NoRun::Store(error) => Self::Store(error),
        }
    }
}

/// A run that began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Begun {
    /// Its number.
    pub run: i64,
    /// Its deployments, in the order of the packages; none if nobody was meant.
    pub made: Vec<Assigned>,
    /// Jobs of the run before that gave way.
    pub gave_way: usize,
}

/// What became of a run that was due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It began.
    Begun(Begun),
    /// It did not, and the series pauses.
    Paused(String),
}

/// A series that was due, and what became of it: `None` if somebody else began the run meanwhile.
pub type Looked = (SeriesId, Result<Option<Outcome>, StoreError>);

/// Begins every run that is due, each in a write of its own. What was missed while nobody looked is one run.
pub fn start_due(app: &App) -> Result<Vec<Looked>, StoreError> {
    let now = app.clock.now();
    let due = app.store.read_now(move |conn| series::due(conn, now, AT_ONCE))?;
    let begin = |(id, at)| {
        let configured = app.configured.clone();
        (id, app.store.write_now(move |conn| start_one(conn, &configured, id, at, now)))
    };
    Ok(due.into_iter().map(begin).collect())
}

fn start_one(
    conn: &mut Conn,
    configured: &SettingsLayer,
    id: SeriesId,
    due: UnixTime,
    now: UnixTime,
) -> Result<Option<Outcome>, StoreError> {
    let Some(series) = series::find(conn, id)?.filter(|series| series.next_at == Some(due)) else { return Ok(None) };
    let begun = match next(&series.when, now) {
        Ok(next) if !series::claim(conn, id, due, next)? => return Ok(None),
        Ok(_) => begin(conn, configured, &series, Some(due), &format!("series {id}"), now),
        Err(problem) => Err(problem),
    };
    let (action, said, outcome) = match begun {
        Ok(begun) => ("series run", spell(&begun), Outcome::Begun(begun)),
        Err(NoRun::Held(problem) | NoRun::Waits(problem)) => {
            series::set_stage(conn, id, &Stage::Paused(now, Some(problem.clone())))?;
            ("series pause", json!({ "problem": problem }), Outcome::Paused(problem))
        }
        Err(NoRun::Store(error)) => return Err(error),
    };
    audit::add(conn, &entry(id, action, &said, now))?;
    Ok(Some(outcome))
}

/// A line of the audit log for what the server does by itself.
fn entry(id: SeriesId, action: &str, said: &serde_json::Value, now: UnixTime) -> Entry {
    Entry {
        at: now,
        actor: format!("series {id}"),
        via: Via::Server.as_str(),
        peer_address: String::new(),
        action: action.to_owned(),
        subject: format!("series {id}"),
        before: None,
        after: Some(said.to_string()),
    }
}

fn spell(begun: &Begun) -> serde_json::Value {
    json!({
        "run": begun.run,
        "deployments": begun.made.iter().map(|one| one.deployment.0).collect::<Vec<_>>(),
        "planned": begun.made.iter().map(|one| one.planned).sum::<usize>(),
        "gave_way": begun.gave_way,
    })
}

/// The next time after the present.
fn next(when: &When, now: UnixTime) -> Result<UnixTime, NoRun> {
    let unknown = || NoRun::Held(format!("this server does not know the time zone {} any more", when.zone));
    let zone = NamedZone::named(&when.zone).ok_or_else(unknown)?;
    Ok(when.rule.next(when.starts_at, now, &zone))
}

/// The next times of a series, seen from `now`; none if its zone is gone.
pub fn upcoming(when: &When, now: UnixTime, count: usize) -> Vec<UnixTime> {
    let zone = NamedZone::named(&when.zone);
    zone.map(|zone| when.rule.upcoming(when.starts_at, now, &zone, count)).unwrap_or_default()
}

fn begin(
    conn: &mut Conn,
    configured: &SettingsLayer,
    series: &Series,
    due_at: Option<UnixTime>,
    by: &str,
    now: UnixTime,
) -> Result<Begun, NoRun> {
    let bundle = bundle_of(&series.what)?;
    let decided = decide(conn, configured, &series.what, &series.owner, now)?;
    let reach = consent::reach(&series.what, &series.owner, decided.as_ref());
    let asks = series.owner.user.as_deref().unwrap_or(&series.created_by);
    if let Some(awaited) = consent::ask(conn, configured, series, reach, asks, now)? {
        return Err(NoRun::Waits(awaited.to_string()));
    }
    let number = series.runs + 1;
    let run = format!("run {number} of series {}", series.id);
    let before = series::last_deployed(conn, series.id)?.and_then(|run| run.deployment);
    let gave_way = before.map_or(Ok(0), |before| give_way(conn, before, &run, now))?;
    // Agents keep a history of what they ran: without force a second run would end there at once.
    let options = JobOptions { force: true, post_command: series.what.post_command.clone(), ..JobOptions::default() };
    let terms = Terms { options, gates: series.what.gates.clone() };
    let owner = format!("{} (series {})", series.owner.user.as_deref().unwrap_or(&series.created_by), series.id);
    let made =
        decided.map_or(Ok(Vec::new()), |decided| decided.plan(conn, &bundle, &terms, series.approval, &owner, now))?;
    let deployment = made.first().map(|one| one.deployment);
    series::add_run(
        conn,
        &Run { series: series.id, number, due_at, started_at: now, started_by: by.to_owned(), deployment },
    )?;
    Ok(Begun { run: number, made, gave_way })
}

/// Whom a run is for now, by the rights that the series has now; `None` for nobody.
fn decide(
    conn: &mut Conn,
    configured: &SettingsLayer,
    what: &What,
    owner: &Owner,
    now: UnixTime,
) -> Result<Option<Decided>, NoRun> {
    let scope = authority(conn, owner, what.wake)?;
    for id in &what.packages {
        if let Some(package) = packages::find(conn, *id)?
            && !scope.has_family(&package.name)
        {
            let who = owner.user.as_deref().unwrap_or_default();
            return Err(NoRun::Held(format!(
                "{who} may not deploy packages of the family \"{}\" any more",
                package.name
            )));
        }
    }
    let (bundle, target) = (bundle_of(what)?, target_of(&what.target));
    match Decided::now(conn, configured, &bundle, &target, scope.computers.as_ref(), now) {
        Ok(decided) => Ok(Some(decided.once()).filter(Decided::is_for_somebody)),
        Err(AssignError::NobodyMatches) => {
            // Whether it can be deployed at all is asked all the same.
            Decided::now(conn, configured, &bundle, &Target::Selected(Vec::new()), None, now)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What a series may touch: as far as its owner may now, and could when it was made.
fn authority(conn: &mut Conn, owner: &Owner, wakes: bool) -> Result<Scope, NoRun> {
    let Some(name) = &owner.user else { return Ok(owner.scope.clone()) };
    let held = |what: &str| NoRun::Held(format!("{name}, with whose rights it acts, {what}"));
    let user = users::find(conn, name)?.ok_or_else(|| held("is not a user any more"))?;
    if user.disabled_at.is_some() {
        return Err(held("is locked out"));
    }
    let rights = rights_of(conn, &user.role)?.unwrap_or_default();
    if !rights.contains(Right::Deploy) {
        return Err(held("may not deploy packages any more"));
    }
    if wakes && !rights.contains(Right::WakeComputers) {
        return Err(held("may not wake computers any more"));
    }
    Ok(owner.scope.within(&user.scope))
}

fn bundle_of(what: &What) -> Result<Bundle, NoRun> {
    Ok(Bundle::new(what.packages.clone(), what.in_order)?.waking(what.wake))
}

pub(super) fn target_of(target: &RunTarget) -> Target {
    match target {
        RunTarget::All => Target::All,
        RunTarget::Group(name) => Target::Group(name.clone()),
        RunTarget::Where(query) => Target::Where(query.clone()),
        RunTarget::Computers(ids) => Target::Selected(ids.iter().copied().map(ComputerId).collect()),
    }
}

/// What a wish says, with its names looked up: what could not be deployed once is refused.
fn checked(
    conn: &mut Conn,
    configured: &SettingsLayer,
    wish: &Wish,
    owner: &Owner,
    now: UnixTime,
) -> Result<(What, Reach), SeriesError> {
    let now_meant =
        match Decided::now(conn, configured, &wish.bundle, &wish.target, owner.scope.computers.as_ref(), now) {
            Ok(decided) => decided.meant(),
            // Others may match when it is time.
            Err(AssignError::NobodyMatches) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    let target = match &wish.target {
        Target::All => RunTarget::All,
        Target::Group(name) => RunTarget::Group(name.clone()),
        Target::Where(query) => RunTarget::Where(query.clone()),
        Target::Computers(_) | Target::Selected(_) if now_meant.len() > MOST_PICKED => {
            return Err(SeriesError::TooMany(now_meant.len()));
        }
        Target::Computers(_) | Target::Selected(_) => RunTarget::these(now_meant),
    };
    let what = What {
        packages: wish.bundle.packages().to_vec(),
        in_order: wish.bundle.in_order(),
        target,
        post_command: wish.post_command.clone(),
        gates: wish.gates.clone(),
        wake: wish.bundle.wakes(),
    };
    let decided = decide(conn, configured, &what, owner, now)?;
    let reach = consent::reach(&what, owner, decided.as_ref());
    Ok((what, reach))
}

/// Makes a series, and gives its number. Its first run comes with its first time.
pub fn create(app: &App, wish: &Wish, owner: &Owner, by: &str) -> Result<SeriesId, SeriesError> {
    let (wish, owner, by, now) = (wish.clone(), owner.clone(), by.to_owned(), app.clock.now());
    let configured = app.configured.clone();
    app.store.write_now(move |conn| {
        let (what, reach) = checked(conn, &configured, &wish, &owner, now)?;
        let when = wish.repeat.when(now);
        let next = next(&when, now)?;
        let id = series::create(conn, &what, &when, next, &owner, &by, now)?;
        let made = series::find(conn, id)?.ok_or(SeriesError::Unknown(id))?;
        if let Some(awaited) = consent::ask(conn, &configured, &made, reach, &by, now)? {
            series::set_stage(conn, id, &consent::stage(Some(&awaited), next, now))?;
        }
        Ok(id)
    })
}

/// Changes what a series deploys, for whom and when. From then on it acts with the rights of whoever changed it. A rule
/// that names no beginning keeps the one that there was.
pub fn change(app: &App, id: SeriesId, wish: &Wish, owner: &Owner, by: &str) -> Result<(), SeriesError> {
    let (wish, owner, by) = (wish.clone(), owner.clone(), by.to_owned());
    let (now, configured) = (app.clock.now(), app.configured.clone());
    app.store.write_now(move |conn| {
        let known = lasting(conn, id)?;
        let (what, reach) = checked(conn, &configured, &wish, &owner, now)?;
        let order = Order { what, when: wish.repeat.when(known.when.starts_at), reach };
        rewrite(conn, &configured, known, &order, &owner, &by, now)
    })
}

/// Changes when a series comes again, and nothing else but whose rights it acts with.
pub fn set_time(app: &App, id: SeriesId, repeat: &Repeat, owner: &Owner, by: &str) -> Result<(), SeriesError> {
    let (repeat, owner, by) = (repeat.clone(), owner.clone(), by.to_owned());
    let (now, configured) = (app.clock.now(), app.configured.clone());
    app.store.write_now(move |conn| {
        let known = lasting(conn, id)?;
        let decided = decide(conn, &configured, &known.what, &owner, now)?;
        let reach = consent::reach(&known.what, &owner, decided.as_ref());
        let order = Order { what: known.what.clone(), when: repeat.when(known.when.starts_at), reach };
        rewrite(conn, &configured, known, &order, &owner, &by, now)
    })
}

/// What a series is to do from now on.
struct Order {
    what: What,
    when: When,
    reach: Reach,
}

fn rewrite(
    conn: &mut Conn,
    configured: &SettingsLayer,
    mut known: Series,
    order: &Order,
    owner: &Owner,
    by: &str,
    now: UnixTime,
) -> Result<(), SeriesError> {
    let (id, waited) = (known.id, consent::awaited(conn, &known)?.is_some());
    consent::changes(conn, &mut known, &order.what, owner, by)?;
    series::set_order(conn, id, &order.what, &order.when)?;
    series::set_owner(conn, id, owner)?;
    let awaited = consent::ask(conn, configured, &known, order.reach, by, now)?;
    // Who paused it by hand resumes it; what only waited for others, and need not any more, goes on.
    if known.paused_at.is_none() || waited || awaited.is_some() {
        series::set_stage(conn, id, &consent::stage(awaited.as_ref(), next(&order.when, now)?, now))?;
    }
    Ok(())
}

/// Begins a run now, beside those that come by themselves. Also of a series that is paused, but not of one that others have
/// to agree to first.
pub fn run_now(app: &App, id: SeriesId, by: &str) -> Result<Begun, SeriesError> {
    let (by, now, configured) = (by.to_owned(), app.clock.now(), app.configured.clone());
    let begun = app.store.write_now(move |conn| -> Result<Result<Begun, String>, SeriesError> {
        let known = lasting(conn, id)?;
        match begin(conn, &configured, &known, None, &by, now) {
            Ok(begun) => Ok(Ok(begun)),
            // They are asked by this, so it is written.
            Err(NoRun::Waits(sentence)) => {
                series::set_stage(conn, id, &Stage::Paused(now, Some(sentence.clone())))?;
                Ok(Err(sentence))
            }
            Err(other) => Err(other.into()),
        }
    })?;
    begun.map_err(SeriesError::Held)
}

/// No run begins until it is resumed.
pub fn pause(app: &App, id: SeriesId) -> Result<(), SeriesError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        if lasting(conn, id)?.paused_at.is_some() {
            return Err(SeriesError::Paused(id));
        }
        Ok(series::set_stage(conn, id, &Stage::Paused(now, None))?)
    })
}

/// Goes on with a series that is paused or has ended, with the next time that lies ahead, and with the rights of whoever
/// resumes it. Gives what it waits for, if others have to agree first.
pub fn resume(app: &App, id: SeriesId, owner: &Owner, by: &str) -> Result<Option<Awaited>, SeriesError> {
    let (owner, by, now, configured) = (owner.clone(), by.to_owned(), app.clock.now(), app.configured.clone());
    app.store.write_now(move |conn| {
        let mut known = series::find(conn, id)?.ok_or(SeriesError::Unknown(id))?;
        if known.next_at.is_some() {
            return Err(SeriesError::GoesOn(id));
        }
        let decided = decide(conn, &configured, &known.what, &owner, now)?;
        let what = known.what.clone();
        consent::changes(conn, &mut known, &what, &owner, &by)?;
        if known.ended_at.is_none()
            && let Some(awaited) = consent::awaited(conn, &known)?
        {
            return Err(SeriesError::Held(format!("series {id} {awaited}")));
        }
        let reach = consent::reach(&what, &owner, decided.as_ref());
        let awaited = consent::ask(conn, &configured, &known, reach, &by, now)?;
        series::set_owner(conn, id, &owner)?;
        series::set_stage(conn, id, &consent::stage(awaited.as_ref(), next(&known.when, now)?, now))?;
        Ok(awaited)
    })
}

/// Ends a series: no run begins any more. Its runs stay, and what is open of the last one goes on.
pub fn end(app: &App, id: SeriesId) -> Result<(), SeriesError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        lasting(conn, id)?;
        Ok(series::set_stage(conn, id, &Stage::Ended(now))?)
    })
}

/// A series that has not ended.
fn lasting(conn: &mut Conn, id: SeriesId) -> Result<Series, SeriesError> {
    let found = series::find(conn, id)?.ok_or(SeriesError::Unknown(id))?;
    if found.ended_at.is_some() { Err(SeriesError::Ended(id)) } else { Ok(found) }
}

/// What a series cannot do without.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Need {
    /// A package that it deploys.
    Package(PackageId),
    /// The group that it is for.
    Group(String),
}

impl Need {
    fn is_of(&self, what: &What) -> bool {
        match self {
            Self::Package(id) => what.packages.contains(id),
            Self::Group(name) => matches!(&what.target, RunTarget::Group(own) if fold(own) == fold(name)),
        }
    }
}

/// Series that go on until their next run, and pause then if this is gone; the next one first.
pub fn that_need(conn: &mut Conn, need: &Need) -> Result<Vec<Series>, StoreError> {
    let mut found = series::going_on(conn)?;
    found.retain(|one| need.is_of(&one.what));
    Ok(found)
}

/// The run that made a deployment, or the bundle that it is of.
pub fn run_of(app: &App, deployment: DeploymentId, bundle: Option<DeploymentId>) -> Result<Option<Run>, StoreError> {
    app.store.read_now(move |conn| series::run_of(conn, bundle.unwrap_or(deployment)))
}
