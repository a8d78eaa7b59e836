//! What reaches many computers waits until others have agreed (docs/decisions/0782).
//!
//! ```text
//! made ─► wide? ─no──────────────────────────────────────────────► offered
//!           │        └ for a group: counted again when it grows
//!           └─yes─► waits ─► enough others approved ─────────────► offered
//!                     │  └─► released, where nobody is asked any more ┘
//!                     └─► rejected: cancelled, and undone as that is
//! ```
//!
//! Who makes it, who agrees and what they said are written in the transaction that decides, and writes come one after the
//! other: of two who agree at once, one is the second.

use std::fmt;

use super::App;
use super::deployments::{self, Cancelled, DeploymentError};
use super::series::{self, SeriesError};
use super::settings::everyones;
use crate::model::settings::{SettingKey, SettingsLayer};
use crate::model::{
    Approval, ApprovalId, ApprovalRule, Awaited, Consent, Deployment, DeploymentId, UnixTime, Verdict, Vote, consents,
};
use crate::store::deployments as rows;
use crate::store::series::{self as series_rows, SeriesId, Stage};
use crate::store::{Conn, StoreError, approvals, jobs};

/// How far something reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reach {
    /// Computers that are meant now.
    pub computers: u64,
    /// Every computer, those to come included.
    pub everybody: bool,
    /// Those that join a group later, too.
    pub grows: bool,
}

/// What is waited for, if anything is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) id: ApprovalId,
    pub(super) awaited: Option<Awaited>,
}

/// When others are asked; `None` if nobody is.
pub(super) fn rule(conn: &mut Conn, configured: &SettingsLayer) -> Result<Option<ApprovalRule>, StoreError> {
    let from = everyones(conn, configured, SettingKey::ApprovalFrom)?;
    Ok(ApprovalRule::new(from, everyones(conn, configured, SettingKey::ApprovalCount)?))
}

/// How many others would be asked; `None` if nobody would.
pub(super) fn needed(conn: &mut Conn, configured: &SettingsLayer, reach: Reach) -> Result<Option<u32>, StoreError> {
    let rule = rule(conn, configured)?;
    Ok(rule.filter(|rule| rule.concerns(reach.computers, reach.everybody)).map(|rule| rule.needed))
}

/// Asks others, if it reaches that far. What may grow is noted with the number at which it will: a change of the settings
/// concerns what is made after it.
pub(super) fn ask_for(
    conn: &mut Conn,
    configured: &SettingsLayer,
    reach: Reach,
    asked_by: &str,
    now: UnixTime,
) -> Result<Option<Asked>, StoreError> {
    let Some(rule) = rule(conn, configured)? else { return Ok(None) };
    let (asked_by, needed) = (account(asked_by), rule.needed);
    if rule.concerns(reach.computers, reach.everybody) {
        let id = approvals::ask(conn, asked_by, reach.computers, needed, None, now)?;
        let awaited = Awaited { given: 0, needed, asked_by: asked_by.to_owned() };
        return Ok(Some(Asked { id, awaited: Some(awaited) }));
    }
    if !reach.grows {
        return Ok(None);
    }
    let id = approvals::ask(conn, asked_by, reach.computers, needed, Some(rule.from), now)?;
    Ok(Some(Asked { id, awaited: None }))
}

/// The account of somebody who may have come with a token. Names have no spaces.
pub(super) fn account(label: &str) -> &str {
    label.split(" (token ").next().unwrap_or(label)
}

/// Computers joined: others are asked from where it becomes wide. Whoever was told before goes on.
pub(super) fn widened(conn: &mut Conn, deployment: &Deployment, now: UnixTime) -> Result<(), StoreError> {
    let Some(id) = deployment.approval else { return Ok(()) };
    let counts = jobs::counts_of_deployments(conn, Some(deployment.id))?;
    let reach = counts.into_iter().map(|(_, _, count)| count).sum();
    approvals::outgrown(conn, id, reach, now).map(|_| ())
}

/// What others are asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum About {
    /// A deployment, with those that were made in one act with it.
    Deployment(DeploymentId),
    /// A series: whoever approves it approves its runs.
    Series(SeriesId),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(id) => write!(f, "deployment {id}"),
            Self::Series(id) => write!(f, "series {id}"),
        }
    }
}

