//! What people answer, and what becomes of the package.

use std::cell::RefCell;
use std::rc::Rc;

use dripfeed::agent::people::{Answer, People, Question};
use dripfeed::model::{Done, Nobody, Notify, PromptPolicy};

use super::*;

/// A machine whose people give these answers, one after another, and remember what they saw.
struct Attended<'a> {
    machine: &'a Virtual,
    /// Is anybody logged in at that moment?
    presence: fn(UnixTime) -> bool,
    answers: Rc<RefCell<Vec<Answer>>>,
    seen: Rc<RefCell<Vec<String>>>,
}

struct Person {
    is_there: bool,
    answers: Rc<RefCell<Vec<Answer>>>,
    seen: Rc<RefCell<Vec<String>>>,
}

impl People for Person {
    fn is_attended(&self) -> bool {
        self.is_there
    }

    fn ask(&self, question: &Question, _stop: &dyn Fn() -> bool) -> Answer {
        let note = question.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
        self.seen.borrow_mut().push(format!("asked: {}{note}", question.text));
        self.answers.borrow_mut().pop().expect("not asked again")
    }

    fn tell(&self, text: &str, _stop: &dyn Fn() -> bool) {
        self.seen.borrow_mut().push(format!("told: {text}"));
    }
}

impl Machine for Attended<'_> {
    fn now(&self) -> UnixTime {
        self.machine.now()
    }

    fn wait(&self, until: UnixTime) {
        self.machine.wait(until);
    }

    fn random(&self, below: Duration) -> Duration {
        self.machine.random(below)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.machine.free_space(path)
    }

    fn host_name(&self) -> String {
        self.machine.host_name()
    }

    fn people(&self) -> Box<dyn People> {
        let is_there = (self.presence)(self.now());
        Box::new(Person { is_there, answers: Rc::clone(&self.answers), seen: Rc::clone(&self.seen) })
    }
}

/// Runs a package that asks and tells; `answers` to the first question first. Gives what people saw.
fn attended(bench: &Bench, answers: &[Answer], runs: usize) -> String {
    let seen = Rc::default();
    let answers = Rc::new(RefCell::new(answers.iter().rev().copied().collect()));
    let machine = Attended { machine: &bench.machine, presence: |_| true, answers, seen: Rc::clone(&seen) };
    for _ in 0..runs {
        let agent = Agent::new(&bench.config, &machine, bench.machine.stop.clone()).expect("an agent");
        agent.once().expect("a run");
    }
    assert_eq!(*machine.answers.borrow(), [], "asked less often than expected");
    seen.borrow().join("\n")
}

fn asking(bench: &Bench) -> PathBuf {
    asking_with(bench, PromptPolicy::default())
}

fn asking_with(bench: &Bench, policy: PromptPolicy) -> PathBuf {
    bench.server.hurry();
    let mark = bench.home.path().join("mark");
    let archive = tar_gz(&[("readme", 0o644, "hello")]);
    let mut info = bench.server.publish(7, execute(&format!("cat readme >> {}", mark.display())), &archive, 2);
    info.notify = Some(Notify {
        text: "<p>Save your <b>work</b> &amp; smile</p>".to_owned(),
        countdown_seconds: Some(60),
        can_abort: true,
        can_delay: true,
        policy,
    });
    info.done = Some(Done { text: "It is<br>done".to_owned() });
    bench.server.put_info(&info);
    mark
}

