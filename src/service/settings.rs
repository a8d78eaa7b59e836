//! Settings as an administrator sees them: what is set where, what holds, and why (ocs-protocol 3.2, 4.1).

use std::collections::BTreeMap;
use std::fmt;

use super::App;
use super::assign::{AssignError, named};
use super::groups::GroupError;
use crate::engine::check_pace;
use crate::model::settings::{InvalidSetting, Origin, SettingKey, Settings, SettingsLayer, resolve};
use crate::model::{Computer, ComputerId, GroupId, PackageId};
use crate::store::settings::Scope;
use crate::store::{Conn, StoreError, groups, jobs, settings};

/// Whose layer is changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The server's: every computer.
    Everyone,
    /// A group's, by name.
    Group(String),
    /// One computer's, by host name or device id.
    Computer(String),
}

/// Why a setting was not shown or not changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// No such key, or a value out of bounds.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// No such computer.
    #[error(transparent)]
    Computer(#[from] AssignError),
    /// No such group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The server alone has it.
    #[error("{0} is the server's alone: set it without --computer and --group")]
    ServerAlone(SettingKey),
    /// Nothing to take back.
    #[error("{key} is not set by hand {place}: {hint}")]
    NotSet {
        /// Which setting.
        key: SettingKey,
        /// For whom.
        place: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a value stands.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Layer {
    /// In the program.
    Default,
    /// In the configuration: file or environment.
    Configured,
    /// Set by hand for every computer.
    Global,
    /// Set by hand for a group.
    Group(String),
    /// Set by hand for the computer.
    Computer,
}

impl Layer {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Configured => "configuration",
            Self::Global => "global",
            Self::Group(_) => "group",
            Self::Computer => "computer",
        }
    }
}

impl Layer {
    /// For whom it was set, as a sentence goes on after "set".
    pub fn whose(&self) -> String {
        match self {
            Self::Default => "nowhere".to_owned(),
            Self::Configured => "in the configuration".to_owned(),
            Self::Global => "for every computer".to_owned(),
            Self::Group(name) => format!("for group {name}"),
            Self::Computer => "for this computer".to_owned(),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {name}"),
            other => f.write_str(other.word()),
        }
    }
}

/// Everything that is set, layer by layer, as it concerns one computer or every one.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration's.
    pub configured: SettingsLayer,
    /// Set by hand for every computer.
    pub global: SettingsLayer,
    /// The computer's groups, by name.
    pub groups: Vec<(String, SettingsLayer)>,
    /// The computer's own.
    pub computer: SettingsLayer,
}

/// One layer's part in an effective value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Which layer.
    pub layer: Layer,
    /// What it says.
    pub value: Option<i64>,
    /// Is it the one in force?
    pub wins: bool,
    /// Why it is, or is not.
    pub why: &'static str,
}

/// An effective value with all that it was made of, the nearest layer first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// Which setting.
    pub key: SettingKey,
    /// What holds.
    pub value: i64,
    /// Each layer's part.
    pub parts: Vec<Part>,
}

impl Explanation {
    /// The layer that wins.
    pub fn origin(&self) -> &Layer {
        self.parts.iter().find(|part| part.wins).map_or(&Layer::Default, |part| &part.layer)
    }
}

impl Layers {
    /// Reads the layers of a computer, or those that everyone has.
    pub(crate) fn load(
        conn: &mut Conn,
        configured: &SettingsLayer,
        computer: Option<ComputerId>,
    ) -> Result<Self, StoreError> {
        let own = computer.map(|id| settings::layer(conn, Scope::Computer(id))).transpose()?;
        Ok(Self {
            configured: configured.clone(),
            global: settings::layer(conn, Scope::Global)?,
            groups: computer.map(|id| groups::layers(conn, id)).transpose()?.unwrap_or_default(),
            computer: own.unwrap_or_default(),
        })
    }

