//! What happens around every request: its number, its log line, the net under panics.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Method, Request, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

use super::connection::Activity;
use super::meters::{Kind, Meters, Outcome};
use super::tree::{self, FileAnswer, Wish};
use super::{Listener, Remote, Site, reply};
use crate::model::UnixTime;
use crate::telemetry::{self, lines};

/// Characters of a path or a user agent that a log line shows.
const SHOWN: usize = 120;

/// A request's number: unique in this process, and told apart from other runs in a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId {
    run: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.run, self.number)
    }
}

/// Gives out request numbers.
#[derive(Debug)]
pub(super) struct RequestIds {
    run: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut run = [0; 4];
        // Without randomness the numbers are merely not told apart from those of another run.
        let _ = getrandom::fill(&mut run);
        Self { run: u32::from_ne_bytes(run), next: AtomicU64::new(1) }
    }

    fn next(&self) -> RequestId {
        RequestId { run: self.run, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A request under way: what is counted of it, and its line of the access log.
#[derive(Debug)]
pub(super) struct Record {
    meters: Arc<Meters>,
    listener: Listener,
    kind: Kind,
    status: StatusCode,
    started: Instant,
    written_before: u64,
    /// `None` when the access log is off.
    line: Option<Line>,
}

/// What only the log says: never a body, a cookie or a query.
#[derive(Debug)]
struct Line {
    id: RequestId,
    peer: SocketAddr,
    method: Method,
    path: String,
    agent: String,
}

impl Record {
    pub(super) fn starting_at(mut self, written: u64) -> Self {
        self.written_before = written;
        self
    }

    /// Counts it and writes the line. `complete` is false when the connection went before its answer.
    pub(super) fn end(self, written: u64, complete: bool) {
        let Self { meters, listener, kind, status, started, written_before, line } = self;
        let (sent_bytes, took) = (written - written_before, started.elapsed());
        let outcome = Outcome::of(status, complete);
        meters.request(kind, outcome, listener, sent_bytes, took);
        let Some(line) = line else { return };
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let end = End {
            listener,
            kind: kind.as_str(),
            status: status.as_u16(),
            outcome: outcome.as_str(),
            sent_bytes,
            duration_us,
            complete,
        };
        line.say(end);
    }
}

/// How a request ended.
#[derive(Clone, Copy)]
struct End {
    listener: Listener,
    kind: &'static str,
    status: u16,
    outcome: &'static str,
    sent_bytes: u64,
    duration_us: u64,
    complete: bool,
}

impl Line {
    /// Writes it. Where lines are plain it is put together here, the same text for less: there is one for each request.
    fn say(self, end: End) {
        if telemetry::are_lines_plain() {
            lines::access(format_args!("{}", Plain(&self, end)));
            return;
        }
        let Self { id, peer, method, path, agent } = self;
        let End { listener, kind, status, outcome, sent_bytes, duration_us, complete } = end;
        tracing::info!(
            target: lines::ACCESS,
            { request.id = %id, listener = %listener, peer = %peer.ip().to_canonical(), method = %method, path, kind, status,
                outcome, sent_bytes, duration_us, complete, user_agent = agent },
            "{method} {path} {status}"
        );
    }
}

/// A line as the subscriber writes it in plain text.
struct Plain<'a>(&'a Line, End);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Line { id, peer, method, path, agent }, end) = self;
        let End { listener, kind, status, outcome, sent_bytes, duration_us, complete } = end;
        let peer = peer.ip().to_canonical();
        write!(
            f,
            "{method} {path} {status} request.id={id} listener={listener} peer={peer} method={method} path={path:?} \
             kind={kind:?} status={status} outcome={outcome:?} sent_bytes={sent_bytes} duration_us={duration_us} \
             complete={complete} user_agent={agent:?}"
        )
    }
}

