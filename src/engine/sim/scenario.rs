//! The text of a scenario: what is offered, what goes wrong, and when.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Crash;
use crate::engine::{Failure, TaskInfo};
use crate::model::settings::DownloadSettings;
use crate::model::{Days, FragmentCount, FragmentNumber, PackageId, Priority, ResultCode};

/// Why a scenario was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} of the scenario, \"{text}\": {problem}")]
pub struct InvalidScenario {
    line: usize,
    text: String,
    problem: String,
}

/// What is offered, what goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What holds at the start.
    pub settings: DownloadSettings,
    /// Every package that is ever offered.
    pub packages: BTreeMap<PackageId, Offer>,
    /// What happens outside, in seconds from the start.
    pub happenings: Vec<(u32, Happening)>,
    /// Seconds between regular contacts.
    pub contact_every: Option<u32>,
    /// Nothing is reached from the first second until before the second one.
    pub down: Vec<(u32, u32)>,
    /// Seconds that an info request takes.
    pub info_takes: u32,
    /// Seconds that a fragment request takes.
    pub fetch_takes: u32,
    /// Seconds that an execution takes.
    pub execute_takes: u32,
    /// Seconds that a report takes.
    pub report_takes: u32,
    /// Where the agent is killed.
    pub crash: Option<Crash>,
}

/// A package and what goes wrong with it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// When it is offered first, in seconds from the start.
    pub at: u32,
    /// What its info file says; `not_before` is filled in from [`Offer::not_before`].
    pub info: TaskInfo,
    /// Its schedule, in seconds from the start.
    pub not_before: Option<u32>,
    /// What its execution ends in.
    pub code: ResultCode,
    /// Its info file comes and cannot be used.
    pub bad: Option<ResultCode>,
    /// So many info requests fail.
    pub info_fails: u32,
    /// So many requests for a fragment fail, and how.
    pub fragment_fails: BTreeMap<FragmentNumber, (u32, Failure)>,
    /// So many reports are refused.
    pub refusals: u32,
    /// So many times the person puts it off.
    pub delays: u32,
    /// So many times nobody is there to be asked, and it waits for somebody.
    pub absences: u32,
    /// So many executions find that fragment bad.
    pub losses: Option<(FragmentNumber, u32)>,
}

/// Something that happens outside the engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happening {
    /// A prolog: settings, and everything that the server still offers.
    Contact,
    /// The administrator changed the settings; a contact brings them.
    Settings(DownloadSettings),
    /// The agent ends and starts again.
    Restart,
}

impl FromStr for Scenario {
    type Err = InvalidScenario;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut scenario = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                scenario.read_line(line).map_err(|problem| InvalidScenario {
                    line: index + 1,
                    text: line.chars().take(80).collect(),
                    problem,
                })?;
            }
        }
        Ok(scenario)
    }
}

impl Scenario {
    fn read_line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["settings", rest @ ..] => read_settings(&mut self.settings, rest),
            ["package", id, rest @ ..] => {
                let offer = read_offer(rest)?;
                match self.packages.insert(id.parse().map_err(|error| format!("{error}"))?, offer) {
                    Some(_) => Err("this package is there already".to_owned()),
                    None => Ok(()),
                }
            }
            ["takes", rest @ ..] => read_pairs(rest, |key, value| {
                let field = match key {
                    "info" => &mut self.info_takes,
                    "fetch" => &mut self.fetch_takes,
                    "execute" => &mut self.execute_takes,
                    "report" => &mut self.report_takes,
                    _ => return Err(unknown(key, "info, fetch, execute or report")),
                };
                *field = number(value)?;
                Ok(())
            }),
            ["contact", rest @ ..] => read_pairs(rest, |key, value| match key {
                "every" => {
                    self.contact_every = Some(number(value)?.max(1));
                    Ok(())
                }
                _ => Err(unknown(key, "every")),
            }),
            ["down", from, to] => {
                self.down.push((number(from)?, number(to)?));
                Ok(())
            }
            ["at", at, what, rest @ ..] => {
                let happening = match (*what, rest) {
                    ("contact", []) => Happening::Contact,
                    ("restart", []) => Happening::Restart,
                    ("settings", rest) => {
                        // Changes add up in the order in which they are written.
                        let before = self.happenings.iter().rev().find_map(|(_, happening)| match happening {
                            Happening::Settings(settings) => Some(*settings),
                            _ => None,
                        });
                        let mut settings = before.unwrap_or(self.settings);
                        read_settings(&mut settings, rest)?;
                        Happening::Settings(settings)
                    }
                    _ => return Err(unknown(what, "contact, restart or settings KEY=VALUE")),
                };
                self.happenings.push((number(at)?, happening));
                Ok(())
            }
            [fault @ ("fail" | "refuse" | "delay" | "absent" | "lose"), id, rest @ ..] => {
                let id: PackageId = id.parse().map_err(|error| format!("{error}"))?;
                let Some(offer) = self.packages.get_mut(&id) else {
                    return Err("this package is not there; its line must come first".to_owned());
                };
                read_fault(offer, fault, rest)
            }
            _ => {
                Err("expected settings, package, takes, contact, down, at, fail, refuse, delay, absent or lose"
                    .to_owned())
            }
        }
    }
}

