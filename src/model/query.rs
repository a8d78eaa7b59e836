//! A question about computers: `os contains debian and not has package 1795170000`.
//!
//! One language for dynamic groups, the command line and the API. A [`Query`] has a text form ([`FromStr`](std::str::FromStr),
//! [`Display`](std::fmt::Display), exact inverses of each other) and a JSON form (serde), which `FromStr` reads as well. [`Query::matches`] is
//! what it means; a database finds the values, what passes is decided here, and that both come to the same is tested.
//! `docs/query.md` explains it to administrators.

mod check;
mod matching;
mod network;
mod parse;
mod print;
mod version;
mod words;

use std::collections::BTreeSet;

use super::UnixTime;
use check::check;

pub use matching::{Facts, NotSearchable, Software};
pub use network::{InvalidNetwork, Network};
pub use parse::QueryError;
pub use version::compare_versions;
pub use words::{Age, Field, Operator, Side, TimeField, Unit, VersionTest};

/// Bytes of a query's text. A list of a hundred names fits; a query is read by people.
pub const MAX_LENGTH: usize = 8192;
/// Bytes of its JSON form, which says the same in more words.
pub const MAX_JSON_LENGTH: usize = 8 * MAX_LENGTH;
/// Brackets and nots inside each other: recursion over a query is bounded by it.
pub const MAX_DEPTH: usize = 24;
/// Conditions of a query: each may be a look at every computer.
pub const MAX_CONDITIONS: usize = 250;
/// Units of an age: 10,000 weeks are 190 years.
const MAX_AGE: u32 = 10_000;
/// Bytes of a section's or a field's name; those of the protocol have 30 at most.
const MAX_SECTION_NAME: usize = 64;

/// A checked question about a computer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize), serde(try_from = "Expr", into = "Expr"))]
pub struct Query(Expr);

/// What a query is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Expr {
    /// Each of these holds; two or more.
    All(Vec<Self>),
    /// One of these holds; two or more.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A fact compared with a value, letters without case.
    Compare {
        /// Which fact.
        field: Field,
        /// How.
        operator: Operator,
        /// With what.
        value: String,
    },
    /// A field of the administrators' own compared with a value; where nothing is written it is empty.
    Custom {
        /// The field's name.
        name: String,
        /// How.
        operator: Operator,
        /// With what.
        value: String,
    },
    /// A fact that lies between two values, both included.
    Between {
        /// Which fact.
        field: Field,
        /// From.
        low: String,
        /// To.
        high: String,
    },
    /// An address within a network.
    InNetwork {
        /// Which address.
        field: Field,
        /// The network.
        network: Network,
    },
    /// A moment before or after now by that much.
    Moment {
        /// Which moment.
        field: TimeField,
        /// On which side.
        side: Side,
        /// How long ago.
        age: Age,
    },
    /// The package is in the computer's history or in the server's records of it.
    HasPackage(u32),
    /// A program is installed.
    HasSoftware {
        /// Its name.
        name: String,
        /// Its version, if that matters.
        version: Option<VersionTest>,
    },
    /// It is a member of the group.
    InGroup(String),
    /// One of a section's elements says so of a field. That it equals the empty text means that none says anything.
    Section {
        /// The section, letters without case.
        section: String,
        /// Its field, letters without case.
        field: String,
        /// How; order is that of versions.
        operator: Operator,
        /// With what.
        value: String,
    },
    /// One of a section's elements says what lies between two values, both included, in the order of versions.
    SectionBetween {
        /// The section.
        section: String,
        /// Its field.
        field: String,
        /// From.
        low: String,
        /// To.
        high: String,
    },
    /// Its inventory has such a section with something in it.
    HasSection(String),
}

/// Text as it is compared: letters without case.
pub fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// By what a section's field is found: both names in upper case.
pub fn section_key(section: &str, field: &str) -> (String, String) {
    (section.to_ascii_uppercase(), field.to_ascii_uppercase())
}

