//! Jobs, on both back ends: planned, told, reported, withdrawn, counted.

use super::*;
use std::sync::Arc;

use dripfeed::store::terms::{KnownTerms, Terms};

super::super::for_each_backend![
    a_job_is_planned_once_while_it_is_open,
    a_job_goes_its_way,
    a_contact_sees_all_that_decides_about_an_open_job,
    what_jobs_of_a_deployment_have_in_common_is_there_once,
    a_report_is_about_the_open_job,
    withdrawing_cancels_what_is_open,
    jobs_are_counted_and_listed,
    the_newest_attempt_speaks_for_a_computer,
    a_deployment_is_cancelled_once,
    what_open_jobs_need_is_summed_up,
    who_had_a_job_cancelled_is_found_while_the_package_is_there,
];

fn a_job_is_planned_once_while_it_is_open(database: &Database) {
    let store = database.open();
    let options = JobOptions {
        force: true,
        schedule: Some("2031/06/30 02:15".parse().expect("a time")),
        post_command: Some(PostCommand::Run("echo 'done'".to_owned())),
        follows: PackageId::new(7),
    };
    let expected = options.clone();
    write(&store, move |conn| {
        let (one, two) = (add_computer(conn, "ws-1")?, add_computer(conn, "ws-2")?);
        let package = add_package(conn, "tool")?;
        let deployment = add_deployment(conn, package, &options)?;
        assert_eq!(jobs::plan(conn, &deployment, &[one, ComputerId(999_999)], NOW)?, 1, "who is gone is left out");
        assert_eq!(jobs::plan(conn, &deployment, &[one, two, two], later(1))?, 1, "one has it already");
        assert_eq!(jobs::plan(conn, &deployment, &[], NOW)?, 0);
        let job = jobs::for_report(conn, one, package)?.expect("a job");
        assert_eq!((job.options, job.state, job.created_at), (expected.clone(), JobState::Pending, NOW));
        assert_eq!((job.deployment, job.computer, job.package), (deployment.id, one, package));
        // Another package is another matter, and so is the same one after its end.
        let other = add_package(conn, "other")?;
        let other = add_deployment(conn, other, &JobOptions::default())?;
        assert_eq!(jobs::plan(conn, &other, &[one, two], NOW)?, 2);
        jobs::finish(conn, job.id, JobState::Failed, &ResultCode::error("EXECUTE"), NOW)?;
        assert_eq!(jobs::plan(conn, &deployment, &[one, two], later(2))?, 1);
        let open = jobs::open_of_computer(conn, one, &KnownTerms::default())?;
        assert_eq!(open.iter().map(|open| open.terms.package).collect::<Vec<_>>(), [other.package, package]);
        Ok(())
    });
}

fn what_jobs_of_a_deployment_have_in_common_is_there_once(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (one, two, three) = (add_computer(conn, "ws-1")?, add_computer(conn, "ws-2")?, add_computer(conn, "ws-3")?);
        let package = add_package(conn, "tool")?;
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        jobs::plan(conn, &deployment, &[one, two], NOW)?;
        // A job keeps what was asked for when it was planned.
        let options = JobOptions { force: true, ..JobOptions::default() };
        jobs::plan(conn, &Deployment { options: options.clone(), ..deployment }, &[three], NOW)?;

        let known = KnownTerms::default();
        let mut terms = |computer| -> Result<Arc<Terms>, StoreError> {
            Ok(jobs::open_of_computer(conn, computer, &known)?.remove(0).terms)
        };
        let (first, second, third) = (terms(one)?, terms(two)?, terms(three)?);
        assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &terms(one)?));
        assert_eq!((first.package, &first.options), (package, &JobOptions::default()));
        assert_eq!((third.package, &third.options), (package, &options));
        // Whoever knows them already does not see a change: with one, others are begun.
        packages::set_state(conn, package, PackageState::Withdrawn)?;
        let state = |conn: &mut Conn, known: &KnownTerms| -> Result<PackageState, StoreError> {
            Ok(jobs::open_of_computer(conn, one, known)?.remove(0).terms.package_state)
        };
        assert_eq!(state(conn, &known)?, PackageState::Available);
        assert_eq!(state(conn, &KnownTerms::default())?, PackageState::Withdrawn);
        Ok(())
    });
}

