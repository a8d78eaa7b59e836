//! OPTION DOWNLOAD: the agent's pace and the packages that it may fetch (ocs-protocol 4).

use crate::model::settings::DownloadSettings;
use crate::model::{Location, PackageId, PostCommand, Schedule};

/// `OPTION` NAME=DOWNLOAD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DownloadOption {
    /// `PARAM` TYPE=CONF.
    pub settings: DownloadSettings,
    /// `PARAM` TYPE=PACK, each.
    pub offers: Vec<Offer>,
}

/// One package named to an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// `ID`.
    pub package: PackageId,
    /// `INFO_LOC`.
    pub info_location: Location,
    /// `PACK_LOC`.
    pub fragment_location: Location,
    /// `SCHEDULE`; empty or unreadable is none.
    pub schedule: Option<Schedule>,
    /// `POSTCMD`; empty or `NONE` is none.
    pub post_command: Option<PostCommand>,
    /// `FORCE`.
    pub force: bool,
}
