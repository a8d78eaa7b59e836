//! Activations, assignments, and what is shown of them.

use std::fmt::Write as _;
use std::process::Stdio;

use dripfeed::protocol::envelope::{Container, seal};
use serde_json::json;

use super::{own_certificate, plain, register};
use crate::util::process::{Ran, Site, redacted, run};
use crate::util::{noise, tar_gz};

#[test]
fn an_activation_fetches_everything_first_and_says_why_it_could_not() {
    let site = Site::new();
    let id = site.package();
    let mut story = String::new();
    // There was no server yet; then there is none: the configured ports are asked, and nobody is there.
    site.configure("http = \"127.0.0.1:1\"\nhttps = \"127.0.0.1:2\"\n");
    writeln!(story, "{}", site.say(&format!("activate {id}")).refused()).expect("a string");
    site.serve().stop();
    writeln!(story, "{}", site.say(&format!("activate {id}")).refused()).expect("a string");
    assert!(site.json(&format!("package show {id}"))["info_location"].is_null(), "nothing was changed");

    let served = site.serve();
    let [other, ..] = own_certificate();
    let other = site.input("other.pem", other);
    writeln!(story, "{}", site.say(&format!("activate {id} --ca {other}")).refused()).expect("a string");
    let missing = site.say(&format!("activate {id} --ca nowhere.pem"));
    assert!(matches!(missing.code(), Some(1 | 2)), "{missing:?}");
    writeln!(story, "{}", missing.err.trim_end()).expect("a string");
    let elsewhere = format!("activate {id} --fragment-location {}/elsewhere", served.http);
    writeln!(story, "{}", site.say(&elsewhere).refused()).expect("a string");
    writeln!(story, "{}", site.say("activate 1795168801").refused()).expect("a string");
    assert!(site.json(&format!("package show {id}"))["info_location"].is_null(), "nothing was changed");

    let text = site.say(&format!("activate {id}")).ok();
    writeln!(story, "{}", text.trim_end()).expect("a string");
    writeln!(story, "{}", redacted(&site.json(&format!("activate {id}")))).expect("a string");
    let unchecked = site.say(&format!("activate {id} --no-check --json"));
    writeln!(story, "{}", unchecked.err.trim_end()).expect("a string");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&unchecked.out).expect("JSON")["checked"], false);
    // Bytes that are not those that were built.
    site.input(&format!("data/download/{id}/{id}-1"), "other bytes");
    writeln!(story, "{}", site.say(&format!("activate {id}")).refused()).expect("a string");
    site.say(&format!("package withdraw {id}")).ok();
    writeln!(story, "{}", site.say(&format!("activate {id} --no-check")).refused()).expect("a string");
    served.stop();
    insta::assert_snapshot!(plain(&site, &story.replace(&id, "ID")), @r#"
    the CA file ROOT/data/certs/ca.pem cannot be read: No such file or directory (os error 2); copy the server's certs/ca.pem there or name another with --ca
    not activated (start the server, or name other locations; --no-check activates all the same): an agent could not fetch https://127.0.0.1:2/download/ID/info: nothing answers at 127.0.0.1:2 (connection refused): is the server running, and is the port right?
    not activated (start the server, or name other locations; --no-check activates all the same): an agent could not fetch https://127.0.0.1:PORT/download/ID/info: the certificate of 127.0.0.1:PORT was not signed by ROOT/other.pem: copy the right server's certs/ca.pem there, or somebody stands in between
    error: the CA file nowhere.pem cannot be read: No such file or directory (os error 2); copy the server's certs/ca.pem there or name another with --ca
    not activated (start the server, or name other locations; --no-check activates all the same): an agent could not fetch http://127.0.0.1:PORT/elsewhere/ID/ID-1: http://127.0.0.1:PORT/elsewhere/ID/ID-1 was answered 404: there is no such file
    there is no package 1795168801: `dripfeed package list` shows them
    activated ID: every file was fetched and compared
    info file  https://127.0.0.1:PORT/download
    fragments  http://127.0.0.1:PORT/download
    {
      "checked": true,
      "fragment_location": "127.0.0.1:PORT/download",
      "id": "ID",
      "info_location": "127.0.0.1:PORT/download"
    }
    warning: not checked: if agents cannot fetch it from there, they report ERR_DOWNLOAD_INFO and are not offered it again
    not activated (start the server, or name other locations; --no-check activates all the same): http://127.0.0.1:PORT/download/ID/ID-1 gives other bytes than were built: the location serves another tree, or a copy that is not complete yet
    package ID is withdrawn: only an available package can be activated
    "#);
}

