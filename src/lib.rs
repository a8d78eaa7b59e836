//! dripfeed hands software packages to fleets of computers a fragment at a time.
//!
//! Three programs agree on a tree of files and a few XML messages, so the words and the messages are pure code that all
//! share, the download cycle is a pure engine, and everything that can fail for reasons outside our control is an
//! adapter at the rim. A module imports anything lower, never higher:
//!
//! ```text
//!  5  bin/server.rs        bin/agent.rs  bin/mirror.rs   arguments → config → run → exit code
//!  4  cli/  server/        agent/        mirror/         programs; they never import one another
//!  3  service/                                     use cases: rules + transactions          [server]
//!  2  store/ [server]   fetch/ disk/ tls/ config/ clock.rs congestion.rs telemetry.rs     adapters
//!  1  protocol/  engine/  archive/                 pure: bytes ↔ values, values ↔ values
//!  0  model/                                       the words: ids, priorities, digests, states
//! ```
//!
//! Where to start: `docs/architecture.md`, then [`model`], then [`protocol`]. "Why was this package not offered?" is
//! answered in `service/prolog.rs`, "why did the agent wait?" in [`engine`], "what bytes do we send?" in [`protocol`].
//!
//! Features: `server` (axum, tokio, diesel), `agent` and `mirror` (none of them), `fetch` (the HTTP client that all use). Without any,
//! only the pure floors are left.

#[cfg(feature = "agent")]
pub mod agent;
pub mod archive;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "fetch")]
pub mod clock;
#[cfg(feature = "fetch")]
pub mod config;
#[cfg(any(feature = "server", feature = "mirror"))]
pub mod congestion;
#[cfg(feature = "fetch")]
pub mod disk;
pub mod engine;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "mirror")]
pub mod mirror;
pub mod model;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "fetch")]
pub mod telemetry;
#[cfg(feature = "fetch")]
pub mod tls;
