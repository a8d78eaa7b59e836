//! `dripfeed deployment approve`, `reject` and `release`, and the same of `dripfeed series`.

use serde::Serialize;

use super::Done;
use super::args::Decision;
use super::context::refused;
use super::output::{Output, count};
use crate::model::Verdict;
use crate::service::approvals::{About, Record};
use crate::service::desk::Desk;

/// Says something about what waits.
pub(super) fn say(desk: &Desk, about: About, verdict: Verdict, said: &Decision, output: &mut Output) -> Done {
    let decided = match verdict {
        Verdict::Approved => desk.approve(about, &said.reason),
        Verdict::Rejected => desk.reject(about, &said.reason),
        Verdict::Released => desk.release(about, &said.reason),
    };
    let decided = decided.map_err(refused)?;
    let awaited = &decided.approval.awaited;
    let waits = decided.approval.waits() && verdict == Verdict::Approved;
    if said.json {
        #[derive(Serialize)]
        struct View {
            verdict: &'static str,
            waits: bool,
            given: u32,
            needed: u32,
            cancelled: Option<usize>,
        }
        return output.json(&View {
            verdict: verdict.as_str(),
            waits,
            given: awaited.given,
            needed: awaited.needed,
            cancelled: decided.cancelled.map(|cancelled| cancelled.jobs),
        });
    }
    let then = match (verdict, about) {
        (Verdict::Rejected, About::Deployment(_)) => {
            let jobs = decided.cancelled.map_or(0, |cancelled| cancelled.jobs);
            format!("is rejected: {} taken back", count(jobs as u64, "job"))
        }
        (Verdict::Rejected, About::Series(_)) => "is rejected: it has ended".to_owned(),
        _ if waits => format!("is approved by {} of {}: it waits for the others", awaited.given, awaited.needed),
        (_, About::Deployment(_)) => format!("is {}: each computer is told at its next contact", verdict.as_str()),
        (_, About::Series(_)) => format!("is {}: it begins with its next time", verdict.as_str()),
    };
    output.line(format_args!("{about} {then}"))
}

/// Who was asked and what they said, in a line; "-" for what reaches too few computers.
pub(super) fn spelled(record: Option<&Record>) -> String {
    let Some(record) = record else { return "-".to_owned() };
    let awaited = &record.approval.awaited;
    let stage = if record.approval.waits() { "waits for approval" } else { "let go" };
    let asked = format!("{stage}: {} of {}, asked for by {}", awaited.given, awaited.needed, awaited.asked_by);
    let said = record.votes.iter().map(|vote| {
        let void = if vote.voided_at.is_some() { " (counts no more)" } else { "" };
        let reason = if vote.reason.is_empty() { String::new() } else { format!(" ({})", vote.reason) };
        format!("{} by {}{void}{reason}", vote.verdict.as_str(), vote.account)
    });
    std::iter::once(asked).chain(said).collect::<Vec<_>>().join("; ")
}
