//! All that can be told to the engine, and all that it can ask for.

use crate::model::settings::DownloadSettings;
use crate::model::{FragmentCount, FragmentNumber, PackageId, Priority, ResultCode, UnixTime};

/// A package as the work directory holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaskSeed {
    /// Which package.
    pub package: PackageId,
    /// When it was first offered: the time-out counts from here.
    pub since: UnixTime,
    /// How far it is.
    pub stage: Stage,
}

/// How far a package is, as far as the disk can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Offered, info file not there yet.
    NeedsInfo {
        /// How many contacts have tried in vain.
        failed_contacts: u32,
    },
    /// The info file is there, and these fragments are not; none missing means "to be assembled and executed".
    Fetching {
        /// What the engine needs of the info file.
        info: TaskInfo,
        /// In ascending order.
        missing: Vec<FragmentNumber>,
        /// Did the last try to fetch one of them fail?
        in_vain: bool,
    },
    /// Executed or given up; the server has not taken the result yet.
    Done {
        /// The result.
        code: ResultCode,
        /// Its pace: a result is sent again in the package's own turns.
        priority: Priority,
    },
}

/// What the engine needs of the info file and the offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TaskInfo {
    /// The pace.
    pub priority: Priority,
    /// How many fragments.
    pub fragments: FragmentCount,
    /// Fetched at once, executed not before that moment.
    pub not_before: Option<UnixTime>,
}

/// What the driver shall do now; it answers each with one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Fetch the info file → [`Event::InfoStored`], [`Event::InfoFailed`], [`Event::GaveUp`].
    FetchInfo(PackageId),
    /// Fetch one fragment and take it off the task list → [`Event::FragmentStored`], [`Event::FragmentFailed`].
    FetchFragment {
        /// Of which package.
        package: PackageId,
        /// Which.
        number: FragmentNumber,
    },
    /// Put together, check, unpack and run → [`Event::Executed`], [`Event::Delayed`], [`Event::Unattended`],
    /// [`Event::FragmentsLost`].
    Execute(PackageId),
    /// Keep a result that the engine itself decided (its time is over) → [`Event::ResultKept`].
    Keep {
        /// Of which package.
        package: PackageId,
        /// The result.
        code: ResultCode,
    },
    /// Send the kept result → [`Event::ReportTaken`], [`Event::ReportRefused`].
    Report {
        /// Of which package.
        package: PackageId,
        /// The result.
        code: ResultCode,
    },
    /// The result is with the server: remove the package's directory → [`Event::Forgotten`].
    Forget(PackageId),
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A reply named this package. One that is known already only learns that there was a contact: its info file is
    /// tried again, a delay by the person is over.
    Offered(TaskSeed),
    /// A contact brought settings; they hold at once, only a pause that has begun keeps its length.
    Settings(DownloadSettings),
    /// The info file is on the disk.
    InfoStored {
        /// Of which package.
        package: PackageId,
        /// What it says.
        info: TaskInfo,
    },
    /// The info file did not come.
    InfoFailed {
        /// Of which package.
        package: PackageId,
        /// How.
        failure: Failure,
    },
    /// The package cannot go on and this result is kept already (a wrong id, a bad parameter). May answer any action of
    /// a package that has no result yet.
    GaveUp {
        /// Which package.
        package: PackageId,
        /// The result.
        code: ResultCode,
        /// Its pace, if the info file could be read that far.
        priority: Priority,
    },
    /// The fragment is on the disk and off the task list.
    FragmentStored {
        /// Of which package.
        package: PackageId,
        /// Which.
        number: FragmentNumber,
    },
    /// The fragment did not come.
    FragmentFailed {
        /// Of which package.
        package: PackageId,
        /// Which.
        number: FragmentNumber,
        /// How.
        failure: Failure,
    },
    /// Executed, or failed for good; the result is kept on the disk.
    Executed {
        /// Which package.
        package: PackageId,
        /// The result.
        code: ResultCode,
    },
    /// The person put it off: not again before the next contact.
    Delayed(PackageId),
    /// Nobody is there to be asked, and it waits for somebody.
    Unattended {
        /// Which package.
        package: PackageId,
        /// Not looked again before that moment.
        until: UnixTime,
    },
    /// Fragments that were there are not any more, or one was proved bad: fetch these again.
    FragmentsLost {
        /// Of which package.
        package: PackageId,
        /// Which, in ascending order.
        missing: Vec<FragmentNumber>,
    },
    /// The result that the engine decided is on the disk.
    ResultKept(PackageId),
    /// The server answered 200.
    ReportTaken(PackageId),
    /// It did not.
    ReportRefused(PackageId),
    /// The directory is gone.
    Forgotten(PackageId),
}

/// How a fetch failed: what the engine does next depends on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Failure {
    /// The source has no such file.
    Missing,
    /// Nothing usable came; the same source may do better later.
    Transient,
    /// The bytes came and are wrong.
    Wrong,
}
