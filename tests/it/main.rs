//! The integration tests: whole programs, real databases, captured bytes. One binary, one module a story.

mod http;
