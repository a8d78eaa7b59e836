//! What is said of a server that cannot be talked to, and of answers that are none.

use super::*;

#[test]
fn every_transport_failure_has_its_sentence() {
    let mut sentences = Vec::new();
    let mut tell = |what: &str, bench: &Bench| {
        let error = bench.once().expect_err(what);
        sentences.push(format!("{what}: {}", bench.sentence(&error)));
    };

    let bench = Bench::new();
    put(&bench.home.path().join("ca.pem"), certified(&["127.0.0.1"], false).ca_pem.as_bytes());
    tell("wrong CA", &bench);

    tell("wrong name", &Bench::with(Server::with(&certified(&["ocs.example.net"], false))));
    tell("expired", &Bench::with(Server::with(&certified(&["127.0.0.1"], true))));

    let mut bench = Bench::new();
    bench.config.ca = None;
    tell("no CA", &bench);

    let mut bench = Bench::new();
    bench.config.server = format!("https://{}/ocsinventory", bench.server.http);
    tell("TLS where there is none", &bench);

    let mut bench = Bench::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    bench.config.server = format!("http://{free}/ocsinventory");
    let error = bench.once().expect_err("nobody there");
    sentences.push(format!("refused: {}", bench.sentence(&error).replace(&free.to_string(), "CLOSED")));

    let mut bench = Bench::new();
    // A label of 64 letters is refused without asking any server.
    let host = "x".repeat(64);
    bench.config.server = format!("http://{host}.invalid/ocsinventory");
    let error = bench.once().expect_err("no such host");
    sentences.push(format!("no such name: {}", bench.sentence(&error).replace(&host, "NAME")));

    let mut tell = |what: &str, answer: Answer| {
        let bench = Bench::new();
        bench.server.fault(move |_| Some(answer.clone()));
        let error = bench.once().expect_err(what);
        sentences.push(format!("{what}: {}", bench.sentence(&error)));
    };
    tell("redirect", Answer::Full(302, vec![("Location", "https://elsewhere/".to_owned())], Vec::new()));
    tell("400", status(400));
    tell("500", status(500));
    tell("endless", Answer::Endless);
    tell("short", Answer::Cut(vec![b'x'; 100], 40));
    tell("empty", ok(""));
    tell("a web page", ok("<html><body>Welcome</body></html>"));
    tell("garbage", ok(vec![0x78, 0x9c, 1, 2, 3, 4]));

    insta::assert_snapshot!(sentences.join("\n"), @r#"
    wrong CA: no contact: the certificate of SECURE was not signed by HOME/ca.pem: copy the right server's certs/ca.pem there, or somebody stands in between
    wrong name: no contact: the certificate of SECURE is not for that name but for ocs.example.net: use a name that it carries, or renew it
    expired: no contact: the certificate of SECURE has expired: renew it, or set this computer's clock right
    no CA: no contact: https://SECURE/ocsinventory needs a CA file to check the server against: copy the server's certs/ca.pem to HOME/data/https:__SECURE_ocsinventory/cacert.pem or name it with --ca
    TLS where there is none: no contact: no secure connection to CLEAR: what answers there does not speak TLS: is that the http port?
    refused: no contact: nothing answers at CLOSED (connection refused): is the server running, and is the port right?
    no such name: no contact: the name "NAME.invalid" is not known: check the address, or the computer's DNS
    redirect: no contact: https://SECURE/ocsinventory was answered 302, elsewhere: https://elsewhere/; redirects are not followed here, so use that address itself
    400: no contact: https://SECURE/ocsinventory was answered 400: the server took the request for malformed, or does not know this agent's version
    500: no contact: https://SECURE/ocsinventory was answered 500: the server is in trouble, later again
    endless: no contact: the answer of https://SECURE/ocsinventory is larger than 8 MiB
    short: no contact: the answer of https://SECURE/ocsinventory broke off after 40 bytes: Peer disconnected
    empty: no contact: the answer of https://SECURE/ocsinventory cannot be opened; is that address an OCS or dripfeed server?: the request is empty
    a web page: no contact: the answer of https://SECURE/ocsinventory cannot be read: the answer is not an OCS reply: its root is "html"
    garbage: no contact: the answer of https://SECURE/ocsinventory cannot be opened; is that address an OCS or dripfeed server?: the compressed body is damaged
    "#);
}

#[test]
fn an_info_file_is_not_fetched_from_elsewhere_but_a_fragment_is() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let moved = format!("http://{}/mirror/7-1", bench.server.http);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    bench.server.world().files.insert("/mirror/7-1".to_owned(), bytes);
    bench.server.fault(move |asked| {
        asked.path.ends_with("/7/7-1").then(|| Answer::Full(302, vec![("Location", moved.clone())], Vec::new()))
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);

    let client = Client::new(&ClientOptions { ca_file: bench.config.ca.clone(), ..ClientOptions::default() });
    bench.server.fault(|_| Some(Answer::Full(301, vec![("Location", "https://evil/".to_owned())], Vec::new())));
    let url = format!("https://{}/download/7/info", bench.server.https).parse().expect("an address");
    let error = client.expect("a client").get(&url, 100).expect_err("a redirect");
    assert!(matches!(error, FetchError::Redirect { status: 301, .. }), "{error}");
}

#[test]
fn a_fragment_without_end_is_cut_and_takes_no_room() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    bench.machine.room.store((64 << 20) + 300_000, Ordering::Relaxed);
    let mut endless = 1;
    bench.server.fault(move |asked| {
        (asked.path.ends_with("7-1") && endless > 0).then(|| {
            endless -= 1;
            Answer::Endless
        })
    });
    bench.once().expect("a run");
    assert!(!bench.server.take_log().contains("bytes="), "nothing of it was kept");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}
