//! One contact of one computer, and the packages that it brings.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dripfeed::engine::{Action, Engine, Event, Failure, Stage, TaskInfo, TaskSeed};
use dripfeed::fetch::Url;
use dripfeed::model::limits::ReplyLimits;
use dripfeed::model::{DeviceId, FragmentNumber, Hasher, PackageId, ResultCode, TreeKey, UnixTime};
use dripfeed::protocol::envelope::{self, Container};
use dripfeed::protocol::{Decision, DownloadReport, Info, InventoryReply, Offer, PrologReply, PrologRequest};

use super::report::{Kind, Tally};
use super::wire::Trouble;
use super::{Contact, Errand, Fleet, Pace, computer};

/// When the engines' time begins; none looks at a calendar.
const START: UnixTime = UnixTime::from_seconds(1_800_000_000);
/// An agent that skips its pauses would try for ever, and at once, what fails.
const PATIENCE: u32 = 10;

/// A computer at its contact.
pub(super) struct Agent<'a> {
    fleet: &'a Fleet,
    contact: Contact,
    /// When the request that is next became due.
    due: Instant,
    tally: Tally,
    failures: u32,
}

/// A package in the making.
struct Held {
    offer: Offer,
    info: Option<Info>,
    /// The fragment that continues what was hashed.
    next: u32,
    hasher: Option<Hasher>,
}

/// The engine's time, slept or skipped.
struct Hours {
    pace: Pace,
    began: Instant,
    skipped: Duration,
}

impl Hours {
    fn now(&self) -> UnixTime {
        START.plus(self.began.elapsed() + self.skipped)
    }

    async fn pass_until(&mut self, until: UnixTime) {
        let pause = until.since(self.now());
        match self.pace {
            Pace::Real => tokio::time::sleep(pause).await,
            Pace::Virtual => self.skipped += pause,
        }
    }
}

impl<'a> Agent<'a> {
    pub(super) fn new(fleet: &'a Fleet, contact: Contact, due: Instant) -> Self {
        Self { fleet, contact, due, tally: Tally::default(), failures: 0 }
    }

    /// Does its errand and adds up what was seen.
    pub(super) async fn live(mut self) {
        self.tally.contacts = 1;
        // A failure is in the tally already, and what is no failure of the server cannot happen to these names.
        let settled = match computer::device_id(self.contact.number) {
            Ok(device) => self.errand(&device).await.is_ok(),
            Err(_) => false,
        };
        self.tally.settled = u64::from(settled);
        self.fleet.tally.lock().unwrap_or_else(PoisonError::into_inner).merge(self.tally);
    }

    async fn errand(&mut self, device: &DeviceId) -> Result<(), Trouble> {
        match self.fleet.options.what {
            Errand::Day => self.day(device).await,
            Errand::Prolog => self.prolog(device).await.map(drop),
            Errand::Inventory => self.inventory().await,
            Errand::Report => {
                let package = self.fleet.options.package.ok_or(Trouble::Nonsense("no package was named"))?;
                self.report(device, package, &ResultCode::success()).await
            }
        }
    }

    async fn day(&mut self, device: &DeviceId) -> Result<(), Trouble> {
        let reply = self.prolog(device).await?.ok_or(Trouble::Nonsense("an answer that was not read"))?;
        if reply.decision == Decision::Send {
            self.inventory().await?;
        }
        let Some(download) = reply.download else { return Ok(()) };
        let mut hours = Hours { pace: self.fleet.options.pace, began: Instant::now(), skipped: Duration::ZERO };
        let seeds = download.offers.iter().map(|offer| TaskSeed {
            package: offer.package,
            since: START,
            stage: Stage::NeedsInfo { failed_contacts: 0 },
        });
        let mut engine = Engine::new(download.settings, seeds.collect(), hours.now());
        let mut held: BTreeMap<PackageId, Held> = download
            .offers
            .into_iter()
            .map(|offer| (offer.package, Held { offer, info: None, next: 1, hasher: None }))
            .collect();
        while self.failures < PATIENCE {
            engine.handle_timeout(hours.now());
            if let Some(action) = engine.poll_action() {
                let event = self.perform(action, &mut held, device).await;
                engine.handle_event(hours.now(), event);
            } else if engine.is_idle() {
                return if held.is_empty() { Ok(()) } else { Err(Trouble::Nonsense("packages are left")) };
            } else if let Some(wake) = engine.poll_timeout() {
                hours.pass_until(wake).await;
            } else {
                break;
            }
        }
        Err(Trouble::Nonsense("given up"))
    }

