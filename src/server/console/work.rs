//! `/packages/work`: builds and checks, watched live.

use std::time::Duration;

use askama::Template as _;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::call::{Call, Page, View, get};
use super::shell::Shell;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::service::works::{Activated, Kind as WorkKind, Outcome, StepState, Work};

/// Between two looks at something that goes on.
const TICK: Duration = Duration::from_millis(250);

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/packages/work/{work}", Right::SeePackages, work),
        get("/packages/work/{work}/live", Right::SeePackages, work_live),
    ]
}

#[derive(askama::Template)]
#[template(path = "work.html")]
struct WorkPage {
    shell: Shell,
    work: Work,
    state: String,
    may_activate: bool,
    may_deploy: bool,
}

impl WorkPage {
    fn is_build(&self) -> bool {
        self.work.kind == WorkKind::Build
    }

    /// What it was refused for though the package is built.
    fn not_activated(&self) -> Option<&str> {
        match &self.work.outcome {
            Outcome::Done { activated: Activated::Refused(sentence), .. } => Some(sentence),
            _ => None,
        }
    }

    fn is_built(&self) -> bool {
        matches!(self.work.outcome, Outcome::Done { .. })
    }

    fn is_activated(&self) -> bool {
        matches!(self.work.outcome, Outcome::Done { activated: Activated::Yes, .. })
    }

    /// What people read before its title.
    fn state_word(&self) -> &'static str {
        match (&self.work.outcome, self.is_build()) {
            (Outcome::Running, true) => "Building",
            (Outcome::Running, false) => "Activating",
            (Outcome::Failed(_), true) => "Not built:",
            (Outcome::Failed(_), false) => "Not activated:",
            (Outcome::Done { activated: Activated::NotAsked, .. }, _) => "Built:",
            (Outcome::Done { activated: Activated::Refused(_), .. }, _) => "Built, not activated:",
            (Outcome::Done { activated: Activated::Yes, .. }, true) => "Built and activated:",
            (Outcome::Done { activated: Activated::Yes, .. }, false) => "Activated:",
        }
    }

    fn runs(&self) -> bool {
        self.work.outcome == Outcome::Running
    }
}

#[derive(askama::Template)]
#[template(path = "work-state.html")]
struct WorkState<'a> {
    work: &'a Work,
}

fn state_html(work: &Work) -> Result<String, Refusal> {
    WorkState { work }.render().map_err(Refusal::failed)
}

fn find(call: &Call) -> Result<Work, Refusal> {
    let found = call.path.get("work").parse().ok().and_then(|id| call.site.works.find(id));
    let mine = |work: &Work| work.owner == call.desk().actor().name;
    found.filter(mine).ok_or_else(|| {
        Refusal::not_found(
            "there is no such work any more: the server was restarted since, look at the list of packages",
        )
    })
}

fn work(call: &Call) -> Result<View, Refusal> {
    let work = find(call)?;
    call.page(&WorkPage {
        shell: call.shell(work.title.clone(), "/packages"),
        state: state_html(&work)?,
        work,
        may_activate: call.desk().may(Right::ActivatePackages),
        may_deploy: call.desk().may(Right::Deploy),
    })
}

fn work_live(call: &Call) -> Result<View, Refusal> {
    let id = find(call)?.id;
    let works = call.site.works.clone();
    let mut told = None;
    Ok(events(move || {
        let work = works.find(id)?;
        if work.outcome != Outcome::Running {
            return Some((event("reload", ""), true));
        }
        if told == Some(work.version) {
            return Some((String::new(), false));
        }
        told = Some(work.version);
        Some((event("work", &state_html(&work).ok()?), false))
    }))
}

/// An event of a stream; its data may have several lines.
pub(super) fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.lines() {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    if data.is_empty() {
        text.push_str("data:\n");
    }
    text.push('\n');
    text
}

/// Server-sent events: what `next` gives every quarter of a second, until it says that this was the last.
pub(super) fn events(next: impl FnMut() -> Option<(String, bool)> + Send + 'static) -> View {
    let body = futures_util::stream::unfold((next, 0_u32, false), |(mut next, ticks, last)| async move {
        if last {
            return None;
        }
        if ticks > 0 {
            tokio::time::sleep(TICK).await;
        }
        let (mut text, last) = next()?;
        // A comment now and then: a client that is gone is noticed.
        if text.is_empty() && ticks % 60 == 0 {
            text.push_str(": still here\n\n");
        }
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), (next, ticks.wrapping_add(1), last)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    View::Other(Box::new(response))
}

/// A span as people read it: `19 min 30 s`.
pub(super) fn span(span: impl std::borrow::Borrow<Duration>) -> String {
    let seconds = span.borrow().as_secs();
    let pair = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {smaller}"),
    };
    match seconds {
        0 => "less than a minute".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_no_time_is_said_in_words() {
        for (seconds, text) in [(0, "less than a minute"), (59, "59 s"), (1170, "19 min 30 s"), (7200, "2 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn an_event_of_several_lines_is_one_event() {
        assert_eq!(event("work", "<p>\na</p>"), "event: work\ndata: <p>\ndata: a</p>\n\n");
        assert_eq!(event("reload", ""), "event: reload\ndata:\n\n");
    }
}
