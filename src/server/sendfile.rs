//! Mapped files, and a socket that sends them without touching their bytes.
//!
//! A published file is mapped and travels through axum and hyper as ordinary [`Bytes`]. hyper hands the very slices of a
//! body to `poll_write_vectored`, so [`Socket`] can recognise an address inside a live mapping and let the kernel send
//! that range of the file (`sendfile(2)`); whatever it does not recognise it writes as usual. A miss is slower, never
//! wrong. TLS reads the mapping. Routing, authorisation and ranges stay where they are readable.
//!
//! Why an address can never name another file's bytes:
//!
//! - a mapping is entered in the table after `mmap` and leaves it *before* `munmap` ([`Mapping`]'s `Drop`), so every
//!   range in the table is mapped by us at that moment and no other memory can lie in it;
//! - the slice being written belongs to a `Bytes` that owns its [`Mapping`], and hyper keeps that `Bytes` until the slice
//!   is written, so the entry that is found for it is its own;
//! - the table hands out the open file, not a path: withdrawing, renaming or unlinking it changes nothing for a transfer
//!   that runs.

use std::fs::File;
use std::io;

use bytes::Bytes;
#[cfg(target_os = "linux")]
pub(super) use linux::Socket;
#[cfg(not(target_os = "linux"))]
pub(super) use plain::Socket;
use tokio::net::TcpStream;

/// Bytes that a socket holds for its peer: not sent, or sent and not acknowledged. `None` where systems do not tell.
pub(super) fn queued(stream: &TcpStream) -> Option<usize> {
    outstanding::of(stream)
}

/// `SIOCOUTQ`, by its number of nearly all machines.
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    )
))]
mod outstanding {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    use tokio::net::TcpStream;

    const SIOCOUTQ: Opcode = 0x5411;

    #[expect(unsafe_code, reason = "an ioctl is a number and a type that the compiler cannot compare")]
    pub(super) fn of(stream: &TcpStream) -> Option<usize> {
        // SAFETY: tcp(7): SIOCOUTQ writes one `int` and changes nothing. The descriptor is an open TCP socket.
        let bytes: i32 = unsafe { ioctl(stream, Getter::<SIOCOUTQ, i32>::new()) }.ok()?;
        usize::try_from(bytes).ok()
    }
}

#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    )
)))]
mod outstanding {
    pub(super) fn of(_: &tokio::net::TcpStream) -> Option<usize> {
        None
    }
}

/// Maps a published file of `length` bytes, more than none.
#[expect(unsafe_code, reason = "mapping a file is unsafe because another program could cut it under us")]
pub(super) fn map(file: File, length: usize) -> io::Result<Bytes> {
    // SAFETY: files of the download tree are immutable from publication (DESIGN.md, promise 1): they are written under
    // another name, renamed into place, never written again, and withdrawn by rename and unlink, which leave a mapping
    // valid. An operator who truncates one by hand gets SIGBUS on the TLS listener, as with every mapped file.
    let map = unsafe { memmap2::MmapOptions::new().len(length).map(&file)? };
    Ok(Bytes::from_owner(Mapping::new(map, file)))
}

/// A mapping that is known to the table for exactly as long as it exists.
#[cfg(target_os = "linux")]
struct Mapping {
    map: memmap2::Mmap,
}

