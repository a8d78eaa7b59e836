//! What people answer, and what becomes of the package.

use std::cell::RefCell;
use std::rc::Rc;

use dripfeed::agent::people::{Answer, People, Question};
use dripfeed::model::{Done, Notify};

use super::*;

/// A machine whose people give these answers, one after another, and remember what they saw.
struct Attended<'a> {
    machine: &'a Virtual,
    answers: Rc<RefCell<Vec<Answer>>>,
    seen: Rc<RefCell<Vec<String>>>,
}

struct Person {
    answers: Rc<RefCell<Vec<Answer>>>,
    seen: Rc<RefCell<Vec<String>>>,
}

impl People for Person {
    fn ask(&self, question: &Question, _stop: &dyn Fn() -> bool) -> Answer {
        self.seen.borrow_mut().push(format!("asked: {}", question.text));
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
        Box::new(Person { answers: Rc::clone(&self.answers), seen: Rc::clone(&self.seen) })
    }
}

/// Runs a package that asks and tells; `answers` to the first question first. Gives what people saw.
fn attended(bench: &Bench, answers: &[Answer], runs: usize) -> String {
    let seen = Rc::default();
    let answers = Rc::new(RefCell::new(answers.iter().rev().copied().collect()));
    let machine = Attended { machine: &bench.machine, answers, seen: Rc::clone(&seen) };
    for _ in 0..runs {
        let agent = Agent::new(&bench.config, &machine, bench.machine.stop.clone()).expect("an agent");
        agent.once().expect("a run");
    }
    assert_eq!(*machine.answers.borrow(), [], "asked less often than expected");
    seen.borrow().join("\n")
}

fn asking(bench: &Bench) -> PathBuf {
    bench.server.hurry();
    let mark = bench.home.path().join("mark");
    let archive = tar_gz(&[("readme", 0o644, "hello")]);
    let mut info = bench.server.publish(7, execute(&format!("cat readme >> {}", mark.display())), &archive, 2);
    info.notify = Some(Notify {
        text: "<p>Save your <b>work</b> &amp; smile</p>".to_owned(),
        countdown_seconds: Some(60),
        can_abort: true,
        can_delay: true,
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
