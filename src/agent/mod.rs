//! The agent program: contact, driver, work directory, execution. Floor 4; blocking, no runtime.
//!
//! ```text
//!  cli ── config ──► Agent::once / Agent::run
//!                      │  contact      prolog → offers, settings → work directory;  inventory when asked
//!                      │  driver       engine's actions → I/O → events
//!                      │    fetch      info and fragments, resumed where they broke off
//!                      │    assemble → verify → unpack → ask people → execute
//!                      │    report     kept results, until the server has taken them
//!                      └─ workdir      the stock agent's layout, every change atomic
//! ```
//!
//! A crash costs work, never truth (DESIGN.md, promise 4). What makes that so is the order of writes:
//!
//! | before | is durable |
//! |---|---|
//! | a message is sent | the key that it is signed with: a second key would be a stranger to the server |
//! | the task list forgets a fragment | the fragment |
//! | a command is started | the journal `started`: an execution that has it and no result was cut, and is not repeated |
//! | a result is reported | `done` with its code, and the history if it is a success |
//! | a post-command is started | the journal `post`: it runs once at most, for a reboot would end what writes it down |
//! | a package's directory is removed | the server's 200 |
//!
//! `disk::checkpoint` marks each boundary; tests end the process there:
//! `agent.identity.kept`, `agent.message.sending`, `agent.message.answered`, `agent.settings.stored`, `agent.offer.created`,
//! `agent.offer.stored`, `agent.info.asking`, `agent.info.came`, `agent.info.stored`, `agent.task.stored`,
//! `agent.fragment.asking`, `agent.fragment.written`, `agent.fragment.synced`, `agent.fragment.stored`,
//! `agent.fragment.failed`, `agent.fragment.listed`, `agent.execute.assembling`, `agent.execute.assembled`, `agent.unpack.written`,
//! `agent.execute.unpacked`, `agent.people.asking`, `agent.people.answered`, `agent.execute.journalled`,
//! `agent.execute.spawned`, `agent.store.written`, `agent.store.placed`, `agent.output.created`,
//! `agent.output.written`, `agent.execute.ran`, `agent.result.stored`, `agent.history.stored`,
//! `agent.report.sending`, `agent.report.sent`, `agent.post.journalled`, `agent.post.ran`, `agent.forget.renamed`,
//! `agent.forget.removed`, `agent.forget.told`.

mod beneath;
pub mod cli;
mod contact;
mod discover;
mod driver;
#[cfg(any(windows, test))]
mod event_log;
mod execute;
mod identity;
mod inventory;
#[cfg(any(windows, test))]
mod log_file;
mod machine;
pub mod people;
mod plan;
mod progress;
mod proof;
mod safety;
#[cfg(windows)]
mod service;
#[cfg(windows)]
mod signals;
mod sources;
mod status;
mod unpack;
mod vigil;
mod workdir;

pub use contact::ContactError;
pub use discover::DiscoverError;
pub use driver::{Agent, AgentError, Ended};
pub use identity::IdentityError;
pub use machine::{Machine, Stop, SystemMachine};
pub use plan::{PackagePlan, Plan, Step};
pub use proof::Regard;
pub use safety::SafetyError;
pub use status::{IdentityStatus, PackageStatus, SourceStatus, Status};
pub use workdir::WorkDirError;

/// `User-Agent`: a name and a version that every stock server from 2.2 on accepts (the version is read as 2.0), and the
/// word by which our server knows its own agent (ocs-protocol 1.2). The stock server keeps 50 characters of it.
pub const USER_AGENT: &str = concat!("OCS-NG_unified_unix_agent_v2.0.1-dripfeed-", env!("CARGO_PKG_VERSION"));

/// The target of log lines that somebody looks for long afterwards: the event log of Windows takes them.
pub(crate) const MILESTONE: &str = "dripfeed::milestone";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_server_accepts_the_user_agent_whole() {
        let (name, version) = USER_AGENT.rsplit_once("_v").expect("a version after the last _v");
        assert_eq!(name, "OCS-NG_unified_unix_agent");
        assert_eq!(version.split('.').next(), Some("2"));
        assert_eq!(version.split('.').nth(1), Some("0"), "the minor is cut to its first digit: it must be 0");
        assert!(USER_AGENT.len() <= 50 && !USER_AGENT.to_lowercase().contains("local"));
        assert!(!USER_AGENT.contains(['<', '>', '"', '\'', ';', '+', '(', '[']), "it is read as a pattern");
    }
}
