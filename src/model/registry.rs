//! Questions to the registry of Windows computers (ocs-protocol 2.1).

use std::fmt;
use std::str::FromStr;

use super::{is_line, is_name};

/// A tree of the registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegistryTree {
    /// `HKEY_CLASSES_ROOT`, 0 on the wire.
    ClassesRoot,
    /// `HKEY_CURRENT_USER`, 1: of the account that the agent runs as.
    CurrentUser,
    /// `HKEY_LOCAL_MACHINE`, 2.
    LocalMachine,
    /// `HKEY_USERS`, 3.
    Users,
    /// `HKEY_CURRENT_CONFIG`, 4.
    CurrentConfig,
}

impl RegistryTree {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::ClassesRoot, Self::CurrentUser, Self::LocalMachine, Self::Users, Self::CurrentConfig];

    /// `REGTREE`.
    pub fn number(self) -> u8 {
        match self {
            Self::ClassesRoot => 0,
            Self::CurrentUser => 1,
            Self::LocalMachine => 2,
            Self::Users => 3,
            Self::CurrentConfig => 4,
        }
    }

    /// Its short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClassesRoot => "HKCR",
            Self::CurrentUser => "HKCU",
            Self::LocalMachine => "HKLM",
            Self::Users => "HKU",
            Self::CurrentConfig => "HKCC",
        }
    }

    fn long_name(self) -> &'static str {
        match self {
            Self::ClassesRoot => "HKEY_CLASSES_ROOT",
            Self::CurrentUser => "HKEY_CURRENT_USER",
            Self::LocalMachine => "HKEY_LOCAL_MACHINE",
            Self::Users => "HKEY_USERS",
            Self::CurrentConfig => "HKEY_CURRENT_CONFIG",
        }
    }
}

impl fmt::Display for RegistryTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RegistryTree {
    type Err = InvalidRegistryQuery;

    /// Takes short and long names in any case, and the number of the wire.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |tree: &Self| {
            text.eq_ignore_ascii_case(tree.as_str())
                || text.eq_ignore_ascii_case(tree.long_name())
                || text == tree.number().to_string()
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| InvalidRegistryQuery::Tree(text.chars().take(60).collect()))
    }
}

/// Why a question was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRegistryQuery {
    /// No such tree.
    #[error("there is no registry tree \"{0}\": expected HKCR, HKCU, HKLM, HKU or HKCC")]
    Tree(String),
    /// A part that agents could not use.
    #[error(
        "{part} cannot be \"{text}\": it has 1 to {max} characters, no control characters and no space at its ends"
    )]
    Part {
        /// Which.
        part: &'static str,
        /// As it was given, cut.
        text: String,
        /// Characters.
        max: usize,
    },
    /// A name that no address can hold.
    #[error("a question cannot be named \"{0}\": browsers leave that out of an address")]
    Name(String),
    /// A key with the tree in it.
    #[error("the key \"{0}\" begins with a tree: give that with --tree, and the key below it without it")]
    TreeInKey(String),
}

/// One question: what is there below a key? The answer comes as `REGISTRY` of an inventory, by the same name.
///
/// ```
/// use dripfeed::model::{RegistryQuery, RegistryTree};
///
/// let query = RegistryQuery::new("Proxy", RegistryTree::LocalMachine, r"SOFTWARE\Example", "ProxyServer")?;
/// assert_eq!(query.value(), "ProxyServer");
/// assert!(RegistryQuery::new("Proxy", RegistryTree::LocalMachine, r"HKLM\SOFTWARE", "*").is_err());
/// # Ok::<(), dripfeed::model::InvalidRegistryQuery>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryQuery {
    name: String,
    tree: RegistryTree,
    key: String,
    value: String,
}

impl RegistryQuery {
    /// The value that asks for all values of a key.
    pub const ALL_VALUES: &'static str = "*";
    /// Characters of a name.
    pub const MAX_NAME: usize = 100;
    /// Characters of a key and of a value's name: what the stock server's columns hold.
    pub const MAX_TEXT: usize = 255;

    /// Checks its parts.
    pub fn new(name: &str, tree: RegistryTree, key: &str, value: &str) -> Result<Self, InvalidRegistryQuery> {
        for (part, text, max) in
            [("the name", name, Self::MAX_NAME), ("the key", key, Self::MAX_TEXT), ("the value", value, Self::MAX_TEXT)]
        {
            if !is_line(text, max) {
                let text = text.chars().filter(|c| !c.is_control()).take(60).collect();
                return Err(InvalidRegistryQuery::Part { part, text, max });
            }
        }
        if !is_name(name, Self::MAX_NAME) {
            return Err(InvalidRegistryQuery::Name(name.to_owned()));
        }
        let first = key.trim_start_matches('\\').split('\\').next().unwrap_or_default();
        if RegistryTree::ALL
            .iter()
            .any(|tree| first.eq_ignore_ascii_case(tree.as_str()) || first.eq_ignore_ascii_case(tree.long_name()))
        {
            return Err(InvalidRegistryQuery::TreeInKey(key.chars().take(60).collect()));
        }
        Ok(Self { name: name.to_owned(), tree, key: key.to_owned(), value: value.to_owned() })
    }

    /// What people and answers call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where.
    pub fn tree(&self) -> RegistryTree {
        self.tree
    }

    /// The key below the tree.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value's name; [`Self::ALL_VALUES`] is all of them.
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_by_each_of_their_names() {
        for tree in RegistryTree::ALL {
            for name in [tree.as_str().to_lowercase(), tree.long_name().to_owned(), tree.number().to_string()] {
                assert_eq!(name.parse(), Ok(tree), "{name}");
            }
        }
        let error = "HKX".parse::<RegistryTree>().expect_err("unknown");
        assert_eq!(error.to_string(), "there is no registry tree \"HKX\": expected HKCR, HKCU, HKLM, HKU or HKCC");
    }

    #[test]
    fn what_an_agent_could_not_ask_is_refused() {
        let problem = |name: &str, key: &str, value: &str| {
            RegistryQuery::new(name, RegistryTree::LocalMachine, key, value).expect_err("refused").to_string()
        };
        assert!(problem("", "k", "v").starts_with("the name cannot be \"\""));
        assert!(problem("n", " k", "v").starts_with("the key cannot be"));
        assert!(problem("n", "k", "v\n").starts_with("the value cannot be \"v\""));
        assert!(problem("n", &"k".repeat(256), "v").contains("1 to 255 characters"));
        assert!(problem("n", r"\HKEY_LOCAL_MACHINE\SOFTWARE", "*").contains("begins with a tree"));
    }
}
