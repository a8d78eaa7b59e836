//! The house keeps its own rules: this test reads the sources, the documents and the manifest.
//!
//! A finding is one line, `file:line: what: why`. The rules are those of `docs/architecture.md`.

pub(crate) mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use source::{NamedPath, Source, files_below, named_paths, relative, rust_files};

/// A folder or file directly below `src/`. It may name every room of a lower floor, and no other.
struct Room {
    name: &'static str,
    floor: u8,
    /// Rooms of its own floor that it may name nevertheless.
    beside: &'static [&'static str],
    /// Lower rooms that it must not name.
    never: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8) -> Room {
    Room { name, floor, beside: &[], never: &[] }
}

const ROOMS: &[Room] = &[
    room("model", 0),
    room("protocol", 1),
    room("engine", 1),
    room("archive", 1),
    room("clock", 2),
    room("congestion", 2),
    room("disk", 2),
    // What the writer counts is counted as everything else is.
    Room { beside: &["telemetry"], ..room("store", 2) },
    room("telemetry", 2),
    Room { beside: &["disk"], ..room("tls", 2) },
    // An address of a database, a filter of a log or a name that the kernel knows is checked with the rest of the configuration.
    Room { beside: &["congestion", "store", "telemetry", "tls"], ..room("config", 2) },
    Room { beside: &["disk", "tls"], ..room("fetch", 2) },
    room("service", 3),
    room("server", 4),
    Room { beside: &["server"], ..room("cli", 4) },
    Room { never: &["store", "service"], ..room("mirror", 4) },
    // The agent is built without the server's crates, so it cannot have the rooms that need them.
    Room { never: &["store", "service"], ..room("agent", 4) },
];

/// A crate, the only rooms that may name it, and why.
const CRATES: &[(&str, &[&str], &str)] = &[
    ("diesel", &["store"], "only store/ knows the database"),
    ("diesel_async", &["store"], "only store/ knows the database"),
    ("diesel_migrations", &["store"], "only store/ knows the database"),
    ("libsqlite3_sys", &["store"], "only store/ knows the database"),
    ("tokio_postgres", &["store"], "only store/ knows the database"),
    ("ureq", &["fetch"], "only fetch/ knows the HTTP client"),
    ("axum", &["server"], "only server/ knows the web framework"),
    ("hyper", &["server"], "only server/ speaks HTTP to clients"),
    ("hyper_util", &["server"], "only server/ speaks HTTP to clients"),
    ("clap", &["cli", "agent", "mirror", "config", "bin"], "arguments are read at the rim"),
    ("indicatif", &["cli", "agent", "mirror"], "progress is drawn by programs"),
];

/// What the pure floors must not name at all.
const IMPURE: &[(&[&str], &str)] = &[
    (&["std", "fs"], "the pure floors know no disk"),
    (&["std", "net"], "the pure floors know no network"),
    (&["std", "env"], "the pure floors know no environment"),
    (&["std", "process"], "the pure floors start nothing"),
    (&["tokio"], "the pure floors know no runtime"),
    (&["tracing"], "the pure floors do not log"),
    (&["rustix"], "the pure floors know no operating system"),
    (&["getrandom"], "the pure floors are deterministic"),
    (&["jiff"], "the pure floors are told the time"),
];

/// Addresses are values; only what opens a socket is the network.
const ADDRESS_TYPES: &[&str] = &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError"];

/// Functions that take a name away from a file. Only `disk/` calls them.
const DESTRUCTIVE: &[&str] =
    &["rename", "renameat", "renameat_with", "remove_file", "remove_dir", "remove_dir_all", "unlink", "unlinkat"];

/// Where else they may stand, and why.
const DESTRUCTIVE_ELSEWHERE: &[(&str, &str)] = &[
    (
        "src/agent/beneath/",
        "works by handle below a directory that is held open: a link planted meanwhile leads nowhere",
    ),
    ("src/agent/unpack", "takes away what it made itself, by handle"),
];

#[test]
fn a_room_names_only_rooms_below_it() {
    let sources = sources();
    let mut named = 0;
    let findings = collect(|findings| {
        for source in &sources {
            for path in named_paths(&source.shipped()) {
                let Some(target) = room_of(source, &path) else { continue };
                named += 1;
                let allowed = match source.path.as_str() {
                    "src/lib.rs" => true,
                    // Programs put everything together; the agent's pulls in nothing of the server's. The server's holds the
                    // agent as well where both are built: its demonstration runs one as a child.
                    "src/bin/agent.rs" => target.name == "agent" || may_name("agent", target),
                    "src/bin/mirror.rs" => target.name == "mirror" || may_name("mirror", target),
                    "src/bin/server.rs" => ["cli", "agent"].contains(&target.name) || may_name("cli", target),
                    _ => source.room() == target.name || may_name(source.room(), target),
                };
                if !allowed {
                    found(findings, source, path.line, &path.text(), "a room imports only what lies below it");
                }
            }
        }
    });
    assert!(named > 50, "only {named} names of rooms were seen: the reader is broken");
    pass(&findings);
}

