//! Is it the computer that it says it is? (docs/decisions/0720)
//!
//! A computer is known by its name until a key is taken for it; from then on by that key alone, whatever its messages are
//! about. What a message showed of its key ([`ProofSeen`]) was looked at before; here is what follows from it. It is
//! decided inside the write of the message, where nothing changes beside it, and a key is taken in the same transaction.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{error, info, warn};

use super::assign::{AssignError, named};
use super::{App, ServiceError, registration};
use crate::model::{AgentKey, Computer, ComputerId, DeviceId, UnixTime};
use crate::protocol::proof::Standing;
use crate::store::events::{Event, EventKind};
use crate::store::expected::{self, Expected};
use crate::store::{Conn, StoreError, computers, events};

/// Between two lines about messages that are refused in the name of one computer.
const TOLD_EVERY: Duration = Duration::from_hours(1);
/// Characters of a name that is expected.
const LONGEST_NAME: usize = 200;

/// What a message showed of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProofSeen {
    /// The key that it names.
    pub key: String,
    /// Was it signed with that key?
    pub signed: bool,
    /// Just now, by the server's clock?
    pub timely: bool,
    /// By somebody who knows the registration key of the configuration?
    pub may_register: bool,
    /// What it shows of a registration key, for the one that was made by an administrator.
    pub registration: Option<String>,
}

/// Why nothing is taken from whoever sent a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It named no key.
    #[error(
        "this computer is known by its key, and the message shows none: only the agent that has the key may use its name"
    )]
    WithoutKey,
    /// It named another key.
    #[error(
        "this computer is known by another key: if its agent was installed anew, an administrator has to forget the old key"
    )]
    OtherKey,
    /// It was not signed with the key.
    #[error("this computer is known by its key, and the message is not signed with it")]
    Unsigned,
    /// It was signed too long ago, or will be.
    #[error("the message was not signed just now: its clock and the server's are more than 5 minutes apart")]
    Clock,
}

impl Refused {
    /// As the agent is told.
    pub fn standing(self) -> Standing {
        if self == Self::Clock { Standing::Clock } else { Standing::Refused }
    }

    /// What the message lacked.
    fn lack(self) -> &'static str {
        match self {
            Self::WithoutKey => "without a key",
            Self::OtherKey => "with another key",
            Self::Unsigned => "with a signature that is wrong",
            Self::Clock => "with an old signature",
        }
    }
}

/// What lets an agent register its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ticket {
    /// It knows the registration key.
    RegistrationKey,
    /// Its computer's name was expected.
    ExpectedName,
}

impl Ticket {
    fn sentence(self) -> &'static str {
        match self {
            Self::RegistrationKey => "its key was taken: it knew the registration key",
            Self::ExpectedName => "its key was taken: its name was expected",
        }
    }
}

/// What a message that is taken is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Worth {
    /// It is from whoever says the name.
    Name,
    /// It is from the computer.
    Proven,
    /// It is from the first one who may have the name.
    Registers(Ticket),
}

/// The rule. `ticket` is what its sender could register with.
pub fn worth(stored: Option<&str>, ticket: Option<Ticket>, proof: Option<&ProofSeen>) -> Result<Worth, Refused> {
    match (stored, proof) {
        (None, None) => Ok(Worth::Name),
        (Some(_), None) => Err(Refused::WithoutKey),
        (Some(stored), Some(proof)) if proof.key != stored => Err(Refused::OtherKey),
        (Some(_), Some(proof)) if !proof.signed => Err(Refused::Unsigned),
        (Some(_), Some(proof)) => {
            if proof.timely {
                Ok(Worth::Proven)
            } else {
                Err(Refused::Clock)
            }
        }
        (None, Some(proof)) => match ticket.filter(|_| proof.signed) {
            // Whoever heard an old message must not register with it.
            Some(_) if !proof.timely => Err(Refused::Clock),
            Some(ticket) => Ok(Worth::Registers(ticket)),
            None => Ok(Worth::Name),
        },
    }
}

/// A message that may be taken.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    worth: Worth,
    proof: Option<&'a ProofSeen>,
}

