//! What may stand in a field of the administrators' own (docs/decisions/0730).

use std::fmt;

/// Characters of a value; what the stock server's columns hold.
pub const LONGEST_VALUE: usize = 255;
/// Characters of a field's name.
pub const LONGEST_NAME: usize = 60;
/// Choices of a list.
pub const MOST_CHOICES: usize = 200;

/// What may stand in a field.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum FieldKind {
    /// Any text of one line.
    #[default]
    Text,
    /// A number: `42`, `-7`, `3.5`.
    Number,
    /// A day: `2026-03-05`.
    Date,
    /// `yes` or `no`.
    YesNo,
    /// One of these.
    List(Vec<String>),
}

/// Why something may not stand in a field. A sentence without its beginning: "… is no number".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WrongValue {
    /// Too long, or of several lines.
    #[error("the value is wrong: expected at most {LONGEST_VALUE} characters on one line, not \"{0}\"")]
    Text(String),
    /// Not a number.
    #[error("\"{0}\" is no number: expected one such as 42, -7 or 3.5")]
    Number(String),
    /// Not a day of the calendar.
    #[error("\"{0}\" is no date: expected year, month and day, such as 2026-03-05")]
    Date(String),
    /// Neither.
    #[error("\"{0}\" is neither yes nor no")]
    YesNo(String),
    /// None of the list.
    #[error("\"{value}\" is none of {choices}")]
    List {
        /// What was given.
        value: String,
        /// What there is.
        choices: String,
    },
}

/// Why a field cannot be one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidKind {
    /// No such kind.
    #[error("\"{0}\" is no kind of field: there are {kinds}", kinds = FieldKind::WORDS.map(|(word, _)| word).join(", "))]
    Unknown(String),
    /// A list of nothing.
    #[error("a list needs its choices: one or more")]
    NoChoices,
    /// A list of too much.
    #[error("a list has at most {MOST_CHOICES} choices")]
    TooMany,
    /// A choice that is none.
    #[error(transparent)]
    Choice(#[from] WrongValue),
}

impl FieldKind {
    /// Every kind: its word, and what people call it.
    pub const WORDS: [(&'static str, &'static str); 5] =
        [("text", "Text"), ("number", "Number"), ("date", "Date"), ("yes-no", "Yes or no"), ("list", "One of a list")];

    /// The kind of that word. Choices are those of a list; others have none.
    pub fn new<S: AsRef<str>>(word: &str, choices: impl IntoIterator<Item = S>) -> Result<Self, InvalidKind> {
        Ok(match word {
            "text" => Self::Text,
            "number" => Self::Number,
            "date" => Self::Date,
            "yes-no" => Self::YesNo,
            "list" => Self::list(choices)?,
            other => return Err(InvalidKind::Unknown(shown(other))),
        })
    }

    fn list<S: AsRef<str>>(choices: impl IntoIterator<Item = S>) -> Result<Self, InvalidKind> {
        let mut list: Vec<String> = Vec::new();
        for choice in choices {
            let choice = one_line(choice.as_ref())?;
            if !choice.is_empty() && list.iter().all(|known| known.to_lowercase() != choice.to_lowercase()) {
                list.push(choice);
            }
        }
        match list.len() {
            0 => Err(InvalidKind::NoChoices),
            1..=MOST_CHOICES => Ok(Self::List(list)),
            _ => Err(InvalidKind::TooMany),
        }
    }

