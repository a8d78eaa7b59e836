//! From content to package: new versions, several files, templates of administrators' own, activation at once.

use std::fmt::Write as _;

use dripfeed::fetch::ClientOptions;
use dripfeed::model::access::{Rights, Scope};
use dripfeed::service::desk::Desk;
use dripfeed::service::desk::packages::Activating;
use dripfeed::service::looks::Looks;
use dripfeed::service::works::{Activated, Outcome, StepState, Works};
use serde_json::{Value, json};

use crate::api_packages::{Browser, Program, actor, description, header, token};
use crate::util::TestApp;
use crate::util::process::{Site, until};

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}

/// The number of the package that a work's page shows when it is done.
fn built(browser: &mut Browser, begun: &crate::util::web::Answer, done: &str) -> String {
    assert_eq!(begun.status, 303, "{}", begun.text());
    let work = header(begun, "location");
    let mut page = String::new();
    until("the build", || {
        page = browser.get(&work).text();
        page.contains(done)
    });
    let mut ids = page.split("/packages/").filter_map(|rest| rest.split(['/', '"', '?']).next());
    ids.find(|id| id.len() == 10).expect("an id").to_owned()
}

#[test]
fn a_new_version_keeps_kind_script_and_everything_else() {
    let site = Site::new();
    let secret = token(&site, "anna", "administrator", Rights::all());
    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    let mut anna = Browser::new(&served, "anna");
    let script = "#!/bin/sh\nexit 0 # \"quoted\"\n";
    let form = format!(
        "from=script&os=linux&kind=script&name=tool&version=1&description=why&priority=3&script=it.sh&text={}&cut=size&\
         fragment_size=1M&t_arguments=--fast&exit_codes=3%3Dsuccess&notify_text=Now%3F&can_delay=1&\
         max_delays=3&deadline_hours=72&nobody=wait&activate=1",
        encoded(script)
    );
    let begun = anna.post("/packages/new", &form);
    // Built, checked and activated in one go.
    let first = built(&mut anna, &begun, "and agents can fetch it");
    let (_, view) = program.json("GET", &format!("/packages/{first}"), &Value::Null);
    assert_eq!(view["activation"]["checked"], json!(true), "{view}");
    let asks = json!({
        "text": "Now?", "can_abort": false, "can_delay": true, "max_delays": 3, "deadline_hours": 72, "nobody": "wait",
    });
    assert_eq!(view["notify"], asks, "{view}");
    let (_, recipe) = program.json("GET", &format!("/packages/{first}/recipe"), &Value::Null);
    assert_eq!(
        recipe,
        json!({
            "template": "script", "template_version": 1, "values": { "arguments": "--fast" },
            "script": { "name": "it.sh", "text": script }, "fragment_bytes": 1 << 20,
        })
    );

    let shown = anna.get(&format!("/packages/{first}")).text();
    assert!(shown.contains("may be put off 3 times") && shown.contains("waits for somebody"), "{shown}");
    let content = anna.get(&format!("/packages/new?like={first}")).text();
    assert!(content.contains("Edit the script"), "{content}");
    let page = anna.get(&format!("/packages/new?from=script&like={first}")).text();
    for kept in [
        "value=\"script\" form=\"description-form\" data-submit=\"take-kind\" checked",
        "name=\"script\" value=\"it.sh\"",
        "exit 0 # &#34;quoted&#34;",
        "name=\"t_arguments\" value=\"--fast\"",
        "name=\"name\" value=\"tool\"",
        ">why</textarea>",
        "value=\"3\" selected",
        ">Now?</textarea>",
        "name=\"can_delay\" value=\"1\" checked",
        "max=\"100\" value=\"3\"",
        "max=\"8760\" value=\"72\"",
        "value=\"wait\" selected",
        // What people will see, the first time and the last.
        "It can be put off 3 more times, for 3 days at most.",
        "The time to put it off is over.",
        "<span>Start now</span><span>Later</span>",
        "value=\"3=success\"",
        "name=\"cut\" value=\"size\" checked",
    ] {
        assert!(page.contains(kept), "{kept}: {page}");
    }
    assert!(page.contains("sh ./it.sh --fast"), "the preview: {page}");

    // A program says what is new, and no more.
    let (status, second) = program.json("POST", "/packages", &json!({ "like": view["id"], "version": "2" }));
    assert_eq!(status, 201, "{second}");
    let (old, new) = (&view, &second["package"]);
    for same in ["name", "description", "os", "action", "command", "priority"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    let (_, told) = program.json("GET", &format!("/packages/{first}/comparison/{}", new["id"]), &Value::Null);
    assert_eq!(told["changed"], json!([]), "{told}");
    let (_, again) = program.json("GET", &format!("/packages/{}/recipe", new["id"]), &Value::Null);
    assert_eq!(again, recipe);
    let (status, problem) = program.json("POST", "/packages", &json!({ "like": 17, "version": "2" }));
    assert_eq!(status, 404, "{problem}");
    let (status, problem) =
        program.json("POST", "/packages", &json!({ "version": "2", "action": "execute", "command": "true" }));
    assert_eq!((status, &problem["field"]), (422, &json!("os")), "{problem}");
    served.stop();
}

#[test]
fn another_kind_keeps_what_was_typed() {
    let site = Site::new();
    token(&site, "anna", "administrator", Rights::all());
    let served = site.serve();
    let mut anna = Browser::new(&served, "anna");
    let typed =
        "from=nothing&os=linux&was_os=linux&was_kind=apt-install&name=htop&version=7.1&priority=3&description=why";
    let other = anna.post("/packages/new/kind", &format!("{typed}&kind=custom&can_abort=1&t_packages=htop"));
    let text = other.text();
    assert_eq!(other.status, 200, "{text}");
    for kept in [
        "name=\"version\" value=\"7.1\"",
        ">why</textarea>",
        "value=\"3\" selected",
        "name=\"can_abort\" value=\"1\" checked",
        // The command that the kind had filled in, and the field for when it is chosen again.
        "apt-get install -y htop</textarea>",
        "type=\"hidden\" name=\"t_packages\" value=\"htop\"",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    // What nobody touched is the new kind's own.
    let defaults =
        "from=nothing&os=macos&was_os=macos&was_kind=brew-install&t_kind=--formula&t_packages=jq&priority=5&name=";
    let text = anna.post("/packages/new/kind", &format!("{defaults}&kind=brew-remove")).text();
    assert!(text.contains("name=\"t_packages\" value=\"jq\"") && text.contains("<option selected>--formula"), "{text}");
    served.stop();
}

#[test]
fn several_files_become_one_archive() {
    let site = Site::new();
    let secret = token(&site, "anna", "deployer", Rights::deployer());
    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    let begin = |files: Value, size: u64| {
        program.json("POST", "/uploads", &json!({ "name": "tool", "size": size, "files": files }))
    };
    for (files, part) in [
        (json!([{ "path": "../x", "size": 4 }]), "leads out"),
        (json!([{ "path": "a", "size": 2 }, { "path": "a", "size": 2 }]), "two files"),
        (json!([{ "path": "a", "size": 2 }]), "4 bytes together"),
    ] {
        let (status, problem) = begin(files, 4);
        assert_eq!((status, &problem["field"]), (422, &json!("files")), "{problem}");
        assert!(problem["detail"].as_str().unwrap_or_default().contains(part), "{problem}");
    }
    let files = [("setup.sh", "#!/bin/sh\n"), ("data/empty", ""), ("data/deep/words.txt", "words")];
    let listed: Vec<Value> = files.iter().map(|(path, text)| json!({ "path": path, "size": text.len() })).collect();
    let bytes: String = files.iter().map(|(_, text)| *text).collect();
    for os in ["linux", "windows"] {
        let (status, upload) = begin(json!(listed), bytes.len() as u64);
        assert_eq!((status, upload["files"].as_array().map(Vec::len)), (201, Some(3)), "{upload}");
        let id = upload["id"].as_str().expect("a number");
        // In pieces that know nothing of where a file ends.
        assert_eq!(program.piece(id, 0, &bytes.as_bytes()[..7], "").status, 204);
        assert_eq!(program.piece(id, 7, &bytes.as_bytes()[7..], "").status, 204);
        let body = json!({
            "name": "tool", "version": os, "os": os, "upload": id, "template": "store",
            "values": { "path": if os == "linux" { "/opt/tool" } else { "C:\\tool" } },
        });
        let (_, preview) = program.json("POST", "/packages/preview", &body);
        assert_eq!(preview["refusal"], Value::Null, "{preview}");
        let (status, built) = program.json("POST", "/packages", &body);
        assert_eq!(status, 201, "{built}");
        let (_, inside) = program.json("GET", &format!("/packages/{}/files", built["package"]["id"]), &Value::Null);
        let paths: Vec<&str> =
            inside["items"].as_array().expect("files").iter().filter_map(|file| file["path"].as_str()).collect();
        assert_eq!(paths, ["setup.sh", "data/empty", "data/deep/words.txt"], "{os}");
        assert_eq!(inside["items"][2]["size"], json!(5));
    }
    // What a system cannot have is told when it is looked at.
    let (_, upload) = begin(json!([{ "path": "nul.txt", "size": 4 }]), 4);
    let id = upload["id"].as_str().expect("a number");
    program.piece(id, 0, b"oops", "");
    let body =
        json!({ "name": "t", "version": "1", "os": "windows", "upload": id, "action": "store", "command": "C:\\t" });
    let (_, preview) = program.json("POST", "/packages/preview", &body);
    assert!(preview["refusal"].is_string(), "{preview}");
    served.stop();
}

const OWN: &str = r#"
[[template]]
id = "greet"
title = "Greet"
meaning = "Greets somebody."
os = ["linux"]
needs = "nothing"
script = "greet.sh"
action = "execute"
command = 'sh ./greet.sh'
body = '''
#!/bin/sh
echo Hello {{who}}
'''
[[template.field]]
name = "who"
label = "Who"
kind = "line"
required = true
"#;

#[test]
fn templates_of_ones_own_are_saved_version_by_version_and_packages_remember_them() {
    let site = Site::new();
    let secret = token(&site, "anna", "administrator", Rights::all());
    let other = token(&site, "dora", "deployer", Rights::deployer());
    let served = site.serve();
    let (program, dora) = (Program { served: &served, token: &secret }, Program { served: &served, token: &other });
    let save = |document: &str, version: Value| {
        program.json("POST", "/templates", &json!({ "document": document, "version": version }))
    };
    let (status, problem) = save(&OWN.replace("{{who}}", "{{whom}}"), Value::Null);
    assert_eq!((status, &problem["field"]), (422, &json!("document")), "{problem}");
    assert!(problem["detail"].as_str().unwrap_or_default().starts_with("line 13: "), "{problem}");
    let (_, checked) = program.json("POST", "/templates/check", &json!({ "document": "[[template]]\nid = 7" }));
    assert_eq!(checked["errors"][0]["line"], json!(2), "{checked}");
    assert_eq!(dora.json("POST", "/templates", &json!({ "document": OWN })).0, 403);
    assert_eq!(save(OWN, Value::Null).1["version"], json!(1));
    assert_eq!(save(&OWN.replace("Hello", "Good day"), json!(1)).1["version"], json!(2));
    let (status, problem) = save(OWN, json!(1));
    assert_eq!(status, 409, "{problem}");
    assert_eq!(save(&OWN.replace("\"greet\"", "\"msi\""), Value::Null).0, 422);
    assert_eq!(program.json("DELETE", "/templates/msi", &Value::Null).0, 409);

    // Whoever may build builds from it, and the package knows by which version.
    let body =
        json!({ "name": "g", "version": "1", "os": "linux", "template": "greet", "values": { "who": "it's $(id)" } });
    let (_, preview) = dora.json("POST", "/packages/preview", &body);
    assert!(
        preview["script"]["text"].as_str().unwrap_or_default().contains("echo Good day 'it'\\''s $(id)'"),
        "{preview}"
    );
    let (status, built) = dora.json("POST", "/packages", &body);
    assert_eq!(status, 201, "{built}");
    let address = format!("/packages/{}/recipe", built["package"]["id"]);
    let (_, recipe) = dora.json("GET", &address, &Value::Null);
    assert_eq!((&recipe["template"], &recipe["template_version"]), (&json!("greet"), &json!(2)));

    let mut anna = Browser::new(&served, "anna");
    for (page, part) in [
        ("/templates", "Greets somebody."),
        ("/templates/greet", "Bring back version 1"),
        ("/templates/greet/edit", "saved as version 3"),
        ("/templates/msi/edit", "own-msi"),
        ("/templates/new/edit", "printer.sh"),
        ("/packages/new?from=nothing&os=linux", "Greets somebody."),
    ] {
        let answer = anna.get(page);
        assert!(answer.status == 200 && answer.text().contains(part), "{page}: {}", answer.text());
    }
    let wrong = anna.post("/templates", &format!("began=2&document={}", encoded(&OWN.replace("line\"", "lines\""))));
    assert!(wrong.status == 422 && wrong.text().contains("Line 18"), "{}", wrong.text());
    assert_eq!(anna.post("/templates/greet/delete", "").status, 303);
    assert_eq!(dora.json("POST", "/packages", &body).0, 422, "it cannot be chosen any more");
    assert!(anna.get("/templates/greet").text().contains("It is deleted."));
    // The next version of what it made goes on with its command.
    let like = format!("/packages/new?from=nothing&like={}", built["package"]["id"]);
    assert!(anna.get(&like).text().contains("is not there any more"));
    assert_eq!(anna.post("/templates/greet/restore", "").status, 303);
    let (_, back) = dora.json("GET", "/templates/greet", &Value::Null);
    assert_eq!(back["version"], json!(4));
    assert!(back["document"].as_str().unwrap_or_default().contains("Good day"));
    let (_, versions) = dora.json("GET", "/templates/greet/versions", &Value::Null);
    let told: Vec<bool> =
        versions["items"].as_array().expect("versions").iter().map(|it| it["document"].is_string()).collect();
    assert_eq!(told, [true, false, true, true]);
    served.stop();
}

#[test]
fn a_package_that_cannot_be_fetched_is_built_and_says_why_it_is_not_activated() {
    let test = TestApp::new();
    let desk = Desk::new(test.app.clone(), actor("anna", Rights::deployer(), Scope::ALL));
    // Nobody listens there: it is the port that is left to nobody.
    let nowhere = Activating {
        info_location: "127.0.0.1:1/download".parse().expect("a location"),
        fragment_location: "127.0.0.1:1/download".parse().expect("a location"),
        check_with: Some(ClientOptions::default()),
    };
    let (built, activated) = desk.build(&description("tool", "1"), Some(&nowhere), &mut |_| {}).expect("built");
    assert!(matches!(activated, Activated::Refused(_)), "{activated:?}");
    let line = desk.package(built.package.id).expect("there");
    assert!(line.activation.is_none());

    let (works, looks) = (Works::default(), Looks::default());
    let id = desk.start_build(&works, &looks, &description("tool", "2"), Some(nowhere.clone())).expect("begun");
    until("the work", || works.find(id).expect("known").outcome != Outcome::Running);
    let work = works.find(id).expect("known");
    assert!(matches!(work.outcome, Outcome::Done { activated: Activated::Refused(_), .. }), "{:?}", work.outcome);
    let states: Vec<&StepState> = work.steps.iter().map(|step| &step.state).collect();
    assert_eq!(states[..3], [&StepState::Done; 3]);
    assert!(states[3..].contains(&&StepState::Failed), "{states:?}");

    // Without the right nothing is built at all.
    let builder: Rights = "packages.see packages.build".parse().expect("rights");
    let builder = Desk::new(test.app.clone(), actor("bert", builder, Scope::ALL));
    assert!(builder.build(&description("tool", "3"), Some(&nowhere), &mut |_| {}).is_err());
    assert!(builder.build(&description("tool", "3"), None, &mut |_| {}).is_ok());
}
