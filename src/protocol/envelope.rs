//! The container of a message: zlib, gzip or plain text (ocs-protocol 1.3).
//!
//! No header names it: stock agents and servers go by the first bytes, and a reply travels as its request did.
//!
//! ```
//! use dripfeed::protocol::envelope::{self, Container};
//!
//! let body = envelope::seal(Container::Zlib, "<REQUEST/>");
//! assert_eq!(envelope::open(&body, 1024)?, (Container::Zlib, b"<REQUEST/>".to_vec()));
//! assert!(envelope::open(&body, 9).is_err(), "it inflates to ten bytes");
//! # Ok::<(), envelope::EnvelopeError>(())
//! ```

use std::cell::RefCell;
use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a message travels in. A reply uses the container of its request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Container {
    /// RFC 1950; the Windows agent's streams have neither final block nor checksum.
    Zlib,
    /// RFC 1952.
    Gzip,
    /// Text that begins with `<?xml` or `<`.
    Plain,
}

/// Why a body could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Nothing was sent.
    #[error("the request is empty")]
    Empty,
    /// None of the containers.
    #[error("the body is neither zlib nor gzip nor XML")]
    Unknown,
    /// More than the limit, inflated.
    #[error("the body inflates to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Broken compressed data.
    #[error("the compressed body is damaged")]
    Damaged,
}

const CHUNK: usize = 8 * 1024;

/// What a sync flush leaves at the end of a deflate stream.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// A body that was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// What it came in.
    pub container: Container,
    /// What was in it.
    pub document: Vec<u8>,
    /// Is the body one zlib stream, to its checksum, and nothing behind it? Whoever keeps the document may keep the body.
    pub is_zlib: bool,
}

/// Opens a body: at most `limit` bytes come out, whatever went in. A stream that ends at a flush is complete.
pub fn open(body: &[u8], limit: usize) -> Result<(Container, Vec<u8>), EnvelopeError> {
    let opened = open_whole(body, limit)?;
    Ok((opened.container, opened.document))
}

/// [`open`], for whoever wants to know what the body is by itself.
pub fn open_whole(body: &[u8], limit: usize) -> Result<Opened, EnvelopeError> {
    let container = Container::of(body)?;
    let (document, is_zlib) = match container {
        Container::Plain if body.len() > limit => return Err(EnvelopeError::TooLarge { limit }),
        Container::Plain => (body.to_vec(), false),
        Container::Zlib => inflate(body, limit)?,
        Container::Gzip => (gunzip(body, limit)?, false),
    };
    Ok(Opened { container, document, is_zlib })
}

/// Puts a reply or a request into its container. Compression level 1: replies are small and many.
pub fn seal(container: Container, xml: &str) -> Vec<u8> {
    match container {
        Container::Plain => xml.as_bytes().to_vec(),
        Container::Zlib => deflate(xml.as_bytes()),
        Container::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let sealed = encoder.write_all(xml.as_bytes()).and_then(|()| encoder.finish());
            sealed.unwrap_or_else(|error| unreachable!("a Vec takes whatever is written to it: {error}"))
        }
    }
}

fn deflate(document: &[u8]) -> Vec<u8> {
    thread_local! {
        // Its 270 KiB cost more to make than a reply costs to compress.
        static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), true));
    }
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        // A quarter is what a reply with some packages comes to.
        let mut packed = Vec::with_capacity(document.len() / 4 + 128);
        loop {
            let taken = usize::try_from(deflater.total_in()).unwrap_or(document.len());
            match deflater.compress_vec(&document[taken..], &mut packed, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return packed,
                Ok(_) => packed.reserve(packed.capacity()),
                Err(error) => unreachable!("deflating fails only when it is misused: {error}"),
            }
        }
    })
}

impl Container {
    /// Tells a body's container by its first bytes. Content types say nothing: stock agents send
    /// `application/x-compress` and `application/x-compressed` for the same thing.
    pub fn of(body: &[u8]) -> Result<Self, EnvelopeError> {
        match *body {
            [] => Err(EnvelopeError::Empty),
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // RFC 1950: method 8, and the first two bytes as a number are a multiple of 31.
            [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31) => {
                Ok(Self::Zlib)
            }
            _ if is_markup(body) => Ok(Self::Plain),
            _ => Err(EnvelopeError::Unknown),
        }
    }
}

/// Does it begin with `<`, in UTF-8 or UTF-16, after a byte order mark or white space?
fn is_markup(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    matches!(text, [b'<', ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'<', ..])
}

/// What was in it, and whether the stream ended by itself and with the body.
fn inflate(body: &[u8], limit: usize) -> Result<(Vec<u8>, bool), EnvelopeError> {
    let mut inflater = Decompress::new(true);
    let mut document = Document::new(body.len(), limit);
    let mut chunk = [0; CHUNK];
    let mut rest = body;
    loop {
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(rest, &mut chunk, FlushDecompress::None);
        let status = status.map_err(|_| EnvelopeError::Damaged)?;
        // Both are bounded by the slices just given.
        let taken = usize::try_from(inflater.total_in() - taken).unwrap_or(rest.len());
        let given = usize::try_from(inflater.total_out() - given).unwrap_or(CHUNK);
        rest = &rest[taken..];
        document.append(&chunk[..given])?;
        if status == Status::StreamEnd {
            return Ok((document.bytes, rest.is_empty()));
        }
        if taken == 0 && given == 0 {
            // No more goes in and no more comes out. Windows agents flush instead of ending the stream.
            return if body.ends_with(&FLUSHED) { Ok((document.bytes, false)) } else { Err(EnvelopeError::Damaged) };
        }
    }
}

fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, EnvelopeError> {
    let mut decoder = GzDecoder::new(body);
    let mut document = Document::new(body.len(), limit);
    let mut chunk = [0; CHUNK];
    loop {
        match decoder.read(&mut chunk).map_err(|_| EnvelopeError::Damaged)? {
            0 => return Ok(document.bytes),
            given => document.append(&chunk[..given])?,
        }
    }
}

/// Bytes that grow by doubling, but never beyond the limit.
struct Document {
    bytes: Vec<u8>,
    limit: usize,
}

impl Document {
    fn new(body: usize, limit: usize) -> Self {
        // XML shrinks to a tenth or a quarter.
        Self { bytes: Vec::with_capacity(body.saturating_mul(4).min(limit)), limit }
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), EnvelopeError> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.limit {
            return Err(EnvelopeError::TooLarge { limit: self.limit });
        }
        if needed > self.bytes.capacity() {
            let room = needed.max(self.bytes.capacity().saturating_mul(2)).min(self.limit);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<?xml version=\"1.0\"?><REQUEST><QUERY>PROLOG</QUERY></REQUEST>";

    /// As the Windows agent does it: a header, blocks that each end in a flush, nothing else.
    fn flushed(text: &[u8]) -> Vec<u8> {
        let mut deflater = Compress::new(Compression::default(), true);
        let mut packed = Vec::with_capacity(text.len() + 1024);
        for block in text.chunks(32 * 1024) {
            packed.reserve(block.len() + 64);
            deflater.compress_vec(block, &mut packed, FlushCompress::Sync).expect("room enough");
        }
        packed
    }

    #[test]
    fn every_container_opens_to_what_was_sealed() {
        for container in [Container::Zlib, Container::Gzip, Container::Plain] {
            for text in [XML.to_owned(), format!("<A>{}</A>", "häufig ".repeat(20_000))] {
                let sealed = seal(container, &text);
                let (found, document) = open(&sealed, text.len()).expect("opens at its very size");
                assert_eq!((found, document.as_slice()), (container, text.as_bytes()));
                let error = open(&sealed, text.len() - 1).expect_err("one byte too many");
                assert!(matches!(error, EnvelopeError::TooLarge { limit } if limit == text.len() - 1));
            }
        }
    }

    #[test]
    fn a_windows_agents_unterminated_stream_is_complete() {
        for text in [XML.to_owned(), format!("<A>{}</A>", "0123456789".repeat(10_000))] {
            let body = flushed(text.as_bytes());
            assert!(body.ends_with(&FLUSHED));
            assert_eq!(open(&body, 1 << 20).expect("opens").1, text.as_bytes());
        }
    }

    #[test]
    fn a_body_is_zlib_by_itself_when_its_stream_ends_with_it() {
        let whole = |body: &[u8]| open_whole(body, 1 << 20).expect("opens").is_zlib;
        let sealed = seal(Container::Zlib, XML);
        assert!(whole(&sealed));
        assert!(!whole(&[&sealed[..], b"more"].concat()), "something behind it");
        assert!(!whole(&flushed(XML.as_bytes())), "no end and no checksum");
        assert!(!whole(&seal(Container::Gzip, XML)) && !whole(XML.as_bytes()), "another container");
    }

    #[test]
    fn a_stream_cut_anywhere_else_is_damaged() {
        for container in [Container::Zlib, Container::Gzip] {
            let sealed = seal(container, XML);
            for length in 2..sealed.len() {
                let error = open(&sealed[..length], 1 << 20).expect_err("cut off");
                assert!(matches!(error, EnvelopeError::Damaged), "{container:?} cut to {length}: {error}");
            }
        }
    }

    #[test]
    fn markup_is_plain_text_in_any_encoding() {
        let utf16 = |bytes: fn(u16) -> [u8; 2]| XML.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for body in [
            XML.as_bytes().to_vec(),
            b"<REQUEST/>".to_vec(),
            b"\xef\xbb\xbf\r\n <?xml?>".to_vec(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(open(&body, 4096).expect("plain"), (Container::Plain, body));
        }
    }

    #[test]
    fn what_is_no_container_is_told_apart() {
        let check = |body: &[u8]| open(body, 4096).expect_err("refused").to_string();
        assert_eq!(check(b""), "the request is empty");
        assert_eq!(check(b"not zlib\n"), "the body is neither zlib nor gzip nor XML");
        assert_eq!(check(b" "), "the body is neither zlib nor gzip nor XML");
        assert_eq!(check(b"\x78\x9cnonsense"), "the compressed body is damaged");
        // A stream that needs a dictionary, which nobody has.
        assert_eq!(check(&[0x78, 0xbb, 0, 0, 0, 1, 3, 0]), "the compressed body is damaged");
        assert_eq!(check(b"\x1f\x8b"), "the compressed body is damaged");
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = deflate(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(open(&bomb, 1 << 16), Err(EnvelopeError::TooLarge { limit: 0x1_0000 })));
    }

    #[test]
    fn memory_never_grows_beyond_the_limit() {
        let mut document = Document::new(1 << 30, 100_000);
        assert!(document.bytes.capacity() <= 100_000);
        let mut document_of_nothing = Document::new(0, 100_000);
        for document in [&mut document, &mut document_of_nothing] {
            while document.append(&[0; 3000]).is_ok() {
                assert!(document.bytes.capacity() <= 100_000);
            }
            assert_eq!(document.bytes.len(), 99_000);
        }
    }
}
