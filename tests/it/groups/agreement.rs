//! Whom the database finds is whom the query means, on both back ends.

use std::collections::BTreeSet;

use dripfeed::model::own_field::FieldKind;
use dripfeed::model::query::{Expr, Facts, Field, Network as Addresses, Operator, Query, Side, TimeField, VersionTest};
use dripfeed::model::settings::SettingKey;
use dripfeed::model::{ComputerId, PackageId, UnixTime};
use dripfeed::protocol::{ComputerFacts, Network, SoftwareTitle};
use dripfeed::store::computers::Contact;
use dripfeed::store::groups::Reason;
use dripfeed::store::settings::{self, Scope};
use dripfeed::store::values::{self, InventoryValue};
use dripfeed::store::{Conn, StoreError, computers, fields, groups, installations, search, software};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::backends::database::{Database, read, write};
use crate::backends::for_each_backend;

for_each_backend![the_database_and_the_query_agree, pages_of_a_search_follow_each_other, places_in_a_group_are_kept,];

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// Words that differ in case, in letters beyond ASCII, in wildcards of LIKE, and in nothing.
const WORDS: [&str; 14] = ["", "a", "A", "ab", "Ä", "ä", "%", "a_b", "\u{212a}", "k", "İ", "!a", "it's \\", "ÄB%"];
const VERSIONS: [&str; 7] = ["", "1.2", "1.10", "1.10~rc", "12", "XP sp2", "1.2a"];
const ADDRESSES: [&str; 7] = ["", "10.1.2.3", "10.1.3.4", "192.0.2.1", "fd00::1", "::ffff:10.1.2.3", "ten"];
const HOURS: [i64; 4] = [0, 1, 24, 24 * 40];
const GROUPS: [&str; 3] = ["plain", "Süd", "empty"];

fn package(number: u32) -> PackageId {
    PackageId::new(number).expect("an id")
}

/// Computers that have every word somewhere, in no order.
fn fill(conn: &mut Conn) -> Result<Vec<ComputerId>, StoreError> {
    let mut made = Vec::new();
    let word = |n: usize| WORDS[n % WORDS.len()].to_owned();
    for (name, n) in GROUPS.iter().zip(0..) {
        groups::create(conn, name, None, "admin", UnixTime::from_millis(n))?;
    }
    let ids: Vec<_> = groups::list(conn)?.into_iter().map(|group| (group.name, group.id)).collect();
    let id_of = |name: &str| ids.iter().find(|(known, _)| known == name).expect("a group").1;
    let cost = fields::create(conn, "Cöst centre", &FieldKind::Text, "")?.id;
    for n in 0..60_usize {
        let facts = ComputerFacts {
            name: word(n),
            os_name: word(n / 2),
            os_version: VERSIONS[n % VERSIONS.len()].to_owned(),
            ip_address: ADDRESSES[(n / 3) % ADDRESSES.len()].to_owned(),
            user_name: word(n / 5 + 3),
            tag: word(n * 5 + 1),
            ..ComputerFacts::default()
        };
        let at = UnixTime::from_millis(NOW.millis() - HOURS[n % HOURS.len()] * 3_600_000);
        let contact = Contact { peer_address: ADDRESSES[n % ADDRESSES.len()].to_owned(), user_agent: word(n + 2), at };
        let device_id = format!("ws{n}-2024-03-05-09-10-11").parse().expect("a device id");
        let (id, _) = computers::take_facts(conn, &device_id, &facts, &contact)?;
        let macs = (0..n % 3).map(|m| Network { ip_address: String::new(), mac: word(n + m), ..Network::default() });
        computers::set_networks(conn, id, &macs.collect::<Vec<_>>())?;
        installations::set_reported(conn, id, &[package(1), package(2)][..n % 3], NOW)?;
        if n % 3 == 0 {
            fields::set(conn, id, cost, &word(n * 7))?;
        }
        let said = |field: &str, value: &str| InventoryValue {
            section: "CPUS".to_owned(),
            field: field.to_owned(),
            value: value.to_owned(),
        };
        if n % 5 != 0 {
            let mut values = vec![said("", ""), said("TYPE", VERSIONS[n % VERSIONS.len()])];
            values.extend((0..n % 3).map(|m| said("SERIAL", &word(n + m))).filter(|value| !value.value.is_empty()));
            values.retain(|value| value.field != "TYPE" || !value.value.is_empty());
            values::apply(conn, id, &values::Difference::all(&values))?;
        }
        let program = |name: &str| SoftwareTitle {
            name: name.to_owned(),
            version: VERSIONS[n % VERSIONS.len()].to_owned(),
            ..SoftwareTitle::default()
        };
        software::set(conn, id, &[program("Vim"), program("äB"), program("other")][..n % 4])?;
        if n % 4 == 0 {
            installations::record_job(conn, id, package(9), NOW)?;
        }
        if n % 2 == 0 {
            groups::set(conn, id_of("plain"), &[id], Reason::Included, NOW)?;
        }
        let reason = [Reason::Query, Reason::Excluded][n % 2];
        if n % 5 < 3 {
            groups::set(conn, id_of("Süd"), &[id], reason, NOW)?;
        }
        made.push(id);
    }
    Ok(made)
}

