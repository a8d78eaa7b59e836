//! What is published, as clients fetch it: ranges, methods, and files that go while they are read.

use super::*;

#[test]
fn ranges_are_answered_as_a_file_server_answers_them() {
    let server = TestServer::start(&[]);
    let mut report = String::new();
    // Below and above the size from which files are mapped.
    for length in [100, 100_000_usize] {
        let bytes = content(1, length);
        if length > 100 {
            server.withdraw(7);
        }
        server.publish_one(&bytes);
        let mut client = server.http();
        let last = length - 1;
        let table = [
            (String::new(), 200, 0..length),
            ("bytes=0-0".to_owned(), 206, 0..1),
            ("bytes=10-19".to_owned(), 206, 10..20),
            ("bytes=90-".to_owned(), 206, 90..length),
            ("bytes=-10".to_owned(), 206, length - 10..length),
            ("bytes=-1000000".to_owned(), 206, 0..length),
            (format!("bytes={last}-{last}"), 206, last..length),
            ("bytes=50-1000000".to_owned(), 206, 50..length),
            (format!("bytes={length}-"), 416, 0..0),
            ("bytes=-0".to_owned(), 416, 0..0),
            ("bytes=0-1,5-6".to_owned(), 200, 0..length),
            ("bytes=5-4".to_owned(), 200, 0..length),
            ("pages=1-2".to_owned(), 200, 0..length),
        ];
        for (range, status, expected) in table {
            let header = if range.is_empty() { String::new() } else { format!("Range: {range}\r\n") };
            let mut answer = client.get("/download/7/7-1", &header);
            assert_eq!(answer.status, status, "{range}");
            assert!(answer.body == bytes[expected.clone()], "{range}: other bytes");
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
            let said = match status {
                206 => Some(format!("bytes {}-{}/{length}", expected.start, expected.end - 1)),
                416 => Some(format!("bytes */{length}")),
                _ => None,
            };
            assert_eq!(answer.header("content-range"), said.as_deref(), "{range}");
            let mut head = client.request("HEAD", "/download/7/7-1", &header);
            // A second may have begun between the two.
            let dates = [&mut head, &mut answer].map(|it| it.headers.remove("date").is_some());
            assert_eq!(dates, [true; 2], "{range}");
            assert_eq!((head.status, &head.headers), (answer.status, &answer.headers), "{range}: HEAD differs");
            writeln!(report, "{range} {status}").expect("a string");
        }
    }
    assert_eq!(report.lines().count(), 26);
}

#[test]
fn an_answer_is_the_same_bytes_however_its_request_is_read() {
    // A line that means nothing, but is not known: the request is for the general part.
    const STRANGE: &str = "X-Strange: 1\r\n";
    let server = TestServer::start(&[]);
    server.publish_one(&content(1, 100_000));
    let whole = |secure: bool, requests: String| {
        let mut bytes = Vec::new();
        let send = format!("{requests}GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        if secure {
            let mut client = server.https(&rustls::version::TLS13);
            client.send(send);
            client.0.read_to_end(&mut bytes).expect("all of it");
        } else {
            let mut client = server.http();
            client.send(send);
            client.0.read_to_end(&mut bytes).expect("all of it");
        }
        // Dates of two moments may differ, and are as long.
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(8).position(|it| it == b"\r\ndate: ") {
            at += found + 8;
            let text = std::str::from_utf8(&bytes[at..at + 29]).expect("text").to_owned();
            assert!(text.ends_with(" GMT") && text.len() == 29, "{text}");
            bytes[at..at + 29].fill(b'-');
        }
        bytes
    };
    for lines in ["", "Range: bytes=10-99\r\n", "Range: bytes=70000-\r\n", "Range: bytes=200000-\r\n", "Range: x\r\n"] {
        for method in ["GET", "HEAD"] {
            for path in ["/download/7/7-1", "/download/7/info", "/download/7/7-9", "/download/7"] {
                let request = |more: &str| format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}{more}\r\n");
                for secure in [false, true] {
                    let plain = whole(secure, request("") + &request("Connection: keep-alive\r\n"));
                    let strange = whole(secure, request(STRANGE) + &request(STRANGE));
                    assert!(plain == strange, "{method} {path} {lines:?} secure: {secure}");
                    assert!(plain.len() > 300, "an answer each, and one of health");
                }
            }
        }
    }
}

