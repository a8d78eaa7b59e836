//! When and where deployments may run: read from what people write, asked at each contact, shown, changed
//! (docs/decisions/0785, 0786).

use std::fmt;
use std::net::IpAddr;

use super::App;
use super::deployments::DeploymentError;
use crate::clock::NamedZone;
use crate::model::gates::{Gates, InvalidRanges, Timetable};
use crate::model::windows::InvalidWindows;
use crate::model::{DeploymentId, UnixTime, Withheld};
use crate::store::{StoreError, deployments, gates};

/// Why gates were refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GateError {
    /// The windows.
    #[error(transparent)]
    Windows(#[from] InvalidWindows),
    /// Their zone.
    #[error(
        "this server knows no time zone \"{0}\": expected a name such as Europe/Berlin, an offset such as +02:00, or UTC"
    )]
    Zone(String),
    /// The ranges.
    #[error(transparent)]
    Ranges(#[from] InvalidRanges),
}

impl GateError {
    /// What of `windows`, `window_zone` and `ranges` it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Windows(_) => "windows",
            Self::Zone(_) => "window_zone",
            Self::Ranges(_) => "ranges",
        }
    }
}

/// Gates as they are written, each empty or absent where there is none. The zone of windows is this server's if none is named.
pub fn read(windows: Option<&str>, zone: Option<&str>, ranges: Option<&str>) -> Result<Gates, GateError> {
    let said = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let (windows, zone, ranges) = (said(windows), said(zone), said(ranges));
    let timetable = windows.map(|windows| -> Result<_, GateError> {
        let windows = windows.parse()?;
        let zone = match zone {
            Some(name) => NamedZone::named(&name).ok_or_else(|| GateError::Zone(name.chars().take(60).collect()))?,
            None => NamedZone::of_machine(),
        };
        Ok(Timetable { windows, zone: zone.name().to_owned() })
    });
    let ranges = ranges.map(|ranges| ranges.parse()).transpose()?;
    Ok(Gates { timetable: timetable.transpose()?, ranges })
}

/// Asks gates for a computer that comes from there; `None` for one of which that is not known.
pub(super) fn pass(gates: &Gates, address: Option<IpAddr>, now: UnixTime) -> Result<(), Withheld> {
    if let Some(ranges) = &gates.ranges
        && !address.is_some_and(|address| ranges.admit(address))
    {
        return Err(Withheld::Elsewhere(address.map(|address| address.to_canonical())));
    }
    match gates.timetable.as_ref().map(|timetable| opening(timetable, now)) {
        None | Some(Opening::Open { .. }) => Ok(()),
        Some(Opening::Closed { opens }) => Err(Withheld::Closed { opens: opens.map(|moment| moment.called) }),
        Some(Opening::NoZone(zone)) => Err(Withheld::NoZone(zone)),
    }
}

/// A moment, and what it is called in the zone of the windows: `Mon 2026-11-23 20:00 Europe/Berlin`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Called {
    /// The moment.
    pub at: UnixTime,
    /// As it is called.
    pub called: String,
}

/// How windows stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opening {
    /// One is open.
    Open {
        /// When it closes; never if the others follow without a gap.
        closes: Option<Called>,
    },
    /// None is.
    Closed {
        /// When the next one opens.
        opens: Option<Called>,
    },
    /// Nobody knows: the zone is gone.
    NoZone(String),
}

/// How windows stand at a moment.
pub fn opening(timetable: &Timetable, now: UnixTime) -> Opening {
    use crate::model::recurrence::Zone as _;
    let Some(zone) = NamedZone::named(&timetable.zone) else { return Opening::NoZone(timetable.zone.clone()) };
    let windows = &timetable.windows;
    let next = || {
        let at = windows.next_change(now, &zone)?;
        Some(Called { at, called: format!("{} {}", zone.day_text(at), zone.name()) })
    };
    if windows.is_open(zone.civil(now)) { Opening::Open { closes: next() } } else { Opening::Closed { opens: next() } }
}

/// In words: `open now, closes Tue 2026-11-24 06:00 Europe/Berlin`.
impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { closes: Some(moment) } => write!(f, "open now, closes {}", moment.called),
            Self::Open { closes: None } => f.write_str("always open"),
            Self::Closed { opens: Some(moment) } => write!(f, "closed now, opens {}", moment.called),
            Self::Closed { opens: None } => f.write_str("never open"),
            Self::NoZone(zone) => write!(f, "closed: this server does not know the time zone {zone} any more"),
        }
    }
}

/// Gates with how they stand.
#[derive(Clone, Debug)]
pub struct GatesNow {
    /// The gates.
    pub gates: Gates,
    /// How the windows stand, if there are any.
    pub opening: Option<Opening>,
}

impl GatesNow {
    /// How they stand at a moment.
    pub fn at(gates: Gates, now: UnixTime) -> Self {
        let opening = gates.timetable.as_ref().map(|timetable| opening(timetable, now));
        Self { gates, opening }
    }

    /// The same, but nothing for gates that are open to all.
    #[must_use]
    pub fn if_any(self) -> Option<Self> {
        Some(self).filter(|now| !now.gates.is_open_to_all())
    }

    /// Is a window open, or is there none?
    pub fn is_open(&self) -> bool {
        matches!(self.opening, None | Some(Opening::Open { .. }))
    }

    /// When a closed window opens.
    pub fn opens_at(&self) -> Option<UnixTime> {
        match &self.opening {
            Some(Opening::Closed { opens }) => opens.as_ref().map(|moment| moment.at),
            _ => None,
        }
    }

    /// When an open window closes.
    pub fn closes_at(&self) -> Option<UnixTime> {
        match &self.opening {
            Some(Opening::Open { closes }) => closes.as_ref().map(|moment| moment.at),
            _ => None,
        }
    }
}

/// When and where a deployment may run.
pub fn of(app: &App, id: DeploymentId) -> Result<Gates, StoreError> {
    app.store.read_now(move |conn| gates::find(conn, id))
}

/// Changes when and where deployments may run, for what was not offered yet; the first of them may not be put away. Gives what
/// was there before, in their order.
pub fn change(app: &App, ids: Vec<DeploymentId>, wanted: &Gates) -> Result<Vec<Gates>, DeploymentError> {
    let wanted = wanted.clone();
    app.store.write_now(move |conn| {
        for id in ids.iter().copied().take(1) {
            let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
            if line.deployment.closed_at.is_some() {
                return Err(DeploymentError::Closed(id));
            }
        }
        let mut before = Vec::with_capacity(ids.len());
        for id in ids {
            before.push(gates::find(conn, id)?);
            gates::set(conn, id, &wanted)?;
        }
        Ok(before)
    })
}
