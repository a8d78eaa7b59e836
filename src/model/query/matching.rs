//! What a query means for one computer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Expr, Field, Operator, Side, TimeField, compare_versions, fold, section_key};
use crate::model::{Computer, UnixTime};

/// A program that is installed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Software {
    /// Its name.
    pub name: String,
    /// Its version, as its maker writes it.
    pub version: String,
}

/// All that a query may ask of a computer.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its own facts.
    pub computer: Computer,
    /// Hardware addresses of its adapters.
    pub macs: Vec<String>,
    /// Numbers of the packages that it has.
    pub packages: BTreeSet<u32>,
    /// The groups it is a member of, [`fold`]ed.
    pub groups: BTreeSet<String>,
    /// The administrators' own fields that say something, by their names, [`fold`]ed.
    pub fields: BTreeMap<String, String>,
    /// What the inventory says in sections that are asked for, by [`section_key`]; the section itself by its name and an
    /// empty field.
    pub sections: BTreeMap<(String, String), Vec<String>>,
    /// What is installed; `None` as long as nobody keeps it in a form that can be searched.
    pub software: Option<Vec<Software>>,
}

/// The query asks for what nobody keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("software is not searchable yet: ask without `has software`")]
pub struct NotSearchable;

impl Facts {
    fn said(&self, section: &str, field: &str) -> &[String] {
        self.sections.get(&section_key(section, field)).map_or(&[], Vec::as_slice)
    }

    fn values(&self, field: Field) -> Vec<&str> {
        match field.of(&self.computer) {
            Some(one) => vec![one],
            None => self.macs.iter().map(String::as_str).collect(),
        }
    }
}

impl Field {
    /// What a computer's own row says of it; `None` for adapters' addresses, which stand beside it.
    pub fn of(self, computer: &Computer) -> Option<&str> {
        Some(match self {
            Self::Name => &computer.name,
            Self::DeviceId => computer.device_id.as_str(),
            Self::Os => &computer.os_name,
            Self::OsVersion => &computer.os_version,
            Self::Architecture => &computer.architecture,
            Self::Ip => &computer.ip_address,
            Self::Peer => &computer.peer_address,
            Self::User => &computer.user_name,
            Self::Serial => &computer.serial,
            Self::Model => &computer.model,
            Self::Uuid => &computer.uuid,
            Self::Workgroup => &computer.workgroup,
            Self::Tag => &computer.tag,
            Self::Agent => &computer.user_agent,
            Self::Proven => Self::proven(computer.agent_key.is_some()),
            Self::Mac => return None,
        })
    }
}

impl TimeField {
    /// When it was, if it ever was.
    pub fn of(self, computer: &Computer) -> Option<UnixTime> {
        match self {
            Self::FirstContact => Some(computer.first_contact),
            Self::LastContact => Some(computer.last_contact),
            Self::LastInventory => computer.last_inventory,
        }
    }
}

/// Does the condition hold for the computer?
pub(super) fn matches(expr: &Expr, facts: &Facts, now: UnixTime) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| matches(part, facts, now)),
        Expr::Any(parts) => parts.iter().any(|part| matches(part, facts, now)),
        Expr::Not(part) => !matches(part, facts, now),
        // The opposite of "equal", also for a fact with several values.
        Expr::Compare { field, operator: Operator::Ne, .. } => {
            facts.values(*field).iter().all(|fact| expr.holds_for(fact))
        }
        Expr::Compare { field, .. } | Expr::Between { field, .. } | Expr::InNetwork { field, .. } => {
            facts.values(*field).iter().any(|fact| expr.holds_for(fact))
        }
        Expr::Custom { name, .. } => expr.holds_for(facts.fields.get(&fold(name)).map_or("", String::as_str)),
        Expr::Moment { field, side, age } => {
            let newer = field.of(&facts.computer).is_some_and(|at| at > age.before(now));
            newer == (*side == Side::Newer)
        }
        Expr::HasPackage(number) => facts.packages.contains(number),
        Expr::HasSoftware { name, version } => {
            let name = fold(name);
            facts.software.iter().flatten().any(|software| {
                fold(&software.name) == name && version.as_ref().is_none_or(|test| test.holds(&software.version))
            })
        }
        Expr::InGroup(name) => facts.groups.contains(&fold(name)),
        Expr::Section { section, field, operator: Operator::Eq, value } if value.is_empty() => {
            facts.said(section, field).is_empty()
        }
        Expr::Section { section, field, operator: Operator::Ne, value } if value.is_empty() => {
            !facts.said(section, field).is_empty()
        }
        Expr::Section { section, field, operator: Operator::Ne, .. } => {
            facts.said(section, field).iter().all(|fact| expr.holds_for(fact))
        }
        Expr::Section { section, field, .. } | Expr::SectionBetween { section, field, .. } => {
            facts.said(section, field).iter().any(|fact| expr.holds_for(fact))
        }
        Expr::HasSection(section) => !facts.said(section, "").is_empty(),
    }
}

impl Expr {
    /// Does one value pass what this condition asks of a value? One that asks of none is passed by all.
    pub fn holds_for(&self, fact: &str) -> bool {
        match self {
            Self::Compare { field, operator, value } => compare(*field, *operator, fact, value),
            Self::Between { field, low, high } => {
                compare(*field, Operator::Ge, fact, low) && compare(*field, Operator::Le, fact, high)
            }
            Self::InNetwork { network, .. } => network.contains(fact),
            Self::Custom { operator, value, .. } => compare_own(*operator, fact, value),
            Self::Section { operator, value, .. } => said_so(*operator, fact, value),
            Self::SectionBetween { low, high, .. } => {
                said_so(Operator::Ge, fact, low) && said_so(Operator::Le, fact, high)
            }
            _ => true,
        }
    }
}

/// Sizes, counts and versions are text in an inventory: numbers in them are ordered by value.
fn said_so(operator: Operator, fact: &str, value: &str) -> bool {
    if operator.is_order() {
        operator.holds(compare_versions(&fold(fact), &fold(value)))
    } else {
        compare_text(operator, fact, value)
    }
}

fn compare(field: Field, operator: Operator, fact: &str, value: &str) -> bool {
    if field.is_version() && !matches!(operator, Operator::Contains | Operator::StartsWith | Operator::EndsWith) {
        return operator.holds(compare_versions(&fold(fact), &fold(value)));
    }
    compare_text(operator, fact, value)
}

/// Where a number is asked for, only numbers have an order; everything else has that of its letters.
fn compare_own(operator: Operator, fact: &str, value: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    match number(value).filter(|_| operator.is_order()) {
        Some(value) => number(fact).is_some_and(|fact| operator.holds(fact.total_cmp(&value))),
        None => compare_text(operator, fact, value),
    }
}

fn compare_text(operator: Operator, fact: &str, value: &str) -> bool {
    let (fact, value) = (fold(fact), fold(value));
    match operator {
        Operator::Contains => fact.contains(&value),
        Operator::StartsWith => fact.starts_with(&value),
        Operator::EndsWith => fact.ends_with(&value),
        _ => operator.holds(fact.cmp(&value)),
    }
}
