//! Activation: telling agents where to fetch a package, after having fetched it from there.

use std::io;

use super::App;
use crate::fetch::{Client, FetchError, InvalidUrl, Url};
use crate::model::limits::ReplyLimits;
use crate::model::{Activation, DigestAlgorithm, Hasher, Location, Package, PackageId, PackageState, TreeKey};
use crate::protocol::{Info, InfoError};
use crate::store::{StoreError, activations, packages};

/// Why a package was not activated. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// No such package.
    #[error("there is no package {0}: `dripfeed package list` shows them")]
    Unknown(PackageId),
    /// Not built to the end, or withdrawn.
    #[error("package {0} is {1}: only an available package can be activated")]
    NotAvailable(PackageId, &'static str),
    /// An agent could not fetch it.
    #[error("an agent could not fetch {url}: {source}")]
    Fetch {
        /// What was asked for.
        url: String,
        /// Why it did not come.
        source: FetchError,
    },
    /// The info file there cannot be read.
    #[error("what {url} gives is no info file: {source}")]
    Info {
        /// What was asked for.
        url: String,
        /// Why.
        source: InfoError,
    },
    /// Something else is there.
    #[error(
        "{url} gives other bytes than were built: the location serves another tree, or a copy that is not complete yet"
    )]
    Other {
        /// What was asked for.
        url: String,
    },
    /// No address can be made of a location.
    #[error(transparent)]
    Location(#[from] InvalidUrl),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A step of the check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Checking {
    /// The info file is fetched from this address.
    Info(String),
    /// It is the one that was built.
    InfoFits,
    /// A fragment is fetched from this address.
    Fragment {
        /// Where from.
        url: String,
        /// Its number.
        number: u32,
        /// Bytes that were fetched and fit so far.
        done: u64,
        /// Bytes of all fragments.
        total: u64,
    },
    /// Everything fits; the activation is put in force.
    Fits,
}

/// Puts an activation in force. With a client, info file and every fragment are fetched first, as an agent would.
pub fn activate(
    app: &App,
    id: PackageId,
    info_location: Location,
    fragment_location: Location,
    check_with: Option<&Client>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Activation, ActivateError> {
    activate_step_by_step(app, id, info_location, fragment_location, check_with, &mut |step| {
        if let Checking::Fragment { done, total, .. } = step {
            progress(done, total);
        }
    })
}

/// The same, with every step of the check told.
pub fn activate_step_by_step(
    app: &App,
    id: PackageId,
    info_location: Location,
    fragment_location: Location,
    check_with: Option<&Client>,
    told: &mut dyn FnMut(Checking),
) -> Result<Activation, ActivateError> {
    let package = app.store.read_now(move |conn| packages::find(conn, id))?.ok_or(ActivateError::Unknown(id))?;
    if package.state != PackageState::Available {
        return Err(ActivateError::NotAvailable(id, package.state.as_str()));
    }
    if let Some(client) = check_with {
        check(app, &package, &info_location, &fragment_location, client, told)?;
    }
    let now = app.clock.now();
    let activation = Activation {
        package: id,
        info_location,
        fragment_location,
        activated_at: now,
        checked_at: check_with.map(|_| now),
    };
    let written = activation.clone();
    app.store.write_now(move |conn| -> Result<(), ActivateError> {
        // Again, inside the transaction: it may have been withdrawn while it was fetched.
        let state = packages::find(conn, id)?.map(|package| package.state);
        if state != Some(PackageState::Available) {
            return Err(ActivateError::NotAvailable(id, PackageState::Withdrawn.as_str()));
        }
        Ok(activations::set(conn, &written)?)
    })?;
    Ok(activation)
}

/// Why an activation was not ended.
#[derive(Debug, thiserror::Error)]
pub enum DeactivateError {
    /// There is none.
    #[error("package {0} is not activated")]
    NotActive(PackageId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends an activation: nothing of the package is offered any more until it is activated again. Open jobs wait.
pub fn deactivate(app: &App, id: PackageId) -> Result<(), DeactivateError> {
    if app.store.write_now(move |conn| activations::remove(conn, id))? {
        Ok(())
    } else {
        Err(DeactivateError::NotActive(id))
    }
}

fn check(
    app: &App,
    package: &Package,
    info_location: &Location,
    fragment_location: &Location,
    client: &Client,
    told: &mut dyn FnMut(Checking),
) -> Result<(), ActivateError> {
    let id = package.id;
    let (url, address) = address(info_location, "https", TreeKey::Info { package: id })?;
    told(Checking::Info(url.clone()));
    let bytes = client
        .get(&address, ReplyLimits::DEFAULT.info)
        .map_err(|source| ActivateError::Fetch { url: url.clone(), source })?;
    let info = Info::parse(&bytes).map_err(|source| ActivateError::Info { url: url.clone(), source })?;
    if (info.package, info.fragments, info.digest) != (id, package.fragments, package.md5) {
        return Err(ActivateError::Other { url });
    }
    told(Checking::InfoFits);
    let fragments = app.store.read_now(move |conn| packages::fragments(conn, id))?;
    let mut done = 0;
    for fragment in fragments {
        let key = TreeKey::Fragment { package: id, number: fragment.number };
        let (url, address) = self::address(fragment_location, info.scheme.as_str(), key)?;
        let number = fragment.number.number();
        told(Checking::Fragment { url: url.clone(), number, done, total: package.size });
        let sink = Digesting { hasher: Hasher::new(DigestAlgorithm::Sha256), size: 0 };
        let (sink, _) = client
            .get_to(&address, 0, fragment.size, |_| Ok(sink))
            .map_err(|source| ActivateError::Fetch { url: url.clone(), source })?;
        if sink.size != fragment.size || sink.hasher.finish() != fragment.sha256 {
            return Err(ActivateError::Other { url });
        }
        done += fragment.size;
        told(Checking::Fragment { url, number, done, total: package.size });
    }
    told(Checking::Fits);
    Ok(())
}

fn address(location: &Location, scheme: &str, key: TreeKey) -> Result<(String, Url), InvalidUrl> {
    let url = location.url(scheme, key);
    let address = url.parse()?;
    Ok((url, address))
}

struct Digesting {
    hasher: Hasher,
    size: u64,
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
