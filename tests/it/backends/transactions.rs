//! What `read` and `write` promise, with many callers at once.

use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Waker};

use dripfeed::model::settings::SettingKey;
use dripfeed::model::{ComputerId, UnixTime};
use dripfeed::protocol::Network;
use dripfeed::store::settings::Scope;
use dripfeed::store::users::{self, User};
use dripfeed::store::{Conn, Store, StoreError, computers, settings};

use super::database::{Database, read, write};

super::for_each_backend![
    many_writers_each_find_what_they_wrote,
    many_tasks_each_find_what_they_wrote,
    a_change_that_fails_or_panics_harms_no_other,
    a_reader_sees_one_moment,
    a_query_that_panics_leaves_the_store_in_order,
    a_read_cannot_write,
    a_transaction_inside_a_transaction_is_refused,
    the_blocking_calls_work_inside_a_runtime,
    nobody_waits_for_a_change_and_it_is_made_all_the_same,
    a_swallowed_error_is_never_told_as_saved,
];

pub(super) fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password_hash: String::new(),
        must_change_password: false,
        full_name: String::new(),
        mail: String::new(),
        role: "viewer".to_owned(),
        scope: dripfeed::model::access::Scope::ALL,
        one_time_secret: None,
        one_time_step: 0,
        disabled_at: None,
        last_sign_in: None,
        created_at: UnixTime::from_seconds(1),
    }
}

fn add(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    assert!(users::create(conn, &user(name))?, "{name} is new");
    Ok(())
}

fn names(store: &Store) -> Vec<String> {
    read(store, users::list).into_iter().map(|user| user.name).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn many_writers_each_find_what_they_wrote(database: &Database) {
    let store = database.open();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..20 {
                    let name = format!("{thread}-{n}");
                    let added = name.clone();
                    write(&store, move |conn| add(conn, &added));
                    assert!(read(&store, move |conn| users::find(conn, &name)).is_some());
                }
            });
        }
    });
    assert_eq!(names(&store).len(), 16 * 20);
}

fn many_tasks_each_find_what_they_wrote(database: &Database) {
    let store = database.open();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    store.write(move |conn| add(conn, &n.to_string())).await?;
                    let found = store.read(move |conn| users::find(conn, &n.to_string())).await?;
                    assert!(found.is_some(), "{n} was acknowledged");
                    Ok::<_, StoreError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("no error");
        }
    });
    assert_eq!(names(&store).len(), 200);
}

