//! Sources that lie, trees that change under readers: a server of the test's own, over TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use dripfeed::clock::Clock;
use dripfeed::fetch::{Client, ClientOptions};
use dripfeed::mirror::{Local, Source, SourceError, Sources, SyncPlan, Watcher, Wish, sync};
use dripfeed::model::{Digest, DigestAlgorithm, Hasher, PackageId};
use dripfeed::protocol::{Listing, Manifest, ManifestEntry, SignedManifest};
use dripfeed::tls::signing::SigningKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a request is answered with; `None` is 404.
type Answer = Option<Vec<u8>>;
/// Path and start of the range → what is sent, raw.
type Answering = dyn Fn(&str, u64) -> Sent + Send + Sync;

/// What goes over the line.
pub(super) enum Sent {
    Whole(Answer),
    /// So many bytes of it, then the end of the connection.
    Cut(Vec<u8>, usize),
    /// The beginning, then zeros until nobody listens.
    Endless(Vec<u8>),
}

/// An HTTPS server with the certificate of that directory, which answers as it is told to: a liar if need be.
pub(super) struct Liar {
    pub(super) address: SocketAddr,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    pub(super) fn url(&self) -> String {
        format!("https://{}/download", self.address)
    }

    pub(super) fn start(certificates: &Path, answer: Box<Answering>) -> Self {
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificates.join("server.crt"))
            .expect("a chain")
            .collect::<Result<_, _>>()
            .expect("certificates");
        let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
        let (config, answer) = (Arc::new(config), Arc::<Answering>::from(answer));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, answer, log) = (Arc::clone(&config), Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || {
                    // Clients hang up as they like.
                    let _ = converse(socket.expect("a connection"), config, &*answer, &log);
                });
            }
        });
        Self { address, asked }
    }
}

fn converse(
    socket: TcpStream,
    config: Arc<rustls::ServerConfig>,
    answer: &Answering,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).expect("a connection");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).expect("text");
        let path = text.split(' ').nth(1).expect("a target").trim_start_matches("/download/").to_owned();
        let range =
            text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let from = range.map_or(0, |range| range.trim_end_matches('-').parse().expect("a number"));
        log.lock().expect("the log").push(format!("{path} {from}"));
        let begin = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        match answer(&path, from) {
            Sent::Whole(None) => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            Sent::Whole(Some(body)) if from > 0 => {
                let rest = body.get(usize::try_from(from).expect("small")..).unwrap_or_default();
                let (last, all, length) = (body.len() - 1, body.len(), rest.len());
                write!(
                    stream,
                    "HTTP/1.1 206 P\r\nContent-Range: bytes {from}-{last}/{all}\r\nContent-Length: {length}\r\n\r\n"
                )?;
                stream.write_all(rest)?;
            }
            Sent::Whole(Some(body)) => {
                stream.write_all(begin(body.len()).as_bytes())?;
                stream.write_all(&body)?;
            }
            Sent::Cut(body, end) => {
                stream.write_all(begin(body.len()).as_bytes())?;
                stream.write_all(&body[..end])?;
                stream.flush()?;
                return Ok(());
            }
            Sent::Endless(body) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                write!(stream, "{:x}\r\n", body.len())?;
                stream.write_all(&body)?;
                stream.write_all(b"\r\n")?;
                let zeros = vec![0; 1 << 16];
                loop {
                    stream.write_all(b"10000\r\n")?;
                    stream.write_all(&zeros)?;
                    stream.write_all(b"\r\n")?;
                }
            }
        }
        stream.flush()?;
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(bytes);
    hasher.finish()
}

/// A tree by hand: files by path, signed.
#[derive(Clone, Default)]
struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    fn new(generation: u64, key: &SigningKey, packages: &[(u32, &str, &[Vec<u8>])]) -> Self {
        let mut tree = Self::default();
        let mut manifest = Manifest { generation, packages: Vec::new() };
        for (id, info, fragments) in packages {
            let package = PackageId::new(*id).expect("an id");
            let sized = |bytes: &[u8]| (bytes.len() as u64, digest(bytes));
            let listing = Listing {
                package,
                info: sized(info.as_bytes()),
                fragments: fragments.iter().map(|fragment| sized(fragment)).collect(),
            };
            manifest.packages.push(ManifestEntry { package, listing: listing.digest(), name: "x".to_owned() });
            tree.files.insert(format!("manifest/{id}"), listing.to_text().into_bytes());
            tree.files.insert(format!("{id}/info"), info.as_bytes().to_vec());
            for (at, fragment) in fragments.iter().enumerate() {
                tree.files.insert(format!("{id}/{id}-{}", at + 1), fragment.clone());
            }
        }
        let signed = manifest.to_sign(&key.public());
        let text = SignedManifest::join(&signed, &key.sign(signed.as_bytes()));
        tree.files.insert("manifest".to_owned(), text.into_bytes());
        tree
    }
}

