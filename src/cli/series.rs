//! `dripfeed series …`, and `assign --repeat`.

use serde_json::{Value, json};

use super::approval;
use super::args::{Decision, Place, SeriesChange, SeriesVerb};
use super::context::{desk, open, refused};
use super::output::{Output, count, printable, say};
use super::{Done, Failure, gates};
use crate::clock::{local_text, utc_text};
use crate::model::{UnixTime, Verdict};
use crate::service::approvals::About;
use crate::service::desk::Desk;
use crate::service::desk::series::{Edit, RunLine, SeriesLine, in_words};
use crate::service::series::{Repeat, SeriesError, Wish};
use crate::store::series::{RunTarget, Series, SeriesId};

/// Series that are listed.
const MOST: usize = 1000;
/// Runs that are shown of one.
const RUNS: usize = 20;

pub(super) fn run(place: &Place, verb: &SeriesVerb, output: &mut Output) -> Done {
    let desk = desk(place, open(place)?.app);
    match *verb {
        SeriesVerb::List { json } => list(&desk, json, output),
        SeriesVerb::Show { series, json } => show(&desk, SeriesId(series), json, output),
        SeriesVerb::Change(ref change) => edit(&desk, change, output),
        SeriesVerb::Pause { series, json } => {
            desk.pause_series(SeriesId(series)).map_err(refused)?;
            done(series, "is paused", json, output)
        }
        SeriesVerb::Resume { series, json } => match desk.resume_series(SeriesId(series)).map_err(refused)? {
            None => done(series, "goes on", json, output),
            Some(awaited) => done(series, &awaited.to_string(), json, output),
        },
        SeriesVerb::End { series, json } => {
            desk.end_series(SeriesId(series)).map_err(refused)?;
            done(series, "has ended; its runs stay", json, output)
        }
        SeriesVerb::Approve(ref said) => decide(&desk, Verdict::Approved, said, output),
        SeriesVerb::Reject(ref said) => decide(&desk, Verdict::Rejected, said, output),
        SeriesVerb::Release(ref said) => decide(&desk, Verdict::Released, said, output),
        SeriesVerb::Run { series, json } => {
            let begun = desk.run_series(SeriesId(series)).map_err(refused)?;
            let ids: Vec<i64> = begun.made.iter().map(|one| one.deployment.0).collect();
            let planned: usize = begun.made.iter().map(|one| one.planned).sum();
            if json {
                return output.json(&json!({
                    "series": series, "run": begun.run, "deployments": ids, "planned": planned, "gave_way": begun.gave_way,
                }));
            }
            output.line(format_args!(
                "run {} of series {series}: {} planned",
                begun.run,
                count(planned as u64, "job")
            ))?;
            if begun.gave_way > 0 {
                let jobs = count(begun.gave_way as u64, "open job");
                output.line(format_args!("{jobs} of the run before gave way"))?;
            }
            Ok(())
        }
    }
}

fn decide(desk: &Desk, verdict: Verdict, said: &Decision, output: &mut Output) -> Done {
    approval::say(desk, About::Series(SeriesId(said.number)), verdict, said, output)
}

/// Changes what was named; what was not stays as it is.
fn edit(desk: &Desk, change: &SeriesChange, output: &mut Output) -> Done {
    let id = SeriesId(change.series);
    let rule = change.repeat.as_deref();
    let repeat = rule.map(|rule| repeat(rule, change.time_zone.as_deref(), change.starts.as_deref())).transpose()?;
    let known = desk.series(id).map_err(refused)?.series.what.gates;
    let edit = Edit {
        packages: Some(change.package.clone()).filter(|packages| !packages.is_empty()),
        in_order: (change.in_order || change.in_any_order).then_some(change.in_order),
        target: change.target(),
        post_command: match &change.post_command {
            None if change.no_post_command => Some(None),
            command => command.clone().map(Some),
        },
        gates: gates::over(&change.gates, known)?,
        wake: (change.wake || change.no_wake).then_some(change.wake),
        repeat,
    };
    let line = match (&edit.repeat, edit.is_about_time_alone()) {
        (None, true) => {
            return Err(Failure::refused(
                "say what is changed: --repeat, --package, --in-order, --computer, --group, --where, --all, \
                 --post-command, --windows, --ranges or --wake",
            ));
        }
        // Nothing else is looked at, so the times of a series whose package is gone can be changed.
        (Some(repeat), true) => desk.set_series_time(id, repeat),
        (_, false) => desk.edit_series(id, edit),
    };
    changed(desk, &line.map_err(refused)?, "comes again", change.json, output)
}

/// A rule as it was typed.
pub(super) fn repeat(rule: &str, zone: Option<&str>, starts: Option<&str>) -> Result<Repeat, Failure> {
    Repeat::read(rule, zone, starts).map_err(|error: SeriesError| Failure::Refused(error.into()))
}

/// What is gone, and which series pause for it.
pub(super) fn that_pause(series: &[Series], output: &mut Output) -> Done {
    series.iter().try_for_each(|one| {
        let rule = in_words(&one.when.rule.to_string(), &one.when.zone);
        output.line(format_args!("series {} ({rule}) pauses at its next run", one.id))
    })
}

/// What `assign --repeat` does.
pub(super) fn create(desk: &Desk, wish: &Wish, json: bool, output: &mut Output) -> Done {
    let line = desk.repeat(wish).map_err(refused)?;
    changed(desk, &line, "comes", json, output)
}

