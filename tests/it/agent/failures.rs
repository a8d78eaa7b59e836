//! Fragments, info files, digests and reports that go wrong, and what the server is told of it.

use super::*;

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let archive = tar_gz(&[("a", 0o644, &"0123456789".repeat(20))]);
    bench.server.publish(7, execute("true"), &archive, 2);
    let second = bench.server.world().files["/download/7/7-2"].clone();
    let mut cuts = 0;
    bench.server.fault(move |asked| {
        (asked.path.ends_with("7-2") && cuts < 1).then(|| {
            cuts += 1;
            Answer::Cut(second.clone(), 10)
        })
    });
    bench.once().expect("a run");
    let log = bench.server.take_log();
    assert!(log.contains("GET http /download/7/7-2\nGET http /download/7/7-2 bytes=10-\n"), "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_source_without_ranges_sends_the_whole_again() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    let mut asked_for = 0;
    bench.server.fault(move |asked| {
        if !asked.path.ends_with("7-1") {
            return None;
        }
        asked_for += 1;
        Some(if asked_for == 1 { Answer::Cut(bytes.clone(), 5) } else { ok(bytes.clone()) })
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_beginning_that_is_longer_than_the_file_is_thrown_away() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    let mut asked_for = 0;
    bench.server.fault(move |asked| {
        asked_for += u32::from(asked.path.ends_with("7-1"));
        let longer = [bytes.clone(), vec![0; 50]].concat();
        (asked.path.ends_with("7-1") && asked_for == 1).then(|| Answer::Cut(longer, bytes.len() + 20))
    });
    bench.once().expect("a run");
    assert!(bench.server.take_log().contains("bytes="), "a continuation was tried");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_missing_or_failing_fragment_is_asked_for_again_in_a_later_turn() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let mut answers = vec![503, 404, 500, 404];
    bench.server.fault(move |asked| if asked.path.ends_with("7-1") { answers.pop().map(status) } else { None });
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_wrong_digest_is_never_executed() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), &tar_gz(&[("a", 0o644, "hello")]), 2);
    bench.server.world().files.get_mut("/download/7/7-2").expect("a fragment")[0] ^= 1;
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_BAD_DIGEST"]);
    assert!(!mark.exists());
    assert_eq!(bench.history(), "");
}

/// The info file of a package says what each fragment is.
fn say_each_digest(bench: &Bench, mut info: Info) {
    let package = info.package;
    let sha256 = |number: FragmentNumber| {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(&bench.server.world().files[&format!("/download/{package}/{package}-{number}")]);
        hasher.finish()
    };
    info.fragment_sha256 = info.fragments.numbers().map(sha256).collect();
    bench.server.put_info(&info);
}

#[test]
fn a_fragment_that_is_damaged_on_its_way_is_fetched_again_and_no_other() {
    let bench = Bench::new();
    let info = bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 3);
    say_each_digest(&bench, info);
    let mut spoilt = false;
    bench.server.fault(move |asked| {
        let first = asked.path.ends_with("7-2") && !std::mem::replace(&mut spoilt, true);
        first.then(|| ok(b"not what was built"))
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    let log = bench.server.take_log();
    let count = |name: &str| log.lines().filter(|line| line.contains(name)).count();
    assert_eq!((count("/7-1"), count("/7-2"), count("/7-3")), (1, 2, 1), "{log}");
}

#[test]
fn info_files_that_cannot_be_carried_out_get_their_codes() {
    let bench = Bench::new();
    let bad = |number: u32, text: &str| {
        bench.server.offer(number);
        bench.server.world().files.insert(format!("/download/{number}/info"), text.as_bytes().to_vec());
    };
    bad(1, r#"<DOWNLOAD ID="2" PRI="5" ACT="EXECUTE" FRAGS="0" COMMAND="true" />"#);
    bad(2, r#"<DOWNLOAD ID="2" PRI="5" ACT="DANCE" FRAGS="0" COMMAND="true" />"#);
    bad(3, r#"<DOWNLOAD ID="3" PRI="5" ACT="EXECUTE" FRAGS="0" COMMAND="" />"#);
    bad(
        4,
        r#"<DOWNLOAD ID="4" PRI="5" ACT="EXECUTE" FRAGS="1" COMMAND="x" DIGEST="zz" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" />"#,
    );
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["1 ERR_BAD_ID", "2 ERR_BAD_PARAM", "3 ERR_BAD_PARAM", "4 ERR_BAD_DIGEST"]);
}

#[test]
fn an_info_file_may_fail_some_contacts_before_it_is_reported() {
    let bench = Bench::new();
    bench.server.offer(7);
    for contact in 1..=2 {
        assert_eq!(bench.once().expect("a run"), Ended::Idle, "contact {contact}");
        assert_eq!(bench.server.reports(), [""; 0], "contact {contact}");
    }
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_DOWNLOAD_INFO"]);
}

#[test]
fn a_result_that_the_server_does_not_take_is_kept_and_sent_first_next_time() {
    let bench = Bench::new();
    bench.server.publish(7, execute("exit 3"), b"", 0);
    let mut is_away = true;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        (is_report && std::mem::take(&mut is_away)).then(|| status(503))
    });
    assert_eq!(bench.once().expect("a run"), Ended::ResultsKept);
    assert_eq!(fs::read_to_string(bench.package(7).join("done")).expect("kept"), "ERR_EXIT_CODE_3\n");
    bench.server.take_log();
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.take_log(), "REPORT 7 ERR_EXIT_CODE_3\nPROLOG https");
    assert!(!bench.package(7).exists());
}

