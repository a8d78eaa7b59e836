//! The console's pages about who may come and who may do what: registration, groups, people, tokens; each change with its
//! undo.

use dripfeed::protocol::envelope::{Container, seal};

use crate::console_server::{Browser, PASSWORD, between, user};
use crate::util::process::{Served, Site};
use crate::util::web::Answer;

/// Presses the button that takes back what was done: the form that the next page carries.
fn undo(browser: &Browser<'_>, done: &Answer) -> Answer {
    assert_eq!(done.status, 303, "{}", done.text());
    let toast = done.head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: __host-toast="));
    let toast = toast.expect("a toast")["set-cookie: __host-toast=".len()..].split(';').next().expect("a cookie");
    let mut parts = toast.split('&').skip(1);
    let address = unescaped(parts.next().expect("an undo"));
    browser.post(&address, &parts.collect::<Vec<_>>().join("&"))
}

fn unescaped(text: &str) -> String {
    text.replace("%2F", "/").replace("%25", "%")
}

fn room() -> (Site, Served) {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "administrator");
    (site, served)
}

#[test]
fn names_are_expected_in_numbers_and_each_step_can_be_undone() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    assert!(amy.get("/registration").text().contains("No name is expected"));
    let names = |site: &Site| -> Vec<String> {
        let all = site.json("computer expected");
        all.as_array().expect("a list").iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let added = amy.post("/registration/names", "names=ws-1%0D%0Aws-2%2C+WS-3%3B%0D%0A%0D%0Aws-2");
    assert_eq!(names(&site), ["ws-1", "ws-2", "WS-3"]);
    let page = amy.get("/registration?q=ws").text();
    assert!(page.contains("ws-2") && page.contains("WS-3"), "{page}");
    assert!(!amy.get("/registration?q=ws-2").text().contains("ws-1"));
    let removed = amy.post("/registration/names/remove", "names=ws-2");
    assert_eq!(names(&site), ["ws-1", "WS-3"]);
    assert_eq!(undo(&amy, &removed).status, 303);
    assert_eq!(names(&site), ["ws-1", "ws-2", "WS-3"]);
    assert_eq!(undo(&amy, &added).status, 303);
    assert_eq!(names(&site), [""; 0]);
    let refused = amy.post("/registration/names", &format!("names={}", "x".repeat(201)));
    assert_eq!(refused.status, 422, "{}", refused.text());

    assert!(!amy.get("/registration").text().contains("is final"), "there is none to renew");
    let made = amy.post("/registration/key", "").text();
    assert!(made.contains("To renew it or take it away is final: a key that has gone is kept nowhere"), "{made}");
    let key = between(&made, "registration_key = \"", "\"").to_owned();
    assert!(key.len() >= 16, "{key}");
    assert!(!amy.get("/registration").text().contains(&key), "it is shown once");
    let log = site.say("audit list --json").ok();
    assert!(log.contains("registration renew") && !log.contains(&key), "{log}");
    served.stop();
}

#[test]
fn what_is_done_to_a_group_can_be_undone() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    site.say("computer add ws-# --count 2").ok();
    site.run(&["group", "create", "desks", "--where", "name = 'ws-1'"]).ok();
    let places = || -> Vec<String> {
        let shown = site.json("group show desks");
        let computers = shown["computers"].as_array().expect("computers").iter();
        computers.map(|one| format!("{} {}", one["name"], one["reason"]).replace('"', "")).collect()
    };
    assert_eq!(places(), ["ws-1 query"]);
    let put_in = amy.post("/groups/desks/members", "computer=ws-2&mark=include");
    assert_eq!(places(), ["ws-1 query", "ws-2 included"]);
    undo(&amy, &put_in);
    assert_eq!(places(), ["ws-1 query"]);
    let kept_out = amy.post("/groups/desks/members", "computer=ws-1%0D%0Aws-2&mark=exclude");
    assert_eq!(places(), ["ws-1 excluded", "ws-2 excluded"]);
    let left = amy.post("/groups/desks/members", "computer=ws-2&mark=remove");
    assert_eq!(places(), ["ws-1 excluded"]);
    undo(&amy, &left);
    assert_eq!(places(), ["ws-1 excluded", "ws-2 excluded"]);
    undo(&amy, &kept_out);
    assert_eq!(places(), ["ws-1 query"]);

    let asked = amy.post("/groups/desks/query", "query=name+%3D+nobody");
    assert_eq!(places(), [""; 0]);
    undo(&amy, &asked);
    assert_eq!(places(), ["ws-1 query"]);

    let set = |value: &str| amy.post("/groups/desks/settings", &format!("key=PROLOG_FREQ&value={value}"));
    let says = |value: &str| amy.get("/groups/desks").text().contains(&format!("value=\"{value}\""));
    let first = set("77");
    let second = set("78");
    undo(&amy, &second);
    assert!(says("77") && !says("78"));
    undo(&amy, &first);
    assert!(!says("77"));

    let described = amy.post("/groups/desks/describe", "name=fronts&description=By+the+door");
    let page = amy.get("/groups/fronts").text();
    assert!(page.contains("By the door"), "{page}");
    assert_eq!(amy.get("/groups/desks").status, 404);
    undo(&amy, &described);
    assert_eq!(site.json("group show desks")["description"], "");
    // What names the group holds its name.
    site.run(&["group", "create", "around", "--where", "in group desks"]).ok();
    let refused = amy.post("/groups/desks/describe", "name=fronts&description=");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("around"), "{}", refused.text());
    assert_eq!(
        amy.post("/groups/desks/describe", "name=Desks&description=").status,
        303,
        "other letters, the same name"
    );
    served.stop();
}

