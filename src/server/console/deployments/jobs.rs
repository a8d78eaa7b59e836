//! Attempts on computers as a list with its filter, ticks, and what is done to them: those of a deployment, or those of a
//! package in all of its deployments.

use askama::Template;

use super::super::call::Call;
use super::super::show::Html;
use super::{csrf_field, filter_text};
use crate::service::desk::Refusal;
use crate::store::progress::{OnComputer, Wanted};

/// What a list is of.
pub(in super::super) struct Of {
    /// The list's own address, without its filter.
    pub(in super::super) list: String,
    /// What is done to them is posted below this: `/retry`, `/cancel`, `/take-off`.
    pub(in super::super) acts: String,
    /// How many the filter shows, as far as that was counted.
    pub(in super::super) total: u64,
    pub(in super::super) may_retry: bool,
    pub(in super::super) may_take: bool,
    /// Are they of several deployments, so that each line names its own?
    pub(in super::super) by_deployment: bool,
    /// What it means that there are none.
    pub(in super::super) nobody: &'static str,
}

impl Of {
    /// Is there a box before each row?
    fn ticks(&self) -> bool {
        self.may_retry || self.may_take
    }
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    csrf: Html,
    of: Of,
    /// The address of this very list, for what is done in it.
    here: String,
    state: String,
    code: String,
    withheld: Option<String>,
    /// Each with what its line says about it.
    lines: Vec<(OnComputer, String)>,
    next: Option<String>,
}

/// Writes the list: of what was found, which may be one more, so many.
pub(in super::super) fn list(
    call: &Call,
    mut of: Of,
    wanted: Wanted,
    mut found: Vec<OnComputer>,
    rows: usize,
    reason: impl Fn(&OnComputer) -> String,
) -> Result<String, Refusal> {
    let more = found.len() > rows;
    found.truncate(rows);
    let next = found.last().filter(|_| more);
    let next = next.map(|last| format!("{}?{}after={}", of.list, filter_text(call), last.job.id));
    // Rare codes are not counted everywhere.
    of.total = of.total.max(found.len() as u64 + u64::from(more));
    let said = |line: OnComputer| {
        let reason = reason(&line);
        (line, reason)
    };
    let jobs = Jobs {
        csrf: csrf_field(&call.visit.csrf),
        here: format!("{}?{}", of.list, call.query_text),
        state: call.query.get("state").to_owned(),
        code: wanted.code.unwrap_or_default(),
        withheld: wanted.withheld,
        lines: found.into_iter().map(said).collect(),
        next,
        of,
    };
    jobs.render().map_err(Refusal::failed)
}
