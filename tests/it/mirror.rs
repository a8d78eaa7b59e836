//! Mirrors: real programs on loopback, and readers who look while a mirror is being filled.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::util::noise;

mod probes;
mod sites;
mod sources;

/// A server in a directory of its own, ended with the test.
struct Server {
    home: tempfile::TempDir,
    child: Child,
    https: String,
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let (child, https) = serve(&home.path().join("server"));
        Self { home, child, https }
    }

    fn restart(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        (self.child, self.https) = serve(&self.data());
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("server")
    }

    fn copy(&self) -> PathBuf {
        self.home.path().join("mirror")
    }

    fn dripfeed(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_dripfeed"))
            .arg("--data-dir")
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// A package of so many bytes in fragments of 1000; gives its id.
    fn build(&self, bytes: usize) -> String {
        let path = self.home.path().join("input");
        let mut file = fs::File::create(&path).expect("an input");
        std::io::Write::write_all(&mut file, &noise(bytes)).expect("written");
        let path = path.to_str().expect("text");
        let rest = ["--name", "x", "--version", "1", "--os", "linux", "--action", "store", "--path", "/opt/x"];
        let line: Vec<&str> =
            ["package", "build", path].into_iter().chain(rest).chain(["--fragment-size", "1000"]).collect();
        self.dripfeed(&line)
    }

    fn mirror(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror"));
        command.arg(verb).arg("--to").arg(self.copy()).args(more).stdin(Stdio::null());
        if verb != "verify" {
            command.arg("--from").arg(format!("https://{}/download", self.https));
            command.arg("--ca").arg(self.data().join("certs/ca.pem"));
        }
        command.output().expect("it runs")
    }

    /// What a verb says; it must succeed.
    fn said(&self, verb: &str, more: &[&str]) -> String {
        let output = self.mirror(verb, more);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dripfeed"))
        .args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let console =
        lines.map_while(Result::ok).find_map(|line| line.split_once("https://").map(|(_, rest)| rest.to_owned()));
    let https = console.expect("the console's address");
    (child, https.split('/').next().expect("an authority").to_owned())
}

/// Every file below a directory with its bytes.
fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for package in fs::read_dir(root).expect("a directory") {
        let package = package.expect("an entry");
        for file in fs::read_dir(package.path()).expect("a package") {
            let file = file.expect("an entry");
            let name = format!("{}/{}", package.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            found.push((name, fs::read(file.path()).expect("readable")));
        }
    }
    found.sort();
    found
}

fn equal(server: &Server) -> bool {
    files(&server.data().join("download")) == files(&server.copy().join("download"))
}

#[test]
fn a_copy_follows_its_source() {
    let server = Server::start();
    let first = server.build(3500);
    let second = server.build(10);
    assert_eq!(server.said("sync", &[]), "generation 2: 2 packages came (4.7 KiB), 0 here already, 0 withdrawn");
    assert!(equal(&server));
    assert_eq!(server.said("sync", &[]), "nothing changed since generation 2");
    assert_eq!(server.said("plan", &[]), "nothing changed since the last sync");
    let third = server.build(20);
    server.dripfeed(&["package", "withdraw", &first]);
    let plan = server.said("plan", &[]);
    assert!(plan.starts_with(&format!("fetch     {third}\nwithdraw  {first}\ngeneration 4: 1 to fetch (")), "{plan}");
    assert!(server.said("sync", &["--jobs", "1"]).ends_with("1 here already, 1 withdrawn"));
    assert!(equal(&server));
    assert!(server.copy().join(format!("download/{second}/info")).is_file());
    assert!(server.said("verify", &[]).ends_with(": 0 removed"));
    let json: serde_json::Value = serde_json::from_str(&server.said("sync", &["--json"])).expect("JSON");
    assert_eq!((json["unchanged"].as_bool(), json["generation"].as_u64()), (Some(true), Some(4)));
}

#[test]
fn a_package_that_was_damaged_is_taken_away_and_comes_again() {
    let server = Server::start();
    let id = server.build(3500);
    server.said("sync", &[]);
    let damage = || {
        let fragment = server.copy().join(format!("download/{id}/{id}-2"));
        let mut bytes = fs::read(&fragment).expect("a fragment");
        bytes[0] ^= 1;
        std::io::Write::write_all(&mut fs::File::create(&fragment).expect("opened"), &bytes).expect("written");
    };
    damage();
    assert_eq!(
        server.said("sync", &[]),
        "nothing changed since generation 1",
        "what is damaged is found by reading it"
    );
    let verified = server.mirror("verify", &[]);
    assert_eq!(verified.status.code(), Some(1));
    let said = String::from_utf8(verified.stdout).expect("text");
    assert!(said.starts_with(&format!("{id} is not what came: removed")), "{said}");
    assert!(!server.copy().join(format!("download/{id}")).exists());
    server.said("sync", &[]);
    assert!(equal(&server));
    // Both in one.
    damage();
    let repaired = server.mirror("sync", &["--verify"]);
    assert_eq!(repaired.status.code(), Some(0));
    let warned = String::from_utf8(repaired.stderr).expect("text");
    assert!(warned.contains(&format!("{id} is not what came: removed, it comes again")), "{warned}");
    assert!(equal(&server));
}

#[test]
fn what_somebody_else_copied_is_proved_and_not_fetched() {
    let server = Server::start();
    let id = server.build(2500);
    let (from, to) = (server.data().join("download").join(&id), server.copy().join("download").join(&id));
    fs::create_dir_all(&to).expect("made");
    for file in fs::read_dir(from).expect("a package") {
        let file = file.expect("an entry");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
    assert_eq!(server.said("sync", &[]), "generation 1: 1 package came (0 B), 0 here already, 0 withdrawn");
}

#[test]
fn readers_see_a_package_whole_or_not_at_all_and_kills_do_no_harm() {
    let server = Server::start();
    let ids: Vec<String> = (0..6).map(|_| server.build(20_000)).collect();
    let download = server.copy().join("download");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looked = 0_u32;
            while !over.load(Ordering::Relaxed) || looked == 0 {
                for id in &ids {
                    let package = download.join(id);
                    if package.join("info").is_file() {
                        let whole = (1..=21).all(|n| package.join(format!("{id}-{n}")).is_file());
                        assert!(whole, "package {id} was seen without all its fragments");
                    }
                }
                looked += 1;
            }
            looked
        });
        // Ended at its own checkpoints: after a listing, after a package; then it comes to its end.
        for at in ["mirror.listed:1", "mirror.published:2", "publish:renamed:1", "mirror.listed:2", "mirror.wrote:3"] {
            let killed = Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror"))
                .args(["sync", "--from", &format!("https://{}/download", server.https), "--to"])
                .arg(server.copy())
                .arg("--ca")
                .arg(server.data().join("certs/ca.pem"))
                .env("DRIPFEED_CHECKPOINT", at)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("it runs");
            assert!(!killed.success(), "it was to end at {at}");
        }
        server.said("sync", &[]);
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("the reader saw nothing wrong") > 0);
    });
    assert!(equal(&server));
}

