//! What the desk does with computers, and for whom not.

mod many;

use super::*;
use crate::clock::Clock;
use crate::disk::published::PublishedTree;
use crate::model::DeviceId;
use crate::model::access::{Rights, Scope};
use crate::model::limits::ArchiveLimits;
use crate::model::settings::SettingsLayer;
use crate::protocol::ComputerFacts;
use crate::service::App;
use crate::service::desk::{Actor, Kind, Via as Door};
use crate::store::audit;
use crate::store::computers::Contact;
use crate::store::{DatabaseUrl, Store};

struct Room {
    app: App,
    _directory: tempfile::TempDir,
}

impl Room {
    /// Computers pc-0, pc-1 …; the even ones are tagged lab.
    fn with(count: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let app = App {
            store: Store::open(&DatabaseUrl::Sqlite(root.join("dripfeed.db"))).expect("opens"),
            tree: PublishedTree::open(&root.join("download"), &root.join("staging")).expect("a tree"),
            clock: Clock::System,
            request_limits: RequestLimits::DEFAULT,
            archive_limits: ArchiveLimits::DEFAULT,
            configured: SettingsLayer::default(),
        };
        let made = app.store.write_now(move |conn| -> Result<(), StoreError> {
            for n in 0..count {
                let device: DeviceId = format!("pc-{n}-2026-03-05-09-10-11").parse().expect("a device id");
                let facts = ComputerFacts {
                    name: format!("pc-{n}"),
                    os_name: "Debian GNU/Linux 13".to_owned(),
                    serial: format!("S-{n}"),
                    user_name: "ann".to_owned(),
                    tag: if n % 2 == 0 { "lab" } else { "office" }.to_owned(),
                    ..ComputerFacts::default()
                };
                let at = UnixTime::from_seconds(1_800_000_000 - i64::from(n));
                let contact = Contact { peer_address: "192.0.2.7".to_owned(), user_agent: String::new(), at };
                computers::take_facts(conn, &device, &facts, &contact)?;
            }
            Ok(())
        });
        made.expect("computers");
        Self { app, _directory: directory }
    }

    fn desk(&self, rights: Rights, scope: &str) -> Desk {
        let actor = Actor {
            name: "ann".to_owned(),
            token: None,
            via: Door::Console,
            peer_address: "192.0.2.1".to_owned(),
            rights,
            scope: Scope::parse(Some(scope), None).expect("a scope"),
        };
        Desk::new(self.app.clone(), actor)
    }

    fn all(&self) -> Desk {
        self.desk(Rights::all(), "")
    }

    fn audited(&self) -> Vec<String> {
        let lines = self.all().audit(audit::Wanted::default(), 100).expect("the log");
        lines.into_iter().rev().map(|line| format!("{} {}", line.action, line.subject)).collect()
    }
}

fn names(rows: &[Computer]) -> Vec<&str> {
    rows.iter().map(|computer| computer.name.as_str()).collect()
}

fn asked(query: &str) -> Asked {
    Asked { query: query.to_owned(), ..Asked::default() }
}

#[test]
fn pages_follow_each_other_in_every_order() {
    let room = Room::with(25);
    for (sort, descending) in
        [(Sort::Name, false), (Sort::Name, true), (Sort::LastContact, false), (Sort::LastContact, true)]
    {
        for query in ["", "serial starts with 's-'"] {
            let mut wanted = Asked { sort, descending, ..asked(query) };
            let whole = room.all().computers(&wanted, 100).expect("a list").rows;
            assert_eq!(whole.len(), 25);
            let mut together = Vec::new();
            loop {
                let page = room.all().computers(&wanted, 4).expect("a page");
                assert_eq!(page.total, 25);
                wanted.after = page.rows.last().map(|last| Place::of(last, sort));
                together.extend(page.rows);
                if !page.more {
                    break;
                }
            }
            assert_eq!(names(&together), names(&whole), "{sort:?} {descending} {query}");
        }
    }
    let latest = Asked { sort: Sort::LastContact, descending: true, ..Asked::default() };
    assert_eq!(names(&room.all().computers(&latest, 2).expect("a list").rows), ["pc-0", "pc-1"]);
}