/// Text of the network, fit for a line: cut, without control characters.
fn shown(text: &[u8]) -> String {
    if let Ok(plain) = str::from_utf8(text)
        && text.len() <= SHOWN
        && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
    {
        return plain.to_owned(); // nearly every one
    }
    String::from_utf8_lossy(text).chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The router, as one connection uses it.
#[derive(Clone)]
pub(super) struct Observed {
    router: Router,
    site: Site,
    ids: Arc<RequestIds>,
    listener: Listener,
    peer: SocketAddr,
    activity: Arc<Activity>,
}

impl Observed {
    pub(super) fn new(router: Router, site: Site, ids: Arc<RequestIds>, listener: Listener, peer: SocketAddr) -> Self {
        Self { router, site, ids, listener, peer, activity: Arc::new(Activity::new()) }
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// The file that a request wants whose head has been read, with all that is done for a request; see [`tree::at_once`].
    pub(super) fn file(&self, wish: Wish<'_>, agent: &[u8]) -> Option<FileAnswer> {
        let method = if wish.is_head { Method::HEAD } else { Method::GET };
        let mut record = self.record(self.ids.next(), &method, wish.path, agent);
        // A panic comes again where the router is asked, which is told of it.
        let answer = catch_unwind(AssertUnwindSafe(|| self.at_once(wish))).ok().flatten()?;
        record.status = answer.status;
        self.activity.request();
        self.activity.answer(record);
        Some(answer)
    }

    fn at_once(&self, wish: Wish<'_>) -> Option<FileAnswer> {
        tree::at_once(&self.site, self.listener, self.peer, wish)
    }

    /// The moment that an answer is given at.
    pub(super) fn now(&self) -> UnixTime {
        self.site.app.clock.now()
    }

    fn record(&self, id: RequestId, method: &Method, path: &str, agent: &[u8]) -> Record {
        let line = tracing::enabled!(target: lines::ACCESS, tracing::Level::INFO).then(|| Line {
            id,
            peer: self.peer,
            method: method.clone(),
            path: shown(path.as_bytes()),
            agent: shown(agent),
        });
        Record {
            meters: Arc::clone(&self.site.meters),
            listener: self.listener,
            kind: Kind::of_path(path),
            status: StatusCode::OK,
            started: Instant::now(),
            written_before: 0,
            line,
        }
    }
}

impl Service<Request<Incoming>> for Observed {
    type Response = Response<Observable>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answer {
        self.activity.request();
        let id = self.ids.next();
        let agent = request.headers().get(USER_AGENT).map_or(b"".as_slice(), |value| value.as_bytes());
        let record = self.record(id, request.method(), request.uri().path(), agent);
        let ending = Ending { id, record, activity: Arc::clone(&self.activity) };
        // Most requests of a busy server are for files, and nothing has to be waited for: no route, no task, no span.
        let file = catch_unwind(AssertUnwindSafe(|| Wish::of(&request).and_then(|wish| self.at_once(wish))));
        match file {
            Ok(Some(response)) => Answer::Now(Some(ending.with(Ok(response.into())))),
            Ok(None) => Answer::Later(self.routed(request, ending)),
            Err(panic) => Answer::Now(Some(ending.with(Err(panic)))),
        }
    }
}

impl Observed {
    fn routed(&self, mut request: Request<Incoming>, ending: Ending) -> Routed {
        request.extensions_mut().insert(Remote(self.peer));
        request.extensions_mut().insert(self.listener);
        let span = tracing::info_span!("request", id = %ending.id);
        let router = self.router.clone();
        let answered = async move {
            match Caught(Box::pin(router.oneshot(request))).await {
                Ok(Ok(response)) => ending.with(Ok(response)),
                Ok(Err(never)) => match never {},
                Err(panic) => ending.with(Err(panic)),
            }
        };
        Box::pin(answered.instrument(span))
    }
}

/// An answer that the router makes.
type Routed = Pin<Box<dyn Future<Output = Response<Observable>> + Send>>;

/// An answer that is there, or that is to come.
pub(super) enum Answer {
    /// `None` once it has been taken.
    Now(Option<Response<Observable>>),
    Later(Routed),
}

impl Future for Answer {
    type Output = Result<Response<Observable>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => Poll::Ready(Ok(response.take().expect("a future is not polled after its end"))),
            Self::Later(routed) => routed.as_mut().poll(cx).map(Ok),
        }
    }
}

