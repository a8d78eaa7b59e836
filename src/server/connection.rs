//! One connection: its phases, its deadlines, its end.
//!
//! It begins with `direct`, which answers requests for files, and is hyper's from the first other request on. hyper has a timer for
//! request heads only, so the stream below both keeps the time: it sees every byte, and is told where a request begins and
//! where its answer ends.
//!
//! ```text
//! Fresh ──first byte──▶ Head ──head complete──▶ Answering ──answer written──▶ Idle ──first byte──▶ Head …
//!   header time-out       header time-out         body time-outs, write       idle time-out
//! ```
//!
//! One timer a connection, moved only when it would ring too late: most requests cost it nothing.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::direct::{self, Next};
use super::middleware::{Observed, Record};
use super::sendfile::{self, Socket};

/// Bytes of a request's head: agents send 300.
const HEAD: usize = 32 << 10;
/// Bytes that a slow reader has to take within the write time-out, when the socket holds more than that for it.
const PROGRESS: usize = 8 << 10;
/// How often within the write time-out it is looked at what a slow reader took.
const LOOKS: u32 = 4;

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// Until a request's head is there, from the connection's start or its first byte.
    pub(super) header: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// While the peer takes nothing of an answer.
    pub(super) write: Duration,
}

/// What the listeners tell all connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Signal {
    pub(super) stage: Stage,
    /// How many newcomers wait because every place is taken: who waits for a next request gives way to them.
    pub(super) waiting: u32,
}

/// The way of a server.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    #[default]
    Running,
    /// Nothing new is accepted. Before what waits is closed: who is sent away and comes back at once is refused, and not
    /// taken in to be sent away again.
    Closing,
    /// What runs is finished; what waits is closed.
    Draining,
    /// The deadline has passed.
    Cut,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// By either side, in order.
    Closed,
    /// By an error of the peer or the network.
    Failed,
    /// It waited for a request and was told to go.
    Dismissed,
    /// The server's stop did not wait any longer.
    Cut,
    /// No complete head came.
    HeaderTimeout,
    /// No next request came.
    IdleTimeout,
    /// The peer stopped reading.
    WriteTimeout,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Fresh,
    Idle,
    Head,
    Answering,
}

/// What a connection is doing; shared by its stream, its service and the bodies it sends. All live in one task, so the
/// lock is never waited for.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// The socket takes no more at the moment.
    blocked: Option<Blocked>,
    /// Bytes given to the socket (below it, for TLS: before encryption).
    written: u64,
    /// The body of the present answer has been handed over whole, or given up.
    handed_over: bool,
    record: Option<Record>,
    /// The server stops: this answer is the last.
    ending: bool,
    /// The connection is to be reset: closed, it would keep what the peer does not take in the kernel's memory.
    reset: bool,
}

/// A peer that is slower than we are.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// When it last took something.
    since: Instant,
    /// What the socket held for it then, sent or not: bytes that it has not acknowledged. `None` where systems do not tell.
    queued: Option<usize>,
}

