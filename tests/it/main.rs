//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod cli;
mod console_computers;
mod crash;
mod deployments;
mod documents;
mod door;
mod floors;
mod groups;
mod http;
mod inventory;
mod jobs;
mod mirror;
mod publish;
mod settings;
mod util;
mod wire;
