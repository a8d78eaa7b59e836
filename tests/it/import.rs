//! Taking over a stock server's download directory: packages as its console made them, whole or not at all.

#![expect(
    clippy::disallowed_methods,
    clippy::similar_names,
    reason = "a stock server's files are made as it makes them; `test` and `text` are told apart by who reads tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dripfeed::model::access::{Rights, Scope};
use dripfeed::model::{OsFamily, PackageId, PackageState, UploadId};
use dripfeed::protocol::Info;
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::import::{Import, Imported, find, read_list};
use dripfeed::service::{activate, verify};
use dripfeed::store::{audit, packages};

use crate::jobs::{WS, assign_to, offers, say_inventory};
use crate::util::{TestApp, tar_gz};

/// A download directory with these of the packages that a stock console made, as its server lays them out.
fn stock(test: &TestApp, names: &[&str]) -> (PathBuf, Vec<PackageId>) {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/packages");
    let tree = test.path().join("stock");
    let mut ids = Vec::new();
    for name in names {
        let info = fs::read(made.join(name).join("info")).expect("an info file");
        let id = Info::parse(&info).expect("an info file").package;
        let to = tree.join(id.to_string());
        fs::create_dir_all(&to).expect("a directory");
        for entry in fs::read_dir(made.join(name)).expect("a directory") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
        ids.push(id);
    }
    (tree, ids)
}

/// Cuts a package's only fragment as the stock console does: equal parts, and the last one takes the rest.
fn cut(tree: &Path, id: PackageId, parts: usize) {
    let (info, first) = (tree.join(format!("{id}/info")), tree.join(format!("{id}/{id}-1")));
    let (text, bytes) = (fs::read_to_string(&info).expect("text"), fs::read(&first).expect("bytes"));
    fs::write(info, text.replace("FRAGS=\"1\"", &format!("FRAGS=\"{parts}\""))).expect("written");
    let size = bytes.len() / parts;
    for part in 0..parts {
        let end = if part + 1 == parts { bytes.len() } else { (part + 1) * size };
        fs::write(tree.join(format!("{id}/{id}-{}", part + 1)), &bytes[part * size..end]).expect("written");
    }
}

fn import(directory: &Path) -> Import {
    Import { directory: directory.to_owned(), described: BTreeMap::new(), os: None }
}

fn done(test: &TestApp, import: &Import, id: PackageId) -> Result<Imported, String> {
    import.one(&test.app, id, false, &mut |_| {}).map_err(|error| {
        assert!(error.is_refusal(), "{error}");
        format!("{:#}", anyhow::Error::from(error))
    })
}

fn found(test: &TestApp, id: PackageId) -> Option<dripfeed::model::Package> {
    test.app.store.read_now(move |conn| packages::find(conn, id)).expect("read")
}

#[test]
fn what_a_stock_console_made_keeps_its_number_its_bytes_and_its_words() {
    let test = TestApp::new();
    let (tree, ids) =
        stock(&test, &["launch-notify", "form-store-plain-file", "execute-archive", "form-msiapplication"]);
    cut(&tree, ids[0], 3);
    cut(&tree, ids[2], 4);
    fs::create_dir(tree.join("lost+found")).expect("something else");
    assert_eq!(find(&tree).expect("read").len(), 4, "what is no package is left out");
    let import = import(&tree);
    let mut told = Vec::new();
    for id in &ids {
        let Ok(Imported::Built(package)) = done(&test, &import, *id) else { panic!("{id} was not imported") };
        assert_eq!(package.id, *id);
        let stock = fs::read(tree.join(id.to_string()).join("info")).expect("an info file");
        let info = Info::parse(&stock).expect("an info file");
        assert_eq!((package.md5, package.fragments), (info.digest, info.fragments));
        assert_eq!((package.priority, &package.action), (info.priority, &info.action));
        assert_eq!(package.state, PackageState::Available);
        let verified = verify::package(&test.app, &package, &mut |_| {}).expect("read");
        assert_eq!(verified.problems, [""; 0]);
        told.push(format!("{} {} {} {}", package.os, package.fragments, package.priority, package.action.text()));
        assert_eq!(done(&test, &import, *id), Ok(Imported::Known), "a second time changes nothing");
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    linux 3 1 setup.sh
    linux 1 5 /srv/notes
    linux 4 1 sh setup.sh alpha
    windows 1 5 msiexec /i application.msi /quiet
    ");
    // Activating is another step; then it is offered like any other.
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, ids[0], dripfeed::service::assign::Target::All);
    assert_eq!(offers(&test, WS), [""; 0]);
    let here: dripfeed::model::Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, ids[0], here.clone(), here, None, &mut |_, _| {}).expect("activated");
    assert_eq!(offers(&test, WS), [ids[0].to_string()]);
}

