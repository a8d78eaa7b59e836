//! Fetching: several sources, proxies, the ceiling, and what a service manager hears; on 127.0.0.1.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dripfeed::agent::{Agent, Ended, Machine, Plan, Status};
use dripfeed::config::agent::{AgentConfig, AgentOpts, EnvironmentProxies, Hidden};
use dripfeed::fetch::{Client, ClientOptions, FetchError, Proxies};
use dripfeed::model::{Action, DeviceId, DigestAlgorithm, Hasher, UnixTime};

use crate::agent::{Answer, Bench, Server, Virtual, certified, execute, ok, put, status, tar_gz};

/// A package of three fragments whose digests are said one by one, on two more places.
fn offered_thrice(bench: &Bench) -> Vec<Server> {
    let archive = tar_gz(&[("readme", 0o644, &"hello ".repeat(500))]);
    let mut info = bench.server.publish(7, execute("true"), &archive, 3);
    let others: Vec<Server> = (0..2)
        .map(|_| {
            let other = Server::start();
            other.publish(7, execute("true"), &archive, 3);
            other
        })
        .collect();
    info.fragment_sha256 = archive
        .chunks(archive.len().div_ceil(3))
        .map(|bytes| {
            let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
            hasher.update(bytes);
            hasher.finish()
        })
        .collect();
    bench.server.put_info(&info);
    let more = others.iter().map(|other| format!("{}/download", other.http).parse().expect("a location")).collect();
    bench.server.change_offer(|offer| offer.more_locations = more);
    others
}

fn gets(server: &Server) -> Vec<String> {
    let log = server.take_log();
    log.lines().filter_map(|line| line.strip_prefix("GET http /download/7/")).map(str::to_owned).collect()
}

#[test]
fn a_source_that_is_away_is_left_alone_and_the_next_one_gives_the_rest() {
    let bench = Bench::new();
    let others = offered_thrice(&bench);
    bench.server.fault(|asked| asked.path.starts_with("/download/7/7-").then(|| status(503)));
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    // At priority 5 turns are minutes apart: the first rest is over, and the first source is tried again.
    let log = bench.server.take_log();
    let tries = log.lines().filter(|line| line.contains("http /download")).count();
    assert!((1..=3).contains(&tries), "{log}");
    assert_eq!(gets(&others[0]), ["7-1", "7-2", "7-3"]);
    assert_eq!(gets(&others[1]), Vec::<String>::new());
    let known = Status::read(&bench.config).expect("a status");
    let source = &known.sources[0];
    assert_eq!(source.source, format!("{}/download", bench.server.http));
    assert!(source.last_error.contains("was answered 503") && source.failures >= 1, "{source:?}");
    assert_eq!(known.unsent_results, 0);
}

#[test]
fn only_the_bad_fragment_is_fetched_again_from_elsewhere_and_its_source_is_named() {
    let bench = Bench::new();
    let others = offered_thrice(&bench);
    bench.server.fault(|asked| (asked.path == "/download/7/7-2").then(|| ok(b"other bytes".to_vec())));
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert_eq!(gets(&others[0]).iter().filter(|name| *name == "7-2").count(), 1);
    let log = bench.server.take_log();
    assert_eq!(log.matches("GET http /download/7/7-2").count(), 1, "{log}");
    let known = Status::read(&bench.config).expect("a status");
    assert_eq!(known.sources[0].source, format!("{}/download/7", bench.server.http));
    assert!(known.sources[0].last_error.contains("gives other bytes than were built"), "{:?}", known.sources);
}

#[test]
fn a_fragment_goes_on_from_another_source_where_the_first_one_broke_off() {
    let bench = Bench::new();
    let others = offered_thrice(&bench);
    let whole = bench.server.world().files["/download/7/7-1"].clone();
    let half = whole.len() / 2;
    bench.server.fault(move |asked| (asked.path == "/download/7/7-1").then(|| Answer::Cut(whole.clone(), half)));
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert_eq!(gets(&others[0])[0], format!("7-1 bytes={half}-"));
}

