//! What can be typed. The doc comments are the help.

mod computers;
mod deployments;
mod mirrors;
mod packages;
mod people;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::context::Served;
use crate::fetch::Secret;

pub(crate) use computers::{ComputerVerb, FieldVerb, GroupMark, GroupVerb, NetworkVerb, RegistryVerb, SoftwareVerb};
pub(crate) use deployments::{
    Again, Assign, Decision, DeploymentVerb, Gates, GatesChange, SeriesChange, SeriesVerb, Status, Stuck, Why,
};
pub(crate) use mirrors::{MirrorVerb, SiteVerb};
pub(crate) use packages::{Activate, Build, Import, PackageVerb, TemplateVerb};
pub(crate) use people::{AuditVerb, RoleVerb, ScopeOptions, TokenVerb, UserVerb};

/// Hands software packages to fleets of computers, a fragment at a time.
#[derive(Debug, Parser)]
#[command(
    name = "dripfeed",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Start here:
  dripfeed demo    the whole tour in a temporary directory
  dripfeed serve   a server in this directory; prints what to do next

Exit codes: 0 done, 1 failed, 2 refused (what was asked for cannot be, and nothing was changed)"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) far: Far,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The heading of what every verb takes.
const PLACE: &str = "The server";

/// Where the server's files are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// Directory with database, certificates and download tree [default: the working directory]
    #[arg(
        long,
        global = true,
        value_name = "DIRECTORY",
        env = "DRIPFEED_DATA_DIR",
        hide_env_values = true,
        help_heading = PLACE
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file [default: dripfeed.toml in the data directory, if there is one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRIPFEED_CONFIG",
        hide_env_values = true,
        help_heading = PLACE
    )]
    pub(crate) config: Option<PathBuf>,
    /// What was typed, for the audit log.
    #[arg(skip)]
    pub(crate) typed: Option<Typed>,
    /// Set by a server that runs the verb for somebody elsewhere.
    #[arg(skip)]
    pub(crate) served: Option<Served>,
}

/// A verb as it was typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Typed {
    /// Its words: `package withdraw`.
    pub(crate) words: String,
    /// What it was given. No option takes a secret: passwords come on standard input.
    pub(crate) given: String,
}

impl Typed {
    /// Characters that the audit log keeps of what was given.
    const KEPT: usize = 500;

    /// What clap read.
    pub(crate) fn of(command: &clap::Command, matches: &clap::ArgMatches) -> Self {
        let (mut words, mut command, mut matches) = (Vec::new(), command, matches);
        while let Some((name, below)) = matches.subcommand() {
            words.push(name.to_owned());
            let Some(found) = command.find_subcommand(name) else { break };
            (command, matches) = (found, below);
        }
        let mut given = Vec::new();
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let about_place = matches!(id, "data_dir" | "config" | "json");
            if about_place || matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
                continue;
            }
            given.extend(argument.get_long().map(|name| format!("--{name}")));
            if argument.get_action().takes_values() {
                let values = matches.get_raw(id).into_iter().flatten();
                given.extend(values.map(|value| value.to_string_lossy().into_owned()));
            }
        }
        Self { words: words.join(" "), given: given.join(" ").chars().take(Self::KEPT).collect() }
    }
}

/// The heading of what stands before the verb.
const FAR: &str = "A server elsewhere (before the verb)";

