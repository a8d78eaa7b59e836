//! Computers that a query asks for.
//!
//! Each condition is a set of numbers, found by an index: what computers say is read from the dictionaries and the
//! columns, the values that pass are found here, where letters, versions and networks are known, and then the computers
//! that say them. The sets are combined as the conditions are. [`Query::matches`] says what a query means, and for one
//! computer it decides; that both agree is tested with any query.

mod set;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::connection::q;
use super::groups::EXCLUDED;
use super::row::{limit as rows, text};
use super::schema::{
    computer_fields, computer_software, computer_values, computers, fields, group_members, groups, installations,
    inventory_values, networks, software,
};
use super::{Conn, StoreError};
use crate::model::query::{Expr, Facts, Field, Operator, Query, Side, Software, TimeField, fold, section_key};
use crate::model::{Computer, ComputerId, UnixTime};

pub(super) use set::Set;

/// Values that are named one by one in a statement.
const AT_ONCE: usize = 1000;

/// Computers that the query asks for, in order of their number, after `after`, at most `limit`.
pub fn computers(
    conn: &mut Conn,
    query: &Query,
    now: UnixTime,
    after: Option<ComputerId>,
    limit: usize,
) -> Result<Vec<Computer>, StoreError> {
    let all = ids(conn, query, now)?;
    let ids: Vec<ComputerId> = all.into_iter().filter(|id| after.is_none_or(|after| *id > after)).take(limit).collect();
    super::computers::some(conn, &ids)
}

/// Numbers of all computers that the query asks for.
pub fn ids(conn: &mut Conn, query: &Query, now: UnixTime) -> Result<BTreeSet<ComputerId>, StoreError> {
    let set = set_of(conn, std::slice::from_ref(query), now)?;
    let numbers = match set {
        Set::Only(numbers) => numbers,
        Set::Except(_) => {
            let all: Vec<i64> = q!(conn => computers::table.select(computers::id).load(conn))?;
            all.into_iter().filter(|number| set.contains(*number)).collect()
        }
    };
    Ok(numbers.into_iter().map(ComputerId).collect())
}

/// The computers that all of these queries ask for.
pub(super) fn set_of(conn: &mut Conn, queries: &[Query], now: UnixTime) -> Result<Set, StoreError> {
    Search { conn, now, few: AT_ONCE, said: HashMap::new() }.all(queries.iter().map(Query::expr))
}

/// All that these queries may ask of one computer.
pub fn facts<'a>(
    conn: &mut Conn,
    id: ComputerId,
    queries: impl IntoIterator<Item = &'a Query>,
) -> Result<Option<Facts>, StoreError> {
    let Some(computer) = super::computers::find(conn, id)? else { return Ok(None) };
    let (mut asks_fields, mut asked, mut titles) = (false, BTreeSet::new(), Vec::new());
    for query in queries {
        asked.extend(query.sections());
        query.visit(&mut |expr| match expr {
            Expr::Custom { .. } => asks_fields = true,
            Expr::HasSoftware { name, .. } => titles.push(fold(name)),
            _ => {}
        });
    }
    let macs = networks::table.filter(networks::computer_id.eq(id.0)).select(networks::mac);
    let macs: Vec<String> = q!(conn => macs.load(conn))?;
    let packages = installations::table.filter(installations::computer_id.eq(id.0)).select(installations::package_id);
    let packages: Vec<i64> = q!(conn => packages.load(conn))?;
    let member_of = group_members::table
        .inner_join(groups::table.on(groups::id.eq(group_members::group_id)))
        .filter(group_members::computer_id.eq(id.0))
        .filter(group_members::reason.ne(EXCLUDED))
        .select(groups::name_key);
    let member_of: Vec<String> = q!(conn => member_of.load(conn))?;
    Ok(Some(Facts {
        computer,
        macs,
        packages: packages.into_iter().filter_map(|package| u32::try_from(package).ok()).collect(),
        groups: member_of.into_iter().collect(),
        fields: if asks_fields { fields_of(conn, id)? } else { BTreeMap::new() },
        sections: if asked.is_empty() { BTreeMap::new() } else { sections_of(conn, id, &asked)? },
        software: Some(if titles.is_empty() { Vec::new() } else { titles_of(conn, id, &titles)? }),
    }))
}

fn fields_of(conn: &mut Conn, id: ComputerId) -> Result<BTreeMap<String, String>, StoreError> {
    let query = computer_fields::table
        .inner_join(fields::table.on(fields::id.eq(computer_fields::field_id)))
        .filter(computer_fields::computer_id.eq(id.0))
        .filter(fields::deleted_at.is_null())
        .select((fields::name_key, computer_fields::value));
    let found: Vec<(String, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().collect())
}

