//! What is deployed again and again, on both back ends.

use dripfeed::model::access::Scope;
use dripfeed::model::gates::{Gates, Timetable};
use dripfeed::model::{ComputerId, JobOptions, PostCommand, UnixTime};
use dripfeed::store::series::{self, Owner, Run, RunTarget, Stage, What, When};
use dripfeed::store::terms::KnownTerms;
use dripfeed::store::{deployments, gates as stored, jobs};

use super::database::{Database, write};
use super::for_each_backend;
use super::functions::{NOW, add_computer, add_deployment, add_package};

for_each_backend!(
    a_series_reads_back_and_moves_on,
    gates_read_back_and_come_with_the_open_jobs,
    runs_are_found_by_their_deployments
);

fn moment(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(NOW.seconds() + seconds)
}

fn gates() -> Gates {
    let windows = "!sat, mon-fri 20:00-06:00".parse().expect("windows");
    let timetable = Some(Timetable { windows, zone: "UTC".to_owned() });
    Gates { timetable, ranges: Some("!10.2.3.4, 10.2.0.0/16".parse().expect("ranges")) }
}

fn when() -> When {
    When { rule: "every day at 22:00".parse().expect("a rule"), zone: "UTC".to_owned(), starts_at: NOW }
}

fn a_series_reads_back_and_moves_on(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let package = add_package(conn, "tool")?;
        let scope = Scope::parse(Some("tag = Zürich"), Some("tool*\nother")).expect("a scope");
        let owner = Owner { user: Some("bob".to_owned()), scope };
        let what = What {
            packages: vec![package],
            in_order: false,
            target: RunTarget::Where("name = 'ä'".to_owned()),
            post_command: Some(PostCommand::Run("echo \"ß\"".to_owned())),
            gates: gates(),
            wake: true,
        };
        let one = series::create(conn, &what, &when(), moment(10), &owner, "bob", NOW)?;
        let all = What {
            target: RunTarget::these([ComputerId(7), ComputerId(9)]),
            post_command: None,
            gates: Gates::default(),
            ..what.clone()
        };
        let machine = Owner { user: None, scope: Scope::ALL };
        let two = series::create(conn, &all, &when(), moment(5), &machine, "root", NOW)?;
        let read = series::find(conn, one)?.expect("it is there");
        assert_eq!((&read.what, &read.when, &read.owner, read.next_at), (&what, &when(), &owner, Some(moment(10))));
        assert_eq!(series::find(conn, two)?.expect("it is there").what, all);
        assert_eq!(series::due(conn, moment(4), 10)?, []);
        assert_eq!(series::due(conn, moment(10), 10)?, [(two, moment(5)), (one, moment(10))]);
        assert!(!series::claim(conn, one, moment(9), moment(20))?, "another moment than it is due");
        assert!(series::claim(conn, one, moment(10), moment(20))?);
        assert!(!series::claim(conn, one, moment(10), moment(30))?, "somebody was faster");
        assert_eq!(series::due(conn, moment(10), 10)?, [(two, moment(5))]);
        series::set_stage(conn, two, &Stage::Paused(moment(6), Some("why".to_owned())))?;
        assert_eq!(series::due(conn, moment(99), 10)?, [(one, moment(20))]);
        assert_eq!(series::ailing(conn, 10)?.iter().map(|one| one.id).collect::<Vec<_>>(), [two]);
        series::set_stage(conn, two, &Stage::Ended(moment(7)))?;
        assert_eq!(series::ailing(conn, 10)?, []);
        series::set_owner(conn, one, &machine)?;
        series::set_order(conn, one, &all, &When { zone: "+02:00".to_owned(), ..when() })?;
        let read = series::find(conn, one)?.expect("it is there");
        assert_eq!((read.owner, read.what, read.when.zone.as_str()), (machine, all, "+02:00"));
        let listed = |before| -> Result<Vec<_>, dripfeed::store::StoreError> {
            Ok(series::list(conn, before, 10)?.into_iter().map(|one| one.id).collect())
        };
        let mut listed = listed;
        assert_eq!((listed(None)?, listed(Some(two))?), (vec![two, one], vec![one]));
        Ok(())
    });
}

fn gates_read_back_and_come_with_the_open_jobs(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (computer, package) = (add_computer(conn, "ws-1")?, add_package(conn, "tool")?);
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        jobs::plan(conn, &deployment, &[computer], NOW)?;
        let id = deployment.id;
        assert_eq!(stored::find(conn, id)?, Gates::default());
        assert_eq!(jobs::open_of_computer(conn, computer, &KnownTerms::default())?.remove(0).terms.gates.clone(), None);
        let when = Gates { ranges: None, ..gates() };
        for wanted in [gates(), when, Gates { timetable: None, ..gates() }] {
            stored::set(conn, id, &wanted)?;
            assert_eq!(stored::find(conn, id)?, wanted);
            assert_eq!(
                jobs::open_of_computer(conn, computer, &KnownTerms::default())?.remove(0).terms.gates.clone(),
                Some(wanted)
            );
        }
        stored::set(conn, id, &Gates::default())?;
        assert_eq!(jobs::open_of_computer(conn, computer, &KnownTerms::default())?.remove(0).terms.gates.clone(), None);
        Ok(())
    });
}

fn runs_are_found_by_their_deployments(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let package = add_package(conn, "tool")?;
        let what = What {
            packages: vec![package],
            in_order: false,
            target: RunTarget::All,
            post_command: None,
            gates: Gates::default(),
            wake: false,
        };
        let owner = Owner { user: None, scope: Scope::ALL };
        let id = series::create(conn, &what, &when(), moment(10), &owner, "root", NOW)?;
        let deployment = deployments::create(conn, package, false, &JobOptions::default(), "root", NOW)?;
        let run = |number, deployment| Run {
            series: id,
            number,
            due_at: (number == 1).then_some(moment(10)),
            started_at: moment(11),
            started_by: "somebody".to_owned(),
            deployment,
        };
        let (first, second) = (run(1, Some(deployment)), run(2, None));
        series::add_run(conn, &first)?;
        series::add_run(conn, &second)?;
        assert_eq!(series::runs(conn, id, None, 10)?, [second.clone(), first.clone()]);
        assert_eq!(series::runs(conn, id, Some(2), 10)?, std::slice::from_ref(&first));
        assert_eq!(series::last_deployed(conn, id)?.as_ref(), Some(&first), "the second was for nobody");
        assert_eq!(series::run_of(conn, deployment)?, Some(first));
        assert_eq!(series::find(conn, id)?.expect("it is there").runs, 2);
        Ok(())
    });
}
