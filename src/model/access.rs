//! Who may do what: rights, roles, and the part of the fleet and of the packages that they hold for.
//!
//! An administrator's rights come from a role; a token's from a list, cut to those of its owner. [`Scope`] says for
//! which computers and which packages they hold. Both are asked in one place, `service::desk`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::query::{Expr, Query, QueryError, fold};

macro_rules! rights {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $does:literal;)*) => {
        /// Something that not everybody may do.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Right {
            $($(#[$doc])* $variant,)*
        }

        impl Right {
            /// All of them, as a form lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in the store, in JSON and on the command line.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What somebody with it does: "…is needed to {does}".
            pub fn does(self) -> &'static str {
                match self {
                    $(Self::$variant => $does,)*
                }
            }
        }
    };
}

rights! {
    /// Lists, descriptions, files and fragments of packages.
    SeePackages = "packages.see", "look at packages";
    /// Upload and build; new versions.
    BuildPackages = "packages.build", "build packages";
    /// Administrators' own templates of packages.
    EditTemplates = "templates.edit", "change templates of packages";
    /// Tell agents where to fetch a package.
    ActivatePackages = "packages.activate", "activate packages";
    /// Take a package back.
    WithdrawPackages = "packages.withdraw", "withdraw packages";
    /// Computers, their inventories and what became of packages there.
    SeeComputers = "computers.see", "look at computers";
    /// Tags, fields, notes.
    EditComputers = "computers.edit", "edit computers";
    /// Wake them over the network.
    WakeComputers = "computers.wake", "wake computers";
    /// Merge, archive, restore, delete.
    RemoveComputers = "computers.remove", "merge, archive and delete computers";
    /// Groups and who is in them.
    SeeGroups = "groups.see", "look at groups";
    /// Make, change and delete groups.
    EditGroups = "groups.edit", "change groups";
    /// Deployments and their jobs.
    SeeDeployments = "deployments.see", "look at deployments";
    /// Assign packages, retry.
    Deploy = "deployments.start", "deploy packages";
    /// Cancel and close deployments.
    StopDeployments = "deployments.stop", "cancel and close deployments";
    /// Agree to, or reject, what others want to deploy to many computers.
    Approve = "deployments.approve", "approve wide deployments of others";
    /// Settings with their origins.
    SeeSettings = "settings.see", "look at settings";
    /// Change them.
    EditSettings = "settings.edit", "change settings";
    /// Mirrors and sites.
    SeeMirrors = "mirrors.see", "look at mirrors";
    /// Change them.
    EditMirrors = "mirrors.edit", "change mirrors and sites";
    /// Users, roles, other people's tokens and sessions.
    EditUsers = "users.edit", "manage users, roles and tokens";
    /// What was changed by whom.
    SeeAudit = "audit.see", "read the audit log";
    /// Webhooks.
    EditWebhooks = "webhooks.edit", "manage webhooks";
}

impl FromStr for Right {
    type Err = InvalidAccess;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|right| right.as_str() == word);
        found.ok_or_else(|| InvalidAccess::Right(word.chars().take(60).collect()))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why rights or a scope cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAccess {
    /// No such right.
    #[error("\"{0}\" is not a right: `dripfeed role rights` shows them")]
    Right(String),
    /// A pattern of families that cannot match anything.
    #[error("\"{0}\" is not a family of packages: a name, or the beginning of one and a star")]
    Family(String),
    /// The computers of a scope.
    #[error("the computers of a scope are a query: {0}")]
    Computers(#[from] QueryError),
}

/// A set of rights.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights(BTreeSet<Right>);

impl Rights {
    /// Every one.
    pub fn all() -> Self {
        Self(Right::ALL.iter().copied().collect())
    }

    /// Those that look and change nothing.
    pub fn viewer() -> Self {
        Self(
            [
                Right::SeePackages,
                Right::SeeComputers,
                Right::SeeGroups,
                Right::SeeDeployments,
                Right::SeeSettings,
                Right::SeeMirrors,
            ]
            .into(),
        )
    }

    /// A viewer's, and what a deployment needs from upload to result.
    pub fn deployer() -> Self {
        let mut rights = Self::viewer();
        rights.0.extend([
            Right::BuildPackages,
            Right::ActivatePackages,
            Right::WithdrawPackages,
            Right::EditComputers,
            Right::WakeComputers,
            Right::EditGroups,
            Right::Deploy,
            Right::StopDeployments,
            Right::Approve,
        ]);
        rights
    }

    /// Is it one of them?
    pub fn contains(&self, right: Right) -> bool {
        self.0.contains(&right)
    }

    /// What both have.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Are there any that `other` lacks?
    pub fn exceed(&self, other: &Self) -> Option<Right> {
        self.0.difference(&other.0).next().copied()
    }

    /// In the order of [`Right::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Right> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().collect())
    }
}

