//! "Why does it not have it?": the gate or the stage of one package on one computer, and the evidence.
//!
//! Everything is read from what was recorded; the gate is asked again with the present facts by the same pure function
//! that answers the agent. What nobody recorded is not guessed: between the offer and the result an agent says nothing.

use std::time::Duration;

use super::assign::{AssignError, named};
use super::mirrors::{Offered, locations};
use super::prolog::{Common, DeviceContext, Moment, fits, gate};
use super::settings::Layers;
use super::{App, Peer};
use crate::clock;
use crate::engine::{TaskInfo, estimate};
use crate::model::gates::Gates;
use crate::model::settings::{SettingKey, SettingsLayer};
use crate::model::{Computer, Job, JobState, Outcome, Package, PackageId, PackageState, UnixTime, Withheld};
use crate::store::events::EventKind;
use crate::store::installations::Via;
use crate::store::{Conn, StoreError, deployments, events, installations, jobs, packages};

/// Where it is: what a program would branch on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// No deployment named this computer.
    NotAssigned,
    /// The package was taken back.
    Withdrawn,
    /// Nobody told agents where to fetch it.
    NotActivated,
    /// Its fragments are only on mirrors, and none near the computer has them.
    NoMirror,
    /// The setting DOWNLOAD is 0.
    DownloadOff,
    /// The package is for another system.
    OtherSystem,
    /// Its time has not come.
    Scheduled,
    /// The computer came from where the deployment's ranges leave it out.
    OutsideRanges,
    /// None of the deployment's windows is open.
    OutsideWindow,
    /// Another package has to succeed first.
    AfterAnother,
    /// It reaches many computers, and others have not agreed yet.
    NotApproved,
    /// The agent's history has it, so it will not be offered.
    InHistory,
    /// Nothing is in its way: the next contact offers it.
    Waiting,
    /// Something is to be said to or by the agent, but it did not check in when it should have.
    Silent,
    /// The agent was told, and is at work.
    Offered,
    /// Done.
    Succeeded,
    /// Nothing had to be done.
    AlreadyInstalled,
    /// The agent or the command said no.
    Failed,
    /// Not complete in time.
    Expired,
    /// Taken back by an administrator.
    Cancelled,
}

