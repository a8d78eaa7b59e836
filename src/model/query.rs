//! A question about computers: `os contains debian and not has package 1795170000`.
//!
//! One language for dynamic groups, the command line and the API. A [`Query`] has a text form ([`FromStr`],
//! [`fmt::Display`], exact inverses of each other) and a JSON form (serde), which [`FromStr`] reads as well. [`Query::matches`] is
//! what it means; a database finds the values, what passes is decided here, and that both come to the same is tested.
//! `docs/query.md` explains it to administrators.

mod parse;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::{Computer, PackageId, UnixTime};

pub use parse::QueryError;
pub use version::compare_versions;

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

/// A test of a program's version.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize))]
pub struct VersionTest {
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

impl VersionTest {
    /// Does a version pass it?
    pub fn holds(&self, version: &str) -> bool {
        self.operator.holds(compare_versions(version, &self.value))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// How it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// A fact with text.
    Field {
        /// The host name.
        Name = "name",
        /// The wire name.
        DeviceId = "device_id",
        /// The operating system.
        Os = "os",
        /// Its version; compared as versions are.
        OsVersion = "os_version",
        /// The processor's architecture.
        Architecture = "architecture",
        /// The computer's address.
        Ip = "ip",
        /// The address that it was last heard from.
        Peer = "peer",
        /// Who uses it.
        User = "user",
        /// Its serial number.
        Serial = "serial",
        /// Maker and model.
        Model = "model",
        /// The firmware's UUID.
        Uuid = "uuid",
        /// Workgroup or domain.
        Workgroup = "workgroup",
        /// The administrators' TAG.
        Tag = "tag",
        /// The agent's `User-Agent`.
        Agent = "agent",
        /// Hardware address of any of its adapters.
        Mac = "mac",
    }
}

words! {
    /// A fact with a time.
    TimeField {
        /// When it was first heard of.
        FirstContact = "first_contact",
        /// When it last said anything.
        LastContact = "last_contact",
        /// When its last inventory came.
        LastInventory = "last_inventory",
    }
}

words! {
    /// How a fact is compared.
    Operator {
        /// Equal.
        Eq = "=",
        /// Not equal: the opposite of [`Operator::Eq`], also for a fact with several values.
        Ne = "!=",
        /// Less.
        Lt = "<",
        /// Less or equal.
        Le = "<=",
        /// Greater.
        Gt = ">",
        /// Greater or equal.
        Ge = ">=",
        /// Has it somewhere.
        Contains = "contains",
        /// Begins with it.
        StartsWith = "starts with",
        /// Ends with it.
        EndsWith = "ends with",
    }
}

words! {
    /// On which side of a moment.
    Side {
        /// At that moment or before; also if it never happened.
        Older = "older than",
        /// After it.
        Newer = "newer than",
    }
}

words! {
    /// What an age is counted in.
    Unit {
        /// 60 seconds.
        Minute = "minute",
        /// 60 minutes.
        Hour = "hour",
        /// 24 hours.
        Day = "day",
        /// 7 days.
        Week = "week",
    }
}

impl Operator {
    /// Does it compare by order?
    pub fn is_order(self) -> bool {
        matches!(self, Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::Ne => order.is_ne(),
            Self::Eq | Self::Contains | Self::StartsWith | Self::EndsWith => order.is_eq(),
        }
    }
}

impl Field {
    /// Is it compared as versions are?
    pub fn is_version(self) -> bool {
        self == Self::OsVersion
    }

    /// Is it an address?
    pub fn is_address(self) -> bool {
        matches!(self, Self::Ip | Self::Peer)
    }
}

/// A span as it was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize))]
pub struct Age {
    /// How many.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
}

impl Age {
    /// As a span.
    pub fn span(self) -> Duration {
        let minutes = match self.unit {
            Unit::Minute => 1,
            Unit::Hour => 60,
            Unit::Day => 24 * 60,
            Unit::Week => 7 * 24 * 60,
        };
        Duration::from_secs(u64::from(self.count) * minutes * 60)
    }

