//! Computers that are not there yet, beside a deployment's progress: named while somebody looks.

use askama::Template;

use super::super::super::fetches::Fetches;
use super::super::show::Html;
use super::{csrf_field, reason};
use crate::model::access::Right;
use crate::service::deployments::Progress;
use crate::service::desk::{Desk, Refusal};
use crate::store::progress::OnComputer;

/// So many are named; the others have a page of their own.
const NAMED: usize = 8;

#[derive(Template)]
#[template(path = "deployment-waiting.html")]
struct WaitingPart {
    csrf: Html,
    base: String,
    /// Each with what its line says about it.
    lines: Vec<(OnComputer, String)>,
    more: bool,
    may_retry: bool,
}

/// The part of the page; empty where everybody is there.
pub(super) fn part(desk: &Desk, progress: &Progress, csrf: &str, fetches: &Fetches) -> Result<String, Refusal> {
    let line = &progress.summary.line;
    let deployment = &line.deployment;
    let mut found = desk.not_there_yet(progress, NAMED + 1)?;
    let more = found.len() > NAMED;
    found.truncate(NAMED);
    let said = |one: OnComputer| {
        let said = reason(&one, fetches, line.fragments);
        (one, said)
    };
    let part = WaitingPart {
        csrf: csrf_field(csrf),
        base: format!("/deployments/{}", deployment.id),
        lines: found.into_iter().map(said).collect(),
        more,
        may_retry: desk.may(Right::Deploy) && deployment.cancelled_at.is_none() && deployment.closed_at.is_none(),
    };
    part.render().map_err(Refusal::failed)
}
