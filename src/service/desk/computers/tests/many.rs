//! Own fields, changes of many and back again, tables, counts.

use super::*;
use crate::model::own_field::FieldKind;
use crate::service::fields::Edit;
use crate::service::table::{Outcome, Table};
use crate::store::fields as field_rows;

fn all(query: &str) -> Chosen {
    Chosen::All(asked(query))
}

fn found(room: &Room, query: &str) -> Vec<String> {
    let rows = room.all().computers(&asked(query), 100).expect("a list").rows;
    rows.into_iter().map(|computer| computer.name).collect()
}

fn field(room: &Room, name: &str, kind: &str, choices: &[&str]) {
    let kind = FieldKind::new(kind, choices).expect("a kind");
    room.all().create_field(name, kind, "").expect("a field");
}

fn table(text: &str) -> Table {
    Table { text: text.to_owned(), clear: false }
}

#[test]
fn a_value_is_checked_by_its_kind_and_kept_as_one_text() {
    let room = Room::with(2);
    field(&room, "Cost", "number", &[]);
    field(&room, "City", "list", &["Paris", "Rome"]);
    let desk = room.all();
    desk.set_field("pc-0", "cost", "+007.50").expect("a number");
    desk.set_field("pc-0", "City", "paris").expect("a city");
    let one = desk.computer_overview("pc-0").expect("a computer");
    let said: Vec<(&str, &str)> =
        one.fields.iter().map(|(field, value)| (field.name.as_str(), value.as_str())).collect();
    assert_eq!(said, [("Cost", "7.5"), ("City", "Paris")]);
    let refusal = desk.set_field("pc-0", "Cost", "much").expect_err("no number");
    assert_eq!((refusal.kind, refusal.field), (Kind::Invalid, Some("value")));
    assert!(refusal.to_string().contains("\"much\" is no number"), "{refusal}");
    for (field, value) in [("Cost", "x"), ("City", "London")] {
        let bulk = Bulk::Field { field: field.to_owned(), value: value.to_owned() };
        assert_eq!(desk.change_many(&all(""), &bulk).expect_err("of another kind").field, Some("value"));
    }
    assert_eq!(found(&room, "field Cost > 7 and field Cost < 10"), ["pc-0"], "numbers are compared as numbers");
    assert!(found(&room, "field Cost < 5").is_empty(), "nothing is less than no number");
}

#[test]
fn what_new_computers_have_is_theirs_unless_their_agent_says_something_else() {
    let room = Room::with(1);
    let made = room.all().create_field("City", FieldKind::new("list", ["Paris", "Rome"]).expect("a list"), "rome");
    let wire = made.expect("a field").wire_name();
    for (said, kept) in [("", "Rome"), ("PARIS", "Paris"), ("London", "Rome")] {
        let sent = [crate::protocol::AccountField { key: wire.clone(), value: said.to_owned() }];
        let value = room.app.store.write_now(move |conn| -> Result<_, StoreError> {
            let id = computers::find_by_name(conn, "pc-0")?[0].id;
            account::take_first(conn, id, &sent)?;
            Ok(field_rows::of_computer(conn, id)?[0].1.clone())
        });
        assert_eq!(value.expect("a value"), kept, "{said}");
    }
    assert!(room.all().create_field("Other", FieldKind::Number, "x").is_err(), "a default is of the kind, too");
}

#[test]
fn another_kind_is_refused_while_a_value_stands_against_it() {
    let room = Room::with(3);
    field(&room, "Cost", "text", &[]);
    let desk = room.all();
    desk.set_field("pc-0", "Cost", "007").expect("text");
    desk.set_field("pc-1", "Cost", "much").expect("text");
    let edit = |kind: FieldKind| Edit { kind: Some(kind), ..Edit::default() };
    let refusal = desk.edit_field("Cost", edit(FieldKind::Number)).expect_err("much is no number");
    assert_eq!((refusal.kind, refusal.field), (Kind::Conflict, Some("kind")));
    assert!(refusal.to_string().contains("1 computer holds") && refusal.to_string().contains("\"much\""), "{refusal}");
    desk.set_field("pc-1", "Cost", "").expect("taken back");
    desk.edit_field("Cost", edit(FieldKind::Number)).expect("numbers");
    assert_eq!(found(&room, "field Cost = 7"), ["pc-0"], "it is written as numbers are");
}

