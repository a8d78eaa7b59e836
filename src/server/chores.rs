//! What a server does besides answering: looks whose time comes again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Site, certificate_names, repeats, waking};
use crate::config::server::ServerConfig;
use crate::service::mirrors::probe::{self, Prober};
use crate::service::stopped::Stopped;
use crate::service::{App, fields as own_fields, groups, mass, uploads, wake, webhooks, withdraw};

/// Between two looks at files that are mapped but no longer published.
const SWEEP: Duration = Duration::from_mins(1);
/// Between two looks for cancelled jobs: so long may an agent go on after its job was cancelled.
const STOPPED: Duration = Duration::from_secs(5);
/// Between two looks for what webhooks are to be told.
const TELL: Duration = Duration::from_secs(5);
/// Between two looks for runs of series that are due.
const REPEAT: Duration = Duration::from_secs(5);
/// Between two looks at which mirrors are to be asked whether they answer, at most.
const PROBE: Duration = Duration::from_secs(5);
/// Between two looks at our own certificate's end.
const RENEWAL: Duration = Duration::from_hours(24);
/// Between two looks for abandoned uploads and withdrawn packages whose time has come.
const EXPIRY: Duration = Duration::from_hours(1);

/// Does all of it for as long as the server runs.
pub(super) async fn run(site: &Site, config: &ServerConfig, mut hangup: Hangup) -> std::convert::Infallible {
    let mut sweep = every(SWEEP);
    let mut renewal = every(RENEWAL);
    let mut cancelled = every(STOPPED);
    let mut refreshed = every(config.group_refresh);
    let mut expiry = every(EXPIRY);
    let mut told = every(TELL);
    let telling = Running::default();
    let prober = config.mirror_probe.and_then(|every| prober(every, &site.app));
    let mut asked = every(config.mirror_probe.unwrap_or(PROBE).min(PROBE));
    let probing = Running::default();
    if config.mirror_probe.is_none() {
        let app = site.app.clone();
        let _ = tokio::task::spawn_blocking(move || forget_probes(&app)).await;
    }
    let mut repeated = every(REPEAT);
    let repeating = Running::default();
    let mut waker = waking::Waker::new(config.waking.clone());
    loop {
        tokio::select! {
            _ = sweep.tick() => {
                let files = Arc::clone(&site.files);
                // A stat for each kept file: beside the workers.
                let _ = tokio::task::spawn_blocking(move || files.sweep()).await;
            }
            _ = cancelled.tick() => {
                let (stopped, app) = (site.stopped.clone(), site.app.clone());
                let _ = tokio::task::spawn_blocking(move || refresh(&stopped, &app)).await;
            }
            _ = told.tick() => tell(site, &telling),
            _ = repeated.tick() => {
                let app = site.app.clone();
                repeating.start("series", move || repeats::begin(&app));
            }
            () = waker.next() => waker.take(&site.app),
            _ = asked.tick() => if let Some(prober) = &prober { ask_mirrors(site, prober, &probing) },
            _ = refreshed.tick() => {
                let app = site.app.clone();
                let _ = tokio::task::spawn_blocking(move || ask_again(&app)).await;
            }
            _ = expiry.tick() => {
                let app = site.app.clone();
                let _ = tokio::task::spawn_blocking(move || expire(&app)).await;
            }
            _ = renewal.tick() => {
                if let Err(error) = site.tls.renew(&certificate_names(config), site.app.clock.now()) {
                    tracing::error!("the certificate was not renewed: {:#}", anyhow::Error::from(error));
                }
            }
            () = hangup.wait() => match site.tls.reload(site.app.clock.now()) {
                Ok(()) => tracing::info!("the certificate was reloaded"),
                Err(error) => tracing::error!(
                    "the certificate was not reloaded, the present one stays: {:#}",
                    anyhow::Error::from(error)
                ),
            },
        }
    }
}

/// Turns, the first of them now. One that was missed is not made up for.
pub(super) fn every(period: Duration) -> Interval {
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

/// Time alone makes members and ends memberships.
fn ask_again(app: &App) {
    match groups::refresh_timed(app) {
        Ok(refreshed) => {
            for group in refreshed.iter().filter(|group| group.joined + group.left > 0) {
                tracing::info!(
                    group = group.name,
                    "group {}: {} joined, {} left, {} jobs planned",
                    group.name,
                    group.joined,
                    group.left,
                    group.planned
                );
            }
        }
        Err(error) => tracing::error!("groups were not asked again: {:#}", anyhow::Error::from(error)),
    }
}

/// Is a chore that may take long still at work? Others may be slow to answer, and neither the other chores nor the end of the
/// server wait for them.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<AtomicBool>);

impl Running {
    /// Does it in a thread of its own, unless it is being done.
    pub(super) fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        // Dropped with the closure: also when there is no thread, and when the work panics.
        let ended = Ended(self.clone());
        let work = move || {
            let _ended = ended;
            work();
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            tracing::error!("no thread for {name}: {error}");
        }
    }
}