/// As the agent of a computer is told that nobody knows yet.
pub(super) fn unknown(proof: Option<&ProofSeen>) -> Option<Standing> {
    proof.map(|_| Standing::ByName)
}

/// Looks whether a message of that name may be taken; `stored` is the key of its computer. To be asked in the message's own
/// write, before anything is written.
pub(super) fn admit<'a>(
    conn: &mut Conn,
    device_id: &DeviceId,
    stored: Option<&AgentKey>,
    proof: Option<&'a ProofSeen>,
) -> Result<Admitted<'a>, ServiceError> {
    let ticket = match proof {
        Some(proof) if stored.is_none() && proof.signed => {
            if proof.may_register || registration::is_shown(conn, device_id, proof)? {
                Some(Ticket::RegistrationKey)
            } else {
                expected::has(conn, device_id.host())?.then_some(Ticket::ExpectedName)
            }
        }
        _ => None,
    };
    match worth(stored.map(|stored| stored.key.as_str()), ticket, proof) {
        Ok(worth) => Ok(Admitted { worth, proof }),
        Err(refused) => {
            conn.alters_no_answer();
            Err(refused.into())
        }
    }
}

/// The same by the key as it is now.
pub(super) fn admit_anew<'a>(
    conn: &mut Conn,
    device_id: &DeviceId,
    proof: Option<&'a ProofSeen>,
) -> Result<Admitted<'a>, ServiceError> {
    let stored = computers::key_by_device_id(conn, device_id)?.and_then(|(_, key)| key);
    admit(conn, device_id, stored.as_ref(), proof)
}

impl Admitted<'_> {
    /// Takes the key for the computer if the message registers it. Then its row is another one.
    pub(super) fn settle(
        &self,
        conn: &mut Conn,
        id: ComputerId,
        device_id: &DeviceId,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (Worth::Registers(ticket), Some(proof)) = (self.worth, self.proof) else { return Ok(()) };
        computers::set_agent_key(conn, id, Some(&AgentKey { key: proof.key.clone(), since: now }))?;
        // A name is used up by whoever registers under it, whatever that one showed.
        expected::remove(conn, device_id.host())?;
        info!(computer.device_id = %device_id, "{device_id}: {}", ticket.sentence());
        events::append(conn, &[event(id, device_id, EventKind::Key, ticket.sentence().to_owned(), now)])
    }

    /// Is the computer's row written by [`Admitted::settle`]?
    pub(super) fn registers(&self) -> bool {
        matches!(self.worth, Worth::Registers(_))
    }

    /// As the agent is told; nothing to one that shows no key.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.proof.map(|_| match self.worth {
            Worth::Name => Standing::ByName,
            Worth::Proven => Standing::Proven,
            Worth::Registers(_) => Standing::Registered,
        })
    }
}

fn event(id: ComputerId, device_id: &DeviceId, kind: EventKind, text: String, at: UnixTime) -> Event {
    Event { at, kind, computer: Some(id), device_id: device_id.to_string(), package: None, job: None, text }
}

/// Tells administrators of a message that was refused, once an hour and computer; gives the result on.
pub(super) async fn told<T>(
    app: &App,
    device_id: DeviceId,
    peer: IpAddr,
    result: Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    if let Err(ServiceError::Refused(refused)) = &result
        // An agent that is told the time says it again.
        && *refused != Refused::Clock
        && let Err(failure) = tell(app, device_id, peer.to_canonical(), *refused).await
    {
        // It stays refused, noted or not.
        error!("failed to note a message that was refused: {:#}", anyhow::Error::from(failure));
    }
    result
}

