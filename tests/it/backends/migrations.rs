//! The two sets of migrations make the same tables, and can be taken back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use diesel::RunQueryDsl as _;
use diesel::sql_types::Text;
use dripfeed::store::{Store, StoreError, users};

use super::database::{Database, read};

super::for_each_backend![
    down_undoes_up,
    tables_of_a_newer_version_are_refused,
    many_programs_may_start_at_once,
    what_was_written_is_there_after_a_restart,
];

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn folder(back_end: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(back_end)
}

fn migrations(back_end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder(back_end)).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// `table.column type nullable`, in SQLite's words for types.
fn columns(database: &Database) -> BTreeSet<String> {
    if database.is_sqlite() {
        let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", '', ' NULL') AS line \
                   FROM sqlite_schema AS t, pragma_table_info(t.name) AS c \
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'";
        let lines: Vec<Line> = diesel::sql_query(sql).load(&mut database.raw_sqlite()).expect("columns");
        return lines.into_iter().map(|line| line.line).collect();
    }
    let sql = "SELECT table_name || '.' || column_name || ' ' || CASE data_type WHEN 'text' THEN 'TEXT' \
               WHEN 'bytea' THEN 'BLOB' WHEN 'bigint' THEN 'INTEGER' WHEN 'boolean' THEN 'INTEGER' ELSE data_type END \
               || CASE is_nullable WHEN 'YES' THEN ' NULL' ELSE '' END \
               FROM information_schema.columns \
               WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_\\_diesel%'";
    database.sql(sql).into_iter().collect()
}

#[test]
fn both_back_ends_have_the_same_migrations() {
    let names = migrations("sqlite");
    assert_eq!(names, migrations("postgres"));
    assert!(!names.is_empty());
    for (back_end, name) in ["sqlite", "postgres"].iter().flat_map(|b| names.iter().map(move |name| (b, name))) {
        for file in ["up.sql", "down.sql"] {
            assert!(folder(back_end).join(name).join(file).is_file(), "{back_end}/{name}/{file}");
        }
    }
}

#[test]
fn both_back_ends_have_the_same_tables() {
    let sqlite = Database::sqlite();
    drop(sqlite.open());
    let of_sqlite = columns(&sqlite);
    assert!(of_sqlite.len() > 80, "{} columns", of_sqlite.len());
    if let Some(postgres) = Database::postgres() {
        drop(postgres.open());
        assert_eq!(of_sqlite, columns(&postgres));
    }
}

#[test]
fn the_tables_are_those_that_diesel_sees() {
    let sqlite = Database::sqlite();
    drop(sqlite.open());
    let schema = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema.rs"));
    let mut table = String::new();
    let mut seen = BTreeSet::new();
    for line in schema.expect("the schema").lines() {
        if let Some((name, _)) = line.trim().split_once(" (").filter(|_| line.ends_with(") {")) {
            name.clone_into(&mut table);
        } else if let Some((column, kind)) = line.trim().trim_end_matches(',').split_once(" -> ") {
            let (inner, null) = match kind.strip_prefix("Nullable<") {
                Some(inner) => (inner.trim_end_matches('>'), " NULL"),
                None => (kind, ""),
            };
            let kind = match inner {
                "BigInt" | "Bool" => "INTEGER",
                "Text" => "TEXT",
                "Binary" => "BLOB",
                other => panic!("{other} is used nowhere else"),
            };
            seen.insert(format!("{table}.{column} {kind}{null}"));
        }
    }
    assert_eq!(columns(&sqlite), seen);
}

fn down_undoes_up(database: &Database) {
    let back_end = if database.is_sqlite() { "sqlite" } else { "postgres" };
    drop(database.open());
    let before = columns(database);
    for name in migrations(back_end).iter().rev() {
        let down = std::fs::read_to_string(folder(back_end).join(name).join("down.sql")).expect("down.sql");
        database.sql(&down);
    }
    assert_eq!(columns(database), BTreeSet::new());
    database.sql("DELETE FROM __diesel_schema_migrations");
    assert_eq!(read(&database.open(), users::list).len(), 0);
    assert_eq!(columns(database), before);
}

fn tables_of_a_newer_version_are_refused(database: &Database) {
    drop(database.open());
    database.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    let error = Store::open(&database.url).expect_err("newer tables");
    insta::allow_duplicates! {
    insta::assert_snapshot!(error, @"failed to migrate the database: its tables are of version 9999, which a newer dripfeed has made, and this one knows versions up to 0001; install that dripfeed again, or put back a backup from before the upgrade");
    }
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version = '9999'");
    assert_eq!(read(&database.open(), users::list).len(), 0);
}

fn many_programs_may_start_at_once(database: &Database) {
    std::thread::scope(|scope| {
        let opening: Vec<_> = (0..6).map(|_| scope.spawn(|| Store::open(&database.url).map(drop))).collect();
        for opened in opening {
            opened.join().expect("no panic").expect("opens");
        }
    });
    assert_eq!(read(&database.open(), users::list).len(), 0);
}

fn what_was_written_is_there_after_a_restart(database: &Database) {
    let store = database.open();
    let job = super::functions::one_job(&store);
    drop(store);
    let store = database.open();
    let found = read(&store, move |conn| dripfeed::store::jobs::open_numbers(conn, job.0));
    assert_eq!(found.iter().map(|open| open.0).collect::<Vec<_>>(), [job.2]);
    let shown = format!("{store:?}");
    assert!(!shown.contains("password") && shown.starts_with("Store("), "{shown}");
    let _: Result<(), StoreError> = store.read_now(|_| Ok(()));
}