/// What a computer says of the sections' fields that are asked for.
type Said = BTreeMap<(String, String), Vec<String>>;

fn sections_of(conn: &mut Conn, id: ComputerId, asked: &BTreeSet<(String, String)>) -> Result<Said, StoreError> {
    let mut said = Said::new();
    for one in super::values::of_computer(conn, id)? {
        let key = (one.section, one.field);
        if asked.contains(&key) {
            said.entry(key).or_default().push(one.value);
        }
    }
    Ok(said)
}

/// Its titles of these names, which are in lower case.
fn titles_of(conn: &mut Conn, id: ComputerId, names: &[String]) -> Result<Vec<Software>, StoreError> {
    let query = software::table
        .inner_join(computer_software::table.on(computer_software::software_id.eq(software::id)))
        .filter(computer_software::computer_id.eq(id.0))
        .filter(software::name_key.eq_any(names))
        .select((software::name, software::version));
    let found: Vec<(String, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(name, version)| Software { name, version }).collect())
}

/// What computers say in a column of theirs.
enum Column {
    /// Different texts, as long as they are few: an operating system, a tag.
    Few(Vec<String>),
    /// Every computer's own: a serial number, an address.
    Each(Vec<(i64, String)>),
}

/// One evaluation of queries, in one view of the database.
struct Search<'a> {
    conn: &'a mut Conn,
    now: UnixTime,
    /// More different texts in a column are not few.
    few: usize,
    /// Columns that were read.
    said: HashMap<&'static str, Column>,
}

