//! `dripfeed why COMPUTER PACKAGE`

use serde::Serialize;

use super::args::{Place, Why as Options};
use super::context::open;
use super::output::{Output, printable};
use super::status::JobView;
use super::{Done, Failure};
use crate::clock;
use crate::service::assign::AssignError;
use crate::service::why::{Evidence, WhyError, why};
use crate::store::jobs;

/// The answer as JSON.
#[derive(Serialize)]
struct View {
    computer: String,
    device_id: String,
    package: u32,
    stage: &'static str,
    sentence: String,
    job: Option<JobView>,
    last_contact: String,
    next_contact: String,
    evidence: Vec<Fact>,
}

/// What it rests on.
#[derive(Serialize)]
struct Fact {
    at: String,
    text: String,
}

pub(super) fn run(place: &Place, options: &Options, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let answer = why(&app, &options.computer, options.package).map_err(|error| match error {
        WhyError::Store(_) | WhyError::Computer(AssignError::Store(_)) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    })?;
    if !options.json {
        output.line(printable(&answer.sentence))?;
        output.line("")?;
        return answer.evidence.iter().try_for_each(|fact| {
            output.line(format_args!("{}  {}", clock::local_text(fact.at), printable(&fact.text)))
        });
    }
    let (computer, package) = (answer.computer.id, answer.package.id);
    let job = match answer.job.as_ref().map(|job| job.id) {
        None => None,
        Some(id) => {
            let lines = app.store.read_now(move |conn| {
                jobs::list(conn, Some(package), Some(computer), Some(crate::model::JobId(id.0 - 1)), 1)
            })?;
            lines.first().map(JobView::from)
        }
    };
    let fact = |fact: &Evidence| Fact { at: clock::utc_text(fact.at), text: fact.text.clone() };
    output.json(&View {
        computer: answer.computer.name.clone(),
        device_id: answer.computer.device_id.to_string(),
        package: package.number(),
        stage: answer.stage.as_str(),
        sentence: answer.sentence.clone(),
        job,
        last_contact: clock::utc_text(answer.computer.last_contact),
        next_contact: clock::utc_text(answer.next_contact),
        evidence: answer.evidence.iter().map(fact).collect(),
    })
}
