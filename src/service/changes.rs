//! What is another between two inventories of one computer.
//!
//! An inventory is compared section by section, by digests that leave out what changes by itself: free space, uptime,
//! clock rates. The same digests are the same computer, so nothing is written for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::model::{DigestAlgorithm, Hasher, UnixTime};
use crate::protocol::{InventoryRequest, SectionFacts, SoftwareTitle};
use crate::store::sections::{Change, ChangeKind};

/// How many differences one inventory may leave on record, and how many a computer keeps in all.
pub const MOST_CHANGES: usize = 200;
/// How long a difference is kept, in days.
pub const CHANGES_KEPT_DAYS: i64 = 400;

/// The name under which the facts stand that are columns: no section is called so.
pub const FACTS: &str = "=FACTS";
/// The name under which the history stands.
pub const HISTORY: &str = "DOWNLOAD";
/// The name under which the rule stands by which duplicates were last looked for.
pub const DUPLICATES: &str = "=DUPLICATES";
/// The section that is the dictionary.
pub const SOFTWARE: &str = "SOFTWARES";

/// The digest of each part of an inventory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Digests(BTreeMap<String, String>);

impl Digests {
    /// Those of an inventory.
    pub fn of(request: &InventoryRequest) -> Self {
        let mut digests: BTreeMap<String, String> =
            request.sections.iter().map(|section| (section.name.clone(), of_entries(section))).collect();
        let facts = &request.facts;
        // The tag is the server's and not compared.
        let columns = [
            &facts.name,
            &facts.os_name,
            &facts.os_version,
            &facts.architecture,
            &facts.ip_address,
            &facts.user_name,
            &facts.workgroup,
            &facts.uuid,
            &facts.serial,
            &facts.model,
        ];
        digests.insert(FACTS.to_owned(), digest(columns.into_iter().map(String::as_str)));
        let history: Vec<String> = request.history.iter().flatten().map(ToString::to_string).collect();
        digests.insert(HISTORY.to_owned(), digest(history.iter().map(String::as_str)));
        if !request.software.is_empty() {
            let titles = request.software.iter().flat_map(|title| [&*title.name, &*title.publisher, &*title.version]);
            digests.insert(SOFTWARE.to_owned(), digest(titles));
        }
        Self(digests)
    }

    /// The digest of one part.
    pub fn get(&self, part: &str) -> Option<&str> {
        self.0.get(part).map(String::as_str)
    }

    /// The parts that are others than those, parts that only one of the two has included.
    pub fn others_than<'a>(&'a self, stored: &'a Self) -> BTreeSet<&'a str> {
        let is_other = |part: &&String| self.0.get(*part) != stored.0.get(*part);
        self.0.keys().chain(stored.0.keys()).filter(is_other).map(String::as_str).collect()
    }

    /// An inventory without any software says nothing of it: what was there stays (ocs-protocol 3.3).
    #[must_use]
    pub fn with_software_of(mut self, stored: &Self) -> Self {
        if let (None, Some(digest)) = (self.get(SOFTWARE), stored.get(SOFTWARE)) {
            self.0.insert(SOFTWARE.to_owned(), digest.to_owned());
        }
        self
    }

    /// Another rule for duplicates is a reason to look for them again, as if the inventory were another.
    #[must_use]
    pub fn with_rule(mut self, rule: i64) -> Self {
        self.0.insert(DUPLICATES.to_owned(), rule.to_string());
        self
    }

    /// A line a part.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (part, digest) in &self.0 {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{part} {digest}");
        }
        text
    }

    /// Reads what [`Digests::to_text`] wrote; a line of another form is a part that differs from all.
    pub fn from_text(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        Self(lines.map(|(part, digest)| (part.to_owned(), digest.to_owned())).collect())
    }
}

/// The order of elements is the agent's whim.
fn of_entries(section: &SectionFacts) -> String {
    let mut entries: Vec<String> = section
        .entries
        .iter()
        .map(|entry| digest(entry.iter().flat_map(|(field, text)| [field.as_str(), text.as_str()])))
        .collect();
    entries.sort_unstable();
    digest(entries.iter().map(String::as_str))
}

