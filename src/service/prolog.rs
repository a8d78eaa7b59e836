//! "Here I am": what a computer is told at a check-in, and why it is not told more (ocs-protocol 2.1, 3.2, 4.3).
//!
//! One read of everything that decides, then the pure [`decide`], then one write. The reply is sent after the commit:
//! a package that an agent was told of is never "waiting" in the database.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::identity::{ProofSeen, Refused, Ticket, Worth, worth};
use super::mirrors::locations;
use super::{Answered, App, Peer, ServiceError, discovery, gates, identity};
use crate::clock;
use crate::model::settings::{InventoryFrequency, SettingKey, Settings, SettingsLayer, resolve};
use crate::model::{
    AgentKey, Awaited, Computer, ComputerId, DeviceId, JobId, JobState, OsFamily, PackageId, PackageState,
    RegistryQuery, ResultCode, UnixTime, Withheld,
};
use crate::protocol::proof::Standing;
use crate::protocol::{Decision, DownloadOption, IpDiscover, Offer, PrologReply, PrologRequest};
use crate::store::events::{Event, EventKind};
use crate::store::jobs::OpenJob;
use crate::store::memo::{Memo, Stamp};
use crate::store::mirrors::{Mirror, Nearby};
use crate::store::settings::Scope;
use crate::store::terms::KnownTerms;
use crate::store::{Conn, StoreError, computers, events, groups, jobs, mirrors, settings};

/// Answers a check-in.
///
/// What decides is read, or kept from the last time; the answer holds if that is still true inside the write, where
/// nothing changes beside it. Else it is read and decided again, there.
pub async fn answer(app: &App, request: PrologRequest, peer: Peer) -> Result<Answered<PrologReply>, ServiceError> {
    let (device_id, address) = (request.device_id.clone(), peer.address);
    let answered = check_in(app, request, peer).await;
    identity::told(app, device_id, address, answered).await
}

async fn check_in(app: &App, request: PrologRequest, peer: Peer) -> Result<Answered<PrologReply>, ServiceError> {
    let now = app.clock.now();
    let device_id = request.device_id;
    let (memo, address) = (Arc::clone(app.store.memo()), Some(peer.address));
    // Elsewhere there are other mirrors.
    let kept = memo.get::<DeviceContext>(&device_id).filter(|(_, context)| context.address == address);
    let is_kept = kept.is_some();
    let (stamp, context) = if let Some(kept) = kept {
        kept
    } else {
        let (device_id, configured, memo) = (device_id.clone(), app.configured.clone(), Arc::clone(&memo));
        let look = move |conn: &mut Conn| DeviceContext::look(conn, &memo, &device_id, configured, address);
        app.store.read(look).await?
    };
    let moment = Moment { now, local_minute: clock::local_minute(now), waits_for_schedule: peer.waits_for_schedule() };
    let answer = decide(&context, &moment);
    if context.computer.is_none() {
        let standing = stranger(&context, peer.proof.as_ref())?;
        return Ok(Answered { reply: answer.reply, standing });
    }
    let (contact, configured) = (peer.contact(now), app.configured.clone());
    let write = move |conn: &mut Conn| -> Result<Answered<PrologReply>, ServiceError> {
        let (mut stamp, mut context, mut answer, mut is_kept) = (stamp, context, answer, is_kept);
        if memo.is_on() && !memo.holds(&stamp) {
            (stamp, context) = DeviceContext::look(conn, &memo, &device_id, configured, address)?;
            answer = decide(&context, &moment);
            is_kept = false;
        }
        let proof = peer.proof.as_ref();
        let Some(computer) = &context.computer else {
            let standing = stranger(&context, proof)?;
            return Ok(Answered { reply: answer.reply, standing });
        };
        let mut admitted = identity::admit(conn, &device_id, context.key.as_ref(), proof)?;
        if admitted.registers() && !memo.is_on() {
            // Read before the write: another agent may have been faster.
            admitted = identity::admit_anew(conn, &device_id, proof)?;
        }
        admitted.settle(conn, computer.id, &device_id, now)?;
        answer.changes.write(conn, computer.id, &device_id, &contact)?;
        if answer.changes == Changes::default() && !admitted.registers() {
            // Time and address of the last contact decide nothing.
            conn.alters_no_answer();
            if !is_kept {
                memo.keep(&device_id, stamp, &context, context.size());
            }
        } else {
            conn.alters_only(&memo, &device_id);
            let after = if admitted.registers() { None } else { context.after(&answer.changes) };
            if let Some((stamp, after)) = memo.stamp_after(&device_id).zip(after) {
                let bytes = after.size();
                memo.keep(&device_id, stamp, &Arc::new(after), bytes);
            }
        }
        Ok(Answered { reply: answer.reply, standing: admitted.standing() })
    };
    app.store.write(write).await
}

