#[cfg(debug_assertions)]
use std::fmt::Write as _;
#[cfg(debug_assertions)]
use std::process::{Command, Stdio};

use std::io::{Read as _, Seek as _, Write as _};

use super::*;
use crate::model::FragmentNumber;

fn package(number: u32) -> PackageId {
    PackageId::new(number).expect("an id")
}

fn fragment(number: u32) -> FragmentNumber {
    FragmentNumber::new(number).expect("a number")
}

fn open(root: &Path) -> PublishedTree {
    PublishedTree::open(&root.join("download"), &root.join("staging")).expect("a tree")
}

fn publish(tree: &PublishedTree, id: PackageId) -> Result<(), TreeError> {
    let staged = tree.stage(id)?;
    for number in 1..=3 {
        let mut writer = staged.create_fragment(fragment(number)).expect("a file");
        writer.write_all(format!("fragment {number}").as_bytes()).expect("written");
    }
    staged.write_info("<DOWNLOAD/>")?;
    staged.publish()
}

/// Every file below a directory, with its size.
fn listing(directory: &Path) -> String {
    fn add(directory: &Path, prefix: &str, lines: &mut Vec<String>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_str().expect("text"));
            if entry.file_type().expect("a type").is_dir() {
                lines.push(format!("{name}/"));
                add(&entry.path(), &format!("{name}/"), lines);
            } else {
                lines.push(format!("{name} {}", entry.metadata().expect("known").len()));
            }
        }
    }
    let mut lines = Vec::new();
    add(directory, "", &mut lines);
    lines.sort();
    lines.join("\n")
}

const WHOLE: &str = "download/\ndownload/7/\ndownload/7/7-1 10\ndownload/7/7-2 10\ndownload/7/7-3 10\n\
                     download/7/info 11\nstaging/";
const NOTHING: &str = "download/\nstaging/";

#[test]
fn a_package_appears_whole_and_goes_whole() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    publish(&tree, package(7)).expect("published");
    assert_eq!(listing(root.path()), WHOLE);
    assert!(tree.contains(package(7)) && !tree.contains(package(8)));
    let mut text = String::new();
    let key = "7/7-2".parse().expect("a key");
    tree.open_file(key).and_then(|mut file| file.read_to_string(&mut text)).expect("there");
    assert_eq!(text, "fragment 2");
    assert!(tree.withdraw(package(7)).expect("withdrawn"));
    assert!(!tree.withdraw(package(7)).expect("gone"));
    assert_eq!(listing(root.path()), NOTHING);
}

#[test]
fn a_package_that_is_set_aside_comes_back_whole_until_it_is_forgotten() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    publish(&tree, package(7)).expect("published");
    assert!(tree.set_aside(package(7)).expect("set aside"));
    assert!(!tree.set_aside(package(7)).expect("gone"));
    assert!(!tree.contains(package(7)) && tree.is_aside(package(7)));
    // A start in between keeps it.
    assert_eq!(tree.clear_staging().expect("cleared"), 0);
    assert!(tree.restore(package(7)).expect("restored"));
    assert!(tree.contains(package(7)) && !tree.restore(package(7)).expect("not aside"));
    assert!(tree.set_aside(package(7)).expect("again"));
    assert!(tree.forget_aside(package(7)).expect("forgotten"));
    assert!(!tree.forget_aside(package(7)).expect("nothing left"));
    assert!(!tree.restore(package(7)).expect("nothing left"));
    assert_eq!(listing(root.path()), format!("{NOTHING}\nstaging/withdrawn/"));
}

#[test]
fn what_is_abandoned_at_any_step_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    for steps in 0..4 {
        let staged = tree.stage(package(7)).expect("staged");
        for number in 1..=steps.min(2) {
            staged.create_fragment(fragment(number)).expect("a file").write_all(b"x").expect("written");
        }
        if steps == 3 {
            staged.write_info("<DOWNLOAD/>").expect("written");
        }
        assert_ne!(listing(root.path()), NOTHING);
        drop(staged);
        assert_eq!(listing(root.path()), NOTHING, "after {steps} steps");
    }
}

#[test]
fn a_published_package_cannot_be_published_again() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    // Both begin before either ends.
    let second = tree.stage(package(7)).expect("staged");
    second.write_info("<ANOTHER/>").expect("written");
    publish(&tree, package(7)).expect("published");
    for error in [second.publish(), publish(&tree, package(7))] {
        let error = error.expect_err("it is there");
        assert_eq!(
            error.to_string(),
            "package 7 is published already: published packages never change, build a new one"
        );
    }
    assert_eq!(listing(root.path()), WHOLE);
}

#[test]
fn a_package_with_a_hole_is_not_published() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    let staged = tree.stage(package(7)).expect("staged");
    staged.create_fragment(fragment(1)).expect("a file");
    staged.create_fragment(fragment(3)).expect("a file");
    staged.create_fragment(fragment(3)).expect_err("begun already");
    staged.write_info("<DOWNLOAD/>").expect("written");
    let hole = staged.publish().expect_err("no second one");
    let staged = tree.stage(package(7)).expect("staged");
    let no_info = staged.publish().expect_err("no info");
    assert_eq!(listing(root.path()), NOTHING);
    insta::assert_snapshot!(format!("{hole}\n{no_info}"), @r"
    package 7 is not complete: a fragment is missing between 1 and the last one
    package 7 is not complete: its info file is missing
    ");
    // A command without files has an info file alone.
    let staged = tree.stage(package(7)).expect("staged");
    staged.write_info("<DOWNLOAD/>").expect("written");
    staged.publish().expect("published");
    assert_eq!(tree.list().expect("listed"), [package(7)]);
}

