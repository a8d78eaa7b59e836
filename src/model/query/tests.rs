use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Computer, ComputerId};

const NOW: UnixTime = UnixTime::from_seconds(1_795_170_000);

fn facts() -> Facts {
    Facts {
        computer: Computer {
            id: ComputerId(1),
            device_id: "WS042-2024-03-05-09-10-11".parse().expect("a device id"),
            name: "WS042".to_owned(),
            os_name: "Debian GNU/Linux".to_owned(),
            os_version: "12.10".to_owned(),
            architecture: "x86_64".to_owned(),
            ip_address: "10.1.2.3".to_owned(),
            peer_address: "fd00::7".to_owned(),
            user_name: "JÜRGEN".to_owned(),
            serial: String::new(),
            model: "100%_off".to_owned(),
            uuid: String::new(),
            workgroup: "it's \\here".to_owned(),
            tag: "Paris".to_owned(),
            user_agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(),
            first_contact: NOW,
            last_contact: Age { count: 2, unit: Unit::Day }.before(NOW),
            last_inventory: None,
            archived_at: None,
            agent_key: None,
        },
        macs: vec!["00:11:22:33:44:55".to_owned(), "66:77:88:99:AA:BB".to_owned()],
        packages: BTreeSet::from([1_795_000_000]),
        fields: BTreeMap::from([("cost centre".to_owned(), "4711".to_owned())]),
        sections: BTreeMap::from([
            (section_key("CPUS", ""), vec![String::new()]),
            (
                section_key("CPUS", "TYPE"),
                vec!["Intel(R) Xeon(R) W-2133".to_owned(), "Intel(R) Xeon(R) W-2135".to_owned()],
            ),
            (section_key("MEMORIES", "CAPACITY"), vec!["8192".to_owned(), "16384".to_owned()]),
        ]),
        groups: BTreeSet::from(["standorte süd".to_owned()]),
        software: Some(vec![Software { name: "Firefox".to_owned(), version: "128.0".to_owned() }]),
    }
}