fn a_job_goes_its_way(database: &Database) {
    let store = database.open();
    let (computer, package, job) = one_job(&store);
    let newest =
        |store: &Store| read(store, move |conn| jobs::for_report(conn, computer, package)).expect("there is a job");
    write(&store, move |conn| jobs::set_withheld(conn, job, Some("not activated"), later(1)));
    write(&store, move |conn| jobs::set_withheld(conn, job, Some("not activated"), later(2)));
    let seen = newest(&store);
    assert_eq!((seen.withheld.as_deref(), seen.updated_at), (Some("not activated"), later(1)));
    write(&store, move |conn| jobs::set_withheld(conn, job, Some("switched off"), later(3)));
    assert_eq!(newest(&store).withheld.as_deref(), Some("switched off"));
    write(&store, move |conn| jobs::set_withheld(conn, job, None, later(4)));
    write(&store, move |conn| jobs::set_withheld(conn, job, None, later(5)));
    let seen = newest(&store);
    assert_eq!((seen.withheld, seen.updated_at), (None, later(4)));

    for seconds in [6, 7] {
        write(&store, move |conn| jobs::mark_offered(conn, &[job], later(seconds)));
        write(&store, move |conn| jobs::mark_offered(conn, &[job, JobId(999_999)], later(seconds)));
    }
    let seen = newest(&store);
    assert_eq!((seen.state, seen.offered_at, seen.updated_at), (JobState::Offered, Some(later(6)), later(6)));
    write(&store, |conn| jobs::mark_offered(conn, &[], NOW));
    // Few at once or many: each of them, and none twice.
    for count in 1..=6 {
        write(&store, move |conn| {
            let package = add_package(conn, "many")?;
            let deployment = add_deployment(conn, package, &JobOptions::default())?;
            let computers: Vec<ComputerId> =
                (0..6).map(|n| add_computer(conn, &format!("many-{n}"))).collect::<Result<_, _>>()?;
            jobs::plan(conn, &deployment, &computers, NOW)?;
            let planned = jobs::list(conn, Some(package), None, None, 10)?;
            let ids: Vec<JobId> = planned.iter().take(count).map(|line| line.job.id).collect();
            jobs::mark_offered(conn, &ids, NOW)?;
            let offered = jobs::list(conn, Some(package), None, None, 10)?;
            let offered = offered.iter().filter(|line| line.job.state == JobState::Offered);
            assert_eq!(offered.map(|line| line.job.id).collect::<Vec<_>>(), ids);
            Ok(())
        });
    }

    let code = ResultCode::from_wire("SUCCESS_3");
    let sent = code.clone();
    write(&store, move |conn| jobs::finish(conn, job, JobState::of_result(&sent), &sent, later(8)));
    let seen = newest(&store);
    assert_eq!((seen.state, seen.result, seen.finished_at), (JobState::Succeeded, Some(code), Some(later(8))));
    assert_eq!(read(&store, move |conn| jobs::open_of_computer(conn, computer, &KnownTerms::default())).len(), 0);
    assert!(!write(&store, move |conn| jobs::cancel(conn, job, later(9))), "it has ended");
}

fn a_contact_sees_all_that_decides_about_an_open_job(database: &Database) {
    let store = database.open();
    let (computer, package, job) = one_job(&store);
    let only = |store: &Store| {
        let mut open = read(store, move |conn| jobs::open_of_computer(conn, computer, &KnownTerms::default()));
        assert_eq!(open.len(), 1);
        open.remove(0)
    };
    let seen = only(&store);
    assert_eq!(
        (seen.id, seen.terms.package_state, seen.terms.package_os),
        (job, PackageState::Available, OsFamily::Linux)
    );
    assert_eq!((seen.terms.activation.clone(), seen.in_history), (None, false));
    let activation = Activation {
        package,
        info_location: "host:8443/download".parse().expect("a location"),
        fragment_location: "host/download".parse().expect("a location"),
        activated_at: NOW,
        checked_at: Some(NOW),
    };
    let expected = activation.clone();
    write(&store, move |conn| {
        activations::set(conn, &activation)?;
        // Only the agent's word counts.
        installations::record_job(conn, computer, package, NOW)?;
        packages::set_state(conn, package, PackageState::Withdrawn)
    });
    let seen = only(&store);
    assert_eq!((seen.terms.activation.clone(), seen.in_history), (Some(expected), false));
    assert_eq!(seen.terms.package_state, PackageState::Withdrawn);
    write(&store, move |conn| installations::set_reported(conn, computer, &[package], NOW));
    assert!(only(&store).in_history);
    assert_eq!(read(&store, |conn| jobs::open_of_computer(conn, ComputerId(999_999), &KnownTerms::default())).len(), 0);
}

