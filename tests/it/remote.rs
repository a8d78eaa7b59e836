//! `dripfeed --server`: every verb, here and from elsewhere.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use dripfeed::model::access::{Right, Rights, Scope};
use dripfeed::protocol::envelope::{Container, seal};
use dripfeed::service::accounts;
use dripfeed::service::desk::{Actor, Desk};

use crate::util::TestApp;
use crate::util::process::{Ran, Served, Site, clean, feed, run};

/// A server with somebody's token.
struct Far {
    site: Site,
    served: Served,
    token: String,
}

impl Far {
    fn new() -> Self {
        let site = Site::new();
        let served = site.serve();
        // The first administrator has a one-time password, so nothing may be done in that name yet.
        let token = token(&site, "boss", Rights::all(), Scope::ALL);
        Self { site, served, token }
    }

    /// The program on another machine: it knows the address, a token, and the authority.
    fn command(&self, token: &str, words: &[&str]) -> Command {
        let mut command = clean(env!("CARGO_BIN_EXE_dripfeed"));
        command
            .env("DRIPFEED_TOKEN", token)
            .args(["--server", &format!("https://{}", self.served.https), "--ca"])
            .arg(self.site.data().join("certs/ca.pem"))
            .args(words)
            .current_dir(self.site.root());
        command
    }

    fn say(&self, line: &str) -> Ran {
        self.say_as(&self.token, line)
    }

    fn say_as(&self, token: &str, line: &str) -> Ran {
        run(&mut self.command(token, &line.split_whitespace().collect::<Vec<_>>()))
    }