/// Can a section, or a field of one, be asked for by that name?
pub fn is_section_name(name: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_SECTION_NAME).contains(&name.len()) && name.bytes().all(usual)
}

impl Query {
    /// What it is made of.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// The computers that both ask for.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let parts = |expr: &Expr| match expr {
            Expr::All(parts) => parts.clone(),
            one => vec![one.clone()],
        };
        Self(Expr::All([parts(&self.0), parts(&other.0)].concat()))
    }

    /// Is the computer one of those asked for?
    pub fn matches(&self, facts: &Facts, now: UnixTime) -> Result<bool, NotSearchable> {
        self.searchable(facts.software.is_some())?;
        Ok(matching::matches(&self.0, facts, now))
    }

    /// Can it be answered by somebody who does, or does not, know the software?
    pub fn searchable(&self, software_is_known: bool) -> Result<(), NotSearchable> {
        let mut asked = false;
        self.visit(&mut |expr| asked |= matches!(expr, Expr::HasSoftware { .. }));
        if asked && !software_is_known { Err(NotSearchable) } else { Ok(()) }
    }

    /// The groups that it asks for, as they are written.
    pub fn groups(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |expr| {
            if let Expr::InGroup(name) = expr {
                names.push(name.as_str());
            }
        });
        names
    }

    /// The administrators' fields that it asks for, as they are written.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |expr| {
            if let Expr::Custom { name, .. } = expr {
                names.push(name.as_str());
            }
        });
        names
    }

    /// The same where the administrators' field of one name is called otherwise.
    #[must_use]
    pub fn with_field(&self, from: &str, to: &str) -> Self {
        Self(renamed(&self.0, &fold(from), to))
    }

    /// The sections' fields that it asks for, by [`section_key`]; sections as such with an empty field.
    pub fn sections(&self) -> BTreeSet<(String, String)> {
        let mut asked = BTreeSet::new();
        self.visit(&mut |expr| match expr {
            Expr::Section { section, field, .. } | Expr::SectionBetween { section, field, .. } => {
                asked.insert(section_key(section, field));
            }
            Expr::HasSection(section) => {
                asked.insert(section_key(section, ""));
            }
            _ => {}
        });
        asked
    }

    /// Can its answer change though nothing is learnt?
    pub fn depends_on_time(&self) -> bool {
        let mut depends = false;
        self.visit(&mut |expr| depends |= matches!(expr, Expr::Moment { .. }));
        depends
    }

    /// Shows every part of it.
    pub fn visit<'a>(&'a self, seen: &mut impl FnMut(&'a Expr)) {
        visit(&self.0, seen);
    }
}

fn renamed(expr: &Expr, from: &str, to: &str) -> Expr {
    let all = |parts: &[Expr]| parts.iter().map(|part| renamed(part, from, to)).collect();
    match expr {
        Expr::All(parts) => Expr::All(all(parts)),
        Expr::Any(parts) => Expr::Any(all(parts)),
        Expr::Not(part) => Expr::Not(Box::new(renamed(part, from, to))),
        Expr::Custom { name, operator, value } if fold(name) == from => {
            Expr::Custom { name: to.to_owned(), operator: *operator, value: value.clone() }
        }
        other => other.clone(),
    }
}

fn visit<'a>(expr: &'a Expr, seen: &mut impl FnMut(&'a Expr)) {
    seen(expr);
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| visit(part, seen)),
        Expr::Not(part) => visit(part, seen),
        _ => {}
    }
}

impl TryFrom<Expr> for Query {
    type Error = QueryError;

    fn try_from(expr: Expr) -> Result<Self, QueryError> {
        check(&expr, 1, &mut 0).map_err(QueryError::of_tree)?;
        let query = Self(expr);
        if query.to_string().len() > MAX_LENGTH {
            return Err(QueryError::of_tree(format!("it is longer than {MAX_LENGTH} bytes")));
        }
        Ok(query)
    }
}

impl From<Query> for Expr {
    fn from(query: Query) -> Self {
        query.0
    }
}

#[cfg(test)]
mod tests;
