//! Paths inside a package, and the names that stand there already.

use std::collections::HashMap;
use std::fmt;

use super::ArchiveError;
use crate::model::limits::ArchiveLimits;
use crate::model::{ByteSize, OsFamily};

/// A relative path inside a package: no `..`, no root, no drive, no component that a system reads in its own way.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryPath(Vec<String>);

impl EntryPath {
    /// Its components.
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// Takes an archive's spelling of a path; `None` is the package's own directory (`./`).
    pub(super) fn parse(raw: &[u8], rules: Rules<'_>) -> Result<Option<Self>, ArchiveError> {
        let refuse = |problem| Err(ArchiveError::Path { entry: printable(raw), problem });
        let Ok(text) = std::str::from_utf8(raw) else {
            return refuse("it is not UTF-8: rename the file, or build the archive on a system that uses UTF-8");
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > rules.limits.path {
            return refuse("it is too long (limit \"path\")");
        }
        if text.chars().any(char::is_control) {
            return refuse("it contains a control character");
        }
        if text.starts_with('/') {
            return refuse("it is absolute");
        }
        if text.contains('\\') && !rules.backslash {
            return refuse("it contains a backslash, which some systems take for a separator");
        }
        let mut components = Vec::new();
        for component in text.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                return refuse("it contains \"..\"");
            }
            if component.len() > 255 {
                return refuse("a name in it is longer than 255 bytes");
            }
            if let Some(problem) = windows_problem(component).filter(|_| rules.os == OsFamily::Windows) {
                return refuse(problem);
            }
            components.push(component.to_owned());
        }
        if components.len() > rules.limits.depth {
            return Err(ArchiveError::TooLarge {
                what: format!("nests \"{}\" {} deep", printable(raw), components.len()),
                limit: format!("{} (limit \"depth\")", rules.limits.depth),
            });
        }
        Ok((!components.is_empty()).then_some(Self(components)))
    }

    /// Where a link's target lies: relative to the link's directory, inside the package.
    ///
    /// `..` is taken only at the front. Behind a name it would be read in two ways, because the name may be a link; in
    /// front it climbs out of real directories alone, since no entry lies below a link.
    pub(super) fn resolve(&self, target: &[u8], rules: Rules<'_>) -> Result<(String, Self), ArchiveError> {
        let refuse = |problem| {
            let (entry, target) = (self.to_string(), printable(target));
            Err(ArchiveError::Link { entry: printable(entry.as_bytes()), target, problem })
        };
        if rules.os == OsFamily::Windows {
            return refuse("a package for Windows holds no links");
        }
        let Ok(text) = std::str::from_utf8(target) else {
            return refuse("its target is not UTF-8");
        };
        if text.is_empty() {
            return refuse("it has no target");
        }
        if text.len() > rules.limits.path {
            return refuse("its target is too long (limit \"path\")");
        }
        if text.chars().any(char::is_control) {
            return refuse("its target contains a control character");
        }
        if text.starts_with('/') {
            return refuse("its target is absolute: make it relative");
        }
        let mut place = self.0[..self.0.len() - 1].to_vec();
        let mut named = false;
        for component in text.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                if named {
                    return refuse("its target has \"..\" behind a name: put every \"..\" in front");
                }
                if place.pop().is_none() {
                    return refuse("its target lies outside the package");
                }
            } else {
                named = true;
                place.push(component.to_owned());
            }
        }
        Ok((text.to_owned(), Self(place)))
    }

    /// Bytes of memory that it takes, roughly.
    pub(super) fn cost(&self) -> u64 {
        self.0.iter().map(|component| component.len() as u64 + 64).sum()
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join("/"))
    }
}

/// What a path is held to.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) os: OsFamily,
    pub(super) limits: &'a ArchiveLimits,
    /// May a name contain a backslash? In a tar for Linux (`dev-disk-by\x2dlabel.mount`), nowhere else.
    pub(super) backslash: bool,
}

