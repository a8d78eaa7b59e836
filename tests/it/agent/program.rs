//! The program itself: its directory, its exit codes, its end.

use super::*;

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            put(&target, &fs::read(entry.path()).expect("a file"));
        }
    }
}

#[test]
fn a_stock_agents_directory_is_taken_over_where_it_was_killed() {
    struct Lab(Virtual);
    impl Machine for Lab {
        fn now(&self) -> UnixTime {
            self.0.now()
        }
        fn wait(&self, until: UnixTime) {
            self.0.wait(until);
        }
        fn random(&self, below: Duration) -> Duration {
            below
        }
        fn free_space(&self, _path: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }
        fn host_name(&self) -> String {
            "labhost".to_owned()
        }
    }
    let bench = Bench::new();
    let stock = bench.home.path().join("stock");
    copy_tree(Path::new("tests/wire/agent-state"), &stock);
    for number in 1..=3 {
        put(&stock.join(format!("download/1795164550/1795164550-{number}")), b"came before");
    }
    for number in 1..=6 {
        let path = format!("/download/1795164550/1795164550-{number}");
        bench.server.world().files.insert(path, b"comes now".to_vec());
    }
    bench.server.offer(1_795_164_550);
    let mut opts =
        AgentOpts { server: Some(bench.config.server.clone()), ca: bench.config.ca.clone(), ..AgentOpts::default() };
    opts.data_dir = Some(stock.clone());
    let config = opts.check().expect("a configuration");
    assert!(!stock.join("identity.key").exists());
    let before = Status::read(&config).expect("a status");
    assert_eq!(before.device_id.as_deref(), Some("labhost-2026-11-20-08-49-11"));
    assert_eq!(
        (before.packages[0].stage, before.packages[0].present, before.packages[0].fragments),
        ("downloading", 3, 6)
    );

    let machine = Lab(Virtual::new());
    let agent = Agent::new(&config, &machine, Stop::new()).expect("an agent");
    agent.once().expect("a run");
    assert!(stock.join("identity.key").exists());
    // The captured digest is not of these bytes; what matters is what was asked for.
    insta::assert_snapshot!(bench.server.take_log(), @r"
    PROLOG https
    GET http /download/1795164550/1795164550-4
    GET http /download/1795164550/1795164550-5
    GET http /download/1795164550/1795164550-6
    REPORT 1795164550 ERR_BAD_DIGEST
    ");
}

#[test]
fn a_second_agent_is_told_who_is_there() {
    let bench = Bench::new();
    bench.once().expect("a run");
    let lock =
        dripfeed::disk::lock::LockFile::acquire(&bench.config.state_dir.join("download/lock")).expect("the lock");
    let error = bench.once().expect_err("the lock is held");
    let sentence = bench.sentence(&error);
    assert!(sentence.contains("another agent works on HOME"), "{sentence}");
    assert!(sentence.contains(&std::process::id().to_string()), "{sentence}");
    drop(lock);
    bench.once().expect("the lock is free");
}

#[test]
fn nobody_else_may_look_into_the_work_directory() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    bench.server.change_offer(|offer| offer.schedule = Some("2031/06/30 02:15".parse().expect("a schedule")));
    bench.once().expect("a run");
    let mut seen = 0;
    let mut look = vec![bench.config.state_dir.clone()];
    while let Some(path) = look.pop() {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        // The lock holds a process number only, and is in a closed directory.
        let mode = if path.ends_with("lock") { 0 } else { metadata.permissions().mode() & 0o077 };
        assert_eq!(mode, 0, "{} is open to others", path.display());
        seen += 1;
        if metadata.is_dir() {
            look.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        }
    }
    assert!(seen >= 10, "only {seen} files");
}

#[test]
fn the_program_says_what_is_wrong_and_exits_accordingly() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().display().to_string();
    let told = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().last().unwrap_or_default().replace(&data, "HOME");
        (output.status.code(), last)
    };
    let output = program(&["once", "--data-dir", &data]);
    assert_eq!(told(&output).0, Some(2));
    assert!(told(&output).1.starts_with("dripfeed-agent: no server is named"), "{:?}", told(&output));
    let output = program(&["once", "--data-dir", &data, "--server", "ftp://x"]);
    assert_eq!(told(&output).0, Some(2));
    let output = program(&["dance"]);
    assert_eq!(told(&output).0, Some(2));
    let output = program(&["once", "--data-dir", &data, "--server", "https://127.0.0.1:1/x", "--ca", "/nonexistent"]);
    assert_eq!(told(&output).0, Some(2), "{:?}", told(&output));
    let output = program(&["once", "--data-dir", &data, "--server", "http://127.0.0.1:1/ocsinventory"]);
    let (code, sentence) = told(&output);
    assert_eq!(code, Some(1));
    assert!(sentence.contains("nothing answers at 127.0.0.1:1"), "{sentence}");
    let output = program(&["status", "--json", "--data-dir", &data, "--server", "http://127.0.0.1:1/ocsinventory"]);
    assert_eq!(output.status.code(), Some(0));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(status["last_error"].as_str().is_some_and(|error| error.contains("nothing answers")), "{status}");
    assert!(status["device_id"].is_string() && status["packages"].as_array().is_some_and(Vec::is_empty), "{status}");
    assert_eq!(program(&["--help"]).status.code(), Some(0));
}

#[test]
fn the_program_does_a_package_over_tls_in_real_time() {
    let bench = Bench::new();
    bench.server.hurry();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), &tar_gz(&[("a", 0o644, "hello")]), 3);
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let output = program(&["once", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert!(mark.exists());
    assert!(log.contains("stored fragment 3 of 3 of package 7"), "{log}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_service_ends_cleanly_when_it_is_told_to() {
    let bench = Bench::new();
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(["-q", "run", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data])
        .spawn()
        .expect("the program");
    while bench.server.world().log.is_empty() {
        assert!(child.try_wait().expect("a state").is_none(), "it ended before its first contact");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("told to read its configuration");
    while bench.server.world().log.len() < 2 {
        assert!(child.try_wait().expect("a state").is_none(), "it ended instead of reading its configuration");
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_configuration_that_is_refused_does_not_silence_a_service_that_runs() {
    let bench = Bench::new();
    let (file, log) = (bench.home.path().join("agent.toml"), bench.home.path().join("log"));
    let ca = bench.config.ca.as_ref().expect("a CA").display();
    let right = format!("server = {:?}\nca = \"{ca}\"\nstart_delay = 0\n", bench.config.server);
    put(&file, right.as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(["run", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(bench.home.path().join("data"))
        .stderr(fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("the program");
    let pid = rustix::process::Pid::from_child(&child);
    let mut wait_for = |what: &dyn Fn() -> bool| {
        while !what() {
            assert!(child.try_wait().expect("a state").is_none(), "{}", fs::read_to_string(&log).unwrap_or_default());
            std::thread::yield_now();
        }
    };
    let contacts = |least: usize| bench.server.world().log.len() >= least;
    let says = |text: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    let reload = || rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("told");
    wait_for(&|| contacts(1));
    put(&file, b"sever = \"x\"\n");
    reload();
    wait_for(&|| says("the configuration is refused, and the one before it goes on"));
    wait_for(&|| contacts(2));
    put(&file, right.replace(&ca.to_string(), "/nonexistent").as_bytes());
    reload();
    wait_for(&|| contacts(3));
    put(&file, right.as_bytes());
    reload();
    wait_for(&|| says("the configuration is read again"));
    wait_for(&|| contacts(4));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}