async fn tell(app: &App, device_id: DeviceId, peer: IpAddr, refused: Refused) -> Result<(), StoreError> {
    let now = app.clock.now();
    let asked = device_id.clone();
    let untold = move |conn: &mut Conn| -> Result<Option<ComputerId>, StoreError> {
        let Some((id, _)) = computers::key_by_device_id(conn, &asked)? else { return Ok(None) };
        let last = events::last_of(conn, id, EventKind::Refused)?;
        Ok(Some(id).filter(|_| last.is_none_or(|last| now.since(last) >= TOLD_EVERY)))
    };
    // Whoever says it a thousand times a second does not keep the writer busy.
    if app.store.read(untold.clone()).await?.is_none() {
        return Ok(());
    }
    app.store
        .write(move |conn| {
            conn.alters_no_answer();
            if let Some(id) = untold(conn)? {
                let text = format!("a message from {peer} in its name, {}", refused.lack());
                warn!(computer.device_id = %device_id, peer.address = %peer, "refused {text}");
                events::append(conn, &[event(id, &device_id, EventKind::Refused, text, now)])?;
            }
            Ok(())
        })
        .await
}

/// Notes that two computers look like one and were left two, because only the older one has a key; once a day.
pub(super) fn keep_apart(
    conn: &mut Conn,
    old: &Computer,
    new: &Computer,
    reason: &str,
    now: UnixTime,
) -> Result<(), StoreError> {
    let last = events::last_of(conn, new.id, EventKind::Apart)?;
    if last.is_some_and(|last| now.since(last) < Duration::from_hours(24)) {
        return Ok(());
    }
    let text = format!(
        "not merged with {} ({reason}): that one is proven by its key and this one is not; \
         `dripfeed computer merge` does it by hand",
        old.device_id
    );
    warn!(computer.device_id = %new.device_id, "{} was {text}", new.device_id);
    events::append(conn, &[event(new.id, &new.device_id, EventKind::Apart, text, now)])
}

/// Why nothing was changed about a computer's identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not one computer of that name.
    #[error(transparent)]
    Named(#[from] AssignError),
    /// It has no key.
    #[error("{0} is known by its name alone: there is no key to forget")]
    NoKey(DeviceId),
    /// No host name.
    #[error("\"{0}\" is not a host name: expected up to {LONGEST_NAME} characters without blanks")]
    NotAName(String),
    /// Nobody expects it.
    #[error("\"{0}\" is not expected: `dripfeed computer expected` lists the names that are")]
    NotExpected(String),
    /// Its key was not forgotten, or an agent has registered since.
    #[error(
        "there is no forgotten key of {0} to take back: either none was forgotten, or an agent has registered since"
    )]
    NothingForgotten(DeviceId),
    /// No registration key was made here.
    #[error("no registration key was made here, so there is none to take away; one in dripfeed.toml is changed there")]
    NoRegistrationKey,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Forgets the key of a computer: it is known by its name again, until an agent registers.
pub fn forget(app: &App, computer: &str, by: &str) -> Result<Computer, IdentityError> {
    let (name, by, now) = (computer.to_owned(), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        if computer.agent_key.is_none() {
            return Err(IdentityError::NoKey(computer.device_id));
        }
        computers::set_agent_key(conn, computer.id, None)?;
        let text = format!("its key was forgotten by {by}");
        events::append(conn, &[event(computer.id, &computer.device_id, EventKind::Key, text, now)])?;
        // Queries may ask for what proves it.
        super::groups::evaluate(conn, computer.id, now)?;
        Ok(computer)
    })
}

/// Gives a computer the key back that was forgotten, unless an agent has registered since.
pub fn remember(app: &App, computer: &str, key: &str, by: &str) -> Result<Computer, IdentityError> {
    let (name, key, by, now) = (computer.to_owned(), key.to_owned(), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        if computer.agent_key.is_some() {
            return Err(IdentityError::NothingForgotten(computer.device_id));
        }
        computers::set_agent_key(conn, computer.id, Some(&AgentKey { key, since: now }))?;
        let text = format!("its key was given back by {by}");
        events::append(conn, &[event(computer.id, &computer.device_id, EventKind::Key, text, now)])?;
        Ok(computer)
    })
}