/// 64 bits of it: they tell an inventory from the one before, not from an enemy's.
fn digest<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finish().as_bytes()[..8].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The titles of software that went and those that came.
#[derive(Clone, Debug, Default)]
pub struct Titles<'a> {
    /// Those that went.
    pub gone: Vec<&'a SoftwareTitle>,
    /// Those that came.
    pub come: Vec<&'a SoftwareTitle>,
}

/// The differences, section by section, software last; at most [`MOST_CHANGES`]. Of the sections those of which `is_other` says
/// so are looked at.
pub fn between(
    old: &[SectionFacts],
    new: &[SectionFacts],
    is_other: impl Fn(&str) -> bool,
    mut titles: Titles<'_>,
    at: UnixTime,
) -> Vec<Change> {
    let mut found = Found { at, section: String::new(), changes: Vec::new(), more: 0 };
    let names: BTreeSet<&String> = old.iter().chain(new).map(|section| &section.name).collect();
    for name in names.into_iter().filter(|name| is_other(name)) {
        let of = |sections: &[SectionFacts]| -> Vec<Entry> {
            let found = sections.binary_search_by(|section| section.name.cmp(name));
            found.map(|at| sections[at].entries.clone()).unwrap_or_default()
        };
        name.clone_into(&mut found.section);
        found.entries(of(old), of(new));
    }
    SOFTWARE.clone_into(&mut found.section);
    titles.gone.sort_unstable();
    titles.come.sort_unstable();
    found.software(&titles);
    if found.more > 0 {
        let item = format!("{} more differences", found.more + 1);
        found.changes.truncate(MOST_CHANGES - 1);
        found.section.clear();
        let change = found.change(ChangeKind::Changed, item, String::new(), String::new(), String::new());
        found.changes.push(change);
    }
    found.changes
}

/// One element's leaves and texts.
type Entry = Vec<(String, String)>;

struct Found {
    at: UnixTime,
    section: String,
    changes: Vec<Change>,
    more: usize,
}

impl Found {
    fn change(&self, kind: ChangeKind, item: String, field: String, old: String, new: String) -> Change {
        Change { at: self.at, section: self.section.clone(), kind, item, field, old, new }
    }

    fn push(&mut self, kind: ChangeKind, item: &str, field: &str, old: &str, new: &str) {
        if self.changes.len() == MOST_CHANGES {
            self.more += 1;
            return;
        }
        let change = self.change(kind, item.to_owned(), field.to_owned(), old.to_owned(), new.to_owned());
        self.changes.push(change);
    }

    /// What is the same in both is left out; of the rest, what goes by the same name is the same thing.
    fn entries(&mut self, mut old: Vec<Entry>, mut new: Vec<Entry>) {
        old.sort_unstable();
        new.sort_unstable();
        let same = |mine: &[Entry], theirs: &[Entry]| -> Vec<Entry> {
            let mut theirs = theirs.iter().peekable();
            let mut rest = Vec::new();
            for entry in mine {
                while theirs.next_if(|other| *other < entry).is_some() {}
                if theirs.next_if(|other| *other == entry).is_none() {
                    rest.push(entry.clone());
                }
            }
            rest
        };
        let (gone, come) = (same(&old, &new), same(&new, &old));
        // The only one of its section is the same thing, whatever it calls itself: there is one BIOS.
        if let ([before], [now]) = (old.as_slice(), new.as_slice()) {
            return self.fields("", before, now);
        }
        let mut twins: BTreeMap<String, VecDeque<Entry>> = BTreeMap::new();
        for entry in come {
            twins.entry(label(&entry)).or_default().push_back(entry);
        }
        for entry in gone {
            let item = label(&entry);
            match twins.get_mut(&item).and_then(VecDeque::pop_front) {
                Some(twin) => self.fields(&item, &entry, &twin),
                None => self.push(ChangeKind::Removed, &item, "", "", ""),
            }
        }
        for (item, left) in twins {
            for _ in left {
                self.push(ChangeKind::Added, &item, "", "", "");
            }
        }
    }

