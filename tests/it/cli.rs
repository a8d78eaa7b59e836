//! Every verb as an administrator types it: real processes, their words, their exit codes.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dripfeed::protocol::envelope::{Container, seal};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use serde_json::json;

use crate::util::process::{Ran, Served, Site, addresses, clean, redacted, redacted_text, run, until};
use crate::util::web::{Line, trusting};
use crate::util::{noise, tar_gz, zip};

/// Sentences without what differs from run to run.
fn plain(site: &Site, text: &str) -> String {
    let text = text.replace(&site.root().display().to_string(), "ROOT");
    redacted_text(&text)
}

/// A computer that has sent its inventory.
fn register(served: &Served, name: &str, number: u32, os: &str) -> String {
    let device = format!("{name}-2026-01-02-03-04-{number:02}");
    let xml = format!(
        "<REQUEST><CONTENT><HARDWARE><NAME>{name}</NAME><OSNAME>{os}</OSNAME><USERID>ada</USERID><IPADDR>192.0.2.7</IPADDR>\
         </HARDWARE><BIOS><SSN>S1</SSN></BIOS></CONTENT><DEVICEID>{device}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
    );
    let answer = served.plain().post(&seal(Container::Zlib, &xml));
    assert_eq!(answer.status, 200, "{}", answer.text());
    device
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

// ---------------------------------------------------------------------------------------------------------- serve

#[test]
fn the_first_start_makes_everything_and_the_second_reuses_it() {
    let site = Site::new();
    let served = site.serve();
    let greeting = served.greeting();
    let password =
        greeting.split("one-time password ").nth(1).and_then(|rest| rest.lines().next()).expect("a password");
    assert!(password.len() >= 12, "{password}");
    insta::assert_snapshot!(plain(&site, &greeting.replace(password, "PASSWORD").replace(env!("CARGO_PKG_VERSION"), "VERSION")), @r"
    dripfeed VERSION is running
      web page   https://127.0.0.1:PORT/
      sign in    admin with the one-time password PASSWORD
      agents     https://127.0.0.1:PORT/ocsinventory
                 http://127.0.0.1:PORT/ocsinventory
      CA file    ROOT/data/certs/ca.pem

    Start an agent with
      dripfeed-agent once --server https://127.0.0.1:PORT/ocsinventory \
        --ca ROOT/data/certs/ca.pem
    and see it with
      dripfeed computer list
    ");
    assert_eq!(addresses(&site.data()), (served.http, served.https));
    let authority = std::fs::read(site.data().join("certs/ca.pem")).expect("an authority");
    assert_eq!(served.plain().get("/ca.pem").body, authority);
    assert_eq!(served.secure().get("/sign-in").status, 200);

    // The line that starts an agent starts one.
    let told = greeting.split_once("Start an agent with").and_then(|(_, rest)| rest.split_once("and see it with"));
    let line = told.expect("the greeting says how").0.replace("\\\n", " ").trim().to_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "dripfeed-agent");
    let agent = site.root().join("agent");
    let ran = run(clean(env!("CARGO_BIN_EXE_dripfeed-agent")).args(&words[1..]).arg("--data-dir").arg(agent));
    assert_eq!(ran.code(), Some(0), "{line}: {ran:?}");
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(1));

    let second = run(&mut site.serve_command());
    let number = served.pid().as_raw_nonzero().to_string();
    insta::assert_snapshot!(plain(&site, &second.failed().replace(&number, "NUMBER")), @"a server runs in this directory already: ROOT/data/server.lock is held by another process (process NUMBER): stop it first, or use another directory");
    assert_eq!(addresses(&site.data()), (served.http, served.https), "the first one's addresses stay");
    served.stop();
    assert!(!site.data().join("addresses.json").exists(), "nobody listens there any more");

    let served = site.serve();
    assert!(!served.greeting().contains("one-time"), "{}", served.greeting());
    assert_eq!(std::fs::read(site.data().join("certs/ca.pem")).expect("an authority"), authority);
    assert_eq!(served.secure().get("/sign-in").status, 200);
    let users = site.json("user list");
    assert_eq!((users.as_array().map(Vec::len), users[0]["must_change_password"].as_bool()), (Some(1), Some(true)));
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(1));
    served.stop();
}

