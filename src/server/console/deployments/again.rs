//! "Again and again" in the form of a deployment: what makes a series of it.

use super::super::call::Fields;
use crate::clock::NamedZone;
use crate::model::recurrence::{Recurrence, Weekday};
use crate::service::desk::Refusal;
use crate::service::series::{Repeat, SeriesError};
use crate::store::series::{Series, SeriesId};

/// What was asked for, as it came.
#[derive(Clone, Default)]
pub(super) struct Again {
    /// `hours`, `days`, `week`, `month`; empty for once.
    pub(super) kind: &'static str,
    pub(super) every: String,
    pub(super) at: String,
    pub(super) on: Vec<String>,
    pub(super) day: String,
    pub(super) zone: String,
    pub(super) starts: String,
    /// The series that is changed; empty for a new one.
    pub(super) series: String,
}

impl Again {
    pub(super) fn read(fields: &Fields) -> Self {
        let or = |name: &str, otherwise: &str| fields.some(name).unwrap_or(otherwise).to_owned();
        let machine = NamedZone::of_machine();
        Self {
            kind: match fields.get("again") {
                "hours" => "hours",
                "days" => "days",
                "week" => "week",
                "month" => "month",
                _ => "",
            },
            every: or("every", "1"),
            at: or("at", "22:00"),
            on: fields.all("on").map(str::to_owned).collect(),
            day: or("day", "1"),
            zone: or("zone", machine.name()),
            starts: fields.get("starts").to_owned(),
            series: fields.get("series").to_owned(),
        }
    }

    /// As a series has it, to be changed.
    pub(super) fn of(series: &Series) -> Self {
        let read = Self {
            zone: series.when.zone.clone(),
            series: series.id.to_string(),
            starts: NamedZone::named(&series.when.zone)
                .map(|zone| zone.text(series.when.starts_at).replace(' ', "T"))
                .unwrap_or_default(),
            ..Self::read(&Fields::default())
        };
        match &series.when.rule {
            Recurrence::Hours(hours) => Self { kind: "hours", every: hours.to_string(), ..read },
            Recurrence::Days { every, at } => {
                Self { kind: "days", every: every.to_string(), at: at.to_string(), ..read }
            }
            Recurrence::Weekly { on, at } => {
                let on = on.iter().map(|day| day.as_str().to_owned()).collect();
                Self { kind: "week", on, at: at.to_string(), ..read }
            }
            Recurrence::Monthly { day, at } => Self { kind: "month", day: day.to_string(), at: at.to_string(), ..read },
        }
    }

    /// Does it come again?
    pub(super) fn is_on(&self) -> bool {
        !self.kind.is_empty() || !self.series.is_empty()
    }

    /// The series that is changed.
    pub(super) fn changes(&self) -> Option<SeriesId> {
        self.series.parse().ok().map(SeriesId)
    }

    /// The days of the week: word, name, whether it is ticked.
    pub(super) fn days(&self) -> Vec<(&'static str, String, bool)> {
        let of = |day: Weekday| {
            let word = day.as_str();
            (word, super::capital(word), self.on.iter().any(|one| one == word))
        };
        Weekday::ALL.into_iter().map(of).collect()
    }

    /// When it comes again; `None` for once.
    pub(super) fn repeat(&self) -> Result<Option<Repeat>, Refusal> {
        let (every, at) = (&self.every, &self.at);
        let rule = match self.kind {
            "hours" => format!("every {every} hours"),
            "days" => format!("every {every} days at {at}"),
            "week" if self.on.is_empty() => {
                return Err(Refusal::invalid("tick the days of the week on which it comes again").about("on"));
            }
            "week" => format!("every {} at {at}", self.on.join(", ")),
            "month" => format!("every month on day {} at {at}", self.day),
            _ if self.series.is_empty() => return Ok(None),
            _ => return Err(Refusal::invalid("choose how often it comes again").about("again")),
        };
        let repeat = Repeat::read(&rule, Some(&self.zone), Some(&self.starts)).map_err(|error| {
            let field = match error {
                SeriesError::Zone(_) => "zone",
                SeriesError::Beginning(_) => "starts",
                _ => "every",
            };
            Refusal::from(error).about(field)
        });
        repeat.map(Some)
    }
}
