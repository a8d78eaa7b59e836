//! Text into a query. Every complaint points at its place.

use std::fmt;
use std::str::FromStr;

use super::{
    Age, Expr, Field, MAX_CONDITIONS, MAX_DEPTH, MAX_LENGTH, Network, Operator, Query, Side, TimeField, Unit,
    VersionTest, check,
};
use crate::model::PackageId;

/// Why a query was refused. Prints the query with a mark below the place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryError {
    problem: String,
    /// The query as one line, and how many characters lie before the place.
    place: Option<(String, usize)>,
}

impl QueryError {
    pub(super) fn of_tree(problem: String) -> Self {
        Self { problem, place: None }
    }

    fn at(problem: impl Into<String>, text: &str, byte: usize) -> Self {
        // A window around the place: long queries would wrap, and the mark would stand anywhere.
        const BEFORE: usize = 60;
        if text.trim().is_empty() {
            return Self::of_tree(problem.into());
        }
        let before = text[..byte].chars().count();
        let skipped = before.saturating_sub(BEFORE);
        let line = text.chars().skip(skipped).take(BEFORE + 40);
        let line = line.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { problem: problem.into(), place: Some((line, before - skipped)) }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the query cannot be used: {}", self.problem)?;
        if let Some((line, before)) = &self.place {
            write!(f, "\n  {line}\n  {:before$}^", "")?;
        }
        Ok(())
    }
}

impl std::error::Error for QueryError {}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        // Nothing else in the language begins so.
        #[cfg(feature = "fetch")]
        if text.trim_start().starts_with('{') {
            return from_json(text);
        }
        if text.len() > MAX_LENGTH {
            return Err(QueryError::of_tree(format!("it is longer than {MAX_LENGTH} bytes")));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { text, tokens, next: 0, conditions: 0 };
        let expr = parser.any(1)?;
        if let Some(token) = parser.peek() {
            let hint = match &token.kind {
                Kind::Symbol(")") => "there is no bracket open here".to_owned(),
                _ => "expected \"and\", \"or\" or the end".to_owned(),
            };
            return Err(QueryError::at(hint, text, token.at));
        }
        // What printing would make longer than what can be read again is refused here.
        Self::try_from(expr)
    }
}

/// The other form. Programs write it, who have no use for a mark below a place.
#[cfg(feature = "fetch")]
fn from_json(text: &str) -> Result<Query, QueryError> {
    use super::MAX_JSON_LENGTH;

    if text.len() > MAX_JSON_LENGTH {
        return Err(QueryError::of_tree(format!("as JSON it is longer than {MAX_JSON_LENGTH} bytes")));
    }
    let expr: Expr =
        serde_json::from_str(text).map_err(|error| QueryError::of_tree(format!("as JSON it is none: {error}")))?;
    Query::try_from(expr)
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    Word(String),
    Quoted(String),
    Symbol(&'static str),
}

#[derive(Clone, Debug)]
struct Token {
    at: usize,
    kind: Kind,
}

/// Longer ones first.
const SYMBOLS: [&str; 10] = ["!=", "<>", "<=", ">=", "==", "=", "<", ">", "(", ")"];

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, kind) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first == '\'' || first == '"' {
            let (length, value) = quoted(text, at, first)?;
            (length, Kind::Quoted(value))
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (symbol.len(), Kind::Symbol(symbol))
        } else {
            let ends = |c: char| c.is_whitespace() || "'\"=<>!()".contains(c);
            let length = rest.find(ends).unwrap_or(rest.len());
            if length == 0 {
                return Err(QueryError::at(format!("\"{first}\" means nothing here"), text, at));
            }
            (length, Kind::Word(rest[..length].to_owned()))
        };
        tokens.push(Token { at, kind });
        at += length;
    }
    Ok(tokens)
}

