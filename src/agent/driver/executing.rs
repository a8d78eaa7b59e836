//! Fragments → archive → proof → files → people → the action, and what follows it.

use std::fs::File;
use std::io;

use super::super::MILESTONE;
use super::super::execute::{self, ExecuteRequest};
use super::super::people::{self, Answer, Question};
use super::super::unpack::unpack;
use super::super::workdir::{Known, PackageDir, WorkDirError};
use super::fetching::is_as_built;
use super::{Agent, AgentError, STEP, chain, open_private};
use crate::archive::{AssembleError, assemble};
use crate::disk;
use crate::engine::Event;
use crate::model::limits::ArchiveLimits;
use crate::model::{Action as PackageAction, ByteSize, FragmentCount, FragmentNumber, OsFamily, PackageId, ResultCode};
use crate::protocol::Info;

/// Archive, what it unpacks to, and as much again for what the command installs: the stock Windows agent's rule.
const ROOM_PER_ARCHIVE: u64 = 3;

impl Agent<'_> {
    pub(super) fn execute(&self, package: PackageId) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        let done = |code: &ResultCode| -> Result<Event, AgentError> {
            let code = directory.keep(code, self.now())?;
            tracing::info!(target: MILESTONE, { package.id = %package }, "package {package}: {code}");
            Ok(Event::Executed { package, code })
        };
        // Decided before, whatever the engine thinks: nothing is run twice.
        if let Some(code) = directory.result() {
            return done(&code);
        }
        if directory.was_started() {
            return done(&ResultCode::error("EXECUTE_INTERRUPTED"));
        }
        let info = match directory.known() {
            Known::Info(info) => info,
            Known::Refused(code) => return done(&code),
            Known::Nothing => return done(&ResultCode::error("DOWNLOAD_INFO")),
        };
        if directory.task_info(&info, &self.zone).not_before.is_some_and(|moment| moment > self.now()) {
            // The server moved it since the engine was told.
            return Ok(Event::Delayed(package));
        }
        self.progress.executing(package);
        match self.prepare(&directory, &info) {
            Ok(()) => {}
            Err(NotReady::Lost(missing)) => {
                tracing::warn!(package.id = %package, "package {package}: {} fragments are to be fetched again", missing.len());
                directory.fragments_lost(&missing)?;
                return Ok(Event::FragmentsLost { package, missing });
            }
            Err(NotReady::Failed(code, why)) => {
                tracing::error!(package.id = %package, "package {package} is not executed: {why}");
                return done(&code);
            }
        }
        match self.ask_people(&info) {
            Answer::Abort => return done(&ResultCode::error("ABORTED")),
            Answer::Delay => {
                // Built again when it is asked for again; until then the room is somebody else's.
                directory.clear()?;
                return Ok(Event::Delayed(package));
            }
            Answer::Nobody | Answer::GoOn | Answer::CountedDown => {}
        }
        directory.journal_start(self.now())?;
        let code = execute::run(
            &ExecuteRequest {
                action: &info.action,
                package,
                directory: &directory.unpacked(),
                install_path: self.work.state(),
                timeout: self.work.settings().execution_timeout.span(),
                output: &directory.output(),
            },
            &|| self.stop.is_urgent(),
        );
        // A store has no exit code.
        let code = if matches!(info.action, PackageAction::Store { .. }) { code } else { info.exit_codes.judge(code) };
        disk::checkpoint("agent.execute.ran");
        let event = self.executed(&directory, &code)?;
        // Whatever becomes of the message changes nothing.
        self.tell_people(&info);
        Ok(event)
    }

    /// Keeps the result of an action that ran to its end. A disk that the action has filled gets the fragments' room back.
    /// Where the result still cannot be kept, nobody could tell it after a restart: the server hears that now.
    fn executed(&self, directory: &PackageDir<'_>, code: &ResultCode) -> Result<Event, AgentError> {
        let package = directory.id();
        let kept = directory.keep(code, self.now()).or_else(|error| {
            tracing::warn!(package.id = %package, "the result of package {package} is not kept yet: {}", chain(&error));
            directory.drop_fragments();
            directory.keep(code, self.now())
        });
        let code = match kept {
            Ok(code) => code,
            // It is kept, and only the history has no room: the next start enters it there, before anything is reported.
            Err(error) if directory.result().is_some() => return Err(error.into()),
            Err(error) => {
                let (why, failed) = (chain(&error), ResultCode::error("DONE_FAILED"));
                tracing::error!(package.id = %package, "package {package} was executed, {code}; that cannot be kept: {why}");
                self.unkept.borrow_mut().insert(package, failed.clone());
                failed
            }
        };
        tracing::info!(target: MILESTONE, { package.id = %package }, "package {package}: {code}");
        Ok(Event::Executed { package, code })
    }

    /// Asks whoever is there, if the package wants that. People take their time, and the watchdog is told how long.
    pub(super) fn ask_people(&self, info: &Info) -> Answer {
        let Some(notify) = &info.notify else { return Answer::Nobody };
        disk::checkpoint("agent.people.asking");
        let question = Question::from(notify);
        self.vigil.allow(question.patience().saturating_add(STEP));
        let answer = self.machine.people().ask(&question, &|| self.stop.is_asked());
        self.allow_a_step();
        tracing::info!(package.id = %info.package, ?answer, "package {}: whoever is there was asked: {answer:?}", info.package);
        disk::checkpoint("agent.people.answered");
        answer
    }

    /// Tells whoever is there, if the package has something to say.
    pub(super) fn tell_people(&self, info: &Info) {
        if let Some(text) = info.done.as_ref().and_then(people::message) {
            self.vigil.allow(people::MESSAGE_TIME.saturating_add(STEP));
            self.machine.people().tell(&text, &|| self.stop.is_asked());
        }
    }

    /// Fragments → archive → proof → files. Nothing has been run when it fails.
    fn prepare(&self, directory: &PackageDir<'_>, info: &Info) -> Result<(), NotReady> {
        let unpacked = directory.unpacked();
        if info.fragments == FragmentCount::NONE {
            disk::atomic::remove_tree(&unpacked).map_err(NotReady::of_disk)?;
            return disk::atomic::create_dir_private(&unpacked).map_err(NotReady::of_disk);
        }
        let missing = directory.missing(info.fragments);
        if !missing.is_empty() {
            return Err(NotReady::Lost(missing));
        }
        // What an attempt before this one left takes room, too.
        directory.clear().map_err(|error| NotReady::of_work(&error))?;
        let size = directory.archive_size(info.fragments).map_err(NotReady::of_disk)?;
        let need = size.saturating_mul(ROOM_PER_ARCHIVE);
        if self.machine.free_space(directory.path()).is_ok_and(|room| room < need) {
            let why = format!("less than {} are free", ByteSize(need));
            return Err(NotReady::Failed(ResultCode::error("OUT_OF_SPACE"), why));
        }
        let build = directory.fresh_build().map_err(|error| NotReady::of_work(&error))?;
        let archive = open_private(&build.join("archive"), true).map_err(NotReady::of_disk)?;
        let digests: Vec<_> = [info.digest, info.sha256].into_iter().flatten().collect();
        let open = |number| {
            disk::checkpoint("agent.execute.assembling");
            File::open(directory.fragment(number))
        };
        let verified = match assemble(info.fragments, &digests, open, archive) {
            Ok(verified) => verified,
            Err(AssembleError::Missing { number } | AssembleError::Read { number, .. }) => {
                return Err(NotReady::Lost(vec![number]));
            }
            Err(error @ (AssembleError::WrongDigest { .. } | AssembleError::Unproven)) => {
                // Whole when it came, and not any more: the disk did it, and only that fragment is fetched again.
                let damaged = damaged(directory, info);
                if !damaged.is_empty() {
                    return Err(NotReady::Lost(damaged));
                }
                return Err(NotReady::Failed(ResultCode::error("BAD_DIGEST"), chain(&error)));
            }
            Err(AssembleError::Write(error)) => return Err(NotReady::of_disk(error)),
        };
        disk::checkpoint("agent.execute.assembled");
        unpack(verified, size, &unpacked, this_system(), &ArchiveLimits::DEFAULT)
            .map_err(|error| NotReady::Failed(error.result_code(), chain(&error)))?;
        directory.drop_build();
        disk::checkpoint("agent.execute.unpacked");
        Ok(())
    }

    /// After the first attempt to report, whatever came of it: a restart must not wait for a server that is away, and
    /// the result is on the disk. Only after an action that ran to its end.
    pub(super) fn post_command(&self, directory: &PackageDir<'_>, code: &ResultCode) -> Result<(), AgentError> {
        let Some(post) = directory.offered().and_then(|offer| offer.post_command) else { return Ok(()) };
        let interrupted = *code == ResultCode::error("EXECUTE_INTERRUPTED");
        // Where no result can be written down, neither can that it ran: it might restart the computer for ever.
        let is_unkept = self.unkept.borrow().contains_key(&directory.id());
        if !directory.was_started() || interrupted || is_unkept || !directory.journal_post(self.now())? {
            return Ok(());
        }
        let timeout = self.work.settings().execution_timeout.span();
        tracing::info!("post-command: {}", post.as_str());
        if let Err(error) = execute::run_post_command(&post, &directory.unpacked(), timeout) {
            tracing::warn!("the post-command failed: {}", chain(&error));
        }
        disk::checkpoint("agent.post.ran");
        Ok(())
    }
}

/// The fragments on the disk that are not what was built, as far as that can be told.
fn damaged(directory: &PackageDir<'_>, info: &Info) -> Vec<FragmentNumber> {
    let numbers = info.fragments.numbers();
    numbers.filter(|number| !is_as_built(&directory.fragment(*number), info, *number).unwrap_or(false)).collect()
}

/// Why a package cannot be executed.
enum NotReady {
    Lost(Vec<FragmentNumber>),
    Failed(ResultCode, String),
}

impl NotReady {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn of_disk(error: io::Error) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Self::Failed(ResultCode::error(if full { "OUT_OF_SPACE" } else { "BUILD" }), chain(&error))
    }

    fn of_work(error: &WorkDirError) -> Self {
        match error {
            WorkDirError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::Failed(ResultCode::error("OUT_OF_SPACE"), chain(error))
            }
            WorkDirError::Io { .. } | WorkDirError::Locked { .. } => {
                Self::Failed(ResultCode::error("BUILD"), chain(error))
            }
        }
    }
}

fn this_system() -> OsFamily {
    if cfg!(windows) {
        OsFamily::Windows
    } else if cfg!(target_os = "macos") {
        OsFamily::Macos
    } else {
        OsFamily::Linux
    }
}