fn a_report_is_about_the_open_job(database: &Database) {
    let store = database.open();
    let (computer, package, first) = one_job(&store);
    write(&store, move |conn| {
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        jobs::finish(conn, first, JobState::Failed, &ResultCode::error("UNZIP"), NOW)?;
        jobs::plan(conn, &deployment, &[computer], NOW)?;
        let second = jobs::open_of_computer(conn, computer, &KnownTerms::default())?.remove(0).id;
        let found = |conn: &mut Conn| Ok::<_, StoreError>(jobs::for_report(conn, computer, package)?.map(|job| job.id));
        assert_eq!(found(conn)?, Some(second), "the open one");
        assert!(jobs::cancel(conn, second, NOW)?);
        assert_eq!(found(conn)?, Some(second), "the newest, when none is open");
        let state = jobs::for_report(conn, computer, package)?.map(|job| job.state);
        assert_eq!(state, Some(JobState::Cancelled));
        let nobody = PackageId::new(5).expect("an id");
        assert_eq!(jobs::for_report(conn, computer, nobody)?, None);
        Ok(())
    });
}

fn withdrawing_cancels_what_is_open(database: &Database) {
    let store = database.open();
    let (computer, package, job) = one_job(&store);
    write(&store, move |conn| {
        let other = add_package(conn, "other")?;
        let all = deployments::create(conn, package, true, &JobOptions::default(), "admin", later(1))?;
        let stays = deployments::create(conn, other, true, &JobOptions::default(), "admin", later(2))?;
        let ids = |conn: &mut Conn| -> Result<Vec<DeploymentId>, StoreError> {
            Ok(deployments::standing(conn)?.iter().map(|deployment| deployment.id).collect())
        };
        assert_eq!(ids(conn)?, [all, stays]);
        let standing = deployments::standing(conn)?.remove(0);
        assert_eq!((standing.package, standing.all_computers, standing.created_at), (package, true, later(1)));
        packages::set_state(conn, package, PackageState::Withdrawn)?;
        assert_eq!(ids(conn)?, [stays], "a withdrawn package is not deployed any more");
        packages::set_state(conn, package, PackageState::Available)?;
        assert_eq!(deployments::cancel_of_package(conn, package, NOW)?, 2);
        assert_eq!(deployments::cancel_of_package(conn, package, NOW)?, 0);
        assert_eq!(ids(conn)?, [stays]);
        assert_eq!(jobs::cancel_of_package(conn, package, later(3))?, 1);
        assert_eq!(jobs::cancel_of_package(conn, package, later(4))?, 0);
        let cancelled = jobs::for_report(conn, computer, package)?.expect("the job stays");
        assert_eq!((cancelled.id, cancelled.state, cancelled.updated_at), (job, JobState::Cancelled, later(3)));
        Ok(())
    });
}

