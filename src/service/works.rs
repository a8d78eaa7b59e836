//! Work that goes on in the background while somebody watches: builds, looks into uploads, checks of activations.
//!
//! Kept in memory only. What matters of the outcome is in the database: the package, the activation, the line of the audit
//! log; a restart forgets the rest, and a build that it cut never happened.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::model::{PackageId, UnixTime};

/// Finished works that are remembered.
const REMEMBERED: usize = 200;
/// Works that run side by side; others wait.
const AT_ONCE: usize = 2;
/// Works that wait or run.
const MOST: usize = 50;

/// How far a step is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StepState {
    /// Not yet.
    Waiting,
    /// Now: so many of so many bytes; both 0 if it is not known.
    Running(u64, u64),
    /// Done.
    Done,
    /// Here it ended.
    Failed,
}

/// A step of a work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What is done.
    pub title: String,
    /// What there is to say about it.
    pub note: String,
    /// How far it is.
    pub state: StepState,
}

/// What it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A package is built.
    Build,
    /// An activation is checked and put in force.
    Activation,
}

/// What became of the activation that a work ends with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Activated {
    /// Nobody asked for it.
    NotAsked,
    /// Agents can fetch the package.
    Yes,
    /// It was refused for this; the package is built all the same.
    Refused(String),
}

/// How it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It still runs, or waits.
    Running,
    /// It did what it should.
    Done {
        /// The package.
        package: PackageId,
        /// What should be known though it is no error.
        warnings: Vec<String>,
        /// Is it activated?
        activated: Activated,
    },
    /// It did not.
    Failed(String),
}

/// A work as it is now.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its number, unguessable for nobody: whose it is decides who sees it.
    pub id: u64,
    /// Who began it.
    pub owner: String,
    /// What it is.
    pub kind: Kind,
    /// What people read.
    pub title: String,
    /// When it was begun.
    pub started: UnixTime,
    /// Its steps.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
    /// Grows with each change.
    pub version: u64,
}

/// All works of a server.
#[derive(Clone, Debug, Default)]
pub struct Works(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct State {
    works: VecDeque<Work>,
    last: u64,
    running: usize,
}

/// What a running work tells.
#[derive(Debug)]
pub struct Teller {
    works: Works,
    id: u64,
}

impl Works {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a work on a thread of its own; `None` if too many wait already.
    pub fn start(
        &self,
        owner: &str,
        kind: Kind,
        title: String,
        started: UnixTime,
        steps: &[&str],
        run: impl FnOnce(&Teller) -> Outcome + Send + 'static,
    ) -> Option<u64> {
        let id = {
            let mut state = self.state();
            if state.works.iter().filter(|work| work.outcome == Outcome::Running).count() >= MOST {
                return None;
            }
            state.last += 1;
            let id = state.last;
            let waiting =
                |title: &&str| Step { title: (*title).to_owned(), note: String::new(), state: StepState::Waiting };
            state.works.push_back(Work {
                id,
                owner: owner.to_owned(),
                kind,
                title,
                started,
                steps: steps.iter().map(waiting).collect(),
                outcome: Outcome::Running,
                version: 0,
            });
            while state.works.len() > REMEMBERED {
                let Some(oldest) = state.works.iter().position(|work| work.outcome != Outcome::Running) else { break };
                state.works.remove(oldest);
            }
            id
        };
        let teller = Teller { works: self.clone(), id };
        let begun = thread::Builder::new().name("work".to_owned()).spawn(move || {
            let _turn = teller.works.turn();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&teller)));
            let outcome =
                outcome.unwrap_or_else(|_| Outcome::Failed("the server failed here; its log says why".to_owned()));
            teller.end(outcome);
        });
        if let Err(error) = begun {
            self.change(id, |work| work.outcome = Outcome::Failed(format!("the server could not begin: {error}")));
        }
        Some(id)
    }

    /// Waits until it is one of the few that run.
    fn turn(&self) -> Turn {
        let mut state = self.state();
        while state.running >= AT_ONCE {
            state = self.0.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running += 1;
        Turn(self.clone())
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Work)) {
        if let Some(work) = self.state().works.iter_mut().find(|work| work.id == id) {
            change(work);
            work.version += 1;
        }
    }

    /// One, as it is now.
    pub fn find(&self, id: u64) -> Option<Work> {
        self.state().works.iter().find(|work| work.id == id).cloned()
    }

    /// Those of one person, or of all, that run or failed; the newest first.
    pub fn list(&self, owner: Option<&str>) -> Vec<Work> {
        let wanted = |work: &&Work| owner.is_none_or(|owner| work.owner == owner);
        self.state().works.iter().rev().filter(wanted).cloned().collect()
    }
}

struct Turn(Works);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.0.turn.notify_one();
    }
}

impl Teller {
    /// The step of that number runs; those before it are done.
    pub fn step(&self, at: usize, done: u64, total: u64) {
        self.works.change(self.id, |work| {
            for (n, step) in work.steps.iter_mut().enumerate() {
                match n.cmp(&at) {
                    std::cmp::Ordering::Less => step.state = StepState::Done,
                    std::cmp::Ordering::Equal => step.state = StepState::Running(done, total),
                    std::cmp::Ordering::Greater => {}
                }
            }
        });
    }

    /// What there is to say about a step.
    pub fn note(&self, at: usize, note: impl Into<String>) {
        self.works.change(self.id, |work| {
            if let Some(step) = work.steps.get_mut(at) {
                step.note = note.into();
            }
        });
    }

    fn end(&self, outcome: Outcome) {
        self.works.change(self.id, |work| {
            let failed = matches!(outcome, Outcome::Failed(_) | Outcome::Done { activated: Activated::Refused(_), .. });
            for step in &mut work.steps {
                match step.state {
                    StepState::Running(..) | StepState::Waiting if !failed => step.state = StepState::Done,
                    StepState::Running(..) => step.state = StepState::Failed,
                    _ => {}
                }
            }
            work.outcome = outcome;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    fn wait(works: &Works, id: u64) -> Work {
        loop {
            let work = works.find(id).expect("known");
            if work.outcome != Outcome::Running {
                return work;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_work_is_watched_step_by_step_and_says_why_it_failed() {
        let works = Works::default();
        let (go, gone) = channel::<()>();
        let id = works
            .start("anna", Kind::Build, "tool 1".to_owned(), NOW, &["Pack", "Cut", "Publish"], move |teller| {
                teller.step(1, 5, 10);
                teller.note(1, "half of it");
                let _ = gone.recv();
                Outcome::Failed("the disk is full".to_owned())
            })
            .expect("begun");
        while works.find(id).is_some_and(|work| work.steps[1].note.is_empty()) {
            thread::yield_now();
        }
        let states: Vec<StepState> = works.find(id).expect("known").steps.into_iter().map(|step| step.state).collect();
        assert_eq!(states, [StepState::Done, StepState::Running(5, 10), StepState::Waiting]);
        go.send(()).expect("it waits");
        let work = wait(&works, id);
        assert_eq!(work.outcome, Outcome::Failed("the disk is full".to_owned()));
        assert_eq!(work.steps[1].state, StepState::Failed);
        assert_eq!(works.list(Some("berta")).len() + works.list(Some("anna")).len(), 1);
    }

    #[test]
    fn a_panic_is_a_failed_work_and_the_next_has_its_turn() {
        let works = Works::default();
        for _ in 0..=AT_ONCE {
            let id =
                works.start("anna", Kind::Build, String::new(), NOW, &["Pack"], |_| panic!("a bug")).expect("begun");
            assert!(matches!(wait(&works, id).outcome, Outcome::Failed(_)));
        }
    }
}