#[test]
fn a_fragment_has_no_validators_and_is_never_304() {
    let server = TestServer::start(&[]);
    server.publish_one(&content(1, 40_000));
    let mut client = server.http();
    for condition in [
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
        "If-None-Match: *\r\n",
        "If-Match: \"nothing\"\r\n",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "If-Range: \"nothing\"\r\n",
    ] {
        let answer = client.get("/download/7/7-1", condition);
        assert_eq!((answer.status, answer.body.len()), (200, 40_000), "{condition}");
        let names: Vec<&str> = answer.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["accept-ranges", "content-length", "content-type", "date"], "{condition}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn info_is_told_over_https_only() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let refused = server.http().get("/download/7/info", "");
    assert_eq!(refused.status, 403);
    insta::assert_snapshot!(refused.text(), @"info files carry the command to run and are served over HTTPS only: ask the HTTPS address for this file");
    assert_eq!(server.http().get("/download/8/info", "").status, 403, "HTTP does not even tell whether it exists");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = server.https(version);
        let info = client.get("/download/7/info", "");
        assert_eq!((info.status, info.text().as_str()), (200, "<DOWNLOAD ID=\"7\"/>\n"));
        assert_eq!(info.header("content-type"), Some("application/xml"));
        assert_eq!(client.get("/download/7/7-1", "").text(), "fragment");
    }
}

#[test]
fn nothing_but_published_files_can_be_reached() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.https(&rustls::version::TLS13);
    for path in [
        "/download/7/7-2",
        "/download/8/8-1",
        "/download/7/8-1",
        "/download/7/7-01",
        "/download/07/07-1",
        "/download/7/../../dripfeed.db",
        "/download/../certs/ca.key",
        "/download/%2e%2e/certs/ca.key",
        "/download/7%2f7-1",
        "/download/7/7%2D1",
        "/download/7/7-1/",
        "/download//7/7-1",
        "/download/7",
        "/download/7/",
        "/download/",
        "/download",
        "/certs/ca.key",
        "/nothing",
    ] {
        assert_eq!(client.get(path, "").status, 404, "{path}");
    }
    assert_eq!(client.get("/download/7/7-1?x=1", "").status, 200, "a query changes nothing");
}

#[test]
fn files_have_no_other_methods() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.http();
    for method in ["PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = client.request(method, "/download/7/7-1", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(client.request("DELETE", "/", "").status, 405);
}

#[test]
fn a_withdrawn_package_is_gone_and_a_new_file_of_its_name_is_the_new_one() {
    let server = TestServer::start(&[]);
    let mut client = server.http();
    for round in 1..=3 {
        let bytes = content(round, 50_000);
        server.publish_one(&bytes);
        for _ in 0..2 {
            assert!(client.get("/download/7/7-1", "").body == bytes, "round {round}");
        }
        server.withdraw(7);
        assert_eq!(client.get("/download/7/7-1", "").status, 404, "round {round}");
    }
}

#[test]
fn a_download_that_runs_survives_the_withdrawal() {
    let server = TestServer::start(&[]);
    // More than sockets hold, so that it cannot be through before the withdrawal.
    let bytes = content(3, 24 << 20);
    server.publish_one(&bytes);
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!client.0.fill_buf().expect("it has begun").is_empty());
    server.withdraw(7);
    assert_eq!(server.http().get("/download/7/7-1", "").status, 404);
    assert!(client.answer(false).body == bytes);
}

