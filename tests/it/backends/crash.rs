//! Programs that are killed, and programs that write at the same time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use dripfeed::model::settings::SettingKey;
use dripfeed::store::settings::Scope;
use dripfeed::store::users;
use dripfeed::store::{Store, settings};

use super::database::{Database, read, write};
use super::transactions::user;

super::for_each_backend![what_was_acknowledged_survives_kill_9, two_programs_write_at_once];

const ADDRESS: &str = "DRIPFEED_TEST_CHILD_DATABASE";
const PREFIX: &str = "DRIPFEED_TEST_CHILD_PREFIX";
const COUNT: &str = "DRIPFEED_TEST_CHILD_COUNT";
const THREADS: usize = 4;

/// Not a test: what the other tests start as a program of its own, which they may kill. Writes two rows at a time, and
/// says so line by line once it was told that they are saved.
#[test]
#[expect(clippy::disallowed_methods, reason = "that is how the parent says what to do")]
fn child_process_entry() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let prefix = std::env::var(PREFIX).expect("a prefix");
    let count: usize = std::env::var(COUNT).expect("a count").parse().expect("a number");
    let store = Store::open(&address.parse().expect("an address")).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, prefix) = (store.clone(), prefix.clone());
            scope.spawn(move || {
                for n in (thread..count).step_by(THREADS) {
                    let (name, scope) = (format!("{prefix}-{n}"), scope_of(n));
                    let added = name.clone();
                    write(&store, move |conn| {
                        users::create(conn, &user(&added))?;
                        settings::set(conn, scope, SettingKey::Timeout, 1)
                    });
                    // In one piece: the threads share the pipe.
                    std::io::stdout().write_all(format!("\nsaved {n}\n").as_bytes()).expect("a pipe");
                }
            });
        }
    });
}

fn scope_of(n: usize) -> Scope {
    Scope::Computer(dripfeed::model::ComputerId(i64::try_from(n).expect("small")))
}

fn start(database: &Database, prefix: &str, count: usize) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["backends::crash::child_process_entry", "--exact", "--nocapture"])
        .env(ADDRESS, database.argument())
        .env(PREFIX, prefix)
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe"));
    (child, lines)
}

fn saved(lines: &mut BufReader<ChildStdout>) -> impl Iterator<Item = usize> {
    lines.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("saved ")?.parse().ok())
}

fn what_was_acknowledged_survives_kill_9(database: &Database) {
    for round in 0..3 {
        let prefix = format!("round{round}");
        let (mut child, mut lines) = start(database, &prefix, 1_000_000);
        let mut acknowledged: Vec<usize> = saved(&mut lines).take(50 * (round + 1)).collect();
        child.kill().expect("it runs");
        acknowledged.extend(saved(&mut lines));
        child.wait().expect("it ends");
        assert!(acknowledged.len() >= 50 * (round + 1));

        let store = database.open();
        let wanted = prefix.clone();
        read(&store, move |conn| {
            for n in acknowledged {
                assert!(users::find(conn, &format!("{wanted}-{n}"))?.is_some(), "{n} was acknowledged");
            }
            // Nothing came in halves, acknowledged or not.
            for found in users::list(conn)? {
                let n = found.name.rsplit_once('-').and_then(|(_, n)| n.parse().ok()).expect("a number");
                assert_eq!(settings::layer(conn, scope_of(n))?.value(SettingKey::Timeout), Some(1), "{}", found.name);
            }
            Ok(())
        });
        write(&store, |conn| users::set_password(conn, "nobody", "", false));
    }
}

fn two_programs_write_at_once(database: &Database) {
    let store = database.open();
    let mut children = [start(database, "one", 100), start(database, "two", 100)];
    for n in 0..50 {
        write(&store, move |conn| users::create(conn, &user(&format!("three-{n}"))));
    }
    for (child, lines) in &mut children {
        assert_eq!(saved(lines).count(), 100);
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(read(&store, users::list).len(), 250);
}