struct Scene {
    home: tempfile::TempDir,
    key: SigningKey,
}

impl Scene {
    fn new() -> Self {
        Self::within(tempfile::tempdir().expect("a directory"))
    }

    /// For thousands of syncs to a disk, which would be what takes the time: in memory, where there is such a place.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::within(home.expect("a directory"))
    }

    fn within(home: tempfile::TempDir) -> Self {
        let names = ["127.0.0.1".to_owned()];
        dripfeed::tls::server::ensure(home.path(), &names, Clock::System.now()).expect("certificates");
        let key = SigningKey::ensure(home.path()).expect("a key");
        Self { home, key }
    }

    fn honest(&self, tree: &Tree) -> Liar {
        let files = tree.files.clone();
        Liar::start(self.home.path(), Box::new(move |path, _| Sent::Whole(files.get(path).cloned())))
    }

    fn sync(&self, to: &str, sources: &[&Liar], more: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dripfeed-mirror"));
        command.args(["sync", "--json", "--jobs", "1", "--to"]).arg(self.home.path().join(to));
        command.arg("--ca").arg(self.home.path().join("ca.pem")).args(more);
        for source in sources {
            command.args(["--from", &source.url()]);
        }
        command.stdin(std::process::Stdio::null()).output().expect("it runs")
    }

    fn client(&self) -> Client {
        let options = ClientOptions { ca_file: Some(self.home.path().join("ca.pem")), ..ClientOptions::default() };
        Client::new(&options).expect("a client")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_lying_source_is_named_and_the_next_one_is_used() {
    let scene = Scene::new();
    let fragments = vec![vec![b'a'; 5000], vec![b'b'; 700]];
    let older = Tree::new(6, &scene.key, &[(7, "<OLD/>", &fragments)]);
    let tree = Tree::new(7, &scene.key, &[(7, "<DOWNLOAD/>", &fragments)]);
    let foreign_home = tempfile::tempdir().expect("a directory");
    let foreign = SigningKey::ensure(foreign_home.path()).expect("a key");
    let theirs = Tree::new(8, &foreign, &[(7, "<DOWNLOAD/>", &fragments)]);
    let good = scene.honest(&tree);
    let lie = |path: &'static str, how: fn(Vec<u8>) -> Sent| {
        let files = tree.files.clone();
        let answer = move |asked: &str, _| match files.get(asked) {
            Some(body) if asked == path => how(body.clone()),
            other => Sent::Whole(other.cloned()),
        };
        Liar::start(scene.home.path(), Box::new(answer))
    };
    let flipped = |mut body: Vec<u8>| {
        let at = body.len() / 2;
        body[at] ^= 1;
        Sent::Whole(Some(body))
    };
    let cases: Vec<(&str, Liar, &str)> = vec![
        ("wrong bytes", lie("7/7-1", flipped), "7-1 gives other bytes than the manifest says"),
        ("wrong info", lie("7/info", flipped), "7/info gives other bytes than the manifest says"),
        ("wrong listing", lie("manifest/7", flipped), "manifest/7"),
        ("old manifest", scene.honest(&older), "is at generation 6, this mirror at 7: a mirror never goes back"),
        ("another's key", scene.honest(&theirs), "is signed with the key"),
        (
            "a changed manifest",
            lie("manifest", |body| {
                let text = String::from_utf8(body).expect("text").replace("generation 7", "generation 9");
                Sent::Whole(Some(text.into_bytes()))
            }),
            "is not signed by the key that it names",
        ),
        ("no signature", lie("manifest", |body| Sent::Whole(Some(body[..40].to_vec()))), "it is not signed"),
        ("a cut file", lie("7/7-1", |body| Sent::Cut(body, 3000)), "broke off after 3000 bytes"),
        ("a cut manifest", lie("manifest", |body| Sent::Cut(body, 30)), "broke off"),
        ("an endless file", lie("7/7-1", |body| Sent::Endless(body[..100].to_vec())), "is larger than"),
        ("an endless manifest", lie("manifest", Sent::Endless), "is larger than 32"),
    ];
    for (number, (what, liar, named)) in cases.iter().enumerate() {
        let to = format!("mirror-{number}");
        // What it knew before: the key, and the present generation; its copy is empty.
        let directory = scene.home.path().join(&to);
        std::fs::create_dir_all(&directory).expect("made");
        let pin = format!("key {}\ngeneration 7\n", scene.key.public());
        dripfeed::disk::atomic::write(&directory.join("pin"), pin.as_bytes()).expect("written");
        let alone = scene.sync(&to, &[liar], &[]);
        assert_eq!(alone.status.code(), Some(1), "{what}: taken");
        assert!(said(&alone).contains(named), "{what}: {}", said(&alone));
        assert!(!directory.join("download/7/info").exists(), "{what}: published");
        let both = scene.sync(&to, &[liar, &good], &[]);
        let report = json(&both);
        assert_eq!(report["generation"], 7, "{what}");
        let warned = said(&both);
        assert!(warned.contains(named) && warned.contains(&liar.address.to_string()), "{what}: {warned}");
        assert_eq!(std::fs::read(directory.join("download/7/7-1")).expect("a fragment"), fragments[0], "{what}");
    }
}

