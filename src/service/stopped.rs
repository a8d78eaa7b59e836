//! Computers from which a package was taken back while they may still be fetching it (docs/decisions/0166).
//!
//! An agent names itself when it talks to the server, but not when it fetches files. What is left is the address that it
//! comes from, and that proves little: routers, proxies and mirrors have one too. So a fetch is refused only when
//! everything says that it is this agent's own, and the last word is read from the database at that moment. What is kept
//! in memory only says for whom it is worth asking, so that all others cost nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::App;
use crate::model::{ComputerId, JobState, Location, PackageId, TreeKey, UnixTime};
use crate::store::{Conn, StoreError, activations, computers, deployments, events, jobs};

/// Addresses change without an event, so the list is made anew after so long in any case.
const OLDEST: std::time::Duration = std::time::Duration::from_mins(10);

type Candidates = HashMap<(IpAddr, PackageId), ComputerId>;

/// Who may have to be refused what.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    candidates: RwLock<Arc<Candidates>>,
    /// The last event that the list knows of, and when it was made.
    read: Mutex<Option<(i64, UnixTime)>>,
}

/// A fetch, as the listener sees it.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// Where it comes from.
    pub address: IpAddr,
    /// What is asked for.
    pub key: TreeKey,
    /// Its `User-Agent`.
    pub user_agent: &'a str,
    /// Its `Host`.
    pub host: &'a str,
}

impl Stopped {
    /// Makes the list anew if something was cancelled since, or if it is old. Cheap otherwise.
    pub fn refresh(&self, app: &App) -> Result<(), StoreError> {
        let now = app.clock.now();
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *read;
        let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
            if let Some((event, at)) = known
                && now.since(at) < OLDEST
                && !events::cancelled_after(conn, event)?
            {
                return Ok(None);
            }
            // In one view with the list: what comes after it comes after this number.
            Ok(Some((events::last(conn)?, jobs::cancelled_on_available(conn)?)))
        })?;
        if let Some((event, cancelled)) = found {
            let mut candidates = Candidates::new();
            for (computer, package, address) in cancelled {
                if let Ok(address) = address.parse::<IpAddr>() {
                    // Of two computers at one address either will do: the question is asked again before the answer.
                    candidates.insert((address.to_canonical(), package), computer);
                }
            }
            *self.0.candidates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(candidates);
            *read = Some((event, now));
        }
        Ok(())
    }

    /// The computer that may have to be refused this. Memory only: `None` for nearly every fetch there is.
    pub fn candidate(&self, address: IpAddr, key: TreeKey) -> Option<ComputerId> {
        let candidates = self.0.candidates.read().unwrap_or_else(PoisonError::into_inner);
        if candidates.is_empty() {
            return None;
        }
        candidates.get(&(address.to_canonical(), key.package())).copied()
    }
}

/// Is this fetch certainly that computer's own, of a package that was taken back from it? Reads the database; may take
/// milliseconds.
pub fn is_stopped(app: &App, computer: ComputerId, fetch: Fetch<'_>) -> Result<bool, StoreError> {
    let (address, key) = (fetch.address.to_canonical().to_string(), fetch.key);
    let (user_agent, host) = (fetch.user_agent.to_owned(), fetch.host.to_owned());
    app.store.read_now(move |conn| asks_for_what_was_taken_back(conn, computer, &address, key, &user_agent, &host))
}

fn asks_for_what_was_taken_back(
    conn: &mut Conn,
    computer: ComputerId,
    address: &str,
    key: TreeKey,
    user_agent: &str,
    host: &str,
) -> Result<bool, StoreError> {
    let package = key.package();
    // The newest open job, else the newest of all.
    let job = jobs::for_report(conn, computer, package)?;
    if job.is_none_or(|job| job.state != JobState::Cancelled) {
        return Ok(false);
    }
    if deployments::stands_for_more(conn, package)? {
        return Ok(false);
    }
    let Some(computer) = computers::find(conn, computer)? else { return Ok(false) };
    if computer.peer_address != address || computer.user_agent != user_agent {
        return Ok(false);
    }
    // An agent asks the very name that it was given; who fetches by another name fetches for others.
    let Some(activation) = activations::find(conn, package)? else { return Ok(false) };
    let location = match key {
        TreeKey::Info { .. } => &activation.info_location,
        TreeKey::Fragment { .. } => &activation.fragment_location,
    };
    if !authority(location).eq_ignore_ascii_case(host) {
        return Ok(false);
    }
    Ok(computers::heard_from(conn, address)? == 1)
}

fn authority(location: &Location) -> &str {
    location.as_str().split('/').next().unwrap_or_default()
}