#[test]
fn a_scope_limits_lists_finds_pages_and_changes() {
    let room = Room::with(6);
    let lab = room.desk(Rights::all(), "tag = lab");
    assert_eq!(names(&lab.computers(&asked("name != 'pc-0'"), 10).expect("a list").rows), ["pc-2", "pc-4"]);
    assert_eq!(names(&lab.find_computers("pc-", 10).expect("some")), ["pc-0", "pc-2", "pc-4"]);
    for refusal in [
        lab.computer("pc-1").expect_err("out of scope"),
        lab.set_tag("pc-1", "lab").expect_err("out of scope"),
        lab.archive_computer("pc-1").expect_err("out of scope"),
        lab.change_many(&Chosen::Named(vec!["pc-1".to_owned()]), &Bulk::Archive).expect_err("out of scope"),
    ] {
        assert_eq!(refusal.kind, Kind::NotFound, "{refusal}");
    }
    let done = lab.change_many(&Chosen::All(asked("")), &Bulk::Archive).expect("archived");
    assert_eq!(done, BulkDone { changed: 3, left: 0, undo: None, ..BulkDone::default() });
    assert_eq!(names(&room.all().computers(&asked(""), 10).expect("a list").rows), ["pc-1", "pc-3", "pc-5"]);
    assert_eq!(lab.software("", None, 10).expect_err("counts are of all").kind, Kind::Forbidden);
}

#[test]
fn each_change_needs_its_right() {
    let room = Room::with(1);
    let viewer = room.desk(Rights::viewer(), "");
    assert!(viewer.computer_overview("pc-0").is_ok());
    for refusal in [
        viewer.set_tag("pc-0", "x").expect_err("no right"),
        viewer.set_field("pc-0", "room", "12").expect_err("no right"),
        viewer.add_note("pc-0", "x").expect_err("no right"),
        viewer.archive_computer("pc-0").map(drop).expect_err("no right"),
        viewer.merge_computers("pc-0", "pc-0").map(drop).expect_err("no right"),
        viewer.set_computer_setting("pc-0", SettingKey::PrologFrequency, Some("1")).map(drop).expect_err("no right"),
        viewer.change_many(&Chosen::All(asked("")), &Bulk::Tag("x".to_owned())).map(drop).expect_err("no right"),
    ] {
        assert_eq!(refusal.kind, Kind::Forbidden, "{refusal}");
    }
    let nobody = room.desk(Rights::default(), "");
    assert_eq!(nobody.computers(&asked(""), 1).map(drop).expect_err("no right").kind, Kind::Forbidden);
    assert!(room.audited().is_empty(), "nothing was changed");
}

#[test]
fn every_change_leaves_a_line_with_before_and_after() {
    let room = Room::with(2);
    let desk = room.all();
    desk.set_tag("pc-0", "Paris").expect("tagged");
    desk.set_field("pc-0", "Room", "12").expect("a field");
    let note = desk.add_note("pc-0", "Its fan is loud.").expect("a note");
    desk.remove_note("pc-0", note).expect("removed");
    desk.set_computer_setting("pc-0", SettingKey::PrologFrequency, Some("3")).expect("set");
    desk.archive_computer("pc-1").expect("archived");
    desk.delete_computer("pc-1").expect("deleted");
    assert_eq!(
        room.audited(),
        [
            "computer tag computer pc-0-2026-03-05-09-10-11",
            "computer field computer pc-0-2026-03-05-09-10-11",
            "computer note computer pc-0-2026-03-05-09-10-11",
            "computer note remove computer pc-0-2026-03-05-09-10-11",
            "setting computer pc-0-2026-03-05-09-10-11",
            "computer archive computer pc-1-2026-03-05-09-10-11",
            "computer delete computer pc-1-2026-03-05-09-10-11",
        ]
    );
    let lines = desk.audit(audit::Wanted::default(), 100).expect("the log");
    let tag = lines.last().expect("the first").clone();
    assert_eq!((tag.before.as_deref(), tag.after.as_deref()), (Some("{\"tag\":\"lab\"}"), Some("{\"tag\":\"Paris\"}")));
}

