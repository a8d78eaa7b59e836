//! What comes from outside: info files, and fragments from one of their sources.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::super::workdir::{Known, PackageDir, WorkDirError, judge_info};
use super::{Agent, AgentError, chain, open_private};
use crate::disk;
use crate::engine::{Event, Failure};
use crate::fetch::{FetchError, Url};
use crate::model::limits::ReplyLimits;
use crate::model::{FragmentNumber, Hasher, Location, PackageId, Priority, ResultCode, TreeKey};
use crate::protocol::Info;

/// The largest fragment: what a package of one fragment may have. A body without an end would fill the disk.
const MAX_FRAGMENT: u64 = 64 << 30;
/// Room that a download leaves to everybody else.
const RESERVE: u64 = 64 << 20;

impl Agent<'_> {
    pub(super) fn fetch_info(&self, package: PackageId) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        match self.info_of(package, &directory) {
            Ok((Known::Info(info), document)) => {
                directory.store_info(&document, info.fragments)?;
                tracing::info!(
                    package.id = %package,
                    "package {package}: {} of priority {}, fragments: {}",
                    info.action.as_str(),
                    info.priority,
                    info.fragments
                );
                Ok(Event::InfoStored { package, info: directory.task_info(&info, &self.zone) })
            }
            Ok((Known::Refused(code), _)) => {
                tracing::warn!(package.id = %package, "the info file of package {package} cannot be carried out: {code}");
                self.give_up(package, &code)
            }
            Ok((Known::Nothing, _)) => {
                tracing::warn!(package.id = %package, "the info file of package {package} is not one");
                directory.count_info_try()?;
                Ok(Event::InfoFailed { package, failure: Failure::Wrong })
            }
            Err(error) => {
                tracing::warn!(package.id = %package, "no info file of package {package}: {}", chain(&error));
                directory.count_info_try()?;
                Ok(Event::InfoFailed { package, failure: error.failure() })
            }
        }
    }

    fn info_of(&self, package: PackageId, directory: &PackageDir<'_>) -> Result<(Known, Vec<u8>), FetchError> {
        let Some(offer) = directory.offered() else {
            // Left by a stock agent, and the server has not named it since.
            return Ok((Known::Nothing, Vec::new()));
        };
        // Always over TLS: it carries the command, and the digest that proves the rest.
        let url: Url = offer.info_location.url("https", TreeKey::Info { package }).parse()?;
        disk::checkpoint("agent.info.asking");
        let document = self.client.get(&url, ReplyLimits::DEFAULT.info)?;
        disk::checkpoint("agent.info.came");
        Ok((judge_info(package, &document), document))
    }

    fn give_up(&self, package: PackageId, code: &ResultCode) -> Result<Event, AgentError> {
        let code = self.settle(&self.work.package(package), code, code)?;
        Ok(Event::GaveUp { package, code, priority: Priority::DEFAULT })
    }

    pub(super) fn fetch_fragment(&self, package: PackageId, number: FragmentNumber) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        let info = match directory.known() {
            Known::Info(info) => info,
            Known::Refused(code) => return self.give_up(package, &code),
            // It was there a moment ago: somebody took it away.
            Known::Nothing => return self.give_up(package, &ResultCode::error("DOWNLOAD_INFO")),
        };
        // Left by a stock agent, and the server has not named it since.
        let Some(offer) = directory.offered() else {
            self.did_not_come(&directory, number, "its source is not known until the server names it again");
            return Ok(Event::FragmentFailed { package, number, failure: Failure::Missing });
        };
        let source =
            self.sources.borrow().choose(package, &offer.fragment_location, &offer.more_locations, self.now()).clone();
        let from = (&source, package);
        match self.collect(&directory, &info, number, &source) {
            Ok(()) => {
                self.sources.borrow_mut().worked(self.work.state(), from);
                Ok(Event::FragmentStored { package, number })
            }
            Err(error) => {
                let (failure, why) = (error.failure(), chain(&error));
                self.did_not_come(&directory, number, &why);
                if error.is_sources_fault() && !self.stop.is_asked() {
                    let random = |span| self.machine.random(span);
                    let (state, now) = (self.work.state(), self.now());
                    self.sources.borrow_mut().failed(state, from, failure, &why, now, random);
                }
                Ok(Event::FragmentFailed { package, number, failure })
            }
        }
    }

    fn did_not_come(&self, directory: &PackageDir<'_>, number: FragmentNumber, why: &str) {
        let package = directory.id();
        tracing::warn!(
            package.id = %package,
            fragment.number = %number,
            "fragment {number} of package {package} did not come: {why}"
        );
        // Whoever stops the agent proves nothing about the source.
        if !self.stop.is_asked()
            && let Err(error) = directory.fragment_failed(why)
        {
            tracing::warn!(package.id = %package, "that is forgotten at the next start: {}", chain(&error));
        }
    }

    /// Fetches a fragment into its `.part`, goes on where that ends, and gives it its name.
    fn collect(
        &self,
        directory: &PackageDir<'_>,
        info: &Info,
        number: FragmentNumber,
        source: &Location,
    ) -> Result<(), CollectError> {
        let key = TreeKey::Fragment { package: info.package, number };
        let url: Url = source.url(info.scheme.as_str(), key).parse().map_err(FetchError::from)?;
        let part = directory.part(number);
        let there = fs::metadata(&part).map_or(0, |metadata| metadata.len());
        let room = self.machine.free_space(directory.path()).unwrap_or(u64::MAX);
        let limit = there.saturating_add(room.saturating_sub(RESERVE)).min(MAX_FRAGMENT);
        let mut begins = 0;
        disk::checkpoint("agent.fragment.asking");
        let fetched = self.client.get_to(&url, there, limit, |start| {
            begins = start;
            let mut file = open_private(&part, start == 0)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(Part { file, agent: self, package: info.package })
        });
        let length = match fetched {
            Ok((kept, length)) if length > 0 => {
                if !is_as_built(&part, info, number)? {
                    // Nothing of it is worth going on from.
                    open_private(&part, true).map_err(|source| WorkDirError::Io { path: part, source })?;
                    // What came before may be another source's: only who gave the whole is to blame.
                    let url = url.to_string();
                    return Err(if begins == 0 { CollectError::Damaged { url } } else { CollectError::Mixed { url } });
                }
                directory.fragment_came(number, kept.file)?;
                length
            }
            Ok(_) => return Err(CollectError::Empty { url: url.to_string() }),
            Err(error) => {
                if matches!(error, FetchError::TooLarge { .. } | FetchError::WrongRange { .. }) {
                    // What is there is no beginning of anything: the next attempt starts anew, and the disk is free.
                    open_private(&part, true).map_err(|source| WorkDirError::Io { path: part, source })?;
                }
                return Err(error.into());
            }
        };
        tracing::info!(
            package.id = %info.package,
            fragment.number = %number,
            size_bytes = length,
            "stored fragment {number} of {} of package {}",
            info.fragments,
            info.package
        );
        Ok(())
    }
}

