//! The builder of queries for those who do not type: rows of a form, which become the same text.

use super::super::call::Fields;
use crate::model::query::{Expr, Operator, Query};

/// What a row may ask of: the computer's own facts.
const FACTS: [(&str, &str); 22] = [
    ("name", "name"),
    ("os", "system"),
    ("os_version", "system's version"),
    ("architecture", "architecture"),
    ("ip", "address"),
    ("peer", "heard from"),
    ("user", "user"),
    ("tag", "tag"),
    ("serial", "serial number"),
    ("model", "model"),
    ("uuid", "UUID"),
    ("workgroup", "workgroup"),
    ("mac", "MAC address"),
    ("proven", "proven by (key, name)"),
    ("agent", "agent"),
    ("device_id", "device id"),
    ("first_contact", "first contact"),
    ("last_contact", "last contact"),
    ("last_inventory", "last inventory"),
    ("software", "software"),
    ("package", "package number"),
    ("group", "group"),
];

/// Fields of inventories that people ask for; any other is asked for as text, and stays in the row that has it.
const SECTIONS: [(&str, &str); 27] = [
    ("HARDWARE.MEMORY", "memory, in MB"),
    ("HARDWARE.PROCESSORT", "processor"),
    ("CPUS.TYPE", "processors: type"),
    ("CPUS.CORES", "processors: cores"),
    ("MEMORIES.CAPACITY", "memory modules: size in MB"),
    ("MEMORIES.TYPE", "memory modules: type"),
    ("BIOS.SMANUFACTURER", "manufacturer"),
    ("BIOS.SMODEL", "machine"),
    ("BIOS.BMANUFACTURER", "BIOS: manufacturer"),
    ("BIOS.BVERSION", "BIOS: version"),
    ("BIOS.BDATE", "BIOS: date"),
    ("STORAGES.MODEL", "storages: model"),
    ("STORAGES.TYPE", "storages: type"),
    ("STORAGES.DISKSIZE", "storages: size in MB"),
    ("DRIVES.TYPE", "drives: mounted at"),
    ("DRIVES.FILESYSTEM", "drives: file system"),
    ("DRIVES.TOTAL", "drives: size in MB"),
    ("NETWORKS.DESCRIPTION", "networks: adapter"),
    ("NETWORKS.IPSUBNET", "networks: subnet"),
    ("NETWORKS.IPGATEWAY", "networks: gateway"),
    ("NETWORKS.SPEED", "networks: speed"),
    ("VIDEOS.NAME", "graphics: name"),
    ("MONITORS.CAPTION", "monitors: name"),
    ("MONITORS.SERIAL", "monitors: serial number"),
    ("PRINTERS.NAME", "printers: name"),
    ("USBDEVICES.DESCRIPTION", "USB devices: description"),
    ("VIRTUALMACHINES.NAME", "virtual machines: name"),
];
/// Before the name of a field of the administrators' own.
const OWN: &str = "field:";
/// Before a section and its field.
const SECTION: &str = "section:";
/// A section as such.
const HAS_SECTION: &str = "has_section";

/// How a row may ask.
const OPERATORS: [(&str, &str); 15] = [
    ("contains", "contains"),
    ("!contains", "does not contain"),
    ("=", "is"),
    ("!=", "is not"),
    ("empty", "is empty"),
    ("!empty", "is not empty"),
    ("starts with", "starts with"),
    ("ends with", "ends with"),
    ("<", "is less than"),
    ("<=", "is at most"),
    (">", "is more than"),
    (">=", "is at least"),
    ("in", "is in the network"),
    ("older than", "is longer ago than"),
    ("newer than", "is more recent than"),
];

/// A row of the builder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) join: &'static str,
    pub(super) field: String,
    pub(super) operator: String,
    pub(super) value: String,
    /// What is wrong about it.
    pub(super) error: Option<String>,
}

impl Row {
    fn blank() -> Self {
        Self { field: "name".to_owned(), operator: "contains".to_owned(), ..Self::default() }
    }

    /// Does it say nothing?
    fn is_blank(&self) -> bool {
        self.value.is_empty() && !self.operator.ends_with("empty")
    }
}

/// What may be chosen, under a title.
pub(super) struct Group {
    pub(super) title: &'static str,
    /// Word and title.
    pub(super) options: Vec<(String, String)>,
}

/// The rows of a query.
pub(super) struct Builder {
    pub(super) rows: Vec<Row>,
    /// Are they all of it? Brackets are beyond rows.
    pub(super) simple: bool,
    /// The row that the script adds.
    pub(super) added: [Row; 1],
    /// Names of the administrators' own fields.
    own: Vec<String>,
}

