//! Software, fields, changes and merges in the store.

use std::collections::BTreeSet;

use dripfeed::model::UnixTime;
use dripfeed::model::own_field::FieldKind;
use dripfeed::protocol::SoftwareTitle;
use dripfeed::store::sections::{Change, ChangeKind, StoredSections};
use dripfeed::store::{Conn, StoreError, computers, fields, sections, software};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::database::{Database, read, write};
use super::functions::add_computer;

super::for_each_backend![
    any_text_comes_back_as_it_went_in,
    any_software_follows_any_other,
    a_title_is_kept_once_and_goes_with_its_last_computer,
    titles_are_found_by_a_part_of_their_name,
    changes_are_bounded_in_number_and_age,
    fields_are_found_again_in_any_case,
];

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

fn title(name: &str, version: &str) -> SoftwareTitle {
    SoftwareTitle { name: name.to_owned(), publisher: String::new(), version: version.to_owned() }
}

fn change(item: &str, at: UnixTime) -> Change {
    Change {
        at,
        section: "SLOTS".to_owned(),
        kind: ChangeKind::Changed,
        item: item.to_owned(),
        field: item.to_owned(),
        old: item.to_owned(),
        new: item.to_owned(),
    }
}

/// What both databases hold: anything but U+0000, at most 255 characters.
fn any_text() -> impl Strategy<Value = String> {
    let text = prop_oneof![any::<String>(), "[a-zA-Z0-9%_\\\\'\"<>&; -]{0,20}", "\\PC{255}"];
    text.prop_map(|text| text.chars().filter(|c| *c != '\0').take(255).collect())
}

fn any_text_comes_back_as_it_went_in(database: &Database) {
    let store = database.open();
    let computer = write(&store, |conn| add_computer(conn, "ws042"));
    let field = write(&store, |conn| fields::create(conn, "Room", &FieldKind::Text, ""));
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let texts = (any_text(), any_text(), any_text());
    let check = |(name, publisher, version): (String, String, String)| {
        let said = SoftwareTitle { name: format!("n{name}"), publisher, version };
        let (wanted, value) = (said.clone(), name.clone());
        let id = field.id;
        let (titles, named, values, changes) = write(&store, move |conn| {
            software::set(conn, computer, std::slice::from_ref(&wanted))?;
            fields::set(conn, computer, id, &value)?;
            fields::set_tag(conn, computer, &value)?;
            sections::add_changes(conn, computer, &[change(&value, NOW)], 1, NOW)?;
            Ok((
                software::of_computer(conn, computer)?,
                software::named(conn, &wanted.name.to_uppercase(), 10)?.len()
                    + software::named(conn, &wanted.name, 10)?.len(),
                fields::of_computer(conn, computer)?,
                sections::changes(conn, computer, 10)?,
            ))
        });
        prop_assert_eq!(titles, [said]);
        prop_assert!(named >= 1);
        let values: Vec<String> = values.into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(values, Vec::from_iter((!name.is_empty()).then(|| name.clone())));
        prop_assert_eq!(changes, [change(&name, NOW)]);
        let found = read(&store, move |conn| computers::find(conn, computer)).expect("it is there");
        prop_assert_eq!(found.tag, name);
        Ok(())
    };
    runner.run(&texts, check).expect("every text round-trips");
}

fn any_software_follows_any_other(database: &Database) {
    let store = database.open();
    let computer = write(&store, |conn| add_computer(conn, "ws042"));
    let other = write(&store, |conn| add_computer(conn, "ws043"));
    write(&store, move |conn| software::set(conn, other, &[title("p1", "1"), title("p2", "1")]));
    let mut runner = TestRunner::new(Config { cases: 30, ..Config::default() });
    let sets = proptest::collection::btree_set((0..12_u8, 0..3_u8), 0..12);
    let check = |set: BTreeSet<(u8, u8)>| {
        let mut titles: Vec<SoftwareTitle> =
            set.iter().map(|(name, version)| title(&format!("p{name}"), &version.to_string())).collect();
        titles.sort();
        let wanted = titles.clone();
        let (mut found, count) = write(&store, move |conn| {
            let before: BTreeSet<SoftwareTitle> = software::of_computer(conn, computer)?.into_iter().collect();
            let after: BTreeSet<SoftwareTitle> = wanted.iter().cloned().collect();
            let differences = (after.difference(&before).count(), before.difference(&after).count());
            assert_eq!(software::set(conn, computer, &wanted)?, differences);
            assert_eq!(software::set(conn, computer, &wanted)?, (0, 0), "again, nothing is written");
            Ok((software::of_computer(conn, computer)?, software::count(conn)?))
        });
        found.sort();
        let of_both: BTreeSet<SoftwareTitle> =
            titles.iter().cloned().chain([title("p1", "1"), title("p2", "1")]).collect();
        prop_assert_eq!(found, titles);
        prop_assert_eq!(count, of_both.len() as u64, "the dictionary is what there is");
        Ok(())
    };
    runner.run(&sets, check).expect("every set follows every other");
}