/// What a computer is told of its key before its first inventory, with which a key can be taken; and one that was put away,
/// which has a key already if it had one.
fn stranger(context: &DeviceContext, proof: Option<&ProofSeen>) -> Result<Option<Standing>, Refused> {
    let stored = context.key.as_ref().map(|key| key.key.as_str());
    let ticket = proof.filter(|proof| proof.may_register).map(|_| Ticket::RegistrationKey);
    Ok(match worth(stored, ticket, proof)? {
        Worth::Proven => Some(Standing::Proven),
        Worth::Name | Worth::Registers(_) => identity::unknown(proof),
    })
}

/// What is the same for all computers, and read once for all of them.
#[derive(Debug)]
pub struct Common {
    global: SettingsLayer,
    /// In force for who has no settings of its own and none of a group.
    settings: Arc<Settings>,
    registry: Arc<[RegistryQuery]>,
    has_sites: bool,
    terms: KnownTerms,
}

impl Common {
    pub(super) fn load(conn: &mut Conn, configured: SettingsLayer) -> Result<Self, StoreError> {
        let mut global = configured;
        global.0.extend(settings::layer(conn, Scope::Global)?.0);
        let settings = resolve(&global, &[], &SettingsLayer::default());
        // Whether they are asked is a global setting.
        let registry = discovery::registry_queries(conn, &settings)?.into();
        let has_sites = mirrors::has_sites(conn)?;
        Ok(Self { global, settings: Arc::new(settings), registry, has_sites, terms: KnownTerms::default() })
    }
}

/// What decides, of a computer that has sent an inventory.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its number.
    pub id: ComputerId,
    /// Its system, if its inventory says which.
    pub os: Option<OsFamily>,
    /// When that came.
    pub last_inventory: Option<UnixTime>,
}

impl From<&Computer> for Known {
    fn from(computer: &Computer) -> Self {
        Self { id: computer.id, os: computer.os_family(), last_inventory: computer.last_inventory }
    }
}

/// Everything that decides about a computer, read in one view. Of the database alone: it is kept for the computer's next
/// contact, so nothing that depends on a request or on the time may be in it. A large fleet's are kept, so it is small.
#[derive(Clone, Debug)]
pub struct DeviceContext {
    /// `None` before its first inventory.
    pub computer: Option<Known>,
    /// The key of the computer, also of one that was put away.
    pub key: Option<AgentKey>,
    /// The values in force for it.
    pub settings: Arc<Settings>,
    /// Its open jobs, oldest first.
    pub jobs: Box<[OpenJob]>,
    /// What Windows agents are asked.
    pub registry: Arc<[RegistryQuery]>,
    /// The network that it looks round in.
    pub surroundings: Option<Ipv4Addr>,
    /// Where it was when this was read.
    pub address: Option<IpAddr>,
    /// The mirrors near there, with those of its packages that they hold.
    pub nearby: Nearby,
}

impl DeviceContext {
    /// Reads it for an answer, with the stamp under which it is true; what all have in common only if that has changed.
    fn look(
        conn: &mut Conn,
        memo: &Memo,
        device_id: &DeviceId,
        configured: SettingsLayer,
        address: Option<IpAddr>,
    ) -> Result<(Stamp, Arc<Self>), StoreError> {
        let stamp = memo.stamp(device_id);
        if let Some(common) = memo.common::<Common>(&stamp) {
            let context = Self::load(conn, device_id, &common, address)?;
            // Who is unknown is answered without a write, in which it would be seen that another program has changed something.
            if context.computer.is_some() {
                return Ok((stamp, Arc::new(context)));
            }
        }
        let common = Arc::new(Common::load(conn, configured)?);
        let context = Self::load(conn, device_id, &common, address)?;
        memo.keep_common(&stamp, &common);
        Ok((stamp, Arc::new(context)))
    }

