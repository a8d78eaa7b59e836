//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod floors;
mod http;
mod inventory;
mod jobs;
mod publish;
mod util;
mod wire;