    /// What the API answers.
    fn get(&self, path: &str) -> String {
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        let answer = self.served.secure().request("GET", &format!("/api/v1{path}"), &headers, b"").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    fn register(&self, name: &str) {
        let xml = format!(
            "<REQUEST><CONTENT><HARDWARE><NAME>{name}</NAME><OSNAME>Debian</OSNAME><USERID>ada</USERID>\
             <IPADDR>192.0.2.7</IPADDR></HARDWARE><BIOS><SSN>S-{name}</SSN></BIOS><NETWORKS><IPADDRESS>192.0.2.7</IPADDRESS>\
             <IPSUBNET>192.0.2.0</IPSUBNET><MACADDR>02:00:00:00:00:01</MACADDR></NETWORKS>\
             <SOFTWARES><NAME>editor</NAME><VERSION>1</VERSION></SOFTWARES></CONTENT>\
             <DEVICEID>{name}-2026-01-02-03-04-05</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
        );
        assert_eq!(self.served.plain().post(&seal(Container::Zlib, &xml)).status, 200);
    }
}

/// A token of a user, who is made first.
fn token(site: &Site, user: &str, rights: Rights, scope: Scope) -> String {
    let app = TestApp::open(&site.data());
    let password = "correct horse battery";
    accounts::add(&app, user, password, false, accounts::ADMINISTRATOR, scope).expect("a user");
    let desk = Desk::new(app, Actor::command_line(user.to_owned()));
    desk.create_token("ci", rights, Scope::ALL, None).expect("a token").1
}

/// Every verb that ends without one of its own. `A` is another name for each side, `PKG` a package.
const TABLE: &[&str] = &[
    "package list",
    "package show PKG",
    "package show PKG --info",
    "package show 17",
    "package verify",
    "package verify PKG",
    "template list",
    "template show msi",
    "template show nothing",
    "template delete msi",
    "activate PKG",
    "activate 17",
    "assign PKG --computer A",
    "assign PKG --computer nobody",
    "assign PKG --computer A --dry-run",
    "assign PKG --where tag=Nowhere",
    "status --computer A",
    "status 17",
    "stuck",
    "deployment show 77",
    "deployment gates 77 --windows daily",
    "deployment retry 77",
    "deployment cancel 77",
    "deployment cancel 77 --bundle",
    "deployment take-off 77 --computer A",
    "deployment approve 77",
    "deployment reject 77 --reason x",
    "deployment release 77",
    "series list",
    "series show 77",
    "series change 77 --repeat tomorrow",
    "series pause 77",
    "series resume 77",
    "series run 77",
    "series end 77",
    "series approve 77",
    "series reject 77 --reason x",
    "series release 77",
    "assign PKG --computer A --repeat never",
    "why A PKG",
    "why nobody PKG",
    "setting list",
    "setting get PROLOG_FREQ",
    "setting get NOTHING",
    "setting set PROLOG_FREQ 5 --computer A",
    "setting set PROLOG_FREQ many --computer A",
    "setting explain PROLOG_FREQ --computer A",
    "setting unset PROLOG_FREQ --computer A",
    "computer list",
    "computer list --where os=nothing",
    "computer list --where (",
    "computer tag A Paris",
    "computer field A Room 12",
    "computer count",
    "computer count --by Room",
    "computer undo 77",
    "field add field-A --kind list --choice a --choice b",
    "field add field-A",
    "field edit field-A --choice a --initial b",
    "field list",
    "field arrange field-A",
    "field delete field-A",
    "field restore field-A",
    "field restore nothing",
    "computer show A",
    "computer show nobody",
    "computer show A --software",
    "computer show A --changes",
    "computer merge A A",
    "computer unmerge A",
    "computer expect name-A",
    "computer expected",
    "computer unexpect name-A",
    "computer unexpect nobody",
    "computer forget-key A",
    "computer remember-key A",
    "computer add new-A --tag lab",
    "computer add A",
    "computer duplicates",
    "computer wake nobody",
    "computer wake --where (",
    "computer keep-apart A A",
    "computer registration-key",
    "computer archive A",
    "computer restore A",
    "group create group-A",
    "group add group-A A",
    "group show group-A",
    "group exclude group-A A",
    "group remove group-A A",
    "group edit group-A --where tag=Paris",
    "group describe group-A --description desks",
    "group refresh group-A",
    "group delete group-A",
    "group delete nothing",
    "group restore group-A",
    "group restore nothing",
    "group list",
    "software list",
    "software show editor",
    "network list",
    "network show 192.0.2.0",
    "network show 203.0.113.0",
    "registry add question-A --key SOFTWARE\\Example",
    "registry show question-A",
    "registry remove question-A",
    "registry list",
    "mirror add mirror-a localhost:1/download --packages tool",
    "mirror show mirror-a",
    "mirror list",
    "site add site-a 10.9.0.0/16 --mirrors mirror-a",
    "site list",
    "site remove site-a",
    "mirror token mirror-a",
    "mirror remove mirror-a",
    "mirror key",
    "user add user-a",
    "user password user-a",
    "user access user-a --role viewer --families tool",
    "user access user-a --role nothing",
    "user profile user-a --full-name Ada --mail ada@example.net",
    "user profile user-a --mail nowhere",
    "user disable user-a",
    "user enable user-a",
    "user no-codes user-a",
    "user list",
    "user delete user-a",
    "user delete nobody",
    "role set role-a packages.see",
    "role set viewer packages.see",
    "role list",
    "role delete role-a",
    "role delete nothing",
    "role rights",
    "token list",
    "token delete 77",
    "audit list --action nothing",
    "audit list --limit 5",
    "computer delete A",
    "package withdraw PKG",
    "package withdraw 17",
    "status",
    "deployment list",
];

/// What differs between the two sides without meaning anything: names, secrets, moments, numbers of jobs and deployments,
/// and how wide columns are.
fn normal(text: &str, names: &[(&str, &str)], secret: bool) -> String {
    let text = names.iter().fold(text.to_owned(), |text, (name, kind)| text.replace(name, kind));
    let is_secret = |word: &str| word.trim_matches('"').len() >= 12 && !word.contains('/');
    let is_time = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() >= 5
            && word.contains([':', '-'])
            && word.chars().all(|c| c.is_ascii_digit() || [':', '-', 'T', 'Z'].contains(&c))
    };
    // A device id that was made up just now ends with the second.
    let made_up = |word: &str| {
        let (head, tail) = word.split_at_checked(word.len().checked_sub("2026-01-02-03-04-05".len())?)?;
        (head.ends_with('-') && is_time(tail)).then(|| format!("{head}TIME"))
    };
    let line = |line: &str| {
        let hides = secret && (line.contains("token") || line.contains("password"));
        let mut before = "";
        let mut words = Vec::new();
        for word in line.split_whitespace() {
            let numbered = ["deployment", "job"].contains(&before.trim_matches(['"', ':']));
            words.push(match word {
                _ if hides && is_secret(word) => "SECRET".to_owned(),
                _ if is_time(word) => "TIME".to_owned(),
                _ if numbered => word.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned(),
                _ => made_up(word).unwrap_or_else(|| word.to_owned()),
            });
            before = word;
        }
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_verb_says_the_same_from_elsewhere() {
    let far = Far::new();
    let packages = [far.site.package(), far.site.package()];
    for name in ["ws-near", "ws-far"] {
        far.register(name);
    }
    let mut seen = BTreeSet::new();
    for line in TABLE {
        let verbs: Vec<&str> = line
            .split(' ')
            .take_while(|word| {
                word.starts_with(char::is_alphabetic) && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            })
            .collect();
        seen.insert(verbs.into_iter().take(2).collect::<Vec<_>>().join(" "));
        let secret = line.starts_with("user ") || line.starts_with("mirror ");
        let changes = line.contains('A') || line.contains("-a") || line.contains("PKG");
        for json in ["", " --json"] {
            if !json.is_empty() && (changes && !line.contains("show") || line.contains("--info")) {
                continue;
            }
            let typed = |computer: &str, package: &str, small: &str| {
                let line = line.replace("PKG", package).replace("-a", &format!("-{small}"));
                format!(
                    "{}{json}",
                    line.split(' ')
                        .map(|word| match word {
                            "A" => computer.to_owned(),
                            word if word.ends_with("-A") => word.replace("-A", &format!("-{small}")),
                            word => word.to_owned(),
                        })
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            };
            // What all of it is said of is asked of both at the same time, so neither is behind the other.
            let shared = !changes;
            let near = far.site.say(&typed("ws-near", &packages[0], "near"));
            let there = if shared {
                far.say(&typed("ws-near", &packages[0], "near"))
            } else {
                far.say(&typed("ws-far", &packages[1], "far"))
            };
            let kinds = [
                (packages[0].as_str(), "PACKAGE"),
                (packages[1].as_str(), "PACKAGE"),
                ("near", "SIDE"),
                ("far", "SIDE"),
                ("tester", "ACTOR"),
                ("boss (token ci)", "ACTOR"),
            ];
            let plain = |text: &str| normal(text, &kinds, secret);
            assert_eq!(near.code(), there.code(), "{line}{json}: {near:?} and {there:?}");
            assert_eq!(plain(&near.out), plain(&there.out), "{line}{json}");
            // A refusal of the API is not told with the words that help at a terminal.
            let (near, there) = (plain(&near.err), plain(&there.err));
            assert_eq!(near, there, "{line}{json}");
        }
    }
    // The document is made of the programs' own help, by a test.
    let document = include_str!("../../docs/cli.md");
    let all: Vec<&str> =
        document.lines().filter_map(|line| line.strip_prefix("### `dripfeed ")?.strip_suffix('`')).collect();
    let ends = all.iter().filter(|verb| !all.iter().any(|other| other.starts_with(&format!("{verb} "))));
    let missing: Vec<&&str> = ends
        .filter(|verb| {
            let local = [
                "serve",
                "demo",
                "check-config",
                "package build",
                "package import",
                "template save",
                "computer import",
                "token create",
            ];
            !local.contains(*verb) && !seen.contains(**verb)
        })
        .collect();
    assert!(missing.is_empty(), "add a line to TABLE for {missing:?}");
}

#[test]
fn what_makes_sense_there_only_is_refused_with_a_sentence() {
    let far = Far::new();
    for line in ["serve", "demo", "check-config --print", "token create x --user boss --rights packages.see"] {
        let sentence = far.say(line).refused();
        assert!(sentence.contains("leave --server (DRIPFEED_SERVER) away"), "{line}: {sentence}");
    }
    let file = far.site.data().join("certs/ca.pem");
    let sentence = far.say(&format!("activate 17 --ca {}", file.display())).refused();
    assert!(sentence.contains("a file of the server's machine"), "{sentence}");
    let mut both = far.command(&far.token, &["status"]);
    let sentence = run(both.env("DRIPFEED_DATA_DIR", far.site.data())).refused();
    assert!(sentence.contains("name two servers"), "{sentence}");
}

#[test]
fn nothing_of_the_servers_disk_is_read_for_somebody_elsewhere() {
    let far = Far::new();
    let secret = far.site.data().join("certs/ca.pem");
    let words = ["package", "build", &secret.display().to_string(), "--name", "x", "--version", "1", "--os", "linux"];
    let words: Vec<&str> = words.into_iter().chain(["--action", "store", "--path", "/opt/x"]).collect();
    let body = serde_json::json!({ "arguments": words }).to_string();
    let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", far.token);
    let answer = far.served.secure().request("POST", "/api/v1/verbs", &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("nothing of the server's own disk is read"), "{}", answer.text());
}

#[test]
fn a_file_goes_along_and_becomes_the_package_that_it_becomes_here() {
    let far = Far::new();
    // More than one piece of an upload.
    let mut state = 1_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    })
    .take(9 << 20)
    .collect();
    let file = far.site.input("tool.bin", &bytes);
    let line = format!(
        "package build {file} --name tool --version 1 --os linux --action store --path /opt/tool --fragments 3 --json"
    );
    let (near, there) = (far.site.say(&line), far.say(&line));
    let (near, there) = (near.ok(), there.ok());
    let read = |text: &str| -> serde_json::Value {
        let mut view: serde_json::Value = serde_json::from_str(text).expect("JSON");
        // The archive holds when the file was written, so its size may differ by a byte or two.
        assert!(view["size"].as_u64() > Some(9 << 20), "{view}");
        for differs in ["id", "created_at", "md5", "sha256", "size"] {
            assert!(!view[differs].is_null(), "{differs}: {view}");
            view[differs] = serde_json::Value::Null;
        }
        view
    };
    assert_eq!(read(&near), read(&there));
    let built: serde_json::Value = serde_json::from_str(&there).expect("JSON");
    far.say(&format!("package verify {}", built["id"])).ok();

    // Nothing of it is left, and the log has who it was.
    let ran = far.say("audit list --action build --json");
    let lines: serde_json::Value = serde_json::from_str(&ran.ok()).expect("JSON");
    assert_eq!((&lines[0]["action"], &lines[0]["actor"]), (&"package build".into(), &"boss (token ci)".into()));
    let headers = format!("Authorization: Bearer {}\r\n", far.token);
    let answer = far.served.secure().request("GET", "/api/v1/uploads", &headers, b"").expect("an answer");
    assert!(!answer.text().contains("tool.bin"), "{}", answer.text());

    // What is refused there is refused here, and leaves nothing behind, either.
    let wrong = format!("{line} --command true");
    assert_eq!(far.say(&wrong).refused(), far.site.say(&wrong).refused());
    let answer = far.served.secure().request("GET", "/api/v1/uploads", &headers, b"").expect("an answer");
    assert!(answer.status == 200 && !answer.text().contains("tool.bin"), "{}", answer.text());
}

#[test]
fn a_directory_goes_along_as_the_archive_that_it_becomes_here() {
    let far = Far::new();
    let directory = far.site.root().join("office");
    let script = far.site.input("office/bin/run.sh", "#!/bin/sh\n");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("a program");
    far.site.input("office/notes.txt", "read me\n");
    std::fs::create_dir(directory.join("empty")).expect("a directory");
    std::os::unix::fs::symlink("bin/run.sh", directory.join("start")).expect("a link");
    for (os, to) in [("linux", "/opt/office"), ("windows", "C:\\office")] {
        // A ZIP for Windows holds no links.
        if os == "windows" {
            std::fs::remove_file(directory.join("start")).expect("removed");
        }
        let line = format!(
            "package build {} --name office --version 1 --os {os} --action store --path {to}",
            directory.display()
        );
        let (near, there) = (far.site.say(&line).ok(), far.say(&line).ok());
        let files = |id: &str| far.get(&format!("/packages/{}/files", id.trim()));
        assert!(files(&near).contains("bin/run.sh"), "{}", files(&near));
        assert_eq!(files(&near), files(&there), "{os}");
        // The system of the one that it is like decides, too.
        let again = format!("package build {} --like {} --version 2", directory.display(), there.trim());
        assert_eq!(files(&far.say(&again).ok()), files(&near), "{os}");
    }
    std::fs::create_dir(far.site.root().join("nothing")).expect("a directory");
    let line = format!(
        "package build {} --name x --version 1 --os linux --action store --path /opt/x",
        far.site.root().join("nothing").display()
    );
    assert!(far.say(&line).refused().contains("is empty"), "{line}");
    let sentence = far.say(&format!("template save {}", directory.display())).refused();
    assert!(sentence.contains("this verb reads a file"), "{sentence}");
}

#[test]
fn a_password_goes_along_and_the_change_is_recorded_with_the_token() {
    let far = Far::new();
    let words = ["user", "add", "ada", "--password-stdin"];
    let ran = feed(&mut far.command(&far.token, &words), b"correct horse battery\n");
    assert_eq!(ran.ok(), "added ada\n");
    let app = TestApp::open(&far.site.data());
    let desk = Desk::new(app, Actor::command_line("tester".to_owned()));
    let lines = desk.audit(dripfeed::store::audit::Wanted::default(), 10).expect("the log");
    let line = lines.iter().find(|line| line.action == "user add").expect("a line");
    assert_eq!((line.actor.as_str(), line.via.as_str(), line.subject.as_str()), ("boss (token ci)", "api", "user ada"));
    assert!(!format!("{line:?}").contains("horse"), "{line:?}");
}

#[test]
fn rights_and_scope_hold_for_verbs() {
    let far = Far::new();
    let package = far.site.package();
    for name in ["ws-paris", "ws-rome"] {
        far.register(name);
    }
    far.say("computer tag ws-paris Paris").ok();
    let viewer = token(&far.site, "admin-viewer", Rights::viewer(), Scope::ALL);
    assert!(far.say_as(&viewer, "package list").ok().contains(&package));
    for line in ["computer delete ws-rome", &format!("package withdraw {package}"), "user list", "mirror remove x"] {
        let sentence = far.say_as(&viewer, line).refused();
        assert!(sentence.contains("right"), "{line}: {sentence}");
    }
    // Whoever manages users without having everything cannot make themselves more.
    let manager = token(&far.site, "manager", [Right::EditUsers].into_iter().collect(), Scope::ALL);
    far.say_as(&manager, "user list").ok();
    far.say_as(&manager, "user password admin").refused();

    let scope = Scope::parse(Some("tag = Paris"), Some("office*")).expect("a scope");
    let parisian = token(&far.site, "parisian", Rights::all(), scope);
    far.say_as(&parisian, "computer field ws-paris Room 12").ok();
    // Somebody else's and nobody's are the same.
    let (other, nobody) = (
        far.say_as(&parisian, "computer field ws-rome Room 12").refused(),
        far.say_as(&parisian, "computer field ws-nobody Room 12").refused(),
    );
    assert_eq!(other.replace("ws-rome", "X"), nobody.replace("ws-nobody", "X"));
    let (other, none) = (
        far.say_as(&parisian, &format!("package show {package}")).refused(),
        far.say_as(&parisian, "package show 17").refused(),
    );
    assert_eq!(other.replace(&package, "X"), none.replace("17", "X"));
    for line in
        ["computer list", "group create x", "status", "site remove x", "user add eve", "setting set FREQUENCY 1"]
    {
        let sentence = far.say_as(&parisian, line).refused();
        assert!(sentence.contains("scope"), "{line}: {sentence}");
    }
}

#[test]
fn what_stands_between_is_said_in_a_sentence() {
    let mut far = Far::new();
    let sentence = far.say_as("drip_nobody", "status").refused();
    assert_eq!(sentence, "this token is not valid, or not any more");
    let mut without = far.command("", &["status"]);
    let sentence = run(without.env_remove("DRIPFEED_TOKEN")).refused();
    assert!(sentence.contains("asks for a token"), "{sentence}");

    let file = far.site.input("token", format!("{}\n", far.token));
    let mut from_file = far.command("", &["--token-file", &file, "user", "list"]);
    assert!(run(from_file.env_remove("DRIPFEED_TOKEN")).ok().contains("admin"));

    let other = Site::new();
    let stranger = other.serve();
    let mut wrong = far.command(&far.token, &[]);
    let ca = other.data().join("certs/ca.pem");
    let sentence = run(wrong.arg("--ca").arg(&ca)).code();
    assert_eq!(sentence, Some(2), "an option is given twice");
    let address = format!("https://{}", far.served.https);
    let mut wrong = clean(env!("CARGO_BIN_EXE_dripfeed"));
    wrong.env("DRIPFEED_TOKEN", &far.token).args(["--server", &address, "--ca"]).arg(&ca).arg("status");
    let sentence = run(&mut wrong).failed();
    assert!(sentence.contains("was not signed by"), "{sentence}");
    stranger.stop();

    let mut none = clean(env!("CARGO_BIN_EXE_dripfeed"));
    let sentence = run(none.env("DRIPFEED_TOKEN", &far.token).args(["--server", &address, "status"])).refused();
    assert!(sentence.contains("--ca (DRIPFEED_CA)"), "{sentence}");
    let mut clear = clean(env!("CARGO_BIN_EXE_dripfeed"));
    let address = format!("http://{}", far.served.http);
    let sentence = run(clear.env("DRIPFEED_TOKEN", &far.token).args(["--server", &address, "status"])).refused();
    assert!(sentence.contains("the token is a secret"), "{sentence}");

    far.served.kill();
    let sentence = far.say("status").failed();
    assert!(sentence.contains("nothing answers at 127.0.0.1"), "{sentence}");
}

#[test]
fn a_token_of_somebody_with_a_one_time_password_says_what_to_do() {
    let far = Far::new();
    far.site.say("user add newcomer --role administrator").ok();
    let made = far.site.say("token create programs --user newcomer --rights computers.see").ok();
    let secret = made.split_whitespace().find(|word| word.starts_with("drip_")).expect("a token");
    let ran = far.say_as(secret, "computer list");
    let sentence = "the owner of this token, newcomer, has a one-time password: sign in with it in the console first";
    assert!(ran.code() == Some(2) && ran.err.contains(sentence), "{ran:?}");
}
