//! Computers are woken: a second's worth of turns each second, in a thread of its own.

use std::time::Duration;

use tokio::time::Interval;

use super::chores::{Running, every};
use crate::config::server::Waking;
use crate::fetch::broadcast::Broadcaster;
use crate::service::{App, wake};
use crate::store::StoreError;

/// Between two turns: what the configuration calls a second.
const TURN: Duration = Duration::from_secs(1);
/// Turns between two looks for deployments whose time has come, and for computers that came.
const LOOK: u32 = 5;

/// What wakes computers, for as long as the server runs.
pub(super) struct Waker {
    how: Waking,
    turns: Interval,
    taken: u32,
    running: Running,
}

impl Waker {
    pub(super) fn new(how: Waking) -> Self {
        // What was missed is not made up for: that would be the burst that turns are there against.
        Self { how, turns: every(TURN), taken: 0, running: Running::default() }
    }

    /// The next turn's time.
    pub(super) async fn next(&mut self) {
        self.turns.tick().await;
    }

    /// Takes a turn, unless the one before it is still being taken.
    pub(super) fn take(&mut self, app: &App) {
        let (app, how, looks) = (app.clone(), self.how.clone(), self.taken.is_multiple_of(LOOK));
        self.taken = self.taken.wrapping_add(1);
        self.running.start("wake", move || {
            if let Err(error) = take(&app, &how, looks) {
                tracing::error!("computers were not woken: {:#}", anyhow::Error::from(error));
            }
        });
    }
}

pub(super) fn take(app: &App, how: &Waking, looks: bool) -> Result<(), StoreError> {
    if looks {
        for (id, count) in wake::begin_due(app)? {
            tracing::info!("deployment {id} wakes {count} computers");
        }
        wake::look_back(app)?;
    }
    let mut socket: Option<Broadcaster> = None;
    let sent = wake::take_turns(app, how, &mut |packet, to| {
        // Most seconds nobody is woken, and then there is no socket.
        match &socket {
            Some(socket) => socket.send(packet, to),
            None => socket.insert(Broadcaster::open()?).send(packet, to),
        }
    })?;
    if sent > 0 {
        tracing::debug!("magic packets for {sent} computers are out");
    }
    Ok(())
}