#[test]
fn exit_codes_mean_what_the_package_says() {
    let bench = Bench::new();
    bench.server.hurry();
    for (number, code) in [(11, 3), (12, 194), (13, 5), (14, 0)] {
        let mut info = bench.server.publish(number, execute(&format!("exit {code}")), b"", 0);
        info.exit_codes = "3=success 194=reboot 0=failure".parse().expect("a list");
        bench.server.put_info(&info);
    }
    let mut info = bench.server.publish(
        15,
        Action::Store { path: bench.home.path().join("opt").display().to_string() },
        &tar_gz(&[("a", 0o644, "x")]),
        1,
    );
    info.exit_codes = "0=failure".parse().expect("a list");
    bench.server.put_info(&info);
    bench.once().expect("a run");
    let mut reports = bench.server.reports();
    reports.sort();
    assert_eq!(
        reports,
        ["11 SUCCESS_3", "12 SUCCESS_REBOOT_REQUIRED", "13 ERR_EXIT_CODE_5", "14 ERR_EXIT_CODE_0", "15 SUCCESS"]
    );
    assert_eq!(bench.history(), "11\n12\n15\n");
}

#[test]
fn the_ceiling_holds_in_virtual_time() {
    let bench = Bench::new();
    bench.server.hurry();
    // Bytes that a compressor cannot shorten.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap_or_default()
    })
    .take(600_000)
    .collect();
    bench.server.publish(7, execute("true"), &noise, 2);
    let config = AgentConfig { bandwidth: Some(20_000), ..bench.config.clone() };
    let agent = Agent::new(&config, &bench.machine, bench.machine.stop.clone()).expect("an agent");
    agent.once().expect("a run");
    // 600,000 bytes at 20,000 a second, less the second that is free; and hardly more.
    assert!((29..=31).contains(&bench.machine.elapsed()), "{} s", bench.machine.elapsed());
}

#[test]
fn a_start_is_put_off_by_chance_but_not_the_first_one_nor_a_reload() {
    let bench = Bench::new();
    let config = AgentConfig { start_delay: Duration::from_mins(10), ..bench.config.clone() };
    let contacts_until = |seconds: i64, is_reload: bool| {
        let machine = Virtual::new();
        machine.ends.set(Some(UnixTime::from_seconds(machine.now().seconds() + seconds)));
        let agent = Agent::new(&config, &machine, machine.stop.clone()).expect("an agent");
        let agent = if is_reload { agent.after_reload() } else { agent };
        assert_eq!(agent.run().expect("a run"), Ended::Stopped);
        bench.server.take_log().matches("PROLOG").count()
    };
    assert_eq!(contacts_until(1, false), 1, "whoever installs it wants to see it");
    assert_eq!(contacts_until(600, false), 0, "chance is always the largest here");
    assert_eq!(contacts_until(601, false), 1);
    assert_eq!(contacts_until(1, true), 1, "a person waits for it");
}

// ------------------------------------------------------------------------------------------------------------- proxies

/// A proxy that speaks CONNECT or SOCKS5, wants a password, and notes where it was asked to go.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        // A side that goes away ends it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

