//! States of the directory as programs, crashes and strangers leave them.

use proptest::prelude::*;

use super::stage::moment;
use super::*;
use crate::engine::Stage;
use crate::model::{FragmentCount, FragmentNumber, ResultCode};
use crate::protocol::Offer;

const NOW: UnixTime = UnixTime::from_seconds(1_795_164_551);
const INFO: &str = r#"<DOWNLOAD ID="7" PRI="3" ACT="STORE" DIGEST="ddcae32db755f15ba869d671841b4abb" PROTO="HTTP" FRAGS="4" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" PATH="/srv" />"#;

fn id(number: u32) -> PackageId {
    PackageId::new(number).expect("an id")
}

fn empty() -> (tempfile::TempDir, WorkDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let work = WorkDir::at(&directory.path().join("state"));
    work.create().expect("made");
    (directory, work)
}

fn offer() -> Offer {
    Offer {
        package: id(7),
        info_location: "secure:8443/download".parse().expect("a location"),
        fragment_location: "clear/download".parse().expect("a location"),
        more_locations: vec!["near:8080/download".parse().expect("a location")],
        schedule: Some("2031/06/30 02:15".parse().expect("a schedule")),
        post_command: Some("echo \"a\" && b <c>".parse().expect("a command")),
        force: true,
    }
}

fn put(directory: &PackageDir<'_>, name: &str, bytes: &[u8]) {
    disk::atomic::write(&directory.path().join(name), bytes).expect("written");
}

fn stage(directory: &PackageDir<'_>) -> Stage {
    directory.seed(NOW, &TimeZone::UTC).expect("a seed").stage
}

#[test]
fn what_was_written_is_read_again() {
    let (_keep, work) = empty();
    let directory = work.package(id(7));
    directory.offer(&offer(), NOW).expect("kept");
    assert_eq!(directory.offered(), Some(offer()));
    let plain = Offer { schedule: None, post_command: None, force: false, ..offer() };
    directory.offer(&plain, NOW.plus(Duration::from_hours(1))).expect("kept");
    assert_eq!(directory.offered(), Some(plain));
    assert_eq!(directory.since(), Some(NOW), "the first offer counts");

    let settings = DownloadSettings { on: false, cycle_latency: 7, timeout: Days(3), ..DownloadSettings::default() };
    assert_eq!(work.settings(), DownloadSettings::default());
    work.keep_settings(&settings).expect("kept");
    assert_eq!(work.settings(), settings);
}

#[test]
fn what_is_missing_is_what_is_listed_and_what_has_no_bytes() {
    let (_keep, work) = empty();
    let directory = work.package(id(7));
    directory.offer(&offer(), NOW).expect("kept");
    let count = FragmentCount(4);
    let missing = || directory.missing(count).into_iter().map(FragmentNumber::number).collect::<Vec<_>>();
    assert_eq!(missing(), [1, 2, 3, 4], "no list");
    directory.store_info(INFO.as_bytes(), count).expect("kept");
    for number in 1..=4 {
        put(&directory, &format!("7-{number}"), b"x");
    }
    assert_eq!(missing(), [1, 2, 3, 4], "the list counts, not the files");
    put(&directory, "task", b"7-3\n8-1\n7-99\nhello\n");
    assert_eq!(missing(), [3], "what is foreign is passed over");
    put(&directory, "7-2", b"");
    assert_eq!(missing(), [2, 3], "an empty file is no fragment");
    disk::atomic::remove_file(&directory.path().join("task_done")).expect("removed");
    assert_eq!(missing(), [1, 2, 3, 4], "an unfinished list is none");
}

#[test]
fn a_fragment_leaves_the_list_when_it_is_there() {
    let (_keep, work) = empty();
    let directory = work.package(id(7));
    directory.offer(&offer(), NOW).expect("kept");
    directory.store_info(INFO.as_bytes(), FragmentCount(2)).expect("kept");
    put(&directory, "7-1.part", b"bytes");
    // Windows flushes no file that is open for reading only.
    let file = File::options().append(true).open(directory.part(FragmentNumber::FIRST)).expect("a file");
    directory.fragment_came(FragmentNumber::FIRST, file).expect("named");
    assert_eq!(fs::read_to_string(directory.path().join("task")).expect("a list"), "7-2\n");
    assert_eq!(directory.missing(FragmentCount(2)), [FragmentNumber::FIRST.next()]);
}

#[test]
fn the_first_result_stands_and_a_success_is_in_the_history_once() {
    let (_keep, work) = empty();
    let directory = work.package(id(7));
    let error = ResultCode::error("TIMEOUT");
    assert_eq!(directory.keep(&ResultCode::success(), NOW).expect("kept"), ResultCode::success());
    assert_eq!(directory.keep(&error, NOW).expect("kept"), ResultCode::success());
    assert_eq!(work.history().expect("a history"), [id(7)]);
    work.package(id(8)).keep(&error, NOW).expect("kept");
    work.package(id(9)).keep(&ResultCode::already_setup(), NOW).expect("kept");
    assert_eq!(work.history().expect("a history"), [id(7)]);
    // Ended between the result and the history.
    disk::atomic::remove_file(&work.download.join("history")).expect("removed");
    assert!(matches!(stage(&directory), Stage::Done { code, .. } if code == ResultCode::success()));
    assert_eq!(work.history().expect("a history"), [id(7)]);
}

