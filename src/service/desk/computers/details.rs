//! What lists show beside a computer's own facts, and how many computers say what.

use std::collections::BTreeMap;

use super::super::super::fields as own_fields;
use super::super::{Desk, Refusal};
use super::Asked;
use crate::model::access::Right;
use crate::model::query::{Expr, Field, Operator, Query};
use crate::model::{Computer, ComputerId};
use crate::store::tally::{self, By};
use crate::store::{StoreError, details, fields};

/// Fields of an inventory, by section and name; the first that says something counts.
pub type Said = &'static [(&'static str, &'static str)];

/// What a list wants to show.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Fields of the administrators' own, by number.
    pub own: Vec<i64>,
    /// What inventories say.
    pub said: Vec<Said>,
    /// Hardware addresses?
    pub macs: bool,
}

/// What it shows of each computer.
#[derive(Clone, Debug, Default)]
pub struct Details {
    own: BTreeMap<(ComputerId, i64), String>,
    said: details::Said,
    macs: BTreeMap<ComputerId, Vec<String>>,
}

impl Details {
    /// What a field of the administrators' own says of it.
    pub fn own(&self, computer: ComputerId, field: i64) -> &str {
        self.own.get(&(computer, field)).map_or("", String::as_str)
    }

    /// What its inventory says, the different values one after the other.
    pub fn said(&self, computer: ComputerId, of: Said) -> String {
        let said = |(section, field): &(&str, &str)| {
            self.said.get(&(computer, (*section).to_owned(), (*field).to_owned())).map(|values| values.join(", "))
        };
        of.iter().find_map(said).unwrap_or_default()
    }

    /// Its hardware addresses.
    pub fn macs(&self, computer: ComputerId) -> &[String] {
        self.macs.get(&computer).map_or(&[], Vec::as_slice)
    }
}

/// How many computers say what.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What is counted: a fact's name, or the field's.
    pub title: String,
    /// Value, number, and the query that finds them; the most frequent first.
    pub rows: Vec<(String, u64, String)>,
    /// All of them.
    pub total: u64,
}

/// Facts by which computers are counted.
pub const COUNTED: [Field; 9] = [
    Field::Tag,
    Field::Os,
    Field::OsVersion,
    Field::Architecture,
    Field::Model,
    Field::Workgroup,
    Field::User,
    Field::Agent,
    Field::Proven,
];

impl Desk {
    /// What a list shows beside the rows that it has.
    pub fn details(&self, computers: &[Computer], shown: &Shown) -> Result<Details, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let ids: Vec<ComputerId> = computers.iter().map(|computer| computer.id).collect();
        let of: Vec<(&str, &str)> = shown.said.iter().flat_map(|said| said.iter().copied()).collect();
        let (own, macs) = (shown.own.clone(), shown.macs);
        if ids.is_empty() || (own.is_empty() && of.is_empty() && !macs) {
            return Ok(Details::default());
        }
        Ok(app.store.read_now(move |conn| -> Result<_, StoreError> {
            Ok(Details {
                own: if own.is_empty() { BTreeMap::new() } else { fields::of_computers(conn, &ids, &own)? },
                said: if of.is_empty() { BTreeMap::new() } else { details::said(conn, &ids, &of)? },
                macs: if macs { details::macs(conn, &ids)? } else { BTreeMap::new() },
            })
        })?)
    }

    /// How many computers of a list say what: `by` is a fact or a field of the administrators' own.
    pub fn tally(&self, asked: &Asked, by: &str) -> Result<Tally, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let fact = COUNTED.into_iter().find(|fact| fact.as_str() == by);
        let (by, title) = if let Some(fact) = fact {
            (By::Fact(fact), fact.as_str().to_owned())
        } else {
            let known = own_fields::find(app, by).map_err(|error| Refusal::from(error).about("by"))?;
            (By::Own(known.field.id), known.field.name)
        };
        let (wanted, now) = (self.wanted(&Asked { after: None, ..asked.clone() })?, app.clock.now());
        let counts = app.store.read_now(move |conn| tally::tally(conn, &wanted, by, now))?;
        let total = counts.values().sum();
        let mut rows: Vec<(String, u64, String)> = counts
            .into_iter()
            .map(|(value, count)| {
                let query = who_says(by, &title, &value, &asked.query);
                (value, count, query)
            })
            .collect();
        rows.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        Ok(Tally { title, rows, total })
    }
}

/// The query for those who say it, within what was asked.
fn who_says(by: By, title: &str, value: &str, within: &str) -> String {
    let value = value.to_owned();
    let own = match by {
        By::Fact(field) => Expr::Compare { field, operator: Operator::Eq, value },
        By::Own(_) => Expr::Custom { name: title.to_owned(), operator: Operator::Eq, value },
    };
    match within.parse::<Query>() {
        Ok(within) => Expr::All(vec![within.into(), own]).to_string(),
        Err(_) => own.to_string(),
    }
}
