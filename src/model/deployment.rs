//! Deployments and jobs: an administrator's intent, and one package on one computer within it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{ApprovalId, Awaited, ComputerId, GroupId, OsFamily, Outcome, PackageId, ResultCode, UnixTime};

/// A deployment's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeploymentId(pub i64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job is. Steps may be skipped: a stock agent says nothing between the offer and the result.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum JobState {
    /// Planned; not offered yet, or some gate is closed.
    Pending,
    /// Named in a reply to the agent (`NOTIFIED`).
    Offered,
    /// The agent has fetched the info file, or fragments.
    Downloading,
    /// Done.
    Succeeded,
    /// Nothing to do: the computer had it.
    AlreadyInstalled,
    /// The agent or the command said no.
    Failed,
    /// Not complete in time.
    Expired,
    /// Taken back by an administrator.
    Cancelled,
}

/// Text that names no state.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a state of a job")]
pub struct UnknownJobState(String);

impl JobState {
    /// Every state, in the order in which a job may go through them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Offered,
        Self::Downloading,
        Self::Succeeded,
        Self::AlreadyInstalled,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The word used in the store, in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Offered => "offered",
            Self::Downloading => "downloading",
            Self::Succeeded => "succeeded",
            Self::AlreadyInstalled => "already installed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Is it still to be offered? Any reported result ends the offering (ocs-protocol 4.3).
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Offered | Self::Downloading)
    }

    /// The state that a result leads to.
    pub fn of_result(code: &ResultCode) -> Self {
        match code.outcome() {
            Outcome::Success => Self::Succeeded,
            Outcome::AlreadyInstalled => Self::AlreadyInstalled,
            Outcome::TimedOut => Self::Expired,
            Outcome::Failure => Self::Failed,
        }
    }
}

impl FromStr for JobState {
    type Err = UnknownJobState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownJobState(text.to_owned()))
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a schedule was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a time: expected 'YYYY/MM/DD HH:MM', in the computer's local time")]
pub struct InvalidSchedule(String);

/// `SCHEDULE`: not to be executed before that minute of the computer's local time; `YYYY/MM/DD HH:MM` (ocs-protocol 9).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Schedule(String);

impl Schedule {
    /// The wire's text. Its order as text is its order in time.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Year, month, day, hour, minute.
    pub fn parts(&self) -> (i16, i8, i8, i8, i8) {
        let number = |range: std::ops::Range<usize>| self.0[range].parse::<i16>().unwrap_or_default();
        let small = |range| i8::try_from(number(range)).unwrap_or_default();
        (number(0..4), small(5..7), small(8..10), small(11..13), small(14..16))
    }
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &[u8; 16] = b"dddd/dd/dd dd:dd";
        let fits = text.len() == SHAPE.len()
            && text
                .bytes()
                .zip(SHAPE)
                .all(|(byte, shape)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape });
        let schedule = Self(text.chars().take(40).collect());
        if fits {
            let (year, month, day, hour, minute) = schedule.parts();
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + i8::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if year >= 1970 && (1..=12).contains(&month) && (1..=days).contains(&day) && hour < 24 && minute < 60 {
                return Ok(schedule);
            }
        }
        Err(InvalidSchedule(schedule.0))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a post-command was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the post-command {0}")]
pub struct InvalidPostCommand(&'static str);

/// `POSTCMD`: what the agent does after the action, whatever its exit code (ocs-protocol 9).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum PostCommand {
    /// Restart the computer.
    Reboot,
    /// Turn it off.
    Shutdown,
    /// Run a command.
    Run(String),
}

impl PostCommand {
    /// The wire's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Reboot => "REBOOT",
            Self::Shutdown => "SHUTDOWN",
            Self::Run(command) => command,
        }
    }
}

impl FromStr for PostCommand {
    type Err = InvalidPostCommand;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => Err(InvalidPostCommand("is empty")),
            word if word.eq_ignore_ascii_case("reboot") => Ok(Self::Reboot),
            word if word.eq_ignore_ascii_case("shutdown") => Ok(Self::Shutdown),
            word if word.len() > 255 => Err(InvalidPostCommand("is longer than 255 bytes")),
            word if word.chars().any(char::is_control) => Err(InvalidPostCommand("contains a control character")),
            word => Ok(Self::Run(word.to_owned())),
        }
    }
}

/// What an administrator asked for beyond the package itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JobOptions {
    /// Run it even if agent or server have it in their history (`FORCE`).
    pub force: bool,
    /// Not before that time.
    pub schedule: Option<Schedule>,
    /// What to do afterwards.
    pub post_command: Option<PostCommand>,
    /// Not before this package has succeeded on the same computer: the one before it in a bundle.
    pub follows: Option<PackageId>,
}