/// A value in quotes: its length with them, and what they hold.
fn quoted(text: &str, start: usize, quote: char) -> Result<(usize, String), QueryError> {
    let mut value = String::new();
    let mut characters = text[start..].char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Ok((at + 1, value)),
            '\\' => {
                let Some((_, escaped @ ('\\' | '\'' | '"'))) = characters.next() else {
                    let problem = "\\ stands before \\, ' or \": a backslash itself is written \\\\";
                    return Err(QueryError::at(problem, text, start + at));
                };
                value.push(escaped);
            }
            _ if character.is_control() => {
                return Err(QueryError::at("a value may not have control characters", text, start + at));
            }
            _ => value.push(character),
        }
    }
    Err(QueryError::at(format!("this {quote} is never closed"), text, start))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    conditions: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    /// The place of the next token.
    fn place(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.at)
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::at(problem, self.text, self.place()))
    }

    /// Takes that word if it is the next one.
    fn takes(&mut self, word: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token { kind: Kind::Word(next), .. }) if next.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token { kind: Kind::Symbol(next), .. }) if *next == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), QueryError> {
        if self.takes(word) { Ok(()) } else { self.fail(format!("expected \"{word}\"")) }
    }

    fn any(&mut self, depth: usize) -> Result<Expr, QueryError> {
        self.joined(depth, "or", Expr::Any, |parser, depth| parser.joined(depth, "and", Expr::All, Self::unary))
    }

    fn joined(
        &mut self,
        depth: usize,
        word: &str,
        make: fn(Vec<Expr>) -> Expr,
        part: impl Fn(&mut Self, usize) -> Result<Expr, QueryError>,
    ) -> Result<Expr, QueryError> {
        let first = part(self, depth)?;
        let mut parts = vec![first];
        while self.takes(word) {
            parts.push(part(self, depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { make(parts) })
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, QueryError> {
        if depth > MAX_DEPTH {
            return self.fail(format!("brackets and nots are nested deeper than {MAX_DEPTH}"));
        }
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return self.fail(format!("there are more than {MAX_CONDITIONS} conditions"));
        }
        let start = self.place();
        if self.takes("not") {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.takes_symbol("(") {
            let inner = self.any(depth + 1)?;
            if !self.takes_symbol(")") {
                return Err(QueryError::at("this bracket is never closed", self.text, start));
            }
            return Ok(inner);
        }
        let expr = self.condition()?;
        // What the parts do not say by themselves is complained about where the condition begins.
        check(&expr, 1, &mut 0).map_err(|problem| QueryError::at(problem, self.text, start))?;
        Ok(expr)
    }

    fn condition(&mut self) -> Result<Expr, QueryError> {
        if self.takes("in") {
            self.expect("group")?;
            return Ok(Expr::InGroup(self.value()?));
        }
        if self.takes("has") {
            let none = self.takes("no");
            let has = self.has()?;
            return Ok(if none { Expr::Not(Box::new(has)) } else { has });
        }
        if self.takes("field") {
            let name = self.value()?;
            let Some(operator) = self.operator()? else {
                return self.fail("expected =, !=, <, <=, >, >=, contains, starts with or ends with");
            };
            return Ok(Expr::Custom { name, operator, value: self.value()? });
        }
        if self.takes("section") {
            return self.section();
        }
        let Some(Token { kind: Kind::Word(word), .. }) = self.peek() else {
            return self
                .fail("expected a condition, such as name = 'ws042', has package 1795170000 or in group 'Paris'");
        };
        let word = word.to_ascii_lowercase();
        if let Some(field) = TimeField::ALL.iter().find(|field| field.as_str() == word) {
            self.next += 1;
            return self.moment(*field);
        }
        let Some(field) = Field::ALL.iter().find(|field| field.as_str() == word).copied() else {
            let names = Field::ALL.iter().map(|field| field.as_str());
            let names: Vec<&str> = names.chain(TimeField::ALL.iter().map(|field| field.as_str())).collect();
            return self.fail(format!(
                "\"{}\" is no field: there are {}",
                word.chars().take(40).collect::<String>(),
                names.join(", ")
            ));
        };
        self.next += 1;
        if self.takes("in") {
            let at = self.place();
            let network: Result<Network, _> = self.value()?.parse();
            let network = network.map_err(|error| QueryError::at(error.to_string(), self.text, at))?;
            return Ok(Expr::InNetwork { field, network });
        }
        if self.takes("between") {
            let low = self.value()?;
            self.expect("and")?;
            return Ok(Expr::Between { field, low, high: self.value()? });
        }
        let Some(operator) = self.operator()? else {
            return self.fail("expected =, !=, <, <=, >, >=, contains, starts with, ends with, between or in");
        };
        Ok(Expr::Compare { field, operator, value: self.value()? })
    }

    fn has(&mut self) -> Result<Expr, QueryError> {
        if self.takes("package") {
            let at = self.place();
            let package: Result<PackageId, _> = self.value()?.parse();
            return match package {
                Ok(package) => Ok(Expr::HasPackage(package.number())),
                Err(error) => Err(QueryError::at(error.to_string(), self.text, at)),
            };
        }
        if self.takes("software") {
            let name = self.value()?;
            let version = match self.operator()? {
                Some(operator) => Some(VersionTest { operator, value: self.value()? }),
                None => None,
            };
            return Ok(Expr::HasSoftware { name, version });
        }
        if self.takes("section") {
            return Ok(Expr::HasSection(self.value()?));
        }
        self.fail("expected \"package\" and its id, \"software\" and its name, or \"section\" and its name")
    }

    /// After `section`: its name and its field, and what is asked of it.
    fn section(&mut self) -> Result<Expr, QueryError> {
        let at = self.place();
        let name = self.value()?;
        let Some((section, field)) = name.split_once('.') else {
            return Err(QueryError::at("expected a section and its field, as in CPUS.TYPE", self.text, at));
        };
        let (section, field) = (section.to_owned(), field.to_owned());
        if self.takes("between") {
            let low = self.value()?;
            self.expect("and")?;
            return Ok(Expr::SectionBetween { section, field, low, high: self.value()? });
        }
        let Some(operator) = self.operator()? else {
            return self.fail("expected =, !=, <, <=, >, >=, contains, starts with, ends with or between");
        };
        Ok(Expr::Section { section, field, operator, value: self.value()? })
    }

    fn moment(&mut self, field: TimeField) -> Result<Expr, QueryError> {
        let side = if self.takes("older") {
            Side::Older
        } else if self.takes("newer") {
            Side::Newer
        } else {
            return self.fail(format!("expected \"{} older than 30 days\" or \"newer than\"", field.as_str()));
        };
        self.expect("than")?;
        let at = self.place();
        let Ok(count) = self.value()?.parse() else {
            return Err(QueryError::at("expected a number, as in 30 days", self.text, at));
        };
        let unit = Unit::ALL.iter().find(|unit| {
            matches!(self.peek(), Some(Token { kind: Kind::Word(word), .. })
                if word.to_ascii_lowercase().strip_prefix(unit.as_str()).is_some_and(|rest| ["", "s"].contains(&rest)))
        });
        let Some(unit) = unit.copied() else {
            return self.fail("expected minutes, hours, days or weeks");
        };
        self.next += 1;
        Ok(Expr::Moment { field, side, age: Age { count, unit } })
    }

    fn operator(&mut self) -> Result<Option<Operator>, QueryError> {
        let operator = match self.peek().map(|token| &token.kind) {
            Some(Kind::Symbol("=" | "==")) => Operator::Eq,
            Some(Kind::Symbol("!=" | "<>")) => Operator::Ne,
            Some(Kind::Symbol("<")) => Operator::Lt,
            Some(Kind::Symbol("<=")) => Operator::Le,
            Some(Kind::Symbol(">")) => Operator::Gt,
            Some(Kind::Symbol(">=")) => Operator::Ge,
            Some(Kind::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "contains" => Operator::Contains,
                "starts" => Operator::StartsWith,
                "ends" => Operator::EndsWith,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.next += 1;
        if matches!(operator, Operator::StartsWith | Operator::EndsWith) {
            self.expect("with")?;
        }
        Ok(Some(operator))
    }

    fn value(&mut self) -> Result<String, QueryError> {
        match self.peek().map(|token| token.kind.clone()) {
            Some(Kind::Quoted(value) | Kind::Word(value)) => {
                self.next += 1;
                Ok(value)
            }
            Some(Kind::Symbol(_)) | None => self.fail("expected a value, such as 'ws042'"),
        }
    }
}
