//! The driver: engine's actions → I/O → events; contacts in between.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::contact::{ContactError, Contacts, Link};
use super::execute::{self, ExecuteRequest};
use super::identity::{Identity, IdentityError};
use super::machine::{Machine, Stop};
use super::people::{self, Answer, Question};
use super::progress::Progress;
use super::sources::Sources;
use super::unpack::unpack;
use super::vigil::Vigil;
use super::workdir::{Known, PackageDir, WorkDir, WorkDirError, judge_info};
use super::{USER_AGENT, contact};
use crate::archive::{AssembleError, assemble};
use crate::config::agent::AgentConfig;
use crate::disk;
use crate::engine::{Action, Engine, Event, Failure};
use crate::fetch::{BasicAuth, Bucket, Client, ClientOptions, FetchError, InvalidUrl, Proxies, Secret, Url};
use crate::model::limits::{ArchiveLimits, ReplyLimits};
use crate::model::{
    Action as PackageAction, ByteSize, FragmentCount, FragmentNumber, Hasher, Location, OsFamily, PackageId, Priority,
    ResultCode, TreeKey, UnixTime,
};
use crate::protocol::Info;

/// The largest fragment: what a package of one fragment may have. A body without an end would fill the disk.
const MAX_FRAGMENT: u64 = 64 << 30;
/// Room that a download leaves to everybody else.
const RESERVE: u64 = 64 << 20;
/// A request may take that long; behind a ceiling a fragment has a day.
const REQUEST_DEADLINE: Duration = Duration::from_hours(1);
const SLOW_REQUEST_DEADLINE: Duration = Duration::from_hours(24);
/// What a step does beside its longest wait: hashing, unpacking, writing.
const STEP: Duration = Duration::from_hours(1);
/// A new name is of a moment of the last day: two agents that start together on one host do not get the same.
const NAME_SPREAD: Duration = Duration::from_hours(24);
/// Archive, what it unpacks to, and as much again for what the command installs: the stock Windows agent's rule.
const ROOM_PER_ARCHIVE: u64 = 3;

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server was not reached, or not understood.
    #[error("no contact")]
    Contact(#[from] ContactError),
    /// The work directory cannot be used: going on could lose a result.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// There is no way to say who we are.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// CA file, proxy.
    #[error(transparent)]
    Client(#[from] FetchError),
    /// The server's address.
    #[error(transparent)]
    Server(#[from] InvalidUrl),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Nothing is left to do.
    Idle,
    /// All is done, but the server has not taken every result; they are kept and sent again.
    ResultsKept,
    /// What is left waits until the next contact is due, or longer.
    UntilNextContact,
    /// Somebody asked.
    Stopped,
    /// Somebody asked to read the configuration again.
    Reload,
}

/// The agent of one server.
pub struct Agent<'a> {
    config: &'a AgentConfig,
    machine: &'a dyn Machine,
    stop: Stop,
    work: WorkDir,
    client: Client,
    server: Url,
    zone: TimeZone,
    progress: Progress,
    vigil: Vigil,
    bucket: Option<RefCell<Bucket>>,
    sources: RefCell<Sources>,
    /// Was it started anew, with everybody else at the site, or did a person ask it to read its configuration?
    is_fresh: bool,
    /// The latest time that was told: time never goes back for the engine.
    latest: Cell<UnixTime>,
}

impl<'a> Agent<'a> {
    /// Reads the CA file; touches neither disk nor network otherwise.
    pub fn new(config: &'a AgentConfig, machine: &'a dyn Machine, stop: Stop) -> Result<Self, AgentError> {
        let server: Url = config.server.parse()?;
        let basic_auth = config.credentials.as_ref().map(|(user, password)| BasicAuth {
            server: server.clone(),
            user: user.clone(),
            password: Secret(password.0.clone()),
        });
        let client = Client::new(&ClientOptions {
            ca_file: config.ca.clone(),
            expected_ca_file: Some(config.expected_ca.clone()),
            verify: config.verify,
            bearer: None,
            user_agent: USER_AGENT.to_owned(),
            proxies: Proxies {
                http: config.proxies.http.as_ref().map(|proxy| proxy.0.clone()),
                https: config.proxies.https.as_ref().map(|proxy| proxy.0.clone()),
                except: config.proxies.except.clone(),
            },
            basic_auth,
            connect_timeout: config.connect_timeout,
            read_timeout: config.read_timeout,
            deadline: deadline(config),
        })?;
        Ok(Self {
            config,
            machine,
            stop,
            work: WorkDir::at(&config.state_dir),
            client,
            server,
            zone: TimeZone::system(),
            progress: Progress::none(),
            vigil: Vigil::default(),
            bucket: config.bandwidth.map(|rate| RefCell::new(Bucket::new(rate, machine.now()))),
            sources: RefCell::new(Sources::read(&config.state_dir)),
            is_fresh: true,
            latest: Cell::new(machine.now()),
        })
    }

    /// Shows a line a package on the terminal.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.progress = Progress::on_terminal();
        self
    }

    /// Tells a service manager how it goes.
    #[must_use]
    pub(crate) fn with_vigil(mut self, vigil: Vigil) -> Self {
        self.vigil = vigil;
        self
    }

    /// Goes on with another configuration: somebody waits for it, so that the first contact is not put off.
    #[must_use]
    pub fn after_reload(mut self) -> Self {
        self.is_fresh = false;
        self
    }

    /// One check-in and everything that follows, until nothing is left, but not past the next contact.
    pub fn once(&self) -> Result<Ended, AgentError> {
        let (_lock, mut identity, mut contacts) = self.begin()?;
        self.deliver_kept(&identity)?;
        let contacted = self.contact(&mut identity, &mut contacts)?;
        let due = contacts.due(self.now());
        let mut engine = self.engine()?;
        let ended = self.drive(&mut engine, &identity, due, true)?;
        self.progress.finish();
        contacted.inventory?;
        Ok(ended)
    }

    /// For ever: contacts as often as the server says, the engine in between.
    pub fn run(&self) -> Result<Ended, AgentError> {
        let (_lock, mut identity, mut contacts) = self.begin()?;
        let mut due = contacts.due_at_start(self.now());
        if self.is_fresh && contacts.last_contact.is_some() {
            // A site that is switched on together must not fall upon the server together.
            let latest = self.now().plus(self.machine.random(self.config.start_delay));
            due = due.max(latest);
        }
        let mut engine = self.engine()?;
        self.vigil.ready(&format!("{} of {}", identity.device_id, self.server));
        loop {
            match self.drive(&mut engine, &identity, due, false)? {
                Ended::UntilNextContact => {}
                ended => return Ok(ended),
            }
            // A contact that fails is told where it fails; there will be another.
            if let Ok(contacted) = self.contact(&mut identity, &mut contacts) {
                for event in contacted.events {
                    engine.handle_event(self.now(), event);
                }
            }
            due = contacts.due(self.now());
        }
    }

    fn begin(&self) -> Result<(disk::lock::LockFile, Identity, Contacts), AgentError> {
        self.work.create()?;
        let lock = self.work.lock()?;
        self.work.sweep()?;
        let now = self.now();
        let back = i64::try_from(self.machine.random(NAME_SPREAD).as_secs()).unwrap_or(0);
        let born = UnixTime::from_seconds(now.seconds().saturating_sub(back));
        let identity = Identity::load(self.work.state(), &self.machine.host_name(), born)?;
        Ok((lock, identity, Contacts::read(self.work.state())))
    }

    fn engine(&self) -> Result<Engine, AgentError> {
        let now = self.now();
        let seeds = self.work.seeds(now, &self.zone)?;
        for seed in &seeds {
            self.progress.found(seed);
        }
        Ok(Engine::new(self.work.settings(), seeds, now))
    }

    fn link(&self) -> Link<'_> {
        Link { client: &self.client, server: &self.server, work: &self.work, zone: &self.zone }
    }

    fn contact(&self, identity: &mut Identity, contacts: &mut Contacts) -> Result<contact::Contacted, AgentError> {
        self.vigil.allow(deadline(self.config).saturating_mul(2).saturating_add(STEP));
        let now = self.now();
        let result = self.link().contact(identity, self.config.tag.as_deref(), now, contacts, self.machine);
        match &result {
            Ok(contacted) => {
                tracing::info!(server = %self.server, "contact with {}", self.server);
                if let Err(error) = &contacted.inventory {
                    tracing::warn!("the inventory was not taken: {}", chain(error));
                }
            }
            Err(error) => {
                tracing::warn!(server = %self.server, "no contact with {}: {}", self.server, chain(error));
                contacts.failed(now, &chain(error), self.machine);
            }
        }
        contacts.keep(self.work.state());
        Ok(result?)
    }

    /// Results first: the server shall not offer again what it only has not heard of.
    fn deliver_kept(&self, identity: &Identity) -> Result<(), AgentError> {
        for package in self.work.packages()? {
            let directory = self.work.package(package);
            let Some(code) = directory.result() else { continue };
            // A crash may have come between the result and the history, and after the report nobody asks again.
            directory.keep(&code, self.now())?;
            match self.report(identity, package)? {
                Event::ReportTaken(_) => self.forget(package),
                // The server is in trouble: the contact will say so.
                _ => break,
            }
        }
        Ok(())
    }

    /// Does what the engine asks for, until the next contact is due or somebody stops it; once: or nothing is left.
    fn drive(&self, engine: &mut Engine, identity: &Identity, due: UnixTime, once: bool) -> Result<Ended, AgentError> {
        loop {
            if self.stop.is_asked() {
                return Ok(Ended::Stopped);
            }
            if self.stop.take_reload() {
                return Ok(Ended::Reload);
            }
            let now = self.now();
            if now >= due {
                return Ok(Ended::UntilNextContact);
            }
            engine.handle_timeout(now);
            if let Some(action) = engine.poll_action() {
                let event = self.perform(action, identity)?;
                self.progress.happened(&event);
                engine.handle_event(self.now(), event);
                continue;
            }
            if once && engine.is_idle() {
                return Ok(Ended::Idle);
            }
            if once && engine.only_reports_left() {
                return Ok(Ended::ResultsKept);
            }
            let wake = engine.poll_timeout().unwrap_or(due);
            if once && wake >= due {
                return Ok(Ended::UntilNextContact);
            }
            self.wait(wake.min(due));
        }
    }

    fn wait(&self, until: UnixTime) {
        while !self.stop.is_any() && self.now() < until {
            let now = self.now();
            let step = if self.progress.is_live() { now.plus(Duration::from_secs(1)).min(until) } else { until };
            self.progress.pause(until.since(now));
            self.vigil.allow(STEP);
            self.machine.wait(step);
        }
        self.progress.pause(Duration::ZERO);
    }

    fn now(&self) -> UnixTime {
        let now = self.machine.now().max(self.latest.get());
        self.latest.set(now);
        now
    }

    /// The watchdog is told how long a step without a person takes at most: one request; or command and post-command, with
    /// what ends them.
    fn allow_a_step(&self) {
        let commands = self.work.settings().execution_timeout.span().saturating_mul(3);
        self.vigil.allow(deadline(self.config).max(commands).saturating_add(STEP));
    }

    fn perform(&self, action: Action, identity: &Identity) -> Result<Event, AgentError> {
        self.allow_a_step();
        match action {
            Action::FetchInfo(package) => self.fetch_info(package),
            Action::FetchFragment { package, number } => self.fetch_fragment(package, number),
            Action::Execute(package) => self.execute(package),
            Action::Keep { package, code } => {
                tracing::warn!(package.id = %package, "package {package} is given up: {code}");
                self.work.package(package).keep(&code, self.now())?;
                Ok(Event::ResultKept(package))
            }
            Action::Report { package, .. } => self.report(identity, package),
            Action::Forget(package) => {
                self.forget(package);
                Ok(Event::Forgotten(package))
            }
        }
    }

    fn fetch_info(&self, package: PackageId) -> Result<Event, AgentError> {
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
        let code = self.work.package(package).keep(code, self.now())?;
        Ok(Event::GaveUp { package, code, priority: Priority::DEFAULT })
    }

    fn fetch_fragment(&self, package: PackageId, number: FragmentNumber) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        let info = match directory.known() {
            Known::Info(info) => info,
            Known::Refused(code) => return self.give_up(package, &code),
            // It was there a moment ago: somebody took it away.
            Known::Nothing => return self.give_up(package, &ResultCode::error("DOWNLOAD_INFO")),
        };
        // Left by a stock agent, and the server has not named it since.
        let Some(offer) = directory.offered() else {
            did_not_come(package, number, "its source is not known until the server names it again");
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
                did_not_come(package, number, &why);
                if error.is_sources_fault() && !self.stop.is_asked() {
                    let random = |span| self.machine.random(span);
                    let (state, now) = (self.work.state(), self.now());
                    self.sources.borrow_mut().failed(state, from, failure, &why, now, random);
                }
                Ok(Event::FragmentFailed { package, number, failure })
            }
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

    fn execute(&self, package: PackageId) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        let done = |code: &ResultCode| -> Result<Event, AgentError> {
            let code = directory.keep(code, self.now())?;
            tracing::info!(package.id = %package, "package {package}: {code}");
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
        let event = done(&code)?;
        // The result is on the disk, so whatever becomes of the message changes nothing.
        self.tell_people(&info);
        Ok(event)
    }

    /// Asks whoever is there, if the package wants that. People take their time, and the watchdog is told how long.
    fn ask_people(&self, info: &Info) -> Answer {
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
    fn tell_people(&self, info: &Info) {
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

    fn report(&self, identity: &Identity, package: PackageId) -> Result<Event, AgentError> {
        let directory = self.work.package(package);
        // The disk is the truth; without a result there is nothing to tell, and nothing is invented.
        let Some(code) = directory.result() else { return Ok(Event::ReportTaken(package)) };
        let event = match self.link().report(&identity.device_id, package, &code) {
            Ok(()) => {
                tracing::info!(package.id = %package, "reported {code} for package {package}");
                Event::ReportTaken(package)
            }
            Err(error) => {
                tracing::warn!(package.id = %package, "{code} for package {package} was not taken: {}", chain(&error));
                Event::ReportRefused(package)
            }
        };
        self.post_command(&directory, &code)?;
        Ok(event)
    }

    /// After the first attempt to report, whatever came of it: a restart must not wait for a server that is away, and
    /// the result is on the disk. Only after an action that ran to its end.
    fn post_command(&self, directory: &PackageDir<'_>, code: &ResultCode) -> Result<(), AgentError> {
        let Some(post) = directory.offered().and_then(|offer| offer.post_command) else { return Ok(()) };
        let interrupted = *code == ResultCode::error("EXECUTE_INTERRUPTED");
        if !directory.was_started() || interrupted || !directory.journal_post(self.now())? {
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

    /// What cannot be removed now is removed, or reported again, at the next start.
    fn forget(&self, package: PackageId) {
        if let Err(error) = self.work.package(package).remove() {
            tracing::warn!(package.id = %package, "package {package} leaves files behind: {}", chain(&error));
        }
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

fn did_not_come(package: PackageId, number: FragmentNumber, why: &str) {
    tracing::warn!(
        package.id = %package,
        fragment.number = %number,
        "fragment {number} of package {package} did not come: {why}"
    );
}

fn deadline(config: &AgentConfig) -> Duration {
    if config.bandwidth.is_some() { SLOW_REQUEST_DEADLINE } else { REQUEST_DEADLINE }
}

/// Are these the bytes that were built, as far as the info file says? (Only our server's says it of each fragment.)
fn is_as_built(path: &Path, info: &Info, number: FragmentNumber) -> Result<bool, WorkDirError> {
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

fn open_private(path: &Path, empty: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(empty);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Transparent errors name their cause as their own text.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use super::*;
    use crate::agent::people::{LONGEST_WAIT, MESSAGE_TIME, People};
    use crate::config::agent::AgentOpts;
    use crate::model::Minutes;
    use crate::model::settings::DownloadSettings;

    /// People who note, while they are asked or told, how long the watchdog has been promised that it may take.
    #[derive(Clone)]
    struct Watched {
        vigil: Vigil,
        promises: Rc<RefCell<Vec<Duration>>>,
    }

    impl People for Watched {
        fn ask(&self, _: &Question, _: &dyn Fn() -> bool) -> Answer {
            self.promises.borrow_mut().push(self.vigil.promised());
            Answer::GoOn
        }

        fn tell(&self, _: &str, _: &dyn Fn() -> bool) {
            self.promises.borrow_mut().push(self.vigil.promised());
        }
    }

    impl Machine for Watched {
        fn now(&self) -> UnixTime {
            UnixTime::from_seconds(1_700_000_000)
        }

        fn wait(&self, _: UnixTime) {}

        fn random(&self, _: Duration) -> Duration {
            Duration::ZERO
        }

        fn free_space(&self, _: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }

        fn host_name(&self) -> String {
            "ws042".to_owned()
        }

        fn people(&self) -> Box<dyn People> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn the_watchdog_is_told_that_people_take_their_time_and_that_the_rest_does_not() {
        let home = tempfile::tempdir().expect("a directory");
        let opts = AgentOpts {
            server: Some("localhost".to_owned()),
            data_dir: Some(home.path().to_owned()),
            ..AgentOpts::default()
        };
        let config = opts.check().expect("a configuration");
        // It says nothing by itself here, but keeps what it was promised.
        let vigil = Vigil::silent();
        let machine = Watched { vigil: vigil.clone(), promises: Rc::default() };
        let agent = Agent::new(&config, &machine, Stop::new()).expect("an agent").with_vigil(vigil.clone());
        // Commands are quick here, so what they may take would not do for a person.
        agent.work.create().expect("a work directory");
        let quick = DownloadSettings { execution_timeout: Minutes(1), ..DownloadSettings::default() };
        agent.work.keep_settings(&quick).expect("kept");
        let info = |countdown: &str| {
            let text = format!(
                r#"<DOWNLOAD ID="7" ACT="EXECUTE" COMMAND="true" FRAGS="0" NOTIFY_USER="1" NOTIFY_TEXT="x"
                   NOTIFY_COUNTDOWN="{countdown}" NEED_DONE_ACTION="1" NEED_DONE_ACTION_TEXT="y" />"#
            );
            Info::parse(text.as_bytes()).expect("an info file")
        };
        // A minute for a slow machine between promise and look.
        let is_about = |span: Duration, expected: Duration| {
            span <= expected && span.saturating_add(Duration::from_mins(1)) > expected
        };
        let minute = Duration::from_mins(1);
        for (countdown, wait) in [("0", LONGEST_WAIT), ("60", minute), ("99999999", LONGEST_WAIT)] {
            vigil.allow(Duration::ZERO);
            assert_eq!(agent.ask_people(&info(countdown)), Answer::GoOn);
            let promised = machine.promises.borrow_mut().pop().expect("asked");
            assert!(is_about(promised, wait + STEP), "{countdown}: {promised:?}");
            assert!(is_about(vigil.promised(), REQUEST_DEADLINE + STEP), "then the command has its own time");
        }
        agent.tell_people(&info("0"));
        let promised = machine.promises.borrow_mut().pop().expect("told");
        assert!(is_about(promised, MESSAGE_TIME + STEP), "{promised:?}");
    }
}
