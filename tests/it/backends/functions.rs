//! Every store function, told as it is used.

mod job;

use dripfeed::archive::SplitFragment;
use dripfeed::model::settings::{SettingKey, SettingsLayer};
use dripfeed::model::{
    Action, Activation, ComputerId, Deployment, DeploymentId, DeviceId, Digest, DigestAlgorithm, Done, FragmentCount,
    FragmentNumber, Hasher, JobId, JobOptions, JobState, Nobody, Notify, OsFamily, Package, PackageId, PackageState,
    PostCommand, Priority, PromptPolicy, ResultCode, UnixTime,
};
use dripfeed::protocol::{ComputerFacts, Network};
use dripfeed::store::computers::Contact;
use dripfeed::store::events::{Event, EventKind};
use dripfeed::store::installations::Via;
use dripfeed::store::packages::{BuiltContent, NewPackage};
use dripfeed::store::settings::Scope;
use dripfeed::store::terms::KnownTerms;
use dripfeed::store::users::User;
use dripfeed::store::{
    Conn, Store, StoreError, activations, computers, deployments, events, installations, jobs, packages, settings,
    users,
};

use super::database::{Database, read, write};

super::for_each_backend![
    an_id_is_never_given_out_twice,
    a_package_keeps_every_word,
    only_a_package_that_is_being_built_takes_content,
    packages_are_listed_newest_first,
    an_activation_replaces_the_earlier_one,
    an_inventory_makes_the_computer_once,
    a_contact_is_written_without_an_inventory,
    adapters_and_document_are_replaced,
    computers_are_found_by_name_in_any_case,
    a_ledger_keeps_apart_what_the_agent_and_what_jobs_said,
    events_are_kept_verbatim_and_for_ever,
    settings_are_kept_by_layer,
    users_are_kept,
    a_computer_goes_with_all_that_is_its_own,
    thousands_of_rows_go_in_at_once,
    a_row_that_does_not_parse_is_corrupt,
];

pub(super) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

pub(super) fn later(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(1_800_000_000 + seconds)
}

pub(super) fn new_package(name: &str) -> NewPackage {
    NewPackage {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        description: String::new(),
        os: OsFamily::Linux,
        action: Action::Execute { command: "true".to_owned() },
        priority: Priority::DEFAULT,
        notify: None,
        done: None,
        exit_codes: dripfeed::model::ExitCodes::default(),
    }
}

fn digest(algorithm: DigestAlgorithm, text: &str) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(text.as_bytes());
    hasher.finish()
}

fn content(fragments: u32) -> BuiltContent {
    let numbers = FragmentCount(fragments).numbers();
    BuiltContent {
        size: u64::from(fragments) * 1000,
        md5: Some(digest(DigestAlgorithm::Md5, "all")),
        sha256: Some(digest(DigestAlgorithm::Sha256, "all")),
        fragments: numbers
            .map(|number| SplitFragment {
                number,
                size: 1000,
                sha256: digest(DigestAlgorithm::Sha256, &number.to_string()),
            })
            .collect(),
    }
}

pub(super) fn contact(at: UnixTime) -> Contact {
    Contact { peer_address: "192.0.2.7".to_owned(), user_agent: "OCS-NG_unified_unix_agent_v2.9".to_owned(), at }
}

pub(super) fn device_id(name: &str) -> DeviceId {
    format!("{name}-2024-03-05-09-10-11").parse().expect("a device id")
}

pub(super) fn facts(name: &str) -> ComputerFacts {
    ComputerFacts { name: name.to_owned(), os_name: "Debian GNU/Linux 12".to_owned(), ..ComputerFacts::default() }
}

pub(super) fn add_computer(conn: &mut Conn, name: &str) -> Result<ComputerId, StoreError> {
    computers::take_facts(conn, &device_id(name), &facts(name), &contact(NOW)).map(|(id, _)| id)
}