/// All of them share a transaction: the writer is kept busy until they are queued.
fn a_change_that_fails_or_panics_harms_no_other(database: &Database) {
    let store = database.open();
    let (open, gate) = channel::<()>();
    let runtime = runtime();
    let change = |name: &'static str, end: fn() -> Result<(), StoreError>| {
        let store = store.clone();
        runtime.spawn(async move {
            let change = move |conn: &mut Conn| {
                add(conn, name)?;
                end()
            };
            store.write(change).await
        })
    };
    let first = {
        let store = store.clone();
        runtime.spawn(async move {
            let change = move |conn: &mut Conn| {
                gate.recv().expect("the gate opens");
                add(conn, "first")
            };
            store.write(change).await
        })
    };
    let good = [change("a", || Ok(())), change("c", || Ok(())), change("e", || Ok(()))];
    let failing = change("b", || Err(StoreError::Closed));
    let panicking = change("d", || panic!("this panic is part of a test"));
    let late = [change("f", || Ok(())), change("a2", || Ok(()))];
    // A task of its own behind the others, which have been polled when it is.
    runtime.spawn(async move { open.send(()).expect("the writer waits") });
    runtime.block_on(async {
        first.await.expect("no panic").expect("made");
        for task in good.into_iter().chain(late) {
            task.await.expect("no panic").expect("made");
        }
        assert!(matches!(failing.await.expect("no panic"), Err(StoreError::Closed)), "its own error comes back");
        let panic = panicking.await.expect_err("its panic goes on in the caller");
        assert_eq!(panic.into_panic().downcast_ref(), Some(&"this panic is part of a test"));
    });
    assert_eq!(names(&store), ["a", "a2", "c", "e", "f", "first"]);
    // Alone, too.
    let refused = store.write_now(|conn| {
        add(conn, "x")?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(refused.is_err());
    write(&store, |conn| add(conn, "y"));
    assert_eq!(names(&store), ["a", "a2", "c", "e", "f", "first", "y"]);
}

fn a_reader_sees_one_moment(database: &Database) {
    let store = database.open();
    let set = |value| {
        move |conn: &mut Conn| {
            settings::set(conn, Scope::Global, SettingKey::Timeout, value)?;
            settings::set(conn, Scope::Global, SettingKey::Frequency, value)
        }
    };
    write(&store, set(1));
    let writer = store.clone();
    let seen = read(&store, move |conn| {
        let before = settings::layer(conn, Scope::Global)?.value(SettingKey::Timeout);
        // Somebody else writes, and is told that it is saved, between our two queries.
        std::thread::scope(|scope| scope.spawn(|| write(&writer, set(2))).join()).expect("saved");
        let after = settings::layer(conn, Scope::Global)?.value(SettingKey::Frequency);
        Ok((before, after))
    });
    assert_eq!(seen, (Some(1), Some(1)));
    let now = read(&store, |conn| settings::layer(conn, Scope::Global));
    assert_eq!(now.value(SettingKey::Frequency), Some(2));
}

fn a_query_that_panics_leaves_the_store_in_order(database: &Database) {
    let store = database.open();
    for _ in 0..20 {
        let store = store.clone();
        let panicked = std::thread::spawn(move || {
            read(&store, |_| -> Result<(), StoreError> { std::panic::resume_unwind(Box::new("quietly")) });
        });
        assert!(panicked.join().is_err());
    }
    write(&store, |conn| add(conn, "x"));
    assert_eq!(names(&store), ["x"]);
}

fn a_read_cannot_write(database: &Database) {
    let store = database.open();
    let refused = store.read_now(|conn| users::create(conn, &user("x")));
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    assert_eq!(names(&store), Vec::<String>::new());
}

fn a_transaction_inside_a_transaction_is_refused(database: &Database) {
    let store = database.open();
    let again = |store: &Store| {
        let store = store.clone();
        move |_: &mut Conn| {
            let read = store.read_now(|conn| users::list(conn).map(|_| ()));
            let write = store.write_now(|conn| add(conn, "x"));
            assert!(matches!(read, Err(StoreError::Nested)), "{read:?}");
            write
        }
    };
    let results = [store.write_now(again(&store)), store.read_now(again(&store))];
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Nested))), "{results:?}");
    write(&store, |conn| add(conn, "y"));
    assert_eq!(names(&store), ["y"]);
}

fn the_blocking_calls_work_inside_a_runtime(database: &Database) {
    let store = database.open();
    let found = runtime().block_on(async {
        // More than the budget of a task.
        for n in 0..300 {
            write(&store, move |conn| users::create(conn, &user(&(n % 3).to_string())));
        }
        let other = store.clone();
        let blocking = tokio::task::spawn_blocking(move || names(&other));
        assert_eq!(blocking.await.expect("no panic").len(), 3);
        names(&store)
    });
    assert_eq!(found, ["0", "1", "2"]);
}

fn nobody_waits_for_a_change_and_it_is_made_all_the_same(database: &Database) {
    let store = database.open();
    {
        let queued = pin!(store.write(|conn| add(conn, "x")));
        let _ = queued.poll(&mut Context::from_waker(Waker::noop()));
    }
    // Closing waits for what is queued.
    drop(store);
    assert_eq!(names(&database.open()), ["x"]);
}

/// SQLite goes on after a query that failed, PostgreSQL does not; neither says "saved" of what is not.
fn a_swallowed_error_is_never_told_as_saved(database: &Database) {
    let store = database.open();
    let result = store.write_now(|conn| {
        add(conn, "x")?;
        let refused = computers::set_networks(conn, ComputerId(999_999), &[Network::default()]);
        assert!(refused.is_err(), "there is no such computer");
        Ok::<_, StoreError>(())
    });
    let there = names(&store) == ["x"];
    assert_eq!(result.is_ok(), there, "{result:?}");
    assert_eq!(there, database.is_sqlite());
    write(&store, |conn| add(conn, "y"));
}
