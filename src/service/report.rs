//! "This is what became of it": takes a result (ocs-protocol 2.3, 8).

use std::sync::Arc;

use tracing::{info, warn};

use super::{App, Peer, ServiceError, groups};
use crate::model::{Job, JobState, Outcome, UnixTime};
use crate::protocol::DownloadReport;
use crate::store::events::{Event, EventKind};
use crate::store::{Conn, StoreError, computers, events, installations, jobs};

/// Stores a result, verbatim, and ends its job. Reports that fit nothing are answered like any other: stock agents
/// would repeat them for ever.
pub async fn take(app: &App, report: DownloadReport, peer: Peer) -> Result<(), ServiceError> {
    let now = app.clock.now();
    let contact = peer.contact(now);
    let memo = Arc::clone(app.store.memo());
    app.store
        .write(move |conn| {
            conn.alters_only(&memo, &report.device_id);
            store(conn, &report, &contact)
        })
        .await?;
    Ok(())
}

fn store(conn: &mut Conn, report: &DownloadReport, contact: &computers::Contact) -> Result<(), StoreError> {
    let now = contact.at;
    let Some(package) = report.package else {
        warn!(computer.device_id = %report.device_id, "a report names no package: dropped");
        return Ok(());
    };
    let Some(computer) = computers::find_by_device_id(conn, &report.device_id)? else {
        warn!(computer.device_id = %report.device_id, package.id = %package, "a report of an unknown computer: dropped");
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
