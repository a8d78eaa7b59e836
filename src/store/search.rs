//! Computers that a query asks for.
//!
//! SQL narrows, the query itself decides ([`Query::matches`]): the databases do not agree on letters beyond ASCII, and
//! neither knows versions or networks. So each condition becomes SQL twice: one text that holds for every computer that
//! *may* match, and, below a `not`, one that holds only for those that *must*. Values are always bound.

use std::collections::{BTreeMap, BTreeSet};

use diesel::backend::Backend as DieselBackend;
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, HasSqlType, Text};

use super::computers::ComputerRow;
use super::connection::{Backend, q};
use super::groups::EXCLUDED;
use super::row::{limit as rows, text};
use super::schema::{
    computer_fields, computer_software, computers, fields, group_members, groups, installations, networks, software,
};
use super::{Conn, StoreError};
use crate::model::query::{
    Expr, Facts, Field, Operator, Query, Side, Software, TimeField, VersionTest, fold, section_key,
};
use crate::model::{Computer, ComputerId, UnixTime};

/// Computers looked at together.
const PAGE: usize = 2000;

/// Computers that the query asks for, in order of their number, after `after`, at most `limit`.
pub fn computers(
    conn: &mut Conn,
    query: &Query,
    now: UnixTime,
    after: Option<ComputerId>,
    limit: usize,
) -> Result<Vec<Computer>, StoreError> {
    let mut found = Vec::new();
    each_match(conn, query, now, after, |computer| {
        found.push(computer);
        found.len() < limit
    })?;
    Ok(found)
}

/// Numbers of all computers that the query asks for.
pub fn ids(conn: &mut Conn, query: &Query, now: UnixTime) -> Result<BTreeSet<ComputerId>, StoreError> {
    let mut found = BTreeSet::new();
    each_match(conn, query, now, None, |computer| found.insert(computer.id))?;
    Ok(found)
}

/// All that these queries may ask of one computer.
pub fn facts<'a>(
    conn: &mut Conn,
    id: ComputerId,
    queries: impl IntoIterator<Item = &'a Query>,
) -> Result<Option<Facts>, StoreError> {
    let Some(computer) = super::computers::find(conn, id)? else { return Ok(None) };
    let mut needs = Needs { macs: true, packages: true, groups: true, ..Needs::default() };
    for asked in queries.into_iter().map(Needs::of) {
        needs.fields |= asked.fields;
        needs.sections.extend(asked.sections);
        needs.software.extend(asked.software);
    }
    Ok(with_facts(conn, vec![computer], &needs)?.pop())
}

/// How many computers SQL leaves to be looked at.
pub fn candidates(conn: &mut Conn, query: &Query, now: UnixTime) -> Result<u64, StoreError> {
    let condition = Condition::of(conn, query, now)?;
    let count: i64 = q!(conn => computers::table.filter(&condition).count().get_result(conn))?;
    Ok(count.unsigned_abs())
}