    async fn perform(&mut self, action: Action, held: &mut BTreeMap<PackageId, Held>, device: &DeviceId) -> Event {
        // Whatever pause there was before it was wanted.
        self.due = Instant::now();
        match action {
            Action::FetchInfo(package) => match self.fetch_info(package, held).await {
                Ok(info) => Event::InfoStored { package, info },
                Err(trouble) => Event::InfoFailed { package, failure: failure(&trouble) },
            },
            Action::FetchFragment { package, number } => match self.fetch_fragment(package, number, held).await {
                Ok(()) => Event::FragmentStored { package, number },
                Err(trouble) => Event::FragmentFailed { package, number, failure: failure(&trouble) },
            },
            Action::Execute(package) => {
                let is_whole = held.get_mut(&package).is_some_and(Held::is_whole);
                let code = if is_whole { ResultCode::success() } else { ResultCode::error("BAD_DIGEST") };
                Event::Executed { package, code }
            }
            Action::Keep { package, .. } => Event::ResultKept(package),
            Action::Report { package, code } => match self.report(device, package, &code).await {
                Ok(()) => Event::ReportTaken(package),
                Err(_) => Event::ReportRefused(package),
            },
            Action::Forget(package) => {
                held.remove(&package);
                let mut history = self.fleet.history.lock().unwrap_or_else(PoisonError::into_inner);
                history.entry(self.contact.number).or_default().push(package);
                Event::Forgotten(package)
            }
        }
    }

    async fn prolog(&mut self, device: &DeviceId) -> Result<Option<PrologReply>, Trouble> {
        let request = PrologRequest { device_id: device.clone() };
        let body = envelope::seal(Container::Zlib, &request.to_xml());
        let number = self.fleet.requests.fetch_add(1, Ordering::Relaxed);
        let is_read = self.fleet.options.what == Errand::Day || number.is_multiple_of(self.fleet.options.read_every);
        self.post(Kind::Prolog, &body, |answer| {
            if !is_read {
                return if answer.is_empty() { Err("an empty answer") } else { Ok(None) };
            }
            PrologReply::parse(&opened(answer)?).map(Some).map_err(|_| "no reply to a prolog")
        })
        .await
    }

    async fn inventory(&mut self) -> Result<(), Trouble> {
        let fleet = self.fleet;
        let Contact { number, round, .. } = self.contact;
        let made;
        let body = if let Some(ready) = fleet.ready.get(&(round, number)) {
            ready
        } else {
            let history = fleet.history.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
            made = fleet.options.sealed_inventory(number, round, &history.unwrap_or_default());
            made.as_ref().map_err(|_| Trouble::Nonsense("no inventory could be made"))?
        };
        if fleet.options.what == Errand::Day {
            self.due = Instant::now();
        }
        self.post(Kind::Inventory, body, |answer| {
            InventoryReply::parse(&opened(answer)?).map(drop).map_err(|_| "no reply to an inventory")
        })
        .await
    }

    async fn report(&mut self, device: &DeviceId, package: PackageId, code: &ResultCode) -> Result<(), Trouble> {
        let report = DownloadReport { device_id: device.clone(), package: Some(package), code: code.clone() };
        let body = envelope::seal(Container::Zlib, &report.to_xml());
        self.post(Kind::Report, &body, |_| Ok(())).await?;
        *self.tally.results.entry(code.as_str().to_owned()).or_default() += 1;
        Ok(())
    }