impl Search<'_> {
    /// Those that each condition asks for. The ones that an index answers go first: nobody left ends it.
    fn all<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) -> Result<Set, StoreError> {
        let mut parts: Vec<&Expr> = parts.collect();
        parts.sort_by_key(|part| looks_at_all(part));
        let mut set = Set::all();
        for part in parts {
            if set.is_empty() {
                break;
            }
            set = set.and(self.expr(part)?);
        }
        Ok(set)
    }

    fn expr(&mut self, expr: &Expr) -> Result<Set, StoreError> {
        match expr {
            Expr::All(parts) => self.all(parts.iter()),
            Expr::Any(parts) => {
                let mut set = Set::none();
                for part in parts {
                    set = set.or(self.expr(part)?);
                }
                Ok(set)
            }
            Expr::Not(part) => Ok(self.expr(part)?.not()),
            Expr::Compare { field: Field::Name, operator: Operator::Eq, value } => {
                let key = text(&fold(value)).into_owned();
                self.numbers(|conn| {
                    Ok(q!(conn => computers::table
                        .filter(computers::name_key.eq(&key))
                        .select(computers::id)
                        .load(conn))?)
                })
            }
            // The opposite of "equal", also for a fact with several values.
            Expr::Compare { field, operator: Operator::Ne, .. } => {
                Ok(self.column(*field, |fact| !expr.holds_for(fact))?.not())
            }
            Expr::Compare { field, .. } | Expr::Between { field, .. } | Expr::InNetwork { field, .. } => {
                self.column(*field, |fact| expr.holds_for(fact))
            }
            Expr::Custom { name, .. } => self.own_field(name, |fact| expr.holds_for(fact)),
            Expr::Moment { field, side, age } => {
                let newer = self.newer(*field, age.before(self.now).millis())?;
                Ok(if *side == Side::Newer { newer } else { newer.not() })
            }
            Expr::HasPackage(number) => self.numbers(|conn| {
                Ok(q!(conn => installations::table
                    .filter(installations::package_id.eq(i64::from(*number)))
                    .select(installations::computer_id)
                    .load(conn))?)
            }),
            Expr::HasSoftware { name, version } => {
                let key = text(&fold(name)).into_owned();
                let titles =
                    software::table.filter(software::name_key.eq(&key)).select((software::id, software::version));
                let conn = &mut *self.conn;
                let titles: Vec<(i64, String)> = q!(conn => titles.load(conn))?;
                let fits = |(_, other): &(i64, String)| version.as_ref().is_none_or(|test| test.holds(other));
                let titles: Vec<i64> = titles.into_iter().filter(fits).map(|(id, _)| id).collect();
                self.numbers_of(&titles, |conn, titles| {
                    Ok(q!(conn => computer_software::table
                        .filter(computer_software::software_id.eq_any(titles))
                        .select(computer_software::computer_id)
                        .load(conn))?)
                })
            }
            Expr::InGroup(name) => {
                let key = text(&fold(name)).into_owned();
                self.numbers(|conn| {
                    Ok(q!(conn => group_members::table
                        .inner_join(groups::table.on(groups::id.eq(group_members::group_id)))
                        .filter(groups::name_key.eq(&key))
                        .filter(group_members::reason.ne(EXCLUDED))
                        .select(group_members::computer_id)
                        .load(conn))?)
                })
            }
            // That it equals the empty text means that nothing is said.
            Expr::Section { section, field, operator: Operator::Eq, value } if value.is_empty() => {
                Ok(self.said(section, field, |_| true)?.not())
            }
            Expr::Section { section, field, operator: Operator::Ne, value } if value.is_empty() => {
                self.said(section, field, |_| true)
            }
            Expr::Section { section, field, operator: Operator::Ne, .. } => {
                Ok(self.said(section, field, |fact| !expr.holds_for(fact))?.not())
            }
            Expr::Section { section, field, .. } | Expr::SectionBetween { section, field, .. } => {
                self.said(section, field, |fact| expr.holds_for(fact))
            }
            Expr::HasSection(section) => self.said(section, "", |_| true),
        }
    }

    /// Those that a function finds.
    fn numbers(&mut self, find: impl FnOnce(&mut Conn) -> Result<Vec<i64>, StoreError>) -> Result<Set, StoreError> {
        Ok(Set::of(find(self.conn)?))
    }

    /// Those that a function finds for some numbers, which are given to it in parts.
    fn numbers_of(
        &mut self,
        of: &[i64],
        find: impl Fn(&mut Conn, &[i64]) -> Result<Vec<i64>, StoreError>,
    ) -> Result<Set, StoreError> {
        let mut found = Vec::new();
        for chunk in of.chunks(AT_ONCE) {
            found.extend(find(self.conn, chunk)?);
        }
        Ok(Set::of(found))
    }

    /// Those of which a fact passes.
    fn column(&mut self, field: Field, passes: impl Fn(&str) -> bool) -> Result<Set, StoreError> {
        let conn = &mut *self.conn;
        let Some(name) = column(field) else {
            let pairs = networks::table.select((networks::computer_id, networks::mac));
            let pairs: Vec<(i64, String)> = q!(conn => pairs.load(conn))?;
            return Ok(Set::of(pairs.into_iter().filter(|(_, mac)| passes(mac)).map(|(id, _)| id).collect()));
        };
        let said = match self.said.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Column::read(conn, name, self.few)?),
        };
        match said {
            Column::Few(values) => {
                let passing: Vec<&str> = values.iter().map(String::as_str).filter(|value| passes(value)).collect();
                if passing.len() == values.len() {
                    return Ok(Set::all());
                }
                let query = computers::table.filter(sql::<Text>(name).eq_any(passing)).select(computers::id);
                Ok(Set::of(q!(conn => query.load(conn))?))
            }
            Column::Each(pairs) => {
                Ok(Set::of(pairs.iter().filter(|(_, value)| passes(value)).map(|(id, _)| *id).collect()))
            }
        }
    }

    /// Those of which a field of the administrators' own passes; where nothing is written it is empty.
    fn own_field(&mut self, name: &str, passes: impl Fn(&str) -> bool) -> Result<Set, StoreError> {
        let conn = &mut *self.conn;
        let query = fields::table
            .inner_join(computer_fields::table.on(computer_fields::field_id.eq(fields::id)))
            .filter(fields::name_key.eq(text(&fold(name)).into_owned()))
            .filter(fields::deleted_at.is_null())
            .select((computer_fields::computer_id, computer_fields::value));
        let pairs: Vec<(i64, String)> = q!(conn => query.load(conn))?;
        let empty_passes = passes("");
        let others = pairs.into_iter().filter(|(_, value)| passes(value) != empty_passes).map(|(id, _)| id).collect();
        Ok(if empty_passes { Set::of(others).not() } else { Set::of(others) })
    }

    /// Those of which something came after a moment.
    fn newer(&mut self, field: TimeField, than: i64) -> Result<Set, StoreError> {
        let conn = &mut *self.conn;
        macro_rules! after {
            ($column:ident) => {{
                let query = computers::table.filter(computers::$column.gt(than)).select(computers::id);
                q!(conn => query.load(conn))?
            }};
        }
        Ok(Set::of(match field {
            TimeField::FirstContact => after!(first_contact),
            TimeField::LastContact => after!(last_contact),
            TimeField::LastInventory => after!(last_inventory),
        }))
    }

    /// Those whose inventory says of the field what passes. The dictionary has each value once, as it is compared.
    fn said(&mut self, section: &str, field: &str, passes: impl Fn(&str) -> bool) -> Result<Set, StoreError> {
        let (section, field) = section_key(section, field);
        let conn = &mut *self.conn;
        let values = inventory_values::table
            .filter(inventory_values::section.eq(text(&section)))
            .filter(inventory_values::field.eq(text(&field)))
            .select((inventory_values::id, inventory_values::value_key));
        let values: Vec<(i64, String)> = q!(conn => values.load(conn))?;
        let values: Vec<i64> = values.into_iter().filter(|(_, value)| passes(value)).map(|(id, _)| id).collect();
        self.numbers_of(&values, |conn, values| {
            Ok(q!(conn => computer_values::table
                .filter(computer_values::value_id.eq_any(values))
                .select(computer_values::computer_id)
                .load(conn))?)
        })
    }
}

