//! What is kept between two check-ins is never believed after a change, whoever made it: this program's writer, its
//! reports, or another program beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dripfeed::model::settings::SettingKey;
use dripfeed::model::{ComputerId, JobState, PackageId};
use dripfeed::protocol::PrologReply;
use dripfeed::service::App;
use dripfeed::service::assign::Target;
use dripfeed::store::settings::{self, Scope};
use dripfeed::store::{StoreError, computers, jobs};
use proptest::prelude::*;

use crate::jobs::{active_package, assign_to, say_inventory, say_prolog, say_result};
use crate::util::{NOW, TestApp, noise};

const DEVICES: [&str; 3] = ["ws001-2024-03-05-09-10-11", "ws002-2024-03-05-09-10-11", "ws003-2024-03-05-09-10-11"];

fn found(test: &TestApp) -> u64 {
    test.app.store.memo().uses().0
}

fn number(app: &App, device: &str) -> ComputerId {
    let device = device.parse().expect("a device id");
    let computer = app.store.read_now(move |conn| computers::find_by_device_id(conn, &device)).expect("read");
    computer.expect("it is known").id
}

fn set(app: &App, scope: Scope, value: i64) {
    let key = SettingKey::PrologFrequency;
    app.store.write_now(move |conn| settings::set(conn, scope, key, value)).expect("set");
}

fn hours(reply: &PrologReply) -> i64 {
    reply.prolog_freq.map_or(-1, i64::from)
}

#[test]
fn a_second_contact_reads_nothing_and_a_change_of_another_program_is_told_at_once() {
    let test = TestApp::new();
    let other = test.reopen();
    say_inventory(&test, DEVICES[0], "Debian", &[]);
    say_prolog(&test, DEVICES[0]);
    let before = found(&test);
    say_prolog(&test, DEVICES[0]);
    assert_eq!(found(&test), before + 1, "it was not kept");
    for value in 1..=20 {
        set(if value % 2 == 0 { &test.app } else { &other }, Scope::Global, value);
        assert_eq!(hours(&say_prolog(&test, DEVICES[0])), value);
        assert_eq!(hours(&say_prolog(&test, DEVICES[0])), value, "kept");
    }
    assert!(found(&test) > before + 10, "nothing was ever kept");
}

#[test]
fn what_a_contact_changes_is_kept_as_it_is_afterwards() {
    let test = TestApp::new();
    say_inventory(&test, DEVICES[0], "Debian", &[]);
    let package = active_package(&test);
    assign_to(&test, package, Target::Computers(vec![DEVICES[0].to_owned()]));
    let state = || {
        let (id, app) = (number(&test.app, DEVICES[0]), &test.app);
        let job = app.store.read_now(move |conn| jobs::for_report(conn, id, package)).expect("read").expect("a job");
        (job.state, job.withheld)
    };
    let offers = |reply: PrologReply| reply.download.map_or(0, |option| option.offers.len());
    let before = found(&test);
    assert_eq!(offers(say_prolog(&test, DEVICES[0])), 1);
    assert_eq!((found(&test), state()), (before, (JobState::Offered, None)));
    assert_eq!(offers(say_prolog(&test, DEVICES[0])), 1);
    assert_eq!((found(&test), state()), (before + 1, (JobState::Offered, None)), "it was not kept with the offer");

    let off =
        |value| test.app.store.write_now(move |conn| settings::set(conn, Scope::Global, SettingKey::Download, value));
    off(0).expect("set");
    for kept in [0, 1] {
        assert_eq!(offers(say_prolog(&test, DEVICES[0])), 0);
        assert_eq!(found(&test), before + 1 + kept);
        let (now, withheld) = state();
        assert!(now == JobState::Offered && withheld.is_some_and(|why| why.contains("switched off")));
    }
    off(1).expect("set");
    for kept in [1, 2] {
        assert_eq!(offers(say_prolog(&test, DEVICES[0])), 1);
        assert_eq!((found(&test), state()), (before + 1 + kept, (JobState::Offered, None)));
    }
}

/// Something that changes what a computer is told. `by_other`: made by another program.
#[derive(Clone, Debug)]
enum Change {
    Global { hours: i64, by_other: bool },
    Own { computer: usize, hours: i64, by_other: bool },
    Cancel { computer: usize, by_other: bool },
    Again { computer: usize, by_other: bool },
    Report { computer: usize },
    Inventory { computer: usize },
}

fn change() -> impl Strategy<Value = Change> {
    let (computer, hours) = (0..DEVICES.len(), 1_i64..100);
    prop_oneof![
        (hours.clone(), any::<bool>()).prop_map(|(hours, by_other)| Change::Global { hours, by_other }),
        (computer.clone(), hours, any::<bool>()).prop_map(|(computer, hours, by_other)| Change::Own {
            computer,
            hours,
            by_other
        }),
        (computer.clone(), any::<bool>()).prop_map(|(computer, by_other)| Change::Cancel { computer, by_other }),
        (computer.clone(), any::<bool>()).prop_map(|(computer, by_other)| Change::Again { computer, by_other }),
        computer.clone().prop_map(|computer| Change::Report { computer }),
        computer.prop_map(|computer| Change::Inventory { computer }),
    ]
}

/// What each computer has to be told.
struct Model {
    global: Option<i64>,
    own: BTreeMap<usize, i64>,
    offered: BTreeSet<usize>,
}

