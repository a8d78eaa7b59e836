//! Keys of computers, names that are expected, and the registration key.

use serde_json::{Value, json};

use super::super::identity::{self, IdentityError};
use super::super::{App, accounts, registration};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{Computer, UnixTime};
use crate::store::expected::{self, Expected};
use crate::store::{audit, registration as stored};

/// What forgetting a key is called in the log.
const FORGET: &str = "computer forget-key";
/// Lines of a computer's log in which a forgotten key is looked for.
const LOOKED_BACK: usize = 100;
/// Names that are expected with one request.
const MOST_NAMES: usize = 10_000;

impl Desk {
    /// Forgets the key of a computer: it is known by its name again, until an agent registers.
    pub fn forget_key(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        let change = Change::new(FORGET, format!("computer {}", computer.device_id))
            .before(json!({ "key": computer.agent_key.as_ref().map(|key| &key.key) }));
        let app = self.changing(Right::RemoveComputers, change)?;
        Ok(identity::forget(&app, computer.device_id.as_str(), &self.actor.label())?)
    }

    /// Gives a computer the key back that was forgotten last, unless an agent has registered since.
    pub fn remember_key(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        let subject = format!("computer {}", computer.device_id);
        let change = Change::new("computer remember-key", subject.clone());
        let app = self.changing(Right::RemoveComputers, change)?;
        // What was forgotten stands in the log: nobody can plant a key that was never the computer's.
        let log = self.app.store.read_now(move |conn| audit::of_subject(conn, &subject, None, LOOKED_BACK))?;
        let forgotten = log.into_iter().find(|line| line.action == FORGET).and_then(|line| line.before);
        let key = forgotten.and_then(|before| {
            let before: Value = serde_json::from_str(&before).ok()?;
            before.get("key")?.as_str().map(str::to_owned)
        });
        let key = key.ok_or_else(|| IdentityError::NothingForgotten(computer.device_id.clone()))?;
        Ok(identity::remember(&app, computer.device_id.as_str(), &key, &self.actor.label())?)
    }

    /// Names whose first agent with a key may register and that begin so, after a name. They are of computers that nobody
    /// knows, so of no scope.
    pub fn expected_computers(
        &self,
        beginning: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Expected>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        let beginning = beginning.to_owned();
        Ok(self.app.store.read_now(move |conn| expected::page(conn, &beginning, after.as_deref(), limit))?)
    }

    /// How many names are expected.
    pub fn expected_count(&self) -> Result<u64, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(self.app.store.read_now(expected::count)?)
    }

    /// Expects names; gives those that were not expected before.
    pub fn expect_computers(&self, names: &[String]) -> Result<Vec<String>, Refusal> {
        let app = self.of_names("computer expect", names)?;
        identity::expect(&app, names, &self.actor.label()).map_err(|error| Refusal::from(error).about("names"))
    }

    /// Expects a name no more.
    pub fn unexpect_computer(&self, name: &str) -> Result<(), Refusal> {
        let app = self.of_names("computer unexpect", &[name.to_owned()])?;
        Ok(identity::unexpect(&app, name)?)
    }

    /// Expects names no more; gives those that were expected.
    pub fn unexpect_computers(&self, names: &[String]) -> Result<Vec<String>, Refusal> {
        let app = self.of_names("computer unexpect", names)?;
        Ok(identity::unexpect_all(&app, names)?)
    }

    /// A change of the names that are expected.
    fn of_names(&self, action: &'static str, names: &[String]) -> Result<App, Refusal> {
        self.allow(Right::EditComputers)?;
        self.allow_all_computers()?;
        let change = match names {
            [] => return Err(Refusal::invalid("name a computer").about("names")),
            [name] => Change::new(action, format!("name {}", name.trim())),
            _ if names.len() > MOST_NAMES => {
                return Err(Refusal::invalid(format!("at most {MOST_NAMES} names at a time")).about("names"));
            }
            _ => Change::new(action, format!("{} names", names.len())).after(json!({ "names": names })),
        };
        self.changing(Right::EditComputers, change)
    }

    /// The registration key that was made here: when, and by whom.
    pub fn registration(&self) -> Result<Option<(UnixTime, String)>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_all_computers()?;
        Ok(self.app.store.read_now(stored::find)?.map(|made| (made.at, made.by)))
    }

    /// Makes a registration key in the place of the one that was made before. Gives it: agents are told it by whoever
    /// rolls them out.
    pub fn renew_registration(&self) -> Result<String, Refusal> {
        self.allow(Right::EditSettings)?;
        self.allow_all_computers()?;
        let app = self.changing(Right::EditSettings, Change::new("registration renew", "registration key"))?;
        let key = accounts::random_password()?;
        registration::renew(&app, &key, &self.actor.label())?;
        Ok(key)
    }

    /// Takes the registration key away that was made here.
    pub fn remove_registration(&self) -> Result<(), Refusal> {
        self.allow(Right::EditSettings)?;
        self.allow_all_computers()?;
        let app = self.changing(Right::EditSettings, Change::new("registration remove", "registration key"))?;
        Ok(registration::remove(&app)?)
    }
}