impl Column {
    fn read(conn: &mut Conn, name: &'static str, few: usize) -> Result<Self, StoreError> {
        let different = computers::table.select(sql::<Text>(name)).distinct().limit(rows(few + 1));
        let different: Vec<String> = q!(conn => different.load(conn))?;
        if different.len() <= few {
            return Ok(Self::Few(different));
        }
        let each = computers::table.select((computers::id, sql::<Text>(name)));
        Ok(Self::Each(q!(conn => each.load(conn))?))
    }
}

/// Is every computer, or every different text, looked at for it?
fn looks_at_all(expr: &Expr) -> bool {
    !matches!(
        expr,
        Expr::Compare { field: Field::Name, operator: Operator::Eq, .. }
            | Expr::HasPackage(_)
            | Expr::HasSoftware { .. }
            | Expr::HasSection(_)
            | Expr::InGroup(_)
    )
}

/// Where a fact stands; not in `computers` if there may be several. Names in lower case are compared as names are.
pub(super) fn column(field: Field) -> Option<&'static str> {
    Some(match field {
        Field::Name => "computers.name_key",
        Field::DeviceId => "computers.device_id",
        Field::Os => "computers.os_name",
        Field::OsVersion => "computers.os_version",
        Field::Architecture => "computers.architecture",
        Field::Ip => "computers.ip_address",
        Field::Peer => "computers.peer_address",
        Field::User => "computers.user_name",
        Field::Serial => "computers.serial",
        Field::Model => "computers.model",
        Field::Uuid => "computers.uuid",
        Field::Workgroup => "computers.workgroup",
        Field::Tag => "computers.tag",
        Field::Agent => "computers.user_agent",
        Field::Proven => "CASE WHEN computers.agent_key IS NULL THEN 'name' ELSE 'key' END",
        Field::Mac => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::Sqlite;
    use super::*;
    use crate::protocol::ComputerFacts;
    use crate::store::computers::{Contact, take_facts};

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    #[test]
    fn a_column_of_few_texts_and_one_of_many_are_read_differently_and_say_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut conn = Sqlite::open(&directory.path().join("search.db")).expect("opens").writer().expect("connects");
        for (tag, n) in ["", "a", "A", "ab", "Ä", "ä", "b"].into_iter().zip(0..) {
            let device = format!("ws{n}-2024-03-05-09-10-11").parse().expect("a device id");
            let facts = ComputerFacts { tag: tag.to_owned(), os_version: format!("1.{n}"), ..ComputerFacts::default() };
            let contact = Contact { peer_address: String::new(), user_agent: String::new(), at: NOW };
            take_facts(&mut conn, &device, &facts, &contact).expect("new");
        }
        let mut found = 0;
        for field in [Field::Tag, Field::OsVersion, Field::Serial] {
            for operator in Operator::ALL {
                for value in ["", "a", "Ä", "1.3"] {
                    let expr = Expr::Compare { field, operator: *operator, value: value.to_owned() };
                    let query = Query::try_from(expr).expect("a query");
                    let mut of = |few| {
                        let search = Search { conn: &mut conn, now: NOW, few, said: HashMap::new() };
                        let set = { search }.expr(query.expr()).expect("a set");
                        (1..=7).filter(|number| set.contains(*number)).collect::<Vec<i64>>()
                    };
                    let (each, few) = (of(0), of(100));
                    assert_eq!(each, few, "{query}");
                    found += few.len();
                }
            }
        }
        assert!(found > 100, "{found}");
    }
}