#[test]
fn only_what_is_archived_can_be_deleted() {
    let room = Room::with(4);
    let desk = room.all();
    assert_eq!(desk.delete_computer("pc-0").expect_err("it is there").kind, Kind::Conflict);
    let all = Chosen::All(asked(""));
    assert_eq!(
        desk.change_many(&all, &Bulk::Delete).expect("nothing"),
        BulkDone { changed: 0, left: 4, undo: None, ..BulkDone::default() }
    );
    desk.change_many(&Chosen::All(asked("tag = lab")), &Bulk::Archive).expect("archived");
    let archived = Chosen::All(Asked { archived: true, ..Asked::default() });
    assert_eq!(
        desk.change_many(&archived, &Bulk::Delete).expect("gone"),
        BulkDone { changed: 2, left: 0, undo: None, ..BulkDone::default() }
    );
    let left = desk.computers(&asked(""), 10).expect("a list");
    assert_eq!((names(&left.rows), left.archived), (vec!["pc-1", "pc-3"], Some(0)));
}

#[test]
fn merged_computers_come_apart_again() {
    let room = Room::with(2);
    let desk = room.all();
    assert_eq!(desk.merge_computers("pc-0", "pc-0").expect_err("one").kind, Kind::Invalid);
    desk.merge_computers("pc-0", "pc-1").expect("merged");
    assert!(desk.computer("pc-0").expect("it is kept").archived_at.is_some());
    assert_eq!(desk.computer_overview("pc-1").expect("one").merges.len(), 1);
    desk.unmerge_computer("pc-1").expect("two again");
    assert!(desk.computer("pc-0").expect("it is there").archived_at.is_none());
}

#[test]
fn views_are_ones_own_or_shared() {
    let room = Room::with(0);
    let ann = room.desk(Rights::viewer(), "");
    let mine = ann.save_view("computers", "Lab", "q=tag+%3D+lab", false).expect("saved");
    let shared = ann.save_view("computers", "Old", "sort=contact", true).expect("saved");
    assert_eq!(ann.save_view("computers", "Lab", "q=x", false).expect("replaced"), mine);
    ann.set_columns("computers", "os,tag").expect("kept");
    let bob = Desk::new(room.app.clone(), Actor { name: "bob".to_owned(), ..ann.actor().clone() });
    let seen: Vec<i64> = bob.views("computers").expect("views").iter().map(|view| view.id).collect();
    assert_eq!(seen, [shared]);
    assert_eq!(bob.columns("computers").expect("none"), None);
    assert_eq!(ann.columns("computers").expect("some").as_deref(), Some("os,tag"));
    assert_eq!(bob.delete_view(shared).expect_err("not his").kind, Kind::NotFound);
    assert_eq!(ann.delete_view(mine).expect("hers").query, "q=x");
    assert_eq!(ann.save_view("computers", " \t", "", false).expect_err("no name").field, Some("name"));
}

#[test]
fn a_section_is_a_table_without_empty_columns() {
    let document = b"<?xml version=\"1.0\"?><REQUEST><CONTENT><DRIVES><TYPE>/</TYPE><LABEL></LABEL><FREE>1</FREE></DRIVES>\
        <DRIVES><TYPE>/home</TYPE><TOTAL>9</TOTAL></DRIVES><SOFTWARES><NAME>vim</NAME></SOFTWARES><BIOS/></CONTENT></REQUEST>";
    let sections = tables(document, &RequestLimits::DEFAULT);
    assert_eq!(sections.len(), 1, "{sections:?}");
    assert_eq!(sections[0].columns, ["TYPE", "FREE", "TOTAL"]);
    assert_eq!(sections[0].rows, [["/", "1", ""], ["/home", "", "9"]]);
    assert!(tables(b"no XML", &RequestLimits::DEFAULT).is_empty());
}

#[test]
fn a_search_finds_what_is_named_and_numbered() {
    let room = Room::with(12);
    let desk = room.all();
    assert_eq!(desk.search("PC-1").expect("found").computers.len(), 3, "pc-1, pc-10, pc-11");
    assert_eq!(names(&desk.search("s-7").expect("found").computers), ["pc-7"]);
    let matching = desk.search("tag = lab").expect("found").matching;
    assert_eq!(matching, Some(6));
    for nothing in ["", "%", "in group nothere", "'", "\\", "17"] {
        let found = desk.search(nothing).expect("no failure");
        assert!(found.computers.is_empty() && found.matching.is_none(), "{nothing:?}: {found:?}");
    }
}