#[cfg(target_os = "linux")]
impl Mapping {
    fn new(map: memmap2::Mmap, file: File) -> Self {
        linux::enter(&map, file);
        Self { map }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mapping {
    fn drop(&mut self) {
        // Before the field is dropped, which unmaps: see the module's text.
        linux::leave(&self.map);
    }
}

/// Elsewhere a mapping is only memory.
#[cfg(not(target_os = "linux"))]
struct Mapping {
    map: memmap2::Mmap,
}

#[cfg(not(target_os = "linux"))]
impl Mapping {
    fn new(map: memmap2::Mmap, _file: File) -> Self {
        Self { map }
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Where there is no `sendfile` that suits us, a mapping is written like any memory.
#[cfg(not(target_os = "linux"))]
mod plain {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::TcpStream;

    /// A TCP connection.
    #[derive(Debug)]
    pub(in crate::server) struct Socket(TcpStream);

    impl From<TcpStream> for Socket {
        fn from(stream: TcpStream) -> Self {
            Self(stream)
        }
    }

    impl Socket {
        /// The connection itself.
        pub(in crate::server) fn tcp(&self) -> &TcpStream {
            &self.0
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write_vectored(cx, slices)
        }

        fn is_write_vectored(&self) -> bool {
            self.0.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::fmt;
    use std::fs::File;
    use std::io::{self, IoSlice};
    use std::os::fd::AsFd as _;
    use std::pin::Pin;
    use std::sync::{Arc, LazyLock, PoisonError, RwLock};
    use std::task::{Context, Poll, ready};

    use rustix::net::{SendAncillaryBuffer, SendFlags};
    use socket2::SockRef;
    use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
    use tokio::net::TcpStream;
    use tokio::sync::{OwnedSemaphorePermit, Semaphore};

    /// How many of the runtime's workers may be inside a `sendfile` at the same time: all but one, so that a check-in finds a
    /// worker while every line is full (docs/decisions/0664).
    static SENDING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Semaphore::new(workers.saturating_sub(1).max(1)))
    });

    /// Below this a copy costs less than the look-up and a second system call.
    const WORTH_IT: usize = 16 << 10;
    /// Bytes that one call may send, so that a fast reader of a large file leaves the worker to others.
    const TURN: usize = 1 << 20;
    /// Bytes not yet sent that a socket may hold of a file. Nothing is copied, the socket refers to the page cache, which all
    /// readers share; but the kernel charges them to TCP as a whole, and there check-ins want room, too. Less makes it send
    /// in small pieces, at two to three times the cost (docs/decisions/0211).
    const FILE_NOT_SENT: u32 = 1 << 20;

    /// Bytes that a worker sends between two moments at which whoever waits for its processor goes first.
    const BETWEEN: usize = 256 << 10;

    thread_local! {
        /// Bytes that this worker has sent since it last let others go first.
        static SENT: Cell<usize> = const { Cell::new(0) };
    }

    /// Whoever waits for this processor goes first, now and then: the commit of a check-in is another thread's.
    fn give_way(sent: usize) {
        let total = SENT.get() + sent;
        if total < BETWEEN {
            SENT.set(total);
        } else {
            SENT.set(0);
            std::thread::yield_now();
        }
    }

    /// Live mappings by address: length and file.
    static MAPPINGS: RwLock<BTreeMap<usize, (usize, Arc<File>)>> = RwLock::new(BTreeMap::new());

    pub(super) fn enter(map: &[u8], file: File) {
        let mut mappings = MAPPINGS.write().unwrap_or_else(PoisonError::into_inner);
        mappings.insert(map.as_ptr().addr(), (map.len(), Arc::new(file)));
    }

    pub(super) fn leave(map: &[u8]) {
        let entry = MAPPINGS.write().unwrap_or_else(PoisonError::into_inner).remove(&map.as_ptr().addr());
        drop(entry); // closes the file, outside the lock
    }

    /// The file and the offset in it that the slice is a mapping of.
    fn find(slice: &[u8]) -> Option<(Arc<File>, u64)> {
        if slice.len() < WORTH_IT {
            return None;
        }
        let address = slice.as_ptr().addr();
        let mappings = MAPPINGS.read().unwrap_or_else(PoisonError::into_inner);
        let (start, (length, file)) = mappings.range(..=address).next_back()?;
        let offset = address - start;
        (offset + slice.len() <= *length).then(|| (Arc::clone(file), offset as u64))
    }

    /// A TCP connection that sends mapped files from the file.
    #[derive(Debug)]
    pub(in crate::server) struct Socket {
        stream: TcpStream,
        /// May it hold [`FILE_NOT_SENT`]? Not before it has sent of a file: all else is copied into it.
        roomy: bool,
        /// Its place in the queue for [`SENDING`], while it stands there.
        queue: Option<Place>,
    }

    struct Place(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>);

    impl fmt::Debug for Place {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Place")
        }
    }

    impl From<TcpStream> for Socket {
        fn from(stream: TcpStream) -> Self {
            Self { stream, roomy: false, queue: None }
        }
    }

    impl Socket {
        /// The connection itself.
        pub(in crate::server) fn tcp(&self) -> &TcpStream {
            &self.stream
        }

        /// Its turn to send of a file; whoever has to wait is taken in the order of coming.
        fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedSemaphorePermit>> {
            if self.queue.is_none() {
                if let Ok(turn) = Arc::clone(&SENDING).try_acquire_owned() {
                    return Poll::Ready(Some(turn));
                }
                // It is never closed, so there is always a turn in the end.
                let turn = async { Arc::clone(&SENDING).acquire_owned().await.ok() };
                self.queue = Some(Place(Box::pin(turn)));
            }
            let Some(place) = &mut self.queue else { return Poll::Ready(None) };
            let turn = ready!(place.0.as_mut().poll(cx));
            self.queue = None;
            Poll::Ready(turn)
        }

        /// Sends what stands before the mapped slice, the response's head, and some of that slice.
        fn send(&self, slices: &[IoSlice<'_>], mapped: usize, file: &File, offset: u64) -> io::Result<usize> {
            let head = slices[..mapped].iter().map(|slice| slice.len()).sum::<usize>();
            let length = slices[mapped].len().min(TURN);
            if head == 0 {
                return self.send_file(file, offset, length);
            }
            // MORE keeps it back for the first bytes of the file, as one segment.
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent =
                rustix::net::sendmsg(&self.stream, &slices[..mapped], &mut SendAncillaryBuffer::default(), flags)?;
            if sent < head {
                return Ok(sent);
            }
            // Should the file fail, it will again at the next call, which has nothing else to tell.
            Ok(head + self.send_file(file, offset, length).unwrap_or(0))
        }

        fn send_file(&self, file: &File, mut offset: u64, length: usize) -> io::Result<usize> {
            match rustix::fs::sendfile(self.stream.as_fd(), file.as_fd(), Some(&mut offset), length)? {
                // Somebody cut a published file: end the connection rather than spin.
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                sent => Ok(sent),
            }
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let found = slices.iter().enumerate().find_map(|(index, slice)| Some((index, find(slice)?)));
            let Some((mapped, (file, offset))) = found else {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
            };
            if !self.roomy {
                self.roomy = true;
                // For speed only.
                let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(FILE_NOT_SENT);
            }
            loop {
                ready!(self.stream.poll_write_ready(cx))?;
                let turn = ready!(self.poll_turn(cx));
                let sent = self.stream.try_io(Interest::WRITABLE, || self.send(slices, mapped, &file, offset));
                drop(turn);
                give_way(sent.as_ref().map_or(BETWEEN, |sent| *sent));
                match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return Poll::Ready(result),
                }
            }
        }

        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if find(bytes).is_some() {
                return self.poll_write_vectored(cx, &[IoSlice::new(bytes)]);
            }
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    #[cfg(test)]
    mod tests {
        use std::io::Write as _;

        use super::*;

        fn mapped(length: usize) -> bytes::Bytes {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(&vec![7; length]).expect("written");
            super::super::map(file, length).expect("mapped")
        }

        #[test]
        fn a_slice_is_found_at_its_offset_and_only_while_it_is_mapped() {
            let bytes = mapped(100_000);
            let (_, offset) = find(&bytes[1000..60_000]).expect("known");
            assert_eq!(offset, 1000);
            assert!(find(&bytes[..100]).is_none(), "too short to be worth it");
            let start = bytes.as_ptr().addr();
            let part = bytes.slice(50_000..);
            drop(bytes);
            assert!(MAPPINGS.read().expect("sound").contains_key(&start), "a slice keeps the whole mapping");
            drop(part);
        }

        #[test]
        fn memory_that_is_no_mapping_is_not_found() {
            let _near = mapped(100_000);
            assert!(find(&vec![7; 100_000]).is_none());
        }

        #[test]
        fn an_entry_goes_with_its_last_slice() {
            let bytes = mapped(32_768);
            let file = Arc::downgrade(&find(&bytes).expect("known").0);
            drop(bytes);
            assert!(file.upgrade().is_none(), "the file is closed, so the entry is gone");
        }
    }
}