    /// The moment that lies so far before `now`.
    pub fn before(self, now: UnixTime) -> UnixTime {
        let span = i64::try_from(self.span().as_millis()).unwrap_or(i64::MAX);
        UnixTime::from_millis(now.millis().saturating_sub(span))
    }
}

/// A network of addresses, `10.0.0.0/8`; a single address is one, too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "fetch",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "String", into = "String")
)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a network was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a network: expected one such as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(String);

impl Network {
    /// Does the address lie in it? An address that is none does not.
    pub fn contains(self, address: &str) -> bool {
        let Ok(address) = address.trim().parse::<IpAddr>() else { return false };
        masked(address.to_canonical(), self.prefix) == Some(self.address)
    }
}

/// The address with only its first bits; `None` if it has fewer.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.checked_sub(prefix.into())?;
            Some(IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into()))
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.checked_sub(prefix.into())?;
            Some(IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into()))
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
            let address: IpAddr = address.parse().ok()?;
            let widest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(widest), |text| text.parse().ok())?;
            Some(Self { address: masked(address, prefix)?, prefix })
        };
        parse().ok_or_else(|| InvalidNetwork(text.chars().take(60).collect()))
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

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

impl Facts {
    fn said(&self, section: &str, field: &str) -> &[String] {
        self.sections.get(&section_key(section, field)).map_or(&[], Vec::as_slice)
    }

    fn values(&self, field: Field) -> Vec<&str> {
        let computer = &self.computer;
        let one = match field {
            Field::Name => &computer.name,
            Field::DeviceId => computer.device_id.as_str(),
            Field::Os => &computer.os_name,
            Field::OsVersion => &computer.os_version,
            Field::Architecture => &computer.architecture,
            Field::Ip => &computer.ip_address,
            Field::Peer => &computer.peer_address,
            Field::User => &computer.user_name,
            Field::Serial => &computer.serial,
            Field::Model => &computer.model,
            Field::Uuid => &computer.uuid,
            Field::Workgroup => &computer.workgroup,
            Field::Tag => &computer.tag,
            Field::Agent => &computer.user_agent,
            Field::Mac => return self.macs.iter().map(String::as_str).collect(),
        };
        vec![one]
    }

    fn moment(&self, field: TimeField) -> Option<UnixTime> {
        match field {
            TimeField::FirstContact => Some(self.computer.first_contact),
            TimeField::LastContact => Some(self.computer.last_contact),
            TimeField::LastInventory => self.computer.last_inventory,
        }
    }
}

impl Query {
    /// What it is made of.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// Is the computer one of those asked for?
    pub fn matches(&self, facts: &Facts, now: UnixTime) -> Result<bool, NotSearchable> {
        self.searchable(facts.software.is_some())?;
        Ok(matches(&self.0, facts, now))
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

fn visit<'a>(expr: &'a Expr, seen: &mut impl FnMut(&'a Expr)) {
    seen(expr);
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| visit(part, seen)),
        Expr::Not(part) => visit(part, seen),
        _ => {}
    }
}