/// Why nothing was agreed to.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// It reaches too few computers, or was made while nobody was asked.
    #[error("{0} does not wait for approval")]
    NotAsked(About),
    /// Cancelled, closed or ended.
    #[error("{0} was taken back meanwhile: there is nothing left to decide")]
    Over(About),
    /// It does not wait any more.
    #[error("{0} is approved already: it can be cancelled")]
    LetGo(About),
    /// By whoever made it.
    #[error("{account} asked for {about}, so somebody else has to decide: whoever asked can cancel it")]
    Own {
        /// The account.
        account: String,
        /// What it asked for.
        about: About,
    },
    /// By an account that has agreed before.
    #[error("{account} has approved {about} already ({given} of {needed}): somebody else has to, too")]
    Twice {
        /// The account.
        account: String,
        /// What it approved.
        about: About,
        /// How many have.
        given: u32,
        /// How many have to.
        needed: u32,
    },
    /// A rejection without a word.
    #[error("say why it is rejected: whoever asked for it reads that")]
    NoReason,
    /// More than anybody reads.
    #[error("a reason has at most {REASON} characters")]
    LongReason,
    /// Others are still asked.
    #[error(
        "others are still asked, from {0} computers on (setting APPROVAL_FROM): have it approved, or set that to 0 first"
    )]
    StillAsked(u64),
    /// The deployment.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The series.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Characters of a reason.
const REASON: usize = 1000;

/// Who says something, through which door, and why.
#[derive(Clone, Debug)]
pub struct Word {
    /// The account.
    pub account: String,
    /// The door.
    pub via: &'static str,
    /// Why; may be empty, but for a rejection.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decided {
    /// As it is now.
    pub approval: Approval,
    /// What a rejection of a deployment took back.
    pub cancelled: Option<Cancelled>,
}

/// An approval with what was said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The approval.
    pub approval: Approval,
    /// What was said, oldest first.
    pub votes: Vec<Vote>,
}

impl Record {
    /// Is this account's consent among those that count?
    pub fn has_approved(&self, account: &str) -> bool {
        let own: Vec<Vote> = self.votes.iter().filter(|vote| vote.account == account).cloned().collect();
        consents(&own) > 0
    }
}

/// Who was asked and what they said; nothing for what reaches too few computers.
pub fn record(app: &App, approval: Option<ApprovalId>) -> Result<Option<Record>, StoreError> {
    let Some(id) = approval else { return Ok(None) };
    app.store.read_now(move |conn| {
        let found = approvals::find(conn, id)?.filter(|found| found.consent != Consent::NotAsked);
        found.map(|approval| Ok(Record { approval, votes: approvals::votes(conn, id)? })).transpose()
    })
}

/// Agrees. With enough others nothing is in the way any more.
pub fn approve(app: &App, about: About, word: Word) -> Result<Decided, ApprovalError> {
    decide(app, about, Verdict::Approved, word)
}

/// Refuses: a deployment is cancelled, with those that were made in one act with it, and a series ends.
pub fn reject(app: &App, about: About, word: Word) -> Result<Decided, ApprovalError> {
    if word.reason.trim().is_empty() {
        return Err(ApprovalError::NoReason);
    }
    decide(app, about, Verdict::Rejected, word)
}

/// Lets go what still waits when nobody is asked any more.
pub fn release(app: &App, about: About, word: Word) -> Result<Decided, ApprovalError> {
    decide(app, about, Verdict::Released, word)
}

