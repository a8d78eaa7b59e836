//! The administrators' desk: the one door through which people and programs change things.
//!
//! The console, the API and the command line each make a [`Desk`] for whoever asks and call nothing else. A desk checks
//! the actor's [`Right`]s and [`Scope`], runs the service, and writes the line of the audit log in the same transaction as
//! the change. What one door refuses, all refuse.
//!
//! ```text
//! console ─┐                    right? in scope?        ┌ service::activate, publish, deployments, …
//! api ─────┼─► Desk (an Actor) ─────────────────────────┤
//! verbs ───┘                    audit line + change ────┴► one commit
//! ```

mod refusal;

pub mod approvals;
pub mod builds;
pub mod computers;
pub mod deployments;
pub mod fields;
pub mod gates;
pub mod groups;
pub mod home;
pub mod identity;
pub mod imports;
pub mod likenesses;
pub mod lock;
pub mod mirrors;
pub mod networks;
pub mod notes;
pub mod packages;
pub mod people;
pub mod search;
pub mod series;
pub mod settings;
pub mod software;
pub mod status;
pub mod templates;
pub mod uploads;
pub mod verbs;
pub mod views;
pub mod wake;
pub mod webhooks;

use serde_json::Value;

use super::App;
use crate::model::access::{Right, Rights, Scope};
use crate::model::{Computer, ComputerId, Package};
use crate::store::audit::{self, Entry};
use crate::store::search as store_search;

pub use refusal::{Kind, Refusal};

/// Through which door somebody came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// A browser.
    Console,
    /// A program with a token.
    Api,
    /// The command line on the machine itself.
    CommandLine,
    /// Nobody: the server does it by itself.
    Server,
}

impl Via {
    /// The word of the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Api => "api",
            Self::CommandLine => "command line",
            Self::Server => "server",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user's name.
    pub name: String,
    /// The token's name, if a program asks.
    pub token: Option<String>,
    /// Through which door.
    pub via: Via,
    /// From where; empty on the machine itself.
    pub peer_address: String,
    /// What the actor may do.
    pub rights: Rights,
    /// For which computers and packages.
    pub scope: Scope,
}

impl Actor {
    /// Whoever runs a verb on the machine itself: the files are theirs, so everything is.
    pub fn command_line(name: String) -> Self {
        Self {
            name,
            token: None,
            via: Via::CommandLine,
            peer_address: String::new(),
            rights: Rights::all(),
            scope: Scope::ALL,
        }
    }

    /// As the audit log names the actor.
    pub fn label(&self) -> String {
        match &self.token {
            Some(token) => format!("{} (token {token})", self.name),
            None => self.name.clone(),
        }
    }
}

/// The application for one actor.
#[derive(Clone, Debug)]
pub struct Desk {
    app: App,
    actor: Actor,
}

/// What is about to be changed: the line of the audit log without its who and when.
#[derive(Clone, Debug)]
pub struct Change {
    action: &'static str,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    /// `action` in words of the command line (`package withdraw`), `subject` with its kind (`package 1795170000`).
    pub fn new(action: &'static str, subject: impl Into<String>) -> Self {
        Self { action, subject: subject.into(), before: None, after: None }
    }

    /// What is there now.
    #[must_use]
    pub fn before(mut self, value: Value) -> Self {
        self.before = Some(value);
        self
    }

    /// What is asked for. Never a secret.
    #[must_use]
    pub fn after(mut self, value: Value) -> Self {
        self.after = Some(value);
        self
    }
}

impl Desk {
    /// A desk for an actor.
    pub fn new(mut app: App, actor: Actor) -> Self {
        if actor.via == Via::CommandLine {
            // A verb's own line would say less than the desk's.
            app.store = app.store.without_first();
        }
        Self { app, actor }
    }

    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The same desk, with something that is written in the transaction of the first change.
    #[must_use]
    pub fn with_first(
        &self,
        write: impl Fn(&mut crate::store::Conn) -> Result<(), crate::store::StoreError> + Send + Sync + 'static,
    ) -> Self {
        let app = App { store: self.app.store.with_first(write), ..self.app.clone() };
        Self { app, actor: self.actor.clone() }
    }

    /// May the actor do this at all? For what a page shows; each operation asks by itself.
    pub fn may(&self, right: Right) -> bool {
        self.actor.rights.contains(right)
    }

    /// Refuses an actor without the right.
    pub fn allow(&self, right: Right) -> Result<(), Refusal> {
        if self.may(right) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{} may not {}: that needs the right {right}, which somebody who manages users can give",
            self.actor.label(),
            right.does()
        )))
    }

    /// Refuses a package of a family outside the actor's scope. It is answered as one that is not there: whether it
    /// exists is not told either.
    pub fn allow_package(&self, package: &Package) -> Result<(), Refusal> {
        if self.actor.scope.has_family(&package.name) {
            return Ok(());
        }
        Err(Refusal::not_found(format!("there is no package {}", package.id)))
    }

    /// Is the computer in the actor's scope?
    pub fn sees_computer(&self, computer: ComputerId) -> Result<bool, Refusal> {
        let Some(query) = self.actor.scope.computers.clone() else { return Ok(true) };
        let now = self.app.clock.now();
        let facts = self
            .app
            .store
            .read_now(move |conn| store_search::facts(conn, computer, [&query]).map(|facts| (facts, query)))?;
        Ok(match facts {
            (Some(facts), query) => query.matches(&facts, now).map_err(crate::store::StoreError::from)?,
            (None, _) => false,
        })
    }

    /// Refuses a computer outside the actor's scope, as one that is not there.
    pub fn allow_computer(&self, computer: &Computer) -> Result<(), Refusal> {
        if self.sees_computer(computer.id)? {
            return Ok(());
        }
        Err(Refusal::not_found(format!("there is no computer \"{}\"", computer.device_id)))
    }

    /// Refuses what cannot be limited to some computers to an actor who is.
    pub fn allow_all_computers(&self) -> Result<(), Refusal> {
        if self.actor.scope.computers.is_none() {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{} may do this only for some computers (a scope's, or those that the console is locked to), and it concerns all",
            self.actor.label()
        )))
    }

    /// What only reads.
    fn reading(&self, right: Right) -> Result<&App, Refusal> {
        self.allow(right)?;
        Ok(&self.app)
    }

    /// What changes something: the audit line is written with the first change that is made through the application
    /// that this gives.
    fn changing(&self, right: Right, change: Change) -> Result<App, Refusal> {
        self.allow(right)?;
        Ok(self.recorded(change))
    }

    /// The same without a right: for what everybody may do for themselves.
    fn recorded(&self, change: Change) -> App {
        let entry = Entry {
            at: self.app.clock.now(),
            actor: self.actor.label(),
            via: self.actor.via.as_str(),
            peer_address: self.actor.peer_address.clone(),
            action: change.action.to_owned(),
            subject: change.subject,
            before: change.before.map(|value| value.to_string()),
            after: change.after.map(|value| value.to_string()),
        };
        // What the desk itself was given to write (a request's key) goes before the line.
        let outer = self.app.store.clone();
        App { store: outer.with_first(move |conn| audit::add(conn, &entry)), ..self.app.clone() }
    }

    /// The audit log, newest first.
    pub fn audit(&self, wanted: audit::Wanted, limit: usize) -> Result<Vec<audit::Line>, Refusal> {
        let app = self.reading(Right::SeeAudit)?;
        Ok(app.store.read_now(move |conn| audit::list(conn, &wanted, limit))?)
    }
}
