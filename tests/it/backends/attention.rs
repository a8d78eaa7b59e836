//! What needs a person, and who looks like another, asked of both back ends.

use std::collections::BTreeMap;

use dripfeed::model::{ComputerId, JobId, JobOptions, JobState, PackageId, ResultCode};
use dripfeed::store::attention::{self, Sight};
use dripfeed::store::entered::{self, Entry};
use dripfeed::store::expected::{self, Expected};
use dripfeed::store::registration::{self, Made};
use dripfeed::store::{Conn, StoreError, computers, deployments, groups, jobs, likenesses, seen};

use super::database::{Database, read, write};
use super::functions::{NOW, add_computer, add_package, later};

super::for_each_backend![what_needs_a_person_is_found, pairs_and_entries_are_kept, names_and_keys_are_kept];

/// Three computers, two of them told of a package, one with a failure.
fn fleet(conn: &mut Conn) -> Result<(PackageId, Vec<ComputerId>), StoreError> {
    let ids = ["a", "b", "c"].map(|name| add_computer(conn, name)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let package = add_package(conn, "tool")?;
    let id = deployments::create(conn, package, true, &JobOptions::default(), "x", NOW)?;
    let deployment = deployments::find(conn, id)?.expect("it was made").deployment;
    jobs::plan(conn, &deployment, &ids, NOW)?;
    let planned: Vec<JobId> = jobs::of_deployment(conn, id, None, 10)?.iter().map(|line| line.job.id).collect();
    jobs::mark_offered(conn, &planned, NOW)?;
    jobs::finish(conn, planned[2], JobState::Failed, &ResultCode::from_wire("ERR_EXECUTE"), later(1))?;
    Ok((package, ids))
}

fn what_needs_a_person_is_found(database: &Database) {
    let store = database.open();
    let (package, ids) = write(&store, fleet);
    for (scope, seen) in [(None, 3), (Some("name = a or name = c"), 2), (Some("name != a"), 2), (Some("name = x"), 0)] {
        let query = scope.map(|text| text.parse().expect("a query"));
        let told = read(&store, move |conn| {
            let sight = Sight::of(conn, query.as_ref(), NOW)?;
            let silent = attention::silent(conn, &sight, later(9), 10)?;
            // Both were heard of at the moment when they were told.
            let none = attention::stuck(conn, &sight, |_| true, later(9), None, 10)?;
            assert!(none.is_empty());
            let stuck = attention::stuck(conn, &sight, |family| family == "tool", NOW, None, 10)?;
            let failed = attention::failed(conn, &sight, |_| true, 10)?;
            Ok((silent, stuck, failed, seen::of_packages(conn, &sight, &[package])?))
        });
        let (silent, stuck, failed, counts) = told;
        assert_eq!((silent.len(), stuck.len()), (seen, 0), "{scope:?}");
        let counted: u64 = counts.values().flatten().map(|(_, count)| *count).sum();
        assert_eq!(counted, seen as u64, "{scope:?}");
        assert_eq!(failed.len(), usize::from(seen > 0), "{scope:?}");
    }
    let contact = computers::Contact { peer_address: String::new(), user_agent: String::new(), at: later(20) };
    let first = ids[0];
    write(&store, move |conn| computers::touch(conn, first, &contact));
    let stuck = read(&store, |conn| {
        let sight = Sight::of(conn, None, NOW)?;
        attention::stuck(conn, &sight, |_| true, later(10), None, 10)
    });
    assert_eq!(stuck.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a"]);
    let place = stuck[0].place();
    let rest = read(&store, move |conn| {
        let sight = Sight::of(conn, None, NOW)?;
        attention::stuck(conn, &sight, |_| true, later(10), Some(place), 10)
    });
    assert!(rest.is_empty());
}

fn pairs_and_entries_are_kept(database: &Database) {
    let store = database.open();
    let (one, other, third) =
        write(&store, |conn| Ok((add_computer(conn, "a")?, add_computer(conn, "b")?, add_computer(conn, "c")?)));
    let open = || {
        read(&store, |conn| {
            let sight = Sight::of(conn, None, NOW)?;
            likenesses::open(conn, &sight, None, 10)
        })
    };
    write(&store, move |conn| likenesses::refresh(conn, other, &BTreeMap::from([(one, 2), (third, 4)]), NOW));
    let pairs = open();
    assert_eq!(
        pairs.iter().map(|pair| (pair.older, pair.newer, pair.same)).collect::<Vec<_>>(),
        [(other, third, 4), (one, other, 2)]
    );
    assert!(write(&store, move |conn| likenesses::settle(conn, other, one, Some((NOW, "ann")))));
    assert!(!write(&store, move |conn| likenesses::settle(conn, one, other, Some((NOW, "ann")))));
    // What is settled stays; what is not the same any more goes.
    write(&store, move |conn| likenesses::refresh(conn, other, &BTreeMap::new(), NOW));
    assert!(open().is_empty());
    assert!(write(&store, move |conn| likenesses::settle(conn, one, other, None)));
    assert_eq!(open().len(), 1);

    let entry = Entry { name: "Till".to_owned(), serial: "S1".to_owned(), tag: "Rome".to_owned() };
    let id: dripfeed::model::DeviceId = "Till-2026-11-20-10-00-00".parse().expect("a device id");
    let again = (id.clone(), entry.clone());
    let added = write(&store, move |conn| entered::add(conn, &id, &entry, NOW, "ann")).expect("it is new");
    assert_eq!(write(&store, move |conn| entered::add(conn, &again.0, &again.1, NOW, "ann")), None);
    let (who, any, among) = read(&store, move |conn| {
        Ok((entered::find(conn, added)?, entered::any(conn)?, entered::among(conn, &[one, added])?))
    });
    assert_eq!((who, any, among), (Some((NOW, "ann".to_owned())), true, vec![added]));
    write(&store, move |conn| entered::came(conn, added));
    assert!(!read(&store, entered::any));
}

fn names_and_keys_are_kept(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        for name in ["ws-1", "WS-2", "ws-3", "x_1", "xa1"] {
            expected::add(conn, &Expected { name: name.to_owned(), at: NOW, by: "ann".to_owned() })?;
        }
        Ok(())
    });
    let names = |beginning: &'static str, after: Option<&'static str>| {
        let page = read(&store, move |conn| expected::page(conn, beginning, after, 2));
        page.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(names("WS", None), ["ws-1", "WS-2"]);
    assert_eq!(names("ws", Some("WS-2")), ["ws-3"]);
    assert_eq!(names("x_", None), ["x_1"], "a sign of patterns stands for itself");
    assert_eq!(read(&store, expected::count), 5);

    for key in ["first", "second"] {
        let made = Made { key: key.to_owned(), at: NOW, by: "ann".to_owned() };
        write(&store, move |conn| registration::set(conn, &made));
    }
    assert_eq!(read(&store, registration::find).map(|made| made.key).as_deref(), Some("second"));
    assert!(write(&store, registration::remove) && !write(&store, registration::remove));

    let described = write(&store, |conn| {
        let desks = groups::create(conn, "desks", None, "ann", NOW)?.expect("it is new");
        groups::create(conn, "tills", None, "ann", NOW)?;
        Ok((groups::describe(conn, desks, "Tills", "")?, groups::describe(conn, desks, "Desks", "by the door")?))
    });
    assert_eq!(described, (false, true));
    let found = read(&store, |conn| groups::find_by_name(conn, "DESKS")).expect("a group");
    assert_eq!((&*found.name, &*found.description), ("Desks", "by the door"));
}
