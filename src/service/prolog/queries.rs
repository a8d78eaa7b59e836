//! What a check-in asks the database: as much for many packages, mirrors and sites as for one of each.

use super::*;
use crate::model::{Action, Activation, Deployment, ExitCodes, JobOptions, PackageId, Priority};
use crate::protocol::{ComputerFacts, MirrorReport};
use crate::store::mirrors::{Mirror, Reach, Site};
use crate::store::packages::{self, NewPackage};
use crate::store::plans::Plans;
use crate::store::{activations, deployments};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NEAR: &str = "10.1.2.3";

fn device() -> DeviceId {
    "ws-2024-03-05-09-10-11".parse().expect("a device id")
}

fn package(conn: &mut Conn, number: usize) -> Result<PackageId, StoreError> {
    let new = NewPackage {
        name: format!("tool{number}"),
        version: "1".to_owned(),
        description: String::new(),
        os: OsFamily::Linux,
        action: Action::Execute { command: "true".to_owned() },
        priority: Priority::DEFAULT,
        notify: None,
        done: None,
        exit_codes: ExitCodes::default(),
    };
    let id = packages::reserve(conn, &new, NOW)?;
    packages::set_state(conn, id, PackageState::Available)?;
    let here: crate::model::Location = "server.example/download".parse().expect("a location");
    let activation = Activation {
        package: id,
        info_location: here.clone(),
        fragment_location: here,
        activated_at: NOW,
        checked_at: None,
    };
    activations::set(conn, &activation)?;
    Ok(id)
}

/// A computer with an open job for each package; all mirrors hold all packages; the computer is in every site.
fn fill(conn: &mut Conn, jobs: usize, mirrors: usize, sites: u8) -> Result<(), StoreError> {
    let contact = computers::Contact { peer_address: NEAR.to_owned(), user_agent: String::new(), at: NOW };
    let (computer, _) = computers::take_facts(conn, &device(), &ComputerFacts::default(), &contact)?;
    let mut held = Vec::new();
    for number in 0..jobs {
        let package = package(conn, number)?;
        // Each waits for the one before it.
        let options = JobOptions { follows: held.last().copied(), ..JobOptions::default() };
        let id = deployments::create(conn, package, true, &options, "anna", NOW)?;
        let deployment: Deployment = deployments::find(conn, id)?.expect("it was made").deployment;
        assert_eq!(jobs::plan(conn, &deployment, &[computer], NOW)?, 1);
        held.push(package);
    }
    let names: Vec<String> = (0..mirrors).map(|number| format!("m{number}")).collect();
    for name in &names {
        let mirror = Mirror {
            name: name.clone(),
            location: format!("{name}.example/download").parse().expect("a location"),
            packages: crate::protocol::PackageFilter::default(),
            silent_after: Duration::from_hours(1),
            token_hash: None,
            created_at: NOW,
            reported_at: None,
            reported_from: None,
            generation: 0,
            bytes: 0,
            problem: String::new(),
            reach: Reach::default(),
        };
        assert!(mirrors::create(conn, &mirror)?);
        let said = MirrorReport { packages: held.clone(), ..MirrorReport::default() };
        mirrors::report(conn, name, &said, NEAR.parse().expect("an address"), NOW)?;
    }
    for bits in 8..8 + sites {
        let site = Site {
            name: format!("s{bits}"),
            ranges: vec![format!("10.0.0.0/{bits}").parse().expect("a range")],
            mirrors: names.clone(),
            created_at: NOW,
        };
        assert!(mirrors::create_site(conn, &site)?);
    }
    Ok(())
}

/// What is read of the computer, and how many queries that took.
fn read(jobs: usize, mirrors: usize, sites: u8) -> (DeviceContext, usize) {
    let mut plans = Plans::new();
    plans.unheard(|conn| fill(conn, jobs, mirrors, sites)).expect("filled");
    let address = Some(NEAR.parse().expect("an address"));
    let (context, queries) = plans.heard(|conn| {
        let common = Common::load(conn, SettingsLayer::default())?;
        DeviceContext::load(conn, &device(), &common, address)
    });
    (context.expect("read"), queries.len())
}

#[test]
fn a_check_in_asks_as_often_for_one_package_one_mirror_and_one_site_as_for_many() {
    let (one, asked) = read(1, 1, 1);
    assert_eq!((one.jobs.len(), one.nearby.mirrors.len()), (1, 1));
    // Of these three are about mirrors: which site, which mirrors, what they hold.
    assert_eq!(asked, read(1, 0, 0).1 + 3, "without sites nothing is asked about them");
    let (many, asked_for_many) = read(40, 6, 8);
    assert_eq!((many.jobs.len(), many.nearby.mirrors.len()), (40, 6));
    assert!(many.nearby.mirrors.iter().all(|(_, holds)| holds.len() == 40));
    assert_eq!(many.nearby.site.as_deref(), Some("s15"), "the narrowest");
    assert_eq!(asked_for_many, asked);
    assert!(asked < 16, "{asked}");
}