#[test]
fn every_room_has_its_floor() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).chain(["lib", "bin"]).collect();
    let sources = sources();
    let rooms: BTreeSet<&str> = sources.iter().map(Source::room).collect();
    assert!(sources.len() > 40, "only {} sources were seen: the reader is broken", sources.len());
    let unknown: Vec<&&str> = rooms.difference(&known).collect();
    assert!(unknown.is_empty(), "src/{unknown:?} has no floor yet: put it into ROOMS and docs/architecture.md");
    let gone: Vec<&&str> = known.difference(&rooms).collect();
    assert!(gone.is_empty(), "src/{gone:?} stands in ROOMS and is not there any more");
}

#[test]
fn the_pure_floors_know_no_world() {
    let findings = collect(|findings| {
        for source in sources().iter().filter(|source| find_room(source.room()).is_some_and(|room| room.floor <= 1)) {
            for path in named_paths(&source.shipped()) {
                let last = path.segments.last().map_or("", String::as_str);
                if path.segments.iter().any(|segment| segment == "SystemTime" || segment == "Instant") {
                    found(findings, source, path.line, &path.text(), "the pure floors are told the time");
                }
                let address = path.starts_with(&["std", "net"])
                    && path.segments.iter().any(|segment| ADDRESS_TYPES.contains(&segment.as_str()));
                for (prefix, why) in IMPURE {
                    // A single word may be a variable; a crate is named by a path.
                    if path.segments.len() > 1 && path.starts_with(prefix) && !address && last != "self" {
                        found(findings, source, path.line, &path.text(), why);
                    }
                }
            }
        }
    });
    pass(&findings);
}

#[test]
fn each_outer_crate_has_its_room() {
    let sources = sources();
    let mut seen = BTreeSet::new();
    let findings = collect(|findings| {
        for source in &sources {
            for path in named_paths(&source.shipped()).iter().filter(|path| path.segments.len() > 1) {
                for (name, rooms, why) in CRATES.iter().filter(|(name, ..)| path.segments[0] == *name) {
                    seen.insert(*name);
                    if !rooms.contains(&source.room()) {
                        found(findings, source, path.line, &path.text(), why);
                    }
                }
            }
        }
    });
    pass(&findings);
    assert!(seen.contains("diesel") && seen.contains("axum") && seen.contains("ureq"), "seen only {seen:?}");
}

#[test]
fn only_disk_renames_and_deletes() {
    let findings = collect(|findings| {
        for source in sources().iter().filter(|source| source.room() != "disk") {
            if DESTRUCTIVE_ELSEWHERE.iter().any(|(path, _)| source.path.starts_with(path)) {
                continue;
            }
            for path in named_paths(&source.shipped()) {
                let Some((last, before)) = path.segments.split_last() else { continue };
                if DESTRUCTIVE.contains(&last.as_str()) && before.iter().any(|segment| segment == "fs") {
                    let why = "files appear whole and go away in one place: use disk::atomic or disk::published";
                    found(findings, source, path.line, &path.text(), why);
                }
            }
        }
    });
    pass(&findings);
}

#[test]
fn nothing_is_left_for_later() {
    const LEFTOVERS: &[(&str, &str)] = &[
        ("todo!(", "what is there works"),
        ("unimplemented!(", "what is there works"),
        ("#[ignore", "a test that does not run proves nothing: say in the test that its world is missing"),
        ("#[allow(", "#[expect(lint, reason = \"…\")] says why, and when it is not needed any more"),
        ("#![allow(", "#[expect(lint, reason = \"…\")] says why, and when it is not needed any more"),
        ("dbg!(", "that was for a minute"),
    ];
    let findings = collect(|findings| {
        for source in sources().iter().chain(&rust_files(package(), "tests")).chain(&rust_files(package(), "examples"))
        {
            for (number, line) in source.code.lines().enumerate() {
                for (what, why) in LEFTOVERS.iter().filter(|(what, _)| line.contains(what)) {
                    found(findings, source, number + 1, what, why);
                }
            }
        }
    });
    pass(&findings);
}