/// The work's end.
struct Ended(Running);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Tells webhooks; what was not told is told after the next start.
fn tell(site: &Site, telling: &Running) {
    let Ok(poster) = site.poster() else { return };
    let app = site.app.clone();
    telling.start("webhooks", move || {
        if let Err(error) = webhooks::tell(&app, &poster) {
            tracing::error!("webhooks were not told: {:#}", anyhow::Error::from(error));
        }
    });
}

/// What asks mirrors whether they answer.
fn prober(every: Duration, app: &App) -> Option<Arc<Prober>> {
    match Prober::new(every) {
        Ok(prober) => Some(Arc::new(prober)),
        Err(error) => {
            tracing::error!("mirrors are not asked whether they answer: {:#}", anyhow::Error::from(error));
            forget_probes(app);
            None
        }
    }
}

/// Asks the mirrors whose turn it is.
fn ask_mirrors(site: &Site, prober: &Arc<Prober>, probing: &Running) {
    let (app, prober) = (site.app.clone(), Arc::clone(prober));
    probing.start("mirrors", move || {
        if let Err(error) = prober.round(&app, Instant::now()) {
            tracing::error!("mirrors were not asked whether they answer: {:#}", anyhow::Error::from(error));
        }
    });
}

/// Nobody asks mirrors any more, so nobody would find that a lost one is back.
fn forget_probes(app: &App) {
    if let Err(error) = probe::forget(app) {
        tracing::error!("what is known of lost mirrors was not forgotten: {:#}", anyhow::Error::from(error));
    }
}

/// What is known stays when the database does not answer.
pub(super) fn refresh(stopped: &Stopped, app: &App) {
    if let Err(error) = stopped.refresh(app) {
        tracing::error!("failed to look for cancelled jobs: {:#}", anyhow::Error::from(error));
    }
}

/// Removes what nobody came back for.
fn expire(app: &App) {
    match uploads::expire(app) {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} abandoned uploads were removed"),
        Err(error) => tracing::error!("failed to remove abandoned uploads: {:#}", anyhow::Error::from(error)),
    }
    match withdraw::forget_old(app) {
        Ok(0) => {}
        Ok(count) => tracing::info!("the files of {count} withdrawn packages were removed: their time was over"),
        Err(error) => tracing::error!("failed to remove withdrawn packages: {:#}", anyhow::Error::from(error)),
    }
    match own_fields::forget_old(app).and_then(|fields| Ok((fields, mass::forget_old(app)?))) {
        Ok((0, 0)) => {}
        Ok((fields, changes)) => {
            tracing::info!("{fields} deleted fields and {changes} changes of many computers cannot be undone any more");
        }
        Err(error) => tracing::error!("failed to forget what cannot be undone: {:#}", anyhow::Error::from(error)),
    }
    if let Err(error) = wake::forget_old(app) {
        tracing::error!("failed to forget who was woken long ago: {:#}", anyhow::Error::from(error));
    }
}

/// SIGHUP, where there is one. Caught from here on: before that it would end the process.
pub(super) struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .inspect_err(|error| tracing::warn!("SIGHUP will not reload the certificate: {error}"))
                .ok(),
        }
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::server::Waking;
    use crate::disk::published::PublishedTree;
    use crate::model::limits::{ArchiveLimits, RequestLimits};
    use crate::model::settings::SettingsLayer;
    use crate::store::{DatabaseUrl, Store};

    /// A write that changes nothing still waits for a disk, fails with one that is full, and makes what is kept of computers
    /// be forgotten.
    #[test]
    fn where_there_is_nothing_to_do_nothing_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let app = App {
            store: Store::open(&DatabaseUrl::Sqlite(root.join("dripfeed.db"))).expect("a database"),
            tree: PublishedTree::open(&root.join("download"), &root.join("staging")).expect("a tree"),
            clock: Clock::System,
            request_limits: RequestLimits::DEFAULT,
            archive_limits: ArchiveLimits::DEFAULT,
            configured: SettingsLayer::default(),
        };
        let before = app.store.commits().changes.count();
        expire(&app);
        assert_eq!(app.store.commits().changes.count(), before, "what nobody came back for");
        ask_again(&app);
        assert_eq!(app.store.commits().changes.count(), before, "groups");
        forget_probes(&app);
        assert_eq!(app.store.commits().changes.count(), before, "lost mirrors");
        let prober = prober(Duration::from_secs(1), &app).expect("a client");
        prober.round(&app, Instant::now()).expect("read");
        assert_eq!(app.store.commits().changes.count(), before, "mirrors");
        refresh(&Stopped::default(), &app);
        assert_eq!(app.store.commits().changes.count(), before, "cancelled jobs");
        repeats::begin(&app);
        assert_eq!(app.store.commits().changes.count(), before, "series");
        let how = Waking { per_second: 10, ports: vec![9], repeats: 1, any_network: false };
        waking::take(&app, &how, true).expect("read");
        assert_eq!(app.store.commits().changes.count(), before, "Wake on LAN");
    }
}