    /// The values in force.
    pub fn resolve(&self) -> Settings {
        let groups: Vec<SettingsLayer> = self.groups.iter().map(|(_, layer)| layer.clone()).collect();
        resolve(&self.server(), &groups, &self.computer)
    }

    fn server(&self) -> SettingsLayer {
        let mut server = self.configured.clone();
        server.0.extend(&self.global.0);
        server
    }

    /// Which layer an origin is.
    fn layer_of(&self, key: SettingKey, origin: Origin) -> Layer {
        match origin {
            Origin::Default => Layer::Default,
            Origin::Global if self.global.value(key).is_some() => Layer::Global,
            Origin::Global => Layer::Configured,
            Origin::Group(at) => Layer::Group(self.groups.get(at).map(|(name, _)| name.clone()).unwrap_or_default()),
            Origin::Computer => Layer::Computer,
        }
    }

    /// What holds, and each layer's part in it.
    pub fn explain(&self, key: SettingKey) -> Explanation {
        let settings = self.resolve();
        let origin = settings.origin(key);
        let winner = self.layer_of(key, origin);
        let mut said = vec![(Layer::Computer, self.computer.value(key))];
        said.extend(self.groups.iter().map(|(name, layer)| (Layer::Group(name.clone()), layer.value(key))));
        said.push((Layer::Global, self.global.value(key)));
        said.push((Layer::Configured, self.configured.value(key)));
        said.push((Layer::Default, Some(key.info().default)));
        let parts = said.into_iter().map(|(layer, value)| {
            let wins = layer == winner;
            let why = match value {
                None => "not set",
                Some(_) if wins => reason(key, &winner, settings.value(key)),
                Some(value) => obstacle(key, &layer, value, &winner),
            };
            Part { layer, value, wins, why }
        });
        Explanation { key, value: settings.value(key), parts: parts.collect() }
    }
}

/// How a key's layers are weighed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    Switch,
    Largest,
    Smallest,
    SmallestOfAll,
    Nearest,
    ServerAlone,
}

fn rule(key: SettingKey) -> Rule {
    match key {
        SettingKey::Download | SettingKey::IpDiscoverSwitch => Rule::Switch,
        SettingKey::FragmentLatency
        | SettingKey::CycleLatency
        | SettingKey::PeriodLatency
        | SettingKey::IpDiscoverLatency => Rule::Largest,
        SettingKey::PeriodLength | SettingKey::Timeout | SettingKey::ExecutionTimeout => Rule::Smallest,
        SettingKey::Frequency => Rule::SmallestOfAll,
        SettingKey::PrologFrequency | SettingKey::InventoryOnStartup => Rule::Nearest,
        SettingKey::Duplicates
        | SettingKey::Registry
        | SettingKey::IpDiscover
        | SettingKey::IpDiscoverMaxAlive
        | SettingKey::StuckAfter
        | SettingKey::ApprovalFrom
        | SettingKey::ApprovalCount => Rule::ServerAlone,
    }
}

/// Does the server's own value count only, whatever a computer or a group says?
pub fn is_servers_alone(key: SettingKey) -> bool {
    rule(key) == Rule::ServerAlone
}

/// What a key is for everybody.
pub(super) fn everyones(conn: &mut Conn, configured: &SettingsLayer, key: SettingKey) -> Result<i64, StoreError> {
    let mut global = configured.clone();
    global.0.extend(settings::layer(conn, Scope::Global)?.0);
    Ok(resolve(&global, &[], &SettingsLayer::default()).value(key))
}