/// Whom the query itself asks for.
fn meant(everybody: &[Facts], query: &Query) -> BTreeSet<ComputerId> {
    let matching = everybody.iter().filter(|facts| query.matches(facts, NOW).expect("searchable"));
    matching.map(|facts| facts.computer.id).collect()
}

fn any_leaf() -> impl Strategy<Value = Expr> {
    let words: Vec<&str> = WORDS.iter().chain(&VERSIONS).chain(&ADDRESSES).copied().collect();
    let word = select(words).prop_map(str::to_owned);
    let moment = (select(TimeField::ALL), select(Side::ALL), select(vec![0_u32, 1, 23, 24, 25, 999]));
    let moment = moment.prop_map(|(field, side, hours)| {
        format!("{} {} {hours} hours", field.as_str(), side.as_str()).parse::<Query>().expect("a query").expr().clone()
    });
    let networks = select(vec!["10.0.0.0/8", "10.1.2.0/24", "0.0.0.0/0", "fd00::/8", "192.0.2.1"]);
    let compare = (select(Field::ALL), select(Operator::ALL), word.clone())
        .prop_map(|(field, operator, value)| Expr::Compare { field, operator, value });
    let custom = (select(vec!["CÖST CENTRE", "none"]), select(Operator::ALL), word.clone())
        .prop_map(|(name, operator, value)| Expr::Custom { name: name.to_owned(), operator, value });
    let section = || select(vec!["cpus", "CPUS", "none"]).prop_map(str::to_owned);
    let leaf = || select(vec!["type", "SERIAL", "none"]).prop_map(str::to_owned);
    let said = (section(), leaf(), select(Operator::ALL), word.clone())
        .prop_map(|(section, field, operator, value)| Expr::Section { section, field, operator, value });
    let lies = (section(), leaf(), word.clone(), word.clone())
        .prop_map(|(section, field, low, high)| Expr::SectionBetween { section, field, low, high });
    let has = section().prop_map(Expr::HasSection);
    let between =
        (select(Field::ALL), word.clone(), word).prop_map(|(field, low, high)| Expr::Between { field, low, high });
    let package = select(vec![1_u32, 2, 9, 77]).prop_map(Expr::HasPackage);
    let group = select(vec!["PLAIN", "süd", "empty", "none"]).prop_map(|name| Expr::InGroup(name.to_owned()));
    let network = (select(vec![Field::Ip, Field::Peer]), networks).prop_map(|(field, network)| Expr::InNetwork {
        field,
        network: network.parse::<Addresses>().expect("a network"),
    });
    let test = (select(vec![Operator::Eq, Operator::Ne, Operator::Lt, Operator::Ge]), select(VERSIONS.to_vec()));
    let test = test.prop_map(|(operator, value)| VersionTest { operator, value: value.to_owned() });
    let software = (select(vec!["vim", "ÄB", "none"]), proptest::option::of(test))
        .prop_map(|(name, version)| Expr::HasSoftware { name: name.to_owned(), version });
    prop_oneof![
        4 => compare, 2 => custom, 1 => between, 1 => package, 1 => group, 1 => moment, 3 => said, 1 => has, 1 => network,
        1 => lies, 2 => software,
    ]
}

fn any_query() -> impl Strategy<Value = Query> {
    let expr = any_leaf().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    });
    expr.prop_filter_map("a query", |expr| Query::try_from(expr).ok())
}

fn check_many(cases: u32, check: impl Fn(Query) -> Result<(), TestCaseError>) {
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    TestRunner::new(config).run(&any_query(), check).unwrap_or_else(|error| panic!("{error}"));
}

