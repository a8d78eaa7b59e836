//! Readers of fragments: connections that fetch files as fast as they come, and how many they got.
//!
//! ```text
//! cargo run --release --example readers -- --server 127.0.0.1:8080 --package 1795164357 --files 64 --seconds 5
//! ```
//!
//! Who reads on the machine that serves takes processor time from what is measured, most of it for copying what was received.
//! Readers that are elsewhere do not. So the kernel is told to throw the bytes away (`MSG_TRUNC`, tcp(7)), and nothing but the
//! heads of answers is copied; `--copy` reads as every program does.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, recv};

/// Bytes of an answer's head, with what may come with it.
const HEAD: usize = 4 << 10;
/// Bytes that are taken from a connection at a time.
const TURN: usize = 1 << 20;

/// Fetches fragments as fast as they come, and says how many came.
#[derive(Debug, Parser)]
struct Options {
    /// The HTTP address of the server.
    #[arg(long)]
    server: SocketAddr,
    /// The package whose fragments are fetched, one after the other.
    #[arg(long)]
    package: u64,
    /// How many it has.
    #[arg(long)]
    files: u64,
    /// Connections, all kept.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Copy what comes, as other programs do.
    #[arg(long)]
    copy: bool,
}

/// A connection, and the answer that it is reading.
struct Reader {
    stream: TcpStream,
    head: Vec<u8>,
    /// Bytes of the body that are still to come; `None` while the head is not complete.
    left: Option<u64>,
}

/// What came.
#[derive(Default)]
struct Tally {
    answers: u64,
    bytes: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(line) => match writeln!(io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(io::stderr(), "the readers ended: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<String> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut requests = (1..=options.files).cycle().map(|number| {
        let Options { package, server, .. } = options;
        format!("GET /download/{package}/{package}-{number} HTTP/1.1\r\nHost: {server}\r\n\r\n")
    });
    let mut ask = || requests.next().ok_or_else(|| io::Error::other("--files is 0"));
    let mut readers = Vec::with_capacity(options.connections);
    for number in 0..options.connections {
        let mut reader = Reader::connect(options.server)?;
        reader.stream.write_all(ask()?.as_bytes())?;
        epoll::add(&ready, &reader.stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        readers.push(reader);
    }

    let mut place = vec![0; TURN];
    let mut tally = Tally::default();
    let mut events = Vec::with_capacity(options.connections);
    let (began, span) = (Instant::now(), Duration::from_secs(options.seconds));
    while began.elapsed() < span {
        events.clear();
        let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&ready, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        for event in &events {
            let reader = usize::try_from(event.data.u64()).ok().and_then(|number| readers.get_mut(number));
            let Some(reader) = reader else { continue };
            if reader.read(&mut place, options.copy, &mut tally)? {
                // A request is far smaller than what a socket takes whose peer has read all before it.
                reader.stream.write_all(ask()?.as_bytes())?;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (answers, gigabytes) = (tally.answers as f64 / seconds, tally.bytes as f64 / seconds / 1e9);
    Ok(format!("{answers:.1} answers/s, {gigabytes:.3} GB/s"))
}

impl Reader {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, head: Vec::with_capacity(HEAD), left: None })
    }

    /// Takes what is there. True when that was the end of an answer.
    fn read(&mut self, place: &mut [u8], is_copied: bool, tally: &mut Tally) -> io::Result<bool> {
        let (room, flags) = match self.left {
            None => (HEAD - self.head.len(), RecvFlags::empty()),
            Some(left) => {
                let room = usize::try_from(left).unwrap_or(TURN).min(TURN);
                (room, if is_copied { RecvFlags::empty() } else { RecvFlags::TRUNC })
            }
        };
        let (_, received) = match recv(&self.stream, &mut place[..room], flags) {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tally.bytes += received as u64;
        let left = if let Some(left) = self.left {
            left.saturating_sub(received as u64)
        } else {
            self.head.extend_from_slice(&place[..received]);
            let Some(left) = after_head(&self.head)? else { return Ok(false) };
            left
        };
        self.left = (left > 0).then_some(left);
        if left > 0 {
            return Ok(false);
        }
        self.head.clear();
        tally.answers += 1;
        Ok(true)
    }
}

/// Bytes of the body that have not come yet; `None` while the head has not come whole.
fn after_head(received: &[u8]) -> io::Result<Option<u64>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
        return if received.len() < HEAD { Ok(None) } else { Err(io::Error::other("a head without an end")) };
    };
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("the server said: {status}")));
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some(length.saturating_sub((received.len() - end) as u64)))
}
