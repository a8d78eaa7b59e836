//! Waking computers, as a browser and a program see it. None of them has a card, so no packet leaves this machine.

use super::*;

#[test]
fn a_computer_without_a_card_says_so_where_it_is_woken() {
    let mut room = Room::with(numbered(1));
    let page = room.get(FIRST).text();
    assert!(page.contains(&format!("action=\"{FIRST}/wake\"")) && !page.contains("<dt>Woken</dt>"), "{page}");
    let refused = room.post(&format!("{FIRST}/wake"), "");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("no network card of its inventory has a MAC address of its own"));
    let (status, problem) = room.api("POST", "/computers/host-000/wake", "");
    assert_eq!(status, 409, "{problem}");
    let (_, one) = room.api("GET", "/computers/host-000", "");
    assert!(one.get("woken").is_none(), "what was refused is no wish: {one}");
    drop(room.served);
}

#[test]
fn many_are_asked_about_before_they_are_woken_and_who_cannot_be_is_named() {
    let mut room = Room::with(numbered(7));
    assert!(room.get("/computers").text().contains("formaction=\"/computers/selected/wake\""));
    let asked = room.post("/computers/selected/wake", "all=1&q=").text();
    assert!(asked.contains("Wake 7 computers") && asked.contains("Wake them</button>"), "{asked}");
    assert!(asked.contains("no MAC address of a card: they are not woken"), "{asked}");
    let done = room.post("/computers/selected/wake", "all=1&q=&sure=1");
    assert_eq!(done.status, 303, "{}", done.text());
    let (status, done) = room.api("POST", "/computers/selected", r#"{"where": "", "action": "wake"}"#);
    assert_eq!((status, &done["changed"], &done["unable"]), (200, &0.into(), &7.into()), "{done}");
    assert_eq!(done["unable_first"].as_array().map(Vec::len), Some(7), "{done}");
    let page = room.get(FIRST).text();
    assert!(page.contains("<dt>Woken</dt>") && page.contains("by ann: not woken: no network card"), "{page}");
    let (_, one) = room.api("GET", "/computers/host-000", "");
    assert_eq!((&one["woken"]["state"], &one["woken"]["by"]), (&"no-address".into(), &"ann".into()), "{one}");
    drop(room.served);
}

#[test]
fn the_form_of_a_deployment_and_a_group_offer_it() {
    let mut room = Room::with(numbered(2));
    let form = room.get("/deployments/new?all=1&wake=1").text();
    assert!(form.contains("name=\"wake\" value=\"1\" checked"), "{form}");
    assert_eq!(room.post("/groups", "name=Desks&query=name+starts+with+host").status, 303);
    let group = room.get("/groups/Desks").text();
    assert!(group.contains("name=\"q\" value=\"in group &#39;Desks&#39;\""), "{group}");
    let asked = room.post("/computers/selected/wake", "all=1&q=in+group+%27Desks%27").text();
    assert!(asked.contains("Wake 2 computers"), "{asked}");
    drop(room.served);
}