    /// `address` is where it is; `None` looks for no mirrors.
    pub(super) fn load(
        conn: &mut Conn,
        device_id: &DeviceId,
        common: &Common,
        address: Option<IpAddr>,
    ) -> Result<Self, StoreError> {
        // One that was put away is unknown until its next inventory, which it is asked for at once.
        let found = computers::find_by_device_id(conn, device_id)?;
        let mut context = Self {
            computer: found.as_ref().filter(|found| found.archived_at.is_none()).map(Known::from),
            key: found.and_then(|found| found.agent_key),
            settings: Arc::clone(&common.settings),
            jobs: Box::default(),
            registry: Arc::clone(&common.registry),
            surroundings: None,
            address,
            nearby: Nearby::default(),
        };
        let Some(id) = context.computer.as_ref().map(|computer| computer.id) else { return Ok(context) };
        let own = settings::layer(conn, Scope::Computer(id))?;
        let of_groups: Vec<SettingsLayer> = groups::layers(conn, id)?.into_iter().map(|(_, layer)| layer).collect();
        if !(own.0.is_empty() && of_groups.is_empty()) {
            context.settings = Arc::new(resolve(&common.global, &of_groups, &own));
        }
        context.jobs = jobs::open_of_computer(conn, id, &common.terms)?.into();
        context.surroundings = discovery::surroundings(conn, id, &context.settings)?;
        if let Some(address) = address.filter(|_| common.has_sites) {
            let active = context.jobs.iter().filter(|open| open.terms.activation.is_some());
            let packages: Vec<PackageId> = active.map(|open| open.terms.package).collect();
            if !packages.is_empty() {
                context.nearby = mirrors::nearby(conn, address, &packages)?;
            }
        }
        Ok(context)
    }

    /// As it is once these changes are written; `None` if that has to be read.
    fn after(&self, changes: &Changes) -> Option<Self> {
        // What ends may let something else begin.
        let in_order = self.jobs.iter().any(|open| open.terms.options.follows.is_some());
        if in_order || !changes.already_in_history.is_empty() {
            return None;
        }
        let mut after = self.clone();
        for open in &mut after.jobs {
            if changes.offered.iter().any(|(job, _)| *job == open.id) {
                (open.state, open.withheld) = (JobState::Offered, None);
            }
            if let Some((_, reason)) = changes.withheld.iter().find(|(job, _)| *job == open.id) {
                open.withheld = reason.as_deref().map(Box::from);
            }
        }
        Some(after)
    }

    /// Bytes that it takes, without what it shares.
    fn size(&self) -> usize {
        let own_settings = if Arc::strong_count(&self.settings) == 1 { 40 * SettingKey::ALL.len() } else { 0 };
        let jobs: usize = self.jobs.iter().map(OpenJob::size).sum();
        let held: usize = self.nearby.mirrors.iter().map(|(_, holds)| holds.len()).sum();
        let mirrors = self.nearby.mirrors.len() * (size_of::<Mirror>() + 256) + held * 2 * size_of::<PackageId>();
        size_of::<Self>() + own_settings + jobs + mirrors
    }
}

/// When it is asked, and by what kind of agent.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The present.
    pub now: UnixTime,
    /// The same as a schedule writes it, `YYYY/MM/DD HH:MM` in the server's local time.
    pub local_minute: String,
    /// Does the agent wait for a SCHEDULE by itself?
    pub waits_for_schedule: bool,
}

/// What is answered, and what has to be written before it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For the agent.
    pub reply: PrologReply,
    /// For the store.
    pub changes: Changes,
}

/// What a check-in changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Jobs that are offered for the first time.
    pub offered: Vec<(JobId, PackageId)>,
    /// Jobs that end because the agent's history has their package.
    pub already_in_history: Vec<(JobId, PackageId)>,
    /// Jobs whose gate is another than at the last contact; `None` for a gate that opened.
    pub withheld: Vec<(JobId, Option<String>)>,
}