#[test]
fn a_port_in_use_is_a_sentence_with_the_option() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (at, option) in [(0, "--http"), (1, "--https")] {
        let mut ports = ["127.0.0.1:0", "127.0.0.1:0"];
        ports[at] = &address;
        let ran = site.run(&["serve", "--http", ports[0], "--https", ports[1]]);
        assert_eq!(ran.out, "");
        let sentence = ran.failed();
        assert!(sentence.contains("another program listens there") && sentence.contains(option), "{sentence}");
        assert!(!site.data().join("addresses.json").exists());
    }
    // A failed start is no first start: the next one still says the password.
    assert!(site.serve().greeting().contains("one-time password"));
}

#[test]
fn a_directory_that_cannot_be_used_is_a_sentence() {
    let site = Site::new();
    let mut story = String::new();
    let mut tell = |ran: Ran| {
        assert!(matches!(ran.code(), Some(1 | 2)), "{ran:?}");
        writeln!(story, "{:?} {}", ran.code().unwrap_or(-1), plain(&site, ran.err.trim_end())).expect("a string");
    };
    // Mistyped: a verb that reads must not make an empty server there.
    for line in ["package list", "status", "computer list", "user list", "package verify", "assign 1795168800 --all"] {
        let ran = site.say(line);
        assert_eq!(ran.code(), Some(2), "{line}: {ran:?}");
        assert!(!site.data().exists(), "{line} made a directory");
        tell(ran);
    }
    site.input("data", "a file");
    tell(run(&mut site.serve_command()));
    tell(site.say("package list"));
    std::fs::remove_file(site.data()).expect("the file");

    // The lock cannot be had, but no server runs.
    std::fs::create_dir_all(site.data().join("server.lock")).expect("a directory");
    tell(run(&mut site.serve_command()));
    insta::assert_snapshot!(story, @r"
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    2 error: the data directory ROOT/data cannot be made: File exists (os error 17)
    2 error: there is no server in ROOT/data: start one with `dripfeed serve`, or name its directory with --data-dir
    1 error: failed to lock ROOT/data/server.lock: Is a directory (os error 21)
    ");
}

#[test]
fn a_directory_that_may_not_be_written_is_a_sentence() {
    let site = Site::new();
    std::fs::create_dir(site.data()).expect("a directory");
    for (path, mode) in [(site.root().to_owned(), 0o755), (site.data(), 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let serve = ["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];
    let mut command = if is_root() {
        // Nothing is forbidden to root.
        let program = site.root().join("dripfeed");
        std::fs::copy(env!("CARGO_BIN_EXE_dripfeed"), &program).expect("a copy that everybody may run");
        let mut command = clean("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command.env("DRIPFEED_DATA_DIR", site.data()).current_dir(site.root());
        command
    } else {
        site.command(&[])
    };
    if is_root() && Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: setpriv is missing, and nothing is forbidden to root");
        return;
    }
    let sentence = run(command.args(serve)).failed();
    insta::assert_snapshot!(plain(&site, &sentence), @"failed to open the database ROOT/data/dripfeed.db: this user may not read and write it; change its owner or run as its owner");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let site = Site::new();
    let mut story = String::new();
    for toml in [
        "htp = \"0.0.0.0:80\"",
        "\nhttp = \"everywhere\"",
        "http = ",
        "[limits]\nconnections = 0",
        "[timeouts]\nidle = \"soon\"",
        "[settings]\nDOWNLOAD_PERIOD_LENGTH = \"many\"",
        "[tls]\ncertificate = \"own.pem\"",
        "[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"",
        "database = \"mysql://localhost/ocs\"",
        "[log]\nlevel = \"loud\"",
    ] {
        site.configure(toml);
        let checked = site.say("check-config").refused();
        writeln!(story, "{}", plain(&site, &checked)).expect("a string");
        // Every verb refuses it with the same sentence, but for the certificate, which only a server needs.
        if !toml.contains("key =") {
            assert_eq!(site.say("serve").refused(), checked);
            assert_eq!(site.say("package list").refused(), checked);
        }
    }
    writeln!(story, "{}", plain(&site, &site.say("check-config --config nowhere.toml").refused())).expect("a string");
    insta::assert_snapshot!(story, @r#"
    ROOT/data/dripfeed.toml, line 1: there is no setting "htp"; did you mean http?
    ROOT/data/dripfeed.toml, line 2: http = "everywhere" is wrong: expected ADDRESS:PORT, such as 0.0.0.0:PORT, 127.0.0.1:0 or [::]:PORT
    ROOT/data/dripfeed.toml, line 1: string values must be quoted, expected literal string
    ROOT/data/dripfeed.toml, line 2: limits.connections = "0" is wrong: expected a whole number from 1 to 1000000
    ROOT/data/dripfeed.toml, line 2: timeouts.idle = "soon" is wrong: expected a time such as 500ms, 20s, 5m or 1h, more than none and at most a day
    ROOT/data/dripfeed.toml, line 2: settings.DOWNLOAD_PERIOD_LENGTH = "many" is wrong: expected a whole number from 1 to 10000 (cycles)
    ROOT/data/dripfeed.toml, line 2: tls.certificate = "own.pem" is wrong: set tls.key to its private key as well
    failed to read ROOT/data/own.pem: No such file or directory (os error 2)
    ROOT/data/dripfeed.toml, line 1: database = "mysql://localhost/ocs" is wrong: expected a path, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE
    ROOT/data/dripfeed.toml, line 2: log.level = "loud" is wrong: expected off, error, warn, info, debug or trace, or levels by module such as info,dripfeed::server=debug ("loud" is no level)
    failed to read the configuration nowhere.toml: No such file or directory (os error 2)
    "#);
}

#[test]
fn check_config_prints_every_key_and_who_said_it() {
    let site = Site::new();
    site.configure("public_name = \"packages.example.net\"\n[settings]\nDOWNLOAD_PERIOD_LENGTH = 12\n");
    assert_eq!(site.say("check-config").ok(), "the configuration is right\n");
    let text = site.say("check-config --print").ok();
    let json = site.json("check-config --print");
    let all = json.as_array().expect("a list");
    assert_eq!(text.lines().count(), all.len() + 1);
    let said: Vec<String> = all
        .iter()
        .filter(|setting| setting["origin"] != "default")
        .map(|setting| plain(&site, &format!("{} = {} ({})", setting["key"], setting["value"], setting["origin"])))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    "data_dir" = "ROOT/data" ("command line")
    "public_name" = "packages.example.net" ("ROOT/data/dripfeed.toml, line 1")
    "settings.DOWNLOAD_PERIOD_LENGTH" = "12" ("ROOT/data/dripfeed.toml, line 3")
    "#);
    assert!(all.iter().all(|setting| setting["meaning"].as_str().is_some_and(|meaning| meaning.ends_with('.'))));
}

/// An authority of its own, and a certificate for 127.0.0.1: authority, certificate, key.
fn own_certificate() -> [String; 3] {
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let ca_pem = ca.self_signed(&ca_key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate").pem();
    [ca_pem, certificate, key.serialize_pem()]
}

#[test]
fn an_own_certificate_is_served_and_reloaded_by_sighup_unless_it_is_broken() {
    let site = Site::new();
    let [first_authority, certificate, key] = own_certificate();
    site.configure("[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n");
    site.input("data/own.pem", certificate);
    site.input("data/own.key", key);
    let served = site.serve();
    assert!(!site.data().join("certs/ca.pem").exists(), "nobody asked for an authority");
    assert!(!served.greeting().contains("CA file"), "{}", served.greeting());
    let is_trusted_by = |authority: &str| {
        let mut line = Line::secure(served.https, &trusting(authority.as_bytes())).ok()?;
        Some(line.get("/healthz").status)
    };
    let [second_authority, certificate, key] = own_certificate();
    assert_eq!((is_trusted_by(&first_authority), is_trusted_by(&second_authority)), (Some(200), None));

    site.input("data/own.pem", &certificate);
    site.input("data/own.key", &key);
    served.signal(Signal::HUP);
    let log = served.logged("the certificate was reloaded", 1);
    assert!(!log.contains("ERROR"), "{log}");
    assert_eq!((is_trusted_by(&first_authority), is_trusted_by(&second_authority)), (None, Some(200)));

    for (file, broken) in [("data/own.pem", "no certificate"), ("data/own.key", &own_certificate()[2])] {
        site.input(file, broken);
        let before = served.log().matches("not reloaded").count();
        served.signal(Signal::HUP);
        served.logged("not reloaded", before + 1);
        assert_eq!(is_trusted_by(&second_authority), Some(200), "the old one stays");
        site.input("data/own.pem", &certificate);
        site.input("data/own.key", &key);
    }
    let log = served.log();
    assert_eq!((log.matches("was reloaded").count(), log.matches("not reloaded").count()), (1, 2), "each once: {log}");
    served.stop();
}

#[test]
fn a_server_that_is_told_to_stop_lets_a_running_download_end() {
    let site = Site::new();
    let archive = tar_gz(&[("tool", &noise(8 << 20))]);
    let source = site.input("big.tar.gz", &archive);
    let line = "--name big --version 1 --os linux --action store --path /opt --fragments 1";
    let id = site.say(&format!("package build {source} {line}")).ok().trim().to_owned();
    let mut served = site.serve();
    let mut stream = std::net::TcpStream::connect(served.http).expect("it listens");
    let request = format!("GET /download/{id}/{id}-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    let mut start = [0; 1000];
    stream.read_exact(&mut start).expect("it begins");

    served.signal(Signal::TERM);
    until("no new connection", || Line::try_plain(served.http).is_err());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it goes on to its end");
    let whole = [&start[..], &rest].concat();
    assert!(whole.ends_with(&archive[archive.len() - 5000..]), "{} of {} bytes", whole.len(), archive.len());
    assert!(served.end().success(), "{}", served.log());
}

// -------------------------------------------------------------------------------------------------------- packages

#[test]
fn how_far_a_question_may_be_put_off_is_said_shown_and_checked() {
    let site = Site::new();
    let asks = "package build --os linux --action execute --command id --name n --version 1 --notify-text now?";
    let limited =
        site.say(&format!("{asks} --can-delay --notify-max-delays 3 --notify-deadline 72 --notify-nobody wait"));
    assert!(limited.err.contains("only dripfeed's own agent counts delays"), "{limited:?}");
    let shown = site.say(&format!("package show {}", limited.out.trim())).ok();
    let limits = "may be put off 3 times; is told and not asked from 72 hours on; waits for somebody to be logged in";
    assert!(shown.contains(limits), "{shown}");
    assert!(site.say(&format!("{asks} --can-delay --notify-max-delays 101")).refused().contains("from 1 to 100"));
    for (options, problem) in [("--notify-max-delays 3", "--can-delay"), ("--notify-nobody hide", "can be run or wait")]
    {
        let refused = site.say(&format!("{asks} {options}"));
        assert!(refused.code() == Some(2) && refused.err.contains(problem), "{refused:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story; most lines are what it must print")]
fn everything_that_can_be_built_is_built_listed_shown_and_verified() {
    let site = Site::new();
    let script: &[u8] = b"#!/bin/sh\nexit 0\n";
    let zipped = site.input("in/setup.zip", zip(&[("setup.exe", b"MZ"), ("data/readme.txt", b"hello")]));
    let tarred = site.input("in/setup.tar.gz", tar_gz(&[("setup.sh", script), ("data/readme", b"hello")]));
    site.input("in/dir/setup.sh", script);
    site.input("in/dir/data/readme", "hello");
    let directory = site.root().join("in/dir").display().to_string();
    let bare = site.input("in/tool.bin", noise(3000));

    let mut story = String::new();
    let builds = [
        format!("{zipped} --os windows --action launch --command setup.exe"),
        format!("{tarred} --os linux --action launch --command setup.sh --priority 3 --description text"),
        format!("{directory} --os linux --action launch --command setup.sh --fragment-size 64"),
        format!("{bare} --os linux --action store --path /opt/tool --fragments 3 --done-text ready"),
        format!("{bare} --os windows --action store --path C:\\tools"),
        "--os macos --action execute --command id --notify-text now? --notify-countdown 60 --can-abort --can-delay"
            .to_owned(),
    ];
    for build in &builds {
        let ran = site.say(&format!("package build {build} --name n --version 1"));
        assert_eq!(ran.code(), Some(0), "{ran:?}");
        // In a pipe: the id and nothing else; for people a line, no bar.
        assert!(ran.out.trim_end().bytes().all(|b| b.is_ascii_digit()) && ran.out.len() == 11, "{ran:?}");
        assert!(!ran.err.contains(['\r', '\u{1b}']), "{ran:?}");
        let json = site.json(&format!("package build {build} --name n --version 1"));
        writeln!(story, "{}", redacted(&json)).expect("a string");
    }
    let fed = site.feed(
        &[
            "package",
            "build",
            "-",
            "--name",
            "n",
            "--version",
            "1",
            "--os",
            "linux",
            "--action",
            "launch",
            "-c",
            "setup.sh",
            "--json",
        ],
        &std::fs::read(&tarred).expect("the archive"),
    );
    let fed: serde_json::Value = serde_json::from_str(&fed.ok()).expect("JSON");
    assert_eq!(fed["md5"], site.json("package list")[9]["md5"], "the same bytes by another way");
    insta::assert_snapshot!(story, @r#"
    {
      "action": "launch",
      "command": "setup.exe",
      "created_at": "TIME",
      "description": "",
      "fragments": 1,
      "id": "ID",
      "md5": "HEX32",
      "name": "n",
      "os": "windows",
      "path": null,
      "priority": 5,
      "sha256": "HEX64",
      "size": 233,
      "state": "available",
      "version": "1"
    }
    {
      "action": "launch",
      "command": "setup.sh",
      "created_at": "TIME",
      "description": "text",
      "fragments": 1,
      "id": "ID",
      "md5": "HEX32",
      "name": "n",
      "os": "linux",
      "path": null,
      "priority": 3,
      "sha256": "HEX64",
      "size": 165,
      "state": "available",
      "version": "1"
    }
    {
      "action": "launch",
      "command": "setup.sh",
      "created_at": "TIME",
      "description": "",
      "fragments": 3,
      "id": "ID",
      "md5": "HEX32",
      "name": "n",
      "os": "linux",
      "path": null,
      "priority": 5,
      "sha256": "HEX64",
      "size": 164,
      "state": "available",
      "version": "1"
    }
    {
      "action": "store",
      "command": null,
      "created_at": "TIME",
      "description": "",
      "fragments": 3,
      "id": "ID",
      "md5": "HEX32",
      "name": "n",
      "os": "linux",
      "path": "/opt/tool",
      "priority": 5,
      "sha256": "HEX64",
      "size": 3153,
      "state": "available",
      "version": "1"
    }
    {
      "action": "store",
      "command": null,
      "created_at": "TIME",
      "description": "",
      "fragments": 1,
      "id": "ID",
      "md5": "HEX32",
      "name": "n",
      "os": "windows",
      "path": "C:\\tools",
      "priority": 5,
      "sha256": "HEX64",
      "size": 3119,
      "state": "available",
      "version": "1"
    }
    {
      "action": "execute",
      "command": "id",
      "created_at": "TIME",
      "description": "",
      "fragments": 0,
      "id": "ID",
      "md5": null,
      "name": "n",
      "os": "macos",
      "path": null,
      "priority": 5,
      "sha256": null,
      "size": 0,
      "state": "available",
      "version": "1"
    }
    "#);

    let list = site.json("package list");
    assert_eq!(list.as_array().map(Vec::len), Some(13));
    let text = site.say("package list").ok();
    assert_eq!(text.lines().count(), 14);
    insta::assert_snapshot!(plain(&site, &text.lines().take(3).collect::<Vec<_>>().join("\n")), @r"
    ID          NAME  VERSION  OS       ACTION   PRI  SIZE     FRAGS  STATE
    ID  n     1        linux    launch   5    165 B    1      available
    ID  n     1        macos    execute  5    0 B      0      available
    ");
    let id = list[9]["id"].to_string();
    insta::assert_snapshot!(redacted(&site.json(&format!("package show {id}"))), @r#"
    {
      "action": "launch",
      "checked_at": null,
      "command": "setup.sh",
      "created_at": "TIME",
      "description": "text",
      "fragment_location": null,
      "fragments": 1,
      "id": "ID",
      "info_location": null,
      "jobs": {},
      "md5": "HEX32",
      "name": "n",
      "os": "linux",
      "path": null,
      "priority": 3,
      "sha256": "HEX64",
      "size": 165,
      "state": "available",
      "version": "1"
    }
    "#);
    let shown = site.say(&format!("package show {id}")).ok();
    assert!(shown.contains("setup.sh") && shown.contains(&format!("no: dripfeed activate {id}")), "{shown}");
    insta::assert_snapshot!(plain(&site, &site.say(&format!("package show {id} --info")).ok()), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <DOWNLOAD ID="ID" PRI="3" ACT="LAUNCH" DIGEST="HEX32" PROTO="HTTP" FRAGS="1" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" NAME="setup.sh" NOTIFY_USER="0" NOTIFY_TEXT="" NOTIFY_COUNTDOWN="" NOTIFY_CAN_ABORT="0" NOTIFY_CAN_DELAY="0" NEED_DONE_ACTION="0" NEED_DONE_ACTION_TEXT="" GARDEFOU="rien" SHA256="HEX64" SHA256_FRAGS="lewj4K8BNxBMjhk+QcUXq6xj3uJprVcH7cRjn/A6Jp8" />
    "#);
    insta::assert_snapshot!(redacted(&site.json("package verify")), @r#"
    {
      "bytes": 13833,
      "files": 32,
      "packages": 13,
      "problems": []
    }
    "#);
    assert!(site.say(&format!("package verify {id}")).ok().ends_with(": 0 problems\n"));

    // What is not what was built is said, and is a failure.
    let fragment = site.data().join(format!("download/{id}/{id}-1"));
    let mut bytes = std::fs::read(&fragment).expect("a fragment");
    bytes[5] ^= 1;
    site.input(&format!("data/download/{id}/{id}-1"), bytes);
    let ran = site.say(&format!("package verify {id}"));
    assert!(ran.out.contains(&format!("{id}-1")) && ran.out.ends_with(": 1 problem\n"), "{ran:?}");
    ran.failed();
    insta::assert_snapshot!(redacted(&site.json(&format!("package withdraw {id}"))), @r#"
    {
      "cancelled_deployments": 0,
      "cancelled_jobs": 0,
      "id": "ID"
    }
    "#);
    assert_eq!(site.json("package verify")["problems"], json!([]));
}

#[test]
fn what_cannot_work_is_refused_at_the_build_and_nothing_is_left() {
    let site = Site::new();
    let good = tar_gz(&[("setup.sh", b"#!/bin/sh\n"), ("my-setup.sh", b"#!/bin/sh\n")]);
    let tarred = site.input("in/setup.tar.gz", &good);
    let cut = site.input("in/cut.tar.gz", &good[..good.len() - 20]);
    let garbage = site.input("in/garbage.zip", noise(5000));
    let empty = site.input("in/empty.tar.gz", "");
    let single = site.input("in/single.zip", zip(&[("setup.sh", b"#!/bin/sh\n")]));
    let name = "package build --name n --version 1";
    let mut story = String::new();
    for line in [
        format!("{name} nowhere.zip --os linux --action launch --command x"),
        format!("{name} {cut} --os linux --action launch --command setup.sh"),
        format!("{name} {garbage} --os linux --action launch --command setup.sh"),
        format!("{name} {empty} --os linux --action launch --command setup.sh"),
        format!("{name} {single} --os linux --action launch --command setup.sh"),
        format!("{name} {tarred} --os windows --action launch --command setup.sh"),
        format!("{name} {tarred} --os linux --action launch --command other.sh"),
        format!("{name} {tarred} --os linux --action launch --command my-setup.sh"),
        format!("{name} {tarred} --os linux --action store --path opt"),
        format!("{name} {tarred} --os linux --action execute --command id --path /opt"),
        format!("{name} --os linux --action launch --command setup.sh"),
        format!("{name} {tarred} --os linux --action launch --command setup.sh --fragments 99999999"),
        format!("{name} {tarred} --os linux --action launch --command setup.sh --fragment-size 0"),
        format!("{name} /dev/null --os linux --action store --path /opt"),
    ] {
        let ran = site.say(&line);
        assert_eq!((ran.code(), ran.out.as_str()), (Some(2), ""), "{line}: {ran:?}");
        writeln!(story, "{}", plain(&site, ran.err.lines().next().unwrap_or_default())).expect("a string");
    }
    insta::assert_snapshot!(story, @r#"
    error: failed to read nowhere.zip: No such file or directory (os error 2)
    error: the archive is truncated: it ends before its blocks of zeros, which end a tar
    error: this is neither a ZIP nor a TAR.GZ archive
    error: ROOT/in/empty.tar.gz is empty: nothing to build from
    error: ROOT/in/single.zip is a ZIP with a single member, which stock Unix agents unpack to nothing (ERR_EXECUTE): pack it as a TAR.GZ, or give the file itself
    error: ROOT/in/setup.tar.gz is a TAR.GZ, but Windows agents read ZIP only: pack it as a ZIP
    error: the archive has no file "other.sh" to launch (it has setup.sh, my-setup.sh): --command must begin with a file of the archive; for any other command use --action execute
    error: a stock agent cuts "my-setup.sh" at the dash and looks for "my", so this would end in ERR_EXECUTE: rename the file without a dash, or use --action execute --command './my-setup.sh'
    error: the path "opt" must be absolute on linux: --path
    error: --path belongs to --action store
    error: action launch needs files: give an archive, a directory or a file (only execute works without)
    error: 99999999 fragments asked for, but the archive has only 127 bytes
    error: a fragment needs at least one byte
    error: /dev/null is neither a file nor a directory: nothing to build from
    "#);
    nothing_left(&site.data());
    assert_eq!(site.json("package list"), json!([]));
    // clap's own refusals: the same exit code.
    for line in ["", "package", "package build", "package show x", "serve --http", "assign 1795168800", "dance"] {
        assert_eq!(site.say(line).code(), Some(2), "{line}");
    }
    for line in ["--help", "--version", "package build --help"] {
        assert_eq!(site.say(line).code(), Some(0), "{line}");
    }
}

#[track_caller]
fn nothing_left(data: &Path) {
    for name in ["download", "staging"] {
        let entries = std::fs::read_dir(data.join(name)).expect("a directory");
        let left: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name()).filter(|n| n != "build.lock").collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

/// What a build on a full disk must come to: a sentence, nothing left, everything else as before.
const FULL_DISK: &str = "\
mount -t tmpfs -o size=3m tmpfs \"$DRIPFEED_DATA_DIR\" || { echo unmountable; exit 0; }
\"$0\" package build --name small --version 1 --os linux --action execute --command id >/dev/null 2>&1 || exit 90
\"$0\" package build \"$1\" --name big --version 1 --os linux --action store --path /opt; echo \"code $?\"
ls \"$DRIPFEED_DATA_DIR/download\" | wc -l
ls \"$DRIPFEED_DATA_DIR/staging\"
\"$0\" package list | wc -l
\"$0\" package verify
\"$0\" package build --name next --version 1 --os linux --action execute --command id >/dev/null; echo \"next $?\"
";

#[test]
fn a_full_disk_ends_a_build_with_a_sentence_and_leaves_nothing() {
    let site = Site::new();
    std::fs::create_dir(site.data()).expect("a directory");
    let source = site.input("big.tar.gz", tar_gz(&[("tool", &noise(6 << 20))]));
    if !is_root() {
        println!("SKIPPED: a small file system of its own needs root");
        return;
    }
    // In a name space of its own, so that no mount is left behind, however this ends.
    let mut command = clean("unshare");
    command.args(["-m", "sh", "-c", FULL_DISK, env!("CARGO_BIN_EXE_dripfeed"), &source]);
    let ran = run(command.env("DRIPFEED_DATA_DIR", site.data()));
    if ran.code() != Some(0) && ran.err.contains("unshare") || ran.out.contains("unmountable") {
        println!("SKIPPED: mounting is not allowed here: {}", ran.err);
        return;
    }
    insta::assert_snapshot!(plain(&site, &format!("{}{}", ran.err, ran.out)), @"
    error: no space left in ROOT/data/staging: free some, or move the data to a larger disk: No space left on device (os error 28)
    0 B in 0 fragments; an agent alone needs 4 min from contact to execution. Next: dripfeed activate ID
    code 1
    1
    build.lock
    2
    1 package, 1 file, 0 B: 0 problems
    next 0
    ");
}

#[test]
fn a_file_size_limit_ends_a_build_with_a_sentence_and_leaves_nothing() {
    let site = Site::new();
    site.package();
    let source = site.input("big.tar.gz", tar_gz(&[("tool", &noise(6 << 20))]));
    let mut command = clean("sh");
    // In blocks of 512 bytes. A write beyond it is an error and not a signal.
    command.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_dripfeed")]);
    command.args([
        "package",
        "build",
        &source,
        "--name",
        "big",
        "--version",
        "1",
        "--os",
        "linux",
        "--action",
        "store",
    ]);
    command.args(["--path", "/opt", "--fragments", "1"]).env("DRIPFEED_DATA_DIR", site.data());
    insta::assert_snapshot!(plain(&site, &run(&mut command).failed()), @"failed to write fragment 1: File too large (os error 27)");
    assert_eq!(site.json("package list").as_array().map(Vec::len), Some(1));
    assert_eq!(std::fs::read_dir(site.data().join("download")).expect("the tree").count(), 1);
    let staging = std::fs::read_dir(site.data().join("staging")).expect("staging");
    assert!(staging.map(|entry| entry.expect("an entry").file_name()).all(|name| name == "build.lock"));
    assert_eq!(site.json("package verify")["problems"], json!([]));
}

/// The most memory that a process ever had, in KiB, as far as it still runs.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(target_os = "linux")]
#[test]
fn a_build_of_300_mib_takes_little_memory() {
    const MIB: usize = 1 << 20;
    let site = Site::new();
    let source = site.root().join("big.tar.gz");
    {
        // Stored, not deflated: as many bytes to cut as go in.
        let file = std::io::BufWriter::new(std::fs::File::create(&source).expect("a file"));
        let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::none()));
        let block = noise(MIB);
        for number in 0..300 {
            let mut header = tar::Header::new_ustar();
            header.set_size(MIB as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("{number}"), &block[..]).expect("appended");
        }
        let writer = builder.into_inner().and_then(GzEncoder::finish).expect("an archive");
        writer.into_inner().expect("written");
    }
    let source = source.display().to_string();
    let line = ["package", "build", &source, "--name", "big", "--version", "1", "--os", "linux", "--action", "store"];
    let mut command = site.command(&line);
    let mut child = command.args(["--path", "/opt", "--json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut peak = 0;
    until("the end of the build", || {
        peak = peak.max(peak_memory(child.id()).unwrap_or(0));
        child.try_wait().expect("a child").is_some()
    });
    let output = child.wait_with_output().expect("it ended");
    assert!(output.status.success(), "{}", output.status);
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(built["size"].as_u64() >= Some(300 * MIB as u64) && built["fragments"].as_u64() > Some(300), "{built}");
    println!("build of 300 MiB: at most {peak} KiB of memory");
    assert!(peak > 0 && peak < 100 << 10, "{peak} KiB");
}

// ------------------------------------------------------------------------------------------------------ deployment

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