#[test]
fn whoever_goes_on_is_told_afterwards() {
    for answer in [Answer::GoOn, Answer::CountedDown, Answer::Nobody] {
        let bench = Bench::new();
        let mark = asking(&bench);
        let seen = attended(&bench, &[answer], 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(seen, @r"
            asked: Save your work & smile
            told: It is
            done
            ");
        }
        assert_eq!(fs::read_to_string(mark).expect("it ran"), "hello");
        assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    }
}

#[test]
fn a_refusal_is_reported_and_nothing_runs() {
    let bench = Bench::new();
    let mark = asking(&bench);
    let seen = attended(&bench, &[Answer::Abort], 2);
    assert_eq!(
        seen, "asked: Save your work & smile",
        "nothing was done, so nothing is told, and it is not asked again"
    );
    assert!(!mark.exists());
    assert_eq!(bench.server.reports(), ["7 ERR_ABORTED"]);
    assert_eq!((bench.history(), bench.package(7).exists()), (String::new(), false));
}

#[test]
fn who_puts_it_off_is_asked_again_at_the_next_run_and_takes_no_room_until_then() {
    let bench = Bench::new();
    let mark = asking(&bench);
    let seen = attended(&bench, &[Answer::Delay], 1);
    assert_eq!(seen, "asked: Save your work & smile");
    assert!(!mark.exists() && bench.server.reports().is_empty());
    assert!(!bench.package(7).join("tmp").exists() && !bench.package(7).join("started").exists());
    bench.server.take_log();
    attended(&bench, &[Answer::Delay, Answer::GoOn], 2);
    assert_eq!(fs::read_to_string(mark).expect("it ran"), "hello");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert!(!bench.server.take_log().contains("7-1"), "the fragments were there");
}

#[test]
fn a_package_that_wants_no_answer_gets_none() {
    let bench = Bench::new();
    bench.server.hurry();
    bench.server.publish(7, execute("true"), b"", 0);
    assert_eq!(attended(&bench, &[], 1), "");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn who_has_put_it_off_as_often_as_may_be_is_asked_without_later_and_no_restart_forgets_it() {
    let bench = Bench::new();
    let mark = asking_with(&bench, PromptPolicy { max_delays: Some(2), ..PromptPolicy::default() });
    // Each run is a new agent.
    let seen = attended(&bench, &[Answer::Delay, Answer::Delay, Answer::GoOn], 3);
    insta::assert_snapshot!(seen, @r"
    asked: Save your work & smile (It can be put off 2 more times.)
    asked: Save your work & smile (It can be put off once more.)
    asked: Save your work & smile (It cannot be put off any more.)
    told: It is
    done
    ");
    assert_eq!(fs::read_to_string(mark).expect("it ran"), "hello");
    assert!(!bench.package(7).exists(), "and it is forgotten with the package");
}

#[test]
fn from_the_deadline_on_it_is_told_and_not_asked() {
    let bench = Bench::new();
    asking_with(&bench, PromptPolicy { deadline_hours: Some(24), ..PromptPolicy::default() });
    let day = |days: u64| bench.machine.wait(bench.machine.now().plus(Duration::from_hours(24 * days)));
    let first = attended(&bench, &[Answer::Delay], 1);
    let status = Status::read(&bench.config).expect("a status");
    assert_eq!((status.packages[0].put_off, status.packages[0].ready_since.is_some()), (1, true));
    let line = status.to_string();
    assert!(line.contains("ready since ") && line.contains(", put off 1 time\n"), "{line}");
    day(1);
    let last = attended(&bench, &[Answer::CountedDown], 1);
    assert_eq!(first, "asked: Save your work & smile (It can be put off for 24 hours at most.)");
    assert!(last.starts_with("asked: Save your work & smile (The time to put it off is over.)"), "{last}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn what_is_written_down_of_a_question_may_be_anything_and_costs_nothing_but_itself() {
    for torn in ["", "x", "1 2 3", "-1", "99999999999999999999 1", "\u{0} \u{0}"] {
        let bench = Bench::new();
        asking_with(&bench, PromptPolicy { max_delays: Some(2), deadline_hours: Some(24), ..PromptPolicy::default() });
        attended(&bench, &[Answer::Delay], 1);
        put(&bench.package(7).join("asked"), torn.as_bytes());
        let seen = attended(&bench, &[Answer::Delay], 1);
        assert_eq!(
            seen, "asked: Save your work & smile (It can be put off 2 more times, for 24 hours at most.)",
            "{torn}"
        );
    }
}

/// A service that is stopped that many seconds after its start.
fn runs_for(bench: &Bench, presence: fn(UnixTime) -> bool, answers: &[Answer], seconds: i64) -> String {
    let seen = Rc::default();
    let answers = Rc::new(RefCell::new(answers.iter().rev().copied().collect()));
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + seconds)));
    let machine = Attended { machine: &bench.machine, presence, answers, seen: Rc::clone(&seen) };
    let agent = Agent::new(&bench.config, &machine, bench.machine.stop.clone()).expect("an agent");
    assert_eq!(agent.run().expect("a run"), Ended::Stopped);
    seen.borrow().join("\n")
}

const WAITING: PromptPolicy = PromptPolicy { max_delays: None, deadline_hours: None, nobody: Nobody::Wait };

#[test]
fn a_package_that_waits_for_somebody_is_executed_when_somebody_is_there() {
    let bench = Bench::new();
    let mark = asking_with(&bench, WAITING);
    let comes_at_noon = |now: UnixTime| now.seconds() >= START + 4 * 3600;
    let seen = runs_for(&bench, comes_at_noon, &[Answer::GoOn], 5 * 3600);
    assert!(seen.starts_with("asked: Save your work & smile\ntold"), "{seen}");
    assert_eq!(fs::read_to_string(mark).expect("it ran"), "hello");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn nobody_is_waited_for_longer_than_to_the_deadline() {
    let bench = Bench::new();
    let mark = asking_with(&bench, PromptPolicy { deadline_hours: Some(3), ..WAITING });
    runs_for(&bench, |_| false, &[], 2 * 3600);
    assert!(!mark.exists() && !bench.package(7).join("tmp").exists(), "it takes no room meanwhile");
    // Another process: it remembers since when.
    let bench = Bench { machine: Virtual::new(), ..bench };
    bench.machine.wait(UnixTime::from_seconds(START + 2 * 3600));
    runs_for(&bench, |_| false, &[Answer::Nobody], 4 * 3600);
    assert_eq!(fs::read_to_string(mark).expect("it ran"), "hello");
}

#[test]
fn a_single_run_does_not_wait_for_people() {
    let bench = Bench::new();
    let mark = asking_with(&bench, WAITING);
    let machine =
        Attended { machine: &bench.machine, presence: |_| false, answers: Rc::default(), seen: Rc::default() };
    let agent = Agent::new(&bench.config, &machine, bench.machine.stop.clone()).expect("an agent");
    assert_eq!(agent.once().expect("a run"), Ended::Idle);
    assert!(!mark.exists() && bench.server.reports().is_empty());
}