fn query(text: &str) -> Query {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn says(text: &str) -> bool {
    query(text).matches(&facts(), NOW).expect("searchable")
}

#[test]
fn what_holds_holds_and_its_opposite_does_not() {
    for text in [
        "name = ws042",
        "NAME == \"WS042\"",
        "name != ws043",
        "name starts with ws and name ends with '042'",
        "field \"Cost centre\" = 4711",
        "field 'cost centre' > 900 and field 'cost centre' <= 4711.0 and not field room < 5 and not field 'cost centre' < 99",
        "proven = name and proven != KEY",
        "field 'COST CENTRE' != 4712 and field 'cost centre' starts with 47",
        "field room = '' and not field room contains a and field room != x",
        "device_id contains 2024",
        "os contains linux",
        "user = 'jürgen'",
        "model contains '%_'",
        "workgroup = 'it\\'s \\\\here'",
        "serial = ''",
        "tag between 'a' and 'q'",
        "tag < q and tag >= paris",
        "ip in 10.0.0.0/8",
        "ip in 10.1.2.3",
        "peer in fd00::/8",
        "mac = 66:77:88:99:aa:bb",
        "mac != 66:77:88:99:aa:b0",
        "os_version > 12.9",
        "os_version between 12 and 13",
        "os_version = 12.010",
        "has package 1795000000",
        "has no package 1795000001",
        "in group 'Standorte SÜD'",
        "not in group Nord",
        "has software firefox",
        "has software 'firefox' >= 127.5",
        "has no software 'firefox' > 128.0",
        "has no software thunderbird",
        "section CPUS.TYPE contains xeon",
        "section cpus.type ends with 'w-2135' and section Cpus.Type ends with 'w-2133'",
        "section cpus.type != 'Intel(R) Xeon(R)'",
        "section memories.capacity > 9000",
        "section memories.capacity between 16000 and 17000",
        "section memories.capacity < 16384 and not section memories.capacity < 8192",
        "section memories.capacity != ''",
        "section memories.type = '' and section printers.name = ''",
        "section memories.type != DDR4 and not section memories.type contains ''",
        "has section cpus and has no section PRINTERS",
        "last_contact older than 1 day",
        "last_contact older than 48 hours",
        "last_contact newer than 3 days",
        "first_contact newer than 1 minute",
        "last_inventory older than 10000 weeks",
        "tag = berlin or tag = paris and name = ws042",
        "not (tag = berlin or tag = hamburg)",
    ] {
        assert!(says(text), "{text}");
        assert!(!says(&format!("not ({text})")), "not ({text})");
    }
}

#[test]
fn what_does_not_hold_does_not() {
    for text in [
        "name = ws04",
        "mac != 66:77:88:99:aa:bb",
        "ip in 10.0.0.0/16",
        "peer in 10.0.0.0/8",
        "ip in ::/0",
        "os_version < 12.9",
        "last_inventory newer than 10000 weeks",
        "(tag = berlin or tag = paris) and name = ws043",
        "has software firefox < 100",
        "section cpus.type != 'intel(r) xeon(r) w-2133'",
        "section memories.capacity between 9000 and 16000",
        "section memories.capacity = ''",
        "section printers.name < z",
        "section printers.name between a and z",
    ] {
        assert!(!says(text), "{text}");
    }
}

#[test]
fn software_is_refused_while_nobody_keeps_it() {
    let unknown = Facts { software: None, ..facts() };
    for text in ["has no software x", "name = ws042 or has software x > 1"] {
        let error = query(text).matches(&unknown, NOW).expect_err(text);
        assert_eq!(error.to_string(), "software is not searchable yet: ask without `has software`");
    }
    assert_eq!(query("name = ws042").matches(&unknown, NOW), Ok(true));
}

#[test]
fn versions_are_compared_as_people_read_them() {
    let ordered = ["", "1.0~rc1", "1.0", "1.0a", "1.0.1", "1.2", "1.10", "1.10.0", "2", "10.0.19045", "10.0.22631"];
    for (at, a) in ordered.iter().enumerate() {
        for (other, b) in ordered.iter().enumerate() {
            assert_eq!(compare_versions(a, b), at.cmp(&other), "{a} and {b}");
        }
    }
    assert!(compare_versions("6.01-RC", "6.1_rc").is_eq());
    assert!(compare_versions("99999999999999999999999", "100000000000000000000000").is_lt());
}

#[test]
fn a_query_prints_as_it_is_read() {
    insta::assert_snapshot!(query("  (Name==a AND (tag=\"b'\" or NOT not os contains x)) and last_contact OLDER than 1 days or has no package 7"),
        @r"(name = 'a' and (tag = 'b\'' or not not os contains 'x')) and last_contact older than 1 day or not has package 7");
}

#[test]
fn a_mistake_is_shown_at_its_place() {
    let complaints: Vec<String> = [
        "",
        "name",
        "name =",
        "nmae = x",
        "name = 'x",
        "name = x and (tag = y",
        "name = x)",
        "name = x tag = y",
        "ip in 10.0.0.0/40",
        "name in 10.0.0.0/8",
        "ip > 10.0.0.1",
        "has package 0",
        "has cake",
        "last_contact older than many days",
        "last_contact older than 3 moons",
        "in group ''",
        "name = 'a\\b'",
        "name ! x",
        "has software x contains 1",
    ]
    .iter()
    .map(|text| text.parse::<Query>().expect_err(text).to_string().replace("the query cannot be used: ", ""))
    .collect();
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    expected a condition, such as name = 'ws042', has package 1795170000 or in group 'Paris'
    expected =, !=, <, <=, >, >=, contains, starts with, ends with, between or in
      name
          ^
    expected a value, such as 'ws042'
      name =
            ^
    "nmae" is no field: there are name, device_id, os, os_version, architecture, ip, peer, user, serial, model, uuid, workgroup, tag, agent, mac, proven, first_contact, last_contact, last_inventory
      nmae = x
      ^
    this ' is never closed
      name = 'x
             ^
    this bracket is never closed
      name = x and (tag = y
                   ^
    there is no bracket open here
      name = x)
              ^
    expected "and", "or" or the end
      name = x tag = y
               ^
    "10.0.0.0/40" is not a network: expected one such as 10.0.0.0/8 or fd00::/8
      ip in 10.0.0.0/40
            ^
    name is no address: only ip and peer can be in a network
      name in 10.0.0.0/8
      ^
    addresses have no order here: ask for a network, ip in 10.0.0.0/8
      ip > 10.0.0.1
      ^
    "0" is not a package id: expected a decimal number from 1 to 2147483647, as `dripfeed package list` shows it
      has package 0
                  ^
    expected "package" and its id, "software" and its name, or "section" and its name
      has cake
          ^
    expected a number, as in 30 days
      last_contact older than many days
                              ^
    expected minutes, hours, days or weeks
      last_contact older than 3 moons
                                ^
    a name is missing: '' names nothing
      in group ''
      ^
    \ stands before \, ' or ": a backslash itself is written \\
      name = 'a\b'
               ^
    "!" means nothing here
      name ! x
           ^
    a version is compared with =, !=, <, <=, > or >=
      has software x contains 1
      ^
    "#);
}

#[test]
fn depth_length_and_number_are_bounded() {
    let refused = |text: &str| text.parse::<Query>().expect_err("too much").to_string();
    assert!(refused(&format!("{}name = x{}", "(".repeat(2000), ")".repeat(2000))).contains("nested deeper"));
    assert!(refused(&"not ".repeat(2000)).contains("nested deeper"));
    assert!(refused(&["name = x"; 400].join(" or ")).contains("more than 250 conditions"));
    assert!(refused(&format!("name = '{}'", "x".repeat(9000))).contains("longer than"));
    assert!(refused(&format!("name = '{}'", "\\'".repeat(5000))).contains("longer than"));
    assert!(format!("{}name = x{}", "(".repeat(20), ")".repeat(20)).parse::<Query>().is_ok());
}

#[cfg(feature = "fetch")]
#[test]
fn json_is_another_way_to_write_it() {
    let text = "name starts with 'ws' and not ip in 10.0.0.0/8 and last_contact newer than 2 weeks";
    let json = serde_json::to_string(&query(text)).expect("JSON");
    insta::assert_snapshot!(json, @r#"{"all":[{"compare":{"field":"name","operator":"starts_with","value":"ws"}},{"not":{"in_network":{"field":"ip","network":"10.0.0.0/8"}}},{"moment":{"field":"last_contact","side":"newer","age":{"count":2,"unit":"week"}}}]}"#);
    assert_eq!(serde_json::from_str::<Query>(&json).expect("a query"), query(text));
    for wrong in [
        r#"{"all":[]}"#,
        r#"{"compare":{"field":"ip","operator":"lt","value":"x"}}"#,
        r#"{"compare":{"field":"name","operator":"eq","value":"\u0000"}}"#,
        r#"{"in_network":{"field":"ip","network":"10.0.0.0/99"}}"#,
        r#"{"has_package":0}"#,
    ] {
        assert!(serde_json::from_str::<Query>(wrong).is_err(), "{wrong}");
    }
    // Wherever a query is typed the other form will do.
    assert_eq!(format!(" {json}").parse::<Query>().expect("a query"), query(text));
    let long = format!("{{\"in_group\":\"{}\"}}", "x".repeat(MAX_JSON_LENGTH));
    let refused =
        [r#"{"all":[]}"#, r#"{"like":1}"#, "{", &long].map(|text| text.parse::<Query>().expect_err(text).to_string());
    insta::assert_snapshot!(refused.join("\n").replace("the query cannot be used: ", ""), @r#"
    "and" and "or" join two conditions or more
    as JSON it is none: unknown variant `like`, expected one of `all`, `any`, `not`, `compare`, `custom`, `between`, `in_network`, `moment`, `has_package`, `has_software`, `in_group`, `section`, `section_between`, `has_section` at line 1 column 7
    as JSON it is none: EOF while parsing an object at line 1 column 1
    as JSON it is longer than 65536 bytes
    "#);
    let deep = format!("{}{}{}", r#"{"not":"#.repeat(60), r#"{"has_package":7}"#, "}".repeat(60));
    assert!(serde_json::from_str::<Query>(&deep).is_err());
}

fn any_leaf() -> impl Strategy<Value = Expr> {
    let text = prop_oneof!["[a-cA-C0-9.]{0,3}", "\\PC{0,4}"];
    let name = prop_oneof![4 => "[A-Za-z_]{1,6}", 1 => "\\PC{0,4}"];
    let field = prop::sample::select(Field::ALL);
    let operator = prop::sample::select(Operator::ALL);
    let moment = (prop::sample::select(TimeField::ALL), prop::sample::select(Side::ALL), 0..=MAX_AGE);
    prop_oneof![
        (field.clone(), operator, text.clone()).prop_map(|(field, operator, value)| Expr::Compare {
            field,
            operator,
            value
        }),
        (field, text.clone(), text.clone()).prop_map(|(field, low, high)| Expr::Between { field, low, high }),
        (any::<u32>(), 0_u8..=32).prop_map(|(bits, prefix)| Expr::InNetwork {
            field: Field::Ip,
            network: format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(bits)).parse().expect("a network"),
        }),
        (moment, prop::sample::select(Unit::ALL)).prop_map(|((field, side, count), unit)| Expr::Moment {
            field,
            side,
            age: Age { count, unit }
        }),
        (1..=2_147_483_647_u32).prop_map(Expr::HasPackage),
        (name.clone(), name.clone(), prop::sample::select(Operator::ALL), text.clone())
            .prop_map(|(section, field, operator, value)| Expr::Section { section, field, operator, value }),
        (name.clone(), name.clone(), text.clone(), text.clone())
            .prop_map(|(section, field, low, high)| Expr::SectionBetween { section, field, low, high }),
        name.prop_map(Expr::HasSection),
        (text.clone(), prop::option::of((prop::sample::select(Operator::ALL), text.clone()))).prop_map(
            |(name, test)| Expr::HasSoftware {
                name,
                version: test.map(|(operator, value)| VersionTest { operator, value }),
            }
        ),
        text.prop_map(Expr::InGroup),
    ]
}

fn any_expr() -> impl Strategy<Value = Expr> {
    any_leaf().prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn printing_and_reading_is_the_identity(expr in any_expr()) {
        // What has no text is refused when it is made.
        if let Ok(query) = Query::try_from(expr) {
            let text = query.to_string();
            prop_assert_eq!(text.parse::<Query>().map_err(|error| TestCaseError::fail(error.to_string()))?, query);
        }
    }

    #[test]
    fn no_text_is_read_for_ever_or_with_a_panic(text in "[ ()'\"=<>!\\\\a-z0-9äß]{0,60}") {
        if let Err(error) = text.parse::<Query>() {
            prop_assert!(error.to_string().starts_with("the query cannot be used: "));
        }
    }

    #[test]
    fn versions_have_one_order(a in "[0-9a-c~.]{0,5}", b in "[0-9a-c~.]{0,5}", c in "[0-9a-c~.]{0,5}") {
        prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
        if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
            prop_assert!(compare_versions(&a, &c).is_le());
        }
    }
}

#[test]
fn a_field_of_ones_own_has_a_text_and_a_json_form() {
    let asked = query("field \"Cost centre\" = 4711 or not FIELD room >= 'B1'");
    assert_eq!(asked.to_string(), "field 'Cost centre' = '4711' or not field 'room' >= 'B1'");
    assert_eq!(asked.fields(), ["Cost centre", "room"]);
    #[cfg(feature = "fetch")]
    {
        let json = serde_json::to_value(query("field 'Cost centre' = 4711")).expect("JSON");
        assert_eq!(json, serde_json::json!({"custom": {"name": "Cost centre", "operator": "eq", "value": "4711"}}));
        assert_eq!(serde_json::from_value::<Query>(json).expect("a query"), query("field 'Cost centre' = 4711"));
    }
    for (text, problem) in [
        ("field '' = x", "a name is missing"),
        ("field room", "expected =, !=, <, <=, >, >=, contains, starts with or ends with"),
        ("field room between 1 and 2", "expected =, !=, <, <=, >, >=, contains, starts with or ends with"),
        ("field = x", "expected a value"),
    ] {
        let error = text.parse::<Query>().expect_err(text).to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn only_an_age_depends_on_the_time() {
    assert!(query("name = a or not (tag = b and last_contact older than 3 days)").depends_on_time());
    assert!(!query("name = a and in group g and has package 7").depends_on_time());
}

#[test]
fn a_section_has_a_text_and_a_json_form() {
    let asked =
        query("SECTION cpus.TYPE contains 'xeon' or has no section Printers and section DRIVES.TOTAL between 1 and 5");
    assert_eq!(
        asked.to_string(),
        "section cpus.TYPE contains 'xeon' or not has section Printers and section DRIVES.TOTAL between '1' and '5'"
    );
    let key = |section: &str, field: &str| (section.to_owned(), field.to_owned());
    assert_eq!(
        asked.sections().into_iter().collect::<Vec<_>>(),
        [key("CPUS", "TYPE"), key("DRIVES", "TOTAL"), key("PRINTERS", "")]
    );
    #[cfg(feature = "fetch")]
    {
        let json = serde_json::to_value(&asked).expect("JSON");
        assert_eq!(
            json["any"][0],
            serde_json::json!({"section": {"section": "cpus", "field": "TYPE", "operator": "contains", "value": "xeon"}})
        );
        assert_eq!(json["any"][1]["all"][0]["not"], serde_json::json!({"has_section": "Printers"}));
        assert_eq!(serde_json::from_value::<Query>(json).expect("a query"), asked);
        assert!(serde_json::from_str::<Query>(r#"{"has_section":"a b"}"#).is_err());
    }
    for (text, problem) in [
        ("section CPUS = x", "expected a section and its field, as in CPUS.TYPE"),
        ("section CPUS. = x", "\"\" names no section"),
        ("section 'CPU S.TYPE' = x", "\"CPU S\" names no section"),
        ("section CPUS.TYPE.X = x", "\"TYPE.X\" names no section"),
        (
            "section CPUS.TYPE older than 3 days",
            "expected =, !=, <, <=, >, >=, contains, starts with, ends with or between",
        ),
        ("has section ''", "\"\" names no section"),
    ] {
        let error = text.parse::<Query>().expect_err(text).to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