#[test]
fn the_first_key_is_kept_and_only_a_person_changes_it() {
    let scene = Scene::new();
    let fragments = vec![vec![b'a'; 10]];
    let ours = scene.honest(&Tree::new(7, &scene.key, &[(7, "<A/>", &fragments)]));
    let home = tempfile::tempdir().expect("a directory");
    let foreign = SigningKey::ensure(home.path()).expect("a key");
    let theirs = scene.honest(&Tree::new(3, &foreign, &[(7, "<B/>", &fragments)]));
    // Given by hand it holds from the first sync on.
    let refused = scene.sync("m", &[&ours], &["--key", &foreign.public()]);
    assert!(said(&refused).contains("is signed with the key"), "{}", said(&refused));
    json(&scene.sync("m", &[&ours], &[]));
    assert!(said(&scene.sync("m", &[&theirs], &[])).contains("another server answers there"));
    // Even without what it remembers of the last sync.
    dripfeed::disk::atomic::remove_file(&scene.home.path().join("m/manifest")).expect("removed");
    assert!(said(&scene.sync("m", &[&theirs], &[])).contains("another server answers there"));
    let report = json(&scene.sync("m", &[&theirs], &["--key", &foreign.public().to_uppercase()]));
    assert_eq!((&report["generation"], &report["fetched"]), (&3.into(), &1.into()));
    assert!(said(&scene.sync("m", &[&ours], &[])).contains("another server answers there"));
    let nonsense = scene.sync("m", &[&ours], &["--key", "abc"]);
    assert_eq!(nonsense.status.code(), Some(2));
}

#[test]
fn a_file_goes_on_where_it_was_also_from_another_source() {
    let scene = Scene::new();
    let fragments: Vec<Vec<u8>> = vec![vec![b'a'; 300_000], vec![b'b'; 200_000], vec![b'c'; 9]];
    let tree = Tree::new(1, &scene.key, &[(7, "<DOWNLOAD/>", &fragments)]);
    let files = tree.files.clone();
    let dying = AtomicU32::new(0);
    let dying = Liar::start(
        scene.home.path(),
        Box::new(move |path, _| match (files.get(path), path) {
            (Some(body), "7/7-2") if dying.fetch_add(1, Ordering::Relaxed) == 0 => Sent::Cut(body.clone(), 150_000),
            (_, "7/7-2" | "7/7-3") => Sent::Whole(None),
            (body, _) => Sent::Whole(body.cloned()),
        }),
    );
    let good = scene.honest(&tree);
    let report = json(&scene.sync("m", &[&dying, &good], &[]));
    assert_eq!(report["fetched"], 1);
    assert!(good.asked.lock().expect("the log").contains(&"7/7-2 150000".to_owned()), "{:?}", good.asked);
    assert_eq!(std::fs::read(scene.home.path().join("m/download/7/7-2")).expect("it"), fragments[1]);

    // Alone it fails, and what came is still there for the next one, who goes on.
    let files = tree.files.clone();
    let half = Liar::start(
        scene.home.path(),
        Box::new(move |path, _| match (files.get(path), path) {
            (Some(body), "7/7-2") => Sent::Cut(body.clone(), 120_000),
            (body, _) => Sent::Whole(body.cloned()),
        }),
    );
    assert_eq!(scene.sync("n", &[&half], &[]).status.code(), Some(1));
    let good = scene.honest(&tree);
    let report = json(&scene.sync("n", &[&good], &[]));
    let asked = good.asked.lock().expect("the log").clone();
    assert!(asked.contains(&"7/7-2 120000".to_owned()) && !asked.contains(&"7/7-1 0".to_owned()), "{asked:?}");
    assert_eq!(report["bytes"], 80_000 + 9 + 11, "only what was missing");

    // A beginning that was somebody's lie is not the next one's fault.
    let partial = scene.home.path().join("o/staging/7.partial");
    std::fs::create_dir_all(&partial).expect("made");
    dripfeed::disk::atomic::write(&partial.join("7-1"), &[b'z'; 1000]).expect("written");
    dripfeed::disk::atomic::write(&partial.join("7-2"), &vec![b'z'; 400_000]).expect("written");
    let output = scene.sync("o", &[&good], &[]);
    json(&output);
    assert_eq!(said(&output), "", "nobody is blamed");
    assert_eq!(std::fs::read(scene.home.path().join("o/download/7/7-1")).expect("it"), fragments[0]);
}

