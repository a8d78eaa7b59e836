//! The container of a message: zlib, gzip or plain text (ocs-protocol 1.3).

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

/// Opens a body: at most `limit` bytes come out, whatever went in. A stream that ends at a flush is complete.
pub fn open(body: &[u8], limit: usize) -> Result<(Container, Vec<u8>), EnvelopeError> {
    let _ = (body, limit);
    todo!()
}

/// Puts a reply or a request into its container. Compression level 1: replies are small and many.
pub fn seal(container: Container, xml: &str) -> Vec<u8> {
    let _ = (container, xml);
    todo!()
}
