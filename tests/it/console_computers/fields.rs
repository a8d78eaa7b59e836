//! Own fields, tables, whole searches and locks, as a browser and a program see them.

use super::*;

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

#[test]
fn fields_are_made_filled_from_a_table_and_taken_back() {
    let mut room = Room::with(numbered(3));
    assert!(room.get("/fields").text().contains("No fields yet"));
    assert_eq!(room.post("/fields", "name=City&kind=list&choices=").status, 422, "a list without choices");
    let made = room.post("/fields", &format!("name=City&kind=list&choices={}", encoded("Paris\nRome")));
    assert_eq!(made.status, 303, "{}", made.text());
    let csv = encoded("name,City,tag\nhost-000,paris,lab\nhost-001,London,lab\n");
    let checked = room.post("/fields/import", &format!("csv={csv}&do=check")).text();
    assert!(checked.contains("<ins>Paris</ins>") && checked.contains("is none of Paris, Rome"), "{checked}");
    assert!(room.get("/computers?q=tag+%3D+lab").text().contains("No computer matches"), "a look writes nothing");
    assert_eq!(room.post("/fields/import", &format!("csv={csv}&do=import")).status, 422);
    let done = room.post("/fields/import", &format!("csv={csv}&do=import&leave_out=1"));
    assert_eq!(done.status, 303, "{}", done.text());
    let list = room.get("/computers?columns=tag,fields_1,memory,proven,mac").text();
    assert!(list.contains("<span class=\"tag\">lab</span>") && list.contains(">Paris</td>"), "{list}");
    assert!(list.contains("name only"), "{list}");
    let page = room.get(FIRST).text();
    assert!(page.contains("<option value=\"Paris\" selected>Paris</option>"), "{page}");
    let counts = room.get("/computers/counts?by=fields_1").text();
    assert!(counts.contains("field%20%27City%27%20%3D%20%27Paris%27"), "{counts}");
    let deleted = room.post("/fields/1/delete", "");
    assert_eq!(deleted.status, 303);
    assert!(room.get("/fields").text().contains("No fields yet"));
    assert_eq!(room.post("/fields/1/restore", "").status, 303);
    assert!(room.get("/fields").text().contains("City"));
    assert_eq!(room.post("/changes/1/undo", "").status, 303);
    assert!(room.get("/computers?q=tag+%3D+lab").text().contains("No computer matches"));
    drop(room.served);
}

#[test]
fn a_program_imports_counts_and_takes_back() {
    let mut room = Room::with(numbered(2));
    let (status, field) = room.api("POST", "/fields", "{\"name\":\"Cost\",\"kind\":\"number\"}");
    assert_eq!((status, field["wire_name"].as_str()), (201, Some("fields_1")), "{field}");
    let (status, refused) = room.api("POST", "/computers/import", "{\"csv\":\"name,Cost\\nhost-000,x\"}");
    assert_eq!((status, refused["field"].as_str()), (422, Some("csv")), "{refused}");
    let (_, dry) = room.api("POST", "/computers/import", "{\"csv\":\"name,Cost\\nhost-000,010\",\"dry_run\":true}");
    assert_eq!((dry["values"].as_u64(), dry["undo"].as_u64()), (Some(1), None), "{dry}");
    let (_, done) = room.api("POST", "/computers/import", "{\"csv\":\"name,Cost\\nhost-000,010\"}");
    assert_eq!(done["undo"].as_u64(), Some(1), "{done}");
    let (_, counts) = room.api("GET", "/computers/counts?by=Cost", "");
    assert_eq!(counts["total"].as_u64(), Some(2), "{counts}");
    let (_, list) = room.api("GET", "/computers?details=true&where=field%20Cost%20%3D%2010", "");
    assert_eq!(list["items"][0]["details"]["fields"]["Cost"].as_str(), Some("10"), "{list}");
    let (status, refused) = room.api("PATCH", "/fields/Cost", "{\"kind\":\"date\"}");
    assert_eq!((status, refused["field"].as_str()), (409, Some("kind")), "{refused}");
    let bulk = "{\"where\":\"\",\"action\":\"field\",\"field\":\"Cost\",\"value\":\"5\"}";
    let (_, many) = room.api("POST", "/computers/selected", bulk);
    assert_eq!((many["changed"].as_u64(), many["undo"].as_u64()), (Some(2), Some(2)), "{many}");
    let (_, undone) = room.api("POST", "/changes/2/undo", "");
    assert_eq!(undone["changed"].as_u64(), Some(2), "{undone}");
    assert_eq!(room.api("POST", "/changes/2/undo", "").0, 409);
    assert_eq!(room.api("DELETE", "/fields/Cost", "").0, 204);
    drop(room.served);
}

