//! Telling others how deployments go on.
//!
//! Each webhook remembers the last event that it was told of, and for each deployment how far it was told. From the events
//! since then follow the deployments to look at, and from their counts the messages: a beginning, whether others have to
//! agree, each tenth, failures, the end. A message counts as told when the other side answered 2xx; then it is written down. So each is told at least once,
//! and more than once if the server dies in between: its `id` stays the same.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::App;
use crate::clock::utc_text;
use crate::fetch::poster::Poster;
use crate::model::{DeploymentId, JobState, UnixTime};
use crate::store::deployments::DeploymentLine;
use crate::store::webhooks::{self, Delivery, Told, Webhook};
use crate::store::{Conn, StoreError, deployments, events, jobs};

/// Events looked at in one go.
const WINDOW: i64 = 10_000;
/// After so many attempts that failed one after the other, a webhook is switched off: two days, with these pauses.
pub const GIVEN_UP: u64 = 56;
/// The first pause; each is twice the one before, up to an hour.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_hours(1);

/// Something to tell.
#[derive(Clone, Debug)]
pub struct Message {
    /// What: `deployment.started`.
    pub event: &'static str,
    /// Of which deployment.
    pub deployment: Option<DeploymentId>,
    /// Stays the same when it is told again.
    pub id: String,
    /// What stands in it beside these.
    body: Value,
    /// What is remembered when it was told.
    told: Told,
}

impl Message {
    /// The message of the button "Test".
    pub fn test(now: UnixTime) -> Self {
        Self {
            event: "test",
            deployment: None,
            id: format!("test-{}", now.millis()),
            body: json!({}),
            told: Told::default(),
        }
    }
}

/// A deployment as it is now.
#[derive(Clone)]
struct Look {
    line: DeploymentLine,
    counts: Vec<(JobState, u64)>,
}

impl Look {
    fn count(&self, wanted: impl Fn(JobState) -> bool) -> u64 {
        self.counts.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum()
    }

    fn failures(&self) -> u64 {
        self.count(|state| matches!(state, JobState::Failed | JobState::Expired))
    }

    fn body(&self) -> Value {
        let (deployment, total) = (&self.line.deployment, self.count(|_| true));
        let done = self.count(|state| !state.is_open());
        let states: serde_json::Map<String, Value> =
            self.counts.iter().map(|(state, count)| (state.as_str().to_owned(), (*count).into())).collect();
        json!({
            "deployment": {
                "id": deployment.id.0,
                "package": deployment.package.number(),
                "name": self.line.package_name,
                "version": self.line.package_version,
                "created_by": self.line.created_by,
                "computers": total,
                "percent_done": done.saturating_mul(100).checked_div(total).unwrap_or(0),
                "states": states,
                "waits_for_approval": self.line.awaits_approval,
            }
        })
    }

    /// What is new in it for somebody who was told `before`; what is remembered without a message, if there is none.
    fn messages(&self, hook: &Webhook, before: Option<Told>) -> (Vec<Message>, Told) {
        let total = self.count(|_| true);
        let done = self.count(|state| !state.is_open());
        let step = done.saturating_mul(10).checked_div(total).unwrap_or(0);
        let cancelled = self.line.deployment.cancelled_at.is_some();
        let id = self.line.deployment.id;
        let is_new = id.0 > hook.told_deployment;
        // One that was under way when the webhook was made begins where it is.
        let waits = self.line.awaits_approval;
        let step_then = if is_new { 0 } else { step };
        let was = before.unwrap_or(Told { step: step_then, failures: 0, ended: false, waits: !is_new && waits });
        let now = Told { step, failures: self.failures(), ended: cancelled || (total > 0 && done == total), waits };
        let mut found = Vec::new();
        let mut told = was;
        let mut say = |event, mark: u64, told: Told| {
            found.push(Message {
                event,
                deployment: Some(id),
                id: format!("{}-{}-{event}-{mark}", hook.id, id.0),
                body: self.body(),
                told,
            });
        };
        if before.is_none() && is_new {
            say("deployment.started", 0, told);
        }
        if waits != was.waits && !cancelled {
            told.waits = waits;
            say(if waits { "deployment.waiting" } else { "deployment.approved" }, 0, told);
        }
        if now.failures > was.failures {
            told.failures = now.failures;
            say("deployment.failures", now.failures, told);
        }
        if now.step > was.step && !now.ended {
            told.step = now.step;
            say("deployment.progress", now.step * 10, told);
        }
        if now.ended && !was.ended {
            told = now;
            say(if cancelled { "deployment.cancelled" } else { "deployment.done" }, now.step, told);
        }
        // What went back (a retry opened it again) is remembered without a word.
        (found, now)
    }
}

