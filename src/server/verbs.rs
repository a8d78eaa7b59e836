//! Verbs of the command line, run for somebody elsewhere.
//!
//! The server does not know the verbs: whoever starts it gives it somebody who does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::desk::{Desk, Refusal};

/// A verb as it was typed elsewhere.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[schemars(example = &serde_json::json!({ "arguments": ["package", "list", "--json"] }))]
pub struct VerbCall {
    /// The words behind `dripfeed` and what says where the server is: `["package", "show", "1795168800", "--json"]`.
    #[schemars(length(min = 1, max = 10_000))]
    pub arguments: Vec<String>,
    /// What the verb reads from standard input: a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub input: Option<String>,
    /// The upload that stands for the file that is named in the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// What became of a verb.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct VerbDone {
    /// 0 done, 1 failed, 2 refused: nothing was changed.
    pub exit_code: u8,
    /// What it printed.
    pub stdout: String,
    /// What it said besides, in order.
    pub messages: Vec<Message>,
}

/// Something that is said on standard error.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Message {
    /// How it is meant.
    pub tone: Tone,
    /// A sentence.
    pub text: String,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// What to do next.
    Note,
    /// What to know though it is no error.
    Warning,
    /// Why it was not done.
    Error,
}

/// Somebody who knows the verbs.
pub trait Verbs: Send + Sync {
    /// Runs one for whoever sits at the desk. A refusal says that they may not, or that it is no verb; all else is what
    /// became of it.
    fn run(&self, desk: &Desk, call: VerbCall) -> Result<VerbDone, Refusal>;
}
