//! Who gets what and when, and what became of it.

use clap::{ArgGroup, Args, Subcommand};

use crate::model::{JobOptions, PackageId, PostCommand, Schedule};
use crate::service::assign::Target;

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
    /// Wake those of its computers that were not heard of for ten minutes; with --schedule at that moment of the server's clock
    #[arg(long)]
    pub(crate) wake: bool,
    #[command(flatten)]
    pub(crate) gates: Gates,
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

/// When and where a deployment may run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Gates {
    /// Tell computers of it only in these windows of the week, as "mon-fri 20:00-06:00" or "!sat, daily 22:00-24:00": the
    /// first that holds the present decides, an exclamation mark closes
    #[arg(long, value_name = "WINDOWS")]
    pub(crate) windows: Option<String>,
    /// The time zone of the windows: Europe/Berlin, +02:00, UTC; this server's if none is named
    #[arg(long, value_name = "ZONE", requires = "windows")]
    pub(crate) window_zone: Option<String>,
    /// Tell only computers that come from these addresses, as "!10.2.3.4, 10.2.0.0/16": the first range that holds
    /// the address decides, an exclamation mark keeps away
    #[arg(long, value_name = "RANGES")]
    pub(crate) ranges: Option<String>,
}

/// What is changed of when and where something may run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GatesChange {
    /// Only in these windows of the week: as `assign --windows` takes them
    #[arg(long, value_name = "WINDOWS")]
    pub(crate) windows: Option<String>,
    /// The time zone of the windows: Europe/Berlin, +02:00, UTC; this server's if none is named
    #[arg(long, value_name = "ZONE", requires = "windows")]
    pub(crate) window_zone: Option<String>,
    /// At any time
    #[arg(long, conflicts_with = "windows")]
    pub(crate) any_time: bool,
    /// Only from these addresses: as `assign --ranges` takes them
    #[arg(long, value_name = "RANGES")]
    pub(crate) ranges: Option<String>,
    /// From anywhere
    #[arg(long, conflicts_with = "ranges")]
    pub(crate) anywhere: bool,
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
    /// Change what a series deploys, for whom and when; what is not named stays, and it acts with your rights from then on
    Change(Box<SeriesChange>),
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
    /// Approve a series that somebody else wants, and with it all of its runs
    Approve(Decision),
    /// Reject a series that waits for approval: it ends
    Reject(Decision),
    /// Let a series go that still waits when nobody is asked for approval any more (`APPROVAL_FROM` is 0)
    Release(Decision),
}

/// What is changed of a series.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("target"))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct SeriesChange {
    /// Its number
    pub(crate) series: i64,
    /// The packages, instead of those that it deploys
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub(crate) package: Vec<PackageId>,
    /// Offer each of several packages to a computer only when the one before it succeeded there
    #[arg(long)]
    pub(crate) in_order: bool,
    /// Offer each of several packages for itself
    #[arg(long, conflicts_with = "in_order")]
    pub(crate) in_any_order: bool,
    /// Always these computers, by name or device id
    #[arg(long, value_name = "COMPUTER", num_args = 1.., group = "target")]
    pub(crate) computer: Vec<String>,
    /// Every computer of the package's system
    #[arg(long, group = "target")]
    pub(crate) all: bool,
    /// The members of a group
    #[arg(long, value_name = "GROUP", group = "target")]
    pub(crate) group: Option<String>,
    /// Computers that match a query when a run begins
    #[arg(long = "where", value_name = "QUERY", group = "target")]
    pub(crate) query: Option<String>,
    /// What to run afterwards: reboot, shutdown, or a command (stock Unix agents ignore it)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) post_command: Option<PostCommand>,
    /// Run nothing afterwards
    #[arg(long, conflicts_with = "post_command")]
    pub(crate) no_post_command: bool,
    #[command(flatten)]
    pub(crate) gates: GatesChange,
    /// Wake those of its computers that were not heard of when a run begins
    #[arg(long)]
    pub(crate) wake: bool,
    /// Wake nobody
    #[arg(long, conflicts_with = "wake")]
    pub(crate) no_wake: bool,
    /// When: as `assign --repeat` takes it
    #[arg(long, value_name = "RULE")]
    pub(crate) repeat: Option<String>,
    /// The time zone of the rule: Europe/Berlin, +02:00, UTC; this server's if none is named
    #[arg(long, value_name = "ZONE", requires = "repeat")]
    pub(crate) time_zone: Option<String>,
    /// Not before that, in the zone of the rule, as "2027-01-31 22:00"; as before if it is not said
    #[arg(long, value_name = "TIME", requires = "repeat")]
    pub(crate) starts: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl SeriesChange {
    /// For whom, if that was named.
    pub(crate) fn target(&self) -> Option<Target> {
        match (&self.group, &self.query) {
            (Some(group), _) => Some(Target::Group(group.clone())),
            (None, Some(query)) => Some(Target::Where(query.clone())),
            (None, None) if self.all => Some(Target::All),
            (None, None) => Some(Target::Computers(self.computer.clone())).filter(|_| !self.computer.is_empty()),
        }
    }
}

/// What somebody says of what waits for approval.
#[derive(Args, Clone, Debug)]
pub(crate) struct Decision {
    /// Its number
    pub(crate) number: i64,
    /// Why; a rejection needs it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Change when and where a deployment may run, for computers that were not told yet; what is not said stays
    Gates {
        /// Its number
        deployment: i64,
        #[command(flatten)]
        change: GatesChange,
        /// Of the deployments that were assigned in one act with it, too
        #[arg(long)]
        bundle: bool,
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
    /// Approve what somebody else wants to deploy, with what was assigned in one act with it
    Approve(Decision),
    /// Reject what waits for approval: it is cancelled
    Reject(Decision),
    /// Let go what still waits when nobody is asked for approval any more (`APPROVAL_FROM` is 0)
    Release(Decision),
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