    async fn fetch_info(
        &mut self,
        package: PackageId,
        held: &mut BTreeMap<PackageId, Held>,
    ) -> Result<TaskInfo, Trouble> {
        let held = held.get_mut(&package).ok_or(Trouble::Nonsense("a package that was not offered"))?;
        let url = held.offer.info_location.url("https", TreeKey::Info { package });
        let info = self
            .get(Kind::Info, &url, |document| match Info::parse(document) {
                Ok(info) if info.package == package => Ok(info),
                Ok(_) => Err("the info file of another package"),
                Err(_) => Err("no info file"),
            })
            .await?;
        held.hasher = info.digest.map(|digest| Hasher::new(digest.algorithm()));
        let task = TaskInfo { priority: info.priority, fragments: info.fragments, not_before: None };
        held.info = Some(info);
        Ok(task)
    }

    async fn fetch_fragment(
        &mut self,
        package: PackageId,
        number: FragmentNumber,
        held: &mut BTreeMap<PackageId, Held>,
    ) -> Result<(), Trouble> {
        let held = held.get_mut(&package).ok_or(Trouble::Nonsense("a package that was not offered"))?;
        let info = held.info.as_ref().ok_or(Trouble::Nonsense("a fragment before its info file"))?;
        let key = TreeKey::Fragment { package, number };
        let url = held.offer.fragment_location.url(info.scheme.as_str(), key);
        let hasher = &mut held.hasher;
        self.get(Kind::Fragment, &url, |bytes| {
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
            if bytes.is_empty() { Err("an empty fragment") } else { Ok(()) }
        })
        .await?;
        // The engine asks in ascending order; if not, the digest shall not be right by accident.
        if held.next != number.number() {
            held.hasher = None;
        }
        held.next = number.number() + 1;
        Ok(())
    }

    async fn post<T>(
        &mut self,
        kind: Kind,
        body: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, Trouble> {
        let fleet = self.fleet;
        let answer = fleet.wire.post(self.contact.number, &fleet.options.server, body).await;
        self.count(kind, body.len(), answer, read)
    }

    async fn get<T>(
        &mut self,
        kind: Kind,
        url: &str,
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, Trouble> {
        let answer = match url.parse::<Url>() {
            Ok(url) => self.fleet.wire.get(self.contact.number, &url).await,
            Err(_) => Err(Trouble::Nonsense("a location that is no address")),
        };
        self.count(kind, 0, answer, read)
    }

    /// Whatever is asked next was due when this was answered.
    fn count<T>(
        &mut self,
        kind: Kind,
        sent: usize,
        answer: Result<Vec<u8>, Trouble>,
        read: impl FnOnce(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, Trouble> {
        let latency = self.due.elapsed();
        let result = answer.and_then(|answer| {
            let value = read(&answer).map_err(Trouble::Nonsense)?;
            Ok((value, answer.len()))
        });
        self.due = Instant::now();
        match result {
            Ok((value, received)) => {
                let seen = self.tally.seen.entry(kind).or_default();
                seen.latencies.record(latency);
                seen.sent += sent as u64;
                seen.received += received as u64;
                Ok(value)
            }
            Err(trouble) => {
                self.failures += 1;
                *self.tally.errors.entry((kind, trouble.clone())).or_default() += 1;
                Err(trouble)
            }
        }
    }
}

impl Held {
    /// Are these the bytes that the info file speaks of? A command without files has none.
    fn is_whole(&mut self) -> bool {
        let Some(info) = &self.info else { return false };
        if info.fragments.0 == 0 {
            return true;
        }
        self.next == info.fragments.0 + 1
            && self.hasher.take().map(Hasher::finish) == info.digest
            && info.digest.is_some()
    }
}

fn opened(answer: &[u8]) -> Result<Vec<u8>, &'static str> {
    match envelope::open(answer, ReplyLimits::DEFAULT.reply) {
        Ok((_, document)) => Ok(document),
        Err(_) => Err("an answer that cannot be opened"),
    }
}

fn failure(trouble: &Trouble) -> Failure {
    match trouble {
        Trouble::Status(404) => Failure::Missing,
        Trouble::Nonsense(_) => Failure::Wrong,
        _ => Failure::Transient,
    }
}