/// When a connection will have done nothing for too long.
struct Due {
    deadline: Instant,
    end: End,
    /// Between two looks at what the peer took, which may move the deadline.
    look: Option<Duration>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            phase: Phase::Fresh,
            since: Instant::now(),
            blocked: None,
            written: 0,
            handed_over: false,
            record: None,
            ending: false,
            reset: false,
        }))
    }

    /// A request's head is complete.
    pub(super) fn request(&self) {
        let mut state = self.lock();
        state.settle(true);
        state.enter(Phase::Answering);
        state.handed_over = false;
    }

    /// Its answer's head is known.
    pub(super) fn answer(&self, record: Record) {
        let mut state = self.lock();
        let written = state.written;
        state.record = Some(record.starting_at(written));
    }

    /// Its answer's body has been handed over, or dropped.
    pub(super) fn handed_over(&self) {
        self.lock().handed_over = true;
    }

    fn waiting(&self) -> bool {
        let state = self.lock();
        state.phase != Phase::Answering && state.blocked.is_none()
    }

    fn idle(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Idle && state.blocked.is_none()
    }

    fn due(&self, deadlines: &Deadlines) -> Option<Due> {
        let state = self.lock();
        if let Some(blocked) = state.blocked {
            let look = Some((deadlines.write / LOOKS).max(Duration::from_millis(1)));
            return Some(Due { deadline: blocked.since + deadlines.write, end: End::WriteTimeout, look });
        }
        let due = |span, end| Some(Due { deadline: state.since + span, end, look: None });
        match state.phase {
            Phase::Fresh | Phase::Head => due(deadlines.header, End::HeaderTimeout),
            Phase::Idle => due(deadlines.idle, End::IdleTimeout),
            Phase::Answering => None,
        }
    }

    fn received(&self, bytes: usize) {
        let mut state = self.lock();
        if bytes > 0 && state.phase == Phase::Idle {
            state.enter(Phase::Head);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>, stream: &Stream) {
        let mut state = self.lock();
        match result {
            Poll::Ready(Ok(bytes)) => {
                state.written += *bytes as u64;
                state.blocked = None;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => state.block(stream.queued()),
        }
    }

    fn flushed(&self, result: &Poll<io::Result<()>>, stream: &Stream) {
        let mut state = self.lock();
        match result {
            Poll::Ready(Ok(())) => {
                state.blocked = None;
                // hyper flushes only when it holds nothing any more, so the answer is out.
                if state.handed_over && state.phase == Phase::Answering {
                    state.settle(true);
                    state.enter(Phase::Idle);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => state.block(stream.queued()),
        }
    }

    /// The connection is about to go.
    fn close(&self, reset: bool) {
        let mut state = self.lock();
        state.reset = reset;
        state.settle(false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }

    /// The socket takes no more. Called again at each look, so that a reader that is slow but steady is told from one
    /// that stands still: a large socket buffer takes new bytes in steps that a slow line needs minutes for.
    fn block(&mut self, queued: Option<usize>) {
        let moved = match (self.blocked, queued) {
            (None, _) => true,
            (Some(Blocked { queued: Some(before), .. }), Some(now)) => before.saturating_sub(now) >= PROGRESS,
            (Some(_), _) => false,
        };
        if moved {
            self.blocked = Some(Blocked { since: Instant::now(), queued });
        }
    }

    /// Counts the last answer and writes its log line, unless that is done.
    fn settle(&mut self, complete: bool) {
        if let Some(record) = self.record.take() {
            record.end(self.written, complete);
        }
    }
}

/// A stream that keeps its connection's time.
pub(super) struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
    /// Read already, and not yet dealt with.
    ahead: Vec<u8>,
}

impl Watched {
    /// The answer's body has been handed over; see [`Activity::handed_over`].
    pub(super) fn handed_over(&self) {
        self.activity.handed_over();
    }

    /// Is no further request to be answered?
    pub(super) fn is_ending(&self) -> bool {
        self.activity.lock().ending
    }
}

/// Plain or encrypted.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream.tcp(),
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Bytes that the peer has not acknowledged.
    fn queued(&self) -> Option<usize> {
        sendfile::queued(self.tcp())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.activity.lock().reset {
            // Without it the kernel gives up later, by itself.
            let _ = SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.drain(..length);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            self.activity.received(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        };
        self.activity.received(buffer.filled().len() - before);
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.stream.writer().poll_write(cx, bytes);
        self.activity.wrote(&result, &self.stream);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.stream.writer().poll_write_vectored(cx, slices);
        self.activity.wrote(&result, &self.stream);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.stream.writer().poll_flush(cx);
        self.activity.flushed(&result, &self.stream);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.stream.writer().poll_shutdown(cx);
        if result.is_pending() {
            self.activity.lock().block(self.stream.queued());
        }
        result
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(stream: Stream, service: Observed, deadlines: Deadlines, signal: watch::Receiver<Signal>) {
    let activity = service.activity();
    let mut stream = Watched { stream, activity: Arc::clone(&activity), ahead: Vec::new() };
    let timer = pin!(sleep_until(Instant::now() + deadlines.header));
    let mut course = Course { activity: &activity, deadlines: &deadlines, signal, timer };
    let files = course.follow(pin!(direct::serve(&mut stream, &service)), |_| {}).await;
    let end = match files {
        Ok(Ok(Next::Closed)) => End::Closed,
        Ok(Ok(Next::Other(ahead))) => {
            stream.ahead = ahead;
            generally(stream, service, &mut course).await
        }
        Ok(Err(error)) => {
            tracing::debug!("a connection failed: {error}");
            End::Failed
        }
        Err(end) => end,
    };
    activity.close(matches!(end, End::WriteTimeout | End::Cut));
    match end {
        End::Closed | End::Failed | End::Dismissed => {}
        End::Cut => tracing::warn!("a request did not end before the stop's deadline and was cut"),
        End::HeaderTimeout | End::IdleTimeout | End::WriteTimeout => {
            tracing::debug!("a connection was closed: {end:?}");
        }
    }
}

/// Serves what may come besides requests for files.
async fn generally(stream: Watched, service: Observed, course: &mut Course<'_>) -> End {
    let mut builder = http1::Builder::new();
    // Heads are timed here, see above: hyper's timer cannot tell a wait for a next request from a slow one.
    builder.timer(TokioTimer::new()).header_read_timeout(None).half_close(true).max_header_size(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    match course.follow(pin!(connection), http1::Connection::graceful_shutdown).await {
        Ok(Ok(())) => End::Closed,
        Ok(Err(error)) => {
            tracing::debug!("a connection failed: {error}");
            End::Failed
        }
        Err(end) => end,
    }
}

/// What may end a connection besides its peer.
struct Course<'a> {
    activity: &'a Activity,
    deadlines: &'a Deadlines,
    signal: watch::Receiver<Signal>,
    timer: Pin<&'a mut Sleep>,
}

impl Course<'_> {
    /// Drives a connection until it ends, or has to. When the server stops it is told to answer what runs and no more.
    async fn follow<F: Future>(
        &mut self,
        mut connection: Pin<&mut F>,
        finish: impl Fn(Pin<&mut F>),
    ) -> Result<F::Output, End> {
        loop {
            let told = *self.signal.borrow_and_update();
            let draining = told.stage >= Stage::Draining;
            if draining && self.activity.waiting() {
                return Err(End::Dismissed);
            }
            if told.stage == Stage::Cut {
                return Err(End::Cut);
            }
            if draining {
                self.activity.lock().ending = true;
                finish(connection.as_mut());
            }
            let Self { activity, deadlines, signal, timer } = self;
            let driven = std::future::poll_fn(|cx| {
                if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                if (draining && activity.waiting()) || (told.waiting > 0 && activity.idle()) {
                    return Poll::Ready(Err(End::Dismissed));
                }
                overdue(activity, deadlines, timer.as_mut(), cx).map(Err)
            });
            tokio::select! {
                biased;
                result = driven => return result,
                // An error would mean that the listeners are gone, which they never are before us.
                _ = signal.changed() => {}
            }
        }
    }
}

/// Ready when the connection has done nothing for too long.
fn overdue(activity: &Activity, deadlines: &Deadlines, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        let Some(due) = activity.due(deadlines) else { return Poll::Pending };
        // A ring polls the connection first, which tries to write and looks at what the peer took.
        let ring = due.look.map_or(due.deadline, |pause| due.deadline.min(Instant::now() + pause));
        if ring < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(ring);
        }
        ready!(timer.as_mut().poll(cx));
        if due.deadline <= Instant::now() {
            return Poll::Ready(due.end);
        }
    }
}