/// The rules, without clock or database.
pub fn decide(context: &DeviceContext, moment: &Moment) -> Answer {
    let settings = context.settings.download();
    let mut changes = Changes::default();
    let mut offers: Vec<Offer> = Vec::new();
    for open in &context.jobs {
        let terms = &open.terms;
        if open.in_history && !terms.options.force {
            changes.already_in_history.push((open.id, terms.package));
            continue;
        }
        match gate(open, context, settings.on, moment) {
            Ok(offer) => {
                if open.state == JobState::Pending {
                    changes.offered.push((open.id, terms.package));
                }
                if open.withheld.is_some() {
                    changes.withheld.push((open.id, None));
                }
                // Each package at most once in a reply, or the Windows agent works on it twice.
                if offers.iter().all(|other| other.package != offer.package) {
                    offers.push(offer);
                }
            }
            Err(withheld) => {
                let reason = withheld.to_string();
                if open.withheld.as_deref() != Some(&reason) {
                    changes.withheld.push((open.id, Some(reason)));
                }
            }
        }
    }
    let ip_discover =
        context.surroundings.map(|network| IpDiscover { network, latency: context.settings.ip_discover_latency() });
    // What is seen comes with an inventory.
    let wanted = ip_discover.is_some() || inventory_wanted(context, moment.now);
    let reply = PrologReply {
        decision: if wanted { Decision::Send } else { Decision::Stop },
        prolog_freq: Some(context.settings.prolog_frequency()),
        inventory_on_startup: Some(context.settings.inventory_on_startup()),
        registry: context.registry.to_vec(),
        ip_discover,
        // Always, also when inventories are never wanted: the stock server leaves the whole option out then, and its
        // deployments stop without a word (docs/decisions/0161).
        download: Some(DownloadOption { settings, offers }),
    };
    Answer { reply, changes }
}

/// The gates that a job has to pass, in their order; the first closed one is the answer to "why not?".
pub(super) fn gate(
    open: &OpenJob,
    context: &DeviceContext,
    download_on: bool,
    moment: &Moment,
) -> Result<Offer, Withheld> {
    let terms = &open.terms;
    if !download_on {
        return Err(Withheld::DownloadOff);
    }
    if terms.package_state != PackageState::Available {
        return Err(Withheld::PackageWithdrawn);
    }
    if let Some(awaited) = &open.awaited
        // Whoever was told goes on: others are asked later only where it has grown.
        && open.state == JobState::Pending
    {
        return Err(Withheld::Approval(Awaited::clone(awaited)));
    }
    let Some(activation) = &terms.activation else {
        return Err(Withheld::NotActivated);
    };
    if let Some(computer) = context.computer.as_ref().and_then(|computer| computer.os)
        && computer != terms.package_os
    {
        return Err(Withheld::OtherSystem { package: terms.package_os, computer });
    }
    if let Some(schedule) = &terms.options.schedule
        && !moment.waits_for_schedule
        && moment.local_minute.as_str() < schedule.as_str()
    {
        return Err(Withheld::Scheduled(schedule.clone()));
    }
    // Whoever was told goes on: no agent can be made to forget it.
    if let Some(asked) = terms.gates.as_ref().filter(|_| open.state == JobState::Pending) {
        gates::pass(asked, context.address, moment.now)?;
    }
    if let Some(package) = terms.options.follows
        // Whoever was told goes on, whatever is tried again meanwhile.
        && open.state == JobState::Pending
        && !is_done_before(open, context, package)
    {
        return Err(Withheld::Follows { package, state: open.earlier });
    }
    // A stock agent knows the first one and comes back for another when that fails; ours takes the next by itself.
    let near = locations(&context.nearby, terms.package, &activation.fragment_location, moment.now);
    let mut near = near.into_iter().map(|(location, _)| location);
    let Some(fragment_location) = near.next() else {
        return Err(Withheld::NoMirror);
    };
    let more_locations = near.take(Offer::MAX_MORE_LOCATIONS).collect();
    Ok(Offer {
        package: terms.package,
        info_location: activation.info_location.clone(),
        fragment_location,
        more_locations,
        schedule: terms.options.schedule.clone(),
        post_command: terms.options.post_command.clone(),
        force: terms.options.force,
    })
}

