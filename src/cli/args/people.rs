//! Users, what they may do, and what they did.

use clap::{Args, Subcommand};

use crate::model::access::Right;

/// For which computers and packages a role holds.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScopeOptions {
    /// Only these computers: a query such as "tag = Paris" [default: all]
    #[arg(long, value_name = "QUERY")]
    pub(crate) computers: Option<String>,
    /// Only packages of these families; a star at the end stands for anything [default: all]
    #[arg(long, value_name = "FAMILY", num_args = 1..)]
    pub(crate) families: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Add a user; prints a one-time password unless one is given
    Add {
        /// Name to sign in with
        name: String,
        /// What the user may do: administrator, deployer, viewer or a role of your own
        #[arg(long, default_value = "administrator")]
        role: String,
        #[command(flatten)]
        scope: ScopeOptions,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a password and sign the user out; prints a one-time password unless one is given
    Password {
        /// Name to sign in with
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List users with their roles
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a user another role, for everything or for the scope that is named
    Access {
        /// Name to sign in with
        name: String,
        /// What the user may do
        #[arg(long)]
        role: String,
        #[command(flatten)]
        scope: ScopeOptions,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what people call a user, and where the user is written to
    Profile {
        /// Name to sign in with
        name: String,
        /// What people call the user [default: as it is]
        #[arg(long, value_name = "NAME", required_unless_present = "mail")]
        full_name: Option<String>,
        /// Where the user is written to; empty for nowhere [default: as it is]
        #[arg(long, value_name = "ADDRESS")]
        mail: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Lock a user out at once, sessions and tokens included
    Disable {
        /// Name to sign in with
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a user in again
    Enable {
        /// Name to sign in with
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a user for one-time codes no more, who has lost the authenticator
    NoCodes {
        /// Name to sign in with
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a user with sessions and tokens
    Delete {
        /// Name to sign in with
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleVerb {
    /// List roles
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List what a role can be allowed
    Rights {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a role, or change what everybody who has it may do
    Set {
        /// Name of the role
        name: String,
        /// What it may do: `dripfeed role rights` shows the words
        #[arg(required = true, value_name = "RIGHT")]
        rights: Vec<Right>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a role that nobody has
    Delete {
        /// Name of the role
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token for the API; prints its secret, once
    Create {
        /// What it is for
        name: String,
        /// In whose name it acts
        #[arg(long)]
        user: String,
        /// What it may do, at most what the user may: `dripfeed role rights` shows the words
        #[arg(long, required = true, num_args = 1.., value_name = "RIGHT")]
        rights: Vec<Right>,
        #[command(flatten)]
        scope: ScopeOptions,
        /// Days until it ends [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: Option<u16>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List tokens
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token back at once
    Delete {
        /// Number of the token
        id: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List changes, newest first
    List {
        /// Part of the name of who did it
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        actor: String,
        /// Part of what was done, such as "user add"
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        action: String,
        /// Part of what it was done to
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        subject: String,
        /// Not before this day or moment, such as 2026-11-20 or 2026-11-20T10:00:00Z
        #[arg(long, value_name = "MOMENT")]
        from: Option<String>,
        /// Before this day or moment
        #[arg(long, value_name = "MOMENT")]
        to: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
