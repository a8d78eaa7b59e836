//! The cycle engine: which package has its turn when. Floor 1: no clock, no disk, no network.
//!
//! It is told facts with a time that never goes back, and asked for at most one action at a time:
//!
//! ```text
//! while let Some(action) = engine.poll_action() { let event = perform(action); engine.handle_event(now, event); }
//! sleep until engine.poll_timeout(); engine.handle_timeout(now);
//! ```

mod event;

pub use event::{Action, Event, Failure, Stage, TaskInfo, TaskSeed};

use crate::model::UnixTime;
use crate::model::settings::DownloadSettings;

/// See the module's page.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// An engine over what the work directory holds. Same seeds, settings and events → same actions.
    pub fn new(settings: DownloadSettings, seeds: Vec<TaskSeed>, now: UnixTime) -> Self {
        let _ = (settings, seeds, now);
        todo!()
    }

    /// The next thing to do. After an action is handed out there is none until its event came.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// When to call [`Engine::handle_timeout`] next, if there is nothing to do now.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        todo!()
    }

    /// Tells what became of an action, or what happened outside.
    pub fn handle_event(&mut self, now: UnixTime, event: Event) {
        let _ = (now, event);
        todo!()
    }

    /// Tells that time went by.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        let _ = now;
        todo!()
    }

    /// Is there nothing left that time or an action could bring further? (`once` ends here.)
    pub fn is_idle(&self) -> bool {
        todo!()
    }
}