fn jobs_are_counted_and_listed(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let computers =
            (0..4).map(|n| add_computer(conn, &format!("ws-{n}"))).collect::<Result<Vec<ComputerId>, _>>()?;
        let (one, two) = (add_package(conn, "one")?, add_package(conn, "two")?);
        for package in [one, two] {
            let deployment = add_deployment(conn, package, &JobOptions::default())?;
            jobs::plan(conn, &deployment, &computers, NOW)?;
        }
        let of_first = jobs::list(conn, None, Some(computers[0]), None, 10)?;
        assert_eq!(of_first.len(), 2);
        let line = &of_first[1];
        assert_eq!((line.computer_name.as_str(), line.device_id.as_str()), ("ws-0", device_id("ws-0").as_str()));
        assert_eq!((line.package_name.as_str(), line.package_version.as_str()), ("two", "1.0"));
        jobs::finish(conn, line.job.id, JobState::Succeeded, &ResultCode::success(), NOW)?;
        let counts = jobs::counts(conn, None)?;
        let expected = [(one, JobState::Pending, 4), (two, JobState::Pending, 3), (two, JobState::Succeeded, 1)];
        assert_eq!(counts, expected);
        assert_eq!(jobs::counts(conn, Some(two))?, expected[1..]);
        assert_eq!(jobs::counts(conn, PackageId::new(3))?, []);
        // A page after the other gives each once.
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = jobs::list(conn, Some(one), None, after, 3)?;
            let Some(last) = page.last() else { break };
            after = Some(last.job.id);
            seen.extend(page.iter().map(|line| line.job.computer));
        }
        assert_eq!(seen, computers);
        assert_eq!(jobs::list(conn, Some(one), Some(computers[2]), None, 10)?.len(), 1);
        assert_eq!(jobs::list(conn, None, None, None, 100)?.len(), 8);
        Ok(())
    });
}

fn the_newest_attempt_speaks_for_a_computer(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (one, two) = (add_computer(conn, "ws-1")?, add_computer(conn, "ws-2")?);
        let package = add_package(conn, "tool")?;
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        let id = deployment.id;
        jobs::plan(conn, &deployment, &[one, two], NOW)?;
        let first = jobs::open_of_computer(conn, one, &KnownTerms::default())?.remove(0).id;
        jobs::finish(conn, first, JobState::Failed, &ResultCode::error("EXECUTE"), later(1))?;
        let failed = jobs::newest_of_deployment(conn, id, &[JobState::Failed, JobState::Expired], None)?;
        assert_eq!(failed.iter().map(|job| (job.job, job.computer)).collect::<Vec<_>>(), [(first, one)]);
        assert_eq!(failed[0].device_id, device_id("ws-1").to_string());
        jobs::plan(conn, &deployment, &[one], later(2))?;
        assert_eq!(jobs::newest_of_deployment(conn, id, &[JobState::Failed], None)?, []);
        assert_eq!(jobs::newest_of_deployment(conn, id, &[JobState::Pending], None)?.len(), 2);
        assert_eq!(jobs::counts_of_deployments(conn, None)?, [(id, JobState::Pending, 2)]);
        // Of another deployment: an attempt there says nothing here.
        let other = add_deployment(conn, package, &JobOptions::default())?;
        let second = jobs::open_of_computer(conn, one, &KnownTerms::default())?.remove(0).id;
        jobs::finish(conn, second, JobState::Succeeded, &ResultCode::success(), later(3))?;
        jobs::plan(conn, &other, &[one], later(4))?;
        assert_eq!(
            jobs::counts_of_deployments(conn, Some(id))?,
            [(id, JobState::Pending, 1), (id, JobState::Succeeded, 1)]
        );
        assert_eq!(jobs::counts_of_deployments(conn, None)?.len(), 3);
        let lines = jobs::of_deployment(conn, id, None, 10)?;
        let states: Vec<JobState> = lines.iter().map(|line| line.job.state).collect();
        assert_eq!(states, [JobState::Failed, JobState::Pending, JobState::Succeeded]);
        let rest = jobs::of_deployment(conn, id, Some(lines[0].job.id), 1)?;
        assert_eq!(rest.iter().map(|line| line.job.id).collect::<Vec<_>>(), [lines[1].job.id]);
        Ok(())
    });
}

