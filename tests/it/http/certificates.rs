//! The server's certificate and its authority: made, completed, renewed, reloaded.

use super::*;

fn now() -> UnixTime {
    Clock::System.now()
}

fn certificate_pair(names: &[&str], now: UnixTime) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    ensure(directory.path(), &names, now).expect("issued");
    directory
}

fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
}

#[test]
fn an_own_certificate_is_reloaded_and_a_bad_one_is_not() {
    let first = certificate_pair(&["localhost"], now());
    let second = certificate_pair(&["localhost"], now());
    let expired = certificate_pair(&["localhost"], UnixTime::from_seconds(1_000_000_000));
    let shown = tempfile::tempdir().expect("a directory");
    copy(first.path(), shown.path(), &["server.crt", "server.key"]);
    let (chain, key) = (shown.path().join("server.crt"), shown.path().join("server.key"));
    let settings = [("tls.certificate", chain.to_str().expect("text")), ("tls.key", key.to_str().expect("text"))];
    let server = TestServer::start(&settings);
    let trusts = |authority: &Path| {
        let pem = std::fs::read(authority.join("ca.pem")).expect("an authority");
        encrypt(connect(server.addresses.https), &pem, "localhost", &rustls::version::TLS13).is_ok()
    };
    assert!(trusts(first.path()) && !trusts(second.path()));
    assert_eq!(server.http().get("/ca.pem", "").status, 404);

    copy(second.path(), shown.path(), &["server.crt"]);
    let error = server.tls.reload(now()).expect_err("key and certificate differ");
    assert_eq!(
        error.to_string(),
        format!(
            "the key {} does not belong to the certificate {}: the first certificate in the file must be the server's",
            key.display(),
            chain.display()
        )
    );
    copy(expired.path(), shown.path(), &["server.crt", "server.key"]);
    let error = server.tls.reload(now()).expect_err("its time is over");
    assert_eq!(
        error.to_string(),
        format!("the certificate {} has expired: agents refuse it; replace it and send SIGHUP", chain.display())
    );
    std::fs::File::create(&chain).expect("emptied");
    let error = server.tls.reload(now()).expect_err("empty");
    assert!(error.to_string().ends_with("holds no certificate: expected PEM with BEGIN CERTIFICATE"), "{error}");
    assert!(trusts(first.path()), "the old one stayed through all that");

    copy(second.path(), shown.path(), &["server.crt", "server.key"]);
    server.tls.reload(now()).expect("good files");
    assert!(trusts(second.path()) && !trusts(first.path()));
}

#[test]
fn certificates_are_made_once_and_hold_for_every_name() {
    let directory =
        certificate_pair(&["host.example.net", "192.0.2.1", "2001:db8::1", "localhost", "127.0.0.1"], now());
    let before = files(directory.path());
    let names: Vec<String> =
        ["localhost", "127.0.0.1", "host.example.net"].iter().map(|name| (*name).to_owned()).collect();
    ensure(directory.path(), &names, now()).expect("kept");
    assert!(files(directory.path()) == before, "a second start keeps all four files");

    let server = TestServer::start(&[]);
    let authority = std::fs::read(server.directory.path().join("certs/ca.pem")).expect("the authority");
    for name in ["localhost", "127.0.0.1", "::1"] {
        let result = encrypt(connect(server.addresses.https), &authority, name, &rustls::version::TLS13);
        assert!(result.is_ok(), "{name}: {:?}", result.err());
    }
    let stranger = encrypt(connect(server.addresses.https), &authority, "stranger.example", &rustls::version::TLS13);
    assert!(stranger.is_err());
}

fn files(directory: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name| (name, std::fs::read(directory.join(name)).expect("a file"));
    ["ca.pem", "ca.key", "server.crt", "server.key"].into_iter().map(read).collect()
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_for_a_new_name_with_the_same_keys() {
    let names = vec!["localhost".to_owned()];
    let directory = certificate_pair(&["localhost"], now());
    let day = Duration::from_hours(24);
    let made = files(directory.path());
    ensure(directory.path(), &names, now().plus(day * 699)).expect("kept");
    assert!(files(directory.path()) == made, "31 days are left");
    ensure(directory.path(), &names, now().plus(day * 701)).expect("renewed");
    let renewed = files(directory.path());
    assert!(renewed["server.crt"] != made["server.crt"]);
    ensure(directory.path(), &["localhost".to_owned(), "new.example".to_owned()], now().plus(day * 702))
        .expect("renewed");
    let wider = files(directory.path());
    assert!(wider["server.crt"] != renewed["server.crt"]);
    for same in ["ca.pem", "ca.key", "server.key"] {
        assert!(wider[same] == made[same], "{same}");
    }
}

#[test]
fn what_a_crash_left_of_the_certificates_is_completed() {
    let names = vec!["localhost".to_owned()];
    for missing in
        [vec!["server.crt"], vec!["server.key"], vec!["server.crt", "server.key"], vec!["ca.pem", "server.crt"]]
    {
        let directory = certificate_pair(&["localhost"], now());
        for file in &missing {
            std::fs::remove_file(directory.path().join(file)).expect("removed");
        }
        ensure(directory.path(), &names, now()).expect("completed");
        assert_eq!(files(directory.path()).len(), 4, "{missing:?}");
    }
}

#[test]
fn an_authority_made_again_from_its_key_is_trusted_by_those_who_have_the_old_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let certs = directory.path().join("certs");
    ensure(&certs, &["localhost".to_owned()], now()).expect("made");
    let old = std::fs::read(certs.join("ca.pem")).expect("the authority");
    std::fs::remove_file(certs.join("ca.pem")).expect("removed");
    let server = TestServer::start_in(directory, &[]);
    let result = encrypt(connect(server.addresses.https), &old, "localhost", &rustls::version::TLS12);
    assert!(result.is_ok(), "{:?}", result.err());
}

#[test]
fn an_authority_without_its_key_serves_on_but_issues_nothing() {
    let directory = certificate_pair(&["localhost"], now());
    std::fs::remove_file(directory.path().join("ca.key")).expect("removed");
    ensure(directory.path(), &["localhost".to_owned()], now()).expect("the certificate is still good");
    let error = ensure(directory.path(), &["new.example".to_owned()], now()).expect_err("cannot issue");
    assert!(error.to_string().contains("ca.key is missing, so no certificate can be issued"), "{error}");
    let other = certificate_pair(&["localhost"], now());
    copy(other.path(), directory.path(), &["ca.key"]);
    let error = ensure(directory.path(), &["localhost".to_owned()], now()).expect_err("another key");
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
}