#[test]
fn a_number_that_was_used_is_not_used_again() {
    let test = TestApp::new();
    let (tree, ids) = stock(&test, &["execute-archive"]);
    let Ok(Imported::Built(first)) = done(&test, &import(&tree), ids[0]) else { panic!("not imported") };
    // Numbers that come later are beyond it, also when the clock is behind.
    assert!(test.package(b"own", 1000).id > first.id);
    let other = test.path().join("stock").join(ids[0].to_string()).join("info");
    let text = fs::read_to_string(&other).expect("an info file").replace("setup.sh alpha", "setup.sh beta");
    fs::write(&other, text).expect("written");
    assert_eq!(
        import(&tree).one(&test.app, ids[0], true, &mut |_| {}).expect("looked at"),
        Imported::Possible(false),
        "its number is another package's here"
    );
    let Ok(Imported::Built(second)) = done(&test, &import(&tree), ids[0]) else { panic!("not imported") };
    assert!(second.id != first.id && second.action.text() == "sh setup.sh beta");
    assert_eq!(
        found(&test, first.id).map(|package| package.action.text().to_owned()).as_deref(),
        Some("sh setup.sh alpha")
    );
}

#[test]
fn what_is_damaged_is_refused_and_nothing_of_it_is_here() {
    let test = TestApp::new();
    let (tree, ids) = stock(&test, &["execute-archive"]);
    let id = ids[0];
    cut(&tree, id, 3);
    let (info, second) = (tree.join(format!("{id}/info")), tree.join(format!("{id}/{id}-2")));
    let (text, bytes) = (fs::read_to_string(&info).expect("text"), fs::read(&second).expect("bytes"));
    let refused = |what: &dyn Fn()| {
        what();
        let sentence = done(&test, &import(&tree), id).expect_err("refused");
        fs::write(&info, &text).expect("as it was");
        if fs::symlink_metadata(&second).is_ok() {
            fs::remove_file(&second).expect("removed");
        }
        fs::write(&second, &bytes).expect("as it was");
        sentence
    };
    let flipped: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 0)).collect();
    let write = |path: &Path, bytes: &[u8]| fs::write(path, bytes).expect("written");
    let mut sentences = vec![
        refused(&|| write(&second, &flipped)),
        refused(&|| fs::remove_file(&second).expect("removed")),
        refused(&|| write(&info, text.replace(&id.to_string(), "1795164999").as_bytes())),
        refused(&|| write(&info, b"<DOWNLOAD")),
        refused(&|| write(&info, text.replace("EXECUTE", "DANCE").as_bytes())),
    ];
    #[cfg(unix)]
    sentences.push(refused(&|| {
        fs::remove_file(&second).expect("removed");
        std::os::unix::fs::symlink(&info, &second).expect("a link");
    }));
    #[cfg(not(unix))]
    sentences.push("1795164360/1795164360-2 is not a plain file".to_owned());
    insta::assert_snapshot!(sentences.join("\n"), @r#"
    package 1795164360 is damaged: its fragments are not what the MD5 in its info file says
    1795164360/1795164360-2: No such file or directory (os error 2)
    its info file is that of package 1795164999
    1795164360/info: the info file cannot be read: not well-formed XML: tag not closed: `>` not found before end of input (at byte 0)
    1795164360/info: "dance" is not an action: expected launch, execute or store
    1795164360/1795164360-2 is not a plain file
    "#);
    assert!(found(&test, id).is_none());
    assert_eq!(test.listing(), "", "neither the tree nor staging has anything");
    assert!(matches!(done(&test, &import(&tree), id), Ok(Imported::Built(_))), "whole again, it is taken");
}

#[test]
fn a_look_reads_everything_and_writes_nothing() {
    let test = TestApp::new();
    let (tree, ids) = stock(&test, &["execute-archive"]);
    cut(&tree, ids[0], 4);
    let look = || import(&tree).one(&test.app, ids[0], true, &mut |_| {});
    assert_eq!(look().expect("looked at"), Imported::Possible(true));
    assert!(found(&test, ids[0]).is_none());
    assert_eq!(test.listing(), "");
    fs::write(tree.join(format!("{0}/{0}-4", ids[0])), b"x").expect("damaged");
    assert!(look().expect_err("refused").is_refusal());
}

#[test]
fn a_command_without_files_has_to_be_told_its_system() {
    let test = TestApp::new();
    let (tree, ids) = stock(&test, &["execute-no-archive", "form-uninstall"]);
    let refused = done(&test, &import(&tree), ids[0]).expect_err("refused");
    insta::assert_snapshot!(refused, @"nothing says for which system it is: --os windows, linux or macos, or name it in a list (--names)");
    let list = format!("{}\tGreeting\tLINUX\n\n", ids[0]);
    let described = read_list(&list).expect("a list");
    let named = Import { described, ..import(&tree) };
    let os_of = |id: PackageId| match done(&test, &named, id) {
        Ok(Imported::Built(package)) => format!("{} {} {}", package.name, package.version, package.os),
        other => format!("{other:?}"),
    };
    insta::assert_snapshot!(os_of(ids[0]), @"Greeting 2026-11-20 linux");
    assert_eq!(os_of(ids[1]), format!("package-{} 2026-11-20 windows", ids[1]), "by its command");
}