pub(super) fn add_package(conn: &mut Conn, name: &str) -> Result<PackageId, StoreError> {
    let id = packages::reserve(conn, &new_package(name), NOW)?;
    packages::set_content(conn, id, &content(2))?;
    packages::set_state(conn, id, PackageState::Available)?;
    Ok(id)
}

pub(super) fn add_deployment(
    conn: &mut Conn,
    package: PackageId,
    options: &JobOptions,
) -> Result<Deployment, StoreError> {
    let id = deployments::create(conn, package, false, options, "admin", NOW)?;
    Ok(Deployment {
        id,
        package,
        all_computers: false,
        group: None,
        options: options.clone(),
        created_at: NOW,
        cancelled_at: None,
        closed_at: None,
        bundle: None,
        approval: None,
    })
}

/// A computer with one open job of one package.
pub(super) fn one_job(store: &Store) -> (ComputerId, PackageId, JobId) {
    write(store, |conn| {
        let computer = add_computer(conn, "ws-1")?;
        let package = add_package(conn, "tool")?;
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        assert_eq!(jobs::plan(conn, &deployment, &[computer], NOW)?, 1);
        let open = jobs::open_of_computer(conn, computer, &KnownTerms::default())?;
        Ok((computer, package, open[0].id))
    })
}

fn an_id_is_never_given_out_twice(database: &Database) {
    let store = database.open();
    let ids: Vec<u32> = write(&store, |conn| {
        let mut ids = Vec::new();
        for n in 0..4 {
            let id = packages::reserve(conn, &new_package("tool"), NOW)?;
            ids.push(id.number());
            if n % 2 == 1 {
                packages::discard(conn, id)?;
                assert_eq!(packages::find(conn, id)?, None);
            }
        }
        // A clock that was put back changes nothing, one that went on is followed, one beyond 2038 is not.
        for seconds in [-1000, 100, 900_000_000] {
            ids.push(packages::reserve(conn, &new_package("tool"), later(seconds))?.number());
        }
        Ok(ids)
    });
    let first = 1_800_000_000;
    assert_eq!(ids, [first, first + 1, first + 2, first + 3, first + 4, first + 100, first + 101]);
    // Taken back with its transaction, it was never given out.
    let refused = store.write_now(|conn| {
        packages::reserve(conn, &new_package("tool"), NOW)?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(matches!(refused, Err(StoreError::Closed)));
    assert_eq!(write(&store, |conn| packages::reserve(conn, &new_package("tool"), NOW)).number(), first + 102);
}

fn a_package_keeps_every_word(database: &Database) {
    let store = database.open();
    let new = NewPackage {
        name: "größe".to_owned(),
        version: "2.0-rc1".to_owned(),
        description: "line\nline 'quoted' \"twice\" 日本".to_owned(),
        os: OsFamily::Windows,
        action: Action::Launch { command: "setup.exe /S".to_owned() },
        priority: Priority::Absolute,
        notify: Some(Notify {
            text: "soon".to_owned(),
            countdown_seconds: Some(60),
            can_abort: true,
            can_delay: true,
            policy: PromptPolicy { max_delays: Some(3), deadline_hours: Some(72), nobody: Nobody::Wait },
        }),
        done: Some(Done { text: "done".to_owned() }),
        exit_codes: "3=success 194=reboot".parse().expect("a list"),
    };
    let expected = new.clone();
    let (found, fragments) = write(&store, move |conn| {
        let id = packages::reserve(conn, &new, NOW)?;
        packages::set_content(conn, id, &content(3))?;
        assert!(packages::set_state(conn, id, PackageState::Available)?);
        Ok((packages::find(conn, id)?, packages::fragments(conn, id)?))
    });
    let found = found.expect("it is there");
    let expected = Package {
        id: found.id,
        name: expected.name,
        version: expected.version,
        description: expected.description,
        os: expected.os,
        action: expected.action,
        priority: expected.priority,
        notify: expected.notify,
        done: expected.done,
        exit_codes: expected.exit_codes,
        fragments: FragmentCount(3),
        size: 3000,
        md5: content(3).md5,
        sha256: content(3).sha256,
        state: PackageState::Available,
        created_at: NOW,
    };
    assert_eq!(found, expected);
    assert_eq!(fragments, content(3).fragments);
}

fn only_a_package_that_is_being_built_takes_content(database: &Database) {
    let store = database.open();
    let id = write(&store, |conn| add_package(conn, "tool"));
    let refused = store.write_now(move |conn| packages::set_content(conn, id, &content(5)));
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    write(&store, move |conn| packages::discard(conn, id));
    let found = read(&store, move |conn| packages::find(conn, id)).expect("discard leaves it alone");
    assert_eq!(found.fragments, FragmentCount(2));
    // Twice is once: a build that was begun again.
    let fragments = write(&store, |conn| {
        let id = packages::reserve(conn, &new_package("again"), NOW)?;
        packages::set_content(conn, id, &content(5))?;
        packages::set_content(conn, id, &content(2))?;
        packages::fragments(conn, id)
    });
    assert_eq!(fragments, content(2).fragments);
    let nobody = PackageId::new(7).expect("an id");
    assert!(!write(&store, move |conn| packages::set_state(conn, nobody, PackageState::Withdrawn)));
}

fn packages_are_listed_newest_first(database: &Database) {
    let store = database.open();
    let ids: Vec<PackageId> =
        write(&store, |conn| (0..5).map(|n| packages::reserve(conn, &new_package("tool"), later(n))).collect());
    let listed = |before: Option<PackageId>, limit: usize| -> Vec<PackageId> {
        read(&store, move |conn| packages::list(conn, before, limit)).iter().map(|package| package.id).collect()
    };
    assert_eq!(listed(None, 2), [ids[4], ids[3]]);
    assert_eq!(listed(Some(ids[3]), 10), [ids[2], ids[1], ids[0]]);
    assert_eq!(listed(None, 0), []);
    let third = ids[2];
    write(&store, move |conn| packages::set_state(conn, third, PackageState::Available));
    let building = read(&store, |conn| packages::in_state(conn, PackageState::Building));
    assert_eq!(building, [ids[0], ids[1], ids[3], ids[4]]);
    assert_eq!(read(&store, |conn| packages::in_state(conn, PackageState::Withdrawn)), []);
}

fn an_activation_replaces_the_earlier_one(database: &Database) {
    let store = database.open();
    let package = write(&store, |conn| add_package(conn, "tool"));
    let activation = |host: &str, checked_at| Activation {
        package,
        info_location: format!("{host}:8443/download").parse().expect("a location"),
        fragment_location: format!("{host}:8080/download").parse().expect("a location"),
        activated_at: NOW,
        checked_at,
    };
    for activation in [activation("one", Some(NOW)), activation("two", None)] {
        let expected = activation.clone();
        write(&store, move |conn| activations::set(conn, &activation));
        assert_eq!(read(&store, move |conn| activations::find(conn, package)), Some(expected));
    }
    assert!(write(&store, move |conn| activations::remove(conn, package)));
    assert!(!write(&store, move |conn| activations::remove(conn, package)));
    assert_eq!(read(&store, move |conn| activations::find(conn, package)), None);
}

fn an_inventory_makes_the_computer_once(database: &Database) {
    let store = database.open();
    let mut first = facts("WS-1");
    first.user_name = String::from("alice");
    first.tag = String::from("paris");
    first.serial = String::from("a\0b");
    let (id, is_new) =
        write(&store, move |conn| computers::take_facts(conn, &device_id("ws-1"), &first, &contact(NOW)));
    assert!(is_new);
    for (user_name, stays) in [("", "alice"), ("NT-System", "alice"), ("bob", "bob")] {
        let mut next = facts("WS-1b");
        next.user_name = String::from(user_name);
        next.tag = String::from("lyon");
        next.ip_address = String::from("10.0.0.1");
        let taken =
            write(&store, move |conn| computers::take_facts(conn, &device_id("ws-1"), &next, &contact(later(60))));
        assert_eq!(taken, (id, false));
        let found = read(&store, move |conn| computers::find(conn, id)).expect("it is there");
        assert_eq!((found.user_name.as_str(), found.tag.as_str()), (stays, "paris"));
        assert_eq!((found.name.as_str(), found.ip_address.as_str(), found.serial.as_str()), ("WS-1b", "10.0.0.1", ""));
        assert_eq!((found.first_contact, found.last_contact), (NOW, later(60)));
        assert_eq!(found.last_inventory, Some(later(60)));
    }
    let found = read(&store, |conn| computers::find_by_device_id(conn, &device_id("ws-1")));
    assert_eq!(found.expect("it is there").id, id);
    assert_eq!(read(&store, |conn| computers::find_by_device_id(conn, &device_id("WS-1"))), None);
    assert_eq!(read(&store, computers::count), 1);
    // A system's own name is better than none; and text that PostgreSQL would refuse is kept as far as it goes.
    let mut other = facts("b\0c");
    other.user_name = String::from("SYSTEM");
    let other = write(&store, move |conn| {
        let (id, _) = computers::take_facts(conn, &device_id("ws-2"), &other, &contact(NOW))?;
        computers::find(conn, id)
    });
    let other = other.expect("it is there");
    assert_eq!((other.user_name.as_str(), other.name.as_str()), ("SYSTEM", "b\u{fffd}c"));
}

fn a_contact_is_written_without_an_inventory(database: &Database) {
    let store = database.open();
    let id = write(&store, |conn| add_computer(conn, "ws-1"));
    let mut touched = contact(later(10));
    touched.user_agent = String::from("dripfeed-agent/0.1");
    let seen = touched.clone();
    write(&store, move |conn| computers::touch(conn, id, &seen));
    let found = read(&store, move |conn| computers::find(conn, id)).expect("it is there");
    assert_eq!((found.last_contact, found.last_inventory), (later(10), Some(NOW)));
    assert_eq!(found.user_agent, "dripfeed-agent/0.1");
    touched.at = later(20);
    write(&store, move |conn| {
        computers::touch_inventory(conn, id, &touched)?;
        computers::set_ip_address(conn, id, "10.9.8.7")
    });
    let found = read(&store, move |conn| computers::find(conn, id)).expect("it is there");
    assert_eq!((found.last_contact, found.last_inventory), (later(20), Some(later(20))));
    assert_eq!((found.ip_address.as_str(), found.name.as_str()), ("10.9.8.7", "ws-1"));
}

fn adapters_and_document_are_replaced(database: &Database) {
    let store = database.open();
    let id = write(&store, |conn| add_computer(conn, "ws-1"));
    let network = |n: u32| Network {
        ip_address: format!("10.0.0.{n}"),
        mac: format!("02:00:00:00:00:{n:02x}"),
        subnet: "10.0.0.0".to_owned(),
        mask: "255.255.255.0".to_owned(),
    };
    for adapters in [vec![network(2), network(1), network(2)], vec![network(9)], vec![]] {
        let expected = adapters.clone();
        write(&store, move |conn| computers::set_networks(conn, id, &adapters));
        assert_eq!(read(&store, move |conn| computers::networks(conn, id)), expected);
    }
    assert_eq!(read(&store, move |conn| computers::document(conn, id)), None);
    assert_eq!(read(&store, move |conn| computers::document_sha256(conn, id)), None);
    for bytes in [vec![0, 1, 255], vec![7; 200_000]] {
        let expected = bytes.clone();
        write(&store, move |conn| computers::set_document(conn, id, &[bytes[0]; 32], &bytes));
        let sha256 = read(&store, move |conn| computers::document_sha256(conn, id));
        assert_eq!(sha256, Some(vec![expected[0]; 32]));
        assert_eq!(read(&store, move |conn| computers::document(conn, id)), Some(expected));
    }
}

fn computers_are_found_by_name_in_any_case(database: &Database) {
    let store = database.open();
    let ids: Vec<ComputerId> = write(&store, |conn| {
        ["Größe", "GRÖSSE", "ws", "GRÖßE"]
            .iter()
            .zip(["a", "b", "c", "d"])
            .map(|(name, wire)| {
                computers::take_facts(conn, &device_id(wire), &facts(name), &contact(NOW)).map(|(id, _)| id)
            })
            .collect()
    });
    let found: Vec<ComputerId> =
        read(&store, |conn| computers::find_by_name(conn, "grÖße")).iter().map(|computer| computer.id).collect();
    assert_eq!(found, [ids[0], ids[3]]);
    assert_eq!(read(&store, |conn| computers::find_by_name(conn, "%")), []);
    assert_eq!(read(&store, computers::all_ids), ids);
    let after = ids[0];
    let listed = read(&store, move |conn| computers::list(conn, Some(after), 2));
    assert_eq!(listed.iter().map(|computer| computer.id).collect::<Vec<_>>(), [ids[1], ids[2]]);
}

fn a_ledger_keeps_apart_what_the_agent_and_what_jobs_said(database: &Database) {
    let store = database.open();
    let id = write(&store, |conn| add_computer(conn, "ws-1"));
    let package = |n| PackageId::new(n).expect("an id");
    write(&store, move |conn| {
        installations::set_reported(conn, id, &[package(3), package(2), package(3)], NOW)?;
        installations::record_job(conn, id, package(2), later(5))?;
        installations::record_job(conn, id, package(2), later(6))
    });
    write(&store, move |conn| installations::set_reported(conn, id, &[package(2), package(4)], later(10)));
    let known = read(&store, move |conn| installations::of_computer(conn, id));
    let expected = [
        (package(2), Via::AgentHistory, NOW),
        (package(2), Via::Job, later(5)),
        (package(4), Via::AgentHistory, later(10)),
    ];
    assert_eq!(known, expected);
    write(&store, move |conn| installations::set_reported(conn, id, &[], later(20)));
    assert_eq!(read(&store, move |conn| installations::of_computer(conn, id)), [(package(2), Via::Job, later(5))]);
}

fn events_are_kept_verbatim_and_for_ever(database: &Database) {
    let store = database.open();
    let (computer, package, job) = one_job(&store);
    let event = |at, computer, package, job, text: &str| Event {
        at,
        kind: EventKind::Reported,
        computer,
        device_id: "anything at all".to_owned(),
        package,
        job,
        text: text.to_owned(),
    };
    let all = [
        event(later(2), Some(computer), Some(package), Some(job), "SUCCESS_ü\n"),
        event(later(1), None, Some(package), None, ""),
        Event { kind: EventKind::Offered, ..event(later(3), Some(computer), None, None, "offered") },
        Event { kind: EventKind::Decided, ..event(later(3), None, None, None, "decided") },
        Event { kind: EventKind::Cancelled, ..event(later(3), None, None, None, "cancelled") },
    ];
    write(&store, move |conn| {
        events::append(conn, &all[..1])?;
        events::append(conn, &all[1..])?;
        events::append(conn, &[])
    });
    let texts = |computer, package, limit| -> Vec<String> {
        let events = read(&store, move |conn| events::list(conn, computer, package, limit));
        events.into_iter().map(|event| event.text).collect()
    };
    assert_eq!(texts(None, None, 10), ["cancelled", "decided", "offered", "", "SUCCESS_ü\n"]);
    assert_eq!(texts(None, None, 2), ["cancelled", "decided"]);
    assert_eq!(texts(Some(computer), None, 10), ["offered", "SUCCESS_ü\n"]);
    assert_eq!(texts(None, Some(package), 10), ["", "SUCCESS_ü\n"]);
    assert_eq!(texts(Some(computer), Some(package), 10), ["SUCCESS_ü\n"]);
    assert!(write(&store, move |conn| computers::delete(conn, computer)));
    let found = read(&store, move |conn| events::list(conn, Some(computer), Some(package), 10)).remove(0);
    assert_eq!((found.at, found.kind, found.computer), (later(2), EventKind::Reported, Some(computer)));
    assert_eq!((found.package, found.job, found.device_id.as_str()), (Some(package), Some(job), "anything at all"));
}

fn settings_are_kept_by_layer(database: &Database) {
    let store = database.open();
    let (one, two) = write(&store, |conn| Ok((add_computer(conn, "ws-1")?, add_computer(conn, "ws-2")?)));
    write(&store, move |conn| {
        settings::set(conn, Scope::Global, SettingKey::Timeout, 7)?;
        settings::set(conn, Scope::Global, SettingKey::Timeout, 9)?;
        settings::set(conn, Scope::Global, SettingKey::Frequency, -1)?;
        settings::set(conn, Scope::Computer(one), SettingKey::Download, 0)
    });
    let layer = |scope| -> SettingsLayer { read(&store, move |conn| settings::layer(conn, scope)) };
    assert_eq!(layer(Scope::Global).0, [(SettingKey::Timeout, 9), (SettingKey::Frequency, -1)].into());
    assert_eq!(layer(Scope::Computer(one)).0, [(SettingKey::Download, 0)].into());
    assert_eq!(layer(Scope::Computer(two)), SettingsLayer::default());
    assert!(write(&store, |conn| settings::unset(conn, Scope::Global, SettingKey::Timeout)));
    assert!(!write(&store, |conn| settings::unset(conn, Scope::Global, SettingKey::Timeout)));
    assert!(!write(&store, move |conn| settings::unset(conn, Scope::Computer(two), SettingKey::Download)));
    assert_eq!(layer(Scope::Global).0, [(SettingKey::Frequency, -1)].into());
}

fn users_are_kept(database: &Database) {
    let store = database.open();
    let user = |name: &str| User {
        name: name.to_owned(),
        password_hash: "$argon2id$x".to_owned(),
        must_change_password: true,
        full_name: String::new(),
        mail: String::new(),
        role: "viewer".to_owned(),
        scope: dripfeed::model::access::Scope::ALL,
        one_time_secret: None,
        one_time_step: 0,
        disabled_at: None,
        last_sign_in: None,
        created_at: NOW,
    };
    for (name, is_new) in [("zoë", true), ("Bob", true), ("admin", true), ("admin", false), ("ADMIN", true)] {
        let user = user(name);
        assert_eq!(write(&store, move |conn| users::create(conn, &user)), is_new, "{name}");
    }
    let names: Vec<String> = read(&store, users::list).into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["ADMIN", "Bob", "admin", "zoë"]);
    assert!(write(&store, |conn| users::set_password(conn, "zoë", "$argon2id$y", false)));
    assert!(!write(&store, |conn| users::set_password(conn, "nobody", "$argon2id$y", false)));
    let found = read(&store, |conn| users::find(conn, "zoë")).expect("she is there");
    assert_eq!((found.password_hash.as_str(), found.must_change_password), ("$argon2id$y", false));
    assert_eq!(found.created_at, NOW);
    assert!(read(&store, |conn| users::find(conn, "nobody")).is_none());
}

fn a_computer_goes_with_all_that_is_its_own(database: &Database) {
    let store = database.open();
    let (computer, package, _) = one_job(&store);
    let other = write(&store, move |conn| {
        computers::set_networks(conn, computer, &[Network::default()])?;
        computers::set_document(conn, computer, &[0; 32], &[1])?;
        installations::set_reported(conn, computer, &[package], NOW)?;
        settings::set(conn, Scope::Computer(computer), SettingKey::Timeout, 7)?;
        let other = add_computer(conn, "ws-2")?;
        settings::set(conn, Scope::Computer(other), SettingKey::Timeout, 8)?;
        Ok(other)
    });
    assert!(write(&store, move |conn| computers::delete(conn, computer)));
    assert!(!write(&store, move |conn| computers::delete(conn, computer)));
    read(&store, move |conn| {
        assert_eq!(computers::find(conn, computer)?, None);
        assert_eq!(computers::networks(conn, computer)?, []);
        assert_eq!(computers::document(conn, computer)?, None);
        assert_eq!(installations::of_computer(conn, computer)?, []);
        assert_eq!(jobs::list(conn, Some(package), None, None, 10)?.len(), 0);
        assert_eq!(settings::layer(conn, Scope::Computer(computer))?, SettingsLayer::default());
        assert_eq!(settings::layer(conn, Scope::Computer(other))?.0, [(SettingKey::Timeout, 8)].into());
        Ok(())
    });
    // The newest one goes, and its number is not given to the next: events still mean the old one.
    write(&store, move |conn| computers::delete(conn, other));
    assert!(write(&store, |conn| add_computer(conn, "ws-3")).0 > other.0);
}

fn thousands_of_rows_go_in_at_once(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let package = packages::reserve(conn, &new_package("large"), NOW)?;
        packages::set_content(conn, package, &content(20_000))?;
        let fragments = packages::fragments(conn, package)?;
        assert_eq!(fragments.len(), 20_000);
        assert_eq!(fragments.last().map(|fragment| fragment.number), FragmentNumber::new(20_000));
        let computer = add_computer(conn, "ws-1")?;
        let history: Vec<PackageId> = (1..=40_000).filter_map(PackageId::new).collect();
        installations::set_reported(conn, computer, &history, NOW)?;
        installations::set_reported(conn, computer, &history[39_999..], NOW)?;
        assert_eq!(installations::of_computer(conn, computer)?.len(), 1);
        let deployment = add_deployment(conn, package, &JobOptions::default())?;
        let computers: Vec<ComputerId> = (1..=70_000).map(ComputerId).collect();
        assert_eq!(jobs::plan(conn, &deployment, &computers, NOW)?, 1);
        let jobs: Vec<JobId> = (1..=70_000).map(JobId).collect();
        jobs::mark_offered(conn, &jobs, NOW)?;
        assert_eq!(jobs::counts(conn, None)?, [(package, JobState::Offered, 1)]);
        let event = Event {
            at: NOW,
            kind: EventKind::Offered,
            computer: Some(computer),
            device_id: String::new(),
            package: None,
            job: None,
            text: String::new(),
        };
        events::append(conn, &vec![event; 10_000])?;
        assert_eq!(events::list(conn, Some(computer), None, 20_000)?.len(), 10_000);
        Ok(())
    });
}

