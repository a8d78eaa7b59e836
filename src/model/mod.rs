//! The words of the field: ids, priorities, digests, states, settings. Floor 0.
//!
//! Everything above agrees on these types; nothing here knows a clock, a disk or a network. A value of one of these
//! types has been checked when it was made, so nobody checks it again.
//!
//! | word | type | wire name |
//! |---|---|---|
//! | package, its number | [`Package`], [`PackageId`] | `FILEID`, `ID` |
//! | fragment | [`FragmentNumber`], [`FragmentCount`] | `FRAGS`, file `<id>-<n>` |
//! | pace | [`Priority`] | `PRI` |
//! | computer, its wire name | [`Computer`], [`DeviceId`] | `hardware`, `DEVICEID` |
//! | where to fetch | [`Activation`], [`Location`] | `INFO_LOC`, `PACK_LOC` |
//! | intent, one package on one computer | [`Deployment`], [`Job`] | an "affect", a `devices` row |
//! | where the job is, the wire's own word | [`JobState`], [`ResultCode`] | `TVALUE` |
//! | who may do what | [`access`] | an operator's profile |
//! | a question about computers | [`query`] | a group's request |
//! | a value with layers | [`settings`] | `config`, `devices` overrides |

pub mod access;
mod activation;
mod approval;
mod computer;
pub mod csv;
mod deployment;
mod digest;
mod exit_codes;
mod fragment;
pub mod gates;
pub mod limits;
mod name;
pub mod own_field;
mod package;
mod plain_text;
mod priority;
pub mod prompt;
pub mod query;
mod range;
pub mod recurrence;
mod registry;
mod result_code;
pub mod settings;
mod size;
mod time;
mod tree;
mod upload;
mod user_agent;
pub mod wake;
pub mod windows;
mod words;

pub use activation::{Activation, InvalidLocation, Location};
pub use approval::{Approval, ApprovalId, ApprovalRule, Awaited, Consent, UnknownVerdict, Verdict, Vote, consents};
pub use computer::{AgentKey, Computer, ComputerId, DeviceId, GroupId, InvalidDeviceId};
pub use deployment::{
    Deployment, DeploymentId, InvalidPostCommand, InvalidSchedule, Job, JobId, JobOptions, JobState, PostCommand,
    Schedule, UnknownJobState, Withheld,
};
pub use digest::{Digest, DigestAlgorithm, DigestEncoding, Hasher, InvalidDigest};
pub use exit_codes::{ExitCodes, ExitMeaning, InvalidExitCodes};
pub use fragment::{FragmentCount, FragmentNumber, FragmentPlan, InvalidFragment};
pub use name::{is_addressable, is_line, is_name};
pub use package::{Action, Done, InvalidPackage, OsFamily, Package, PackageId, PackageState};
pub use plain_text::{TEXT_LIMIT, plain_text};
pub use priority::{InvalidPriority, Priority};
pub use prompt::{Nobody, Notify, PromptPolicy};
pub use range::{AddressRange, InvalidRange};
pub use registry::{InvalidRegistryQuery, RegistryQuery, RegistryTree};
pub use result_code::{Outcome, ResultCode};
pub use size::{ByteSize, InvalidByteSize};
pub use time::{Days, InvalidSpan, Minutes, UnixTime, span};
pub use tree::{InvalidTreeKey, TreeKey};
pub use upload::{InvalidUploadId, Upload, UploadFile, UploadId};
pub use user_agent::UserAgents;
pub use words::number_of;
