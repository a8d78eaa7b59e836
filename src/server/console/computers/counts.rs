//! `/computers/counts`: how many computers say what, each number a way into the list.

use askama::Template;

use super::super::super::visit::escaped;
use super::super::call::{Call, View};
use super::super::shell::Shell;
use crate::service::desk::Refusal;
use crate::service::desk::computers::Asked;
use crate::service::desk::computers::details::{COUNTED, Tally};

/// Values that a page shows.
const VALUES: usize = 500;

#[derive(Template)]
#[template(path = "computers-counts.html")]
struct Counts {
    shell: Shell,
    /// What may be counted: its word and its title.
    choices: Vec<(String, String)>,
    by: String,
    q: String,
    tally: Tally,
    /// The most frequent value's number, for the bars.
    most: u64,
}

impl Counts {
    fn shown(&self) -> &[(String, u64, String)] {
        &self.tally.rows[..self.tally.rows.len().min(VALUES)]
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn address(&self, query: &str) -> String {
        format!("/computers?q={}", escaped(query))
    }
}

pub(super) fn counts(call: &Call) -> Result<View, Refusal> {
    let desk = call.desk();
    let facts = COUNTED.into_iter().map(|fact| (fact.as_str().to_owned(), title(fact.as_str()).to_owned()));
    let fields = desk.fields()?.into_iter().map(|summary| (summary.field.wire_name(), summary.field.name));
    let by = call.query.some("by").unwrap_or("tag").to_owned();
    let asked = Asked { query: call.query.get("q").to_owned(), ..Asked::default() };
    let mut tally = desk.tally(&asked, &by)?;
    let choices: Vec<(String, String)> = facts.chain(fields).collect();
    if let Some((_, title)) = choices.iter().find(|(word, _)| *word == by) {
        tally.title.clone_from(title);
    }
    call.page(&Counts {
        shell: call.shell("Computers, counted", "/computers"),
        choices,
        by,
        q: asked.query,
        most: tally.rows.first().map_or(1, |(_, count, _)| *count),
        tally,
    })
}

fn title(fact: &str) -> &str {
    match fact {
        "tag" => "Tag",
        "os" => "System",
        "os_version" => "System's version",
        "architecture" => "Architecture",
        "model" => "Model",
        "workgroup" => "Workgroup",
        "user" => "User",
        "agent" => "Agent",
        "proven" => "Identity",
        other => other,
    }
}