#[test]
fn an_execution_that_was_cut_is_told_and_not_repeated() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), b"", 0);
    bench.server.world().settings.on = false;
    bench.once().expect("the offers are known");
    bench.server.world().settings.on = true;
    bench.server.change_offer(|_| {});
    fs::create_dir_all(bench.package(7)).expect("a directory");
    put(&bench.package(7).join("started"), b"1795164551");
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_EXECUTE_INTERRUPTED"]);
    assert!(!mark.exists());
}

#[test]
fn a_post_command_runs_once_after_the_report() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute("exit 1"), b"", 0);
    let command = format!("echo post >> {}", mark.display());
    bench.server.change_offer(|offer| offer.post_command = Some(command.parse().expect("a command")));
    let mut reports = 0;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        reports += u32::from(is_report);
        (is_report && reports == 1).then(|| status(503))
    });
    bench.once().expect("a run");
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_EXIT_CODE_1"]);
    assert_eq!(fs::read_to_string(mark).expect("run"), "post\n");
}

#[test]
fn fragments_that_never_come_are_given_up_with_their_own_word() {
    let bench = Bench::new();
    bench.server.world().settings.timeout = Days(1);
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 2);
    bench.server.world().files.remove("/download/7/7-2");
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 86_400 + 3600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    assert_eq!(bench.server.reports(), ["7 ERR_DOWNLOAD_PACK"]);
    assert!(!bench.package(7).exists() && bench.history().is_empty());
}

#[test]
fn that_fragments_did_not_come_is_known_after_a_restart_and_shown() {
    let bench = Bench::new();
    bench.server.world().settings.timeout = Days(2);
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 2);
    bench.server.world().files.remove("/download/7/7-2");
    assert_eq!(bench.once().expect("a run"), Ended::UntilNextContact);
    let status = Status::read(&bench.config).expect("a status");
    let why = status.packages[0].last_failure.clone().expect("a reason");
    insta::assert_snapshot!(bench.plain(&why), @"http://CLEAR/download/7/7-2 was answered 404: there is no such file");
    assert!(status.to_string().contains("1/2  the last try failed: http://"), "{status}");

    // Switched off over the end of its time: nothing is tried any more.
    bench.machine.now.set(UnixTime::from_seconds(START + 3 * 86_400));
    bench.server.take_log();
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.take_log(), "PROLOG https\nREPORT 7 ERR_DOWNLOAD_PACK");
}

#[test]
fn a_failure_without_a_cause_names_none() {
    let bench = Bench::new();
    bench.server.hurry();
    bench.server.publish(7, Action::Store { path: "not/absolute".to_owned() }, &tar_gz(&[("a", 0o644, "x")]), 1);
    let log = bench.logged(&[]);
    assert_eq!(bench.server.reports(), ["7 ERR_BAD_PARAM"]);
    let line = log.lines().find(|line| line.contains("is not absolute")).expect("the failure is told");
    assert!(!line.contains("cause"), "{line}");
}
