//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod cli;
#[cfg(debug_assertions)]
mod crash;
mod door;
mod floors;
mod http;
mod jobs;
mod publish;
mod util;
mod wire;