#[test]
fn a_field_is_renamed_with_the_queries_that_ask_for_it() {
    let room = Room::with(3);
    field(&room, "Room", "text", &[]);
    let desk = room.all();
    desk.set_field("pc-1", "Room", "12").expect("a room");
    desk.create_group("Twelve", Some("field room = 12 or not (field Room != 12)")).expect("a group");
    desk.edit_field("Room", Edit { name: Some("Raum".to_owned()), ..Edit::default() }).expect("renamed");
    let group = desk.group("Twelve").expect("a group");
    assert_eq!(group.group.query.as_deref(), Some("field 'Raum' = '12' or not field 'Raum' != '12'"));
    desk.set_field("pc-2", "Raum", "12").expect("another");
    assert_eq!(desk.group("Twelve").expect("a group").members, 2, "a value moves computers into groups");
    let refusal = desk.delete_field("Raum").expect_err("it is asked for");
    assert!(refusal.kind == Kind::Conflict && refusal.to_string().contains("the group \"Twelve\""), "{refusal}");
}

#[test]
fn a_deleted_field_is_gone_and_comes_back_with_its_values() {
    let room = Room::with(2);
    field(&room, "Room", "text", &[]);
    let desk = room.all();
    desk.set_field("pc-0", "Room", "12").expect("a room");
    let gone = desk.delete_field("room").expect("deleted");
    assert_eq!(gone.computers, 1);
    assert!(desk.fields().expect("fields").is_empty());
    assert!(desk.computer_overview("pc-0").expect("a computer").fields.is_empty());
    assert!(desk.computers(&asked("field Room = 12"), 1).is_err(), "nobody can ask for it");
    field(&room, "Room", "number", &[]);
    let refusal = desk.restore_field(&gone.field.wire_name()).expect_err("its name is taken");
    assert_eq!(refusal.kind, Kind::Conflict);
    desk.delete_field("Room").expect("deleted");
    desk.restore_field(&gone.field.wire_name()).expect("taken back");
    assert_eq!(found(&room, "field Room = 12"), ["pc-0"]);
    assert_eq!(desk.restore_field(&gone.field.wire_name()).expect_err("it is there").kind, Kind::Conflict);
    assert_eq!(super::super::super::super::fields::forget_old(&room.app).expect("nothing is old enough"), 0);
}

#[test]
fn fields_are_for_whoever_has_all_computers_and_stand_in_their_order() {
    let room = Room::with(1);
    for name in ["A", "B", "C"] {
        field(&room, name, "text", &[]);
    }
    let order = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    room.all().arrange_fields(&order(&["C", "A", "B"])).expect("an order");
    let names: Vec<String> = room.all().fields().expect("fields").into_iter().map(|one| one.field.name).collect();
    assert_eq!(names, ["C", "A", "B"]);
    for wrong in [&["C", "A"][..], &["A", "A", "B"], &["A", "B", "C", "D"]] {
        room.all().arrange_fields(&order(wrong)).expect_err("not an order");
    }
    let lab = room.desk(Rights::all(), "tag = lab");
    assert_eq!(lab.create_field("D", FieldKind::Text, "").expect_err("of all").kind, Kind::Forbidden);
    assert_eq!(lab.delete_field("A").expect_err("of all").kind, Kind::Forbidden);
    let viewer = room.desk(Rights::viewer(), "");
    assert_eq!(viewer.delete_field("A").expect_err("no right").kind, Kind::Forbidden);
    assert_eq!(viewer.fields().expect("they are seen").len(), 3);
    for wrong in ["", "tag", "fields_7", "a\nb", "a"] {
        assert!(room.all().create_field(wrong, FieldKind::Text, "").is_err(), "{wrong:?} was taken");
    }
}

