//! Which fragments of a package are there, and which are to be fetched.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::{PackageDir, WorkDirError, at, read_small};
use crate::disk;
use crate::model::{FragmentCount, FragmentNumber, TreeKey};

/// Characters of a reason that are kept: an address and a sentence.
const LONGEST_REASON: usize = 1000;

impl PackageDir<'_> {
    /// Where a fragment lies.
    pub(crate) fn fragment(&self, number: FragmentNumber) -> PathBuf {
        self.path.join(TreeKey::Fragment { package: self.package, number }.file_name())
    }

    /// Where a fragment is collected.
    pub(crate) fn part(&self, number: FragmentNumber) -> PathBuf {
        self.path.join(format!("{}.part", TreeKey::Fragment { package: self.package, number }.file_name()))
    }

    /// The collected fragment gets its name, and then the list forgets it: a crash between fetches it again.
    pub(crate) fn fragment_came(&self, number: FragmentNumber, file: File) -> Result<(), WorkDirError> {
        let (part, path) = (self.part(number), self.fragment(number));
        file.sync_all().map_err(at(&part))?;
        disk::checkpoint("agent.fragment.synced");
        // Not every system renames a file that is open.
        drop(file);
        disk::atomic::rename(&part, &path).map_err(at(&path))?;
        disk::checkpoint("agent.fragment.stored");
        let failure = self.failure();
        disk::atomic::remove_file(&failure).map_err(at(&failure))?;
        let left: Vec<FragmentNumber> =
            self.listed().into_iter().flatten().filter(|listed| *listed != number).collect();
        self.write_task(&left)?;
        disk::checkpoint("agent.fragment.listed");
        Ok(())
    }

    /// Writes down that the last try to fetch a fragment failed, and why: it is why the package is given up in the end.
    pub(crate) fn fragment_failed(&self, why: &str) -> Result<(), WorkDirError> {
        let path = self.failure();
        let text: String = why.chars().take(LONGEST_REASON).collect();
        if read_small(&path).as_deref() != Some(text.as_bytes()) {
            disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        }
        disk::checkpoint("agent.fragment.failed");
        Ok(())
    }

    /// Why the last try to fetch a fragment failed; `None` if it did not.
    pub(crate) fn last_failure(&self) -> Option<String> {
        let path = self.failure();
        if fs::symlink_metadata(&path).is_err() {
            return None;
        }
        Some(read_small(&path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default())
    }

    fn failure(&self) -> PathBuf {
        self.path.join("fetch_failed")
    }

    /// Fragments that turned out not to be there go back on the list.
    pub(crate) fn fragments_lost(&self, missing: &[FragmentNumber]) -> Result<(), WorkDirError> {
        self.write_task(missing)
    }

    /// The fragments that are to be fetched, ascending: those on the list, and those whose file is not there or empty.
    pub(crate) fn missing(&self, fragments: FragmentCount) -> Vec<FragmentNumber> {
        let Some(listed) = self.listed() else { return fragments.numbers().collect() };
        let present = self.present();
        fragments.numbers().filter(|number| listed.contains(number) || !present.contains(number)).collect()
    }

    /// The task list; `None` if it is not there or not complete, so that nothing is believed.
    fn listed(&self) -> Option<BTreeSet<FragmentNumber>> {
        if !self.path.join("task_done").is_file() {
            return None;
        }
        let text = read_small(&self.path.join("task"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let prefix = format!("{}-", self.package);
        Some(text.lines().filter_map(|line| line.trim().strip_prefix(&prefix)?.parse().ok()).collect())
    }

    /// The fragments that have a file with something in it: one look at the directory, not one for each.
    fn present(&self) -> BTreeSet<FragmentNumber> {
        let prefix = format!("{}-", self.package);
        let Ok(entries) = fs::read_dir(&self.path) else { return BTreeSet::new() };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let number = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
                let metadata = entry.metadata().ok()?;
                (metadata.is_file() && metadata.len() > 0).then_some(number)
            })
            .collect()
    }

    /// Bytes of all fragments.
    pub(crate) fn archive_size(&self, fragments: FragmentCount) -> io::Result<u64> {
        fragments
            .numbers()
            .try_fold(0_u64, |sum, number| Ok(sum.saturating_add(fs::metadata(self.fragment(number))?.len())))
    }

    pub(super) fn write_task(&self, missing: &[FragmentNumber]) -> Result<(), WorkDirError> {
        let text = missing.iter().fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "{}-{number}", self.package);
            text
        });
        let path = self.path.join("task");
        disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        let flag = self.path.join("task_done");
        if !flag.is_file() {
            disk::atomic::write_private(&flag, b"").map_err(at(&flag))?;
        }
        disk::checkpoint("agent.task.stored");
        Ok(())
    }

    /// The fragments are not needed any more, for the room that they take.
    pub(crate) fn drop_fragments(&self) {
        for number in self.present() {
            // What stays goes with the package's directory.
            let _ = disk::atomic::remove_file(&self.fragment(number));
        }
    }
}
