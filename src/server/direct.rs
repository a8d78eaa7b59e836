//! Requests for files of the tree, from the first on a connection for as long as nothing else comes.
//!
//! Nearly all that a busy server is asked for is the next fragment, by a request of a few lines, on a connection that has asked
//! for nothing else. For those a general HTTP server was a third of our own work, so they are read and answered here:
//!
//! ```text
//! bytes ──▶ a request for a file, plain in every respect? ──yes──▶ its answer, and the next
//!                       │ no, or in doubt
//!                       ▼
//!            hyper, with every byte that came, for as long as the connection lasts
//! ```
//!
//! Whatever has a body, a condition on the connection, an older version or an error is hyper's and the router's, whose
//! answers to what is answered here are the same byte for byte; a test compares.

use std::cell::Cell;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Buf as _;
use httparse::Status;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::connection::Watched;
use super::middleware::Observed;
use super::tree::{self, FileAnswer, Wish};
use crate::model::UnixTime;

/// Bytes of a request that is read here: agents send 150 to 400.
const HEAD: usize = 2 << 10;
/// Header lines of a request that is read here.
const LINES: usize = 16;
/// Room for an answer's head.
const ANSWER: usize = 256;

/// How it ended.
#[derive(Debug)]
pub(super) enum Next {
    /// By the peer, between two requests; or because the server stops.
    Closed,
    /// Something else came: all that is not answered.
    Other(Vec<u8>),
}

/// Answers requests for files until something else comes.
pub(super) async fn serve(stream: &mut Watched, service: &Observed) -> io::Result<Next> {
    let mut came = Vec::with_capacity(HEAD);
    loop {
        let (answer, length) = match read(&came) {
            Read::File { wish, agent, length } => match service.file(wish, agent) {
                Some(answer) => (answer, length),
                None => return Ok(Next::Other(came)),
            },
            Read::Other => return Ok(Next::Other(came)),
            Read::More if came.len() == came.capacity() => return Ok(Next::Other(came)),
            Read::More => {
                // An end within a request is an error like any other, and hyper's to name.
                if stream.read_buf(&mut came).await? == 0 {
                    return if came.is_empty() { close(stream).await } else { Ok(Next::Other(came)) };
                }
                continue;
            }
        };
        send(stream, answer, service.now()).await?;
        came.drain(..length);
        if stream.is_ending() {
            return close(stream).await;
        }
    }
}

async fn close(stream: &mut Watched) -> io::Result<Next> {
    stream.shutdown().await?;
    Ok(Next::Closed)
}

/// What has come of a request.
#[derive(Debug)]
enum Read<'a> {
    More,
    Other,
    File {
        wish: Wish<'a>,
        agent: &'a [u8],
        /// Bytes of the request.
        length: usize,
    },
}

fn read(came: &[u8]) -> Read<'_> {
    let is_head = came.first() == Some(&b'H');
    let method: &[u8] = if is_head { b"HEAD " } else { b"GET " };
    let starts = |bytes: &[u8], with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
    if !starts(came, method) || !starts(came.get(method.len()..).unwrap_or_default(), tree::MOUNT.as_bytes()) {
        return Read::Other;
    }
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut request = httparse::Request::new(&mut lines);
    let length = match request.parse(came) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Read::More,
        Err(_) => return Read::Other,
    };
    let (Some(path), Some(1)) = (request.path, request.version) else { return Read::Other };
    let (mut range, mut agent) = (None, None);
    for line in request.headers {
        let once = match line.name.len() {
            5 if line.name.eq_ignore_ascii_case("range") => &mut range,
            10 if line.name.eq_ignore_ascii_case("user-agent") => &mut agent,
            10 if line.name.eq_ignore_ascii_case("connection") && line.value.eq_ignore_ascii_case(b"keep-alive") => {
                continue;
            }
            _ if is_harmless(line.name) => continue,
            _ => return Read::Other,
        };
        if once.replace(line.value).is_some() {
            return Read::Other;
        }
    }
    Read::File { wish: Wish { is_head, path, range }, agent: agent.unwrap_or_default(), length }
}