fn each_match(
    conn: &mut Conn,
    query: &Query,
    now: UnixTime,
    mut after: Option<ComputerId>,
    mut go_on: impl FnMut(Computer) -> bool,
) -> Result<(), StoreError> {
    let (condition, needs) = (Condition::of(conn, query, now)?, Needs::of(query));
    loop {
        let page = computers::table
            .filter(computers::id.gt(after.map_or(i64::MIN, |id| id.0)))
            .filter(&condition)
            .order(computers::id)
            .limit(rows(PAGE));
        let page: Vec<ComputerRow> = q!(conn => page.select(ComputerRow::as_select()).load(conn))?;
        let last = page.len() < PAGE;
        let page = page.into_iter().map(Computer::try_from).collect::<Result<Vec<_>, _>>()?;
        after = page.last().map(|computer| computer.id).or(after);
        for facts in with_facts(conn, page, &needs)? {
            if query.matches(&facts, now)? && !go_on(facts.computer) {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// What a query asks for besides a computer's own row.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a table that is read or not")]
pub(super) struct Needs {
    macs: bool,
    packages: bool,
    groups: bool,
    fields: bool,
    /// The sections' fields that are asked for.
    sections: BTreeSet<(String, String)>,
    /// The titles that are asked for, in lower case; no others are read.
    software: Vec<String>,
}

impl Needs {
    fn of(query: &Query) -> Self {
        Self::of_all(std::slice::from_ref(query))
    }

    pub(super) fn of_all(queries: &[Query]) -> Self {
        let mut needs = Self::default();
        for query in queries {
            needs.add(query);
        }
        needs
    }

    fn add(&mut self, query: &Query) {
        let needs = self;
        needs.sections.extend(query.sections());
        query.visit(&mut |expr| match expr {
            Expr::Compare { field: Field::Mac, .. } | Expr::Between { field: Field::Mac, .. } => needs.macs = true,
            Expr::HasPackage(_) => needs.packages = true,
            Expr::InGroup(_) => needs.groups = true,
            Expr::Custom { .. } => needs.fields = true,
            Expr::HasSoftware { name, .. } => needs.software.push(fold(name)),
            _ => {}
        });
    }
}

/// `page` is in any order; what is asked of it is read from its lowest number to its highest, unless it is short.
pub(super) fn with_facts(conn: &mut Conn, page: Vec<Computer>, needs: &Needs) -> Result<Vec<Facts>, StoreError> {
    let numbers = || page.iter().map(|computer| computer.id.0);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Ok(Vec::new()) };
    // A page in order of numbers is a range; one in another order is named one by one.
    let dense = last - first < 4 * i64::try_from(page.len()).unwrap_or(i64::MAX / 8);
    let ids: Vec<i64> = numbers().collect();
    macro_rules! of_page {
        ($query:expr, $column:expr) => {
            q!(conn => {
                let query = $query.into_boxed();
                let query =
                    if dense { query.filter($column.between(first, last)) } else { query.filter($column.eq_any(&ids)) };
                query.load(conn)
            })?
        };
    }
    let mut macs: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut packages: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
    let mut member_of: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    if needs.macs {
        let found: Vec<(i64, String)> =
            of_page!(networks::table.select((networks::computer_id, networks::mac)), networks::computer_id);
        for (id, mac) in found {
            macs.entry(id).or_default().push(mac);
        }
    }
    if needs.packages {
        let found: Vec<(i64, i64)> = of_page!(
            installations::table.select((installations::computer_id, installations::package_id)),
            installations::computer_id
        );
        for (id, package) in found {
            packages.entry(id).or_default().extend(u32::try_from(package).ok());
        }
    }
    if needs.groups {
        let found: Vec<(i64, String)> = of_page!(
            group_members::table
                .inner_join(groups::table.on(groups::id.eq(group_members::group_id)))
                .filter(group_members::reason.ne(EXCLUDED))
                .select((group_members::computer_id, groups::name_key)),
            group_members::computer_id
        );
        for (id, name) in found {
            member_of.entry(id).or_default().insert(name);
        }
    }
    let mut own: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    if needs.fields {
        let query = computer_fields::table
            .inner_join(fields::table.on(fields::id.eq(computer_fields::field_id)))
            .filter(computer_fields::computer_id.between(first, last))
            .select((computer_fields::computer_id, fields::name_key, computer_fields::value));
        let found: Vec<(i64, String, String)> = q!(conn => query.load(conn))?;
        for (id, name, value) in found {
            own.entry(id).or_default().insert(name, value);
        }
    }
    let mut said = sections_of((first, last), &needs.sections, conn)?;
    let mut titles: BTreeMap<i64, Vec<Software>> = BTreeMap::new();
    if !needs.software.is_empty() {
        let found: Vec<(i64, String, String)> = of_page!(
            software::table
                .inner_join(computer_software::table.on(computer_software::software_id.eq(software::id)))
                .filter(software::name_key.eq_any(&needs.software))
                .select((computer_software::computer_id, software::name, software::version)),
            computer_software::computer_id
        );
        for (id, name, version) in found {
            titles.entry(id).or_default().push(Software { name, version });
        }
    }
    let facts = page.into_iter().map(|computer| {
        let id = computer.id.0;
        Facts {
            computer,
            macs: macs.remove(&id).unwrap_or_default(),
            packages: packages.remove(&id).unwrap_or_default(),
            groups: member_of.remove(&id).unwrap_or_default(),
            fields: own.remove(&id).unwrap_or_default(),
            sections: said.remove(&id).unwrap_or_default(),
            software: Some(titles.remove(&id).unwrap_or_default()),
        }
    });
    Ok(facts.collect())
}

/// What a computer says of the sections' fields that are asked for.
type Said = BTreeMap<(String, String), Vec<String>>;

fn sections_of(
    (first, last): (i64, i64),
    asked: &BTreeSet<(String, String)>,
    conn: &mut Conn,
) -> Result<BTreeMap<i64, Said>, StoreError> {
    let mut said: BTreeMap<i64, Said> = BTreeMap::new();
    // Of one computer all it says is less than all that is said of a field; of many it is the other way round.
    if first == last && !asked.is_empty() {
        for one in super::values::of_computer(conn, ComputerId(first))? {
            let key = (one.section, one.field);
            if asked.contains(&key) {
                said.entry(first).or_default().entry(key).or_default().push(one.value);
            }
        }
        return Ok(said);
    }
    for key in asked {
        for (id, value) in super::values::said(conn, (&key.0, &key.1), (first, last))? {
            said.entry(id).or_default().entry(key.clone()).or_default().push(value);
        }
    }
    Ok(said)
}

/// A condition on a row of `computers`: texts of ours, and values that are bound.
#[derive(Debug)]
pub(super) struct Condition(Vec<Piece>);

#[derive(Debug)]
pub(super) enum Piece {
    Sql(&'static str),
    Text(String),
    Number(i64),
}

/// On which side a text may err.
#[derive(Clone, Copy)]
enum Bound {
    /// It holds for every computer that matches, and perhaps for others.
    May,
    /// It holds for none that does not match, and perhaps not for all that do.
    Must,
}

impl Bound {
    fn opposite(self) -> Self {
        match self {
            Self::May => Self::Must,
            Self::Must => Self::May,
        }
    }
}

/// A program, a test of its version, and the titles that pass it: no database compares versions.
type TitlesOf = (String, VersionTest, Vec<i64>);

/// The titles that are meant where versions are asked for. A program with more of them than a statement takes is not one.
fn titles_of(conn: &mut Conn, queries: &[Query]) -> Result<Vec<TitlesOf>, StoreError> {
    let mut asked: Vec<(String, VersionTest)> = Vec::new();
    for query in queries {
        query.visit(&mut |expr| {
            if let Expr::HasSoftware { name, version: Some(test) } = expr {
                asked.push((name.clone(), test.clone()));
            }
        });
    }
    let mut found = Vec::with_capacity(asked.len());
    for (name, test) in asked {
        let query =
            software::table.filter(software::name_key.eq(fold(&name))).select((software::id, software::version));
        let all: Vec<(i64, String)> = q!(conn => query.load(conn))?;
        let ids = all.into_iter().filter(|(_, version)| test.holds(version)).map(|(id, _)| id).collect();
        found.push((name, test, ids));
    }
    Ok(found)
}

impl Condition {
    fn of(conn: &mut Conn, query: &Query, now: UnixTime) -> Result<Self, StoreError> {
        Self::of_all(conn, std::slice::from_ref(query), now)
    }

    /// All of these queries, and what else a list asks for.
    pub(super) fn of_all(conn: &mut Conn, queries: &[Query], now: UnixTime) -> Result<Self, StoreError> {
        let titles = titles_of(conn, queries)?;
        // Letters beyond ASCII, and of Turkish, are nobody's business here: such rows are always looked at.
        let lower = match conn.0 {
            Backend::Sqlite(_) => "",
            Backend::Postgres(_) => " COLLATE \"C\"",
        };
        let mut builder = Builder { pieces: Vec::new(), titles, collate: lower, now };
        builder.sql("(1 = 1");
        for query in queries {
            builder.sql(" AND ");
            builder.expr(query.expr(), Bound::May);
        }
        builder.sql(")");
        Ok(Self(builder.pieces))
    }

    /// More of it.
    pub(super) fn also(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.0.insert(0, Piece::Sql("("));
        self.0.extend(pieces);
        self.0.push(Piece::Sql(")"));
    }
}

struct Builder {
    pieces: Vec<Piece>,
    titles: Vec<TitlesOf>,
    collate: &'static str,
    now: UnixTime,
}

impl Builder {
    fn sql(&mut self, sql: &'static str) {
        self.pieces.push(Piece::Sql(sql));
    }

    fn text(&mut self, value: &str) {
        self.pieces.push(Piece::Text(text(value).into_owned()));
    }

    /// What is left to [`Query::matches`].
    fn undecided(&mut self, bound: Bound) {
        self.sql(match bound {
            Bound::May => "1 = 1",
            Bound::Must => "1 = 0",
        });
    }

    fn expr(&mut self, expr: &Expr, bound: Bound) {
        match expr {
            Expr::All(parts) => self.join(parts, " AND ", bound),
            Expr::Any(parts) => self.join(parts, " OR ", bound),
            Expr::Not(part) => self.not(bound, |builder, bound| builder.expr(part, bound)),
            Expr::Compare { field, operator: Operator::Ne, value } => {
                self.not(bound, |builder, bound| builder.compare(*field, &[(Operator::Eq, value)], bound));
            }
            Expr::Compare { field, operator, value } => self.compare(*field, &[(*operator, value)], bound),
            Expr::Custom { name, operator: Operator::Ne, value } => {
                self.not(bound, |builder, bound| builder.tests(&Fact::Own(name), &[(Operator::Eq, value)], bound));
            }
            Expr::Custom { name, operator, value } => self.tests(&Fact::Own(name), &[(*operator, value)], bound),
            Expr::Between { field, low, high } => {
                self.compare(*field, &[(Operator::Ge, low), (Operator::Le, high)], bound);
            }
            Expr::Moment { field, side, age } => {
                self.sql(match field {
                    TimeField::FirstContact => "computers.first_contact",
                    TimeField::LastContact => "computers.last_contact",
                    TimeField::LastInventory => "coalesce(computers.last_inventory, -9223372036854775807)",
                });
                self.sql(if *side == Side::Newer { " > " } else { " <= " });
                self.pieces.push(Piece::Number(age.before(self.now).millis()));
            }
            Expr::HasPackage(number) => {
                self.sql(
                    "EXISTS (SELECT 1 FROM installations WHERE installations.computer_id = computers.id \
                     AND installations.package_id = ",
                );
                self.pieces.push(Piece::Number(i64::from(*number)));
                self.sql(")");
            }
            Expr::InGroup(name) => {
                self.sql(
                    "EXISTS (SELECT 1 FROM group_members INNER JOIN groups ON groups.id = group_members.group_id \
                     WHERE group_members.computer_id = computers.id AND group_members.reason <> 'excluded' \
                     AND groups.name_key = ",
                );
                self.text(&fold(name));
                self.sql(")");
            }
            Expr::Section { section, field, operator: Operator::Eq, value } if value.is_empty() => {
                self.not(bound, |builder, bound| builder.said(section, field, None, bound));
            }
            Expr::Section { section, field, operator: Operator::Ne, value } if value.is_empty() => {
                self.said(section, field, None, bound);
            }
            Expr::Section { section, field, operator: Operator::Ne, value } => {
                self.not(bound, |builder, bound| builder.said(section, field, Some((Operator::Eq, value)), bound));
            }
            Expr::Section { section, field, operator, value } => {
                self.said(section, field, Some((*operator, value)), bound);
            }
            Expr::SectionBetween { section, field, low, .. } => {
                self.said(section, field, Some((Operator::Ge, low)), bound);
            }
            Expr::HasSection(section) => self.said(section, "", None, bound),
            Expr::HasSoftware { name, version: Some(test) } => {
                let known = self.titles.iter().find(|(title, of, _)| title == name && of == test);
                let Some((_, _, ids)) = known.filter(|(_, _, ids)| !ids.is_empty()) else { return self.sql("1 = 0") };
                let ids = ids.clone();
                self.sql(
                    "computers.id IN (SELECT computer_software.computer_id FROM computer_software \
                     WHERE computer_software.software_id IN (",
                );
                for (at, id) in ids.into_iter().enumerate() {
                    if at > 0 {
                        self.sql(", ");
                    }
                    self.pieces.push(Piece::Number(id));
                }
                self.sql("))");
            }
            Expr::HasSoftware { name, version: None } => {
                // Not EXISTS: that would look at every title of every computer. This is read once, from the title.
                self.sql(
                    "computers.id IN (SELECT computer_software.computer_id FROM software INNER JOIN computer_software \
                     ON computer_software.software_id = software.id WHERE software.name_key = ",
                );
                self.text(&fold(name));
                self.sql(")");
            }
            Expr::InNetwork { .. } => self.undecided(bound),
        }
    }

    /// The inventory says something of the field, or something that passes the test. Keys are folded by us, so SQL is
    /// exact on them; the order of versions it does not know.
    fn said(&mut self, section: &str, field: &str, test: Option<(Operator, &str)>, bound: Bound) {
        let ordered = test.is_some_and(|(operator, _)| operator.is_order());
        if ordered && matches!(bound, Bound::Must) {
            return self.undecided(bound);
        }
        let (section, field) = section_key(section, field);
        // Not EXISTS: the dictionary is searched once, not for each computer.
        self.sql(
            "computers.id IN (SELECT computer_values.computer_id FROM inventory_values \
             INNER JOIN computer_values ON computer_values.value_id = inventory_values.id \
             WHERE inventory_values.section = ",
        );
        self.text(&section);
        self.sql(" AND inventory_values.field = ");
        self.text(&field);
        if let Some((operator, value)) = test.filter(|_| !ordered) {
            self.sql(" AND inventory_values.value_key");
            self.test(operator, &fold(value));
        }
        self.sql(")");
    }

    fn join(&mut self, parts: &[Expr], word: &'static str, bound: Bound) {
        self.sql("(");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.sql(word);
            }
            self.expr(part, bound);
        }
        self.sql(")");
    }

    fn not(&mut self, bound: Bound, inner: impl FnOnce(&mut Self, Bound)) {
        self.sql("NOT (");
        inner(self, bound.opposite());
        self.sql(")");
    }

    /// All of these comparisons hold for the fact; for any of its values, if it has several.
    fn compare(&mut self, field: Field, tests: &[(Operator, &str)], bound: Bound) {
        if field.is_version() && tests.iter().any(|(operator, _)| operator.is_order() || *operator == Operator::Eq) {
            return self.undecided(bound);
        }
        if let (Field::Name, [(Operator::Eq, value)]) = (field, tests) {
            // The key is made as the comparison is, so this decides; and it has an index.
            self.sql("computers.name_key = ");
            return self.text(&fold(value));
        }
        let column = Fact::Column(column(field));
        if field == Field::Mac {
            self.sql("EXISTS (SELECT 1 FROM networks WHERE networks.computer_id = computers.id AND ");
        }
        self.tests(&column, tests, bound);
        if field == Field::Mac {
            self.sql(")");
        }
    }

    /// What a row has: a column, or what a field of the administrators' own says, empty where it says nothing.
    fn fact(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Column(column) => self.sql(column),
            Fact::Own(name) => {
                self.sql(
                    "coalesce((SELECT computer_fields.value FROM computer_fields \
                     INNER JOIN fields ON fields.id = computer_fields.field_id \
                     WHERE computer_fields.computer_id = computers.id AND fields.name_key = ",
                );
                self.text(&fold(name));
                self.sql("), '')");
            }
        }
    }

    fn tests(&mut self, fact: &Fact<'_>, tests: &[(Operator, &str)], bound: Bound) {
        self.sql("(");
        for (operator, value) in tests {
            self.sql("lower(");
            self.fact(fact);
            self.sql(self.collate);
            self.sql(")");
            self.test(*operator, &fold(value));
            self.sql(" AND ");
        }
        self.sql("1 = 1");
        // Where lower case is not the same everywhere.
        self.sql(match bound {
            Bound::May => " OR octet_length(",
            Bound::Must => " AND octet_length(",
        });
        self.fact(fact);
        self.sql(match bound {
            Bound::May => ") <> length(",
            Bound::Must => ") = length(",
        });
        self.fact(fact);
        self.sql("))");
    }

    fn test(&mut self, operator: Operator, value: &str) {
        let pattern = || value.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        let (sql, value) = match operator {
            Operator::Contains => (" LIKE ", format!("%{}%", pattern())),
            Operator::StartsWith => (" LIKE ", format!("{}%", pattern())),
            Operator::EndsWith => (" LIKE ", format!("%{}", pattern())),
            Operator::Lt => (" < ", value.to_owned()),
            Operator::Le => (" <= ", value.to_owned()),
            Operator::Gt => (" > ", value.to_owned()),
            Operator::Ge => (" >= ", value.to_owned()),
            Operator::Eq | Operator::Ne => (" = ", value.to_owned()),
        };
        self.sql(sql);
        self.text(&value);
        if sql == " LIKE " {
            self.sql(" ESCAPE '!'");
        }
    }
}

/// What is compared.
enum Fact<'a> {
    /// A column.
    Column(&'static str),
    /// The administrators' own field of that name.
    Own(&'a str),
}

fn column(field: Field) -> &'static str {
    match field {
        Field::Name => "computers.name",
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
        Field::Mac => "networks.mac",
    }
}

impl Expression for Condition {
    type SqlType = Bool;
}
impl AppearsOnTable<computers::table> for Condition {}
impl SelectableExpression<computers::table> for Condition {}
impl<G> ValidGrouping<G> for Condition {
    type IsAggregate = diesel::expression::is_aggregate::No;
}

/// Every one is another statement.
impl QueryId for Condition {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for Condition
where
    DB: DieselBackend + HasSqlType<Text> + HasSqlType<BigInt>,
    String: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        for piece in &self.0 {
            match piece {
                Piece::Sql(sql) => out.push_sql(sql),
                Piece::Text(text) => out.push_bind_param::<Text, String>(text)?,
                Piece::Number(number) => out.push_bind_param::<BigInt, i64>(number)?,
            }
        }
        Ok(())
    }
}
