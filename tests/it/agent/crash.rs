//! DESIGN.md, promises 4 and 5: the agent is ended at *every* write, rename, fsync, spawn and send, and started again.
//!
//! One run that nobody disturbs writes down every checkpoint that it passes. Then, for each one, a fresh agent is ended
//! exactly there (`abort`, so no destructor runs), started again, and judged: what had to run ran once and saw whole files,
//! or was cut and is told as cut; the server heard one result and no other; nothing is left over. Which of the two it must
//! be follows from the list itself: a run is cut between the moment when the journal `started` has its name and the one
//! when `done` has.

use super::*;

/// What is deployed, and how it is seen that it was.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// A launch with a post-command, after an inventory; the script looks at its own files.
    Launch,
    /// Files that are stored.
    Store,
    /// The launch again, and something holds the package's directory until the agent is started once more.
    Stuck,
}

/// A server, a package on it, and a mark that the package leaves.
struct Crash {
    bench: Bench,
    story: Story,
    mark: PathBuf,
    log: PathBuf,
}

const DATA: &str = "0123456789abcdef";

impl Crash {
    fn new(story: Story) -> Self {
        let bench = Bench::new();
        let (mark, log) = (bench.home.path().join("mark"), bench.home.path().join("checkpoints"));
        bench.server.hurry();
        if matches!(story, Story::Launch) {
            bench.server.world().decision = Decision::Send;
        }
        Self { bench, story, mark, log }
    }

    fn prepare(&self) {
        self.bench.server.world().offers.clear();
        let data = DATA.repeat(20_000);
        match self.story {
            Story::Launch | Story::Stuck => {
                let mark = self.mark.display();
                let script = format!("#!/bin/sh\necho run \"$(wc -c < data)\" >> {mark}\n");
                let archive = tar_gz(&[("setup.sh", 0o755, &script), ("data", 0o644, &data)]);
                self.bench.server.publish(7, Action::Launch { command: "setup.sh".to_owned() }, &archive, 2);
                let post = format!("echo post >> {mark}");
                self.bench.server.change_offer(|offer| offer.post_command = Some(post.parse().expect("a command")));
            }
            Story::Store => {
                let archive = tar_gz(&[("one", 0o644, &data), ("two", 0o644, &data), ("dir/three", 0o600, &data)]);
                let path = self.mark.with_extension("d");
                let _ = fs::remove_dir_all(&path);
                self.bench.server.publish(7, Action::Store { path: path.display().to_string() }, &archive, 2);
            }
        }
        let mut world = self.bench.server.world();
        world.reports.clear();
        world.headers.clear();
        drop(world);
        put(&self.mark, b"");
        put(&self.log, b"");
        let mut failed = false;
        self.bench.server.fault(move |asked| {
            (asked.path.ends_with("/7-1") && !std::mem::replace(&mut failed, true)).then(|| status(503))
        });
    }

    /// One run of the program, which may end at a checkpoint.
    fn run(&self, data: &Path, checkpoint: &str) -> Output {
        let log = self.log.to_str().expect("a path of the test's own");
        let mut switches = vec![("DRIPFEED_CHECKPOINT", checkpoint), ("DRIPFEED_CHECKPOINT_LOG", log)];
        if matches!(self.story, Story::Stuck) {
            // Its new name is taken, and stays so.
            let state = data.join(self.bench.config.state_dir.file_name().expect("a name"));
            fs::create_dir_all(state.join("download/.gone-7")).expect("a directory");
            switches.push(("DRIPFEED_DISK_STUCK", "/.gone-7"));
        }
        self.bench.program_once(data, &switches)
    }

    /// Every checkpoint that an undisturbed run passes, in order, each with how often it was passed before.
    fn enumerate(&self) -> Vec<String> {
        self.prepare();
        let ran = self.run(&self.bench.home.path().join("whole"), "");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let passed = fs::read_to_string(&self.log).expect("a log");
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let all = passed.lines().map(|name| {
            let count = seen.entry(name).or_default();
            *count += 1;
            format!("{name}:{count}")
        });
        all.collect()
    }

