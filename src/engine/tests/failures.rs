//! Fragments that do not come, are wrong, or are lost (docs/decisions/0102).

use super::*;

#[test]
fn a_transient_failure_is_tried_again_once_in_the_same_turn() {
    let scenario = "package 100 pri=5 frags=2
                    fail 100 1 transient times=3";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100
    t+240   fetch 100-1 (failed)
    t+250   fetch 100-1 (failed)
    t+560   fetch 100-1 (failed)
    t+570   fetch 100-1
    t+880   fetch 100-2
    t+1190  execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

#[test]
fn what_is_missing_or_wrong_waits_for_its_next_turn() {
    let scenario = "package 100 pri=5 frags=2
                    package 200 pri=5 frags=1
                    fail 100 1 missing times=1
                    fail 100 2 wrong times=1";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100, info 200
    t+240   fetch 100-1 (missing)
    t+250   fetch 200-1
    t+560   fetch 100-1
    t+570   execute 200, report 200 SUCCESS, forget 200
    t+880   fetch 100-2 (wrong)
    t+1190  fetch 100-2
    t+1500  execute 100, report 100 SUCCESS, forget 100
    end     nothing left
    ");
}

#[test]
fn a_fragment_missing_for_ever_does_not_spin_without_latencies() {
    let scenario = "settings frag=0 cycle=0 period=0 length=10 timeout=30
                    package 100 pri=1 frags=1
                    fail 100 1 missing";
    let world = world(scenario, 40 * DAY);
    insta::assert_snapshot!(first_lines(&world, 22), @r"
    t+0            info 100, fetch 100-1 (missing)
    t+1            fetch 100-1 (missing)
    t+3            fetch 100-1 (missing)
    t+7            fetch 100-1 (missing)
    t+15           fetch 100-1 (missing)
    t+31           fetch 100-1 (missing)
    t+63           fetch 100-1 (missing)
    t+123          fetch 100-1 (missing)
    t+183          fetch 100-1 (missing)
    t+243          fetch 100-1 (missing)
    t+303          fetch 100-1 (missing)
    t+363          fetch 100-1 (missing)
    t+423          fetch 100-1 (missing)
    t+483          fetch 100-1 (missing)
    t+543          fetch 100-1 (missing)
    t+603          fetch 100-1 (missing)
    t+663          fetch 100-1 (missing)
    t+723          fetch 100-1 (missing)
    t+783          fetch 100-1 (missing)
    t+843          fetch 100-1 (missing)
    t+963          fetch 100-1 (missing)
    t+1023         fetch 100-1 (missing)
    ");
    assert!(world.log().len() < 20_000, "{} actions in a month", world.log().len());
    assert_eq!(world.taken()[&package(100)], [ResultCode::error("DOWNLOAD_PACK")]);
}

#[test]
fn everything_works_without_latencies() {
    let scenario = "settings frag=0 cycle=0 period=0 length=10
                    package 100 pri=10 frags=2
                    package 200 pri=0 frags=1
                    package 300 pri=1 frags=0 not-before=5000";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0     info 100, info 200, info 300, fetch 200-1, execute 200, report 200 SUCCESS, forget 200, fetch 100-1, fetch 100-2, execute 100, report 100 SUCCESS, forget 100
    t+5000  execute 300, report 300 SUCCESS, forget 300
    end     nothing left
    ");
}

#[test]
fn fragments_that_are_lost_are_fetched_again_and_do_not_spin() {
    let scenario = "settings frag=0 cycle=0 period=0
                    package 100 pri=1 frags=2
                    lose 100 2 times=5";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0   info 100, fetch 100-1, fetch 100-2, execute 100 (lost)
    t+1   fetch 100-2, execute 100 (lost)
    t+3   fetch 100-2, execute 100 (lost)
    t+7   fetch 100-2, execute 100 (lost)
    t+15  fetch 100-2, execute 100 (lost)
    t+31  fetch 100-2, execute 100, report 100 SUCCESS, forget 100
    end   nothing left
    ");
}

#[test]
fn a_period_in_which_more_than_two_thirds_failed_is_followed_by_a_recess() {
    let scenario = "settings frag=1 cycle=1 period=2 length=3
                    package 100 pri=1 frags=8
                    fail 100 1 missing times=3
                    fail 100 2 missing times=2
                    fail 100 3 wrong times=3";
    insta::assert_snapshot!(traced(scenario, DAY), @r"
    t+0    info 100, fetch 100-1 (missing)
    t+2    fetch 100-1 (missing)
    t+5    fetch 100-1 (missing)
    t+66   fetch 100-1
    t+68   fetch 100-2 (missing)
    t+70   fetch 100-2 (missing)
    t+74   fetch 100-2
    t+76   fetch 100-3 (wrong)
    t+78   fetch 100-3 (wrong)
    t+82   fetch 100-3 (wrong)
    t+87   fetch 100-3
    t+89   fetch 100-4
    t+93   fetch 100-5
    t+95   fetch 100-6
    t+97   fetch 100-7
    t+101  fetch 100-8
    t+103  execute 100, report 100 SUCCESS, forget 100
    end    nothing left
    ");
}
