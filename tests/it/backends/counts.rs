//! Counters of jobs, kept by triggers, beside what counting them says.

use std::collections::BTreeMap;

use dripfeed::model::{
    ComputerId, Deployment, DeploymentId, JobId, JobOptions, JobState, PackageId, PackageState, ResultCode,
};
use dripfeed::store::{Conn, StoreError, computers, deployments, jobs, merges, packages};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::database::{Database, read, write};
use super::functions::{NOW, add_computer, later, new_package};

super::for_each_backend![counters_say_what_counting_says];

/// Something that is done to jobs. Numbers count round what there is.
#[derive(Clone, Debug)]
enum Step {
    Plan(usize, Vec<usize>),
    Offer(usize),
    Finish(usize, bool),
    Cancel(usize),
    Withdraw(usize),
    Move(usize, usize),
    Delete(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = || 0..200_usize;
    prop_oneof![
        4 => (n(), prop::collection::vec(n(), 1..6)).prop_map(|(deployment, computers)| Step::Plan(deployment, computers)),
        3 => n().prop_map(Step::Offer),
        4 => (n(), any::<bool>()).prop_map(|(job, good)| Step::Finish(job, good)),
        1 => n().prop_map(Step::Cancel),
        1 => n().prop_map(Step::Withdraw),
        1 => (n(), n()).prop_map(|(job, to)| Step::Move(job, to)),
        1 => n().prop_map(Step::Delete),
    ]
}

fn do_step(conn: &mut Conn, step: Step, all: &[Deployment]) -> Result<(), StoreError> {
    let there: Vec<ComputerId> = computers::all_ids(conn)?;
    let listed = jobs::list(conn, None, None, None, 1000)?;
    let job = |n: usize| listed.get(n % listed.len().max(1)).map(|line| line.job.clone());
    match step {
        Step::Plan(deployment, wanted) => {
            let wanted: Vec<ComputerId> =
                wanted.iter().filter_map(|n| there.get(n % there.len().max(1)).copied()).collect();
            jobs::plan(conn, &all[deployment % all.len()], &wanted, NOW)?;
        }
        Step::Offer(n) => {
            let some: Vec<JobId> = listed.iter().skip(n).map(|line| line.job.id).collect();
            jobs::mark_offered(conn, &some, later(1))?;
        }
        Step::Finish(n, good) => {
            let (state, code) = if good { (JobState::Succeeded, "SUCCESS") } else { (JobState::Failed, "ERR_EXECUTE") };
            if let Some(job) = job(n).filter(|job| job.state.is_open()) {
                jobs::finish(conn, job.id, state, &ResultCode::from_wire(code), later(2))?;
            }
        }
        Step::Cancel(n) => {
            if let Some(job) = job(n) {
                jobs::cancel(conn, job.id, later(3))?;
            }
        }
        Step::Withdraw(n) => {
            jobs::cancel_of_package(conn, all[n % all.len()].package, later(4))?;
        }
        Step::Move(n, to) => {
            // One that is open may have its like there, which is refused; only what ended moves here.
            if let (Some(job), Some(to)) = (job(n), there.get(to % there.len().max(1)))
                && !job.state.is_open()
            {
                merges::move_jobs(conn, &[job.id], job.computer, *to)?;
            }
        }
        Step::Delete(n) => {
            if there.len() > 3 {
                computers::delete(conn, there[n % there.len()])?;
            }
        }
    }
    Ok(())
}

type Counts = (BTreeMap<(DeploymentId, JobState), u64>, BTreeMap<(PackageId, JobState), u64>);

fn counted(conn: &mut Conn) -> Result<Counts, StoreError> {
    let all: Vec<_> = jobs::list(conn, None, None, None, 1000)?.into_iter().map(|line| line.job).collect();
    let (mut of_deployments, mut of_packages) = Counts::default();
    for job in &all {
        *of_packages.entry((job.package, job.state)).or_default() += 1;
        let again = all
            .iter()
            .any(|other| (other.computer, other.deployment) == (job.computer, job.deployment) && other.id > job.id);
        if !again {
            *of_deployments.entry((job.deployment, job.state)).or_default() += 1;
        }
    }
    Ok((of_deployments, of_packages))
}

fn kept(conn: &mut Conn) -> Result<Counts, StoreError> {
    let of_deployments = jobs::counts_of_deployments(conn, None)?;
    let of_packages = jobs::counts(conn, None)?;
    Ok((
        of_deployments.into_iter().map(|(deployment, state, count)| ((deployment, state), count)).collect(),
        of_packages.into_iter().map(|(package, state, count)| ((package, state), count)).collect(),
    ))
}

fn counters_say_what_counting_says(database: &Database) {
    let store = database.open();
    let all = write(&store, |conn| {
        let mut all = Vec::new();
        for n in 0..40 {
            add_computer(conn, &format!("ws{n}"))?;
        }
        for n in 0..3 {
            let package = packages::reserve(conn, &new_package("tool"), later(n))?;
            packages::set_state(conn, package, PackageState::Available)?;
            let options = JobOptions::default();
            // Two deployments of a package: one waits where the other is open.
            for _ in 0..2 {
                let id = deployments::create(conn, package, true, &options, "x", NOW)?;
                all.extend(deployments::find(conn, id)?.map(|line| line.deployment));
            }
        }
        Ok(all)
    });
    let retried = std::cell::Cell::new(0_u64);
    let config = Config { failure_persistence: None, ..Config::with_cases(8) };
    let steps = prop::collection::vec(any_step(), 40);
    // The same steps in every run.
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(&steps, |steps| {
            let all = all.clone();
            write(&store, move |conn| steps.into_iter().try_for_each(|step| do_step(conn, step, &all)));
            let (kept, counted) = read(&store, |conn| Ok((kept(conn)?, counted(conn)?)));
            retried.set(counted.1.values().sum::<u64>() - counted.0.values().sum::<u64>());
            prop_assert_eq!(kept, counted);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(retried.get() > 5, "only {} jobs were tried again", retried.get());
}
