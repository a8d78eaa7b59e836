//! Contact: prolog, offers into the work directory, inventory when asked, reports (ocs-protocol 2, 3.6).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::identity::{self, Identity, IdentityError};
use super::inventory;
use super::machine::Machine;
use super::proof::{Prover, Regard};
use super::workdir::{WorkDir, WorkDirError};
use crate::disk;
use crate::engine::Event;
use crate::fetch::{Client, FetchError, Judged, Url};
use crate::model::limits::ReplyLimits;
use crate::model::settings::DownloadSettings;
use crate::model::{DeviceId, PackageId, ResultCode, UnixTime};
use crate::protocol::envelope::{self, Container, EnvelopeError};
use crate::protocol::proof::Standing;
use crate::protocol::{
    Decision, DownloadOption, DownloadReport, InventoryReply, Offer, PrologReply, PrologRequest, ReplyError,
};

const CONTENT_TYPE: &str = "application/x-compress";
/// Hours between contacts when no server ever said.
const DEFAULT_PROLOG_FREQ: u32 = 24;
/// A year: what a server says beyond that is a mistake that would silence the computer for good.
const MAX_PROLOG_FREQ: u32 = 8760;
/// The first pause after a failed contact; it doubles up to the frequency.
const FIRST_BACK_OFF: Duration = Duration::from_mins(1);

/// Why a contact failed.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// Nothing usable came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The reply is in no container that agents read.
    #[error("the answer of {server} cannot be opened; is that address an OCS or dripfeed server?")]
    Envelope {
        /// Who answered.
        server: String,
        /// Why.
        source: EnvelopeError,
    },
    /// The reply is something else.
    #[error("the answer of {server} cannot be read")]
    Reply {
        /// Who answered.
        server: String,
        /// Why.
        source: ReplyError,
    },
    /// The computer has another key there: somebody else speaks in its name, or its state was lost.
    #[error(
        "{server} refuses this computer: {device_id} has another key there; if it was installed anew, ask the server's \
         administrator for `dripfeed computer forget-key`"
    )]
    Refused {
        /// Who refused.
        server: String,
        /// The name that has a key already.
        device_id: DeviceId,
    },
    /// It refuses even what was signed at its own time.
    #[error("{server} finds this computer's clock wrong, and its own time as well: set the clocks of both right")]
    Clock {
        /// Who refused.
        server: String,
    },
    /// What it said could not be kept.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// Who we are could not be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl ContactError {
    /// What it comes to.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::WorkDir(_) => "what the server said cannot be kept",
            _ => "no contact",
        }
    }
}

/// What a contact brought.
#[derive(Debug)]
pub(crate) struct Contacted {
    /// For the engine.
    pub(crate) events: Vec<Event>,
    /// Why the inventory was not taken, if one was asked for and was not. The packages do not wait for it.
    pub(crate) inventory: Result<(), ContactError>,
}

/// Everything that a message needs.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    /// The client.
    pub(crate) client: &'a Client,
    /// The server.
    pub(crate) server: &'a Url,
    /// The work directory.
    pub(crate) work: &'a WorkDir,
    /// Local time, for schedules.
    pub(crate) zone: &'a TimeZone,
    /// Shows whose messages they are.
    pub(crate) prover: &'a Prover,
    /// The clock, and chance.
    pub(crate) machine: &'a dyn Machine,
}

