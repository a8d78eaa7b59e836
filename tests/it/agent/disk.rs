//! Disks that are full or spoilt: what runs, what is told, and what goes on afterwards.

use super::*;

#[test]
fn too_little_room_is_found_out_before_anything_is_unpacked() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let room = Arc::clone(&bench.machine.room);
    bench.server.fault(move |asked| {
        if asked.path.ends_with("7-1") {
            room.store(100, Ordering::Relaxed);
        }
        None
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_OUT_OF_SPACE"]);
}

#[test]
fn a_result_that_no_disk_takes_is_told_from_memory_and_nothing_is_done_twice() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    // A file where the package's directory was: not even root can write below it.
    let spoil = "cd ../.. && mv 7 elsewhere && : >7";
    bench.server.publish(7, execute(&format!("echo executed >> {}; {spoil}", mark.display())), b"", 0);
    let post = format!("echo post >> {}", mark.display());
    bench.server.change_offer(|offer| offer.post_command = Some(post.parse().expect("a command")));
    let mut is_away = true;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        (is_report && std::mem::take(&mut is_away)).then(|| status(503))
    });
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 3600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    assert_eq!(bench.server.reports(), ["7 ERR_DONE_FAILED"], "refused once, and told again");
    assert_eq!(fs::read_to_string(mark).expect("executed"), "executed\n", "once, and without a post-command");
    assert_eq!(bench.history(), "");
}

#[test]
fn a_result_that_cannot_be_read_again_is_told_as_that() {
    let bench = Bench::new();
    bench.server.publish(7, execute("mkdir -p ../done/x"), b"", 0);
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_DONE_FAILED"]);
    assert!(!bench.package(7).exists());
}

#[test]
fn a_disk_that_takes_nothing_for_a_while_ends_neither_the_service_nor_the_package() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    // A directory where the info file is to be: not even root can write it. Somebody removes it later.
    let obstacle = bench.package(7).join("info");
    let mut asked_for = 0;
    bench.server.fault(move |asked| {
        asked_for += u32::from(asked.path.ends_with("/7/info"));
        match asked_for {
            1 if asked.path.ends_with("/7/info") => fs::create_dir_all(obstacle.join("x")).expect("in the way"),
            2 if asked.path.ends_with("/7/info") => fs::remove_dir_all(&obstacle).expect("out of the way"),
            _ => {}
        }
        None
    });
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 4 * 3600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    let log = bench.server.take_log();
    assert_eq!(log.matches("/7/info").count(), 2, "once, and once more a period later: {log}");
    assert_eq!(log.matches("PROLOG").count(), 1, "{log}");
}

#[test]
fn a_disk_that_takes_nothing_is_no_reason_to_send_no_inventory() {
    let bench = Bench::new();
    bench.once().expect("a run");
    let config = bench.config.state_dir.join("download/config");
    fs::remove_file(&config).expect("removed");
    fs::create_dir_all(config.join("x")).expect("in the way");
    bench.server.world().decision = Decision::Send;
    bench.once().expect_err("nothing of the reply is kept");
    assert_eq!(bench.server.world().inventories.len(), 1);
    let status = Status::read(&bench.config).expect("a status");
    assert!(
        status.last_error.is_some_and(|error| error.contains("is the directory there, writable, and is room left"))
    );
}

#[test]
fn what_an_earlier_try_left_and_cannot_be_removed_is_told() {
    let bench = Bench::new();
    bench.server.hurry();
    let mark = bench.home.path().join("mark");
    let command = execute(&format!("touch {}", mark.display()));
    bench.server.publish(7, command.clone(), &tar_gz(&[("a", 0o644, "hello")]), 1);
    bench.server.publish(8, command, b"", 0);
    for number in [7, 8] {
        fs::create_dir_all(bench.package(number).join("tmp/left")).expect("a directory");
    }
    let ran = bench.program_once(&bench.home.path().join("data"), &[("DRIPFEED_DISK_STUCK", "/tmp")]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // In the order of their turns: the one without fragments is first.
    assert_eq!(bench.server.reports(), ["8 ERR_CLEAN", "7 ERR_CLEAN"]);
    assert!(!mark.exists() && bench.history().is_empty());
    assert!(!bench.package(7).exists() && !bench.package(8).exists());
}

#[test]
fn a_directory_that_would_not_go_is_in_the_way_of_the_next_try_and_no_result_of_it() {
    let bench = Bench::new();
    bench.server.hurry();
    let (mark, data) = (bench.home.path().join("mark"), bench.home.path().join("data"));
    let run = |switches: &[(&str, &str)]| {
        bench.server.publish(7, execute(&format!("echo x >> {}", mark.display())), b"", 0);
        bench.server.change_offer(|offer| offer.force = true);
        let ran = bench.program_once(&data, switches);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let stuck = [("DRIPFEED_DISK_STUCK", "/.gone-7")];
    run(&stuck);
    run(&stuck);
    assert!(bench.package(7).join("told").exists(), "its new name is taken");
    assert_eq!(Status::read(&bench.config).expect("a status").packages, [], "it is under way no more");
    run(&stuck);
    run(&[]);
    assert_eq!(bench.server.reports(), ["7 SUCCESS", "7 SUCCESS", "7 ERR_CLEAN", "7 SUCCESS"]);
    assert_eq!(fs::read_to_string(mark).expect("run"), "x\nx\nx\n");
    assert!(!bench.package(7).exists() && !bench.config.state_dir.join("download/.gone-7").exists());
}