#[test]
fn a_deleted_group_comes_back_with_what_it_had() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    site.say("computer add ws-# --count 4").ok();
    site.run(&["group", "create", "desks", "--where", "name = 'ws-1' or name = 'ws-2' or name = 'new-1'"]).ok();
    site.say("group describe desks --description fronts").ok();
    site.say("group exclude desks ws-2").ok();
    site.say("group add desks ws-4").ok();
    amy.post("/groups/desks/settings", "key=PROLOG_FREQ&value=77");
    let package = site.package();
    site.say(&format!("assign {package} --group desks")).ok();
    let before = site.json("group show desks");
    let deployment = before["standing_deployments"][0].to_string();
    assert!(amy.get("/groups/desks").text().contains("It can be taken back for a week."));

    let deleted = amy.post("/groups/desks/delete", "");
    site.say("group show desks").refused();
    site.say("computer delete ws-4").ok();
    site.say("computer add new-#").ok();
    let back = undo(&amy, &deleted);
    assert_eq!(back.status, 303, "{}", back.text());
    let after = site.json("group show desks");
    for same in ["name", "query", "description", "created_by", "created_at", "standing_deployments"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    let computers = after["computers"].as_array().expect("computers").iter();
    let places: Vec<String> =
        computers.map(|one| format!("{} {}", one["name"], one["reason"]).replace('"', "")).collect();
    assert_eq!(places, ["ws-1 query", "ws-2 excluded", "new-1 query"], "ws-4 is gone, new-1 came meanwhile");
    assert!(amy.get("/groups/desks").text().contains("value=\"77\""));
    let jobs = site.json(&format!("deployment show {deployment}"))["jobs"].clone();
    let jobs = jobs.as_array().expect("jobs").iter();
    let named: Vec<&str> = jobs.filter_map(|job| job["computer"].as_str()).collect();
    assert_eq!(named, ["ws-1", "new-1"], "who came meanwhile gets what stands for the group");

    // Twice is refused, and so is a name that is taken.
    assert!(site.say("group restore desks").refused().contains("was deleted within a week"));
    site.say("group delete desks --force").ok();
    site.say("group create DESKS").ok();
    assert!(site.say("group restore desks").refused().contains("already"));
    assert_eq!(amy.post("/groups/desks/restore", "").status, 409);
    served.stop();
}

#[test]
fn two_of_one_name_are_told_apart_by_their_device_ids() {
    let site = Site::new();
    site.configure("[settings]\nAUTO_DUPLICATE_LVL = 0\n");
    let served = site.serve();
    user(&site, "amy", "administrator");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let (old, new) = ("vm-2026-01-02-03-04-05", "vm-2026-01-03-03-04-05");
    for device in [old, new] {
        let xml = format!(
            "<REQUEST><CONTENT><HARDWARE><NAME>vm</NAME></HARDWARE><BIOS><SSN>S-7</SSN></BIOS></CONTENT>\
             <DEVICEID>{device}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
        );
        assert_eq!(served.plain().post(&seal(Container::Zlib, &xml)).status, 200);
    }
    let page = amy.get("/duplicates").text();
    assert!(page.contains(&format!("{new} is kept and takes nothing over; {old} is archived.")), "{page}");
    assert!(page.contains(&format!("{new} and {old}</h2>")), "{page}");
    let merged = amy.post("/duplicates/merge", &format!("away={old}&kept={new}"));
    assert!(merged.head.contains(&format!("{new}%20took%20over%20from%20{old}")), "{}", merged.head);
    undo(&amy, &merged);
    assert!(amy.get("/duplicates").text().contains(&format!("{new} is kept")));
    served.stop();
}