#[test]
fn many_downloads_of_files_that_come_and_go_get_their_own_bytes() {
    const FILES: u32 = 24;
    const READERS: u32 = 6;
    let server = TestServer::start(&[]);
    let length = |n: u32| [20_000, 70_001, 1 << 20, (1 << 20) + 1, 300, 16 << 10, 2_500_000][n as usize % 7];
    let contents: Vec<Vec<u8>> = (0..=FILES).map(|n| content(n, length(n))).collect();
    let contents = &contents;
    let put = |n: u32| server.publish(n, &[(format!("{n}-1"), contents[n as usize].clone())]);
    (1..=FILES).for_each(put);
    let done = AtomicBool::new(false);
    let (mut whole, mut parts) = (0, 0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let server = &server;
                scope.spawn(move || {
                    let (mut whole, mut parts) = (0, 0);
                    let mut plain = server.http();
                    let mut secure = server.https(&rustls::version::TLS13);
                    for turn in 0..60_u32 {
                        let n = 1 + (turn * 7 + reader * 5) % FILES;
                        let bytes = &contents[n as usize];
                        let start = (turn as usize * 7919) % bytes.len();
                        let range = format!("Range: bytes={start}-\r\n");
                        let header = if turn % 2 == 0 { "" } else { range.as_str() };
                        let path = format!("/download/{n}/{n}-1");
                        let answer = if turn % 5 == 4 { secure.get(&path, header) } else { plain.get(&path, header) };
                        match answer.status {
                            200 => whole += 1,
                            206 => parts += 1,
                            404 => continue,
                            other => panic!("status {other}"),
                        }
                        let right =
                            if answer.status == 200 { answer.body == *bytes } else { answer.body == bytes[start..] };
                        assert!(right, "file {n} from {start}: other bytes");
                    }
                    (whole, parts)
                })
            })
            .collect();
        // Mappings are made and dropped under the readers, so that their addresses are used again.
        let churn = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n = n % FILES + 1;
                server.withdraw(n);
                put(n);
            }
        });
        for reader in readers {
            let counts = reader.join().expect("a reader's bytes were right");
            whole += counts.0;
            parts += counts.1;
        }
        done.store(true, Ordering::Relaxed);
        churn.join().expect("files come and go");
    });
    assert!(whole > 30 && parts > 30, "{whole} whole, {parts} parts: too few to mean anything");
}

#[test]
fn a_cancelled_job_is_gone_for_its_agent_and_for_nobody_else() {
    let test = TestApp::new();
    let id = test.package(&content(3, 3000), 1000).id;
    let here: Location = "localhost/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    say_inventory(&test, WS, "Debian", &[]);
    let target = || Target::Computers(vec![WS.to_owned()]);
    let deployment = assign_to(&test, id, target()).deployment;
    deployments::cancel(&test.app, deployment, false, "bob").expect("cancelled");

    let server = TestServer::start_in(test.into_directory(), &[]);
    let agent = format!("User-Agent: {}\r\n", peer().user_agent);
    let (info, fragment) = (format!("/download/{id}/info"), format!("/download/{id}/{id}-2"));
    let mut client = server.http();
    let gone = client.get(&fragment, &agent);
    assert_eq!(gone.status, 410);
    insta::assert_snapshot!(gone.text().trim_end(), @"the package was taken back from this computer: its deployment was cancelled");
    assert_eq!(client.request("HEAD", &fragment, &agent).status, 410);
    assert_eq!(server.https(&rustls::version::TLS13).get(&info, &agent).status, 410);
    for others in [
        String::new(),
        "User-Agent: curl/8.5.0\r\n".to_owned(),
        format!("{agent}Via: 1.1 mirror\r\n"),
        format!("{agent}X-Forwarded-For: 192.0.2.7\r\n"),
        format!("{agent}Forwarded: for=192.0.2.7\r\n"),
    ] {
        assert_eq!(client.get(&fragment, &others).status, 200, "{others:?} was refused");
    }
    // Another program plans a new job: the list in memory is old, the answer is not.
    let app = TestApp::open(server.directory.path());
    assign(&app, id, target(), JobOptions::default(), "alice").expect("assigned");
    assert_eq!(client.get(&fragment, &agent).status, 200);
}
