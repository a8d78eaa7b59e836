//! A query as text: parsing it gives the same query.

use std::fmt;

use super::{Expr, Query};

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
