//! Values of computers out of a table: what would change and what is wrong, line by line, and then all of it in one write
//! (docs/decisions/0732).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::App;
use super::account;
use super::fields::meant;
use super::mass;
use crate::model::csv::{self, Unclosed};
use crate::model::own_field::FieldKind;
use crate::model::query::{Query, fold};
use crate::model::{ComputerId, UnixTime};
use crate::store::known::{self, KnownAs};
use crate::store::mass::{Step, What};
use crate::store::{Conn, StoreError, search};

/// Lines of a table.
pub const MOST_LINES: usize = 100_000;
/// Columns of a table.
const MOST_COLUMNS: usize = 300;

/// Why nothing of a table was taken.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not one.
    #[error("the table cannot be read: {0}")]
    Unclosed(#[from] Unclosed),
    /// It has no line but the first.
    #[error("the table is empty: expected a first line with the names of its columns, and a line for each computer")]
    Empty,
    /// It has too many.
    #[error("the table has more than {MOST_LINES} lines or {MOST_COLUMNS} columns: divide it")]
    Large,
    /// Nothing says whose the lines are.
    #[error("no column says which computer a line is about: call one name, device_id, number or serial")]
    NoKey,
    /// Nothing can be written.
    #[error("no column is to be written: call one tag, or as one of the fields: {0}")]
    NoTarget(String),
    /// A column that is nothing.
    #[error("there is no field \"{0}\": make it first, or take the column out of the table")]
    Unknown(String),
    /// A column twice.
    #[error("the column \"{0}\" is there twice")]
    Twice(String),
    /// Some lines are wrong.
    #[error("{}", nothing_written(*.0))]
    Wrong(usize),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn nothing_written(wrong: usize) -> String {
    match wrong {
        1 => "1 line is wrong, so nothing was written: correct it, or say that it is to be left out".to_owned(),
        _ => format!(
            "{wrong} lines are wrong, so nothing was written: correct them, or say that they are to be left out"
        ),
    }
}

/// A table and how to take it.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// As it came.
    pub text: String,
    /// Take a value back where its cell is empty? Else it stays.
    pub clear: bool,
}

/// What a line would do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Columns that would change: name, what is there, what would be.
    Changes(Vec<(String, String, String)>),
    /// Everything is so already.
    Same,
    /// It cannot be taken; a sentence.
    Wrong(String),
}

/// A line of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Where it stands, counted from 1.
    pub number: usize,
    /// What it calls the computer.
    pub computer: String,
    /// What it would do.
    pub outcome: Outcome,
}

/// What a table would do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// By which column computers are known.
    pub key: &'static str,
    /// Columns that are written.
    pub written: Vec<String>,
    /// Columns that are passed over, because they are an inventory's or another name of the computer.
    pub passed_over: Vec<String>,
    /// Every line.
    pub lines: Vec<Line>,
    steps: Vec<Step>,
}

impl Plan {
    /// How many lines cannot be taken.
    pub fn wrong(&self) -> usize {
        self.lines.iter().filter(|line| matches!(line.outcome, Outcome::Wrong(_))).count()
    }

    /// How many computers would have other values.
    pub fn computers(&self) -> usize {
        self.steps.iter().map(|step| step.computer).collect::<BTreeSet<_>>().len()
    }

    /// How many values would be others.
    pub fn values(&self) -> usize {
        self.steps.len()
    }
}

/// A column that is written.
struct Target {
    at: usize,
    title: String,
    what: What,
    kind: FieldKind,
}