    /// Field by field.
    fn fields(&mut self, item: &str, old: &Entry, new: &Entry) {
        fn texts(entry: &Entry) -> BTreeMap<&str, &str> {
            entry.iter().map(|(field, text)| (field.as_str(), text.as_str())).collect()
        }
        let (old, new) = (texts(old), texts(new));
        let mut fields: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
        fields.sort_unstable();
        fields.dedup();
        for field in fields {
            let (before, now) = (old.get(field).copied().unwrap_or(""), new.get(field).copied().unwrap_or(""));
            if before != now {
                self.push(ChangeKind::Changed, item, field, before, now);
            }
        }
    }

    /// One version for another is a change of the version.
    fn software(&mut self, titles: &Titles<'_>) {
        type Versions<'a> = (Vec<&'a str>, Vec<&'a str>);
        let mut programs: BTreeMap<(&str, &str), Versions<'_>> = BTreeMap::new();
        for title in &titles.gone {
            programs.entry((&title.name, &title.publisher)).or_default().0.push(&title.version);
        }
        for title in &titles.come {
            programs.entry((&title.name, &title.publisher)).or_default().1.push(&title.version);
        }
        for ((name, _), versions) in programs {
            match (versions.0.as_slice(), versions.1.as_slice()) {
                ([before], [now]) => self.push(ChangeKind::Changed, name, "VERSION", before, now),
                (gone, come) => {
                    for version in gone {
                        self.push(ChangeKind::Removed, name, "VERSION", version, "");
                    }
                    for version in come {
                        self.push(ChangeKind::Added, name, "VERSION", "", version);
                    }
                }
            }
        }
    }
}

