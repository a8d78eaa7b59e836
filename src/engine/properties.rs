//! What holds in every scenario, tried on random ones.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::sim::{Crash, Happening, Moment, Offer, Scenario, Step, What, World};
use super::*;
use crate::model::{Days, FragmentCount, FragmentNumber, Minutes, Priority, ResultCode};

const SPAN: Duration = Duration::from_hours(60 * 24);

fn settings() -> impl Strategy<Value = DownloadSettings> {
    let seconds = |longest: u32| prop_oneof![Just(0), 0..=longest];
    (seconds(20), seconds(90), seconds(500), 1_u32..7).prop_map(|(fragment, cycle, period, length)| DownloadSettings {
        on: true,
        fragment_latency: fragment,
        cycle_latency: cycle,
        period_latency: period,
        period_length: length,
        timeout: Days(20),
        execution_timeout: Minutes(120),
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![Just(Failure::Missing), Just(Failure::Transient), Just(Failure::Wrong)]
}

fn offer(faults: u32) -> impl Strategy<Value = Offer> {
    let shape = (0_u32..9, 0_u32..6, prop_oneof![Just(0), 0_u32..5000], option::weighted(0.2, 0_u32..100_000));
    let failing = btree_map(1_u32..6, (0..=faults, failure()), 0..3);
    let others = (
        0..=faults.min(2),
        0..=faults,
        0..=faults.min(2),
        0..=faults.min(2),
        option::weighted(0.3, (1_u32..6, 0..=faults)),
    );
    (shape, failing, others, prop::bool::weighted(0.1)).prop_map(
        |((priority, fragments, at, not_before), failing, (info_fails, refusals, delays, absences, losses), bad)| {
            let info = TaskInfo {
                priority: Priority::from_number(priority),
                fragments: FragmentCount(fragments),
                not_before: None,
            };
            let number = |n| FragmentNumber::new(n).expect("from 1");
            Offer {
                at,
                info,
                not_before,
                code: ResultCode::of_exit(i32::try_from(priority).unwrap_or(0)),
                bad: bad.then(|| ResultCode::error("BAD_ID")),
                info_fails,
                fragment_fails: failing.into_iter().map(|(n, fault)| (number(n), fault)).collect(),
                refusals,
                delays,
                absences,
                losses: losses.filter(|(n, _)| *n <= fragments).map(|(n, times)| (number(n), times)),
            }
        },
    )
}

/// Everything that can go wrong does for a while, and the server is reached in the end.
fn scenario(faults: u32) -> impl Strategy<Value = Scenario> {
    let packages = btree_map((1_u32..50).prop_map(|n| PackageId::new(n).expect("from 1")), offer(faults), 1..5);
    (settings(), packages, (0_u32..9, 0_u32..9, 0_u32..90, 0_u32..9)).prop_map(|(settings, packages, takes)| Scenario {
        settings,
        packages,
        contact_every: Some(21_600),
        info_takes: takes.0,
        fetch_takes: takes.1,
        execute_takes: takes.2,
        report_takes: takes.3,
        ..Scenario::default()
    })
}

/// Contacts, restarts, changed settings and times without a server on top of that.
fn rough_scenario() -> impl Strategy<Value = Scenario> {
    let kind = prop_oneof![Just(0), Just(1), Just(2)];
    let happenings = vec((0_u32..200_000, kind, settings(), any::<bool>()), 0..6);
    let down = vec((0_u32..100_000, 0_u32..40_000), 0..3);
    (scenario(3), happenings, down).prop_map(|(mut scenario, happenings, down)| {
        for (at, kind, settings, on) in happenings {
            // The same fragment latency throughout, so that it can be checked.
            let fragment_latency = scenario.settings.fragment_latency;
            scenario.happenings.push((
                at,
                match kind {
                    0 => Happening::Contact,
                    1 => Happening::Restart,
                    _ => Happening::Settings(DownloadSettings { on, fragment_latency, ..settings }),
                },
            ));
        }
        let on = DownloadSettings { on: true, ..scenario.settings };
        scenario.happenings.push((250_000, Happening::Settings(on)));
        scenario.down = down.into_iter().map(|(from, seconds)| (from, from + seconds)).collect();
        scenario
    })
}

fn run(scenario: &Scenario) -> World {
    let mut world = World::new(scenario.clone());
    world.run(SPAN);
    world
}

fn actions(world: &World) -> impl Iterator<Item = (&Step, &Action, Option<&Event>)> {
    world.log().iter().filter_map(|step| match &step.what {
        What::Action(action, answer) => Some((step, action, answer.as_ref())),
        What::Happening(_) => None,
    })
}

fn check_latency(world: &World, settings: &DownloadSettings) -> Result<(), TestCaseError> {
    let mut rested = None;
    for step in world.log() {
        match &step.what {
            What::Happening(Happening::Restart) => rested = None,
            What::Action(Action::FetchFragment { .. } | Action::Execute(_), _) => {
                let rested: Option<UnixTime> = rested;
                prop_assert!(rested.is_none_or(|time| time <= step.begin), "{:?} in\n{}", step, world.trace());
            }
            _ => {}
        }
        if let What::Action(Action::FetchFragment { .. } | Action::Execute(_) | Action::Report { .. }, _) = &step.what {
            rested = Some(step.end.plus(Duration::from_secs(settings.fragment_latency.into())));
        }
    }
    Ok(())
}

/// One turn a cycle: two turns of a package are at least a fragment latency and a cycle latency apart.
fn check_turns(world: &World, settings: &DownloadSettings) -> Result<(), TestCaseError> {
    struct Last {
        end: UnixTime,
        retry: bool,
        executed: bool,
    }
    let mut last: BTreeMap<PackageId, Last> = BTreeMap::new();
    let pause = Duration::from_secs(u64::from(settings.fragment_latency) + u64::from(settings.cycle_latency));
    for (step, action, answer) in actions(world) {
        let package = package_of(action);
        let before = last.get(&package);
        let same_turn = match action {
            Action::FetchFragment { .. } => before.is_some_and(|last| last.retry),
            Action::Execute(_) => false,
            // After an execution, or out of turn after a time-out.
            Action::Report { .. } => before.is_none_or(|last| last.executed),
            Action::Keep { .. } => {
                last.remove(&package);
                continue;
            }
            Action::FetchInfo(_) | Action::Forget(_) => continue,
        };
        let early = before.is_some_and(|last| step.begin < last.end.plus(pause));
        prop_assert!(same_turn || !early, "{step:?} in\n{}", world.trace());
        let retry = !same_turn && matches!(answer, Some(Event::FragmentFailed { failure: Failure::Transient, .. }));
        let executed = matches!(answer, Some(Event::Executed { .. }));
        if !same_turn || before.is_some() {
            last.insert(package, Last { end: step.end, retry, executed });
        }
    }
    Ok(())
}

fn check_once(world: &World) -> Result<(), TestCaseError> {
    let mut may_store: BTreeMap<(PackageId, FragmentNumber), u32> = BTreeMap::new();
    for (_, action, answer) in actions(world) {
        match (action, answer) {
            (Action::FetchFragment { package, number }, Some(Event::FragmentStored { .. })) => {
                let left = may_store.entry((*package, *number)).or_insert(1);
                prop_assert!(*left > 0, "{package}-{number} was stored twice:\n{}", world.trace());
                *left -= 1;
            }
            (Action::Execute(package), Some(Event::FragmentsLost { missing, .. })) => {
                for number in missing {
                    *may_store.entry((*package, *number)).or_default() += 1;
                }
            }
            // Killed after it had found out that a fragment is bad.
            (Action::Execute(killed), None) => {
                may_store.iter_mut().filter(|((package, _), _)| package == killed).for_each(|(_, left)| *left += 1);
            }
            _ => {}
        }
    }
    prop_assert!(world.executions().values().all(|times| *times == 1), "{}", world.trace());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_in_one_taken_report(scenario in rough_scenario()) {
        let world = run(&scenario);
        prop_assert!(world.is_over(), "{}", world.trace());
        prop_assert!(world.engine().is_idle());
        prop_assert_eq!(world.taken().len(), scenario.packages.len());
        prop_assert!(world.taken().values().all(|codes| codes.len() == 1), "{}", world.trace());
        check_once(&world)?;
        check_latency(&world, &scenario.settings)?;
    }

    #[test]
    fn same_inputs_same_actions(scenario in rough_scenario()) {
        let (one, other) = (run(&scenario), run(&scenario));
        prop_assert_eq!(one.log(), other.log());
    }

    #[test]
    fn a_package_has_one_turn_in_a_cycle(scenario in scenario(4)) {
        check_turns(&run(&scenario), &scenario.settings)?;
    }

    #[test]
    fn a_kill_at_any_point_ends_the_same(
        scenario in scenario(2), action in 0_usize..40, moment in 0_usize..3,
    ) {
        let moment = [Moment::Before, Moment::During, Moment::After][moment];
        let calm = run(&scenario);
        let killed = run(&Scenario { crash: Some(Crash { action, moment }), ..scenario });
        prop_assert!(calm.is_over() && killed.is_over(), "{}\n{}", calm.trace(), killed.trace());
        check_once(&killed)?;
        for (package, codes) in killed.taken() {
            prop_assert!(codes.len() <= 2 && codes.iter().all(|code| *code == codes[0]), "{}", killed.trace());
            let interrupted = codes[0] == ResultCode::error("EXECUTE_INTERRUPTED") && moment == Moment::During;
            prop_assert!(interrupted || calm.taken()[package][0] == codes[0], "{}\n{}", calm.trace(), killed.trace());
        }
    }

    /// Absolute packages that do not fail: nobody else is served between their info file and their execution.
    #[test]
    fn while_an_absolute_package_is_pending_no_other_is_served(
        mut scenario in scenario(2), absolute in btree_map(50_u32..60, offer(0), 1..3),
    ) {
        scenario.packages.retain(|_, offer| offer.info.priority != Priority::Absolute);
        for (n, offer) in absolute {
            let info = TaskInfo { priority: Priority::Absolute, ..offer.info };
            scenario.packages.insert(PackageId::new(n).expect("not 0"), Offer { info, bad: None, ..offer });
        }
        let world = run(&scenario);
        prop_assert!(world.is_over());
        // Of each absolute package: fragments to fetch, and when it may be executed.
        let mut pending: BTreeMap<PackageId, (u32, Option<UnixTime>)> = BTreeMap::new();
        for (step, action, answer) in actions(&world) {
            let package = package_of(action);
            if matches!(action, Action::FetchFragment { .. } | Action::Execute(_))
                && scenario.packages[&package].info.priority != Priority::Absolute
            {
                let blocking = pending.values().any(|(missing, ready)| *missing > 0 || ready.is_none_or(|time| time <= step.begin));
                prop_assert!(!blocking, "{:?} in\n{}", step, world.trace());
            }
            match answer {
                Some(Event::InfoStored { info, .. }) if info.priority == Priority::Absolute => {
                    pending.insert(package, (info.fragments.0, info.not_before));
                }
                Some(Event::FragmentStored { .. }) => {
                    pending.entry(package).and_modify(|(missing, _)| *missing -= 1);
                }
                Some(Event::Executed { .. }) => {
                    pending.remove(&package);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn one_turn_a_cycle_and_only_in_its_own_cycles(settings in settings(), priority in 0_u32..9, fragments in 0_u32..9) {
        let priority = Priority::from_number(priority);
        let info = TaskInfo { priority, fragments: FragmentCount(fragments), not_before: None };
        // The protocol's loop, written down as it stands there.
        let mut seconds = 0_u64;
        let mut left = u64::from(fragments) + 1;
        let mut cycle = 1;
        let expected = (priority.turns_in(settings.period_length) > 0).then(|| loop {
            if priority.is_due(cycle) {
                left -= 1;
                if left == 0 {
                    break Duration::from_secs(seconds);
                }
                seconds += u64::from(settings.fragment_latency);
            }
            seconds += u64::from(settings.cycle_latency);
            cycle += 1;
            if cycle > settings.period_length {
                seconds += u64::from(settings.period_latency);
                cycle = 1;
            }
        });
        prop_assert_eq!(estimate(&settings, info), expected);
    }
}

/// What a driver may do, sensible or not.
#[derive(Clone, Debug)]
enum Move {
    Poll,
    Time(i64),
    Event(i64, Event),
    /// Answers the action in flight with one of the events that fit.
    Answer(i64, u8),
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..10_000_000, 1 => any::<i64>()]
}

fn any_settings() -> impl Strategy<Value = DownloadSettings> {
    let number = || prop_oneof![Just(0_u32), 0_u32..100, any::<u32>()];
    (any::<bool>(), number(), number(), number(), number(), number()).prop_map(
        |(on, fragment_latency, cycle_latency, period_latency, period_length, timeout)| DownloadSettings {
            on,
            fragment_latency,
            cycle_latency,
            period_latency,
            period_length,
            timeout: Days(timeout),
            execution_timeout: Minutes(1),
        },
    )
}

fn any_package() -> impl Strategy<Value = PackageId> {
    (1_u32..5).prop_map(|n| PackageId::new(n).expect("from 1"))
}

fn any_numbers() -> impl Strategy<Value = Vec<FragmentNumber>> {
    vec((1_u32..6).prop_map(|n| FragmentNumber::new(n).expect("from 1")), 0..4)
}

fn any_info() -> impl Strategy<Value = TaskInfo> {
    let number = || prop_oneof![0_u32..12, any::<u32>()];
    (number(), 0_u32..4, option::of(any_time())).prop_map(|(priority, fragments, not_before)| TaskInfo {
        priority: Priority::from_number(priority),
        fragments: FragmentCount(fragments),
        not_before: not_before.map(UnixTime::from_millis),
    })
}

fn any_seed() -> impl Strategy<Value = TaskSeed> {
    let stage = prop_oneof![
        (0_u32..5).prop_map(|failed_contacts| Stage::NeedsInfo { failed_contacts }),
        (any_info(), any_numbers(), any::<bool>()).prop_map(|(info, missing, in_vain)| Stage::Fetching {
            info,
            missing,
            in_vain
        }),
        any_info().prop_map(|info| Stage::Done { code: ResultCode::success(), priority: info.priority }),
    ];
    (any_package(), any_time(), stage).prop_map(|(package, since, stage)| TaskSeed {
        package,
        since: UnixTime::from_millis(since),
        stage,
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let number = || (1_u32..6).prop_map(|n| FragmentNumber::new(n).expect("from 1"));
    prop_oneof![
        any_seed().prop_map(Event::Offered),
        any_settings().prop_map(Event::Settings),
        (any_package(), any_info()).prop_map(|(package, info)| Event::InfoStored { package, info }),
        (any_package(), failure()).prop_map(|(package, failure)| Event::InfoFailed { package, failure }),
        (any_package(), any_info()).prop_map(|(package, info)| Event::GaveUp {
            package,
            code: ResultCode::success(),
            priority: info.priority,
        }),
        (any_package(), number()).prop_map(|(package, number)| Event::FragmentStored { package, number }),
        (any_package(), number(), failure()).prop_map(|(package, number, failure)| Event::FragmentFailed {
            package,
            number,
            failure
        }),
        any_package().prop_map(|package| Event::Executed { package, code: ResultCode::success() }),
        any_package().prop_map(Event::Delayed),
        (any_package(), any_time())
            .prop_map(|(package, until)| Event::Unattended { package, until: UnixTime::from_millis(until) }),
        (any_package(), any_numbers()).prop_map(|(package, missing)| Event::FragmentsLost { package, missing }),
        any_package().prop_map(Event::ResultKept),
        any_package().prop_map(Event::ReportTaken),
        any_package().prop_map(Event::ReportRefused),
        any_package().prop_map(Event::Forgotten),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Poll),
        2 => any_time().prop_map(Move::Time),
        3 => (any_time(), any_event()).prop_map(|(time, event)| Move::Event(time, event)),
        4 => (any_time(), any::<u8>()).prop_map(|(time, choice)| Move::Answer(time, choice)),
    ]
}

fn fitting(action: &Action, choice: u8) -> Event {
    let package = package_of(action);
    let code = ResultCode::success();
    let first = choice.is_multiple_of(3);
    match action {
        Action::FetchInfo(_) if first => Event::InfoFailed { package, failure: Failure::Missing },
        Action::FetchInfo(_) => Event::InfoStored {
            package,
            info: TaskInfo {
                priority: Priority::from_number(u32::from(choice % 4)),
                fragments: FragmentCount(u32::from(choice % 5)),
                not_before: None,
            },
        },
        Action::FetchFragment { number, .. } if first => {
            Event::FragmentFailed { package, number: *number, failure: Failure::Transient }
        }
        Action::FetchFragment { number, .. } => Event::FragmentStored { package, number: *number },
        Action::Execute(_) if first => Event::FragmentsLost { package, missing: vec![FragmentNumber::FIRST] },
        Action::Execute(_) if choice.is_multiple_of(5) => Event::Delayed(package),
        Action::Execute(_) if choice.is_multiple_of(7) => {
            Event::Unattended { package, until: UnixTime::from_seconds(i64::from(choice) * 1000) }
        }
        Action::Execute(_) => Event::Executed { package, code },
        Action::Keep { .. } => Event::ResultKept(package),
        Action::Report { .. } if first => Event::ReportRefused(package),
        Action::Report { .. } => Event::ReportTaken(package),
        Action::Forget(_) => Event::Forgotten(package),
    }
}

proptest! {
    /// No panic, no second action in flight, no execution after an execution, and always something to wait for.
    #[test]
    fn any_event_in_any_order_is_survived(
        settings in any_settings(), seeds in vec(any_seed(), 0..4), start in any_time(), moves in vec(any_move(), 0..80),
    ) {
        let mut engine = Engine::new(settings, seeds, UnixTime::from_millis(start));
        let mut in_flight: Option<Action> = None;
        let mut executed: Vec<PackageId> = Vec::new();
        let mut tell = |engine: &mut Engine, in_flight: &mut Option<Action>, time, event: Event| {
            if in_flight.as_ref().is_some_and(|action| answers(&event, action)) {
                *in_flight = None;
                match &event {
                    Event::Executed { package, .. } => executed.push(*package),
                    Event::Forgotten(package) => executed.retain(|other| other != package),
                    _ => {}
                }
            }
            engine.handle_event(UnixTime::from_millis(time), event);
            executed.clone()
        };
        let mut done = Vec::new();
        for step in moves {
            match step {
                Move::Poll => {
                    let action = engine.poll_action();
                    prop_assert!(action.is_none() || in_flight.is_none(), "{action:?} while {in_flight:?} is in flight");
                    if let Some(Action::Execute(package)) = &action {
                        prop_assert!(!done.contains(package), "{package} is executed twice");
                    }
                    in_flight = in_flight.or(action);
                    if in_flight.is_none() {
                        prop_assert_eq!(engine.poll_action(), None, "asking twice changes nothing");
                        // Later than now, or a driver would turn in circles; at the end of time nothing is later.
                        let end_of_time = engine.now.millis() > i64::MAX / 2;
                        let later = engine.poll_timeout().is_none_or(|time| time > engine.now);
                        prop_assert!(later || end_of_time, "{:?}", engine);
                        prop_assert!(engine.is_idle() || engine.poll_timeout().is_some(), "{:?}", engine);
                    }
                }
                Move::Time(time) => engine.handle_timeout(UnixTime::from_millis(time)),
                Move::Event(time, event) => done = tell(&mut engine, &mut in_flight, time, event),
                Move::Answer(time, choice) => {
                    if let Some(action) = in_flight.clone() {
                        done = tell(&mut engine, &mut in_flight, time, fitting(&action, choice));
                        prop_assert!(in_flight.is_none());
                    }
                }
            }
        }
    }
}