/// What the first line says.
struct Head {
    key: (KnownAs, &'static str, usize),
    targets: Vec<Target>,
    passed_over: Vec<String>,
}

/// The names of computers, the surest first.
const KEYS: [(KnownAs, &str); 4] = [
    (KnownAs::DeviceId, "device_id"),
    (KnownAs::Number, "number"),
    (KnownAs::Name, "name"),
    (KnownAs::Serial, "serial"),
];

/// Columns of exported lists that nobody can write.
const INVENTORY: [&str; 19] = [
    "os",
    "os_version",
    "architecture",
    "ip",
    "peer",
    "user",
    "model",
    "uuid",
    "workgroup",
    "agent",
    "mac",
    "memory",
    "cpu",
    "manufacturer",
    "bios",
    "proven",
    "first_contact",
    "last_inventory",
    "last_contact",
];

impl Head {
    fn read(conn: &mut Conn, titles: &[String]) -> Result<Self, TableError> {
        let titles: Vec<String> = titles.iter().map(|title| csv::unprotected(title).to_owned()).collect();
        let at = |word: &str| titles.iter().position(|title| fold(title) == word);
        let key = KEYS.into_iter().find_map(|(key, word)| at(word).map(|at| (key, word, at)));
        let key = key.ok_or(TableError::NoKey)?;
        let (mut targets, mut passed_over): (Vec<Target>, Vec<String>) = (Vec::new(), Vec::new());
        for (at, title) in titles.iter().enumerate().filter(|(at, title)| *at != key.2 && !title.is_empty()) {
            let word = fold(title);
            let (what, kind) = if word == "tag" {
                (What::Tag, FieldKind::Text)
            } else if let Some(field) = meant(conn, title)? {
                (What::Field(field.id), field.kind)
            } else if INVENTORY.contains(&word.as_str()) || KEYS.iter().any(|(_, key)| *key == word) {
                passed_over.push(title.clone());
                continue;
            } else {
                return Err(TableError::Unknown(title.chars().take(60).collect()));
            };
            if targets.iter().any(|target| target.what == what) {
                return Err(TableError::Twice(title.clone()));
            }
            targets.push(Target { at, title: title.clone(), what, kind });
        }
        if targets.is_empty() {
            let fields = crate::store::fields::list(conn)?.into_iter().map(|field| field.name).collect::<Vec<_>>();
            return Err(TableError::NoTarget(if fields.is_empty() {
                "none yet".to_owned()
            } else {
                fields.join(", ")
            }));
        }
        Ok(Self { key, targets, passed_over })
    }
}

/// A line whose computer is known, and what it wants.
struct Wish {
    line: usize,
    computer: ComputerId,
    values: Vec<Option<String>>,
}

/// What the table would do, for the computers that the scope asks for.
pub fn plan(app: &App, table: &Table, scope: Option<Query>) -> Result<Plan, TableError> {
    let (table, now) = (table.clone(), app.clock.now());
    app.store.read_now(move |conn| plan_in(conn, &table, scope.as_ref(), now))
}

/// Writes what the table says, all of it in one write; lines that are wrong stand against it unless they are to be left
/// out. Gives the plan as it was carried out, and the number to take it back by.
pub fn import(
    app: &App,
    table: &Table,
    scope: Option<Query>,
    leave_out_wrong: bool,
    by: &str,
) -> Result<(Plan, Option<i64>), TableError> {
    let (table, now, by) = (table.clone(), app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let plan = plan_in(conn, &table, scope.as_ref(), now)?;
        if plan.wrong() > 0 && !leave_out_wrong {
            return Err(TableError::Wrong(plan.wrong()));
        }
        let undo = mass::carry_out(conn, &by, "computer import", &plan.steps, now)?;
        Ok((plan, undo))
    })
}

fn plan_in(conn: &mut Conn, table: &Table, scope: Option<&Query>, now: UnixTime) -> Result<Plan, TableError> {
    let rows = csv::rows(&table.text)?;
    let Some(((_, titles), rows)) = rows.split_first().filter(|(_, rows)| !rows.is_empty()) else {
        return Err(TableError::Empty);
    };
    if rows.len() > MOST_LINES || titles.len() > MOST_COLUMNS {
        return Err(TableError::Large);
    }
    let head = Head::read(conn, titles)?;
    let (_, word, at) = head.key;
    let found = Found::of(conn, &head, rows, scope, now)?;
    let (mut lines, mut wishes, mut seen) = (Vec::with_capacity(rows.len()), Vec::new(), HashMap::new());
    for (number, row) in rows {
        let name = row.get(at).map_or("", |cell| csv::unprotected(cell)).to_owned();
        let wish = found.one(word, &name).and_then(|computer| {
            if let Some(line) = seen.insert(computer, *number) {
                return Err(format!("line {line} is about the same computer"));
            }
            let values = head.targets.iter().map(|target| read(target, row, table.clear)).collect::<Result<_, _>>()?;
            Ok(Wish { line: lines.len(), computer, values })
        });
        let outcome = match wish {
            Ok(wish) => {
                wishes.push(wish);
                Outcome::Same
            }
            Err(sentence) => Outcome::Wrong(sentence),
        };
        lines.push(Line { number: *number, computer: name, outcome });
    }
    let steps = steps(conn, &head.targets, &wishes, &mut lines)?;
    let written = head.targets.into_iter().map(|target| target.title).collect();
    Ok(Plan { key: word, written, passed_over: head.passed_over, lines, steps })
}