impl Link<'_> {
    /// Prolog, and everything that the reply asks for except the packages themselves.
    pub(crate) fn contact(
        &self,
        identity: &mut Identity,
        tag: Option<&str>,
        now: UnixTime,
        contacts: &mut Contacts,
    ) -> Result<Contacted, ContactError> {
        let contacted = self.converse(identity, tag, now, contacts);
        self.prover.tell();
        contacted
    }

    fn converse(
        &self,
        identity: &mut Identity,
        tag: Option<&str>,
        now: UnixTime,
        contacts: &mut Contacts,
    ) -> Result<Contacted, ContactError> {
        let reply = self.prolog(&identity.device_id)?;
        let hours = reply.prolog_freq.filter(|hours| *hours > 0).map(|hours| hours.min(MAX_PROLOG_FREQ));
        contacts.succeeded(now, hours, identity.prolog_freq, self.machine);
        contacts.inventory_on_startup = reply.inventory_on_startup.unwrap_or(contacts.inventory_on_startup);
        if let Some(error) = hours.and_then(|hours| identity.keep_prolog_freq(hours).err()) {
            tracing::warn!("how often contacts are wanted is not kept where stock agents look for it: {error}");
        }
        let events = self.learn(reply.download, now);
        // Also where the disk takes nothing: how much room there is is part of it.
        let inventory = match reply.decision {
            Decision::Send => self.inventory(&identity.device_id, tag),
            Decision::Stop | Decision::Other(_) => Ok(()),
        };
        Ok(Contacted { events: events?, inventory })
    }

    fn prolog(&self, device_id: &DeviceId) -> Result<PrologReply, ContactError> {
        let request = PrologRequest { device_id: device_id.clone() };
        let document = self.ask(device_id, &request.to_xml())?;
        PrologReply::parse(&document).map_err(|source| ContactError::Reply { server: self.server.to_string(), source })
    }

    /// The option becomes settings, directories and events.
    fn learn(&self, option: Option<DownloadOption>, now: UnixTime) -> Result<Vec<Event>, ContactError> {
        // "Never" comes without any option, and stops deployment too.
        let option = option.unwrap_or_else(|| DownloadOption {
            settings: DownloadSettings { on: false, ..self.work.settings() },
            offers: Vec::new(),
        });
        self.work.keep_settings(&option.settings)?;
        let mut events = vec![Event::Settings(option.settings)];
        let history = self.work.history()?;
        for offer in &option.offers {
            if let Some(event) = self.take_offer(offer, &history, now)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn take_offer(&self, offer: &Offer, history: &[PackageId], now: UnixTime) -> Result<Option<Event>, ContactError> {
        let (package, directory) = (offer.package, self.work.package(offer.package));
        let leftover = if directory.was_told() { directory.remove().err() } else { None };
        if leftover.is_none() && directory.result().is_some() {
            // Its result is on the way; the server did not know yet.
            return Ok(None);
        }
        let is_known = leftover.is_none() && directory.exists();
        let was_forced = is_known && directory.offered().is_some_and(|offer| offer.force);
        let was_done = history.contains(&package) && !offer.force && !was_forced;
        if was_done {
            tracing::info!(package.id = %package, "package {package} was done here before");
        }
        match (leftover, was_done) {
            (None, true) => {
                directory.keep(&ResultCode::already_setup(), now)?;
            }
            (None, false) => {
                directory.offer(offer, now)?;
                if !is_known {
                    tracing::info!(package.id = %package, "package {package} is new");
                }
            }
            (Some(_), true) => directory.keep_anew(&ResultCode::already_setup())?,
            (Some(error), false) => {
                tracing::error!(package.id = %package, "what an earlier try left is in the way of package {package}: {error}");
                directory.keep_anew(&ResultCode::error("CLEAN"))?;
            }
        }
        Ok(Some(Event::Offered(directory.seed(now, self.zone)?)))
    }

    fn inventory(&self, device_id: &DeviceId, tag: Option<&str>) -> Result<(), ContactError> {
        let account = identity::account_with_tag(identity::read_account(self.work.state())?, tag);
        let mut document = inventory::collect(device_id, &account, &self.work.history()?);
        let accepted = inventory::Accepted::mark(&mut document, self.work.state());
        let reply = self.ask(device_id, &document.to_xml())?;
        let reply = InventoryReply::parse(&reply)
            .map_err(|source| ContactError::Reply { server: self.server.to_string(), source })?;
        match reply {
            InventoryReply::NoAccountUpdate => {}
            InventoryReply::AccountUpdate(fields) => identity::keep_account(self.work.state(), &fields)?,
        }
        // Without it the next inventory says that everything has changed, which costs the server a comparison.
        if let Err(error) = accepted.keep(self.work.state()) {
            tracing::warn!("failed to keep what the server has taken of the inventory: {error}");
        }
        tracing::info!("inventory sent");
        Ok(())
    }

    /// Tells what became of a package. `Ok` is an HTTP 200, and means that the server has it for good.
    pub(crate) fn report(
        &self,
        device_id: &DeviceId,
        package: PackageId,
        code: &ResultCode,
    ) -> Result<(), ContactError> {
        let report = DownloadReport { device_id: device_id.clone(), package: Some(package), code: code.clone() };
        let body = envelope::seal(Container::Zlib, &report.to_xml());
        disk::checkpoint("agent.report.sending");
        let taken = self.send(device_id, &body);
        self.prover.tell();
        taken?;
        disk::checkpoint("agent.report.sent");
        Ok(())
    }

    fn ask(&self, device_id: &DeviceId, xml: &str) -> Result<Vec<u8>, ContactError> {
        let body = envelope::seal(Container::Zlib, xml);
        disk::checkpoint("agent.message.sending");
        let reply = self.send(device_id, &body)?;
        disk::checkpoint("agent.message.answered");
        let (_, document) = envelope::open(&reply, ReplyLimits::DEFAULT.reply)
            .map_err(|source| ContactError::Envelope { server: self.server.to_string(), source })?;
        Ok(document)
    }

    /// Sends a message in this computer's name, with the proof of that. Where the server finds the clock wrong it is said
    /// once more, at the server's time.
    fn send(&self, device_id: &DeviceId, body: &[u8]) -> Result<Vec<u8>, ContactError> {
        let mut answer = self.say(device_id, body)?;
        if answer.standing == Some(Standing::Clock)
            && let Some(time) = answer.time
        {
            self.prover.go_by(time, self.machine.now());
            answer = self.say(device_id, body)?;
        }
        let server = || self.server.to_string();
        match answer.standing {
            Some(Standing::Refused) => {
                self.prover.heard(Regard::Refused, device_id, self.machine.now());
                Err(ContactError::Refused { server: server(), device_id: device_id.clone() })
            }
            Some(Standing::Clock) => Err(ContactError::Clock { server: server() }),
            standing => {
                let body = answer.body?;
                self.prover.heard(Regard::of_taken(standing), device_id, self.machine.now());
                Ok(body)
            }
        }
    }

    fn say(&self, device_id: &DeviceId, body: &[u8]) -> Result<Judged, FetchError> {
        let proof = self.prover.prove(device_id, body, self.machine.now());
        self.client.post_proven(self.server, CONTENT_TYPE, &proof, body, ReplyLimits::DEFAULT.reply)
    }
}

/// When the server was last asked, and when it is to be asked next: `contact.json`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Contacts {
    /// The last contact that worked, Unix seconds.
    pub(crate) last_contact: Option<i64>,
    /// Why the last contact did not work, if it did not.
    pub(crate) last_error: Option<String>,
    /// The next contact, Unix seconds.
    pub(crate) next_contact: Option<i64>,
    /// Contacts in a row that did not work.
    pub(crate) failures: u32,
    /// Hours between contacts.
    pub(crate) prolog_freq: Option<u32>,
    /// Does the server want a contact when the agent starts?
    pub(crate) inventory_on_startup: bool,
}

