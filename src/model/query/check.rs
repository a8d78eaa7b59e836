//! What is checked of every query, wherever it comes from.

use super::{Expr, Field, MAX_AGE, MAX_CONDITIONS, MAX_DEPTH, MAX_SECTION_NAME, Operator, is_section_name};
use crate::model::PackageId;

/// Is it one that can be kept and asked? Gives a sentence if not.
pub(super) fn check(expr: &Expr, depth: usize, conditions: &mut usize) -> Result<(), String> {
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
            if *field == Field::Proven && !["key", "name"].contains(&value.to_lowercase().as_str()) {
                return Err("what proves a computer is key or name: ask for proven = key".to_owned());
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
    if field == Field::Proven {
        return Err("what proves a computer has no order: ask for proven = key".to_owned());
    }
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