/// What a webhook is to be told.
struct Due {
    messages: Vec<Message>,
    silent: Vec<(DeploymentId, Told)>,
    event: i64,
    deployment: i64,
}

impl Due {
    fn is_nothing_for(&self, hook: &Webhook) -> bool {
        self.messages.is_empty() && self.event == hook.told_event && self.deployment == hook.told_deployment
    }
}

fn due(conn: &mut Conn, hook: &Webhook, looks: &mut HashMap<DeploymentId, Option<Look>>) -> Result<Due, StoreError> {
    let event = events::last(conn)?.min(hook.told_event.saturating_add(WINDOW));
    let mut ids: BTreeSet<DeploymentId> =
        events::deployments_between(conn, hook.told_event, event)?.into_iter().collect();
    let mut deployment = hook.told_deployment;
    let mut before = None;
    'newer: loop {
        let page = deployments::list(conn, before, 100)?;
        for line in &page {
            if line.deployment.id.0 <= hook.told_deployment {
                break 'newer;
            }
            deployment = deployment.max(line.deployment.id.0);
            ids.insert(line.deployment.id);
        }
        before = page.last().map(|line| line.deployment.id);
        if page.is_empty() {
            break;
        }
    }
    // A deployment that stands for those who come may be cancelled without a job that says so, and one is approved so.
    for (id, waits) in webhooks::unended(conn, hook.id)? {
        let is_other = |it: DeploymentLine| it.deployment.cancelled_at.is_some() || it.awaits_approval != waits;
        if !ids.contains(&id) && deployments::find(conn, id)?.is_some_and(is_other) {
            ids.insert(id);
        }
    }
    let mut due = Due { messages: Vec::new(), silent: Vec::new(), event, deployment };
    for id in ids {
        let look = if let Some(look) = looks.get(&id) {
            look.clone()
        } else {
            let counts = jobs::counts_of_deployments(conn, Some(id))?;
            let counts = counts.into_iter().map(|(_, state, count)| (state, count)).collect();
            let look = deployments::find(conn, id)?.map(|line| Look { line, counts });
            looks.insert(id, look.clone());
            look
        };
        let Some(look) = look else { continue };
        let (messages, now) = look.messages(hook, webhooks::progress(conn, hook.id, id)?);
        if messages.is_empty() {
            due.silent.push((id, now));
        }
        due.messages.extend(messages);
    }
    Ok(due)
}

/// Tells every webhook what it has not been told yet. Blocks while others answer; each has a thread of its own, so that one
/// that hangs holds up nobody else.
pub fn tell(app: &App, poster: &Poster) -> Result<(), StoreError> {
    let now = app.clock.now();
    let rounds = app.store.read_now(move |conn| -> Result<Vec<(Webhook, Due)>, StoreError> {
        let (mut looks, mut rounds) = (HashMap::new(), Vec::new());
        for hook in webhooks::list(conn)?.into_iter().filter(|hook| hook.enabled && hook.next_attempt <= now) {
            let due = due(conn, &hook, &mut looks)?;
            if !due.is_nothing_for(&hook) {
                rounds.push((hook, due));
            }
        }
        Ok(rounds)
    })?;
    std::thread::scope(|scope| {
        let started: Vec<_> = rounds
            .into_iter()
            // Without a thread it is told in the next round.
            .filter_map(|(hook, due)| {
                std::thread::Builder::new().spawn_scoped(scope, move || tell_one(app, poster, &hook, due)).ok()
            })
            .collect();
        let ended: Vec<_> = started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        ended.into_iter().collect()
    })
}