#[test]
fn people_have_names_and_roles_come_back() {
    let (site, served) = room();
    user(&site, "bob", "viewer");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let bob = || {
        let all = site.json("user list");
        all.as_array().expect("users").iter().find(|user| user["name"] == "bob").cloned().expect("bob")
    };
    let named = amy.post("/users/one/bob/profile", "full_name=Bob+Bell&mail=bob%40example.net");
    assert_eq!((bob()["full_name"].clone(), bob()["mail"].clone()), ("Bob Bell".into(), "bob@example.net".into()));
    assert!(amy.get("/users").text().contains("Bob Bell"));
    for wrong in ["mail=bob", "mail=a%40b%40c", "mail=a+b%40c", &format!("full_name={}", "x".repeat(101))] {
        assert_eq!(amy.post("/users/one/bob/profile", wrong).status, 422, "{wrong}");
    }
    undo(&amy, &named);
    assert_eq!(bob()["full_name"], "");
    let himself = Browser::sign_in(&served, "bob", PASSWORD);
    assert_eq!(himself.post("/account/profile", "full_name=Bob&mail=").status, 303);
    assert_eq!(himself.post("/users/one/bob/profile", "full_name=B&mail=").status, 403, "others are not his");
    assert_eq!(bob()["full_name"], "Bob");

    let rights = || {
        let all = site.json("role list");
        let packers = all.as_array().expect("roles").iter().find(|role| role["name"] == "packers").cloned();
        packers.map(|role| role["rights"].as_array().map_or(0, Vec::len))
    };
    let made = amy.post("/users/roles", "name=packers&right=packages.see");
    let changed = amy.post("/users/roles", "name=packers&exists=1&right=packages.see&right=packages.build");
    assert_eq!(rights(), Some(2));
    undo(&amy, &changed);
    assert_eq!(rights(), Some(1));
    let deleted = amy.post("/users/roles/delete", "name=packers");
    assert_eq!(rights(), None);
    undo(&amy, &deleted);
    assert_eq!(rights(), Some(1));
    undo(&amy, &made);
    assert_eq!(rights(), None);
    served.stop();
}

#[test]
fn notes_and_withdrawals_come_back() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    site.say("computer add desk").ok();
    let computer = site.json("computer show desk")["device_id"].as_str().expect("an id").to_owned();
    let page = || amy.get(&format!("/computers/{computer}")).text();
    let added = amy.post(&format!("/computers/{computer}/notes"), "note=the+fan+is+loud");
    assert!(page().contains("the fan is loud") && page().contains("Written down"));
    assert!(page().contains("its agent has not come yet") && page().contains("not come yet</span>"));
    assert!(!page().contains("last heard from") && !page().contains("First contact"), "nobody came from anywhere");
    let number = page();
    let number = between(&number, "name=\"note\" value=\"", "\"");
    let removed = amy.post(&format!("/computers/{computer}/notes/delete"), &format!("note={number}"));
    assert!(!page().contains("the fan is loud"));
    undo(&amy, &removed);
    assert!(page().contains("the fan is loud"));
    // That of the first one is gone: it has another number now.
    assert_eq!(undo(&amy, &added).status, 404);

    let packages = [site.package(), site.package()];
    let form = format!("id={}&id={}&sure=1", packages[0], packages[1]);
    let withdrawn = amy.post("/packages/withdraw", &form);
    let state = |id: &str| site.json(&format!("package show {id}"))["state"].clone();
    assert_eq!(state(&packages[0]), "withdrawn");
    undo(&amy, &withdrawn);
    assert_eq!((state(&packages[0]), state(&packages[1])), ("available".into(), "available".into()));
    served.stop();
}

