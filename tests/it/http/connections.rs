//! How long a connection may take, how many there may be, and how they end.

use super::*;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(&[]);
    let bytes = content(5, 30_000);
    server.publish_one(&bytes);
    let mut client = server.http();
    let one = "GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n";
    client.send(format!(
        "{one}\r\n{one}Range: bytes=5-9\r\n\r\nHEAD /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n{one}\r\n"
    ));
    assert!(client.answer(false).body == bytes);
    assert!(client.answer(false).body == bytes[5..10]);
    assert_eq!(client.answer(true).header("content-length"), Some("30000"));
    assert_eq!(client.answer(false).status, 404);
    assert!(client.answer(false).body == bytes);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer(false).text(), "fragment");
    assert!(client.is_closed());
    let mut client = server.http();
    for _ in 0..2 {
        client.send("GET /download/7/7-1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer(false).text(), "fragment");
    }
    let mut client = server.http();
    assert_eq!(client.get("/download/7/7-1", "Connection: close\r\n").status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_slow_head_an_idle_connection_and_a_mute_one_are_closed() {
    let server = TestServer::start(&[("timeouts.header", "1s"), ("timeouts.idle", "1s"), ("timeouts.handshake", "1s")]);
    server.publish_one(b"fragment");
    let mut mute = server.http();
    let mut slow = server.http();
    slow.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x");
    let mut idle = server.http();
    assert_eq!(idle.get("/download/7/7-1", "").status, 200);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    second.send("GET /down");
    let mut no_handshake = Client::new(connect(server.addresses.https));
    for (name, client) in [
        ("mute", &mut mute),
        ("slow", &mut slow),
        ("idle", &mut idle),
        ("second", &mut second),
        ("no handshake", &mut no_handshake),
    ] {
        assert!(client.is_closed(), "{name}");
    }
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = TestServer::start(&[("timeouts.body_grace", "150ms")]);
    let mut client = server.http();
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (408, "the request's body came too slowly\n"));
    assert!(client.is_closed());
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let server = TestServer::start(&[("timeouts.write", "150ms")]);
    let length = server.publish_large();
    for secure in [false, true] {
        let read = if secure {
            let mut client = server.https(&rustls::version::TLS13);
            client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
            wait_until_dropped(client.0.get_ref().get_ref());
            to_the_end(&mut client)
        } else {
            let mut client = server.http();
            client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
            wait_until_dropped(client.0.get_ref());
            to_the_end(&mut client)
        };
        assert!(read < length, "secure {secure}: all of it came");
    }
}

/// Waits, without reading, until the other side has closed.
fn wait_until_dropped(stream: &TcpStream) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut ready = [PollFd::new(stream, PollFlags::RDHUP)];
    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut ready, Some(&limit)).expect("polled"), 1, "the server kept a reader that takes nothing");
}

fn to_the_end<S: Read + Write>(client: &mut Client<S>) -> usize {
    let mut total = 0;
    loop {
        match client.0.fill_buf().map(<[u8]>::len) {
            Ok(0) | Err(_) => return total,
            Ok(length) => {
                total += length;
                client.0.consume(length);
            }
        }
    }
}

#[test]
fn a_slow_but_steady_reader_is_served_to_the_end() {
    let server = TestServer::start(&[("timeouts.idle", "500ms"), ("timeouts.header", "500ms")]);
    let bytes = content(9, 8 << 20);
    server.publish_one(&bytes);
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    // Longer than the idle and header time-outs in sum: an answer under way is neither.
    let mut received = Vec::new();
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        let mut piece = [0; 512];
        client.0.get_mut().read_exact(&mut piece).expect("it goes on");
        received.extend_from_slice(&piece);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let head = received.windows(4).position(|it| it == b"\r\n\r\n").expect("a head") + 4;
    let rest = head + bytes.len() - received.len();
    let mut end = vec![0; rest];
    client.0.get_mut().read_exact(&mut end).expect("the rest");
    received.extend_from_slice(&end);
    assert!(received[head..] == bytes);
}

/// A connection from another address of this machine, which is another peer.
fn from_another_address(address: SocketAddr) -> Client<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("bound");
    socket.connect(&address.into()).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    Client::new(TcpStream::from(socket))
}

/// A connection with a request under way: the server has said that it waits for the body.
fn busy(server: &TestServer) -> Client<TcpStream> {
    let mut client = server.http();
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(false).status, 100);
    client
}