fn a_deployment_is_cancelled_once(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let package = add_package(conn, "tool")?;
        let (one, two) = (
            add_deployment(conn, package, &JobOptions::default())?.id,
            add_deployment(conn, package, &JobOptions::default())?.id,
        );
        assert!(deployments::cancel(conn, one, later(1))?);
        assert!(!deployments::cancel(conn, one, later(2))?);
        let line = deployments::find(conn, one)?.expect("made");
        assert_eq!((line.deployment.cancelled_at, line.created_by.as_str()), (Some(later(1)), "admin"));
        assert_eq!((line.package_name.as_str(), line.package_version.as_str()), ("tool", "1.0"));
        let ids = |lines: Vec<deployments::DeploymentLine>| -> Vec<DeploymentId> {
            lines.iter().map(|line| line.deployment.id).collect()
        };
        assert_eq!(ids(deployments::list(conn, None, 10)?), [two, one]);
        assert_eq!(ids(deployments::list(conn, None, 1)?), [two]);
        assert_eq!(ids(deployments::list(conn, Some(two), 10)?), [one]);
        assert!(deployments::find(conn, DeploymentId(999))?.is_none());
        Ok(())
    });
}

fn what_open_jobs_need_is_summed_up(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (one, two) = (add_computer(conn, "ws-1")?, add_computer(conn, "ws-2")?);
        let package = add_package(conn, "tool")?;
        let ended = add_package(conn, "ended")?;
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        jobs::plan(conn, &deployment, &[one, two], NOW)?;
        let deployment = add_deployment(conn, ended, &JobOptions::default())?;
        jobs::plan(conn, &deployment, &[one], NOW)?;
        jobs::cancel_of_package(conn, ended, NOW)?;
        let built = packages::find(conn, package)?.expect("made");
        let all = jobs::open_packages(conn, None)?;
        assert_eq!(all.iter().map(|open| (open.package, open.jobs)).collect::<Vec<_>>(), [(package, 2)]);
        assert_eq!((all[0].priority, all[0].fragments), (built.priority, built.fragments));
        assert_eq!(jobs::open_packages(conn, Some(two))?[0].jobs, 1);
        assert_eq!(jobs::open_packages(conn, Some(ComputerId(999_999)))?, []);
        settings::set(conn, Scope::Computer(two), SettingKey::Timeout, 3)?;
        settings::set(conn, Scope::Global, SettingKey::Timeout, 4)?;
        let layers = settings::computer_layers(conn)?;
        assert_eq!(layers.keys().copied().collect::<Vec<_>>(), [two]);
        assert_eq!(layers[&two].value(SettingKey::Timeout), Some(3));
        settings::set(conn, Scope::Computer(one), SettingKey::Timeout, 5)?;
        settings::set(conn, Scope::Computer(one), SettingKey::Download, 0)?;
        let counts = settings::computer_counts(conn)?;
        assert_eq!(counts, [(SettingKey::Download, 1), (SettingKey::Timeout, 2)].into());
        let mut both = [(one, 5), (two, 3)];
        both.sort_unstable();
        assert_eq!(settings::computer_values(conn, SettingKey::Timeout, 10)?, both);
        assert_eq!(settings::computer_values(conn, SettingKey::Timeout, 1)?, both[..1]);
        assert_eq!(settings::computer_values(conn, SettingKey::Frequency, 10)?, []);
        Ok(())
    });
}

fn who_had_a_job_cancelled_is_found_while_the_package_is_there(database: &Database) {
    let store = database.open();
    let (computer, package, job) = one_job(&store);
    write(&store, move |conn| {
        assert_eq!(events::last(conn)?, 0);
        assert_eq!(jobs::cancelled_on_available(conn)?, []);
        jobs::cancel(conn, job, NOW)?;
        let address = contact(NOW).peer_address;
        assert_eq!(jobs::cancelled_on_available(conn)?, [(computer, package, address.clone())]);
        assert_eq!(computers::heard_from(conn, &address)?, 1);
        assert_eq!(computers::heard_from(conn, "203.0.113.99")?, 0);
        let event = |kind| Event {
            at: NOW,
            kind,
            computer: Some(computer),
            device_id: String::new(),
            package: Some(package),
            job: Some(job),
            text: String::new(),
        };
        events::append(conn, &[event(EventKind::Cancelled), event(EventKind::Reported)])?;
        let last = events::last(conn)?;
        assert!(events::cancelled_after(conn, 0)?);
        assert!(!events::cancelled_after(conn, last)?);
        assert!(!events::cancelled_after(conn, last - 1)?, "a report is no cancellation");
        packages::set_state(conn, package, PackageState::Withdrawn)?;
        assert_eq!(jobs::cancelled_on_available(conn)?, []);
        Ok(())
    });
}