impl Builder {
    /// The rows that a query is made of.
    pub(super) fn of(text: &str, own: impl Iterator<Item = String>) -> Self {
        let (rows, simple) = rows_of(text);
        Self { rows, simple, added: [Row::blank()], own: own.collect() }
    }

    /// The rows of a form, each with what is wrong about it.
    pub(super) fn typed(form: &Fields, own: impl Iterator<Item = String>) -> Self {
        let mut rows = rows_in(form);
        for row in rows.iter_mut().filter(|row| !row.is_blank()) {
            row.error = condition(row).parse::<Query>().err().map(|error| sentence(&error.to_string()));
        }
        if rows.is_empty() {
            rows.push(Row::blank());
        }
        Self { rows, simple: true, added: [Row::blank()], own: own.collect() }
    }

    /// Is nothing wrong about any row?
    pub(super) fn is_right(&self) -> bool {
        self.rows.iter().all(|row| row.error.is_none())
    }

    /// What the rows say, as somebody would type it. What does not fit together is refused by the reader of the text, which
    /// shows the place.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| !row.is_blank()) {
            if !text.is_empty() {
                text.push_str(if row.join == "or" { " or " } else { " and " });
            }
            text.push_str(&condition(row));
        }
        text
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(super) fn operators(&self) -> &'static [(&'static str, &'static str)] {
        &OPERATORS
    }

    /// What a row may ask of, with what it asks of now.
    pub(super) fn groups(&self, row: &Row) -> Vec<Group> {
        let pairs = |pairs: &[(&str, &str)], before: &str| -> Vec<(String, String)> {
            pairs.iter().map(|(word, title)| (format!("{before}{word}"), (*title).to_owned())).collect()
        };
        let own = self.own.iter().map(|name| (format!("{OWN}{name}"), name.clone())).collect();
        let mut sections = pairs(&SECTIONS, SECTION);
        sections.push((HAS_SECTION.to_owned(), "has the section".to_owned()));
        let mut groups = vec![
            Group { title: "Computer", options: pairs(&FACTS, "") },
            Group { title: "Own fields", options: own },
            Group { title: "Inventory", options: sections },
        ];
        if groups.iter().all(|group| group.options.iter().all(|(word, _)| *word != row.field)) {
            let title = row.field.trim_start_matches(OWN).trim_start_matches(SECTION).to_owned();
            groups.push(Group { title: "Asked for", options: vec![(row.field.clone(), title)] });
        }
        groups.retain(|group| !group.options.is_empty());
        groups
    }
}

/// What is wrong, without the place: the row is the place.
fn sentence(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    first.trim_start_matches("the query cannot be used: ").to_owned()
}

/// The rows as they were typed.
fn rows_in(form: &Fields) -> Vec<Row> {
    let (fields, operators): (Vec<&str>, Vec<&str>) = (form.all("field").collect(), form.all("op").collect());
    let joins: Vec<&str> = form.all("join").collect();
    let row = |(at, value): (usize, &str)| {
        // The first row has no word before it.
        let join = at.checked_sub(1).and_then(|at| joins.get(at)).copied();
        Some(Row {
            join: if join == Some("or") { "or" } else { "and" },
            field: (*fields.get(at)?).to_owned(),
            operator: (*operators.get(at)?).to_owned(),
            value: value.trim().to_owned(),
            error: None,
        })
    };
    form.all("value").enumerate().map_while(row).collect()
}

fn condition(row: &Row) -> String {
    let (field, operator, value) = (row.field.as_str(), row.operator.as_str(), row.value.as_str());
    // "Is not" and "does not contain".
    let not = if operator.starts_with('!') { "not " } else { "" };
    match field {
        "software" => {
            // "firefox < 140" asks for a version, too.
            let test = ["<=", ">=", "<", ">", "="].into_iter().find_map(|sign| {
                let (name, version) = value.split_once(&format!(" {sign} "))?;
                Some(format!("{} {sign} {}", quoted(name.trim()), quoted(version.trim())))
            });
            format!("{not}has software {}", test.unwrap_or_else(|| quoted(value)))
        }
        "package" => format!("{not}has package {}", bare(value)),
        "group" => format!("{not}in group {}", quoted(value)),
        HAS_SECTION => format!("{not}has section {}", quoted(value)),
        "first_contact" | "last_contact" | "last_inventory" => {
            let side = if operator == "newer than" { "newer than" } else { "older than" };
            let days = if value.bytes().all(|byte| byte.is_ascii_digit()) { " days" } else { "" };
            format!("{field} {side} {}{days}", bare(value))
        }
        _ => compared(&asked_of(field), operator, value),
    }
}

