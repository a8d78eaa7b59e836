//! The list of computers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::console::computers::{place_text, read_place};
use super::super::operation::{Asked, Nothing, Page, limit};
use super::ComputerView;
use crate::model::{Computer, ComputerId};
use crate::service::desk::computers as desk;
use crate::service::desk::computers::details::{Details, Said, Shown};
use crate::service::desk::{Desk, Refusal};
use crate::store::listing::{Place, Sort};

/// What decides about the list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct ListQuery {
    /// In the query language: `os contains debian and not tag = lab`. All without.
    #[serde(default, rename = "where")]
    query: Option<String>,
    /// Those that were put away.
    #[serde(default)]
    archived: bool,
    /// `name`, `-name`, `last_contact` or `-last_contact`; a minus is the other way round.
    sort: Option<SortWord>,
    /// Its fields and the parts of its inventory that lists show, too.
    #[serde(default)]
    details: bool,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

/// An order.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
enum SortWord {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "last_contact")]
    Contact,
    #[serde(rename = "-last_contact")]
    ContactDown,
}

pub(super) fn list(asked: Asked<Nothing, ListQuery, Nothing>) -> Result<Page<ListedView>, Refusal> {
    let (sort, descending) = match asked.query.sort.unwrap_or_default() {
        SortWord::Name => (Sort::Name, false),
        SortWord::NameDown => (Sort::Name, true),
        SortWord::Contact => (Sort::LastContact, false),
        SortWord::ContactDown => (Sort::LastContact, true),
    };
    let limit = limit(asked.query.limit)?;
    let wanted = desk::Asked {
        query: asked.query.query.clone().unwrap_or_default(),
        archived: asked.query.archived,
        sort,
        descending,
        after: asked.query.after.as_deref().map(|after| read_place(after, sort)).transpose()?,
    };
    let rows = asked.desk().computers_after(&wanted, limit + 1)?;
    let more = if asked.query.details { Some(More::of(asked.desk(), &rows)?) } else { None };
    let view = |computer: Computer| ListedView {
        details: more.as_ref().map(|more| more.view(computer.id)),
        computer: computer.into(),
    };
    Ok(Page::cut(rows, limit, |last| place_text(&Place::of(last, sort)), view))
}

/// A computer of a list.
#[derive(JsonSchema, Serialize)]
pub(super) struct ListedView {
    #[serde(flatten)]
    computer: ComputerView,
    /// With `details`.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<DetailsView>,
}

/// What is beside a computer's own facts; empty text is "not said".
#[derive(JsonSchema, Serialize)]
struct DetailsView {
    /// The administrators' fields that say something.
    fields: BTreeMap<String, String>,
    /// Memory in MiB.
    memory: String,
    /// The processor's type.
    processor: String,
    /// Who made the machine.
    manufacturer: String,
    /// The version of its firmware.
    bios: String,
    /// Hardware addresses.
    macs: Vec<String>,
}

const MEMORY: Said = &[("HARDWARE", "MEMORY")];
const PROCESSOR: Said = &[("HARDWARE", "PROCESSORT"), ("CPUS", "TYPE")];
const MANUFACTURER: Said = &[("BIOS", "SMANUFACTURER")];
const BIOS: Said = &[("BIOS", "BVERSION")];

/// What a page of the list shows beside.
struct More {
    fields: Vec<(i64, String)>,
    details: Details,
}

impl More {
    fn of(desk: &Desk, rows: &[Computer]) -> Result<Self, Refusal> {
        let fields: Vec<(i64, String)> = desk.fields()?.into_iter().map(|one| (one.field.id, one.field.name)).collect();
        let shown = Shown {
            own: fields.iter().map(|(id, _)| *id).collect(),
            said: vec![MEMORY, PROCESSOR, MANUFACTURER, BIOS],
            macs: true,
        };
        Ok(Self { details: desk.details(rows, &shown)?, fields })
    }

    fn view(&self, computer: ComputerId) -> DetailsView {
        let said = |of: Said| self.details.said(computer, of);
        let fields = self.fields.iter().map(|(id, name)| (name.clone(), self.details.own(computer, *id).to_owned()));
        DetailsView {
            fields: fields.filter(|(_, value)| !value.is_empty()).collect(),
            memory: said(MEMORY),
            processor: said(PROCESSOR),
            manufacturer: said(MANUFACTURER),
            bios: said(BIOS),
            macs: self.details.macs(computer).to_vec(),
        }
    }
}