fn read_fault(offer: &mut Offer, fault: &str, words: &[&str]) -> Result<(), String> {
    let mut times = u32::MAX;
    let mut failure = None;
    let mut target = None;
    for word in words {
        match *word {
            "missing" => failure = Some(Failure::Missing),
            "transient" => failure = Some(Failure::Transient),
            "wrong" => failure = Some(Failure::Wrong),
            word => match word.strip_prefix("times=") {
                Some(value) => times = number(value)?,
                None => target = Some(word),
            },
        }
    }
    let fragment = |text: Option<&str>| -> Result<FragmentNumber, String> {
        text.unwrap_or_default().parse().map_err(|error| format!("{error}"))
    };
    match (fault, target) {
        ("fail", Some("info")) => offer.info_fails = times,
        ("fail", number) => {
            offer.fragment_fails.insert(fragment(number)?, (times, failure.unwrap_or(Failure::Transient)));
        }
        ("lose", number) => offer.losses = Some((fragment(number)?, times)),
        ("refuse", None) => offer.refusals = times,
        ("delay", None) => offer.delays = times,
        ("absent", None) => offer.absences = times,
        (_, Some(word)) => return Err(unknown(word, "times=N")),
        (_, None) => return Err(format!("{fault} is no fault")),
    }
    Ok(())
}

fn read_offer(words: &[&str]) -> Result<Offer, String> {
    let mut offer = Offer {
        at: 0,
        info: TaskInfo { priority: Priority::DEFAULT, fragments: FragmentCount(1), not_before: None },
        not_before: None,
        code: ResultCode::success(),
        bad: None,
        info_fails: 0,
        fragment_fails: BTreeMap::new(),
        refusals: 0,
        delays: 0,
        absences: 0,
        losses: None,
    };
    read_pairs(words, |key, value| {
        match key {
            "pri" => offer.info.priority = Priority::from_number(number(value)?),
            "frags" => offer.info.fragments = FragmentCount(number(value)?),
            "at" => offer.at = number(value)?,
            "not-before" => offer.not_before = Some(number(value)?),
            "code" => offer.code = ResultCode::from_wire(value),
            "bad" => offer.bad = Some(ResultCode::from_wire(value)),
            _ => return Err(unknown(key, "pri, frags, at, not-before, code or bad")),
        }
        Ok(())
    })?;
    Ok(offer)
}

fn read_settings(settings: &mut DownloadSettings, words: &[&str]) -> Result<(), String> {
    read_pairs(words, |key, value| {
        let number = number(value)?;
        match key {
            "frag" => settings.fragment_latency = number,
            "cycle" => settings.cycle_latency = number,
            "period" => settings.period_latency = number,
            "length" => settings.period_length = number.max(1),
            "timeout" => settings.timeout = Days(number),
            "on" => settings.on = number != 0,
            _ => return Err(unknown(key, "frag, cycle, period, length, timeout or on")),
        }
        Ok(())
    })
}

fn read_pairs(words: &[&str], mut take: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
    words.iter().try_for_each(|word| match word.split_once('=') {
        Some((key, value)) => take(key, value),
        None => Err(format!("\"{word}\" is not KEY=VALUE")),
    })
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a whole number"))
}

fn unknown(word: &str, expected: &str) -> String {
    format!("\"{word}\" is not known here; expected {expected}")
}
