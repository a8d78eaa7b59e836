//! Keys of computers, and names that are expected, in the store.

use dripfeed::model::{AgentKey, DeviceId};
use dripfeed::store::events::{Event, EventKind};
use dripfeed::store::expected::{self, Expected};
use dripfeed::store::{computers, events};

use super::database::{Database, write};
use super::functions::{later, one_job};

super::for_each_backend![a_key_is_a_computers_until_it_is_forgotten, names_are_expected_once_whatever_their_case];

fn a_key_is_a_computers_until_it_is_forgotten(database: &Database) {
    let store = database.open();
    let (computer, _, _) = one_job(&store);
    write(&store, move |conn| {
        let device_id = computers::find(conn, computer)?.expect("it is there").device_id;
        assert_eq!(computers::key_by_device_id(conn, &device_id)?, Some((computer, None)));
        let key = AgentKey { key: "ab".repeat(32), since: later(1) };
        computers::set_agent_key(conn, computer, Some(&key))?;
        assert_eq!(computers::key_by_device_id(conn, &device_id)?, Some((computer, Some(key.clone()))));
        assert_eq!(computers::find(conn, computer)?.and_then(|found| found.agent_key), Some(key));
        computers::set_agent_key(conn, computer, None)?;
        assert_eq!(computers::find(conn, computer)?.and_then(|found| found.agent_key), None);
        let nobody: DeviceId = "nobody-2024-01-01-00-00-00".parse().expect("an id");
        assert_eq!(computers::key_by_device_id(conn, &nobody)?, None);
        assert_eq!(events::last_of(conn, computer, EventKind::Refused)?, None);
        for at in [later(2), later(3)] {
            let event = Event {
                at,
                kind: EventKind::Refused,
                computer: Some(computer),
                device_id: device_id.to_string(),
                package: None,
                job: None,
                text: "refused".to_owned(),
            };
            events::append(conn, &[event.clone(), Event { at: later(9), kind: EventKind::Key, ..event }])?;
        }
        assert_eq!(events::last_of(conn, computer, EventKind::Refused)?, Some(later(3)));
        Ok(())
    });
}

fn names_are_expected_once_whatever_their_case(database: &Database) {
    write(&database.open(), |conn| {
        let expected = |name: &str| Expected { name: name.to_owned(), at: later(1), by: "ada".to_owned() };
        assert!(expected::add(conn, &expected("WS-Größe"))?);
        assert!(!expected::add(conn, &expected("ws-grÖße"))?, "the first one stays");
        assert!(expected::add(conn, &expected("alpha"))?);
        assert!(expected::has(conn, "ws-größe")? && !expected::has(conn, "ws")?);
        assert_eq!(expected::list(conn)?, [expected("alpha"), expected("WS-Größe")]);
        assert!(expected::remove(conn, "WS-GRÖßE")? && !expected::remove(conn, "ws-größe")?);
        assert!(!expected::has(conn, "WS-Größe")?);
        Ok(())
    });
}