#[test]
fn a_list_says_which_of_its_lines_is_wrong() {
    let refused = |text: &str| read_list(text).expect_err("refused").to_string();
    insta::assert_snapshot!(refused("7\tTool\tLINUX\nseven\tTool\tLINUX"), @r#"line 2 of the list is not "number, name, system" with tabs between: "seven	Tool	LINUX""#);
    for wrong in ["7", "7\t", "7\tTool\tAMIGA", "0\tTool\tMAC"] {
        assert!(read_list(wrong).is_err(), "{wrong:?}");
    }
    let list = read_list("7\tTool\tMAC\r\n8\tOther\tNULL\n9\tThird").expect("a list");
    let systems: Vec<Option<OsFamily>> = list.values().map(|described| described.os).collect();
    assert_eq!(systems, [Some(OsFamily::Macos), None, None]);
}

/// The desk of somebody who may everything, for packages of these families.
fn desk(test: &TestApp, families: Option<&str>) -> Desk {
    let actor = Actor {
        name: "mia".to_owned(),
        token: None,
        via: Via::Console,
        peer_address: String::new(),
        rights: Rights::all(),
        scope: Scope::parse(None, families).expect("a scope"),
    };
    Desk::new(test.app.clone(), actor)
}

/// A TAR.GZ of the whole directory, uploaded.
fn upload(desk: &Desk, tree: &Path, ids: &[PackageId]) -> UploadId {
    let mut files = Vec::new();
    for id in ids {
        for entry in fs::read_dir(tree.join(id.to_string())).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = format!("var/download/{id}/{}", path.file_name().expect("a name").to_string_lossy());
            files.push((name, fs::read(&path).expect("bytes")));
        }
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let archive = tar_gz(&files);
    let upload = desk.begin_upload("download.tar.gz", archive.len() as u64, Vec::new()).expect("begun").id;
    let mut writing = desk.open_upload(&upload, 0, None).expect("open");
    writing.write(&archive).expect("written");
    writing.save(None).expect("saved");
    upload
}

#[test]
fn an_uploaded_directory_is_looked_at_then_imported_in_the_actors_families() {
    let test = TestApp::new();
    let (tree, ids) = stock(&test, &["execute-archive", "launch-notify"]);
    fs::write(tree.join(format!("{0}/{0}-1", ids[1])), b"x").expect("damaged");
    let described = read_list(&format!("{}\tlab-tool\tLINUX", ids[0])).expect("a list");
    let lab = desk(&test, Some("lab-*"));
    let archive = upload(&lab, &tree, &ids);
    let told = |dry: bool| -> Vec<String> {
        let lines = lab.import_packages(&archive, described.clone(), None, dry).expect("read");
        let outcome = |outcome: &Result<Imported, String>| match outcome {
            Ok(Imported::Built(package)) => format!("built {} {}", package.id, package.name),
            other => format!("{other:?}"),
        };
        lines.iter().map(|line| format!("{}: {}", line.name, outcome(&line.outcome))).collect()
    };
    let other = format!(r#"package-{0}: Err("mia may not build packages of the family \"package-{0}\"")"#, ids[1]);
    assert_eq!(told(true), ["lab-tool: Ok(Possible(true))".to_owned(), other.clone()]);
    assert!(found(&test, ids[0]).is_none(), "a look writes nothing");
    assert_eq!(told(false), [format!("lab-tool: built {} lab-tool", ids[0]), other]);
    let all = desk(&test, None);
    let linux = Some(OsFamily::Linux);
    let lines = all.import_packages(&archive, BTreeMap::new(), linux, false).expect("read");
    assert_eq!(lines[0].outcome, Ok(Imported::Known));
    let refused = lines[1].outcome.as_ref().expect_err("damaged");
    assert_eq!(
        *refused,
        format!("package {} is damaged: its fragments are not what the MD5 in its info file says", ids[1])
    );
    let log = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 10)).expect("read");
    let lines: Vec<String> = log.iter().map(|line| format!("{} {}", line.action, line.subject)).collect();
    assert!(lines.contains(&format!("package import package {}", ids[0])), "{lines:?}");
    assert!(!test.listing().contains("staging/import"), "{}", test.listing());
    // All of it taken: the upload has done its work.
    let whole = upload(&all, &tree, &ids[..1]);
    all.import_packages(&whole, BTreeMap::new(), None, false).expect("read");
    assert_eq!(all.import_packages(&whole, BTreeMap::new(), None, false).expect_err("gone").kind, Kind::NotFound);
    let nothing = upload(&all, &tree, &[]);
    assert_eq!(all.import_packages(&nothing, BTreeMap::new(), None, true).expect_err("empty").kind, Kind::Invalid);
}