/// Tells one webhook its messages in their order, up to the first that is refused.
fn tell_one(app: &App, poster: &Poster, hook: &Webhook, due: Due) -> Result<(), StoreError> {
    for message in &due.messages {
        match deliver(app, poster, hook, message) {
            Ok(_) => {}
            // It is written down, with the moment when it is tried again.
            Err(DeliveryError::Refused(_)) => return Ok(()),
            Err(DeliveryError::Store(error)) => return Err(error),
        }
    }
    let id = hook.id;
    app.store.write_now(move |conn| {
        conn.alters_no_answer();
        if webhooks::find(conn, id)?.is_none() {
            return Ok(());
        }
        for (deployment, told) in due.silent {
            webhooks::set_progress(conn, id, deployment, told)?;
        }
        webhooks::told(conn, id, due.event, due.deployment)
    })
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The other side.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells one message and writes down what became of it. Gives the milliseconds that it took.
pub fn deliver(app: &App, poster: &Poster, hook: &Webhook, message: &Message) -> Result<i64, DeliveryError> {
    let mut document = message.body.clone();
    document["id"] = message.id.as_str().into();
    document["event"] = message.event.into();
    document["at"] = utc_text(app.clock.now()).into();
    let deployment = message.deployment.map(|id| id.0);
    let attempt = attempt(app, poster, hook, message.event, deployment, &message.id, document.to_string());
    // A test that fails says so to whoever pressed the button; it does not slow the others down.
    record(app, hook.id, attempt, message.deployment.map(|id| (id, message.told)))
}

/// Tells once more, by hand, what was told before: the same document under the same id, signed anew. Gives the milliseconds
/// that it took.
pub fn redeliver(app: &App, poster: &Poster, hook: &Webhook, before: &Delivery) -> Result<i64, DeliveryError> {
    let (id, document) = (&before.message_id, before.document.clone());
    record(app, hook.id, attempt(app, poster, hook, &before.event, before.deployment_id, id, document), None)
}

/// Posts a document. What comes back is an attempt as it is remembered.
fn attempt(
    app: &App,
    poster: &Poster,
    hook: &Webhook,
    event: &str,
    deployment: Option<i64>,
    message_id: &str,
    document: String,
) -> Delivery {
    let now = app.clock.now();
    let time = now.millis().div_euclid(1000).to_string();
    let signature = signature(&hook.secret, &time, &document);
    let headers = [
        ("X-Dripfeed-Event", event),
        ("X-Dripfeed-Delivery", message_id),
        ("X-Dripfeed-Timestamp", &time),
        ("X-Dripfeed-Signature", &signature),
    ];
    let begun = Instant::now();
    let sent = match hook.url.parse() {
        Ok(url) => poster.post(&url, &headers, &document).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error}")),
    };
    Delivery {
        id: 0,
        at: now.millis(),
        event: event.to_owned(),
        deployment_id: deployment,
        milliseconds: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
        error: sent.err(),
        message_id: message_id.to_owned(),
        document,
    }
}

/// Writes an attempt down. With what the message tells of a deployment, a failure slows the next ones down; what was done by
/// hand does not.
fn record(app: &App, id: i64, delivery: Delivery, tells: Option<(DeploymentId, Told)>) -> Result<i64, DeliveryError> {
    let (took, error) = (delivery.milliseconds, delivery.error.clone());
    app.store.write_now(move |conn| -> Result<(), StoreError> {
        conn.alters_no_answer();
        // As it is now, not as it was when the other side was asked: it may be gone, or have been changed.
        let Some(hook) = webhooks::find(conn, id)? else { return Ok(()) };
        webhooks::add_delivery(conn, id, &delivery)?;
        match (&delivery.error, tells) {
            (None, tells) => {
                if let Some((deployment, told)) = tells {
                    webhooks::set_progress(conn, id, deployment, told)?;
                }
                webhooks::succeeded(conn, id, delivery.at())
            }
            (Some(_), None) => Ok(()),
            (Some(why), Some(_)) => webhooks::failed(conn, id, why, next_attempt(hook.failures, delivery.at())),
        }
    })?;
    error.map_or(Ok(took), |why| Err(DeliveryError::Refused(why)))
}

/// When to try again after one more failure than these; `None` to give up.
fn next_attempt(failures: u64, now: UnixTime) -> Option<UnixTime> {
    if failures + 1 >= GIVEN_UP {
        return None;
    }
    let pause = PAUSE.saturating_mul(1 << failures.min(16));
    Some(now.plus(pause.min(LONGEST)))
}

/// `sha256=` and the HMAC-SHA256 of time, a dot and the document.
pub fn signature(secret: &str, time: &str, document: &str) -> String {
    let mut text = "sha256=".to_owned();
    // A key of any length is taken.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        mac.update(format!("{time}.{document}").as_bytes());
        for byte in mac.finalize().into_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_an_hmac_of_time_and_document() {
        // Worked out with another program: printf '1795168800.{}' | openssl dgst -sha256 -hmac key
        let expected = "sha256=238cca43c42f907633a3f3cedd1441048b3a4359e87132e515a183eee9d0f161";
        assert_eq!(signature("key", "1795168800", "{}"), expected);
        assert_ne!(signature("key", "1795168800", "{}"), signature("other", "1795168800", "{}"));
        assert_ne!(signature("key", "1795168800", "{}"), signature("key", "1795168801", "{}"));
    }

    #[test]
    fn pauses_grow_to_an_hour_and_then_it_is_given_up() {
        let now = UnixTime::from_millis(0);
        let pause = |failures| next_attempt(failures, now).map(UnixTime::millis);
        assert_eq!((pause(0), pause(1), pause(3)), (Some(10_000), Some(20_000), Some(80_000)));
        assert_eq!(pause(40), Some(3_600_000));
        assert_eq!(pause(GIVEN_UP - 1), None);
    }
}