fn a_title_is_kept_once_and_goes_with_its_last_computer(database: &Database) {
    let store = database.open();
    let [one, two] = write(&store, |conn| Ok([add_computer(conn, "ws1")?, add_computer(conn, "ws2")?]));
    let counts = write(&store, move |conn| {
        let mut counts = Vec::new();
        for computer in [one, two] {
            software::set(conn, computer, &[title("vim", "9"), title("emacs", "29")])?;
            counts.push(software::count(conn)?);
        }
        software::set(conn, one, &[title("vim", "9")])?;
        counts.push(software::count(conn)?);
        computers::delete(conn, two)?;
        counts.push(software::count(conn)?);
        Ok(counts)
    });
    assert_eq!(counts, [2, 2, 2, 1]);
}

fn titles_are_found_by_a_part_of_their_name(database: &Database) {
    let store = database.open();
    let lines = write(&store, |conn| {
        let [one, two] = [add_computer(conn, "ws1")?, add_computer(conn, "ws2")?];
        software::set(conn, one, &[title("100% Pure", "1"), title("Größe_x", "1"), title("vim", "9")])?;
        software::set(conn, two, &[title("vim", "9"), title("vim", "8")])?;
        let part = |conn: &mut Conn, part: &str| -> Result<String, StoreError> {
            let found = software::list(conn, part, 100)?;
            let line = |line: &software::TitleCount| {
                format!("{} {} on {}", line.title.name, line.title.version, line.computers)
            };
            Ok(format!("{part:?}: [{}]", found.iter().map(line).collect::<Vec<_>>().join(", ")))
        };
        ["", "VI", "%", "GRÖSSE", "größe", "_", "nothing"]
            .into_iter()
            .map(|text| part(conn, text))
            .collect::<Result<Vec<_>, _>>()
    });
    insta::allow_duplicates! {
    insta::assert_snapshot!(lines.join("\n"), @r#"
    "": [vim 9 on 2, 100% Pure 1 on 1, Größe_x 1 on 1, vim 8 on 1]
    "VI": [vim 9 on 2, vim 8 on 1]
    "%": [100% Pure 1 on 1]
    "GRÖSSE": []
    "größe": [Größe_x 1 on 1]
    "_": [Größe_x 1 on 1]
    "nothing": []
    "#);
    }
}

fn changes_are_bounded_in_number_and_age(database: &Database) {
    let store = database.open();
    let computer = write(&store, |conn| add_computer(conn, "ws042"));
    let at = |n: i64| UnixTime::from_seconds(1_800_000_000 + n);
    let items = move |oldest: i64, keep: usize| {
        let found = write(&store, move |conn| {
            let new: Vec<Change> = (0..5).map(|n| change(&n.to_string(), at(n))).collect();
            sections::add_changes(conn, computer, &new, keep, at(oldest))?;
            sections::changes(conn, computer, 100)
        });
        found.iter().map(|change| change.item.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(items(0, 100), "4 3 2 1 0");
    assert_eq!(items(3, 100), "4 3 4 3");
    assert_eq!(items(0, 6), "4 3 2 1 0 4");
    assert_eq!(items(0, 1), "4");
}

fn fields_are_found_again_in_any_case(database: &Database) {
    let store = database.open();
    let made = write(&store, |conn| {
        Ok([fields::create(conn, "Größe", &FieldKind::Text, "")?, fields::create(conn, "Room", &FieldKind::Text, "")?])
    });
    let found =
        read(&store, |conn| Ok((fields::named(conn, "GRÖßE")?, fields::named(conn, "x")?, fields::list(conn)?)));
    assert_eq!(found.0.as_ref(), Some(&made[0]));
    assert_eq!(found.1, None);
    assert_eq!(found.2, made);
    assert_eq!(made[1].wire_name(), format!("fields_{}", made[1].id));
    let computer = write(&store, |conn| add_computer(conn, "ws042"));
    let stored = StoredSections { digests: "BIOS 12\n".to_owned(), stored_at: NOW };
    let wanted = stored.clone();
    let back = write(&store, move |conn| {
        assert_eq!(sections::stored(conn, computer)?, None);
        sections::set_stored(conn, computer, &StoredSections { digests: String::new(), stored_at: NOW })?;
        sections::set_stored(conn, computer, &wanted)?;
        sections::stored(conn, computer)
    });
    assert_eq!(back, Some(stored));
}