/// Words with spaces between.
impl FromStr for Rights {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_whitespace().map(str::parse).collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Right::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// A role that comes with the program: its name, what it is for, what it may do.
pub type BuiltInRole = (&'static str, &'static str, fn() -> Rights);

/// The roles that come with the program.
pub const BUILT_IN_ROLES: [BuiltInRole; 3] = [
    ("administrator", "everything", Rights::all),
    (
        "deployer",
        "builds, activates and deploys packages; changes groups, tags and fields; wakes computers",
        Rights::deployer,
    ),
    ("viewer", "looks at everything but users and the audit log, changes nothing", Rights::viewer),
];

/// For which computers and packages rights hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// Those that the query asks for; `None` for all.
    pub computers: Option<Query>,
    /// Packages of these families; empty for all.
    pub families: Vec<FamilyPattern>,
}

impl Scope {
    /// Everything.
    pub const ALL: Self = Self { computers: None, families: Vec::new() };

    /// Does it leave anything out?
    pub fn is_limited(&self) -> bool {
        self.computers.is_some() || !self.families.is_empty()
    }

    /// What is in both: a token's scope within that of its owner.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        let computers = match (&self.computers, &other.computers) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        };
        let families = if self.families.is_empty() || other.families.is_empty() {
            [self.families.clone(), other.families.clone()].concat()
        } else {
            let pairs = self.families.iter().flat_map(|one| other.families.iter().map(move |other| (one, other)));
            let both: Vec<FamilyPattern> = pairs.filter_map(|(one, other)| one.both(other)).collect();
            // No pattern at all would be every family.
            if both.is_empty() { vec![FamilyPattern::nothing()] } else { both }
        };
        Self { computers, families }
    }

    /// Reads what a form, a row or an option holds: a query, and families, one a line. Blank is everything.
    pub fn parse(computers: Option<&str>, families: Option<&str>) -> Result<Self, InvalidAccess> {
        let computers = computers.map(str::trim).filter(|text| !text.is_empty());
        let families = families.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Self {
            computers: computers.map(str::parse).transpose()?,
            families: families.map(str::parse).collect::<Result<_, _>>()?,
        })
    }

    /// The same for those of its computers alone that a query asks for, too. A text that is none, or that is too long for
    /// both, leaves it as it is.
    #[must_use]
    pub fn narrowed(&self, query: &str) -> Self {
        let both = |query: Query| match self.computers.clone() {
            Some(own) => Query::try_from(Expr::All(vec![own.into(), query.into()])).ok(),
            None => Some(query),
        };
        let computers = query.parse().ok().and_then(both).or_else(|| self.computers.clone());
        Self { computers, families: self.families.clone() }
    }

    /// Is a package of this family in it?
    pub fn has_family(&self, family: &str) -> bool {
        self.families.is_empty() || self.families.iter().any(|pattern| pattern.matches(family))
    }

    /// The families as [`Scope::parse`] reads them.
    pub fn families_text(&self) -> Option<String> {
        let lines: Vec<String> = self.families.iter().map(ToString::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// A family's name, or the beginning of one and a star; letters without case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FamilyPattern {
    text: String,
}

impl FamilyPattern {
    /// One that stands for no family: none has a control character in its name, and nobody can type it.
    fn nothing() -> Self {
        Self { text: "\0".to_owned() }
    }

    /// What both stand for; `None` if that is nothing. Of two that meet, one holds the other.
    fn both(&self, other: &Self) -> Option<Self> {
        let narrow = if other.holds(self) { Some(self) } else { Some(other).filter(|other| self.holds(other)) };
        narrow.cloned()
    }

    /// Does it stand for all that the other one stands for?
    fn holds(&self, other: &Self) -> bool {
        match (self.text.strip_suffix('*'), other.text.strip_suffix('*')) {
            (Some(own), Some(beginning)) => fold(beginning).starts_with(&fold(own)),
            (None, Some(_)) => false,
            (_, None) => self.matches(&other.text),
        }
    }

    /// Does it stand for this family?
    pub fn matches(&self, family: &str) -> bool {
        let family = fold(family);
        match self.text.strip_suffix('*') {
            Some(beginning) => family.starts_with(&fold(beginning)),
            None => family == fold(&self.text),
        }
    }
}

impl FromStr for FamilyPattern {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || text.chars().count() > 200 || body.contains('*') || text.contains(char::is_control) {
            return Err(InvalidAccess::Family(text.chars().take(60).collect()));
        }
        Ok(Self { text: text.to_owned() })
    }
}