#[test]
fn a_change_of_many_is_taken_back_where_nobody_wrote_since() {
    let room = Room::with(6);
    field(&room, "Room", "text", &[]);
    let desk = room.all();
    desk.set_field("pc-0", "Room", "1").expect("a room");
    let bulk = Bulk::Field { field: "room".to_owned(), value: "12".to_owned() };
    let preview = desk.preview_many(&all(""), &bulk).expect("a preview");
    assert_eq!((preview.computers, &preview.present[..]), (6, &[(String::new(), 5), ("1".to_owned(), 1)][..]));
    let done = desk.change_many(&all(""), &bulk).expect("written");
    assert_eq!((done.changed, done.left), (6, 0));
    assert_eq!(
        desk.change_many(&all(""), &bulk).expect("so already"),
        BulkDone { changed: 0, left: 6, undo: None, ..BulkDone::default() }
    );
    desk.set_field("pc-5", "Room", "99").expect("somebody else");
    let id = done.undo.expect("it can be taken back");
    assert_eq!(room.desk(Rights::viewer(), "").undo_many(id).expect_err("no right").kind, Kind::Forbidden);
    let back = desk.undo_many(id).expect("taken back");
    assert_eq!((back.changed, back.left), (5, 1));
    assert_eq!(found(&room, "field Room = 1"), ["pc-0"]);
    assert_eq!(found(&room, "field Room = 99"), ["pc-5"]);
    assert_eq!(desk.undo_many(id).expect_err("twice").kind, Kind::Conflict);
    assert_eq!(desk.undo_many(77).expect_err("never was").kind, Kind::NotFound);
    let tagged = desk.change_many(&all("tag = lab"), &Bulk::Tag("Paris".to_owned())).expect("tagged");
    assert_eq!(found(&room, "tag = Paris").len(), 3);
    desk.undo_many(tagged.undo.expect("a number")).expect("taken back");
    assert_eq!(found(&room, "tag = lab").len(), 3);
}

#[test]
fn a_setting_is_set_for_a_search_within_the_scope_and_taken_back() {
    let room = Room::with(4);
    let key = SettingKey::PrologFrequency;
    let set = |value: Option<&str>| Bulk::Setting { key, value: value.map(str::to_owned) };
    let own = |name: &str| {
        let (_, settings) = room.all().computer_settings(name).expect("settings");
        settings.into_iter().find(|one| one.key == key).expect("it").value
    };
    let before = own("pc-1");
    room.all().set_computer_setting("pc-0", key, Some("5")).expect("set");
    let lab = room.desk(Rights::all(), "tag = lab");
    let done = lab.change_many(&all(""), &set(Some("3"))).expect("set");
    assert_eq!((done.changed, own("pc-0"), own("pc-2"), own("pc-1")), (2, 3, 3, before));
    room.all().undo_many(done.undo.expect("a number")).expect("taken back");
    assert_eq!((own("pc-0"), own("pc-2")), (5, before));
    assert_eq!(room.all().change_many(&all(""), &set(Some("0"))).expect_err("out of bounds").field, Some("value"));
    let alone = Bulk::Setting { key: SettingKey::Duplicates, value: Some("1".to_owned()) };
    assert_eq!(room.all().change_many(&all(""), &alone).expect_err("the server's").kind, Kind::Invalid);
    assert_eq!(room.all().change_many(&all(""), &set(None)).expect("taken back").changed, 1);
    assert_eq!(own("pc-0"), before);
}

#[test]
fn a_table_says_line_by_line_what_it_would_do_and_is_written_whole_or_not_at_all() {
    let room = Room::with(4);
    field(&room, "Cost", "number", &[]);
    field(&room, "Room", "text", &[]);
    let desk = room.all();
    desk.set_field("pc-1", "Room", "B1").expect("a room");
    let text = "\u{feff}name;os;tag;Room;Cost\r\n\
        PC-0;Debian;Paris;\"B;12\";'-7\r\n\
        pc-1;;;B1;\r\n\
        pc-2;;;;much\r\n\
        nobody;;x;;\r\n\
        pc-0;;y;;\r\n";
    let plan = desk.plan_import(&table(text)).expect("a plan");
    let said: Vec<String> = plan.lines.iter().map(|line| format!("{} {:?}", line.number, line.outcome)).collect();
    assert_eq!((plan.values(), plan.computers(), plan.wrong()), (3, 1, 3), "{said:?}");
    assert_eq!(plan.passed_over, ["os"]);
    assert!(
        matches!(&plan.lines[0].outcome, Outcome::Changes(changes) if changes[2] == ("Cost".to_owned(), String::new(), "-7".to_owned())),
        "{said:?}"
    );
    assert_eq!(plan.lines[1].outcome, Outcome::Same);
    for (line, sentence) in
        [(2, "Cost: \"much\" is no number"), (3, "no computer with the name \"nobody\""), (4, "line 2 is about")]
    {
        assert!(said[line].contains(sentence) || said[line].replace("\\\"", "\"").contains(sentence), "{}", said[line]);
    }
    let refusal = desk.import(&table(text), false).expect_err("three are wrong");
    assert_eq!((refusal.kind, refusal.field), (Kind::Invalid, Some("csv")));
    assert_eq!(found(&room, "tag = Paris").len(), 0, "nothing was written");
    let (_, undo) = desk.import(&table(text), true).expect("written");
    assert_eq!(found(&room, "tag = Paris and field Room = 'B;12' and field Cost < 0"), ["pc-0"]);
    desk.undo_many(undo.expect("a number")).expect("taken back");
    assert_eq!(found(&room, "tag = Paris or field Cost != ''").len(), 0);
    let clear = Table { clear: true, ..table("serial,Room\nS-1,\n") };
    desk.import(&clear, false).expect("cleared");
    assert!(found(&room, "field Room != ''").is_empty());
    let lab = room.desk(Rights::all(), "tag = lab");
    let plan = lab.plan_import(&table("name,tag\npc-0,x\npc-1,x\n")).expect("a plan");
    assert_eq!((plan.values(), plan.wrong()), (1, 1), "pc-1 is not there for whoever has the lab alone");
}