fn matches(expr: &Expr, facts: &Facts, now: UnixTime) -> bool {
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
            let newer = facts.moment(*field).is_some_and(|at| at > age.before(now));
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
            Self::Custom { operator, value, .. } => compare_text(*operator, fact, value),
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

fn compare_text(operator: Operator, fact: &str, value: &str) -> bool {
    let (fact, value) = (fold(fact), fold(value));
    match operator {
        Operator::Contains => fact.contains(&value),
        Operator::StartsWith => fact.starts_with(&value),
        Operator::EndsWith => fact.ends_with(&value),
        _ => operator.holds(fact.cmp(&value)),
    }
}

/// What is checked of every query, wherever it comes from. Gives a sentence.
fn check(expr: &Expr, depth: usize, conditions: &mut usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("brackets and nots are nested deeper than {MAX_DEPTH}"));
    }
    *conditions += 1;
    if *conditions > MAX_CONDITIONS {
        return Err(format!("there are more than {MAX_CONDITIONS} conditions"));
    }
    match expr {
        Expr::All(parts) | Expr::Any(parts) => {
            if parts.len() < 2 {
                return Err("\"and\" and \"or\" join two conditions or more".to_owned());
            }
            parts.iter().try_for_each(|part| check(part, depth + 1, conditions))
        }
        Expr::Not(part) => check(part, depth + 1, conditions),
        Expr::Compare { field, operator, value } => {
            if operator.is_order() {
                check_ordered(*field)?;
            }
            check_text(value)
        }
        Expr::Custom { name, value, .. } => {
            check_named(name)?;
            check_text(value)
        }
        Expr::Between { field, low, high } => {
            check_ordered(*field)?;
            check_text(low)?;
            check_text(high)
        }
        Expr::InNetwork { field, .. } if !field.is_address() => {
            Err(format!("{} is no address: only ip and peer can be in a network", field.as_str()))
        }
        Expr::Moment { age, .. } if age.count > MAX_AGE => Err(format!("an age is at most {MAX_AGE}")),
        Expr::HasPackage(number) => match PackageId::try_from(i64::from(*number)) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Expr::HasSoftware { name, version } => {
            check_named(name)?;
            let Some(test) = version else { return Ok(()) };
            if matches!(test.operator, Operator::Contains | Operator::StartsWith | Operator::EndsWith) {
                return Err("a version is compared with =, !=, <, <=, > or >=".to_owned());
            }
            check_text(&test.value)
        }
        Expr::InGroup(name) => check_named(name),
        Expr::Section { section, field, value, .. } => {
            check_section(section)?;
            check_section(field)?;
            check_text(value)
        }
        Expr::SectionBetween { section, field, low, high } => {
            check_section(section)?;
            check_section(field)?;
            check_text(low)?;
            check_text(high)
        }
        Expr::HasSection(section) => check_section(section),
        Expr::InNetwork { .. } | Expr::Moment { .. } => Ok(()),
    }
}

fn check_section(name: &str) -> Result<(), String> {
    if is_section_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(MAX_SECTION_NAME).collect();
    Err(format!("\"{shown}\" names no section and no field: expected letters, digits and _, as in CPUS.TYPE"))
}

fn check_ordered(field: Field) -> Result<(), String> {
    if field.is_address() {
        return Err(format!("addresses have no order here: ask for a network, {} in 10.0.0.0/8", field.as_str()));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("a value may not have control characters".to_owned());
    }
    Ok(())
}

fn check_named(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a name is missing: '' names nothing".to_owned());
    }
    check_text(name)
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

/// Canonical text: parsing it gives the same query.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => join(f, parts, " and ", |part| matches!(part, Self::All(_) | Self::Any(_))),
            Self::Any(parts) => join(f, parts, " or ", |part| matches!(part, Self::Any(_))),
            Self::Not(part) if matches!(**part, Self::All(_) | Self::Any(_)) => write!(f, "not ({part})"),
            Self::Not(part) => write!(f, "not {part}"),
            Self::Compare { field, operator, value } => {
                write!(f, "{} {} {}", field.as_str(), operator.as_str(), Quoted(value))
            }
            Self::Custom { name, operator, value } => {
                write!(f, "field {} {} {}", Quoted(name), operator.as_str(), Quoted(value))
            }
            Self::Between { field, low, high } => {
                write!(f, "{} between {} and {}", field.as_str(), Quoted(low), Quoted(high))
            }
            Self::InNetwork { field, network } => write!(f, "{} in {network}", field.as_str()),
            Self::Moment { field, side, age } => {
                let plural = if age.count == 1 { "" } else { "s" };
                write!(f, "{} {} {} {}{plural}", field.as_str(), side.as_str(), age.count, age.unit.as_str())
            }
            Self::HasPackage(number) => write!(f, "has package {number}"),
            Self::HasSoftware { name, version: None } => write!(f, "has software {}", Quoted(name)),
            Self::HasSoftware { name, version: Some(test) } => {
                write!(f, "has software {} {} {}", Quoted(name), test.operator.as_str(), Quoted(&test.value))
            }
            Self::InGroup(name) => write!(f, "in group {}", Quoted(name)),
            Self::Section { section, field, operator, value } => {
                write!(f, "section {section}.{field} {} {}", operator.as_str(), Quoted(value))
            }
            Self::SectionBetween { section, field, low, high } => {
                write!(f, "section {section}.{field} between {} and {}", Quoted(low), Quoted(high))
            }
            Self::HasSection(section) => write!(f, "has section {section}"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, brackets: fn(&Expr) -> bool) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(word)?;
        }
        if brackets(part) { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests;