/// A server that is asked over the network.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Far {
    /// Have the verb run by that server, over its API
    #[arg(long, value_name = "https://HOST[:PORT]", env = "DRIPFEED_SERVER", hide_env_values = true, help_heading = FAR)]
    pub(crate) server: Option<String>,
    /// Whose rights hold there: a token, as the console makes them. Others on this machine can read it: rather use the
    /// variable or --token-file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "DRIPFEED_TOKEN",
        hide_env_values = true,
        value_parser = secret,
        help_heading = FAR
    )]
    pub(crate) token: Option<Secret>,
    /// A file with the token in it
    #[arg(long, value_name = "FILE", env = "DRIPFEED_TOKEN_FILE", hide_env_values = true, help_heading = FAR)]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority to check that server against, its certs/ca.pem
    #[arg(long, value_name = "FILE", env = "DRIPFEED_CA", hide_env_values = true, help_heading = FAR)]
    pub(crate) ca: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "as clap calls it")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret(text.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server; the first start makes everything that it needs
    Serve(Serve),
    /// Build, list, show, withdraw and verify packages
    #[command(subcommand)]
    Package(PackageVerb),
    /// Kinds of packages that know their command: show them, and keep your own
    #[command(subcommand)]
    Template(TemplateVerb),
    /// Tell agents where to fetch a package, after fetching it from there as an agent would
    Activate(Activate),
    /// Deploy a package to computers
    Assign(Assign),
    /// Show how far deployments are
    Status(Status),
    /// List jobs that stand still: their computers were told of them and come, and nothing follows
    Stuck(Stuck),
    /// List, show, change, approve, cancel and retry deployments
    #[command(subcommand)]
    Deployment(DeploymentVerb),
    /// Deployments that come again (`assign --repeat` makes them): list, show, change, pause, resume, run now, end
    #[command(subcommand)]
    Series(SeriesVerb),
    /// Tell why a package is where it is on a computer, and what that rests on
    Why(Why),
    /// Show and change what agents are told: pace, time-outs, how often they check in
    #[command(subcommand)]
    Setting(SettingVerb),
    /// List, show, tag, merge, archive and delete computers
    #[command(subcommand)]
    Computer(ComputerVerb),
    /// Put computers into groups, by hand or by a query
    #[command(subcommand)]
    Group(GroupVerb),
    /// List software and who has it
    #[command(subcommand)]
    Software(SoftwareVerb),
    /// List networks and who was seen in them, known computers and others
    #[command(subcommand)]
    Network(NetworkVerb),
    /// Make and change fields of your own, which every computer has
    #[command(subcommand)]
    Field(FieldVerb),
    /// Ask Windows computers for values of their registry, and show what they found
    #[command(subcommand)]
    Registry(RegistryVerb),
    /// Register servers that keep a copy of the download tree, and see how they are
    #[command(subcommand)]
    Mirror(MirrorVerb),
    /// Say which addresses are near which mirrors
    #[command(subcommand)]
    Site(SiteVerb),
    /// Manage users: who may sign in, as what, for which computers and packages
    #[command(subcommand)]
    User(UserVerb),
    /// Manage roles: what their users may do
    #[command(subcommand)]
    Role(RoleVerb),
    /// Manage tokens, which programs use the API with
    #[command(subcommand)]
    Token(TokenVerb),
    /// See who changed what
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Check the configuration
    CheckConfig(CheckConfig),
    /// Take the tour: serve, build, activate, assign, run an agent, watch it succeed
    Demo(Demo),
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Serve {
    /// Address of the HTTP listener; port 0 picks a free one [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) http: Option<String>,
    /// Address of the HTTPS listener; port 0 picks a free one [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) https: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingVerb {
    /// List settings with their values for every computer and where these come from
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one setting: its value for every computer, bounds and meaning
    Get {
        /// Its stock name, as `setting list` shows it
        key: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a value for every computer, a group or one computer
    Set {
        /// Its stock name, as `setting list` shows it
        key: String,
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Only for this computer, by name or device id
        #[arg(long, value_name = "NAME|DEVICEID")]
        computer: Option<String>,
        /// Only for the members of this group
        #[arg(long, value_name = "GROUP", conflicts_with = "computer")]
        group: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take back what was set
    Unset {
        /// Its stock name, as `setting list` shows it
        key: String,
        /// Only for this computer, by name or device id
        #[arg(long, value_name = "NAME|DEVICEID")]
        computer: Option<String>,
        /// Only for the members of this group
        #[arg(long, value_name = "GROUP", conflicts_with = "computer")]
        group: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every layer of a setting for one computer, which one wins and why
    Explain {
        /// Its stock name, as `setting list` shows it
        key: String,
        /// Name or device id
        #[arg(long, value_name = "NAME|DEVICEID")]
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CheckConfig {
    /// Print every key with its value and where it comes from
    #[arg(long)]
    pub(crate) print: bool,
    /// As JSON
    #[arg(long, requires = "print")]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    /// End after SUCCESS instead of staying up; fail if it did not come
    #[arg(long)]
    pub(crate) exit: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_that_belong_together_are_asked_for() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace()).map_err(|error| error.kind());
        assert!(parse("dripfeed package build x --name a --version 1 --os linux --action launch --command x").is_ok());
        assert!(parse("dripfeed setting set FREQUENCY -1 --computer ws042").is_ok());
        assert!(parse("dripfeed assign 12 --computer a b").is_ok());
        assert!(parse("dripfeed assign 12 --group a").is_ok());
        for wrong in [
            "dripfeed package build x --name a --version 1 --os linux --action launch",
            "dripfeed package build x --name a --version 1 --os linux --action store --command x",
            "dripfeed package build x --name a --version 1 --os beos --action execute --command x",
            "dripfeed package build x --name a --version 1 --os linux --action execute --command x --priority 11",
            "dripfeed package build x --name a --version 1 --os linux --action execute --command x --can-abort",
            "dripfeed assign 12",
            "dripfeed assign 12 --all --computer a",
            "dripfeed assign 12 --group a --where b",
            "dripfeed group add a",
            "dripfeed group edit a",
            "dripfeed assign 012 --all",
            "dripfeed deployment cancel -1",
            "dripfeed setting explain PROLOG_FREQ",
            "dripfeed why ws042",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