/// Does this line change nothing about a file's answer? What is not known may.
fn is_harmless(name: &str) -> bool {
    const HARMLESS: [&str; 9] = [
        "host",
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "pragma",
        "if-modified-since",
        "if-none-match",
        "date",
    ];
    HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless))
}

async fn send(stream: &mut Watched, answer: FileAnswer, now: UnixTime) -> io::Result<()> {
    let head = head(&answer, now)?;
    let (mut head, mut body) = (head.as_slice(), answer.body);
    while !head.is_empty() || !body.is_empty() {
        let sent = std::future::poll_fn(|cx| {
            let slices = [IoSlice::new(head), IoSlice::new(&body)];
            Pin::new(&mut *stream).poll_write_vectored(cx, &slices)
        })
        .await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = sent.min(head.len());
        head = &head[of_head..];
        body.advance(sent - of_head);
    }
    drop(body);
    stream.handed_over();
    stream.flush().await
}

/// Lines in the order in which hyper has them.
fn head(answer: &FileAnswer, now: UnixTime) -> io::Result<Vec<u8>> {
    let FileAnswer { status, content_type, content_length, content_range, body: _ } = answer;
    let mut head = Vec::with_capacity(ANSWER);
    write!(head, "HTTP/1.1 {status}\r\naccept-ranges: bytes\r\ncontent-type: {content_type}\r\n")?;
    if let Some(range) = content_range {
        write!(head, "content-range: {range}\r\n")?;
    }
    write!(head, "content-length: {content_length}\r\ndate: ")?;
    head.extend_from_slice(&date(now));
    head.extend_from_slice(b"\r\n\r\n");
    Ok(head)
}

/// The moment as HTTP writes it, which is put together once a second.
fn date(now: UnixTime) -> [u8; DATE] {
    thread_local! {
        static LAST: Cell<(i64, [u8; DATE])> = const { Cell::new((-1, [0; DATE])) };
    }
    let second = now.seconds();
    let (last, text) = LAST.get();
    if last == second {
        return text;
    }
    let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
    let mut text = [b' '; DATE];
    // It is always that long.
    let _ = write!(text.as_mut_slice(), "{}", httpdate::HttpDate::from(SystemTime::UNIX_EPOCH + since));
    LAST.set((second, text));
    text
}

