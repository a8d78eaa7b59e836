//! A package: one immutable built version of something to install.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Digest, ExitCodes, FragmentCount, Notify, Priority, UnixTime};

/// Why a package, or a part of its description, was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPackage {
    /// Not a decimal number without sign or leading zero, or out of range.
    #[error(
        "\"{0}\" is not a package id: expected a decimal number from 1 to 2147483647, as `dripfeed package list` shows it"
    )]
    Id(String),
    /// Not one of the operating system families.
    #[error("\"{0}\" is not an operating system: expected linux, windows or macos")]
    Os(String),
    /// Not one of the three actions.
    #[error("\"{0}\" is not an action: expected launch, execute or store")]
    Action(String),
    /// Not a state that the store writes.
    #[error("\"{0}\" is not a state of a package")]
    State(String),
    /// An action without the text that it needs.
    #[error("action {action} needs {what}")]
    Missing {
        /// The action's word.
        action: &'static str,
        /// What is missing, with the option that gives it.
        what: &'static str,
    },
    /// Text that the info file or an agent cannot carry.
    #[error("{field} {problem}")]
    Text {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A package's number (`FILEID`): decimal, positive, below 2^31, no sign, no leading zero.
///
/// Stock agents use it as a directory name and compare it as text, so there is exactly one spelling; the stock
/// server keeps it in a signed 32-bit column (ocs-protocol 4.2, 6). It is the second of its creation where that is
/// free, and never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PackageId(NonZeroU32);

impl PackageId {
    /// The largest number that the stock console's columns hold.
    pub const MAX: u32 = i32::MAX as u32;

    /// Takes a number from 1 to [`PackageId::MAX`].
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|n| n.get() <= Self::MAX).map(Self)
    }

    /// The number itself.
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for PackageId {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `parse` also takes "+7" and "007".
        let id = text.parse().ok().filter(|_| text.starts_with(|c| matches!(c, '1'..='9'))).and_then(Self::new);
        id.ok_or_else(|| InvalidPackage::Id(text.chars().take(40).collect()))
    }
}

impl TryFrom<i64> for PackageId {
    type Error = InvalidPackage;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        u32::try_from(number).ok().and_then(Self::new).ok_or_else(|| InvalidPackage::Id(number.to_string()))
    }
}

impl From<PackageId> for i64 {
    fn from(id: PackageId) -> Self {
        Self::from(id.number())
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The family of operating systems that a package is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum OsFamily {
    /// Any Linux distribution; the archive is a tar.gz.
    Linux,
    /// Windows; the archive is a ZIP.
    Windows,
    /// macOS; the archive is a tar.gz.
    Macos,
}

impl OsFamily {
    /// The word used on the command line, in the store and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Macos => "macos",
        }
    }

    /// Guesses the family from an inventory's `OSNAME`; unknown systems are `None` and nothing is withheld from them.
    ///
    /// ```
    /// # use dripfeed::model::OsFamily;
    /// assert_eq!(OsFamily::guess("Debian GNU/Linux 12"), Some(OsFamily::Linux));
    /// assert_eq!(OsFamily::guess("Microsoft Windows 11 Pro"), Some(OsFamily::Windows));
    /// assert_eq!(OsFamily::guess("macOS Sonoma"), Some(OsFamily::Macos));
    /// assert_eq!(OsFamily::guess("Solaris"), None);
    /// ```
    pub fn guess(os_name: &str) -> Option<Self> {
        const LINUX: [&str; 14] = [
            "linux", "debian", "ubuntu", "red hat", "rhel", "centos", "fedora", "suse", "alma", "rocky", "gentoo",
            "arch", "mint", "mageia",
        ];
        let name = os_name.to_lowercase();
        if name.contains("windows") {
            Some(Self::Windows)
        } else if name.contains("macos") || name.contains("mac os") || name.contains("os x") || name.contains("darwin")
        {
            Some(Self::Macos)
        } else if LINUX.iter().any(|word| name.contains(word)) {
            Some(Self::Linux)
        } else {
            None
        }
    }
}

impl FromStr for OsFamily {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "linux" => Ok(Self::Linux),
            "windows" => Ok(Self::Windows),
            "macos" => Ok(Self::Macos),
            other => Err(InvalidPackage::Os(other.to_owned())),
        }
    }
}

impl fmt::Display for OsFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an agent does with a package once it is there (ocs-protocol 9).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Run a file of the archive, with arguments: `NAME`.
    Launch {
        /// File in the archive, then its arguments.
        command: String,
    },
    /// Run a command through the shell, inside the unpacked archive if there is one: `COMMAND`.
    Execute {
        /// The shell's command line.
        command: String,
    },
    /// Copy the content of the archive to a directory: `PATH`.
    Store {
        /// Directory on the computer, made when absent.
        path: String,
    },
}