/// Why a fragment is not there.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    #[error("{url} is empty")]
    Empty { url: String },
    #[error("{url} gives other bytes than were built")]
    Damaged { url: String },
    #[error("what came before and what {url} went on with are not what was built; all of it is fetched again")]
    Mixed { url: String },
}

impl CollectError {
    fn failure(&self) -> Failure {
        match self {
            Self::Fetch(error) => error.failure(),
            Self::WorkDir(_) => Failure::Transient,
            Self::Empty { .. } | Self::Damaged { .. } | Self::Mixed { .. } => Failure::Wrong,
        }
    }

    /// Would another source do better?
    fn is_sources_fault(&self) -> bool {
        match self {
            // A beginning that cannot be continued is ours, and so is a full disk.
            Self::Fetch(FetchError::Sink { .. } | FetchError::WrongRange { .. })
            | Self::WorkDir(_)
            | Self::Mixed { .. } => false,
            Self::Fetch(_) | Self::Empty { .. } | Self::Damaged { .. } => true,
        }
    }
}

/// Are these the bytes that were built, as far as the info file says? (Only our server's says it of each fragment.)
pub(super) fn is_as_built(path: &Path, info: &Info, number: FragmentNumber) -> Result<bool, WorkDirError> {
    let Some(expected) = info.fragment_sha256.get(number.number() as usize - 1) else { return Ok(true) };
    let failed = |source| WorkDirError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::new(expected.algorithm());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hasher.finish() == *expected),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// A fragment under way. A stop ends the transfer; what came is kept. A ceiling holds it up: the rest waits in the
/// network's buffers, so that the source slows down, too.
struct Part<'a> {
    file: File,
    agent: &'a Agent<'a>,
    package: PackageId,
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.agent.stop.is_asked() {
            return Err(io::Error::other("the agent was told to stop"));
        }
        disk::claim_room()?;
        let written = self.file.write(bytes)?;
        disk::checkpoint("agent.fragment.written");
        self.agent.progress.received(self.package, written);
        if let Some(bucket) = &self.agent.bucket {
            let until = bucket.borrow_mut().take(self.agent.now(), u64::try_from(written).unwrap_or(u64::MAX));
            while self.agent.now() < until && !self.agent.stop.is_any() {
                self.agent.machine.wait(until);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
