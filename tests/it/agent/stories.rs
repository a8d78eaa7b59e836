//! What happens when nothing goes wrong.

use super::*;

#[test]
fn a_package_goes_its_whole_way_at_the_pace_of_the_worked_example() {
    let bench = Bench::new();
    bench.server.publish(1_709_630_000, execute("true"), &tar_gz(&[("readme", 0o644, "hello")]), 3);
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    insta::assert_snapshot!(bench.server.take_log(), @r"
    PROLOG https
    GET https /download/1709630000/info
    GET http /download/1709630000/1709630000-1
    GET http /download/1709630000/1709630000-2
    GET http /download/1709630000/1709630000-3
    REPORT 1709630000 SUCCESS
    ");
    // ocs-protocol 7.4: execution at 1170 s.
    assert_eq!(bench.machine.elapsed(), 1170);
    assert_eq!(bench.history(), "1709630000\n");
    assert!(!bench.package(1_709_630_000).exists());
    let agents: Vec<_> = bench.server.world().headers.iter().map(|headers| headers["user-agent"].clone()).collect();
    assert!(agents.iter().all(|agent| agent == dripfeed::agent::USER_AGENT), "{agents:?}");
    assert!(bench.server.world().headers.iter().all(|headers| !headers.keys().any(|name| name.starts_with("if-"))));
}

#[test]
fn launch_and_store_do_what_they_say() {
    let bench = Bench::new();
    bench.server.hurry();
    let target = bench.home.path().join("opt/tool");
    let script = format!("#!/bin/sh\necho \"$1\" > {}/launched\nexit 3\n", bench.home.path().display());
    let launch = Action::Launch { command: "setup.sh hello".to_owned() };
    bench.server.publish(11, launch, &tar_gz(&[("setup.sh", 0o755, &script)]), 2);
    let store = Action::Store { path: target.display().to_string() };
    bench.server.publish(12, store, &tar_gz(&[("bin/tool", 0o755, "tool"), (".hidden", 0o600, "x")]), 2);
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["11 ERR_EXIT_CODE_3", "12 SUCCESS"]);
    assert_eq!(fs::read_to_string(bench.home.path().join("launched")).expect("run"), "hello\n");
    assert_eq!(fs::read_to_string(target.join("bin/tool")).expect("stored"), "tool");
    assert_eq!(fs::read_to_string(target.join(".hidden")).expect("stored"), "x");
    assert_eq!(bench.history(), "12\n");
}

#[test]
fn what_was_done_before_is_said_and_not_done_again_unless_forced() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    let command = execute(&format!("echo x >> {}", mark.display()));
    bench.server.publish(7, command.clone(), b"", 0);
    bench.once().expect("a run");
    bench.server.publish(7, command.clone(), b"", 0);
    bench.once().expect("a run");
    bench.server.publish(7, command, b"", 0);
    bench.server.change_offer(|offer| offer.force = true);
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS", "7 SUCCESS_ALREADY_SETUP", "7 SUCCESS"]);
    assert_eq!(fs::read_to_string(mark).expect("the mark"), "x\nx\n");
    assert_eq!(bench.history(), "7\n");
}

#[test]
fn an_inventory_is_sent_when_asked_for_with_tag_and_history() {
    let mut bench = Bench::new();
    bench.server.world().decision = Decision::Send;
    bench.config.tag = Some("PARIS".to_owned());
    bench.server.publish(7, execute("true"), b"", 0);
    bench.once().expect("a run");
    bench.once().expect("a run");
    let inventories = bench.server.world().inventories.clone();
    assert_eq!(inventories.len(), 2);
    assert!(inventories[0].contains("<KEYVALUE>PARIS</KEYVALUE>"), "{}", inventories[0]);
    assert!(!inventories[0].contains("PACKAGE ID"), "{}", inventories[0]);
    assert!(inventories[1].contains("<PACKAGE ID=\"7\""), "{}", inventories[1]);
    // Of what changes by itself there is the free space only.
    let checksum = |inventory: &str| {
        let (_, from) = inventory.split_once("<CHECKSUM>").expect("a checksum");
        from.split_once('<').and_then(|(number, _)| number.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!(checksum(&inventories[0]) & 0x4_0003, 0x4_0003);
    assert_eq!(checksum(&inventories[1]) & 0x4_0003, 0, "HARDWARE, BIOS and CPUS were taken and are the same");
}

#[test]
fn an_inventory_that_is_refused_fails_the_contact_but_not_the_packages() {
    let bench = Bench::new();
    bench.server.world().decision = Decision::Send;
    bench.server.publish(7, execute("true"), b"", 0);
    let mut posts = 0;
    bench.server.fault(move |asked| {
        posts += u32::from(asked.method == "POST");
        (asked.method == "POST" && posts == 2).then(|| status(403))
    });
    let error = bench.once().expect_err("no inventory");
    insta::assert_snapshot!(bench.sentence(&error), @"no contact: https://SECURE/ocsinventory was answered 403: forbidden");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn run_makes_contact_as_often_as_the_server_says_and_works_in_between() {
    let bench = Bench::new();
    bench.server.world().prolog_freq = 1;
    bench.server.publish(7, execute("true"), b"", 0);
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 3 * 3600 + 60)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    let log = bench.server.take_log();
    assert_eq!(log.matches("PROLOG").count(), 4, "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn run_backs_off_while_the_server_is_away_and_comes_back() {
    let bench = Bench::new();
    let mut prologs = 0;
    bench.server.fault(move |_| {
        prologs += 1;
        (prologs <= 3).then(|| status(503))
    });
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    let log = bench.server.take_log();
    // At once, after 60, 120 and 240 seconds: the fourth is answered.
    assert_eq!(log.matches("PROLOG").count(), 4, "{log}");
    let status = Status::read(&bench.config).expect("a status");
    assert!(status.last_contact.is_some() && status.last_error.is_none(), "{status:?}");
}

#[test]
fn a_scheduled_package_is_fetched_now_and_executed_then() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "a")]), 1);
    let zone = jiff::tz::TimeZone::system();
    let then = jiff::Timestamp::from_second(START + 6 * 3600).expect("a time").to_zoned(zone);
    let text = then.strftime("%Y/%m/%d %H:%M").to_string();
    bench.server.change_offer(|offer| offer.schedule = Some(text.parse().expect("a schedule")));
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert!((6 * 3600 - 60..6 * 3600 + 900).contains(&bench.machine.elapsed()), "{}", bench.machine.elapsed());
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn once_does_not_wait_past_the_next_contact() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "a")]), 1);
    bench.server.change_offer(|offer| offer.schedule = Some("2031/06/30 02:15".parse().expect("a schedule")));
    assert_eq!(bench.once().expect("a run"), Ended::UntilNextContact);
    let status = Status::read(&bench.config).expect("a status");
    assert_eq!(status.packages.len(), 1);
    assert_eq!((status.packages[0].stage, status.packages[0].present), ("to be executed", 1));
    assert_eq!(status.packages[0].schedule.as_deref(), Some("2031/06/30 02:15"));
}

#[test]
fn deployment_switched_off_leaves_everything_where_it_is() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), b"", 0);
    bench.server.world().settings.on = false;
    bench.server.world().decision = Decision::Stop;
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), [""; 0]);
    bench.server.world().settings.on = true;
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}
