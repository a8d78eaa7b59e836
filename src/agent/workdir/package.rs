//! What is written down about one package: offer, info file, journals, result.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::identity::escaped;
use super::{Known, PackageDir, WorkDirError, at, judge_info, read_bounded, read_small};
use crate::disk;
use crate::model::limits::{ReplyLimits, RequestLimits};
use crate::model::prompt::Asked;
use crate::model::{FragmentCount, Location, Outcome, PackageId, PostCommand, ResultCode, Schedule, UnixTime};
use crate::protocol::Offer;
use crate::protocol::xml;

impl PackageDir<'_> {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub(crate) fn id(&self) -> PackageId {
        self.package
    }

    /// Is there such a directory?
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory for a package that is new here, or takes the newest word about one that is known.
    pub(crate) fn offer(&self, offer: &Offer, now: UnixTime) -> Result<(), WorkDirError> {
        self.create(now)?;
        let path = self.path.join("offer");
        let text = format!(
            "<PARAM TYPE=\"PACK\" ID=\"{}\" INFO_LOC=\"{}\" PACK_LOC=\"{}\" MORE_LOCS=\"{}\" SCHEDULE=\"{}\" POSTCMD=\"{}\" FORCE=\"{}\" />\n",
            offer.package,
            escaped(offer.info_location.as_str()),
            escaped(offer.fragment_location.as_str()),
            escaped(&offer.more_locations.iter().map(Location::as_str).collect::<Vec<_>>().join(" ")),
            offer.schedule.as_ref().map_or("", Schedule::as_str),
            escaped(offer.post_command.as_ref().map_or("", PostCommand::as_str)),
            u8::from(offer.force),
        );
        if read_small(&path).as_deref() != Some(text.as_bytes()) {
            disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        }
        disk::checkpoint("agent.offer.stored");
        Ok(())
    }

    /// What the server last said about it; `None` in a directory that a stock agent left.
    pub(crate) fn offered(&self) -> Option<Offer> {
        let document = read_small(&self.path.join("offer"))?;
        let param = xml::parse(&document, &RequestLimits::DEFAULT).ok()?;
        Some(Offer {
            package: self.package,
            info_location: param.value("INFO_LOC")?.parse::<Location>().ok()?,
            fragment_location: param.value("PACK_LOC")?.parse::<Location>().ok()?,
            more_locations: param
                .value("MORE_LOCS")
                .unwrap_or_default()
                .split_ascii_whitespace()
                .filter_map(|text| text.parse().ok())
                .take(Offer::MAX_MORE_LOCATIONS)
                .collect(),
            schedule: param.value("SCHEDULE").and_then(|text| text.parse().ok()),
            post_command: param.value("POSTCMD").and_then(|text| text.parse().ok()),
            force: param.value("FORCE") == Some("1"),
        })
    }

    /// When it was first offered.
    pub(super) fn since(&self) -> Option<UnixTime> {
        let text = read_small(&self.path.join("since"))?;
        let seconds = std::str::from_utf8(&text).ok()?.trim().parse::<i64>().ok()?;
        Some(UnixTime::from_seconds(seconds))
    }

    pub(super) fn create(&self, now: UnixTime) -> Result<(), WorkDirError> {
        if !self.exists() {
            disk::atomic::create_dir_private(&self.path).map_err(at(&self.path))?;
            disk::checkpoint("agent.offer.created");
        }
        if self.since().is_none() {
            let path = self.path.join("since");
            disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Takes the info file, and the list of all fragments as what is missing.
    pub(crate) fn store_info(&self, document: &[u8], fragments: FragmentCount) -> Result<(), WorkDirError> {
        let path = self.path.join("info");
        disk::atomic::write_private(&path, document).map_err(at(&path))?;
        disk::checkpoint("agent.info.stored");
        self.write_task(&fragments.numbers().collect::<Vec<_>>())
    }

    /// What the info file says.
    pub(crate) fn known(&self) -> Known {
        let path = self.path.join("info");
        let limit = u64::try_from(ReplyLimits::DEFAULT.info).unwrap_or(u64::MAX);
        match read_bounded(&path, limit) {
            None => Known::Nothing,
            Some(document) => judge_info(self.package, &document),
        }
    }

    /// How many contacts tried in vain to fetch the info file.
    pub(super) fn info_tries(&self) -> u32 {
        let text = read_small(&self.path.join("info_tries"));
        text.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()).unwrap_or(0)
    }

    /// One more contact tried in vain.
    pub(crate) fn count_info_try(&self) -> Result<(), WorkDirError> {
        let path = self.path.join("info_tries");
        let tries = self.info_tries().saturating_add(1);
        disk::atomic::write_private(&path, tries.to_string().as_bytes()).map_err(at(&path))
    }

    /// Removes what an attempt to execute left, for the room that it takes.
    pub(crate) fn clear(&self) -> Result<(), WorkDirError> {
        for path in [self.path.join("build"), self.unpacked()] {
            disk::atomic::remove_tree(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// A directory for the archive, where nothing was left of another.
    pub(crate) fn make_build(&self) -> Result<PathBuf, WorkDirError> {
        let path = self.path.join("build");
        disk::atomic::create_dir_private(&path).map_err(at(&path))?;
        Ok(path)
    }

    /// The archive is not needed any more.
    pub(crate) fn drop_build(&self) {
        // It goes with the package's directory at the latest.
        let _ = disk::atomic::remove_tree(&self.path.join("build"));
    }

    /// Where the archive is unpacked to.
    pub(crate) fn unpacked(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Where the command's output is kept.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// Writes down that the command is about to be started.
    pub(crate) fn journal_start(&self, now: UnixTime) -> Result<(), WorkDirError> {
        let path = self.path.join("started");
        disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.execute.journalled");
        Ok(())
    }

    /// Was the command ever started?
    pub(crate) fn was_started(&self) -> bool {
        self.path.join("started").exists()
    }

    /// What became of the package's question so far; the first time that is asked for, it begins.
    pub(crate) fn asked(&self, now: UnixTime) -> Asked {
        if let Some(asked) = self.asked_before() {
            // A clock that was ahead must not put the deadline off for years.
            return Asked { since: asked.since.min(now), ..asked };
        }
        let asked = Asked { since: now, delays: 0 };
        self.keep_asked(asked);
        asked
    }

    /// The same, if it has begun.
    pub(crate) fn asked_before(&self) -> Option<Asked> {
        let text = String::from_utf8(read_small(&self.path.join("asked"))?).ok()?;
        let (since, delays) = text.trim().split_once(' ')?;
        Some(Asked { since: UnixTime::from_seconds(since.parse().ok()?), delays: delays.parse().ok()? })
    }

    /// The person put it off, once more.
    pub(crate) fn count_delay(&self, asked: Asked) {
        self.keep_asked(Asked { delays: asked.delays.saturating_add(1), ..asked });
        disk::checkpoint("agent.people.counted");
    }

    /// A disk that takes nothing costs the person's answer nothing: it only is not counted.
    fn keep_asked(&self, asked: Asked) {
        let path = self.path.join("asked");
        let text = format!("{} {}\n", asked.since.seconds(), asked.delays);
        if let Err(error) = disk::atomic::write_private(&path, text.as_bytes()) {
            tracing::warn!(package.id = %self.package, "failed to write {}: {error}", path.display());
        }
    }

    /// Writes down that the post-command is about to be started; `false` if that was written down before.
    pub(crate) fn journal_post(&self, now: UnixTime) -> Result<bool, WorkDirError> {
        let path = self.path.join("post");
        if path.exists() {
            return Ok(false);
        }
        disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.post.journalled");
        Ok(true)
    }

    /// The result, if there is one: the first line of `done`. A stock Unix agent's `done` is empty, and says only that
    /// it was a success whose exit code is lost.
    pub(crate) fn result(&self) -> Option<ResultCode> {
        let path = self.path.join("done");
        if fs::symlink_metadata(&path).is_err() {
            return None;
        }
        let Some(bytes) = read_small(&path) else { return Some(ResultCode::error("DONE_FAILED")) };
        let text = String::from_utf8_lossy(&bytes);
        Some(match text.lines().next().map(str::trim) {
            None | Some("") => ResultCode::from_wire("SUCCESS_"),
            Some(code) => ResultCode::from_wire(code),
        })
    }

    /// Keeps a result, and the success in the history. The first result stands: what was decided is not decided again.
    pub(crate) fn keep(&self, code: &ResultCode, now: UnixTime) -> Result<ResultCode, WorkDirError> {
        if let Some(kept) = self.result() {
            self.remember(&kept)?;
            return Ok(kept);
        }
        self.create(now)?;
        let path = self.path.join("done");
        disk::atomic::write_private(&path, format!("{code}\n").as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.result.stored");
        self.remember(code)?;
        Ok(code.clone())
    }

    pub(super) fn remember(&self, code: &ResultCode) -> Result<(), WorkDirError> {
        match code.outcome() {
            Outcome::Success => self.work.add_to_history(self.package),
            Outcome::AlreadyInstalled | Outcome::TimedOut | Outcome::Failure => Ok(()),
        }
    }

    /// Writes down that the server has the result, where the directory would not go: it is told no second time, and is
    /// not the result of another try.
    pub(crate) fn mark_told(&self) -> Result<(), WorkDirError> {
        let path = self.told();
        if self.exists() {
            disk::atomic::write_private(&path, b"").map_err(at(&path))?;
            disk::checkpoint("agent.forget.told");
        }
        Ok(())
    }

    /// Is this only what an earlier try left?
    pub(crate) fn was_told(&self) -> bool {
        fs::symlink_metadata(self.told()).is_ok()
    }

    /// Keeps the result of a new try that cannot even begin, in place of the one that was told.
    pub(crate) fn keep_anew(&self, code: &ResultCode) -> Result<(), WorkDirError> {
        let (done, told) = (self.path.join("done"), self.told());
        disk::atomic::write_private(&done, format!("{code}\n").as_bytes()).map_err(at(&done))?;
        disk::checkpoint("agent.result.stored");
        disk::atomic::remove_file(&told).map_err(at(&told))
    }

    fn told(&self) -> PathBuf {
        self.path.join("told")
    }

    /// Removes the directory: out of sight with one rename, then file by file.
    pub(crate) fn remove(&self) -> Result<(), WorkDirError> {
        let gone = self.work.download.join(format!(".gone-{}", self.package));
        disk::atomic::remove_tree(&gone).map_err(at(&gone))?;
        if self.exists() {
            // On a full disk there may be no room for another name; what is removed where it is makes some.
            let path = if disk::atomic::rename(&self.path, &gone).is_ok() { &gone } else { &self.path };
            disk::checkpoint("agent.forget.renamed");
            disk::atomic::remove_tree(path).map_err(at(path))?;
        }
        disk::checkpoint("agent.forget.removed");
        Ok(())
    }
}