    /// Ends it at each of these in turn, starts it again, and judges. `None` for `was_cut`: either is right.
    fn check(&self, plans: &[&str], was_cut: Option<bool>) {
        let told = plans.join(", then ");
        self.prepare();
        let data = self.bench.home.path().join(told.replace([':', ' ', ','], "_"));
        let state = data.join(self.bench.config.state_dir.file_name().expect("a name"));
        let key = || fs::read(state.join("identity.key")).ok();
        let mut first_key = None;
        for (at, plan) in plans.iter().enumerate() {
            let ended = self.run(&data, plan);
            // The first one is on its list; what is left after it may not pass the second.
            assert!(at > 0 || !ended.status.success(), "{told}: it did not end there");
            assert!(first_key.is_none() || first_key == key(), "{told}: the key is another one");
            first_key = key();
        }
        let again = self.bench.program_once(&data, &[]);
        assert!(again.status.success(), "{told}: {}", String::from_utf8_lossy(&again.stderr));

        assert!(first_key.is_none() || first_key == key(), "{told}: the key is another one");
        let keys = keys::that_signed(&self.bench.server);
        assert_eq!(keys.len(), 1, "{told}: the server met several keys");

        let first = self.the_report(&told);
        let is_cut = first == "7 ERR_EXECUTE_INTERRUPTED";
        assert!(is_cut || first == "7 SUCCESS", "{told}: {first} is invented");
        assert!(was_cut.is_none_or(|was_cut| was_cut == is_cut), "{told}: {first}");
        self.judge(&told, &data, is_cut);
    }

    /// The one result that the server heard, once or several times.
    fn the_report(&self, told: &str) -> String {
        let reports = self.bench.server.reports();
        let first = reports.first().unwrap_or_else(|| panic!("{told}: the result is lost")).clone();
        assert!(reports.iter().all(|report| *report == first), "{told}: {reports:?}");
        first
    }

    /// What ran or was stored fits the result, nothing is left over, and the history is right.
    fn judge(&self, told: &str, data: &Path, is_cut: bool) {
        match self.story {
            Story::Launch | Story::Stuck => self.launched(told, is_cut),
            Story::Store => self.stored(told, is_cut),
        }
        let download = data.join(self.bench.config.state_dir.file_name().expect("a name")).join("download");
        let left: Vec<_> = fs::read_dir(&download)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| !["config", "history", "lock"].iter().any(|known| name == known))
            .collect();
        assert!(left.is_empty(), "{told}: {left:?} is left");
        let history = fs::read_to_string(download.join("history")).unwrap_or_default();
        assert_eq!(history, if is_cut { "" } else { "7\n" }, "{told}: the history");
        fs::remove_dir_all(data).expect("its directory");
    }

    /// How many changes an undisturbed run makes that need room.
    fn changes(&self) -> u32 {
        self.prepare();
        self.bench.server.fault(|_| None);
        let log = self.log.to_str().expect("a path of the test's own");
        let ran = self.bench.program_once(&self.bench.home.path().join("whole"), &[("DRIPFEED_DISK_LOG", log)]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        u32::try_from(fs::read_to_string(&self.log).expect("a log").lines().count()).expect("few")
    }

    /// Lets some changes fail as on a full disk; then there is room again, and it is started again.
    fn fill(&self, full: &str) {
        let told = format!("full at {full}");
        self.prepare();
        // Fragments that fail for both reasons would be paused for, in real time.
        self.bench.server.fault(|_| None);
        let data = self.bench.home.path().join(format!("full-{full}"));
        let before = self.bench.program_once(&data, &[("DRIPFEED_DISK_FULL", full)]);
        assert!(before.status.code().is_some(), "{told}: it was ended by a signal");
        let again = self.bench.program_once(&data, &[]);
        assert!(again.status.success(), "{told}: {}", String::from_utf8_lossy(&again.stderr));
        assert_eq!(keys::that_signed(&self.bench.server).len(), 1, "{told}: the server met several keys");
        let first = self.the_report(&told);
        match first.as_str() {
            "7 SUCCESS" => self.judge(&told, &data, false),
            "7 ERR_OUT_OF_SPACE" => {
                self.judge(&told, &data, true);
                assert_eq!(fs::read_to_string(&self.mark).expect("the mark"), "", "{told}: it ran");
            }
            "7 ERR_DONE_FAILED" => self.judge(&told, &data, true),
            _ => panic!("{told}: {first} is invented"),
        }
    }

    fn launched(&self, told: &str, is_cut: bool) {
        let times = |what: &str| {
            let ran = fs::read_to_string(&self.mark).expect("the mark");
            ran.lines().filter(|line| line.starts_with(what)).count()
        };
        if is_cut {
            assert!(times("run") <= 1, "{told}: run {} times", times("run"));
        } else {
            assert_eq!(times("run"), 1, "{told}");
            assert_eq!(times(&format!("run {}", DATA.len() * 20_000)), 1, "{told}: it saw a torn package");
        }
        assert!(times("post") <= 1, "{told}: the post-command ran {} times", times("post"));
    }

    /// What was cut may have stored some files, but each of them whole.
    fn stored(&self, told: &str, is_cut: bool) {
        let path = self.mark.with_extension("d");
        for name in ["one", "two", "dir/three"] {
            match fs::read_to_string(path.join(name)) {
                Ok(text) => assert!(text == DATA.repeat(20_000), "{told}: {name} is torn"),
                Err(error) => assert!(is_cut && error.kind() == io::ErrorKind::NotFound, "{told}: {name}: {error}"),
            }
        }
    }
}