/// Expects these names: the first agent with a key that comes under one of them may register. Gives those that were not
/// expected before.
pub fn expect(app: &App, names: &[String], by: &str) -> Result<Vec<String>, IdentityError> {
    let names: Vec<String> = names.iter().map(|name| host_name(name)).collect::<Result<_, _>>()?;
    let (by, at) = (by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let mut added = Vec::new();
        for name in names {
            if expected::add(conn, &Expected { name: name.clone(), at, by: by.clone() })? {
                added.push(name);
            }
        }
        Ok(added)
    })
}

/// Expects a name no more.
pub fn unexpect(app: &App, name: &str) -> Result<(), IdentityError> {
    let name = name.trim().to_owned();
    if unexpect_all(app, std::slice::from_ref(&name))?.is_empty() {
        return Err(IdentityError::NotExpected(name));
    }
    Ok(())
}

/// Expects these names no more. Gives those that were expected.
pub fn unexpect_all(app: &App, names: &[String]) -> Result<Vec<String>, IdentityError> {
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    app.store.write_now(move |conn| {
        let mut removed = Vec::new();
        for name in names {
            if expected::remove(conn, &name)? {
                removed.push(name);
            }
        }
        Ok(removed)
    })
}

pub(super) fn host_name(text: &str) -> Result<String, IdentityError> {
    let name = text.trim();
    let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME;
    if fits && !name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Ok(name.to_owned());
    }
    Err(IdentityError::NotAName(text.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own";

    fn proof(key: &str, signed: bool, timely: bool) -> ProofSeen {
        ProofSeen { key: key.to_owned(), signed, timely, may_register: false, registration: None }
    }

    #[test]
    fn a_computer_with_a_key_is_its_key() {
        let ticket = Some(Ticket::RegistrationKey);
        for (proof, expected) in [
            (None, Err(Refused::WithoutKey)),
            (Some(proof(OWN, true, true)), Ok(Worth::Proven)),
            (Some(proof(OWN, true, false)), Err(Refused::Clock)),
            (Some(proof(OWN, false, true)), Err(Refused::Unsigned)),
            (Some(proof(OWN, false, false)), Err(Refused::Unsigned)),
            (Some(proof("other", true, true)), Err(Refused::OtherKey)),
            (Some(proof("other", false, false)), Err(Refused::OtherKey)),
        ] {
            assert_eq!(worth(Some(OWN), None, proof.as_ref()), expected, "{proof:?}");
            // Knowing the registration key is no way to another computer's name.
            assert_eq!(worth(Some(OWN), ticket, proof.as_ref()), expected, "{proof:?} with a ticket");
        }
    }

    #[test]
    fn a_computer_without_a_key_is_its_name_until_it_may_register() {
        for (ticket, proof, expected) in [
            (None, None, Ok(Worth::Name)),
            (None, Some(proof(OWN, true, true)), Ok(Worth::Name)),
            (None, Some(proof(OWN, true, false)), Ok(Worth::Name)),
            (None, Some(proof(OWN, false, true)), Ok(Worth::Name)),
            (Some(Ticket::ExpectedName), None, Ok(Worth::Name)),
            (Some(Ticket::ExpectedName), Some(proof(OWN, false, true)), Ok(Worth::Name)),
            (Some(Ticket::ExpectedName), Some(proof(OWN, true, true)), Ok(Worth::Registers(Ticket::ExpectedName))),
            (
                Some(Ticket::RegistrationKey),
                Some(proof(OWN, true, true)),
                Ok(Worth::Registers(Ticket::RegistrationKey)),
            ),
            (Some(Ticket::RegistrationKey), Some(proof(OWN, true, false)), Err(Refused::Clock)),
            (Some(Ticket::RegistrationKey), Some(proof(OWN, false, false)), Ok(Worth::Name)),
        ] {
            assert_eq!(worth(None, ticket, proof.as_ref()), expected, "{ticket:?} {proof:?}");
        }
    }

    #[test]
    fn a_host_name_has_no_blanks() {
        assert_eq!(host_name(" ws042 ").ok().as_deref(), Some("ws042"));
        for wrong in ["", " ", "a b", "a\nb", &"x".repeat(201)] {
            assert!(matches!(host_name(wrong), Err(IdentityError::NotAName(_))), "{wrong:?}");
        }
    }
}
