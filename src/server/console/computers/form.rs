//! The builder of queries for those who do not type: rows of a form, which become the same text.

use super::super::call::Fields;
use crate::model::query::{Expr, Operator, Query, Side, TimeField};

/// What a row may ask of.
pub(super) const FIELDS: [(&str, &str); 21] = [
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
    ("agent", "agent"),
    ("device_id", "device id"),
    ("first_contact", "first contact"),
    ("last_contact", "last contact"),
    ("last_inventory", "last inventory"),
    ("software", "software"),
    ("package", "package number"),
    ("group", "group"),
];

/// How a row may ask.
pub(super) const OPERATORS: [(&str, &str); 13] = [
    ("contains", "contains"),
    ("!contains", "does not contain"),
    ("=", "is"),
    ("!=", "is not"),
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
}

impl Row {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(super) fn fields(&self) -> &'static [(&'static str, &'static str)] {
        &FIELDS
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(super) fn operators(&self) -> &'static [(&'static str, &'static str)] {
        &OPERATORS
    }
}

/// The text of a form's rows; rows without a value say nothing. What does not fit together is refused by the reader of
/// the text, which shows the place.
pub(super) fn compose(form: &Fields) -> String {
    let (fields, operators, values): (Vec<&str>, Vec<&str>, Vec<&str>) =
        (form.all("field").collect(), form.all("op").collect(), form.all("value").collect());
    let joins: Vec<&str> = form.all("join").collect();
    let mut text = String::new();
    for (at, value) in values.iter().map(|value| value.trim()).enumerate() {
        let (Some(field), Some(operator)) = (fields.get(at), operators.get(at)) else { break };
        if value.is_empty() {
            continue;
        }
        if !text.is_empty() {
            // The first row has no word before it.
            let join = at.checked_sub(1).and_then(|at| joins.get(at)).copied();
            text.push_str(if join == Some("or") { " or " } else { " and " });
        }
        text.push_str(&condition(field, operator, value));
    }
    text
}

fn condition(field: &str, operator: &str, value: &str) -> String {
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
        "first_contact" | "last_contact" | "last_inventory" => {
            let side = if operator == "newer than" { "newer than" } else { "older than" };
            let days = if value.bytes().all(|byte| byte.is_ascii_digit()) { " days" } else { "" };
            format!("{field} {side} {}{days}", bare(value))
        }
        _ if operator == "in" => format!("{} in {}", bare(field), bare(value)),
        _ => match operator {
            "!contains" => format!("not {} contains {}", bare(field), quoted(value)),
            _ => format!("{} {} {}", bare(field), bare(operator), quoted(value)),
        },
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
pub(super) fn rows_of(text: &str) -> (Vec<Row>, bool) {
    let blank = || vec![Row { field: "name".to_owned(), operator: "contains".to_owned(), ..Row::default() }];
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
    let row = |field: &str, operator: &str, value: String| {
        Some(Row { join, field: field.to_owned(), operator: operator.to_owned(), value })
    };
    match part {
        Expr::Compare { field, operator, value } => row(field.as_str(), operator.as_str(), value.clone()),
        Expr::InNetwork { field, .. } => row(field.as_str(), "in", part.to_string().rsplit(' ').next()?.to_owned()),
        Expr::Moment { field, side, .. } => {
            let text = part.to_string();
            let age = text.split(side_word(*side)).nth(1)?.trim().to_owned();
            row(time_word(*field), side_word(*side), age)
        }
        Expr::HasPackage(number) => row("package", "=", number.to_string()),
        Expr::HasSoftware { name, version: None } => row("software", "=", name.clone()),
        Expr::HasSoftware { name, version: Some(test) } => {
            row("software", "=", format!("{name} {} {}", test.operator.as_str(), test.value))
        }
        Expr::InGroup(name) => row("group", "=", name.clone()),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Compare { field, operator: Operator::Contains, value } => {
                row(field.as_str(), "!contains", value.clone())
            }
            // "Is not" is the opposite of "is", also for a fact with several values.
            Expr::Compare { field, operator: Operator::Eq, value } => row(field.as_str(), "!=", value.clone()),
            Expr::HasPackage(number) => row("package", "!=", number.to_string()),
            Expr::HasSoftware { name, version: None } => row("software", "!=", name.clone()),
            Expr::InGroup(name) => row("group", "!=", name.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn side_word(side: Side) -> &'static str {
    side.as_str()
}

fn time_word(field: TimeField) -> &'static str {
    field.as_str()
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
        ] {
            let composed = compose(&fields(&form.replace(' ', "+").replace('<', "%3C").replace('\\', "%5C")));
            assert_eq!(composed, text, "{form}");
            composed.parse::<Query>().expect("it is a query");
        }
    }

    #[test]
    fn every_fact_has_a_row() {
        let rows: Vec<&str> = FIELDS.iter().map(|(word, _)| *word).collect();
        let facts = Field::ALL.iter().map(|field| field.as_str());
        for fact in facts.chain(TimeField::ALL.iter().map(|field| field.as_str())) {
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
            let again: Query = compose(&form).parse().expect("a query");
            assert_eq!(again, text.parse().expect("a query"), "{text}");
        }
        assert!(!rows_of("name = 'a' and (tag = 'b' or tag = 'c')").1);
        assert_eq!(rows_of("not tag = 'x'").0, rows_of("tag != 'x'").0);
    }
}