fn decide(app: &App, about: About, verdict: Verdict, word: Word) -> Result<Decided, ApprovalError> {
    if word.reason.chars().count() > REASON {
        return Err(ApprovalError::LongReason);
    }
    let (now, configured) = (app.clock.now(), app.configured.clone());
    app.store.write_now(move |conn| {
        let approval = open(conn, about)?;
        if verdict == Verdict::Released {
            if let Some(rule) = rule(conn, &configured)? {
                return Err(ApprovalError::StillAsked(rule.from));
            }
        } else {
            may_speak(conn, about, &approval, verdict, &word.account)?;
        }
        let vote = Vote {
            at: now,
            account: word.account.clone(),
            via: word.via.to_owned(),
            verdict,
            reason: word.reason.trim().to_owned(),
            voided_at: None,
        };
        approvals::add_vote(conn, approval.id, &vote)?;
        let awaited = count(conn, &approval)?;
        let cancelled = match verdict {
            Verdict::Rejected => take_back(conn, about, &vote, now)?,
            Verdict::Approved if awaited.given < awaited.needed => {
                if let About::Series(id) = about {
                    series::says(conn, id, &awaited)?;
                }
                None
            }
            Verdict::Approved | Verdict::Released => {
                approvals::let_go(conn, approval.id, now)?;
                if let About::Series(id) = about {
                    series::goes_on(conn, id, now)?;
                }
                None
            }
        };
        let approval = approvals::find(conn, approval.id)?.ok_or(ApprovalError::NotAsked(about))?;
        Ok(Decided { approval, cancelled })
    })
}

/// What still waits.
fn open(conn: &mut Conn, about: About) -> Result<Approval, ApprovalError> {
    let (id, is_over) = match about {
        About::Deployment(id) => {
            let line = rows::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
            let deployment = line.deployment;
            (deployment.approval, deployment.cancelled_at.is_some() || deployment.closed_at.is_some())
        }
        About::Series(id) => {
            let found = series_rows::find(conn, id)?.ok_or(SeriesError::Unknown(id))?;
            (found.approval, found.ended_at.is_some())
        }
    };
    let found = id.map(|id| approvals::find(conn, id)).transpose()?.flatten();
    match found.ok_or(ApprovalError::NotAsked(about))? {
        approval if approval.consent == Consent::NotAsked => Err(ApprovalError::NotAsked(about)),
        _ if is_over => Err(ApprovalError::Over(about)),
        approval if approval.waits() => Ok(approval),
        _ => Err(ApprovalError::LetGo(about)),
    }
}

/// Whoever asked does not decide, and nobody agrees twice.
fn may_speak(
    conn: &mut Conn,
    about: About,
    approval: &Approval,
    verdict: Verdict,
    account: &str,
) -> Result<(), ApprovalError> {
    let Awaited { given, needed, asked_by } = approval.awaited.clone();
    if asked_by == account {
        return Err(ApprovalError::Own { account: account.to_owned(), about });
    }
    let record = Record { approval: approval.clone(), votes: approvals::votes(conn, approval.id)? };
    if verdict == Verdict::Approved && record.has_approved(account) {
        return Err(ApprovalError::Twice { account: account.to_owned(), about, given, needed });
    }
    Ok(())
}

/// Counts anew whose consent counts, and writes it down.
fn count(conn: &mut Conn, approval: &Approval) -> Result<Awaited, StoreError> {
    let given = consents(&approvals::votes(conn, approval.id)?);
    approvals::set_given(conn, approval.id, given)?;
    Ok(Awaited { given: u32::try_from(given).unwrap_or(u32::MAX), ..approval.awaited.clone() })
}

fn take_back(conn: &mut Conn, about: About, vote: &Vote, now: UnixTime) -> Result<Option<Cancelled>, ApprovalError> {
    match about {
        About::Deployment(id) => {
            let by = format!("{}, who rejected it: {}", vote.account, vote.reason);
            Ok(Some(deployments::cancel_together(conn, id, &by, now)?))
        }
        About::Series(id) => {
            series_rows::set_stage(conn, id, &Stage::Ended(now))?;
            Ok(None)
        }
    }
}

/// An account is locked out or deleted: what it has agreed to, and what still waits, waits for somebody else.
pub(super) fn forget(conn: &mut Conn, account: &str, now: UnixTime) -> Result<(), StoreError> {
    for id in approvals::void(conn, account, now)? {
        let Some(approval) = approvals::find(conn, id)? else { continue };
        let awaited = count(conn, &approval)?;
        if let Some(series) = approvals::series_of(conn, id)? {
            series::says(conn, series, &awaited)?;
        }
    }
    Ok(())
}
