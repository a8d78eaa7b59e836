//! Scenarios as time lines, and rules that hold in all of them.

mod failures;

use std::fmt::Write as _;

use super::sim::{Crash, Moment, Scenario, What, World};
use super::*;
use crate::model::{FragmentCount, FragmentNumber, Priority, ResultCode};

const DAY: u64 = 86_400;

fn traced(scenario: &str, seconds: u64) -> String {
    sim::trace(scenario, Duration::from_secs(seconds)).expect("a scenario")
}

fn world(scenario: &str, seconds: u64) -> World {
    let mut world = World::new(scenario.parse().expect("a scenario"));
    world.run(Duration::from_secs(seconds));
    world
}

fn package(number: u32) -> PackageId {
    PackageId::new(number).expect("not 0")
}

fn fragment(number: u32) -> FragmentNumber {
    FragmentNumber::new(number).expect("not 0")
}

// ---- Turns, cycles, periods

#[test]
fn the_worked_example_of_the_protocol() {
    insta::assert_snapshot!(traced("package 100 pri=5 frags=3", DAY), @r"
    t+0     info 100
    t+240   fetch 100-1
    t+550   fetch 100-2
    t+860   fetch 100-3
    t+1170  execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

#[test]
fn pauses_count_from_the_end_of_what_went_before() {
    let scenario = "takes info=3 fetch=7 execute=100 report=2
                    package 100 pri=5 frags=3";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100
    t+243   fetch 100-1
    t+560   fetch 100-2
    t+877   fetch 100-3
    t+1194  execute 100
    t+1294  report 100 SUCCESS
    t+1296  forget 100
    end     nothing left
    ");
}

#[test]
fn a_report_is_part_of_its_turn() {
    let scenario = "takes execute=5 report=100
                    package 100 pri=1 frags=0
                    package 200 pri=2 frags=1
                    refuse 100 times=1";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100, info 200, execute 100
    t+5    report 100 SUCCESS (refused)
    t+175  report 100 SUCCESS
    t+275  forget 100
    t+285  fetch 200-1
    t+415  execute 200
    t+420  report 200 SUCCESS
    t+520  forget 200
    end    nothing left
    ");
}

#[test]
fn a_command_without_files_is_executed_in_its_first_turn() {
    insta::assert_snapshot!(traced("package 100 pri=2 frags=0 code=ERR_EXIT_CODE_3", DAY), @r"
    t+0   info 100
    t+60  execute 100, report 100 ERR_EXIT_CODE_3, forget 100
    end   nothing left
    ");
}

#[test]
fn priorities_share_a_cycle_in_ascending_order() {
    let scenario = "settings frag=1 cycle=10 period=100 length=4
                    package 400 pri=1 frags=3
                    package 300 pri=2 frags=2
                    package 200 pri=4 frags=1
                    package 100 pri=3 frags=1";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100, info 200, info 300, info 400, fetch 400-1
    t+11   fetch 300-1
    t+12   fetch 400-2
    t+23   fetch 100-1
    t+24   fetch 400-3
    t+35   fetch 200-1
    t+36   fetch 300-2
    t+37   execute 400, report 400 SUCCESS, forget 400
    t+158  execute 300, report 300 SUCCESS, forget 300
    t+169  execute 100, report 100 SUCCESS, forget 100
    t+180  execute 200, report 200 SUCCESS, forget 200
    end    nothing left
    ");
}

#[test]
fn a_priority_beyond_the_period_never_has_a_turn() {
    let scenario = "settings length=4 timeout=2
                    package 100 pri=5 frags=1";
    let world = world(scenario, 3600);
    assert!(world.engine().is_idle(), "`once` must not wait for the time-out");
    insta::assert_snapshot!(traced(scenario, 3 * DAY), @r"
    t+0           info 100
    t+172800.001  keep 100 ERR_TIMEOUT, report 100 ERR_TIMEOUT, forget 100
    end           nothing left
    ");
}

#[test]
fn packages_that_arrive_join_at_the_next_cycle() {
    let scenario = "package 100 pri=5 frags=2
                    package 50 pri=1 frags=2 at=250";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100
    t+240  fetch 100-1
    t+250  contact, info 50
    t+310  fetch 50-1
    t+380  fetch 50-2
    t+450  execute 50, report 50 SUCCESS, forget 50
    t+580  fetch 100-2
    t+890  execute 100, report 100 SUCCESS, forget 100
    end    nothing left
    ");
}

#[test]
fn a_late_wake_up_misses_no_turn_and_catches_none_up() {
    let seed = |number, priority| TaskSeed {
        package: package(number),
        since: UnixTime::from_seconds(0),
        stage: Stage::Fetching {
            info: TaskInfo { priority: Priority::from_number(priority), fragments: FragmentCount(9), not_before: None },
            missing: FragmentCount(9).numbers().collect(),
            in_vain: false,
        },
    };
    let settings = DownloadSettings::default();
    let mut engine = Engine::new(settings, vec![seed(100, 5)], UnixTime::from_seconds(0));
    assert_eq!(engine.poll_action(), None);
    assert_eq!(engine.poll_timeout(), Some(UnixTime::from_seconds(240)));
    // The computer slept through cycle 5; it is told of a new package before anybody asked for an action.
    let late = UnixTime::from_seconds(5000);
    engine.handle_event(late, Event::Offered(seed(200, 1)));
    let fetch = |number| Action::FetchFragment { package: package(number), number: fragment(1) };
    assert_eq!(engine.poll_action(), Some(fetch(100)));
    engine.handle_event(late, Event::FragmentStored { package: package(100), number: fragment(1) });
    assert_eq!(engine.poll_action(), None);
    assert_eq!(engine.poll_timeout(), Some(late.plus(Duration::from_secs(10))));
    engine.handle_timeout(late.plus(Duration::from_secs(10)));
    assert_eq!(engine.poll_action(), Some(fetch(200)), "in the same cycle");
}

// ---- Absolute priority (docs/decisions/0101)

#[test]
fn absolute_priority_starves_the_others() {
    let scenario = "settings frag=10 cycle=60 length=4
                    package 100 pri=0 frags=2
                    package 200 pri=1 frags=1";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100, info 200, fetch 100-1
    t+70   fetch 100-2
    t+140  execute 100, report 100 SUCCESS, forget 100
    t+150  fetch 200-1
    t+220  execute 200, report 200 SUCCESS, forget 200
    end    nothing left
    ");
}

#[test]
fn absolute_packages_take_turns_among_themselves() {
    let scenario = "settings frag=10 cycle=60 length=4
                    package 50 pri=1 frags=0
                    package 100 pri=0 frags=1
                    package 200 pri=0 frags=2";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 50, info 100, info 200, fetch 100-1
    t+10   fetch 200-1
    t+80   execute 100, report 100 SUCCESS, forget 100
    t+90   fetch 200-2
    t+160  execute 200, report 200 SUCCESS, forget 200
    t+170  execute 50, report 50 SUCCESS, forget 50
    end    nothing left
    ");
}

#[test]
fn an_absolute_package_that_failed_for_a_period_lets_the_others_pass() {
    let scenario = "settings frag=1 cycle=10 length=3
                    package 100 pri=0 frags=2
                    package 200 pri=1 frags=2
                    fail 100 1 missing times=5";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100, info 200, fetch 100-1 (missing)
    t+11   fetch 100-1 (missing)
    t+22   fetch 100-1 (missing)
    t+23   fetch 200-1
    t+84   fetch 100-1 (missing)
    t+85   fetch 200-2
    t+96   fetch 100-1 (missing)
    t+97   execute 200, report 200 SUCCESS, forget 200
    t+108  fetch 100-1
    t+119  fetch 100-2
    t+130  execute 100, report 100 SUCCESS, forget 100
    end    nothing left
    ");
}

#[test]
fn an_absolute_package_that_only_waits_blocks_nobody() {
    let scenario = "settings frag=1 cycle=10 length=3
                    package 100 pri=0 frags=0 not-before=40
                    package 110 pri=0 frags=0
                    package 120 pri=0 frags=0
                    package 200 pri=1 frags=5
                    refuse 110 times=2
                    delay 120 times=1
                    at 60 contact";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0   info 100, info 110, info 120, info 200, execute 110, report 110 SUCCESS (refused)
    t+1   execute 120 (delayed)
    t+2   fetch 200-1
    t+13  report 110 SUCCESS (refused)
    t+14  fetch 200-2
    t+25  report 110 SUCCESS, forget 110
    t+26  fetch 200-3
    t+37  fetch 200-4
    t+48  execute 100, report 100 SUCCESS, forget 100
    t+49  fetch 200-5
    t+60  contact, execute 120, report 120 SUCCESS, forget 120
    t+61  execute 200, report 200 SUCCESS, forget 200
    end   nothing left
    ");
}

#[test]
fn results_do_not_wait_for_an_absolute_package() {
    let scenario = "settings frag=1 cycle=10 length=3
                    package 100 pri=1 frags=0
                    package 200 pri=0 frags=3 at=2
                    refuse 100 times=2";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0   info 100, execute 100, report 100 SUCCESS (refused)
    t+2   contact, info 200
    t+11  fetch 200-1
    t+12  report 100 SUCCESS (refused)
    t+23  fetch 200-2
    t+24  report 100 SUCCESS, forget 100
    t+35  fetch 200-3
    t+46  execute 200, report 200 SUCCESS, forget 200
    end   nothing left
    ");
}

// ---- Info files (0103)

#[test]
fn info_files_are_fetched_at_once_and_before_the_cycles() {
    let scenario = "takes info=5
                    package 100 pri=1 frags=0
                    package 200 pri=1 frags=0
                    package 300 bad=ERR_BAD_ID";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0   info 100
    t+5   info 200
    t+10  info 300 (ERR_BAD_ID)
    t+15  report 300 ERR_BAD_ID, forget 300
    t+25  execute 100, report 100 SUCCESS, forget 100
    t+35  execute 200, report 200 SUCCESS, forget 200
    end   nothing left
    ");
}

#[test]
fn an_info_file_that_fails_in_three_contacts_is_reported() {
    let scenario = "package 100 pri=1 frags=1
                    fail 100 info
                    contact every=3600";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100 (failed)
    t+3600  info 100 (failed)
    t+7200  info 100 (failed), keep 100 ERR_DOWNLOAD_INFO, report 100 ERR_DOWNLOAD_INFO, forget 100
    end     nothing left
    ");
}

#[test]
fn an_info_file_that_fails_waits_for_the_next_contact() {
    let scenario = "package 100 pri=1 frags=0
                    fail 100 info times=2
                    at 7000 restart
                    at 9000 contact";
    assert!(world(scenario, 60).engine().is_idle(), "`once` ends after the failed info file");
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100 (failed)
    t+7000  restart, info 100 (failed)
    t+9000  contact, info 100, execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

// ---- Time-outs and schedules (0104)

#[test]
fn a_package_that_is_not_executed_in_time_is_given_up() {
    let scenario = "settings timeout=1
                    package 100 pri=10 frags=1000
                    package 200 pri=1 frags=1
                    fail 200 info times=1";
    let world = world(scenario, 2 * DAY);
    insta::assert_snapshot!(last_lines(&world, 3), @r"
    t+85940      fetch 100-141
    t+86400.001  keep 100 ERR_TIMEOUT, report 100 ERR_TIMEOUT, forget 100, keep 200 ERR_TIMEOUT, report 200 ERR_TIMEOUT, forget 200
    end          nothing left
    ");
}

/// What is told is what it lacked: fragments that do not come, or time.
#[test]
fn a_package_whose_fragments_do_not_come_is_given_up_with_that_word() {
    let common = "settings timeout=1 frag=10 cycle=60 length=10
                  package 100 pri=1 frags=2
                  contact every=3600";
    let told = |faults: &str| {
        let world = world(&format!("{common}\n{faults}"), 3 * DAY);
        assert!(world.is_over(), "{}", world.trace());
        world.taken()[&package(100)].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told("fail 100 2 missing"), "ERR_DOWNLOAD_PACK");
    assert_eq!(told("fail 100 2 wrong"), "ERR_DOWNLOAD_PACK");
    assert_eq!(told("down 0 90000"), "ERR_TIMEOUT", "there is no info file yet");
    assert_eq!(told("down 65 90000"), "ERR_DOWNLOAD_PACK", "no network is a reason like any other");
    assert_eq!(told("fail 100 2 missing\nat 80000 restart"), "ERR_DOWNLOAD_PACK", "the disk remembers it");
    assert_eq!(told("fail 100 2 times=3"), "SUCCESS");
    assert_eq!(told("delay 100"), "ERR_TIMEOUT", "nothing lacks but the person's consent");
    assert_eq!(told("lose 100 2"), "ERR_TIMEOUT", "every try to fetch it worked");
}

#[test]
fn a_schedule_holds_the_execution_back_and_not_the_download() {
    let scenario = "settings timeout=1
                    package 100 pri=5 frags=1 not-before=200000";
    insta::assert_snapshot!(traced(scenario, 5 * DAY), @r"
    t+0       info 100
    t+240     fetch 100-1
    t+200050  execute 100, report 100 SUCCESS, forget 100
    end       nothing left
    ");
}

// ---- Results (0105)

#[test]
fn an_unsent_result_is_sent_again_in_the_package_s_own_turns() {
    let scenario = "package 100 pri=5 frags=1
                    refuse 100 times=3";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100
    t+240   fetch 100-1
    t+550   execute 100, report 100 SUCCESS (refused)
    t+860   report 100 SUCCESS (refused)
    t+1170  report 100 SUCCESS (refused)
    t+1480  report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

#[test]
fn an_unsent_result_outlives_restarts_and_the_time_out() {
    let scenario = "settings timeout=1
                    package 100 pri=5 frags=0 code=SUCCESS_REBOOT_REQUIRED
                    down 10 300000
                    at 200000 restart";
    let world = world(scenario, 4 * DAY);
    assert_eq!(world.taken()[&package(100)], [ResultCode::from_wire("SUCCESS_REBOOT_REQUIRED")]);
    assert_eq!(world.executions()[&package(100)], 1);
    insta::assert_snapshot!(last_lines(&world, 2), @r"
    t+300070  report 100 SUCCESS_REBOOT_REQUIRED, forget 100
    end       nothing left
    ");
}

#[test]
fn an_unsent_result_is_not_idle() {
    let unsent = world("package 100 pri=5 frags=0\nrefuse 100", DAY);
    assert!(!unsent.engine().is_idle() && unsent.engine().only_reports_left());
    let fetching = world("package 100 pri=5 frags=9", 60);
    assert!(!fetching.engine().is_idle() && !fetching.engine().only_reports_left());
    let over = world("package 100 pri=5 frags=9", DAY);
    assert!(over.engine().is_idle() && !over.engine().only_reports_left());
}

#[test]
fn a_result_gets_through_even_if_its_package_never_had_a_turn() {
    let scenario = "settings frag=1 cycle=10 length=4
                    package 100 pri=9 bad=ERR_BAD_ID
                    refuse 100 times=2";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0   info 100 (ERR_BAD_ID), report 100 ERR_BAD_ID (refused)
    t+31  report 100 ERR_BAD_ID (refused)
    t+72  report 100 ERR_BAD_ID, forget 100
    end   nothing left
    ");
}

// ---- Persons, settings

#[test]
fn a_package_that_the_person_put_off_comes_back_with_the_next_contact() {
    let scenario = "package 100 pri=1 frags=1
                    delay 100 times=2
                    at 10000 contact
                    at 20000 contact";
    assert!(world(scenario, 9000).engine().is_idle());
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0      info 100, fetch 100-1
    t+70     execute 100 (delayed)
    t+10000  contact, execute 100 (delayed)
    t+20000  contact, execute 100, report 100 SUCCESS, forget 100
    end      nothing left
    ");
}

#[test]
fn a_package_that_waits_for_somebody_looks_again_and_keeps_nobody_waiting() {
    let scenario = "settings frag=1 cycle=10 length=3 timeout=1
                    package 100 pri=0 frags=0
                    package 200 pri=1 frags=1
                    absent 100 times=2";
    let alone = scenario.lines().filter(|line| !line.contains("200")).collect::<Vec<_>>().join("\n");
    assert!(world(&alone, 60).engine().is_idle(), "`once` must not wait for people");
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100, info 200, execute 100 (nobody there)
    t+1     fetch 200-1
    t+12    execute 200, report 200 SUCCESS, forget 200
    t+903   execute 100 (nobody there)
    t+1804  execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
    let never = scenario.replace(" times=2", "");
    assert!(traced(&never, 2 * DAY).contains("t+86400.001  keep 100 ERR_TIMEOUT"), "{}", traced(&never, 2 * DAY));
}

#[test]
fn settings_hold_from_the_next_pause_on() {
    let scenario = "settings frag=10 cycle=60 length=2
                    package 100 pri=1 frags=4
                    at 5 settings frag=1 cycle=100
                    at 250 settings length=1 period=1000";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100, fetch 100-1
    t+5     settings
    t+110   fetch 100-2
    t+211   fetch 100-3
    t+250   settings
    t+1412  fetch 100-4
    t+2513  execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

#[test]
fn deployment_switched_off_stops_everything_but_results() {
    let scenario = "settings timeout=1
                    package 100 pri=1 frags=3
                    package 200 pri=2 frags=0
                    package 300 pri=1 frags=0 at=200
                    refuse 200 times=3
                    at 100 settings on=0
                    at 50000 settings on=1";
    assert!(world(scenario, 40_000).engine().is_idle());
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0      info 100, info 200, fetch 100-1
    t+70     fetch 100-2
    t+80     execute 200, report 200 SUCCESS (refused)
    t+100    settings
    t+200    contact
    t+210    report 200 SUCCESS (refused)
    t+340    report 200 SUCCESS (refused)
    t+470    report 200 SUCCESS, forget 200
    t+50000  settings, info 300, fetch 100-3
    t+50010  execute 300, report 300 SUCCESS, forget 300
    t+50080  execute 100, report 100 SUCCESS, forget 100
    end      nothing left
    ");
}

// ---- Restarts

/// Kills the agent in every action in turn, before, in and after it, and compares how it ends.
#[test]
fn a_restart_at_every_step_ends_the_same() {
    let scenario: Scenario = "settings frag=1 cycle=5 length=3 timeout=2
                              package 50 pri=0 frags=1
                              package 100 pri=1 frags=3
                              package 200 pri=2 frags=0 code=ERR_EXIT_CODE_7
                              package 300 pri=1 frags=1 not-before=400
                              package 400 pri=1 bad=ERR_BAD_ID
                              package 500 pri=3 frags=2
                              package 600 pri=1 frags=1
                              fail 500 2 missing
                              fail 600 info
                              lose 100 2 times=1
                              refuse 200 times=2
                              contact every=3600"
        .parse()
        .expect("a scenario");
    let span = Duration::from_secs(5 * DAY);
    let mut calm = World::new(scenario.clone());
    calm.run(span);
    assert!(calm.is_over());
    let mut text = String::new();
    for (package, codes) in calm.taken() {
        let _ = writeln!(text, "{package} {} {:?}", codes.len(), codes[0].as_str());
    }
    insta::assert_snapshot!(text, @r#"
    50 1 "SUCCESS"
    100 1 "SUCCESS"
    200 1 "ERR_EXIT_CODE_7"
    300 1 "SUCCESS"
    400 1 "ERR_BAD_ID"
    500 1 "ERR_DOWNLOAD_PACK"
    600 1 "ERR_DOWNLOAD_INFO"
    "#);

    let actions = calm.log().iter().filter(|step| matches!(step.what, What::Action(..))).count();
    assert!(actions > 50, "{actions} are too few to prove anything");
    for action in 0..actions {
        for moment in [Moment::Before, Moment::During, Moment::After] {
            let mut killed = World::new(Scenario { crash: Some(Crash { action, moment }), ..scenario.clone() });
            killed.run(span);
            let context = format!("killed {moment:?} action {action}:\n{}", killed.trace());
            assert!(killed.is_over(), "{context}");
            assert_eq!(killed.taken().keys().collect::<Vec<_>>(), calm.taken().keys().collect::<Vec<_>>(), "{context}");
            assert_eq!(killed.executions(), calm.executions(), "{context}");
            // A report may be repeated if the server took it and the agent did not live to know.
            let reports: usize = killed.taken().values().map(Vec::len).sum();
            assert!(reports <= calm.taken().len() + 1, "{context}");
            let mut interrupted = 0;
            for (package, codes) in killed.taken() {
                assert!(codes.iter().all(|code| *code == codes[0]), "{context}");
                if codes[0] == ResultCode::error("EXECUTE_INTERRUPTED") {
                    interrupted += 1;
                } else {
                    assert_eq!(codes[0], calm.taken()[package][0], "{context}");
                }
            }
            assert!(interrupted <= usize::from(moment == Moment::During), "{context}");
        }
    }
}

#[test]
fn a_month_of_a_busy_computer_takes_no_time() {
    let mut scenario = String::from("settings frag=10 cycle=60 length=10\ncontact every=86400\n");
    for n in 0..30 {
        let _ = writeln!(scenario, "package {} pri={} frags={} at={}", 100 + n, n % 11, 100 * (n % 7), n * 86_400);
        let _ = writeln!(scenario, "down {} {}", n * 86_400 + 40_000, n * 86_400 + 50_000);
    }
    let world = world(&scenario, 60 * DAY);
    assert!(world.is_over(), "{}", last_lines(&world, 3));
    assert!(world.taken().values().all(|codes| codes.len() == 1 && codes[0] == ResultCode::success()));
    assert_eq!(world.executions().len(), 30);
}

#[test]
fn a_scenario_that_cannot_be_read_says_where() {
    let refusals: Vec<String> = [
        "packages 100",
        "package 0",
        "package 100 pri",
        "package 100 pri=fast",
        "package 100\npackage 100",
        "package 100\n\n  fail 200 info",
        "package 100\nfail 100 0",
        "package 100\nrefuse 100 twice",
        "at 5 reboot",
        "at soon contact",
        "settings fragment=1",
        "down 5",
        "takes sleep=1",
        "contact daily=1",
    ]
    .iter()
    .map(|scenario| scenario.parse::<Scenario>().expect_err(scenario).to_string())
    .collect();
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    line 1 of the scenario, "packages 100": expected settings, package, takes, contact, down, at, fail, refuse, delay, absent or lose
    line 1 of the scenario, "package 0": "0" is not a package id: expected a decimal number from 1 to 2147483647, as `dripfeed package list` shows it
    line 1 of the scenario, "package 100 pri": "pri" is not KEY=VALUE
    line 1 of the scenario, "package 100 pri=fast": "fast" is not a whole number
    line 2 of the scenario, "package 100": this package is there already
    line 3 of the scenario, "fail 200 info": this package is not there; its line must come first
    line 2 of the scenario, "fail 100 0": "0" is not a fragment number: expected 1, 2, 3 …
    line 2 of the scenario, "refuse 100 twice": "twice" is not known here; expected times=N
    line 1 of the scenario, "at 5 reboot": "reboot" is not known here; expected contact, restart or settings KEY=VALUE
    line 1 of the scenario, "at soon contact": "soon" is not a whole number
    line 1 of the scenario, "settings fragment=1": "fragment" is not known here; expected frag, cycle, period, length, timeout or on
    line 1 of the scenario, "down 5": expected settings, package, takes, contact, down, at, fail, refuse, delay, absent or lose
    line 1 of the scenario, "takes sleep=1": "sleep" is not known here; expected info, fetch, execute or report
    line 1 of the scenario, "contact daily=1": "daily" is not known here; expected every
    "#);
}

fn first_lines(world: &World, count: usize) -> String {
    world.trace().lines().take(count).collect::<Vec<_>>().join("\n")
}

fn last_lines(world: &World, count: usize) -> String {
    let trace = world.trace();
    let lines: Vec<&str> = trace.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