#[test]
fn the_agent_is_built_without_the_servers_crates() {
    let text = fs::read_to_string(package().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = text.parse().expect("the manifest is TOML");
    let features: BTreeMap<&str, Vec<&str>> = manifest["features"]
        .as_table()
        .expect("features")
        .iter()
        .map(|(name, parts)| {
            (name.as_str(), parts.as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect())
        })
        .collect();

    let (agent, mirror) = (closure(&features, "agent"), closure(&features, "mirror"));
    for server_only in ["axum", "tokio", "hyper", "hyper-util", "diesel", "diesel-async", "libsqlite3-sys", "tower"] {
        let part = format!("dep:{server_only}");
        assert!(!agent.contains(part.as_str()), "feature agent pulls in {server_only}: {agent:?}");
        assert!(!mirror.contains(part.as_str()), "feature mirror pulls in {server_only}: {mirror:?}");
        assert!(closure(&features, "server").contains(part.as_str()), "feature server does not name {server_only}");
    }
    assert!(agent.contains("dep:ureq"), "the closure of a feature is not read rightly: {agent:?}");
    assert_eq!(features["default"], ["server", "agent", "mirror"], "all programs are built by default");

    let dependencies = manifest["dependencies"].as_table().expect("dependencies");
    for (name, entry) in dependencies {
        let optional = entry.get("optional").and_then(toml::Value::as_bool) == Some(true);
        let part = format!("dep:{name}");
        let asked = features.values().flatten().any(|asked| *asked == part);
        assert_eq!(optional, asked, "{name}: an optional dependency is asked for by a feature, and only such a one");
    }
    for binary in manifest["bin"].as_array().expect("programs") {
        let (name, needs) = (&binary["name"], binary.get("required-features"));
        assert!(needs.is_some(), "program {name} has no required-features: another feature set would not build");
    }
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 10, "only {} documents were seen", documents.len());
    let findings = collect(|findings| {
        for document in &documents {
            let text = fs::read_to_string(document).expect("a document");
            let name = relative(package(), document);
            for (line, link) in links(&text) {
                if let Err(problem) = follow(document, &text, &link) {
                    let _ = writeln!(findings, "{name}:{line}: {link}: {problem}");
                }
            }
        }
    });
    pass(&findings);
}

#[test]
fn every_document_that_a_source_names_is_there() {
    let folder = package().join("docs/decisions");
    let decisions: Vec<String> = files_below(&folder).iter().map(|file| relative(&folder, file)).collect();
    let findings = collect(|findings| {
        for source in sources().iter().chain(&rust_files(package(), "tests")) {
            for (index, line) in source.text.lines().enumerate() {
                for named in line.match_indices("docs/").filter_map(|(at, _)| document_at(&line[at..])) {
                    if !package().join(named).is_file() {
                        found(findings, source, index + 1, named, "there is no such document");
                    }
                }
                for (at, mark) in line.match_indices("decision ") {
                    let number: String = line[at + mark.len()..].chars().take_while(char::is_ascii_digit).collect();
                    if number.len() == 4 && !decisions.iter().any(|name| name.starts_with(&number)) {
                        found(findings, source, index + 1, &number, "there is no such decision");
                    }
                }
            }
        }
    });
    pass(&findings);
}

#[test]
fn decisions_are_numbered_and_complete() {
    let folder = package().join("docs/decisions");
    let (index, files): (Vec<_>, Vec<_>) =
        files_below(&folder).into_iter().partition(|file| file.file_name().is_some_and(|name| name == "README.md"));
    assert!(files.len() >= 10, "only {} decisions were seen", files.len());
    let index = fs::read_to_string(index.first().expect("docs/decisions/README.md")).expect("the index");
    let mut numbers = BTreeSet::new();
    for file in &files {
        let name = relative(package(), file);
        let title = name.trim_start_matches("docs/decisions/");
        let number = title.split_once('-').map(|(number, _)| number).unwrap_or_default();
        let four_digits = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        assert!(four_digits, "{name}: a decision is named NNNN-title.md");
        assert!(numbers.insert(number.to_owned()), "{name}: number {number} is taken: numbers are given once");
        let text = fs::read_to_string(file).expect("a decision");
        let heading = text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let words = heading.strip_prefix(number).map(str::trim).unwrap_or_default();
        assert!(!words.is_empty(), "{name}: the first line is \"# {number} <title>\"");
        let line = format!("- [{number}]({title}) {words}");
        assert!(index.lines().any(|there| there == line), "docs/decisions/README.md lacks the line\n{line}");
        for part in ["Context", "Decision", "Consequences"] {
            let (heading, lead) = (format!("## {part}"), format!("**{part}.**"));
            let there = text.lines().any(|line| line == heading || line.starts_with(&lead));
            assert!(there, "{name}: the part \"{part}\" is missing");
        }
    }
}

