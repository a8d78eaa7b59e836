//! Packages: what can be built, what cannot, and what is left of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{is_root, plain};
use crate::util::process::{Site, clean, redacted, run, until};
use crate::util::{noise, tar_gz, zip};

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
      "id": "ID",
      "pausing_series": []
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
