//! What is told as it happens: server-sent events, made by asking the desk again while somebody looks.
//!
//! Nothing is pushed from where it happens: agents report to the database, other programs write there, too, and a
//! question every two seconds for each open page is cheap. A stream ends when the session does, when the server stops,
//! and after a while in any case; the browser comes back by itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::visit::{Visit, blocking};
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::signin;

/// Streams at a time.
const PLACES: usize = 512;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks without news after which a line is sent, so that a peer that is gone is noticed.
const QUIET: u32 = 7;
/// A stream's life: a token that was taken back is noticed at the next one.
const LIFE: Duration = Duration::from_mins(10);

/// Everybody who is told things as they happen.
#[derive(Clone, Debug)]
pub(super) struct Audience {
    places: Arc<Semaphore>,
    stopping: Arc<watch::Sender<bool>>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), stopping: Arc::new(watch::Sender::new(false)) }
    }
}

impl Audience {
    /// Ends every stream: the server stops.
    pub(super) fn dismiss(&self) {
        self.stopping.send_replace(true);
    }
}

/// What there is to tell: names and texts. What was told in the same words before is left out.
pub(super) type Told = Vec<(&'static str, String)>;

type Look = Arc<dyn Fn(&Desk) -> Result<Told, Refusal> + Send + Sync>;

struct Listener {
    look: Look,
    visit: Visit,
    app: crate::service::App,
    told: HashMap<&'static str, [u8; 32]>,
    quiet: u32,
    until: Instant,
    is_first: bool,
    is_known: bool,
    has_ended: bool,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// An answer that goes on: what `look` gives, now and whenever it is another; with `is_known`, whoever asks has what it
/// gives now. A refusal ends it.
pub(super) fn answer(
    site: &super::Site,
    visit: &Visit,
    is_known: bool,
    look: impl Fn(&Desk) -> Result<Told, Refusal> + Send + Sync + 'static,
) -> Result<Response, Refusal> {
    let place = Arc::clone(&site.audience.places).try_acquire_owned().map_err(|_| {
        Refusal::new(
            Kind::Later,
            "too many pages are kept up to date already: this one shows what was true when it came",
        )
    })?;
    let listener = Listener {
        look: Arc::new(look),
        visit: visit.clone(),
        app: site.app.clone(),
        told: HashMap::new(),
        quiet: 0,
        until: Instant::now() + LIFE,
        is_first: true,
        is_known,
        has_ended: false,
        stopping: site.audience.stopping.subscribe(),
        _place: place,
    };
    let stream = unfold(listener, |mut listener| async move {
        let chunk = listener.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), listener))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // For proxies that keep answers back until they are whole.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Listener {
    /// The next piece of the answer; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        loop {
            if !self.is_first {
                tokio::select! {
                    () = sleep(EVERY) => {}
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                }
            }
            if *self.stopping.borrow() || Instant::now() > self.until {
                return None;
            }
            let mut text = String::new();
            if self.is_first {
                text.push_str("retry: 3000\n\n");
            }
            self.is_first = false;
            let (look, visit, app) = (Arc::clone(&self.look), self.visit.clone(), self.app.clone());
            let news = blocking(move || -> Result<Option<Told>, Refusal> {
                if !signin::is_still(&app, &visit.visitor)? {
                    return Ok(None);
                }
                look(&visit.desk).map(Some)
            });
            match news.await {
                Ok(Some(news)) => {
                    for (name, body) in news {
                        let digest = Sha256::digest(&body).into();
                        let before = self.told.insert(name, digest);
                        if before != Some(digest) && !(self.is_known && before.is_none()) {
                            event(&mut text, name, &body);
                        }
                    }
                    self.is_known = false;
                }
                Err(refusal) if matches!(refusal.kind, Kind::Later | Kind::Failed) => {
                    if refusal.kind == Kind::Failed {
                        tracing::error!("a page could not be kept up to date: {refusal}");
                    }
                }
                // The page comes anew, and with it the way to sign in or the sentence that refuses it.
                Ok(None) | Err(_) => {
                    event(&mut text, "reload", "");
                    self.has_ended = true;
                }
            }
            self.quiet += 1;
            if text.is_empty() && self.quiet >= QUIET {
                text.push_str(":\n\n");
            }
            if !text.is_empty() {
                self.quiet = 0;
                return Some(text.into());
            }
        }
    }
}

/// One event; a line of its text a line of data.
fn event(text: &mut String, name: &str, body: &str) {
    let _ = writeln!(text, "event: {name}");
    for line in body.split(['\n', '\r']) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_lines_is_one_event() {
        let mut text = String::new();
        event(&mut text, "progress", "<p>\r\n\n</p>event: evil");
        insta::assert_snapshot!(text.trim_end(), @r"
        event: progress
        data: <p>
        data: 
        data: 
        data: </p>event: evil
        ");
    }
}