    /// Its word in the store, in JSON and on the command line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
            Self::YesNo => "yes-no",
            Self::List(_) => "list",
        }
    }

    /// What people call it.
    pub fn title(&self) -> &'static str {
        Self::WORDS.iter().find(|(word, _)| *word == self.word()).map_or("", |(_, title)| title)
    }

    /// What one may choose among; empty where everything of the kind may be written.
    pub fn choices(&self) -> Vec<&str> {
        match self {
            Self::YesNo => vec!["yes", "no"],
            Self::List(choices) => choices.iter().map(String::as_str).collect(),
            Self::Text | Self::Number | Self::Date => Vec::new(),
        }
    }

    /// What was typed, as it is kept: one text for what means the same. Blank is blank in every kind.
    pub fn read(&self, typed: &str) -> Result<String, WrongValue> {
        let value = one_line(typed)?;
        if value.is_empty() {
            return Ok(value);
        }
        match self {
            Self::Text => Ok(value),
            Self::Number => number(&value).ok_or_else(|| WrongValue::Number(shown(&value))),
            Self::Date => date(&value).ok_or_else(|| WrongValue::Date(shown(&value))),
            Self::YesNo => yes_no(&value).map(str::to_owned).ok_or_else(|| WrongValue::YesNo(shown(&value))),
            Self::List(choices) => {
                let known = choices.iter().find(|choice| choice.to_lowercase() == value.to_lowercase());
                let none = || WrongValue::List { value: shown(&value), choices: some_of(choices) };
                known.cloned().ok_or_else(none)
            }
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

fn one_line(text: &str) -> Result<String, WrongValue> {
    let text = text.trim();
    if text.chars().count() > LONGEST_VALUE || text.chars().any(char::is_control) {
        return Err(WrongValue::Text(shown(text)));
    }
    Ok(text.to_owned())
}

/// As much of it as a sentence takes.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn some_of(choices: &[String]) -> String {
    const NAMED: usize = 8;
    let named = choices.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if choices.len() > NAMED { format!("{named} and {} more", choices.len() - NAMED) } else { named }
}

/// Without what says nothing: `+7`, `007` and `7.0` are `7`.
fn number(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !only_digits(whole) || !only_digits(part) || digits.ends_with('.') {
        return None;
    }
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let part = part.trim_end_matches('0');
    let number = if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") };
    Some(if negative && number != "0" { format!("-{number}") } else { number })
}

fn date(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let mut part = |width: usize| {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<u32>().ok()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (year > 0 && (1..=days).contains(&day) && parts.next().is_none()).then(|| text.to_owned())
}

/// As spreadsheets and people write it.
fn yes_no(text: &str) -> Option<&'static str> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "on" | "1" => Some("yes"),
        "no" | "n" | "false" | "off" | "0" => Some("no"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> FieldKind {
        FieldKind::new("list", ["Paris", " Rome ", "", "paris"]).expect("a list")
    }

    #[test]
    fn what_means_the_same_is_kept_as_one_text() {
        for (kind, typed, kept) in [
            (FieldKind::Text, "  a b ", "a b"),
            (FieldKind::Number, "+007.50", "7.5"),
            (FieldKind::Number, "-0", "0"),
            (FieldKind::Number, "-12", "-12"),
            (FieldKind::Number, "3.0", "3"),
            (FieldKind::Date, "2024-02-29", "2024-02-29"),
            (FieldKind::YesNo, "TRUE", "yes"),
            (FieldKind::YesNo, "0", "no"),
            (list(), "rome", "Rome"),
        ] {
            assert_eq!(kind.read(typed).as_deref(), Ok(kept), "{kind} {typed}");
            assert_eq!(kind.read(kept).as_deref(), Ok(kept), "{kind}: what is kept is kept again");
            assert_eq!(kind.read(" ").as_deref(), Ok(""), "{kind}");
        }
    }

    #[test]
    fn what_is_of_another_kind_is_refused_with_a_sentence() {
        for (kind, typed, sentence) in [
            (FieldKind::Number, "1e3", "\"1e3\" is no number"),
            (FieldKind::Number, "1.", "is no number"),
            (FieldKind::Number, ".5", "is no number"),
            (FieldKind::Number, "-", "is no number"),
            (FieldKind::Number, "1,5", "is no number"),
            (FieldKind::Date, "2023-02-29", "is no date"),
            (FieldKind::Date, "2024-13-01", "is no date"),
            (FieldKind::Date, "05.03.2026", "is no date"),
            (FieldKind::Date, "2024-01-01-01", "is no date"),
            (FieldKind::YesNo, "maybe", "is neither yes nor no"),
            (list(), "London", "\"London\" is none of Paris, Rome"),
            (FieldKind::Text, "a\nb", "on one line"),
        ] {
            let error = kind.read(typed).expect_err(typed).to_string();
            assert!(error.contains(sentence), "{kind} {typed}: {error}");
        }
        assert!(FieldKind::Text.read(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_list_has_each_choice_once_and_not_none() {
        assert_eq!(list().choices(), ["Paris", "Rome"]);
        assert_eq!(FieldKind::new("list", [" "]), Err(InvalidKind::NoChoices));
        assert_eq!(FieldKind::new("list", (0..201).map(|n| n.to_string())), Err(InvalidKind::TooMany));
        let error = FieldKind::new("colour", [""]).expect_err("no kind").to_string();
        assert!(error.contains("text, number, date, yes-no, list"), "{error}");
        for (word, _) in FieldKind::WORDS {
            assert_eq!(FieldKind::new(word, ["x"]).map(|kind| kind.word()), Ok(word));
        }
    }
}
