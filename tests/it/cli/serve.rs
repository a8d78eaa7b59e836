//! A server that is started, told what to do, and stopped.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{is_root, own_certificate, plain};
use crate::util::process::{Ran, Served, Site, addresses, clean, run, until};
use crate::util::web::{Line, trusting};
use crate::util::{noise, tar_gz};

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

#[test]
fn each_request_has_its_line_at_once_and_many_requests_have_theirs_whole() {
    const SAID: &str = "GET /download/7/7-1 200";
    for format in ["text", "json"] {
        let site = Site::new();
        let mut command = site.serve_command();
        command.env("DRIPFEED_LOG_FORMAT", format);
        let served = Served::start(command, &site.data());
        let package = site.data().join("download/7");
        std::fs::create_dir(&package).expect("a tree");
        std::fs::File::create(package.join("7-1")).and_then(|mut file| file.write_all(&noise(20_000))).expect("a file");

        let mut line = served.plain();
        for count in 1..=20 {
            assert_eq!(line.get("/download/7/7-1").body.len(), 20_000);
            // Nothing else comes after it that would push it out.
            served.logged(SAID, count);
        }
        // From several connections, each with all its requests at once.
        let mut lines: Vec<Line> = (0..8).map(|_| served.plain()).collect();
        for line in &mut lines {
            line.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50).as_bytes()).expect("sent");
        }
        for line in &mut lines {
            assert!((0..50).all(|_| line.answer().is_ok_and(|answer| answer.body.len() == 20_000)));
        }
        let log = served.logged(SAID, 20 + 8 * 50);
        served.stop();
        let access: Vec<&str> = log.lines().filter(|line| line.contains(SAID)).collect();
        assert_eq!(access.len(), 420, "each once");
        for line in access {
            if format == "json" {
                let json: serde_json::Value = serde_json::from_str(line).expect("one object a line");
                assert_eq!(json["sent_bytes"].as_u64().map(|sent| sent > 20_000), Some(true), "{line}");
            } else {
                assert!(
                    line.starts_with("20") && line.contains("Z  INFO GET ") && line.ends_with("user_agent=\"\""),
                    "{line}"
                );
            }
        }
    }
}