/// Why the winner wins.
fn reason(key: SettingKey, winner: &Layer, value: i64) -> &'static str {
    match (winner, rule(key)) {
        (Layer::Default, _) => "in force: nothing is set",
        (Layer::Configured | Layer::Global, Rule::Switch) if value == 0 => "in force: off for every computer is final",
        (Layer::Configured | Layer::Global, _) => "in force: nothing nearer to the computer is set",
        (Layer::Group(_), Rule::ServerAlone) => "in force",
        (Layer::Group(_), Rule::Switch) => "in force: off in any group is off",
        (Layer::Group(_), Rule::Largest) => "in force: the largest of the groups",
        (Layer::Group(_), Rule::Smallest | Rule::Nearest) => "in force: the smallest of the groups",
        (Layer::Group(_) | Layer::Computer, Rule::SmallestOfAll) => "in force: the smallest of computer and groups",
        (Layer::Computer, _) => "in force: the computer's own",
    }
}

/// Why a layer that says something does not win.
fn obstacle(key: SettingKey, layer: &Layer, value: i64, winner: &Layer) -> &'static str {
    let rule = rule(key);
    let near = matches!(layer, Layer::Computer | Layer::Group(_));
    match (layer, winner) {
        (Layer::Default, _) => "holds where nothing is set",
        _ if near && rule == Rule::ServerAlone => "only the server's value counts",
        (Layer::Configured, Layer::Global) => "what is set by hand goes before the configuration",
        _ if near && value == 0 && matches!(rule, Rule::Largest | Rule::Smallest) => {
            "0 says nothing here: only a value for every computer can be 0"
        }
        (Layer::Computer | Layer::Group(_), Layer::Configured | Layer::Global | Layer::Default) => {
            if rule == Rule::Switch && value != 0 && matches!(layer, Layer::Group(_)) {
                "a group can only switch off"
            } else {
                "off for every computer is final"
            }
        }
        (Layer::Group(_), _) if rule == Rule::Switch && value == 0 => "another group is off already",
        (Layer::Group(_), _) if rule == Rule::Switch => "a group can only switch off",
        (Layer::Computer, Layer::Group(_)) if rule == Rule::Switch => "off in any group goes before the computer's own",
        (Layer::Computer | Layer::Group(_), _) if rule == Rule::SmallestOfAll => {
            "a smaller one of computer and groups holds"
        }
        (Layer::Group(_), Layer::Group(_)) if rule == Rule::Largest => "another group's is as large or larger",
        (Layer::Group(_), Layer::Group(_)) => "another group's is as small or smaller",
        (Layer::Group(_), _) => "the computer's own goes before its groups",
        _ => "what is nearer to the computer goes before it",
    }
}

/// What holds for every computer that says nothing itself, and how many computers do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overview {
    /// The value for everyone.
    pub explanation: Explanation,
    /// Computers with a value of their own.
    pub own_values: usize,
}

/// Every setting.
pub fn list(app: &App) -> Result<Vec<Overview>, StoreError> {
    let configured = app.configured.clone();
    app.store.read_now(move |conn| {
        let layers = Layers::load(conn, &configured, None)?;
        let own = settings::computer_counts(conn)?;
        let overview =
            |key| Overview { explanation: layers.explain(key), own_values: own.get(&key).copied().unwrap_or(0) };
        Ok(SettingKey::ALL.into_iter().map(overview).collect())
    })
}

/// What a group says of a setting, beside what holds where no group says anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OfGroup {
    /// The group's own value.
    pub own: Option<i64>,
    /// What holds for every computer.
    pub server: Explanation,
}

/// Every setting that a group can have.
pub fn of_group(app: &App, name: &str) -> Result<Vec<OfGroup>, SettingError> {
    let (configured, name) = (app.configured.clone(), name.to_owned());
    app.store.read_now(move |conn| {
        let group = super::groups::find(conn, &name)?;
        let own = settings::layer(conn, Scope::Group(group.id))?;
        let layers = Layers::load(conn, &configured, None)?;
        let keys = SettingKey::ALL.into_iter().filter(|key| rule(*key) != Rule::ServerAlone);
        Ok(keys.map(|key| OfGroup { own: own.value(key), server: layers.explain(key) }).collect())
    })
}