impl fmt::Display for FamilyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_words_that_read_back() {
        let all = Rights::all();
        assert_eq!(all.to_string().parse::<Rights>(), Ok(all.clone()));
        assert_eq!("packages.see  computers.see".parse::<Rights>().map(|rights| rights.iter().count()), Ok(2));
        let words: BTreeSet<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
        assert_eq!(words.len(), Right::ALL.len(), "two rights share a word");
    }

    #[test]
    fn an_unknown_right_is_refused() {
        let error = "packages.see packages.fly".parse::<Rights>().expect_err("no such right");
        assert!(error.to_string().contains("\"packages.fly\" is not a right"), "{error}");
    }

    #[test]
    fn each_role_holds_what_the_one_below_it_holds() {
        assert_eq!(Rights::viewer().exceed(&Rights::deployer()), None);
        assert_eq!(Rights::deployer().exceed(&Rights::all()), None);
        assert!(Rights::all().exceed(&Rights::deployer()).is_some());
        assert!(!Rights::deployer().contains(Right::EditUsers) && !Rights::viewer().contains(Right::Deploy));
    }

    #[test]
    fn a_family_is_a_name_or_its_beginning() {
        let scope = Scope::parse(None, Some("Firefox\noffice*\n\n")).expect("a scope");
        for (family, inside) in
            [("firefox", true), ("Firefox ESR", false), ("Office 2024", true), ("libreoffice", false), ("", false)]
        {
            assert_eq!(scope.has_family(family), inside, "{family:?}");
        }
        assert!(Scope::ALL.has_family("anything"));
        for wrong in ["a*b", "**", "a\tb"] {
            assert!(wrong.parse::<FamilyPattern>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn what_is_in_two_scopes_is_in_both_of_them() {
        let lists = ["", "firefox", "Fire*", "office*\nfirefox", "office 2024\nthunder*", "*", "f*\nofficial"];
        let families = ["firefox", "Firefox ESR", "fire", "office", "Office 2024", "official", "thunderbird", "vlc"];
        for one in lists {
            for other in lists {
                let (a, b) = (Scope::parse(None, Some(one)), Scope::parse(None, Some(other)));
                let (a, b) = (a.expect("a scope"), b.expect("a scope"));
                let both = a.within(&b);
                assert_eq!(both.is_limited(), a.is_limited() || b.is_limited(), "{one:?} {other:?}");
                for family in families {
                    let expected = a.has_family(family) && b.has_family(family);
                    assert_eq!(both.has_family(family), expected, "{family} in {one:?} and {other:?}");
                }
            }
        }
        let scope = |text| Scope::parse(Some(text), None).expect("a scope");
        let both = scope("tag = Paris or tag = Rome").within(&scope("os contains debian and name starts with a"));
        let text = both.computers.expect("a query").to_string();
        assert_eq!(text, "(tag = 'Paris' or tag = 'Rome') and os contains 'debian' and name starts with 'a'");
        assert_eq!(scope("tag = Paris").within(&Scope::ALL), scope("tag = Paris"));
        assert_eq!(Scope::ALL.within(&scope("tag = Paris")), scope("tag = Paris"));
    }

    #[test]
    fn a_scope_of_computers_is_a_query() {
        let scope = Scope::parse(Some("tag = Paris"), None).expect("a scope");
        assert!(scope.is_limited());
        assert!(Scope::parse(Some("tag ="), None).is_err());
        assert_eq!(Scope::parse(Some("  "), Some("\n")), Ok(Scope::ALL));
        let narrow = scope.narrowed("os contains debian").computers.map(|query| query.to_string());
        assert_eq!(narrow.as_deref(), Some("tag = 'Paris' and os contains 'debian'"));
        assert_eq!(
            Scope::ALL.narrowed("tag = x").computers.map(|query| query.to_string()).as_deref(),
            Some("tag = 'x'")
        );
        assert_eq!(scope.narrowed("tag ="), scope);
    }
}