#[test]
fn results_of_stock_agents_are_read() {
    let (_keep, work) = empty();
    let directory = work.package(id(7));
    directory.offer(&offer(), NOW).expect("kept");
    assert_eq!(directory.result(), None);
    for (content, code) in [("", "SUCCESS_"), ("EXIT_CODE_3\r\noutput\r\n", "EXIT_CODE_3"), ("\n", "SUCCESS_")] {
        put(&directory, "done", content.as_bytes());
        assert_eq!(directory.result().expect("a result").as_str(), code);
    }
    disk::atomic::remove_file(&directory.path().join("done")).expect("removed");
    disk::atomic::create_dir_private(&directory.path().join("done")).expect("made");
    assert_eq!(directory.result().expect("a result").as_str(), "ERR_DONE_FAILED");
}

#[test]
fn a_removal_that_was_cut_is_ended_at_the_next_start() {
    let (_keep, work) = empty();
    work.package(id(7)).offer(&offer(), NOW).expect("kept");
    disk::atomic::rename(&work.download.join("7"), &work.download.join(".gone-7")).expect("renamed");
    work.package(id(8)).offer(&offer(), NOW).expect("kept");
    put(&work.package(id(8)), ".task.new", b"half");
    work.sweep().expect("swept");
    assert!(!work.download.join(".gone-7").exists());
    assert!(!work.download.join("8/.task.new").exists());
    work.package(id(8)).remove().expect("removed");
    work.package(id(8)).remove().expect("twice is fine");
    assert_eq!(work.packages().expect("a directory"), []);
}

#[cfg(unix)]
#[test]
fn what_is_foreign_in_the_directory_is_passed_over() {
    let (keep, work) = empty();
    for name in ["007", "abc", "4294967296", "7 ", "-1"] {
        disk::atomic::create_dir_private(&work.download.join(name)).expect("made");
    }
    disk::atomic::write(&work.download.join("12"), b"a file").expect("written");
    std::os::unix::fs::symlink(keep.path(), work.download.join("13")).expect("a link");
    assert_eq!(work.seeds(NOW, &TimeZone::UTC, |_| true).expect("seeds"), []);
}

#[test]
fn a_schedule_is_a_minute_of_local_time() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
    let at = |text: &str| moment(&text.parse().expect("a schedule"), &zone).expect("a moment").seconds();
    assert_eq!(at("2026/11/20 09:49"), 1_795_164_540);
    // On that day 02:30 does not exist: half past the hour after.
    assert_eq!(at("2026/03/29 02:30"), at("2026/03/29 03:30"));
    // On that day it exists twice: the first one.
    assert_eq!(at("2026/10/25 02:30"), at("2026/10/25 01:30") + 3600);
}

/// Files as a crash, a disk or a stranger may leave them.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(INFO.as_bytes().to_vec()),
        (0..INFO.len()).prop_map(|end| INFO.as_bytes()[..end].to_vec()),
        Just(b"7-1\n7-2\n".to_vec()),
        Just(b"99999999999999999999".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"<CONF ON=\"1\" PERIOD_LENGTH=\"0\" TIMEOUT=\"x\" />".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_state_of_the_directory_is_loaded(
        files in proptest::collection::vec((0..12_usize, content()), 0..8)
    ) {
        const NAMES: [&str; 12] = [
            "since", "offer", "info", "task", "task_done", "started", "done", "info_tries", "fetch_failed", "7-1", "7-4",
            "7-2.part",
        ];
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        disk::atomic::create_dir_private(directory.path()).expect("made");
        for (name, content) in &files {
            put(&directory, NAMES[*name], content);
            disk::atomic::write(&work.download.join("history"), content).expect("written");
            disk::atomic::write(&work.download.join("config"), content).expect("written");
        }
        prop_assert!(work.settings().period_length >= 1 && work.settings().timeout.0 >= 1);
        let ahead = directory.peek(NOW, &TimeZone::UTC);
        let seeds = work.seeds(NOW, &TimeZone::UTC, |_| true).expect("seeds");
        prop_assert_eq!(&ahead.stage, &seeds[0].stage, "looking ahead sees what the start decides");
        prop_assert_eq!(seeds.len(), 1);
        let has = |name: &str| files.iter().any(|(at, _)| NAMES[*at] == name);
        match &seeds[0].stage {
            Stage::Fetching { info, missing, in_vain } => {
                prop_assert_eq!(*in_vain, has("fetch_failed"));
                prop_assert!(!has("started") && !has("done"));
                prop_assert!(missing.iter().all(|number| info.fragments.contains(*number)));
            }
            Stage::Done { code, .. } if has("started") && !has("done") => {
                prop_assert_eq!(code.as_str(), "ERR_EXECUTE_INTERRUPTED");
            }
            Stage::Done { .. } | Stage::NeedsInfo { .. } => {}
        }
        // What was decided once is decided.
        prop_assert_eq!(work.seeds(NOW, &TimeZone::UTC, |_| true).expect("seeds"), seeds);
    }
}