/// What a cell wants its column to be; `None` to leave it alone.
fn read(target: &Target, row: &[String], clear: bool) -> Result<Option<String>, String> {
    let cell = row.get(target.at).map_or("", |cell| csv::unprotected(cell));
    if cell.is_empty() && !clear {
        return Ok(None);
    }
    let value = match target.what {
        What::Tag => account::checked_tag(cell).map_err(|error| error.to_string()),
        What::Field(_) | What::Setting(_) => target.kind.read(cell).map_err(|error| error.to_string()),
    };
    value.map(Some).map_err(|sentence| format!("{}: {sentence}", target.title))
}

/// The steps of all wishes, column by column; each line is told what it would change.
fn steps(conn: &mut Conn, targets: &[Target], wishes: &[Wish], lines: &mut [Line]) -> Result<Vec<Step>, StoreError> {
    let line_of: HashMap<ComputerId, usize> = wishes.iter().map(|wish| (wish.computer, wish.line)).collect();
    let mut all = Vec::new();
    for (column, target) in targets.iter().enumerate() {
        let wanted: Vec<(ComputerId, String)> =
            wishes.iter().filter_map(|wish| Some((wish.computer, wish.values[column].clone()?))).collect();
        for step in mass::steps(conn, target.what, &wanted)? {
            let change = (target.title.clone(), step.before.clone(), step.after.clone());
            if let Some(line) = line_of.get(&step.computer).and_then(|line| lines.get_mut(*line)) {
                match &mut line.outcome {
                    Outcome::Changes(changes) => changes.push(change),
                    outcome => *outcome = Outcome::Changes(vec![change]),
                }
            }
            all.push(step);
        }
    }
    Ok(all)
}

/// The computers that a table names, by what it calls them.
struct Found(BTreeMap<String, Vec<(ComputerId, bool)>>);

impl Found {
    fn of(
        conn: &mut Conn,
        head: &Head,
        rows: &[csv::Row],
        scope: Option<&Query>,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let (key, _, at) = head.key;
        let names: BTreeSet<String> = rows
            .iter()
            .filter_map(|(_, row)| row.get(at))
            .map(|cell| key.of(csv::unprotected(cell)))
            .filter(|name| !name.is_empty())
            .collect();
        let names: Vec<String> = names.into_iter().collect();
        let allowed = scope.map(|scope| search::ids(conn, scope, now)).transpose()?;
        let mut found: BTreeMap<String, Vec<(ComputerId, bool)>> = BTreeMap::new();
        for (name, id, archived) in known::find(conn, key, &names)? {
            if allowed.as_ref().is_none_or(|ids| ids.contains(&id)) {
                found.entry(name).or_default().push((id, archived));
            }
        }
        Ok(Self(found))
    }

    /// The one that is meant; who is put away does not stand in the way of who is there.
    fn one(&self, word: &str, name: &str) -> Result<ComputerId, String> {
        if name.is_empty() {
            return Err(format!("the cell of {word} is empty"));
        }
        let key = KEYS.iter().find(|(_, known)| *known == word).map_or_else(String::new, |(key, _)| key.of(name));
        let all = self.0.get(&key).map_or(&[][..], Vec::as_slice);
        let present: Vec<ComputerId> = all.iter().filter(|(_, archived)| !archived).map(|(id, _)| *id).collect();
        let ids = if present.is_empty() { all.iter().map(|(id, _)| *id).collect() } else { present };
        match ids[..] {
            [] => Err(format!("there is no computer with the {word} \"{name}\"")),
            [id] => Ok(id),
            _ => Err(format!("{} computers have the {word} \"{name}\": name them by device_id", ids.len())),
        }
    }
}
