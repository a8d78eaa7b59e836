//! Configuration in two steps: `*Opts` as written, `*Config` checked once. Floor 2.

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "server")]
pub mod server;
