//! The published tree: the only maker and the only reader of its paths.

use std::fmt;
use std::str::FromStr;

use super::{FragmentNumber, PackageId};

/// Why a path of the tree was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a path of the download tree: expected <id>/info or <id>/<id>-<n>")]
pub struct InvalidTreeKey;

/// Names every file that a download tree can hold: `<id>/info` and `<id>/<id>-<n>` (ocs-protocol 6).
///
/// A request's path is parsed into this and nothing else is ever joined to the tree's root, so no spelling can leave it.
///
/// ```
/// # use dripfeed::model::TreeKey;
/// assert!("1795164357/1795164357-3".parse::<TreeKey>().is_ok());
/// assert!("1795164357/../../etc/passwd".parse::<TreeKey>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TreeKey {
    /// The info file: what to do and how to check it. HTTPS only.
    Info {
        /// Whose.
        package: PackageId,
    },
    /// One fragment.
    Fragment {
        /// Whose.
        package: PackageId,
        /// Which.
        number: FragmentNumber,
    },
}

impl TreeKey {
    /// The package that the file belongs to.
    pub fn package(self) -> PackageId {
        match self {
            Self::Info { package } | Self::Fragment { package, .. } => package,
        }
    }

    /// The file's name inside the package's directory.
    pub fn file_name(self) -> String {
        match self {
            Self::Info { .. } => "info".to_owned(),
            Self::Fragment { package, number } => format!("{package}-{number}"),
        }
    }
}

impl fmt::Display for TreeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info { package } => write!(f, "{package}/info"),
            Self::Fragment { package, number } => write!(f, "{package}/{package}-{number}"),
        }
    }
}

impl FromStr for TreeKey {
    type Err = InvalidTreeKey;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let (directory, file) = path.split_once('/').ok_or(InvalidTreeKey)?;
        let package: PackageId = directory.parse().map_err(|_| InvalidTreeKey)?;
        if file == "info" {
            return Ok(Self::Info { package });
        }
        let (owner, number) = file.split_once('-').ok_or(InvalidTreeKey)?;
        if owner != directory {
            return Err(InvalidTreeKey);
        }
        Ok(Self::Fragment { package, number: number.parse().map_err(|_| InvalidTreeKey)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_but_the_two_forms_is_a_path() {
        for wrong in [
            "",
            "info",
            "12/",
            "/info",
            "12/info/",
            "12//info",
            "12/Info",
            "12/13-1",
            "12/12-0",
            "12/12-01",
            "12/12-+1",
            "012/012-1",
            "12/12-1/..",
            "../12/info",
            "12/..",
            "12/12-1 ",
            "12/12-1%00",
        ] {
            assert!(wrong.parse::<TreeKey>().is_err(), "{wrong:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(id in 1..=PackageId::MAX, number in 1_u32..) {
            let package = PackageId::new(id).expect("in range");
            for key in [TreeKey::Info { package }, TreeKey::Fragment { package, number: FragmentNumber::new(number).expect("not 0") }] {
                prop_assert_eq!(key.to_string().parse::<TreeKey>(), Ok(key));
            }
        }
    }
}
