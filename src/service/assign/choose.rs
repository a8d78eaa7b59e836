//! The rules of an assignment: who is meant, and for whom of them a package is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::prolog::fits;
use super::super::query::{self, AskError};
use super::{AssignError, Target, members_now, named};
use crate::engine::check_pace;
use crate::model::query::Query;
use crate::model::settings::{Settings, SettingsLayer, resolve};
use crate::model::{Computer, ComputerId, GroupId, Package, PackageId, PackageState, UnixTime};
use crate::store::settings::Scope;
use crate::store::{Conn, StoreError, computers, groups, packages, progress, search, settings};

/// Who is meant, whatever the package.
pub(super) struct Meant {
    pub(super) all_computers: bool,
    pub(super) group: Option<GroupId>,
    /// In the order of their numbers, each once.
    pub(super) candidates: Vec<Candidate>,
    /// How many the actor may not touch.
    pub(super) out_of_scope: usize,
    /// By name: one that cannot get a package refuses the whole.
    is_named: bool,
    allowed: Option<BTreeSet<ComputerId>>,
    global: SettingsLayer,
    /// Settings that may be slower than the server's: those of groups, and a computer's own.
    slower: Vec<(Vec<SettingsLayer>, SettingsLayer)>,
}

/// A computer, as much of it as decides.
pub(super) struct Candidate {
    pub(super) id: ComputerId,
    system: String,
    pub(super) is_archived: bool,
}

/// For whom of those that are meant a package is.
pub(super) struct Choice {
    pub(super) package: Package,
    /// Those for whose system it is, in the order of their numbers.
    pub(super) chosen: Vec<ComputerId>,
    pub(super) other_system: Vec<ComputerId>,
    pub(super) pace: Duration,
}

impl Meant {
    pub(super) fn load(
        conn: &mut Conn,
        configured: &SettingsLayer,
        target: &Target,
        scope: Option<&Query>,
        now: UnixTime,
    ) -> Result<Self, AssignError> {
        let mut global = configured.clone();
        global.0.extend(settings::layer(conn, Scope::Global)?.0);
        let mut meant = Self {
            all_computers: *target == Target::All && scope.is_none(),
            group: None,
            candidates: Vec::new(),
            out_of_scope: 0,
            is_named: false,
            allowed: scope.map(|query| search::ids(conn, query, now)).transpose()?,
            global,
            slower: Vec::new(),
        };
        match target {
            Target::All => {
                for (id, system) in progress::systems(conn)? {
                    meant.put(Candidate { id, system, is_archived: false });
                }
            }
            Target::Group(name) => {
                let known = groups::find_by_name(conn, name)?.ok_or_else(|| AssignError::UnknownGroup(name.clone()))?;
                meant.slower.push((vec![settings::layer(conn, Scope::Group(known.id))?], SettingsLayer::default()));
                meant.group = scope.is_none().then_some(known.id);
                for computer in members_now(conn, &known, now)? {
                    meant.put_computer(computer);
                }
            }
            Target::Where(text) => {
                let query = query::read(conn, text).map_err(|error| match error {
                    AskError::Store(error) => AssignError::Store(error),
                    other => AssignError::Ask(other),
                })?;
                let matching = search::computers(conn, &query, now, None, usize::MAX)?;
                if matching.is_empty() {
                    return Err(AssignError::NobodyMatches);
                }
                for computer in matching {
                    meant.put_computer(computer);
                }
            }
            Target::Selected(ids) => {
                for id in ids {
                    if let Some(computer) = computers::find(conn, *id)? {
                        meant.put_computer(computer);
                    }
                }
            }
            Target::Computers(names) => {
                meant.is_named = true;
                names.iter().try_for_each(|name| meant.put_named(conn, name))?;
            }
        }
        meant.candidates.sort_unstable_by_key(|one| one.id);
        meant.candidates.dedup_by_key(|one| one.id);
        Ok(meant)
    }

    fn put(&mut self, candidate: Candidate) {
        if self.allows(candidate.id) {
            self.candidates.push(candidate);
        } else {
            self.out_of_scope += 1;
        }
    }

    fn put_computer(&mut self, computer: Computer) {
        let is_archived = computer.archived_at.is_some();
        self.put(Candidate { id: computer.id, system: computer.os_name, is_archived });
    }

    fn put_named(&mut self, conn: &mut Conn, name: &str) -> Result<(), AssignError> {
        let computer = named(conn, name)?;
        if !self.allows(computer.id) {
            return Err(AssignError::UnknownComputer(name.to_owned()));
        }
        if computer.archived_at.is_some() {
            return Err(AssignError::Archived(computer.device_id.to_string()));
        }
        let of_groups = groups::layers(conn, computer.id)?.into_iter().map(|(_, layer)| layer).collect();
        self.slower.push((of_groups, settings::layer(conn, Scope::Computer(computer.id))?));
        self.put_computer(computer);
        Ok(())
    }

    fn allows(&self, id: ComputerId) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&id))
    }

    /// The server's own settings.
    pub(super) fn settings(&self) -> Settings {
        resolve(&self.global, &[], &SettingsLayer::default())
    }

    /// Who was put away.
    pub(super) fn archived(&self) -> Vec<ComputerId> {
        self.candidates.iter().filter(|one| one.is_archived).map(|one| one.id).collect()
    }

    /// For whom of them a package is.
    pub(super) fn choose(&self, conn: &mut Conn, package: PackageId) -> Result<Choice, AssignError> {
        let package = packages::find(conn, package)?.ok_or(AssignError::UnknownPackage(package))?;
        if package.state != PackageState::Available {
            return Err(AssignError::NotAvailable(package.id, package.state.as_str()));
        }
        let mut pace = check_pace(&self.settings().download(), package.priority, package.fragments)?;
        for (of_groups, own) in &self.slower {
            let there = resolve(&self.global, of_groups, own).download();
            pace = pace.max(check_pace(&there, package.priority, package.fragments)?);
        }
        let there = self.candidates.iter().filter(|one| !one.is_archived);
        let (chosen, other): (Vec<_>, Vec<_>) = there.partition(|one| fits(package.os, &one.system));
        if self.is_named
            && let Some(first) = other.first()
        {
            return Err(other_system(conn, &package, first)?);
        }
        let ids = |some: Vec<&Candidate>| some.into_iter().map(|one| one.id).collect();
        Ok(Choice { package, chosen: ids(chosen), other_system: ids(other), pace })
    }
}

fn other_system(conn: &mut Conn, package: &Package, on: &Candidate) -> Result<AssignError, StoreError> {
    let name = computers::find(conn, on.id)?.map(|computer| computer.name).unwrap_or_default();
    Ok(AssignError::OtherSystem { package: package.id, os: package.os, computer: name, runs: on.system.clone() })
}