impl Contacts {
    fn path(state: &Path) -> PathBuf {
        state.join("contact.json")
    }

    /// What is known; nothing, if the file is not there or not readable.
    pub(crate) fn read(state: &Path) -> Self {
        fs::read(Self::path(state)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps it. The pace of contacts is worth no stop of the agent, so a failure is only told.
    pub(crate) fn keep(&self, state: &Path) {
        let path = Self::path(state);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        if let Err(error) = disk::atomic::write_private(&path, &text) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }

    fn frequency(&self) -> Duration {
        Duration::from_secs(u64::from(self.prolog_freq.unwrap_or(DEFAULT_PROLOG_FREQ)) * 3600)
    }

    /// When to make contact after a start: at once for the first time and where the server wants it, else when it is due.
    pub(crate) fn due_at_start(&self, now: UnixTime) -> UnixTime {
        match (self.last_contact, self.next_contact) {
            (Some(_), Some(next)) if !self.inventory_on_startup => {
                // A clock that was ahead must not silence the agent for years.
                UnixTime::from_seconds(next).min(now.plus(self.frequency())).max(now)
            }
            _ => now,
        }
    }

    /// When to make the next contact.
    pub(crate) fn due(&self, now: UnixTime) -> UnixTime {
        self.next_contact.map_or(now.plus(self.frequency()), UnixTime::from_seconds)
    }

    /// The contact worked: the next one is one frequency away; a random part of it when the server has just named
    /// another, so that a fleet that hears it together does not come back together (ocs-protocol 3.6).
    fn succeeded(&mut self, now: UnixTime, hours: Option<u32>, stored: Option<u32>, machine: &dyn Machine) {
        let changed = hours.is_some() && hours != stored;
        self.prolog_freq = hours.or(stored).or(self.prolog_freq);
        let span = if changed { machine.random(self.frequency()) } else { self.frequency() };
        self.last_contact = Some(now.seconds());
        self.last_error = None;
        self.failures = 0;
        self.next_contact = Some(now.plus(span).seconds());
    }

    /// The contact did not work: again after a pause that doubles from a minute up to the frequency, by chance half of
    /// it, so that a fleet does not fall upon a server that comes back.
    pub(crate) fn failed(&mut self, now: UnixTime, error: &str, machine: &dyn Machine) {
        self.failures = self.failures.saturating_add(1);
        let doubled = FIRST_BACK_OFF.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX));
        let span = doubled.min(self.frequency());
        self.last_error = Some(error.to_owned());
        self.next_contact = Some(now.plus(span / 2 + machine.random(span / 2)).seconds());
    }

