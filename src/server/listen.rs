//! Listeners: places, accept loops, handshakes off the accept path.
//!
//! A connection has a place, of which there are `limits.connections`. When all are taken, who merely waits for a next
//! request gives way and the loops stop accepting: newcomers wait in the kernel's queue until a place is free, which the
//! deadlines of `connection` guarantee. One address (IPv6: one /64) has at most `limits.connections_per_peer` of them and
//! is told 503 beyond that, so that it cannot keep the others out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{self, Deadlines, Signal, Stage, Stream};
use super::meters::Meters;
use super::middleware::{Observed, RequestIds};
use super::{Listener, ServeError, Site};
use crate::congestion::Paced;
use crate::tls::server::ServerTls;

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 1024;
/// Bytes not yet sent that a socket may hold: a slow reader costs no more memory than this. What `sendfile` sends is not
/// copied and has a bound of its own.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 128 << 10;
/// Pauses after a failed accept: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Between two log lines about the same trouble.
const QUIET: Duration = Duration::from_mins(1);

/// Opens a listening socket. `[::]` takes IPv4 as well.
pub(super) fn bind(listener: Listener, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // A restart must not wait for the last one's connections to be forgotten.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| ServeError::Bind { listener, address, source })
}

/// Places, by address.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    total: u32,
    per_peer: u32,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

impl Places {
    pub(super) fn new(total: u32, per_peer: u32) -> Self {
        Self { all: Arc::new(Semaphore::new(total as usize)), total, per_peer, taken: Mutex::default() }
    }

    /// Waits until every place is free.
    pub(super) async fn empty(&self) {
        // Only `close` would be an error, and nobody calls it.
        let _ = self.all.acquire_many(self.total).await;
    }

    pub(super) fn taken(&self) -> u32 {
        self.total.saturating_sub(u32::try_from(self.all.available_permits()).unwrap_or(u32::MAX))
    }

    /// A share for that address; none if it has had its own.
    fn share(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let peer = household(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer).or_insert(0);
        if *count >= self.per_peer {
            return None;
        }
        *count += 1;
        Some(Share { places: Arc::clone(self), peer })
    }
}

/// One place of one address; given back when dropped.
struct Share {
    places: Arc<Places>,
    peer: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// Whom an address stands for: an IPv6 host may use any of its /64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// What every connection of a listener is given.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) listener: Listener,
    pub(super) paced: Paced,
    pub(super) tls: Option<ServerTls>,
    pub(super) router: Router,
    pub(super) site: Site,
    pub(super) ids: Arc<RequestIds>,
    pub(super) meters: Arc<Meters>,
    pub(super) deadlines: Deadlines,
    pub(super) handshake: Duration,
    pub(super) places: Arc<Places>,
    pub(super) signal: watch::Sender<Signal>,
}

/// Accepts until the server stops.
pub(super) async fn accept(door: Door, listening: TcpListener) {
    let mut signal = door.signal.subscribe();
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = signal.wait_for(|it| it.stage > Stage::Running) => return,
            accepted = next(&door, &listening, &mut trouble) => accepted,
        };
        let Some((stream, peer, share, permit)) = accepted else { continue };
        let door = door.clone();
        tokio::spawn(async move {
            let open = door.meters.connection(door.listener);
            serve(door, stream, peer).await;
            drop((share, permit, open));
        });
    }
}

/// The next connection that has a place.
async fn next(
    door: &Door,
    listening: &TcpListener,
    trouble: &mut Trouble,
) -> Option<(TcpStream, SocketAddr, Share, OwnedSemaphorePermit)> {
    let (stream, peer) = match listening.accept().await {
        Ok(accepted) => accepted,
        Err(error) => {
            trouble.accept(door.listener, &error).await;
            return None;
        }
    };
    trouble.pause = None;
    let Some(share) = door.places.share(peer.ip()) else {
        trouble.say(
            || tracing::warn!(peer = %peer.ip(), "{} has its full share of connections; more are refused", peer.ip()),
        );
        door.meters.turned_away();
        refuse(door.listener, &stream);
        return None;
    };
    let permit = if let Ok(permit) = Arc::clone(&door.places.all).try_acquire_owned() {
        permit
    } else {
        trouble.say(|| tracing::warn!("all {} connections are taken; new ones wait", door.places.total));
        door.signal.send_modify(|signal| signal.waiting += 1);
        let permit = Arc::clone(&door.places.all).acquire_owned().await.ok();
        door.signal.send_modify(|signal| signal.waiting -= 1);
        permit?
    };
    Some((stream, peer, share, permit))
}