fn join(client: &TcpStream, target: &str) {
    let server = TcpStream::connect(target).expect("the target");
    pump(client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    pump(server, client.try_clone().expect("a socket"));
}

impl Proxy {
    fn start(speak: fn(&mut TcpStream) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), noted) = (stream, Arc::clone(&noted)) else { return };
                std::thread::spawn(move || {
                    if let Some(target) = speak(&mut stream) {
                        noted.lock().expect("a list").push(target.clone());
                        join(&stream, &target);
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// `user` and `pass word`, in Base64.
    fn connect() -> Self {
        Self::start(|stream| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).ok()?;
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            if !head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnzihdvcmq=") {
                stream.write_all(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n").ok()?;
                return None;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            head.strip_prefix("CONNECT ")?.split(' ').next().map(str::to_owned)
        })
    }

    fn socks5() -> Self {
        Self::start(|stream| {
            let mut two = [0; 2];
            stream.read_exact(&mut two).ok()?;
            let mut methods = vec![0; two[1].into()];
            stream.read_exact(&mut methods).ok()?;
            methods.contains(&2).then_some(())?;
            stream.write_all(&[5, 2]).ok()?;
            let text = |stream: &mut TcpStream| -> Option<String> {
                let mut length = [0];
                stream.read_exact(&mut length).ok()?;
                let mut bytes = vec![0; length[0].into()];
                stream.read_exact(&mut bytes).ok()?;
                String::from_utf8(bytes).ok()
            };
            let mut version = [0];
            stream.read_exact(&mut version).ok()?;
            let right = text(stream)? == "user" && text(stream)? == "pass word";
            stream.write_all(&[1, u8::from(!right)]).ok()?;
            right.then_some(())?;
            let mut request = [0; 10];
            stream.read_exact(&mut request).ok()?;
            assert_eq!(request[..4], [5, 1, 0, 1], "an IPv4 address");
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
            let [.., a, b, c, d, high, low] = request;
            Some(format!("{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([high, low])))
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }
}

#[test]
fn everything_goes_through_a_proxy_with_its_password_and_what_is_excepted_does_not() {
    for (proxy, scheme) in [(Proxy::connect(), "http"), (Proxy::socks5(), "socks5")] {
        let bench = Bench::new();
        bench.server.hurry();
        bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
        let address = Hidden(format!("{scheme}://user:pass%20word@{}", proxy.address));
        let environment = EnvironmentProxies { http: Some(address.clone()), https: Some(address), except: None };
        let opts = |except: Option<String>| AgentOpts {
            server: Some(bench.config.server.clone()),
            ca: bench.config.ca.clone(),
            data_dir: Some(bench.home.path().join("data")),
            no_proxy: except,
            environment: environment.clone(),
            ..AgentOpts::default()
        };
        let run = |config: &AgentConfig| {
            assert!(!format!("{config:?}").contains("pass%20"), "{config:?}");
            Agent::new(config, &bench.machine, bench.machine.stop.clone()).expect("an agent").once().expect("a run")
        };
        run(&opts(None).check().expect("a configuration"));
        assert_eq!(bench.server.reports(), ["7 SUCCESS"], "{scheme}");
        let asked = proxy.asked();
        let (https, http) = (bench.server.https.to_string(), bench.server.http.to_string());
        assert!(asked.contains(&https) && asked.contains(&http), "{scheme}: {asked:?}");
        run(&opts(Some("127.0.0.0/8".to_owned())).check().expect("a configuration"));
        assert_eq!(proxy.asked(), asked, "{scheme}: what is excepted goes straight");
    }
}

#[test]
fn a_proxy_that_wants_another_password_is_told_without_it() {
    let bench = Bench::new();
    let proxy = Proxy::connect();
    let client = through(&bench, &format!("http://user:wrong@{}", proxy.address));
    let error = client.get(&bench.config.server.parse().expect("an address"), 100).expect_err("refused");
    assert!(matches!(error, FetchError::ProxyRefused { .. }), "{error:?}");
    let sentence = format!("{} {error:?} {client:?}", bench.sentence(&error));
    assert!(sentence.contains("407") && !sentence.contains("wrong"), "{sentence}");
}

/// A client that goes through this proxy only.
fn through(bench: &Bench, proxy: &str) -> Client {
    let options =
        ClientOptions { ca_file: bench.config.ca.clone(), proxies: Proxies::all(proxy), ..ClientOptions::default() };
    Client::new(&options).expect("a client")
}

#[test]
fn a_proxy_that_is_away_is_named_and_the_server_is_not_blamed() {
    let bench = Bench::new();
    let away = |proxy: &str, problem: &str| {
        for authority in [bench.server.https.to_string(), bench.server.http.to_string()] {
            let scheme = if authority == bench.server.https.to_string() { "https" } else { "http" };
            let url = format!("{scheme}://{authority}/ocsinventory").parse().expect("an address");
            let error = through(&bench, proxy).get(&url, 100).expect_err("nobody is there");
            let shown = proxy.replace("user:secret", "…");
            let expected = format!(
                "the proxy {shown} does not answer ({problem}), so {authority} was not reached: is the proxy running, \
                 and is its address right?"
            );
            assert_eq!(error.to_string(), expected);
        }
    };
    for scheme in ["http", "https", "socks5", "socks4a"] {
        away(&format!("{scheme}://user:secret@127.0.0.1:1"), "connection refused");
        // No directory has a name with an empty part.
        away(&format!("{scheme}://no..where:3128"), "its name is not known");
    }
}

#[test]
fn a_proxy_that_is_silent_is_named_too() {
    let bench = Bench::new();
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    for scheme in ["http", "socks5"] {
        let client = Client::new(&ClientOptions {
            ca_file: bench.config.ca.clone(),
            proxies: Proxies::all(&format!("{scheme}://{address}")),
            connect_timeout: Duration::from_millis(50),
            ..ClientOptions::default()
        });
        let url = bench.config.server.parse().expect("an address");
        let error = client.expect("a client").get(&url, 100).expect_err("no answer");
        assert!(matches!(error, FetchError::ProxyAway { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("{scheme}://{address} does not answer (no answer in time)")));
    }
}

#[test]
fn a_server_that_is_away_behind_a_proxy_is_the_proxys_word() {
    let bench = Bench::new();
    let refusing = Proxy::start(|stream| {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).ok()?;
        stream.write_all(&[5, 0]).ok()?;
        let mut request = [0; 10];
        stream.read_exact(&mut request).ok()?;
        stream.write_all(&[5, 5]).ok()?;
        None
    });
    let client = through(&bench, &format!("socks5://{}", refusing.address));
    let error = client.get(&bench.config.server.parse().expect("an address"), 100).expect_err("it is away");
    let sentence = bench.sentence(&error);
    assert!(sentence.starts_with("the proxy lets nobody through to SECURE: connection refused;"), "{sentence}");
}

#[test]
fn a_proxy_over_tls_is_checked_against_the_same_roots() {
    let right = certified(&["127.0.0.1"], false);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = Arc::clone(&right.config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // Behind CONNECT it plays the target itself.
            for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthrough"] {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                // Whoever does not trust it goes away.
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
            }
        }
    });
    let home = tempfile::tempdir().expect("a directory");
    let reach = |ca_pem: &str| {
        let ca = home.path().join("ca.pem");
        put(&ca, ca_pem.as_bytes());
        let proxies = Proxies::all(&format!("https://{address}"));
        let client =
            Client::new(&ClientOptions { ca_file: Some(ca), proxies, ..ClientOptions::default() }).expect("a client");
        client.get(&"http://127.0.0.1:1/x".parse().expect("an address"), 100)
    };
    assert_eq!(reach(&right.ca_pem).expect("an answer"), b"through");
    let error = reach(&certified(&["127.0.0.1"], false).ca_pem).expect_err("another authority");
    assert!(matches!(error, FetchError::UnknownCa { .. }), "{error:?}");
}

/// Announces a megabyte to everybody, and sends a byte of it now and then, or none.
fn hesitant(drips: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let mut goes_on = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").is_ok();
            while drips && goes_on {
                std::thread::sleep(Duration::from_millis(5));
                goes_on = stream.write_all(b"x").is_ok();
            }
            // Whoever waits for more than this ends by giving up.
            let _ = stream.read(&mut byte);
        }
    });
    format!("http://{address}/x")
}