#[test]
fn assignments_are_planned_or_refused_with_a_reason() {
    let site = Site::new();
    let served = site.serve();
    let id = site.package();
    let first = register(&served, "ws1", 1, "Debian GNU/Linux 12");
    register(&served, "twin", 2, "Debian GNU/Linux 12");
    register(&served, "twin", 3, "Debian GNU/Linux 12");
    register(&served, "win", 4, "Microsoft Windows 11");
    let mut story = String::new();
    let mut tell = |ran: Ran| {
        writeln!(story, "{} {}{}", ran.code().unwrap_or(-1), ran.out, ran.err).expect("a string");
    };
    tell(site.say(&format!("assign {id} --computer nobody")));
    tell(site.say(&format!("assign {id} --computer twin")));
    tell(site.say(&format!("assign {id} --computer ws1 win")));
    tell(site.say("assign 1795168801 --all"));
    tell(site.say(&format!("assign {id} --all --schedule tomorrow")));
    let source = site.input("tool.tar.gz", tar_gz(&[("tool", &noise(100_000))]));
    let build = format!("package build {source} --name slow --version 1 --os linux --action store --path /opt");
    let slow = site.say(&format!("{build} --fragment-size 100 --priority 10")).ok();
    site.configure("[settings]\nDOWNLOAD_PERIOD_LENGTH = 4\n");
    tell(site.say(&format!("assign {} --all", slow.trim())));
    site.configure("[settings]\nDOWNLOAD_TIMEOUT = 1\nDOWNLOAD_CYCLE_LATENCY = 600\n");
    tell(site.say(&format!("assign {} --all", slow.trim())));
    site.configure("");
    assert_eq!(site.json("status"), json!({"packages": [], "jobs": []}), "no refusal planned anything");

    // Not activated yet: planned, with a word about it.
    tell(site.say(&format!("assign {id} --computer ws1")));
    tell(site.say(&format!("assign {id} --computer {first} --force")));
    site.say(&format!("activate {id}")).ok();
    let mut options = site.command(&["assign", &id, "--all", "--force", "--json"]);
    let planned = run(options.args(["--schedule", "2031/06/30 02:15", "--post-command", "reboot"]));
    tell(planned);
    insta::assert_snapshot!(plain(&site, &story), @r#"
    2 error: there is no computer "nobody": it must have sent an inventory first (`dripfeed computer list`)

    2 error: there are 2 computers named "twin": name one by its device id (twin-2026-01-02-03-04-02, twin-2026-01-02-03-04-03)

    2 error: package ID is for linux, but win runs Microsoft Windows 11

    2 error: there is no package 1795168801: `dripfeed package list` shows them

    2 error: invalid value 'tomorrow' for '--schedule <TIME>': "tomorrow" is not a time: expected 'YYYY/MM/DD HH:MM', in the computer's local time

    For more information, try '--help'.

    2 error: priority 10 never has a turn in periods of 4 cycles: raise DOWNLOAD_PERIOD_LENGTH to 10 or more, or build with a priority of 4 or less

    2 error: 1056 fragments at priority 10 need 73.6 days (1057 turns, 1 in each period of 10 cycles, and such a period takes 1 h 40 min), more than DOWNLOAD_TIMEOUT allows (24 h): use larger fragments, a smaller priority, or raise DOWNLOAD_TIMEOUT

    0 deployment 1: ID for 1 computer, 9 min 10 s from contact to execution
    warning: package ID is not activated: nothing is offered before `dripfeed activate ID`

    0 deployment 2: ID for 0 computers, 9 min 10 s from contact to execution
    1 computer has an open job of it already
    warning: package ID is not activated: nothing is offered before `dripfeed activate ID`

    0 {
      "deployment": 3,
      "package": ID,
      "planned": 2,
      "already": 1,
      "other_system": 1,
      "pace_seconds": 550
    }
    "#);

    // And the agents are offered it, with those options.
    let prolog = "<REQUEST><DEVICEID>twin-2026-01-02-03-04-02</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>";
    // A stock Unix agent would not wait by itself; the Windows agent does.
    let user_agent = "User-Agent: OCS-NG_WINDOWS_AGENT_v2.10.1.0\r\n";
    let body = seal(Container::Plain, prolog);
    let offered = served.plain().request("POST", "/ocsinventory", user_agent, &body).expect("an answer").text();
    assert!(offered.contains("FORCE=\"1\"") && offered.contains("SCHEDULE=\"2031/06/30 02:15\""), "{offered}");
    served.stop();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story; most lines are what it must print")]
fn status_computers_and_users_are_shown_as_text_and_as_json() {
    let site = Site::new();
    let served = site.serve();
    // What to do next where there is nothing.
    let empty: Vec<String> = ["package list", "status", "computer list"]
        .map(|line| {
            let ran = site.say(line);
            assert_eq!((ran.code(), ran.out.as_str()), (Some(0), ""), "{line}");
            ran.err
        })
        .to_vec();
    insta::assert_snapshot!(empty.concat(), @r"
    no packages yet: dripfeed package build FILE --name … --version … --os … --action …
    nothing is assigned yet: dripfeed assign ID --computer NAME
    no computers yet: they appear with their first inventory
    ");

    let id = site.package();
    let device = register(&served, "ws1", 1, "Debian GNU/Linux 12");
    register(&served, "ws2", 2, "Debian GNU/Linux 12");
    site.say(&format!("activate {id}")).ok();
    site.say(&format!("assign {id} --all")).ok();
    let tell = |xml: &str| assert_eq!(served.plain().post(&seal(Container::Zlib, xml)).status, 200);
    tell(&format!("<REQUEST><DEVICEID>{device}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"));
    tell(&format!("<REQUEST DEVICEID=\"{device}\" ERR=\"ERR_EXIT_CODE_3\" ID=\"{id}\" QUERY=\"DOWNLOAD\" />"));
    insta::assert_snapshot!(redacted(&site.json("status")), @r#"
    {
      "jobs": [
        {
          "code": "ERR_EXIT_CODE_3",
          "computer": "ws1",
          "created_at": "TIME",
          "deployment": 1,
          "device_id": "ws1-2026-01-02-03-04-01",
          "explanation": "the command ended with exit code 3",
          "finished_at": "TIME",
          "job": 1,
          "offered_at": "TIME",
          "package": "ID",
          "package_name": "tool",
          "package_version": "1",
          "state": "failed",
          "updated_at": "TIME",
          "withheld": null
        },
        {
          "code": null,
          "computer": "ws2",
          "created_at": "TIME",
          "deployment": 1,
          "device_id": "ws2-2026-01-02-03-04-02",
          "explanation": null,
          "finished_at": null,
          "job": 2,
          "offered_at": null,
          "package": "ID",
          "package_name": "tool",
          "package_version": "1",
          "state": "pending",
          "updated_at": "TIME",
          "withheld": null
        }
      ],
      "packages": [
        {
          "jobs": {
            "failed": 1,
            "pending": 1
          },
          "name": "tool",
          "package": "ID",
          "version": "1"
        }
      ]
    }
    "#);
    let text = site.say("status").ok();
    for word in ["1 failed", "1 pending", "ERR_EXIT_CODE_3", "ws1", "ws2"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(site.json(&format!("status {id}")), site.json("status"));
    assert_eq!(site.json(&format!("status --computer {device}"))["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.json(&format!("package show {id}"))["jobs"], json!({"failed": 1, "pending": 1}));
    insta::assert_snapshot!(redacted(&site.json("computer list")[0]), @r#"
    {
      "agent": "OCS-NG_unified_unix_agent_v2.10.0",
      "architecture": "",
      "archived_at": null,
      "device_id": "ws1-2026-01-02-03-04-01",
      "first_contact": "TIME",
      "identity": {
        "key": null,
        "proven_by": "name",
        "since": null
      },
      "ip_address": "192.0.2.7",
      "last_contact": "TIME",
      "last_inventory": "TIME",
      "model": "",
      "name": "ws1",
      "os": "Debian GNU/Linux 12",
      "os_version": "",
      "peer_address": "127.0.0.1",
      "serial": "S1",
      "tag": "NA",
      "user": "ada",
      "uuid": "",
      "workgroup": ""
    }
    "#);
    insta::assert_snapshot!(redacted(&site.json("computer show ws1")), @r#"
    {
      "agent": "OCS-NG_unified_unix_agent_v2.10.0",
      "architecture": "",
      "archived_at": null,
      "device_id": "ws1-2026-01-02-03-04-01",
      "events": [
        {
          "at": "TIME",
          "package": "ID",
          "text": "ERR_EXIT_CODE_3",
          "what": "reported"
        },
        {
          "at": "TIME",
          "package": "ID",
          "text": "NOTIFIED",
          "what": "offered"
        }
      ],
      "fields": {},
      "first_contact": "TIME",
      "identity": {
        "key": null,
        "proven_by": "name",
        "since": null
      },
      "installed": [],
      "ip_address": "192.0.2.7",
      "jobs": [
        {
          "code": "ERR_EXIT_CODE_3",
          "computer": "ws1",
          "created_at": "TIME",
          "deployment": 1,
          "device_id": "ws1-2026-01-02-03-04-01",
          "explanation": "the command ended with exit code 3",
          "finished_at": "TIME",
          "job": 1,
          "offered_at": "TIME",
          "package": "ID",
          "package_name": "tool",
          "package_version": "1",
          "state": "failed",
          "updated_at": "TIME",
          "withheld": null
        }
      ],
      "last_contact": "TIME",
      "last_inventory": "TIME",
      "merges": [],
      "model": "",
      "name": "ws1",
      "networks": [],
      "os": "Debian GNU/Linux 12",
      "os_version": "",
      "peer_address": "127.0.0.1",
      "serial": "S1",
      "tag": "NA",
      "user": "ada",
      "uuid": "",
      "workgroup": ""
    }
    "#);
    let text = site.say("computer show ws1").ok();
    assert!(text.contains("Debian GNU/Linux 12") && text.contains("ERR_EXIT_CODE_3"), "{text}");
    assert_eq!(site.json("computer delete ws1"), json!({"deleted": device}));
    assert!(site.say("computer delete ws2").ok().starts_with("forgot ws2"));

    let refused: Vec<String> = [
        "status 1795168801",
        "status --computer ws1",
        "computer show ws1",
        "computer delete ws1",
        "package show 1795168801",
        "package show 1795168801 --info",
        "package withdraw 1795168801",
        "package verify 1795168801",
        "user password nobody",
        "user add admin",
    ]
    .map(|line| site.say(line).refused())
    .to_vec();
    insta::assert_snapshot!(plain(&site, &refused.join("\n")), @r#"
    there is no package 1795168801: `dripfeed package list` shows them
    there is no computer "ws1": it must have sent an inventory first (`dripfeed computer list`)
    there is no computer "ws1": it must have sent an inventory first (`dripfeed computer list`)
    there is no computer "ws1": it must have sent an inventory first (`dripfeed computer list`)
    there is no package 1795168801: `dripfeed package list` shows them
    package ID has no info file in the tree: it is unknown or withdrawn
    there is no package 1795168801: `dripfeed package list` shows them
    there is no package 1795168801: `dripfeed package list` shows them
    there is no user "nobody": `dripfeed user list` shows them
    there is a user "admin" already: `dripfeed user password admin` changes the password
    "#);

    let added = site.say("user add grace").ok();
    assert!(added.starts_with("added grace\none-time password: "), "{added}");
    let changed = site.feed(&["user", "password", "grace", "--password-stdin"], b"correct horse battery\n").ok();
    assert_eq!(changed, "changed the password of grace\n");
    let short = site.feed(&["user", "password", "grace", "--password-stdin"], b"short\n").refused();
    insta::assert_snapshot!(short, @"the password has 5 characters: at least 10 are needed");
    insta::assert_snapshot!(redacted(&site.json("user list")), @r#"
    [
      {
        "codes": false,
        "computers": null,
        "created_at": "TIME",
        "disabled": false,
        "families": [],
        "full_name": "",
        "mail": "",
        "must_change_password": true,
        "name": "admin",
        "role": "administrator"
      },
      {
        "codes": false,
        "computers": null,
        "created_at": "TIME",
        "disabled": false,
        "families": [],
        "full_name": "",
        "mail": "",
        "must_change_password": false,
        "name": "grace",
        "role": "administrator"
      }
    ]
    "#);
    assert_eq!(site.say("user list").ok().lines().count(), 3);
    served.stop();
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let site = Site::new();
    site.package();
    for verb in ["package list", "package list --json", "check-config --print", "user list", "package show ID"] {
        let verb = verb.replace("ID", &site.json("package list")[0]["id"].to_string());
        // Its reader is gone before it begins.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = site.command(&verb.split_whitespace().collect::<Vec<_>>());
        let output =
            command.stdout(writer).stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
        let output = output.expect("it ends");
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{verb}");
    }
}

#[test]
fn what_an_exit_code_means_is_the_packages_own_affair() {
    let site = Site::new();
    site.configure(
        "[settings]\nDOWNLOAD_FRAG_LATENCY = 0\nDOWNLOAD_CYCLE_LATENCY = 0\nDOWNLOAD_PERIOD_LATENCY = 0\nFREQUENCY = 0\n",
    );
    let served = site.serve();
    site.agent(&served, &["-q", "once"]).status().expect("the agent");
    let base = ["package", "build", "--name", "tool", "--version", "1", "--os", "linux", "--action", "execute"];
    let wrong = site.run(&[&base[..], &["--command", "exit 9", "--exit-codes", "9"]].concat());
    assert_eq!(wrong.code(), Some(2), "{wrong:?}");
    let mut ids = Vec::new();
    for (command, codes) in [("exit 9", "9=success"), ("exit 94", "94=reboot"), ("exit 0", "0=failure"), ("exit 9", "")]
    {
        let id = site.run(&[&base[..], &["--command", command, "--exit-codes", codes]].concat()).ok().trim().to_owned();
        site.say(&format!("activate {id}")).ok();
        site.say(&format!("assign {id} --all")).ok();
        ids.push(id);
    }
    assert!(site.say(&format!("package show {}", ids[1])).ok().contains("94=reboot"));
    site.agent(&served, &["-q", "once"]).status().expect("the agent");
    let told: Vec<serde_json::Value> =
        ids.iter().map(|id| site.json(&format!("status {id}"))["jobs"][0]["code"].clone()).collect();
    assert_eq!(told, ["SUCCESS_9", "SUCCESS_REBOOT_REQUIRED", "ERR_EXIT_CODE_0", "ERR_EXIT_CODE_9"]);
}