    /// The server would not have this computer: only its administrator can change that, so there is no hurry.
    pub(crate) fn refused(&mut self, now: UnixTime, error: &str) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.to_owned());
        self.next_contact = Some(now.plus(self.frequency()).seconds());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Chance is always the largest.
    struct Unlucky;

    impl Machine for Unlucky {
        fn now(&self) -> UnixTime {
            UnixTime::default()
        }
        fn wait(&self, _until: UnixTime) {}
        fn random(&self, below: Duration) -> Duration {
            below
        }
        fn free_space(&self, _path: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }
        fn host_name(&self) -> String {
            "ws".to_owned()
        }
    }

    #[test]
    fn a_new_frequency_spreads_the_fleet_and_the_same_one_keeps_its_place() {
        struct Half;
        impl Machine for Half {
            fn now(&self) -> UnixTime {
                UnixTime::default()
            }
            fn wait(&self, _until: UnixTime) {}
            fn random(&self, below: Duration) -> Duration {
                below / 2
            }
            fn free_space(&self, _path: &Path) -> io::Result<u64> {
                Ok(0)
            }
            fn host_name(&self) -> String {
                String::new()
            }
        }
        let now = UnixTime::from_seconds(1_000_000);
        let mut contacts = Contacts::default();
        contacts.succeeded(now, Some(24), None, &Half);
        assert_eq!(contacts.next_contact, Some(1_000_000 + 12 * 3600));
        contacts.succeeded(now, Some(24), Some(24), &Half);
        assert_eq!(contacts.next_contact, Some(1_000_000 + 24 * 3600));
        contacts.succeeded(now, None, Some(24), &Half);
        assert_eq!(contacts.next_contact, Some(1_000_000 + 24 * 3600));
    }

    #[test]
    fn failures_back_off_up_to_the_frequency() {
        let now = UnixTime::from_seconds(0);
        let mut contacts = Contacts { prolog_freq: Some(1), ..Contacts::default() };
        let waits: Vec<i64> = (0..40)
            .map(|_| {
                contacts.failed(now, "nobody there", &Unlucky);
                contacts.next_contact.expect("a next contact")
            })
            .collect();
        assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(waits[39], 3600);
        contacts.succeeded(now, Some(1), Some(1), &Unlucky);
        assert_eq!((contacts.failures, contacts.last_error), (0, None));
    }

    #[test]
    fn a_start_makes_contact_at_once_only_when_it_must() {
        let now = UnixTime::from_seconds(1_000_000);
        let known = Contacts {
            last_contact: Some(999_000),
            next_contact: Some(1_003_600),
            prolog_freq: Some(2),
            ..Contacts::default()
        };
        assert_eq!(Contacts::default().due_at_start(now), now);
        assert_eq!(known.due_at_start(now), UnixTime::from_seconds(1_003_600));
        assert_eq!(Contacts { inventory_on_startup: true, ..known.clone() }.due_at_start(now), now);
        assert_eq!(Contacts { next_contact: Some(5), ..known.clone() }.due_at_start(now), now);
        let far = Contacts { next_contact: Some(9_000_000), ..known };
        assert_eq!(far.due_at_start(now), UnixTime::from_seconds(1_007_200));
    }

    #[test]
    fn a_torn_journal_of_contacts_is_like_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let contacts = Contacts { failures: 3, last_error: Some("x".to_owned()), ..Contacts::default() };
        contacts.keep(directory.path());
        assert_eq!(Contacts::read(directory.path()), contacts);
        for torn in ["", "{", "[]", "{\"failures\": \"x\"}", "{\"unknown\": 1}"] {
            disk::atomic::write(&directory.path().join("contact.json"), torn.as_bytes()).expect("written");
            assert_eq!(Contacts::read(directory.path()), Contacts::default(), "{torn}");
        }
    }
}
