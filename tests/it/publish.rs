//! Building, verifying, withdrawing, healing: rows and tree together.

use dripfeed::model::{ByteSize, OsFamily, PackageState};
use dripfeed::service::publish::{BuildRequest, Fragmenting, Source};
use dripfeed::service::{reconcile, verify, withdraw};
use dripfeed::store::packages;

use crate::util::{TestApp, noise, request, tar_gz, zip};

/// The sentence that refuses a build.
fn refusal(test: &TestApp, request: &BuildRequest) -> String {
    let error = test.build(request).expect_err("refused");
    assert!(error.is_refusal(), "{error} is not called a refusal");
    error.to_string().replace(&*test.path().to_string_lossy(), "…")
}

#[test]
fn a_build_publishes_fragments_and_info_and_nothing_else() {
    let test = TestApp::new();
    let archive = test.input("a.tar.gz", &tar_gz(&[("setup.sh", b"#!/bin/sh\n"), ("data", &noise(5000))]));
    let request = BuildRequest {
        fragmenting: Fragmenting::Size(ByteSize(2000)),
        ..request(Source::Path(archive.clone()), "launch", "setup.sh --quiet")
    };
    let built = test.build(&request).expect("built");
    assert_eq!(built.package.state, PackageState::Available);
    assert_eq!(built.package.id.to_string(), "1795168800");
    let mut joined = Vec::new();
    for number in built.package.fragments.numbers() {
        joined.extend(
            std::fs::read(test.path().join(format!("download/1795168800/1795168800-{number}"))).expect("a fragment"),
        );
    }
    assert_eq!(joined, std::fs::read(archive).expect("the archive"), "an archive is taken as it is");
    let lines: Vec<String> =
        test.listing().lines().map(|line| line.split(' ').next().expect("a path").to_owned()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    download/1795168800/1795168800-1
    download/1795168800/1795168800-2
    download/1795168800/1795168800-3
    download/1795168800/info
    ");
    let package = built.package;
    let verified = verify::package(&test.app, &package, &mut |_| {}).expect("verified");
    assert_eq!((verified.files, verified.problems), (4, Vec::new()));
}

#[test]
fn ids_are_unique_also_within_a_second_and_after_a_withdrawal() {
    let test = TestApp::new();
    let first = test.package(b"one", 1000).id;
    let second = test.package(b"two", 1000).id;
    withdraw::withdraw(&test.app, second).expect("withdrawn");
    let third = test.package(b"three", 1000).id;
    insta::assert_snapshot!(format!("{first} {second} {third}"), @"1795168800 1795168801 1795168802");
}

#[test]
fn a_directory_is_packed_the_same_each_time() {
    let test = TestApp::new();
    test.input("tree/b/c.txt", b"c");
    test.input("tree/a.txt", b"a");
    let source = Source::Path(test.path().join("tree"));
    let first = test.build(&request(source.clone(), "store", "/opt/x")).expect("built").package;
    let second = test.build(&request(source.clone(), "store", "/opt/x")).expect("built").package;
    assert_eq!(first.sha256, second.sha256);
    let windows = |source| {
        let mut request = request(source, "store", "C:\\tools");
        request.package.os = OsFamily::Windows;
        request
    };
    let first = test.build(&windows(source.clone())).expect("built").package;
    let second = test.build(&windows(source)).expect("built").package;
    assert_eq!(first.sha256, second.sha256);
}

#[test]
fn a_command_needs_no_files() {
    let test = TestApp::new();
    let built = test.build(&request(Source::Nothing, "execute", "apt-get -y install htop")).expect("built");
    assert_eq!((built.package.fragments.0, built.package.md5), (0, None));
    insta::assert_snapshot!(test.listing().split(' ').next().expect("one file"), @"download/1795168800/info");
}

#[test]
fn what_could_not_work_is_refused_with_a_sentence() {
    let test = TestApp::new();
    let archive = |name: &str, bytes: &[u8]| Source::Path(test.input(name, bytes));
    let good = tar_gz(&[("setup.sh", b"#!/bin/sh\n"), ("my-setup.sh", b"#!/bin/sh\n")]);
    let windows = |mut request: BuildRequest| {
        request.package.os = OsFamily::Windows;
        request
    };
    let sentences = [
        refusal(&test, &request(archive("a.tar.gz", &good), "launch", "install.sh")),
        refusal(&test, &request(archive("a.tar.gz", &good), "launch", "my-setup.sh --quiet")),
        refusal(&test, &request(Source::Nothing, "launch", "setup.sh")),
        refusal(&test, &request(Source::Nothing, "store", "/opt")),
        refusal(&test, &request(archive("a.tar.gz", &good), "store", "opt/x")),
        refusal(&test, &windows(request(archive("a.tar.gz", &good), "launch", "setup.sh"))),
        refusal(&test, &request(archive("one.zip", &zip(&[("setup.sh", b"#!")])), "launch", "setup.sh")),
        refusal(&test, &request(archive("empty.tar.gz", b""), "store", "/opt")),
        refusal(&test, &request(archive("not.zip", b"hello"), "store", "/opt")),
        refusal(&test, &request(Source::Path(test.path().join("absent")), "store", "/opt")),
        refusal(&test, &request(archive("nothing.tar.gz", &tar_gz(&[])), "store", "/opt")),
        refusal(&test, &request(archive("cut.tar.gz", &good[..good.len() - 9]), "store", "/opt")),
        refusal(
            &test,
            &BuildRequest {
                fragmenting: Fragmenting::Count(1_000_000),
                ..request(archive("a.tar.gz", &good), "store", "/opt")
            },
        ),
    ];
    insta::assert_snapshot!(sentences.join("\n"), @r###"
    the archive has no file "install.sh" to launch (it has setup.sh, my-setup.sh): --command must begin with a file of the archive; for any other command use --action execute
    a stock agent cuts "my-setup.sh" at the dash and looks for "my", so this would end in ERR_EXECUTE: rename the file without a dash, or use --action execute --command './my-setup.sh --quiet'
    action launch needs files: give an archive, a directory or a file (only execute works without)
    action store needs files: give an archive, a directory or a file (only execute works without)
    the path "opt/x" must be absolute on linux: --path
    …/a.tar.gz is a TAR.GZ, but Windows agents read ZIP only: pack it as a ZIP
    …/one.zip is a ZIP with a single member, which stock Unix agents unpack to nothing (ERR_EXECUTE): pack it as a TAR.GZ, or give the file itself
    …/empty.tar.gz is empty: nothing to build from
    this is neither a ZIP nor a TAR.GZ archive
    failed to read …/absent: No such file or directory (os error 2)
    …/nothing.tar.gz holds no files: action store would have nothing to do
    the archive is truncated: it ends after the last entry
    1000000 fragments asked for, but the archive has only 127 bytes
    "###);
    assert_eq!(
        test.listing().lines().filter(|line| line.starts_with("download/")).count(),
        0,
        "a refused build left something"
    );
}

#[test]
fn a_withdrawn_package_leaves_the_tree_but_not_the_records() {
    let test = TestApp::new();
    let id = test.package(b"x", 1000).id;
    withdraw::withdraw(&test.app, id).expect("withdrawn");
    assert!(!test.listing().contains("download/"), "{}", test.listing());
    assert!(withdraw::forget(&test.app, id).expect("forgotten"));
    assert_eq!(test.listing(), "");
    let package = test.app.store.read_now(move |conn| packages::find(conn, id)).expect("read").expect("still there");
    assert_eq!(package.state, PackageState::Withdrawn);
    let again = withdraw::withdraw(&test.app, id).expect_err("twice");
    insta::assert_snapshot!(again, @"package 1795168800 is withdrawn already");
}

#[test]
fn verify_names_the_fragment_that_was_changed() {
    let test = TestApp::new();
    let package = test.package(&noise(3000), 1000);
    let path = test.path().join(format!("download/{0}/{0}-2", package.id));
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"something else"))
        .expect("overwritten");
    let verified = verify::package(&test.app, &package, &mut |_| {}).expect("read");
    insta::assert_snapshot!(verified.problems.join("\n"), @"1795168800/1795168800-2 is not the fragment that was built: restore it from a back-up or build the package again");
}

#[test]
fn a_start_ends_what_a_crash_left_half_done() {
    let test = TestApp::new();
    let published = test.package(b"published", 1000).id;
    let withdrawn = test.package(b"withdrawn", 1000).id;
    let lost = test.package(b"lost", 1000).id;
    let never = test.package(b"never", 1000).id;
    test.app
        .store
        .write_now(move |conn| {
            packages::set_state(conn, published, PackageState::Building)?;
            packages::set_state(conn, withdrawn, PackageState::Withdrawn)?;
            packages::set_state(conn, never, PackageState::Building).map(drop)
        })
        .expect("written");
    for id in [lost, never] {
        std::fs::remove_dir_all(test.path().join(format!("download/{id}"))).expect("removed");
    }
    let healed = reconcile::run(&test.reopen()).expect("healed");
    assert_eq!(healed.completed, [published]);
    assert_eq!(healed.removed, [withdrawn]);
    assert_eq!(healed.discarded, [never]);
    assert_eq!(healed.lost, [lost]);
    assert_eq!(reconcile::run(&test.app).expect("again").completed, []);
}