/// What a comparison begins with.
fn asked_of(field: &str) -> String {
    match (field.strip_prefix(OWN), field.strip_prefix(SECTION)) {
        (Some(name), _) => format!("field {}", quoted(name)),
        (_, Some(section)) => format!("section {}", bare(section)),
        _ => bare(field),
    }
}

fn compared(what: &str, operator: &str, value: &str) -> String {
    match operator {
        "in" => format!("{what} in {}", bare(value)),
        "empty" => format!("{what} = ''"),
        "!empty" => format!("{what} != ''"),
        "!contains" => format!("not {what} contains {}", quoted(value)),
        _ => format!("{what} {} {}", bare(operator), quoted(value)),
    }
}

/// Without what would end a word.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\'' | '"' | '(' | ')') && !c.is_control()).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A query for these computers and no others.
pub(super) fn any_of(ids: &[String]) -> String {
    let parts: Vec<String> = ids.iter().map(|id| format!("device_id = {}", quoted(id))).collect();
    parts.join(" or ")
}

/// The rows that a query is made of, and whether they are all of it: brackets are beyond rows.
fn rows_of(text: &str) -> (Vec<Row>, bool) {
    let blank = || vec![Row::blank()];
    if text.trim().is_empty() {
        return (blank(), true);
    }
    // One that cannot be read has its own sentence.
    let Ok(query) = text.parse::<Query>() else { return (blank(), true) };
    let (parts, join): (&[Expr], &'static str) = match query.expr() {
        Expr::All(parts) => (parts, "and"),
        Expr::Any(parts) => (parts, "or"),
        one => (std::slice::from_ref(one), "and"),
    };
    match parts.iter().map(|part| row(part, join)).collect::<Option<Vec<_>>>() {
        Some(rows) => (rows, true),
        None => (blank(), false),
    }
}

fn row(part: &Expr, join: &'static str) -> Option<Row> {
    let row = |field: String, operator: &str, value: String| {
        Some(Row { join, field, operator: operator.to_owned(), value, error: None })
    };
    let (negative, asked) = match part {
        Expr::Not(inner) => (true, inner.as_ref()),
        other => (false, other),
    };
    let is = if negative { "!=" } else { "=" };
    match asked {
        Expr::HasPackage(number) => return row("package".to_owned(), is, number.to_string()),
        Expr::HasSoftware { name, version: None } => return row("software".to_owned(), is, name.clone()),
        Expr::InGroup(name) => return row("group".to_owned(), is, name.clone()),
        Expr::HasSection(section) => return row(HAS_SECTION.to_owned(), is, section.clone()),
        Expr::HasSoftware { name, version: Some(test) } if !negative => {
            let value = format!("{name} {} {}", test.operator.as_str(), test.value);
            return row("software".to_owned(), is, value);
        }
        Expr::InNetwork { field, network } if !negative => {
            return row(field.as_str().to_owned(), "in", network.to_string());
        }
        Expr::Moment { field, side, .. } if !negative => {
            let text = part.to_string();
            let age = text.split(side.as_str()).nth(1)?.trim().to_owned();
            return row(field.as_str().to_owned(), side.as_str(), age);
        }
        _ => {}
    }
    let (field, operator, value) = match asked {
        Expr::Compare { field, operator, value } => (field.as_str().to_owned(), *operator, value),
        Expr::Custom { name, operator, value } => (format!("{OWN}{name}"), *operator, value),
        Expr::Section { section, field, operator, value } => (format!("{SECTION}{section}.{field}"), *operator, value),
        _ => return None,
    };
    let word = match (negative, operator) {
        // "Is not" is the opposite of "is", also for a fact with several values.
        (false, Operator::Eq) | (true, Operator::Ne) if value.is_empty() => "empty",
        (false, Operator::Ne) | (true, Operator::Eq) if value.is_empty() => "!empty",
        (true, Operator::Eq) => "!=",
        (true, Operator::Ne) => "=",
        (true, Operator::Contains) => "!contains",
        (true, _) => return None,
        (false, operator) => operator.as_str(),
    };
    row(field, word, value.clone())
}

#[cfg(test)]
mod tests {
    use super::super::super::serve::fields;
    use super::*;
    use crate::model::query::Field;

