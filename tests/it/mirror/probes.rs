//! The server asks mirrors whether they answer: what it finds out, and who is told of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dripfeed::service::assign::Target;
use dripfeed::service::mirrors::{self, probe, probe::Prober};
use dripfeed::service::why;
use dripfeed::store::mirrors::{self as stored, Mirror};

use super::sites::{HERE, add, report, site, told};
use crate::jobs::{WS, active_package, assign_to, say_inventory};
use crate::util::TestApp;

const SERVER: &str = "localhost:8443/download";
const HOUR: Duration = Duration::from_hours(1);

/// How a mirror's web server answers.
#[derive(Clone, Copy)]
enum Mood {
    /// The last byte of the file, as it was asked for.
    Right,
    /// Not at all.
    Dead,
    /// There is no such file.
    Absent,
    /// The end of a longer file.
    Longer,
    /// All of a shorter file.
    Shorter,
}

/// The web server of a mirror.
struct Web {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let web = Self {
            address: listener.local_addr().expect("an address"),
            mood: Arc::default(),
            asked: Arc::default(),
            heads: Arc::default(),
        };
        let (mood, asked, heads) = (Arc::clone(&web.mood), Arc::clone(&web.asked), Arc::clone(&web.heads));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                asked.fetch_add(1, Ordering::SeqCst);
                answer(&socket.expect("a connection"), mood.load(Ordering::SeqCst), &heads);
            }
        });
        web
    }

    fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn location(&self) -> String {
        format!("{}/download", self.address)
    }
}

fn answer(socket: &TcpStream, mood: u8, heads: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut lines = BufReader::new(socket);
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).expect("a request") == 0 {
            return;
        }
    }
    let range =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from: u64 = range.map_or(0, |range| range.trim_end_matches('-').parse().expect("a number"));
    heads.lock().expect("heads").push(head);
    let part = |length: usize| {
        let (last, whole) = (from + length as u64 - 1, from + length as u64);
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{whole}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    let text = match mood {
        mood if mood == Mood::Right as u8 => part(1),
        mood if mood == Mood::Dead as u8 => return,
        mood if mood == Mood::Absent as u8 => {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
        mood if mood == Mood::Longer as u8 => part(2),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nxxx".to_owned(),
    };
    (&mut &*socket).write_all(text.as_bytes()).expect("answered");
}

/// A computer with a package, near a mirror that has it.
struct Scene {
    test: TestApp,
    web: Web,
    prober: Prober,
    package: dripfeed::model::PackageId,
    began: Instant,
    hours: std::cell::Cell<u32>,
}

impl Scene {
    fn new() -> Self {
        let (test, web) = (TestApp::new(), Web::start());
        say_inventory(&test, WS, "Debian", &[]);
        let package = active_package(&test);
        assign_to(&test, package, Target::All);
        add(&test, "near", &web.location());
        site(&test, "home", &[HERE], &["near"]).expect("made");
        report(&test, "near", &[package], HERE);
        let prober = Prober::new(Duration::from_secs(30)).expect("a client");
        Self { test, web, prober, package, began: Instant::now(), hours: std::cell::Cell::default() }
    }

    /// The next round, when everybody is due again; gives how many were asked.
    fn round(&self) -> usize {
        self.hours.set(self.hours.get() + 1);
        self.prober.round(&self.test.app, self.began + HOUR * self.hours.get()).expect("a round")
    }

    /// As many as make up the server's mind.
    fn two_rounds(&self) {
        assert_eq!((self.round(), self.round()), (1, 1));
    }

    fn told(&self) -> String {
        let once = told(&self.test, HERE);
        assert_eq!(told(&self.test, HERE), once, "what is kept says the same");
        once.concat()
    }

    fn mirror(&self) -> Mirror {
        let found = self.test.app.store.read_now(|conn| stored::find(conn, "near")).expect("read");
        found.expect("it is there")
    }

    fn health(&self) -> &'static str {
        mirrors::health(&self.mirror(), 1, self.test.app.clock.now())
    }

    fn lost_why(&self) -> String {
        self.mirror().reach.lost.map(|lost| lost.why).unwrap_or_default()
    }
}