fn changed(desk: &Desk, line: &SeriesLine, verb: &str, json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&view(desk, line));
    }
    let next = match (line.series.next_at, &line.awaited) {
        (Some(at), _) => format!("next {}", local_text(at)),
        (None, Some(awaited)) => {
            format!("it {awaited} (dripfeed series approve {})", line.series.id)
        }
        (None, None) => "it is paused".to_owned(),
    };
    output.line(format_args!("series {} {verb} {}; {next}", line.series.id, line.rule()))
}

fn done(series: i64, what: &str, json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&json!({ "series": series }));
    }
    output.line(format_args!("series {series} {what}"))
}

fn stage(line: &SeriesLine) -> &'static str {
    match (line.series.ended_at, line.series.paused_at) {
        (Some(_), _) => "ended",
        (None, Some(_)) => "paused",
        (None, None) => "active",
    }
}

fn view(desk: &Desk, line: &SeriesLine) -> Value {
    let series = &line.series;
    let mut target = json!({ "kind": "computers" });
    match &series.what.target {
        RunTarget::All => target["kind"] = "all".into(),
        RunTarget::Group(name) => target = json!({ "kind": "group", "group": name }),
        RunTarget::Where(query) => target = json!({ "kind": "where", "where": query }),
        RunTarget::Computers(ids) => target["selected"] = json!(ids),
    }
    json!({
        "series": series.id.0,
        "name": line.name(),
        "packages": series.what.packages.iter().map(|id| id.number()).collect::<Vec<_>>(),
        "in_order": series.what.in_order,
        "wake": series.what.wake,
        "target": target,
        "gates": gates::view(&desk.gates_now(series.what.gates.clone())),
        "repeat": series.when.rule.to_string(),
        "time_zone": series.when.zone,
        "stage": stage(line),
        "problem": series.problem,
        "next": desk.upcoming(series).into_iter().map(utc_text).collect::<Vec<_>>(),
        "runs": series.runs,
        "owner": series.owner.user,
        "created_by": series.created_by,
        "created_at": utc_text(series.created_at),
    })
}

fn list(desk: &Desk, json: bool, output: &mut Output) -> Done {
    let all = desk.all_series(None, MOST).map_err(refused)?;
    if json {
        return output.json(&all.iter().map(|line| view(desk, line)).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("nothing comes again: dripfeed assign ID --group GROUP --repeat \"every monday at 22:00\"");
        return Ok(());
    }
    let row = |line: &SeriesLine| {
        [
            line.series.id.to_string(),
            printable(&line.name()),
            printable(&line.target()),
            line.rule(),
            stage(line).to_owned(),
            moment(line.series.next_at),
            line.series.runs.to_string(),
            printable(line.owner()),
        ]
    };
    let rows: Vec<[String; 8]> = all.iter().map(row).collect();
    output.table(["SERIES", "PACKAGES", "FOR", "COMES", "IS", "NEXT", "RUNS", "ACTS FOR"], &rows)
}

fn moment(at: Option<UnixTime>) -> String {
    at.map_or_else(|| "-".to_owned(), local_text)
}

fn show(desk: &Desk, id: SeriesId, json: bool, output: &mut Output) -> Done {
    let line = desk.series(id).map_err(refused)?;
    let runs = desk.series_runs(id, None, RUNS).map_err(refused)?;
    if json {
        let mut view = view(desk, &line);
        view["last_runs"] = runs.iter().map(run_view).collect();
        return output.json(&view);
    }
    let series = &line.series;
    let next: Vec<String> = desk.upcoming(series).into_iter().map(local_text).collect();
    let fields = [
        ("series", id.to_string()),
        ("packages", printable(&line.name())),
        ("for", printable(&line.target())),
        ("comes", line.rule()),
        ("runs", gates::in_words(&desk.gates_now(series.what.gates.clone()))),
        ("wakes", if series.what.wake { "those that were not heard of" } else { "-" }.to_owned()),
        ("is", stage(&line).to_owned()),
        ("problem", series.problem.as_deref().map_or("-".to_owned(), printable)),
        ("approval", printable(&approval::spelled(desk.approval_of(series.approval).map_err(refused)?.as_ref()))),
        ("next", if next.is_empty() { "-".to_owned() } else { next.join(", ") }),
        ("acts for", printable(line.owner())),
        ("made", format!("{} by {}", local_text(series.created_at), printable(&series.created_by))),
    ];
    fields.iter().try_for_each(|(name, value)| output.line(format_args!("{name:>10}  {value}")))?;
    if runs.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let rows: Vec<[String; 5]> = runs.iter().map(run_row).collect();
    output.table(["RUN", "BEGAN", "WAS DUE", "DEPLOYMENTS", "COMPUTERS"], &rows)
}

fn run_view(line: &RunLine) -> Value {
    json!({
        "run": line.run.number,
        "due_at": line.run.due_at.map(utc_text),
        "started_at": utc_text(line.run.started_at),
        "started_by": line.run.started_by,
        "deployments": line.deployments.iter().map(|one| one.line.deployment.id.0).collect::<Vec<_>>(),
    })
}

fn run_row(line: &RunLine) -> [String; 5] {
    let ids: Vec<String> = line.deployments.iter().map(|one| one.line.deployment.id.to_string()).collect();
    let states = line.deployments.iter().map(|one| {
        let words: Vec<String> = one.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        words.join(", ")
    });
    let states: Vec<String> = states.collect();
    [
        line.run.number.to_string(),
        local_text(line.run.started_at),
        line.run.due_at.map_or_else(|| format!("by {}", printable(&line.run.started_by)), local_text),
        if ids.is_empty() { "-".to_owned() } else { ids.join(", ") },
        if states.is_empty() { "nobody was meant".to_owned() } else { states.join("; ") },
    ]
}
