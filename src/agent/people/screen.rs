//! What is the same on every system: which buttons a window has, what stands in it, and what follows from how it ended.
//!
//! A system says who is there and shows a window ([`Screen`]); nothing else about people differs between systems.

use std::time::{Duration, Instant};

use super::{Answer, DEFAULT_COUNTDOWN, MESSAGE_TIME, Question};

pub(super) const TITLE: &str = Question::TITLE;

/// The words on the buttons.
pub(super) const GO_ON: &str = Question::GO_ON;
pub(super) const DELAY: &str = Question::DELAY;
pub(super) const ABORT: &str = Question::ABORT;
pub(super) const READ: &str = "OK";

/// How often an open window is looked after.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// What is shown, and what may be answered.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) text: &'a str,
    pub(super) buttons: &'a [&'static str],
}

/// How a window ended.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shown {
    /// With this button.
    Pressed(String),
    /// By the person, without an answer.
    Closed,
    /// Not yet, and its time is over.
    Open,
    /// It was never seen.
    Failed,
}

/// A system's ways to reach people.
pub(super) trait Screen {
    /// Is anybody logged in?
    fn is_anybody_there(&self) -> bool;

    /// Shows a window to whoever sits at the computer, for that time at most; `None` if nobody could see it.
    fn show(&self, window: &Window<'_>, time: Duration, stop: &dyn Fn() -> bool) -> Option<Shown>;

    /// Puts a text where it may be read and cannot be answered.
    fn write(&self, text: &str);
}

/// Asks before a package is executed; see the table of the module above.
pub(super) fn ask(screen: &impl Screen, question: &Question, stop: &dyn Fn() -> bool) -> Answer {
    if !screen.is_anybody_there() {
        return Answer::Nobody;
    }
    let began = Instant::now();
    let (text, buttons) = (question.words(question.countdown), question.buttons());
    let shown = screen.show(&Window { text: &text, buttons: &buttons }, question.patience(), stop);
    let countdown = match shown {
        Some(Shown::Pressed(button)) => match &*button {
            GO_ON => return Answer::GoOn,
            DELAY if question.can_delay => return Answer::Delay,
            ABORT if question.can_abort => return Answer::Abort,
            // No button of ours: like a window that was closed.
            _ => question.countdown,
        },
        Some(_) => question.countdown,
        // Nobody can answer what is only written, so this may not wait for an answer.
        None => {
            let countdown = question.countdown.unwrap_or(DEFAULT_COUNTDOWN);
            screen.write(&question.words(Some(countdown)));
            Some(countdown)
        }
    };
    // Who closes the window has not answered, and keeps the rest of the time to save what is open.
    let Some(countdown) = countdown else { return Answer::Delay };
    while began.elapsed() < countdown {
        if stop() {
            return Answer::Delay;
        }
        std::thread::sleep(LOOK.min(countdown.saturating_sub(began.elapsed())));
    }
    if stop() { Answer::Delay } else { Answer::CountedDown }
}

/// Tells after it was executed.
pub(super) fn tell(screen: &impl Screen, text: &str, stop: &dyn Fn() -> bool) {
    if screen.is_anybody_there() && screen.show(&Window { text, buttons: &[READ] }, MESSAGE_TIME, stop).is_none() {
        screen.write(text);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A screen whose windows end as they are told to.
    struct Fake {
        is_anybody_there: bool,
        ends: Option<fn() -> Shown>,
        seen: RefCell<Vec<String>>,
    }

    impl Screen for Fake {
        fn is_anybody_there(&self) -> bool {
            self.is_anybody_there
        }

        fn show(&self, window: &Window<'_>, time: Duration, _: &dyn Fn() -> bool) -> Option<Shown> {
            let ends = self.ends?;
            self.seen.borrow_mut().push(format!("{} {:?} {time:?}", window.text.replace('\n', "/"), window.buttons));
            Some(ends())
        }

        fn write(&self, text: &str) {
            self.seen.borrow_mut().push(format!("written: {}", text.replace('\n', "/")));
        }
    }

    fn fake(ends: Option<fn() -> Shown>) -> Fake {
        Fake { is_anybody_there: true, ends, seen: RefCell::default() }
    }

    fn question(countdown: Option<u64>, can_abort: bool, can_delay: bool) -> Question {
        let countdown = countdown.map(Duration::from_millis);
        Question { text: "Save".to_owned(), note: None, countdown, can_abort, can_delay }
    }

    /// Never, or from the first look on.
    const NEVER: &dyn Fn() -> bool = &|| false;
    const AT_ONCE: &dyn Fn() -> bool = &|| true;

    #[test]
    fn nobody_is_shown_anything_where_nobody_is() {
        let screen = Fake { is_anybody_there: false, ..fake(Some(|| Shown::Open)) };
        assert_eq!(ask(&screen, &question(None, true, true), NEVER), Answer::Nobody);
        tell(&screen, "done", NEVER);
        assert!(screen.seen.borrow().is_empty());
    }

    #[test]
    fn a_window_has_the_buttons_that_the_package_allows_and_none_else_counts() {
        let answers = |ends: fn() -> Shown| {
            let of = |can_abort, can_delay| ask(&fake(Some(ends)), &question(Some(1), can_abort, can_delay), NEVER);
            [of(false, false), of(false, true), of(true, false), of(true, true)]
        };
        let ended = Answer::CountedDown;
        assert_eq!(answers(|| Shown::Pressed(GO_ON.to_owned())), [Answer::GoOn; 4]);
        assert_eq!(answers(|| Shown::Pressed(DELAY.to_owned())), [ended, Answer::Delay, ended, Answer::Delay]);
        assert_eq!(answers(|| Shown::Pressed(ABORT.to_owned())), [ended, ended, Answer::Abort, Answer::Abort]);
        for ends in [|| Shown::Pressed("Format disk".to_owned()), || Shown::Closed, || Shown::Open, || Shown::Failed] {
            assert_eq!(answers(ends), [ended; 4]);
        }
        let screen = fake(Some(|| Shown::Pressed(GO_ON.to_owned())));
        for (can_abort, can_delay) in [(false, false), (true, true)] {
            ask(&screen, &question(Some(60_000), can_abort, can_delay), NEVER);
        }
        ask(&screen, &question(None, false, true), NEVER);
        insta::assert_snapshot!(screen.seen.borrow().join("\n"), @r#"
        Save//It starts by itself in 60 seconds. ["Start now"] 60s
        Save//It starts by itself in 60 seconds. ["Start now", "Later", "Do not install"] 60s
        Save ["Start now", "Later"] 7200s
        "#);
    }

    #[test]
    fn without_a_countdown_no_answer_is_later() {
        for ends in [|| Shown::Closed, || Shown::Open, || Shown::Pressed("?".to_owned())] {
            assert_eq!(ask(&fake(Some(ends)), &question(None, true, true), NEVER), Answer::Delay);
        }
    }

    #[test]
    fn what_nobody_can_see_is_written_and_goes_on_when_its_time_is_over() {
        let screen = fake(None);
        assert_eq!(ask(&screen, &question(Some(1), true, true), NEVER), Answer::CountedDown);
        assert_eq!(ask(&screen, &question(None, true, true), AT_ONCE), Answer::Delay, "it was told to stop");
        tell(&screen, "done", NEVER);
        insta::assert_snapshot!(screen.seen.borrow().join("\n"), @r"
        written: Save//It starts by itself in 0 seconds.
        written: Save//It starts by itself in 2 minutes.
        written: done
        ");
    }

    #[test]
    fn a_message_has_one_button_and_half_a_minute() {
        let screen = fake(Some(|| Shown::Pressed(READ.to_owned())));
        tell(&screen, "done", NEVER);
        assert_eq!(*screen.seen.borrow(), [r#"done ["OK"] 30s"#]);
    }
}