/// Has the package that comes first succeeded on the computer? So it has if this very contact finds it in the agent's
/// history.
fn is_done_before(open: &OpenJob, context: &DeviceContext, package: PackageId) -> bool {
    let had = |other: &OpenJob| other.terms.package == package && other.in_history && !other.terms.options.force;
    matches!(open.earlier, Some(JobState::Succeeded | JobState::AlreadyInstalled)) || context.jobs.iter().any(had)
}

fn inventory_wanted(context: &DeviceContext, now: UnixTime) -> bool {
    let last = context.computer.as_ref().and_then(|computer| computer.last_inventory);
    match (context.settings.inventory_frequency(), last) {
        (InventoryFrequency::Never, _) => false,
        (InventoryFrequency::Always, _) | (_, None) => true,
        // A minute of grace: an agent that comes every 24 hours is a second early every other day, and would then be a
        // whole day late.
        (InventoryFrequency::Every(days), Some(last)) => now.since(last) + Duration::from_mins(1) >= days.span(),
    }
}

impl Changes {
    fn write(
        &self,
        conn: &mut Conn,
        computer: ComputerId,
        device_id: &DeviceId,
        contact: &computers::Contact,
    ) -> Result<(), StoreError> {
        let now = contact.at;
        computers::check_in(conn, computer, contact)?;
        let event = |kind, job, package, text: &str| Event {
            at: now,
            kind,
            computer: Some(computer),
            device_id: device_id.to_string(),
            package: Some(package),
            job: Some(job),
            text: text.to_owned(),
        };
        let mut happened = Vec::new();
        if !self.offered.is_empty() {
            let ids: Vec<JobId> = self.offered.iter().map(|(job, _)| *job).collect();
            jobs::mark_offered(conn, &ids, now)?;
            happened.extend(
                self.offered.iter().map(|(job, package)| event(EventKind::Offered, *job, *package, "NOTIFIED")),
            );
        }
        let code = ResultCode::already_in_history();
        for (job, package) in &self.already_in_history {
            jobs::finish(conn, *job, JobState::of_result(&code), &code, now)?;
            happened.push(event(EventKind::Decided, *job, *package, code.as_str()));
        }
        for (job, reason) in &self.withheld {
            jobs::set_withheld(conn, *job, reason.as_deref(), now)?;
        }
        if !happened.is_empty() {
            events::append(conn, &happened)?;
        }
        Ok(())
    }
}

/// Tells whether a package for `package` may be given to a computer that says it runs `os_name`.
pub fn fits(package: OsFamily, os_name: &str) -> bool {
    OsFamily::guess(os_name).is_none_or(|computer| computer == package)
}

