//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod crash;
mod documents;
mod door;
mod floors;
mod http;
mod jobs;
mod mirror;
mod publish;
mod util;
mod wire;
