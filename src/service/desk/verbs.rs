//! Verbs of the command line that somebody elsewhere has run: may they, and for what they reach?

use super::super::App;
use super::super::assign::{AssignError, named};
use super::{Change, Desk, Refusal};
use crate::model::PackageId;
use crate::model::access::Right;
use crate::store::{StoreError, packages};

/// The packages that a verb shows or changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packages {
    /// None.
    Nothing,
    /// This one.
    One(PackageId),
    /// These.
    These(Vec<PackageId>),
    /// A new one of this family.
    Family(String),
    /// Any.
    All,
}

/// The computers that a verb shows or changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Computers {
    /// None.
    Nothing,
    /// Those of these names or device ids.
    Named(Vec<String>),
    /// Any.
    All,
}

/// How far a verb reaches. A scope is smaller than `All`, so who has one is refused where a verb does not say whom it
/// concerns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reach {
    /// Packages.
    pub packages: Packages,
    /// Computers.
    pub computers: Computers,
}

impl Desk {
    /// The application for a verb: each of the rights and the scope are checked, and its first change is recorded.
    pub fn verb(&self, rights: &[Right], reach: &Reach, change: Change) -> Result<App, Refusal> {
        rights.iter().try_for_each(|right| self.allow(*right))?;
        self.reaches_packages(&reach.packages)?;
        self.reaches_computers(&reach.computers)?;
        Ok(self.recorded(change))
    }

    fn reaches_packages(&self, reached: &Packages) -> Result<(), Refusal> {
        if self.actor.scope.families.is_empty() {
            return Ok(());
        }
        match reached {
            Packages::Nothing => Ok(()),
            Packages::One(id) => self.reaches_package(*id),
            Packages::These(ids) => ids.iter().try_for_each(|id| self.reaches_package(*id)),
            Packages::Family(name) if self.actor.scope.has_family(name) => Ok(()),
            Packages::Family(name) => Err(Refusal::forbidden(format!(
                "{} may not build packages of the family \"{name}\"",
                self.actor.label()
            ))),
            Packages::All => Err(self.too_far("packages of every family")),
        }
    }

    fn reaches_package(&self, id: PackageId) -> Result<(), Refusal> {
        let found = self.app.store.read_now(move |conn| -> Result<_, StoreError> { packages::find(conn, id) })?;
        // The same words as for one outside the scope: whether it exists is not told.
        let unknown = || Refusal::not_found(format!("there is no package {id}"));
        self.allow_package(&found.ok_or_else(unknown)?)
    }

    fn reaches_computers(&self, reached: &Computers) -> Result<(), Refusal> {
        if self.actor.scope.computers.is_none() {
            return Ok(());
        }
        match reached {
            Computers::Nothing => Ok(()),
            Computers::Named(names) => names.iter().try_for_each(|name| {
                let wanted = name.clone();
                let computer = self.app.store.read_now(move |conn| named(conn, &wanted))?;
                if self.sees_computer(computer.id)? {
                    return Ok(());
                }
                Err(AssignError::UnknownComputer(name.clone()).into())
            }),
            Computers::All => Err(self.too_far("all computers")),
        }
    }

    fn too_far(&self, what: &str) -> Refusal {
        Refusal::forbidden(format!(
            "{} has a scope, and this verb concerns {what}: name those that are meant, or use the console or the API, which \
             show what is in the scope",
            self.actor.label()
        ))
    }
}