#[test]
fn a_source_that_drips_is_left_at_the_deadline_and_a_silent_one_when_patience_ends() {
    let long = Duration::from_hours(1);
    let brief = Duration::from_millis(300);
    for (drips, read_timeout, deadline) in [(true, long, brief), (false, brief, long)] {
        let client = Client::new(&ClientOptions { read_timeout, deadline, ..ClientOptions::default() });
        let url = hesitant(drips).parse().expect("an address");
        let error = client.expect("a client").get(&url, 2_000_000).expect_err("it never ends");
        assert!(matches!(error, FetchError::Timeout { .. }), "{drips}: {error:?}");
    }
}

// ------------------------------------------------------------------------------------------------------- the program

fn program(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(environment.iter().copied())
        .output()
        .expect("the program")
}

#[test]
fn a_service_says_that_it_is_ready_reloading_and_ending() {
    let bench = Bench::new();
    let socket = bench.home.path().join("notify");
    let listener = UnixDatagram::bind(&socket).expect("a socket");
    listener.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    let heard = |what: &str| loop {
        let mut bytes = [0; 512];
        let length = listener.recv(&mut bytes).expect("a message");
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if message.starts_with(what) {
            return message;
        }
        assert!(message.starts_with("WATCHDOG=1"), "{message} instead of {what}");
    };
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(["-q", "run", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "2000000")
        .spawn()
        .expect("the program");
    assert!(heard("READY=1").contains("STATUS="));
    heard("WATCHDOG=1");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("told to read its configuration");
    heard("RELOADING=1");
    heard("READY=1");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
    heard("STOPPING=1");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_package_sees_nothing_that_was_said_to_the_agent_alone() {
    let bench = Bench::new();
    bench.server.hurry();
    let seen = bench.home.path().join("seen");
    bench.server.publish(7, execute(&format!("env > '{}'", seen.display())), &[], 0);
    let socket = bench.home.path().join("notify");
    let _listener = UnixDatagram::bind(&socket).expect("a socket");
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("NOTIFY_SOCKET", socket.to_str().expect("text")),
        ("WATCHDOG_USEC", "2000000"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("STATE_DIRECTORY", "/var/lib/dripfeed-agent"),
        ("DRIPFEED_AGENT_TAG", "secret"),
        ("ftp_proxy", "http://user:secret@192.0.2.1:3128"),
        ("rsync_proxy", "192.0.2.1:3128"),
        ("LANG", "C"),
    ];
    let output = program(&["once", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    let seen = fs::read_to_string(seen).expect("what the command saw");
    let names: BTreeSet<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // What the shell sets for itself is of no interest.
    let names: Vec<&str> = names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(
        names,
        ["DRIPFEED_ACTION", "DRIPFEED_PACKAGE_ID", "DRIPFEED_RUN", "HOME", "LANG", "PATH", "rsync_proxy"]
    );
}

#[test]
fn a_directory_that_others_can_write_is_refused_before_anything_is_done() {
    let bench = Bench::new();
    let open = bench.home.path().join("open");
    fs::create_dir(&open).expect("made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("opened");
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let run = |data: &Path, config: Option<&Path>| {
        let data = data.display().to_string();
        let config = config.map(|config| config.display().to_string());
        let mut arguments = vec!["once", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data];
        arguments.extend(config.iter().flat_map(|config| ["--config", config.as_str()]));
        let output = program(&arguments, &[]);
        (output.status.code(), bench.plain(&String::from_utf8_lossy(&output.stderr)))
    };
    let (code, told) = run(&open.join("data"), None);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("HOME/open may be written to by everybody"), "{told}");
    let file = open.join("agent.toml");
    put(&file, b"tag = \"x\"\n");
    let (code, told) = run(&bench.home.path().join("data"), Some(&file));
    assert_eq!(code, Some(2), "{told}");
    assert!(bench.server.take_log().is_empty(), "nobody was asked");
    assert!(!open.join("data").exists());
}

#[test]
fn the_program_looks_ahead_and_says_what_it_knows_as_json() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, &"hello ".repeat(99))]), 3);
    bench.server.fault(|asked| asked.path.contains("/7-").then(|| status(500)));
    bench.machine.ends.set(Some(UnixTime::from_seconds(bench.machine.now().seconds() + 50)));
    bench.once().expect("a run");
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let ask = |verb: &[&str]| {
        let common = ["--server", bench.config.server.as_str(), "--ca", &ca, "--data-dir", &data];
        let output = program(&[verb, &common].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let plan: serde_json::Value = serde_json::from_str(&ask(&["plan", "--json", "--cycles", "5"])).expect("JSON");
    assert_eq!(plan["steps"][0]["what"], "fetch");
    assert_eq!((&plan["steps"][0]["cycle"], &plan["steps"][0]["after_seconds"]), (&5.into(), &240.into()));
    assert_eq!(
        (&plan["packages"][0]["missing"], &plan["packages"][0]["executed_after_seconds"]),
        (&3.into(), &1170.into())
    );
    assert!(ask(&["plan"]).contains("fetch fragment 3"));
    let known: serde_json::Value = serde_json::from_str(&ask(&["status", "--json"])).expect("JSON");
    for key in ["last_contact", "next_contact", "failed_contacts", "unsent_results", "sources", "last_error"] {
        assert!(known.get(key).is_some(), "{key} is missing: {known}");
    }
    assert_eq!((&known["packages"][0]["present"], &known["packages"][0]["fragments"]), (&0.into(), &3.into()));
    let ahead = Plan::read(&bench.config, UnixTime::from_seconds(1_795_164_551), 1).expect("a plan");
    assert_eq!(ahead.packages.len(), 1);
}

#[test]
fn keys_that_mean_nothing_here_are_told_once() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("ocsinventory-agent.cfg");
    put(&file, b"server=127.0.0.1:1\nlazy=1\nnosoftware=1\nproxy=http://user:pass@127.0.0.1:2\n");
    let (file, data) = (file.display().to_string(), home.path().join("data").display().to_string());
    let output = program(&["once", "--debug", "--config", &file, "--data-dir", &data], &[("NO_PROXY", "*")]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert_eq!(log.matches("are not taken: lazy (line 2), nosoftware (line 3)").count(), 1, "{log}");
    assert!(log.contains("nothing answers at 127.0.0.1:1") && !log.contains("pass@"), "{log}");
}

#[test]
fn two_agents_that_start_in_the_same_second_have_two_names() {
    /// Chance is what the test says.
    struct Chance(Virtual, Duration);
    impl Machine for Chance {
        fn now(&self) -> UnixTime {
            self.0.now()
        }
        fn wait(&self, until: UnixTime) {
            self.0.wait(until);
        }
        fn random(&self, below: Duration) -> Duration {
            self.1.min(below)
        }
        fn free_space(&self, path: &Path) -> io::Result<u64> {
            self.0.free_space(path)
        }
        fn host_name(&self) -> String {
            "ws042".to_owned()
        }
    }
    let bench = Bench::new();
    let names: Vec<DeviceId> = [17, 4711]
        .map(|seconds| {
            let state_dir = bench.home.path().join(format!("agent{seconds}"));
            let config = AgentConfig { state_dir, ..bench.config.clone() };
            let machine = Chance(Virtual::new(), Duration::from_secs(seconds));
            Agent::new(&config, &machine, machine.0.stop.clone()).expect("an agent").once().expect("a run");
            let name = Status::read(&config).expect("a status").device_id.expect("a name");
            name.parse().expect("of the stock form")
        })
        .to_vec();
    assert_ne!(names[0], names[1]);
    assert_eq!([names[0].host(), names[1].host()], ["ws042", "ws042"]);
}
