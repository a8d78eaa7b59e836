//! People: what somebody at the computer is asked before a package is executed, and told afterwards (ocs-protocol 10).
//!
//! | what happens | what is done |
//! |---|---|
//! | nobody is logged in | it goes on at once |
//! | the person goes on, or the countdown ends | it is executed |
//! | the person refuses, where that is allowed | `ERR_ABORTED`, for good |
//! | the person puts it off, where that is allowed | no result; asked again after the next contact |
//! | the window is closed without an answer | as if it were still open: the countdown goes on |
//! | there is no countdown (0), and no answer within two hours | as if it were put off |
//! | the agent is told to stop meanwhile | as if it were put off |
//!
//! A question never decides for a person what the package did not allow: whoever may not refuse has no such button.
//! While a question is open nothing else is done, as with the stock Windows agent.

#[cfg(unix)]
mod dialog;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", all(unix, test)))]
mod macos;
#[cfg(any(windows, test))]
mod message;
mod screen;
mod text;
#[cfg(windows)]
mod windows;

use std::time::Duration;

#[cfg(target_os = "linux")]
pub use self::linux::Desktop;
#[cfg(target_os = "macos")]
use self::macos::Desktop;
pub use self::text::{TEXT_LIMIT, plain_text};
#[cfg(windows)]
use self::windows::Desktop;
use crate::model::{Done, Notify};

/// How long a question stays when the package does not say.
pub const DEFAULT_COUNTDOWN: Duration = Duration::from_mins(2);

/// How long a question without a countdown stays before it is put off to the next contact: a person on holiday must not
/// keep every other package waiting.
pub const LONGEST_WAIT: Duration = Duration::from_hours(2);

/// How long a message after the action stays: what the stock Windows agent gives it.
pub const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// What a person is asked before a package is executed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// Plain text, bounded; may be empty.
    pub text: String,
    /// After that it goes on by itself; `None` waits for an answer, as long as [`LONGEST_WAIT`].
    pub countdown: Option<Duration>,
    /// May the person refuse for good?
    pub can_abort: bool,
    /// May the person put it off?
    pub can_delay: bool,
}

impl Question {
    /// How long an answer may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.countdown.unwrap_or(LONGEST_WAIT)
    }
}

impl From<&Notify> for Question {
    fn from(notify: &Notify) -> Self {
        let countdown = match notify.countdown_seconds {
            None => Some(DEFAULT_COUNTDOWN),
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds)).min(LONGEST_WAIT)),
        };
        Self { text: plain_text(&notify.text), countdown, can_abort: notify.can_abort, can_delay: notify.can_delay }
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Nobody is logged in, so nobody was asked: it goes on.
    Nobody,
    /// The person wants it now.
    GoOn,
    /// The countdown ended: it goes on.
    CountedDown,
    /// The person refused, for good.
    Abort,
    /// Not now: asked again after the next contact.
    Delay,
}

impl Answer {
    /// Is the package executed now?
    #[must_use]
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Nobody | Self::GoOn | Self::CountedDown)
    }
}

/// Whoever sits at the computer, or a test's.
///
/// One implementation a system: a dialog program in the person's session on Linux and macOS, a message to the session on
/// Windows. What follows from how a window ended is the same everywhere. Both functions return in bounded time, and soon after `stop` says so; neither fails: where
/// a question cannot be put, nobody is there.
pub trait People {
    /// Asks before a package is executed.
    fn ask(&self, question: &Question, stop: &dyn Fn() -> bool) -> Answer;

    /// Tells after it was executed; returns when the person has read it, or after [`MESSAGE_TIME`].
    fn tell(&self, text: &str, stop: &dyn Fn() -> bool);
}

/// Systems on which this agent cannot ask anybody: every question is answered by nobody, so packages go on. The log says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl People for NobodyToAsk {
    fn ask(&self, question: &Question, _stop: &dyn Fn() -> bool) -> Answer {
        tracing::info!("nobody can be asked on this system, so it goes on; the question was \"{}\"", question.text);
        Answer::Nobody
    }

    fn tell(&self, text: &str, _stop: &dyn Fn() -> bool) {
        tracing::info!("nobody can be told on this system; the message was \"{text}\"");
    }
}

/// The people of this computer.
#[must_use]
pub fn of_this_system() -> Box<dyn People> {
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    return Box::new(Desktop::of_this_system());
    #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
    Box::new(NobodyToAsk)
}

/// The text of the message after the action; `None` if there is nothing to read in it.
#[must_use]
pub fn message(done: &Done) -> Option<String> {
    Some(plain_text(&done.text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(countdown_seconds: Option<u32>) -> Notify {
        Notify { text: "<b>Hello</b>".to_owned(), countdown_seconds, can_abort: true, can_delay: false }
    }

    #[test]
    fn a_countdown_is_two_minutes_if_not_said_none_if_zero_and_never_longer_than_two_hours() {
        let countdown = |seconds| Question::from(&notify(seconds)).countdown;
        assert_eq!(countdown(None), Some(DEFAULT_COUNTDOWN));
        assert_eq!(countdown(Some(0)), None);
        assert_eq!(countdown(Some(45)), Some(Duration::from_secs(45)));
        assert_eq!(countdown(Some(u32::MAX)), Some(LONGEST_WAIT));
    }

    #[test]
    fn a_question_carries_plain_text_and_what_is_allowed() {
        let question = Question::from(&notify(Some(1)));
        assert_eq!((&*question.text, question.can_abort, question.can_delay), ("Hello", true, false));
    }

    #[test]
    fn only_a_refusal_and_a_delay_keep_a_package_from_being_executed() {
        assert!([Answer::Nobody, Answer::GoOn, Answer::CountedDown].into_iter().all(Answer::goes_on));
        assert!(![Answer::Abort, Answer::Delay].into_iter().any(Answer::goes_on));
    }

    #[test]
    fn where_nobody_can_be_asked_it_goes_on() {
        assert_eq!(NobodyToAsk.ask(&Question::from(&notify(None)), &|| false), Answer::Nobody);
        NobodyToAsk.tell("done", &|| false);
    }

    #[test]
    fn a_message_of_nothing_but_markup_is_none() {
        assert_eq!(message(&Done { text: "<p> </p>".to_owned() }), None);
        assert_eq!(message(&Done { text: "Restart <i>soon</i>".to_owned() }).as_deref(), Some("Restart soon"));
    }
}