/// Bytes of `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE: usize = 29;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made of that, in a line.
    fn said(came: &[u8]) -> String {
        match read(came) {
            Read::More => "more".to_owned(),
            Read::Other => "other".to_owned(),
            Read::File { wish, agent, length } => {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let method = if wish.is_head { "HEAD" } else { "GET" };
                let range = wish.range.map_or_else(|| "all".to_owned(), text);
                format!("{method} {} {range} {:?} {length}", wish.path, text(agent))
            }
        }
    }

    #[test]
    fn plain_requests_for_files_are_read_and_all_else_is_left() {
        let mut table = Vec::new();
        for lines in [
            "",
            "Host: x\r\n",
            "host:x\r\nUSER-AGENT:\t curl/8 \r\nrange: bytes=1-\r\n",
            "Connection: Keep-Alive\r\nAccept: */*\r\nIf-None-Match: *\r\n",
            "Connection: close\r\n",
            "Connection: TE, close\r\nTE: deflate,gzip;q=0.3\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n",
            "Via: 1.1 proxy\r\n",
            "Range: bytes=0-1\r\nRange: bytes=2-3\r\n",
            "User-Agent: a\r\nUser-Agent: b\r\n",
            "Host : x\r\n",
            "Host: x\r\n folded\r\n",
            "Host: \u{1}\r\n",
        ] {
            let request = format!("GET /download/7/7-1 HTTP/1.1\r\n{lines}\r\nGET /next");
            table.push(format!("{lines:?}: {}", said(request.as_bytes())));
        }
        for start in [
            "HEAD /download/7/info HTTP/1.1",
            "GET /download/%37/7-1 HTTP/1.1",
            "GET /download/7/7-1 HTTP/1.0",
            "GET /download/7/7-1",
            "GET http://x/download/7/7-1 HTTP/1.1",
            "get /download/7/7-1 HTTP/1.1",
            "POST /download/7/7-1 HTTP/1.1",
            "GET /healthz HTTP/1.1",
            "PRI * HTTP/2.0",
            "\u{16}\u{3}\u{1}",
        ] {
            let request = format!("{start}\r\nHost: x\r\n\r\n");
            table.push(format!("{start:?}: {}", said(request.as_bytes())));
        }
        let many = format!("GET /download/7/7-1 HTTP/1.1\r\n{}\r\n", "Accept: a\r\n".repeat(LINES + 1));
        table.push(format!("too many lines: {}", said(many.as_bytes())));
        insta::assert_snapshot!(table.join("\n"), @r#"
        "": GET /download/7/7-1 all "" 32
        "Host: x\r\n": GET /download/7/7-1 all "" 41
        "host:x\r\nUSER-AGENT:\t curl/8 \r\nrange: bytes=1-\r\n": GET /download/7/7-1 bytes=1- "curl/8" 79
        "Connection: Keep-Alive\r\nAccept: */*\r\nIf-None-Match: *\r\n": GET /download/7/7-1 all "" 87
        "Connection: close\r\n": other
        "Connection: TE, close\r\nTE: deflate,gzip;q=0.3\r\n": other
        "Content-Length: 0\r\n": other
        "Transfer-Encoding: chunked\r\n": other
        "Expect: 100-continue\r\n": other
        "Via: 1.1 proxy\r\n": other
        "Range: bytes=0-1\r\nRange: bytes=2-3\r\n": other
        "User-Agent: a\r\nUser-Agent: b\r\n": other
        "Host : x\r\n": other
        "Host: x\r\n folded\r\n": other
        "Host: \u{1}\r\n": other
        "HEAD /download/7/info HTTP/1.1": HEAD /download/7/info all "" 43
        "GET /download/%37/7-1 HTTP/1.1": GET /download/%37/7-1 all "" 43
        "GET /download/7/7-1 HTTP/1.0": other
        "GET /download/7/7-1": other
        "GET http://x/download/7/7-1 HTTP/1.1": other
        "get /download/7/7-1 HTTP/1.1": other
        "POST /download/7/7-1 HTTP/1.1": other
        "GET /healthz HTTP/1.1": other
        "PRI * HTTP/2.0": other
        "\u{16}\u{3}\u{1}": other
        too many lines: other
        "#);
    }

    #[test]
    fn a_request_may_come_in_any_pieces() {
        let request = b"HEAD /download/1795272554/1795272554-12 HTTP/1.1\r\nHost: deploy.example.org\r\n\r\n";
        for end in 0..request.len() {
            assert_eq!(said(&request[..end]), "more", "{end}");
        }
        assert_eq!(said(request), format!("HEAD /download/1795272554/1795272554-12 all \"\" {}", request.len()));
    }

    #[test]
    fn a_date_is_that_of_its_second() {
        let text = |seconds| String::from_utf8(date(UnixTime::from_seconds(seconds)).to_vec()).expect("text");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(-5), "Thu, 01 Jan 1970 00:00:00 GMT", "a clock that was never set");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(start in 0..4_usize, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut came = ["", "GET /download/7/7-1 HTTP/1.1\r\n", "HEAD /download/", "GET /download/7/7-1 HTTP/1.1\r\nRange:"]
                [start].as_bytes().to_vec();
            came.extend(rest);
            if let Read::File { length, .. } = read(&came) {
                prop_assert!(length <= came.len());
                prop_assert!(came[..length].ends_with(b"\n"));
            }
        }
    }
}
