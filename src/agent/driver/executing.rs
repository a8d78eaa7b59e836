//! Fragments → archive → proof → files → people → the action, and what follows it.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::super::MILESTONE;
use super::super::beneath::is_out_of_space;
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
use crate::model::prompt::Asked;
use crate::model::{
    Action as PackageAction, ByteSize, FragmentCount, FragmentNumber, Nobody, OsFamily, PackageId, ResultCode, UnixTime,
};
use crate::protocol::Info;

/// Archive, what it unpacks to, and as much again for what the command installs: the stock Windows agent's rule.
const ROOM_PER_ARCHIVE: u64 = 3;
/// When it is looked again whether somebody is there to be asked.
const LOOK_AGAIN: Duration = Duration::from_mins(15);

impl Agent<'_> {
    pub(super) fn execute(&self, package: PackageId) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        // The next start would come to the same one.
        let done = |code: &ResultCode| -> Result<Event, AgentError> {
            Ok(executed(package, self.settle(&directory, code, code)?))
        };
        // Decided before, whatever the engine thinks: nothing is run twice.
        if let Some(code) = self.unkept.borrow().get(&package).cloned() {
            return Ok(Event::Executed { package, code });
        }
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
        if let Some(until) = self.waits_for_somebody(&directory, &info) {
            return Ok(Event::Unattended { package, until });
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
        match self.ask_people(&directory, &info) {
            Answer::Abort => return done(&ResultCode::error("ABORTED")),
            Answer::Delay => {
                give_room_back(&directory);
                return Ok(Event::Delayed(package));
            }
            Answer::Nobody => {
                // Whoever was there has gone since.
                if let Some(until) = self.waits_for_somebody(&directory, &info) {
                    give_room_back(&directory);
                    return Ok(Event::Unattended { package, until });
                }
            }
            Answer::GoOn | Answer::CountedDown => {}
        }
        if let Err(error) = directory.journal_start(self.now()) {
            let (code, why) = told_of(&error, "EXECUTE");
            tracing::error!(package.id = %package, "package {package} is not executed, for that cannot be written down: {why}");
            // The room that this takes is what the result may need.
            let _ = directory.clear();
            return done(&code);
        }
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
        // Without a result on the disk the next start could only tell that it was cut: the server hears now what is wrong.
        let code = self.settle(&directory, &code, &ResultCode::error("DONE_FAILED"))?;
        let event = executed(package, code);
        // Whatever becomes of the message changes nothing.
        self.tell_people(&info);
        Ok(event)
    }

    /// The moment to look again, if the package waits for somebody and nobody is there.
    fn waits_for_somebody(&self, directory: &PackageDir<'_>, info: &Info) -> Option<UnixTime> {
        let policy = info.notify.as_ref().map(|notify| notify.policy).filter(|policy| policy.nobody == Nobody::Wait)?;
        let now = self.now();
        let waits = !policy.is_over(directory.asked(now), now) && !self.machine.people().is_attended();
        waits.then(|| now.plus(LOOK_AGAIN))
    }

    /// Asks whoever is there, if the package wants that. People take their time, and the watchdog is told how long.
    pub(super) fn ask_people(&self, directory: &PackageDir<'_>, info: &Info) -> Answer {
        let Some(notify) = &info.notify else { return Answer::Nobody };
        disk::checkpoint("agent.people.asking");
        let now = self.now();
        let first = Asked { since: now, delays: 0 };
        let asked = if notify.policy.is_some() { directory.asked(now) } else { first };
        let question = Question::at(notify, asked, now);
        self.vigil.allow(question.patience().saturating_add(STEP));
        let answer = self.machine.people().ask(&question, &|| self.stop.is_asked());
        self.allow_a_step();
        tracing::info!(package.id = %info.package, ?answer, "package {}: whoever is there was asked: {answer:?}", info.package);
        disk::checkpoint("agent.people.answered");
        // Whoever is interrupted has not put it off.
        if answer == Answer::Delay && notify.policy.is_some() && !self.stop.is_asked() {
            directory.count_delay(asked);
        }
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
        let missing = directory.missing(info.fragments);
        if !missing.is_empty() {
            return Err(NotReady::Lost(missing));
        }
        // What an attempt before this one left takes room, and may be anything.
        directory.clear().map_err(|error| NotReady::of_work(&error, "CLEAN"))?;
        if info.fragments == FragmentCount::NONE {
            return disk::atomic::create_dir_private(&unpacked).map_err(NotReady::of_disk);
        }
        let size = directory.archive_size(info.fragments).map_err(NotReady::of_disk)?;
        let need = size.saturating_mul(ROOM_PER_ARCHIVE);
        if self.machine.free_space(directory.path()).is_ok_and(|room| room < need) {
            let why = format!("less than {} are free", ByteSize(need));
            return Err(NotReady::Failed(ResultCode::error("OUT_OF_SPACE"), why));
        }
        let build = directory.make_build().map_err(|error| NotReady::of_work(&error, "BUILD"))?;
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
}

/// Built again when it is its turn again; until then the room is somebody else's.
fn give_room_back(directory: &PackageDir<'_>) {
    if let Err(error) = directory.clear() {
        let package = directory.id();
        tracing::warn!(package.id = %package, "package {package} keeps its room: {}", chain(&error));
    }
}

fn executed(package: PackageId, code: ResultCode) -> Event {
    tracing::info!(target: MILESTONE, { package.id = %package }, "package {package}: {code}");
    Event::Executed { package, code }
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

    fn of_work(error: &WorkDirError, otherwise: &'static str) -> Self {
        let (code, why) = told_of(error, otherwise);
        Self::Failed(code, why)
    }
}

/// What the server is told where the package's directory fails, and the log.
fn told_of(error: &WorkDirError, otherwise: &'static str) -> (ResultCode, String) {
    let is_full = matches!(error, WorkDirError::Io { source, .. } if is_out_of_space(source));
    (ResultCode::error(if is_full { "OUT_OF_SPACE" } else { otherwise }), chain(error))
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
