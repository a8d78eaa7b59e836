//! What the server counts of itself, and `GET /metrics`, which tells it.
//!
//! Names are the promise to whoever watches: they stand in docs/operations.md, and a test compares.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{Listener, Remote, Site, pages, reply};
use crate::config::server::Metrics;
use crate::model::{AddressRange, Digest, DigestAlgorithm, Hasher, JobState};
use crate::service::App;
use crate::store::{StoreError, figures, jobs};
use crate::telemetry::measure::{Histogram, Unit, heading};

/// How long a count of the database is told again: with millions of jobs it takes a tenth of a second.
const COUNTED: Duration = Duration::from_secs(15);

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Prolog,
    Inventory,
    Report,
    Notify,
    Update,
    Snmp,
    /// At the agents' door, and refused before it was known what it is.
    Unread,
    Fragment,
    Info,
    Manifest,
    /// Health and these numbers.
    Health,
    /// All else: pages, and addresses that there are not.
    Page,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Prolog,
        Self::Inventory,
        Self::Report,
        Self::Notify,
        Self::Update,
        Self::Snmp,
        Self::Unread,
        Self::Fragment,
        Self::Info,
        Self::Manifest,
        Self::Health,
        Self::Page,
    ];

    /// Its word in numbers and log lines.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Prolog => "prolog",
            Self::Inventory => "inventory",
            Self::Report => "report",
            Self::Notify => "notify",
            Self::Update => "update",
            Self::Snmp => "snmp",
            Self::Unread => "unread",
            Self::Fragment => "fragment",
            Self::Info => "info",
            Self::Manifest => "manifest",
            Self::Health => "health",
            Self::Page => "page",
        }
    }

    /// What a path says; a handler that knows better puts its own into the response's extensions.
    pub(super) fn of_path(path: &str) -> Self {
        match path {
            "/healthz" | "/readyz" | "/metrics" => Self::Health,
            _ if path.starts_with("/ocsinventory") => Self::Unread,
            _ if path.starts_with("/download/manifest") => Self::Manifest,
            _ if path.starts_with("/download/") && path.ends_with("/info") => Self::Info,
            _ if path.starts_with("/download/") => Self::Fragment,
            _ => Self::Page,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Answered,
    /// 4xx: not as it should be.
    Refused,
    /// 5xx: our fault, or not now.
    Failed,
    /// The connection went before its answer.
    Cut,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Refused, Self::Failed, Self::Cut];

    pub(super) fn of(status: StatusCode, complete: bool) -> Self {
        match status.as_u16() {
            _ if !complete => Self::Cut,
            500.. => Self::Failed,
            400.. => Self::Refused,
            _ => Self::Answered,
        }
    }

    /// Its word in numbers and log lines.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}

/// The numbers of a running server.
#[derive(Debug)]
pub(super) struct Meters {
    requests: [[AtomicU64; 4]; 12],
    durations: [Histogram; 12],
    /// Bytes of answers from the tree, heads included; by listener.
    tree: [AtomicU64; 2],
    open: [AtomicU64; 2],
    /// Connections that were refused because their address has its share.
    turned_away: AtomicU64,
    counted: Mutex<Option<(Instant, Arc<Counted>)>>,
}

/// What the database was asked.
#[derive(Debug)]
struct Counted {
    computers: u64,
    jobs: Vec<(JobState, u64)>,
}

impl Meters {
    pub(super) fn new() -> Self {
        const BOUNDS: &[u64] = &[
            500,
            1000,
            2500,
            5000,
            10_000,
            25_000,
            50_000,
            100_000,
            250_000,
            500_000,
            1_000_000,
            10_000_000,
            60_000_000,
            600_000_000,
        ];
        Self {
            requests: Default::default(),
            durations: std::array::from_fn(|_| Histogram::new(Unit::Microseconds, BOUNDS)),
            tree: Default::default(),
            open: Default::default(),
            turned_away: AtomicU64::new(0),
            counted: Mutex::default(),
        }
    }

    /// A request ended: so many bytes and so long after its head was complete.
    pub(super) fn request(&self, kind: Kind, outcome: Outcome, listener: Listener, bytes: u64, took: Duration) {
        self.requests[kind as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.durations[kind as usize].observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if matches!(kind, Kind::Fragment | Kind::Info) {
            self.tree[listener as usize].fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A connection is open until this is dropped.
    pub(super) fn connection(self: &Arc<Self>, listener: Listener) -> Open {
        self.open[listener as usize].fetch_add(1, Ordering::Relaxed);
        Open { meters: Arc::clone(self), listener }
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts in the database, unless that was done a moment ago.
    fn count(&self, app: &App) -> Result<Arc<Counted>, StoreError> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = &*counted
            && at.elapsed() < COUNTED
        {
            return Ok(Arc::clone(known));
        }
        let fresh = app.store.read_now(|conn| -> Result<_, StoreError> {
            let mut by_state: Vec<(JobState, u64)> = JobState::ALL.iter().map(|state| (*state, 0)).collect();
            for (_, state, count) in jobs::counts(conn, None)? {
                if let Some((_, sum)) = by_state.iter_mut().find(|(known, _)| *known == state) {
                    *sum += count;
                }
            }
            Ok(Counted { computers: figures::computers(conn)?, jobs: by_state })
        })?;
        let fresh = Arc::new(fresh);
        *counted = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }

    fn text(&self, app: &App, counted: &Counted) -> String {
        let mut out = String::with_capacity(16 << 10);
        let listeners = [(Listener::Http, "http"), (Listener::Https, "https")];
        // Writing to a String cannot fail.
        heading(&mut out, "dripfeed_build_info", "gauge", "1; the version is in the label.");
        let _ = writeln!(out, "dripfeed_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        heading(&mut out, "dripfeed_requests_total", "counter", "Requests, by what they are about and how they ended.");
        for kind in Kind::ALL {
            for outcome in Outcome::ALL {
                let count = self.requests[kind as usize][outcome as usize].load(Ordering::Relaxed);
                // Not 48 lines of nothing: a pair appears with its first request.
                if count > 0 || (kind == Kind::Prolog && outcome == Outcome::Answered) {
                    let (kind, outcome) = (kind.as_str(), outcome.as_str());
                    let _ = writeln!(out, "dripfeed_requests_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} {count}");
                }
            }
        }
        let name = "dripfeed_request_duration_seconds";
        heading(&mut out, name, "histogram", "From a request's complete head to the last byte of its answer.");
        for kind in Kind::ALL {
            let histogram = &self.durations[kind as usize];
            if histogram.count() > 0 {
                histogram.write(&mut out, name, &format!("kind=\"{}\"", kind.as_str()));
            }
        }
        heading(&mut out, "dripfeed_tree_sent_bytes_total", "counter", "Bytes of answers from the download tree.");
        for (listener, word) in listeners {
            let bytes = self.tree[listener as usize].load(Ordering::Relaxed);
            let _ = writeln!(out, "dripfeed_tree_sent_bytes_total{{listener=\"{word}\"}} {bytes}");
        }
        heading(&mut out, "dripfeed_connections", "gauge", "Connections that are open.");
        for (listener, word) in listeners {
            let open = self.open[listener as usize].load(Ordering::Relaxed);
            let _ = writeln!(out, "dripfeed_connections{{listener=\"{word}\"}} {open}");
        }
        let name = "dripfeed_connections_refused_total";
        heading(
            &mut out,
            name,
            "counter",
            "Connections of addresses that had their share (limits.connections_per_peer).",
        );
        let _ = writeln!(out, "{name} {}", self.turned_away.load(Ordering::Relaxed));
        let commits = app.store.commits();
        let name = "dripfeed_commit_changes";
        heading(&mut out, name, "histogram", "Changes that were committed together.");
        commits.changes.write(&mut out, name, "");
        let name = "dripfeed_commit_duration_seconds";
        heading(&mut out, name, "histogram", "How long a commit took, from its beginning to the end of its sync.");
        commits.time.write(&mut out, name, "");
        heading(&mut out, "dripfeed_commits_failed_total", "counter", "Commits that did not hold.");
        let _ = writeln!(out, "dripfeed_commits_failed_total {}", commits.failed());
        if app.store.memo().is_on() {
            let (found, missed) = app.store.memo().uses();
            heading(
                &mut out,
                "dripfeed_kept_total",
                "counter",
                "Check-ins, by whether something was kept of the computer.",
            );
            let _ = writeln!(out, "dripfeed_kept_total{{found=\"yes\"}} {found}");
            let _ = writeln!(out, "dripfeed_kept_total{{found=\"no\"}} {missed}");
        }
        heading(&mut out, "dripfeed_computers", "gauge", "Computers, without those that were put away.");
        let _ = writeln!(out, "dripfeed_computers {}", counted.computers);
        heading(&mut out, "dripfeed_jobs", "gauge", "Jobs, by state.");
        for (state, count) in &counted.jobs {
            let _ = writeln!(out, "dripfeed_jobs{{state=\"{}\"}} {count}", state.as_str());
        }
        if let Ok(free) = app.tree.free() {
            heading(&mut out, "dripfeed_free_bytes", "gauge", "Bytes left where packages are built and published.");
            let _ = writeln!(out, "dripfeed_free_bytes {free}");
        }
        out
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Open {
    meters: Arc<Meters>,
    listener: Listener,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.meters.open[self.listener as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who may read the numbers.
#[derive(Debug)]
pub(super) struct Readers {
    peers: Vec<AddressRange>,
    /// SHA-256 of the token: what is compared tells nothing about it, however long the comparison takes.
    token: Option<Digest>,
}

impl Readers {
    pub(super) fn new(config: &Metrics) -> Self {
        Self { peers: config.peers.clone(), token: config.token.as_ref().map(|token| digest(token.as_bytes())) }
    }

    /// The refusal for whoever is not this machine and not what the configuration asks for.
    fn refuse(&self, remote: &Remote, listener: Listener, headers: &HeaderMap) -> Option<Response> {
        let forbidden = |sentence| Some(reply::text(StatusCode::FORBIDDEN, sentence));
        if pages::is_local(remote) {
            return None;
        }
        if self.peers.is_empty() && self.token.is_none() {
            return forbidden(
                "these numbers are told to this machine only (127.0.0.1, ::1), unless metrics.peers or metrics.token in \
                 dripfeed.toml say otherwise",
            );
        }
        let address = remote.0.ip();
        if !self.peers.is_empty() && !self.peers.iter().any(|range| range.contains(address)) {
            return forbidden("these numbers are told to this machine and to metrics.peers only");
        }
        let wanted = self.token?;
        if listener == Listener::Http {
            return forbidden("the token would travel in clear: ask the HTTPS address for this page");
        }
        let shown = headers.get(AUTHORIZATION).map_or(&[] as &[u8], HeaderValue::as_bytes);
        let token = shown.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        if token.is_some_and(|(_, token)| digest(token.trim_ascii()) == wanted) {
            return None;
        }
        let mut response = reply::text(StatusCode::UNAUTHORIZED, "show metrics.token: Authorization: Bearer TOKEN");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(bytes);
    hasher.finish()
}

/// `GET /metrics`.
pub(super) async fn metrics(
    State(site): State<Site>,
    Extension(remote): Extension<Remote>,
    Extension(listener): Extension<Listener>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = site.readers.refuse(&remote, listener, &headers) {
        return refusal;
    }
    let told = tokio::task::spawn_blocking(move || -> Result<String, StoreError> {
        let counted = site.meters.count(&site.app)?;
        Ok(site.meters.text(&site.app, &counted))
    });
    match told.await {
        Ok(Ok(text)) => {
            let length = text.len();
            let mut response = Response::new(Body::from(text));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Ok(Err(error)) => {
            tracing::error!("failed to count for /metrics: {:#}", anyhow::Error::from(error));
            reply::later("the database did not answer; the log says why")
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
        let words: std::collections::BTreeSet<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }

    #[test]
    fn a_path_says_what_is_asked_for() {
        let kinds = ["/", "/ocsinventory", "/download/7/info", "/download/7/7-1", "/download/manifest/7", "/readyz"]
            .map(|path| Kind::of_path(path).as_str());
        assert_eq!(kinds, ["page", "unread", "info", "fragment", "manifest", "health"]);
    }

    #[test]
    fn an_answer_that_was_cut_is_neither_answered_nor_failed() {
        let outcome =
            |status, complete| Outcome::of(StatusCode::from_u16(status).expect("a status"), complete).as_str();
        assert_eq!(
            [outcome(200, true), outcome(206, false), outcome(410, true), outcome(503, true)],
            ["answered", "cut", "refused", "failed"]
        );
    }

    #[test]
    fn others_read_the_numbers_when_they_are_all_that_was_asked_for() {
        let status = |peers: &str, token: Option<&str>, from: &str, listener, shown: &str| {
            let peers =
                peers.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().expect(text)).collect();
            let readers = Readers::new(&Metrics { peers, token: token.map(str::to_owned) });
            let mut headers = HeaderMap::new();
            if !shown.is_empty() {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(shown).expect("a header"));
            }
            let remote = Remote((from.parse::<std::net::IpAddr>().expect(from), 9).into());
            readers.refuse(&remote, listener, &headers).map_or(200, |response| response.status().as_u16())
        };
        let (http, https, token) = (Listener::Http, Listener::Https, Some("0123456789abcdef"));
        let right = "Bearer 0123456789abcdef";
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status("10.0.0.1", token, local, http, ""), 200, "{local}");
        }
        assert_eq!(status("", None, "10.0.0.1", https, right), 403, "nothing is set");
        assert_eq!(status("10.0.0.0/24,fd00::7", None, "10.0.0.1", http, ""), 200);
        assert_eq!(status("10.0.0.0/24,fd00::7", None, "::ffff:10.0.0.1", http, ""), 200);
        assert_eq!(status("10.0.0.0/24,fd00::7", None, "10.0.1.1", https, ""), 403);
        for (shown, expected) in [
            (right, 200),
            ("bearer  0123456789abcdef", 200),
            ("", 401),
            ("Bearer", 401),
            ("Bearer ", 401),
            ("Bearer 0123456789abcdeg", 401),
            ("Bearer 0123456789abcdef0", 401),
            ("Basic 0123456789abcdef", 401),
        ] {
            assert_eq!(status("", token, "10.0.0.1", https, shown), expected, "{shown:?}");
        }
        assert_eq!(status("", token, "10.0.0.1", http, right), 403, "it would travel in clear");
        assert_eq!(status("10.0.0.2", token, "10.0.0.1", https, right), 403, "both are asked for");
        assert_eq!(status("10.0.0.1", token, "10.0.0.1", https, right), 200);
        assert_eq!(status("10.0.0.1", token, "10.0.0.1", https, ""), 401);
    }

    #[test]
    fn a_connection_is_counted_while_it_is_open() {
        let meters = Arc::new(Meters::new());
        let open = meters.connection(Listener::Https);
        assert_eq!(meters.open[Listener::Https as usize].load(Ordering::Relaxed), 1);
        drop(open);
        assert_eq!(meters.open[Listener::Https as usize].load(Ordering::Relaxed), 0);
    }
}