impl Rules<'_> {
    /// The refusal of an archive that unpacks to more than `most`.
    pub(super) fn too_large(self, most: u64, bytes: u64) -> ArchiveError {
        let ArchiveLimits { unpacked_ratio, unpacked_floor, .. } = self.limits;
        ArchiveError::TooLarge {
            what: format!("unpacks to at least {}", ByteSize(bytes)),
            limit: format!(
                "{} (limits \"unpacked_ratio\", {unpacked_ratio} times its size, and \"unpacked_floor\", {})",
                ByteSize(most),
                ByteSize(*unpacked_floor)
            ),
        }
    }
}

/// What Windows would make something else of.
fn windows_problem(component: &str) -> Option<&'static str> {
    const RESERVED: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    if component.contains(':') {
        return Some("it contains a colon, which Windows takes for a drive or a stream");
    }
    if component.contains(['<', '>', '"', '|', '?', '*']) {
        return Some("it contains a character that Windows does not have in names");
    }
    if component.ends_with(['.', ' ']) {
        return Some("a name in it ends in a dot or a blank, which Windows drops");
    }
    let base = component.split('.').next().unwrap_or_default().trim_end_matches(' ').to_uppercase();
    let port = base.strip_prefix("COM").or_else(|| base.strip_prefix("LPT"));
    let is_port = port.is_some_and(|number| {
        let mut digits = number.chars();
        matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    (is_port || RESERVED.contains(&base.as_str())).then_some("a name in it is a device of Windows")
}

/// A name from an archive, fit to be shown: no control characters, cut.
pub(super) fn printable(raw: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(raw);
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Node {
    /// A directory; without a mode it is only known from what lies in it.
    Directory(Option<u32>),
    /// A file of that size.
    File(u64),
    /// A symbolic link.
    Link,
}

/// Every name of an archive. Names that a system cannot tell apart are one name.
pub(super) struct Names {
    folds: bool,
    known: HashMap<(usize, Box<str>), usize>,
    /// Index 0 is the package's own directory.
    nodes: Vec<(Node, Box<str>)>,
}

impl Names {
    pub(super) fn new(os: OsFamily) -> Self {
        Self {
            folds: os != OsFamily::Linux,
            known: HashMap::new(),
            nodes: vec![(Node::Directory(None), Box::default())],
        }
    }

    /// How many there are, directories that are only implied among them.
    pub(super) fn count(&self) -> u64 {
        self.nodes.len() as u64 - 1
    }

    pub(super) fn find(&self, path: &EntryPath) -> Option<Node> {
        let place = path.0.iter().try_fold(0, |parent, name| self.known.get(&(parent, self.key(name))).copied())?;
        Some(self.nodes[place].0)
    }

    /// Enters an entry below directories only, under a name that is free; a directory may repeat itself.
    pub(super) fn enter(&mut self, path: &EntryPath, node: Node) -> Result<(), ArchiveError> {
        let entry = || printable(path.to_string().as_bytes());
        let mut parent = 0;
        for (depth, name) in path.0.iter().enumerate() {
            let last = depth + 1 == path.0.len();
            let key = (parent, self.key(name));
            let Some(&place) = self.known.get(&key) else {
                self.nodes.push((if last { node } else { Node::Directory(None) }, name.as_str().into()));
                parent = self.nodes.len() - 1;
                self.known.insert(key, parent);
                continue;
            };
            let (there, spelling) = &mut self.nodes[place];
            if **spelling != **name {
                let problem = "a name in it differs from another one only in case, so the system would mix them up";
                return Err(ArchiveError::Path { entry: entry(), problem });
            }
            match (*there, last) {
                (Node::Directory(_), false) => {}
                (Node::Directory(mode), true) => match node {
                    Node::Directory(new) if mode.is_none() || mode == new => *there = node,
                    _ => return Err(ArchiveError::Twice { entry: entry() }),
                },
                (Node::Link, false) => {
                    let problem = "a directory of it is a link, and nothing is written through links";
                    return Err(ArchiveError::Path { entry: entry(), problem });
                }
                (Node::File(_), false) => {
                    return Err(ArchiveError::Path { entry: entry(), problem: "a directory of it is a file" });
                }
                (Node::File(_) | Node::Link, true) => return Err(ArchiveError::Twice { entry: entry() }),
            }
            parent = place;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Box<str> {
        if self.folds {
            // There and back: letters that have one capital letter in common are one letter to file systems.
            name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
        } else {
            name.into()
        }
    }
}