#[test]
fn a_whole_search_gets_a_value_a_setting_and_a_group() {
    let mut room = Room::with(numbered(5));
    room.post("/fields", "name=Room&kind=text");
    let found = "all=1&q=name+starts+with+host-00";
    assert!(room.post("/computers/selected/field", found).text().contains("Write a field of 5 computers"));
    let asked = room.post("/computers/selected/field", &format!("{found}&field=fields_1")).text();
    assert!(asked.contains("nothing of their own") && asked.contains("name=\"sure\""), "{asked}");
    let done = room.post("/computers/selected/field", &format!("{found}&field=fields_1&value=B12&sure=1"));
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(room.get("/computers?q=field+Room+%3D+B12").text().contains("1 to 5 of 5 computers"));
    let key = format!("{found}&key=PROLOG_FREQ");
    assert_eq!(room.post("/computers/selected/setting", &format!("{key}&value=0&sure=1")).status, 422);
    assert_eq!(room.post("/computers/selected/setting", &format!("{key}&value=3&sure=1")).status, 303);
    assert_eq!(room.post("/changes/2/undo", "").status, 303);
    let made = room.post("/computers/selected/new-group", &format!("{found}&value=Hosts&kind=dynamic&sure=1"));
    assert!(made.head.contains("/groups/Hosts"), "{}", made.head);
    assert!(room.get("/groups/Hosts").text().contains("name starts with"), "it is asked again");
    assert_eq!(room.post("/computers/selected/new-group", &format!("{found}&value=Hosts&sure=1")).status, 422);
    let built = room.get("/computers?built=1&field=last_contact&op=older+than&value=long");
    assert_eq!(built.status, 422);
    assert!(built.text().contains("Expected a number, as in 30 days."), "{}", built.text());
    drop(room.served);
}

#[test]
fn a_lock_leaves_out_everybody_else_until_it_is_ended() {
    let mut room = Room::with(numbered(4));
    let other = "/computers/pc-001-2026-03-05-09-10-11";
    assert_eq!(room.post("/computers/selected/lock", "all=1&q=name+%3D+host-000").status, 303);
    let list = room.get("/computers").text();
    assert!(list.contains("Only these computers are shown") && list.contains("1 to 1 of 1 computer"), "{list}");
    assert_eq!((room.get(FIRST).status, room.get(other).status), (200, 404));
    assert!(!room.get("/search?q=host-00").text().contains("host-001"));
    assert_eq!(room.api("GET", "/computers", "").1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(room.post(&format!("{other}/tag"), "tag=x").status, 404, "and nobody else is changed");
    assert_eq!(room.post("/fields", "name=Room&kind=text").status, 403, "what concerns all is refused");
    assert_eq!(room.post("/computers/selected/lock", "id=pc-001-2026-03-05-09-10-11").status, 404, "within the lock");
    assert_eq!(room.post("/unlock", "").status, 303);
    assert!(room.get("/computers").text().contains("1 to 4 of 4 computers"));
    assert_eq!(
        room.post("/computers/selected/lock", "id=pc-001-2026-03-05-09-10-11&id=pc-002-2026-03-05-09-10-11").status,
        303
    );
    assert!(room.get("/computers").text().contains("1 to 2 of 2 computers"));
    drop(room.served);
}

#[test]
fn a_table_goes_through_the_command_line_beside_the_server() {
    let mut room = Room::with(numbered(3));
    let say = |room: &Room, line: &str| room.site.say(line);
    assert!(
        say(&room, "field add City --kind list --choice Paris --choice Rome --initial paris").ok().contains("City")
    );
    assert!(say(&room, "field add Colour --kind colour").refused().contains("is no kind of field"));
    let file = room.site.input("table.csv", "name;City\nhost-000;rome\nhost-001;London\nhost-009;Rome\n");
    let import = |room: &Room, options: &[&str]| room.site.run(&[&["computer", "import", &file][..], options].concat());
    let dry = import(&room, &["--dry-run"]).ok();
    assert!(dry.contains("City: nothing -> Rome") && dry.contains("none of Paris, Rome"), "{dry}");
    assert!(dry.contains("1 value of 1 computer would change; nothing was written"), "{dry}");
    assert!(import(&room, &[]).refused().contains("2 lines are wrong"));
    let done = import(&room, &["--leave-out-wrong"]).ok();
    assert!(done.contains("`dripfeed computer undo 1`"), "{done}");
    assert!(room.get("/computers?q=field+City+%3D+Rome").text().contains("1 to 1 of 1 computer"));
    let counts = say(&room, "computer count --by City").ok();
    assert!(counts.contains("Rome"), "{counts}");
    assert_eq!(say(&room, "computer undo 1").ok(), "took back 1 value\n");
    assert!(say(&room, "computer undo 1").refused().contains("already"));
    assert!(say(&room, "field delete City").ok().contains("`dripfeed field restore City`"));
    assert!(say(&room, "field list").ok().is_empty());
    assert!(say(&room, "field restore City").ok().contains("City"));
    assert!(say(&room, "computer import nowhere.csv").refused().contains("cannot be read"));
    drop(room.served);
}