#[test]
fn a_mirror_whose_web_server_died_is_offered_again_when_it_is_back() {
    let scene = Scene::new();
    let near = scene.web.location();
    assert_eq!((scene.round(), scene.told()), (1, near.clone()));
    assert!(scene.mirror().reach.reached_at.is_some());
    scene.web.be(Mood::Dead);
    assert_eq!((scene.round(), scene.told()), (1, near.clone()), "one failure may be the line");
    assert_eq!((scene.round(), scene.told()), (1, SERVER.to_owned()), "told at the very next contact");
    assert_eq!(scene.health(), "unreachable");
    let why = why::why(&scene.test.app, WS, scene.package).expect("an answer");
    let fact = why.evidence.into_iter().map(|fact| fact.text).find(|text| text.starts_with("mirror near"));
    let fact = fact.expect("the mirror is a fact");
    assert!(
        fact.starts_with("mirror near of site home is not offered: the server cannot fetch from it any more ("),
        "{fact}"
    );
    scene.web.be(Mood::Right);
    assert_eq!((scene.round(), scene.told()), (1, SERVER.to_owned()), "one that comes and goes");
    assert_eq!((scene.round(), scene.told()), (1, near), "told at the very next contact");
    assert_eq!(scene.health(), "fine");
    // It asked for one byte of a file that the mirror says it holds, and no more often than it should.
    let head = scene.web.heads.lock().expect("heads")[0].clone();
    assert!(head.starts_with(&format!("GET /download/{0}/{0}-", scene.package)), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nrange: bytes="), "{head}");
    let asked = scene.web.asked.load(Ordering::SeqCst);
    let again = scene.prober.round(&scene.test.app, scene.began + HOUR * scene.hours.get()).expect("a round");
    assert_eq!((again, scene.web.asked.load(Ordering::SeqCst)), (0, asked), "it is not its turn");
}

#[test]
fn what_is_not_the_file_is_a_failure_and_is_named() {
    let scene = Scene::new();
    scene.round();
    for (mood, named) in [(Mood::Absent, "404"), (Mood::Longer, "larger than"), (Mood::Shorter, "3 bytes instead of")] {
        scene.web.be(mood);
        scene.two_rounds();
        assert!(scene.lost_why().contains(named), "{}", scene.lost_why());
        assert_eq!(scene.told(), SERVER);
        scene.web.be(Mood::Right);
        scene.two_rounds();
        assert_eq!((scene.told(), scene.lost_why()), (scene.web.location(), String::new()));
    }
}

#[test]
fn a_mirror_that_the_server_never_reached_is_offered_all_the_same() {
    let scene = Scene::new();
    scene.web.be(Mood::Dead);
    for _ in 0..3 {
        assert_eq!((scene.round(), scene.told()), (1, scene.web.location()));
    }
    assert_eq!(scene.health(), "fine");
    assert!(!scene.lost_why().is_empty(), "it is shown");
    scene.web.be(Mood::Right);
    scene.two_rounds();
    scene.web.be(Mood::Dead);
    scene.two_rounds();
    assert_eq!(scene.told(), SERVER, "now it is known that it could");
}

#[test]
fn where_nobody_asks_no_mirror_stays_lost() {
    let scene = Scene::new();
    scene.round();
    scene.web.be(Mood::Dead);
    scene.two_rounds();
    assert_eq!(scene.told(), SERVER);
    probe::forget(&scene.test.app).expect("forgotten");
    assert_eq!((scene.told(), scene.health()), (scene.web.location(), "fine"));
}

#[test]
fn one_that_is_silent_or_holds_nothing_is_not_asked() {
    let scene = Scene::new();
    add(&scene.test, "silent", "127.0.0.1:1/download");
    add(&scene.test, "empty", "127.0.0.1:1/download");
    report(&scene.test, "empty", &[], HERE);
    assert_eq!(scene.round(), 1);
}