#[test]
fn a_table_that_is_none_is_refused_with_a_sentence() {
    let room = Room::with(1);
    for (text, sentence) in [
        ("", "the table is empty"),
        ("name,tag\n", "the table is empty"),
        ("tag\nx\n", "no column says which computer"),
        ("name\npc-0\n", "no column is to be written"),
        ("name,Room\npc-0,1\n", "there is no field \"Room\""),
        ("name,tag,TAG\npc-0,1,2\n", "is there twice"),
        ("name,tag\n\"pc-0,1\n", "line 2: a quote opens"),
    ] {
        let refusal = room.all().plan_import(&table(text)).expect_err(text);
        assert!(refusal.kind == Kind::Invalid && refusal.to_string().contains(sentence), "{text}: {refusal}");
    }
    assert!(room.audited().is_empty());
}

#[test]
fn computers_are_counted_within_the_scope_and_each_number_has_its_query() {
    let room = Room::with(5);
    field(&room, "Room", "text", &[]);
    room.all().set_field("pc-0", "Room", "it's").expect("a room");
    room.all().archive_computer("pc-4").expect("archived");
    let tally = |desk: &Desk, by: &str, query: &str| {
        let tally = desk.tally(&asked(query), by).expect("counts");
        assert_eq!(tally.total, tally.rows.iter().map(|(_, count, _)| count).sum::<u64>());
        for (value, count, query) in &tally.rows {
            let found = desk.computers(&asked(query), 100).expect("a list").total;
            assert_eq!(found, *count, "{by} {value}: {query}");
        }
        tally.rows.into_iter().map(|(value, count, _)| (value, count)).collect::<Vec<_>>()
    };
    assert_eq!(tally(&room.all(), "tag", ""), [("lab".to_owned(), 2), ("office".to_owned(), 2)]);
    assert_eq!(tally(&room.all(), "Room", ""), [(String::new(), 3), ("it's".to_owned(), 1)]);
    assert_eq!(tally(&room.desk(Rights::viewer(), "tag = lab"), "proven", "")[..], [("name".to_owned(), 2)]);
    assert_eq!(tally(&room.all(), "Room", "tag = lab or name = x"), [(String::new(), 1), ("it's".to_owned(), 1)]);
    assert_eq!(room.all().tally(&asked(""), "nothing").map(drop).expect_err("no such field").kind, Kind::NotFound);
}

#[test]
fn a_search_becomes_a_group_that_follows_it_or_stays() {
    let room = Room::with(4);
    let desk = room.all();
    assert_eq!(desk.group_of("Lab", &all("tag = lab"), true).expect("dynamic").members, 2);
    assert_eq!(desk.group_of("Lab now", &all("tag = lab"), false).expect("static").members, 2);
    desk.set_tag("pc-1", "lab").expect("tagged");
    assert_eq!(desk.group("Lab").expect("a group").members, 3);
    assert_eq!(desk.group("Lab now").expect("a group").members, 2);
    let named = Chosen::Named(vec!["pc-3".to_owned()]);
    assert_eq!(desk.group_of("One", &named, true).map(drop).expect_err("no query").kind, Kind::Invalid);
    assert_eq!(desk.group_of("One", &named, false).expect("static").members, 1);
    assert_eq!(desk.group_of("one", &named, false).map(drop).expect_err("taken").kind, Kind::Conflict);
    assert_eq!(desk.group_of(" ", &named, false).map(drop).expect_err("no name").kind, Kind::Invalid);
}