/// What people call an entry: the first of these that it has.
fn label(entry: &Entry) -> String {
    const NAMES: [&str; 9] =
        ["LETTER", "VOLUMN", "NAME", "LOGIN", "DESCRIPTION", "CAPTION", "SERIALNUMBER", "MACADDR", "TYPE"];
    let named = NAMES.iter().find_map(|name| entry.iter().find(|(field, _)| field == name));
    named.or_else(|| entry.first()).map(|(_, text)| text.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::RequestLimits;
    use crate::protocol::Request;

    fn read(content: &str) -> InventoryRequest {
        let document = format!(
            "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>pc-2024-03-05-09-10-11</DEVICEID><CONTENT>{content}</CONTENT></REQUEST>"
        );
        match Request::parse(document.as_bytes(), &RequestLimits::DEFAULT) {
            Ok(Request::Inventory(inventory)) => *inventory,
            other => panic!("{other:?}"),
        }
    }

    /// As a server finds them: what has the digest that it had is not looked at.
    fn differences(old: &InventoryRequest, new: &InventoryRequest) -> Vec<Change> {
        let stored = Digests::of(old);
        let digests = Digests::of(new).with_software_of(&stored);
        let others = digests.others_than(&stored);
        let mut titles = Titles::default();
        if others.contains(SOFTWARE) {
            titles.gone = old.software.iter().filter(|title| !new.software.contains(title)).collect();
            titles.come = new.software.iter().filter(|title| !old.software.contains(title)).collect();
        }
        let is_other = |name: &str| others.contains(name);
        between(&old.sections, &new.sections, is_other, titles, UnixTime::from_seconds(0))
    }

    fn check(old: &str, new: &str) -> String {
        let lines = differences(&read(old), &read(new));
        let line = |change: &Change| {
            let Change { section, kind, item, field, old, new, .. } = change;
            format!("{section} {} [{item}] {field} {old:?} {new:?}", kind.as_str())
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    const BEFORE: &str = "<HARDWARE><NAME>pc</NAME><MEMORY>8192</MEMORY><DESCRIPTION>up 1 day</DESCRIPTION></HARDWARE>
        <DRIVES><TYPE>/</TYPE><VOLUMN>/dev/sda1</VOLUMN><TOTAL>100</TOTAL><FREE>60</FREE></DRIVES>
        <DRIVES><TYPE>/home</TYPE><VOLUMN>/dev/sda2</VOLUMN><TOTAL>200</TOTAL><FREE>10</FREE></DRIVES>
        <SOFTWARES><NAME>firefox</NAME><VERSION>119</VERSION></SOFTWARES>
        <SOFTWARES><NAME>vim</NAME><VERSION>9</VERSION></SOFTWARES>
        <PROCESSES><NAME>init</NAME></PROCESSES>";

    #[test]
    fn what_changes_by_itself_is_no_difference() {
        let after = BEFORE.replace("up 1 day", "up 2 days").replace(">60<", ">59<").replace("init", "bash");
        assert_ne!(after, BEFORE);
        assert_eq!(check(BEFORE, &after), "");
        assert_eq!(Digests::of(&read(BEFORE)), Digests::of(&read(&after)));
    }

    #[test]
    fn the_order_of_elements_is_no_difference() {
        let (one, two) = ("<SLOTS><NAME>1</NAME></SLOTS>", "<SLOTS><NAME>2</NAME></SLOTS>");
        let (there, back) = (format!("{one}{two}"), format!("{two}{one}"));
        assert_eq!(Digests::of(&read(&there)), Digests::of(&read(&back)));
        assert_eq!(check(&there, &back), "");
    }

    #[test]
    fn differences_are_told_by_section_item_and_field() {
        let after = "<HARDWARE><NAME>pc</NAME><MEMORY>16384</MEMORY></HARDWARE>
            <DRIVES><TYPE>/</TYPE><VOLUMN>/dev/sda1</VOLUMN><TOTAL>150</TOTAL><FREE>60</FREE></DRIVES>
            <PRINTERS><NAME>lp0</NAME></PRINTERS>
            <SOFTWARES><NAME>emacs</NAME><VERSION>29</VERSION></SOFTWARES>
            <SOFTWARES><NAME>firefox</NAME><VERSION>120</VERSION></SOFTWARES>";
        insta::assert_snapshot!(check(BEFORE, after), @r#"
        DRIVES changed [/dev/sda1] TOTAL "100" "150"
        DRIVES removed [/dev/sda2]  "" ""
        HARDWARE changed [] MEMORY "8192" "16384"
        PRINTERS added [lp0]  "" ""
        SOFTWARES added [emacs] VERSION "" "29"
        SOFTWARES changed [firefox] VERSION "119" "120"
        SOFTWARES removed [vim] VERSION "9" ""
        "#);
    }

    #[test]
    fn a_new_world_is_cut_and_counted() {
        let world = |from: usize| -> String {
            let titles = (from..from + 300).map(|n| format!("<SOFTWARES><NAME>p{n}</NAME></SOFTWARES>"));
            titles.collect::<Vec<_>>().concat()
        };
        let changes = differences(&read(&world(0)), &read(&world(1000)));
        assert_eq!(changes.len(), MOST_CHANGES);
        assert_eq!(changes[MOST_CHANGES - 1].item, "401 more differences");
    }

    #[test]
    fn an_inventory_without_software_says_nothing_of_it() {
        let (full, without) = (read(BEFORE), read("<HARDWARE><NAME>pc</NAME></HARDWARE>"));
        let stored = Digests::of(&full);
        let kept = Digests::of(&without).with_software_of(&stored);
        assert_eq!(kept.get(SOFTWARE), stored.get(SOFTWARE));
        assert!(kept.get(SOFTWARE).is_some());
        assert_eq!(Digests::from_text(&stored.to_text()), stored);
        let changes = differences(&full, &without);
        assert!(changes.iter().all(|change| change.section != SOFTWARE));
    }
}
