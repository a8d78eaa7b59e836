//! Certificates: our own authority, the server's reloadable certificate, the roots that an agent trusts. Floor 2.

#[cfg(feature = "fetch")]
pub mod client;
#[cfg(feature = "fetch")]
pub mod registration;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "fetch")]
pub mod signing;
