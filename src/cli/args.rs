//! What can be typed. The doc comments are the help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};

use super::context::Served;
use crate::fetch::Secret;
use crate::model::access::Right;
use crate::model::{
    AddressRange, ByteSize, ExitCodes, JobOptions, Location, Nobody, OsFamily, PackageId, PostCommand, Priority,
    RegistryTree, Schedule,
};
use crate::protocol::PackageFilter;

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
    /// List, show, cancel and retry deployments
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
pub(crate) enum PackageVerb {
    /// Build a package from an archive, a directory or a file; prints its id
    Build(Box<Build>),
    /// Take over packages of a stock server's download directory, each whole or not at all; they keep their numbers where
    /// those are free
    Import(Import),
    /// List packages, newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one package
    Show {
        /// Number of the package
        id: PackageId,
        /// Print the info file as agents get it
        #[arg(long)]
        info: bool,
        /// As JSON
        #[arg(long, conflicts_with = "info")]
        json: bool,
    },
    /// Take a package back: open jobs are cancelled, its files are removed, its id is never used again
    Withdraw {
        /// Number of the package
        id: PackageId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every file of the tree again and compare it with what was built
    Verify {
        /// Only this package
        id: Option<PackageId>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Import {
    /// The directory that agents of the stock server fetch from: a directory for each package, with its info file and its
    /// fragments
    pub(crate) directory: PathBuf,
    /// Only these packages, by number
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<PackageId>,
    /// Names and systems, which the directory does not have: lines of number, name and WINDOWS, LINUX or MAC with tabs between,
    /// as `mysql -BNe 'SELECT FILEID, NAME, OSNAME FROM download_available'` prints them
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    /// What packages are for that nothing else tells of: linux, windows or macos [default: told from their archives]
    #[arg(long, value_name = "SYSTEM")]
    pub(crate) os: Option<OsFamily>,
    /// Read and compare everything, and say what would become of each; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub(crate) struct Build {
    /// A .zip or .tar.gz that is taken as it is, a directory or a file that is packed, or - for an archive on standard
    /// input. May be left out with --action execute
    #[arg(value_name = "FILE|DIRECTORY|-")]
    pub(crate) source: Option<PathBuf>,
    /// Name of the family: packages of one name are versions of each other
    #[arg(long, required_unless_present = "like")]
    pub(crate) name: Option<String>,
    /// Version, as its maker writes it
    #[arg(long)]
    pub(crate) version: String,
    /// A package that everything is taken from that is not said here, but for its file: its next version
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) like: Option<PackageId>,
    /// What it is for: linux, windows or macos
    #[arg(long, value_name = "SYSTEM", required_unless_present = "like")]
    pub(crate) os: Option<OsFamily>,
    /// Launch a file of the archive, execute any command, or store the files
    #[arg(long, value_parser = ["launch", "execute", "store"], required_unless_present_any = ["like", "template"])]
    pub(crate) action: Option<String>,
    /// A kind of package that knows its command, as `dripfeed template list` shows it
    #[arg(long, value_name = "ID", conflicts_with = "action")]
    pub(crate) template: Option<String>,
    /// What stands in a field of the template; may be given for each
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_value, conflicts_with = "action")]
    pub(crate) set: Vec<(String, String)>,
    /// With launch a file of the archive and its arguments, with execute a command line
    #[arg(long, short, allow_hyphen_values = true, required_if_eq_any = [("action", "launch"), ("action", "execute")])]
    pub(crate) command: Option<String>,
    /// With store the directory on the computer that the files are copied to
    #[arg(long, value_name = "DIRECTORY", required_if_eq("action", "store"))]
    pub(crate) path: Option<String>,
    /// Pace: one fragment in every n-th cycle; 0 is first and alone, 10 is slowest [default: 5]
    #[arg(long, value_name = "0..10")]
    pub(crate) priority: Option<Priority>,
    /// Size of a fragment, such as 512K or 4M [default: 1M]
    #[arg(long, value_name = "SIZE")]
    pub(crate) fragment_size: Option<ByteSize>,
    /// Number of fragments, instead of their size
    #[arg(long, value_name = "N", conflicts_with = "fragment_size")]
    pub(crate) fragments: Option<u32>,
    /// Ask the person at the computer before anything runs
    #[arg(long, value_name = "TEXT")]
    pub(crate) notify_text: Option<String>,
    /// Seconds until the question is answered with yes by itself; 0 waits for ever
    #[arg(long, value_name = "SECONDS", requires = "notify_text")]
    pub(crate) notify_countdown: Option<u32>,
    /// The person may refuse
    #[arg(long, requires = "notify_text")]
    pub(crate) can_abort: bool,
    /// The person may put it off
    #[arg(long, requires = "notify_text")]
    pub(crate) can_delay: bool,
    /// How often it may be put off, 1 to 100; dripfeed's own agent keeps to it [default: as often as the person likes]
    #[arg(long, value_name = "N", requires = "can_delay")]
    pub(crate) notify_max_delays: Option<u32>,
    /// Hours from when it is ready: then it is told and not asked any more, and nobody is waited for; dripfeed's own agent
    #[arg(long, value_name = "HOURS", requires = "notify_text")]
    pub(crate) notify_deadline: Option<u32>,
    /// Where nobody is logged in: run it, or wait for somebody; dripfeed's own agent [default: run]
    #[arg(long, value_name = "run|wait", requires = "notify_text")]
    pub(crate) notify_nobody: Option<Nobody>,
    /// Message shown afterwards
    #[arg(long, value_name = "TEXT")]
    pub(crate) done_text: Option<String>,
    /// What unusual exit codes mean, for dripfeed's own agent: "3=success 194=reboot 0=failure"
    #[arg(long, value_name = "CODE=MEANING …")]
    pub(crate) exit_codes: Option<ExitCodes>,
    /// Free text for administrators
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Activate it on this server when it is built; if the check fails it stays built
    #[arg(long)]
    pub(crate) activate: bool,
    /// Do not activate it, whatever the server's configuration says
    #[arg(long, conflicts_with = "activate")]
    pub(crate) no_activate: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateVerb {
    /// List kinds of packages: the program's, and your own behind them
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the document of one
    Show {
        /// Its id
        id: String,
        /// This version of one of your own, also of a deleted one
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Save a document as the next version of a template of your own; every error is told with its line
    Save {
        /// TOML with one template, or - for standard input
        file: PathBuf,
        /// Only check it
        #[arg(long)]
        check: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete one of your own; packages that it made do not change
    Delete {
        /// Its id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `FIELD=VALUE`, split at the first `=`.
fn field_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not FIELD=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Activate {
    /// Number of the package
    pub(crate) id: PackageId,
    /// Where agents fetch the info file over HTTPS [default: this server]
    #[arg(long, value_name = "HOST[:PORT]/PATH")]
    pub(crate) info_location: Option<Location>,
    /// Where agents fetch fragments [default: this server]
    #[arg(long, value_name = "HOST[:PORT]/PATH")]
    pub(crate) fragment_location: Option<Location>,
    /// CA file to check with [default: certs/ca.pem, or the system's with an own certificate]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Do not fetch it first
    #[arg(long)]
    pub(crate) no_check: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("target").required(true))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Assign {
    /// Number of the package; of several, a deployment of each is made in one act
    #[arg(required = true, num_args = 1.., value_name = "ID")]
    pub(crate) ids: Vec<PackageId>,
    /// Offer each of several packages to a computer only when the one before it succeeded there
    #[arg(long)]
    pub(crate) in_order: bool,
    /// Show who would get what and who would not, and why; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Computers, by name or device id
    #[arg(long, value_name = "COMPUTER", num_args = 1.., group = "target")]
    pub(crate) computer: Vec<String>,
    /// Every computer of the package's system, those to come included
    #[arg(long, group = "target")]
    pub(crate) all: bool,
    /// The members of a group, those to come included
    #[arg(long, value_name = "GROUP", group = "target")]
    pub(crate) group: Option<String>,
    /// Computers that match a query now
    #[arg(long = "where", value_name = "QUERY", group = "target")]
    pub(crate) query: Option<String>,
    /// Run it even where it has been run before
    #[arg(long)]
    pub(crate) force: bool,
    /// Fetch at once, but execute not before this local time of the computer, as "2027/01/31 22:00"
    #[arg(long, value_name = "TIME")]
    pub(crate) schedule: Option<Schedule>,
    /// What to run afterwards: reboot, shutdown, or a command (stock Unix agents ignore it)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) post_command: Option<PostCommand>,
    #[command(flatten)]
    pub(crate) again: Again,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Assign {
    pub(crate) fn options(&self) -> JobOptions {
        JobOptions {
            force: self.force,
            schedule: self.schedule.clone(),
            post_command: self.post_command.clone(),
            follows: None,
        }
    }
}

/// When something is deployed again.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Again {
    /// Deploy it again and again, each time to whoever is meant then, also where it was run before: "every 6 hours",
    /// "every 2 days at 22:00", "every monday, thursday at 22:00", "every month on day 15 at 06:30", "every month on the
    /// last day at 06:30"
    #[arg(long, value_name = "RULE", conflicts_with = "schedule")]
    pub(crate) repeat: Option<String>,
    /// The time zone of the rule: Europe/Berlin, +02:00, UTC; this server's if none is named
    #[arg(long, value_name = "ZONE", requires = "repeat")]
    pub(crate) time_zone: Option<String>,
    /// Not before that, in the zone of the rule, as "2027-01-31 22:00"
    #[arg(long, value_name = "TIME", requires = "repeat")]
    pub(crate) starts: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SeriesVerb {
    /// List series, newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one series, its next times and its runs
    Show {
        /// Its number
        series: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change when a series comes again; it acts with your rights from then on
    Change {
        /// Its number
        series: i64,
        /// When: as `assign --repeat` takes it
        #[arg(long, value_name = "RULE")]
        repeat: String,
        /// The time zone of the rule: Europe/Berlin, +02:00, UTC; this server's if none is named
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<String>,
        /// Not before that, in the zone of the rule, as "2027-01-31 22:00"; as before if it is not said
        #[arg(long, value_name = "TIME")]
        starts: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin no run until the series is resumed
    Pause {
        /// Its number
        series: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Go on with a series that is paused or has ended; it acts with your rights from then on
    Resume {
        /// Its number
        series: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin a run now; the next time stays as it is
    Run {
        /// Its number
        series: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a series: no run begins any more; its runs stay
    End {
        /// Its number
        series: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Status {
    /// Only this package
    pub(crate) id: Option<PackageId>,
    /// Only this computer, by name or device id
    #[arg(long)]
    pub(crate) computer: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Stuck {
    /// At most so many, those that stand still for longest
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeploymentVerb {
    /// List deployments, newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one deployment and what became of it on each computer
    Show {
        /// Its number
        deployment: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a deployment back: open jobs are cancelled, and no computer gets it any more
    Cancel {
        /// Its number
        deployment: i64,
        /// Leave jobs that an agent was told of to their end
        #[arg(long)]
        waiting_only: bool,
        /// Only on these computers, by name or device id
        #[arg(long, value_name = "COMPUTER", num_args = 1..)]
        computer: Vec<String>,
        /// Take back what was assigned in one act with it, too
        #[arg(long, conflicts_with_all = ["waiting_only", "computer"])]
        bundle: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try again on every computer where it failed or expired; earlier attempts stay on record
    Retry {
        /// Its number
        deployment: i64,
        /// Not where it expired
        #[arg(long)]
        failed: bool,
        /// Only on these computers, by name or device id
        #[arg(long, value_name = "COMPUTER", num_args = 1..)]
        computer: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take computers off a deployment: what is open there is taken back, what failed is not tried again with the others;
    /// results stay
    TakeOff {
        /// Its number
        deployment: i64,
        /// The computers, by name or device id
        #[arg(long, value_name = "COMPUTER", num_args = 1.., required = true)]
        computer: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Why {
    /// Name or device id
    pub(crate) computer: String,
    pub(crate) package: PackageId,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
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

#[derive(Debug, Subcommand)]
pub(crate) enum ComputerVerb {
    /// List computers
    List {
        /// Only those that match, such as "os contains debian and not in group 'Paris'"
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// Those that are archived instead
        #[arg(long)]
        archived: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one computer, its packages and what it said
    Show {
        /// Name or device id
        computer: String,
        /// Print its last inventory as it came
        #[arg(long, group = "part")]
        inventory: bool,
        /// List its software
        #[arg(long, group = "part")]
        software: bool,
        /// List what changed between its inventories
        #[arg(long, group = "part")]
        changes: bool,
        /// As JSON
        #[arg(long, conflicts_with = "inventory")]
        json: bool,
    },
    /// Set a computer's tag; its agent is told at its next inventory
    Tag {
        /// Name or device id
        computer: String,
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        tag: Option<String>,
        /// Take the tag back
        #[arg(long)]
        unset: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a value into a field of a computer; the first value of a name makes the field
    Field {
        /// Name or device id
        computer: String,
        /// Name of the field, or its name on the wire
        name: String,
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        value: Option<String>,
        /// Take the value back
        #[arg(long)]
        unset: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write tags and fields of many computers out of a table (CSV), all in one write
    Import {
        /// Its first line names the columns: `name`, `device_id`, `number` or `serial`; `tag` and the names of fields
        file: PathBuf,
        /// Say line by line what would change and what is wrong, and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Take values back where cells are empty; else they stay
        #[arg(long)]
        clear: bool,
        /// Write the rest where lines are wrong; else nothing is written
        #[arg(long)]
        leave_out_wrong: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a change of many computers back, by the number that it told
    Undo {
        /// The change's number
        change: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Count computers by tag, system, or a field of your own
    Count {
        /// `tag`, `os`, `os_version`, `architecture`, `model`, `workgroup`, `user`, `agent`, `proven`, or a field's name
        #[arg(long, default_value = "tag")]
        by: String,
        /// Only those that a query asks for
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give NEW what is OLD's (jobs, results, tag, fields, settings) and archive OLD
    Merge {
        /// Who is put away, by name or device id
        old: String,
        /// Who survives, by name or device id
        new: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the newest merge of a computer back
    Unmerge {
        /// Name or device id of either
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a computer away: offered nothing, listed nowhere. Its next inventory brings it back
    Archive {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a computer back that was put away
    Restore {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Expect host names: the first agent with a key under such a name may register its key, once
    Expect {
        /// Host names, as agents say them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the host names that are expected
    Expected {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Expect a host name no more
    Unexpect {
        /// A host name of the list
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write computers down before their agents come; the agent that comes under what is written takes it all over
    Add {
        /// Host name; # stands for the number, ### for three digits of it
        name: String,
        /// How many
        #[arg(long, default_value_t = 1, value_name = "N")]
        count: u32,
        /// The first one's number
        #[arg(long, default_value_t = 1, value_name = "N")]
        first: u32,
        /// Serial number, with # likewise
        #[arg(long, default_value = "", hide_default_value = true)]
        serial: String,
        /// MAC address of the first one; those of the others are counted up
        #[arg(long, default_value = "", hide_default_value = true)]
        mac: String,
        /// Tag of all
        #[arg(long, default_value = "", hide_default_value = true)]
        tag: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List computers that look like one and about which nobody has decided
    Duplicates {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say that two computers that look like one are two
    KeepApart {
        /// Name or device id of one
        one: String,
        /// Name or device id of the other one
        other: String,
        /// Take that back: they are listed again
        #[arg(long)]
        undo: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whether there is a registration key, make another, or take it away
    RegistrationKey {
        /// Make a key in the place of the old one, and print it this once
        #[arg(long, conflicts_with = "remove")]
        renew: bool,
        /// Take away the key that was made here
        #[arg(long)]
        remove: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a computer the key back that was forgotten, unless an agent has registered since
    RememberKey {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a computer's key: it is known by its name again, until an agent registers
    ForgetKey {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a computer: its jobs and its inventory. It comes back with its next inventory
    Delete {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupVerb {
    /// Make a group: one that is filled by hand, or by a query
    Create {
        name: String,
        /// Whom it is made of, such as "os contains debian and tag = 'Paris'"
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List groups
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a group, its computers and why they are in it
    Show {
        group: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a group another query
    Edit {
        group: String,
        /// Whom it is made of
        #[arg(long = "where", value_name = "QUERY")]
        query: String,
        /// Only show who would join and who would leave
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a group another name, or say what it is for
    Describe {
        group: String,
        /// Another name
        #[arg(long, value_name = "NAME", required_unless_present = "description")]
        name: Option<String>,
        /// What it is for; empty for nothing
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make computers members, whatever the query says
    Add(GroupMark),
    /// Keep computers out, whatever the query says
    Exclude(GroupMark),
    /// Take back what was added or excluded by hand: the query alone says who is a member
    Remove(GroupMark),
    /// Ask the query again, for every computer
    Refresh {
        /// Only this group [default: all]
        group: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a group; for a week it can be restored
    Delete {
        group: String,
        /// Even if deployments stand for it; they end
        #[arg(long)]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring back a group that was deleted, with the deployments that ended with it
    Restore {
        group: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GroupMark {
    pub(crate) group: String,
    /// Names or device ids
    #[arg(required = true, value_name = "NAME|DEVICEID")]
    pub(crate) computers: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SoftwareVerb {
    /// List titles with how many computers have each, the most frequent first
    List {
        /// Only those with that in their name
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which computers have a title, and in which version
    Show {
        /// The whole name, in any case
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkVerb {
    /// List networks: how many computers are in each, who looks round there, how many were seen
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show who is in a network, and whose the addresses are
    Show {
        /// Its address, as `network list` shows it
        network: String,
        /// Only addresses that no known computer has
        #[arg(long)]
        unknown: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FieldVerb {
    /// List the fields in their order, with how many computers have a value
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a field, behind the others
    Add {
        /// What it is called
        name: String,
        /// What may stand in it: text, number, date, yes-no or list
        #[arg(long, default_value = "text")]
        kind: String,
        /// A choice of a list; once for each
        #[arg(long)]
        choice: Vec<String>,
        /// What new computers have
        #[arg(long, default_value = "")]
        initial: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change what a field is; refused where computers hold what it then may not
    Edit {
        /// Its name, or its name on the wire
        field: String,
        /// Another name; queries that ask for it are changed with it
        #[arg(long)]
        name: Option<String>,
        /// Another kind: text, number, date, yes-no or list
        #[arg(long)]
        kind: Option<String>,
        /// A choice of a list; once for each
        #[arg(long)]
        choice: Vec<String>,
        /// What new computers have
        #[arg(long)]
        initial: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the fields into an order: every one is named once
    Arrange {
        #[arg(required = true)]
        fields: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a field; what it said can be taken back for a week
    Delete {
        /// Its name, or its name on the wire
        field: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a field back that was deleted
    Restore {
        /// Its name, or its name on the wire
        field: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// List what Windows computers are asked
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask Windows computers for a value of their registry; they are told at their next contact
    Add {
        /// What the question is called
        name: String,
        /// HKCR, HKCU, HKLM, HKU or HKCC
        #[arg(long, default_value = "HKLM")]
        tree: RegistryTree,
        /// The key below it, such as "SOFTWARE\Example"
        #[arg(long)]
        key: String,
        /// Name of the value; * is all of the key
        #[arg(long, default_value = "*")]
        value: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a question back
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what computers found
    Show {
        /// What the question is called
        #[arg(required_unless_present = "computer", conflicts_with = "computer")]
        name: Option<String>,
        /// All that this computer found, by name or device id
        #[arg(long, value_name = "NAME|DEVICEID")]
        computer: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorVerb {
    /// Register a mirror; prints the token that it reports with, once
    Add {
        /// Lower-case letters, digits, dots and dashes
        name: String,
        /// Where agents fetch fragments from it, without a scheme. $IP$ is the address that it reports from, $NAME$ its name
        #[arg(value_name = "HOST[:PORT]/PATH")]
        location: Location,
        /// What it may have: numbers and names of families, * for any letters [default: everything]
        #[arg(long, value_name = "ID|NAME,…")]
        packages: Option<PackageFilter>,
        /// So long after its last report it is not offered any more: 90s, 30m, 1h
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
        silent_after: Duration,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List mirrors and how they are
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one mirror and what it holds
    Show {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a mirror: no computer is sent to it any more
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a mirror a new token; the old one is worth nothing from then on
    Token {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the key that manifests are signed with, for `dripfeed-mirror sync --key`
    Key {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteVerb {
    /// Make a site: its computers fetch fragments from its mirrors, and from the server when none has them
    Add {
        /// Lower-case letters, digits, dots and dashes
        name: String,
        /// Addresses: 10.1.0.0/16, 10.1.2.10-10.1.2.99, one address; the narrowest range of all sites wins
        #[arg(required = true, value_name = "RANGE")]
        ranges: Vec<AddressRange>,
        /// Its mirrors, the nearest first
        #[arg(long, required = true, value_name = "MIRROR,…", value_delimiter = ',')]
        mirrors: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List sites with their addresses and mirrors
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a site: its computers fetch from the server again
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `90s`, `30m`, `1h`, `7d`.
fn span(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..split].parse::<u64>().ok().filter(|number| *number > 0);
    let unit = match &text[split..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit)).filter(|it| *it <= 366 * 86_400);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a time such as 90s, 30m, 1h or 7d, a year at most".to_owned())
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
