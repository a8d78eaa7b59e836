//! "This is what became of it": takes a result (ocs-protocol 2.3, 8).

use std::sync::Arc;

use tracing::{info, warn};

use super::identity::{self, ProofSeen};
use super::{Answered, App, Peer, ServiceError, groups};
use crate::model::{Computer, Job, JobState, Outcome, UnixTime};
use crate::protocol::DownloadReport;
use crate::protocol::proof::Standing;
use crate::store::computers::Contact;
use crate::store::events::{Event, EventKind};
use crate::store::{Conn, StoreError, computers, events, installations, jobs};

/// Stores a result, verbatim, and ends its job. Reports that fit nothing are answered like any other: stock agents
/// would repeat them for ever.
pub async fn take(app: &App, report: DownloadReport, peer: Peer) -> Result<Answered<()>, ServiceError> {
    let now = app.clock.now();
    let contact = peer.contact(now);
    let memo = Arc::clone(app.store.memo());
    let (device_id, address) = (report.device_id.clone(), peer.address);
    let stored = app
        .store
        .write(move |conn| {
            conn.alters_only(&memo, &report.device_id);
            let standing = store(conn, &report, &contact, peer.proof.as_ref())?;
            Ok(Answered { reply: (), standing })
        })
        .await;
    identity::told(app, device_id, address, stored).await
}

fn store(
    conn: &mut Conn,
    report: &DownloadReport,
    contact: &Contact,
    proof: Option<&ProofSeen>,
) -> Result<Option<Standing>, ServiceError> {
    let Some(computer) = computers::find_by_device_id(conn, &report.device_id)? else {
        warn!(computer.device_id = %report.device_id, "a report of an unknown computer: dropped");
        return Ok(identity::unknown(proof));
    };
    let admitted = identity::admit(conn, &computer.device_id, computer.agent_key.as_ref(), proof)?;
    admitted.settle(conn, computer.id, &computer.device_id, contact.at)?;
    record(conn, &computer, report, contact)?;
    Ok(admitted.standing())
}

fn record(conn: &mut Conn, computer: &Computer, report: &DownloadReport, contact: &Contact) -> Result<(), StoreError> {
    let now = contact.at;
    let Some(package) = report.package else {
        warn!(computer.device_id = %report.device_id, "a report names no package: dropped");
        return Ok(());
    };
    computers::touch(conn, computer.id, contact)?;
    let job = jobs::for_report(conn, computer.id, package)?;
    if let Some(job) = &job
        && job.result.as_ref() == Some(&report.code)
        && !job.state.is_open()
    {
        // An agent repeats a report whose answer it did not get; the second one is no news.
        return Ok(());
    }
    let event = Event {
        at: now,
        kind: EventKind::Reported,
        computer: Some(computer.id),
        device_id: computer.device_id.to_string(),
        package: Some(package),
        job: job.as_ref().map(|job| job.id),
        text: report.code.as_str().to_owned(),
    };
    events::append(conn, &[event])?;
    let Some(job) = job else {
        warn!(computer.device_id = %report.device_id, package.id = %package, result = %report.code, "a result without a job");
        return Ok(());
    };
    if ends(&job, report.code.outcome()) {
        info!(computer.device_id = %report.device_id, package.id = %package, result = %report.code, "package {package}: {}", report.code);
        finish(conn, &job, report, now)?;
    }
    Ok(())
}

/// The first final result wins and a later one is a note, but for what was cancelled or given up: what happened on the
/// computer is a fact (oco-features 5.4).
fn ends(job: &Job, outcome: Outcome) -> bool {
    match job.state {
        JobState::Cancelled | JobState::Expired => outcome != Outcome::TimedOut,
        state => state.is_open(),
    }
}

fn finish(conn: &mut Conn, job: &Job, report: &DownloadReport, now: UnixTime) -> Result<(), StoreError> {
    let state = JobState::of_result(&report.code);
    jobs::finish(conn, job.id, state, &report.code, now)?;
    if matches!(state, JobState::Succeeded | JobState::AlreadyInstalled) {
        installations::record_job(conn, job.computer, job.package, now)?;
        groups::evaluate(conn, job.computer, now)?;
    }
    Ok(())
}
