//! Does a mirror give out what it says that it holds? The server asks each for one byte, now and then.
//!
//! A report proves the copy and not the web server beside it: where that died, the copy goes on being synced, the mirror
//! goes on reporting, and a stock agent, which is told one location, would wait there for ever. So the server looks for itself:
//!
//! ```text
//! every mirrors.probe, by chance a little earlier or later ──► mirrors that are heard and due
//!     eight at a time: the last byte of a fragment that the mirror holds, within ten seconds
//!         two failures in a row → lost, offered to nobody; two answers in a row → offered again
//! ```
//!
//! Only a mirror that has answered once can be lost. Many stand where the server cannot reach them and their computers can:
//! of these nothing is known but what they report, as before. It goes on beside the requests, in a thread of its own, and
//! writes only when its judgement changes; that write is a change like any other, so the very next contact is told of it.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::App;
use crate::fetch::{Client, ClientOptions, FetchError, Url};
use crate::model::{Location, TreeKey, UnixTime};
use crate::store::mirrors::{self, Lost, Mirror, Reach};
use crate::store::{Conn, StoreError};

/// Mirrors that are asked at a time.
const AT_A_TIME: usize = 8;
/// For a connection, and between two bytes.
const PATIENCE: Duration = Duration::from_secs(5);
/// For one mirror in all.
const DEADLINE: Duration = Duration::from_secs(10);
/// Failures in a row after which a mirror is lost: one may be the line.
const FAILURES: u32 = 2;
/// Answers in a row after which it is back: one that comes and goes is no place to send anybody.
const ANSWERS: u32 = 2;
/// Characters that are kept of what was wrong.
const WHY: usize = 300;

/// Asks mirrors whether they answer.
#[derive(Debug)]
pub struct Prober {
    client: Client,
    every: Duration,
    watched: Mutex<HashMap<String, Watched>>,
}

/// What is remembered of a mirror between two rounds.
#[derive(Debug)]
struct Watched {
    due: Instant,
    streak: Streak,
}

/// How a mirror answered lately.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    failures: u32,
    answers: u32,
}

/// A mirror and what it is asked for.
struct Question {
    mirror: Mirror,
    location: Location,
    file: TreeKey,
    size: u64,
}

impl Prober {
    /// Asks each mirror about that often.
    pub fn new(every: Duration) -> Result<Self, FetchError> {
        let client = Client::new(&ClientOptions {
            user_agent: concat!("dripfeed/", env!("CARGO_PKG_VERSION"), " mirror-probe").to_owned(),
            connect_timeout: PATIENCE,
            read_timeout: PATIENCE,
            deadline: DEADLINE,
            ..ClientOptions::default()
        })?;
        Ok(Self { client, every, watched: Mutex::default() })
    }

    /// Asks those whose turn it is at this moment; gives how many were asked. Blocks for as long as they take.
    pub fn round(&self, app: &App, at: Instant) -> Result<usize, StoreError> {
        let now = app.clock.now();
        let known = app.store.read_now(mirrors::list)?;
        let due: Vec<Mirror> = self.due(known, at).into_iter().filter(|mirror| mirror.is_heard(now)).collect();
        if due.is_empty() {
            return Ok(0);
        }
        let questions = app.store.read_now(move |conn| questions(conn, due))?;
        let count = questions.len();
        for (mirror, answer) in self.ask_all(questions) {
            self.take(app, &mirror, answer)?;
        }
        Ok(count)
    }

    /// Those whose turn it is; they have their next one after about [`Prober::every`], not all at the same moment.
    fn due(&self, known: Vec<Mirror>, at: Instant) -> Vec<Mirror> {
        let mut watched = self.lock();
        watched.retain(|name, _| known.iter().any(|mirror| mirror.name == *name));
        let mut due = Vec::new();
        for mirror in known {
            let entry = watched.entry(mirror.name.clone());
            let entry = entry.or_insert_with(|| Watched { due: at, streak: Streak::default() });
            if entry.due <= at {
                entry.due = at + jittered(self.every, getrandom::u32().unwrap_or(u32::MAX / 2));
                due.push(mirror);
            }
        }
        due
    }