#[test]
fn a_token_has_a_scope_of_its_own() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    site.say("computer add lab-# --count 2 --tag lab").ok();
    site.say("computer add office-# --count 2 --tag office").ok();
    let form = "name=lab&days=30&right=computers.see&right=packages.see&computers=tag+%3D+lab&families=tool*";
    let page = amy.post("/account/tokens", form).text();
    let secret = between(&page, "<pre id=\"token\"><code>", "</code>").to_owned();
    let ask = |path: &str| {
        let headers = format!("Authorization: Bearer {secret}\r\n");
        let answer = served.secure().request("GET", &format!("/api/v1{path}"), &headers, b"").expect("an answer");
        (answer.status, answer.text())
    };
    let (status, list) = ask("/computers");
    assert!(status == 200 && list.contains("lab-1") && !list.contains("office-1"), "{list}");
    assert_eq!(ask("/computers/office-1").0, 404);
    assert_eq!(ask("/software").0, 403, "what concerns all computers");
    let (_, me) = ask("/me");
    assert!(me.contains("tag = 'lab'") && me.contains("tool*"), "{me}");
    let account = amy.get("/account").text();
    assert!(
        account.contains("tag = &#39;lab&#39;") && account.contains("127.0.0.1"),
        "last used, and for what: {account}"
    );
    let wrong = amy.post("/account/tokens", "name=x&right=computers.see&computers=tag+%3D");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    served.stop();
}

#[test]
fn settings_are_found_without_a_script() {
    let (_site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let found = amy.get("/settings?q=latency+seconds").text();
    assert!(found.contains("DOWNLOAD_FRAG_LATENCY") && !found.contains("PROLOG_FREQ"), "{found}");
    assert!(amy.get("/settings?q=nothing+like+it").text().contains("No setting is about that"));
    served.stop();
}

#[test]
fn only_administrators_are_told_the_servers_time() {
    let (site, served) = room();
    user(&site, "vic", "viewer");
    let told = |name: &str| Browser::sign_in(&served, name, PASSWORD).get("/").text().contains("Server time");
    assert_eq!((told("amy"), told("vic")), (true, false));
    served.stop();
}

fn inventory(served: &Served, name: &str) {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><REQUEST><QUERY>INVENTORY</QUERY>\
         <DEVICEID>{name}-2026-03-05-09-10-11</DEVICEID><CONTENT><HARDWARE><NAME>{name}</NAME><OSNAME>Debian</OSNAME>\
         </HARDWARE><BIOS><SSN>5CG0123ABC</SSN><SMODEL>Model 7</SMODEL></BIOS></CONTENT></REQUEST>"
    );
    let headers = "User-Agent: OCS-NG_unified_unix_agent_v2.10.0\r\n";
    let body = seal(Container::Zlib, &xml);
    let answer = served.plain().request("POST", "/ocsinventory", headers, &body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_pair_that_looks_like_one_is_decided_about_on_its_page() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    assert!(amy.get("/duplicates").text().contains("Nobody looks like another"));
    inventory(&served, "front");
    inventory(&served, "hall");
    let page = amy.get("/duplicates").text();
    for part in ["front", "hall", "serial number", "These are two", "is kept and takes nothing over"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(amy.get("/").text().contains("1 pair of computers that look like one"));
    let (front, hall) = ("front-2026-03-05-09-10-11", "hall-2026-03-05-09-10-11");
    let two = amy.post("/duplicates/two", &format!("one={front}&other={hall}"));
    assert!(!amy.get("/duplicates").text().contains("These are two"));
    undo(&amy, &two);
    let listed = site.json("computer duplicates");
    assert_eq!(listed[0]["same"], serde_json::json!(["serial number", "model"]));
    let merged = amy.post("/duplicates/merge", &format!("away={front}&kept={hall}"));
    assert_eq!(site.json("computer duplicates"), serde_json::json!([]));
    undo(&amy, &merged);
    assert_eq!(site.json("computer duplicates").as_array().map(Vec::len), Some(1));
    assert!(amy.get("/stuck").text().contains("Nothing is stuck"));
    served.stop();
}

#[test]
fn computers_are_written_down_on_their_page() {
    let (site, served) = room();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    assert_eq!(amy.get("/entries").status, 200);
    let refused = amy.post("/entries", "name=ws&count=2&first=1");
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(text.contains("names 2 computers the same") && text.contains("value=\"ws\""), "{text}");
    let added = amy.post("/entries", "name=ws-%23%23&count=2&first=9&tag=Paris");
    assert_eq!(added.status, 303, "{}", added.text());
    let all = site.json("computer list");
    let names: Vec<&str> = all.as_array().expect("computers").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["ws-09", "ws-10"]);
    let device = all[0]["device_id"].as_str().expect("a device id");
    let page = amy.get(&format!("/computers/{device}")).text();
    assert!(
        page.contains("Merge, archive, delete") && !page.contains("inventory.xml"),
        "there is no document yet: {page}"
    );
    served.stop();
}
