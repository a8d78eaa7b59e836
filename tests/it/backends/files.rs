//! What only a file can do: be none, be another program's, be locked, be copied.

use std::io::Write as _;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use dripfeed::store::{DatabaseUrl, Store, StoreError, users};

use super::database::{Database, read, write};
use super::transactions::user;

fn refusal(path: &Path, root: &Path) -> String {
    let error = Store::open(&DatabaseUrl::Sqlite(path.to_owned())).expect_err("no database");
    error.to_string().replace(root.to_str().expect("UTF-8"), "ROOT")
}

fn make(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).and_then(|mut file| file.write_all(bytes)).expect("a file");
}

#[test]
fn what_is_no_database_of_ours_gets_a_sentence_and_stays_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let file = |name: &str| root.join(name);
    make(&file("text.db"), &b"this is a letter to my grandmother ".repeat(200));
    let mut other =
        <diesel::SqliteConnection as diesel::Connection>::establish(file("other.db").to_str().expect("UTF-8"))
            .expect("SQLite opens");
    other.batch_execute("CREATE TABLE recipes (name TEXT)").expect("a table");
    drop(other);
    let before = std::fs::read(file("other.db")).expect("bytes");
    let refusals = [
        refusal(&file("missing/dripfeed.db"), root),
        refusal(root, root),
        refusal(&file("text.db"), root),
        refusal(&file("other.db"), root),
        refusal(&file("text.db/dripfeed.db"), root),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r"
    failed to open the database ROOT/missing/dripfeed.db: the directory ROOT/missing does not exist; make it first
    failed to open the database ROOT: it is a directory; name a file in it
    failed to open the database ROOT/text.db: it is not a SQLite database; choose another path
    failed to open the database ROOT/other.db: it is a SQLite database of another program; choose another path
    failed to open the database ROOT/text.db/dripfeed.db: the directory ROOT/text.db does not exist; make it first
    ");
    assert_eq!(std::fs::read(file("other.db")).expect("bytes"), before);
    assert!(!file("missing").exists());
}

#[test]
fn an_empty_file_is_a_new_database() {
    let database = Database::sqlite();
    make(&database.path(), b"");
    assert_eq!(read(&database.open(), users::list).len(), 0);
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let database = Database::sqlite();
    let store = database.open();
    for n in 0..5 {
        write(&store, move |conn| {
            (0..200).try_for_each(|m| users::create(conn, &user(&format!("{n}-{m}"))).map(|_| ()))
        });
    }
    drop(store);
    let mut bytes = std::fs::read(database.path()).expect("bytes");
    assert!(bytes.len() > 50_000, "it has pages to damage");
    // All but the first page, which holds the list of tables.
    bytes[4096..].fill(0xa5);
    make(&database.path(), &bytes);
    let result = Store::open(&database.url).and_then(|store| store.read_now(users::list).map(|_| ()));
    assert!(result.is_err());
    // Cut in the middle, as by a copy that ran out of space.
    make(&database.path(), &bytes[..4096 + 100]);
    assert!(Store::open(&database.url).and_then(|store| store.read_now(users::list).map(|_| ())).is_err());
}

#[cfg(unix)]
#[test]
fn its_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let database = Database::sqlite();
    let store = database.open();
    write(&store, |conn| users::create(conn, &user("x")));
    let directory = database.path().parent().expect("a directory").to_owned();
    store.backup(&directory.join("copy.db")).expect("a copy");
    let mut modes: Vec<String> = std::fs::read_dir(&directory)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            format!("{} {mode:o}", entry.file_name().display())
        })
        .collect();
    modes.sort();
    assert_eq!(modes, ["copy.db 600", "dripfeed.db 600", "dripfeed.db-shm 600", "dripfeed.db-wal 600"]);
}

#[test]
fn a_write_waits_for_another_program_and_reads_do_not() {
    let database = Database::sqlite();
    let store = database.open();
    let mut other = database.raw_sqlite();
    other
        .batch_execute(
            "BEGIN IMMEDIATE; INSERT INTO users VALUES ('other', '', 0, '', '', 'viewer', NULL, NULL, NULL, 0, NULL, NULL, 0)",
        )
        .expect("a lock");
    let writer = store.clone();
    let waiting = std::thread::spawn(move || write(&writer, |conn| users::create(conn, &user("ours"))));
    assert_eq!(read(&store, users::list).len(), 0);
    other.batch_execute("COMMIT").expect("a commit");
    assert!(waiting.join().expect("no panic"));
    let names: Vec<String> = read(&store, users::list).into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["other", "ours"]);
}

#[test]
fn a_relative_path_with_odd_letters_is_a_path() {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let path = directory.path().join("file:a?mode=memory&b=%20'.db");
    let relative = Path::new(directory.path().file_name().expect("a name")).join(path.file_name().expect("a name"));
    write(&Store::open(&DatabaseUrl::Sqlite(relative)).expect("opens"), |conn| users::create(conn, &user("x")));
    assert!(path.exists());
}

#[test]
fn a_backup_is_a_database_and_never_overwrites() {
    let database = Database::sqlite();
    let store = database.open();
    write(&store, |conn| users::create(conn, &user("x")));
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("it's a copy.db");
    store.backup(&copy).expect("a copy");
    write(&store, |conn| users::create(conn, &user("y")));
    let copied = Store::open(&DatabaseUrl::Sqlite(copy.clone())).expect("the copy opens");
    assert_eq!(read(&copied, users::list).len(), 1);
    let refusals: Vec<String> = [copy, directory.path().join("none/copy.db")]
        .iter()
        .map(|path| {
            let error = store.backup(path).expect_err("no copy");
            assert!(matches!(error, StoreError::Backup { .. }));
            error.to_string().replace(directory.path().to_str().expect("UTF-8"), "ROOT")
        })
        .collect();
    insta::assert_snapshot!(refusals.join("\n"), @r"
    failed to copy the database to ROOT/it's a copy.db: there is a file of that name; choose a new one
    failed to copy the database to ROOT/none/copy.db: No such file or directory (os error 2); choose a place that can be written to
    ");
}
