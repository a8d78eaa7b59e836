//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod agent;
mod backends;
mod cli;
mod crash;
mod deployments;
mod discovery;
mod documents;
mod door;
mod fetching;
mod fleet;
mod floors;
mod groups;
mod http;
mod inventory;
mod jobs;
mod markup;
mod memo;
mod mirror;
mod publish;
mod settings;
mod util;
mod windows_wire;
mod wire;