#[cfg(test)]
mod queries;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::SettingKey;
    use crate::model::{Activation, JobOptions};
    use crate::store::terms::Terms;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_170_000);

    fn computer() -> Known {
        Known { id: ComputerId(1), os: OsFamily::guess("Debian GNU/Linux 12"), last_inventory: Some(NOW) }
    }

    /// A pending one, with the changed terms.
    fn job_with(number: i64, change: impl FnOnce(&mut Terms)) -> OpenJob {
        let package = PackageId::try_from(1_795_164_000 + number).expect("a package id");
        let location: crate::model::Location = "dl.example.net/download".parse().expect("a location");
        let mut terms = Terms {
            package,
            package_state: PackageState::Available,
            package_os: OsFamily::Linux,
            activation: Some(Activation {
                package,
                info_location: location.clone(),
                fragment_location: location,
                activated_at: NOW,
                checked_at: None,
            }),
            options: JobOptions::default(),
            gates: None,
        };
        change(&mut terms);
        OpenJob {
            id: JobId(number),
            state: JobState::Pending,
            in_history: false,
            earlier: None,
            withheld: None,
            awaited: None,
            terms: Arc::new(terms),
        }
    }

    fn open_job(number: i64) -> OpenJob {
        job_with(number, |_| {})
    }

    fn settings(pairs: &[(SettingKey, i64)]) -> Settings {
        resolve(&SettingsLayer(pairs.iter().copied().collect()), &[], &SettingsLayer::default())
    }

    fn known(computer: Option<Known>, settings: Settings) -> DeviceContext {
        DeviceContext {
            computer,
            key: None,
            settings: Arc::new(settings),
            jobs: Box::default(),
            registry: [].into(),
            surroundings: None,
            address: None,
            nearby: Nearby::default(),
        }
    }

    fn moment(waits_for_schedule: bool) -> Moment {
        Moment { now: NOW, local_minute: "2026/11/20 10:00".to_owned(), waits_for_schedule }
    }

    /// Decides for these jobs and prints what comes of it.
    fn check(jobs: Vec<OpenJob>, pairs: &[(SettingKey, i64)], waits_for_schedule: bool) -> String {
        let context = DeviceContext { jobs: jobs.into(), ..known(Some(computer()), settings(pairs)) };
        let answer = decide(&context, &moment(waits_for_schedule));
        let option = answer.reply.download.expect("the option is always there");
        let offers: Vec<String> = option.offers.iter().map(|offer| offer.package.to_string()).collect();
        let changes = &answer.changes;
        format!(
            "{:?}, on {}, offers [{}], offered {:?}, in history {:?}, withheld {:?}",
            answer.reply.decision,
            option.settings.on,
            offers.join(" "),
            changes.offered.iter().map(|(job, _)| job.0).collect::<Vec<_>>(),
            changes.already_in_history.iter().map(|(job, _)| job.0).collect::<Vec<_>>(),
            changes.withheld,
        )
    }

    #[test]
    fn a_pending_job_is_offered_and_becomes_notified() {
        insta::assert_snapshot!(check(vec![open_job(1)], &[], true), @"Stop, on true, offers [1795164001], offered [1], in history [], withheld []");
    }

    #[test]
    fn an_offered_job_is_offered_again_without_a_change() {
        let mut job = open_job(1);
        job.state = JobState::Offered;
        insta::assert_snapshot!(check(vec![job], &[], true), @"Stop, on true, offers [1795164001], offered [], in history [], withheld []");
    }

    #[test]
    fn what_the_agent_says_it_has_is_not_offered_unless_forced() {
        let mut known = open_job(1);
        known.in_history = true;
        let mut forced = job_with(2, |terms| terms.options.force = true);
        forced.in_history = true;
        insta::assert_snapshot!(check(vec![known, forced], &[], true), @"Stop, on true, offers [1795164002], offered [2], in history [1], withheld []");
    }

    #[test]
    fn every_closed_gate_is_named() {
        let withdrawn = job_with(1, |terms| terms.package_state = PackageState::Withdrawn);
        let inactive = job_with(2, |terms| terms.activation = None);
        let other = job_with(3, |terms| terms.package_os = OsFamily::Windows);
        let later = job_with(4, |terms| terms.options.schedule = Some("2026/11/20 10:01".parse().expect("a time")));
        insta::assert_snapshot!(check(vec![withdrawn, inactive, other, later], &[], false), @r#"Stop, on true, offers [], offered [], in history [], withheld [(JobId(1), Some("the package was withdrawn")), (JobId(2), Some("the package is not activated: dripfeed activate <id>")), (JobId(3), Some("the package is for windows, the computer runs linux")), (JobId(4), Some("scheduled for 2026/11/20 10:01, and this agent does not wait by itself"))]"#);
        insta::assert_snapshot!(check(vec![open_job(1)], &[(SettingKey::Download, 0)], true), @r#"Stop, on false, offers [], offered [], in history [], withheld [(JobId(1), Some("deployment is switched off (setting DOWNLOAD)"))]"#);
    }

    #[test]
    fn an_agent_that_waits_by_itself_is_told_at_once() {
        let later = job_with(4, |terms| terms.options.schedule = Some("2026/11/20 10:01".parse().expect("a time")));
        insta::assert_snapshot!(check(vec![later], &[], true), @"Stop, on true, offers [1795164004], offered [4], in history [], withheld []");
    }

    #[test]
    fn a_schedule_that_has_come_opens_its_gate() {
        let mut due = job_with(4, |terms| terms.options.schedule = Some("2026/11/20 10:00".parse().expect("a time")));
        due.withheld = Some("scheduled".into());
        insta::assert_snapshot!(check(vec![due], &[], false), @"Stop, on true, offers [1795164004], offered [4], in history [], withheld [(JobId(4), None)]");
    }

    #[test]
    fn a_gate_that_stays_closed_writes_nothing() {
        let mut inactive = job_with(2, |terms| terms.activation = None);
        inactive.withheld = Some(Withheld::NotActivated.to_string().into());
        insta::assert_snapshot!(check(vec![inactive], &[], true), @"Stop, on true, offers [], offered [], in history [], withheld []");
    }

    #[test]
    fn what_comes_after_waits_until_the_one_before_succeeded_there() {
        let second = |earlier: Option<JobState>| {
            let mut job = job_with(2, |terms| terms.options.follows = Some(open_job(1).terms.package));
            job.earlier = earlier;
            job
        };
        let offered = |jobs: Vec<OpenJob>| {
            let text = check(jobs, &[], true);
            let (from, to) = (text.find('[').expect("offers"), text.find(']').expect("offers"));
            text[from + 1..to].to_owned()
        };
        assert_eq!(offered(vec![open_job(1), second(Some(JobState::Pending))]), "1795164001");
        for state in JobState::ALL {
            let is_done = matches!(state, JobState::Succeeded | JobState::AlreadyInstalled);
            assert_eq!(offered(vec![second(Some(state))]) == "1795164002", is_done, "{state}");
        }
        assert_eq!(offered(vec![second(None)]), "");
        let mut told = second(Some(JobState::Failed));
        told.state = JobState::Offered;
        assert_eq!(offered(vec![told]), "1795164002", "whoever was told goes on");
        let mut known = open_job(1);
        known.in_history = true;
        assert_eq!(offered(vec![known, second(Some(JobState::Pending))]), "1795164002", "done at this very contact");
        let failed = check(vec![second(Some(JobState::Failed))], &[], true);
        assert!(
            failed.contains("package 1795164001 comes first, and it failed there: a retry of it goes on"),
            "{failed}"
        );
    }

    #[test]
    fn what_waits_for_approval_is_not_offered_and_whoever_was_told_goes_on() {
        let awaited = Some(Box::new(Awaited { given: 0, needed: 1, asked_by: "anna".to_owned() }));
        // Activated or not: this is what a person has to do.
        let mut waits = job_with(1, |terms| terms.activation = None);
        waits.awaited.clone_from(&awaited);
        let mut told = open_job(2);
        told.awaited = awaited;
        told.state = JobState::Offered;
        insta::assert_snapshot!(check(vec![waits, told], &[], true), @r#"Stop, on true, offers [1795164002], offered [], in history [], withheld [(JobId(1), Some("waits for approval: 0 of 1, asked for by anna"))]"#);
    }

    #[test]
    fn two_jobs_of_one_package_are_one_offer() {
        let mut second = open_job(1);
        second.id = JobId(9);
        insta::assert_snapshot!(check(vec![open_job(1), second], &[], true), @"Stop, on true, offers [1795164001], offered [1, 9], in history [], withheld []");
    }

    #[test]
    fn never_asking_for_inventories_does_not_stop_deployment() {
        insta::assert_snapshot!(check(vec![open_job(1)], &[(SettingKey::Frequency, -1)], true), @"Stop, on true, offers [1795164001], offered [1], in history [], withheld []");
    }

    #[test]
    fn an_inventory_is_wanted_when_there_is_none_or_it_is_old() {
        let wanted = |frequency: i64, age_hours: Option<u64>| {
            let mut computer = computer();
            let age = age_hours.map(|hours| i64::try_from(hours).expect("hours") * 3600);
            computer.last_inventory = age.map(|age| UnixTime::from_seconds(NOW.seconds() - age));
            let settings = settings(&[(SettingKey::Frequency, frequency)]);
            inventory_wanted(&known(Some(computer), settings), NOW)
        };
        assert!(wanted(0, Some(0)));
        assert!(wanted(1, None));
        assert!(!wanted(-1, None));
        assert!(!wanted(1, Some(23)));
        assert!(wanted(1, Some(24)));
        let unknown = known(None, settings(&[]));
        assert!(inventory_wanted(&unknown, NOW));
    }
}