    #[test]
    fn rows_become_the_text_that_somebody_would_type() {
        for (form, text) in [
            ("field=name&op=contains&value=par", "name contains 'par'"),
            ("field=name&op=%3D&value=O'Brien\\", "name = 'O\\'Brien\\\\'"),
            (
                "field=os&op=!contains&value=win&join=or&field=tag&op=!%3D&value=x",
                "not os contains 'win' or tag != 'x'",
            ),
            ("field=last_contact&op=older than&value=30", "last_contact older than 30 days"),
            ("field=software&op=%3D&value=firefox < 140", "has software 'firefox' < '140'"),
            ("field=software&op=!%3D&value=vim", "not has software 'vim'"),
            ("field=ip&op=in&value=10.0.0.0/8", "ip in 10.0.0.0/8"),
            (
                "field=group&op=%3D&value=Lab 1&join=and&field=package&op=%3D&value=17",
                "in group 'Lab 1' and has package 17",
            ),
            ("field=name&op=%3D&value=&join=and&field=tag&op=%3D&value=x", "tag = 'x'"),
            ("field=field:Cost+centre&op=%3E%3D&value=10", "field 'Cost centre' >= '10'"),
            ("field=field:Room&op=empty&value=", "field 'Room' = ''"),
            ("field=section:CPUS.TYPE&op=!contains&value=xeon", "not section CPUS.TYPE contains 'xeon'"),
            ("field=has_section&op=!%3D&value=PRINTERS", "not has section 'PRINTERS'"),
        ] {
            let form = fields(&form.replace(' ', "+").replace('<', "%3C").replace('\\', "%5C"));
            let builder = Builder::typed(&form, std::iter::empty());
            assert!(builder.is_right(), "{text}");
            let composed = builder.text();
            assert_eq!(composed, text);
            composed.parse::<Query>().expect("it is a query");
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_row_and_nothing_is_asked() {
        let form = fields(
            "field=name&op=%3D&value=x&join=and&field=last_contact&op=older+than&value=long&join=and&field=ip&op=%3C&value=10",
        );
        let builder = Builder::typed(&form, std::iter::once("Room".to_owned()));
        let errors: Vec<Option<&str>> = builder.rows.iter().map(|row| row.error.as_deref()).collect();
        assert!(!builder.is_right());
        assert_eq!(errors[0], None);
        assert_eq!(errors[1], Some("expected a number, as in 30 days"));
        assert!(errors[2].is_some_and(|error| error.starts_with("addresses have no order here")), "{errors:?}");
        let titles: Vec<&str> = builder.groups(&builder.rows[0]).iter().map(|group| group.title).collect();
        assert_eq!(titles, ["Computer", "Own fields", "Inventory"]);
        let other = Row { field: "section:OTHER.NAME".to_owned(), ..Row::blank() };
        assert_eq!(builder.groups(&other).last().expect("its own").options[0].1, "OTHER.NAME");
    }

    #[test]
    fn every_fact_has_a_row() {
        let rows: Vec<&str> = FACTS.iter().map(|(word, _)| *word).collect();
        let facts = Field::ALL.iter().map(|field| field.as_str());
        for fact in facts.chain(crate::model::query::TimeField::ALL.iter().map(|field| field.as_str())) {
            assert!(rows.contains(&fact), "{fact} cannot be chosen");
        }
    }

    #[test]
    fn a_query_without_brackets_comes_back_as_rows() {
        for text in [
            "name contains 'par'",
            "os contains 'debian' and not tag contains 'lab' and last_contact older than 2 weeks",
            "has software 'firefox' < '140' or in group 'Lab' or ip in 10.0.0.0/8",
            "not has package 1795170000 and serial != 'x'",
            "field 'Room' starts with 'B' and not field 'Room' contains '7' and field 'Floor' != ''",
            "section STORAGES.MODEL contains 'ssd' or section USBDEVICES.NAME = '' or has section PRINTERS",
            "proven = 'key' and not in group 'Lab'",
        ] {
            let (rows, whole) = rows_of(text);
            assert!(whole, "{text}");
            let form = Fields(
                rows.iter()
                    .enumerate()
                    .flat_map(|(at, row)| {
                        let mut pairs = vec![
                            ("field".to_owned(), row.field.clone()),
                            ("op".to_owned(), row.operator.clone()),
                            ("value".to_owned(), row.value.clone()),
                        ];
                        if at > 0 {
                            pairs.push(("join".to_owned(), row.join.to_owned()));
                        }
                        pairs
                    })
                    .collect(),
            );
            let again: Query = Builder::typed(&form, std::iter::empty()).text().parse().expect("a query");
            assert_eq!(rows_of(&again.to_string()).0, rows, "{text}");
        }
        assert!(!rows_of("name = 'a' and (tag = 'b' or tag = 'c')").1);
        assert_eq!(rows_of("not tag = 'x'").0, rows_of("tag != 'x'").0);
    }
}