#[test]
fn strangers_are_named_and_not_listed() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    for id in [70, 7] {
        publish(&tree, package(id)).expect("published");
    }
    for name in ["lost+found", "8", "007"] {
        fs::create_dir(root.path().join("download").join(name)).expect("made");
    }
    File::create(root.path().join("download/9")).expect("made");
    assert_eq!(tree.list().expect("listed"), [package(7), package(70)]);
    assert_eq!(tree.strangers().expect("listed"), ["007", "8", "9", "lost+found"]);
}

#[test]
fn staging_is_cleared_but_for_the_lock() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    for name in ["7.build-1-1", "upload"] {
        fs::create_dir_all(root.path().join("staging").join(name).join("below")).expect("made");
    }
    File::create(tree.build_lock()).expect("made");
    assert_eq!(tree.clear_staging().expect("cleared"), 2);
    assert_eq!(listing(root.path()), "download/\nstaging/\nstaging/build.lock 0");
}

#[test]
fn a_spool_has_no_name_and_can_be_read_again() {
    let root = tempfile::tempdir().expect("a directory");
    let tree = open(root.path());
    let mut spool = tree.spool().expect("a spool");
    spool.write_all(b"upload").expect("written");
    assert_eq!(spool.size().expect("known"), 6);
    spool.rewind().expect("rewound");
    let mut text = String::new();
    spool.read_to_string(&mut text).expect("read");
    assert_eq!(text, "upload");
    #[cfg(unix)]
    assert_eq!(listing(root.path()), NOTHING);
    drop(spool);
    assert_eq!(listing(root.path()), NOTHING);
}

#[test]
fn a_full_disk_gets_a_sentence() {
    let error = TreeError::of(Path::new("staging"), io::Error::from(io::ErrorKind::StorageFull));
    insta::assert_snapshot!(error, @"no space left in staging: free some, or move the data to a larger disk");
    let root = tempfile::tempdir().expect("a directory");
    File::create(root.path().join("download")).expect("made");
    let error = PublishedTree::open(&root.path().join("download"), &root.path().join("staging"));
    assert!(matches!(error, Err(TreeError::Io { .. })));
}

#[cfg(unix)]
#[test]
fn other_users_may_read_what_is_published() {
    use std::os::unix::fs::PermissionsExt;

    let root = tempfile::tempdir().expect("a directory");
    publish(&open(root.path()), package(7)).expect("published");
    for (path, mode) in [("download/7", 0o755), ("download/7/info", 0o644), ("download/7/7-1", 0o644)] {
        let metadata = fs::metadata(root.path().join(path)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
}

#[cfg(debug_assertions)]
/// Runs this test again in a process of its own that publishes and withdraws, and ends at a checkpoint.
fn child(root: &Path, end_at: Option<&str>) -> std::process::ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "disk::published::tests::a_crash_anywhere_leaves_a_whole_package_or_none"])
        .env("DRIPFEED_TEST_ROOT", root)
        .env("DRIPFEED_CHECKPOINT_LOG", root.join("log"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(end_at) = end_at {
        command.env("DRIPFEED_CHECKPOINT", end_at);
    }
    command.status().expect("it runs")
}

#[cfg(debug_assertions)]
fn passed(root: &Path) -> Vec<String> {
    let log = fs::read_to_string(root.join("log")).expect("the child wrote it");
    fs::remove_file(root.join("log")).expect("the log");
    log.lines().map(str::to_owned).collect()
}

#[cfg(debug_assertions)]
#[test]
fn a_crash_anywhere_leaves_a_whole_package_or_none() {
    if let Some(root) = std::env::var_os("DRIPFEED_TEST_ROOT") {
        let tree = open(Path::new(&root));
        publish(&tree, package(7)).expect("published");
        tree.withdraw(package(7)).expect("withdrawn");
        publish(&tree, package(7)).expect("published again");
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    assert!(child(root.path(), None).success());
    let all = passed(root.path());
    assert_eq!(all.len(), 5 + 3 + 5, "{all:?}");
    let mut outcomes = String::new();
    for (at, name) in all.iter().enumerate() {
        let hit = all[..=at].iter().filter(|earlier| *earlier == name).count();
        let root = tempfile::tempdir().expect("a directory");
        assert!(!child(root.path(), Some(&format!("{name}:{hit}"))).success(), "{name} did not end it");
        assert_eq!(passed(root.path()), all[..=at]);

        // What a reader sees is whole or nothing, before anything is repaired.
        let tree = open(root.path());
        let there = tree.list().expect("listed");
        assert_eq!(tree.strangers().expect("listed"), Vec::<String>::new());
        tree.clear_staging().expect("cleared");
        let after = listing(root.path());
        assert_eq!(after, if there.is_empty() { NOTHING } else { WHOLE }, "after {name}");
        let outcome = if there.is_empty() { "nothing" } else { "whole" };
        writeln!(outcomes, "{name} {hit}: {outcome}").expect("a string");

        // The same work again ends in the same place.
        if there.is_empty() {
            publish(&tree, package(7)).expect("published");
        }
        assert_eq!(listing(root.path()), WHOLE);
    }
    insta::assert_snapshot!(outcomes, @r"
    publish:info-written 1: nothing
    publish:files-synced 1: nothing
    publish:directory-synced 1: nothing
    publish:renamed 1: whole
    publish:done 1: whole
    withdraw:renamed 1: nothing
    withdraw:synced 1: nothing
    withdraw:done 1: nothing
    publish:info-written 2: nothing
    publish:files-synced 2: nothing
    publish:directory-synced 2: nothing
    publish:renamed 2: whole
    publish:done 2: whole
    ");
}