impl Action {
    /// The attribute `ACT` of the info file.
    pub fn wire_name(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "LAUNCH",
            Self::Execute { .. } => "EXECUTE",
            Self::Store { .. } => "STORE",
        }
    }

    /// The word used on the command line, in the store and in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::Execute { .. } => "execute",
            Self::Store { .. } => "store",
        }
    }

    /// The command or the path.
    pub fn text(&self) -> &str {
        match self {
            Self::Launch { command } | Self::Execute { command } => command,
            Self::Store { path } => path,
        }
    }

    /// Puts an action together from its word and its text, as the store and the command line keep them.
    pub fn from_parts(word: &str, text: &str) -> Result<Self, InvalidPackage> {
        let action = match word {
            "launch" => Self::Launch { command: text.to_owned() },
            "execute" => Self::Execute { command: text.to_owned() },
            "store" => Self::Store { path: text.to_owned() },
            other => return Err(InvalidPackage::Action(other.to_owned())),
        };
        action.check()?;
        Ok(action)
    }

    fn check(&self) -> Result<(), InvalidPackage> {
        let what = match self {
            Self::Launch { .. } => "a file of the archive to run: --command 'setup.sh --quiet'",
            Self::Execute { .. } => "a command to run: --command 'apt-get -y install htop'",
            Self::Store { .. } => "a directory to copy to: --path /opt/tool",
        };
        if self.text().trim().is_empty() {
            return Err(InvalidPackage::Missing { action: self.as_str(), what });
        }
        check_text(if matches!(self, Self::Store { .. }) { "the path" } else { "the command" }, self.text())
    }
}

/// Text that goes into an XML attribute and on to agents: no control characters but tab and line feeds.
pub(super) fn check_text(field: &'static str, text: &str) -> Result<(), InvalidPackage> {
    if text.len() > 8192 {
        return Err(InvalidPackage::Text { field, problem: "is longer than 8192 bytes" });
    }
    if text.chars().any(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        return Err(InvalidPackage::Text { field, problem: "contains a control character, which XML cannot carry" });
    }
    Ok(())
}

/// The message shown after the action (`NEED_DONE_ACTION`, `NEED_DONE_ACTION_TEXT`).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Done {
    /// What the person reads.
    pub text: String,
}

impl Done {
    /// Checks the text.
    pub fn check(&self) -> Result<(), InvalidPackage> {
        check_text("the message after the action", &self.text)
    }
}

/// Where a package is in its own life.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PackageState {
    /// Being built: a row without a tree. `reconcile` ends what a crash left here.
    Building,
    /// Its tree is published, whole.
    Available,
    /// Taken back: no tree, nothing is offered; the row and its results stay.
    Withdrawn,
}

impl PackageState {
    /// The word used in the store and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Available => "available",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for PackageState {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "building" => Ok(Self::Building),
            "available" => Ok(Self::Available),
            "withdrawn" => Ok(Self::Withdrawn),
            other => Err(InvalidPackage::State(other.to_owned())),
        }
    }
}

/// One immutable built version. Editing makes a new one of the same family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// Its number.
    pub id: PackageId,
    /// The family's name: packages of one family are versions of each other.
    pub name: String,
    /// The version, as its maker writes it.
    pub version: String,
    /// Free text for administrators.
    pub description: String,
    /// What it is for.
    pub os: OsFamily,
    /// What the agent does with it.
    pub action: Action,
    /// The pace.
    pub priority: Priority,
    /// The question before.
    pub notify: Option<Notify>,
    /// The message after.
    pub done: Option<Done>,
    /// What unusual exit codes of its command mean; only our own agent knows of them.
    pub exit_codes: ExitCodes,
    /// How many fragments the archive has; 0 is a command without files.
    pub fragments: FragmentCount,
    /// Bytes of the archive.
    pub size: u64,
    /// MD5 of the archive: what every stock agent can check. `None` without fragments.
    pub md5: Option<Digest>,
    /// SHA-256 of the archive: what our own agent checks too. `None` without fragments.
    pub sha256: Option<Digest>,
    /// Where it is in its life.
    pub state: PackageState,
    /// When it was built.
    pub created_at: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_exactly_one_spelling() {
        assert_eq!("1795164357".parse::<PackageId>().map(PackageId::number), Ok(1_795_164_357));
        for wrong in ["", "0", "+7", "007", "-1", "7 ", "2147483648", "99999999999", "..", "1/2"] {
            assert!(wrong.parse::<PackageId>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn an_action_without_its_text_says_which_option_gives_it() {
        let error = Action::from_parts("store", " ").expect_err("no path");
        insta::assert_snapshot!(error, @"action store needs a directory to copy to: --path /opt/tool");
    }

    #[test]
    fn control_characters_are_refused_before_they_reach_the_info_file() {
        let error = Action::from_parts("execute", "a\u{0}b").expect_err("a NUL");
        insta::assert_snapshot!(error, @"the command contains a control character, which XML cannot carry");
    }
}
