//! The dictionary of software: which titles there are, in which versions, on how many computers.

use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::store::software::{self, Program, TitleCount};

impl Desk {
    /// Programs whose name has `part` in it, by name, after `after`; at most `limit`. Counts are of the whole fleet, so
    /// an actor with a scope of computers is not told them.
    pub fn software(&self, part: &str, after: Option<String>, limit: usize) -> Result<Vec<Program>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        self.allow_all_computers()?;
        let part = part.trim().to_owned();
        Ok(app.store.read_now(move |conn| software::programs(conn, &part, after.as_deref(), limit))?)
    }

    /// The versions of one program, those that most computers have first.
    pub fn software_versions(&self, name: &str) -> Result<Vec<TitleCount>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        self.allow_all_computers()?;
        let owned = name.to_owned();
        let found = app.store.read_now(move |conn| software::versions(conn, &owned))?;
        if found.is_empty() {
            return Err(Refusal::not_found(format!(
                "no computer has a program named \"{}\"",
                name.chars().take(80).collect::<String>()
            )));
        }
        Ok(found)
    }
}
