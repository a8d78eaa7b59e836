//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod deployments;
mod floors;
mod http;
mod jobs;
mod publish;
mod settings;
mod util;
mod wire;