impl Stage {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAssigned => "not assigned",
            Self::Withdrawn => "withdrawn",
            Self::NotActivated => "not activated",
            Self::NoMirror => "no mirror",
            Self::DownloadOff => "download off",
            Self::OtherSystem => "other system",
            Self::Scheduled => "scheduled",
            Self::OutsideRanges => "outside ranges",
            Self::OutsideWindow => "outside window",
            Self::AfterAnother => "after another",
            Self::NotApproved => "not approved",
            Self::InHistory => "in history",
            Self::Waiting => "waiting",
            Self::Silent => "silent",
            Self::Offered => "offered",
            Self::Succeeded => "succeeded",
            Self::AlreadyInstalled => "already installed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A fact.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// When it happened, or will.
    pub at: UnixTime,
    /// What.
    pub text: String,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Why {
    /// The computer.
    pub computer: Computer,
    /// The package.
    pub package: Package,
    /// The job that it is about: the open one, else the newest.
    pub job: Option<Job>,
    /// Where it is.
    pub stage: Stage,
    /// The answer in a sentence.
    pub sentence: String,
    /// When the agent should check in next.
    pub next_contact: UnixTime,
    /// What it rests on, in the order of time.
    pub evidence: Vec<Evidence>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// No such package.
    #[error("there is no package {0}: `dripfeed package list` shows them")]
    Package(PackageId),
    /// No such computer.
    #[error(transparent)]
    Computer(#[from] AssignError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells why a package is where it is on a computer.
pub fn why(app: &App, computer: &str, package: PackageId) -> Result<Why, WhyError> {
    let (now, configured, computer) = (app.clock.now(), app.configured.clone(), computer.to_owned());
    app.store.read_now(move |conn| {
        let computer = named(conn, &computer)?;
        let package = packages::find(conn, package)?.ok_or(WhyError::Package(package))?;
        let facts = Facts::load(conn, computer, package, configured, now)?;
        Ok(facts.answer(conn)?)
    })
}

/// What was recorded.
struct Facts {
    now: UnixTime,
    computer: Computer,
    package: Package,
    job: Option<Job>,
    layers: Layers,
    context: DeviceContext,
    next_contact: UnixTime,
}

/// An agent is not late by its own clock's minutes.
const GRACE: Duration = Duration::from_hours(1);

impl Facts {
    fn load(
        conn: &mut Conn,
        computer: Computer,
        package: Package,
        configured: SettingsLayer,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let layers = Layers::load(conn, &configured, Some(computer.id))?;
        let common = Common::load(conn, configured)?;
        let context = DeviceContext::load(conn, &computer.device_id, &common, computer.peer_address.parse().ok())?;
        let job = jobs::for_report(conn, computer.id, package.id)?;
        let every = Duration::from_secs(u64::from(context.settings.prolog_frequency()) * 3600);
        let next_contact = computer.last_contact.plus(every);
        Ok(Self { now, computer, package, job, layers, context, next_contact })
    }

    fn is_late(&self) -> bool {
        self.now > self.next_contact.plus(GRACE)
    }

    fn answer(self, conn: &mut Conn) -> Result<Why, StoreError> {
        let (stage, sentence) = match &self.job {
            None => self.without_job(conn)?,
            Some(job) if job.state.is_open() => self.of_open(conn, job)?,
            Some(job) => self.of_ended(conn, job)?,
        };
        let mut evidence = self.evidence(conn)?;
        evidence.sort_by_key(|fact| fact.at);
        let Self { computer, package, job, next_contact, .. } = self;
        Ok(Why { computer, package, job, stage, sentence, next_contact, evidence })
    }

    fn without_job(&self, conn: &mut Conn) -> Result<(Stage, String), StoreError> {
        let (package, name) = (&self.package, &self.computer.name);
        if package.state == PackageState::Withdrawn {
            return Ok((
                Stage::Withdrawn,
                format!("package {} was withdrawn, and {name} never had a job of it", package.id),
            ));
        }
        if !fits(package.os, &self.computer.os_name) {
            let text =
                format!("package {} is for {}, but {name} runs {}", package.id, package.os, self.computer.os_name);
            return Ok((Stage::OtherSystem, text));
        }
        let mut text = format!(
            "nobody assigned package {0} to {name}: dripfeed assign {0} --computer {1}",
            package.id, self.computer.device_id
        );
        if deployments::standing(conn)?.iter().any(|standing| standing.package == package.id) {
            text.push_str(" (a standing deployment of it takes computers when their first inventory comes)");
        }
        Ok((Stage::NotAssigned, text))
    }

    fn of_open(&self, conn: &mut Conn, job: &Job) -> Result<(Stage, String), StoreError> {
        let name = &self.computer.name;
        let Some(open) = self.context.jobs.iter().find(|open| open.id == job.id) else {
            return self.of_ended(conn, job);
        };
        if open.in_history && !job.options.force {
            let text = format!(
                "{name} says that it has run package {} already, so it is not offered; its next contact ends the job \
                 (assign it with --force to run it again)",
                self.package.id
            );
            return Ok((Stage::InHistory, text));
        }
        let moment = Moment {
            now: self.now,
            local_minute: clock::local_minute(self.now),
            waits_for_schedule: self.agent().waits_for_schedule(),
        };
        if let Err(withheld) = gate(open, &self.context, self.context.settings.download().on, &moment) {
            return self.withheld(conn, job, &withheld);
        }
        if self.is_late() {
            let waits =
                if job.state == JobState::Pending { "cannot be told of it" } else { "has not told what became of it" };
            let text = format!(
                "{name} {waits}: it has not been heard of for {}, though it should check in every {} hours",
                span(self.now.since(self.computer.last_contact)),
                self.context.settings.prolog_frequency()
            );
            return Ok((Stage::Silent, text));
        }
        if job.state == JobState::Pending {
            return Ok((Stage::Waiting, format!("nothing is in its way: {name} is told at its next contact")));
        }
        let since = self.now.since(job.offered_at.unwrap_or(job.updated_at));
        let info = TaskInfo { priority: self.package.priority, fragments: self.package.fragments, not_before: None };
        let needed = estimate(&self.context.settings.download(), info);
        let pace = match needed {
            None => "its priority never has a turn at the pace that is set".to_owned(),
            Some(needed) if since <= needed => format!("at its pace it takes at least {}", span(needed)),
            Some(needed) => format!(
                "at its pace it takes at least {}; other packages, failed fetches or a computer that is switched off \
                 make it longer",
                span(needed)
            ),
        };
        let when = job.options.schedule.as_ref().map(|schedule| format!(", and it is not to run before {schedule}"));
        let text = format!(
            "{name} was told of it {} ago and has not reported yet; {pace}{}",
            span(since),
            when.unwrap_or_default()
        );
        Ok((Stage::Offered, text))
    }

    fn withheld(&self, conn: &mut Conn, job: &Job, withheld: &Withheld) -> Result<(Stage, String), StoreError> {
        let stage = match withheld {
            Withheld::DownloadOff => Stage::DownloadOff,
            Withheld::NotActivated => Stage::NotActivated,
            Withheld::PackageWithdrawn => Stage::Withdrawn,
            Withheld::OtherSystem { .. } => Stage::OtherSystem,
            Withheld::NoMirror => Stage::NoMirror,
            Withheld::Scheduled(_) => Stage::Scheduled,
            Withheld::Elsewhere(_) => Stage::OutsideRanges,
            Withheld::Closed { .. } | Withheld::NoZone(_) => Stage::OutsideWindow,
            Withheld::Follows { .. } => Stage::AfterAnother,
            Withheld::Approval(_) => Stage::NotApproved,
        };
        let mut text = match withheld {
            Withheld::DownloadOff => {
                let explanation = self.layers.explain(SettingKey::Download);
                format!(
                    "deployment is switched off for {}: DOWNLOAD is 0, set {} (dripfeed setting explain DOWNLOAD --computer {})",
                    self.computer.name,
                    explanation.origin().whose(),
                    self.computer.device_id
                )
            }
            Withheld::NotActivated => {
                format!("package {0} is not activated: dripfeed activate {0}", self.package.id)
            }
            Withheld::Elsewhere(Some(address)) => {
                format!("{} came from {address}, which the deployment's ranges leave out", self.computer.name)
            }
            Withheld::Follows { package, .. } => self.comes_first(conn, *package)?,
            Withheld::Approval(awaited) => {
                format!("deployment {0} {awaited}: dripfeed deployment approve {0}", job.deployment)
            }
            other => other.to_string(),
        };
        if job.state != JobState::Pending {
            text.push_str("; it was offered before, so the agent may have it under way");
        }
        Ok((stage, text))
    }

    /// What it waits for, and what would end the waiting.
    fn comes_first(&self, conn: &mut Conn, first: PackageId) -> Result<String, StoreError> {
        let name = &self.computer.name;
        let package = match packages::find(conn, first)? {
            Some(package) => format!("{} {} (package {first})", package.name, package.version),
            None => format!("package {first}"),
        };
        let Some(job) = jobs::for_report(conn, self.computer.id, first)? else {
            return Ok(format!(
                "{package} comes first, and {name} has no job of it: dripfeed assign {first} --computer {}",
                self.computer.device_id
            ));
        };
        let code = job.result.as_ref().map(|code| format!(" with {code}")).unwrap_or_default();
        Ok(match job.state {
            JobState::Failed | JobState::Expired => format!(
                "{package} comes first, and it failed on {name}{code}: dripfeed deployment retry {} tries it again, and \
                 what follows goes on when that succeeds",
                job.deployment
            ),
            JobState::Cancelled => format!(
                "{package} comes first, and it was taken back on {name}: dripfeed assign {first} --computer {} plans it \
                 anew",
                self.computer.device_id
            ),
            _ => format!("{package} comes first, and it is not done on {name} yet ({})", job.state),
        })
    }

    fn of_ended(&self, conn: &mut Conn, job: &Job) -> Result<(Stage, String), StoreError> {
        let name = &self.computer.name;
        if job.state == JobState::Cancelled {
            let by = self.cancellation(conn, job)?;
            return Ok(match by {
                Some(text) => (Stage::Cancelled, format!("the job was cancelled: {text}")),
                None if self.package.state == PackageState::Withdrawn => {
                    (Stage::Withdrawn, format!("package {} was withdrawn, which cancelled the job", self.package.id))
                }
                None => (Stage::Cancelled, "the job was cancelled; by whom was not recorded".to_owned()),
            });
        }
        let stage = match job.state {
            JobState::Succeeded => Stage::Succeeded,
            JobState::AlreadyInstalled => Stage::AlreadyInstalled,
            JobState::Expired => Stage::Expired,
            _ => Stage::Failed,
        };
        let Some(code) = &job.result else {
            return Ok((stage, format!("the job on {name} ended without a result")));
        };
        let meaning = code.explanation().map(|text| format!(": {text}")).unwrap_or_default();
        let again = match code.outcome() {
            Outcome::Failure | Outcome::TimedOut => {
                format!("; to try again: dripfeed deployment retry {}", job.deployment)
            }
            Outcome::Success | Outcome::AlreadyInstalled => String::new(),
        };
        let who = if stage == Stage::AlreadyInstalled && job.offered_at.is_none() {
            format!("{name} had it before it was offered")
        } else {
            format!("{name} reported {code}")
        };
        Ok((stage, format!("{who}{meaning}{again}")))
    }

    /// What was recorded when the job was cancelled.
    fn cancellation(&self, conn: &mut Conn, job: &Job) -> Result<Option<String>, StoreError> {
        let happened = events::list(conn, Some(self.computer.id), Some(self.package.id), 100)?;
        let event = happened.into_iter().find(|event| event.kind == EventKind::Cancelled && event.job == Some(job.id));
        Ok(event.map(|event| event.text))
    }

    /// Which mirror the computer is sent to, and why not to the others of its site.
    fn sources(&self, package: PackageId, offered: &[Offered]) -> Vec<(Option<UnixTime>, String)> {
        let Some(site) = &self.context.nearby.site else { return Vec::new() };
        let of = |name: &str| offered.iter().position(|(_, mirror)| mirror.as_deref() == Some(name));
        let mirrors = self.context.nearby.mirrors.iter().map(|(mirror, holds)| {
            let name = &mirror.name;
            let state = match of(name) {
                Some(0) => format!("is offered: fragments come from {}", offered[0].0),
                Some(place) => format!("is number {} of the mirrors that could be offered", place + 1),
                None if mirror.reported_at.is_none() => "is not offered: it never reported".to_owned(),
                None if !mirror.is_heard(self.now) => "is not offered: it has not reported for too long".to_owned(),
                None if let Some(lost) = mirror.lost() => {
                    format!("is not offered: the server cannot fetch from it any more ({})", lost.why)
                }
                None if !holds.contains(&package) => "is not offered: it does not hold the package".to_owned(),
                None => "is not offered: no location comes of its template".to_owned(),
            };
            (mirror.reported_at.or(Some(mirror.created_at)), format!("mirror {name} of site {site} {state}"))
        });
        mirrors.collect()
    }

    fn agent(&self) -> Peer {
        let address = self.computer.peer_address.parse().unwrap_or(std::net::IpAddr::from([0, 0, 0, 0]));
        Peer { address, user_agent: self.computer.user_agent.clone(), proof: None }
    }

    fn evidence(&self, conn: &mut Conn) -> Result<Vec<Evidence>, StoreError> {
        let mut facts = Vec::new();
        let mut fact = |at: Option<UnixTime>, text: String| facts.extend(at.map(|at| Evidence { at, text }));
        fact(Some(self.package.created_at), format!("package {} was built", self.package.id));
        for (package, via, at) in installations::of_computer(conn, self.computer.id)? {
            if package == self.package.id {
                fact(
                    Some(at),
                    match via {
                        Via::AgentHistory => "the agent's history had it for the first time".to_owned(),
                        Via::Job => "a job installed it".to_owned(),
                    },
                );
            }
        }
        if let Some(job) = &self.job {
            let by = deployments::find(conn, job.deployment)?.map(|line| line.created_by).unwrap_or_default();
            fact(
                Some(job.created_at),
                format!("job {} of deployment {} was planned; {by} made the deployment", job.id, job.deployment),
            );
            let open = self.context.jobs.iter().find(|open| open.id == job.id);
            for text in open.and_then(|open| open.terms.gates.as_ref()).map(limits).unwrap_or_default() {
                fact(Some(job.created_at), text);
            }
            if let Some(open) = open
                && let Some(activation) = &open.terms.activation
            {
                let checked = if activation.checked_at.is_some() { "checked" } else { "not checked" };
                fact(Some(activation.activated_at), format!("activated at {}, {checked}", activation.info_location));
                let offered = locations(&self.context.nearby, job.package, &activation.fragment_location, self.now);
                for (at, text) in self.sources(job.package, &offered) {
                    fact(at, text);
                }
            }
            fact(job.offered_at, "offered to the agent".to_owned());
            if let Some(notify) = self.package.notify.as_ref().filter(|_| job.state.is_open()) {
                let mut asks = vec!["the package asks whoever is at the computer before it runs".to_owned()];
                asks.extend(notify.limits());
                fact(job.offered_at, asks.join("; it "));
            }
            if let Some(reason) = &job.withheld {
                fact(Some(job.updated_at), format!("withheld at a contact: {reason}"));
            }
            fact(
                job.finished_at,
                match &job.result {
                    Some(code) => format!("result {code}"),
                    None => "ended".to_owned(),
                },
            );
            if job.state == JobState::Cancelled {
                fact(Some(job.updated_at), "cancelled".to_owned());
            }
        }
        fact(self.computer.last_inventory, "last inventory".to_owned());
        let heard = format!("last contact, from {} by {}", self.computer.peer_address, self.computer.user_agent);
        fact(Some(self.computer.last_contact), heard);
        let frequency = self.layers.explain(SettingKey::PrologFrequency);
        let late = if self.is_late() { ", which it missed" } else { "" };
        let text =
            format!("next contact expected{late} (PROLOG_FREQ is {} hours, {})", frequency.value, frequency.origin());
        fact(Some(self.next_contact), text);
        Ok(facts)
    }
}

/// When and where a deployment may run, in sentences.
fn limits(gates: &Gates) -> Vec<String> {
    let when =
        gates.timetable.as_ref().map(|it| format!("the deployment runs in the windows {} ({})", it.windows, it.zone));
    let place = gates.ranges.as_ref().map(|ranges| format!("the deployment is for computers that come from {ranges}"));
    when.into_iter().chain(place).collect()
}

/// The two largest units.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