fn a_row_that_does_not_parse_is_corrupt(database: &Database) {
    let store = database.open();
    let (computer, package, _) = one_job(&store);
    database.sql("UPDATE computers SET device_id = 'nonsense'");
    database.sql("UPDATE jobs SET schedule = 'tomorrow'");
    database.sql("UPDATE packages SET action_text = ''");
    database.sql("INSERT INTO settings (scope, scope_id, key, value) VALUES ('global', 0, 'COLOUR', 1)");
    let said: Vec<String> = [
        store.read_now(move |conn| computers::find(conn, computer).map(|_| ())),
        store.read_now(move |conn| jobs::open_of_computer(conn, computer, &KnownTerms::default()).map(|_| ())),
        store.read_now(move |conn| packages::find(conn, package).map(|_| ())),
        store.read_now(|conn| settings::layer(conn, Scope::Global).map(|_| ())),
    ]
    .into_iter()
    .map(|result: Result<(), StoreError>| result.expect_err("a corrupt row").to_string())
    .collect();
    insta::allow_duplicates! {
    insta::assert_snapshot!(said.join("\n"), @r#"
    row 1 of table computers is corrupt: "nonsense" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    row 1 of table jobs is corrupt: "tomorrow" is not a time: expected 'YYYY/MM/DD HH:MM', in the computer's local time
    row 1800000000 of table packages is corrupt: action execute needs a command to run: --command 'apt-get -y install htop'
    row global/0/COLOUR of table settings is corrupt: there is no setting "COLOUR"
    "#);
    }
}
