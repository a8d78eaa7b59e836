//! Packages, what builds them, and what agents may fetch.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::model::{ByteSize, ExitCodes, Location, Nobody, OsFamily, PackageId, Priority};

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