/// One try to say why, without waiting; on HTTPS there is no one to say it to before a handshake.
fn refuse(listener: Listener, stream: &TcpStream) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Type: text/plain\r\n\
        Content-Length: 50\r\nConnection: close\r\n\r\nthis address has too many connections open already";
    if listener == Listener::Http {
        // A fresh socket's buffer is empty; whoever does not get it sees a closed connection.
        let _ = SockRef::from(stream).send(BUSY);
    }
}

async fn serve(door: Door, stream: TcpStream, peer: SocketAddr) {
    // For speed and order only: without them all is slower, or kept longer.
    let _ = stream.set_nodelay(true);
    door.paced.accepted(&stream);
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(&stream);
        let _ = socket.set_tcp_notsent_lowat(NOT_SENT);
        // The kernel gives up what nobody takes, also after we have closed. Our own time-out comes first while we write.
        let _ = socket.set_tcp_user_timeout(Some(door.deadlines.write * 2));
    }
    let signal = door.signal.subscribe();
    let stream = match &door.tls {
        None => Stream::Plain(stream.into()),
        Some(tls) => {
            let mut stopping = signal.clone();
            let handshake = timeout(door.handshake, shake_hands(tls, stream));
            let result = tokio::select! {
                result = handshake => result,
                _ = stopping.wait_for(|it| it.stage >= Stage::Draining) => return,
            };
            match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(peer = %peer.ip(), "a TLS handshake failed: {error}");
                    return;
                }
                Err(_) => {
                    tracing::debug!(peer = %peer.ip(), "a TLS handshake took too long");
                    return;
                }
            }
        }
    };
    let service = Observed::new(door.router, door.site, door.ids, door.listener, peer);
    connection::serve(stream, service, door.deadlines, signal).await;
}

async fn shake_hands(tls: &ServerTls, mut stream: TcpStream) -> io::Result<Stream> {
    const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 46\r\n\
        Connection: close\r\n\r\nthis is the HTTPS address: ask it with https:\n";
    let mut first = [0];
    stream.peek(&mut first).await?;
    // A person who forgot the `s`; everything else gets the alert that TLS has for it.
    if first[0].is_ascii_uppercase() {
        stream.write_all(PLAIN).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP came to the HTTPS listener"));
    }
    Ok(Stream::Tls(Box::new(tls.acceptor().accept(stream).await?)))
}

/// Accept errors, slowed down, and said once a minute.
#[derive(Default)]
struct Trouble {
    pause: Option<Duration>,
    said: Option<Instant>,
}

impl Trouble {
    async fn accept(&mut self, listener: Listener, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return; // the newcomer has gone again
        }
        // Out of files or memory: it passes when connections end; asking at once would take the whole processor.
        let pause = self.pause.map_or(BACK_OFF.0, |last| (last * 2).min(BACK_OFF.1));
        self.pause = Some(pause);
        self.say(|| tracing::error!("the {listener} listener cannot accept connections: {error}; it goes on trying"));
        sleep(pause).await;
    }

    fn say(&mut self, line: impl FnOnce()) {
        if self.said.is_none_or(|said| said.elapsed() >= QUIET) {
            self.said = Some(Instant::now());
            line();
        }
    }
}

/// Lets the process open as many files as it may, and says when that is too few.
pub(super) fn raise_file_limit(connections: u32) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        // A connection, a mapped file for it, the cache of mappings, the database.
        let wanted = u64::from(connections) * 2 + 1500;
        if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < wanted) {
            tracing::warn!(
                "this process may open {most} files, but {connections} connections (limits.connections) can need {wanted}: \
                 raise its limit (LimitNOFILE=, ulimit -n) or lower limits.connections"
            );
        }
    }
    #[cfg(not(unix))]
    let _ = connections;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_its_ipv4_one() {
        let of = |text: &str| household(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2:bbbb::9"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_share_comes_back_when_it_is_dropped() {
        let places = Arc::new(Places::new(10, 2));
        let peer: IpAddr = "192.0.2.7".parse().expect("an address");
        let (first, second) = (places.share(peer), places.share(peer));
        assert!(first.is_some() && places.share(peer).is_none());
        assert!(places.share("192.0.2.8".parse().expect("an address")).is_some());
        drop(first);
        assert!(places.share(peer).is_some());
        drop(second);
        assert!(places.taken.lock().expect("sound").len() <= 1);
    }
}