#[test]
fn one_address_cannot_take_the_places_of_the_others() {
    let server = TestServer::start(&[("limits.connections", "10"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = busy(&server);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    let refused = server.http().answer(false);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("60")));
    assert_eq!(refused.text(), "this address has too many connections open already");
    assert_eq!(from_another_address(server.addresses.http).get("/download/7/7-1", "").status, 200);
    assert_eq!(second.get("/download/7/7-1", "").status, 200, "who is in is not disturbed");
    first.send("junk");
    assert_eq!(first.answer(false).status, 400);
}

#[test]
fn beyond_the_cap_newcomers_wait_for_a_request_to_end() {
    let server = TestServer::start(&[("limits.connections", "2"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = busy(&server);
    let _second = busy(&server);
    let mut third = from_another_address(server.addresses.http);
    third.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    third.0.get_ref().set_nonblocking(true).expect("set");
    let too_early = third.try_answer(false).expect_err("no place is free");
    assert_eq!(too_early.kind(), ErrorKind::WouldBlock);
    third.0.get_ref().set_nonblocking(false).expect("set");
    first.send("junk");
    assert_eq!(first.answer(false).status, 400);
    assert_eq!(third.answer(false).text(), "fragment");
    assert!(first.is_closed(), "it gave way as soon as it was idle");
}

#[test]
fn when_every_place_is_taken_an_idle_connection_makes_room() {
    let server = TestServer::start(&[("limits.connections", "2"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = server.http();
    assert_eq!(first.get("/download/7/7-1", "").status, 200);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    let mut third = from_another_address(server.addresses.http);
    // The idle time-out is longer than the client waits, so one of the two has made room.
    assert_eq!(third.get("/download/7/7-1", "").status, 200);
}

#[test]
fn a_graceful_stop_ends_idle_connections_and_finishes_downloads() {
    let mut server = TestServer::start(&[]);
    let bytes = content(11, 24 << 20);
    server.publish_one(&bytes);
    let mut idle = server.http();
    assert_eq!(idle.get("/nothing", "").status, 404);
    let mut fresh = server.http();
    let mut half = server.http();
    half.send("GET /downl");
    let mut running = server.http();
    running.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!running.0.fill_buf().expect("it has begun").is_empty());
    server.tell_to_stop();
    assert!(idle.is_closed() && fresh.is_closed() && half.is_closed());
    assert!(TcpStream::connect(server.addresses.http).is_err(), "nothing new is accepted");
    let answer = running.answer(false);
    assert!(answer.body == bytes);
    assert!(running.is_closed());
    server.join();
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut server = TestServer::start(&[("timeouts.stop", "150ms")]);
    let length = server.publish_large();
    let mut stuck = server.http();
    stuck.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!stuck.0.fill_buf().expect("it has begun").is_empty());
    server.tell_to_stop();
    server.join();
    assert!(to_the_end(&mut stuck) < length);
}

#[test]
fn a_port_in_use_is_a_sentence() {
    let server = TestServer::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let taken = server.addresses.https.to_string();
    let config = config(directory.path(), &[("https", &taken)]);
    let app = app(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(async { Server::bind(config, app).err() }).expect("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "the HTTPS listener cannot use {taken}: another program listens there; end it or choose another address with \
             --https (https in dripfeed.toml)"
        )
    );
}

#[test]
fn a_reader_that_is_slower_than_the_sockets_steps_is_not_dropped() {
    use rustix::net::sockopt::set_socket_recv_buffer_size;
    let server = TestServer::start(&[("timeouts.write", "1s")]);
    let length = server.publish_large();
    let mut client = server.http();
    // Little at our end, so that what waits lies at theirs.
    set_socket_recv_buffer_size(client.0.get_ref(), 32 << 10).expect("a small buffer");
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut read = 0;
    let started = std::time::Instant::now();
    let mut piece = vec![0; 8 << 10];
    while started.elapsed() < Duration::from_secs(3) {
        client.0.get_mut().read_exact(&mut piece).expect("it goes on");
        read += piece.len();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(read < length / 4, "{read} of {length}: that was not slow");
    let rest = to_the_end_of(&mut client, length - read);
    assert!(read + rest >= length, "{read} + {rest} of {length}");
}

fn to_the_end_of<S: Read + Write>(client: &mut Client<S>, wanted: usize) -> usize {
    let mut total = 0;
    while total < wanted {
        let length = client.0.fill_buf().expect("it goes on").len();
        assert!(length > 0, "closed after {total} of {wanted}");
        total += length;
        client.0.consume(length);
    }
    total
}