/// A sync that brings, replaces and withdraws is ended at every kind of checkpoint that it passes, at the first and at the
/// last time; what is there is whole, and the next sync comes to the same end.
#[test]
fn a_sync_that_is_killed_anywhere_is_gone_on_with() {
    let server = Server::start();
    let gone = server.build(1500);
    let damaged = server.build(1500);
    server.said("sync", &[]);
    let base = server.home.path().join("base");
    server.build(2500);
    server.dripfeed(&["package", "withdraw", &gone]);
    // One that is there but was never proved: it is withdrawn and comes again.
    let listing = server.copy().join("listings").join(&damaged);
    dripfeed::disk::atomic::remove_file(&listing).expect("removed");
    let fragment = server.copy().join(format!("download/{damaged}/{damaged}-1"));
    dripfeed::disk::atomic::write(&fragment, b"rotten").expect("written");
    copy_tree(&server.copy(), &base);
    let run = |to: &Path, at: Option<&str>, log: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror"));
        command.args(["sync", "--jobs", "1", "--from", &format!("https://{}/download", server.https), "--to"]).arg(to);
        command.arg("--ca").arg(server.data().join("certs/ca.pem")).stdin(Stdio::null()).stderr(Stdio::null());
        at.map(|at| command.env("DRIPFEED_CHECKPOINT", at));
        log.map(|log| command.env("DRIPFEED_CHECKPOINT_LOG", log));
        command.output().expect("it runs").status
    };
    let log = server.home.path().join("passed");
    let whole = server.home.path().join("whole");
    copy_tree(&base, &whole);
    assert!(run(&whole, None, Some(&log)).success());
    let mut passed: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    for name in fs::read_to_string(&log).expect("a log").lines() {
        *passed.entry(name.to_owned()).or_default() += 1;
    }
    for name in ["mirror.pinned", "mirror.begun", "mirror.wrote", "mirror.listed", "mirror.withdraw", "mirror.done"] {
        assert!(passed.contains_key(name), "{name} was not passed: {passed:?}");
    }
    let points: std::collections::BTreeSet<String> =
        passed.iter().flat_map(|(name, times)| [format!("{name}:1"), format!("{name}:{times}")]).collect();
    for (number, at) in points.iter().enumerate() {
        let to = server.home.path().join(format!("killed-{number}"));
        copy_tree(&base, &to);
        assert!(!run(&to, Some(at), None).success(), "it was to end at {at}");
        for (name, _) in files(&to.join("download")).iter().filter(|(name, _)| name.ends_with("/info")) {
            let package = Path::new(name).parent().expect("a package");
            let here = fs::read_dir(to.join("download").join(package)).expect("a directory").count();
            assert!(here >= 3, "{at}: {} has {here} files", package.display());
        }
        assert!(run(&to, None, None).success(), "after {at}");
        assert_eq!(files(&server.data().join("download")), files(&to.join("download")), "after {at}");
        assert_eq!(fs::read_dir(to.join("staging")).expect("a directory").count(), 0, "after {at}");
    }
    assert!(points.len() >= 20, "only {} points: {points:?}", points.len());
    println!("a sync was killed at {} points", points.len());
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_source_that_fails_or_goes_back_is_named_and_the_next_is_asked() {
    let mut server = Server::start();
    server.build(100);
    let dead = "https://127.0.0.1:9/download";
    let output = server.mirror("sync", &["--from", dead]);
    assert!(output.status.success(), "the order of the options puts the good one last");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warned.contains("passed over") && warned.contains("127.0.0.1:9"), "{warned}");
    // An older tree behind the same name.
    server.build(100);
    server.said("sync", &[]);
    let path = server.copy().join("pin");
    let newer = fs::read_to_string(&path).expect("a pin").replace("generation 2", "generation 9");
    std::io::Write::write_all(&mut fs::File::create(&path).expect("opened"), newer.as_bytes()).expect("written");
    // What was carried out may be forgotten; what was known is not.
    dripfeed::disk::atomic::remove_file(&server.copy().join("manifest")).expect("removed");
    server.restart();
    let output = server.mirror("sync", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is at generation 2, this mirror at 9: a mirror never goes back"), "{said}");
}

#[test]
fn what_a_mirror_must_not_do_is_refused() {
    let server = Server::start();
    let sentence = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror")).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let to = server.copy().display().to_string();
    let insecure = sentence(&["sync", "--from", "http://127.0.0.1/download", "--to", &to]);
    assert!(insecure.contains("is not an https:// address"), "{insecure}");
    let nothing = sentence(&["verify", "--to", "/nowhere/at/all"]);
    assert!(nothing.contains("is no mirror"), "{nothing}");
    // Another authority than the server's.
    let other = Server::start();
    let output = Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror"))
        .args(["sync", "--from", &format!("https://{}/download", server.https), "--to", &to, "--ca"])
        .arg(other.data().join("certs/ca.pem"))
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(!server.copy().join("manifest").exists());
}