/// What holds for one computer and why.
pub fn explain(app: &App, key: SettingKey, computer: &str) -> Result<(Computer, Explanation), SettingError> {
    let (configured, computer) = (app.configured.clone(), computer.to_owned());
    app.store.read_now(move |conn| {
        let computer = named(conn, &computer)?;
        let layers = Layers::load(conn, &configured, Some(computer.id))?;
        Ok((computer, layers.explain(key)))
    })
}

/// What a change did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Changed {
    /// What that layer said before.
    pub before: Option<i64>,
    /// What holds now for those who are concerned, and why.
    pub explanation: Explanation,
    /// Sentences about open jobs that suffer.
    pub warnings: Vec<String>,
}

/// Sets a value by hand. Agents are told at their next contact.
pub fn set(app: &App, key: SettingKey, value: &str, whose: Whose) -> Result<Changed, SettingError> {
    let key = meant(key, &whose);
    let value = key.parse_value(value)?;
    if rule(key) == Rule::ServerAlone && whose != Whose::Everyone {
        return Err(SettingError::ServerAlone(key));
    }
    change(app, key, whose, move |conn, scope| Ok(settings::set(conn, scope, key, value)?))
}

/// A key as computers have it, and a value that they may have of their own; `None` takes theirs back.
pub fn for_computers(key: SettingKey, value: Option<&str>) -> Result<(SettingKey, Option<i64>), SettingError> {
    let key = meant(key, &Whose::Computer(String::new()));
    if rule(key) == Rule::ServerAlone {
        return Err(SettingError::ServerAlone(key));
    }
    Ok((key, value.map(|value| key.parse_value(value)).transpose()?))
}

/// The keys that a computer can have a value of its own of.
pub fn of_computers() -> impl Iterator<Item = SettingKey> {
    SettingKey::ALL.into_iter().filter(|key| rule(*key) != Rule::ServerAlone)
}

/// The stock server has one name for two things: how many computers of a network look round, and whether this one does.
fn meant(key: SettingKey, whose: &Whose) -> SettingKey {
    match (key, whose) {
        (SettingKey::IpDiscover, Whose::Group(_) | Whose::Computer(_)) => SettingKey::IpDiscoverSwitch,
        _ => key,
    }
}

/// Takes back what was set by hand.
pub fn unset(app: &App, key: SettingKey, whose: Whose) -> Result<Changed, SettingError> {
    let key = meant(key, &whose);
    let refusal = match &whose {
        Whose::Everyone => SettingError::NotSet {
            key,
            place: "for every computer".to_owned(),
            hint: "`dripfeed setting get` shows where its value comes from",
        },
        Whose::Group(name) => SettingError::NotSet {
            key,
            place: format!("for group {name}"),
            hint: "`dripfeed setting list` shows what holds for every computer",
        },
        Whose::Computer(name) => SettingError::NotSet {
            key,
            place: format!("for {name}"),
            hint: "`dripfeed setting explain` shows where its value comes from",
        },
    };
    change(app, key, whose, move |conn, scope| if settings::unset(conn, scope, key)? { Ok(()) } else { Err(refusal) })
}

fn change(
    app: &App,
    key: SettingKey,
    whose: Whose,
    write: impl FnOnce(&mut Conn, Scope) -> Result<(), SettingError> + Send + 'static,
) -> Result<Changed, SettingError> {
    let configured = app.configured.clone();
    app.store.write_now(move |conn| {
        let (scope, computer) = match &whose {
            Whose::Everyone => (Scope::Global, None),
            // Shown with the values of every computer: which of its members it moves depends on their other groups.
            Whose::Group(name) => (Scope::Group(super::groups::find(conn, name)?.id), None),
            Whose::Computer(name) => {
                let id = named(conn, name)?.id;
                (Scope::Computer(id), Some(id))
            }
        };
        let before = settings::layer(conn, scope)?.value(key);
        write(conn, scope)?;
        let layers = Layers::load(conn, &configured, computer)?;
        let warnings = match key {
            SettingKey::Download => waiting(conn, &layers, computer)?,
            SettingKey::FragmentLatency
            | SettingKey::CycleLatency
            | SettingKey::PeriodLatency
            | SettingKey::PeriodLength
            | SettingKey::Timeout => paces(conn, &configured, &layers, computer)?,
            _ => Vec::new(),
        };
        Ok(Changed { before, explanation: layers.explain(key), warnings })
    })
}