/// What is done with every answer before it goes out.
struct Ending {
    id: RequestId,
    record: Record,
    activity: Arc<Activity>,
}

impl Ending {
    /// The response, or one for a panic.
    fn with(self, answered: Result<Response, Box<dyn Any + Send>>) -> Response<Observable> {
        let Self { id, mut record, activity } = self;
        let response = answered.unwrap_or_else(|panic| {
            tracing::error!(request.id = %id, "request {id} panicked: {}", panic_text(panic.as_ref()));
            let sentence = format!("the server failed to answer request {id}; its log says why");
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, &sentence)
        });
        record.status = response.status();
        if let Some(kind) = response.extensions().get::<Kind>() {
            record.kind = *kind;
        }
        activity.answer(record);
        response.map(|body| Observable { body, activity })
    }
}

/// A body that tells its connection when it has been handed over.
pub(super) struct Observable {
    body: Body,
    activity: Arc<Activity>,
}

impl http_body::Body for Observable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observable {
    fn drop(&mut self) {
        self.activity.handed_over();
    }
}

/// A future whose panic is a value.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Unwind safe: after a panic the future is dropped and never polled again; what it shares with others (store,
        // tree, caches) guards itself against poisoning.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a subscriber makes of a line.
    fn logged(line: Line, end: End) -> String {
        #[derive(Clone, Default)]
        struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("sound").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let writer = Log::default();
        let taken = writer.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_target(false).without_time();
        let subscriber = lines.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || line.say(end));
        String::from_utf8(taken.0.lock().expect("sound").clone()).expect("text")
    }

    #[test]
    fn a_line_is_the_same_however_it_is_put_together() {
        let line = |path: &str, agent: &str| Line {
            id: RequestId { run: 0x2201_df2f, number: 7 },
            peer: "[::ffff:192.0.2.7]:5000".parse().expect("an address"),
            method: Method::GET,
            path: shown(path.as_bytes()),
            agent: shown(agent.as_bytes()),
        };
        let end = End {
            listener: Listener::Https,
            kind: "fragment",
            status: 200,
            outcome: "answered",
            sent_bytes: 65_677,
            duration_us: 118,
            complete: true,
        };
        for (path, agent) in [
            ("/download/1795272554/1795272554-1", "OCS-NG_unified_unix_agent_v2.10.0"),
            ("/", ""),
            ("/a\"b\\c", "it's \"quoted\" \\ and {braced} %s"),
            ("/\u{202e}txt", "größe \u{1b}[31m\nERROR\u{7f}\u{9b}1m"),
        ] {
            let plain = format!(" INFO {}\n", Plain(&line(path, agent), end));
            assert_eq!(plain, logged(line(path, agent), end));
        }
        insta::assert_snapshot!(Plain(&line("/download/1/1-1", "curl"), end).to_string(), @r#"GET /download/1/1-1 200 request.id=2201df2f-7 listener=HTTPS peer=192.0.2.7 method=GET path="/download/1/1-1" kind="fragment" status=200 outcome="answered" sent_bytes=65677 duration_us=118 complete=true user_agent="curl""#);
    }

    #[test]
    fn what_the_network_says_cannot_forge_a_log_line() {
        assert_eq!(shown(b"curl\r\nERROR all is lost\x1b[31m"), "curl??ERROR all is lost?[31m");
        assert_eq!(shown(&[b'x'; 500]).len(), SHOWN);
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }
}
