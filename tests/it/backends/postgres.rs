//! What only a server can do: be away, throw its clients out, prove who it is.

use dripfeed::store::{DatabaseUrl, Store, users};

use super::database::{Database, read, say, write};
use super::transactions::user;

fn with(database: &Database, parameters: &str) -> DatabaseUrl {
    let DatabaseUrl::Postgres(url) = &database.url else { panic!("it is PostgreSQL") };
    format!("{url}&{parameters}").parse().expect("an address")
}

#[test]
fn nobody_at_the_address_gets_a_sentence_without_the_password() {
    let url: DatabaseUrl = "postgres://df:s3cret@127.0.0.1:1/df".parse().expect("an address");
    let error = Store::open(&url).expect_err("nobody listens on port 1");
    insta::assert_snapshot!(error, @"failed to open the database postgres://df@127.0.0.1:1/df: error connecting to server: Connection refused (os error 111)");
}

#[test]
fn a_backup_is_left_to_postgres() {
    let Some(database) = Database::postgres() else { return };
    let error = database.open().backup(std::path::Path::new("copy.db")).expect_err("no copy");
    insta::assert_snapshot!(error, @"failed to copy the database to copy.db: PostgreSQL makes its own copies: pg_dump --format=custom");
}

#[test]
fn connections_that_the_server_closed_are_opened_again() {
    let Some(database) = Database::postgres() else { return };
    let name = format!("thrown_out_{}", std::process::id());
    let store = Store::open(&with(&database, &format!("application_name={name}"))).expect("opens");
    for round in 0..3 {
        write(&store, move |conn| users::create(conn, &user(&round.to_string())));
        assert_eq!(read(&store, users::list).len(), round + 1);
        let thrown_out = database.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{name}'"
        ));
        assert_ne!(thrown_out, ["0"]);
    }
    // Each reader has a connection of its own.
    for _ in 0..20 {
        assert_eq!(read(&store, users::list).len(), 3);
    }
    write(&store, |conn| users::create(conn, &user("after")));
}

#[test]
fn a_server_proves_who_it_is_as_far_as_it_is_asked() {
    let Some(database) = Database::postgres() else { return };
    #[expect(clippy::disallowed_methods, reason = "the gate says it in the environment")]
    let Ok(ca) = std::env::var("DRIPFEED_TEST_POSTGRES_CA") else {
        return say("TLS to PostgreSQL was NOT tested: DRIPFEED_TEST_POSTGRES_CA is not set");
    };
    let DatabaseUrl::Postgres(url) = &database.url else { panic!("it is PostgreSQL") };
    let opens = |host: &str, parameters: &str| -> bool {
        let url = format!("{}&{parameters}", url.replace("127.0.0.1", host));
        let store = Store::open(&url.parse().expect("an address"));
        if let Ok(store) = &store {
            write(store, |conn| users::create(conn, &user("x")));
        }
        store.is_ok()
    };
    // The certificate is of an authority that only the file knows, for the name localhost.
    for (host, parameters, right) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}"), true),
        ("localhost", "sslmode=verify-full".to_owned(), false),
        ("localhost", "sslmode=verify-ca".to_owned(), false),
        ("localhost", "sslmode=verify-full&sslrootcert=/does/not/exist.pem".to_owned(), false),
    ] {
        assert_eq!(opens(host, &parameters), right, "{host} {parameters}");
    }
}
