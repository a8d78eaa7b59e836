//! Request bodies: bounded in bytes, in time and in slowness.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte to the last, however steadily they come.
    pub(super) total: Duration,
    /// Until the rate is looked at.
    pub(super) grace: Duration,
    /// Bytes per second, on average, after that.
    pub(super) rate: u64,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the request's body came too slowly")]
    TooSlow,
    #[error("the request's body ended early or is wrongly chunked")]
    Broken,
}

/// After a refusal this much is still read, so that the client reads the answer and not a reset connection.
const DRAINED: usize = 16 << 20;

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Patience,
) -> Result<Bytes, BodyError> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let too_large = declared.is_some_and(|length: usize| length > limit);
    if too_large && headers.contains_key(EXPECT) {
        // The client waits for our word before it sends, so there is nothing to drain.
        return Err(BodyError::TooLarge { limit });
    }
    let mut reading = Reading::new(body, patience);
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(0).min(limit).min(1 << 20));
    while let Some(bytes) = reading.next().await? {
        if too_large || whole.len() + bytes.len() > limit {
            drop(whole);
            while reading.received <= limit.saturating_add(DRAINED) as u64 && reading.next().await?.is_some() {}
            return Err(BodyError::TooLarge { limit });
        }
        if whole.is_empty() && declared == Some(bytes.len()) {
            return Ok(bytes); // all of it in one frame, as nearly every prolog comes
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

/// A body that is read frame by frame.
pub(super) struct Reading {
    body: Body,
    patience: Patience,
    started: Instant,
    received: u64,
}

impl Reading {
    pub(super) fn new(body: Body, patience: Patience) -> Self {
        Self { body, patience, started: Instant::now(), received: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let earned = Duration::from_millis(self.received.saturating_mul(1000) / self.patience.rate.max(1));
            let allowed = self.patience.grace.saturating_add(earned).min(self.patience.total);
            let frame = timeout_at(self.started + allowed, self.body.frame()).await.map_err(|_| BodyError::TooSlow)?;
            let Some(frame) = frame else { return Ok(None) };
            // A trailer is no data; nobody has a use for it.
            let Ok(bytes) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            self.received += bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}
