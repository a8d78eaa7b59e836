//! Fetching as an agent fetches: transport → limit → bytes. Floor 2; the only room that names the HTTP client.
//!
//! ```text
//! POST  zlib(XML)  → whole reply, bounded          no redirect: a stock agent follows none either
//! GET   info       → whole file, bounded           no redirect: it carries the command to run
//! GET   fragment   → into a writer, resumable      redirects followed: the digest proves the bytes, not their source
//! ```
//!
//! Conditional headers are never sent: a stock web server would answer 304, which is no fragment (ocs-protocol 13.2, 6).
//! There is no retry in here; when to ask again is the engine's business.

pub mod broadcast;
mod bucket;
mod client;
mod error;
pub mod poster;
mod proxy;
pub mod srv;
mod url;

pub use bucket::Bucket;

pub use client::{BasicAuth, Bearer, Client, ClientOptions, Judged, Reply, Secret, Validated};
pub use error::FetchError;
pub use proxy::{Proxies, without_credentials};
pub use url::{InvalidUrl, Url};