/// The places, from that on at which the journal `started` has its name, up to that at which `done` has.
fn cut_between(points: &[String]) -> std::ops::Range<usize> {
    let renamed_before = |name: &str| {
        let end = points.iter().position(|point| *point == format!("{name}:1")).unwrap_or_else(|| panic!("no {name}"));
        let renamed = |point: &String| point.starts_with("atomic:renamed:");
        points[..end].iter().rposition(renamed).expect("a rename before it")
    };
    renamed_before("agent.execute.journalled")..renamed_before("agent.result.stored")
}

/// Shares the plans among as many servers as there are threads.
fn in_shares<T: Sync>(story: Story, plans: &[T], check: impl Fn(&Crash, &T) + Sync) {
    std::thread::scope(|scope| {
        for share in plans.chunks(plans.len().div_ceil(4).max(1)) {
            let check = &check;
            scope.spawn(move || {
                let crash = Crash::new(story);
                for plan in share {
                    check(&crash, plan);
                }
            });
        }
    });
}

fn ended_everywhere(story: Story) -> Vec<String> {
    let points = Crash::new(story).enumerate();
    let cut = cut_between(&points);
    assert!(cut.len() >= 5, "{points:?}");
    let plans: Vec<(usize, &String)> = points.iter().enumerate().collect();
    in_shares(story, &plans, |crash, (at, plan)| crash.check(&[plan], Some(cut.contains(at))));
    points
}

#[test]
fn an_agent_that_is_killed_anywhere_launches_once_at_most_and_tells_the_truth() {
    let points = ended_everywhere(Story::Launch);
    let kinds = |prefix: &str| points.iter().filter(|point| point.starts_with(prefix)).count();
    // The list is not shorter than it looks: each kind of step is on it.
    for kind in ["atomic:written", "atomic:synced", "atomic:renamed", "rename:renamed", "agent.message.sending"] {
        assert!(kinds(kind) >= 2, "{kind}: {points:?}");
    }
    for kind in [
        "agent.execute.spawned",
        "agent.report.sending",
        "agent.fragment.failed",
        "agent.fragment.written",
        "agent.unpack.written",
    ] {
        assert!(kinds(kind) >= 1, "{kind}: {points:?}");
    }
    assert_eq!(kinds("agent.identity.kept"), 1, "{points:?}");
    assert!(points.len() >= 100, "{}: {points:?}", points.len());
    println!("agent, launch: killed at each of {} steps", points.len());
}

#[test]
fn an_agent_that_is_killed_anywhere_stores_whole_files() {
    let points = ended_everywhere(Story::Store);
    assert!(points.iter().filter(|point| point.starts_with("agent.store.placed")).count() >= 3, "{points:?}");
    println!("agent, store: killed at each of {} steps", points.len());
}

#[test]
fn an_agent_that_is_killed_anywhere_while_a_directory_will_not_go_tells_one_result() {
    let points = ended_everywhere(Story::Stuck);
    assert!(points.iter().any(|point| point.starts_with("agent.forget.told")), "{points:?}");
    println!("agent, a directory that will not go: killed at each of {} steps", points.len());
}

#[test]
fn an_agent_that_is_killed_twice_in_the_same_place_still_ends_with_the_truth() {
    let points = Crash::new(Story::Launch).enumerate();
    let firsts: Vec<&String> = points.iter().filter(|point| point.ends_with(":1")).collect();
    in_shares(Story::Launch, &firsts, |crash, plan| crash.check(&[plan, plan], None));
    println!("agent: killed twice at each of {} kinds of step", firsts.len());
}

/// Once, for as long as a result is tried to be kept, and for longer.
#[test]
fn a_disk_that_is_full_anywhere_costs_work_and_no_truth() {
    for story in [Story::Launch, Story::Store] {
        let changes = Crash::new(story).changes();
        assert!(changes >= 25, "{changes}");
        let plans: Vec<String> =
            (1..=changes).flat_map(|at| [1, 2, 4].map(|long| format!("{at}-{}", at + long - 1))).collect();
        in_shares(story, &plans, |crash, full| crash.fill(full));
        println!("agent, {story:?}: the disk full at each of {changes} changes, for 1, 2 and 4 of them");
    }
}