    fn ask_all(&self, questions: Vec<Question>) -> Vec<(Mirror, Result<(), String>)> {
        let workers = questions.len().min(AT_A_TIME);
        let (left, answers) = (Mutex::new(questions.into_iter()), Mutex::new(Vec::new()));
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(question) = next() {
                        let answer = ask(&self.client, &question);
                        answers.lock().unwrap_or_else(PoisonError::into_inner).push((question.mirror, answer));
                    }
                });
            }
        });
        answers.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, app: &App, mirror: &Mirror, answer: Result<(), String>) -> Result<(), StoreError> {
        let (name, was_lost) = (mirror.name.clone(), mirror.lost().is_some());
        let judged = match self.lock().get_mut(&name) {
            Some(watched) => watched.streak.judge(&mirror.reach, answer, app.clock.now()),
            None => None,
        };
        let Some(reach) = judged else { return Ok(()) };
        let judged = Mirror { reach: reach.clone(), ..mirror.clone() };
        app.store.write_now(move |conn| mirrors::set_reach(conn, &name, &reach))?;
        match judged.lost() {
            Some(lost) => tracing::warn!(
                mirror = judged.name,
                "mirror {} does not answer, so no computer is sent to it: {}",
                judged.name,
                lost.why
            ),
            None if was_lost => {
                tracing::info!(mirror = judged.name, "mirror {} answers again", judged.name);
            }
            None => {}
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what came of asking mirrors: where nobody asks, nobody would find that one is back.
pub fn forget(app: &App) -> Result<(), StoreError> {
    // Nothing is written, most of the time.
    if app.store.read_now(mirrors::any_reach)? {
        app.store.write_now(mirrors::forget_reach)?;
    }
    Ok(())
}

/// What each mirror can be asked for; one that holds nothing, or whose address is not known, is not asked.
fn questions(conn: &mut Conn, due: Vec<Mirror>) -> Result<Vec<Question>, StoreError> {
    let mut questions = Vec::with_capacity(due.len());
    for mirror in due {
        let Some(location) = mirror.location.filled(mirror.reported_from, &mirror.name) else { continue };
        let Some((file, size)) = mirrors::sample(conn, &mirror.name)? else { continue };
        questions.push(Question { mirror, location, file, size });
    }
    Ok(questions)
}

/// Asks for the last byte of a fragment as an agent would, in clear: a file of another length has no such byte, or more.
fn ask(client: &Client, question: &Question) -> Result<(), String> {
    let address = question.location.url("http", question.file);
    let url: Url = address.parse().map_err(|error| format!("{error}"))?;
    let asked = client.get_to(&url, question.size.saturating_sub(1), question.size, |_| Ok(io::sink()));
    let (_, length) = asked.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    if length == question.size {
        return Ok(());
    }
    Err(format!("{address} has {length} bytes instead of {}", question.size))
}

impl Streak {
    /// What is to be kept of a mirror now, if that is something else than before.
    fn judge(&mut self, known: &Reach, answer: Result<(), String>, now: UnixTime) -> Option<Reach> {
        match answer {
            Ok(()) => {
                *self = Self { failures: 0, answers: self.answers.saturating_add(1) };
                let back = known.lost.is_some() && self.answers >= ANSWERS;
                let first = known.lost.is_none() && known.reached_at.is_none();
                (back || first).then_some(Reach { reached_at: Some(now), lost: None })
            }
            Err(why) => {
                *self = Self { failures: self.failures.saturating_add(1), answers: 0 };
                let lost = Lost { at: now, why: why.chars().take(WHY).collect() };
                (known.lost.is_none() && self.failures >= FAILURES)
                    .then_some(Reach { reached_at: known.reached_at, lost: Some(lost) })
            }
        }
    }
}

/// Between three and five quarters of the time.
fn jittered(every: Duration, random: u32) -> Duration {
    every.mul_f64(0.75 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    /// What is known of a mirror after each answer: `.` an answer, `x` a failure; `+` reached, `-` lost.
    fn story(mut known: Reach, answers: &str) -> String {
        let mut streak = Streak::default();
        let state = |reach: &Reach| match (reach.reached_at.is_some(), reach.lost.is_some()) {
            (false, false) => ' ',
            (true, false) => '+',
            (true, true) => '-',
            (false, true) => '?',
        };
        answers
            .chars()
            .map(|c| {
                let answer = if c == '.' { Ok(()) } else { Err("why".to_owned()) };
                if let Some(new) = streak.judge(&known, answer, NOW) {
                    assert_ne!(new, known, "it is written when it changes");
                    known = new;
                }
                state(&known)
            })
            .collect()
    }

    #[test]
    fn two_failures_in_a_row_lose_a_mirror_and_two_answers_bring_it_back() {
        assert_eq!(story(Reach::default(), "..x.x.xx.x..xx.."), "+++++++----++--+");
    }

    #[test]
    fn one_that_never_answered_is_not_lost() {
        assert_eq!(story(Reach::default(), "xxxx.."), " ????+");
    }

    #[test]
    fn nobody_is_asked_at_the_same_moment_for_ever() {
        let every = Duration::from_secs(40);
        assert_eq!(jittered(every, 0), Duration::from_secs(30));
        assert_eq!(jittered(every, u32::MAX), Duration::from_secs(50));
    }
}