/// An administrator's intent: one package for some computers, or for all, those to come included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// What is deployed.
    pub package: PackageId,
    /// Standing: computers that are first heard of later get it too.
    pub all_computers: bool,
    /// Standing: computers that become members of this group later get it too.
    pub group: Option<GroupId>,
    /// The options.
    pub options: JobOptions,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was taken back.
    pub cancelled_at: Option<UnixTime>,
    /// When it was put away: nobody else gets it, and its results stay.
    pub closed_at: Option<UnixTime>,
    /// The first of the deployments that were made in one act with it; nothing for one that was made alone.
    pub bundle: Option<DeploymentId>,
    /// Whether others have to agree, or had to, before anybody is told of it.
    pub approval: Option<ApprovalId>,
}

/// One package on one computer within a deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Within which deployment.
    pub deployment: DeploymentId,
    /// On which computer.
    pub computer: ComputerId,
    /// Which package.
    pub package: PackageId,
    /// Force, schedule, post-command: a snapshot of the deployment's.
    pub options: JobOptions,
    /// Where it is.
    pub state: JobState,
    /// The wire's own word for the result.
    pub result: Option<ResultCode>,
    /// The gate that withheld it at the last contact.
    pub withheld: Option<String>,
    /// When it was planned.
    pub created_at: UnixTime,
    /// When it was first named to the agent.
    pub offered_at: Option<UnixTime>,
    /// When its result came.
    pub finished_at: Option<UnixTime>,
    /// When its row last changed.
    pub updated_at: UnixTime,
}

/// The gate that kept a job from being offered: the answer to "why not?" (DESIGN.md, promise 10).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Withheld {
    /// Deployment is off for this computer.
    DownloadOff,
    /// Nobody told agents where to fetch it.
    NotActivated,
    /// The package was withdrawn.
    PackageWithdrawn,
    /// It reaches many computers, and others have not agreed yet.
    Approval(Awaited),
    /// The package is for another system.
    OtherSystem {
        /// What the package is for.
        package: OsFamily,
        /// What the computer runs.
        computer: OsFamily,
    },
    /// Its fragments are only on mirrors, and none that is near the computer has them.
    NoMirror,
    /// Its time has not come, and this agent would not wait for it by itself.
    Scheduled(Schedule),
    /// The deployment's ranges of addresses leave out where the computer comes from.
    Elsewhere(Option<IpAddr>),
    /// None of the deployment's windows holds the present.
    Closed {
        /// When the next one opens, as its zone calls it; none that never opens.
        opens: Option<String>,
    },
    /// This server does not know the time zone of the deployment's windows any more.
    NoZone(String),
    /// Another package comes first.
    Follows {
        /// Which.
        package: PackageId,
        /// How its newest job on this computer stands, if it has one.
        state: Option<JobState>,
    },
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DownloadOff => f.write_str("deployment is switched off (setting DOWNLOAD)"),
            Self::NotActivated => f.write_str("the package is not activated: dripfeed activate <id>"),
            Self::PackageWithdrawn => f.write_str("the package was withdrawn"),
            Self::Approval(awaited) => awaited.fmt(f),
            Self::OtherSystem { package, computer } => {
                write!(f, "the package is for {package}, the computer runs {computer}")
            }
            Self::NoMirror => f.write_str(
                "its fragments are only on mirrors ($IP$ or $NAME$ in its location), and no mirror of the computer's site has it",
            ),
            Self::Scheduled(schedule) => write!(f, "scheduled for {schedule}, and this agent does not wait by itself"),
            // Without the address: who waits for the same thing is counted by this sentence.
            Self::Elsewhere(_) => {
                f.write_str("the computer came from an address that the deployment's ranges leave out")
            }
            Self::Closed { opens: Some(opens) } => write!(f, "waits for its window: next opens {opens}"),
            Self::Closed { opens: None } => f.write_str("waits for its window, and none of its windows ever opens"),
            Self::NoZone(zone) => {
                write!(f, "its windows are in the time zone {zone}, which this server does not know any more")
            }
            Self::Follows { package, state } => {
                write!(f, "package {package} comes first, and it ")?;
                f.write_str(match state {
                    None => "has no job there",
                    Some(JobState::Failed | JobState::Expired) => "failed there: a retry of it goes on",
                    Some(JobState::Cancelled) => "was taken back there",
                    Some(_) => "is not done there yet",
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_real_minute() {
        assert_eq!("2031/06/30 02:15".parse::<Schedule>().expect("a time").parts(), (2031, 6, 30, 2, 15));
        assert!("2028/02/29 00:00".parse::<Schedule>().is_ok());
        for wrong in [
            "",
            "2031-06-30 02:15",
            "2031/06/31 02:15",
            "2027/02/29 00:00",
            "2031/06/30 24:00",
            "2031/6/30 02:15",
            "2031/13/01 00:00",
        ] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn every_state_has_one_spelling() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse::<JobState>(), Ok(state));
        }
    }

    #[test]
    fn post_commands_keep_the_wires_words() {
        assert_eq!("reboot".parse::<PostCommand>(), Ok(PostCommand::Reboot));
        assert_eq!("Shutdown".parse::<PostCommand>().expect("a word").as_str(), "SHUTDOWN");
        assert_eq!("rm -rf /tmp/x".parse::<PostCommand>().expect("a command").as_str(), "rm -rf /tmp/x");
        assert!(" ".parse::<PostCommand>().is_err());
    }
}
