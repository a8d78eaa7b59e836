//! The driver: engine's actions → I/O → events; contacts in between.

mod executing;
mod fetching;
mod results;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::contact::{ContactError, Contacts, Link};
use super::identity::{Identity, IdentityError};
use super::machine::{Machine, Stop};
use super::progress::Progress;
use super::proof::Prover;
use super::sources::Sources;
use super::vigil::Vigil;
use super::workdir::{WorkDir, WorkDirError};
use super::{MILESTONE, USER_AGENT, contact};
use crate::config::agent::{AgentConfig, AgentConfigError, Hidden, RegistrationSource};
use crate::disk;
use crate::engine::{Action, Engine, Event, LONGEST_BACK_OFF, LONGEST_RECESS, Stage, TaskSeed};
use crate::fetch::{BasicAuth, Bucket, Client, ClientOptions, FetchError, InvalidUrl, Proxies, Secret, Url};
use crate::model::{PackageId, Priority, ResultCode, UnixTime};
use crate::tls::registration::RegistrationKey;
use crate::tls::signing::SigningError;

/// A request may take that long; behind a ceiling a fragment has a day.
const REQUEST_DEADLINE: Duration = Duration::from_hours(1);
const SLOW_REQUEST_DEADLINE: Duration = Duration::from_hours(24);
/// What a step does beside its longest wait: hashing, unpacking, writing.
const STEP: Duration = Duration::from_hours(1);
/// A new name is of a moment of the last day: two agents that start together on one host do not get the same.
const NAME_SPREAD: Duration = Duration::from_hours(24);

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server was not reached, not understood, or what it said cannot be kept.
    #[error("{}", .0.outcome())]
    Contact(#[from] ContactError),
    /// The work directory cannot be used: going on could lose a result.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// There is no way to say who we are.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no way to show it.
    #[error(transparent)]
    Key(#[from] SigningError),
    /// The registration key.
    #[error(transparent)]
    Config(#[from] AgentConfigError),
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

/// Whose messages they are: the computer's name, and the key that shows it.
struct Who {
    identity: Identity,
    prover: Prover,
}

/// The agent of one server.
pub struct Agent<'a> {
    config: &'a AgentConfig,
    machine: &'a dyn Machine,
    stop: Stop,
    work: WorkDir,
    client: Client,
    server: Url,
    registration_key: Option<Hidden>,
    zone: TimeZone,
    progress: Progress,
    vigil: Vigil,
    bucket: Option<RefCell<Bucket>>,
    sources: RefCell<Sources>,
    /// Results that no disk took: told from memory, as long as there is one.
    unkept: RefCell<BTreeMap<PackageId, ResultCode>>,
    /// Was it started anew, with everybody else at the site, or did a person ask it to read its configuration?
    is_fresh: bool,
    /// The latest time that was told: time never goes back for the engine.
    latest: Cell<UnixTime>,
}

impl<'a> Agent<'a> {
    /// Reads the CA file and the registration key; touches neither disk nor network otherwise.
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
            registration_key: config.registration_key.as_ref().map(RegistrationSource::read).transpose()?,
            zone: TimeZone::system(),
            progress: Progress::none(),
            vigil: Vigil::default(),
            bucket: config.bandwidth.map(|rate| RefCell::new(Bucket::new(rate, machine.now()))),
            sources: RefCell::new(Sources::read(&config.state_dir)),
            unkept: RefCell::default(),
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
        let (_lock, mut who, mut contacts) = self.begin()?;
        self.deliver_kept(&who)?;
        let contacted = self.contact(&mut who, &mut contacts)?;
        let due = contacts.due(self.now());
        let mut engine = self.engine()?;
        let ended = self.drive(&mut engine, &who, due, true)?;
        self.progress.finish();
        contacted.inventory?;
        Ok(ended)
    }

    /// For ever: contacts as often as the server says, the engine in between.
    pub fn run(&self) -> Result<Ended, AgentError> {
        let (_lock, mut who, mut contacts) = self.begin()?;
        let mut due = contacts.due_at_start(self.now());
        if self.is_fresh && contacts.last_contact.is_some() {
            // A site that is switched on together must not fall upon the server together.
            let latest = self.now().plus(self.machine.random(self.config.start_delay));
            due = due.max(latest);
        }
        let mut engine = None;
        self.vigil.ready(&format!("{} of {}", who.identity.device_id, self.server));
        loop {
            match self.persist(&mut engine, &who, due)? {
                Ended::UntilNextContact => {}
                ended => return Ok(ended),
            }
            match (self.contact(&mut who, &mut contacts), &mut engine) {
                (Ok(contacted), Some(engine)) => {
                    for event in contacted.events {
                        engine.handle_event(self.now(), event);
                    }
                }
                (Ok(_), None) => {}
                // There will be another.
                (Err(error), _) => tracing::warn!(server = %self.server, "{}", chain(&error)),
            }
            due = contacts.due(self.now());
        }
    }

    fn begin(&self) -> Result<(disk::lock::LockFile, Who, Contacts), AgentError> {
        self.work.create()?;
        let lock = self.work.lock()?;
        self.work.sweep()?;
        let now = self.now();
        let back = i64::try_from(self.machine.random(NAME_SPREAD).as_secs()).unwrap_or(0);
        let born = UnixTime::from_seconds(now.seconds().saturating_sub(back));
        let identity = Identity::load(self.work.state(), &self.machine.host_name(), born)?;
        let prover =
            Prover::begin(self.work.state(), self.registration_key.as_ref().map(|key| RegistrationKey::new(&key.0)))?;
        Ok((lock, Who { identity, prover }, Contacts::read(self.work.state())))
    }

    fn engine(&self) -> Result<Engine, AgentError> {
        let now = self.now();
        let unkept = self.unkept.borrow();
        let mut seeds = self.work.seeds(now, &self.zone, |package| !unkept.contains_key(&package))?;
        seeds.extend(unkept.iter().map(|(package, code)| TaskSeed {
            package: *package,
            since: now,
            stage: Stage::Done { code: code.clone(), priority: Priority::DEFAULT },
        }));
        for seed in &seeds {
            self.progress.found(seed);
        }
        Ok(Engine::new(self.work.settings(), seeds, now))
    }

    fn link<'b>(&'b self, prover: &'b Prover) -> Link<'b> {
        Link {
            client: &self.client,
            server: &self.server,
            work: &self.work,
            zone: &self.zone,
            prover,
            machine: self.machine,
        }
    }

    fn contact(&self, who: &mut Who, contacts: &mut Contacts) -> Result<contact::Contacted, AgentError> {
        self.vigil.allow(deadline(self.config).saturating_mul(2).saturating_add(STEP));
        let now = self.now();
        let link = self.link(&who.prover);
        let result = link.contact(&mut who.identity, self.config.tag.as_deref(), now, contacts);
        match &result {
            Ok(contacted) => {
                tracing::info!(server = %self.server, "contact with {}", self.server);
                if let Err(error) = &contacted.inventory {
                    tracing::warn!("the inventory was not taken: {}", chain(error));
                }
            }
            Err(error) => {
                let why = chain(error);
                match error {
                    ContactError::Refused { .. } => contacts.refused(now, &why),
                    _ => contacts.failed(now, &why, self.machine),
                }
            }
        }
        contacts.keep(self.work.state());
        Ok(result?)
    }

    /// As [`Agent::drive`], but a disk that takes nothing is no end: a period later the engine is made anew of what the disk
    /// holds, as after a restart (decision 0770).
    fn persist(&self, engine: &mut Option<Engine>, who: &Who, due: UnixTime) -> Result<Ended, AgentError> {
        loop {
            let driven = match engine {
                Some(engine) => self.drive(engine, who, due, false),
                None => self.engine().and_then(|made| self.drive(engine.insert(made), who, due, false)),
            };
            let error = match driven {
                Err(AgentError::WorkDir(error)) => error,
                ended => return ended,
            };
            *engine = None;
            let recess = self.recess();
            tracing::error!("no package goes on for {} s: {}", recess.as_secs(), chain(&error));
            self.wait(self.now().plus(recess).min(due));
            if let Some(ended) = self.interrupted(due) {
                return Ok(ended);
            }
        }
    }

    /// How long a disk that takes nothing is left alone: a period.
    fn recess(&self) -> Duration {
        let settings = self.work.settings();
        let cycle = Duration::from_secs(settings.cycle_latency.into());
        let pause = Duration::from_secs(settings.period_latency.into());
        cycle.saturating_mul(settings.period_length).saturating_add(pause).clamp(LONGEST_BACK_OFF, LONGEST_RECESS)
    }

    /// Is there something more urgent than packages?
    fn interrupted(&self, due: UnixTime) -> Option<Ended> {
        if self.stop.is_asked() {
            Some(Ended::Stopped)
        } else if self.stop.take_reload() {
            Some(Ended::Reload)
        } else {
            (self.now() >= due).then_some(Ended::UntilNextContact)
        }
    }

    /// Does what the engine asks for, until the next contact is due or somebody stops it; once: or nothing is left.
    fn drive(&self, engine: &mut Engine, who: &Who, due: UnixTime, once: bool) -> Result<Ended, AgentError> {
        loop {
            if let Some(ended) = self.interrupted(due) {
                return Ok(ended);
            }
            engine.handle_timeout(self.now());
            if let Some(action) = engine.poll_action() {
                let event = self.perform(action, who)?;
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

    fn perform(&self, action: Action, who: &Who) -> Result<Event, AgentError> {
        self.allow_a_step();
        match action {
            Action::FetchInfo(package) => self.fetch_info(package),
            Action::FetchFragment { package, number } => self.fetch_fragment(package, number),
            Action::Execute(package) => self.execute(package),
            Action::Keep { package, code } => {
                tracing::warn!(target: MILESTONE, { package.id = %package }, "package {package} is given up: {code}");
                self.settle(&self.work.package(package), &code, &code)?;
                Ok(Event::ResultKept(package))
            }
            Action::Report { package, .. } => Ok(self.report(who, package)),
            Action::Forget(package) => {
                self.forget(package);
                Ok(Event::Forgotten(package))
            }
        }
    }
}

fn deadline(config: &AgentConfig) -> Duration {
    if config.bandwidth.is_some() { SLOW_REQUEST_DEADLINE } else { REQUEST_DEADLINE }
}

fn open_private(path: &Path, empty: bool) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(empty);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    disk::claim_room()?;
    options.open(path)
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Transparent errors name their cause as their own text, and some have it before what to do.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::agent::people::{Answer, LONGEST_WAIT, MESSAGE_TIME, People, Question};
    use crate::config::agent::AgentOpts;
    use crate::model::Minutes;
    use crate::model::settings::DownloadSettings;
    use crate::protocol::Info;

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
        let package = info("0").package;
        // A minute for a slow machine between promise and look.
        let is_about = |span: Duration, expected: Duration| {
            span <= expected && span.saturating_add(Duration::from_mins(1)) > expected
        };
        let minute = Duration::from_mins(1);
        for (countdown, wait) in [("0", LONGEST_WAIT), ("60", minute), ("99999999", LONGEST_WAIT)] {
            vigil.allow(Duration::ZERO);
            assert_eq!(agent.ask_people(&agent.work.package(package), &info(countdown)), Answer::GoOn);
            let promised = machine.promises.borrow_mut().pop().expect("asked");
            assert!(is_about(promised, wait + STEP), "{countdown}: {promised:?}");
            assert!(is_about(vigil.promised(), REQUEST_DEADLINE + STEP), "then the command has its own time");
        }
        agent.tell_people(&info("0"));
        let promised = machine.promises.borrow_mut().pop().expect("told");
        assert!(is_about(promised, MESSAGE_TIME + STEP), "{promised:?}");
    }
}