fn the_database_and_the_query_agree(database: &Database) {
    let store = database.open();
    let all = write(&store, fill);
    let everybody = read(&store, move |conn| {
        // Fields of one's own, and of sections, are read only where a query asks for one.
        let asked: Query = "field x = y or has section cpus or section cpus.type = x or section cpus.serial = x \
            or has software vim or has software 'äb'"
            .parse()
            .expect("a query");
        let facts = all.into_iter().map(|id| Ok(search::facts(conn, id, [&asked])?.expect("a computer")));
        facts.collect::<Result<Vec<_>, StoreError>>()
    });
    let seen = std::cell::Cell::new(0_usize);
    check_many(200, |query| {
        let asked = query.clone();
        let found = read(&store, move |conn| search::ids(conn, &asked, NOW));
        let meant = meant(&everybody, &query);
        seen.set(seen.get() + meant.len());
        prop_assert_eq!(found, meant, "{}", query);
        Ok(())
    });
    assert!(seen.get() > 500, "only {} computers matched anything", seen.get());
}

fn pages_of_a_search_follow_each_other(database: &Database) {
    let store = database.open();
    write(&store, fill);
    let query: Query = "first_contact newer than 12 hours or name = ''".parse().expect("a query");
    let pages = read(&store, move |conn| {
        let all = search::computers(conn, &query, NOW, None, usize::MAX)?;
        let mut paged = Vec::new();
        loop {
            let after = paged.last().map(|computer: &dripfeed::model::Computer| computer.id);
            let page = search::computers(conn, &query, NOW, after, 7)?;
            assert!(page.len() <= 7);
            if page.is_empty() {
                return Ok((all, paged));
            }
            paged.extend(page);
        }
    });
    assert!(pages.0.len() > 14);
    assert_eq!(pages.0, pages.1);
}

fn places_in_a_group_are_kept(database: &Database) {
    let store = database.open();
    let all = write(&store, fill);
    write(&store, move |conn| {
        assert_eq!(groups::create(conn, "PLAIN", None, "x", NOW)?, None);
        let id = groups::create(conn, "new", Some("name = x"), "x", NOW)?.expect("a new name");
        groups::set(conn, id, &all, Reason::Query, NOW)?;
        groups::set(conn, id, &all[..2], Reason::Excluded, NOW)?;
        assert_eq!(groups::unset(conn, id, &all[2..5])?, 3);
        let reasons = groups::reasons(conn, id)?;
        assert_eq!(reasons.len(), 57);
        assert_eq!((reasons[&all[0]], reasons[&all[5]]), (Reason::Excluded, Reason::Query));
        assert_eq!(groups::counts(conn)?[&(id, Reason::Query)], 55);
        assert_eq!(groups::members(conn, id, Some(all[1]), 4)?.len(), 4);
        assert_eq!(groups::of_computer(conn, all[0])?.get(&id), Some(&Reason::Excluded));
        let plain = groups::find_by_name(conn, "plain")?.expect("a group").id;
        for (group, key, value) in
            [(plain, SettingKey::Timeout, 7), (plain, SettingKey::Frequency, 2), (id, SettingKey::Timeout, 3)]
        {
            settings::set(conn, Scope::Group(group), key, value)?;
        }
        let layers = |conn: &mut Conn, at: usize| -> Result<Vec<(String, i64)>, StoreError> {
            let layers = groups::layers(conn, all[at])?;
            Ok(layers.iter().map(|(name, layer)| (name.clone(), layer.0.values().sum())).collect())
        };
        // Of the first one, the new group is closed; the second one is not in the plain one.
        assert_eq!(layers(conn, 0)?, [("plain".to_owned(), 9)]);
        assert_eq!(layers(conn, 1)?, []);
        assert_eq!(layers(conn, 6)?, [("new".to_owned(), 3), ("plain".to_owned(), 9)]);
        computers::delete(conn, all[0])?;
        assert_eq!(groups::reasons(conn, id)?.len(), 56);
        groups::set_query(conn, id, None)?;
        assert_eq!(groups::find_by_name(conn, "NEW")?.expect("a group").query, None);
        assert!(groups::delete(conn, id, NOW)?);
        assert!(!groups::delete(conn, id, NOW)?);
        assert_eq!(groups::reasons(conn, id)?.len(), 0);
        Ok(())
    });
}