/// What becomes of open jobs where deployment is off.
fn waiting(conn: &mut Conn, layers: &Layers, computer: Option<ComputerId>) -> Result<Vec<String>, StoreError> {
    if layers.resolve().download().on {
        return Ok(Vec::new());
    }
    let open: u64 = jobs::open_packages(conn, computer)?.iter().map(|package| package.jobs).sum();
    let sentence = || format!("{open} open jobs wait until DOWNLOAD is 1 again");
    Ok(if open == 0 { Vec::new() } else { vec![sentence()] })
}

/// Whose layers are judged together.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Judged {
    /// The members of these groups that set something; of no other one.
    Members(Vec<GroupId>),
    /// One computer with values of its own.
    One(ComputerId),
}

/// Open jobs that can never be executed at the pace that holds now, with the engine's arithmetic. Asked of everyone:
/// those for whom the same layers hold together.
fn paces(
    conn: &mut Conn,
    configured: &SettingsLayer,
    layers: &Layers,
    computer: Option<ComputerId>,
) -> Result<Vec<String>, StoreError> {
    let mut sentences = Vec::new();
    let mut judge = |layers: &Layers, packages: Vec<jobs::OpenPackage>, whom: &str| {
        let settings = layers.resolve().download();
        for package in packages.iter().filter(|package| package.jobs > 0) {
            if let Err(impossible) = check_pace(&settings, package.priority, package.fragments) {
                let jobs =
                    if package.jobs == 1 { "1 open job".to_owned() } else { format!("{} open jobs", package.jobs) };
                sentences.push(format!("{jobs} of package {}{whom} cannot end: {impossible}", package.package));
            }
        }
    };
    if computer.is_some() {
        let packages = jobs::open_packages(conn, computer)?;
        judge(layers, packages, "");
        return Ok(sentences);
    }
    let mut shared: BTreeMap<_, jobs::OpenPackage> =
        jobs::open_packages(conn, None)?.into_iter().map(|package| (package.package, package)).collect();
    let (own, members) = (settings::computer_layers(conn)?, groups::with_layers(conn)?);
    // With one of each kind, whose layers are those of all of it.
    let mut apart: BTreeMap<Judged, (ComputerId, BTreeMap<PackageId, jobs::OpenPackage>)> = BTreeMap::new();
    for (id, package) in jobs::open_pairs(conn)? {
        let judged = match members.get(&id) {
            _ if own.contains_key(&id) => Judged::One(id),
            Some(groups) => Judged::Members(groups.clone()),
            None => continue,
        };
        let Some(all) = shared.get_mut(&package) else { continue };
        all.jobs -= 1;
        let one = jobs::OpenPackage { jobs: 0, ..*all };
        apart.entry(judged).or_insert_with(|| (id, BTreeMap::new())).1.entry(package).or_insert(one).jobs += 1;
    }
    for (judged, (id, packages)) in apart {
        let layers = Layers::load(conn, configured, Some(id))?;
        let whom = match judged {
            Judged::One(id) => {
                let name = crate::store::computers::find(conn, id)?.map(|computer| computer.name).unwrap_or_default();
                format!(" on {name}")
            }
            Judged::Members(_) => {
                let names: Vec<&str> = layers.groups.iter().map(|(name, _)| name.as_str()).collect();
                format!(" in group {}", names.join(" and "))
            }
        };
        judge(&layers, packages.into_values().collect(), &whom);
    }
    judge(layers, shared.into_values().collect(), "");
    sentences.sort_unstable();
    Ok(sentences)
}