#[test]
fn both_back_ends_have_the_same_migrations() {
    let migrations = |back_end: &str| -> BTreeSet<String> {
        let root = package().join("migrations").join(back_end);
        let files = files_below(&root);
        files.iter().map(|file| relative(&root, file)).collect()
    };
    let (sqlite, postgres) = (migrations("sqlite"), migrations("postgres"));
    assert!(!sqlite.is_empty(), "there are no migrations");
    assert_eq!(sqlite, postgres, "a migration has the same name in migrations/sqlite and migrations/postgres");
    for file in &sqlite {
        let (migration, step) = file.split_once('/').expect("migrations/<back end>/<name>/<step>.sql");
        assert!(["up.sql", "down.sql"].contains(&step), "{file}: a migration is up.sql and down.sql");
        for other in ["up.sql", "down.sql"] {
            assert!(sqlite.contains(&format!("{migration}/{other}")), "{migration}: {other} is missing");
        }
    }
}

// ---------------------------------------------------------------------------------------------------- what is read

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    rust_files(package(), "src")
}

/// The Markdown of the package, in the order of the paths.
fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(package())
        .expect("the package")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.is_file())
        .collect();
    for folder in ["docs", "certs", "download", "examples", "tests"] {
        all.extend(files_below(&package().join(folder)));
    }
    all.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    all.sort();
    all
}

fn find_room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

fn may_name(name: &str, target: &Room) -> bool {
    find_room(name).is_some_and(|room| {
        (target.floor < room.floor && !room.never.contains(&target.name)) || room.beside.contains(&target.name)
    })
}

/// The room that a path leads to, if it leads to one: `crate::…`, `super::super::…` up to the root, `dripfeed::…`.
fn room_of(source: &Source, path: &NamedPath) -> Option<&'static Room> {
    let climbs = path.segments.iter().take_while(|segment| *segment == "super").count();
    let target = match path.segments[0].as_str() {
        "crate" | "dripfeed" => path.segments.get(1),
        "super" if climbs == source.module_depth() => path.segments.get(climbs),
        _ => None,
    }?;
    find_room(target)
}

/// A feature with everything that it pulls in.
fn closure<'a>(features: &BTreeMap<&'a str, Vec<&'a str>>, feature: &'a str) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::from([feature]);
    let mut open = vec![feature];
    while let Some(next) = open.pop() {
        for part in features.get(next).into_iter().flatten() {
            if all.insert(part) {
                open.push(part);
            }
        }
    }
    all
}

/// `[text](target)` outside of code, with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Odd pieces between backticks are code.
        let prose: String =
            line.split('`').enumerate().map(|(n, piece)| if n % 2 == 0 { piece } else { "x" }).collect();
        for (at, _) in prose.match_indices("](") {
            if let Some(target) = prose[at + 2..].split(')').next() {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

/// Looks where a link leads: a file, a directory, a heading. Other people's sites are not asked.
fn follow(document: &Path, text: &str, link: &str) -> Result<(), String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let target = document.parent().expect("a document lies in a directory").join(file);
    let target_text = if file.is_empty() {
        text.to_owned()
    } else if target.is_file() {
        fs::read_to_string(&target).unwrap_or_default()
    } else if target.is_dir() {
        String::new()
    } else {
        return Err("there is no such file".to_owned());
    };
    match heading {
        Some(heading) if !headings(&target_text).contains(heading) => Err("there is no such heading".to_owned()),
        _ => Ok(()),
    }
}

/// The anchors of a document's headings, as code hosts make them.
fn headings(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// `docs/….md` at the beginning of a text.
fn document_at(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c))).unwrap_or(text.len());
    let path = text[..end].trim_end_matches('.');
    Path::new(path).extension().is_some_and(|extension| extension == "md").then_some(path)
}

// -------------------------------------------------------------------------------------------------------- findings

fn collect(look: impl FnOnce(&mut String)) -> String {
    let mut findings = String::new();
    look(&mut findings);
    findings
}

fn found(findings: &mut String, source: &Source, line: usize, what: &str, why: &str) {
    let _ = writeln!(findings, "{}:{line}: {what}: {why}", source.path);
}

#[track_caller]
fn pass(findings: &str) {
    assert!(findings.is_empty(), "{} findings\n{findings}", findings.lines().count());
}