#[test]
fn any_sequence_of_changes_by_anyone_is_seen_by_the_very_next_contact() {
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(changes in prop::collection::vec(change(), 1..25))| {
        let test = TestApp::new();
        let other = test.reopen();
        for device in DEVICES {
            say_inventory(&test, device, "Debian", &[]);
        }
        let ids = DEVICES.map(|device| number(&test.app, device));
        let package = active_package(&test);
        assign_to(&test, package, Target::Computers(DEVICES.map(str::to_owned).to_vec()));
        let mut model = Model { global: None, own: BTreeMap::new(), offered: (0..DEVICES.len()).collect() };
        for change in changes {
            make(&test, &other, &change, &ids, package, &mut model);
            // The first may be offered something, the second is kept, the third is answered from it.
            for _ in 0..3 {
                for (index, device) in DEVICES.iter().enumerate() {
                    let reply = say_prolog(&test, device);
                    let told = model.own.get(&index).copied().or(model.global).unwrap_or(24);
                    prop_assert_eq!(hours(&reply), told, "{:?}: {}", change, device);
                    let offers = reply.download.map_or(0, |option| option.offers.len());
                    prop_assert_eq!(offers, usize::from(model.offered.contains(&index)), "{:?}: {}", change, device);
                }
            }
        }
        prop_assert!(found(&test) > 0, "nothing was ever kept");
    });
}

fn make(test: &TestApp, other: &App, change: &Change, ids: &[ComputerId], package: PackageId, model: &mut Model) {
    let by = |other_one: bool| if other_one { other } else { &test.app };
    match *change {
        Change::Global { hours, by_other } => {
            set(by(by_other), Scope::Global, hours);
            model.global = Some(hours);
        }
        Change::Own { computer, hours, by_other } => {
            set(by(by_other), Scope::Computer(ids[computer]), hours);
            model.own.insert(computer, hours);
        }
        Change::Cancel { computer, by_other } => {
            let id = ids[computer];
            let cancel = move |conn: &mut _| -> Result<(), StoreError> {
                if let Some(job) = jobs::for_report(conn, id, package)? {
                    jobs::cancel(conn, job.id, NOW)?;
                }
                Ok(())
            };
            by(by_other).store.write_now(cancel).expect("cancelled");
            model.offered.remove(&computer);
        }
        Change::Again { computer, by_other } => {
            let target = Target::Computers(vec![DEVICES[computer].to_owned()]);
            let options = dripfeed::model::JobOptions { force: true, ..Default::default() };
            // Refused where a job is open already.
            let _ = dripfeed::service::assign::assign(by(by_other), package, target, options, "alice");
            model.offered.insert(computer);
        }
        Change::Report { computer } => {
            say_result(test, DEVICES[computer], package, "ERR_EXECUTE");
            model.offered.remove(&computer);
        }
        Change::Inventory { computer } => {
            say_inventory(test, DEVICES[computer], "Debian", &[]);
        }
    }
}

#[test]
fn an_acknowledged_change_is_told_to_whoever_comes_next_also_in_a_crowd() {
    let test = TestApp::new();
    let other = test.reopen();
    for device in DEVICES {
        say_inventory(&test, device, "Debian", &[]);
    }
    let stop = AtomicBool::new(false);
    let told = AtomicU64::new(0);
    let id = number(&test.app, DEVICES[0]);
    let package = PackageId::try_from(7_i64).expect("a package id");
    std::thread::scope(|scope| {
        for crowd in 0..4 {
            let (test, stop, told) = (&test, &stop, &told);
            scope.spawn(move || {
                let mut newest = 0;
                while !stop.load(Ordering::Relaxed) {
                    // What one agent is told never goes back, either.
                    let hours = hours(&say_prolog(test, DEVICES[0]));
                    assert!(hours >= newest || hours == 24, "{hours} after {newest}");
                    newest = newest.max(if hours == 24 { 0 } else { hours });
                    if crowd == 0 {
                        // Changes about the same computers, in the same transactions.
                        say_result(test, DEVICES[1], package, "ERR_EXECUTE");
                    }
                    told.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for value in 25..=124 {
                set(if value % 3 == 0 { &other } else { &test.app }, Scope::Computer(id), value);
                assert_eq!(hours(&say_prolog(&test, DEVICES[0])), value);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = ran {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(told.load(Ordering::Relaxed) > 0 && found(&test) > 0);
}

#[test]
fn a_result_ends_the_offers_of_an_agent_that_asks_at_the_same_moment() {
    let test = TestApp::new();
    say_inventory(&test, DEVICES[0], "Debian", &[]);
    let package = test.package(&noise(100), 1000).id;
    let here: dripfeed::model::Location = "localhost:8443/download".parse().expect("a location");
    dripfeed::service::activate::activate(&test.app, package, here.clone(), here, None, &mut |_, _| {})
        .expect("active");
    let offers = || say_prolog(&test, DEVICES[0]).download.map_or(0, |option| option.offers.len());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    offers();
                }
            });
        }
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..40 {
                assign_to(&test, package, Target::Computers(vec![DEVICES[0].to_owned()]));
                assert_eq!(offers(), 1, "round {round}");
                say_result(&test, DEVICES[0], package, "ERR_EXECUTE");
                assert_eq!(offers(), 0, "round {round}: offered after its result was taken");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = ran {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(found(&test) > 0);
}
