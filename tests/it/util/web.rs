//! A client of our own, so that every byte is ours: one connection, one request after the other.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::process::PATIENCE;

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection.
pub(crate) struct Line(BufReader<Box<dyn Stream>>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Plain text, one line of it.
    pub(crate) fn is_sentence(&self) -> bool {
        let head = self.head.to_ascii_lowercase();
        head.contains("content-type: text/plain") && self.text().trim_end().lines().count() == 1
    }
}

/// Whoever trusts this authority and no other.
pub(crate) fn trusting(authority: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority).expect("a certificate")).expect("an authority");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Line {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::try_plain(address).expect("it listens")
    }

    pub(crate) fn try_plain(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(Box::new(connect(address)?))))
    }

    pub(crate) fn secure(address: SocketAddr, trust: &Arc<rustls::ClientConfig>) -> io::Result<Self> {
        let mut stream = connect(address)?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut connection = rustls::ClientConnection::new(Arc::clone(trust), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(BufReader::new(Box::new(rustls::StreamOwned::new(connection, stream)))))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Reads what goes on, a line at a time; 0 at its end.
    pub(crate) fn read_line(&mut self, text: &mut String) -> io::Result<usize> {
        self.0.read_line(text)
    }

    /// Reads the head of an answer, and its body unless it has none.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, head, body })
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: server\r\n{headers}");
        if !body.is_empty() || method == "POST" {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", b"").expect("an answer")
    }

    /// As a stock agent posts.
    pub(crate) fn try_post(&mut self, body: &[u8]) -> io::Result<Answer> {
        let headers = "User-Agent: OCS-NG_unified_unix_agent_v2.10.0\r\nContent-Type: application/x-compressed\r\n";
        self.request("POST", "/ocsinventory", headers, body)
    }

    pub(crate) fn post(&mut self, body: &[u8]) -> Answer {
        self.try_post(body).expect("an answer")
    }
}