#[derive(Default)]
struct Quiet {
    bytes: AtomicU32,
}

impl Watcher for Quiet {
    fn passed(&self, error: &SourceError) {
        panic!("{error}");
    }
    fn planned(&self, _: &SyncPlan) {}
    fn coming(&self, _: PackageId, _: u64) {}
    fn came(&self, bytes: u64) {
        self.bytes.fetch_add(u32::try_from(bytes).expect("small"), Ordering::Relaxed);
    }
}

/// Every round all packages have other bytes under the same number, one more is there or gone: nothing that happens to a
/// real tree is harder on readers.
#[test]
fn readers_of_a_hundred_syncs_never_see_a_part_or_a_mixture() {
    const ROUNDS: u64 = 100;
    let scene = Scene::in_memory();
    let present: Arc<Mutex<Tree>> = Arc::default();
    let shown = Arc::clone(&present);
    let source = Liar::start(
        scene.home.path(),
        Box::new(move |path, _| Sent::Whole(shown.lock().expect("the tree").files.get(path).cloned())),
    );
    let root = scene.home.path().join("m");
    let local = Local::open(&root).expect("a directory");
    let sources = Sources::new(scene.client(), vec![Source::new(&source.url()).expect("an address")], None);
    let over = AtomicBool::new(false);
    let (whole, seen) = (AtomicU32::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for id in 1..=3_u32 {
                        let package = root.join(format!("download/{id}"));
                        let Ok(info) = std::fs::read_to_string(package.join("info")) else { continue };
                        let fragments: Vec<_> =
                            (1..=3).map(|n| std::fs::read_to_string(package.join(format!("{id}-{n}"))).ok()).collect();
                        // Replaced while we looked: then we saw two packages, one after the other.
                        if std::fs::read_to_string(package.join("info")).ok().as_deref() != Some(&*info) {
                            continue;
                        }
                        for fragment in fragments {
                            assert_eq!(fragment.as_deref(), Some(&*info), "package {id} is mixed or in part");
                        }
                        whole.fetch_add(1, Ordering::Relaxed);
                        seen.lock().expect("a set").insert(info);
                    }
                }
            });
        }
        for round in 1..=ROUNDS {
            let content: Vec<String> = (1..=3).map(|id| format!("package {id} of round {round}")).collect();
            let same: Vec<Vec<Vec<u8>>> = content.iter().map(|text| vec![text.clone().into_bytes(); 3]).collect();
            let mut packages: Vec<(u32, &str, &[Vec<u8>])> =
                (1..=3).zip(&content).zip(&same).map(|((id, info), fragments)| (id, &**info, &**fragments)).collect();
            if round % 2 == 0 {
                packages.pop();
            }
            *present.lock().expect("the tree") = Tree::new(round, &scene.key, &packages);
            let synced = sync(&local, &sources, 2, &Wish::default(), &Quiet::default()).expect("synced");
            assert_eq!((synced.generation, synced.unchanged), (round, false));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(whole.into_inner() > 0, "the readers saw nothing whole");
    assert!(seen.into_inner().expect("a set").len() > 1, "the readers saw one state only");
}

#[test]
fn nothing_is_fetched_faster_than_the_limit() {
    let scene = Scene::new();
    let tree = Tree::new(1, &scene.key, &[(7, "<A/>", &[vec![b'a'; 60_000]])]);
    let source = scene.honest(&tree);
    let began = std::time::Instant::now();
    json(&scene.sync("m", &[&source], &["--limit", "200K"]));
    assert!(began.elapsed() >= std::time::Duration::from_millis(250), "60,000 bytes at 204,800 a second");
}

#[test]
fn changed_packages_cost_the_manifest_and_what_they_are_made_of() {
    let scene = Scene::new();
    let fragments = vec![vec![b'a'; 10]];
    let tree = |generation, count: u32| {
        let packages: Vec<(u32, &str, &[Vec<u8>])> = (1..=count).map(|id| (id, "<A/>", &*fragments)).collect();
        Tree::new(generation, &scene.key, &packages)
    };
    let (before, after) = (scene.honest(&tree(1, 50)), scene.honest(&tree(2, 52)));
    assert_eq!(json(&scene.sync("m", &[&before], &[]))["fetched"], 50);
    assert_eq!(json(&scene.sync("m", &[&after], &[]))["fetched"], 2);
    let mut asked = after.asked.lock().expect("the log").clone();
    asked.sort();
    let wanted = ["51/51-1 0", "51/info 0", "52/52-1 0", "52/info 0", "manifest 0", "manifest/51 0", "manifest/52 0"];
    assert_eq!(asked, wanted);
}
