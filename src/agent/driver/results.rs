//! Results: kept, told, and then forgotten with their package (decisions 0681, 0685 and 0770).

use super::super::execute;
use super::super::workdir::PackageDir;
use super::{Agent, AgentError, Who, chain};
use crate::disk;
use crate::engine::Event;
use crate::model::{PackageId, ResultCode};

impl Agent<'_> {
    /// Results first: the server shall not offer again what it only has not heard of.
    pub(super) fn deliver_kept(&self, who: &Who) -> Result<(), AgentError> {
        for package in self.work.packages()? {
            let directory = self.work.package(package);
            let Some(code) = directory.result() else { continue };
            // A crash may have come between the result and the history, and after the report nobody asks again.
            directory.keep(&code, self.now())?;
            match self.report(who, package) {
                Event::ReportTaken(_) => self.forget(package),
                // The server is in trouble: the contact will say so.
                _ => break,
            }
        }
        Ok(())
    }

    /// Keeps a result; the first one stands. A disk that takes nothing gets the room of the fragments back, which nobody
    /// needs any more; if that is not enough, `from_memory` is told without being kept. So it must be what the next start
    /// would come to by itself, or say that nothing better could be kept.
    pub(super) fn settle(
        &self,
        directory: &PackageDir<'_>,
        code: &ResultCode,
        from_memory: &ResultCode,
    ) -> Result<ResultCode, AgentError> {
        let package = directory.id();
        let kept = directory.keep(code, self.now()).or_else(|error| {
            tracing::warn!(package.id = %package, "the result of package {package} is not kept yet: {}", chain(&error));
            directory.drop_fragments();
            directory.keep(code, self.now())
        });
        match kept {
            Ok(code) => Ok(code),
            // It is kept, and only the history has no room: it is entered there before anything is reported.
            Err(error) if directory.result().is_some() => Err(error.into()),
            Err(error) => {
                let why = chain(&error);
                tracing::error!(
                    package.id = %package,
                    "the result of package {package}, {code}, cannot be kept, and {from_memory} is told from memory: {why}"
                );
                self.unkept.borrow_mut().insert(package, from_memory.clone());
                Ok(from_memory.clone())
            }
        }
    }

    pub(super) fn report(&self, who: &Who, package: PackageId) -> Event {
        let directory = self.work.package(package);
        // The disk is the truth; without a result there is nothing to tell, and nothing is invented.
        let Some(code) = self.unkept.borrow().get(&package).cloned().or_else(|| directory.result()) else {
            return Event::ReportTaken(package);
        };
        let event = match self.link(&who.prover).report(&who.identity.device_id, package, &code) {
            Ok(()) => {
                tracing::info!(package.id = %package, "reported {code} for package {package}");
                Event::ReportTaken(package)
            }
            Err(error) => {
                tracing::warn!(package.id = %package, "{code} for package {package} was not taken: {}", chain(&error));
                Event::ReportRefused(package)
            }
        };
        self.post_command(&directory, &code);
        event
    }

    /// After the first attempt to report, whatever came of it: a restart must not wait for a server that is away, and
    /// the result is on the disk. Only after an action that ran to its end.
    fn post_command(&self, directory: &PackageDir<'_>, code: &ResultCode) {
        let Some(post) = directory.offered().and_then(|offer| offer.post_command) else { return };
        let package = directory.id();
        let interrupted = *code == ResultCode::error("EXECUTE_INTERRUPTED");
        // Where no result can be written down, neither can that it ran: it might restart the computer for ever.
        if !directory.was_started() || interrupted || self.unkept.borrow().contains_key(&package) {
            return;
        }
        let journalled = directory.journal_post(self.now()).or_else(|_| {
            directory.drop_fragments();
            directory.journal_post(self.now())
        });
        match journalled {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let why = chain(&error);
                tracing::error!(package.id = %package, "the post-command of package {package} is not run, for that cannot be written down: {why}");
                return;
            }
        }
        let timeout = self.work.settings().execution_timeout.span();
        tracing::info!("post-command: {}", post.as_str());
        if let Err(error) = execute::run_post_command(&post, &directory.unpacked(), timeout) {
            tracing::warn!("the post-command failed: {}", chain(&error));
        }
        disk::checkpoint("agent.post.ran");
    }

    /// What cannot be removed now is removed at the next start, or before the package's next try.
    pub(super) fn forget(&self, package: PackageId) {
        self.unkept.borrow_mut().remove(&package);
        let directory = self.work.package(package);
        let Err(error) = directory.remove() else { return };
        tracing::warn!(package.id = %package, "package {package} leaves files behind: {}", chain(&error));
        if let Err(error) = directory.mark_told() {
            tracing::warn!(package.id = %package, "the result of package {package} will be told again: {}", chain(&error));
        }
    }
}
